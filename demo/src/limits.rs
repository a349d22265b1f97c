//! How much of the API a client may have.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use larder_core::rate_limit::FailurePolicy;
use larder_core::{
    Error, Quota, RateLimitStore, RateLimiter, RateLimiterBuilder, Runtime, minutes,
};
use larder_http::RateLimit;
use larder_http::rate_limit::ClientIp;
use sha2::{Digest, Sha256};

use crate::problem::Problem;

/// What a page shows of the server, and of all nodes.
const EVERY_SECOND: [&str; 2] = ["/api/v1/stats", "/api/v1/nodes"];

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

    /// In front of all paths, of which it limits those of the API. What the page asks every second is
    /// left out: figures that are in memory.
    pub(crate) fn layer(&self) -> RateLimit {
        RateLimit::new(self.limiter.clone()).by(self.client.clone()).skip(|request| {
            let path = request.uri.path();
            !path.starts_with("/api/") || EVERY_SECOND.contains(&path)
        })
    }
}

/// How often it may be tried to sign in or up: so many failures a minute for an account from one
/// address, and four times as many from the address in all.
///
/// Whoever signs in gets the attempt back, and so does the account where the address is refused. A sign-up counts in any case: it costs as much, and tells
/// whether an address has an account. While the counts' store is down this process counts by itself.
///
/// ```
/// use larder_core::{MemoryRateLimits, RateLimiter};
/// use larder_demo::{PerMinute, SignInLimits};
/// use larder_http::rate_limit::ClientIp;
///
/// let limiter = RateLimiter::builder(MemoryRateLimits::new());
/// let limits = SignInLimits::new(limiter, PerMinute(5), ClientIp::peer())?;
/// # let _ = limits;
/// # Ok::<(), larder_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SignInLimits {
    of_account: RateLimiter,
    of_address: RateLimiter,
    client: ClientIp,
}

/// An address that many share may have as many failures as so many accounts.
const ACCOUNTS_OF_AN_ADDRESS: u32 = 4;

impl SignInLimits {
    /// `attempts` of each client, counted by `limiter`; none where there is no limit.
    ///
    /// # Errors
    ///
    /// Where the limiter's settings cannot work.
    pub fn new(
        limiter: RateLimiterBuilder,
        attempts: PerMinute,
        client: ClientIp,
    ) -> Result<Option<Self>, Error> {
        if attempts.0 == 0 {
            return Ok(None);
        }
        let of_address = attempts.0.saturating_mul(ACCOUNTS_OF_AN_ADDRESS);
        let of_account = limiter
            .name("sign_in")
            .quota(Quota::per_minute(attempts.0.into()))
            .on_failure(FailurePolicy::local(1))
            .build()?;
        let of_address = of_account.with_quotas([Quota::per_minute(of_address.into())])?;
        Ok(Some(Self { of_account, of_address, client }))
    }

    pub(crate) fn on(&self, runtime: &Arc<dyn Runtime>) -> Self {
        Self {
            of_account: self.of_account.on(Arc::clone(runtime)),
            of_address: self.of_address.on(Arc::clone(runtime)),
            client: self.client.clone(),
        }
    }

    pub(crate) fn store(&self) -> &Arc<dyn RateLimitStore> {
        self.of_account.store()
    }

    pub(crate) fn client(&self) -> &ClientIp {
        &self.client
    }

    /// Takes one of the attempts of this address.
    pub(crate) async fn sign_up(&self, address: &str) -> Result<(), Problem> {
        Attempt::default().take(&self.of_address, format!("signin:{address}")).await.map(drop)
    }

    /// Takes one of the attempts of this address, and of the account that it is about.
    pub(crate) async fn sign_in(&self, address: &str, email: &str) -> Result<Attempt<'_>, Problem> {
        // What stands in keys can come into logs.
        let email = BASE64URL_NOPAD.encode(&Sha256::digest(email));
        let attempt = Attempt::default();
        let attempt = attempt.take(&self.of_account, format!("signin:{address}:{email}")).await?;
        attempt.take(&self.of_address, format!("signin:{address}")).await
    }
}

/// What an attempt has taken of each limit.
#[derive(Default)]
pub(crate) struct Attempt<'a> {
    taken: Vec<(&'a RateLimiter, String, u64)>,
}

impl<'a> Attempt<'a> {
    async fn take(mut self, limiter: &'a RateLimiter, key: String) -> Result<Self, Problem> {
        let refused = match limiter.check(&key).await {
            Ok(decision) if decision.is_allowed() => {
                self.taken.push((limiter, key, decision.taken()));
                return Ok(self);
            }
            Ok(decision) => {
                let wait = decision.retry_after().unwrap_or(minutes(1));
                Problem::too_often("it was tried too often to sign in from here", wait)
            }
            Err(error) => error.into(),
        };
        // What is refused was no attempt: an account is not to be used up by it.
        self.give_back().await;
        Err(refused)
    }

    /// Gives back what was taken. Where that fails the next minute does.
    pub(crate) async fn give_back(self) {
        for (limiter, key, taken) in self.taken {
            if let Err(error) = limiter.refund(&key, taken).await {
                tracing::warn!(%error, "what was no failure counts as an attempt to sign in");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use larder_core::{MemoryRateLimits, VirtualRuntime};

    use super::*;

    #[test]
    fn an_account_keeps_its_attempts_where_the_address_has_none() {
        let runtime = VirtualRuntime::seeded(1);
        let store = MemoryRateLimits::builder().on(runtime.clone());
        let limits = SignInLimits::new(RateLimiter::builder(store), PerMinute(2), ClientIp::peer());
        let limits = limits.unwrap().unwrap();
        runtime.block_on(async {
            for _ in 0..2 * ACCOUNTS_OF_AN_ADDRESS {
                assert!(limits.sign_up("here").await.is_ok());
            }
            for _ in 0..5 {
                let refused = limits.sign_in("here", "zoe@example.com").await.err().unwrap();
                assert_eq!(refused.status().as_u16(), 429);
            }
            // The address gets one back, and the account has not lost any.
            limits.of_address.refund("signin:here", 1).await.unwrap();
            let attempt = limits.sign_in("here", "zoe@example.com").await;
            assert!(attempt.is_ok(), "the account has no attempts left");
        });
    }
}
