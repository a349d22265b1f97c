//! What the log says, and what it never says.
#![allow(clippy::unwrap_used)]

mod support;

use std::io;
use std::sync::{Arc, Mutex};

use larder_core::{Quota, RateLimiter, Store, millis, seconds};
use larder_redis::{RedisStore, RedisStoreBuilder};
use larder_tests::eventually;
use larder_tests::redis_server::RedisServer;
use support::Events;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// All that this thread logs, the libraries below included.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn capture() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone());
        (log, subscriber.set_default())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    /// The lines of that level that the crate itself has written.
    fn of(&self, level: &str) -> Vec<String> {
        self.by("larder_redis", level)
    }

    fn by(&self, by: &str, level: &str) -> Vec<String> {
        let own = |line: &&str| line.contains(&format!(" {level} {by}"));
        self.text().lines().filter(own).map(String::from).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn an_outage_is_one_error_and_its_end_one_line() {
    let (log, _guard) = Log::capture();
    let mut redis = RedisServer::start();
    let builder = RedisStore::builder().url(redis.url()).backoff(millis(10), millis(10));
    let (builder, mut events) = Events::of(builder);
    let store = builder.connect().await.unwrap();
    events.until("ready").await;
    assert_eq!(log.of("ERROR").len() + log.of("WARN").len(), 0, "{}", log.text());

    redis.kill();
    let mut errors = 0;
    while errors < 5 {
        errors += usize::from(events.next().await == "error");
    }
    redis.restart();
    events.until("ready").await;
    assert_eq!(log.of("ERROR").len(), 1, "{}", log.text());
    assert!(log.of("ERROR")[0].contains("logged at DEBUG"), "{}", log.text());
    assert_eq!(log.of("WARN").len(), 0, "{}", log.text());
    let attempts = log.of("DEBUG").iter().filter(|line| line.contains("still down")).count();
    assert!(attempts >= 4, "{}", log.text());
    let back = log.of("INFO").into_iter().filter(|line| line.contains("ready again"));
    let back: Vec<String> = back.collect();
    assert_eq!(back.len(), 1, "{}", log.text());
    assert!(back[0].contains("outage=") && back[0].contains("failures="), "{}", back[0]);

    // The next one is told of again.
    redis.kill();
    events.until("error").await;
    assert_eq!(log.of("ERROR").len(), 2, "{}", log.text());
    drop(store);
}

#[tokio::test]
async fn a_breaker_that_stays_open_is_told_of_once() {
    let (log, _guard) = Log::capture();
    let mut redis = RedisServer::start();
    redis.kill();
    let builder = RedisStore::builder().url(redis.url()).backoff(millis(1), millis(1));
    let store = builder.circuit_breaker(1, millis(1)).lazy().unwrap();
    eventually("probes have failed", async || {
        store.get("a").await.unwrap_err();
        log.of("DEBUG").iter().filter(|line| line.contains("stays open")).count() >= 3
    })
    .await;
    let opened = log.of("WARN");
    assert_eq!(opened.len(), 1, "{opened:?}");
    assert!(opened[0].contains("breaker") && opened[0].contains("opened"), "{opened:?}");
}

#[tokio::test]
async fn a_limit_that_does_not_hold_is_told_of_once_and_so_is_its_return() {
    let (log, _guard) = Log::capture();
    let redis = RedisServer::start();
    redis.command(&["ACL", "SETUSER", "shop", "on", ">pw", "~*", "+@all", "-@scripting"]);
    let builder = RedisStore::builder().url(redis.url().replace("//", "//shop:pw@"));
    let store = builder.without_circuit_breaker().connect().await.unwrap();
    let limiter = RateLimiter::builder(store.rate_limits()).quota(Quota::per_hour(9));
    let limiter = limiter.timeout(seconds(10)).build().unwrap();
    let degraded = async || limiter.check("a").await.unwrap().is_degraded();
    let told = |level| log.by("larder_core::rate_limit", level);
    for times in [1, 2] {
        for _ in 0..3 {
            assert!(degraded().await);
        }
        let warned = told("WARN");
        assert_eq!(warned.len(), times, "{}", log.text());
        assert!(warned[times - 1].contains("ACL SETUSER"), "{warned:?}");
        redis.command(&["ACL", "SETUSER", "shop", "+@scripting"]);
        assert!(!degraded().await && !degraded().await);
        assert_eq!(told("INFO").len(), times, "{}", log.text());
        assert!(told("INFO")[times - 1].contains("decisions=3"), "{}", log.text());
        redis.command(&["ACL", "SETUSER", "shop", "-@scripting"]);
    }
    assert_eq!((told("WARN").len(), told("INFO").len()), (2, 2), "{}", log.text());
}

/// Connects and makes a call, or fails; then reads what was logged.
async fn stays_secret(what: &str, builder: impl Fn() -> RedisStoreBuilder) {
    let (log, _guard) = Log::capture();
    let eager = builder().connect_timeout(millis(500)).connect().await;
    let lazy = builder().command_timeout(millis(500)).lazy().unwrap();
    let _ = (lazy.get("a").await, lazy.close().await, drop(eager));
    assert!(!log.of("DEBUG").is_empty(), "{what}: nothing was logged");
    assert!(!log.text().contains("hunter"), "{what}: {}", log.text());
}

#[tokio::test]
async fn passwords_are_not_logged() {
    let redis = RedisServer::builder().password("hunter2").start();
    redis.command(&["ACL", "SETUSER", "shop", "on", ">hunter4", "~*", "+@all"]);
    let port = redis.port();
    for (user, password) in [("", "hunter2"), ("", "hunter3"), ("shop", "hunter4")] {
        for scheme in ["redis", "rediss"] {
            let url = format!("{scheme}://{user}:{password}@127.0.0.1:{port}/1");
            stays_secret(&url, || RedisStore::builder().url(&url)).await;
        }
        for port in [port, 1] {
            let builder = || {
                let builder = RedisStore::builder().port(port).password(password);
                if user.is_empty() { builder } else { builder.user(user) }
            };
            stays_secret(&format!("{user:?} at port {port}"), builder).await;
        }
    }
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn passwords_are_not_logged_behind_tls() {
    let pki = support::pki::Pki::create("logs");
    let redis = pki.listening(RedisServer::builder().password("hunter2"), false);
    for password in ["hunter2", "hunter3"] {
        let url = support::pki::url(&redis).replace("//", &format!("//:{password}@"));
        let builder = || RedisStore::builder().url(&url);
        stays_secret("an unknown authority", builder).await;
        stays_secret("a known one", || builder().tls_ca_file(pki.path("ca.pem"))).await;
    }
}
