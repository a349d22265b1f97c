//! The backends under test.

use std::future::ready;
use std::sync::Arc;

use larder_core::{
    MemoryRateLimits, MemorySessions, MemoryStore, RateLimitStore, SessionStore, Store,
};
use larder_kv::{
    DurableRateLimits, DurableSessions, DurableStore, KvRateLimits, KvSessions, KvStore,
    WorkerRuntime,
};
use larder_tests::conformance::Backend;
use worker::send::SendWrapper;
use worker::{Env, Error, Result};

/// A handle on the store of that name.
pub(crate) fn store(name: &str, env: &Env, runtime: &WorkerRuntime) -> Result<Arc<dyn Store>> {
    Ok(match name {
        "memory" => Arc::new(MemoryStore::builder().on(runtime.clone())),
        "kv" => Arc::new(KvStore::open(env, "KV", runtime).map_err(into_worker)?),
        // A local KV shows every write at once: it can be held to what the real one cannot promise.
        "kv-local" => {
            let store = KvStore::builder().claim_strong().open(env, "KV", runtime);
            Arc::new(store.map_err(into_worker)?)
        }
        "durable" => Arc::new(DurableStore::open(env, "LARDER", runtime).map_err(into_worker)?),
        _ => return Err(Error::RustError(format!("there is no backend {name:?}"))),
    })
}

/// A handle on the rate limits beside it.
pub(crate) fn limits(
    name: &str,
    env: &Env,
    runtime: &WorkerRuntime,
) -> Result<Arc<dyn RateLimitStore>> {
    Ok(match name {
        "kv" | "kv-local" => Arc::new(KvRateLimits::open(env, "KV", runtime).map_err(into_worker)?),
        "durable" => {
            Arc::new(DurableRateLimits::open(env, "LARDER", runtime).map_err(into_worker)?)
        }
        _ => Arc::new(MemoryRateLimits::builder().on(runtime.clone())),
    })
}

/// A handle on the sessions beside it.
pub(crate) fn sessions(
    name: &str,
    env: &Env,
    runtime: &WorkerRuntime,
) -> Result<Arc<dyn SessionStore>> {
    Ok(match name {
        "kv" | "kv-local" => Arc::new(KvSessions::open(env, "KV", runtime).map_err(into_worker)?),
        "durable" => Arc::new(DurableSessions::open(env, "LARDER", runtime).map_err(into_worker)?),
        _ => Arc::new(MemorySessions::builder().on(runtime.clone())),
    })
}

/// The backend of that name, for the conformance suite. Its entries outlive the run.
pub(crate) fn backend(name: &str, env: &Env, runtime: &WorkerRuntime) -> Result<Backend> {
    let store = store(name, env, runtime)?;
    let open = move || {
        let store = Arc::clone(&store);
        Box::pin(async move { Ok(store) }) as _
    };
    let run = format!("run{}", worker::Date::now().as_millis());
    let backend = Backend::new(name, open).run_name(run);
    if name != "durable" {
        let backend = backend.counting_in(limits(name, env, runtime)?);
        return Ok(backend.keeping_in(sessions(name, env, runtime)?));
    }
    let (bound, clock) = (SendWrapper::new(env.clone()), runtime.clone());
    let backend = backend.counting(move || {
        let limits = DurableRateLimits::open(&bound, "LARDER", &clock);
        Box::pin(ready(limits.map(|limits| Arc::new(limits) as _)))
    });
    let (bound, clock) = (SendWrapper::new(env.clone()), runtime.clone());
    Ok(backend.keeping(move || {
        let sessions = DurableSessions::open(&bound, "LARDER", &clock);
        Box::pin(ready(sessions.map(|sessions| Arc::new(sessions) as _)))
    }))
}

pub(crate) fn into_worker(error: impl std::error::Error) -> Error {
    Error::RustError(error.to_string())
}
