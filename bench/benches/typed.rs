//! The typed cache over the memory store: what Larder adds to a look-up.
#![allow(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to say")]

use std::convert::Infallible;
use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use larder_bench::workload::{self, User};
use larder_core::{Cache, MemoryStore, hours};

fn hits(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = MemoryStore::new();
    let cache = Cache::builder(store).namespace("bench").ttl(hours(1)).build().unwrap();
    let user = User::numbered(42);
    runtime.block_on(async {
        cache.put("user:42", &user).await.unwrap();
        cache.put_raw("raw:42", &workload::value(42)).await.unwrap();
    });

    let mut group = c.benchmark_group("typed");
    group.bench_function("get", |bencher| {
        bencher.to_async(&runtime).iter(async || black_box(cache.get::<User>("user:42").await));
    });
    group.bench_function("get_or_load, a hit", |bencher| {
        let load = || async { Ok::<_, Infallible>(User::numbered(42)) };
        bencher.to_async(&runtime).iter(async || cache.get_or_load("user:42", load).await);
    });
    group.bench_function("get_raw: the frame alone", |bencher| {
        bencher.to_async(&runtime).iter(async || black_box(cache.get_raw::<Bytes>("raw:42").await));
    });
    group.bench_function("put", |bencher| {
        bencher.to_async(&runtime).iter(async || cache.put("user:42", &user).await);
    });
    group.finish();
}

criterion_group!(benches, hits);
criterion_main!(benches);
