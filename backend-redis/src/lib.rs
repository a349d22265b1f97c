//! Larder on Redis and Valkey, one server, a Cluster, or behind sentinels: the store, over one
//! multiplexed connection to each server.
//!
//! In the order a reader needs it:
//!
//! - [`RedisStore`], the [`Store`](larder_core::Store): what it sends, and what it does when Redis
//!   is down.
//! - [`RedisRateLimits`], the [`RateLimitStore`](larder_core::RateLimitStore) on the same connection;
//!   [`RateLimitLayout`], what it shares with services of other makes.
//! - [`RedisSessions`], the [`SessionStore`](larder_core::SessionStore) on the same connection;
//!   [`ExpressSessions`], sessions that are shared with services on express-session.
//! - [`RedisJournal`], the [`Journal`](larder_core::Journal) of write-behind on the same connection.
//! - [`RedisBus`], the [`Invalidation`](larder_core::Invalidation) bus: what it promises when a
//!   connection breaks.
//! - [`RedisStoreBuilder`], its settings and their defaults.
//! - [`ConnectionEvent`], what happens to the connection; [`BreakerState`], whether calls go
//!   through.
//!
//! ```no_run
//! use larder_core::{Cache, minutes};
//! use larder_redis::RedisStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = RedisStore::connect("redis://127.0.0.1/").await?;
//! let cache = Cache::builder(store).namespace("app").ttl(minutes(5)).build()?;
//! # Ok(()) }
//! ```
//!
//! # Metrics
//!
//! Through the [`metrics`] facade, each with the label `address` (see [`RedisStore::address`]), which
//! on a Cluster is that of one node, but for gathering and overload.
//! Install the recorder before the first store is made.
//!
//! | name | kind | what |
//! | --- | --- | --- |
//! | `larder_redis_connections_total` | counter | connections that became ready |
//! | `larder_redis_connection_errors_total` | counter | attempts to connect that failed |
//! | `larder_redis_disconnections_total` | counter | connections that ended |
//! | `larder_redis_connected` | gauge | 1 while a connection stands, else 0 |
//! | `larder_redis_retries_total` | counter | requests that were tried again |
//! | `larder_redis_breaker_state` | gauge | 0 closed, 1 half-open, 2 open |
//! | `larder_redis_breaker_refusals_total` | counter | calls that the circuit breaker refused |
//! | `larder_redis_overload_refusals_total` | counter | calls beyond `max_outstanding` |
//! | `larder_redis_bus_messages_total` | counter | messages that listeners to the bus have heard |
//! | `larder_redis_bus_unreadable_total` | counter | those among them that could not be read |
//! | `larder_redis_bus_overflows_total` | counter | how often messages were dropped, as too many waited |
//! | `larder_redis_bus_losses_total` | counter | how often a listener lost its connection |
//! | `larder_redis_gathered_reads_total` | counter | reads that went out in an `MGET` |
//! | `larder_redis_gather_batch_keys` | histogram | keys in each of them |
//! | `larder_redis_gathered_checks_total` | counter | checks of rate limits that went out with others |
//! | `larder_redis_gather_batch_checks` | histogram | checks in each run of the script |
//! | `larder_redis_gathered_appends_total` | counter | writes that were appended to a journal with others |
//! | `larder_redis_gather_batch_appends` | histogram | writes in each run of the script |
//!
//! # Logs
//!
//! Through [`tracing`]. An outage is one error when it begins, and one line with its length when
//! calls go through again; the attempts in between are logged at `DEBUG`. Passwords are never
//! logged.
//!
//! # Features
//!
//! - `tls` (default): `rediss://`, by rustls with the ring provider and Mozilla's authorities.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backoff;
mod batch;
mod breaker;
mod builder;
mod bus;
mod client;
mod cluster;
mod config;
mod connect;
mod connection;
mod epochs;
mod error;
mod events;
mod gate;
mod gather;
mod journal;
mod lasting;
mod limits;
mod link;
mod log;
mod meter;
mod outstanding;
mod rate_limits;
mod scan;
mod script;
mod sentinel;
mod server;
mod sessions;
mod slot;
mod store;
#[cfg(feature = "tls")]
mod tls;
mod ttl;
mod url;

pub use builder::RedisStoreBuilder;
pub use bus::RedisBus;
pub use events::ConnectionEvent;
pub use gate::BreakerState;
pub use journal::RedisJournal;
pub use rate_limits::{RateLimitLayout, RedisRateLimits};
pub use sessions::{ExpressCookie, ExpressSessions, RedisSessions};
pub use store::RedisStore;
