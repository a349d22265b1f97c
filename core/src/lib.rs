//! The core of Larder: ports, policies, the typed cache and the memory store.
//!
//! Nothing here does I/O, knows HTTP or needs a certain runtime; all of it compiles to native
//! targets and to wasm32.
//!
//! In the order a reader needs it:
//!
//! - [`Cache`], what a program uses: typed values under keys, loaded once however many wait.
//! - [`Store`] and [`Capabilities`], the port that backends implement; [`MemoryStore`] is one.
//! - [`Runtime`], the port for time and background work.
//! - [`Layout`] and [`Codec`](codec::Codec), how an entry looks inside the store.
//! - [`RateLimiter`]: how much of something a key may have; see [`rate_limit`].
//! - [`Sessions`]: what a user's visits hold, and who is signed in; see [`session`].
//! - [`WriteBehind`]: writes that are acknowledged by a journal and saved later; see [`write_behind`].
//! - [`EventMap`]: which entries an event of the application makes stale; see [`events`].
//! - [`Invalidation`], the port for buses that tell other processes what was invalidated; see
//!   [`invalidation`].
//! - [`Error`] and [`StoreError`], what can go wrong.
//!
//! ```
//! use larder_core::{Cache, MemoryStore, minutes};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
//! let cache = Cache::builder(MemoryStore::new()).namespace("app").ttl(minutes(5)).build()?;
//!
//! let load = || async { Ok::<_, std::io::Error>(String::from("Zoë")) };
//! let name = cache.get_or_load("user:42:name", load).await?;
//! assert_eq!(*name, "Zoë");
//!
//! cache.remove("user:42:name").await?;
//! assert_eq!(cache.get::<String>("user:42:name").await?, None);
//! # Ok(()) }
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

mod cache;
pub mod codec;
mod epoch;
mod error;
pub mod events;
mod flight;
mod forgetful;
mod glob;
pub mod invalidation;
mod key;
mod layout;
mod lease;
mod local;
#[cfg(feature = "memory")]
mod memory;
mod meter;
pub mod rate_limit;
mod runtime;
pub mod session;
mod store;
mod stripes;
mod sync;
mod time;
mod wire;
pub mod write_behind;

pub use cache::{
    Cache, CacheBuilder, Cacheable, Claim, Entry, Followed, Follower, Leader, Lookup, RawValue,
    Removal,
};
pub use error::{Error, Result, SharedError, StoreError, StoreErrorKind};
pub use events::{EventMap, Targets};
pub use glob::Glob;
pub use invalidation::{Invalidation, LocalBus};
pub use key::{KeyError, check_key};
pub use layout::Layout;
pub use lease::{LeaseToken, Leases};
#[cfg(feature = "memory")]
pub use memory::{MemoryStore, MemoryStoreBuilder};
pub use meter::CacheStats;
pub use rate_limit::{
    ExactRateLimitStore, MemoryRateLimits, Quota, RateLimitStore, RateLimiter, RateLimiterBuilder,
};
pub use runtime::*;
pub use session::{
    MemorySessions, Session, SessionStore, Sessions, SessionsBuilder, StrongSessionStore,
};
pub use store::{Capabilities, Consistency, Cursor, PutEntry, ScanPage, Store};
pub use time::{Timestamp, days, hours, millis, minutes, seconds};
pub use write_behind::{
    DurableJournal, Journal, MemoryJournal, Sink, SinkError, WriteBehind, WriteBehindBuilder,
};
