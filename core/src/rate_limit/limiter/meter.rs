//! What a limiter counts of its own work: for [`RateLimitStats`], and for the `metrics` facade.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Histogram, counter, histogram};

use super::FailurePolicy;
use crate::error::StoreError;
use crate::meter::Tally;
use crate::rate_limit::{Decision, Reason};

/// What a limiter has decided since it was built, all its clones together. Peeks are not counted.
///
/// The same figures go to the `metrics` facade, see `docs/metrics.md`.
///
/// ```
/// # use larder_core::{MemoryRateLimits, Quota, RateLimiter};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// let limiter =
///     RateLimiter::builder(MemoryRateLimits::new()).quota(Quota::per_minute(100)).build()?;
/// limiter.check("203.0.113.9").await?;
/// assert_eq!(limiter.stats().allowed, 1);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimitStats {
    /// Requests that were allowed, those that were shadowed not among them.
    pub allowed: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Those among them that the store was not asked for, as it had refused them just before.
    pub remembered: u64,
    /// Requests that would have been refused, but for the shadow mode.
    pub shadowed: u64,
    /// Decisions without the store, because it failed.
    pub degraded: u64,
    /// Calls of the store that failed.
    pub store_errors: u64,
}

pub(super) struct Meter {
    limiter: String,
    allowed: Tally,
    refused: Tally,
    remembered: Tally,
    shadowed: Tally,
    degraded: AtomicU64,
    /// Those among them since the store answered last.
    degraded_in_a_row: AtomicU64,
    store_errors: AtomicU64,
    store_seconds: Histogram,
}

impl Meter {
    pub(super) fn new(limiter: String) -> Self {
        let checks = |result: &'static str| {
            Tally::new(counter!("larder_limit_checks_total",
                "limiter" => limiter.clone(), "result" => result))
        };
        let remembered =
            counter!("larder_limit_remembered_refusals_total", "limiter" => limiter.clone());
        Self {
            allowed: checks("allowed"),
            refused: checks("refused"),
            shadowed: checks("shadowed"),
            remembered: Tally::new(remembered),
            degraded: AtomicU64::new(0),
            degraded_in_a_row: AtomicU64::new(0),
            store_errors: AtomicU64::new(0),
            store_seconds: histogram!("larder_limit_store_seconds", "limiter" => limiter.clone()),
            limiter,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.limiter
    }

    #[inline]
    pub(super) fn allowed(&self) {
        self.allowed.add(1);
    }

    #[inline]
    pub(super) fn decided(&self, decision: &Decision) {
        if decision.is_allowed() && !decision.is_shadowed() {
            self.allowed.add(1);
        } else {
            self.not_allowed(decision);
        }
    }

    fn not_allowed(&self, decision: &Decision) {
        if decision.is_shadowed() { &self.shadowed } else { &self.refused }.add(1);
        if decision.is_remembered() {
            self.remembered.add(1);
        }
        let policy = match decision.reason() {
            Reason::Blocked => "block",
            Reason::Denied => "deny",
            Reason::StoreFailed => "failure",
            _ => decision.policy().unwrap_or_default(),
        };
        counter!("larder_limit_refusals_total",
            "limiter" => self.limiter.clone(), "policy" => policy.to_owned())
        .increment(1);
    }

    pub(super) fn degraded(&self, policy: FailurePolicy, error: &StoreError) {
        self.degraded.fetch_add(1, Ordering::Relaxed);
        counter!("larder_limit_degraded_total",
            "limiter" => self.limiter.clone(), "policy" => policy.as_str(),
            "kind" => error.kind().as_str())
        .increment(1);
        if self.degraded_in_a_row.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(
                limiter = %self.limiter, policy = policy.as_str(), %error,
                "limits are decided without their store; until it answers again, its failures are \
                 logged at DEBUG"
            );
        }
    }

    /// That it answered a check, and after which time.
    pub(super) fn store_answered(&self, took: Duration) {
        self.store_seconds.record(took.as_secs_f64());
        // Looked at first: all threads would wait for one another to write here.
        if self.degraded_in_a_row.load(Ordering::Relaxed) > 0 {
            let decisions = self.degraded_in_a_row.swap(0, Ordering::Relaxed);
            if decisions > 0 {
                tracing::info!(limiter = %self.limiter, decisions, "limits' store answers again");
            }
        }
    }

    pub(super) fn store_failed(&self, operation: &'static str, error: &StoreError) {
        self.store_errors.fetch_add(1, Ordering::Relaxed);
        counter!("larder_limit_store_errors_total",
            "limiter" => self.limiter.clone(), "operation" => operation,
            "kind" => error.kind().as_str())
        .increment(1);
        tracing::debug!(limiter = %self.limiter, operation, %error, "the store of counts failed");
    }

    pub(super) fn stats(&self) -> RateLimitStats {
        RateLimitStats {
            allowed: self.allowed.get(),
            refused: self.refused.get(),
            remembered: self.remembered.get(),
            shadowed: self.shadowed.get(),
            degraded: self.degraded.load(Ordering::Relaxed),
            store_errors: self.store_errors.load(Ordering::Relaxed),
        }
    }
}
