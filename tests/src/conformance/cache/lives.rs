//! How long an entry lives (semantics 2 and 3).

use std::collections::HashSet;
use std::time::Duration;

use larder_core::{Runtime, hours, millis, minutes, seconds};

use super::{Source, User, under_way};
use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Need};

cases!("cache::lives", "3":
    a_value_is_a_miss_when_its_life_is_over,
    a_loaded_value_is_loaded_again_when_its_life_is_over,
    a_life_is_counted_from_the_start_of_the_load [Need::FramedLayout],
    what_took_longer_than_it_lives_is_not_kept [Need::FramedLayout],
    the_entry_s_life_binds_and_not_the_store_s [Need::FramedLayout],
    chance_only_shortens_lives,
    the_store_s_time_is_the_entry_s,
);

async fn a_value_is_a_miss_when_its_life_is_over(bench: Bench) -> CaseResult {
    let life = bench.short_life();
    let cache = bench.cache().ttl(life).build()?;
    cache.put("a", &1).await?;
    cache.put_many([("b", 2)]).await?;
    cache.put_raw("c", &bytes::Bytes::from_static(b"3")).await?;
    cache.entry("d").ttl(hours(1)).put(&4).await?;
    bench.pass(life + millis(3)).await;
    ensure_eq!(cache.get::<u32>("a").await?, None, "what put had set");
    ensure_eq!(cache.get_many::<u32>(["b"]).await?, [None], "what put_many had set");
    ensure_eq!(cache.get_raw::<bytes::Bytes>("c").await?, None, "what put_raw had set");
    ensure!(!cache.contains("a").await?, "contains");
    ensure_eq!(cache.get("d").await?.as_deref(), Some(&4), "what was to live longer");
    ensure_eq!(cache.stats().unreadable, 0, "entries counted as unreadable");
    Ok(())
}

async fn a_loaded_value_is_loaded_again_when_its_life_is_over(bench: Bench) -> CaseResult {
    let life = bench.short_life();
    let cache = bench.cache().ttl(life).build()?;
    let source = Source::at_once();
    cache.get_or_load("a", || source.user(1)).await?;
    bench.pass(life + millis(3)).await;
    let user = cache.get_or_load("a", || source.user(2)).await?;
    ensure_eq!(*user, User::numbered(2), "the value");
    ensure_eq!(source.loads(), 2, "how often it was loaded");
    Ok(())
}

async fn a_life_is_counted_from_the_start_of_the_load(bench: Bench) -> CaseResult {
    let (load, life) = (millis(80), minutes(1));
    let cache = bench.cache().ttl(life).build()?;
    let before = bench.runtime().now();
    // Looked at before any more time passes, which would shorten every life.
    let lives_from_its_start = async |key: &str| -> CaseResult {
        bench.until("the write has ended", || cache.loads_under_way() == 0).await?;
        let left = cache.time_to_live(key).await?.unwrap_or_default();
        ensure!(left <= life - load, "{key} has {left:?} left of {life:?} after {load:?}");
        let spent = bench.runtime().now().since(before) + millis(2);
        ensure!(left >= life.saturating_sub(spent), "{key} has {left:?} left after {spent:?}");
        Ok(())
    };

    let source = Source::default();
    let loaded = under_way(&bench, &cache, "a", 1, &source).await;
    bench.pass(load).await;
    source.answer.raise();
    loaded.await??;
    lives_from_its_start("a").await?;

    let many = |ids: Vec<u64>| async {
        bench.pass(load).await;
        let users = ids.into_iter().map(|id| (id, User::numbered(id)));
        Ok::<Vec<_>, std::io::Error>(users.collect())
    };
    cache.get_or_load_many([7], |_| "many", many).await?;
    lives_from_its_start("many").await?;

    let claim = cache.entry("raw").claim_raw::<bytes::Bytes>().await?;
    bench.pass(load).await;
    if let larder_core::Claim::Lead(leader) = claim {
        leader.complete(std::sync::Arc::new(bytes::Bytes::new()), life);
    }
    lives_from_its_start("raw").await?;

    // The entry says so as well as the store.
    if let Some(frame) = bench.store().get(&bench.key("a")).await? {
        bench.store().put(&bench.key("a"), frame, hours(1)).await?;
        let spent = bench.runtime().now().since(before);
        if spent < life && life < seconds(90) {
            ensure!(cache.get::<User>("a").await?.is_some(), "the value is gone within its life");
        }
    }
    Ok(())
}

async fn what_took_longer_than_it_lives_is_not_kept(bench: Bench) -> CaseResult {
    let cache = bench.cache().ttl(millis(20)).build()?;
    let source = Source::default();
    let load = under_way(&bench, &cache, "a", 1, &source).await;
    bench.pass(millis(25)).await;
    source.answer.raise();
    ensure_eq!(*load.await??, User::numbered(1), "what the caller got");
    ensure_eq!(bench.store().get(&bench.key("a")).await?, None, "what the store holds");
    Ok(())
}

async fn the_entry_s_life_binds_and_not_the_store_s(bench: Bench) -> CaseResult {
    let life = bench.short_life();
    let cache = bench.cache().ttl(life).absent_ttl(life).build()?;
    let keys = ["a", "b"].map(|key| bench.key(key));
    // On a real clock the machine may be slow, and the entries gone before they are read: then it is
    // tried again.
    for attempt in 0..20 {
        cache.put("a", &1).await?;
        cache.remove("b").await?;
        cache.get_or_find("b", async || Ok::<Option<u32>, std::io::Error>(None)).await?;
        let [Some(a), Some(b)] =
            [bench.store().get(&keys[0]).await?, bench.store().get(&keys[1]).await?]
        else {
            ensure!(attempt < 19, "the store does not hold what was put");
            continue;
        };
        bench.store().put(&keys[0], a, hours(1)).await?;
        bench.store().put(&keys[1], b, hours(1)).await?;
        break;
    }
    bench.pass(life + millis(3)).await;
    for key in ["a", "b"] {
        ensure!(bench.store().contains(&bench.key(key)).await?, "the store does not hold {key}");
        let found = cache.lookup::<u32>(key).await?;
        ensure_eq!(found, larder_core::Lookup::Miss, "{key} after its life");
        ensure!(!cache.contains(key).await?, "{key} is contained after its life");
    }
    ensure_eq!(cache.stats().unreadable, 0, "entries counted as unreadable");
    Ok(())
}

async fn chance_only_shortens_lives(bench: Bench) -> CaseResult {
    let cache = bench.cache().ttl(seconds(1_000)).jitter(0.5).build()?;
    cache.put_many((0..100).map(|i| (format!("{i}"), i))).await?;
    let mut lives = HashSet::new();
    for i in 0..100 {
        let left = cache.time_to_live(format!("{i}")).await?.unwrap_or_default();
        let allowed = seconds(470)..=seconds(1_000);
        ensure!(allowed.contains(&left), "{left:?} of 1000 s are left with a jitter of a half");
        lives.insert(left.as_secs() / 10);
    }
    ensure!(lives.len() > 10, "chance has given only {} different lives", lives.len());
    Ok(())
}

async fn the_store_s_time_is_the_entry_s(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    for ttl in [millis(90_500), seconds(90), hours(30)] {
        cache.entry("a").ttl(ttl).put(&1).await?;
        let left = cache.time_to_live("a").await?.unwrap_or_default();
        let whole = Duration::from_secs(ttl.as_secs() + 1);
        ensure!(left <= whole && left + seconds(30) > ttl, "of {ttl:?} {left:?} are left");
    }
    ensure_eq!(cache.time_to_live("b").await?, None, "the time of nothing");
    Ok(())
}
