//! Loads that many requests wait for.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use larder_core::{Cache, Runtime, millis, minutes};
use larder_kv::{DurableStore, WorkerRuntime};
use worker::{Env, Result};

use crate::backends::{self, into_worker};

/// The caches of this isolate, and how often a key was loaded through them.
static CACHES: Mutex<Option<HashMap<String, Cache>>> = Mutex::new(None);
static LOADS: OnceLock<Mutex<HashMap<String, u32>>> = OnceLock::new();

/// The cache over that backend; with leases where its name ends with `+leases`.
fn cache(name: &str, env: &Env, runtime: &WorkerRuntime) -> Result<Cache> {
    let mut caches = CACHES.lock().unwrap_or_else(PoisonError::into_inner);
    let caches = caches.get_or_insert_default();
    if let Some(cache) = caches.get(name) {
        return Ok(cache.on(Arc::new(runtime.clone())));
    }
    let (backend, leased) = match name.strip_suffix("+leases") {
        Some(backend) => (backend, true),
        None => (name, false),
    };
    let store = backends::store(backend, env, runtime)?;
    let mut cache = Cache::builder(store).namespace("load").ttl(minutes(5));
    if leased {
        cache = cache.leases(DurableStore::open(env, "LARDER", runtime).map_err(into_worker)?);
    }
    let cache = cache.build().map_err(into_worker)?;
    caches.insert(name.to_owned(), cache.clone());
    Ok(cache.on(Arc::new(runtime.clone())))
}

fn counts() -> &'static Mutex<HashMap<String, u32>> {
    LOADS.get_or_init(Mutex::default)
}

/// The number of the load that begins.
fn begin_load(key: &str) -> u32 {
    let mut counts = counts().lock().unwrap_or_else(PoisonError::into_inner);
    let count = counts.entry(key.to_owned()).or_default();
    *count += 1;
    *count
}

pub(crate) fn loads(key: &str) -> u32 {
    let counts = counts().lock().unwrap_or_else(PoisonError::into_inner);
    counts.get(key).copied().unwrap_or(0)
}

pub(crate) async fn load(
    backend: &str,
    env: &Env,
    runtime: &WorkerRuntime,
    key: &str,
    ms: u64,
) -> Result<String> {
    let cache = cache(backend, env, runtime)?;
    let loader = || async {
        let number = begin_load(key);
        runtime.sleep(millis(ms)).await;
        Ok::<_, Infallible>(format!("{key} by load {number}"))
    };
    let value = cache.get_or_load(key, loader).await.map_err(into_worker)?;
    Ok(String::clone(&value))
}
