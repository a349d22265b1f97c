//! A store of counts elsewhere, that is down or takes its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use larder_core::rate_limit::{
    Check, Counting, Decision, FailurePolicy, RateLimitCapabilities, Reason,
};
use larder_core::{
    ExactRateLimitStore, MemoryRateLimits, Quota, RateLimitStore, RateLimiter, RateLimiterBuilder,
    Runtime, StoreError, StoreErrorKind, VirtualRuntime, millis, minutes, seconds,
};
use tower::ServiceExt;

use super::world::{World, request};
use crate::runtime::test;

/// A store elsewhere, whose connection is bad on purpose.
#[derive(Debug, Clone)]
struct Far {
    counts: MemoryRateLimits,
    capabilities: RateLimitCapabilities,
    bad: Arc<Bad>,
}

#[derive(Debug, Default)]
struct Bad {
    down: AtomicBool,
    delay_millis: AtomicU64,
}

impl Far {
    async fn pass(&self) -> Result<(), StoreError> {
        let delay = Duration::from_millis(self.bad.delay_millis.load(Ordering::SeqCst));
        self.counts.runtime().sleep(delay).await;
        if self.bad.down.load(Ordering::SeqCst) {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "far", "call", "it is down"));
        }
        Ok(())
    }
}

impl ExactRateLimitStore for Far {}

#[async_trait]
impl RateLimitStore for Far {
    fn name(&self) -> &'static str {
        "far"
    }
    fn capabilities(&self) -> &RateLimitCapabilities {
        &self.capabilities
    }
    fn runtime(&self) -> Arc<dyn Runtime> {
        self.counts.runtime()
    }
    async fn check(&self, check: &Check<'_>) -> Result<Decision, StoreError> {
        self.pass().await?;
        self.counts.check(check).await
    }
    async fn refund(&self, key: &str, quotas: &[Quota], cost: u64) -> Result<(), StoreError> {
        self.pass().await?;
        self.counts.refund(key, quotas, cost).await
    }
    async fn release(&self, key: &str, quotas: &[Quota], lease: u64) -> Result<(), StoreError> {
        self.pass().await?;
        self.counts.release(key, quotas, lease).await
    }
    async fn reset(&self, key: &str, quotas: &[Quota]) -> Result<(), StoreError> {
        self.counts.reset(key, quotas).await
    }
    async fn block(&self, key: &str, time: Duration) -> Result<(), StoreError> {
        self.counts.block(key, time).await
    }
    async fn ready(&self) -> Result<(), StoreError> {
        self.pass().await
    }
}

fn far(
    quota: Quota,
    build: impl FnOnce(RateLimiterBuilder) -> RateLimiterBuilder,
) -> (World, Arc<Bad>) {
    let runtime = VirtualRuntime::seeded(1);
    let bad = Arc::<Bad>::default();
    let store = Far {
        counts: MemoryRateLimits::builder().on(runtime.clone()),
        capabilities: RateLimitCapabilities::new(Counting::Exact),
        bad: Arc::clone(&bad),
    };
    let limiter = build(RateLimiter::builder(store).quota(quota));
    let refund = |response: &http::response::Parts, taken| match response.status.as_u16() {
        500.. => taken,
        _ => 0,
    };
    (World::on(&runtime, limiter, |layer| layer.refund(refund)), bad)
}

#[test]
fn a_store_elsewhere_is_waited_for() {
    let (world, bad) = far(Quota::per_minute(2), |it| it);
    bad.delay_millis.store(20, Ordering::SeqCst);
    world.run(async |world| {
        let start = world.runtime.now();
        for (status, left) in [(200, 1), (200, 0), (429, 0)] {
            let seen = world.ask_as("a").await;
            assert_eq!(
                (seen.status.as_u16(), seen.number("x-ratelimit-remaining")),
                (status, Some(left))
            );
        }
        assert_eq!(world.runtime.now().since(start), millis(60));
        assert_eq!(world.origin.calls(), 2);
        // A refusal that is remembered takes no time.
        assert_eq!(world.ask_as("a").await.status, 429);
        assert_eq!(world.runtime.now().since(start), millis(60));
    });
}

#[test]
fn nobody_waits_for_what_is_given_back() {
    let (world, bad) = far(Quota::per_minute(2), |it| it);
    world.run(async |world| {
        let start = world.runtime.now();
        bad.delay_millis.store(20, Ordering::SeqCst);
        world.ask(request(&[("who", "a"), ("status", "503")])).await;
        assert_eq!(world.runtime.now().since(start), millis(20));
        world.runtime.sleep(millis(50)).await;
        assert_eq!(world.ask_as("a").await.number("x-ratelimit-remaining"), Some(1));
    });
    let (world, bad) = far(Quota::concurrent(1, minutes(1)), |it| it);
    world.run(async |world| {
        world.ask_as("a").await;
        bad.delay_millis.store(20, Ordering::SeqCst);
        world.runtime.sleep(millis(50)).await;
        assert_eq!(world.ask_as("a").await.status, 200);
    });
}

#[test]
fn while_the_store_fails_the_policy_decides_and_it_can_be_seen() {
    for (policy, status) in
        [(FailurePolicy::Allow, 200), (FailurePolicy::Deny, 503), (FailurePolicy::local(1), 200)]
    {
        let (world, bad) = far(Quota::per_minute(2), |it| it.on_failure(policy));
        bad.down.store(true, Ordering::SeqCst);
        world.run(async |world| {
            let response = world.service.clone().oneshot(request(&[("who", "a")])).await.unwrap();
            assert_eq!(response.status(), status);
            let decision = response.extensions().get::<Decision>().unwrap();
            assert!(decision.is_degraded(), "{policy:?}");
            if policy == FailurePolicy::Deny {
                assert_eq!(decision.reason(), Reason::StoreFailed);
                let refused = world.ask_as("a").await;
                assert_eq!(refused.number("retry-after"), Some(2));
                assert_eq!(refused.problem()["type"], "about:blank");
                assert_eq!(world.origin.calls(), 0);
            }
        });
    }
}

#[test]
fn a_local_limit_refuses_as_any_other() {
    let (world, bad) = far(Quota::per_minute(2), |it| it.on_failure(FailurePolicy::local(2)));
    bad.down.store(true, Ordering::SeqCst);
    world.run(async |world| {
        assert_eq!(world.ask_as("a").await.number("x-ratelimit-limit"), Some(1));
        let refused = world.ask_as("a").await;
        assert_eq!((refused.status.as_u16(), refused.number("retry-after")), (429, Some(60)));
    });
}

#[test]
fn a_slow_store_costs_a_bounded_wait() {
    let (world, bad) = far(Quota::per_minute(2), |it| it.timeout(millis(100)));
    bad.delay_millis.store(60_000, Ordering::SeqCst);
    world.run(async |world| {
        let start = world.runtime.now();
        assert_eq!(world.ask_as("a").await.status, 200);
        assert_eq!(world.runtime.now().since(start), millis(100));
        world.runtime.sleep(seconds(1)).await;
    });
}
