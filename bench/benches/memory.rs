//! The memory store.
#![allow(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to say")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use larder_bench::workload::{self, Popularity};
use larder_core::{MemoryStore, PutEntry, Store, hours};

fn get(c: &mut Criterion) {
    const ENTRIES: usize = 100_000;
    let keys = workload::keys(ENTRIES);
    let store = MemoryStore::builder().capacity_bytes(256 << 20).build();
    let entries: Vec<_> = keys
        .iter()
        .enumerate()
        .map(|(n, key)| PutEntry { key, value: workload::value(n), ttl: hours(1) })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.put_many(&entries)).unwrap();

    let mut group = c.benchmark_group("memory get");
    for popularity in [Popularity::Uniform, Popularity::Zipf] {
        let mut draws = popularity.draw(ENTRIES, 1 << 20, 1).into_iter().cycle();
        group.bench_function(popularity.name(), |bencher| {
            bencher.iter(|| {
                let key = draws.next().map_or("", |n| &keys[n as usize]);
                black_box(store.get_sync(key))
            });
        });
    }
    group.bench_function("of nothing", |bencher| {
        bencher.iter(|| black_box(store.get_sync(black_box("nobody"))));
    });
    group.finish();
}

criterion_group!(benches, get);
criterion_main!(benches);
