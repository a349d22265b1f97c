//! Tower middleware of Larder over [`http`] types, for axum, tonic, hyper and whatever else speaks
//! [`tower`](https://docs.rs/tower). Native and wasm32.
//!
//! In the order a reader needs it:
//!
//! - [`ResponseCache`], the layer that answers GET and HEAD requests from a
//!   [`Cache`](larder_core::Cache).
//! - [`response_cache`], what it caches and what not, and the types behind the layer.
//! - [`Invalidate`], the layer that removes from a cache what a request has changed.
//! - [`invalidate`], which requests, and when, and the types behind the layer.
//! - [`RateLimit`], the layer that limits requests by a [`RateLimiter`](larder_core::RateLimiter).
//! - [`rate_limit`], by what requests are counted and what responses tell, and the types behind the
//!   layer.
//! - [`SessionLayer`], the layer that gives each request its [`Session`].
//! - [`session`], how its cookie is set up, who is signed in, and the types behind the layer.
//! - [`RequestRuntime`], what a request brings along where timers and tasks belong to requests, as
//!   on Workers.
//! - `policy` (not public): the rules of RFC 9111 as functions over request and response heads.
//!
//! The feature `axum` is for layers *inside* of nested routers of axum, which strip the prefix they
//! are nested at: with it the keys have the whole path. On native targets it also reads where a
//! connection comes from as axum's server tells it. Handlers can ask for their [`Session`].
//!
//! # Metrics
//!
//! Through the [`metrics`] facade, bound to the recorder that is installed when the layer is
//! created. Labels `cache` and `limiter`: the name of the cache, or of the limiter, which counts its
//! decisions itself.
//!
//! | name | kind | labels | what |
//! | --- | --- | --- | --- |
//! | `larder_http_requests_total` | counter | `cache`, `result` | requests: `hit`, `miss`, `bypass`, as in `X-Cache` |
//! | `larder_http_bypassed_total` | counter | `cache`, `reason` | requests that passed by the cache: `method`, `authorization`, `range`, `no_store`, `precondition`, `upgrade`, `content`, `key` |
//! | `larder_http_not_stored_total` | counter | `cache`, `reason` | misses whose response was not stored: `status`, `set_cookie`, `no_store`, `private`, `no_cache`, `vary`, `trailers`, `stale`, `event_stream`, `too_large`, `length`, `layout`, `failed`, `abandoned` |
//! | `larder_http_invalidations_total` | counter | `cache`, `result` | invalidations after requests that changed something: `done` or `failed` |
//! | `larder_http_late_invalidations_total` | counter | `cache` | those among them that the answer did not wait for to the end |
//! | `larder_http_invalidation_seconds` | histogram | `cache` | how long they took |
//! | `larder_http_keyless_requests_total` | counter | `limiter` | requests that had no key to be counted by |

pub mod invalidate;
mod key_text;
mod own_or_inner;
mod policy;
mod problem;
pub mod rate_limit;
mod request_runtime;
pub mod response_cache;
mod runtime;
pub mod session;

pub use invalidate::Invalidate;
pub use rate_limit::RateLimit;
pub use request_runtime::RequestRuntime;
pub use response_cache::ResponseCache;
pub use session::{Session, SessionLayer};
