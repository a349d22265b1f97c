//! What an event makes stale is invalidated as a whole, as far as that can be done (semantic 2).

use std::sync::Arc;

use larder_core::{Cache, Error, EventMap, KeyError, StoreErrorKind, Targets};

use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Failure, Need};
use crate::stores::{Call, Faults, When};

cases!("cache::events", "2":
    an_event_takes_what_it_makes_stale_and_nothing_else [Need::FramedLayout, Need::StrongConsistency],
    what_fails_keeps_nothing_else_and_is_named [Need::FramedLayout, Need::StrongConsistency],
    a_name_that_breaks_a_rule_keeps_no_other_from_going [Need::StrongConsistency],
    more_than_a_batch_goes_at_once [Need::StrongConsistency],
    a_layout_without_tags_says_so,
);

enum Event {
    UserChanged(u64),
    TeamDissolved,
}

fn stale_by() -> EventMap<Event> {
    EventMap::new()
        .on(|event| match event {
            Event::UserChanged(id) => Targets::new().key(format!("user:{id}")).pattern("users:*"),
            Event::TeamDissolved => Targets::new().tag("team"),
        })
        .on(|event| matches!(event, Event::UserChanged(_)).then(|| Targets::new().key("count")))
}

const KEYS: [&str; 6] = ["user:1", "user:2", "users:1", "users:2", "count", "member"];

async fn fill(cache: &Cache) -> Result<(), Error> {
    for key in KEYS {
        match key {
            "member" => cache.entry(key).tag("team").put(key).await?,
            _ => cache.put(key, key).await?,
        }
    }
    Ok(())
}

async fn left(cache: &Cache) -> Result<Vec<&'static str>, Error> {
    let found = cache.get_many::<String>(KEYS).await?;
    Ok(KEYS.into_iter().zip(found).filter_map(|(key, found)| found.map(|_| key)).collect())
}

/// What could not be invalidated, and why.
fn refused(result: Result<(), Error>) -> Result<(Targets, Error), Failure> {
    match result {
        Err(Error::NotInvalidated { left, source }) => Ok((*left, *source)),
        other => Err(Failure::new(format!("it ended with {other:?}"))),
    }
}

async fn an_event_takes_what_it_makes_stale_and_nothing_else(bench: Bench) -> CaseResult {
    let (cache, map) = (bench.cache().build()?, stale_by());
    fill(&cache).await?;
    map.emit(&cache, &Event::UserChanged(1)).await?;
    ensure_eq!(left(&cache).await?, ["user:2", "member"], "left by a user");
    map.emit(&cache, &Event::TeamDissolved).await?;
    ensure_eq!(left(&cache).await?, ["user:2"], "left by a team");
    cache.invalidate(&Targets::new()).await?;
    ensure_eq!(left(&cache).await?, ["user:2"], "left by nothing");
    Ok(())
}

async fn what_fails_keeps_nothing_else_and_is_named(bench: Bench) -> CaseResult {
    let stale = stale_by().targets(&Event::UserChanged(1)).tag("team");
    let scans = |call| call == Call::Scan;
    for (chosen, what, stays) in [
        (
            scans as fn(Call) -> bool,
            Targets::new().pattern("users:*"),
            &["user:2", "users:1", "users:2"][..],
        ),
        (Call::is_removal, stale.clone(), &KEYS),
    ] {
        let faults = Arc::new(Faults::of(When::Before, chosen));
        faults.turn(false);
        let cache = bench.cache_through(Arc::clone(&faults) as _).build()?;
        fill(&cache).await?;
        faults.turn(true);
        let (not, why) = refused(cache.invalidate(&stale).await)?;
        ensure_eq!(not, what, "not invalidated");
        let Error::Store(why) = why else { return Err(Failure::new(format!("because {why}"))) };
        ensure_eq!(why.kind(), StoreErrorKind::Unavailable, "the reason");
        ensure_eq!(left(&cache).await?, stays, "what stands");

        faults.turn(false);
        cache.invalidate(&not).await?;
        ensure_eq!(left(&cache).await?, ["user:2"], "what stands when the rest has gone");
    }
    Ok(())
}

async fn a_name_that_breaks_a_rule_keeps_no_other_from_going(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    cache.put_many([("a", 1), ("b", 2), ("c:1", 3)]).await?;
    let broken = Targets::new().key("a\n").pattern("c\n*");
    let stale = Targets::new().keys(["a", "b"]).pattern("c:*").and(broken.clone());
    let (not, why) = refused(cache.invalidate(&stale).await)?;
    ensure_eq!(not, broken, "not invalidated");
    ensure!(matches!(why, Error::Key(KeyError::ControlCharacter { .. })), "because {why}");
    let found = cache.get_many::<i32>(["a", "b", "c:1"]).await?;
    ensure_eq!(found, [None, None, None], "what stands");
    Ok(())
}

async fn more_than_a_batch_goes_at_once(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let keys = bench.keys(bench.store().capabilities().max_batch_keys.min(1_000) + 1);
    cache.put_many(keys.iter().map(|key| (key, 1))).await?;
    cache.invalidate(&Targets::new().keys(&keys)).await?;
    let found = cache.get_many::<i32>(&keys).await?;
    ensure!(found.iter().all(Option::is_none), "some of {} keys are left", keys.len());
    Ok(())
}

async fn a_layout_without_tags_says_so(bench: Bench) -> CaseResult {
    let cache = bench.cache().layout(larder_core::Layout::Plain).build()?;
    let (not, why) = refused(cache.invalidate(&Targets::new().key("a").tag("team")).await)?;
    ensure_eq!(not, Targets::new().tag("team"), "not invalidated");
    ensure!(matches!(why, Error::Config { setting: "tag", .. }), "because {why}");
    Ok(())
}
