use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::failure::Fallback;
use super::lists::Lists;
use super::meter::Meter;
use super::quotas::{self, Quotas, QuotasOf};
use super::refusals::Refusals;
use super::{FailurePolicy, RateLimiter, Shared};
use crate::error::Error;
use crate::key::{self, Namespace};
use crate::rate_limit::{Counting, Quota, RateLimitStore};
use crate::runtime::Runtime;
use crate::time::{millis, seconds};

/// Builds a [`RateLimiter`].
///
/// ```
/// use larder_core::rate_limit::FailurePolicy;
/// use larder_core::{MemoryRateLimits, Quota, RateLimiter, millis};
///
/// let limiter = RateLimiter::builder(MemoryRateLimits::new())
///     .namespace("api")
///     .quota(Quota::per_second(10).burst(20))
///     .quota(Quota::per_day(1_000))
///     .deny(["198.51.100.7"])
///     .on_failure(FailurePolicy::local(4))
///     .timeout(millis(100))
///     .build()?;
/// # Ok::<(), larder_core::Error>(())
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct RateLimiterBuilder {
    store: Arc<dyn RateLimitStore>,
    is_strict: bool,
    runtime: Option<Arc<dyn Runtime>>,
    name: Option<String>,
    namespace: Option<String>,
    quotas: Vec<Quota>,
    quotas_by: Option<QuotasOf>,
    lists: Lists,
    is_shadow: bool,
    failure: FailurePolicy,
    timeout: Duration,
    remembered: (usize, Duration),
}

impl RateLimiterBuilder {
    pub(super) fn new(store: Arc<dyn RateLimitStore>, is_strict: bool) -> Self {
        Self {
            store,
            is_strict,
            runtime: None,
            name: None,
            namespace: None,
            quotas: Vec::new(),
            quotas_by: None,
            lists: Lists::default(),
            is_shadow: false,
            failure: FailurePolicy::default(),
            timeout: millis(250),
            remembered: (10_000, seconds(1)),
        }
    }

    /// What every key begins with, before a `:`. By default what the store
    /// [says](RateLimitStore::default_namespace), which is `ratelimit` unless it documents another;
    /// with an empty one nothing stands before the key.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// The limiter's name in metrics and logs. Its namespace by default.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Adds a quota. All of a limiter's quotas are decided together, and a request that one of them
    /// refuses is counted against none.
    pub fn quota(mut self, quota: Quota) -> Self {
        self.quotas.push(quota);
        self
    }

    /// Looks up the quotas of each key, as it was given to the limiter; instead of those that are
    /// the same for all. A key without any is not limited.
    ///
    /// Called for every check. Where a look-up has to wait, see
    /// [`RateLimiter::with_quotas`].
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use larder_core::{MemoryRateLimits, Quota, RateLimiter};
    ///
    /// let (free, paid): (Arc<[_]>, Arc<[_]>) =
    ///     ([Quota::per_hour(60)].into(), [Quota::per_hour(5_000)].into());
    /// let limiter = RateLimiter::builder(MemoryRateLimits::new())
    ///     .quotas_by(move |key| if key.starts_with("paid:") { paid.clone() } else { free.clone() })
    ///     .build()?;
    /// # Ok::<(), larder_core::Error>(())
    /// ```
    pub fn quotas_by(
        mut self,
        quotas: impl Fn(&str) -> Arc<[Quota]> + Send + Sync + 'static,
    ) -> Self {
        self.quotas_by = Some(Arc::new(quotas));
        self
    }

    /// Keys that are not limited, added to those named before.
    pub fn allow<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.lists.allowed.keys.extend(keys.into_iter().map(Into::into));
        self
    }

    /// Keys that are not limited, by a function; besides those that are named.
    pub fn allow_by(mut self, is_allowed: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.lists.allowed.by = Some(Box::new(is_allowed));
        self
    }

    /// Keys that are always refused, added to those named before. A key on both lists is refused.
    pub fn deny<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        let keys: HashSet<String> = keys.into_iter().map(Into::into).collect();
        self.lists.denied.keys.extend(keys);
        self
    }

    /// Keys that are always refused, by a function; besides those that are named.
    pub fn deny_by(mut self, is_denied: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.lists.denied.by = Some(Box::new(is_denied));
        self
    }

    /// Decides and counts, and refuses nothing: what would have been refused is allowed, and
    /// [says so](crate::rate_limit::Decision::is_shadowed). For trying out a limit.
    pub fn shadow(mut self, is_shadow: bool) -> Self {
        self.is_shadow = is_shadow;
        self
    }

    /// What decides while the store fails. [`FailurePolicy::Allow`] by default.
    pub fn on_failure(mut self, policy: FailurePolicy) -> Self {
        self.failure = policy;
        self
    }

    /// How long the store may take before it counts as failed. 250 ms by default. Does not apply
    /// to stores in this process.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How many keys that were refused are answered without the store, and for how long at most;
    /// never beyond the moment from which they may be allowed. 10,000 keys and a second by default;
    /// zero of either turns it off. Does not apply to stores in this process.
    ///
    /// What this limiter gives back (a refund, a reset, the end of a block) ends it at once. What
    /// others give back is seen after this time.
    pub fn remember_refusals(mut self, keys: usize, at_most: Duration) -> Self {
        self.remembered = (keys, at_most);
        self
    }

    /// The clock, timers and tasks to use. Those of the store by default.
    pub fn runtime(mut self, runtime: impl Runtime) -> Self {
        self.runtime = Some(Arc::new(runtime));
        self
    }

    /// The limiter. Nothing is sent to the store yet.
    ///
    /// Metrics are bound to the recorder that is installed at this moment.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] for a namespace that breaks the rules for keys, [`Error::Config`] for a
    /// setting that cannot work, [`Error::Store`] for quotas that the store cannot count by.
    pub fn build(self) -> Result<RateLimiter, Error> {
        let config = |setting, problem: &str| Error::Config { setting, problem: problem.into() };
        let capabilities = self.store.capabilities();
        let is_exact = capabilities.counting == Counting::Exact;
        if self.is_strict && !is_exact {
            let problem = "the store says of itself that it does not count exactly; \
                           write RateLimiter::approximate for it";
            return Err(config("store", problem));
        }
        if self.timeout.is_zero() {
            return Err(config("timeout", "it is zero; give it at least a millisecond"));
        }
        quotas::check(&self.quotas, "quota")?;
        self.store.check_quotas(&self.quotas)?;
        let quotas = match (self.quotas_by, self.quotas) {
            (Some(_), quotas) if !quotas.is_empty() => {
                return Err(config("quotas_by", "there are quotas for all keys too; choose one"));
            }
            (Some(by), _) => Quotas::Of(by),
            (None, quotas) if quotas.is_empty() => {
                return Err(config("quota", "there is none; give the limiter at least one"));
            }
            (None, quotas) => Quotas::Same(quotas.into()),
        };
        let said = self.namespace.unwrap_or_else(|| self.store.default_namespace().into());
        let mut namespace = Namespace::default();
        if !said.is_empty() {
            let max_bytes = capabilities.max_key_bytes;
            key::check("namespace", &said, max_bytes, self.store.name())?;
            namespace = namespace.child(&said);
        }
        let remembers = !capabilities.in_process && self.remembered.0 > 0;
        Ok(RateLimiter {
            shared: Arc::new(Shared {
                takes_at_once: capabilities.in_process && self.lists.are_empty(),
                lists: self.lists,
                is_shadow: self.is_shadow,
                is_in_process: capabilities.in_process,
                max_key_bytes: capabilities.max_key_bytes,
                store: self.store.name(),
                fallback: Fallback::new(self.failure),
                timeout: (!capabilities.in_process).then_some(self.timeout),
                refusals: remembers.then(|| Refusals::new(self.remembered.0, self.remembered.1)),
                meter: Meter::new(self.name.unwrap_or(said)),
            }),
            namespace,
            quotas,
            runtime: self.runtime.unwrap_or_else(|| self.store.runtime()),
            store: self.store,
        })
    }
}

impl std::fmt::Debug for RateLimiterBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimiterBuilder")
            .field("store", &self.store)
            .field("namespace", &self.namespace)
            .field("quotas", &self.quotas)
            .field("on_failure", &self.failure)
            .finish_non_exhaustive()
    }
}
