//! How much of the API a client may have.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use larder_core::{Error, Quota, RateLimitStore, RateLimiter, RateLimiterBuilder, Runtime};
use larder_http::RateLimit;
use larder_http::rate_limit::ClientIp;

/// How many requests a minute of one client the API answers; zero for as many as it likes. 100
/// unless told otherwise.
///
/// ```
/// use larder_demo::PerMinute;
///
/// assert_eq!("250".parse(), Ok(PerMinute(250)));
/// assert_eq!(
///     "many".parse::<PerMinute>().unwrap_err().to_string(),
///     "\"many\" is no number of requests a minute: give one from 1 to 4294967295, or 0 for no limit"
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerMinute(pub u32);

impl Default for PerMinute {
    fn default() -> Self {
        Self(100)
    }
}

impl fmt::Display for PerMinute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for PerMinute {
    type Err = NoNumber;

    fn from_str(text: &str) -> Result<Self, NoNumber> {
        text.trim().parse().map(Self).map_err(|_| NoNumber(text.to_owned()))
    }
}

/// A text that is no [`PerMinute`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no number of requests a minute: give one from 1 to {max}, or 0 for no limit",
    max = u32::MAX
)]
pub struct NoNumber(String);

/// The limit of the API: so many requests a minute of a client.
///
/// ```
/// use larder_core::{MemoryRateLimits, RateLimiter};
/// use larder_demo::{Limits, PerMinute};
/// use larder_http::rate_limit::ClientIp;
///
/// let limiter = RateLimiter::builder(MemoryRateLimits::new());
/// let limits = Limits::new(limiter, PerMinute(100), ClientIp::peer())?;
/// # let _ = limits;
/// # Ok::<(), larder_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Limits {
    limiter: RateLimiter,
    client: ClientIp,
}

impl Limits {
    /// `requests` of each client, counted by `limiter`; none where there is no limit.
    ///
    /// # Errors
    ///
    /// Where the limiter's settings cannot work.
    pub fn new(
        limiter: RateLimiterBuilder,
        requests: PerMinute,
        client: ClientIp,
    ) -> Result<Option<Self>, Error> {
        if requests.0 == 0 {
            return Ok(None);
        }
        let quota = Quota::per_minute(requests.0.into());
        let limiter = limiter.name("api").quota(quota).build()?;
        Ok(Some(Self { limiter, client }))
    }

    pub(crate) fn on(&self, runtime: &Arc<dyn Runtime>) -> Self {
        Self { limiter: self.limiter.on(Arc::clone(runtime)), client: self.client.clone() }
    }

    /// Where the requests are counted.
    pub(crate) fn store(&self) -> &Arc<dyn RateLimitStore> {
        self.limiter.store()
    }

    /// In front of all paths, of which it limits those of the API. What counts for the page that
    /// shows the counts is left out: it asks every second.
    pub(crate) fn layer(&self) -> RateLimit {
        RateLimit::new(self.limiter.clone()).by(self.client.clone()).skip(|request| {
            let path = request.uri.path();
            !path.starts_with("/api/") || path == "/api/v1/stats"
        })
    }
}
