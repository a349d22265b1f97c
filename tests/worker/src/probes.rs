//! What the conformance suite does not ask: leases, limits and the budget of calls.

use std::sync::Arc;

use larder_core::{
    Cache, Cursor, Leases, PutEntry, Runtime, Store, StoreError, StoreErrorKind, millis, minutes,
    seconds,
};
use larder_kv::{DurableStore, KvStore, WorkerRuntime};
use serde_json::{Value, json};
use worker::{Context, Env, Error, Result, Url};

use crate::backends::into_worker;

/// Answers what was seen.
pub(crate) async fn probe(name: &str, env: &Env, ctx: &Context, url: &Url) -> Result<Value> {
    let unlimited = WorkerRuntime::with_calls(ctx, u32::MAX);
    let parameter = |name: &str| {
        url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    };
    match name {
        "leases" => leases(&DurableStore::open(env, "LARDER", &unlimited).map_err(into_worker)?)
            .await
            .map_err(into_worker),
        "limits" => limits(&KvStore::open(env, "KV", &unlimited).map_err(into_worker)?).await,
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
            let from = parameter("from").map(Cursor::new);
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
