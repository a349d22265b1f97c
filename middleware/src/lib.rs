//! Tower middleware of Larder over [`http`] types, for axum, tonic, hyper and whatever else speaks
//! [`tower`](https://docs.rs/tower). Native and wasm32.
//!
//! In the order a reader needs it:
//!
//! - [`ResponseCache`], the layer that answers GET and HEAD requests from a
//!   [`Cache`](larder_core::Cache).
//! - [`response_cache`], what it caches and what not, and the types behind the layer.
//! - [`RequestRuntime`], what a request brings along where timers and tasks belong to requests, as
//!   on Workers.
//! - `policy` (not public): the rules of RFC 9111 as functions over request and response heads.
//!
//! The feature `axum` is for layers *inside* of nested routers of axum, which strip the prefix they
//! are nested at: with it the keys have the whole path.
//!
//! # Metrics
//!
//! Through the [`metrics`] facade, bound to the recorder that is installed when the layer is
//! created. Label `cache`: the name of the cache.
//!
//! | name | kind | labels | what |
//! | --- | --- | --- | --- |
//! | `larder_http_requests_total` | counter | `cache`, `result` | requests: `hit`, `miss`, `bypass`, as in `X-Cache` |
//! | `larder_http_bypassed_total` | counter | `cache`, `reason` | requests that passed by the cache: `method`, `authorization`, `range`, `no_store`, `precondition`, `upgrade`, `content`, `key` |
//! | `larder_http_not_stored_total` | counter | `cache`, `reason` | misses whose response was not stored: `status`, `set_cookie`, `no_store`, `private`, `no_cache`, `vary`, `trailers`, `stale`, `event_stream`, `too_large`, `length`, `layout`, `failed`, `abandoned` |

mod policy;
mod request_runtime;
pub mod response_cache;
#[cfg(test)]
mod runtime;

pub use request_runtime::RequestRuntime;
pub use response_cache::ResponseCache;
