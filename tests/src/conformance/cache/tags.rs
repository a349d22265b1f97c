//! Tags and clearing: one call invalidates many entries, and wins over every load that began before
//! it, in whatever process (semantic 2).

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use larder_core::{Cache, CacheBuilder, Claim, Error, Layout, Lookup, minutes};

use super::{Source, User};
use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Need};
use crate::stores::{Call, Tally, Tapped};

cases!("cache::tags", "2":
    a_removed_tag_takes_its_entries_and_no_others [Need::FramedLayout, Need::StrongConsistency],
    whatever_can_be_kept_can_be_tagged [Need::FramedLayout, Need::StrongConsistency],
    every_way_to_read_heeds_them [Need::FramedLayout, Need::StrongConsistency],
    an_entry_that_is_loaded_anew_is_kept [Need::FramedLayout, Need::StrongConsistency],
    a_load_that_was_overtaken_leaves_nothing [Need::FramedLayout, Need::StrongConsistency],
    a_load_elsewhere_leaves_nothing [Need::FramedLayout, Need::StrongConsistency],
    who_comes_after_does_not_wait_for_the_load_before [Need::FramedLayout, Need::StrongConsistency],
    they_stay_in_their_namespace [Need::FramedLayout, Need::StrongConsistency],
    one_round_trip_reads_what_is_tagged [Need::FramedLayout, Need::StrongConsistency],
    an_epoch_that_is_lost_costs_its_entries [Need::FramedLayout, Need::StrongConsistency],
    clearing_stays_in_its_namespace [Need::StrongConsistency],
    clearing_at_once_is_one_call [Need::FramedLayout, Need::StrongConsistency],
    what_cannot_be_is_said,
);

/// Every way to take the ground from an entry of the tag `users`.
#[derive(Debug, Clone, Copy)]
enum Way {
    RemoveTag,
    RemoveTags,
    Clear,
}

impl Way {
    const ALL: [Self; 3] = [Self::RemoveTag, Self::RemoveTags, Self::Clear];

    async fn invalidate(self, cache: &Cache) -> Result<(), Error> {
        match self {
            Self::RemoveTag => cache.remove_tag("users").await,
            Self::RemoveTags => cache.remove_tags(["others", "users"]).await,
            Self::Clear => cache.clear().await,
        }
    }
}

fn cache(bench: &Bench) -> CacheBuilder {
    bench.cache().instant_clear()
}

async fn load(cache: &Cache, key: &str, id: u64) -> Result<u64, Error> {
    let user = async || Ok::<_, io::Error>(User::numbered(id));
    Ok(cache.entry(key).tag("users").get_or_load(user).await?.id)
}

async fn a_removed_tag_takes_its_entries_and_no_others(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    cache.entry("both").tag("users").tag("orders").put(&1).await?;
    cache.entry("one").tag("users").put(&2).await?;
    cache.entry("other").tag("orders").put(&3).await?;
    cache.put("none", &4).await?;
    cache.remove_tag("users").await?;
    let found = cache.get_many::<u64>(["both", "one", "other", "none"]).await?;
    let found: Vec<_> = found.iter().map(|it| it.as_deref().copied()).collect();
    ensure_eq!(found, [None, None, Some(3), Some(4)], "what is left");
    cache.put("one", &5).await?;
    cache.remove_tag("users").await?;
    let untagged = cache.get::<u64>("one").await?;
    ensure_eq!(untagged.as_deref(), Some(&5), "what was put without a tag");
    Ok(())
}

async fn whatever_can_be_kept_can_be_tagged(bench: Bench) -> CaseResult {
    let page = Arc::new(Bytes::from_static(b"<h1>"));
    for way in Way::ALL {
        let cache = cache(&bench).build()?;
        load(&cache, "loaded", 1).await?;
        let nobody = async || Ok::<Option<User>, io::Error>(None);
        cache.entry("absent").tag("users").get_or_find(nobody).await?;
        cache.entry("raw").tag("users").put_raw(&*page).await?;
        match cache.entry("claimed").tag("users").claim_raw::<Bytes>().await? {
            Claim::Lead(leader) => {
                leader.lead_beside("beside")?.complete(Arc::clone(&page), minutes(1));
                leader.complete(Arc::clone(&page), minutes(1));
            }
            other => ensure!(false, "{way:?}: it is claimed already: {other:?}"),
        }
        let led = cache.entry("led").tag("users").lead_raw::<Bytes>().await?;
        led.complete(Arc::clone(&page), minutes(1));
        bench.until("all is written", || cache.loads_under_way() == 0).await?;
        let keys = ["loaded", "raw", "claimed", "beside", "led"];
        for key in keys {
            ensure!(cache.contains(key).await?, "{way:?}: {key} is not kept");
        }
        let absent = cache.lookup::<User>("absent").await?;
        ensure_eq!(absent, Lookup::Absent, "{way:?}: what is known of an absence");
        way.invalidate(&cache).await?;
        for key in keys {
            ensure!(!cache.contains(key).await?, "{way:?}: {key} is left");
        }
        let absent = cache.lookup::<User>("absent").await?;
        ensure_eq!(absent, Lookup::Miss, "{way:?}: what is left of an absence");
    }
    Ok(())
}

async fn every_way_to_read_heeds_them(bench: Bench) -> CaseResult {
    let page = Bytes::from_static(b"<h1>");
    for way in Way::ALL {
        let cache = cache(&bench).build()?;
        cache.entry("a").tag("users").put(&User::numbered(1)).await?;
        cache.entry("raw").tag("users").put_raw(&page).await?;
        let many = cache.get_many::<User>(["a", "a"]).await?;
        ensure!(many.iter().all(Option::is_some), "{way:?}: many are not found");
        ensure!(cache.entry("a").tag("users").get::<User>().await?.is_some(), "{way:?}: a is gone");
        way.invalidate(&cache).await?;
        ensure_eq!(cache.get::<User>("a").await?, None, "{way:?}: by get");
        ensure_eq!(cache.entry("a").tag("users").get::<User>().await?, None, "{way:?}: by its tag");
        ensure_eq!(cache.lookup::<User>("a").await?, Lookup::Miss, "{way:?}: by lookup");
        ensure_eq!(cache.get_many::<User>(["a"]).await?, [None], "{way:?}: by get_many");
        ensure_eq!(cache.get_raw::<Bytes>("raw").await?, None, "{way:?}: by get_raw");
        ensure_eq!(cache.get_raw_now::<Bytes>("raw")?, None, "{way:?}: by get_raw_now");
        ensure!(!cache.contains("a").await?, "{way:?}: by contains");
        let again = cache.get_or_load("a", async || Ok::<_, io::Error>(User::numbered(2))).await?;
        ensure_eq!(again.id, 2, "{way:?}: by get_or_load");
    }
    Ok(())
}

async fn an_entry_that_is_loaded_anew_is_kept(bench: Bench) -> CaseResult {
    for way in Way::ALL {
        let cache = cache(&bench).build()?;
        cache.remove("a").await?;
        for id in 1..4 {
            ensure_eq!(load(&cache, "a", id).await?, id, "{way:?}: what is loaded");
            ensure_eq!(load(&cache, "a", 9).await?, id, "{way:?}: what is kept");
            way.invalidate(&cache).await?;
        }
    }
    Ok(())
}

async fn a_load_that_was_overtaken_leaves_nothing(bench: Bench) -> CaseResult {
    for way in Way::ALL {
        let cache = cache(&bench).build()?;
        overtake(&bench, &cache, &cache, way).await?;
        ensure_eq!(cache.stats().superseded, 1, "{way:?}: loads not kept, as counted");
    }
    Ok(())
}

async fn a_load_elsewhere_leaves_nothing(bench: Bench) -> CaseResult {
    for way in Way::ALL {
        let here = cache(&bench).build()?;
        let there = bench.cache_on(bench.another_handle().await?).instant_clear().build()?;
        overtake(&bench, &here, &there, way).await?;
    }
    Ok(())
}

/// A load through one cache is overtaken by an invalidation through another.
async fn overtake(bench: &Bench, loading: &Cache, other: &Cache, way: Way) -> CaseResult {
    let source = Source::default();
    loading.remove("a").await?;
    let (caching, loader) = (loading.clone(), source.clone());
    let load = bench
        .start(async move { caching.entry("a").tag("users").get_or_load(|| loader.user(1)).await });
    source.begun.raised().await;
    way.invalidate(other).await?;
    source.answer.raise();
    ensure_eq!(*load.await??, User::numbered(1), "{way:?}: what the load's caller got");
    for cache in [loading, other] {
        ensure_eq!(cache.get::<User>("a").await?, None, "{way:?}: what is kept");
    }
    Ok(())
}

async fn who_comes_after_does_not_wait_for_the_load_before(bench: Bench) -> CaseResult {
    for way in Way::ALL {
        let cache = cache(&bench).build()?;
        let source = Source::default();
        cache.remove("a").await?;
        let (caching, loader) = (cache.clone(), source.clone());
        let before = bench.start(async move {
            caching.entry("a").tag("users").get_or_load(|| loader.user(1)).await
        });
        source.begun.raised().await;
        way.invalidate(&cache).await?;
        ensure_eq!(load(&cache, "a", 2).await?, 2, "{way:?}: what the later caller got");
        source.answer.raise();
        before.await??;
        ensure_eq!(load(&cache, "a", 3).await?, 2, "{way:?}: what is kept");
    }
    Ok(())
}

async fn they_stay_in_their_namespace(bench: Bench) -> CaseResult {
    let outer = bench.cache().build()?;
    let inner = outer.in_namespace("inner")?;
    load(&outer, "a", 1).await?;
    load(&inner, "a", 2).await?;
    inner.remove_tag("users").await?;
    ensure_eq!(load(&inner, "a", 3).await?, 3, "what is loaded inside");
    ensure_eq!(load(&outer, "a", 4).await?, 1, "what is kept outside");
    outer.remove_tag("users").await?;
    ensure_eq!(load(&inner, "a", 5).await?, 3, "what is kept inside");
    Ok(())
}

async fn one_round_trip_reads_what_is_tagged(bench: Bench) -> CaseResult {
    let tally = Arc::new(Tally::default());
    let store = Tapped::new(Arc::clone(bench.store()), tally.clone());
    let cache = bench.cache_on(Arc::new(store)).instant_clear().build()?;
    cache.entry("a").tag("users").tag("vips").put(&User::numbered(1)).await?;
    let reads = || tally.of(Call::Get) + tally.of(Call::GetMany) + tally.of(Call::Epochs);
    let before = reads();
    let found = cache.entry("a").tag("users").tag("vips").get::<User>().await?;
    ensure_eq!(found.is_some(), true, "whether it is found");
    ensure_eq!(reads() - before, 1, "calls where the tags are named");
    load(&cache, "a", 2).await?;
    ensure_eq!(reads() - before, 3, "calls where one is not");
    Ok(())
}

async fn an_epoch_that_is_lost_costs_its_entries(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    load(&cache, "a", 1).await?;
    for lost in ["nonsense", "18446744073709551616", "-1"] {
        let key = bench.key("larder-tag:users");
        bench.store().put(&key, lost.into(), minutes(1)).await?;
        ensure_eq!(load(&cache, "a", 2).await?, 2, "what is loaded after {lost}");
        ensure_eq!(load(&cache, "a", 3).await?, 2, "what is kept after {lost}");
        bench.store().remove(&key).await?;
    }
    Ok(())
}

async fn clearing_stays_in_its_namespace(bench: Bench) -> CaseResult {
    for instantly in [false, true] {
        if instantly && matches!(bench.layout(), Layout::Plain) {
            continue;
        }
        let outer = match instantly {
            true => cache(&bench).build()?,
            false => bench.cache().build()?,
        };
        let (inner, other) = (outer.in_namespace("inner")?, outer.in_namespace("other")?);
        let all = [&outer, &inner, &other];
        for cache in all {
            cache.put("a", &1).await?;
        }
        let left = async || {
            let mut left = Vec::new();
            for cache in all {
                left.push(cache.contains("a").await?);
            }
            Ok::<_, Error>(left)
        };
        inner.clear().await?;
        ensure_eq!(left().await?, [true, false, true], "{instantly}: what the inner one leaves");
        inner.put("a", &2).await?;
        outer.clear().await?;
        ensure_eq!(left().await?, [false; 3], "{instantly}: what the outer one leaves");
        inner.put("a", &3).await?;
        ensure_eq!(left().await?, [false, true, false], "{instantly}: what is put after");
    }
    Ok(())
}

async fn clearing_at_once_is_one_call(bench: Bench) -> CaseResult {
    let tally = Arc::new(Tally::default());
    let store = Tapped::new(Arc::clone(bench.store()), tally.clone());
    let cache = bench.cache_on(Arc::new(store)).instant_clear().build()?;
    cache.put_many((0..200).map(|n| (format!("{n}"), n))).await?;
    cache.clear().await?;
    ensure_eq!(tally.of(Call::RemoveMany), 1, "removals");
    ensure_eq!(tally.of(Call::Scan) + tally.of(Call::Remove), 0, "other calls");
    for n in [0, 99, 199] {
        ensure!(!cache.contains(format!("{n}")).await?, "{n} is left");
    }
    Ok(())
}

async fn what_cannot_be_is_said(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    if matches!(bench.layout(), Layout::Plain) {
        let error = cache.entry("a").tag("users").put(&1).await.map_err(|error| error.to_string());
        ensure!(error.is_err_and(|said| said.contains("Plain")), "a tag in the layout Plain");
        ensure!(cache.remove_tag("users").await.is_err(), "a tag's removal in the layout Plain");
        ensure!(bench.cache().instant_clear().build().is_err(), "epochs in the layout Plain");
        return Ok(());
    }
    for tag in ["", "new\nline", &"t".repeat(70_000)] {
        let tagged = cache.entry("a").tag(tag).put(&1).await;
        ensure!(matches!(tagged, Err(Error::Key(_))), "a tag of {} bytes: {tagged:?}", tag.len());
        let removed = cache.remove_tag(tag).await;
        ensure!(matches!(removed, Err(Error::Key(_))), "its removal: {removed:?}");
    }
    let mut entry = cache.entry("a");
    for n in 0..65 {
        entry = entry.tag(format!("{n}"));
    }
    let many = entry.put(&1).await;
    ensure!(matches!(many, Err(Error::Config { .. })), "65 tags: {many:?}");
    ensure!(!cache.contains("a").await?, "what is kept of what was refused");
    Ok(())
}
