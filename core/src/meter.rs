//! What a cache counts: for [`CacheStats`], and for the `metrics` facade.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

use crate::error::StoreError;
use crate::sync::Count;

/// What a cache has counted since it was built, all its clones together.
///
/// The same figures go to the `metrics` facade, see `docs/metrics.md`.
///
/// ```
/// # use larder_core::{Cache, MemoryStore};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// let cache = Cache::builder(MemoryStore::new()).build()?;
/// cache.get::<u32>("answer").await?;
/// assert_eq!(cache.stats().misses, 1);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Reads that found a usable value, or the knowledge that there is none.
    pub hits: u64,
    /// Reads that found nothing usable.
    pub misses: u64,
    /// Misses among them because the stored bytes could not be read.
    pub unreadable: u64,
    /// Loads that were started.
    pub loads: u64,
    /// Loads that failed, hung or panicked.
    pub load_failures: u64,
    /// Callers that waited for another's load.
    pub coalesced: u64,
    /// Loads whose result was not kept, as their key was written or invalidated meanwhile.
    pub superseded: u64,
    /// Calls of the store that failed.
    pub store_errors: u64,
}

/// A counter of its own, and its twin in the facade.
pub(crate) struct Tally {
    own: Count,
    facade: Counter,
}

impl Tally {
    pub(crate) fn new(facade: Counter) -> Self {
        Self { own: Count::default(), facade }
    }

    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.own.add(n);
        self.facade.increment(n);
    }

    pub(crate) fn get(&self) -> u64 {
        self.own.get()
    }
}

pub(crate) struct Meter {
    cache: String,
    hits: Tally,
    misses: Tally,
    unreadable: AtomicU64,
    loads: Tally,
    load_failures: AtomicU64,
    load_seconds: Histogram,
    coalesced: Tally,
    superseded: Tally,
    store_errors: AtomicU64,
    read_seconds: Histogram,
    write_seconds: Histogram,
    remove_seconds: Histogram,
}

/// What the store was asked to do, as metrics label it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operation {
    Read,
    Write,
    Remove,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Remove => "remove",
        }
    }
}

impl Meter {
    pub(crate) fn new(cache: String) -> Self {
        let tally = |name| Tally::new(counter!(name, "cache" => cache.clone()));
        let seconds = |operation: Operation| {
            histogram!("larder_store_seconds",
                "cache" => cache.clone(), "operation" => operation.as_str())
        };
        Self {
            hits: tally("larder_cache_hits_total"),
            misses: tally("larder_cache_misses_total"),
            unreadable: AtomicU64::new(0),
            loads: tally("larder_cache_loads_total"),
            load_failures: AtomicU64::new(0),
            load_seconds: histogram!("larder_cache_load_seconds", "cache" => cache.clone()),
            coalesced: tally("larder_cache_coalesced_total"),
            superseded: tally("larder_cache_superseded_total"),
            store_errors: AtomicU64::new(0),
            read_seconds: seconds(Operation::Read),
            write_seconds: seconds(Operation::Write),
            remove_seconds: seconds(Operation::Remove),
            cache,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.cache
    }

    pub(crate) fn hit(&self, n: u64) {
        self.hits.add(n);
    }

    pub(crate) fn miss(&self, n: u64) {
        self.misses.add(n);
    }

    pub(crate) fn unreadable(&self, reason: &'static str) {
        self.unreadable.fetch_add(1, Ordering::Relaxed);
        counter!("larder_cache_unreadable_total", "cache" => self.cache.clone(), "reason" => reason)
            .increment(1);
    }

    pub(crate) fn unwritable(&self) {
        counter!("larder_cache_unwritable_total", "cache" => self.cache.clone()).increment(1);
    }

    pub(crate) fn load(&self) {
        self.loads.add(1);
    }

    pub(crate) fn load_ended(&self, took: Duration, failure: Option<&'static str>) {
        self.load_seconds.record(took.as_secs_f64());
        if let Some(kind) = failure {
            self.load_failures.fetch_add(1, Ordering::Relaxed);
            counter!("larder_cache_load_failures_total",
                "cache" => self.cache.clone(), "kind" => kind)
            .increment(1);
        }
    }

    pub(crate) fn coalesced(&self) {
        self.coalesced.add(1);
    }

    pub(crate) fn superseded(&self) {
        self.superseded.add(1);
    }

    pub(crate) fn store_took(&self, operation: Operation, took: Duration) {
        let histogram = match operation {
            Operation::Read => &self.read_seconds,
            Operation::Write => &self.write_seconds,
            Operation::Remove => &self.remove_seconds,
        };
        histogram.record(took.as_secs_f64());
    }

    pub(crate) fn store_failed(&self, operation: Operation, error: &StoreError) {
        self.store_errors.fetch_add(1, Ordering::Relaxed);
        counter!("larder_store_errors_total",
            "cache" => self.cache.clone(), "operation" => operation.as_str(),
            "kind" => error.kind().as_str())
        .increment(1);
        tracing::debug!(cache = %self.cache, operation = operation.as_str(), %error,
            "the store failed");
    }

    pub(crate) fn stats(&self) -> CacheStats {
        CacheStats {
            hits: self.hits.get(),
            misses: self.misses.get(),
            unreadable: self.unreadable.load(Ordering::Relaxed),
            loads: self.loads.get(),
            load_failures: self.load_failures.load(Ordering::Relaxed),
            coalesced: self.coalesced.get(),
            superseded: self.superseded.get(),
            store_errors: self.store_errors.load(Ordering::Relaxed),
        }
    }
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meter").field("cache", &self.cache).field("stats", &self.stats()).finish()
    }
}
