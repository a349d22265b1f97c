//! What is in memory, between threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use larder_core::rate_limit::Check;
use larder_core::{
    Glob, MemoryRateLimits, MemoryStore, PutEntry, Quota, RateLimitStore, Store, hours, millis, seconds,
};

#[test]
fn threads_see_whole_values_within_the_bound() {
    let capacity = 1 << 20;
    let store = MemoryStore::builder().capacity_bytes(capacity).build();
    let stop = AtomicBool::new(false);
    let worker = |seed: u64| {
        let mut random = fastrand::Rng::with_seed(seed);
        while !stop.load(Ordering::Relaxed) {
            let key = format!("key:{}", random.u32(..2_000));
            // Stores in this process never wait: one poll is enough.
            let call = async {
                match random.u8(..10) {
                    0 => drop(store.remove(&key).await?),
                    1 => drop(store.scan(&Glob::new("key:1*"), None).await?),
                    2 => {
                        let value = Bytes::from(key.repeat(random.usize(1..200)));
                        let ttl = Duration::from_micros(random.u64(1..20_000));
                        store.put_many(&[PutEntry { key: &key, value, ttl }]).await?;
                    }
                    3..=4 => {
                        let value = Bytes::from(key.repeat(random.usize(1..200)));
                        store.put(&key, value, seconds(10)).await?;
                    }
                    _ => {
                        if let Some(value) = store.get(&key).await? {
                            assert!(value.starts_with(key.as_bytes()), "a value of another key");
                            assert_eq!(value.len() % key.len(), 0, "a part of a value");
                        }
                    }
                }
                Ok::<_, larder_core::StoreError>(())
            };
            futures::FutureExt::now_or_never(call).unwrap().unwrap();
        }
    };
    thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || worker(seed));
        }
        for _ in 0..200 {
            thread::sleep(millis(2));
            let weight = store.weight_bytes();
            // Each shard holds its bound under its lock; their sum is read one after the other.
            assert!(weight <= capacity + capacity / 10, "it weighs {weight}");
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(store.weight_bytes() <= capacity, "in the end it weighs {}", store.weight_bytes());
}

#[test]
fn threads_are_allowed_exactly_what_the_quota_says() {
    let limits = MemoryRateLimits::builder().max_keys(2_000).build();
    let quotas = [Quota::per_hour(1_000), Quota::new(700, hours(2)).gcra().named("tight")];
    for round in 0..10 {
        let key = format!("hot:{round}");
        let worker = |number: u32| {
            let mut allowed = 0;
            for i in 0..1_000_u64 {
                let other = format!("{round}:{number}:{i}");
                // Keys that come and go, in parts that are full.
                let brief = [Quota::new(1, millis(1 + i % 5))];
                limits.check_now(&Check::new(&other, &brief)).unwrap();
                let check = Check::new(&key, &quotas);
                allowed += u32::from(limits.check_now(&check).unwrap().is_allowed());
            }
            allowed
        };
        let allowed: u32 = thread::scope(|scope| {
            let worker = &worker;
            let workers: Vec<_> = (0..4).map(|number| scope.spawn(move || worker(number))).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(allowed, 700, "in round {round}");
    }
    assert!(limits.len() <= 2_000, "{limits:?}");
}
