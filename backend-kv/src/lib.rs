//! Larder on Cloudflare Workers: stores on KV and on Durable Objects, rate limits, sessions, and a
//! request's runtime.
//!
//! In the order a reader needs it:
//!
//! - [`WorkerRuntime`], the clock, timers and background work of one request, and what makes a
//!   request's work outlive its client.
//! - [`KvStore`], a [`Store`](larder_core::Store) on a KV namespace: read everywhere at once, seen
//!   everywhere after a minute.
//! - [`DurableStore`], a store on Durable Objects: strong, and a place for
//!   [`Leases`](larder_core::Leases). Its objects are added to a Worker by [`durable_object!`].
//! - [`DurableRateLimits`], a [`RateLimitStore`](larder_core::RateLimitStore) on objects of the same
//!   class: exact.
//! - [`KvRateLimits`], one on a KV namespace: approximate.
//! - [`Prefilter`], the Rate Limiting binding of Workers in front of any such store.
//! - [`DurableSessions`], a [`SessionStore`](larder_core::SessionStore) on objects of the same class:
//!   a log-out holds at once.
//! - [`KvSessions`], one on a KV namespace: near, and a minute behind.
//!
//! | | [`KvStore`] | [`DurableStore`] |
//! | --- | --- | --- |
//! | a write is seen | elsewhere as a rule within 60 s | by every later read |
//! | read where | near the client | where the object lives |
//! | key | 512 B | 2,048 B |
//! | value | 25 MiB | 2 MB less 3 KiB |
//! | writes of one key | 1 a second | some hundreds a second |
//!
//! A cache belongs to the isolate and is bound to each request:
//!
//! ```no_run
//! use std::sync::{Arc, OnceLock};
//!
//! use larder_core::{Cache, minutes};
//! use larder_kv::{DurableStore, KvStore, WorkerRuntime};
//! use worker::{Context, Env, Request, Response, Result};
//!
//! // The class of the objects; wrangler.toml names it in a binding and a migration.
//! larder_kv::durable_object!(LarderObject);
//!
//! static CACHE: OnceLock<Cache> = OnceLock::new();
//!
//! fn open(env: &Env, runtime: &WorkerRuntime) -> larder_core::Result<Cache> {
//!     if let Some(cache) = CACHE.get() {
//!         return Ok(cache.on(Arc::new(runtime.clone())));
//!     }
//!     let cache = Cache::builder(KvStore::open(env, "CACHE", runtime)?)
//!         .leases(DurableStore::open(env, "LARDER", runtime)?)
//!         .ttl(minutes(5))
//!         .build()?;
//!     Ok(CACHE.get_or_init(|| cache).on(Arc::new(runtime.clone())))
//! }
//!
//! # async fn count() -> std::io::Result<u64> { Ok(1) }
//! // With `#[event(fetch)]`.
//! async fn fetch(request: Request, env: Env, ctx: Context) -> Result<Response> {
//!     let runtime = WorkerRuntime::new(&ctx);
//!     let cache = open(&env, &runtime).map_err(|error| error.to_string())?;
//!     // A load that others wait for goes on if this client leaves.
//!     let users = runtime.run_to_end(async move { cache.get_or_load("users", count).await });
//!     Response::ok(users.await?.map_err(|error| error.to_string())?.to_string())
//! }
//! ```
//!
//! A router is kept in the same way, and a request carries its runtime to the layers of
//! `larder-http` in their extension `RequestRuntime`.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod bounded;
mod durable;
mod error;
mod js;
mod kv;
mod prefilter;
mod runtime;
mod stored_counts;

pub use durable::{
    DurableRateLimits, DurableRateLimitsBuilder, DurableSessions, DurableSessionsBuilder,
    DurableStore, DurableStoreBuilder,
};
pub use kv::{KvRateLimits, KvSessions, KvStore, KvStoreBuilder};
#[cfg(any(test, feature = "testing"))]
pub use kv::{SimulatedKv, SimulatedKvReader};
pub use prefilter::Prefilter;
pub use runtime::WorkerRuntime;

#[doc(hidden)]
pub mod macros {
    //! What [`durable_object!`](crate::durable_object) expands to.

    pub use crate::durable::Object;
    pub use worker;
}
