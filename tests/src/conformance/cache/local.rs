//! The tier in front of the store: hits without it, and nothing that is over.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use larder_core::{CacheBuilder, Claim, Layout, Lookup, hours, millis, minutes, seconds};

use super::{Source, User};
use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Need};
use crate::stores::{Call, Gate, Tally, Tapped, When};

cases!("cache::local", "2":
    a_hit_asks_nobody [Need::StrongConsistency],
    it_is_shared_and_not_decoded_again [Need::StrongConsistency],
    whatever_is_invalidated_here_is_gone_here [Need::StrongConsistency],
    what_was_read_before_an_invalidation_is_not_put_in_after [Need::StrongConsistency],
    it_lives_no_longer_than_it_may [Need::FramedLayout, Need::StrongConsistency],
    others_are_seen_after_its_life [Need::StrongConsistency],
    another_type_is_not_taken_for_it [Need::FramedLayout, Need::StrongConsistency],
    other_patterns_leave_it_alone [Need::StrongConsistency],
    a_pattern_over_epochs_takes_what_is_tagged [Need::FramedLayout, Need::StrongConsistency],
    it_does_not_outlive_what_others_put [Need::StrongConsistency],
);

fn tallied(bench: &Bench) -> (Arc<Tally>, CacheBuilder) {
    let tally = Arc::new(Tally::default());
    let store = Tapped::new(Arc::clone(bench.store()), tally.clone());
    (tally, bench.cache_on(Arc::new(store)).local(100).local_ttl(hours(1)))
}

fn reads(tally: &Tally) -> u64 {
    tally.of(Call::Get) + tally.of(Call::GetMany) + tally.of(Call::Epochs)
}

async fn a_hit_asks_nobody(bench: Bench) -> CaseResult {
    let (tally, builder) = tallied(&bench);
    let cache = builder.build()?;
    let user = async || Ok::<_, io::Error>(User::numbered(1));
    let nobody = async || Ok::<Option<User>, io::Error>(None);
    cache.get_or_load("a", user).await?;
    cache.get_or_find("absent", nobody).await?;
    cache.put_raw("raw", &Bytes::from_static(b"<h1>")).await?;
    cache.get_raw::<Bytes>("raw").await?;
    let before = reads(&tally);
    let hits = cache.stats().hits;
    for _ in 0..3 {
        ensure_eq!(cache.get_or_load("a", user).await?.id, 1, "by get_or_load");
        ensure_eq!(cache.get::<User>("a").await?.is_some(), true, "by get");
        ensure_eq!(cache.get_many::<User>(["a", "a"]).await?.len(), 2, "by get_many");
        ensure_eq!(cache.lookup::<User>("absent").await?, Lookup::Absent, "by lookup");
        ensure_eq!(cache.get_or_find("absent", nobody).await?, None, "by get_or_find");
        ensure!(cache.get_raw::<Bytes>("raw").await?.is_some(), "by get_raw");
        ensure!(cache.get_raw_now::<Bytes>("raw")?.is_some(), "by get_raw_now");
        ensure!(cache.get_raw_now::<Bytes>("absent")?.is_none(), "a known absence");
        let claim = cache.entry("raw").claim_raw::<Bytes>().await?;
        ensure!(matches!(claim, Claim::Hit(_)), "by claim_raw: {claim:?}");
    }
    ensure_eq!(reads(&tally) - before, 0, "reads of the store");
    ensure_eq!(cache.stats().hits - hits, 3 * 9, "hits as counted");
    Ok(())
}

async fn it_is_shared_and_not_decoded_again(bench: Bench) -> CaseResult {
    let cache = bench.cache().local(100).build()?;
    cache.put("a", &User::numbered(1)).await?;
    let first = cache.get::<User>("a").await?;
    let second = cache.get::<User>("a").await?;
    let same = first.zip(second).is_some_and(|(first, second)| Arc::ptr_eq(&first, &second));
    ensure!(same, "it was decoded twice");
    Ok(())
}

async fn whatever_is_invalidated_here_is_gone_here(bench: Bench) -> CaseResult {
    let (_, builder) = tallied(&bench);
    let cache = builder.build()?;
    let is_framed = matches!(bench.layout(), Layout::Framed(_));
    for way in 0..8 {
        let entry = match is_framed {
            true => cache.entry("a").tag("users"),
            false => cache.entry("a"),
        };
        entry.put(&User::numbered(1)).await?;
        ensure_eq!(cache.get::<User>("a").await?.map(|user| user.id), Some(1), "{way}: before");
        let other = User::numbered(2);
        match way {
            0 => drop(cache.remove("a").await?),
            1 => drop(cache.remove_many(["b", "a"]).await?),
            2 => drop(cache.remove_matching("[ax]*").await?),
            3 => cache.put("a", &other).await?,
            4 => cache.put_many([("a", &other)]).await?,
            5 => cache.clear().await?,
            6 if is_framed => cache.remove_tag("users").await?,
            _ => {
                let save = async || Ok::<_, io::Error>(User::numbered(2));
                cache.write_through("a", save).await?;
            }
        }
        let left = cache.get::<User>("a").await?.map(|user| user.id);
        ensure!(left != Some(1), "{way}: it is left");
    }
    Ok(())
}

async fn what_was_read_before_an_invalidation_is_not_put_in_after(bench: Bench) -> CaseResult {
    for pattern in [false, true] {
        bench.cache().build()?.put("a", &User::numbered(1)).await?;
        let gate = Arc::new(Gate::closed(When::After, Call::is_read));
        let cache = bench.cache_through(gate.clone()).local(100).local_ttl(hours(1)).build()?;
        let reading = cache.clone();
        let read = bench.start(async move { reading.get::<User>("a").await });
        gate.arrivals(1).await;
        match pattern {
            true => drop(cache.remove_matching("*").await?),
            false => drop(cache.remove("a").await?),
        }
        gate.open();
        ensure!(read.await??.is_some(), "{pattern}: what the read was told");
        ensure_eq!(cache.get::<User>("a").await?, None, "{pattern}: what is kept");
    }
    Ok(())
}

async fn it_lives_no_longer_than_it_may(bench: Bench) -> CaseResult {
    let (tally, builder) = tallied(&bench);
    let cache = builder.local_ttl(seconds(2)).build()?;
    let brief = bench.short_life();
    cache.entry("brief").ttl(brief).put(&1).await?;
    cache.entry("long").ttl(minutes(5)).put(&2).await?;
    for key in ["brief", "long"] {
        cache.get::<u32>(key).await?;
    }
    let before = reads(&tally);
    bench.pass(brief + millis(5)).await;
    ensure_eq!(cache.get::<u32>("brief").await?, None, "after the entry's life");
    ensure_eq!(cache.get::<u32>("long").await?.as_deref(), Some(&2), "within both lives");
    ensure_eq!(reads(&tally) - before, 1, "reads of the store");
    bench.pass(seconds(2)).await;
    ensure_eq!(cache.get::<u32>("long").await?.as_deref(), Some(&2), "after the tier's life");
    ensure_eq!(reads(&tally) - before, 2, "reads of the store after the tier's life");
    Ok(())
}

async fn others_are_seen_after_its_life(bench: Bench) -> CaseResult {
    let here = bench.cache().local(100).local_ttl(millis(300)).build()?;
    let there = bench.cache_on(bench.another_handle().await?).build()?;
    there.put("a", &1).await?;
    ensure_eq!(here.get::<u32>("a").await?.as_deref(), Some(&1), "what was put elsewhere");
    there.put("a", &2).await?;
    bench.pass(millis(310)).await;
    ensure_eq!(here.get::<u32>("a").await?.as_deref(), Some(&2), "what was put since");
    Ok(())
}

async fn another_type_is_not_taken_for_it(bench: Bench) -> CaseResult {
    let cache = bench.cache().local(100).build()?;
    cache.put("a", &7_u32).await?;
    for _ in 0..2 {
        ensure_eq!(cache.get::<u32>("a").await?.as_deref(), Some(&7), "as it was put");
        ensure_eq!(cache.get::<u64>("a").await?.as_deref(), Some(&7), "as another number");
        ensure_eq!(cache.get::<String>("a").await?, None, "as a text");
        ensure_eq!(cache.get_raw::<Bytes>("a").await?, None, "as raw bytes");
    }
    Ok(())
}

async fn other_patterns_leave_it_alone(bench: Bench) -> CaseResult {
    let (tally, builder) = tallied(&bench);
    let cache = builder.build()?;
    cache.put("a", &1).await?;
    cache.get::<u32>("a").await?;
    let before = tally.of(Call::Get);
    for n in 0..3 {
        cache.remove_matching(format!("other:{n}:*")).await?;
        ensure_eq!(cache.get::<u32>("a").await?.as_deref(), Some(&1), "after {n} others");
    }
    ensure_eq!(tally.of(Call::Get) - before, 0, "reads of the store");
    let source = Source::at_once();
    cache.remove_matching("a*").await?;
    cache.get_or_load("a", || source.user(1)).await?;
    ensure_eq!(source.loads(), 1, "loads after its own pattern");
    Ok(())
}

async fn a_pattern_over_epochs_takes_what_is_tagged(bench: Bench) -> CaseResult {
    let (_, builder) = tallied(&bench);
    let cache = builder.instant_clear().build()?;
    for pattern in ["*tag:users", "*clear"] {
        cache.entry("a").tag("users").put(&1).await?;
        let tagged = cache.entry("led").tag("users").lead_raw::<Bytes>().await?;
        ensure_eq!(cache.get::<u32>("a").await?.as_deref(), Some(&1), "{pattern}: before");
        cache.remove_matching(pattern).await?;
        ensure_eq!(cache.get::<u32>("a").await?, None, "{pattern}: after");
        tagged.complete(Arc::new(Bytes::from_static(b"<h1>")), minutes(1));
        bench.until("the load has ended", || cache.loads_under_way() == 0).await?;
        ensure_eq!(cache.get_raw::<Bytes>("led").await?, None, "{pattern}: what a load left");
    }
    Ok(())
}

/// In the layout `Plain` only the store knows how long what others put will live.
async fn it_does_not_outlive_what_others_put(bench: Bench) -> CaseResult {
    let (tally, builder) = tallied(&bench);
    let here = builder.build()?;
    let there = bench.cache().build()?;
    let brief = bench.short_life();
    there.entry("a").ttl(brief).put(&1).await?;
    there.entry("b").ttl(brief).put(&2).await?;
    ensure_eq!(here.get::<u32>("a").await?.as_deref(), Some(&1), "by get");
    ensure_eq!(here.get_many::<u32>(["b", "c"]).await?.len(), 2, "by get_many");
    let before = reads(&tally);
    ensure_eq!(here.get::<u32>("a").await?.as_deref(), Some(&1), "within its life");
    ensure_eq!(here.get_many::<u32>(["b"]).await?.len(), 1, "within its life, by get_many");
    ensure_eq!(reads(&tally) - before, 0, "reads of the store within its life");
    let over = brief.max(seconds(1)) + millis(50);
    bench.pass(over).await;
    ensure_eq!(here.get::<u32>("a").await?, None, "after its life");
    ensure_eq!(here.get_many::<u32>(["b"]).await?, [None], "after its life, by get_many");
    Ok(())
}
