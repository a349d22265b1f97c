//! How a response tells what is left.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use http::header::{Entry, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue};
use larder_core::Timestamp;
use larder_core::rate_limit::{Decision, QuotaReport, Rule};

/// The names and the form in which headers tell what a [`Decision`] says.
///
/// Times are in whole seconds and rounded up, so that nobody comes too early. Where a response has
/// such headers already, from a layer further inside, those stand; [`IETF`](Self::IETF) adds to
/// them.
///
/// A limit may be told in several dialects, or in none:
///
/// ```
/// use larder_core::{MemoryRateLimits, Quota, RateLimiter};
/// use larder_http::RateLimit;
/// use larder_http::rate_limit::Dialect;
///
/// let limiter =
///     RateLimiter::builder(MemoryRateLimits::new()).quota(Quota::per_minute(100)).build()?;
/// let layer = RateLimit::new(limiter.clone()).headers([Dialect::X_RATE_LIMIT, Dialect::IETF]);
/// let silent = RateLimit::new(limiter).headers([]);
/// # let _ = (layer, silent);
/// # Ok::<(), larder_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Dialect(Kind);

type Write = Arc<dyn Fn(&Decision, Timestamp, &mut HeaderMap) + Send + Sync>;

#[derive(Clone)]
enum Kind {
    XRateLimit,
    Draft6,
    Draft7,
    Ietf,
    Own(Write),
}

impl Dialect {
    /// What most services send, and the default: `X-RateLimit-Limit`, `X-RateLimit-Remaining` and
    /// `X-RateLimit-Reset`, which is in seconds since the UNIX epoch. Of several quotas the one that
    /// binds. Equal to the `legacyHeaders` of express-rate-limit.
    pub const X_RATE_LIMIT: Self = Self(Kind::XRateLimit);

    /// As in draft-ietf-httpapi-ratelimit-headers-06: `RateLimit-Limit`, `RateLimit-Remaining`,
    /// `RateLimit-Reset`, which is in seconds from now, and `RateLimit-Policy` with all quotas but
    /// those that count leases.
    /// Equal to the `draft-6` of express-rate-limit.
    pub const DRAFT_6: Self = Self(Kind::Draft6);

    /// As in draft-ietf-httpapi-ratelimit-headers-07: the same values in one field,
    /// `RateLimit: limit=100, remaining=50, reset=30`. Equal to the `draft-7` of
    /// express-rate-limit.
    pub const DRAFT_7: Self = Self(Kind::Draft7);

    /// As in draft-ietf-httpapi-ratelimit-headers since its version 08, of which 11 is the newest:
    ///
    /// ```text
    /// RateLimit-Policy: "burst";q=100;w=60, "daily";q=1000;w=86400
    /// RateLimit: "burst";r=50;t=30, "daily";r=950;t=51000
    /// ```
    ///
    /// All quotas, first the one that binds. The `t` of one that refuses is the time after which
    /// it lets the request pass; of several the longest is that of `Retry-After`. Where there is a
    /// `Retry-After`, quotas that allow have no `t`, as it would be later. Of GCRA, `q` is the burst
    /// and `w` the time that brings it; leases are `qu="concurrent-requests"`, without a window. The
    /// draft may still change.
    pub const IETF: Self = Self(Kind::Ietf);

    /// A dialect of one's own: writes what the decision says into the headers of the response. The
    /// decision's times count from the time that is told beside it, which is when it was made.
    ///
    /// ```
    /// use larder_http::rate_limit::Dialect;
    ///
    /// let degraded = Dialect::new(|decision, _, headers| {
    ///     if decision.is_degraded() {
    ///         headers.insert("x-ratelimit-degraded", http::HeaderValue::from_static("1"));
    ///     }
    /// });
    /// # let _ = degraded;
    /// ```
    pub fn new(
        write: impl Fn(&Decision, Timestamp, &mut HeaderMap) + Send + Sync + 'static,
    ) -> Self {
        Self(Kind::Own(Arc::new(write)))
    }

    pub(super) fn write(&self, told: &Told<'_>, headers: &mut HeaderMap) {
        match &self.0 {
            Kind::XRateLimit => x_rate_limit(told, headers),
            Kind::Draft6 => draft_6(told, headers),
            Kind::Draft7 => draft_7(told, headers),
            Kind::Ietf => ietf(told, headers),
            Kind::Own(write) => write(told.decision, told.decided, headers),
        }
    }
}

impl fmt::Debug for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::XRateLimit => "X_RATE_LIMIT",
            Kind::Draft6 => "DRAFT_6",
            Kind::Draft7 => "DRAFT_7",
            Kind::Ietf => "IETF",
            Kind::Own(_) => "the user's",
        })
    }
}

const X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RATELIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The largest integer of a structured field (RFC 9651 §3.3.1).
const LARGEST: u64 = 999_999_999_999_999;

/// Whole seconds, rounded up.
pub(super) fn seconds_of(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

/// A decision, and when it is told: its service may have taken its time.
pub(super) struct Told<'a> {
    pub(super) decision: &'a Decision,
    pub(super) decided: Timestamp,
    /// Not before that.
    pub(super) now: Timestamp,
}

impl Told<'_> {
    /// The limit, what remains, and when all of it is there again.
    fn binding(&self) -> Option<(u64, u64, Timestamp)> {
        let decision = self.decision;
        let reset = (self.decided + decision.reset()?).max(self.now);
        Some((decision.limit()?, decision.remaining()?, reset))
    }

    /// What is left of a time of the decision, in whole seconds.
    fn left_of(&self, time: Duration) -> u64 {
        seconds_of((self.decided + time).since(self.now))
    }
}

fn x_rate_limit(told: &Told<'_>, headers: &mut HeaderMap) {
    let Some((limit, remaining, reset)) = told.binding() else { return };
    headers.reserve(3);
    let Entry::Vacant(entry) = headers.entry(X_RATELIMIT_LIMIT) else { return };
    entry.insert(digits(limit));
    headers.insert(X_RATELIMIT_REMAINING, digits(remaining));
    headers.insert(X_RATELIMIT_RESET, digits(reset.as_micros().div_ceil(1_000_000)));
}

fn draft_6(told: &Told<'_>, headers: &mut HeaderMap) {
    let Some((limit, remaining, reset)) = told.binding() else { return };
    if headers.contains_key(RATELIMIT_LIMIT) {
        return;
    }
    headers.insert(RATELIMIT_LIMIT, digits(limit));
    headers.insert(RATELIMIT_REMAINING, digits(remaining));
    headers.insert(RATELIMIT_RESET, digits(seconds_of(reset.since(told.now))));
    draft_policies(headers, told.decision);
}

fn draft_7(told: &Told<'_>, headers: &mut HeaderMap) {
    let Some((limit, remaining, reset)) = told.binding() else { return };
    if headers.contains_key(RATELIMIT) {
        return;
    }
    let reset = seconds_of(reset.since(told.now));
    set(headers, RATELIMIT, format!("limit={limit}, remaining={remaining}, reset={reset}"));
    draft_policies(headers, told.decision);
}

/// But for leases, which have no window: these drafts know of no others.
fn draft_policies(headers: &mut HeaderMap, decision: &Decision) {
    let counted = decision.quotas().filter(|quota| quota.rule != Rule::Concurrency);
    let policies = listed(counted, |text, quota| {
        write!(text, "{};w={}", quota.verdict.limit, window_of(quota))
    });
    if !policies.is_empty() {
        set(headers, RATELIMIT_POLICY, policies);
    }
}

fn ietf(told: &Told<'_>, headers: &mut HeaderMap) {
    if told.decision.limit().is_none() {
        return;
    }
    // Of such a response a client waits that long: no `t` is to tell of a later time.
    let is_to_wait = headers.contains_key(RETRY_AFTER);
    let limits = listed(told.decision.quotas(), |text, QuotaReport { policy, verdict, .. }| {
        push_string(text, policy);
        write!(text, ";r={}", integer(verdict.remaining))?;
        if is_to_wait && verdict.allowed {
            return Ok(());
        }
        let until = told.left_of(verdict.retry_after.unwrap_or(verdict.reset));
        write!(text, ";t={}", integer(until))
    });
    let policies = listed(told.decision.quotas(), |text, quota| {
        push_string(text, quota.policy);
        write!(text, ";q={}", integer(quota.verdict.limit))?;
        match quota.rule {
            Rule::Concurrency => text.write_str(";qu=\"concurrent-requests\""),
            _ => write!(text, ";w={}", integer(window_of(quota))),
        }
    });
    add(headers, RATELIMIT, limits);
    add(headers, RATELIMIT_POLICY, policies);
}

/// In which time there is as much as the policy says, in whole seconds and at least one.
fn window_of(quota: &QuotaReport<'_>) -> u64 {
    seconds_of(quota.refill).max(1)
}

fn listed<'d>(
    quotas: impl Iterator<Item = QuotaReport<'d>>,
    mut push: impl FnMut(&mut String, &QuotaReport<'d>) -> fmt::Result,
) -> String {
    let mut text = String::with_capacity(32);
    for quota in quotas {
        if !text.is_empty() {
            text.push_str(", ");
        }
        // A string takes everything.
        let _ = push(&mut text, &quota);
    }
    text
}

fn integer(number: u64) -> u64 {
    number.min(LARGEST)
}

/// A String (RFC 9651 §3.3.3). What is not ASCII, which a String cannot hold, is percent-encoded.
fn push_string(text: &mut String, name: &str) {
    text.push('"');
    for byte in name.bytes() {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text.push('"');
}

/// A number, in one allocation of its length. `HeaderValue::from` takes two, of which one is larger:
/// every response has three of them.
fn digits(number: u64) -> HeaderValue {
    HeaderValue::from_str(itoa::Buffer::new().format(number))
        .unwrap_or_else(|_| HeaderValue::from(number))
}

fn set(headers: &mut HeaderMap, name: HeaderName, text: String) {
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(name, value);
    }
}

fn add(headers: &mut HeaderMap, name: HeaderName, text: String) {
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.append(name, value);
    }
}
