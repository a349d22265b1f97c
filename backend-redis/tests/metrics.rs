//! The figures, under the names that the documentation has for them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use larder_core::{Store, StoreErrorKind, millis, seconds};
use larder_redis::RedisStore;
use larder_tests::eventually;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use support::{Answer, FakeServer, empty};
use tokio::task::JoinSet;

/// A list of what is measured, for its readers.
const LIST: &str = include_str!("../../docs/metrics.md");

/// One store's figures.
struct Figures(PrometheusHandle);

impl Figures {
    fn of(&self, name: &str) -> f64 {
        let text = self.0.render();
        let line = text.lines().find(|line| line.split(['{', ' ']).next() == Some(name));
        let value = line.and_then(|line| line.rsplit(' ').next());
        value.unwrap_or_else(|| panic!("no {name} in:\n{text}")).parse().unwrap()
    }

    /// The names of all that is measured.
    fn names(&self) -> BTreeSet<String> {
        let text = self.0.render();
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        names.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    }
}

/// Finds no key, gathered or not; hangs up on `EXISTS`.
fn script(command: &[String]) -> Answer {
    match command[0].as_str() {
        "EXISTS" => Answer::HangUp,
        "MGET" => {
            let keys = command.len() - 1;
            Answer::Say(format!("*{keys}\r\n{}", "_\r\n".repeat(keys)))
        }
        _ => empty(command),
    }
}

#[tokio::test]
async fn what_is_listed_is_measured() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let figures = Figures(recorder.handle());
    let server = FakeServer::start(script).await;
    let store = metrics::with_local_recorder(&recorder, || {
        RedisStore::builder()
            .url(server.url())
            .backoff(millis(1), millis(1))
            .command_timeout(seconds(10))
            .max_retries(1)
            .max_outstanding(20)
            .circuit_breaker(2, seconds(60))
            .lazy()
            .unwrap()
    });
    let _bus = metrics::with_local_recorder(&recorder, || store.bus());
    assert_eq!(figures.of("larder_redis_connections_total"), 0.0);

    let store = Arc::new(store);
    let reads = (0..25).map(|i| {
        let store = Arc::clone(&store);
        async move { store.get(&format!("k{i}")).await }
    });
    let refused = reads.collect::<JoinSet<_>>().join_all().await.into_iter().filter(Result::is_err);
    assert_eq!(refused.count(), 5);
    assert_eq!(figures.of("larder_redis_overload_refusals_total"), 5.0);
    assert_eq!(figures.of("larder_redis_connections_total"), 1.0);
    assert_eq!(figures.of("larder_redis_connected"), 1.0);
    let gathered = figures.of("larder_redis_gathered_reads_total");
    assert!(gathered >= 10.0, "{gathered} of 20 reads were gathered");
    assert_eq!(figures.of("larder_redis_gather_batch_keys_sum"), gathered);

    assert_eq!(figures.of("larder_redis_breaker_state"), 0.0);
    for _ in 0..2 {
        store.contains("a").await.unwrap_err();
    }
    assert_eq!(figures.of("larder_redis_retries_total"), 2.0);
    assert_eq!(figures.of("larder_redis_breaker_state"), 2.0);
    let refused = store.contains("a").await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::CircuitOpen);
    assert_eq!(figures.of("larder_redis_breaker_refusals_total"), 1.0);

    let listed: BTreeSet<String> = LIST
        .split(['`', '\n'])
        .filter(|word| word.starts_with("larder_redis_"))
        .map(String::from)
        .collect();
    assert_eq!(figures.names(), listed);
}

#[tokio::test]
async fn an_outage_is_measured() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let figures = Figures(recorder.handle());
    let server = FakeServer::start(empty).await;
    let store = metrics::with_local_recorder(&recorder, || {
        RedisStore::builder().url(server.url()).backoff(millis(1), millis(1)).lazy().unwrap()
    });
    store.get("a").await.unwrap();
    assert_eq!(figures.of("larder_redis_disconnections_total"), 0.0);

    server.follow(|_| Answer::HangUp);
    store.get("a").await.unwrap_err();
    eventually("attempts fail", async || figures.of("larder_redis_connection_errors_total") >= 3.0)
        .await;
    assert_eq!(figures.of("larder_redis_disconnections_total"), 1.0);
    assert_eq!(figures.of("larder_redis_connected"), 0.0);

    server.follow(empty);
    eventually("it is back", async || figures.of("larder_redis_connected") == 1.0).await;
    assert_eq!(figures.of("larder_redis_connections_total"), 2.0);
}
