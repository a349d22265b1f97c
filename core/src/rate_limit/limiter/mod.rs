//! Limits over a [`RateLimitStore`], and what happens where it fails.

mod builder;
mod check;
mod failure;
mod lists;
mod meter;
mod permit;
mod quotas;
mod refusals;
#[cfg(test)]
mod tests;
mod unheard;

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};

use super::{ExactRateLimitStore, KeyState, Quota, RateLimitStore};
use crate::error::{Error, StoreError, StoreErrorKind};
use crate::key::{KeyError, Namespace};
use crate::runtime::Runtime;

pub use builder::RateLimiterBuilder;
pub use failure::FailurePolicy;
pub use meter::RateLimitStats;
pub use permit::Permit;

use failure::Fallback;
use lists::Lists;
use meter::Meter;
use quotas::Quotas;
use refusals::Refusals;

/// Limits how much of something a key may have: requests of a client, e-mails to an address.
///
/// What a limiter adds to a [`RateLimitStore`]:
///
/// - **Several quotas at once**, or those that a function finds for the key, decided in one round
///   trip: what one of them refuses is counted against none.
/// - **A refused key is answered here**, without a round trip, until it could be allowed again.
/// - **A store that fails, or is slow, is no error**: a [`FailurePolicy`] decides, the decision says
///   so, and so does the log, once at `warn`. What can never work is an error.
/// - Lists of keys that are never and always refused, and a mode that refuses nothing.
///
/// Clones are cheap and share everything.
///
/// ```
/// use larder_core::{MemoryRateLimits, Quota, RateLimiter};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// let limiter = RateLimiter::builder(MemoryRateLimits::new())
///     .quota(Quota::per_second(2))
///     .quota(Quota::per_day(1_000))
///     .build()?;
///
/// assert!(limiter.check("203.0.113.9").await?.is_allowed());
/// assert!(limiter.check("203.0.113.9").await?.is_allowed());
/// let refused = limiter.check("203.0.113.9").await?;
/// assert_eq!(refused.refused_by(), Some("second"));
/// assert!(refused.retry_after().is_some());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RateLimiter {
    shared: Arc<Shared>,
    store: Arc<dyn RateLimitStore>,
    runtime: Arc<dyn Runtime>,
    namespace: Namespace,
    quotas: Quotas,
}

struct Shared {
    lists: Lists,
    is_shadow: bool,
    /// What the store says of itself, which it is not asked for every key.
    is_in_process: bool,
    /// Whether it may be asked to take before anything else is looked at.
    takes_at_once: bool,
    max_key_bytes: usize,
    store: &'static str,
    fallback: Fallback,
    /// None for a store that never waits.
    timeout: Option<Duration>,
    /// None for a store that is as near.
    refusals: Option<Refusals>,
    meter: Meter,
}

impl RateLimiter {
    /// Starts to build a limiter over a store that counts exactly.
    ///
    /// One that does not is refused by the compiler:
    ///
    /// ```compile_fail,E0277
    /// use larder_core::{RateLimitStore, RateLimiter};
    ///
    /// fn build(store: impl RateLimitStore) {
    ///     let _ = RateLimiter::builder(store);
    /// }
    /// ```
    pub fn builder(store: impl ExactRateLimitStore) -> RateLimiterBuilder {
        RateLimiterBuilder::new(Arc::new(store), true)
    }

    /// Starts to build a limiter over any store, that may allow more than its quotas say: as much
    /// more as the store's [`Counting`](super::Counting) tells.
    ///
    /// ```
    /// use larder_core::{Quota, RateLimitStore, RateLimiter};
    ///
    /// fn build(store: impl RateLimitStore) -> larder_core::Result<RateLimiter> {
    ///     RateLimiter::approximate(store).quota(Quota::per_minute(100)).build()
    /// }
    /// # build(larder_core::MemoryRateLimits::new())?;
    /// # Ok::<(), larder_core::Error>(())
    /// ```
    pub fn approximate(store: impl RateLimitStore) -> RateLimiterBuilder {
        RateLimiterBuilder::new(Arc::new(store), false)
    }

    /// Gives back what a request took that should not count after all; of each quota no more than
    /// counts by now.
    ///
    /// Give back what [`Decision::taken`](super::Decision::taken) tells: a decision without the store
    /// took nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the store fails, and those of [`check`](Self::check).
    ///
    /// ```
    /// # use larder_core::{MemoryRateLimits, Quota, RateLimiter};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let limiter =
    /// #     RateLimiter::builder(MemoryRateLimits::new()).quota(Quota::per_hour(100)).build()?;
    /// let decision = limiter.check("user:42").await?;
    /// limiter.refund("user:42", decision.taken()).await?;
    /// assert_eq!(limiter.peek("user:42").await?.remaining(), Some(100));
    /// # Ok(()) }
    /// ```
    pub async fn refund(&self, key: impl AsRef<str>, cost: u64) -> Result<(), Error> {
        if cost == 0 {
            return Ok(());
        }
        let (full, quotas) = self.subject(key.as_ref())?;
        self.change(&full, "refund", self.store.refund(&full, &quotas, cost), |_| ()).await
    }

    /// Ends what is under way, before the lease's time is over; see [`Quota::concurrent`] and
    /// [`Decision::lease`](super::Decision::lease). The [`Permit`] of [`acquire`](Self::acquire) does
    /// it by itself.
    ///
    /// # Errors
    ///
    /// As [`refund`](Self::refund).
    ///
    /// ```
    /// # use larder_core::{MemoryRateLimits, Quota, RateLimiter, seconds};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let limiter = RateLimiter::builder(MemoryRateLimits::new())
    ///     .quota(Quota::concurrent(4, seconds(30)))
    ///     .build()?;
    /// if let Some(lease) = limiter.check("user:42").await?.lease() {
    ///     // … the work …
    ///     limiter.release("user:42", lease).await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn release(&self, key: impl AsRef<str>, lease: u64) -> Result<(), Error> {
        let (full, quotas) = self.subject(key.as_ref())?;
        let now = self.runtime.now();
        let here = |state: &mut KeyState| state.release(now, &quotas, lease);
        self.change(&full, "release", self.store.release(&full, &quotas, lease), here).await
    }

    /// Forgets what was counted against the quotas of `key`, and ends a block.
    ///
    /// # Errors
    ///
    /// As [`refund`](Self::refund).
    ///
    /// ```
    /// # use larder_core::{MemoryRateLimits, Quota, RateLimiter};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let limiter =
    /// #     RateLimiter::builder(MemoryRateLimits::new()).quota(Quota::per_hour(1)).build()?;
    /// limiter.check("user:42").await?;
    /// limiter.reset("user:42").await?;
    /// assert!(limiter.check("user:42").await?.is_allowed());
    /// # Ok(()) }
    /// ```
    pub async fn reset(&self, key: impl AsRef<str>) -> Result<(), Error> {
        let (full, quotas) = self.subject(key.as_ref())?;
        let here = |state: &mut KeyState| *state = KeyState::default();
        self.change(&full, "reset", self.store.reset(&full, &quotas), here).await
    }

    /// Refuses everything of `key` for `time` from now, whatever was said before; a time of zero
    /// ends a block.
    ///
    /// Another limiter that refused the key just before goes on with what it remembers, which is
    /// no less strict.
    ///
    /// # Errors
    ///
    /// As [`refund`](Self::refund).
    ///
    /// ```
    /// # use larder_core::{MemoryRateLimits, Quota, RateLimiter, minutes};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let limiter =
    /// #     RateLimiter::builder(MemoryRateLimits::new()).quota(Quota::per_hour(100)).build()?;
    /// limiter.block("198.51.100.7", minutes(15)).await?;
    /// assert!(!limiter.check("198.51.100.7").await?.is_allowed());
    /// # Ok(()) }
    /// ```
    pub async fn block(&self, key: impl AsRef<str>, time: Duration) -> Result<(), Error> {
        let full = self.full_key(key.as_ref())?;
        let now = self.runtime.now();
        let here = |state: &mut KeyState| state.block(now, time);
        self.change(&full, "block", self.store.block(&full, time), here).await
    }

    /// This limiter with other quotas, for everything that is called on the result: for one route,
    /// or a plan that had to be looked up. Counts of quotas of the same name are shared.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] where two of them have one name, [`Error::Store`] where the store cannot
    /// count by them.
    ///
    /// ```
    /// # use larder_core::{MemoryRateLimits, Quota, RateLimiter, minutes};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let limiter =
    /// #     RateLimiter::builder(MemoryRateLimits::new()).quota(Quota::per_hour(100)).build()?;
    /// let sign_in = limiter.with_quotas([Quota::new(5, minutes(15)).named("sign-in")])?;
    /// assert_eq!(sign_in.check("203.0.113.9").await?.remaining(), Some(4));
    /// # Ok(()) }
    /// ```
    pub fn with_quotas(&self, quotas: impl IntoIterator<Item = Quota>) -> Result<Self, Error> {
        let quotas: Arc<[Quota]> = quotas.into_iter().collect();
        quotas::check(&quotas, "with_quotas")?;
        self.store.check_quotas(&quotas)?;
        Ok(Self { quotas: Quotas::Same(quotas), ..self.clone() })
    }

    /// This limiter on another clock and other timers: on Workers, those of the request at hand.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use larder_core::{MemoryRateLimits, Quota, RateLimiter, SystemRuntime};
    /// # let limiter =
    /// #     RateLimiter::builder(MemoryRateLimits::new()).quota(Quota::per_hour(100)).build()?;
    /// let same = limiter.on(Arc::new(SystemRuntime::default()));
    /// # Ok::<(), larder_core::Error>(())
    /// ```
    #[must_use]
    pub fn on(&self, runtime: Arc<dyn Runtime>) -> Self {
        let store = self.store.bound_to(&runtime).unwrap_or_else(|| Arc::clone(&self.store));
        Self { store, runtime, ..self.clone() }
    }

    /// The clock, timers and tasks that it uses.
    ///
    /// ```
    /// # use larder_core::{MemoryRateLimits, Quota, RateLimiter, Runtime};
    /// # let limiter =
    /// #     RateLimiter::builder(MemoryRateLimits::new()).quota(Quota::per_hour(100)).build()?;
    /// let now = limiter.runtime().now();
    /// # let _ = now;
    /// # Ok::<(), larder_core::Error>(())
    /// ```
    #[must_use]
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.runtime
    }

    /// The store that it asks.
    ///
    /// ```
    /// # use larder_core::{MemoryRateLimits, Quota, RateLimitStore, RateLimiter};
    /// # let limiter =
    /// #     RateLimiter::builder(MemoryRateLimits::new()).quota(Quota::per_hour(100)).build()?;
    /// assert!(limiter.store().capabilities().in_process);
    /// # Ok::<(), larder_core::Error>(())
    /// ```
    #[must_use]
    pub fn store(&self) -> &Arc<dyn RateLimitStore> {
        &self.store
    }

    /// The limiter's name in metrics and logs.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared.meter.name()
    }

    /// What it has decided so far.
    #[must_use]
    pub fn stats(&self) -> RateLimitStats {
        self.shared.meter.stats()
    }

    /// Changes what the store has of a key, and what is remembered and counted here; that also
    /// where the caller does not wait for the store, as it may do it all the same.
    async fn change(
        &self,
        key: &str,
        operation: &'static str,
        call: impl Future<Output = Result<(), StoreError>>,
        here: impl FnOnce(&mut KeyState),
    ) -> Result<(), Error> {
        self.shared.fallback.change(key, self.runtime.now(), here);
        let _forgets = Forgets { refusals: self.shared.refusals.as_ref(), key };
        Ok(self.within_timeout(operation, call).await?)
    }

    async fn within_timeout<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let result = match self.shared.timeout {
            None => call.await,
            Some(timeout) => match select(pin!(call), self.runtime.sleep(timeout)).await {
                Either::Left((result, _)) => result,
                Either::Right(_) => {
                    let detail =
                        format!("no answer within {timeout:?} (see RateLimiterBuilder::timeout)");
                    let (kind, store) = (StoreErrorKind::Timeout, self.store.name());
                    Err(StoreError::new(kind, store, operation, detail))
                }
            },
        };
        result.inspect_err(|error| self.shared.meter.store_failed(operation, error))
    }

    fn subject(&self, key: &str) -> Result<(String, Arc<[Quota]>), Error> {
        Ok((self.full_key(key)?, self.quotas.of(key)?.into_owned()))
    }

    fn full_key(&self, key: &str) -> Result<String, KeyError> {
        self.namespace.full_key(key, self.shared.max_key_bytes, self.shared.store)
    }
}

/// Forgets a key's refusal when dropped.
struct Forgets<'a> {
    refusals: Option<&'a Refusals>,
    key: &'a str,
}

impl Drop for Forgets<'_> {
    fn drop(&mut self) {
        if let Some(refusals) = self.refusals {
            refusals.forget(self.key);
        }
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter")
            .field("name", &self.name())
            .field("store", &self.store)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
