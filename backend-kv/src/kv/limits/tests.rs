//! Isolates on a namespace that shows writes late, on a virtual clock.

use std::sync::Arc;
use std::time::Duration;

use larder_core::rate_limit::{Check, Counting, Reason};
use larder_core::{
    Quota, RateLimitStore, RateLimiter, Runtime, VirtualRuntime, hours, minutes, seconds,
};

use super::{KvRateLimits, SHARE_EVERY};
use crate::SimulatedKv;

struct World {
    runtime: VirtualRuntime,
    kv: SimulatedKv,
}

impl World {
    fn new() -> Self {
        let runtime = VirtualRuntime::seeded(1);
        Self { kv: SimulatedKv::new(runtime.clone()), runtime }
    }

    /// An isolate in a location of its own.
    fn isolate(&self) -> KvRateLimits {
        KvRateLimits::simulated(&self.kv.reader(seconds(20))).unwrap()
    }

    fn run<T: Send + 'static>(&self, test: impl Future<Output = T> + Send + 'static) -> T {
        self.runtime.block_on(test)
    }
}

/// How many of `checks` are allowed.
async fn allowed(limits: &KvRateLimits, quota: &Quota, checks: u32) -> u32 {
    let mut allowed = 0;
    for _ in 0..checks {
        let check = Check::new("a", std::slice::from_ref(quota));
        allowed += u32::from(limits.check(&check).await.unwrap().is_allowed());
    }
    allowed
}

async fn left(limits: &KvRateLimits, quota: &Quota) -> Option<u64> {
    let check = Check::new("a", std::slice::from_ref(quota)).peek();
    limits.check(&check).await.unwrap().remaining()
}

/// Asks all of them again and again, and takes nothing.
async fn use_for(
    runtime: &VirtualRuntime,
    time: Duration,
    isolates: &[&KvRateLimits],
    quota: &Quota,
) {
    let end = runtime.now() + time;
    while runtime.now() < end {
        for isolate in isolates {
            let check = Check::new("a", std::slice::from_ref(quota)).cost(0);
            isolate.check(&check).await.unwrap();
        }
        runtime.sleep(seconds(1)).await;
    }
}

fn rules() -> [Quota; 3] {
    let quota = Quota::new(100, hours(1));
    [quota.clone(), quota.clone().sliding_window(), quota.gcra()]
}

#[test]
fn one_isolate_counts_exactly_and_writes_once_in_ten_seconds() {
    for quota in rules() {
        let world = World::new();
        let (limits, kv, runtime) = (world.isolate(), world.kv.clone(), world.runtime.clone());
        world.run(async move {
            let mut taken = 0;
            for _ in 0..60 {
                taken += allowed(&limits, &quota, 10).await;
                runtime.sleep(seconds(1)).await;
            }
            // GCRA gives one or two back in a minute.
            assert!((100..=102).contains(&taken), "{quota:?}: {taken} were allowed");
            assert_eq!(kv.refused(), 0, "KV was written too often");
            assert!((1..=7).contains(&kv.writes("a")), "{} writes", kv.writes("a"));
        });
    }
}

#[test]
fn what_one_isolate_counts_the_others_hear_of() {
    for quota in rules() {
        let world = World::new();
        let (here, there, late) = (world.isolate(), world.isolate(), world.isolate());
        let runtime = world.runtime.clone();
        world.run(async move {
            // Both meet the key before either has told anything, and tell at the same time.
            assert_eq!(
                (allowed(&here, &quota, 61).await, allowed(&there, &quota, 1).await),
                (61, 1)
            );
            use_for(&runtime, seconds(70), &[&here, &there], &quota).await;
            let [here, there, late] =
                [left(&here, &quota), left(&there, &quota), left(&late, &quota)];
            let left = (here.await.unwrap(), there.await.unwrap(), late.await.unwrap());
            // What was counted elsewhere is taken when it is heard of; GCRA gives back meanwhile.
            let is_right = |left| (38..=41).contains(&left);
            assert!(
                is_right(left.0) && is_right(left.1) && is_right(left.2),
                "{quota:?}: {left:?}"
            );
        });
    }
}

#[test]
fn isolates_that_tell_at_the_same_time_agree_in_the_end() {
    let world = World::new();
    let runtime = world.runtime.clone();
    let isolates: Vec<_> = (0..5).map(|_| world.isolate()).collect();
    let quota = Quota::new(1_000, hours(5));
    world.run(async move {
        for _ in 0..30 {
            // All write in the same second, of which KV takes one.
            for isolate in &isolates {
                assert_eq!(allowed(isolate, &quota, 1).await, 1);
            }
            runtime.sleep(SHARE_EVERY).await;
        }
        // So long that each tells it again before the others would drop it.
        use_for(&runtime, minutes(40), &isolates.iter().collect::<Vec<_>>(), &quota).await;
        for isolate in &isolates {
            assert_eq!(left(isolate, &quota).await, Some(850));
        }
        assert_eq!(allowed(&isolates[0], &quota, 1).await, 1);
        use_for(&runtime, minutes(2), &isolates.iter().collect::<Vec<_>>(), &quota).await;
        for isolate in &isolates {
            assert_eq!(left(isolate, &quota).await, Some(849), "all was counted anew");
        }
    });
}

#[test]
fn blocks_and_resets_are_seen_elsewhere_whoever_overwrites_them() {
    let world = World::new();
    let (here, there, runtime) = (world.isolate(), world.isolate(), world.runtime.clone());
    let quota = Quota::new(100, hours(5));
    world.run(async move {
        let quotas = std::slice::from_ref(&quota);
        assert_eq!((allowed(&here, &quota, 50).await, allowed(&there, &quota, 1).await), (50, 1));
        use_for(&runtime, seconds(70), &[&here, &there], &quota).await;
        here.block("a", hours(1)).await.unwrap();
        assert_eq!(allowed(&here, &quota, 1).await, 0);
        // The other does not know yet, and tells what it takes.
        assert_eq!(allowed(&there, &quota, 1).await, 1);
        use_for(&runtime, minutes(2), &[&here, &there], &quota).await;
        for isolate in [&here, &there] {
            let refused = isolate.check(&Check::new("a", quotas)).await.unwrap();
            assert_eq!(refused.reason(), Reason::Blocked);
        }
        there.reset("a", quotas).await.unwrap();
        assert_eq!(allowed(&there, &quota, 10).await, 10);
        use_for(&runtime, minutes(2), &[&here, &there], &quota).await;
        assert_eq!((left(&here, &quota).await, left(&there, &quota).await), (Some(90), Some(90)));
    });
}

#[test]
fn an_isolate_that_comes_back_hears_first_and_forgets_nothing() {
    let world = World::new();
    let (here, there, runtime) = (world.isolate(), world.isolate(), world.runtime.clone());
    let quotas = [Quota::new(100, hours(5)), Quota::concurrent(2, hours(1))];
    world.run(async move {
        let check = Check::new("a", &quotas);
        assert!(here.check(&check.lease(1)).await.unwrap().is_allowed());
        for _ in 0..3 {
            allowed(&there, &quotas[0], 10).await;
            runtime.sleep(minutes(4)).await;
        }
        let decision = here.check(&check.lease(2)).await.unwrap();
        let left: Vec<_> = decision.quotas().map(|it| it.verdict.remaining).collect();
        assert_eq!(left, [0, 68], "a lease and what the other took");
        here.release("a", &quotas, 1).await.unwrap();
        here.refund("a", &quotas, 1).await.unwrap();
        let decision = here.check(&check.peek()).await.unwrap();
        let left: Vec<_> = decision.quotas().map(|it| it.verdict.remaining).collect();
        assert_eq!(left, [1, 69], "what was given back");
    });
}

#[test]
fn a_key_that_is_met_while_kv_fails_is_counted_here() {
    for quota in rules() {
        let world = World::new();
        let (limits, kv) = (world.isolate(), world.kv.clone());
        world.run(async move {
            kv.fail(true);
            assert_eq!(allowed(&limits, &quota, 200).await, 100, "{quota:?}");
            assert!(limits.block("b", hours(1)).await.is_err(), "nobody has heard of it");
            let blocked = limits.check(&Check::new("b", &[quota])).await.unwrap();
            assert_eq!(blocked.reason(), Reason::Blocked);
        });
    }
}

#[test]
fn what_was_told_before_kv_failed_is_heard_when_it_answers() {
    for quota in rules() {
        let world = World::new();
        let (there, here, late) = (world.isolate(), world.isolate(), world.isolate());
        let (kv, runtime) = (world.kv.clone(), world.runtime.clone());
        world.run(async move {
            assert_eq!(allowed(&there, &quota, 60).await, 60);
            runtime.sleep(minutes(1)).await;
            kv.fail(true);
            assert_eq!(allowed(&here, &quota, 10).await, 10);
            assert_eq!(left(&here, &quota).await, Some(90), "it knows of nobody");
            kv.fail(false);
            use_for(&runtime, seconds(70), &[&here], &quota).await;
            let [here, late] = [left(&here, &quota).await, left(&late, &quota).await];
            // GCRA gives back meanwhile; the sliding window nothing yet.
            for left in [here, late] {
                assert!((30..=34).contains(&left.unwrap()), "{quota:?}: {left:?}");
            }
        });
    }
}

/// What was told by isolates that are gone stands in the state alone.
#[test]
fn an_isolate_that_counted_by_itself_takes_over_what_is_told_of_those_that_are_gone() {
    let world = World::new();
    let (gone, between, here) = (world.isolate(), world.isolate(), world.isolate());
    let (kv, runtime) = (world.kv.clone(), world.runtime.clone());
    let quota = Quota::new(100, hours(5));
    world.run(async move {
        assert_eq!(allowed(&gone, &quota, 60).await, 60);
        runtime.sleep(minutes(20)).await;
        assert_eq!(allowed(&between, &quota, 5).await, 5);
        use_for(&runtime, minutes(17), &[&between], &quota).await;
        kv.fail(true);
        assert_eq!(allowed(&here, &quota, 10).await, 10);
        kv.fail(false);
        use_for(&runtime, seconds(70), &[&here], &quota).await;
        assert_eq!(left(&here, &quota).await, Some(25));
    });
}

#[test]
fn a_key_that_is_met_while_kv_hangs_is_counted_from_the_second_check_on() {
    let world = World::new();
    let (limits, kv) = (world.isolate(), world.kv.clone());
    let runtime = Arc::new(world.runtime.clone());
    world.run(async move {
        let limiter = RateLimiter::approximate(limits).quota(Quota::per_hour(3)).build().unwrap();
        let limiter = limiter.on(runtime);
        kv.hang(true);
        let mut allowed = 0;
        for _ in 0..10 {
            allowed += u32::from(limiter.check("a").await.unwrap().is_allowed());
        }
        assert_eq!((allowed, limiter.stats().degraded), (4, 1));
    });
}

#[test]
fn only_a_limiter_that_says_so_takes_it() {
    let world = World::new();
    let limits = world.isolate();
    let within = limits.capabilities().counting;
    assert_eq!(within, Counting::Approximate { within: seconds(70) });
    world.kv.write_foreign("ratelimit:a", "a value of somebody else's");
    let runtime = Arc::new(world.runtime.clone());
    world.run(async move {
        let limiter = RateLimiter::approximate(limits).quota(Quota::per_minute(1)).build().unwrap();
        let limiter = limiter.on(runtime);
        assert!(limiter.check("a").await.unwrap().is_allowed());
        assert!(!limiter.check("a").await.unwrap().is_allowed());
        assert_eq!(limiter.stats().degraded, 0);
    });
}
