use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::join;
use proptest::prelude::*;

use super::*;
use crate::rate_limit::rule::Verdict;
use crate::rate_limit::{
    Check, Counting, Decision, MemoryRateLimits, RateLimitCapabilities, Reason,
};
use crate::runtime::{VirtualRuntime, natively, test};
use crate::sync::lock;
use crate::time::{Timestamp, hours, millis, minutes, seconds};

/// Counts behind a network: a call takes its time on the way there and on the way back, and fails
/// when it is told to.
#[derive(Debug, Clone)]
struct Remote(Arc<Wire>);

#[derive(Debug)]
struct Wire {
    counts: MemoryRateLimits,
    capabilities: RateLimitCapabilities,
    runtime: VirtualRuntime,
    /// The longest that one way takes; how long it does is drawn.
    delay: Mutex<(Duration, fastrand::Rng)>,
    is_down: AtomicBool,
    /// What every quota allows at most.
    most: u64,
    checks: AtomicU64,
}

impl Remote {
    fn new(runtime: &VirtualRuntime) -> Self {
        Self::counting(runtime, Counting::Exact)
    }

    fn counting(runtime: &VirtualRuntime, counting: Counting) -> Self {
        Self(Arc::new(Wire {
            counts: MemoryRateLimits::builder().on(runtime.clone()),
            capabilities: RateLimitCapabilities::new(counting),
            runtime: runtime.clone(),
            delay: Mutex::new((Duration::ZERO, fastrand::Rng::with_seed(7))),
            is_down: AtomicBool::new(false),
            most: 1_000,
            checks: AtomicU64::new(0),
        }))
    }

    fn set_delay(&self, delay: Duration) {
        lock(&self.0.delay).0 = delay;
    }

    fn set_down(&self, is_down: bool) {
        self.0.is_down.store(is_down, Ordering::Relaxed);
    }

    fn checks(&self) -> u64 {
        self.0.checks.load(Ordering::Relaxed)
    }

    async fn way(&self) -> Result<(), StoreError> {
        let micros = {
            let (longest, random) = &mut *lock(&self.0.delay);
            random.u64(..=u64::try_from(longest.as_micros()).unwrap())
        };
        if micros > 0 {
            self.0.runtime.sleep(Duration::from_micros(micros)).await;
        }
        match self.0.is_down.load(Ordering::Relaxed) {
            true => Err(StoreError::new(StoreErrorKind::Unavailable, "remote", "call", "is down")),
            false => Ok(()),
        }
    }

    async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        self.way().await?;
        let answer = call.await?;
        self.way().await?;
        Ok(answer)
    }
}

#[async_trait]
impl RateLimitStore for Remote {
    fn name(&self) -> &'static str {
        "remote"
    }

    fn capabilities(&self) -> &RateLimitCapabilities {
        &self.0.capabilities
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(self.0.runtime.clone())
    }

    fn check_quotas(&self, quotas: &[Quota]) -> Result<(), StoreError> {
        if quotas.iter().all(|quota| quota.limit() <= self.0.most) {
            return Ok(());
        }
        let detail = format!("a quota allows more than {}", self.0.most);
        Err(StoreError::new(StoreErrorKind::Config, "remote", "check_quotas", detail))
    }

    async fn check(&self, check: &Check<'_>) -> Result<Decision, StoreError> {
        self.check_quotas(check.quotas)?;
        self.0.checks.fetch_add(1, Ordering::Relaxed);
        self.call(self.0.counts.check(check)).await
    }

    async fn refund(&self, key: &str, quotas: &[Quota], cost: u64) -> Result<(), StoreError> {
        self.call(self.0.counts.refund(key, quotas, cost)).await
    }

    async fn release(&self, key: &str, quotas: &[Quota], lease: u64) -> Result<(), StoreError> {
        self.call(self.0.counts.release(key, quotas, lease)).await
    }

    async fn reset(&self, key: &str, quotas: &[Quota]) -> Result<(), StoreError> {
        self.call(self.0.counts.reset(key, quotas)).await
    }

    async fn block(&self, key: &str, time: Duration) -> Result<(), StoreError> {
        self.call(self.0.counts.block(key, time)).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.way().await
    }
}

impl ExactRateLimitStore for Remote {}

/// A limiter of two in a minute over a remote store.
fn remote(
    settings: impl Fn(RateLimiterBuilder) -> RateLimiterBuilder,
) -> (VirtualRuntime, Remote, RateLimiter) {
    let runtime = VirtualRuntime::seeded(0);
    let store = Remote::new(&runtime);
    let builder = RateLimiter::builder(store.clone()).quota(Quota::per_minute(2));
    (runtime, store, settings(builder).build().unwrap())
}

#[derive(Debug, Clone)]
enum Step {
    Check {
        cost: u64,
    },
    Refund {
        cost: u64,
    },
    Reset,
    Block {
        millis: u64,
    },
    Pass {
        micros: u64,
    },
    /// To just before, or just at, the wait of the last refusal.
    PassTheWait {
        short_by: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (1..4_u64).prop_map(|cost| Step::Check { cost }),
        1 => (1..4_u64).prop_map(|cost| Step::Refund { cost }),
        1 => Just(Step::Reset),
        1 => (0..300_u64).prop_map(|millis| Step::Block { millis }),
        3 => (0..400_000_u64).prop_map(|micros| Step::Pass { micros }),
        4 => (0..3_u64).prop_map(|short_by| Step::PassTheWait { short_by }),
    ]
}

fn quotas() -> impl Strategy<Value = Vec<Quota>> {
    let quota = (0..3_u8, 1..6_u64, 1..5_u64).prop_map(|(rule, limit, tenths)| {
        let quota = Quota::new(limit, millis(tenths * 100));
        match rule {
            0 => quota.named("fixed"),
            1 => quota.sliding_window().named("sliding"),
            _ => quota.gcra().named("gcra"),
        }
    });
    prop::collection::vec(quota, 1..3).prop_filter("two of one name", |quotas| {
        quotas.len() == 1 || quotas[0].name() != quotas[1].name()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// Whoever remembers refusals answers as one who asks for each; and whatever the network takes,
    /// refuses by memory only what the store would refuse too.
    #[test]
    fn a_remembered_refusal_is_what_the_store_would_say(
        quotas in quotas(),
        steps in prop::collection::vec(step(), 1..60),
        delay in prop_oneof![Just(0_u64), 1..30_u64],
    ) {
        let runtime = VirtualRuntime::seeded(1);
        let (near, far) = (Remote::new(&runtime), Remote::new(&runtime));
        let limiter = |store: &Remote, remembered| {
            RateLimiter::builder(store.clone())
                .quotas_by({
                    let quotas: Arc<[Quota]> = quotas.clone().into();
                    move |_| Arc::clone(&quotas)
                })
                .remember_refusals(remembered, hours(1))
                .build()
                .unwrap()
        };
        let (remembers, asks) = (limiter(&near, 100), limiter(&far, 0));
        near.set_delay(millis(delay));
        far.set_delay(millis(0));
        runtime.block_on(async {
            let mut wait = Duration::ZERO;
            for step in steps {
                match step {
                    Step::Check { cost } => {
                        let decision = remembers.check_cost("a", cost).await.unwrap();
                        if decision.is_remembered() {
                            let check = Check::new("ratelimit:a", &quotas).cost(cost).peek();
                            let truth = near.0.counts.check(&check).await.unwrap();
                            prop_assert!(!truth.is_allowed(), "{:?}", truth);
                            prop_assert!(truth.retry_after() <= decision.retry_after());
                        }
                        wait = decision.retry_after().unwrap_or(wait);
                        if delay == 0 {
                            let asked = asks.check_cost("a", cost).await.unwrap();
                            prop_assert_eq!(decision.is_allowed(), asked.is_allowed());
                            prop_assert_eq!(decision.reason(), asked.reason());
                            prop_assert_eq!(decision.retry_after(), asked.retry_after());
                            prop_assert_eq!(decision.reset(), asked.reset());
                            prop_assert_eq!(decision.refused_by(), asked.refused_by());
                            prop_assert!(decision.remaining() <= asked.remaining());
                        }
                    }
                    Step::Refund { cost } => {
                        remembers.refund("a", cost).await.unwrap();
                        asks.refund("a", cost).await.unwrap();
                    }
                    Step::Reset => {
                        remembers.reset("a").await.unwrap();
                        asks.reset("a").await.unwrap();
                    }
                    Step::Block { millis: time } => {
                        remembers.block("a", millis(time)).await.unwrap();
                        asks.block("a", millis(time)).await.unwrap();
                    }
                    Step::Pass { micros } => runtime.advance(Duration::from_micros(micros)),
                    Step::PassTheWait { short_by } => {
                        runtime.advance(wait.saturating_sub(Duration::from_micros(short_by)));
                        wait = Duration::ZERO;
                    }
                }
            }
            Ok(())
        })?;
    }
}

#[test]
fn a_refused_key_is_answered_without_the_store() {
    let (runtime, store, limiter) = remote(|it| it.remember_refusals(10, minutes(5)));
    runtime.block_on(async {
        for allowed in [true, true, false] {
            assert_eq!(limiter.check("a").await.unwrap().is_allowed(), allowed);
        }
        assert_eq!(store.checks(), 3);
        runtime.advance(seconds(20));
        let refused = limiter.check("a").await.unwrap();
        assert!(refused.is_remembered() && !refused.is_allowed());
        assert_eq!((refused.limit(), refused.remaining()), (Some(2), Some(0)));
        assert_eq!(
            (refused.retry_after(), refused.reset()),
            (Some(seconds(40)), Some(seconds(40)))
        );
        assert!(!limiter.peek("a").await.unwrap().is_allowed());
        assert!(limiter.check("b").await.unwrap().is_allowed());
        assert_eq!(store.checks(), 4);
        runtime.advance(seconds(40) - Duration::from_micros(1));
        assert!(!limiter.check("a").await.unwrap().is_allowed());
        runtime.advance(Duration::from_micros(1));
        assert!(limiter.check("a").await.unwrap().is_allowed());
        let stats = limiter.stats();
        assert_eq!((stats.allowed, stats.refused, stats.remembered), (4, 3, 2));
    });
}

#[test]
fn what_a_limiter_remembers_is_not_lost_by_another_of_the_same_key() {
    let (runtime, store, outer) = remote(|it| it.remember_refusals(10, minutes(5)));
    let inner = outer.with_quotas([Quota::per_hour(1).named("sign-in")]).unwrap();
    runtime.block_on(async {
        outer.block("a", minutes(1)).await.unwrap();
        outer.reset("a").await.unwrap();
        assert!(inner.check("a").await.unwrap().is_allowed());
        assert!(!inner.check("a").await.unwrap().is_remembered());
        assert!(outer.check("a").await.unwrap().is_allowed());
        assert!(inner.check("a").await.unwrap().is_remembered());
        let checks = store.checks();
        // Of the same name: what is left is counted together.
        let same = outer.with_quotas([Quota::per_hour(9).named("sign-in")]).unwrap();
        assert!(same.check("a").await.unwrap().is_allowed());
        assert!(!inner.check("a").await.unwrap().is_remembered());
        assert_eq!(store.checks(), checks + 2);
    });
}

#[test]
fn a_clock_that_goes_back_makes_no_refusal_last() {
    let refusals = Refusals::new(10, hours(1));
    let quotas: Arc<[Quota]> = [Quota::per_minute(1)].into();
    let check = Check::new("a", &quotas);
    let at = |seconds: u64| Timestamp::from_millis(seconds * 1_000);
    let wait = Some(seconds(10));
    let refused = Decision::of(&*quotas, 1, |_| Verdict::refused(1, 0, seconds(10), wait));
    let remember = |asked, answered| {
        let mark = refusals.mark("a");
        refusals.remember(&check, &quotas, mark, &refused, (at(asked), at(answered)));
    };
    remember(100, 101);
    assert!(refusals.answer(&check, at(105)).is_some());
    assert!(refusals.answer(&check, at(110)).is_none());
    remember(100, 101);
    assert!(refusals.answer(&check, at(50)).is_none());
    assert!(refusals.answer(&check, at(105)).is_none(), "its time has come again");
    remember(100, 90);
    assert!(refusals.answer(&check, at(100)).is_none(), "it began by another clock");
}

#[test]
fn what_costs_more_than_there_ever_is_is_not_asked_for_again() {
    let (runtime, store, limiter) = remote(|it| it);
    runtime.block_on(async {
        for remembered in [false, true, true] {
            let refused = limiter.check_cost("a", 3).await.unwrap();
            assert_eq!((refused.is_allowed(), refused.retry_after()), (false, None));
            assert_eq!(refused.is_remembered(), remembered);
        }
        assert_eq!(store.checks(), 1);
        assert!(limiter.check_cost("a", 2).await.unwrap().is_allowed());
        assert!(!limiter.check_cost("a", 3).await.unwrap().is_remembered());
        runtime.advance(seconds(1));
        assert!(!limiter.check_cost("a", 3).await.unwrap().is_remembered());
        assert_eq!(store.checks(), 4);
    });
}

#[test]
fn what_others_give_back_is_seen_after_a_bounded_time() {
    let (runtime, store, limiter) = remote(|it| it);
    let elsewhere =
        RateLimiter::builder(store.clone()).quota(Quota::per_minute(2)).build().unwrap();
    runtime.block_on(async {
        for _ in 0..3 {
            limiter.check("a").await.unwrap();
        }
        elsewhere.reset("a").await.unwrap();
        assert!(!limiter.check("a").await.unwrap().is_allowed());
        runtime.advance(seconds(1));
        assert!(limiter.check("a").await.unwrap().is_allowed());
    });
}

#[test]
fn a_refusal_on_its_way_is_not_remembered_over_what_is_given_back_meanwhile() {
    for seed in 0..50 {
        let runtime = VirtualRuntime::seeded(seed);
        let store = Remote::new(&runtime);
        let limiter =
            RateLimiter::builder(store.clone()).quota(Quota::per_minute(1)).build().unwrap();
        store.set_delay(millis(20));
        lock(&store.0.delay).1.seed(seed);
        runtime.block_on(async {
            limiter.check("a").await.unwrap();
            let refund = async {
                runtime.sleep(millis(seed % 30)).await;
                limiter.refund("a", 1).await.unwrap();
            };
            let check = async {
                runtime.sleep(millis(seed * 7 % 30)).await;
                limiter.check("a").await
            };
            let (checked, ()) = join(check, refund).await;
            let again = limiter.check("a").await.unwrap();
            assert_eq!(again.is_allowed(), !checked.unwrap().is_allowed(), "with seed {seed}");
        });
    }
}

#[test]
fn a_lease_is_waited_for_at_the_store() {
    let runtime = VirtualRuntime::seeded(0);
    let store = Remote::new(&runtime);
    let quota = Quota::concurrent(1, hours(1));
    let here = RateLimiter::builder(store.clone()).quota(quota.clone()).build().unwrap();
    let elsewhere = RateLimiter::builder(store).quota(quota).build().unwrap();
    runtime.block_on(async {
        let lease = elsewhere.check("a").await.unwrap().lease().unwrap();
        assert!(!here.check("a").await.unwrap().is_allowed());
        elsewhere.release("a", lease).await.unwrap();
        assert!(here.check("a").await.unwrap().is_allowed());
    });
}

#[test]
fn a_permit_that_is_dropped_ends_its_lease() {
    let runtime = VirtualRuntime::seeded(0);
    let store = Remote::new(&runtime);
    let limiter =
        RateLimiter::builder(store.clone()).quota(Quota::concurrent(1, hours(1))).build().unwrap();
    let acquire = || async { limiter.acquire("a").await.unwrap() };
    store.set_delay(millis(20));
    runtime.block_on(async {
        let permit = acquire().await.unwrap();
        assert_eq!(permit.decision().remaining(), Some(0));
        assert_eq!(acquire().await.unwrap_err().refused_by(), Some("concurrent"));
        drop(permit);
        runtime.sleep(millis(40)).await;
        acquire().await.unwrap().release().await.unwrap();

        let permit = acquire().await.unwrap();
        let given_up = runtime.sleep(Duration::ZERO);
        drop(select(pin!(permit.release()), given_up).await);
        runtime.sleep(millis(80)).await;

        // With its holder, wherever that was.
        let holder = async {
            let _permit = acquire().await.unwrap();
            runtime.sleep(hours(2)).await;
        };
        drop(select(pin!(holder), runtime.sleep(minutes(1))).await);
        runtime.sleep(millis(40)).await;
        let permit = acquire().await.unwrap();

        store.set_down(true);
        drop(permit);
        runtime.sleep(minutes(59)).await;
        store.set_down(false);
        assert!(acquire().await.is_err(), "it was not told to end");
        runtime.sleep(minutes(1)).await;
        assert!(acquire().await.is_ok(), "its life is over");
    });
}

#[test]
fn a_lease_that_nobody_heard_of_is_ended() {
    let (mut timed_out, mut cancelled) = (0, 0);
    for seed in 0..60 {
        let runtime = VirtualRuntime::seeded(seed);
        let store = Remote::new(&runtime);
        let quota = Quota::concurrent(1, hours(1));
        let limiter = RateLimiter::builder(store.clone())
            .quota(quota.clone())
            .on_failure(FailurePolicy::local(1))
            .timeout(millis(40))
            .build()
            .unwrap();
        let quotas = [quota];
        let peek = Check::new("ratelimit:a", &quotas).peek();
        let is_held = async || !store.0.counts.check(&peek).await.unwrap().is_allowed();
        runtime.block_on(async {
            store.set_delay(millis(60));
            lock(&store.0.delay).1.seed(seed);
            let gives_up = if seed % 2 == 0 { hours(1) } else { millis(20) };
            let check = async { Some(limiter.check("a").await.unwrap()) };
            let patience = async {
                runtime.sleep(gives_up).await;
                None
            };
            let heard = select(Box::pin(check), pin!(patience)).await.factor_first().0;
            if heard.as_ref().is_some_and(|decision| !decision.is_degraded()) {
                return;
            }
            let waited = heard.is_some();
            *if waited { &mut timed_out } else { &mut cancelled } += u32::from(is_held().await);
            store.set_delay(Duration::ZERO);
            runtime.sleep(millis(1)).await;
            assert!(!is_held().await, "with seed {seed}");
            if waited {
                store.set_down(true);
                let local = limiter.check("a").await.unwrap();
                assert!(!local.is_allowed(), "what the policy gave is held: seed {seed}");
            }
        });
    }
    assert!(timed_out > 3 && cancelled > 1, "{timed_out}, {cancelled}");
}

#[test]
fn a_permit_of_a_store_in_this_process_ends_at_once() {
    let store = MemoryRateLimits::builder().on(VirtualRuntime::seeded(0));
    let limiter = RateLimiter::builder(store)
        .quota(Quota::concurrent(1, hours(1)))
        .quota(Quota::per_hour(3))
        .allow(["friend"])
        .build()
        .unwrap();
    let acquire = |key| limiter.acquire(key).now_or_never().unwrap().unwrap();
    for left in [2, 1, 0] {
        let permit = acquire("a").unwrap();
        let hour = permit.decision().quotas().find(|it| it.policy == "hour").unwrap();
        assert_eq!(hour.verdict.remaining, left, "what counts stays counted");
        assert!(acquire("a").is_err());
    }
    assert_eq!(acquire("a").unwrap_err().refused_by(), Some("hour"));
    let _friend = acquire("friend").unwrap();
    assert!(acquire("friend").is_ok());
}

#[test]
fn while_the_store_fails_the_policy_decides_and_says_so() {
    for (policy, allowed) in [(FailurePolicy::Allow, true), (FailurePolicy::Deny, false)] {
        let (runtime, store, limiter) = remote(|it| it.on_failure(policy));
        runtime.block_on(async {
            store.set_down(true);
            for _ in 0..5 {
                let decision = limiter.check("a").await.unwrap();
                assert_eq!((decision.is_allowed(), decision.is_degraded()), (allowed, true));
                assert_eq!((decision.reason(), decision.taken()), (Reason::StoreFailed, 0));
                assert_eq!((decision.limit(), decision.retry_after()), (None, None));
            }
            assert!(matches!(limiter.refund("a", 1).await, Err(Error::Store(_))));
            store.set_down(false);
            let decision = limiter.check("a").await.unwrap();
            assert_eq!((decision.is_degraded(), decision.remaining()), (false, Some(1)));
            let stats = limiter.stats();
            assert_eq!((stats.degraded, stats.store_errors), (5, 6));
            assert_eq!((stats.allowed, stats.refused), if allowed { (6, 0) } else { (1, 5) });
        });
    }
}

#[test]
fn quotas_that_the_store_cannot_count_by_are_an_error_and_allow_nothing() {
    let runtime = VirtualRuntime::seeded(0);
    let builder = || RateLimiter::builder(Remote::new(&runtime));
    let said = "remote check_quotas: a quota allows more than 1000";
    let is_said = |error: Error| {
        assert!(matches!(error, Error::Store(_)));
        assert_eq!(error.to_string(), said);
    };
    is_said(builder().quota(Quota::per_hour(1_001)).build().unwrap_err());
    let fits = builder().quota(Quota::per_hour(1_000)).build().unwrap();
    is_said(fits.with_quotas([Quota::per_hour(1_001)]).unwrap_err());
    let by_key = builder().quotas_by(|key| [Quota::per_hour(key.parse().unwrap())].into());
    let by_key = by_key.build().unwrap();
    runtime.block_on(async {
        assert!(by_key.check("1000").await.unwrap().is_allowed());
        is_said(by_key.check("1001").await.unwrap_err());
        is_said(by_key.peek("1001").await.unwrap_err());
        let stats = by_key.stats();
        assert_eq!((stats.allowed, stats.degraded, stats.store_errors), (1, 0, 2));
    });
}

#[test]
fn a_local_limiter_has_a_share_of_each_quota() {
    let runtime = VirtualRuntime::seeded(0);
    let store = Remote::new(&runtime);
    let limiter = RateLimiter::builder(store.clone())
        .quota(Quota::per_minute(10))
        .quota(Quota::concurrent(4, hours(1)))
        .on_failure(FailurePolicy::local(4))
        .build()
        .unwrap();
    runtime.block_on(async {
        store.set_down(true);
        let first = limiter.check("a").await.unwrap();
        assert!(first.is_allowed() && first.is_degraded());
        assert_eq!((first.limit(), first.remaining(), first.taken()), (Some(1), Some(0), 0));
        let second = limiter.check("a").await.unwrap();
        assert_eq!((second.is_allowed(), second.refused_by()), (false, Some("concurrent")));
        assert!(limiter.release("a", first.lease().unwrap()).await.is_err());
        assert!(limiter.check("a").await.unwrap().is_allowed());
        limiter.reset("b").await.unwrap_err();
        let refused = limiter.check("a").await.unwrap();
        assert!(refused.quotas().any(|it| it.policy == "minute" && it.verdict.limit == 2));
        store.set_down(false);
        let decision = limiter.check("a").await.unwrap();
        assert_eq!((decision.is_degraded(), decision.limit()), (false, Some(4)));
    });
}

#[test]
fn a_slow_store_has_failed_after_the_timeout() {
    let (runtime, store, limiter) = remote(|it| it.timeout(millis(40)));
    runtime.block_on(async {
        store.set_delay(hours(1));
        let start = runtime.now();
        let decision = limiter.check("a").await.unwrap();
        assert!(decision.is_degraded() && decision.is_allowed());
        assert_eq!(runtime.now(), start + millis(40));
        let error = limiter.block("a", minutes(1)).await.unwrap_err().to_string();
        assert_eq!(error, "remote block: no answer within 40ms (see RateLimiterBuilder::timeout)");
    });
}

#[test]
fn without_a_namespace_a_key_is_complete() {
    let runtime = VirtualRuntime::seeded(0);
    let store = MemoryRateLimits::builder().on(runtime.clone());
    let limiter = RateLimiter::builder(store.clone()).quota(Quota::per_minute(1)).namespace("");
    runtime.block_on(async {
        limiter.build().unwrap().check("rl:a").await.unwrap();
        let quotas = [Quota::per_minute(1)];
        let check = Check::new("rl:a", &quotas);
        assert!(!store.check(&check).await.unwrap().is_allowed());
    });
}

#[test]
fn only_a_store_in_this_process_decides_without_waiting() {
    let (_, store, far) = remote(|it| it);
    assert!(far.check_now("a", 1).is_none());
    assert_eq!((store.checks(), far.stats()), (0, RateLimitStats::default()));

    let runtime = VirtualRuntime::seeded(0);
    let near = RateLimiter::builder(MemoryRateLimits::builder().on(runtime))
        .quota(Quota::per_minute(2))
        .quota(Quota::concurrent(9, hours(1)))
        .deny(["foe"])
        .shadow(true)
        .build()
        .unwrap();
    let decide = |key, cost| near.check_now(key, cost).unwrap();
    let first = decide("a", 2).unwrap();
    assert_eq!((first.taken(), first.lease().is_some()), (2, true));
    assert!(decide("a", 1).unwrap().is_shadowed() && decide("foe", 1).unwrap().is_shadowed());
    assert!(matches!(decide("a\n", 1), Err(Error::Key(_))));
    assert_eq!((near.stats().allowed, near.stats().shadowed), (1, 2));
}

#[test]
fn lists_decide_before_the_store_is_asked() {
    let (runtime, store, limiter) = remote(|it| {
        it.allow(["friend", "both"])
            .allow_by(|key| key.starts_with("10."))
            .deny(["foe", "both"])
            .deny_by(|key| key.ends_with(".7"))
    });
    runtime.block_on(async {
        for (key, reason, allowed) in [
            ("friend", Reason::Exempt, true),
            ("10.1.2.3", Reason::Exempt, true),
            ("foe", Reason::Denied, false),
            ("10.0.0.7", Reason::Denied, false),
            ("both", Reason::Denied, false),
        ] {
            for _ in 0..3 {
                let decision = limiter.check(key).await.unwrap();
                assert_eq!((decision.reason(), decision.is_allowed()), (reason, allowed), "{key}");
            }
        }
        assert_eq!(store.checks(), 0);
    });
}

#[test]
fn a_shadow_refuses_nothing_and_counts_what_it_would() {
    let (runtime, store, limiter) = remote(|it| it.shadow(true).deny(["foe"]));
    runtime.block_on(async {
        for i in 0..4 {
            let decision = limiter.check("a").await.unwrap();
            assert!(decision.is_allowed());
            assert_eq!(decision.is_shadowed(), i >= 2);
            assert_eq!(decision.refused_by(), (i >= 2).then_some("minute"));
        }
        assert!(limiter.check("foe").await.unwrap().is_shadowed());
        let stats = limiter.stats();
        assert_eq!((stats.allowed, stats.shadowed, stats.refused), (2, 3, 0));
        assert_eq!((stats.remembered, store.checks()), (1, 3));
    });
}

#[test]
fn quotas_depend_on_the_key() {
    let runtime = VirtualRuntime::seeded(0);
    let store = MemoryRateLimits::builder().on(runtime.clone());
    let limiter = RateLimiter::builder(store)
        .quotas_by(|key| match key {
            "paid" => [Quota::per_hour(100)].into(),
            "odd" => [Quota::per_hour(1), Quota::per_hour(2)].into(),
            "staff" => [].into(),
            _ => [Quota::per_hour(1)].into(),
        })
        .build()
        .unwrap();
    runtime.block_on(async {
        assert_eq!(limiter.check("paid").await.unwrap().limit(), Some(100));
        assert_eq!(limiter.check("other").await.unwrap().limit(), Some(1));
        assert!(limiter.check_cost("staff", 1_000).await.unwrap().is_allowed());
        let error = limiter.check("odd").await.unwrap_err().to_string();
        assert_eq!(
            error,
            "quotas_by: two quotas are named \"hour\"; give one another name by Quota::named"
        );
        assert!(matches!(limiter.check("").await, Err(Error::Key(_))));
        assert!(matches!(limiter.check("a\nb").await, Err(Error::Key(_))));
    });
}

#[test]
fn settings_that_cannot_work_are_named() {
    let runtime = VirtualRuntime::seeded(0);
    let exact = || RateLimiter::builder(Remote::new(&runtime));
    let problem = |builder: RateLimiterBuilder| builder.build().unwrap_err().to_string();
    assert_eq!(problem(exact()), "quota: there is none; give the limiter at least one");
    let minute = || Quota::per_minute(1);
    assert!(problem(exact().quota(minute()).quota(minute())).contains("two quotas are named"));
    assert!(problem(exact().quota(minute().named("a\nb"))).starts_with("quota: the quota's name"));
    assert!(problem(exact().quota(minute()).timeout(Duration::ZERO)).starts_with("timeout: "));
    assert!(problem(exact().quota(minute()).quotas_by(|_| [].into())).starts_with("quotas_by: "));
    assert!(problem(exact().quota(minute()).namespace("a\n")).contains("namespace"));
    let late = Counting::Approximate { within: seconds(60) };
    let late = || Remote::counting(&runtime, late);
    let strict = RateLimiter::builder(late()).quota(minute());
    assert!(problem(strict).contains("RateLimiter::approximate"));
    assert!(RateLimiter::approximate(late()).quota(minute()).build().is_ok());
}

natively! {
    /// The figures, under the names that the documentation has for them.
    #[test]
    fn decisions_are_counted_under_their_names() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let figures = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            let (runtime, store, limiter) =
                remote(|it| it.name("api").deny(["foe"]).on_failure(FailurePolicy::Deny));
            runtime.block_on(async {
                for key in ["a", "a", "a", "a", "foe"] {
                    limiter.check(key).await.unwrap();
                }
                limiter.block("b", minutes(1)).await.unwrap();
                limiter.check("b").await.unwrap();
                limiter.peek("c").await.unwrap();
                store.set_down(true);
                limiter.check("c").await.unwrap();
                limiter.reset("c").await.unwrap_err();
            });
        });
        let text = figures.render();
        for line in [
            r#"larder_limit_checks_total{limiter="api",result="allowed"} 2"#,
            r#"larder_limit_checks_total{limiter="api",result="refused"} 5"#,
            r#"larder_limit_refusals_total{limiter="api",policy="minute"} 2"#,
            r#"larder_limit_refusals_total{limiter="api",policy="deny"} 1"#,
            r#"larder_limit_refusals_total{limiter="api",policy="block"} 1"#,
            r#"larder_limit_refusals_total{limiter="api",policy="failure"} 1"#,
            r#"larder_limit_remembered_refusals_total{limiter="api"} 1"#,
            r#"larder_limit_degraded_total{limiter="api",policy="deny",kind="unavailable"} 1"#,
            r#"larder_limit_store_errors_total{limiter="api",operation="check",kind="unavailable"} 1"#,
            r#"larder_limit_store_errors_total{limiter="api",operation="reset",kind="unavailable"} 1"#,
            r#"larder_limit_store_seconds_count{limiter="api"} 5"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
