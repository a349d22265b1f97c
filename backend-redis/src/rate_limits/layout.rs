//! What stands in Redis, and under which keys.

use larder_core::rate_limit::Rule;
use larder_core::{Quota, StoreError};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::config;
use crate::slot::tag_for;

/// What Redis has of a key's counts.
///
/// | | keys of `203.0.113.9`, by a limiter that names no namespace | value |
/// | --- | --- | --- |
/// | [`Exact`](Self::Exact) | `{limit:ratelimit:203.0.113.9}:minute` for each quota, by its name | a state of the quota's rule |
/// | [`Plain`](Self::Plain) | `ratelimit:203.0.113.9` | a whole number that expires |
/// | [`Express`](Self::Express) | `rl:203.0.113.9` | a whole number that expires |
///
/// A block stands beside them: under `{limit:ratelimit:203.0.113.9}`, or under
/// `{rl:203.0.113.9}:blocked`. On a Redis Cluster all keys of one check are in one slot.
///
/// # Whole numbers
///
/// They are shared with programs that count by `INCR` and an expiry, and hold one quota, a
/// [`Rule::FixedWindow`]; everything else is an error of
/// [`StoreErrorKind::Config`](larder_core::StoreErrorKind::Config). Their windows end on whole
/// milliseconds, and what a program asks has to be the same limit and window everywhere.
///
/// Their keys are the limiter's, with nothing added: its namespace, a `:`, and what is limited. The
/// namespace is `ratelimit` or `rl` unless the limiter
/// [names another](larder_core::rate_limit::RateLimiterBuilder::namespace), as where rate-limit-redis
/// has another `prefix`.
///
/// Larder adds nothing for what it refuses; the others do, as they add first and look then. So the
/// number can be above the limit: nothing is left, and it ends with its window all the same. A
/// refund by Larder then takes from what was refused, and lets nobody through before the number is
/// below the limit again: in doubt the limit is stricter, never wider. A block is Larder's alone.
///
/// ```
/// use larder_core::{Quota, RateLimiter};
/// use larder_redis::{RateLimitLayout, RedisStore};
///
/// # fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisStore::lazy("redis://127.0.0.1/")?;
/// let limits = store.rate_limits().layout(RateLimitLayout::Express);
/// // Counts `203.0.113.9` under `rl:203.0.113.9`.
/// let limiter = RateLimiter::builder(limits).quota(Quota::per_minute(100)).build()?;
/// # Ok(()) }
/// # run().unwrap();
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum RateLimitLayout {
    /// Larder's own: every rule, any number of quotas, exact to the microsecond.
    #[default]
    Exact,
    /// `INCR`, and `EXPIRE` where that said 1, as many services do it by hand. A number that has
    /// lost its expiry, as where such a service ended between the two, gets one of a whole window.
    Plain,
    /// That of rate-limit-redis, the store of express-rate-limit. A number without an expiry is
    /// over, as it is there.
    Express,
}

impl RateLimitLayout {
    /// The namespace of a limiter that names none.
    pub(super) fn namespace(self) -> &'static str {
        match self {
            Self::Exact | Self::Plain => "ratelimit",
            Self::Express => "rl",
        }
    }

    /// The one quota that a whole number can hold.
    pub(super) fn only<'q>(
        self,
        operation: &'static str,
        quotas: &'q [Quota],
    ) -> Result<Option<&'q Quota>, StoreError> {
        let said = match quotas {
            [] => return Ok(None),
            [quota] if quota.rule() == Rule::FixedWindow => return Ok(Some(quota)),
            [quota] => format!("the quota {:?} counts by {:?}", quota.name(), quota.rule()),
            quotas => format!("there are {} quotas", quotas.len()),
        };
        let detail = format!(
            "{said}, and the layout {self:?} holds one quota by fixed window only; use \
             RateLimitLayout::Exact for others"
        );
        Err(config(operation, detail))
    }
}

/// Keys of one subject, one after the other, in one allocation.
#[derive(Debug)]
pub(super) struct Keys {
    text: String,
    /// Where each ends.
    ends: Vec<u32>,
}

/// Would end the part of a key that decides on its slot, or says that it was encoded.
const ENCODED: &AsciiSet = &CONTROLS.add(b'}').add(b'%');

impl Keys {
    /// The key of the block, and one for each quota.
    ///
    /// What is between the first brace and the next closing one decides on the slot, be that a part
    /// of the key only. No two subjects meet: behind the last closing brace is the quota.
    pub(super) fn exact(prefix: &str, key: &str, quotas: &[Quota]) -> Self {
        let base = prefix.len() + key.len() + 2;
        let names = quotas.iter().map(|it| base + 1 + it.name().len()).sum::<usize>();
        let mut keys = Self {
            text: String::with_capacity(base + names),
            ends: Vec::with_capacity(1 + quotas.len()),
        };
        let begin = |text: &mut String| {
            text.extend(["{", prefix, key, "}"]);
        };
        begin(&mut keys.text);
        keys.end();
        for quota in quotas {
            begin(&mut keys.text);
            keys.text.push(':');
            keys.text.extend(utf8_percent_encode(quota.name(), ENCODED));
            keys.end();
        }
        keys
    }

    /// The key of the count, and that of the block, in the same slot.
    pub(super) fn whole_number(key: &str) -> Self {
        let tag = tag_for(key);
        // What is not said by the tag.
        let rest = if tag == key { "" } else { key };
        let mut keys = Self { text: key.to_owned(), ends: Vec::with_capacity(2) };
        keys.end();
        keys.text.extend(["{", &tag, "}", rest, ":blocked"]);
        keys.end();
        keys
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    fn end(&mut self) {
        self.ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let end = *end as usize;
            let key = self.text.get(start..end).unwrap_or_default();
            start = end;
            key
        })
    }
}
