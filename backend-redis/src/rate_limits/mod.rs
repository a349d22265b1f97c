//! Rate limits, counted by scripts inside of Redis.
//!
//! A script settles a state, decides and writes. It answers with what stood there before, and what a
//! decision says besides is worked out [here](decide), by the rules themselves;
//! `docs/decisions/0012-redis-decides-and-the-rules-explain.md` says why.

mod decide;
#[cfg(test)]
mod differential;
mod gathered;
mod layout;
mod packed;
mod port;
mod script;
mod whole_number;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use larder_core::rate_limit::{Counting, RateLimitCapabilities};
use larder_core::{ExactRateLimitStore, Quota, StoreError, StoreErrorKind};

pub use layout::RateLimitLayout;

use crate::client::Client;
use crate::error::STORE;
use crate::gather::Gather;
use crate::outstanding::{Entered, Outstanding};
use crate::script::Script;
use crate::store::RedisStore;
use gathered::{Checks, Question};
use layout::Keys;
use packed::{Ask, Found};
use script::timed;

/// A [`RateLimitStore`](larder_core::RateLimitStore) on Redis 6 or newer, or Valkey: exact, and by
/// the server's clock.
///
/// Clones share everything. It is made of a store, and shares its connection, its circuit breaker
/// and its time-outs; or connects by itself.
///
/// | method | commands |
/// | --- | --- |
/// | `check`, `refund`, `release`, `block` | one `EVALSHA`; `EVAL` where Redis does not know the script |
/// | `reset` | `UNLINK` |
/// | `ready` | `PING` |
///
/// One check is one round trip and one step for Redis, whatever the number of its quotas. Every key
/// has an expiry from the moment it exists: when nothing counts any more, and a tenth of a second.
/// [`RateLimitLayout`] tells the keys.
///
/// Redis counts exactly below 2^52. A quota that allows more, or that takes more than a century to
/// come back, is an error of [`StoreErrorKind::Config`], which a limiter meets when it is built.
/// Where Redis evicts keys (`maxmemory-policy allkeys-…`), it forgets counts before their time.
///
/// # Gathered checks
///
/// As with [reads](RedisStore#gathered-reads): while few checks are on their way each goes out at
/// once; beyond eight they are gathered, up to 128 into one run of the script, which decides on them
/// one after the other, in the order in which they began. No check waits for a timer. On a Cluster,
/// where keys of two checks are seldom in one slot, each goes alone.
///
/// # When Redis is down
///
/// As with [`RedisStore`](RedisStore#when-redis-is-down), but for one thing: a check or refund that
/// was sent, and whose answer was lost with the connection, is not sent again, as it may have been
/// counted. It fails, and a [`RateLimiter`](larder_core::RateLimiter) decides by its
/// [`FailurePolicy`](larder_core::rate_limit::FailurePolicy).
///
/// # Example
///
/// ```no_run
/// use larder_core::{Quota, RateLimiter};
/// use larder_redis::RedisRateLimits;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limits = RedisRateLimits::connect("redis://127.0.0.1/").await?;
/// let limiter = RateLimiter::builder(limits)
///     .quota(Quota::per_second(10).burst(20))
///     .quota(Quota::per_day(1_000))
///     .build()?;
/// assert!(limiter.check("203.0.113.9").await?.is_allowed());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RedisRateLimits {
    shared: Arc<Shared>,
    layout: RateLimitLayout,
    /// Of the exact layout, where it was set.
    prefix: Option<Cow<'static, str>>,
}

struct Shared {
    store: RedisStore,
    /// Whether the connection is closed with it.
    owns_store: bool,
    calls: Outstanding,
    scripts: Scripts,
    checks: Arc<Gather<Checks>>,
    capabilities: RateLimitCapabilities,
}

struct Scripts {
    check: Arc<Script>,
    count: Script,
    block: Script,
}

impl Scripts {
    fn new(script: impl Fn(&str) -> Script) -> Self {
        Self {
            check: Arc::new(script(include_str!("check.lua"))),
            count: script(include_str!("count.lua")),
            block: script(include_str!("block.lua")),
        }
    }
}

impl RedisRateLimits {
    /// Connects to the Redis at `url`, with the defaults of
    /// [`RedisStoreBuilder`](crate::RedisStoreBuilder), and waits until it is ready.
    ///
    /// For other settings build a [`RedisStore`], and take its
    /// [`rate_limits`](RedisStore::rate_limits).
    ///
    /// # Errors
    ///
    /// As [`RedisStore::connect`].
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), larder_core::StoreError> {
    /// let limits = larder_redis::RedisRateLimits::connect("redis://127.0.0.1/").await?;
    /// # Ok(()) }
    /// ```
    pub async fn connect(url: impl AsRef<str>) -> Result<Self, StoreError> {
        Ok(Self::new(RedisStore::connect(url).await?, true, Scripts::new(timed)))
    }

    /// Limits on the Redis at `url`, with the same defaults, that connect when they are first used.
    ///
    /// # Errors
    ///
    /// A URL that cannot work.
    ///
    /// ```
    /// # fn run() -> Result<(), larder_core::StoreError> {
    /// let limits = larder_redis::RedisRateLimits::lazy("redis://127.0.0.1/")?;
    /// # Ok(()) }
    /// # run().unwrap();
    /// ```
    pub fn lazy(url: impl AsRef<str>) -> Result<Self, StoreError> {
        Ok(Self::new(RedisStore::lazy(url)?, true, Scripts::new(timed)))
    }

    pub(crate) fn on(store: RedisStore) -> Self {
        Self::new(store, false, Scripts::new(timed))
    }

    fn new(store: RedisStore, owns_store: bool, scripts: Scripts) -> Self {
        let inner = store.inner();
        let calls = Outstanding::new(inner.config.max_outstanding, inner.client.meter.clone());
        let capabilities =
            RateLimitCapabilities::new(Counting::Exact).max_key_bytes(inner.config.max_key_bytes);
        let layout = RateLimitLayout::default();
        let (script, client) = (Arc::clone(&scripts.check), Arc::clone(&inner.client));
        let checks = Checks { script, apart: AtomicBool::new(false) };
        let checks = Arc::new(Gather::new(client, checks, inner.config.max_outstanding));
        let shared = Arc::new(Shared { store, owns_store, calls, scripts, checks, capabilities });
        Self { shared, layout, prefix: None }
    }

    /// Keeps the counts in this layout. It also says which namespace a limiter has that names none.
    ///
    /// ```
    /// use larder_core::RateLimitStore;
    /// use larder_redis::{RateLimitLayout, RedisRateLimits};
    ///
    /// # fn run() -> Result<(), larder_core::StoreError> {
    /// let limits = RedisRateLimits::lazy("redis://127.0.0.1/")?.layout(RateLimitLayout::Express);
    /// assert_eq!(limits.default_namespace(), "rl");
    /// # Ok(()) }
    /// # run().unwrap();
    /// ```
    #[must_use]
    pub fn layout(self, layout: RateLimitLayout) -> Self {
        Self { layout, ..self }
    }

    /// Sets what the keys of [`RateLimitLayout::Exact`] begin with, within their braces: `limit:`
    /// by default. The other layouts have the limiter's keys as they are, and fail with
    /// [`StoreErrorKind::Config`] where a prefix is set.
    ///
    /// ```
    /// use larder_redis::RedisRateLimits;
    ///
    /// # fn run() -> Result<(), larder_core::StoreError> {
    /// let limits = RedisRateLimits::lazy("redis://127.0.0.1/")?.prefix("shop:limit:");
    /// # Ok(()) }
    /// # run().unwrap();
    /// ```
    #[must_use]
    pub fn prefix(self, prefix: impl Into<Cow<'static, str>>) -> Self {
        Self { prefix: Some(prefix.into()), ..self }
    }

    /// Where the counts are, as a URL without user and password.
    ///
    /// ```
    /// # use larder_redis::RedisRateLimits;
    /// let limits = RedisRateLimits::lazy("redis://me:secret@cache.internal/2").unwrap();
    /// assert_eq!(limits.address(), "redis://cache.internal:6379/2");
    /// ```
    #[must_use]
    pub fn address(&self) -> &str {
        self.shared.store.address()
    }

    fn client(&self) -> &Client {
        &self.shared.store.inner().client
    }

    fn enter(&self, operation: &'static str, key: &str) -> Result<Entered<'_>, StoreError> {
        let call = self.shared.calls.enter(operation)?;
        self.shared.store.inner().config.check_key(operation, key)?;
        Ok(call)
    }

    /// The key of the block, and those of the quotas.
    fn keys(
        &self,
        operation: &'static str,
        key: &str,
        quotas: &[Quota],
    ) -> Result<Keys, StoreError> {
        if self.layout != RateLimitLayout::Exact {
            return match &self.prefix {
                None => Ok(Keys::whole_number(key)),
                Some(prefix) => {
                    let detail = format!(
                        "there is the prefix {prefix:?}, and the layout {:?} has the limiter's \
                         keys as they are; leave it out, and set RateLimiterBuilder::namespace",
                        self.layout
                    );
                    Err(config(operation, detail))
                }
            };
        }
        let prefix = self.prefix.as_deref().unwrap_or("limit:");
        // Nothing between the braces would leave the slot to the whole of each key.
        if prefix.is_empty() || prefix.starts_with('}') {
            let detail = "the prefix is empty or begins with a closing brace, so that the keys of \
                          a check would not meet in one slot; give it another first character";
            return Err(config(operation, detail));
        }
        Ok(Keys::exact(prefix, key, quotas))
    }

    fn question(
        &self,
        operation: &'static str,
        ask: Ask,
        (key, quotas): (&str, &[Quota]),
        cost: u64,
        lease: u64,
    ) -> Result<Question, StoreError> {
        let keys = self.keys(operation, key, quotas)?;
        let asked = packed::ask(operation, ask, quotas, cost, lease)?;
        // A peek only brings clocks back into line, and a lease is released once.
        let repeatable = matches!(ask, Ask::Peek | Ask::Release);
        Ok(Question { keys, asked, repeatable })
    }

    /// What stood under each key, and when.
    async fn ask(
        &self,
        operation: &'static str,
        question: Question,
        gathers: bool,
    ) -> Result<Found, StoreError> {
        let (client, checks) = (self.client(), self.shared.checks.gathers());
        let deadline = client.deadline();
        if gathers
            && question.keys.len() <= gathered::MOST_KEYS
            && self.shared.store.inner().config.gather
            && !checks.apart.load(Ordering::Relaxed)
        {
            self.shared.checks.ask(question, deadline).await
        } else {
            Box::pin(checks.ask(operation, client, &question, deadline)).await
        }
    }
}

fn config(operation: &'static str, detail: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::Config, STORE, operation, detail)
}

impl ExactRateLimitStore for RedisRateLimits {}

impl fmt::Debug for RedisRateLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisRateLimits")
            .field("store", &self.shared.store)
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}
