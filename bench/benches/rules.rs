//! Pure functions that calls go through.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use larder_core::{Glob, check_key};

fn keys(c: &mut Criterion) {
    let mut group = c.benchmark_group("check_key");
    for (name, key) in [("ascii", "app:user:000042:profile"), ("with accents", "app:café:42")] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| check_key(black_box(key), 512, "bench"));
        });
    }
    group.finish();
}

fn globs(c: &mut Criterion) {
    let key = "app:users:page:3:limit:20";
    let mut group = c.benchmark_group("glob");
    for pattern in ["app:users:*", "app:*:page:*:limit:2[0-9]", "*a*b*c*d*"] {
        let glob = Glob::new(pattern);
        group.bench_function(pattern, |bencher| bencher.iter(|| glob.matches(black_box(key))));
    }
    group.finish();
}

criterion_group!(benches, keys, globs);
criterion_main!(benches);
