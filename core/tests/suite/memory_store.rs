//! The memory store under load: its bound, its clock, and what it keeps.

use std::collections::HashMap;

use bytes::Bytes;
use larder_core::{
    Glob, MemoryStore, Runtime, Store, Timestamp, VirtualRuntime, hours, millis, minutes, seconds,
};
use proptest::prelude::*;

use crate::harness::test;

fn store(capacity: u64) -> (VirtualRuntime, MemoryStore) {
    let runtime = VirtualRuntime::seeded(0);
    let store = MemoryStore::builder().capacity_bytes(capacity).on(runtime.clone());
    (runtime, store)
}

fn bytes(length: usize) -> Bytes {
    Bytes::from(vec![b'x'; length])
}

#[test]
fn it_never_weighs_more_than_its_capacity() {
    for capacity in [1 << 10, 64 << 10, 1 << 20, 5 << 20, 33 << 20] {
        let (runtime, store) = store(capacity);
        let mut random = fastrand::Rng::with_seed(capacity);
        let largest = store.capabilities().max_value_bytes;
        let mut most_seen = 0;
        runtime.block_on(async {
            for _ in 0..10_000 {
                let key = format!("key:{}", random.u32(..5_000));
                let most = if random.u8(..50) == 0 { largest } else { largest.min(4_000) };
                let value = bytes(random.usize(..=most));
                match random.u8(..10) {
                    0 => drop(store.remove(&key).await.unwrap()),
                    1..=3 => drop(store.get(&key).await.unwrap()),
                    _ => store.put(&key, value, seconds(random.u64(1..100))).await.unwrap(),
                }
                runtime.advance(millis(random.u64(..20)));
                let weight = store.weight_bytes();
                assert!(weight <= capacity, "it weighs {weight} of {capacity}");
                most_seen = most_seen.max(weight);
            }
        });
        let could_be = capacity.min(4 << 20);
        assert!(most_seen > could_be / 2, "it was never fuller than {most_seen} of {capacity}");
    }
}

#[test]
fn the_largest_value_that_it_claims_fits() {
    for capacity in [64 << 10, 1 << 20, 4 << 20, 9 << 20, 64 << 20, 1 << 30] {
        let (runtime, store) = store(capacity);
        let claimed = store.capabilities();
        let (value, key) = (bytes(claimed.max_value_bytes), "k".repeat(claimed.max_key_bytes));
        assert!(claimed.max_value_bytes as u64 > capacity / 50, "{} of {capacity}", value.len());
        runtime
            .block_on(async {
                // A store that is full of others has to make room.
                for i in 0..500 {
                    store
                        .put(&format!("{i}"), bytes(claimed.max_value_bytes / 100), hours(1))
                        .await?;
                }
                store.put(&key, value.clone(), hours(1)).await?;
                assert!(
                    store.get(&key).await?.is_some(),
                    "the largest value of {capacity} is lost"
                );
                store.put(&key, value, hours(1)).await?;
                assert!(store.get(&key).await?.is_some(), "put again, it is lost");
                Ok::<_, larder_core::StoreError>(())
            })
            .unwrap();
    }
}

/// What a store is asked, in a random history.
#[derive(Debug, Clone)]
enum Step {
    Put { key: u8, length: usize, ttl: u64 },
    Remove { key: u8 },
    Get { key: u8 },
    Pass { millis: u64 },
    Scan,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..6_u8;
    prop_oneof![
        4 => (key.clone(), 0..50_usize, 1..40_u64)
            .prop_map(|(key, length, ttl)| Step::Put { key, length, ttl }),
        1 => key.clone().prop_map(|key| Step::Remove { key }),
        3 => key.prop_map(|key| Step::Get { key }),
        // Now and then past the time at which it sweeps.
        3 => prop_oneof![9 => 0..30_u64, 1 => Just(31_000)].prop_map(|millis| Step::Pass { millis }),
        1 => Just(Step::Scan),
    ]
}

proptest! {
    /// With room for everything it is a map whose entries end at their time.
    #[test]
    fn it_is_a_map_with_deadlines(steps in prop::collection::vec(step(), 1..200)) {
        let (runtime, store) = store(8 << 10);
        let mut model: HashMap<String, (usize, Timestamp)> = HashMap::new();
        runtime.block_on(async {
            for step in steps {
                let now = runtime.now();
                let live = |model: &HashMap<String, (usize, Timestamp)>, key: &str| {
                    model.get(key).filter(|(_, until)| now < *until).copied()
                };
                match step {
                    Step::Put { key, length, ttl } => {
                        let key = format!("{key}");
                        store.put(&key, bytes(length), millis(ttl)).await.unwrap();
                        model.insert(key, (length, now + millis(ttl)));
                    }
                    Step::Remove { key } => {
                        let key = format!("{key}");
                        let removed = store.remove(&key).await.unwrap();
                        prop_assert_eq!(removed, live(&model, &key).is_some());
                        model.remove(&key);
                    }
                    Step::Get { key } => {
                        let key = format!("{key}");
                        let expected = live(&model, &key);
                        let found = store.get(&key).await.unwrap().map(|value| value.len());
                        prop_assert_eq!(found, expected.map(|(length, _)| length));
                        prop_assert_eq!(store.contains(&key).await.unwrap(), expected.is_some());
                        let left = store.time_to_live(&key).await.unwrap();
                        prop_assert_eq!(left, expected.map(|(_, until)| until.since(now)));
                    }
                    Step::Pass { millis: passed } => runtime.advance(millis(passed)),
                    Step::Scan => {
                        let mut found = store.scan(&Glob::new("*"), None).await.unwrap().keys;
                        let mut expected: Vec<String> = model
                            .keys()
                            .filter(|key| live(&model, key).is_some())
                            .cloned()
                            .collect();
                        found.sort();
                        expected.sort();
                        prop_assert_eq!(found, expected);
                    }
                }
            }
            Ok(())
        })?;
    }
}

#[test]
fn what_expired_unread_is_swept_away() {
    let (runtime, store) = store(1 << 20);
    runtime.block_on(async {
        for i in 0..700 {
            store.put(&format!("short:{i}"), bytes(1_000), seconds(10)).await.unwrap();
        }
        store.put("long", bytes(1_000), hours(1)).await.unwrap();
        let full = store.weight_bytes();
        assert!(full > 700_000, "{full} bytes are kept");
        runtime.advance(minutes(1));
        store.put("another", bytes(1_000), hours(1)).await.unwrap();
        assert_eq!(store.len(), 2, "what is alive");
        assert!(store.weight_bytes() < 3_000, "{} bytes are kept", store.weight_bytes());
        assert!(store.get("long").await.unwrap().is_some());
    });
}

#[test]
fn what_is_expired_is_freed_when_it_is_asked_for() {
    let (runtime, store) = store(1 << 20);
    runtime.block_on(async {
        store.put("a", bytes(1_000), seconds(1)).await.unwrap();
        runtime.advance(seconds(1));
        assert_eq!(store.len(), 1);
        assert_eq!(store.get("a").await.unwrap(), None);
        assert_eq!((store.len(), store.weight_bytes()), (0, 0));
    });
}

#[test]
fn what_is_used_often_survives_a_flood() {
    let (runtime, store) = store(1 << 20);
    runtime.block_on(async {
        let hot: Vec<String> = (0..200).map(|i| format!("hot:{i}")).collect();
        let put = |key: String| {
            let store = store.clone();
            async move { store.put(&key, bytes(1_000), hours(1)).await.unwrap() }
        };
        for key in &hot {
            put(key.clone()).await;
        }
        for _ in 0..3 {
            for key in &hot {
                store.get(key).await.unwrap();
            }
        }
        // Ten times the capacity, each asked for once, while the hot ones are asked for now and
        // then.
        for i in 0..10_000 {
            put(format!("cold:{i}")).await;
            store.get(&hot[i % hot.len()]).await.unwrap();
        }
        let left = hot.iter().filter(|key| store.get_sync(key).is_some()).count();
        assert!(left >= 190, "{left} of 200 are left");
    });
}
