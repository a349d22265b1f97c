//! Redis down, mute or gone for a while: no call hangs, and calls succeed again by themselves.
#![allow(clippy::unwrap_used)] // A helper of a test may panic as the test may.

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use larder_core::{Store, StoreError, StoreErrorKind, millis, seconds};
use larder_redis::{BreakerState, RedisStore, RedisStoreBuilder};
use larder_tests::eventually;
use larder_tests::redis_server::RedisServer;
use tokio::task::JoinSet;

use support::{Answer, Events, FakeServer, empty, handshake};

/// What a busy machine may add to a time limit.
const SLACK: Duration = Duration::from_millis(700);

/// A store that does not wait long before it tries again.
fn brisk(server: &FakeServer) -> RedisStoreBuilder {
    RedisStore::builder().url(server.url()).backoff(millis(1), millis(1))
}

/// How so many calls fail that are made at once.
async fn failures<T, F>(calls: usize, call: impl Fn() -> F) -> HashMap<StoreErrorKind, usize>
where
    T: std::fmt::Debug + Send + 'static,
    F: Future<Output = Result<T, StoreError>> + Send + 'static,
{
    let calls: JoinSet<_> = (0..calls).map(|_| call()).collect();
    let mut kinds = HashMap::new();
    for result in calls.join_all().await {
        *kinds.entry(result.unwrap_err().kind()).or_default() += 1;
    }
    kinds
}

fn hangs_up(command: &[String]) -> Answer {
    handshake(command).unwrap_or(Answer::HangUp)
}

/// How long a breaker stays open whose next call is to be the probe.
const OVER_AT_ONCE: Duration = Duration::from_nanos(1);

fn silent(command: &[String]) -> Answer {
    handshake(command).unwrap_or(Answer::Silence)
}

#[tokio::test]
async fn a_call_is_tried_again_at_most_three_times() {
    let server = FakeServer::start(hangs_up).await;
    let store = brisk(&server).command_timeout(seconds(10)).connect().await.unwrap();
    let error = store.get("a").await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
    assert_eq!(server.count("GET"), 4);

    let store = RedisStore::builder().url(server.url()).max_retries(0).connect().await.unwrap();
    store.put("a", "1".into(), seconds(1)).await.unwrap_err();
    assert_eq!(server.count("SETEX"), 1);
}

#[tokio::test]
async fn no_limit_is_too_long() {
    let server = FakeServer::start(empty).await;
    let store = RedisStore::builder()
        .url(server.url())
        .connect_timeout(Duration::MAX)
        .command_timeout(Duration::MAX)
        .circuit_breaker(1, Duration::MAX)
        .max_retries(0)
        .connect()
        .await
        .unwrap();
    assert_eq!(store.get("a").await.unwrap(), None);
    server.follow(hangs_up);
    store.get("a").await.unwrap_err();
    assert_eq!(store.breaker_state(), BreakerState::Open);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_call_succeeds_when_a_retry_does() {
    let server = FakeServer::start(hangs_up).await;
    let store = brisk(&server).connect().await.unwrap();
    let calls = AtomicUsize::new(0);
    server.follow(move |command| match command[0].as_str() {
        "GET" if calls.fetch_add(1, Ordering::SeqCst) < 2 => Answer::HangUp,
        _ => empty(command),
    });
    assert_eq!(store.get("a").await.unwrap(), None);
    assert_eq!(server.count("GET"), 3);
}

#[tokio::test]
async fn a_refusal_is_not_tried_again() {
    let server = FakeServer::start(|command| match command[0].as_str() {
        "GET" => Answer::Say("-ERR no\r\n".into()),
        _ => empty(command),
    })
    .await;
    let store = RedisStore::connect(server.url()).await.unwrap();
    let error = store.get("a").await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Other);
    assert_eq!(server.count("GET"), 1);
}

#[tokio::test]
async fn a_replica_is_left_for_whom_the_address_leads_to_now() {
    let server = FakeServer::start(|command| match command[0].as_str() {
        "SETEX" => Answer::Say("-READONLY You can't write against a read only replica.\r\n".into()),
        _ => empty(command),
    })
    .await;
    let store = brisk(&server).connect().await.unwrap();
    store.put("a", "1".into(), seconds(1)).await.unwrap_err();
    assert_eq!(server.count("SETEX"), 4);
    assert!(server.count("(connection)") >= 4);
}

#[tokio::test]
async fn the_command_timeout_bounds_a_call_to_a_silent_server() {
    let server = FakeServer::start(silent).await;
    let store = RedisStore::builder()
        .url(server.url())
        .command_timeout(millis(200))
        .connect()
        .await
        .unwrap();
    let started = Instant::now();
    let error = store.get("a").await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Timeout);
    assert!(error.to_string().contains("command_timeout"), "{error}");
    let took = started.elapsed();
    assert!(took >= millis(200) && took < millis(200) + SLACK, "{took:?}");
}

#[tokio::test]
async fn a_connection_that_went_dead_is_replaced() {
    // It answers the first connection's handshake, and never again on it.
    let server = FakeServer::start(empty).await;
    let builder = RedisStore::builder().url(server.url()).command_timeout(millis(100));
    let (builder, mut events) = Events::of(builder.without_circuit_breaker());
    let store = builder.connect().await.unwrap();
    server.follow(|_| Answer::Silence);
    store.get("a").await.unwrap_err();
    events.until("closed").await;
    server.follow(empty);
    events.until("ready").await;
    assert_eq!(store.get("a").await.unwrap(), None);
}

#[tokio::test]
async fn a_paused_redis_costs_the_command_timeout_and_no_more() {
    let redis = RedisServer::start();
    let store = RedisStore::builder()
        .url(redis.url())
        .command_timeout(millis(200))
        .connect()
        .await
        .unwrap();
    redis.command(&["CLIENT", "PAUSE", "1500", "ALL"]);
    let started = Instant::now();
    let calls: Vec<_> = (0..200)
        .map(|i| {
            let store = store.clone();
            tokio::spawn(async move { store.get(&i.to_string()).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap_err();
    }
    assert!(started.elapsed() < millis(200) + SLACK, "{:?}", started.elapsed());
    eventually("reads succeed again", async || store.get("a").await.is_ok()).await;
}

#[tokio::test]
async fn with_redis_down_calls_fail_soon_and_then_at_once() {
    let mut redis = RedisServer::start();
    redis.kill();
    let store =
        RedisStore::builder().url(redis.url()).circuit_breaker(5, seconds(60)).lazy().unwrap();
    for _ in 0..5 {
        assert_eq!(store.breaker_state(), BreakerState::Closed);
        let started = Instant::now();
        let error = store.get("a").await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
        assert!(started.elapsed() < seconds(1) + SLACK);
    }
    assert_eq!(store.breaker_state(), BreakerState::Open);
    let started = Instant::now();
    for _ in 0..1_000 {
        let error = store.get("a").await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::CircuitOpen);
        assert!(error.to_string().contains("is Redis running there?"), "{error}");
    }
    assert!(started.elapsed() < millis(500), "a refusal takes microseconds");
}

#[tokio::test]
async fn a_store_that_started_without_redis_picks_it_up() {
    let mut redis = RedisServer::start();
    redis.kill();
    let store = RedisStore::lazy(redis.url()).unwrap();
    while store.breaker_state() == BreakerState::Closed {
        store.get("a").await.unwrap_err();
    }
    redis.restart();
    let back = Instant::now();
    eventually("reads succeed", async || store.get("a").await.is_ok()).await;
    assert!(back.elapsed() < seconds(2) + SLACK, "{:?}", back.elapsed());
    assert_eq!(store.breaker_state(), BreakerState::Closed);
}

#[tokio::test]
async fn a_half_open_breaker_lets_exactly_one_call_through() {
    let server = FakeServer::start(empty).await;
    let store = RedisStore::builder()
        .url(server.url())
        .command_timeout(millis(300))
        .max_retries(0)
        .circuit_breaker(1, OVER_AT_ONCE)
        .connect()
        .await
        .unwrap();
    server.follow(|command| match command[0].as_str() {
        "EXISTS" => Answer::Silence,
        _ => empty(command),
    });
    store.contains("a").await.unwrap_err();
    assert_eq!(store.breaker_state(), BreakerState::Open);
    assert_eq!(server.count("EXISTS"), 1);
    let kinds = failures(50, || {
        let store = store.clone();
        async move { store.contains("a").await }
    })
    .await;
    assert_eq!(kinds[&StoreErrorKind::Timeout], 1, "{kinds:?}");
    assert_eq!(kinds[&StoreErrorKind::CircuitOpen], 49, "{kinds:?}");
    assert_eq!(server.count("EXISTS"), 2);

    server.follow(|command| match command[0].as_str() {
        "EXISTS" => Answer::Say(":1\r\n".into()),
        _ => empty(command),
    });
    eventually("the probe goes", async || store.contains("a").await.is_ok()).await;
    assert_eq!(store.breaker_state(), BreakerState::Closed);
}

#[tokio::test]
async fn a_probe_that_is_given_up_frees_its_place() {
    let server = FakeServer::start(silent).await;
    let store = RedisStore::builder()
        .url(server.url())
        .command_timeout(millis(200))
        .circuit_breaker(1, OVER_AT_ONCE)
        .connect()
        .await
        .unwrap();
    store.get("a").await.unwrap_err();
    let probe = tokio::time::timeout(millis(20), store.get("a")).await;
    assert!(probe.is_err(), "the probe was waiting");
    server.follow(empty);
    eventually("the next probe goes", async || store.get("a").await.is_ok()).await;
}

#[tokio::test]
async fn without_a_breaker_every_call_tries() {
    let server = FakeServer::start(hangs_up).await;
    let store = brisk(&server).max_retries(0).without_circuit_breaker().connect().await.unwrap();
    for _ in 0..20 {
        let error = store.contains("a").await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
    }
    assert_eq!(server.count("EXISTS"), 20);
    assert_eq!(store.breaker_state(), BreakerState::Closed);
}

#[tokio::test]
async fn too_many_calls_at_once_are_refused() {
    let server = FakeServer::start(silent).await;
    let store = RedisStore::builder()
        .url(server.url())
        .command_timeout(millis(300))
        .max_outstanding(10)
        .connect()
        .await
        .unwrap();
    let kinds = failures(25, || {
        let store = store.clone();
        async move { store.get("a").await }
    })
    .await;
    assert_eq!(kinds[&StoreErrorKind::Timeout], 10, "{kinds:?}");
    assert_eq!(kinds[&StoreErrorKind::Unavailable], 15, "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_killed_under_load_and_comes_back() {
    let mut redis = RedisServer::start();
    let limit = millis(500);
    let store = RedisStore::builder()
        .url(redis.url())
        .command_timeout(limit)
        .circuit_breaker(5, millis(300))
        .connect()
        .await
        .unwrap();
    let (over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let workers: Vec<_> = (0..32)
        .map(|worker| {
            let (store, over, served) = (store.clone(), Arc::clone(&over), Arc::clone(&served));
            tokio::spawn(async move {
                let (mut slowest, mut ok, mut failed) = (Duration::ZERO, 0, 0);
                let key = format!("k{worker}");
                while !over.load(Ordering::Relaxed) {
                    let started = Instant::now();
                    let result = match worker % 3 {
                        0 => store.put(&key, "1".into(), seconds(60)).await,
                        1 => store.get_many(&[&key, "other"]).await.map(drop),
                        _ => store.get(&key).await.map(drop),
                    };
                    slowest = slowest.max(started.elapsed());
                    match result {
                        Ok(()) => {
                            ok += 1;
                            served.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(_) => {
                            failed += 1;
                            // A refusal costs so little that the clients would keep Redis from
                            // starting.
                            tokio::time::sleep(millis(1)).await;
                        }
                    }
                }
                (slowest, ok, failed)
            })
        })
        .collect();
    for _ in 0..3 {
        let enough = served.load(Ordering::Relaxed) + 1_000;
        eventually("the load goes on", async || served.load(Ordering::Relaxed) >= enough).await;
        redis.kill();
        eventually("the breaker opens", async || store.breaker_state() != BreakerState::Closed)
            .await;
        redis.restart();
        eventually("the breaker closes", async || store.breaker_state() == BreakerState::Closed)
            .await;
        eventually("calls succeed", async || store.put("a", "1".into(), seconds(60)).await.is_ok())
            .await;
    }
    over.store(true, Ordering::Relaxed);
    for worker in workers {
        let (slowest, ok, failed) = worker.await.unwrap();
        assert!(slowest < limit + SLACK, "{slowest:?}");
        assert!(ok > 0 && failed > 0, "{ok} {failed}");
    }
    store.close().await.unwrap();
}
