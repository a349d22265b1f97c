//! What a cache counts of its bus: for [`InvalidationStats`], and for the `metrics` facade.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use metrics::{Gauge, counter, gauge};

use super::Gap;
use crate::meter::Tally;

/// What a cache has counted of its bus since it was built, all its clones together.
///
/// The same figures go to the `metrics` facade, see `docs/metrics.md`.
///
/// ```
/// use larder_core::{Cache, LocalBus, MemoryStore};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// let cache = Cache::builder(MemoryStore::new()).invalidation(LocalBus::new()).build()?;
/// cache.remove("answer").await?;
/// assert!(cache.invalidation_stats().published >= 1);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidationStats {
    /// Notices that the bus has taken, those that say that the cache is alive among them.
    pub published: u64,
    /// Attempts to publish that failed.
    pub publish_failures: u64,
    /// Keys, patterns and tags that the bus has not taken yet.
    pub waiting: u64,
    /// How often so many waited that they became one notice about everything.
    pub collapsed: u64,
    /// Notices of others that were heard.
    pub received: u64,
    /// How often something was missed.
    pub gaps: u64,
    /// Values in front of the store that were held against it before they were used again.
    pub checks: u64,
    /// Keys that were taken out of the store again, as a load had left there what had been
    /// invalidated before.
    pub withdrawn: u64,
    /// Whether the bus is known to be alive now. While it is not, no value in front of the store is
    /// used unchecked.
    pub trusted: bool,
}

pub(crate) struct Meter {
    cache: String,
    published: Tally,
    publish_failures: Tally,
    collapsed: Tally,
    received: Tally,
    gaps: AtomicU64,
    checks: Tally,
    withdrawn: Tally,
    is_trusted: AtomicBool,
    waiting: Gauge,
    trusted: Gauge,
}

impl Meter {
    pub(crate) fn new(cache: &str) -> Self {
        let tally = |name| Tally::new(counter!(name, "cache" => cache.to_owned()));
        let gauge = |name| gauge!(name, "cache" => cache.to_owned());
        Self {
            cache: cache.to_owned(),
            published: tally("larder_invalidation_published_total"),
            publish_failures: tally("larder_invalidation_publish_failures_total"),
            collapsed: tally("larder_invalidation_collapsed_total"),
            received: tally("larder_invalidation_received_total"),
            gaps: AtomicU64::new(0),
            checks: tally("larder_invalidation_checks_total"),
            withdrawn: tally("larder_invalidation_withdrawn_total"),
            is_trusted: AtomicBool::new(false),
            waiting: gauge("larder_invalidation_waiting"),
            trusted: gauge("larder_invalidation_trusted"),
        }
    }

    pub(crate) fn published(&self) {
        self.published.add(1);
    }

    pub(crate) fn publish_failed(&self) {
        self.publish_failures.add(1);
    }

    pub(crate) fn collapsed(&self) {
        self.collapsed.add(1);
    }

    pub(crate) fn received(&self) {
        self.received.add(1);
    }

    pub(crate) fn gap(&self, why: Gap) {
        self.gaps.fetch_add(1, Ordering::Relaxed);
        counter!("larder_invalidation_gaps_total",
            "cache" => self.cache.clone(), "reason" => why.as_str())
        .increment(1);
        tracing::debug!(cache = %self.cache, reason = why.as_str(), "invalidations were missed");
    }

    pub(crate) fn checked(&self) {
        self.checks.add(1);
    }

    pub(crate) fn withdrawn(&self, n: u64) {
        self.withdrawn.add(n);
    }

    pub(crate) fn waiting(&self, n: usize) {
        self.waiting.set(n as f64);
    }

    /// Says it in the log where it has changed.
    pub(crate) fn trusts(&self, is_trusted: bool) {
        if self.is_trusted.swap(is_trusted, Ordering::Relaxed) != is_trusted {
            self.trusted.set(if is_trusted { 1.0 } else { 0.0 });
            match is_trusted {
                true => tracing::info!(cache = %self.cache, "the bus of invalidations is heard"),
                false => tracing::warn!(cache = %self.cache,
                    "the bus of invalidations is not heard; every read asks the store"),
            }
        }
    }

    pub(crate) fn stats(&self, waiting: usize, trusted: bool) -> InvalidationStats {
        InvalidationStats {
            published: self.published.get(),
            publish_failures: self.publish_failures.get(),
            waiting: waiting as u64,
            collapsed: self.collapsed.get(),
            received: self.received.get(),
            gaps: self.gaps.load(Ordering::Relaxed),
            checks: self.checks.get(),
            withdrawn: self.withdrawn.get(),
            trusted,
        }
    }
}
