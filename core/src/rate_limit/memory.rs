//! Counts in this process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::rule::Taken;
use super::{
    Check, Counting, Decision, ExactRateLimitStore, KeyState, Quota, RateLimitCapabilities,
    RateLimitStore,
};
use crate::error::StoreError;
use crate::forgetful::Forgetful;
use crate::key::Split;
use crate::runtime::Runtime;
use crate::time::Timestamp;

/// A [`RateLimitStore`] in this process, exact, and bounded by the number of its keys.
///
/// When it is full, the key goes that would be forgotten next anyway: what is counted under it, or
/// its block, ends first. What it forgets before its time it has to allow again, see
/// [`evicted`](Self::evicted). So whoever can choose many keys pushes out those with shorter windows
/// than its own: let [`max_keys`](MemoryRateLimitsBuilder::max_keys) be well above the number of
/// clients in a window. It is split into parts of at least 1,024 keys, each with a lock and
/// a bound of its own, so that threads seldom meet.
///
/// A key takes about 200 bytes and its own length, and 24 bytes for each lease that is held.
///
/// Clones share the counts.
///
/// ```
/// use larder_core::rate_limit::Check;
/// use larder_core::{MemoryRateLimits, Quota, RateLimitStore};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder_core::StoreError> {
/// let limits = MemoryRateLimits::builder().max_keys(10_000).build();
/// let quotas = [Quota::per_minute(100)];
/// let decision = limits.check(&Check::new("203.0.113.9", &quotas)).await?;
/// assert_eq!(decision.remaining(), Some(99));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct MemoryRateLimits {
    inner: Arc<Inner>,
}

struct Inner {
    /// Notes when something was last decided by the exact clock.
    keys: Forgetful<KeyState>,
    capabilities: RateLimitCapabilities,
    /// The runtime's [`recent_lag`](Runtime::recent_lag), in microseconds.
    lag: u64,
    runtime: Arc<dyn Runtime>,
}

/// Builds [`MemoryRateLimits`].
///
/// ```
/// use larder_core::MemoryRateLimits;
///
/// let limits = MemoryRateLimits::builder().max_keys(10_000).build();
/// assert!(limits.is_empty());
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` or `on`"]
pub struct MemoryRateLimitsBuilder {
    max_keys: usize,
}

impl MemoryRateLimitsBuilder {
    /// How many keys there are at most. 100,000 by default.
    pub fn max_keys(mut self, keys: usize) -> Self {
        self.max_keys = keys;
        self
    }

    /// The limits, on the clock of `runtime`.
    ///
    /// ```
    /// # use larder_core::{MemoryRateLimits, SystemRuntime};
    /// let limits = MemoryRateLimits::builder().on(SystemRuntime::default());
    /// # let _ = limits;
    /// ```
    #[must_use]
    pub fn on(self, runtime: impl Runtime) -> MemoryRateLimits {
        MemoryRateLimits {
            inner: Arc::new(Inner {
                keys: Forgetful::new(self.max_keys),
                capabilities: RateLimitCapabilities::new(Counting::Exact).in_process(),
                lag: u64::try_from(runtime.recent_lag().as_micros()).unwrap_or(u64::MAX),
                runtime: Arc::new(runtime),
            }),
        }
    }
}

impl MemoryRateLimits {
    /// Starts to build limits.
    ///
    /// ```
    /// # use larder_core::MemoryRateLimits;
    /// let limits = MemoryRateLimits::builder().max_keys(10_000).build();
    /// # let _ = limits;
    /// ```
    pub fn builder() -> MemoryRateLimitsBuilder {
        MemoryRateLimitsBuilder { max_keys: 100_000 }
    }

    /// How many keys there are, those among them whose time is over but which still take room
    /// included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.keys.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many keys had to go while something still counted under them, so that it was forgotten.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.inner.keys.evicted()
    }

    /// Does something with a key, at one moment.
    fn change<R>(&self, key: &str, change: impl FnOnce(&mut KeyState, Timestamp) -> R) -> R {
        let now = self.inner.runtime.now();
        self.inner.keys.change(key, now, |state| change(state, now))
    }

    /// Asks the exact clock only where it matters, as that takes longer than all the rest.
    #[inline]
    fn take(&self, key: Split<'_>, quota: &Quota, cost: u64) -> Option<Taken> {
        let Inner { keys, runtime, lag, .. } = &*self.inner;
        let recent = runtime.recent();
        keys.change_known_since(key, recent, |state, latest| {
            let until = recent.after_micros(*lag);
            // Not before what was decided last, unless the clock has been set back since.
            let from = if latest <= until { recent.max(latest) } else { recent };
            state.take_between((from, until), quota, cost)
        })
    }

    fn decide(&self, check: &Check<'_>) -> Decision {
        let taken = match check.quotas {
            [quota] if check.takes => self.take(check.key.into(), quota, check.cost),
            _ => None,
        };
        // What it says besides is not put together under the lock of the key.
        match (taken, check.quotas) {
            (Some(taken), [quota]) => Decision::of_taken(quota, check.cost, taken),
            _ => self.decide_exactly(check),
        }
    }

    fn decide_exactly(&self, check: &Check<'_>) -> Decision {
        let Inner { keys, runtime, .. } = &*self.inner;
        keys.change_and_note(check.key, runtime.recent(), |state, latest| {
            *latest = runtime.now();
            state.check(*latest, check)
        })
    }
}

#[async_trait]
impl RateLimitStore for MemoryRateLimits {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn capabilities(&self) -> &RateLimitCapabilities {
        &self.inner.capabilities
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::clone(&self.inner.runtime)
    }

    fn take_now(&self, namespace: &str, key: &str, quota: &Quota, cost: u64) -> Option<Taken> {
        self.take(Split { namespace, key }, quota, cost)
    }

    fn check_now(&self, check: &Check<'_>) -> Option<Decision> {
        Some(self.decide(check))
    }

    async fn check(&self, check: &Check<'_>) -> Result<Decision, StoreError> {
        Ok(self.decide(check))
    }

    async fn refund(&self, key: &str, quotas: &[Quota], cost: u64) -> Result<(), StoreError> {
        self.change(key, |state, now| state.refund(now, quotas, cost));
        Ok(())
    }

    async fn release(&self, key: &str, quotas: &[Quota], lease: u64) -> Result<(), StoreError> {
        self.change(key, |state, now| state.release(now, quotas, lease));
        Ok(())
    }

    async fn reset(&self, key: &str, quotas: &[Quota]) -> Result<(), StoreError> {
        self.change(key, |state, _| state.reset(quotas));
        Ok(())
    }

    async fn block(&self, key: &str, time: Duration) -> Result<(), StoreError> {
        self.change(key, |state, now| state.block(now, time));
        Ok(())
    }

    async fn ready(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl ExactRateLimitStore for MemoryRateLimits {}

impl fmt::Debug for MemoryRateLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRateLimits")
            .field("keys", &self.len())
            .field("evicted", &self.evicted())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::runtime::{VirtualRuntime, test};
    use crate::time::{minutes, seconds};

    fn take(limits: &MemoryRateLimits, key: &str, quota: &Quota) -> Decision {
        limits.decide(&Check::new(key, std::slice::from_ref(quota)))
    }

    #[test]
    fn a_flood_of_keys_is_bounded_and_leaves_what_has_the_most_to_lose() {
        let runtime = VirtualRuntime::seeded(0);
        let limits = MemoryRateLimits::builder().max_keys(1_000).on(runtime.clone());
        let (slow, brief) = (Quota::new(1, minutes(10)), Quota::new(5, seconds(10)));
        for i in 0..500 {
            assert!(take(&limits, &format!("slow:{i}"), &slow).is_allowed());
        }
        limits.block("blocked", minutes(20)).now_or_never().unwrap().unwrap();
        for i in 0..10_000 {
            take(&limits, &format!("flood:{i}"), &brief);
            assert!(limits.len() <= 1_000, "{limits:?}");
        }
        assert_eq!(limits.evicted(), 10_501 - 1_000);
        let refused = |i| !take(&limits, &format!("slow:{i}"), &slow).is_allowed();
        assert!((0..500).all(refused), "what lives longest was evicted");
        assert!(!take(&limits, "blocked", &brief).is_allowed());
        runtime.advance(seconds(10));
        let before = limits.evicted();
        assert!(take(&limits, "another", &slow).is_allowed());
        assert_eq!(limits.evicted(), before, "what is over is not evicted but swept");
        assert_eq!(limits.len(), 999);
    }

    #[test]
    fn what_says_nothing_takes_no_room() {
        let limits = MemoryRateLimits::builder().on(VirtualRuntime::seeded(0));
        let quota = [Quota::per_minute(3)];
        limits.decide(&Check::new("a", &quota).peek());
        limits.decide(&Check::new("b", &quota).cost(4));
        assert!(limits.is_empty());
        take(&limits, "c", &quota[0]);
        limits.refund("c", &quota, 1).now_or_never().unwrap().unwrap();
        assert!(limits.is_empty());
    }
}
