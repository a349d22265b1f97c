//! The Worker of `tests/worker` under wrangler, started by the first test that asks it something.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use crate::http_client::HttpClient;
use crate::wrangler::{Worker, Wrangler};

/// The Worker, and how long its answers may take.
#[derive(Debug)]
pub struct TestWorker {
    patience: Duration,
    worker: Mutex<Option<Result<Arc<Worker>, String>>>,
}

impl TestWorker {
    /// A Worker that is built and started when it is first asked.
    #[must_use]
    pub fn new(patience: Duration) -> Self {
        Self { patience, worker: Mutex::new(None) }
    }

    /// `GET path`: the body of a 200, read from JSON.
    ///
    /// # Errors
    ///
    /// Where the Worker does not start or answers anything else; with what it said.
    pub fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let answer = self.run(|client| async move { client.get(path).await?.json() })?;
        serde_json::from_value(answer).with_context(|| format!("GET {path}"))
    }

    /// Runs a test with a client of the Worker.
    ///
    /// # Errors
    ///
    /// Its error, with what the Worker said.
    pub fn run<T, F>(&self, test: impl FnOnce(HttpClient) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let worker = self.worker()?;
        // Of its own, as connections belong to the runtime that opened them.
        let runtime = Runtime::new().context("Tokio does not start")?;
        let client = HttpClient::new(worker.base()).patience(self.patience);
        runtime.block_on(test(client)).map_err(|error| {
            let said = worker.said();
            let start = said.len() - said.len().min(4_000);
            let last = said.get(said.ceil_char_boundary(start)..).unwrap_or_default();
            anyhow::anyhow!("{error:#}\nthe Worker said last:\n{last}")
        })
    }

    /// The address of [`Worker::behind_the_proxy`].
    ///
    /// # Errors
    ///
    /// Where the Worker does not start, or the address cannot be found.
    pub fn behind_the_proxy(&self) -> Result<String> {
        self.worker()?.behind_the_proxy()
    }

    /// Ends it. A test's thread may still hold this when `main` returns, and nothing is dropped then.
    pub fn stop(&self) {
        drop(self.worker.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn worker(&self) -> Result<Arc<Worker>> {
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        let start = || start().map(Arc::new).map_err(|error| format!("{error:#}"));
        let worker = worker.get_or_insert_with(start).as_ref();
        worker.cloned().map_err(|error| anyhow::anyhow!("{error}"))
    }
}

fn start() -> Result<Worker> {
    let wrangler = Wrangler::new("tests/worker")?;
    wrangler.build()?;
    wrangler.dev()
}
