//! Many keys with one call of the loader (semantic 1).

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::{AbortHandle, Abortable};
use larder_core::{Cache, Error, Lookup};

use super::{Source, User};
use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Failure};
use crate::stores::{Call, Gate, Tally, When};

cases!("cache::many", "1":
    one_call_loads_all_that_is_missing,
    an_item_asked_twice_is_loaded_once,
    two_items_with_one_key_are_one_load,
    what_the_loader_leaves_out_is_absent,
    nothing_asked_is_nothing_loaded,
    overlapping_calls_load_each_item_once,
    when_the_caller_goes_away_the_other_loads_the_rest,
    an_error_reaches_those_who_wait,
    a_thousand_items,
    a_second_look_is_one_round_trip,
    get_many_and_put_many_keep_the_order,
);

/// What loaders were asked for, call by call.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<Vec<u64>>>>);

impl Asked {
    fn note(&self, ids: &[u64]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(ids.to_vec());
    }

    fn calls(&self) -> Vec<Vec<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn items(&self) -> Vec<u64> {
        let mut items = self.calls().concat();
        items.sort_unstable();
        items
    }
}

fn key(id: &u64) -> String {
    format!("user:{id}")
}

async fn load(
    cache: &Cache,
    ids: impl IntoIterator<Item = u64>,
    source: &Source,
    asked: &Asked,
) -> Result<HashMap<u64, Arc<User>>, Error> {
    let find = |ids: Vec<u64>| async move {
        asked.note(&ids);
        source.ask().await;
        // Users exist up to 9,999.
        let exists = |id: &u64| *id < 10_000;
        Ok::<Vec<_>, io::Error>(
            ids.into_iter().filter(exists).map(|id| (id, User::numbered(id))).collect(),
        )
    };
    cache.get_or_load_many(ids, key, find).await
}

async fn one_call_loads_all_that_is_missing(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let asked = Asked::default();
    cache.put(key(&2), &User::numbered(2)).await?;
    let users = load(&cache, [1, 2, 3, 4], &Source::at_once(), &asked).await?;
    ensure_eq!(users.len(), 4, "how many were found");
    ensure!(users.iter().all(|(id, user)| **user == User::numbered(*id)), "values are mixed up");
    ensure_eq!(asked.calls(), [[1, 3, 4]], "what the loader was asked for");
    load(&cache, [4, 3, 2, 1], &Source::at_once(), &asked).await?;
    ensure_eq!(asked.calls().len(), 1, "calls when all is kept");
    ensure_eq!(cache.get(key(&3)).await?.as_deref(), Some(&User::numbered(3)), "what is kept");
    Ok(())
}

async fn an_item_asked_twice_is_loaded_once(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let asked = Asked::default();
    let users = load(&cache, [1, 2, 1, 2, 1], &Source::at_once(), &asked).await?;
    ensure_eq!(users.len(), 2, "how many were found");
    ensure_eq!(asked.calls(), [[1, 2]], "what the loader was asked for");
    Ok(())
}

async fn two_items_with_one_key_are_one_load(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let asked = Asked::default();
    let find = |ids: Vec<u64>| {
        asked.note(&ids);
        async move { Ok::<Vec<_>, io::Error>(ids.into_iter().map(|id| (id, id)).collect()) }
    };
    let found = cache.get_or_load_many([1, 11, 2], |id| key(&(id % 10)), find).await?;
    ensure_eq!(asked.items().len(), 2, "how many items were asked for");
    ensure_eq!(found.len(), 3, "how many were found");
    ensure_eq!(found[&1], found[&11], "the values of the items with one key");
    Ok(())
}

async fn what_the_loader_leaves_out_is_absent(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let asked = Asked::default();
    let users = load(&cache, [1, 10_001], &Source::at_once(), &asked).await?;
    ensure_eq!(users.len(), 1, "how many were found");
    ensure_eq!(cache.lookup::<User>(key(&10_001)).await?, Lookup::Absent, "the one that is not");
    let users = load(&cache, [1, 10_001], &Source::at_once(), &asked).await?;
    ensure_eq!(users.len(), 1, "how many were found again");
    ensure_eq!(asked.calls().len(), 1, "how often the loader was called");
    Ok(())
}

async fn nothing_asked_is_nothing_loaded(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let asked = Asked::default();
    ensure!(load(&cache, [], &Source::at_once(), &asked).await?.is_empty(), "something was found");
    ensure_eq!(asked.calls().len(), 0, "how often the loader was called");
    Ok(())
}

async fn overlapping_calls_load_each_item_once(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let (source, asked) = (Source::default(), Asked::default());
    let ranges: [Vec<u64>; 4] =
        [(0..20).collect(), (10..30).rev().collect(), (5..25).collect(), (0..30).rev().collect()];
    let calls = ranges.clone().map(|ids| {
        let (cache, source, asked) = (cache.clone(), source.clone(), asked.clone());
        async move { load(&cache, ids, &source, &asked).await }
    });
    let release = async {
        bench.until("every item is asked for", || asked.items().len() >= 30).await?;
        source.answer.raise();
        Ok::<_, Failure>(())
    };
    let (results, released) = futures::join!(bench.together(calls), release);
    released?;
    for (ids, users) in ranges.into_iter().zip(results?) {
        let users = users?;
        let expected: HashSet<u64> = ids.into_iter().collect();
        ensure_eq!(users.keys().copied().collect::<HashSet<_>>(), expected, "who was found");
        ensure!(users.iter().all(|(id, user)| user.id == *id), "values are mixed up");
    }
    ensure_eq!(asked.items(), (0..30).collect::<Vec<_>>(), "what the loaders were asked for");
    ensure_eq!(cache.loads_under_way(), 0, "loads that are still under way");
    Ok(())
}

async fn when_the_caller_goes_away_the_other_loads_the_rest(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let (source, asked) = (Source::default(), Asked::default());
    let (abort, registration) = AbortHandle::new_pair();
    let (leading, hanging, first) = (cache.clone(), source.clone(), asked.clone());
    let led = bench.start(Abortable::new(
        async move { load(&leading, [1, 2, 3], &hanging, &first).await.map(|users| users.len()) },
        registration,
    ));
    source.begun.raised().await;
    let other = Source::at_once();
    let follow = load(&cache, [3, 4, 2], &other, &asked);
    let leave = async {
        bench.until("the other waits", || cache.stats().coalesced == 2).await?;
        abort.abort();
        Ok::<_, Failure>(())
    };
    let (users, left) = futures::join!(follow, leave);
    left?;
    ensure_eq!(users?.len(), 3, "how many were found");
    ensure!(led.await?.is_err(), "the leader came to an end");
    ensure_eq!(asked.calls()[1..], [vec![4], vec![3, 2]], "what the other's loader was asked for");
    ensure_eq!(cache.loads_under_way(), 0, "loads that are still under way");
    Ok(())
}

async fn an_error_reaches_those_who_wait(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let source = Source::default();
    let (leading, failing) = (cache.clone(), source.clone());
    let led = bench.start(async move {
        let find = |_: Vec<u64>| async {
            failing.ask().await;
            Err::<Vec<(u64, User)>, _>(io::Error::other("the database is down"))
        };
        leading.get_or_load_many([1, 2], key, find).await.map(|users| users.len())
    });
    source.begun.raised().await;
    let (one, loader) = (cache.clone(), Source::at_once());
    let one = bench.start(async move { one.get_or_load(key(&2), || loader.user(2)).await });
    bench.until("the other waits", || cache.stats().coalesced == 1).await?;
    source.answer.raise();
    for failed in [led.await?.err(), one.await?.err()] {
        let loader = failed.as_ref().and_then(Error::loader::<io::Error>).map(ToString::to_string);
        ensure_eq!(loader.as_deref(), Some("the database is down"), "the loader's error");
    }
    let users = load(&cache, [1, 2], &Source::at_once(), &Asked::default()).await?;
    ensure_eq!(users.len(), 2, "how many were found after the error");
    Ok(())
}

async fn a_thousand_items(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let asked = Asked::default();
    let users = load(&cache, 0..1_000, &Source::at_once(), &asked).await?;
    ensure_eq!(users.len(), 1_000, "how many were found");
    ensure_eq!(asked.calls().len(), 1, "how often the loader was called");
    let users = load(&cache, 500..1_500, &Source::at_once(), &asked).await?;
    ensure_eq!(users.len(), 1_000, "how many were found the second time");
    ensure_eq!(asked.items(), (0..1_500).collect::<Vec<_>>(), "what was asked for");
    Ok(())
}

/// A load that ended while the store was read makes the call look again: at all keys together.
async fn a_second_look_is_one_round_trip(bench: Bench) -> CaseResult {
    let tally = Arc::new(Tally::default());
    let gate = Arc::new(Gate::closed(When::After, |call| call == Call::GetMany));
    let counted = crate::stores::Tapped::new(bench.store().clone(), tally.clone());
    let store = crate::stores::Tapped::new(Arc::new(counted), gate.clone());
    let cache = bench.cache_on(Arc::new(store)).build()?;
    let asked = Asked::default();
    let (many, many_asked) = (cache.clone(), asked.clone());
    let many =
        bench.start(async move { load(&many, 0..100, &Source::at_once(), &many_asked).await });
    gate.arrivals(1).await;
    let source = Source::at_once();
    for id in 0..100 {
        cache.get_or_load(key(&id), || source.user(id)).await?;
    }
    let before = tally.of(Call::Get) + tally.of(Call::GetMany);
    gate.open();
    ensure_eq!(many.await??.len(), 100, "how many were found");
    let reads = tally.of(Call::Get) + tally.of(Call::GetMany) - before;
    ensure_eq!(asked.calls().len(), 0, "how often the loader was called");
    ensure_eq!(reads, 1, "round trips for the second look");
    Ok(())
}

async fn get_many_and_put_many_keep_the_order(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    cache.put_many((0..50).map(|id| (key(&(id * 2)), User::numbered(id * 2)))).await?;
    let found = cache.get_many::<User>((0..100).rev().map(|id| key(&id))).await?;
    for (id, found) in (0..100).rev().zip(found) {
        let expected = (id % 2 == 0).then(|| User::numbered(id));
        ensure_eq!(found.as_deref(), expected.as_ref(), "the value of {id}");
    }
    let none: [&str; 0] = [];
    ensure_eq!(cache.get_many::<User>(none).await?, [], "get_many of nothing");
    ensure_eq!(cache.remove_many((0..100).map(|id| key(&id))).await?, 50, "how many stood there");
    Ok(())
}
