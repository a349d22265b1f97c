//! One load for a key, however many wait (semantic 1).

use std::future::pending;
use std::io;
use std::sync::Arc;

use futures::future::{AbortHandle, Abortable, Aborted, Either, select};
use larder_core::{Cache, Error, Runtime, hours, millis, minutes, seconds};

use super::{Source, User, under_way};
use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Failure, Need, Signal};
use crate::stores::{Call, Delays, Gate, When};

cases!("cache::coalescing", "1":
    what_is_loaded_is_kept,
    waiters_share_one_load_and_its_value,
    waiters_share_the_error_which_is_not_kept,
    a_loader_that_hangs_frees_the_key,
    a_loader_that_panics_frees_the_key [Need::Unwinding],
    when_the_caller_goes_away_the_next_one_loads,
    when_all_callers_go_away_the_key_is_free,
    a_leader_that_nobody_polls_is_overtaken,
    newcomers_get_the_value_while_it_is_written,
    the_write_goes_on_when_its_caller_goes_away,
    who_missed_before_a_load_ended_reads_again,
    ten_thousand_callers_are_one_load [Need::SharedTasks],
    ten_thousand_callers_of_a_slow_store_are_one_load [Need::SharedTasks],
    each_key_loads_for_itself,
    each_type_loads_for_itself,
    whoever_needs_a_value_shares_the_load_after_an_absence,
    the_life_of_an_entry_may_differ_by_call,
);

async fn what_is_loaded_is_kept(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let source = Source::at_once();
    for _ in 0..3 {
        let user = cache.get_or_load("a", || source.user(1)).await?;
        ensure_eq!(*user, User::numbered(1), "the value");
    }
    ensure_eq!(source.loads(), 1, "how often it was loaded");
    ensure_eq!(cache.get("a").await?.as_deref(), Some(&User::numbered(1)), "get");
    let stats = cache.stats();
    ensure_eq!((stats.loads, stats.hits, stats.misses), (1, 3, 1), "loads, hits and misses");
    Ok(())
}

async fn waiters_share_one_load_and_its_value(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let source = Source::default();
    let callers = (0..50).map(|i| {
        let (cache, source) = (cache.clone(), source.clone());
        async move { cache.get_or_load("a", || source.user(i)).await }
    });
    let release = async {
        bench.until("49 callers wait", || cache.stats().coalesced == 49).await?;
        source.answer.raise();
        Ok::<_, Failure>(())
    };
    let (users, released) = futures::join!(bench.together(callers), release);
    released?;
    let users = users?.into_iter().collect::<Result<Vec<_>, _>>()?;
    ensure_eq!(source.loads(), 1, "how often it was loaded");
    ensure!(users.iter().all(|user| Arc::ptr_eq(user, &users[0])), "the value is not shared");
    ensure_eq!(cache.loads_under_way(), 0, "loads that are still under way");
    Ok(())
}

async fn waiters_share_the_error_which_is_not_kept(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let source = Source::default();
    let callers = (0..20).map(|_| {
        let (cache, source) = (cache.clone(), source.clone());
        async move { cache.get_or_load("a", || source.fail()).await }
    });
    let release = async {
        bench.until("19 callers wait", || cache.stats().coalesced == 19).await?;
        source.answer.raise();
        Ok::<_, Failure>(())
    };
    let (results, released) = futures::join!(bench.together(callers), release);
    released?;
    for result in results? {
        let error = result.err().ok_or_else(|| Failure::new("a caller got a value"))?;
        let loader = error.loader::<io::Error>().map(ToString::to_string);
        ensure_eq!(loader.as_deref(), Some("the database is down"), "the loader's error");
    }
    ensure_eq!(source.loads(), 1, "how often it was loaded");
    ensure_eq!(cache.stats().load_failures, 1, "failures that were counted");
    cache.get_or_load("a", || source.user(1)).await?;
    ensure_eq!(source.loads(), 2, "loads after the error");
    Ok(())
}

async fn a_loader_that_hangs_frees_the_key(bench: Bench) -> CaseResult {
    let cache = bench.cache().load_timeout(millis(40)).build()?;
    let start = bench.runtime().now();
    let callers = (0..5).map(|_| {
        let cache = cache.clone();
        async move { cache.get_or_load("a", pending::<io::Result<User>>).await }
    });
    for result in bench.together(callers).await? {
        ensure!(matches!(result, Err(Error::LoadTimeout { .. })), "the answer is {result:?}");
    }
    ensure!(bench.runtime().now().since(start) >= millis(40), "it timed out too early");
    let source = Source::at_once();
    ensure_eq!(*cache.get_or_load("a", || source.user(1)).await?, User::numbered(1), "the next");
    ensure_eq!(cache.loads_under_way(), 0, "loads that are still under way");
    Ok(())
}

async fn a_loader_that_panics_frees_the_key(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let source = Source::default();
    let callers = (0..5).map(|_| {
        let (cache, source) = (cache.clone(), source.clone());
        async move { cache.get_or_load("a", || panic_with(source)).await }
    });
    let release = async {
        bench.until("4 callers wait", || cache.stats().coalesced == 4).await?;
        source.answer.raise();
        Ok::<_, Failure>(())
    };
    let (results, released) = futures::join!(bench.together(callers), release);
    released?;
    for result in results? {
        let Err(Error::LoadPanicked { message, .. }) = result else {
            return Err(Failure::new(format!("the answer is {result:?}")));
        };
        ensure_eq!(message, "on purpose", "the panic's message");
    }
    ensure_eq!(*cache.get_or_load("a", || source.user(1)).await?, User::numbered(1), "the next");
    // A loader may also panic before it has made a future.
    let result =
        cache.get_or_load("b", || -> std::future::Ready<io::Result<User>> { boom() }).await;
    ensure!(matches!(result, Err(Error::LoadPanicked { .. })), "the answer is {result:?}");
    ensure_eq!(cache.loads_under_way(), 0, "loads that are still under way");
    Ok(())
}

async fn panic_with(source: Source) -> io::Result<User> {
    source.ask().await;
    boom()
}

/// Without the panic hook, which would fill the output of the tests.
fn boom<T>() -> T {
    std::panic::resume_unwind(Box::new("on purpose"))
}

async fn when_the_caller_goes_away_the_next_one_loads(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let (first, second) = (Source::default(), Source::at_once());
    let (abort, registration) = AbortHandle::new_pair();
    let (leader, loader) = (cache.clone(), first.clone());
    let led = bench.start(Abortable::new(
        async move { leader.get_or_load("a", || loader.user(1)).await },
        registration,
    ));
    first.begun.raised().await;
    let followers = (0..10).map(|_| {
        let (cache, source) = (cache.clone(), second.clone());
        async move { cache.get_or_load("a", || source.user(2)).await }
    });
    let leave = async {
        bench.until("10 callers wait", || cache.stats().coalesced == 10).await?;
        abort.abort();
        Ok::<_, Failure>(())
    };
    let (followed, left) = futures::join!(bench.together(followers), leave);
    left?;
    for user in followed? {
        ensure_eq!(*user?, User::numbered(2), "what the followers got");
    }
    ensure!(matches!(led.await?, Err(Aborted)), "the leader came to an end");
    ensure_eq!((first.loads(), second.loads()), (1, 1), "loads before and after");
    Ok(())
}

async fn when_all_callers_go_away_the_key_is_free(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let source = Source::default();
    let (abort, registration) = AbortHandle::new_pair();
    let (leader, loader) = (cache.clone(), source.clone());
    let led = bench.start(Abortable::new(
        async move { leader.get_or_load("a", || loader.user(1)).await },
        registration,
    ));
    source.begun.raised().await;
    ensure_eq!(cache.loads_under_way(), 1, "loads under way");
    abort.abort();
    ensure!(led.await?.is_err(), "the leader came to an end");
    ensure_eq!(cache.loads_under_way(), 0, "loads under way when nobody is left");
    let user = cache.get_or_load("a", || Source::at_once_owned(2)).await?;
    ensure_eq!(*user, User::numbered(2), "the next caller's value");
    Ok(())
}

impl Source {
    async fn at_once_owned(id: u64) -> io::Result<User> {
        Self::at_once().user(id).await
    }
}

/// Such as a branch of a `select!` whose future is kept while another branch runs.
async fn a_leader_that_nobody_polls_is_overtaken(bench: Bench) -> CaseResult {
    let cache = bench.cache().load_timeout(millis(200)).build()?;
    let hanging = Source::default();
    let mut leader = Box::pin(cache.get_or_load("a", || hanging.user(1)));
    if let Either::Left((led, _)) = select(&mut leader, Box::pin(hanging.begun.raised())).await {
        return Err(Failure::new(format!("the leader came to an end: {led:?}")));
    }
    let ended = Signal::default();
    for i in 2..5 {
        let (cache, ended) = (cache.clone(), ended.clone());
        drop(bench.start(async move {
            let loader = Source::at_once();
            cache.get_or_load("a", || loader.user(i)).await.map(|_| ended.raise())
        }));
    }
    let many = cache.clone();
    let many = bench.start(async move {
        let load = async |_| Ok::<_, io::Error>([(9, User::numbered(9))]);
        many.get_or_load_many([9], |_| "a", load).await.map(|users| users.len())
    });
    bench.until("the others wait", || cache.stats().coalesced >= 4).await?;
    bench.until("the others have a value", || ended.count() == 3).await?;
    ensure_eq!(many.await??, 1, "how many were found");
    ensure_eq!(hanging.loads(), 1, "how often the leader's loader ran");
    drop(leader);
    bench.until("no load is under way", || cache.loads_under_way() == 0).await
}

async fn newcomers_get_the_value_while_it_is_written(bench: Bench) -> CaseResult {
    let gate = Arc::new(Gate::closed(When::Before, Call::is_write));
    let cache = bench.cache_through(gate.clone()).build()?;
    let source = Source::at_once();
    let leader = under_way(&bench, &cache, "a", 1, &source).await;
    gate.arrivals(1).await;
    for _ in 0..3 {
        let user = cache.get_or_load("a", || source.user(2)).await?;
        ensure_eq!(*user, User::numbered(1), "what a newcomer got");
    }
    gate.open();
    leader.await??;
    ensure_eq!(source.loads(), 1, "how often it was loaded");
    ensure_eq!(cache.get("a").await?.as_deref(), Some(&User::numbered(1)), "what was kept");
    Ok(())
}

async fn the_write_goes_on_when_its_caller_goes_away(bench: Bench) -> CaseResult {
    let gate = Arc::new(Gate::closed(When::Before, Call::is_write));
    let cache = bench.cache_through(gate.clone()).build()?;
    let (abort, registration) = AbortHandle::new_pair();
    let leader = cache.clone();
    let led = bench.start(Abortable::new(
        async move { leader.get_or_load("a", || Source::at_once_owned(1)).await },
        registration,
    ));
    gate.arrivals(1).await;
    abort.abort();
    ensure!(led.await?.is_err(), "the leader came to an end");
    gate.open();
    bench.until("the write has ended", || cache.loads_under_way() == 0).await?;
    ensure_eq!(cache.get("a").await?.as_deref(), Some(&User::numbered(1)), "what was kept");
    Ok(())
}

async fn who_missed_before_a_load_ended_reads_again(bench: Bench) -> CaseResult {
    // Only single reads go through the gate: the late caller's.
    let gate = Arc::new(Gate::closed(When::After, |call| call == Call::Get));
    let cache = bench.cache_through(gate.clone()).build()?;
    let source = Source::at_once();
    let (late, loader) = (cache.clone(), source.clone());
    let late = bench.start(async move { late.get_or_load("a", || loader.user(2)).await });
    gate.arrivals(1).await;
    let loaded = cache
        .get_or_load_many([1], |_| "a", async |_| Ok::<_, io::Error>([(1, User::numbered(1))]))
        .await?;
    ensure_eq!(loaded.len(), 1, "how many were loaded");
    gate.open();
    ensure_eq!(*late.await??, User::numbered(1), "what the late caller got");
    ensure_eq!(source.loads(), 0, "loads of the late caller");
    Ok(())
}

async fn ten_thousand_callers_are_one_load(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    ten_thousand(&bench, &cache).await
}

async fn ten_thousand_callers_of_a_slow_store_are_one_load(bench: Bench) -> CaseResult {
    let delays = Delays::up_to(millis(20), bench.runtime(), bench.seed());
    let cache = bench.cache_through(Arc::new(delays)).build()?;
    ten_thousand(&bench, &cache).await
}

async fn ten_thousand(bench: &Bench, cache: &Cache) -> CaseResult {
    let loads = Signal::default();
    let callers = (0..10_000).map(|i| {
        let (cache, loads, runtime) = (cache.clone(), loads.clone(), bench.runtime());
        async move {
            let loader = || async {
                loads.raise();
                runtime.sleep(millis(2)).await;
                Ok::<_, io::Error>(User::numbered(i))
            };
            cache.get_or_load("a", loader).await
        }
    });
    let users = bench.together(callers).await?.into_iter().collect::<Result<Vec<_>, _>>()?;
    ensure_eq!(loads.count(), 1, "loads, with {:?},", cache.stats());
    ensure!(users.iter().all(|user| user == &users[0]), "not all got the same value");
    ensure_eq!(cache.loads_under_way(), 0, "loads that are still under way");
    Ok(())
}

async fn each_key_loads_for_itself(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let source = Source::default();
    let callers =
        (0..100).map(|i| {
            let (cache, source) = (cache.clone(), source.clone());
            async move {
                Ok::<_, Error>((i, cache.get_or_load(format!("{i}"), || source.user(i)).await?))
            }
        });
    let release = async {
        bench.until("all loads are under way", || source.loads() == 100).await?;
        source.answer.raise();
        Ok::<_, Failure>(())
    };
    let (users, released) = futures::join!(bench.together(callers), release);
    released?;
    for user in users? {
        let (i, user) = user?;
        ensure_eq!(*user, User::numbered(i), "the value of key {i}");
    }
    Ok(())
}

async fn each_type_loads_for_itself(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let source = Source::default();
    let load = under_way(&bench, &cache, "a", 1, &source).await;
    let text = cache.get_or_load("a", async || Ok::<_, io::Error>(String::from("text"))).await?;
    ensure_eq!(*text, "text", "the value of the other type");
    source.answer.raise();
    ensure_eq!(*load.await??, User::numbered(1), "the value of the first type");
    Ok(())
}

async fn whoever_needs_a_value_shares_the_load_after_an_absence(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let (finder, source) = (Source::default(), Source::at_once());
    let (finding, find) = (cache.clone(), finder.clone());
    let found = bench.start(async move { finding.get_or_find("a", || find.nobody()).await });
    finder.begun.raised().await;
    let callers = (0..20).map(|_| {
        let (cache, source, runtime) = (cache.clone(), source.clone(), bench.runtime());
        async move {
            let loader = || async {
                runtime.sleep(millis(5)).await;
                source.user(1).await
            };
            cache.get_or_load("a", loader).await
        }
    });
    let release = async {
        bench.until("20 callers wait", || cache.stats().coalesced == 20).await?;
        finder.answer.raise();
        Ok::<_, Failure>(())
    };
    let (users, released) = futures::join!(bench.together(callers), release);
    released?;
    for user in users? {
        ensure_eq!(*user?, User::numbered(1), "the value");
    }
    ensure_eq!(found.await??, None, "what was found");
    ensure_eq!(source.loads(), 1, "loads by those who need a value");
    Ok(())
}

async fn the_life_of_an_entry_may_differ_by_call(bench: Bench) -> CaseResult {
    let cache = bench.cache().ttl(hours(1)).build()?;
    let source = Source::at_once();
    cache.entry("a").ttl(minutes(1)).get_or_load(|| source.user(1)).await?;
    cache.with_ttl(minutes(2)).get_or_load("b", || source.user(2)).await?;
    cache.get_or_load("c", || source.user(3)).await?;
    for (key, most) in [("a", 60), ("b", 120), ("c", 3_600)] {
        let left = cache.time_to_live(key).await?.unwrap_or_default();
        let lives = seconds(most - 30)..=seconds(most);
        ensure!(lives.contains(&left), "{key} has {left:?} left of {most} s");
    }
    Ok(())
}
