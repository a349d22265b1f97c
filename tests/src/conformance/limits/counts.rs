//! What is allowed, and what is left.

use std::time::Duration;

use larder_core::rate_limit::Reason;
use larder_core::{Quota, hours};

use super::{Subject, counting};
use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Need};

cases!("limits::counts", "9":
    a_quota_allows_its_limit_and_no_more [Need::RateLimits],
    a_refusal_takes_nothing_whatever_it_costs [Need::RateLimits],
    what_costs_more_than_there_can_be_is_never_allowed [Need::RateLimits],
    a_cost_of_zero_is_allowed_and_takes_nothing [Need::RateLimits],
    a_peek_takes_nothing_and_tells_what_a_check_would [Need::RateLimits],
    a_burst_is_allowed_beyond_the_rate [Need::RateLimits],
    a_refund_gives_back_what_was_taken_and_no_more [Need::RateLimits],
    a_reset_forgets [Need::RateLimits],
    keys_and_quotas_do_not_meet [Need::RateLimits],
    another_limit_counts_what_was_counted [Need::RateLimits],
);

async fn a_quota_allows_its_limit_and_no_more(bench: Bench) -> CaseResult {
    for quota in counting(5, hours(1)) {
        let key = Subject::new(&bench, quota.name(), std::slice::from_ref(&quota))?;
        for left in (0..5).rev() {
            let decision = key.take(1).await?;
            ensure!(decision.is_allowed(), "{quota:?} refused with {left} left: {decision:?}");
            ensure_eq!(decision.reason(), Reason::WithinQuotas, "the reason");
            ensure_eq!(decision.limit(), Some(5), "{quota:?}: the limit");
            ensure_eq!(decision.remaining(), Some(left), "{quota:?}: what is left");
            ensure_eq!(decision.policy(), Some(quota.name()), "the policy");
            ensure_eq!((decision.taken(), decision.retry_after()), (1, None), "{quota:?}");
            ensure!(decision.reset().is_some_and(|it| !it.is_zero()), "no reset: {decision:?}");
        }
        let refused = key.take(1).await?;
        ensure!(!refused.is_allowed(), "{quota:?} allowed a sixth");
        ensure_eq!(refused.reason(), Reason::OverQuota, "the reason");
        ensure_eq!(refused.refused_by(), Some(quota.name()), "who refused");
        ensure_eq!((refused.remaining(), refused.taken()), (Some(0), 0), "{quota:?}");
        let (wait, reset) = (refused.retry_after(), refused.reset());
        ensure!(wait.is_some_and(|it| !it.is_zero()), "{quota:?}: no wait: {refused:?}");
        ensure!(wait <= reset, "{quota:?}: the wait is longer than the reset: {refused:?}");
    }
    Ok(())
}

async fn a_refusal_takes_nothing_whatever_it_costs(bench: Bench) -> CaseResult {
    for quota in counting(10, hours(1)) {
        let key = Subject::new(&bench, quota.name(), std::slice::from_ref(&quota))?;
        ensure_eq!(key.take(7).await?.remaining(), Some(3), "{quota:?}: after 7 of 10");
        for cost in [4, 10, 11, 1_000_000] {
            let refused = key.take(cost).await?;
            ensure!(!refused.is_allowed(), "{quota:?} allowed {cost} of 3");
            ensure_eq!(refused.remaining(), Some(3), "{quota:?}: after a refusal of {cost}");
        }
        ensure!(key.take(3).await?.is_allowed(), "{quota:?}: what was left is gone");
    }
    Ok(())
}

async fn what_costs_more_than_there_can_be_is_never_allowed(bench: Bench) -> CaseResult {
    for quota in counting(3, hours(1)) {
        let key = Subject::new(&bench, quota.name(), std::slice::from_ref(&quota))?;
        let refused = key.take(4).await?;
        ensure!(!refused.is_allowed(), "{quota:?} allowed 4 of 3");
        ensure_eq!(refused.retry_after(), None, "{quota:?}: how long to wait in vain");
        ensure_eq!(refused.remaining(), Some(3), "{quota:?}: what is left");
        let nothing = Quota::new(0, hours(1)).named("nothing");
        let key = Subject::new(&bench, quota.name(), &[quota.clone(), nothing])?;
        let refused = key.take(1).await?;
        ensure_eq!(refused.refused_by(), Some("nothing"), "who refused");
        ensure_eq!((refused.limit(), refused.retry_after()), (Some(0), None), "a limit of zero");
    }
    Ok(())
}

async fn a_cost_of_zero_is_allowed_and_takes_nothing(bench: Bench) -> CaseResult {
    for quota in counting(2, hours(1)) {
        let key = Subject::new(&bench, quota.name(), std::slice::from_ref(&quota))?;
        for (cost, left) in [(0, 2), (2, 0), (0, 0), (0, 0)] {
            let decision = key.take(cost).await?;
            ensure!(decision.is_allowed(), "{quota:?} refused {cost}");
            ensure_eq!(decision.remaining(), Some(left), "{quota:?}: after {cost}");
        }
    }
    Ok(())
}

async fn a_peek_takes_nothing_and_tells_what_a_check_would(bench: Bench) -> CaseResult {
    for quota in counting(5, hours(1)) {
        let key = Subject::new(&bench, quota.name(), std::slice::from_ref(&quota))?;
        let fresh = key.peek(1).await?;
        ensure!(fresh.is_allowed(), "a key that is new: {fresh:?}");
        ensure_eq!(fresh.reset(), Some(Duration::ZERO), "its reset");
        key.take(3).await?;
        for (cost, allowed) in [(2, true), (3, false), (2, true), (6, false)] {
            let looked = key.peek(cost).await?;
            ensure_eq!(looked.is_allowed(), allowed, "{quota:?}: a peek for {cost} of 2");
            ensure_eq!((looked.remaining(), looked.taken()), (Some(2), 0), "{quota:?}: {cost}");
        }
        ensure!(key.take(2).await?.is_allowed(), "{quota:?}: a peek took something");
    }
    Ok(())
}

async fn a_burst_is_allowed_beyond_the_rate(bench: Bench) -> CaseResult {
    let key = Subject::new(&bench, "a", &[Quota::per_hour(2).burst(6)])?;
    let decision = key.take(6).await?;
    ensure!(decision.is_allowed(), "the burst is refused: {decision:?}");
    ensure_eq!((decision.limit(), decision.remaining()), (Some(6), Some(0)), "of a burst");
    let wait = key.take(1).await?.retry_after().unwrap_or_default();
    ensure!(wait <= hours(1) / 2 && wait > hours(1) / 3, "one comes back in {wait:?}");
    Ok(())
}

async fn a_refund_gives_back_what_was_taken_and_no_more(bench: Bench) -> CaseResult {
    for quota in counting(5, hours(1)) {
        let key = Subject::new(&bench, quota.name(), std::slice::from_ref(&quota))?;
        key.take(5).await?;
        key.store.refund(&key.key, &key.quotas, 2).await?;
        ensure_eq!(key.peek(1).await?.remaining(), Some(2), "{quota:?}: after a refund of 2");
        key.store.refund(&key.key, &key.quotas, 1_000).await?;
        ensure_eq!(key.peek(1).await?.remaining(), Some(5), "{quota:?}: after one of too much");
        key.store.refund(&key.key, &key.quotas, 1).await?;
        ensure_eq!(key.take(5).await?.remaining(), Some(0), "{quota:?}: more than the limit");
    }
    Ok(())
}

async fn a_reset_forgets(bench: Bench) -> CaseResult {
    let quotas = counting(2, hours(1));
    let key = Subject::new(&bench, "a", &quotas)?;
    key.store.reset(&key.key, &quotas).await?;
    key.take(2).await?;
    key.store.block(&key.key, hours(1)).await?;
    key.store.reset(&key.key, &quotas).await?;
    let decision = key.take(2).await?;
    ensure!(decision.is_allowed(), "after a reset: {decision:?}");
    key.store.reset(&key.key, &quotas[..1]).await?;
    let refused = key.take(1).await?;
    let refusing = refused.quotas().filter(|it| !it.verdict.allowed).count();
    ensure_eq!(refusing, 2, "how many quotas refuse after a reset of the third");
    Ok(())
}

async fn keys_and_quotas_do_not_meet(bench: Bench) -> CaseResult {
    let quota = Quota::new(1, hours(1));
    let other = quota.clone().named("other");
    for (name, quota) in [("a", &quota), ("b", &quota), ("a:b", &quota), ("a", &other)] {
        let key = Subject::new(&bench, name, std::slice::from_ref(quota))?;
        let decision = key.take(1).await?;
        ensure!(decision.is_allowed(), "{name} was counted elsewhere: {decision:?}");
    }
    Ok(())
}

async fn another_limit_counts_what_was_counted(bench: Bench) -> CaseResult {
    for quota in counting(5, hours(1)) {
        let key = Subject::new(&bench, quota.name(), std::slice::from_ref(&quota))?;
        key.take(4).await?;
        for smaller in counting(3, hours(1)).iter().filter(|it| it.name() == quota.name()) {
            let key = Subject::new(&bench, quota.name(), std::slice::from_ref(smaller))?;
            let refused = key.take(1).await?;
            ensure!(!refused.is_allowed(), "{smaller:?} allowed a fifth");
            ensure_eq!((refused.limit(), refused.remaining()), (Some(3), Some(0)), "{smaller:?}");
        }
    }
    Ok(())
}
