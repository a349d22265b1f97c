//! An invalidation wins over every load that began before it (semantic 2).

use std::io;
use std::sync::Arc;

use larder_core::{Cache, Error, millis, minutes};

use super::{Source, User, under_way};
use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Need};
use crate::stores::{Call, Gate, Tapped, When};

cases!("cache::invalidation", "2":
    what_is_removed_is_gone [Need::StrongConsistency],
    a_load_that_was_overtaken_is_answered_and_not_kept [Need::StrongConsistency],
    a_load_of_many_that_was_overtaken_is_not_kept [Need::StrongConsistency],
    who_comes_after_it_does_not_wait_for_the_load_before [Need::StrongConsistency],
    it_waits_for_the_write_of_a_load [Need::StrongConsistency],
    it_waits_for_the_write_of_many [Need::StrongConsistency],
    a_second_look_from_before_it_is_not_shared_after [Need::StrongConsistency],
    other_keys_are_left_alone [Need::StrongConsistency],
    an_invalidation_from_within_the_loader_wins [Need::StrongConsistency],
    patterns_remove_what_they_match [Need::StrongConsistency],
    patterns_remove_thousands [Need::StrongConsistency],
    patterns_stay_in_their_namespace [Need::StrongConsistency],
    counts_are_of_what_stood_there [Need::StrongConsistency],
);

/// Every way to invalidate the key `a`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Remove,
    RemoveMany,
    RemoveMatching,
    Put,
    PutMany,
}

impl Way {
    const ALL: [Self; 5] =
        [Self::Remove, Self::RemoveMany, Self::RemoveMatching, Self::Put, Self::PutMany];

    async fn invalidate(self, cache: &Cache) -> Result<(), Error> {
        let user = User::numbered(2);
        match self {
            Self::Remove => cache.remove("a").await.map(drop),
            Self::RemoveMany => cache.remove_many(["b", "a"]).await.map(drop),
            Self::RemoveMatching => cache.remove_matching("[ax]*").await.map(drop),
            Self::Put => cache.put("a", &user).await,
            Self::PutMany => cache.put_many([("b", &user), ("a", &user)]).await,
        }
    }

    /// What stands under `a` afterwards.
    fn leaves(self) -> Option<User> {
        matches!(self, Self::Put | Self::PutMany).then(|| User::numbered(2))
    }
}

async fn what_is_removed_is_gone(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let source = Source::at_once();
    for way in Way::ALL {
        cache.remove("a").await?;
        cache.get_or_load("a", || source.user(1)).await?;
        way.invalidate(&cache).await?;
        ensure_eq!(cache.get::<User>("a").await?.as_deref(), way.leaves().as_ref(), "{way:?}");
    }
    Ok(())
}

async fn a_load_that_was_overtaken_is_answered_and_not_kept(bench: Bench) -> CaseResult {
    for way in Way::ALL {
        let cache = bench.cache().build()?;
        cache.remove("a").await?;
        let source = Source::default();
        let load = under_way(&bench, &cache, "a", 1, &source).await;
        way.invalidate(&cache).await?;
        source.answer.raise();
        ensure_eq!(*load.await??, User::numbered(1), "{way:?}: what the load's caller got");
        let kept = cache.get::<User>("a").await?;
        ensure_eq!(kept.as_deref(), way.leaves().as_ref(), "{way:?}: what is kept");
        ensure_eq!(cache.stats().superseded, 1, "{way:?}: loads not kept, as counted");
        ensure_eq!(cache.loads_under_way(), 0, "{way:?}: loads still under way");
    }
    Ok(())
}

async fn a_load_of_many_that_was_overtaken_is_not_kept(bench: Bench) -> CaseResult {
    for way in Way::ALL {
        let cache = bench.cache().build()?;
        cache.remove_many(["a", "c"]).await?;
        let source = Source::default();
        let (loading, loader) = (cache.clone(), source.clone());
        let load = bench.start(async move {
            let find = |keys: Vec<&'static str>| async {
                loader.ask().await;
                let user = User::numbered(1);
                Ok::<Vec<_>, io::Error>(keys.into_iter().map(|key| (key, user.clone())).collect())
            };
            loading.get_or_load_many(["a", "c"], |key| *key, find).await
        });
        source.begun.raised().await;
        way.invalidate(&cache).await?;
        source.answer.raise();
        ensure_eq!(load.await??.len(), 2, "{way:?}: how many the load's caller got");
        let kept = cache.get::<User>("a").await?;
        ensure_eq!(kept.as_deref(), way.leaves().as_ref(), "{way:?}: what is kept");
        ensure!(cache.get::<User>("c").await?.is_some(), "{way:?}: another key is not kept");
    }
    Ok(())
}

async fn who_comes_after_it_does_not_wait_for_the_load_before(bench: Bench) -> CaseResult {
    for way in [Way::Remove, Way::RemoveMany, Way::RemoveMatching] {
        let cache = bench.cache().build()?;
        cache.remove("a").await?;
        let source = Source::default();
        let before = under_way(&bench, &cache, "a", 1, &source).await;
        way.invalidate(&cache).await?;
        let after = cache.get_or_load("a", || Source::user_at_once(2)).await?;
        ensure_eq!(*after, User::numbered(2), "{way:?}: what the later caller got");
        source.answer.raise();
        ensure_eq!(*before.await??, User::numbered(1), "{way:?}: what the earlier caller got");
        let kept = cache.get::<User>("a").await?;
        ensure_eq!(kept.as_deref(), Some(&User::numbered(2)), "{way:?}: what is kept");
    }
    Ok(())
}

impl Source {
    async fn user_at_once(id: u64) -> io::Result<User> {
        Ok(User::numbered(id))
    }
}

async fn it_waits_for_the_write_of_a_load(bench: Bench) -> CaseResult {
    for way in [Way::Remove, Way::RemoveMany, Way::RemoveMatching] {
        bench.store().remove(&bench.key("a")).await?;
        let gate = Arc::new(Gate::closed(When::Before, Call::is_write));
        let cache = bench.cache_through(gate.clone()).build()?;
        let load = under_way(&bench, &cache, "a", 1, &Source::at_once()).await;
        gate.arrivals(1).await;
        let invalidating = cache.clone();
        let mut invalidated = bench.start(async move { way.invalidate(&invalidating).await });
        bench.pass(millis(20)).await;
        ensure_eq!(invalidated.try_recv()?.is_some(), false, "{way:?}: whether it did not wait");
        gate.open();
        invalidated.await??;
        ensure_eq!(cache.get::<User>("a").await?, None, "{way:?}: what is kept");
        ensure_eq!(*load.await??, User::numbered(1), "{way:?}: what the load's caller got");
    }
    // A put has to come after the write as well.
    bench.store().remove(&bench.key("a")).await?;
    let gate = Arc::new(Gate::closed(When::Before, Call::is_write));
    let cache = bench.cache_through(gate.clone()).build()?;
    let load = under_way(&bench, &cache, "a", 1, &Source::at_once()).await;
    gate.arrivals(1).await;
    let putting = cache.clone();
    let put = bench.start(async move { Way::Put.invalidate(&putting).await });
    bench.pass(millis(20)).await;
    gate.open();
    put.await??;
    load.await??;
    let kept = cache.get::<User>("a").await?;
    ensure_eq!(kept.as_deref(), Some(&User::numbered(2)), "what is kept after put");
    Ok(())
}

async fn it_waits_for_the_write_of_many(bench: Bench) -> CaseResult {
    let gate = Arc::new(Gate::closed(When::Before, Call::is_write));
    let cache = bench.cache_through(gate.clone()).build()?;
    let loading = cache.clone();
    let load = bench.start(async move {
        let find = async |ids: Vec<u64>| {
            Ok::<Vec<_>, io::Error>(ids.into_iter().map(|id| (id, User::numbered(id))).collect())
        };
        loading.get_or_load_many([1, 2, 3], |id| format!("{id}"), find).await
    });
    gate.arrivals(1).await;
    let invalidating = cache.clone();
    let mut removed = bench.start(async move { invalidating.remove("2").await });
    bench.pass(millis(20)).await;
    ensure_eq!(removed.try_recv()?.is_some(), false, "whether the removal did not wait");
    gate.open();
    ensure!(removed.await??, "the removal found nothing");
    load.await??;
    ensure_eq!(cache.get::<User>("2").await?, None, "what is kept of the removed key");
    ensure!(cache.get::<User>("1").await?.is_some(), "another key is not kept");
    Ok(())
}

/// Who claims a key looks into the store once more if a load has ended meanwhile. What it reads
/// there may be removed before the answer arrives; those who come after the removal must not be
/// given it.
async fn a_second_look_from_before_it_is_not_shared_after(bench: Bench) -> CaseResult {
    for way in [Way::Remove, Way::RemoveMany, Way::RemoveMatching] {
        bench.store().remove(&bench.key("a")).await?;
        // Only single reads go through the gate: those of the caller who looks twice.
        let reads = Arc::new(Gate::closed(When::After, |call| call == Call::Get));
        let removals = Arc::new(Gate::closed(When::Before, Call::is_removal));
        let store = Tapped::new(Arc::clone(bench.store()), reads.clone());
        let store = Tapped::new(Arc::new(store), removals.clone());
        let cache = bench.cache_on(Arc::new(store)).build()?;
        let many = async |cache: &Cache, id| {
            let find = async |_| Ok::<_, io::Error>([((), User::numbered(id))]);
            let users = cache.get_or_load_many([()], |()| "a", find).await?;
            Ok::<_, Error>(users.into_values().next().map(|user| user.id))
        };
        let (looking, source) = (cache.clone(), Source::at_once());
        let looker = bench.start(async move { looking.get_or_load("a", || source.user(9)).await });
        reads.arrivals(1).await;
        many(&cache, 1).await?;
        let invalidating = cache.clone();
        let invalidated = bench.start(async move { way.invalidate(&invalidating).await });
        removals.arrivals(1).await;
        reads.let_through(1);
        reads.arrivals(2).await;
        removals.open();
        invalidated.await??;
        let later = cache.clone();
        let later = bench.start(async move { many(&later, 2).await });
        bench.pass(millis(20)).await;
        reads.open();
        ensure_eq!(later.await??, Some(2), "{way:?}: what the later caller got");
        looker.await??;
    }
    Ok(())
}

async fn other_keys_are_left_alone(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let source = Source::default();
    let load = under_way(&bench, &cache, "c", 3, &source).await;
    for way in Way::ALL {
        way.invalidate(&cache).await?;
    }
    source.answer.raise();
    load.await??;
    ensure_eq!(cache.get("c").await?.as_deref(), Some(&User::numbered(3)), "what is kept");
    ensure_eq!(cache.stats().superseded, 0, "loads not kept, as counted");
    Ok(())
}

async fn an_invalidation_from_within_the_loader_wins(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let loader = async || {
        cache.remove("a").await.map_err(io::Error::other)?;
        Ok::<_, io::Error>(User::numbered(1))
    };
    cache.get_or_load("a", loader).await?;
    ensure_eq!(cache.get::<User>("a").await?, None, "what is kept");
    Ok(())
}

async fn patterns_remove_what_they_match(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let keys =
        ["user:1", "users:page:1", "users:page:2:limit:20", "users", "grüße:1", "a*b", "axb"];
    for (pattern, removed) in [
        ("users:*", &["users:page:1", "users:page:2:limit:20"][..]),
        ("user:?", &["user:1"]),
        ("grüße:*", &["grüße:1"]),
        (r"a\*b", &["a*b"]),
        ("a[^*]b", &["axb"]),
        ("nothing*", &[]),
        ("*", &keys),
    ] {
        cache.put_many(keys.map(|key| (key, 1))).await?;
        let count = cache.remove_matching(pattern).await?;
        ensure_eq!(count, removed.len() as u64, "how many matched {pattern}");
        for key in keys {
            let is_left = cache.contains(key).await?;
            ensure_eq!(is_left, !removed.contains(&key), "whether {key} is left by {pattern}");
        }
    }
    Ok(())
}

async fn patterns_remove_thousands(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    for some in 0..4 {
        cache.put_many((0..1_000).map(|i| (format!("list:{some}:{i}"), i))).await?;
    }
    cache.put("detail:1", &1).await?;
    ensure_eq!(cache.remove_matching("list:*").await?, 4_000, "how many were removed");
    ensure_eq!(cache.remove_matching("list:*").await?, 0, "how many were left");
    ensure!(cache.contains("detail:1").await?, "another key is gone");
    Ok(())
}

async fn patterns_stay_in_their_namespace(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let names = ["n", "nn", "n*", "n?", "[n]", r"n\"];
    let mut caches = Vec::new();
    for name in names {
        let inside = cache.in_namespace(name)?;
        inside.put("a", &1).await?;
        caches.push((name, inside));
    }
    for (removed, (name, inside)) in caches.iter().enumerate() {
        ensure_eq!(inside.remove_matching("*").await?, 1, "how many were removed from {name}");
        for (index, (other, cache)) in caches.iter().enumerate() {
            ensure_eq!(cache.contains("a").await?, index > removed, "{other} after {name}");
        }
    }
    Ok(())
}

async fn counts_are_of_what_stood_there(bench: Bench) -> CaseResult {
    let cache = bench.cache().ttl(minutes(5)).build()?;
    cache.put_many([("a", 1), ("b", 2), ("c", 3)]).await?;
    ensure!(cache.remove("a").await?, "remove found nothing");
    ensure!(!cache.remove("a").await?, "remove found something again");
    ensure_eq!(cache.remove_many(["a", "b", "c", "d"]).await?, 2, "how many remove_many found");
    let none: [&str; 0] = [];
    ensure_eq!(cache.remove_many(none).await?, 0, "how many were removed of none");
    Ok(())
}
