//! A cache of responses in front of any service.
//!
//! [`ResponseCache`] is a layer. It answers GET and HEAD requests from a [`Cache`], and stores what
//! the service behind it answers, by the rules that HTTP has for shared caches (RFC 9111).
//!
//! ```
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use larder_core::{Cache, MemoryStore, minutes};
//! use larder_http::ResponseCache;
//! use tower::ServiceExt;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cache = Cache::builder(MemoryStore::new()).namespace("shop").build()?;
//! let app: Router = Router::new()
//!     .route("/products", get(|| async { "apples and pears" }))
//!     .layer(ResponseCache::new(cache).ttl(minutes(1)));
//!
//! let request = || Request::get("/products").body(Body::empty());
//! let first = app.clone().oneshot(request()?).await?;
//! assert_eq!(first.headers()["x-cache"], "MISS");
//! axum::body::to_bytes(first.into_body(), usize::MAX).await?;
//! # tokio::task::yield_now().await;
//!
//! let second = app.oneshot(request()?).await?;
//! assert_eq!(second.headers()["x-cache"], "HIT");
//! assert_eq!(second.headers()["age"], "0");
//! assert_eq!(axum::body::to_bytes(second.into_body(), usize::MAX).await?, "apples and pears");
//! # Ok(()) }
//! ```
//!
//! Every response tells in `X-Cache` where it comes from: `HIT` (the cache, or another request for
//! the same that was under way), `MISS` (the service; perhaps to be stored) or `BYPASS` (the
//! service, and the cache was not asked). A hit has its age in seconds in `Age`.
//!
//! # Which requests
//!
//! | request | what happens | RFC |
//! | --- | --- | --- |
//! | GET | answered from the cache, or stored | 9110 §9.3.1 |
//! | HEAD | answered from the stored response to a GET, without its body; never stored | 9111 §4 |
//! | another method | bypass; what is stored goes where an [`Invalidate`](crate::Invalidate) says so | 9111 §3, §4.4 |
//! | with `Authorization` | bypass, unless [`cache_authorized`](ResponseCache::cache_authorized) | 9111 §3.5 |
//! | with `Range` | bypass | 9111 §3.3 |
//! | `Cache-Control: no-store` | bypass | 9111 §5.2.1.5 |
//! | `Cache-Control: no-cache`, `Pragma: no-cache` | the service is asked, and its answer stored | 9111 §5.2.1.4, §5.4 |
//! | with `If-Match` or `If-Unmodified-Since` | bypass | 9111 §4.3.2 |
//! | with `If-None-Match` or `If-Modified-Since` | a hit is a full answer; a miss asks the service as is, and its 304 is not stored | 9111 §4.3.2 |
//! | with `Upgrade` | bypass | 9110 §7.8 |
//! | with content | bypass: the key does not know it | 9110 §9.3.1 |
//!
//! Other directives of a request are advice that a cache may ignore (9111 §5.2.1), and are ignored.
//! A change through POST, PUT or DELETE invalidates nothing by itself: put an
//! [`Invalidate`](crate::Invalidate) with [`responses`](crate::Invalidate::responses) onto the routes that
//! change something, or remove the keys of what was changed, see [Keys](#keys).
//!
//! # Which responses
//!
//! | response | what happens | RFC |
//! | --- | --- | --- |
//! | 200, 203, 204, 300, 301, 308 | stored | 9110 §15.1 |
//! | another status below 400 | stored only if it has a lifetime of its own | 9111 §3 |
//! | 206, or with `Content-Range` | not stored: a part | 9111 §3.3 |
//! | 304 | not stored: it speaks of a response that the client has | 9111 §4.3.4 |
//! | 400 and above | not stored | |
//! | `Set-Cookie` | not stored: it would give one user's cookie to all | 9111 §7.3 |
//! | made with a look into a [`Session`](crate::Session) | not stored: it is for one visitor | 9111 §5.2.2.7 |
//! | `Cache-Control: no-store`, `private` | not stored | 9111 §5.2.2.5, §5.2.2.7 |
//! | `Cache-Control: no-cache` | not stored, as it would have to be revalidated every time | 9111 §5.2.2.4 |
//! | `Vary: *` | not stored | 9111 §4.1 |
//! | `Vary` | stored for requests with the same values in the fields it names | 9111 §4.1 |
//! | `s-maxage`, `max-age`, `Expires` | the lifetime; the first of them counts | 9111 §4.2.1 |
//! | none of them | lives for [`ttl`](ResponseCache::ttl) | 9111 §4.2.2 |
//! | a lifetime that is over, invalid or contradictory | not stored | 9111 §4.2.1 |
//! | `Age`, or an old `Date` | shortens the life | 9111 §4.2.3 |
//! | trailer fields | passed on, not stored | 9110 §6.5 |
//! | `text/event-stream` | passed on, not stored: it has no end | |
//! | a body over [`max_body_bytes`](ResponseCache::max_body_bytes) | passed on as it comes, not stored | |
//! | a body that fails, ends early, or has another length than `Content-Length` | passed on, not stored | 9111 §3.3 |
//!
//! Fields of the connection (9110 §7.6.1) are not stored; a missing `Date` is added (9110 §6.6.1).
//! A response that differs by something that neither its URL nor its `Vary` tells (a cookie, say)
//! must say `private` or `no-store`, as for every cache on the way to the client.
//!
//! # Many at once
//!
//! Of many requests for the same, one is passed to the service and the others wait for its answer,
//! but not for longer than [`max_wait`](ResponseCache::max_wait). Where the answer turns out not to
//! be for all, they are let go at once, and for ten seconds nobody waits for that key again. When
//! the client of the first goes away, the next takes over.
//!
//! Bodies are passed on while they are copied, so that a miss costs no time to the first byte. The
//! store is written to after the body has gone out, in the background; a store that fails or is
//! slow costs a request [`lookup_timeout`](ResponseCache::lookup_timeout) at most for a look into
//! it. A key that is removed from the cache while its response is under way stays removed.
//!
//! # Keys
//!
//! By default `http-cache:GET:<host><path>?<query>`, with the host in lower case and the query's
//! parameters sorted by name. Stored responses can so be removed by pattern:
//! `cache.remove_matching("http-cache:GET:*/products*")`. The scheme is no part of the key. A key
//! that is too long for the store, or longer than 442 bytes, becomes `http-cache:sha256:<hash>`.
//!
//! The path is that of the URI that reaches the layer. axum strips the prefix of a nested router
//! before it calls the layers *inside* of it, and two routers would share their keys. Put the layer
//! on the outer router; or turn on the feature `axum`, with which the path is the whole one.
//!
//! Variants by `Vary` stand under `<key>:vary:<hash>`, and under the key the names of the fields.
//! When the key is removed, its variants can no longer be found.
//!
//! # One Redis with Node.js
//!
//! On a cache in [`Layout::Plain`](larder_core::Layout::Plain) the key is
//! `http-cache:<MD5 of the path and query as sent>`, and the value
//! `{"data":<body>,"contentType":<Content-Type>}`: the form of the usual caching middleware for
//! Express. Each reads what the other wrote. As that form knows no more, a response is stored only
//! if it is a 200 in UTF-8 with a `Content-Type`, and without `Vary` (its variants could not be
//! told apart) and `Content-Encoding` (its body could not be decoded); other fields are lost, hits
//! have no `Age`, and the host does not count. Use a cache without a namespace.
//!
//! [`Cache`]: larder_core::Cache

mod body;
mod find;
mod future;
mod key;
mod layer;
mod meter;
mod plain;
mod record;
mod responses;
mod service;
mod stored;
mod uncacheable;
mod variants;

pub use body::ResponseBody;
pub use future::ResponseFuture;
pub use layer::ResponseCache;
pub(crate) use responses::Responses;
pub use service::ResponseCacheService;

use http::HeaderName;

/// `HIT`, `MISS` or `BYPASS`.
const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
