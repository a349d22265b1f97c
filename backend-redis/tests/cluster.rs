//! A real Redis Cluster: slots that move under load, masters that are lost and come back.
#![allow(clippy::unwrap_used, clippy::panic)] // A helper of a test may panic as the test may.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use larder_core::rate_limit::Check;
use larder_core::session::{SessionRecord, Updated};
use larder_core::{
    Glob, PutEntry, Quota, RateLimitStore, SessionStore, Store, StoreError, StoreErrorKind, hours,
    millis, seconds,
};
use larder_redis::{BreakerState, RedisStore, RedisStoreBuilder};
use larder_tests::eventually;
use larder_tests::redis_cluster::RedisCluster;
use larder_tests::redis_server::RedisServer;
use tokio::task::JoinHandle;

/// What a busy machine may add to a time limit.
const SLACK: Duration = Duration::from_millis(1_500);

fn store(cluster: &RedisCluster) -> RedisStoreBuilder {
    RedisStore::builder().url(cluster.url())
}

/// With time for every command: what an overloaded machine does is not the question there.
async fn patient(cluster: &RedisCluster) -> RedisStore {
    store(cluster).command_timeout(seconds(30)).connect().await.unwrap()
}

/// Writes a key and reads it back, again and again, until it is told to stop.
struct Load {
    task: JoinHandle<Vec<(StoreError, Duration)>>,
    is_over: Arc<AtomicBool>,
    successes: Arc<AtomicUsize>,
}

impl Load {
    fn on(store: &RedisStore, key: String) -> Self {
        let (is_over, successes) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let task = tokio::spawn({
            let (store, is_over) = (store.clone(), Arc::clone(&is_over));
            let successes: Arc<AtomicUsize> = Arc::clone(&successes);
            async move {
                let mut failures = Vec::new();
                for round in 0_u64.. {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let start = Instant::now();
                    let value = round.to_string();
                    let outcome = async {
                        store.put(&key, value.clone().into(), hours(1)).await?;
                        store.get(&key).await
                    };
                    match outcome.await {
                        Ok(found) => {
                            assert_eq!(found.as_deref(), Some(value.as_bytes()), "{key}");
                            successes.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => failures.push((error, start.elapsed())),
                    }
                    tokio::time::sleep(millis(2)).await;
                }
                failures
            }
        });
        Self { task, is_over, successes }
    }

    /// Waits until it has succeeded so many times more.
    async fn goes_on(&self, times: usize) {
        let goal = self.successes.load(Ordering::Relaxed) + times;
        eventually("the load goes on", async || {
            self.successes.load(Ordering::Relaxed) >= goal || self.task.is_finished()
        })
        .await;
    }

    async fn end(self) -> Vec<(StoreError, Duration)> {
        self.is_over.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_moves_under_load_and_no_call_fails() {
    let cluster = RedisCluster::start();
    let store = patient(&cluster).await;
    let slot = cluster.slot_of("{moves}");
    let from = cluster.first_owner_of(slot);
    let to = (from + 1) % 3;
    let keys: Vec<String> = (0..8).map(|number| format!("{{moves}}{number}")).collect();
    let loads: Vec<Load> = keys.iter().map(|key| Load::on(&store, key.clone())).collect();
    for load in &loads {
        load.goes_on(5).await;
    }
    cluster.begin_move(slot, from, to);
    for (key, load) in keys.iter().zip(&loads) {
        cluster.move_key(key, from, to);
        load.goes_on(5).await;
        // Of two nodes: as many keys as there are, whichever of them has them.
        let names: Vec<&str> = keys.iter().map(String::as_str).collect();
        let found = store.get_many(&names).await.unwrap();
        assert_eq!(found.iter().filter(|value| value.is_some()).count(), keys.len());
    }
    cluster.end_move(slot, to);
    for load in loads {
        load.goes_on(20).await;
        let failures = load.end().await;
        assert!(failures.is_empty(), "{failures:?}");
    }
    // It is asked where the slot is, and not by way of where it was.
    let before = cluster.node(from).calls_of("get");
    for key in &keys {
        store.get(key).await.unwrap().unwrap();
    }
    assert_eq!(cluster.node(from).calls_of("get"), before);
    for seen in ["ASK", "MOVED"] {
        let stats = cluster.node(from).command(&["INFO", "errorstats"]);
        assert!(stats.contains(&format!("errorstat_{seen}:")), "{stats}");
    }
}

#[tokio::test]
async fn a_session_is_changed_where_its_slot_is_on_its_way_to() {
    let cluster = RedisCluster::start();
    let sessions = patient(&cluster).await.sessions();
    let slot = cluster.slot_of("session");
    let from = cluster.first_owner_of(slot);
    let to = (from + 1) % 3;
    let now = sessions.runtime().now();
    let record = SessionRecord::new(now, now + hours(1));
    let first = sessions.create("session", &record).await.unwrap().unwrap();
    cluster.begin_move(slot, from, to);
    cluster.move_key("session", from, to);
    // The script is not known there yet.
    let updated = sessions.update("session", &first, &record).await.unwrap();
    let Updated::Done(second) = updated else { panic!("{updated:?}") };
    let found = sessions.load("session").await.unwrap().unwrap();
    assert_eq!(found.version, second);
    assert!(sessions.remove("session").await.unwrap());
    cluster.end_move(slot, to);
    assert!(sessions.load("session").await.unwrap().is_none());
}

#[tokio::test]
async fn a_check_whose_slot_is_on_its_way_counts_or_fails() {
    let cluster = RedisCluster::start();
    let store = store(&cluster).command_timeout(seconds(30)).backoff(millis(1), millis(1));
    let limits = store.connect().await.unwrap().rate_limits();
    let quotas = [Quota::per_day(100)];
    let key = format!("{{limit:moves}}:{}", quotas[0].name());
    let slot = cluster.slot_of(&key);
    let from = cluster.first_owner_of(slot);
    let to = (from + 1) % 3;
    let mut counted = 0;
    let mut count = async |times: usize| {
        for _ in 0..times {
            match limits.check(&Check::new("moves", &quotas)).await {
                Ok(decision) => {
                    counted += 1;
                    assert_eq!(decision.remaining(), Some(100 - counted));
                }
                Err(error) => assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}"),
            }
        }
        counted
    };
    assert_eq!(count(5).await, 5);
    cluster.begin_move(slot, from, to);
    count(5).await;
    cluster.move_key(&key, from, to);
    let before = count(5).await;
    cluster.end_move(slot, to);
    assert_eq!(count(5).await, before + 5);
}

#[tokio::test]
async fn a_slot_that_is_on_its_way_is_no_outage() {
    let cluster = RedisCluster::start();
    let store = store(&cluster)
        .max_retries(1_000)
        .backoff(millis(100), millis(100))
        .circuit_breaker(1, seconds(60))
        .connect()
        .await
        .unwrap();
    let limits = store.rate_limits();
    let quotas = [Quota::per_day(100), Quota::per_hour(100)];
    limits.check(&Check::new("moves", &quotas)).await.unwrap();
    let key = format!("{{limit:moves}}:{}", quotas[0].name());
    let slot = cluster.slot_of(&key);
    let from = cluster.first_owner_of(slot);
    // With one key here and one there, neither node answers.
    cluster.begin_move(slot, from, (from + 1) % 3);
    cluster.move_key(&key, from, (from + 1) % 3);
    let error = limits.check(&Check::new("moves", &quotas)).await.unwrap_err();
    assert!(error.to_string().contains("TRYAGAIN"), "{error}");
    assert_eq!(store.breaker_state(), BreakerState::Closed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_master_is_down_the_others_are_seldom_asked_for_the_map() {
    let mut cluster = RedisCluster::start();
    let store = store(&cluster).connect().await.unwrap();
    let keys: Vec<String> = (0..3).map(|index| cluster.key_at(index, "key")).collect();
    let loads: Vec<Load> = keys.iter().map(|key| Load::on(&store, key.clone())).collect();
    for load in &loads {
        load.goes_on(10).await;
    }
    let asked = |cluster: &RedisCluster| -> u64 {
        [1, 2].map(|node| cluster.node(node).calls_of("cluster|slots")).iter().sum()
    };
    cluster.nodes()[0].kill();
    tokio::time::sleep(seconds(3)).await;
    let before = asked(&cluster);
    assert!(before > 2, "nobody looks for a successor");
    tokio::time::sleep(seconds(3)).await;
    let meanwhile = asked(&cluster) - before;
    assert!((1..=15).contains(&meanwhile), "{meanwhile} times within three seconds");
    for load in loads {
        load.end().await;
    }
}

#[tokio::test]
async fn many_keys_are_asked_of_their_nodes_while_a_slot_is_on_its_way() {
    let cluster = RedisCluster::start();
    let store = patient(&cluster).await;
    let keys: Vec<String> = (0..300).map(|number| format!("many:{number}")).collect();
    let together: Vec<String> = (0..20).map(|number| format!("{{many}}{number}")).collect();
    let all: Vec<&str> = keys.iter().chain(&together).map(String::as_str).collect();
    let entries: Vec<PutEntry<'_>> = all
        .iter()
        .map(|key| PutEntry { key, value: key.as_bytes().to_vec().into(), ttl: hours(1) })
        .collect();
    let slot = cluster.slot_of("{many}");
    let from = cluster.first_owner_of(slot);
    let to = (from + 1) % 3;
    store.put_many(&entries).await.unwrap();
    cluster.begin_move(slot, from, to);
    for key in together.iter().step_by(2) {
        cluster.move_key(key, from, to);
    }
    store.put_many(&entries).await.unwrap();
    let found = store.get_many(&all).await.unwrap();
    for (key, value) in all.iter().zip(found) {
        assert_eq!(value.as_deref(), Some(key.as_bytes()));
    }
    assert_eq!(store.remove_many(&all).await.unwrap(), 320);
    assert_eq!(store.remove_many(&all).await.unwrap(), 0);
    assert!(store.get_many(&all).await.unwrap().iter().all(Option::is_none));
}

/// All pages of a scan; `between` is called after the first.
async fn scanned(store: &RedisStore, between: impl FnOnce()) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let (mut cursor, mut between) = (None, Some(between));
    for page in 0.. {
        assert!(page < 1_000, "the scan does not end");
        let page = store.scan(&Glob::new("scan:*"), cursor).await.unwrap();
        found.extend(page.keys);
        if let Some(between) = between.take() {
            between();
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    found
}

#[tokio::test]
async fn a_scan_misses_no_key_that_moves_meanwhile() {
    let cluster = RedisCluster::builder().spares(1).start();
    let store = patient(&cluster).await;
    let tags: Vec<String> = (0..3).map(|index| cluster.key_at(index, "tag")).collect();
    let mut keys = BTreeSet::new();
    for tag in &tags {
        for number in 0..5 {
            let key = format!("scan:{{{tag}}}{number}");
            store.put(&key, "v".into(), hours(1)).await.unwrap();
            keys.insert(key);
        }
    }
    assert_eq!(scanned(&store, || {}).await, keys);

    // From every node to every other, so that one of them was scanned already; and only in part,
    // so that the map of the slots says nothing yet; and to a node that has no slot yet.
    for (from, to) in [(0, 1), (1, 2), (2, 0), (0, 2), (1, 0), (2, 1), (0, 3), (1, 3), (2, 3)] {
        for is_ended in [false, true] {
            let tag = cluster.key_at(from, &format!("from{from}to{to}{is_ended}"));
            let key = format!("scan:{{{tag}}}");
            store.put(&key, "v".into(), hours(1)).await.unwrap();
            keys.insert(key.clone());
            let slot = cluster.slot_of(&key);
            let found = scanned(&store, || {
                cluster.begin_move(slot, from, to);
                cluster.move_key(&key, from, to);
                if is_ended {
                    cluster.end_move(slot, to);
                }
            });
            assert_eq!(found.await, keys, "{from} to {to}, ended: {is_ended}");
            if !is_ended {
                cluster.end_move(slot, to);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_master_costs_its_own_slots_until_its_replica_takes_over() {
    let mut cluster = RedisCluster::builder().replicas(1).start();
    let store = store(&cluster).connect().await.unwrap();
    let keys: Vec<String> = (0..3).map(|index| cluster.key_at(index, "key")).collect();
    let loads: Vec<Load> = keys.iter().map(|key| Load::on(&store, key.clone())).collect();
    for load in &loads {
        load.goes_on(10).await;
    }
    cluster.nodes()[0].kill();
    loads[1].goes_on(20).await;
    loads[2].goes_on(20).await;
    // By itself, on the node that was its replica.
    loads[0].goes_on(20).await;
    cluster.wait_for_promotion(3);
    cluster.nodes()[0].restart();
    eventually("the lost master is a replica now", async || {
        cluster.node(0).command(&["INFO", "replication"]).contains("role:slave")
    })
    .await;
    for (index, load) in loads.into_iter().enumerate() {
        load.goes_on(20).await;
        let failures = load.end().await;
        if index > 0 {
            assert!(failures.is_empty(), "slots of another node: {failures:?}");
        }
        for (error, took) in failures {
            let kinds =
                [StoreErrorKind::Unavailable, StoreErrorKind::Timeout, StoreErrorKind::CircuitOpen];
            assert!(kinds.contains(&error.kind()), "{error}");
            assert!(took < seconds(2) + SLACK, "{took:?}: {error}");
        }
    }
    store.ready().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_hangs_holds_up_no_other() {
    let cluster = RedisCluster::builder().replicas(1).start();
    let store = store(&cluster).command_timeout(millis(500)).connect().await.unwrap();
    let keys: Vec<String> = (0..3).map(|index| cluster.key_at(index, "key")).collect();
    let loads: Vec<Load> = keys.iter().map(|key| Load::on(&store, key.clone())).collect();
    for load in &loads {
        load.goes_on(10).await;
    }
    cluster.node(0).pause();
    loads[1].goes_on(50).await;
    loads[2].goes_on(50).await;
    loads[0].goes_on(20).await;
    cluster.node(0).unpause();
    eventually("the master that hung is a replica now", async || {
        cluster.node(0).command(&["INFO", "replication"]).contains("role:slave")
    })
    .await;
    for (index, load) in loads.into_iter().enumerate() {
        load.goes_on(20).await;
        let failures = load.end().await;
        assert!(index == 0 || failures.is_empty(), "{failures:?}");
    }
}

#[tokio::test]
async fn what_is_no_cluster_is_told() {
    let server = RedisServer::start();
    let nodes = [format!("127.0.0.1:{}", server.port())];
    let error = RedisStore::builder().cluster(&nodes).connect().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Config);
    assert!(error.to_string().contains("is no node of a Cluster"), "{error}");

    let cluster = RedisCluster::start();
    let store = RedisStore::connect(cluster.node(0).url()).await.unwrap();
    let key = cluster.key_at(1, "key");
    let error = store.get(&key).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Config);
    assert!(error.to_string().contains("RedisStoreBuilder::cluster"), "{error}");
}

#[tokio::test]
async fn a_cluster_is_found_by_any_of_its_nodes() {
    let cluster = RedisCluster::start();
    let nodes = [String::from("127.0.0.1:1"), format!("127.0.0.1:{}", cluster.node(2).port())];
    let store = RedisStore::builder().cluster(&nodes).client_name("shop").connect().await.unwrap();
    for index in 0..3 {
        let key = cluster.key_at(index, "key");
        store.put(&key, "v".into(), seconds(9)).await.unwrap();
        assert!(cluster.node(index).command(&["CLIENT", "LIST"]).contains("name=shop"));
    }
    assert!(store.is_connected());
    store.close().await.unwrap();
    assert!(!store.is_connected());
    let error = store.get("key").await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Closed);
}
