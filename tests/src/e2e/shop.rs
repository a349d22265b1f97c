//! The server that a case talks to.

use std::collections::BTreeSet;
use std::ops::Deref;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::http_client::HttpClient;

/// A kind of server that serves the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Its name in the names of tests.
    pub name: &'static str,
    /// The name of the store that its caches are in.
    pub store: &'static str,
    /// Whether one process answers every request.
    pub one_process: bool,
    /// Whether it has `GET /metrics`.
    pub metrics: bool,
    /// How it limits its clients; `None` where it does not.
    pub limit: Option<Limit>,
}

/// How a server limits its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// How many requests of `/api` a client has in a minute.
    pub requests: u64,
    /// The header that tells the client's address.
    pub client: &'static str,
}

/// A running server of the demo; an [`HttpClient`] of it.
#[derive(Debug, Clone)]
pub struct Shop {
    http: HttpClient,
    /// What kind of server it is.
    pub target: Target,
}

impl Shop {
    /// The server at `base`, as in `http://127.0.0.1:8787`.
    #[must_use]
    pub fn new(base: &str, target: Target) -> Self {
        Self { http: HttpClient::new(base), target }
    }

    /// What the caches have counted.
    pub(super) async fn stats(&self) -> Result<Stats> {
        Ok(Stats(self.get("/api/v1/stats").await?.json()?))
    }
}

impl Deref for Shop {
    type Target = HttpClient;

    fn deref(&self) -> &HttpClient {
        &self.http
    }
}

/// What `GET /api/v1/stats` answered.
pub(super) struct Stats(Value);

impl Stats {
    pub(super) fn database_calls(&self) -> Result<u64> {
        self.count("/database/calls")
    }

    pub(super) fn of_cache(&self, cache: &str, what: &str) -> Result<u64> {
        self.count(&format!("/caches/{cache}/{what}"))
    }

    pub(super) fn store(&self) -> Option<&str> {
        self.0["store"].as_str()
    }

    fn count(&self, pointer: &str) -> Result<u64> {
        let count = self.0.pointer(pointer).and_then(Value::as_u64);
        count.with_context(|| format!("the stats have no count at {pointer}: {}", self.0))
    }
}

/// Fails unless both are equal.
pub(super) fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, expected: T) -> Result<()> {
    ensure!(got == expected, "{what}: it is {got:?}, not {expected:?}");
    Ok(())
}

/// The list under `items`.
pub(super) fn items(page: &Value) -> Result<&Vec<Value>> {
    page["items"].as_array().with_context(|| format!("no items in {page}"))
}

/// The names of an object's members.
pub(super) fn fields(object: &Value) -> Result<BTreeSet<&str>> {
    let object = object.as_object().with_context(|| format!("no object: {object}"))?;
    Ok(object.keys().map(String::as_str).collect())
}
