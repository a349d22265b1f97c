//! What the conformance suite does not ask: leases, limits, alarms and the budget of calls.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use larder_core::rate_limit::Check;
use larder_core::{
    Cache, Cursor, Leases, PutEntry, Quota, RateLimitStore, Runtime, Store, StoreError,
    StoreErrorKind, millis, minutes, seconds,
};
use larder_kv::{DurableRateLimits, DurableStore, KvStore, WorkerRuntime};
use serde_json::{Value, json};
use worker::{Context, Env, Error, Result, Url};

use crate::backends::into_worker;
use crate::limits as rate_limits;

/// Over how many objects the many-forms are spread.
const OBJECTS: u16 = 5;
/// How many keys they are given: three bulk reads of KV.
const KEYS: usize = 250;

/// Answers what was seen.
pub(crate) async fn probe(name: &str, env: &Env, ctx: &Context, url: &Url) -> Result<Value> {
    let unlimited = WorkerRuntime::with_calls(ctx, u32::MAX);
    match name {
        "leases" => leases(&DurableStore::open(env, "LARDER", &unlimited).map_err(into_worker)?)
            .await
            .map_err(into_worker),
        "limits" => limits(&KvStore::open(env, "KV", &unlimited).map_err(into_worker)?).await,
        "largest" => largest(env, &unlimited).await.map_err(into_worker),
        "alarm" => alarm(env, &unlimited).await,
        "limits-alarm" => alarm_of_limits(env, &unlimited).await,
        "kv-limits" => rate_limits::kv(env, &unlimited).await,
        "prefilter" => rate_limits::prefilter(env, &unlimited).await,
        "calls" => Ok(json!({
            "kv": calls(&KvStore::open(env, "KV", &unlimited).map_err(into_worker)?, &unlimited)
                .await
                .map_err(into_worker)?,
            "durable": calls(
                &DurableStore::builder()
                    .objects(OBJECTS)
                    .open(env, "LARDER", &unlimited)
                    .map_err(into_worker)?,
                &unlimited,
            )
            .await
            .map_err(into_worker)?,
        })),
        "fill" => {
            let keys: Vec<String> = (0..300).map(|n| format!("fill:{n:03}")).collect();
            let value = "x".into();
            let entries: Vec<_> = keys
                .iter()
                .map(|key| PutEntry { key, value: Clone::clone(&value), ttl: minutes(5) })
                .collect();
            let store = KvStore::open(env, "KV", &unlimited).map_err(into_worker)?;
            store.put_many(&entries).await.map_err(into_worker)?;
            Ok(json!(keys.len()))
        }
        "remove" => {
            let runtime = WorkerRuntime::with_calls(ctx, 250);
            let store = KvStore::open(env, "KV", &runtime).map_err(into_worker)?;
            let cache = Cache::builder(store).build().map_err(into_worker)?;
            let from = crate::asked(url, "from").map(Cursor::new);
            let whole = cache.on(Arc::new(WorkerRuntime::with_calls(ctx, 1)));
            let refused = whole.remove_matching("fill:*").await.err().map(|e| e.to_string());
            let removal = cache.remove_matching_from("fill:*", from).await.map_err(into_worker)?;
            Ok(json!({
                "removed": removal.removed,
                "next": removal.next.as_ref().map(Cursor::position),
                "calls_left": runtime.calls(),
                "refused": refused,
            }))
        }
        _ => Err(Error::RustError(format!("there is no probe {name:?}"))),
    }
}

async fn leases(objects: &DurableStore) -> std::result::Result<Value, StoreError> {
    let key = format!("lease:{}", worker::Date::now().as_millis());
    let first = objects.acquire(&key, minutes(1)).await?;
    let refused = objects.acquire(&key, minutes(1)).await?;
    if let Some(first) = &first {
        objects.release(&key, first).await?;
    }
    let second = objects.acquire(&key, seconds(1)).await?;
    if let Some(first) = &first {
        // A token that is over releases nothing.
        objects.release(&key, first).await?;
    }
    let still = objects.acquire(&key, minutes(1)).await?;
    objects.runtime().sleep(millis(1_100)).await;
    let third = objects.acquire(&key, minutes(1)).await?;
    let token = |token: Option<larder_core::LeaseToken>| token.map(|t| t.as_str().to_owned());
    Ok(json!({
        "first": token(first), "refused": token(refused), "second": token(second),
        "still": token(still), "third": token(third),
    }))
}

async fn limits(kv: &KvStore) -> Result<Value> {
    let kind = |error: Option<StoreError>| error.map(|error| error.kind());
    let long = "k".repeat(513);
    let long = kind(kv.get(&long).await.err());
    let dot = kind(kv.put(".", "v".into(), minutes(1)).await.err());
    let dots = kind(kv.get_many(&["a", ".."]).await.err());
    let longest = "k".repeat(512);
    kv.put(&longest, "v".into(), minutes(1)).await.map_err(into_worker)?;
    let longest = kv.get(&longest).await.map_err(into_worker)?.is_some();
    Ok(json!({
        "long": long == Some(StoreErrorKind::TooLarge),
        "dot": dot == Some(StoreErrorKind::Unsupported),
        "dots": dots == Some(StoreErrorKind::Unsupported),
        "longest": longest,
    }))
}

/// The largest value of an object, under its longest key, and a byte more.
async fn largest(env: &Env, runtime: &WorkerRuntime) -> std::result::Result<Value, StoreError> {
    let store = DurableStore::open(env, "LARDER", runtime)?;
    let limits = store.capabilities();
    let key = "k".repeat(limits.max_key_bytes);
    let bytes = |count: usize| -> Bytes { (0..count).map(|n| (n % 251) as u8).collect() };
    let value = bytes(limits.max_value_bytes);
    store.put(&key, value.clone(), minutes(5)).await?;
    let kept = store.get(&key).await?;
    let before = runtime.calls();
    let refused = store.put(&key, bytes(value.len() + 1), minutes(5)).await.err();
    Ok(json!({
        "bytes": value.len(),
        "kept": kept.as_ref() == Some(&value),
        "refused": refused.map(|error| error.kind()) == Some(StoreErrorKind::TooLarge),
        "calls": before - runtime.calls(),
        "stands": store.get(&key).await? == kept,
    }))
}

/// What lies in an object's storage while nobody reads it: right after it was written, and when the
/// alarm has removed what is over; or after a minute.
async fn alarm(env: &Env, runtime: &WorkerRuntime) -> Result<Value> {
    let store = DurableStore::builder().objects(1).open(env, "LARDER", runtime);
    let store = store.map_err(into_worker)?;
    let value = Bytes::from_static(b"v");
    let entry = |key, ttl| PutEntry { key, value: value.clone(), ttl };
    let lives =
        [entry("short", seconds(1)), entry("shorter", millis(1)), entry("long", minutes(5))];
    store.put_many(&lives).await.map_err(into_worker)?;
    store.acquire("lease", seconds(1)).await.map_err(into_worker)?;
    let (written, left) = swept(env, runtime, "larder-0-of-1").await?;
    let stands = store.contains("long").await.map_err(into_worker)?;
    Ok(json!({ "written": written, "left": left, "stands": stands }))
}

/// The same of counts, of which one is for ever.
async fn alarm_of_limits(env: &Env, runtime: &WorkerRuntime) -> Result<Value> {
    let limits = DurableRateLimits::builder().objects(1).open(env, "LARDER", runtime);
    let limits = limits.map_err(into_worker)?;
    let quotas = [Quota::new(5, seconds(1)), Quota::new(5, millis(10)).gcra()];
    for (key, quota) in ["short", "shorter"].into_iter().zip(&quotas) {
        let check = Check::new(key, std::slice::from_ref(quota));
        limits.check(&check).await.map_err(into_worker)?;
    }
    limits.block("long", Duration::MAX).await.map_err(into_worker)?;
    let (written, left) = swept(env, runtime, "larder-limits-0-of-1").await?;
    let check = Check::new("long", &[]);
    let stands = !limits.check(&check).await.map_err(into_worker)?.is_allowed();
    Ok(json!({ "written": written, "left": left, "stands": stands }))
}

/// How many rows an object has stored, and how many when only one is left; or after a minute.
async fn swept(env: &Env, runtime: &WorkerRuntime, name: &str) -> Result<(u64, u64)> {
    let object = env.durable_object("LARDER")?.get_by_name(name)?;
    let rows = async || -> Result<u64> {
        let count = object.fetch_with_str("https://larder/").await?.text().await?;
        count.parse().map_err(into_worker)
    };
    let written = rows().await?;
    let mut left = written;
    let begun = runtime.now();
    while left > 1 && runtime.now().since(begun) < minutes(1) {
        runtime.sleep(millis(200)).await;
        left = rows().await?;
    }
    Ok((written, left))
}

/// How many calls each many-form makes.
async fn calls(
    store: &dyn Store,
    runtime: &WorkerRuntime,
) -> std::result::Result<Value, StoreError> {
    let keys: Vec<String> = (0..KEYS).map(|n| format!("calls:{n:03}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let value = Bytes::from_static(b"text");
    let before = runtime.calls();
    let entries: Vec<_> =
        keys.iter().map(|key| PutEntry { key, value: value.clone(), ttl: minutes(5) }).collect();
    store.put_many(&entries).await?;
    let put = runtime.calls();
    let found = store.get_many(&keys).await?.into_iter().flatten().count();
    let got = runtime.calls();
    let removed = store.remove_many(&keys).await?;
    Ok(json!({
        "put_many": before - put, "get_many": put - got, "remove_many": got - runtime.calls(),
        "found": found, "removed": removed,
    }))
}
