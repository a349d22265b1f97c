//! Which entries an event makes stale: said once, in one place.
//!
//! A service that changes something knows *what happened* («user 42 was updated»), and should not have
//! to know which keys, lists and tags tell of it. An [`EventMap`] does: it turns an event into
//! [`Targets`], and [`Cache::invalidate`](crate::Cache::invalidate) removes them.
//!
//! ```
//! use larder_core::events::{EventMap, Targets};
//! use larder_core::{Cache, MemoryStore};
//!
//! enum ShopEvent {
//!     UserUpdated { id: u64 },
//!     PricesChanged,
//! }
//!
//! fn stale_by() -> EventMap<ShopEvent> {
//!     EventMap::new().on(|event| match event {
//!         ShopEvent::UserUpdated { id } => Targets::new().key(format!("user:{id}")).pattern("users:*"),
//!         ShopEvent::PricesChanged => Targets::new().tag("prices"),
//!     })
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
//! let cache = Cache::builder(MemoryStore::new()).namespace("shop").build()?;
//! let stale_by = stale_by();
//! cache.put_many([("user:42", "Zoé"), ("users:page:1", "Ada, Zoé")]).await?;
//!
//! // … the database is written, and then:
//! stale_by.emit(&cache, &ShopEvent::UserUpdated { id: 42 }).await?;
//! assert!(!cache.contains("user:42").await? && !cache.contains("users:page:1").await?);
//! # Ok(()) }
//! ```
//!
//! What an event means is tested without a cache: [`EventMap::targets`] is a pure function.

mod map;
mod targets;

pub use map::EventMap;
pub use targets::Targets;
