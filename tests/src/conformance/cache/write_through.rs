//! Write-through leaves the new value or none (semantic 2).

use std::io;
use std::sync::Arc;

use larder_core::{Error, Layout, millis};

use super::{Signal, User};
use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Need};
use crate::stores::{Call, Faults, When};

cases!("cache::write_through", "2":
    what_is_saved_is_put [Need::StrongConsistency],
    a_save_that_fails_leaves_nothing [Need::StrongConsistency],
    a_caller_that_leaves_leaves_nothing [Need::StrongConsistency],
    a_store_that_fails_leaves_nothing_old [Need::StrongConsistency],
    an_invalidation_meanwhile_wins [Need::StrongConsistency],
    two_at_once_leave_the_later_or_nothing [Need::StrongConsistency],
    a_load_from_before_leaves_nothing [Need::StrongConsistency],
);

async fn what_is_saved_is_put(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    cache.put("a", &User::numbered(1)).await?;
    let save = async || Ok::<_, io::Error>(User::numbered(2));
    ensure_eq!(cache.write_through("a", save).await?.id, 2, "what the caller got");
    ensure_eq!(cache.get::<User>("a").await?.map(|user| user.id), Some(2), "what is kept");
    if matches!(bench.layout(), Layout::Framed(_)) {
        cache.entry("a").tag("users").write_through(save).await?;
        cache.remove_tag("users").await?;
        ensure_eq!(cache.get::<User>("a").await?, None, "what is kept of a tag that was removed");
    }
    Ok(())
}

async fn a_save_that_fails_leaves_nothing(bench: Bench) -> CaseResult {
    let cache = bench.cache().local(10).build()?;
    cache.put("a", &User::numbered(1)).await?;
    cache.get::<User>("a").await?;
    let save = async || Err::<User, _>(io::Error::other("no answer"));
    let saved = cache.write_through("a", save).await;
    ensure!(matches!(saved, Err(Error::Save { .. })), "what the caller got: {saved:?}");
    ensure_eq!(cache.get::<User>("a").await?, None, "what is kept");
    Ok(())
}

async fn a_caller_that_leaves_leaves_nothing(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    cache.put("a", &User::numbered(1)).await?;
    let begun = Signal::default();
    {
        let save = async || {
            begun.raise();
            std::future::pending::<io::Result<User>>().await
        };
        let mut saving = Box::pin(cache.write_through("a", save));
        futures::future::select(&mut saving, Box::pin(begun.raised())).await;
    }
    let start = bench.runtime().now();
    while cache.contains("a").await? {
        let waited = bench.runtime().now().since(start);
        ensure!(waited < millis(10_000), "what stood before is left");
        bench.pass(millis(1)).await;
    }
    Ok(())
}

async fn a_store_that_fails_leaves_nothing_old(bench: Bench) -> CaseResult {
    bench.cache().build()?.put("a", &User::numbered(1)).await?;
    let faults = Arc::new(Faults::of(When::Before, |call| call == Call::Put));
    let cache = bench.cache_through(faults).local(10).build()?;
    ensure_eq!(cache.get::<User>("a").await?.is_some(), true, "whether it stood");
    let save = async || Ok::<_, io::Error>(User::numbered(2));
    ensure_eq!(cache.write_through("a", save).await?.id, 2, "what the caller got");
    ensure_eq!(cache.get::<User>("a").await?, None, "what is kept");
    bench.cache().build()?.put("a", &User::numbered(1)).await?;
    let faults =
        Arc::new(Faults::of(When::Before, |call| call == Call::Put || call == Call::Remove));
    let cache = bench.cache_through(faults).build()?;
    let saved = cache.write_through("a", save).await;
    ensure!(matches!(saved, Err(Error::Store(_))), "what the caller is told: {saved:?}");
    let refused = async || Err::<User, _>(io::Error::other("on purpose"));
    let saved = cache.write_through("a", refused).await;
    ensure!(matches!(saved, Err(Error::Save { .. })), "not saved, and not removed: {saved:?}");
    Ok(())
}

async fn an_invalidation_meanwhile_wins(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let save = async || {
        cache.remove("a").await.map_err(io::Error::other)?;
        Ok::<_, io::Error>(User::numbered(1))
    };
    cache.write_through("a", save).await?;
    ensure_eq!(cache.get::<User>("a").await?, None, "what is kept");
    Ok(())
}

async fn two_at_once_leave_the_later_or_nothing(bench: Bench) -> CaseResult {
    for first_is_last in [false, true] {
        let cache = bench.cache().build()?;
        let (begun, go_on) = (Signal::default(), Signal::default());
        let (saving, signals) = (cache.clone(), (begun.clone(), go_on.clone()));
        let first = bench.start(async move {
            let save = async || {
                signals.0.raise();
                signals.1.raised().await;
                Ok::<_, io::Error>(User::numbered(1))
            };
            saving.write_through("a", save).await
        });
        begun.raised().await;
        let second = async || {
            if !first_is_last {
                go_on.raise();
                bench.pass(millis(20)).await;
            }
            Ok::<_, io::Error>(User::numbered(2))
        };
        cache.write_through("a", second).await?;
        go_on.raise();
        ensure_eq!(first.await??.id, 1, "what the first caller got");
        let left = cache.get::<User>("a").await?.map(|user| user.id);
        let is_right = left.is_none() || (left == Some(1)) == first_is_last;
        ensure!(is_right, "{first_is_last}: what is left is {left:?}");
    }
    Ok(())
}

async fn a_load_from_before_leaves_nothing(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let (begun, go_on) = (Signal::default(), Signal::default());
    let (loading, signals) = (cache.clone(), (begun.clone(), go_on.clone()));
    let load = bench.start(async move {
        let find = async || {
            signals.0.raise();
            signals.1.raised().await;
            Ok::<_, io::Error>(User::numbered(1))
        };
        loading.get_or_load("a", find).await
    });
    begun.raised().await;
    let save = async || Ok::<_, io::Error>(User::numbered(2));
    cache.write_through("a", save).await?;
    go_on.raise();
    ensure_eq!(load.await??.id, 1, "what the load's caller got");
    ensure_eq!(cache.get::<User>("a").await?.map(|user| user.id), Some(2), "what is kept");
    Ok(())
}
