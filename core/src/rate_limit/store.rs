//! The port for counts: what a backend decides, and what it says of its counting.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::rule::Taken;
use super::{Check, Decision, Quota};
use crate::error::StoreError;
use crate::runtime::Runtime;

/// A store of counts, which decides by them.
///
/// A check is atomic, by the store's own clock, and over all of its quotas at once: what one of
/// them refuses is counted against none. Nothing is kept of a key for longer than it counts. Every
/// implementation passes the same conformance suite, less what its [`RateLimitCapabilities`] do not
/// claim.
///
/// Keys arrive checked ([`check_key`](crate::check_key)) and complete; quotas have different names.
///
/// # Errors
///
/// Every method fails with a [`StoreError`] that names the store and the operation. Whether a check
/// that failed was counted is not known.
#[async_trait]
pub trait RateLimitStore: fmt::Debug + Send + Sync + 'static {
    /// A short name for logs, metrics and errors: `memory`, `redis`.
    fn name(&self) -> &'static str;

    /// How this store counts, and its limits.
    fn capabilities(&self) -> &RateLimitCapabilities;

    /// What keys begin with, before a `:`, where their limiter names no namespace of its own.
    fn default_namespace(&self) -> &str {
        "ratelimit"
    }

    /// The clock, timers and tasks that go with this store.
    fn runtime(&self) -> Arc<dyn Runtime>;

    /// This store on the timers and the calls of `runtime`, as
    /// [`Store::bound_to`](crate::Store::bound_to).
    fn bound_to(&self, runtime: &Arc<dyn Runtime>) -> Option<Arc<dyn RateLimitStore>> {
        let _ = runtime;
        None
    }

    /// Whether this store can count by `quotas`, without asking what it has; all that
    /// [`check`](Self::check) would refuse of them for ever is an error of
    /// [`StoreErrorKind::Config`](crate::StoreErrorKind::Config) or
    /// [`StoreErrorKind::Unsupported`](crate::StoreErrorKind::Unsupported). A limiter asks when it
    /// is built. By default every quota will do.
    fn check_quotas(&self, quotas: &[Quota]) -> Result<(), StoreError> {
        let _ = quotas;
        Ok(())
    }

    /// What [`check`](Self::check) answers, where that takes no waiting and cannot fail; `None`
    /// where it may, as everywhere but in a store in this process.
    fn check_now(&self, check: &Check<'_>) -> Option<Decision> {
        let _ = check;
        None
    }

    /// Takes `cost` of one quota for the complete key `namespace` and `key` together, where what is
    /// known of the key tells at once that it is allowed: as [`check`](Self::check), to which
    /// everything else is left. Then `None`, and nothing is changed.
    ///
    /// It is what most checks of a store in this process are, of one quota that does not count
    /// leases; so it is told, and answers, in few words.
    fn take_now(&self, namespace: &str, key: &str, quota: &Quota, cost: u64) -> Option<Taken> {
        let _ = (namespace, key, quota, cost);
        None
    }

    /// Decides, and counts what is allowed.
    async fn check(&self, check: &Check<'_>) -> Result<Decision, StoreError>;

    /// Gives `cost` back to each of `quotas`, and to none more than what counts. Leases stay held.
    async fn refund(&self, key: &str, quotas: &[Quota], cost: u64) -> Result<(), StoreError>;

    /// Ends the lease of that number in each of `quotas` that counts leases.
    async fn release(&self, key: &str, quotas: &[Quota], lease: u64) -> Result<(), StoreError>;

    /// Forgets what was counted against `quotas`, and ends a block.
    async fn reset(&self, key: &str, quotas: &[Quota]) -> Result<(), StoreError>;

    /// Refuses everything under `key` for `time` from now, whatever was said before; a time of zero
    /// ends a block.
    async fn block(&self, key: &str, time: Duration) -> Result<(), StoreError>;

    /// Whether the store answers now.
    async fn ready(&self) -> Result<(), StoreError>;

    /// Lets what is in flight finish, then refuses further calls. Idempotent.
    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A [`RateLimitStore`] whose every check sees every check before it, whoever made it.
///
/// What a [`Rule`](super::Rule) promises, such a store holds for all of its users together. It says
/// [`Counting::Exact`] of itself.
pub trait ExactRateLimitStore: RateLimitStore {}

impl<S: ExactRateLimitStore + ?Sized> ExactRateLimitStore for Arc<S> {}

#[async_trait]
impl<S: RateLimitStore + ?Sized> RateLimitStore for Arc<S> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn capabilities(&self) -> &RateLimitCapabilities {
        (**self).capabilities()
    }

    fn default_namespace(&self) -> &str {
        (**self).default_namespace()
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        (**self).runtime()
    }

    fn bound_to(&self, runtime: &Arc<dyn Runtime>) -> Option<Arc<dyn RateLimitStore>> {
        (**self).bound_to(runtime)
    }

    fn check_quotas(&self, quotas: &[Quota]) -> Result<(), StoreError> {
        (**self).check_quotas(quotas)
    }

    fn check_now(&self, check: &Check<'_>) -> Option<Decision> {
        (**self).check_now(check)
    }

    fn take_now(&self, namespace: &str, key: &str, quota: &Quota, cost: u64) -> Option<Taken> {
        (**self).take_now(namespace, key, quota, cost)
    }

    async fn check(&self, check: &Check<'_>) -> Result<Decision, StoreError> {
        (**self).check(check).await
    }

    async fn refund(&self, key: &str, quotas: &[Quota], cost: u64) -> Result<(), StoreError> {
        (**self).refund(key, quotas, cost).await
    }

    async fn release(&self, key: &str, quotas: &[Quota], lease: u64) -> Result<(), StoreError> {
        (**self).release(key, quotas, lease).await
    }

    async fn reset(&self, key: &str, quotas: &[Quota]) -> Result<(), StoreError> {
        (**self).reset(key, quotas).await
    }

    async fn block(&self, key: &str, time: Duration) -> Result<(), StoreError> {
        (**self).block(key, time).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        (**self).ready().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        (**self).close().await
    }
}

/// How a store counts, and its limits.
///
/// ```
/// use larder_core::rate_limit::{Counting, RateLimitCapabilities};
///
/// let claims = RateLimitCapabilities::new(Counting::Exact).max_key_bytes(512);
/// assert_eq!(claims.counting, Counting::Exact);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RateLimitCapabilities {
    /// What a check sees of those before it.
    pub counting: Counting,
    /// The longest complete key, in bytes.
    pub max_key_bytes: usize,
    /// Whether the counts live in this process, so that a check needs no time-out.
    pub in_process: bool,
}

impl RateLimitCapabilities {
    /// Counting as told, with keys of up to 4,096 bytes, outside of this process.
    #[must_use]
    pub fn new(counting: Counting) -> Self {
        Self { counting, max_key_bytes: 4_096, in_process: false }
    }

    /// Sets the longest complete key, in bytes.
    #[must_use]
    pub fn max_key_bytes(mut self, bytes: usize) -> Self {
        self.max_key_bytes = bytes;
        self
    }

    /// Says that the counts live in this process.
    #[must_use]
    pub fn in_process(mut self) -> Self {
        self.in_process = true;
        self
    }
}

/// What a check sees of those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Counting {
    /// All of them.
    Exact,
    /// Those of others only after up to `within`, as a rule, and not always those that happened at
    /// the same time: more may be allowed than the quota says.
    Approximate {
        /// How long a check may stay unseen elsewhere.
        within: Duration,
    },
}
