//! Waits, resets and blocks.

use std::time::Duration;

use larder_core::rate_limit::{Decision, Reason};
use larder_core::{Quota, hours, millis, minutes};

use super::{Subject, counting};
use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Failure, Need};

cases!("limits::times", "9":
    a_request_passes_after_its_wait_and_not_before [Need::RateLimits],
    everything_is_back_at_the_reset_and_not_before [Need::RateLimits],
    a_block_refuses_until_its_end [Need::RateLimits],
    a_block_can_be_ended [Need::RateLimits],
);

const WINDOW: Duration = millis(400);

/// Whether what is seen of a key is not yet so shortly before `wait` is over, and is so when it is.
///
/// On a real clock the machine may be slow to ask: then nothing is said of what was before.
async fn comes_true(
    bench: &Bench,
    (key, cost): (&Subject, u64),
    wait: Duration,
    is_so: fn(&Decision) -> bool,
) -> Result<(), Failure> {
    let runtime = bench.runtime();
    // The store may have said so a little earlier.
    let told = runtime.now();
    let margin = millis(60).min(wait / 4);
    bench.pass(wait.saturating_sub(margin)).await;
    let early = key.peek(cost).await?;
    if runtime.now().since(told) + margin / 2 < wait {
        ensure!(!is_so(&early), "{margin:?} before {wait:?} are over: {early:?}");
    }
    bench.pass((told + wait + millis(2)).since(runtime.now())).await;
    let then = key.peek(cost).await?;
    ensure!(is_so(&then), "when {wait:?} are over: {then:?}");
    Ok(())
}

async fn a_request_passes_after_its_wait_and_not_before(bench: Bench) -> CaseResult {
    for quota in counting(4, WINDOW) {
        for cost in [1, 4] {
            let name = format!("{}:{cost}", quota.name());
            let key = Subject::new(&bench, &name, std::slice::from_ref(&quota))?;
            key.take(4).await?;
            let refused = key.take(cost).await?;
            let Some(wait) = refused.retry_after() else {
                return Err(Failure::new(format!("{quota:?} says no wait: {refused:?}")));
            };
            ensure!(wait <= WINDOW * 2, "{quota:?}: a wait of {wait:?}");
            comes_true(&bench, (&key, cost), wait, Decision::is_allowed).await?;
            ensure!(key.take(cost).await?.is_allowed(), "{quota:?}: a check after the wait");
        }
    }
    Ok(())
}

async fn everything_is_back_at_the_reset_and_not_before(bench: Bench) -> CaseResult {
    for quota in counting(4, WINDOW) {
        let key = Subject::new(&bench, quota.name(), std::slice::from_ref(&quota))?;
        let decision = key.take(3).await?;
        let reset = decision.reset().unwrap_or_default();
        comes_true(&bench, (&key, 1), reset, |seen| seen.remaining() == Some(4)).await?;
    }
    Ok(())
}

async fn a_block_refuses_until_its_end(bench: Bench) -> CaseResult {
    let key = Subject::new(&bench, "a", &[Quota::new(2, hours(1))])?;
    key.store.block(&key.key, WINDOW).await?;
    let refused = key.take(1).await?;
    ensure_eq!(refused.reason(), Reason::Blocked, "the reason");
    ensure!(!refused.is_allowed(), "a key that is blocked: {refused:?}");
    let wait = refused.retry_after().unwrap_or_default();
    ensure!(!wait.is_zero() && wait <= WINDOW, "a wait of {wait:?}");
    comes_true(&bench, (&key, 1), wait, Decision::is_allowed).await?;
    ensure_eq!(key.take(1).await?.remaining(), Some(1), "what a block took");
    Ok(())
}

async fn a_block_can_be_ended(bench: Bench) -> CaseResult {
    let key = Subject::new(&bench, "a", &[Quota::new(2, hours(1))])?;
    key.take(1).await?;
    key.store.block(&key.key, hours(1)).await?;
    key.store.block(&key.key, minutes(1)).await?;
    let wait = key.take(1).await?.retry_after().unwrap_or_default();
    ensure!(wait <= minutes(1), "the first block stands: {wait:?}");
    key.store.block(&key.key, Duration::ZERO).await?;
    ensure_eq!(key.take(1).await?.remaining(), Some(0), "what is left after a block");
    Ok(())
}
