//! «Absent» is a value, kept for a shorter time (semantic 6).

use std::io;

use larder_core::{Lookup, hours, millis, minutes, seconds};

use super::{Source, User};
use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Need};

cases!("cache::absence", "5":
    an_absence_is_kept,
    an_absence_lives_shorter_than_a_value,
    an_absence_never_outlives_what_a_value_would,
    lookup_tells_an_absence_from_a_miss,
    whoever_needs_a_value_loads_after_an_absence [Need::StrongConsistency],
    put_ends_an_absence [Need::StrongConsistency],
    remove_ends_an_absence [Need::StrongConsistency],
    what_is_found_is_kept_as_a_value,
);

async fn none() -> io::Result<Option<User>> {
    Ok(None)
}

async fn an_absence_is_kept(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let source = Source::at_once();
    for _ in 0..3 {
        ensure_eq!(cache.get_or_find("a", || source.nobody()).await?, None, "the answer");
    }
    ensure_eq!(source.loads(), 1, "how often it was looked for");
    ensure_eq!(cache.get::<User>("a").await?, None, "get");
    ensure!(!cache.contains("a").await?, "an absence is contained");
    ensure_eq!(cache.get_many::<User>(["a"]).await?, [None], "get_many");
    Ok(())
}

async fn an_absence_lives_shorter_than_a_value(bench: Bench) -> CaseResult {
    let life = bench.short_life();
    let cache = bench.cache().ttl(hours(1)).absent_ttl(life).build()?;
    let source = Source::at_once();
    cache.get_or_find("a", || source.nobody()).await?;
    cache.get_or_load("b", || source.user(2)).await?;
    bench.pass(life + millis(3)).await;
    ensure_eq!(cache.lookup::<User>("a").await?, Lookup::Miss, "the absence after its life");
    cache.get_or_find("a", || source.nobody()).await?;
    ensure_eq!(source.loads(), 3, "how often the source was asked");
    ensure!(cache.contains("b").await?, "a value is gone at an absence's time");
    Ok(())
}

async fn an_absence_never_outlives_what_a_value_would(bench: Bench) -> CaseResult {
    let cache = bench.cache().ttl(seconds(10)).absent_ttl(hours(1)).build()?;
    cache.get_or_find("a", none).await?;
    let left = cache.time_to_live("a").await?.unwrap_or_default();
    ensure!(left <= seconds(10) && !left.is_zero(), "{left:?} are left");
    cache.entry("b").ttl(hours(1)).absent_ttl(minutes(1)).get_or_find(none).await?;
    let left = cache.time_to_live("b").await?.unwrap_or_default();
    ensure!(left <= minutes(1) && left > seconds(10), "{left:?} are left");
    Ok(())
}

async fn lookup_tells_an_absence_from_a_miss(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    ensure_eq!(cache.lookup::<User>("a").await?, Lookup::Miss, "before");
    cache.get_or_find("a", none).await?;
    ensure_eq!(cache.lookup::<User>("a").await?, Lookup::Absent, "after");
    let hits = cache.stats().hits;
    cache.lookup::<User>("a").await?;
    ensure_eq!(cache.stats().hits, hits + 1, "hits after another look");
    Ok(())
}

async fn whoever_needs_a_value_loads_after_an_absence(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let source = Source::at_once();
    cache.get_or_find("a", none).await?;
    let user = cache.get_or_load("a", || source.user(1)).await?;
    ensure_eq!(*user, User::numbered(1), "the value");
    let user = cache.get_or_find("a", none).await?;
    ensure_eq!(user.as_deref(), Some(&User::numbered(1)), "what is kept");
    ensure_eq!(source.loads(), 1, "how often it was loaded");
    Ok(())
}

async fn put_ends_an_absence(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    cache.get_or_find("a", none).await?;
    cache.put("a", &User::numbered(1)).await?;
    let user = cache.get_or_find("a", none).await?;
    ensure_eq!(user.as_deref(), Some(&User::numbered(1)), "the answer");
    Ok(())
}

async fn remove_ends_an_absence(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let source = Source::at_once();
    cache.get_or_find("a", none).await?;
    cache.remove("a").await?;
    ensure_eq!(cache.lookup::<User>("a").await?, Lookup::Miss, "after remove");
    cache.get_or_find("a", || source.nobody()).await?;
    ensure_eq!(source.loads(), 1, "how often it was looked for after remove");
    Ok(())
}

async fn what_is_found_is_kept_as_a_value(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let found =
        cache.get_or_find("a", async || Ok::<_, io::Error>(Some(User::numbered(1)))).await?;
    ensure_eq!(found.as_deref(), Some(&User::numbered(1)), "what was found");
    ensure_eq!(cache.get("a").await?.as_deref(), Some(&User::numbered(1)), "what is kept");
    Ok(())
}
