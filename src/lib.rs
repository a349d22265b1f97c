//! Cached values, cached HTTP responses, rate limits and sessions: the same on a native server
//! and at the edge.

#[doc(inline)]
pub use larder_core::*;

#[cfg(feature = "http")]
#[doc(inline)]
pub use larder_http as http;

#[cfg(feature = "redis")]
#[doc(inline)]
pub use larder_redis as redis;
