//! Clients that keep a shop busy, and remember what went wrong and how long it took.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use serde_json::json;
use tokio::task::JoinSet;

use super::Shop;
use crate::http_client::Answer;

/// How long it is waited for something that has to happen under load.
const PATIENCE: Duration = Duration::from_secs(60);
const MOST_REMEMBERED: usize = 20;

/// Clients at work. Each reads every part of the API, and renames a user of its own: whom it then
/// has to be shown with the new name, whatever happens to the store.
#[derive(Debug)]
pub struct Load {
    shop: Shop,
    seen: Arc<Seen>,
    clients: JoinSet<()>,
}

/// What the clients have seen.
#[derive(Debug, Default)]
struct Seen {
    stop: AtomicBool,
    requests: AtomicU64,
    hits: AtomicU64,
    deferred: AtomicU64,
    slowest_micros: AtomicU64,
    failures: Mutex<Vec<String>>,
}

/// What a load came to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Outcome {
    /// How many requests were sent.
    pub requests: u64,
    /// How many answers came from a cache.
    pub hits: u64,
    /// How many writes were answered while the store could not be told.
    pub deferred: u64,
    /// How long the slowest answer took.
    pub slowest: Duration,
    /// The first requests that failed, or were answered wrongly.
    pub failures: Vec<String>,
}

impl Load {
    /// Puts so many clients to work. Their users are those from 1,001 on.
    #[must_use]
    pub fn start(shop: &Shop, clients: u32) -> Self {
        let seen = Arc::new(Seen::default());
        let mut load = Self { shop: shop.clone(), seen, clients: JoinSet::new() };
        for number in 0..clients {
            let client = Client { shop: shop.clone(), seen: Arc::clone(&load.seen), number };
            load.clients.spawn(client.work());
        }
        load
    }

    /// What the clients have seen so far.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let seen = &self.seen;
        Outcome {
            requests: seen.requests.load(Ordering::Relaxed),
            hits: seen.hits.load(Ordering::Relaxed),
            deferred: seen.deferred.load(Ordering::Relaxed),
            slowest: Duration::from_micros(seen.slowest_micros.load(Ordering::Relaxed)),
            failures: seen.failures.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Waits until the clients have sent so many requests more.
    ///
    /// # Errors
    ///
    /// Where they do not.
    pub async fn requests(&self, more: u64) -> Result<()> {
        let enough = self.outcome().requests + more;
        let goes_on = || async { Ok(self.outcome().requests >= enough) };
        until("the clients get answers", goes_on).await
    }

    /// Waits until so many answers more came from a cache.
    ///
    /// # Errors
    ///
    /// Where they do not.
    pub async fn hits(&self, more: u64) -> Result<()> {
        let enough = self.outcome().hits + more;
        until("there are hits", || async { Ok(self.outcome().hits >= enough) }).await
    }

    /// Waits until so many writes more could not be told to the store.
    ///
    /// # Errors
    ///
    /// Where all could.
    pub async fn deferred(&self, more: u64) -> Result<()> {
        let enough = self.outcome().deferred + more;
        let deferred = || async { Ok(self.outcome().deferred >= enough) };
        until("invalidations are deferred", deferred).await
    }

    /// Waits until the shop says that it is ready, and that these of its parts are degraded.
    ///
    /// # Errors
    ///
    /// Where it does not, or is not ready.
    pub async fn degraded(&self, parts: &[&str]) -> Result<()> {
        let degraded = || async {
            let ready = self.shop.get("/readyz").await?.json()?;
            let named = ready["degraded"].as_array().context("no list of what is degraded")?;
            let mut named: Vec<_> = named.iter().filter_map(|it| it["part"].as_str()).collect();
            named.retain(|part| parts.is_empty() || parts.contains(part));
            Ok(named == parts)
        };
        until(&format!("the degraded parts are {parts:?}"), degraded).await
    }

    /// Lets the clients end what they are at, and says what they have seen.
    ///
    /// # Errors
    ///
    /// Where one panicked.
    pub async fn stop(mut self) -> Result<Outcome> {
        self.seen.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended?;
        }
        Ok(self.outcome())
    }
}

async fn until<F: Future<Output = Result<bool>>>(what: &str, holds: impl Fn() -> F) -> Result<()> {
    let started = Instant::now();
    while !holds().await? {
        ensure!(started.elapsed() < PATIENCE, "waited for {PATIENCE:?} in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

struct Client {
    shop: Shop,
    seen: Arc<Seen>,
    number: u32,
}

impl Client {
    async fn work(self) {
        let mut round = 0;
        while !self.seen.stop.load(Ordering::Relaxed) {
            if let Err(error) = self.round(round).await {
                let mut failures =
                    self.seen.failures.lock().unwrap_or_else(PoisonError::into_inner);
                if failures.len() < MOST_REMEMBERED {
                    failures.push(format!("client {}, round {round}: {error:#}", self.number));
                }
            }
            round += 1;
        }
    }

    async fn round(&self, round: u32) -> Result<()> {
        let user = format!("/api/v1/users/{}", 1_001 + self.number);
        let name = format!("Client {} in round {round}", self.number);
        let put = self.timed(self.shop.put(&user, &json!({ "name": name }))).await?;
        if put.header("x-invalidation") == Some("deferred") {
            self.seen.deferred.fetch_add(1, Ordering::Relaxed);
        }
        for _ in 0..2 {
            let shown = self.read(&user).await?.json()?;
            ensure!(shown["name"] == name, "{user} shows {}, and not {name:?}", shown["name"]);
        }
        self.read(&format!("/api/v1/users?page={}&limit=10", 1 + round % 5)).await?;
        self.read(&format!("/api/v1/products?page={}&limit=10", 1 + round % 5)).await?;
        self.read(&format!("/api/v1/products/{}", 1 + (self.number + round) % 100)).await?;
        self.read("/api/v1/config").await?;
        self.timed(self.shop.head("/api/v1/products?limit=5")).await?;
        for path in ["/healthz", "/readyz", "/metrics", "/"] {
            self.read(path).await?;
        }
        Ok(())
    }

    async fn read(&self, path: &str) -> Result<Answer> {
        self.timed(self.shop.get(path)).await
    }

    async fn timed(&self, request: impl Future<Output = Result<Answer>>) -> Result<Answer> {
        let started = Instant::now();
        let answer = request.await;
        let took = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.seen.slowest_micros.fetch_max(took, Ordering::Relaxed);
        self.seen.requests.fetch_add(1, Ordering::Relaxed);
        let answer = answer?;
        answer.expect_status(StatusCode::OK)?;
        if answer.header("x-cache") == Some("HIT") {
            self.seen.hits.fetch_add(1, Ordering::Relaxed);
        }
        Ok(answer)
    }
}
