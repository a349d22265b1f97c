//! How much may be under way at the same time.

use larder_core::{Quota, hours, millis, minutes};

use super::Subject;
use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Need};

cases!("limits::leases", "9":
    a_lease_counts_until_it_is_released [Need::RateLimits],
    a_lease_ends_by_itself [Need::RateLimits],
    a_refused_request_holds_no_lease [Need::RateLimits],
);

async fn a_lease_counts_until_it_is_released(bench: Bench) -> CaseResult {
    let key = Subject::new(&bench, "a", &[Quota::concurrent(2, minutes(5))])?;
    let first = key.take(1).await?;
    let second = key.take(1).await?;
    ensure_eq!((first.remaining(), second.remaining()), (Some(1), Some(0)), "what is left");
    ensure!(first.lease().is_some() && first.lease() != second.lease(), "{first:?}, {second:?}");
    let refused = key.take(1).await?;
    ensure_eq!(refused.refused_by(), Some("concurrent"), "who refused");
    ensure!(refused.retry_after() <= Some(minutes(5)), "a wait: {refused:?}");
    // Whatever is given back, and whichever lease is released that nobody holds.
    key.store.refund(&key.key, &key.quotas, 2).await?;
    key.store.release(&key.key, &key.quotas, fastrand::u64(..)).await?;
    ensure!(!key.take(1).await?.is_allowed(), "a third is under way");
    if let Some(lease) = first.lease() {
        key.store.release(&key.key, &key.quotas, lease).await?;
        key.store.release(&key.key, &key.quotas, lease).await?;
    }
    ensure_eq!(key.take(1).await?.remaining(), Some(0), "what is left after a release");
    Ok(())
}

async fn a_lease_ends_by_itself(bench: Bench) -> CaseResult {
    let key = Subject::new(&bench, "a", &[Quota::concurrent(1, millis(200))])?;
    key.take(1).await?;
    let wait = key.peek(1).await?.retry_after().unwrap_or_default();
    ensure!(wait <= millis(200), "a wait of {wait:?}");
    bench.pass(wait + millis(2)).await;
    ensure!(key.take(1).await?.is_allowed(), "a lease is held after its time");
    Ok(())
}

async fn a_refused_request_holds_no_lease(bench: Bench) -> CaseResult {
    let quotas = [Quota::concurrent(5, hours(1)), Quota::new(1, hours(1))];
    let key = Subject::new(&bench, "a", &quotas)?;
    ensure!(key.take(1).await?.lease().is_some(), "an allowed request holds no lease");
    let refused = key.take(1).await?;
    ensure_eq!((refused.is_allowed(), refused.lease()), (false, None), "a refused request");
    ensure_eq!(key.peek(0).await?.lease(), None, "the lease of a peek");
    let parallel = refused.quotas().find(|it| it.policy == "concurrent");
    let left = parallel.map(|it| it.verdict.remaining);
    ensure_eq!(left, Some(4), "what is left");
    Ok(())
}
