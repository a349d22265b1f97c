//! The answer to a check.

use std::cmp::Reverse;
use std::fmt;
use std::time::Duration;

use super::quota::{self, Name, Quota, Rule, Span};
use super::rule::{Answer, Left, Taken, Verdict};

/// Why a request is allowed or refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// It is within every quota.
    WithinQuotas,
    /// It is beyond a quota, see [`Decision::refused_by`].
    OverQuota,
    /// Its key is blocked for a time.
    Blocked,
    /// Its key is on the limiter's list of those that are not limited.
    Exempt,
    /// Its key is on the limiter's list of those that are always refused.
    Denied,
    /// The store did not answer, and the limiter's policy for that decided.
    StoreFailed,
}

/// The answer to a check: whether the request is allowed, and what its quotas say.
///
/// Of several quotas one binds: of those that refuse the one with the longest wait, else the one
/// with the least left. [`limit`](Self::limit), [`remaining`](Self::remaining),
/// [`reset`](Self::reset) and [`policy`](Self::policy) are those of the quota that binds, and fit
/// together; [`quotas`](Self::quotas) has them all.
///
/// ```
/// use larder_core::rate_limit::{Decision, rule::Verdict};
/// use larder_core::{Quota, seconds};
///
/// let quotas = [Quota::per_second(10), Quota::per_minute(100)];
/// let decision = Decision::of(&quotas, 1, |quota| match quota.name() {
///     "second" => Verdict::allowed(10, 9, seconds(1)),
///     _ => Verdict::refused(100, 0, seconds(30), Some(seconds(30))),
/// });
/// assert!(!decision.is_allowed());
/// assert_eq!(decision.refused_by(), Some("minute"));
/// assert_eq!(decision.retry_after(), Some(seconds(30)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    allowed: bool,
    reason: Reason,
    is_shadowed: bool,
    is_degraded: bool,
    is_remembered: bool,
    taken: u64,
    /// One quota is the common case, and costs no allocation.
    binding: Binding,
    rare: Option<Box<Rare>>,
}

/// Who decided.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Binding {
    Quota(Report),
    /// None of the quotas; and how long to wait.
    Other(Wait),
}

impl Binding {
    fn report(&self) -> Option<&Report> {
        match self {
            Self::Quota(report) => Some(report),
            Self::Other(_) => None,
        }
    }

    fn report_mut(&mut self) -> Option<&mut Report> {
        match self {
            Self::Quota(report) => Some(report),
            Self::Other(_) => None,
        }
    }
}

/// What few decisions have, apart from what moves with each of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rare {
    lease: Option<u64>,
    others: Vec<Report>,
}

/// What one quota says in a [`Decision`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuotaReport<'a> {
    /// The quota's name.
    pub policy: &'a str,
    /// How it counts.
    pub rule: Rule,
    /// Its window; the life of a lease where the rule is [`Rule::Concurrency`].
    pub window: Duration,
    /// The time that brings as much as there can be at once. Equal to the window, but where the rule
    /// is [`Rule::Gcra`]: of `Quota::per_second(10).burst(50)` it is five seconds.
    pub refill: Duration,
    /// What it says. Where another quota refused the request: what is left without it.
    pub verdict: Verdict,
}

/// A [`QuotaReport`] in little space.
#[derive(Clone)]
struct Report {
    policy: Name,
    rule: Rule,
    window: u64,
    /// How much a window brings.
    rate: u64,
    allowed: bool,
    limit: u64,
    /// What remains, or what decides it, see [`Left`]: a number whose kind stands beside it takes
    /// less room.
    left: u64,
    is_left_in_parts: bool,
    reset: u64,
    retry_after: Wait,
}

/// Microseconds, or for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Wait(u64);

impl Wait {
    const NEVER_OVER: Self = Self(u64::MAX);

    #[inline]
    fn of(micros: Option<u64>) -> Self {
        micros.map_or(Self::NEVER_OVER, |micros| Self(micros.min(u64::MAX - 1)))
    }

    fn time(self) -> Option<Duration> {
        (self != Self::NEVER_OVER).then(|| Duration::from_micros(self.0))
    }

    fn less(self, micros: u64) -> Self {
        if self == Self::NEVER_OVER { self } else { Self(self.0.saturating_sub(micros)) }
    }
}

impl Report {
    /// It takes a division, and most of those who ask whether they may go on ask no more.
    fn remaining(&self) -> u64 {
        if !self.is_left_in_parts {
            return self.left;
        }
        let parts = self.left;
        let micros = u128::from(self.reset - u64::from(parts > 0));
        quota::left(self.limit, self.rate, self.window, Span { micros, parts })
    }

    /// What it says some time later, if nothing else happened.
    fn age(&mut self, micros: u64) {
        (self.left, self.is_left_in_parts) = (self.remaining(), false);
        self.reset = self.reset.saturating_sub(micros);
        self.retry_after = self.retry_after.less(micros);
    }

    /// The time in which the rate brings as much as there can be at once, rounded up.
    fn refill(&self) -> u64 {
        if self.rule != Rule::Gcra || self.rate == 0 {
            return self.window;
        }
        let parts = u128::from(self.window) * u128::from(self.limit);
        u64::try_from(parts.div_ceil(u128::from(self.rate))).unwrap_or(u64::MAX)
    }

    fn public(&self) -> QuotaReport<'_> {
        QuotaReport {
            policy: &self.policy,
            rule: self.rule,
            window: Duration::from_micros(self.window),
            refill: Duration::from_micros(self.refill()),
            verdict: Verdict {
                allowed: self.allowed,
                limit: self.limit,
                remaining: self.remaining(),
                reset: Duration::from_micros(self.reset),
                retry_after: self.retry_after.time(),
            },
        }
    }

    /// The more it binds, the greater it is.
    ///
    /// What is left says nothing of a refusal: it grows while one waits, at a pace of each rule's
    /// own, and of two that refuse for as long one would bind now and the other a moment later.
    fn weight(&self) -> impl Ord + use<> {
        let left = self.allowed.then_some(Reverse(self.remaining()));
        // No wait at all is the longest, of those that refuse.
        (!self.allowed, self.retry_after, left, self.reset)
    }
}

impl PartialEq for Report {
    fn eq(&self, other: &Self) -> bool {
        self.public() == other.public()
    }
}

impl Eq for Report {}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.public().fmt(f)
    }
}

impl Decision {
    /// The decision on a request that costs `cost`, from what each of `quotas` says.
    #[must_use]
    pub fn of<'q>(
        quotas: impl IntoIterator<Item = &'q Quota>,
        cost: u64,
        mut verdict: impl FnMut(&Quota) -> Verdict,
    ) -> Self {
        Self::of_answers(quotas, cost, |quota| verdict(quota).into())
    }

    #[inline]
    pub(super) fn of_answers<'q>(
        quotas: impl IntoIterator<Item = &'q Quota>,
        cost: u64,
        mut answer: impl FnMut(&Quota) -> Answer,
    ) -> Self {
        let mut quotas = quotas.into_iter();
        let Some(first) = quotas.next() else {
            return Self { taken: cost, ..Self::because(Reason::WithinQuotas, true) };
        };
        let mut decision = Self::of_answer(first, cost, answer(first));
        for quota in quotas {
            decision.consider(Self::of_answer(quota, cost, answer(quota)));
        }
        decision
    }

    /// Takes in what another quota says of the same request.
    fn consider(&mut self, mut other: Self) {
        let weight = |decision: &Self| decision.binding.report().map(Report::weight);
        if weight(&other) > weight(self) {
            std::mem::swap(self, &mut other);
            self.rare = other.rare.take();
        }
        if let Binding::Quota(report) = other.binding {
            self.rare.get_or_insert_default().others.push(report);
        }
    }

    /// The decision of one quota, which is all there is to most of them.
    #[inline]
    pub(super) fn of_answer(quota: &Quota, cost: u64, answer: Answer) -> Self {
        Self {
            allowed: answer.allowed,
            reason: if answer.allowed { Reason::WithinQuotas } else { Reason::OverQuota },
            is_shadowed: false,
            is_degraded: false,
            is_remembered: false,
            taken: if answer.allowed { cost } else { 0 },
            binding: Binding::Quota(Report {
                policy: quota.shared_name().clone(),
                rule: quota.rule(),
                window: quota.window_micros(),
                rate: quota.limit(),
                allowed: answer.allowed,
                limit: answer.limit,
                left: answer.remaining,
                is_left_in_parts: false,
                reset: answer.reset,
                retry_after: Wait::of(answer.retry_after),
            }),
            rare: None,
        }
    }

    /// [`of_answer`](Self::of_answer) where a quota allows a request that costs `cost`.
    #[inline(always)]
    pub(super) fn of_taken(quota: &Quota, cost: u64, taken: Taken) -> Self {
        let (left, is_left_in_parts) = match taken.left() {
            Left::Units(units) => (units, false),
            Left::Without { parts } => (parts, true),
        };
        Self {
            allowed: true,
            reason: Reason::WithinQuotas,
            is_shadowed: false,
            is_degraded: false,
            is_remembered: false,
            taken: cost,
            binding: Binding::Quota(Report {
                policy: quota.shared_name().clone(),
                rule: quota.rule(),
                window: quota.window_micros(),
                rate: quota.limit(),
                allowed: true,
                limit: quota.capacity(),
                left,
                is_left_in_parts,
                reset: taken.reset(),
                retry_after: Wait::NEVER_OVER,
            }),
            rare: None,
        }
    }

    /// The refusal of a key that is blocked for `time` yet.
    #[must_use]
    pub fn blocked(time: Duration) -> Self {
        let wait = Wait(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        Self { binding: Binding::Other(wait), ..Self::because(Reason::Blocked, false) }
    }

    /// A decision in which no quota had a say.
    pub(super) fn because(reason: Reason, allowed: bool) -> Self {
        Self {
            allowed,
            reason,
            is_shadowed: false,
            is_degraded: false,
            is_remembered: false,
            taken: 0,
            binding: Binding::Other(Wait::NEVER_OVER),
            rare: None,
        }
    }

    /// Allows what was refused.
    pub(super) fn shadowed(mut self) -> Self {
        self.is_shadowed = !self.allowed;
        self.allowed = true;
        self
    }

    /// Says that the store had no part in it, and so counted nothing.
    pub(super) fn degraded(mut self) -> Self {
        self.is_degraded = true;
        self.taken = 0;
        self
    }

    /// What it says some time later, if nothing else happened.
    pub(super) fn remembered(mut self, after: Duration) -> Self {
        let after = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.is_remembered = true;
        if let Binding::Other(wait) = &mut self.binding {
            *wait = wait.less(after);
        }
        let others = self.rare.iter_mut().flat_map(|rare| &mut rare.others);
        for report in self.binding.report_mut().into_iter().chain(others) {
            report.age(after);
        }
        self
    }

    /// Says that it holds the lease of this number.
    #[must_use]
    pub fn holding(mut self, lease: u64) -> Self {
        self.hold(lease);
        self
    }

    pub(super) fn hold(&mut self, lease: u64) {
        self.rare.get_or_insert_default().lease = Some(lease);
    }

    /// Whether the request may go on.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.allowed
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Whether it was refused, and is allowed only because the limiter refuses nothing, see
    /// [`RateLimiterBuilder::shadow`](super::RateLimiterBuilder::shadow).
    #[must_use]
    pub fn is_shadowed(&self) -> bool {
        self.is_shadowed
    }

    /// Whether the store failed, so that the limiter's
    /// [`FailurePolicy`](super::FailurePolicy) decided.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.is_degraded
    }

    /// Whether the limiter refused it without asking the store again. [`remaining`](Self::remaining)
    /// is then what was left when it asked.
    #[must_use]
    pub fn is_remembered(&self) -> bool {
        self.is_remembered
    }

    /// How much there can be at once of the quota that binds. `None` where no quota was asked.
    #[must_use]
    pub fn limit(&self) -> Option<u64> {
        self.binding.report().map(|it| it.limit)
    }

    /// How much of it is left.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        self.binding.report().map(Report::remaining)
    }

    /// After how long all of it is there again, if nothing else is taken.
    #[must_use]
    pub fn reset(&self) -> Option<Duration> {
        self.binding.report().map(|it| Duration::from_micros(it.reset))
    }

    /// After how long, and not before, the same request will be allowed, if nothing else is taken
    /// or given back. `None` where it is allowed, and where no wait will help.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let wait = match &self.binding {
            Binding::Quota(report) => report.retry_after,
            Binding::Other(wait) => *wait,
        };
        wait.time()
    }

    /// The name of the quota that binds.
    #[must_use]
    pub fn policy(&self) -> Option<&str> {
        self.binding.report().map(|it| &*it.policy)
    }

    /// The name of the quota that refused the request; of several, the one with the longest wait.
    #[must_use]
    pub fn refused_by(&self) -> Option<&str> {
        self.policy().filter(|_| self.reason == Reason::OverQuota)
    }

    /// What each quota says; first the one that binds.
    pub fn quotas(&self) -> impl Iterator<Item = QuotaReport<'_>> {
        let others = self.rare.iter().flat_map(|rare| &rare.others);
        self.binding.report().into_iter().chain(others).map(Report::public)
    }

    /// How much the store counted against every quota: the cost, or nothing where the request was
    /// refused or only peeked at, or the store was not asked. A refund gives back no more than this.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// The number of the lease that the request holds, if one of its quotas counts leases.
    #[must_use]
    pub fn lease(&self) -> Option<u64> {
        self.rare.as_ref().and_then(|rare| rare.lease)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::test;
    use crate::time::seconds;

    fn decide(verdicts: &[Verdict]) -> Decision {
        let names = ["a", "b", "c"];
        let quotas: Vec<Quota> = names
            .iter()
            .take(verdicts.len())
            .map(|name| Quota::per_second(1).named(*name))
            .collect();
        Decision::of(&quotas, 2, |quota| {
            verdicts[names.iter().position(|name| *name == quota.name()).unwrap()]
        })
    }

    #[test]
    fn of_quotas_that_allow_the_one_with_the_least_left_binds() {
        let allowed = |left, reset| Verdict::allowed(9, left, seconds(reset));
        let decision = decide(&[allowed(5, 1), allowed(3, 1), allowed(3, 2)]);
        assert_eq!((decision.policy(), decision.remaining()), (Some("c"), Some(3)));
        assert_eq!((decision.taken(), decision.refused_by()), (2, None));
        assert_eq!(decision.quotas().count(), 3);
    }

    #[test]
    fn of_quotas_that_refuse_the_one_with_the_longest_wait_binds() {
        let refused = |wait| Verdict::refused(9, 1, seconds(9), wait);
        let short = refused(Some(seconds(1)));
        let decision = decide(&[Verdict::allowed(9, 0, seconds(9)), short, refused(None)]);
        assert_eq!((decision.refused_by(), decision.retry_after()), (Some("c"), None));
        let half_full = Verdict::refused(9, 4, seconds(9), Some(seconds(1)));
        assert_eq!(decide(&[half_full, short]).refused_by(), Some("a"));
        let decision = decide(&[refused(Some(seconds(2))), short]);
        assert_eq!((decision.refused_by(), decision.retry_after()), (Some("a"), Some(seconds(2))));
        assert_eq!(decision.taken(), 0);
    }
}
