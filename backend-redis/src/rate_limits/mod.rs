//! Rate limits, counted by scripts inside of Redis.
//!
//! [`check.lua`](self) settles a state, decides and writes. It answers with what stood there before,
//! and what a decision says besides is worked out here, by the rules themselves.

#[cfg(test)]
mod differential;
mod gathered;
mod layout;
mod packed;
mod script;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use larder_core::rate_limit::rule::{self, FixedWindow, Request, State};
use larder_core::rate_limit::{Check, Counting, Decision, RateLimitCapabilities, Rule};
use larder_core::{
    ExactRateLimitStore, Quota, RateLimitStore, Runtime, Store, StoreError, StoreErrorKind,
    Timestamp,
};
use redis::Value;

pub use layout::RateLimitLayout;

use crate::batch::on_keys;
use crate::client::Client;
use crate::config::LONGEST;
use crate::error::STORE;
use crate::gather::Gather;
use crate::outstanding::{Entered, Outstanding};
use crate::store::RedisStore;
use gathered::{CHECK, Checks, Question};
use layout::Keys;
use packed::{Ask, Found};
use script::{Run, Script};

/// A [`RateLimitStore`] on Redis 6 or newer, or Valkey: exact, and by the server's clock.
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
/// come back, is an error of [`StoreErrorKind::Config`]. Where Redis evicts keys
/// (`maxmemory-policy allkeys-…`), it forgets counts before their time.
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
    prefix: Cow<'static, str>,
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
        Ok(Self::new(RedisStore::connect(url).await?, true, Scripts::new(Script::new)))
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
        Ok(Self::new(RedisStore::lazy(url)?, true, Scripts::new(Script::new)))
    }

    pub(crate) fn on(store: RedisStore) -> Self {
        Self::new(store, false, Scripts::new(Script::new))
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
        Self { shared, layout, prefix: Cow::Borrowed(layout.prefix()) }
    }

    /// Keeps the counts in this layout, and sets the prefix of its keys to the layout's own.
    #[must_use]
    pub fn layout(self, layout: RateLimitLayout) -> Self {
        Self { layout, prefix: Cow::Borrowed(layout.prefix()), ..self }
    }

    /// Sets what every key in Redis begins with: what rate-limit-redis calls `prefix`. To be set
    /// after the layout.
    ///
    /// ```
    /// use larder_redis::{RateLimitLayout, RedisRateLimits};
    ///
    /// # fn run() -> Result<(), larder_core::StoreError> {
    /// let limits = RedisRateLimits::lazy("redis://127.0.0.1/")?
    ///     .layout(RateLimitLayout::Express)
    ///     .prefix("shop:rl:");
    /// # Ok(()) }
    /// # run().unwrap();
    /// ```
    #[must_use]
    pub fn prefix(self, prefix: impl Into<Cow<'static, str>>) -> Self {
        Self { prefix: prefix.into(), ..self }
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
            return Ok(Keys::whole_number(&self.prefix, key));
        }
        // Nothing between the braces would leave the slot to the whole of each key.
        if self.prefix.is_empty() || self.prefix.starts_with('}') {
            let detail = "the prefix is empty or begins with a closing brace, so that the keys of \
                          a check would not meet in one slot; give it another first character";
            return Err(config(operation, detail));
        }
        Ok(Keys::exact(&self.prefix, key, quotas))
    }

    async fn run(
        &self,
        operation: &'static str,
        script: &Script,
        keys: &Keys,
        arguments: &[&[u8]],
        repeatable: bool,
    ) -> Result<Value, StoreError> {
        let keys: Vec<&str> = keys.iter().collect();
        let run = Run { script, keys: &keys, arguments, repeatable };
        let client = self.client();
        client.call(operation, &run, client.deadline()).await
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

    /// The same, of a whole number.
    async fn count(
        &self,
        operation: &'static str,
        ask: Ask,
        (key, quota): (&str, Option<&Quota>),
        cost: u64,
    ) -> Result<Counted, StoreError> {
        let keys = Keys::whole_number(&self.prefix, key);
        let (limit, window) = match quota {
            Some(quota) => packed::whole_number(operation, quota)?,
            // Nothing is looked at but the block.
            None => (0, 0),
        };
        let ask = if quota.is_some() { ask } else { Ask::Peek };
        let adopts = self.layout == RateLimitLayout::Plain;
        let arguments = [ask as u64, limit, window, cost.min(packed::MOST), u64::from(adopts)]
            .map(|it| it.to_string());
        let arguments = arguments.each_ref().map(String::as_bytes);
        let script = &self.shared.scripts.count;
        let reply = self.run(operation, script, &keys, &arguments, ask == Ask::Peek).await?;
        Counted::of(&reply).ok_or_else(|| self.client().unexpected(operation, &reply))
    }
}

/// What was counted under a whole number.
struct Counted {
    count: u64,
    left: Duration,
    blocked: Duration,
}

impl Counted {
    fn of(reply: &Value) -> Option<Self> {
        let Value::Array(reply) = reply else { return None };
        let [count, Value::Int(left), Value::Int(blocked)] = reply.as_slice() else { return None };
        let count = match count {
            Value::BulkString(text) => {
                // Beyond what 64 bits hold it is beyond every limit.
                std::str::from_utf8(text).ok()?.parse().unwrap_or(u64::MAX)
            }
            _ => 0,
        };
        let part = |number: &i64| u64::try_from(*number).unwrap_or(0);
        let left = Duration::from_millis(part(left));
        Some(Self { count, left, blocked: Duration::from_micros(part(blocked)) })
    }

    fn decide(&self, check: &Check<'_>) -> Decision {
        if !self.blocked.is_zero() {
            return Decision::blocked(self.blocked);
        }
        // Redis told how long the window lasts yet, and not when that is.
        let now = Timestamp::EPOCH;
        let window = FixedWindow { count: self.count, ends: now + self.left };
        let state = (self.count > 0).then_some(State::FixedWindow(window));
        decide(check, now, || std::iter::once(state.as_ref()))
    }
}

/// What the script decided on what it found.
fn said(found: &Found, check: &Check<'_>) -> Decision {
    match found.blocked_for() {
        Some(time) => Decision::blocked(time),
        None => decide(check, found.now, || found.states()),
    }
}

/// What the script decided on these states, by the rules that it equals.
fn decide<'s, I: Iterator<Item = Option<&'s State>>>(
    check: &Check<'_>,
    now: Timestamp,
    states: impl Fn() -> I,
) -> Decision {
    let fits = |(state, quota)| rule::peek(state, now, check.cost, quota).allowed;
    // What is alone is decided by itself.
    let takes = check.takes && (check.quotas.len() == 1 || states().zip(check.quotas).all(fits));
    let request = Request::costing(check.cost).lease(check.lease);
    let mut states = states();
    check.decision(|quota| {
        let state = states.next().flatten();
        match takes {
            true => rule::check(state, now, request, quota).0,
            false => rule::peek(state, now, check.cost, quota),
        }
    })
}

fn config(operation: &'static str, detail: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::Config, STORE, operation, detail)
}

#[async_trait]
impl RateLimitStore for RedisRateLimits {
    fn name(&self) -> &'static str {
        STORE
    }

    fn capabilities(&self) -> &RateLimitCapabilities {
        &self.shared.capabilities
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        self.shared.store.runtime()
    }

    async fn check(&self, check: &Check<'_>) -> Result<Decision, StoreError> {
        const OPERATION: &str = CHECK;
        let _call = self.enter(OPERATION, check.key)?;
        let ask = if check.takes { Ask::Take } else { Ask::Peek };
        if self.layout == RateLimitLayout::Exact {
            let subject = (check.key, check.quotas);
            let question = self.question(OPERATION, ask, subject, check.cost, check.lease)?;
            return Ok(said(&self.ask(OPERATION, question, check.takes).await?, check));
        }
        let quota = self.layout.only(OPERATION, check.quotas)?;
        let counted = self.count(OPERATION, ask, (check.key, quota), check.cost).await?;
        Ok(counted.decide(check))
    }

    async fn refund(&self, key: &str, quotas: &[Quota], cost: u64) -> Result<(), StoreError> {
        const OPERATION: &str = "refund";
        let _call = self.enter(OPERATION, key)?;
        if self.layout == RateLimitLayout::Exact {
            let question = self.question(OPERATION, Ask::Refund, (key, quotas), cost, 0)?;
            self.ask(OPERATION, question, false).await?;
        } else if let Some(quota) = self.layout.only(OPERATION, quotas)? {
            self.count(OPERATION, Ask::Refund, (key, Some(quota)), cost).await?;
        }
        Ok(())
    }

    async fn release(&self, key: &str, quotas: &[Quota], lease: u64) -> Result<(), StoreError> {
        const OPERATION: &str = "release";
        let _call = self.enter(OPERATION, key)?;
        if self.layout != RateLimitLayout::Exact {
            return self.layout.only(OPERATION, quotas).map(drop);
        }
        let leased = quotas.iter().filter(|quota| quota.rule() == Rule::Concurrency);
        let leased: Vec<Quota> = leased.cloned().collect();
        if !leased.is_empty() {
            let question = self.question(OPERATION, Ask::Release, (key, &leased), 0, lease)?;
            self.ask(OPERATION, question, false).await?;
        }
        Ok(())
    }

    async fn reset(&self, key: &str, quotas: &[Quota]) -> Result<(), StoreError> {
        const OPERATION: &str = "reset";
        let _call = self.enter(OPERATION, key)?;
        if self.layout != RateLimitLayout::Exact {
            self.layout.only(OPERATION, quotas)?;
        }
        let keys = self.keys(OPERATION, key, quotas)?;
        let keys: Vec<&str> = keys.iter().collect();
        let client = self.client();
        let reply = client.call(OPERATION, &on_keys("UNLINK", &keys), client.deadline()).await?;
        client.integer(OPERATION, &reply).map(drop)
    }

    async fn block(&self, key: &str, time: Duration) -> Result<(), StoreError> {
        const OPERATION: &str = "block";
        let _call = self.enter(OPERATION, key)?;
        let client = self.client();
        let keys = self.keys(OPERATION, key, &[])?;
        let block = match self.layout {
            RateLimitLayout::Exact => keys.iter().next(),
            _ => keys.iter().nth(1),
        };
        let keys = [block.unwrap_or_default()];
        let micros = time.min(LONGEST).as_micros();
        if micros == 0 {
            let unlink = on_keys("UNLINK", &keys);
            let reply = client.call(OPERATION, &unlink, client.deadline()).await?;
            return client.integer(OPERATION, &reply).map(drop);
        }
        let (script, arguments) = (&self.shared.scripts.block, [micros.to_string()]);
        let arguments = arguments.each_ref().map(String::as_bytes);
        let run = Run { script, keys: &keys, arguments: &arguments, repeatable: true };
        match client.call(OPERATION, &run, client.deadline()).await? {
            Value::Okay => Ok(()),
            other => Err(client.unexpected(OPERATION, &other)),
        }
    }

    async fn ready(&self) -> Result<(), StoreError> {
        let _call = self.shared.calls.enter("ready")?;
        self.shared.store.ready().await
    }

    /// Closes the connection with them, but where it is that of a store.
    async fn close(&self) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let patience = shared.store.inner().config.command_timeout;
        let left = shared.calls.close(patience).await;
        if shared.owns_store {
            shared.store.close().await?;
        }
        if left == 0 {
            return Ok(());
        }
        let detail = format!("{left} calls did not end within {patience:?}");
        Err(StoreError::new(StoreErrorKind::Timeout, STORE, "close", detail))
    }
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
