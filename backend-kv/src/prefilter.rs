//! A cheap look before a store of counts is asked.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use larder_core::rate_limit::rule::Verdict;
use larder_core::rate_limit::{Check, Decision, RateLimitCapabilities};
use larder_core::{
    ExactRateLimitStore, Quota, RateLimitStore, Runtime, StoreError, StoreErrorKind, millis,
    seconds,
};
use metrics::Counter;
use worker::Env;

use crate::bounded::Call;
use crate::error::Failure;
use crate::js::RateLimitBinding;

const NAME: &str = "prefilter";

/// How long the binding may take: it is on the machine that runs the Worker.
const TIMEOUT: Duration = millis(50);

/// What lets a request pass, or does not.
#[async_trait]
pub(crate) trait Gate: fmt::Debug + Send + Sync + 'static {
    async fn admits(&self, key: &str) -> Result<bool, Failure>;
}

/// A [`RateLimitStore`] that is asked only where the [Rate Limiting
/// binding](https://developers.cloudflare.com/workers/runtime-apis/bindings/rate-limit/) of Workers
/// lets a request pass.
///
/// The binding answers without leaving the location, and counts there only, by its own description
/// «permissive, eventually consistent»: alone it is no limit to rely on. In front of one it keeps a
/// flood away from a Durable Object or from Redis, and costs nothing. It may refuse what the store
/// would allow, and never allows what the store would refuse: over an
/// [exact](ExactRateLimitStore) store this is exact, as far as it allows.
///
/// - **What it knows**: a number of checks of a key, whatever they cost, in 10 or 60 seconds. Choose
///   it well above what the quotas allow.
/// - **Every check counts** there: a request that passes two layers over one prefilter counts twice,
///   which halves its limit.
/// - **Peeks**, and checks that cost nothing, pass by it: it cannot look without counting.
/// - **Its refusals** name its quota, say that nothing remains, and tell to wait for the whole
///   period: the binding does not say when it lets the key pass again.
/// - **What it counted stays**: a refund, a reset or the end of a block reach the store only.
/// - **Where it fails**, or takes more than 50 ms, the store is asked.
///
/// Counted as `larder_kv_prefilter_total`.
///
/// ```toml
/// [[ratelimits]]
/// name = "PREFILTER"
/// namespace_id = "1001"
/// simple = { limit = 200, period = 10 }
/// ```
///
/// ```no_run
/// use larder_core::{Quota, RateLimiter, seconds};
/// use larder_kv::{DurableRateLimits, Prefilter, WorkerRuntime};
///
/// # fn handler(env: worker::Env, ctx: worker::Context) -> larder_core::Result<()> {
/// let limits = DurableRateLimits::open(&env, "LARDER", &WorkerRuntime::new(&ctx))?;
/// // What wrangler.toml says of the binding; the name is told by refusals.
/// let flood = Quota::new(200, seconds(10)).named("flood");
/// let limits = Prefilter::open(&env, "PREFILTER", flood, limits)?;
/// let limiter = RateLimiter::builder(limits).quota(Quota::per_minute(100)).build()?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Prefilter<S> {
    shared: Arc<Shared>,
    store: Arc<S>,
    runtime: Arc<dyn Runtime>,
}

struct Shared {
    gate: Box<dyn Gate>,
    quota: Quota,
    refused: Counter,
    passed: Counter,
    failed: Counter,
}

impl<S> Clone for Prefilter<S> {
    fn clone(&self) -> Self {
        let (shared, store) = (Arc::clone(&self.shared), Arc::clone(&self.store));
        Self { shared, store, runtime: Arc::clone(&self.runtime) }
    }
}

impl<S: RateLimitStore> Prefilter<S> {
    /// `store` behind the binding of that name, of which `quota` tells what wrangler.toml says: the
    /// limit, and the period as the window. It has no part in the counting.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Config`] where there is no such binding, or a window that is no period of
    /// one.
    pub fn open(env: &Env, binding: &str, quota: Quota, store: S) -> Result<Self, StoreError> {
        let Some(gate) = RateLimitBinding::open(env, binding) else {
            return Err(refused(format!(
                "the Worker has no rate limit {binding:?}; name one in wrangler.toml under \
                 [[ratelimits]]"
            )));
        };
        Self::over(gate, quota, store)
    }

    fn over(gate: impl Gate, quota: Quota, store: S) -> Result<Self, StoreError> {
        if ![seconds(10), seconds(60)].contains(&quota.window()) {
            let window = quota.window();
            return Err(refused(format!(
                "the window is {window:?}; a binding's period is 10 or 60 s"
            )));
        }
        let counter = |result| metrics::counter!("larder_kv_prefilter_total", "result" => result);
        let shared = Shared {
            gate: Box::new(gate),
            quota,
            refused: counter("refused"),
            passed: counter("passed"),
            failed: counter("failed"),
        };
        let runtime = store.runtime();
        Ok(Self { shared: Arc::new(shared), store: Arc::new(store), runtime })
    }

    /// The refusal of the binding, where it refuses.
    async fn refusal(&self, check: &Check<'_>) -> Option<Decision> {
        if !check.takes || check.cost == 0 {
            return None;
        }
        let Shared { gate, quota, refused, passed, failed } = &*self.shared;
        let (runtime, operation) = (&*self.runtime, "check");
        let call = Call { runtime, store: NAME, operation, timeout: TIMEOUT };
        match call.answer(gate.admits(check.key)).await {
            Ok(true) => passed.increment(1),
            Ok(false) => {
                refused.increment(1);
                let period = quota.window();
                let verdict = Verdict::refused(quota.limit(), 0, period, Some(period));
                return Some(Decision::of([quota], check.cost, |_| verdict));
            }
            Err(_) => failed.increment(1),
        }
        None
    }
}

fn refused(detail: String) -> StoreError {
    StoreError::new(StoreErrorKind::Config, NAME, "open", detail)
}

#[async_trait]
impl<S: RateLimitStore> RateLimitStore for Prefilter<S> {
    fn name(&self) -> &'static str {
        self.store.name()
    }

    fn capabilities(&self) -> &RateLimitCapabilities {
        self.store.capabilities()
    }

    fn default_namespace(&self) -> &str {
        self.store.default_namespace()
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::clone(&self.runtime)
    }

    fn bound_to(&self, runtime: &Arc<dyn Runtime>) -> Option<Arc<dyn RateLimitStore>> {
        let (shared, runtime_of) = (Arc::clone(&self.shared), Arc::clone(runtime));
        Some(match self.store.bound_to(runtime) {
            Some(store) => {
                Arc::new(Prefilter { shared, store: Arc::new(store), runtime: runtime_of })
            }
            None => Arc::new(Self { shared, store: Arc::clone(&self.store), runtime: runtime_of }),
        })
    }

    fn check_quotas(&self, quotas: &[Quota]) -> Result<(), StoreError> {
        self.store.check_quotas(quotas)
    }

    async fn check(&self, check: &Check<'_>) -> Result<Decision, StoreError> {
        match self.refusal(check).await {
            Some(refusal) => Ok(refusal),
            None => self.store.check(check).await,
        }
    }

    async fn refund(&self, key: &str, quotas: &[Quota], cost: u64) -> Result<(), StoreError> {
        self.store.refund(key, quotas, cost).await
    }

    async fn release(&self, key: &str, quotas: &[Quota], lease: u64) -> Result<(), StoreError> {
        self.store.release(key, quotas, lease).await
    }

    async fn reset(&self, key: &str, quotas: &[Quota]) -> Result<(), StoreError> {
        self.store.reset(key, quotas).await
    }

    async fn block(&self, key: &str, time: Duration) -> Result<(), StoreError> {
        self.store.block(key, time).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.store.ready().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.store.close().await
    }
}

impl<S: ExactRateLimitStore> ExactRateLimitStore for Prefilter<S> {}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("gate", &self.gate)
            .field("quota", &self.quota)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicU32, Ordering};

    use larder_core::rate_limit::Reason;
    use larder_core::{MemoryRateLimits, RateLimiter, VirtualRuntime, minutes};

    use super::*;

    /// A binding that lets so many pass, or that fails.
    #[derive(Debug)]
    enum Binding {
        Admits { most: u32, asked: Arc<AtomicU32> },
        Fails,
        Hangs,
    }

    #[async_trait]
    impl Gate for Binding {
        async fn admits(&self, _key: &str) -> Result<bool, Failure> {
            match self {
                Self::Admits { most, asked } => Ok(asked.fetch_add(1, Ordering::SeqCst) < *most),
                Self::Fails => Err(Failure::new("the binding is not there")),
                Self::Hangs => pending().await,
            }
        }
    }

    fn flood() -> Quota {
        Quota::new(3, seconds(10)).named("flood")
    }

    fn behind(binding: Binding, runtime: &VirtualRuntime) -> Prefilter<MemoryRateLimits> {
        let limits = MemoryRateLimits::builder().on(runtime.clone());
        Prefilter::over(binding, flood(), limits).unwrap()
    }

    #[test]
    fn a_refusal_of_the_binding_is_one_and_the_store_is_not_asked() {
        let runtime = VirtualRuntime::seeded(1);
        let asked = Arc::new(AtomicU32::new(0));
        let limits = behind(Binding::Admits { most: 3, asked: Arc::clone(&asked) }, &runtime);
        runtime.block_on(async move {
            let quotas = [Quota::per_minute(100)];
            let check = Check::new("a", &quotas).cost(5);
            // Neither is counted by the binding.
            assert!(limits.check(&check.peek()).await.unwrap().is_allowed());
            assert!(limits.check(&check.cost(0)).await.unwrap().is_allowed());
            assert_eq!(asked.load(Ordering::SeqCst), 0);
            for left in [95, 90, 85] {
                let decision = limits.check(&check).await.unwrap();
                assert_eq!(decision.remaining(), Some(left));
            }
            let refused = limits.check(&check).await.unwrap();
            assert_eq!(refused.reason(), Reason::OverQuota);
            assert_eq!((refused.refused_by(), refused.taken()), (Some("flood"), 0));
            assert_eq!((refused.limit(), refused.remaining()), (Some(3), Some(0)));
            assert_eq!(refused.retry_after(), Some(seconds(10)));
            let left = limits.check(&check.peek()).await.unwrap().remaining();
            assert_eq!(left, Some(85), "the store was asked");
        });
    }

    #[test]
    fn what_the_store_refuses_is_refused_though_the_binding_lets_it_pass() {
        let runtime = VirtualRuntime::seeded(1);
        let limits = behind(Binding::Admits { most: 9, asked: Arc::default() }, &runtime);
        // An exact store stays one.
        let limiter = RateLimiter::builder(limits).quota(Quota::per_minute(2)).build().unwrap();
        let limiter = limiter.on(Arc::new(runtime.clone()));
        runtime.block_on(async move {
            for allowed in [true, true, false] {
                assert_eq!(limiter.check("a").await.unwrap().is_allowed(), allowed);
            }
            limiter.reset("a").await.unwrap();
            limiter.block("a", minutes(1)).await.unwrap();
            assert_eq!(limiter.check("a").await.unwrap().reason(), Reason::Blocked);
        });
    }

    #[test]
    fn a_binding_that_fails_or_hangs_is_passed_by() {
        for binding in [Binding::Fails, Binding::Hangs] {
            let runtime = VirtualRuntime::seeded(1);
            let limits = behind(binding, &runtime);
            let started = runtime.now();
            let waiting = runtime.clone();
            runtime.block_on(async move {
                let quotas = [Quota::per_minute(1)];
                for allowed in [true, false] {
                    let decision = limits.check(&Check::new("a", &quotas)).await.unwrap();
                    assert_eq!(decision.is_allowed(), allowed);
                }
                assert!(waiting.now().since(started) <= TIMEOUT * 2);
            });
        }
    }

    #[test]
    fn only_a_period_of_the_bindings_is_taken() {
        let runtime = VirtualRuntime::seeded(1);
        let limits = MemoryRateLimits::builder().on(runtime);
        let error = Prefilter::over(Binding::Fails, Quota::per_hour(9), limits).unwrap_err();
        assert!(error.to_string().contains("10 or 60 s"), "{error}");
    }
}
