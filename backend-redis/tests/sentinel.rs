//! Real sentinels: a fail-over under load, a master that hangs, a sentinel that is gone.
#![allow(clippy::unwrap_used)] // A helper of a test may panic as the test may.

use std::time::{Duration, Instant};

use larder_core::{Store, StoreErrorKind, hours, millis, seconds};
use larder_redis::{RedisStore, RedisStoreBuilder};
use larder_tests::redis_sentinels::RedisSentinels;

/// What a busy machine may add to a time limit.
const SLACK: Duration = Duration::from_millis(1_500);

/// Writes until a write succeeds on the server at `port`; every failure is of the kinds that a lost
/// server has, and in time.
async fn until_written_at(store: &RedisStore, sentinels: &mut RedisSentinels, index: usize) {
    let started = Instant::now();
    let mut failures = 0;
    for round in 0.. {
        assert!(started.elapsed() < seconds(20), "{failures} failures, no end");
        let (begun, key) = (Instant::now(), format!("key{round}"));
        match store.put(&key, "v".into(), hours(1)).await {
            Ok(()) => {
                if sentinels.servers()[index].command(&["EXISTS", &key]) == ":1" {
                    break;
                }
            }
            Err(error) => {
                failures += 1;
                let kinds = [
                    StoreErrorKind::Unavailable,
                    StoreErrorKind::Timeout,
                    StoreErrorKind::CircuitOpen,
                ];
                assert!(kinds.contains(&error.kind()), "{error}");
                assert!(begun.elapsed() < seconds(1) + SLACK, "{:?}: {error}", begun.elapsed());
            }
        }
        tokio::time::sleep(millis(5)).await;
    }
}

fn store(sentinels: &RedisSentinels) -> RedisStoreBuilder {
    RedisStore::builder().url(sentinels.url())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_new_master_is_found_under_load_and_the_old_one_left() {
    let mut sentinels = RedisSentinels::start();
    let store = store(&sentinels).connect().await.unwrap();
    until_written_at(&store, &mut sentinels, 0).await;
    sentinels.servers()[0].kill();
    until_written_at(&store, &mut sentinels, 1).await;
    sentinels.wait_for_promotion();
    // Back as a master, until the sentinels tell it otherwise.
    sentinels.servers()[0].restart();
    for round in 0..50 {
        let key = format!("after{round}");
        store.put(&key, "v".into(), hours(1)).await.unwrap();
        assert_eq!(sentinels.servers()[1].command(&["EXISTS", &key]), ":1");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_hangs_is_left_for_the_new_one() {
    let mut sentinels = RedisSentinels::start();
    let store = store(&sentinels).connect().await.unwrap();
    until_written_at(&store, &mut sentinels, 0).await;
    sentinels.servers()[0].pause();
    until_written_at(&store, &mut sentinels, 1).await;
    sentinels.servers()[0].unpause();
    store.ready().await.unwrap();
}

#[tokio::test]
async fn one_sentinel_is_enough_and_an_unknown_service_is_told() {
    let mut sentinels = RedisSentinels::start();
    let url = sentinels.url();
    let error = RedisStore::connect(url.replace("mymaster", "theirs")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Config);
    assert!(error.to_string().contains("know no master named \"theirs\""), "{error}");
    sentinels.end_one();
    let store = RedisStore::connect(&url).await.unwrap();
    store.put("key", "v".into(), hours(1)).await.unwrap();
    assert_eq!(sentinels.servers()[0].command(&["EXISTS", "key"]), ":1");

    drop(sentinels);
    let error = RedisStore::connect(&url).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(error.to_string().contains("no sentinel names the master"), "{error}");
}
