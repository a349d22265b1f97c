//! A store that fails costs speed, not answers (DESIGN's principle that failure is part of the
//! interface).

use std::sync::Arc;

use larder_core::{Error, Lookup, StoreErrorKind};

use super::{Source, User};
use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Failure, Need};
use crate::stores::{Call, Faults, Gate, Tally, Tapped, When};

cases!("cache::failing", "7":
    reads_are_misses_and_loads_answer,
    a_failing_store_does_not_multiply_loads,
    what_cannot_be_written_is_answered_all_the_same,
    a_store_that_fails_is_waited_for_once [Need::StrongConsistency],
    a_value_too_large_for_the_store_does_not_reach_it,
    puts_and_removals_report_the_failure,
    a_lost_answer_of_a_write_is_reported,
    it_is_used_again_when_it_is_back,
);

async fn reads_are_misses_and_loads_answer(bench: Bench) -> CaseResult {
    let faults = Arc::new(Faults::of(When::Before, |_| true));
    let cache = bench.cache_through(faults).build()?;
    let source = Source::at_once();
    ensure_eq!(cache.get::<User>("a").await?, None, "get");
    ensure_eq!(cache.lookup::<User>("a").await?, Lookup::Miss, "lookup");
    ensure_eq!(cache.get_many::<User>(["a", "b"]).await?, [None, None], "get_many");
    ensure!(!cache.contains("a").await?, "contains");
    ensure_eq!(*cache.get_or_load("a", || source.user(1)).await?, User::numbered(1), "a load");
    ensure_eq!(cache.get_or_find("a", || source.nobody()).await?, None, "a search");
    let many = cache
        .get_or_load_many(
            [1, 2],
            |id| format!("{id}"),
            |ids: Vec<u64>| async {
                let users = ids.into_iter().map(|id| (id, User::numbered(id)));
                Ok::<Vec<_>, std::io::Error>(users.collect())
            },
        )
        .await?;
    ensure_eq!(many.len(), 2, "loads of many");
    let stats = cache.stats();
    ensure!(stats.store_errors >= 8, "{} store errors were counted", stats.store_errors);
    ensure_eq!(stats.unreadable, 0, "entries counted as unreadable");
    let Err(Error::Store(error)) = cache.time_to_live("a").await else {
        return Err(Failure::new("time_to_live does not report the failure"));
    };
    ensure_eq!(error.kind(), StoreErrorKind::Unavailable, "time_to_live's failure");
    Ok(())
}

async fn a_failing_store_does_not_multiply_loads(bench: Bench) -> CaseResult {
    let faults = Arc::new(Faults::of(When::Before, |_| true));
    let cache = bench.cache_through(faults).build()?;
    let source = Source::default();
    let callers = (0..50).map(|_| {
        let (cache, source) = (cache.clone(), source.clone());
        async move { cache.get_or_load("a", || source.user(1)).await }
    });
    let release = async {
        bench.until("49 callers wait", || cache.stats().coalesced == 49).await?;
        source.answer.raise();
        Ok::<_, Failure>(())
    };
    let (users, released) = futures::join!(bench.together(callers), release);
    released?;
    for user in users? {
        ensure_eq!(*user?, User::numbered(1), "the value");
    }
    ensure_eq!(source.loads(), 1, "how often it was loaded");
    Ok(())
}

async fn what_cannot_be_written_is_answered_all_the_same(bench: Bench) -> CaseResult {
    let faults = Arc::new(Faults::of(When::Before, Call::is_write));
    let cache = bench.cache_through(faults).build()?;
    let source = Source::at_once();
    for loads in 1..=2 {
        ensure_eq!(*cache.get_or_load("a", || source.user(1)).await?, User::numbered(1), "a load");
        ensure_eq!(source.loads(), loads, "how often it was loaded");
    }
    ensure_eq!(cache.loads_under_way(), 0, "loads that are still under way");
    Ok(())
}

/// A store may rely on it: this one does not look.
async fn a_store_that_fails_is_waited_for_once(bench: Bench) -> CaseResult {
    let gate = Arc::new(Gate::closed(When::Before, Call::is_write));
    let faults = Arc::new(Faults::of(When::Before, Call::is_read));
    let slow = Tapped::new(Arc::clone(bench.store()), gate.clone());
    let cache = bench.cache_on(Arc::new(Tapped::new(Arc::new(slow), faults))).build()?;
    let source = Source::at_once();
    ensure_eq!(*cache.get_or_load("a", || source.user(1)).await?, User::numbered(1), "the value");
    gate.open();
    // A removal waits for the writes before it.
    ensure!(cache.remove("a").await?, "it was not stored later");
    Ok(())
}

async fn a_value_too_large_for_the_store_does_not_reach_it(bench: Bench) -> CaseResult {
    let tally = Arc::new(Tally::default());
    let store = Tapped::new(Arc::clone(bench.store()), tally.clone()).claiming_values_up_to(1_000);
    let cache = bench.cache_on(Arc::new(store)).build()?;
    let text = "x".repeat(1_001);
    let raw = bytes::Bytes::from(text.clone());
    let loaded = cache.get_or_load("a", async || Ok::<_, std::io::Error>(text.clone())).await?;
    ensure!(*loaded == text, "a large value came back changed");
    let failures = [
        cache.put("a", &text).await,
        cache.put_raw("a", &raw).await,
        cache.put_many([("b", &*text), ("a", "small")]).await,
    ];
    for (index, failure) in failures.into_iter().enumerate() {
        let Err(Error::Store(error)) = failure else {
            return Err(Failure::new(format!("put {index} takes it: {failure:?}")));
        };
        ensure_eq!(error.kind(), StoreErrorKind::TooLarge, "the failure of put {index}");
    }
    ensure_eq!(tally.of(Call::Put) + tally.of(Call::PutMany), 0, "how often the store was asked");
    cache.put_raw("a", &raw.slice(..900)).await?;
    ensure_eq!(tally.of(Call::Put), 1, "how often it was asked to keep what fits");
    Ok(())
}

async fn puts_and_removals_report_the_failure(bench: Bench) -> CaseResult {
    let faults = Arc::new(Faults::of(When::Before, |_| true));
    let cache = bench.cache_through(faults).build()?;
    let failures = [
        cache.put("a", &1).await,
        cache.put_raw("a", &bytes::Bytes::new()).await,
        cache.put_many([("a", 1)]).await,
        cache.remove("a").await.map(drop),
        cache.remove_many(["a"]).await.map(drop),
        cache.remove_matching("*").await.map(drop),
    ];
    for (index, failure) in failures.into_iter().enumerate() {
        let Err(Error::Store(error)) = failure else {
            return Err(Failure::new(format!("call {index} does not report the failure")));
        };
        ensure_eq!(error.kind(), StoreErrorKind::Unavailable, "the failure of call {index}");
    }
    Ok(())
}

async fn a_lost_answer_of_a_write_is_reported(bench: Bench) -> CaseResult {
    let faults = Arc::new(Faults::of(When::After, |call| !call.is_read()));
    let cache = bench.cache_through(faults).build()?;
    ensure!(cache.put("a", &1).await.is_err(), "put does not report it");
    ensure_eq!(cache.get("a").await?.as_deref(), Some(&1), "the value, which did arrive");
    ensure!(cache.remove("a").await.is_err(), "remove does not report it");
    Ok(())
}

async fn it_is_used_again_when_it_is_back(bench: Bench) -> CaseResult {
    let faults = Arc::new(Faults::of(When::Before, |_| true));
    let cache = bench.cache_through(faults.clone()).build()?;
    let source = Source::at_once();
    cache.get_or_load("a", || source.user(1)).await?;
    faults.turn(false);
    cache.get_or_load("a", || source.user(1)).await?;
    cache.get_or_load("a", || source.user(1)).await?;
    ensure_eq!(source.loads(), 2, "loads before and after");
    Ok(())
}
