//! Loads in steps of the caller's own (semantic 1).

use std::sync::Arc;

use bytes::Bytes;
use larder_core::{Cache, Claim, Followed, Leader, minutes};

use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Failure};

cases!("cache::claims", "1":
    the_first_leads_and_the_others_follow,
    a_leader_may_decline,
    a_leader_that_goes_away_frees_the_key,
    a_removal_wins_over_a_leader,
    what_stands_beside_heeds_what_was_removed_before,
);

async fn lead(cache: &Cache) -> Result<Leader<Bytes>, Failure> {
    match cache.entry("a").claim_raw::<Bytes>().await? {
        Claim::Lead(leader) => Ok(leader),
        other => Err(Failure::new(format!("a claim of a free key is {other:?}"))),
    }
}

fn page() -> Arc<Bytes> {
    Arc::new(Bytes::from_static(b"page"))
}

async fn the_first_leads_and_the_others_follow(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let leader = lead(&cache).await?;
    let Claim::Follow(follower) = cache.entry("a").claim_raw::<Bytes>().await? else {
        return Err(Failure::new("the second claim does not follow"));
    };
    leader.complete(page(), minutes(1));
    ensure_eq!(follower.followed().await.value(), Some(page()), "what the follower got");
    bench.until("the write has ended", || cache.loads_under_way() == 0).await?;
    let Claim::Hit(value) = cache.entry("a").claim_raw::<Bytes>().await? else {
        return Err(Failure::new("a claim of what is kept is no hit"));
    };
    ensure_eq!(value, page(), "what was kept");
    let left = cache.time_to_live("a").await?.unwrap_or_default();
    ensure!(left <= minutes(1), "{left:?} are left");
    Ok(())
}

async fn a_leader_may_decline(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let leader = lead(&cache).await?;
    let Claim::Follow(follower) = cache.entry("a").claim_raw::<Bytes>().await? else {
        return Err(Failure::new("the second claim does not follow"));
    };
    leader.decline();
    let followed = follower.followed().await;
    ensure!(matches!(followed, Followed::Declined), "the follower got {followed:?}");
    lead(&cache).await?.decline();
    ensure_eq!(cache.get_raw::<Bytes>("a").await?, None, "what was kept");
    Ok(())
}

async fn a_leader_that_goes_away_frees_the_key(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let leader = lead(&cache).await?;
    let Claim::Follow(follower) = cache.entry("a").claim_raw::<Bytes>().await? else {
        return Err(Failure::new("the second claim does not follow"));
    };
    drop(leader);
    let followed = follower.followed().await;
    ensure!(matches!(followed, Followed::Gone), "the follower got {followed:?}");
    lead(&cache).await?.complete(page(), minutes(1));
    bench.until("the write has ended", || cache.loads_under_way() == 0).await?;
    Ok(())
}

async fn a_removal_wins_over_a_leader(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let leader = lead(&cache).await?;
    cache.remove("a").await?;
    let next = lead(&cache).await?;
    leader.complete(page(), minutes(1));
    bench.until("the first has ended", || cache.loads_under_way() == 1).await?;
    ensure_eq!(cache.get_raw::<Bytes>("a").await?, None, "what the first has kept");
    next.complete(Arc::new(Bytes::from_static(b"new")), minutes(1));
    bench.until("the second has ended", || cache.loads_under_way() == 0).await?;
    let kept = cache.get_raw::<Bytes>("a").await?;
    ensure_eq!(kept.as_deref().map(|bytes| &bytes[..]), Some(&b"new"[..]), "what is kept");
    Ok(())
}

/// A key that is led beside another only when the load is over, as that of a variant.
async fn what_stands_beside_heeds_what_was_removed_before(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    for way in 0..6 {
        let leader = lead(&cache).await?;
        match way {
            0 => {}
            1 => drop(cache.remove("beside").await?),
            2 => cache.put_raw("beside", &Bytes::from_static(b"new")).await?,
            3 => drop(cache.remove_matching("bes*").await?),
            4 => cache.clear().await?,
            _ => drop(cache.remove("a").await?),
        }
        leader.lead_beside("beside")?.complete(page(), minutes(1));
        leader.decline();
        bench.until("the write has ended", || cache.loads_under_way() == 0).await?;
        let kept = cache.get_raw::<Bytes>("beside").await?;
        ensure_eq!(kept == Some(page()), way == 0, "{way}: whether it is kept");
        cache.remove("beside").await?;
    }
    Ok(())
}
