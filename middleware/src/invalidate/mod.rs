//! Invalidation after a request that changed something.
//!
//! [`Invalidate`] is a layer. When the service behind it has answered an unsafe request (RFC 9110
//! §9.2.1: any method but GET, HEAD, OPTIONS and TRACE) with a status of 2xx or 3xx, it removes from a
//! [`Cache`] what the request made stale, and then lets the answer out: who has the answer reads what
//! was written. What is stale is said in one place, by an [`EventMap`].
//!
//! ```
//! use axum::{Router, body::Body, http::Request, routing::put};
//! use larder_core::{Cache, EventMap, MemoryStore, Targets};
//! use larder_http::Invalidate;
//! use tower::ServiceExt;
//!
//! enum ShopEvent {
//!     UserChanged { id: u64 },
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let stale_by = EventMap::new().on(|event| match event {
//!     ShopEvent::UserChanged { id } => Targets::new().key(format!("user:{id}")).pattern("users:*"),
//! });
//! let cache = Cache::builder(MemoryStore::new()).namespace("shop").build()?;
//! let invalidate = Invalidate::new(cache.clone(), stale_by)
//!     .on("/api/v1/users/{id}", |change| Some(ShopEvent::UserChanged { id: change.parse("id")? }))?;
//!
//! let app: Router = Router::new()
//!     .route("/api/v1/users/{id}", put(|| async { "saved" }).delete(|| async { "gone" }))
//!     .layer(invalidate);
//!
//! cache.put_many([("user:42", "Zoé"), ("users:page:1", "Ada, Zoé")]).await?;
//! app.oneshot(Request::put("/api/v1/users/42").body(Body::empty())?).await?;
//! assert!(!cache.contains("user:42").await? && !cache.contains("users:page:1").await?);
//! # Ok(()) }
//! ```
//!
//! # What holds
//!
//! - **The answer waits**, for [`timeout`](Invalidate::timeout) at most. What takes longer goes on in
//!   the background.
//! - **A failure does not make an error of a success**: the change was made, and the client must not be
//!   told otherwise. It is logged and counted, and what could not be removed may be served until its
//!   time to live is over. With [`tell`](Invalidate::tell) the answer says so in `X-Invalidation`:
//!   `done`, `late` (still under way) or `failed`.
//! - **A client that goes away stops nothing**: once the service was called for an unsafe request, its
//!   work and the invalidation go on in the background, for [`finish`](Invalidate::finish) at most.
//!   So they do where a layer around this one gives the request up.
//! - **Nothing is invalidated by an answer of 4xx or 5xx.** A service that changes something and
//!   then answers so, calls [`EventMap::emit`] itself; so does one that changes things without a
//!   request.
//! - Loads that are under way are beaten as by each [`remove`](larder_core::Cache::remove), and other
//!   processes hear of it in the same way.
//!
//! # The responses of a response cache
//!
//! A [`ResponseCache`] keeps what a GET was answered with, and RFC 9111 §4.4 asks that it goes when its
//! URI was changed. [`responses`](Invalidate::responses) names the response caches: the response to GET
//! of the request's own URI is removed from them, with all its variants, and those of the URIs that the
//! answer names in `Location` and `Content-Location`, where they are of the same host. Other URIs that
//! show the change, such as pages of a list, are the application's to name.
//!
//! # Where it stands
//!
//! Paths are whole, as for the keys of the response cache: *inside* of a nested router of axum the
//! feature `axum` is needed, or the paths must be given without the router's own.
//!
//! [`Cache`]: larder_core::Cache
//! [`EventMap`]: larder_core::EventMap
//! [`EventMap::emit`]: larder_core::EventMap::emit
//! [`ResponseCache`]: crate::ResponseCache

mod change;
mod future;
mod layer;
mod meter;
mod service;

pub use change::Change;
pub use future::InvalidateFuture;
pub use layer::Invalidate;
pub use service::InvalidateService;
