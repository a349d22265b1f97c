//! Times to live.

use std::time::Duration;

use bytes::Bytes;
use larder_core::{PutEntry, Store, days, millis, minutes, seconds};

use super::scan::scan;
use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Need};

const SHORT: Duration = millis(50);
const SHORT_LIVES: Need = Need::TimeToLive(SHORT);

cases!("store::lives", "store":
    a_value_is_there_until_its_time_is_over [SHORT_LIVES],
    what_is_over_is_gone_from_every_call [SHORT_LIVES],
    each_entry_of_put_many_has_its_own_time [SHORT_LIVES],
    put_renews_the_time [SHORT_LIVES],
    put_may_shorten_the_time [SHORT_LIVES],
    a_fraction_of_a_second_is_not_rounded [SHORT_LIVES],
    a_life_below_the_store_s_unit_is_rounded_up,
    time_to_live_is_what_is_left,
    a_very_long_life_is_a_life,
);

fn value() -> Bytes {
    Bytes::from_static(b"value")
}

async fn a_value_is_there_until_its_time_is_over(bench: Bench) -> CaseResult {
    let (store, runtime) = (bench.store(), bench.runtime());
    // On a real clock the machine may be slow between two calls: then it is tried again.
    for attempt in 0..20 {
        let key = bench.key(&attempt.to_string());
        let before = runtime.now();
        store.put(&key, value(), SHORT).await?;
        let after = runtime.now();
        bench.pass((before + SHORT - millis(1)).since(runtime.now())).await;
        let found = store.get(&key).await?;
        if runtime.now().since(before) < SHORT {
            ensure!(found.is_some(), "the value is gone within its time");
            bench.pass((after + SHORT + millis(1)).since(runtime.now())).await;
            ensure_eq!(store.get(&key).await?, None, "the value after its time");
            return Ok(());
        }
    }
    // Never once in time to see it alive; it has to be gone all the same, and to have been there.
    let key = bench.key("last");
    store.put(&key, value(), seconds(60)).await?;
    ensure!(store.get(&key).await?.is_some(), "the value is gone within its time");
    Ok(())
}

async fn what_is_over_is_gone_from_every_call(bench: Bench) -> CaseResult {
    let store = bench.store();
    let (a, b) = (bench.key("a"), bench.key("b"));
    let put = async || {
        store.put(&a, value(), SHORT).await?;
        store.put(&b, value(), SHORT).await?;
        bench.pass(SHORT + millis(2)).await;
        Ok::<_, larder_core::StoreError>(())
    };
    put().await?;
    ensure!(!store.contains(&a).await?, "contains");
    ensure_eq!(store.time_to_live(&a).await?, None, "time to live");
    ensure_eq!(store.get_many(&[&a, &b]).await?, [None, None], "get_many");
    let found = scan(&**store, &bench.pattern("*")).await?;
    ensure!(found.is_empty(), "scan found {found:?}");
    put().await?;
    ensure!(!store.remove(&a).await?, "remove found it");
    ensure_eq!(store.remove_many(&[&a, &b]).await?, 0, "how many remove_many found");
    put().await?;
    let found = scan(&**store, &bench.pattern("*")).await?;
    ensure!(found.is_empty(), "scan found {found:?}");
    Ok(())
}

async fn each_entry_of_put_many_has_its_own_time(bench: Bench) -> CaseResult {
    let store = bench.store();
    let (a, b) = (bench.key("a"), bench.key("b"));
    let entry = |key, ttl| PutEntry { key, value: value(), ttl };
    store.put_many(&[entry(&a, SHORT), entry(&b, minutes(5))]).await?;
    bench.pass(SHORT + millis(2)).await;
    ensure_eq!(store.get_many(&[&a, &b]).await?, [None, Some(value())], "after the shorter time");
    Ok(())
}

async fn put_renews_the_time(bench: Bench) -> CaseResult {
    let (store, key) = (bench.store(), bench.key("a"));
    store.put(&key, value(), SHORT).await?;
    store.put(&key, value(), minutes(5)).await?;
    bench.pass(SHORT + millis(2)).await;
    ensure!(store.get(&key).await?.is_some(), "the value is gone at the time of its first put");
    Ok(())
}

async fn put_may_shorten_the_time(bench: Bench) -> CaseResult {
    let (store, key) = (bench.store(), bench.key("a"));
    store.put(&key, value(), minutes(5)).await?;
    store.put(&key, value(), SHORT).await?;
    bench.pass(SHORT + millis(2)).await;
    ensure_eq!(store.get(&key).await?, None, "the value after its second put's time");
    Ok(())
}

async fn a_fraction_of_a_second_is_not_rounded(bench: Bench) -> CaseResult {
    let (store, runtime, key) = (bench.store(), bench.runtime(), bench.key("a"));
    let before = runtime.now();
    store.put(&key, value(), millis(90_500)).await?;
    let left = store.time_to_live(&key).await?.unwrap_or_default();
    let most = millis(90_500);
    let least = most.saturating_sub(runtime.now().since(before) + millis(2));
    ensure!((least..=most).contains(&left), "{left:?} are left, not {least:?} to {most:?}");
    Ok(())
}

async fn a_life_below_the_store_s_unit_is_rounded_up(bench: Bench) -> CaseResult {
    let store = bench.store();
    let (a, b) = (bench.key("a"), bench.key("b"));
    let ttl = Duration::from_micros(1);
    store.put(&a, value(), ttl).await?;
    store.put_many(&[PutEntry { key: &b, value: value(), ttl }]).await?;
    // An error, or a key that stays for ever, would be what is left of a life rounded down.
    for key in [a, b] {
        let left = store.time_to_live(&key).await?;
        let most = store.capabilities().min_ttl.max(millis(1));
        ensure!(left.is_none_or(|left| left <= most), "{left:?} are left");
    }
    Ok(())
}

async fn time_to_live_is_what_is_left(bench: Bench) -> CaseResult {
    let (store, runtime, key) = (bench.store(), bench.runtime(), bench.key("a"));
    for ttl in [minutes(2), days(1)] {
        let before = runtime.now();
        store.put(&key, value(), ttl).await?;
        bench.pass(millis(3)).await;
        let asked = runtime.now();
        let left = store.time_to_live(&key).await?.unwrap_or_default();
        // A second where the store counts in seconds.
        let least = ttl.saturating_sub(runtime.now().since(before) + seconds(1));
        ensure!(left >= least && left <= ttl, "of {ttl:?} {left:?} are left at {asked:?}");
    }
    Ok(())
}

async fn a_very_long_life_is_a_life(bench: Bench) -> CaseResult {
    let (store, key) = (bench.store(), bench.key("a"));
    let decade = days(3_652);
    store.put(&key, value(), decade).await?;
    ensure!(store.get(&key).await?.is_some(), "a value for a decade is gone at once");
    let left = store.time_to_live(&key).await?.unwrap_or_default();
    ensure!(left > decade - days(1), "of a decade {left:?} are left");
    // It is to be kept as long as the store can: what matters is that it neither fails nor expires.
    keeps_for_ever(&**store, &bench.key("b")).await
}

async fn keeps_for_ever(store: &dyn Store, key: &str) -> CaseResult {
    store.put(key, value(), Duration::MAX).await?;
    ensure!(store.get(key).await?.is_some(), "a value for ever is gone at once");
    store.put_many(&[PutEntry { key, value: value(), ttl: Duration::MAX }]).await?;
    ensure!(store.get(key).await?.is_some(), "a value for ever is gone at once");
    store.remove(key).await?;
    Ok(())
}
