//! The rules, as functions `(state, now, cost, quota) -> (verdict, state)`.
//!
//! All arithmetic is on whole microseconds and whole units, so that nothing drifts. A request that
//! is refused changes nothing. A state that a quota of another size left is taken as it is, within
//! what the quota at hand can owe.
//!
//! A clock that goes back is one that stood still: it lets nothing more through, and makes nobody
//! wait longer than a key without a history could have to.
//!
//! ```
//! use larder_core::rate_limit::rule::{self, Request};
//! use larder_core::{Quota, Timestamp, seconds};
//!
//! let quota = Quota::per_minute(2);
//! let now = Timestamp::from_millis(0);
//! let (first, state) = rule::check(None, now, Request::costing(1), &quota);
//! assert!(first.allowed);
//! let (second, state) = rule::check(state.as_ref(), now, Request::costing(1), &quota);
//! assert_eq!(second.remaining, 0);
//! let later = now + seconds(20);
//! let (third, _) = rule::check(state.as_ref(), later, Request::costing(1), &quota);
//! assert_eq!(third.retry_after, Some(seconds(40)));
//! ```

mod concurrency;
mod fixed_window;
mod gcra;
#[cfg(test)]
mod properties;
mod sliding_window;

use std::num::NonZeroU64;
use std::time::Duration;

use super::quota::{Quota, Rule, divide};
use crate::time::Timestamp;

pub use concurrency::{Concurrency, Lease};
pub use fixed_window::FixedWindow;
pub use gcra::Gcra;
pub use sliding_window::SlidingWindow;

/// What has been counted for one key against one quota; none where nothing counts any more.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// By [`Rule::FixedWindow`].
    FixedWindow(FixedWindow),
    /// By [`Rule::SlidingWindow`].
    SlidingWindow(SlidingWindow),
    /// By [`Rule::Gcra`].
    Gcra(Gcra),
    /// By [`Rule::Concurrency`].
    Concurrency(Concurrency),
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// How much. Zero is always allowed, and takes nothing.
    pub cost: u64,
    /// Under which number a concurrency lease is held.
    pub lease: u64,
}

impl Request {
    /// A request that holds no lease of its own.
    #[must_use]
    pub const fn costing(cost: u64) -> Self {
        Self { cost, lease: 0 }
    }

    /// Numbers the lease.
    #[must_use]
    pub const fn lease(mut self, lease: u64) -> Self {
        self.lease = lease;
        self
    }
}

/// What one quota says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// Whether the request is within the quota.
    pub allowed: bool,
    /// How much there can be at once, see [`Quota::capacity`].
    pub limit: u64,
    /// How much is left after this request.
    pub remaining: u64,
    /// After how long all of it is there again, if nothing else is taken.
    pub reset: Duration,
    /// After how long, and not before, the same request is allowed, if nothing else is taken or
    /// given back. `None` where it is allowed now, and where it costs more than there can ever be.
    pub retry_after: Option<Duration>,
}

/// A verdict put together by a store that decides elsewhere.
impl Verdict {
    /// An allowed request.
    #[must_use]
    pub const fn allowed(limit: u64, remaining: u64, reset: Duration) -> Self {
        Self { allowed: true, limit, remaining, reset, retry_after: None }
    }

    /// A refused request; without `retry_after` it costs more than there can ever be.
    #[must_use]
    pub const fn refused(
        limit: u64,
        remaining: u64,
        reset: Duration,
        retry_after: Option<Duration>,
    ) -> Self {
        Self { allowed: false, limit, remaining, reset, retry_after }
    }
}

/// One rule's view of a state at a moment: what was over then is gone from it.
///
/// Times are microseconds.
trait Counts: Sized {
    fn settle(state: Option<&State>, now: u64, quota: &Quota) -> Self;

    /// What is kept; none where it says no more than no state would.
    fn into_state(self, now: u64, quota: &Quota) -> Option<State>;

    fn remaining(&self, now: u64, quota: &Quota) -> u64;

    /// How long until `cost` is there, which is at most the capacity.
    fn wait(&self, now: u64, cost: u64, quota: &Quota) -> u64;

    /// How long until everything is there.
    fn reset(&self, now: u64, quota: &Quota) -> u64;

    /// Takes what is there.
    fn take(self, now: u64, request: Request, quota: &Quota) -> Self;

    /// Gives back at most what was taken.
    fn give_back(self, cost: u64, quota: &Quota) -> Self;

    fn answer(&self, now: u64, cost: u64, quota: &Quota) -> Answer {
        let limit = quota.capacity();
        let remaining = self.remaining(now, quota);
        let allowed = cost == 0 || cost <= remaining;
        let waits = !allowed && cost <= limit;
        let retry_after = waits.then(|| self.wait(now, cost, quota));
        Answer { allowed, limit, remaining, reset: self.reset(now, quota), retry_after }
    }
}

/// A [`Verdict`], its times in microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    pub(super) allowed: bool,
    pub(super) limit: u64,
    pub(super) remaining: u64,
    pub(super) reset: u64,
    pub(super) retry_after: Option<u64>,
}

/// What one quota says to a request that it allows, in two words: as a result they take no room in
/// memory, from where what was just written in parts is slow to be read as a whole.
///
/// ```
/// use larder_core::rate_limit::rule::Taken;
/// use larder_core::seconds;
///
/// let taken = Taken::new(99, seconds(60));
/// assert_eq!(size_of_val(&Some(taken)), 16);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    left: u64,
    /// Its highest bit says that what is left is in parts.
    reset: NonZeroU64,
}

const IN_PARTS: u64 = 1 << 63;

impl Taken {
    /// So much is left, and all of it is there again after `reset`, as in a [`Verdict`]; that is in
    /// at least a microsecond and at most a quarter of a million years.
    #[must_use]
    pub fn new(remaining: u64, reset: Duration) -> Self {
        let reset = u64::try_from(reset.as_micros()).unwrap_or(u64::MAX);
        Self::of(Left::Units(remaining), reset)
    }

    #[inline]
    fn of(left: Left, reset: u64) -> Self {
        let reset = reset.clamp(1, IN_PARTS - 1);
        let (left, reset) = match left {
            Left::Units(units) => (units, reset),
            Left::Without { parts } => (parts, reset | IN_PARTS),
        };
        Self { left, reset: NonZeroU64::new(reset).unwrap_or(NonZeroU64::MIN) }
    }

    #[inline]
    pub(super) fn left(self) -> Left {
        match self.reset.get() & IN_PARTS {
            0 => Left::Units(self.left),
            _ => Left::Without { parts: self.left },
        }
    }

    /// In microseconds.
    #[inline]
    pub(super) fn reset(self) -> u64 {
        self.reset.get() & !IN_PARTS
    }
}

/// What remains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    Units(u64),
    /// All that there can be but for what comes back until the reset: by GCRA, see
    /// [`Span`](super::quota::Span). The reset has a microsecond more where there are parts of one.
    Without {
        parts: u64,
    },
}

impl From<Answer> for Verdict {
    fn from(answer: Answer) -> Self {
        let Answer { allowed, limit, remaining, reset, retry_after } = answer;
        let reset = Duration::from_micros(reset);
        Self {
            allowed,
            limit,
            remaining,
            reset,
            retry_after: retry_after.map(Duration::from_micros),
        }
    }
}

impl From<Verdict> for Answer {
    /// Whole microseconds; at most half a million years.
    fn from(verdict: Verdict) -> Self {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let Verdict { allowed, limit, remaining, reset, retry_after } = verdict;
        let reset = micros(reset);
        Self { allowed, limit, remaining, reset, retry_after: retry_after.map(micros) }
    }
}

/// Calls a generic function for the rule of a quota.
macro_rules! by_rule {
    ($function:ident of $quota:expr, $($argument:expr),*) => {
        match $quota.rule() {
            Rule::FixedWindow => $function::<FixedWindow>($($argument),*),
            Rule::SlidingWindow => $function::<SlidingWindow>($($argument),*),
            Rule::Gcra => $function::<gcra::Level>($($argument),*),
            Rule::Concurrency => $function::<Concurrency>($($argument),*),
        }
    };
}

/// Allows `request` and takes its cost, or refuses it and takes nothing.
///
/// The second part is the new state; after a refusal, what is left of the old one at `now`.
#[must_use]
pub fn check(
    state: Option<&State>,
    now: Timestamp,
    request: Request,
    quota: &Quota,
) -> (Verdict, Option<State>) {
    let (answer, state) = decide(state, now, request, quota);
    (answer.into(), state)
}

pub(super) fn decide(
    state: Option<&State>,
    now: Timestamp,
    request: Request,
    quota: &Quota,
) -> (Answer, Option<State>) {
    fn by<R: Counts>(
        state: Option<&State>,
        now: u64,
        request: Request,
        quota: &Quota,
    ) -> (Answer, Option<State>) {
        let counts = R::settle(state, now, quota);
        let left = counts.remaining(now, quota).checked_sub(request.cost);
        let (Some(remaining), 1..) = (left, request.cost) else {
            return (counts.answer(now, request.cost, quota), counts.into_state(now, quota));
        };
        let counts = counts.take(now, request, quota);
        let (limit, reset) = (quota.capacity(), counts.reset(now, quota));
        let answer = Answer { allowed: true, limit, remaining, reset, retry_after: None };
        (answer, counts.into_state(now, quota))
    }
    by_rule!(by of quota, state, now.as_micros(), request, quota)
}

/// Whether it makes no difference to `state` when in the time from `from` until `until` something is
/// taken that it allows at `from`: nothing of it ends in between, so that what it allows then it
/// allows all that time, and is the same after it.
#[inline]
fn is_steady(state: &State, from: Timestamp, until: Timestamp, quota: &Quota) -> bool {
    let (from, until, window) = (from.as_micros(), until.as_micros(), quota.window_micros());
    match (quota.rule(), state) {
        (Rule::FixedWindow, State::FixedWindow(it)) => {
            let ends = it.ends.as_micros();
            until < ends && ends <= from.saturating_add(window)
        }
        (Rule::SlidingWindow, State::SlidingWindow(it)) => {
            let started = it.started.as_micros();
            started <= from && until < started.saturating_add(window)
        }
        (Rule::Gcra, State::Gcra(it)) => until < it.full_at.as_micros(),
        // A lease ends a life after it was taken; what another rule left counts for nothing.
        _ => false,
    }
}

/// Takes `cost` at any time from `from` until `until`, where it is allowed and makes no difference
/// when, see [`is_steady`]; else nothing.
#[inline(always)]
pub(super) fn take_between(
    state: &mut State,
    (from, until): (Timestamp, Timestamp),
    request: Request,
    quota: &Quota,
) -> Option<Taken> {
    if !is_steady(state, from, until, quota) {
        return None;
    }
    match state {
        State::Gcra(state) if request.cost > 0 => {
            gcra::take(state, from.as_micros(), request.cost, quota)
        }
        _ => take_steady(state, from, request, quota),
    }
}

#[inline(never)]
fn take_steady(
    state: &mut State,
    now: Timestamp,
    request: Request,
    quota: &Quota,
) -> Option<Taken> {
    let (answer, after) = decide(Some(state), now, request, quota);
    // Later, it cannot be told in so few words.
    *state = after.filter(|_| answer.allowed && answer.reset < IN_PARTS)?;
    Some(Taken::of(Left::Units(answer.remaining), answer.reset))
}

/// What [`check`] would say, with what remains and the reset as they are without the request.
#[must_use]
pub fn peek(state: Option<&State>, now: Timestamp, cost: u64, quota: &Quota) -> Verdict {
    fn by<R: Counts>(state: Option<&State>, now: u64, cost: u64, quota: &Quota) -> Verdict {
        R::settle(state, now, quota).answer(now, cost, quota).into()
    }
    by_rule!(by of quota, state, now.as_micros(), cost, quota)
}

/// Gives back `cost`, and no more than what counts at `now`. Leases are not given back by cost, see
/// [`release`].
#[must_use]
pub fn refund(state: Option<&State>, now: Timestamp, cost: u64, quota: &Quota) -> Option<State> {
    fn by<R: Counts>(state: Option<&State>, now: u64, cost: u64, quota: &Quota) -> Option<State> {
        R::settle(state, now, quota).give_back(cost, quota).into_state(now, quota)
    }
    by_rule!(by of quota, state, now.as_micros(), cost, quota)
}

/// Ends the lease of that number, if `quota` counts leases and it is held.
#[must_use]
pub fn release(state: Option<&State>, now: Timestamp, lease: u64, quota: &Quota) -> Option<State> {
    if quota.rule() != Rule::Concurrency {
        return state.cloned();
    }
    let now = now.as_micros();
    Concurrency::settle(state, now, quota).without(lease).into_state(now, quota)
}

/// `a · b / c`, rounded down; at most [`u64::MAX`]. `c` is not zero.
fn scale(a: u64, b: u64, c: u64) -> u64 {
    divide(u128::from(a) * u128::from(b), c)
}
