//! How much is allowed, in which time, by which rule.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::time::{days, hours, millis, minutes, seconds};

/// How requests are counted against a [`Quota`].
///
/// `docs/decisions/0011-what-each-rule-promises.md` compares them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// A window begins with the first request and is followed by the next one's. Exact within each
    /// of its windows; around the end of one, a client can be allowed twice the limit in the
    /// length of a window.
    FixedWindow,
    /// Two fixed windows, of which the earlier one counts for the part of it that is not yet a
    /// window ago, as if its requests had been spread evenly. Less than twice the limit in any
    /// window, and close to the limit in all but those that a client contrives.
    SlidingWindow,
    /// The generic cell rate algorithm, which is a token bucket without tokens: `burst` at once,
    /// then at the rate of `limit` a window. Exact: never more than the burst and what the rate
    /// gives, in any stretch of time.
    Gcra,
    /// Leases: at most `limit` at the same time, each until it is released or its time is over.
    /// Exact.
    Concurrency,
}

/// How much of something a key may have: requests, bytes, whatever a cost counts.
///
/// A window has at least a millisecond; a shorter one is taken for that. A limit of zero allows
/// nothing.
///
/// ```
/// use larder_core::{Quota, minutes, seconds};
///
/// let reference = Quota::per_minute(100);
/// let strict = Quota::new(5, minutes(15)).sliding_window().named("sign-in");
/// let smooth = Quota::per_second(10).burst(50);
/// let parallel = Quota::concurrent(4, seconds(30));
/// assert_eq!((smooth.limit(), smooth.capacity()), (10, 50));
/// # let _ = (reference, strict, parallel);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Quota {
    name: Name,
    rule: Rule,
    limit: u64,
    burst: u64,
    /// In microseconds.
    window: u64,
    /// What one and what the burst take to come back, for GCRA: worked out once, as it takes
    /// divisions.
    unit: Span,
    most: Span,
}

/// A time in microseconds, and in parts of one of which there are as many as a quota's limit: a unit
/// of GCRA takes `window / limit`, which is seldom a whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Span {
    pub(super) micros: u128,
    pub(super) parts: u64,
}

impl Quota {
    /// `limit` in every `window`, by [`Rule::FixedWindow`] unless told otherwise. A window is of
    /// whole microseconds; what it has of another is left out.
    ///
    /// Its name is that of its window: `minute`, `90s`.
    ///
    /// ```
    /// # use larder_core::{Quota, seconds};
    /// assert_eq!(Quota::new(20, seconds(10)).name(), "10s");
    /// ```
    #[must_use]
    pub fn new(limit: u64, window: Duration) -> Self {
        let window = window.max(millis(1));
        let name = name_of(window);
        let window = u64::try_from(window.as_micros()).unwrap_or(u64::MAX);
        Self::counting(name, Rule::FixedWindow, limit, limit, window)
    }

    fn counting(name: Name, rule: Rule, limit: u64, burst: u64, window: u64) -> Self {
        let nothing = Span { micros: 0, parts: 0 };
        let mut quota = Self { name, rule, limit, burst, window, unit: nothing, most: nothing };
        quota.unit = quota.span_of(1);
        quota.most = quota.span_of(quota.capacity());
        quota
    }

    /// `limit` a second.
    #[must_use]
    pub fn per_second(limit: u64) -> Self {
        Self::new(limit, seconds(1))
    }

    /// `limit` a minute.
    #[must_use]
    pub fn per_minute(limit: u64) -> Self {
        Self::new(limit, minutes(1))
    }

    /// `limit` an hour.
    #[must_use]
    pub fn per_hour(limit: u64) -> Self {
        Self::new(limit, hours(1))
    }

    /// `limit` in 24 hours.
    #[must_use]
    pub fn per_day(limit: u64) -> Self {
        Self::new(limit, days(1))
    }

    /// At most `limit` at the same time, by [`Rule::Concurrency`]: each holds a lease until it is
    /// released, at most for `life`. Its name is `concurrent`.
    ///
    /// ```
    /// # use larder_core::{Quota, rate_limit::Rule, seconds};
    /// assert_eq!(Quota::concurrent(4, seconds(30)).rule(), Rule::Concurrency);
    /// ```
    #[must_use]
    pub fn concurrent(limit: u64, life: Duration) -> Self {
        let name = Name::Static("concurrent");
        Self { name, rule: Rule::Concurrency, ..Self::new(limit, life) }
    }

    /// Counts by [`Rule::SlidingWindow`].
    #[must_use]
    pub fn sliding_window(self) -> Self {
        Self { rule: Rule::SlidingWindow, ..self }
    }

    /// Counts by [`Rule::Gcra`], with the limit as its burst.
    #[must_use]
    pub fn gcra(self) -> Self {
        let limit = self.limit;
        self.burst(limit)
    }

    /// Counts by [`Rule::Gcra`]: up to `burst` at once, which comes back at the rate of the limit.
    ///
    /// As a token bucket: one of `burst` tokens, refilled with `limit` a window.
    #[must_use]
    pub fn burst(self, burst: u64) -> Self {
        Self::counting(self.name, Rule::Gcra, self.limit, burst, self.window)
    }

    /// Names it, for headers and figures, and for the store: counts stand under this name, so that
    /// they outlast a change of the limit. The quotas of one limiter have different names.
    #[must_use]
    pub fn named(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = Name::from(name.into());
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is counted.
    #[must_use]
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// How much a window brings.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// How much there can be at once: the burst where the rule is [`Rule::Gcra`], else the limit.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        match self.rule {
            // Without a rate nothing would ever come back.
            Rule::Gcra if self.limit == 0 => 0,
            Rule::Gcra => self.burst,
            _ => self.limit,
        }
    }

    /// The window; the life of a lease where the rule is [`Rule::Concurrency`].
    #[must_use]
    pub fn window(&self) -> Duration {
        Duration::from_micros(self.window)
    }

    /// A part of it, of at least 1 where there is any.
    pub(super) fn share(&self, of: u32) -> Self {
        let part = |whole: u64| (whole / u64::from(of.max(1))).max(whole.min(1));
        let (limit, burst) = (part(self.limit), part(self.burst));
        Self::counting(self.name.clone(), self.rule, limit, burst, self.window)
    }

    #[inline]
    pub(super) fn shared_name(&self) -> &Name {
        &self.name
    }

    #[inline]
    pub(super) fn window_micros(&self) -> u64 {
        self.window
    }

    /// In which time so many units come back.
    #[inline]
    pub(super) fn time_of(&self, units: u64) -> Span {
        if units == 1 { self.unit } else { self.span_of(units) }
    }

    fn span_of(&self, units: u64) -> Span {
        let (parts, limit) = (u128::from(units) * u128::from(self.window), self.limit.max(1));
        let rest = parts % u128::from(limit);
        // Below the limit.
        Span { micros: parts / u128::from(limit), parts: u64::try_from(rest).unwrap_or(0) }
    }

    /// In which time as much comes back as there can be at once.
    #[inline]
    pub(super) fn time_of_all(&self) -> Span {
        self.most
    }
}

/// How much of `capacity` is left, at a rate of `limit` a window, while `owed` has yet to come back.
pub(super) fn left(capacity: u64, limit: u64, window: u64, owed: Span) -> u64 {
    let all = u128::from(capacity) * u128::from(window);
    let owed = owed.micros.saturating_mul(limit.into()).saturating_add(owed.parts.into());
    divide(all.saturating_sub(owed), window)
}

/// Rounded down; at most [`u64::MAX`]. Division of 64 bits where it does: that of 128 bits is a call,
/// and slow.
pub(super) fn divide(a: u128, b: u64) -> u64 {
    match u64::try_from(a) {
        Ok(a) => a / b.max(1),
        Err(_) => u64::try_from(a / u128::from(b.max(1))).unwrap_or(u64::MAX),
    }
}

/// A quota's name, of which every decision has a copy.
#[derive(Clone)]
pub(super) enum Name {
    Static(&'static str),
    /// By a thin pointer: with it the whole takes no more than the other does.
    Shared(Arc<String>),
}

impl From<Cow<'static, str>> for Name {
    fn from(name: Cow<'static, str>) -> Self {
        match name {
            Cow::Borrowed(name) => Self::Static(name),
            Cow::Owned(name) => name.into(),
        }
    }
}

impl From<String> for Name {
    fn from(name: String) -> Self {
        Self::Shared(Arc::new(name))
    }
}

impl Deref for Name {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        match self {
            Self::Static(name) => name,
            Self::Shared(name) => name,
        }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        // Mostly both are copies of one.
        std::ptr::eq(&raw const **self, &raw const **other) || **self == **other
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

fn name_of(window: Duration) -> Name {
    const NAMES: [(Duration, &str); 4] =
        [(seconds(1), "second"), (minutes(1), "minute"), (hours(1), "hour"), (days(1), "day")];
    if let Some((_, name)) = NAMES.iter().find(|(length, _)| *length == window) {
        return Name::Static(name);
    }
    let micros = window.as_micros();
    match (micros.is_multiple_of(1_000_000), micros.is_multiple_of(1_000)) {
        (true, _) => format!("{}s", micros / 1_000_000).into(),
        (_, true) => format!("{}ms", micros / 1_000).into(),
        _ => format!("{micros}us").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::test;

    #[test]
    fn a_quota_is_named_after_its_window() {
        for (window, name) in [
            (seconds(60), "minute"),
            (minutes(90), "5400s"),
            (millis(1_500), "1500ms"),
            (Duration::from_micros(1_001), "1001us"),
            (Duration::ZERO, "1ms"),
        ] {
            assert_eq!(Quota::new(1, window).name(), name);
        }
    }

    #[test]
    fn only_gcra_has_a_burst_of_its_own() {
        assert_eq!(Quota::per_second(10).burst(50).capacity(), 50);
        assert_eq!(Quota::per_second(10).gcra().capacity(), 10);
        assert_eq!(Quota::per_second(10).burst(50).sliding_window().capacity(), 10);
        assert_eq!(Quota::per_second(0).burst(50).capacity(), 0);
    }
}
