//! Cached values, cached HTTP responses, rate limits and sessions: the same on a native server and wherever
//! wasm32 runs.
//!
//! This crate only brings the others together. In the order a reader needs it:
//!
//! - [`Cache`]: typed values under keys, loaded once however many callers wait.
//!   [`CacheBuilder::local`] keeps some of them in front of the store, and an [`Invalidation`], such as
//!   [`LocalBus`] or `redis::RedisBus` (feature `redis`), tells all processes what has changed.
//! - [`MemoryStore`] (feature `memory`), `redis::RedisStore` (feature `redis`), `kv::KvStore` and
//!   `kv::DurableStore` (feature `kv`): where they are kept.
//! - `http::ResponseCache` (feature `http`): a tower layer that answers GET and HEAD from a cache.
//! - [`EventMap`]: which entries an event of the application makes stale. `http::Invalidate` (feature
//!   `http`) is a tower layer that invalidates them after a request that changed something.
//! - [`RateLimiter`]: how much of something a key may have, by one or several [`Quota`]s;
//!   [`MemoryRateLimits`] counts in this process, `redis::RedisRateLimits` (feature `redis`) in Redis.
//!   `http::RateLimit` (feature `http`) is a tower layer that asks one about each request.
//! - [`Sessions`]: what a visitor's requests share, and who is signed in; [`MemorySessions`] keeps
//!   them in this process, `redis::RedisSessions` (feature `redis`) in Redis, or beside
//!   Express `redis::ExpressSessions`, `kv::DurableSessions`
//!   and `kv::KvSessions` (feature `kv`) on Workers. `http::SessionLayer` (feature `http`) is a tower
//!   layer that gives each request its session.
//! - [`WriteBehind`]: writes that a journal acknowledges and a sink saves later: `sqlite::SqliteJournal`
//!   (feature `sqlite`) in a file, `redis::RedisJournal` (feature `redis`) in Redis, [`MemoryJournal`]
//!   for tests.
//! - [`Store`], [`RateLimitStore`], [`SessionStore`], [`Invalidation`], `write_behind::Journal`, [`Runtime`]: what a backend, or another platform, has to implement.
//!
//! | feature | brings |
//! | --- | --- |
//! | `memory` (default) | the store in this process |
//! | `tokio` (default) | the clock, timers and tasks of Tokio, on native targets |
//! | `browser` | the clock, timers and tasks of a browser, on wasm32 |
//! | `redis` | the stores on Redis and Valkey, on native targets |
//! | `sqlite` | the journal of write-behind in an SQLite file, on native targets |
//! | `kv` | the stores on KV and Durable Objects, and the runtime of a request, on Workers |
//! | `http` | the tower middleware |
//! | `axum` | the same, with whole paths in keys inside of nested routers of axum, the address of the connection, and sessions as handlers ask for them |
//! | `encrypted-cookies` | cookies of sessions in which an id cannot be read |
//! | `tower-sessions` | the stores of sessions for applications on the crate tower-sessions |
//! | `msgpack` | the MessagePack codec |
//! | `testing` | a virtual clock |
//!
//! ```
//! use larder::{Cache, MemoryStore, minutes};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> larder::Result<()> {
//! let cache = Cache::builder(MemoryStore::new()).namespace("app").ttl(minutes(5)).build()?;
//! let name = cache
//!     .get_or_load("user:42:name", async || Ok::<_, std::io::Error>("Zoë".to_string()))
//!     .await?;
//! assert_eq!(*name, "Zoë");
//! # Ok(()) }
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

#[doc(inline)]
pub use larder_core::*;

#[cfg(feature = "http")]
#[doc(inline)]
pub use larder_http as http;

#[cfg(feature = "kv")]
#[doc(inline)]
pub use larder_kv as kv;

#[cfg(feature = "redis")]
#[doc(inline)]
pub use larder_redis as redis;

#[cfg(feature = "sqlite")]
#[doc(inline)]
pub use larder_sqlite as sqlite;

#[cfg(all(doctest, feature = "http", feature = "redis"))]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(all(doctest, feature = "axum", feature = "redis"))]
#[doc = include_str!("../docs/rate-limits.md")]
struct RateLimitGuide;

#[cfg(all(doctest, feature = "axum", feature = "redis", feature = "tower-sessions"))]
#[doc = include_str!("../docs/sessions.md")]
struct SessionGuide;

#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../docs/write-behind.md")]
struct WriteBehindGuide;

#[cfg(all(doctest, feature = "axum", feature = "redis"))]
#[doc = include_str!("../docs/from-express.md")]
struct FromExpressGuide;
