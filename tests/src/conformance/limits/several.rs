//! Several quotas at once.

use larder_core::{Quota, hours, minutes};

use super::{Subject, counting};
use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Need};

cases!("limits::several", "9":
    what_one_quota_refuses_counts_against_none [Need::RateLimits],
    the_quota_that_binds_is_told [Need::RateLimits],
    without_a_quota_everything_is_allowed [Need::RateLimits],
);

async fn what_one_quota_refuses_counts_against_none(bench: Bench) -> CaseResult {
    for tight in counting(3, hours(1)) {
        let mut quotas = counting(10, hours(2)).map(|it| {
            let name = format!("wide {}", it.name());
            it.named(name)
        });
        // The one that refuses may come first or last.
        for at in [0, 2] {
            quotas[at] = tight.clone();
            let key = Subject::new(&bench, &format!("{} {at}", tight.name()), &quotas)?;
            ensure_eq!(key.take(2).await?.remaining(), Some(1), "{tight:?}: what is left");
            for _ in 0..3 {
                let refused = key.take(2).await?;
                ensure_eq!(refused.refused_by(), Some(tight.name()), "who refused");
                for report in refused.quotas() {
                    let left = if report.policy == tight.name() { 1 } else { 8 };
                    ensure_eq!(report.verdict.remaining, left, "{report:?}");
                }
            }
        }
    }
    Ok(())
}

async fn the_quota_that_binds_is_told(bench: Bench) -> CaseResult {
    let quotas = [Quota::new(3, minutes(10)).named("short"), Quota::new(4, hours(9)).named("long")];
    let key = Subject::new(&bench, "a", &quotas)?;
    ensure_eq!(key.take(1).await?.policy(), Some("short"), "the quota with the least left");
    ensure_eq!(key.take(3).await?.refused_by(), Some("short"), "the one that refuses");
    let refused = key.take(4).await?;
    ensure_eq!(refused.refused_by(), Some("short"), "the one that can never allow it");
    ensure_eq!(refused.retry_after(), None, "a wait in vain");
    key.take(2).await?;
    key.store.reset(&key.key, &quotas[..1]).await?;
    key.take(1).await?;
    let refused = key.take(3).await?;
    ensure_eq!(refused.refused_by(), Some("long"), "the one with the longer wait");
    ensure!(refused.retry_after() > Some(hours(8)), "its wait: {refused:?}");
    ensure_eq!(refused.quotas().count(), 2, "how many quotas speak");
    Ok(())
}

async fn without_a_quota_everything_is_allowed(bench: Bench) -> CaseResult {
    let key = Subject::new(&bench, "a", &[])?;
    let decision = key.take(1_000).await?;
    ensure!(decision.is_allowed(), "{decision:?}");
    ensure_eq!((decision.limit(), decision.policy()), (None, None), "of no quota");
    key.store.block(&key.key, hours(1)).await?;
    ensure!(!key.take(1).await?.is_allowed(), "a key that is blocked");
    Ok(())
}
