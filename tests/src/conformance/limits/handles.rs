//! Many callers, over one handle and several.

use std::sync::Arc;

use larder_core::hours;
use larder_core::rate_limit::Check;

use super::{Subject, counting};
use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Need};

cases!("limits::handles", "9":
    callers_at_the_same_time_are_allowed_what_the_quota_says [Need::RateLimits, Need::ExactCounts],
    another_handle_sees_every_check [Need::RateLimits, Need::ExactCounts],
    the_store_answers [Need::RateLimits],
);

async fn callers_at_the_same_time_are_allowed_what_the_quota_says(bench: Bench) -> CaseResult {
    for quota in counting(50, hours(1)) {
        let key = Arc::new(Subject::new(&bench, quota.name(), std::slice::from_ref(&quota))?);
        let callers = (0..16).map(|_| {
            let key = Arc::clone(&key);
            async move {
                let mut allowed = 0;
                for _ in 0..8 {
                    allowed += u32::from(key.take(1).await?.is_allowed());
                }
                Ok::<u32, crate::conformance::Failure>(allowed)
            }
        });
        let mut allowed = 0;
        for caller in bench.together(callers).await? {
            allowed += caller?;
        }
        ensure_eq!(allowed, 50, "{quota:?}: how many of 128 were allowed");
    }
    Ok(())
}

async fn another_handle_sees_every_check(bench: Bench) -> CaseResult {
    for quota in counting(3, hours(1)) {
        let key = Subject::new(&bench, quota.name(), std::slice::from_ref(&quota))?;
        let other = bench.another_handle_on_limits().await?;
        let check = Check::new(&key.key, &key.quotas);
        key.take(1).await?;
        ensure_eq!(other.check(&check).await?.remaining(), Some(1), "{quota:?}: elsewhere");
        ensure_eq!(key.take(1).await?.remaining(), Some(0), "{quota:?}: here again");
        ensure!(!other.check(&check).await?.is_allowed(), "{quota:?}: a fourth");
    }
    Ok(())
}

async fn the_store_answers(bench: Bench) -> CaseResult {
    let key = Subject::new(&bench, "a", &[])?;
    key.store.ready().await?;
    Ok(())
}
