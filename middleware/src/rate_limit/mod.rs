//! Limits of requests in front of any service.
//!
//! [`RateLimit`] is a layer. It asks a [`RateLimiter`] about each request, lets those through that
//! are within the limit and tells them in headers what is left, and answers the others itself.
//!
//! ```
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use larder_core::{MemoryRateLimits, Quota, RateLimiter};
//! use larder_http::RateLimit;
//! use larder_http::rate_limit::ClientIp;
//! use tower::ServiceExt;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let limiter =
//!     RateLimiter::builder(MemoryRateLimits::new()).quota(Quota::per_minute(1)).build()?;
//! let app: Router = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     .layer(RateLimit::new(limiter).by(ClientIp::behind_proxies(1)));
//!
//! let request = || Request::get("/").header("x-forwarded-for", "203.0.113.9").body(Body::empty());
//! let first = app.clone().oneshot(request()?).await?;
//! assert_eq!(first.status(), 200);
//! assert_eq!(first.headers()["x-ratelimit-limit"], "1");
//! assert_eq!(first.headers()["x-ratelimit-remaining"], "0");
//!
//! let second = app.oneshot(request()?).await?;
//! assert_eq!(second.status(), 429);
//! assert!(second.headers().contains_key("retry-after"));
//! assert_eq!(second.headers()["content-type"], "application/problem+json");
//! # Ok(()) }
//! ```
//!
//! # Which requests are counted together
//!
//! By the address of the client, a [`ClientIp`], unless [`RateLimit::by`] says otherwise. **Say how
//! many proxies stand in front of the server**: an address is taken from what those have written,
//! and never from what a client can write. A limit may also be by a header, the path, what a
//! function finds, which may have to wait for it, or several of these together, see [`By`].
//!
//! A request that has no key is [refused](MissingKey::Refuse) unless
//! [told otherwise](RateLimit::missing_key).
//!
//! A plan that has to be awaited is looked up in a layer outside of this one, or by
//! [`By::future`]: put its name into the key, and let
//! [`quotas_by`](larder_core::RateLimiterBuilder::quotas_by) tell the quotas by the key.
//!
//! # What a response tells
//!
//! | | status | |
//! | --- | --- | --- |
//! | within the limit | that of the service | the headers of the [`Dialect`]s |
//! | over it, or blocked for a time | 429 | the same, and `Retry-After` |
//! | on the limiter's list of those that are always refused | 403 | |
//! | the store failed, with [`FailurePolicy::Deny`] | 503 | `Retry-After` |
//! | it has no key | 400, or 500 where its address is not known | |
//!
//! Refusals are `application/problem+json`, with `Cache-Control: no-store`; see [`Refusal`], and
//! [`RateLimit::on_refusal`] for another answer. `Retry-After` is there where a wait helps (none does
//! where the request costs more than the limit), and
//! whoever waits as long will not be refused for the same reason, unless the quota was taken
//! meanwhile.
//!
//! The [`Decision`] is among the extensions of the request, for the service. Where it is out of the
//! ordinary, it is among those of the response too, for layers outside of this one: where the request
//! was refused, or [would have been](larder_core::rate_limit::Decision::is_shadowed), or the store
//! [had failed](larder_core::rate_limit::Decision::is_degraded).
//!
//! # Several limits
//!
//! One limiter has several quotas, which are decided together. Layers one in another decide one
//! after the other: what the inner one refuses the outer one has counted. The headers are then those
//! of the inner layer; in the [IETF's dialect](Dialect::IETF), of both.
//!
//! A route has a limit of its own by a layer of its own, over the same store: quotas of one name
//! count together.
//!
//! ```
//! use axum::{Router, routing::{get, post}};
//! use larder_core::{MemoryRateLimits, Quota, RateLimiter, minutes};
//! use larder_http::RateLimit;
//!
//! let limiter =
//!     RateLimiter::builder(MemoryRateLimits::new()).quota(Quota::per_minute(100)).build()?;
//! let strict = limiter.with_quotas([Quota::new(5, minutes(15)).named("sign-in")])?;
//! let app: Router = Router::new()
//!     .route("/sign-in", post(|| async {}).layer(RateLimit::new(strict)))
//!     .route("/", get(|| async { "hello" }))
//!     .layer(RateLimit::new(limiter));
//! # let _ = app;
//! # Ok::<(), larder_core::Error>(())
//! ```
//!
//! # Requests at the same time
//!
//! Where a [quota counts leases](larder_core::Quota::concurrent), a request holds its lease until
//! the response's body has ended or is dropped, or its future is. Give leases a life that is longer
//! than the longest response: one that outlives its lease is no longer counted.
//!
//! # On Workers
//!
//! A request that brings a [`RequestRuntime`](crate::RequestRuntime) is decided on that. Use
//! [`ClientIp::cloudflare`].
//!
//! [`RateLimiter`]: larder_core::RateLimiter
//! [`Decision`]: larder_core::rate_limit::Decision
//! [`FailurePolicy::Deny`]: larder_core::rate_limit::FailurePolicy::Deny

mod body;
mod by;
mod client_ip;
mod dialect;
mod future;
mod gate;
mod held;
mod layer;
mod meter;
mod refusal;
mod service;

pub use body::RateLimitBody;
pub use by::By;
pub(crate) use client_ip::push_address;
pub use client_ip::{ClientIp, PeerAddr};
pub use dialect::Dialect;
pub use future::RateLimitFuture;
pub use layer::{MissingKey, RateLimit};
pub use refusal::Refusal;
pub use service::RateLimitService;
