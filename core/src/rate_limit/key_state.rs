//! Everything that a store keeps of one key, and what it is asked to do with it.

use std::fmt;
use std::time::Duration;

use super::decision::Decision;
use super::quota::{Name, Quota, Rule};
use super::rule::{self, Answer, Request, State, Taken};
use crate::time::Timestamp;

/// One check of a key against its quotas, all of which are decided together: what one of them
/// refuses is counted against none.
///
/// ```
/// use larder_core::{Quota, rate_limit::Check};
///
/// let quotas = [Quota::per_second(10), Quota::per_day(1_000)];
/// let check = Check::new("203.0.113.9", &quotas).cost(3);
/// assert!(check.takes);
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Check<'a> {
    /// The complete key.
    pub key: &'a str,
    /// The quotas, with different names.
    pub quotas: &'a [Quota],
    /// How much the request costs. One unless told.
    pub cost: u64,
    /// The number under which quotas of leases hold one. Zero unless told.
    pub lease: u64,
    /// Whether what is allowed is counted; if not, this is a peek.
    pub takes: bool,
}

impl<'a> Check<'a> {
    /// A check of a request that costs 1.
    #[must_use]
    pub const fn new(key: &'a str, quotas: &'a [Quota]) -> Self {
        Self { key, quotas, cost: 1, lease: 0, takes: true }
    }

    /// Sets the cost.
    #[must_use]
    pub const fn cost(mut self, cost: u64) -> Self {
        self.cost = cost;
        self
    }

    /// Numbers the lease: unlike every other that is held under the key.
    #[must_use]
    pub const fn lease(mut self, lease: u64) -> Self {
        self.lease = lease;
        self
    }

    /// Asks what would be said, and takes nothing.
    #[must_use]
    pub const fn peek(mut self) -> Self {
        self.takes = false;
        self
    }

    fn request(&self) -> Request {
        Request::costing(self.cost).lease(self.lease)
    }

    /// The decision, given what each quota says; for stores that decide elsewhere.
    #[must_use]
    pub fn decision(&self, mut verdict: impl FnMut(&Quota) -> rule::Verdict) -> Decision {
        self.decision_of(|quota| verdict(quota).into())
    }

    #[inline]
    pub(super) fn decision_of(&self, answer: impl FnMut(&Quota) -> Answer) -> Decision {
        let taken = if self.takes { self.cost } else { 0 };
        let mut decision = Decision::of_answers(self.quotas, taken, answer);
        let leased = self.quotas.iter().any(|quota| quota.rule() == Rule::Concurrency);
        if leased && decision.taken() > 0 {
            decision.hold(self.lease);
        }
        decision
    }
}

/// Everything that a store keeps of one key: a state for each quota, by the quota's name, and until
/// when the key is blocked.
///
/// Pure, as the [rules](rule) are. A store that runs in this process, or that loads what it has of
/// a key, needs nothing else to decide.
///
/// ```
/// use larder_core::rate_limit::{Check, KeyState};
/// use larder_core::{Quota, Timestamp};
///
/// let quotas = [Quota::per_second(10), Quota::per_day(1)];
/// let (mut key, now) = (KeyState::default(), Timestamp::from_millis(0));
/// assert!(key.check(now, &Check::new("a", &quotas)).is_allowed());
/// let refused = key.check(now, &Check::new("a", &quotas));
/// assert_eq!(refused.refused_by(), Some("day"));
/// let left: Vec<u64> = refused.quotas().map(|it| it.verdict.remaining).collect();
/// assert_eq!(left, [0, 9]);
/// ```
#[derive(Clone, Default)]
pub struct KeyState(Kept);

/// One quota and no block are the common case, which stands beside its key: stores keep many, and
/// all of one has to be fetched for a check.
#[derive(Clone, Default)]
enum Kept {
    #[default]
    Nothing,
    One(Counted),
    More(Box<More>),
}

#[derive(Clone)]
struct More {
    blocked_until: Option<Timestamp>,
    counts: Vec<Counted>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Counted {
    quota: Name,
    state: State,
    /// When the state says no more than none would.
    until: Timestamp,
}

impl KeyState {
    /// Decides, and counts what is allowed.
    pub fn check(&mut self, now: Timestamp, check: &Check<'_>) -> Decision {
        if let Some(left) = self.blocked_for(now) {
            return Decision::blocked(left);
        }
        let request = check.request();
        match check.quotas {
            [quota] if check.takes => check.decision_of(|_| {
                let (answer, state) = rule::decide(self.state(quota), now, request, quota);
                self.keep(quota, state, now.after_micros(answer.reset));
                answer
            }),
            quotas => {
                let fits = |quota| rule::peek(self.state(quota), now, check.cost, quota).allowed;
                let takes = check.takes && quotas.iter().all(fits);
                check.decision_of(|quota| {
                    let before = rule::peek(self.state(quota), now, check.cost, quota);
                    // What takes nothing still brings back what a clock has carried away.
                    let taken = if takes { request } else { Request::costing(0) };
                    let (answer, state) = rule::decide(self.state(quota), now, taken, quota);
                    self.keep(quota, state, now.after_micros(answer.reset));
                    if takes { answer } else { before.into() }
                })
            }
        }
    }

    /// Decides on a request that costs `cost`, by one quota, as [`check`](Self::check) would at any
    /// time between `from` and `until`, the one at which it is asked, where it makes no difference
    /// which: the request is allowed, and leaves the same behind. What it says remains is no more,
    /// and the reset no sooner, than at that time. Besides, a moment before which this is not
    /// [forgotten](Self::forgotten_at).
    #[inline(always)]
    pub(super) fn take_between(
        &mut self,
        (from, until): (Timestamp, Timestamp),
        quota: &Quota,
        cost: u64,
    ) -> Option<(Taken, Timestamp)> {
        let Kept::One(counted) = &mut self.0 else { return None };
        if counted.quota != *quota.shared_name() {
            return None;
        }
        let request = Request::costing(cost);
        let taken = rule::take_between(&mut counted.state, (from, until), request, quota)?;
        counted.until = from.after_micros(taken.reset());
        Some((taken, counted.until))
    }

    /// Gives `cost` back to each of `quotas`, and to none more than what counts.
    ///
    /// ```
    /// # use larder_core::rate_limit::{Check, KeyState};
    /// # use larder_core::{Quota, Timestamp};
    /// let quotas = [Quota::per_day(1)];
    /// let (mut key, now) = (KeyState::default(), Timestamp::from_millis(0));
    /// key.check(now, &Check::new("a", &quotas));
    /// key.refund(now, &quotas, 1);
    /// assert!(key.check(now, &Check::new("a", &quotas)).is_allowed());
    /// ```
    pub fn refund(&mut self, now: Timestamp, quotas: &[Quota], cost: u64) {
        for quota in quotas {
            let state = rule::refund(self.state(quota), now, cost, quota);
            self.keep_settled(quota, state, now);
        }
    }

    /// Ends the lease of that number in each of `quotas` that counts leases.
    ///
    /// ```
    /// # use larder_core::rate_limit::{Check, KeyState};
    /// # use larder_core::{Quota, Timestamp, minutes};
    /// let quotas = [Quota::concurrent(1, minutes(1))];
    /// let (mut key, now) = (KeyState::default(), Timestamp::from_millis(0));
    /// assert_eq!(key.check(now, &Check::new("a", &quotas).lease(7)).lease(), Some(7));
    /// assert!(!key.check(now, &Check::new("a", &quotas).lease(8)).is_allowed());
    /// key.release(now, &quotas, 7);
    /// assert!(key.check(now, &Check::new("a", &quotas).lease(9)).is_allowed());
    /// ```
    pub fn release(&mut self, now: Timestamp, quotas: &[Quota], lease: u64) {
        for quota in quotas.iter().filter(|quota| quota.rule() == Rule::Concurrency) {
            let state = rule::release(self.state(quota), now, lease, quota);
            self.keep_settled(quota, state, now);
        }
    }

    /// Refuses everything for `time` from `now`, whatever was said before; a time of zero ends a
    /// block.
    ///
    /// ```
    /// # use larder_core::rate_limit::{Check, KeyState};
    /// # use larder_core::{Quota, Timestamp, minutes};
    /// let quotas = [Quota::per_day(1_000)];
    /// let (mut key, now) = (KeyState::default(), Timestamp::from_millis(0));
    /// key.block(now, minutes(5));
    /// let refused = key.check(now, &Check::new("a", &quotas));
    /// assert_eq!(refused.retry_after(), Some(minutes(5)));
    /// ```
    pub fn block(&mut self, now: Timestamp, time: Duration) {
        self.set_blocked_until((!time.is_zero()).then(|| now + time));
    }

    /// Forgets what was counted against `quotas`, and ends a block.
    ///
    /// ```
    /// # use larder_core::rate_limit::{Check, KeyState};
    /// # use larder_core::{Quota, Timestamp};
    /// let quotas = [Quota::per_day(1)];
    /// let (mut key, now) = (KeyState::default(), Timestamp::from_millis(0));
    /// key.check(now, &Check::new("a", &quotas));
    /// key.reset(&quotas);
    /// assert_eq!(key, KeyState::default());
    /// ```
    pub fn reset(&mut self, quotas: &[Quota]) {
        self.set_blocked_until(None);
        for quota in quotas {
            self.keep(quota, None, Timestamp::EPOCH);
        }
    }

    /// From when on nothing here says more than an empty state would. The store may forget the key
    /// then.
    #[must_use]
    pub fn forgotten_at(&self) -> Timestamp {
        match &self.0 {
            Kept::Nothing => Timestamp::EPOCH,
            Kept::One(counted) => counted.until,
            Kept::More(more) => {
                let counted = more.counts.iter().map(|it| it.until).max();
                counted.max(more.blocked_until).unwrap_or_default()
            }
        }
    }

    /// Until when the key is blocked, if it is.
    #[must_use]
    pub fn blocked_until(&self) -> Option<Timestamp> {
        match &self.0 {
            Kept::More(more) => more.blocked_until,
            _ => None,
        }
    }

    /// What counts: each quota's name and state, and when the state says no more than none would.
    /// With [`blocked_until`](Self::blocked_until) everything that is to be
    /// [restored](Self::restore).
    pub fn counts(&self) -> impl Iterator<Item = (&str, &State, Timestamp)> {
        self.counted().iter().map(|it| (&*it.quota, &it.state, it.until))
    }

    /// A state of the parts that another told; for stores that keep it outside of this process.
    ///
    /// ```
    /// # use larder_core::rate_limit::{Check, KeyState};
    /// # use larder_core::{Quota, Timestamp};
    /// let quotas = [Quota::per_second(10), Quota::per_day(1)];
    /// let mut key = KeyState::default();
    /// key.check(Timestamp::from_millis(0), &Check::new("a", &quotas));
    /// let counts = key.counts().map(|(quota, state, until)| {
    ///     (quota.to_owned(), state.clone(), until)
    /// });
    /// assert_eq!(KeyState::restore(key.blocked_until(), counts), key);
    /// ```
    #[must_use]
    pub fn restore(
        blocked_until: Option<Timestamp>,
        counts: impl IntoIterator<Item = (String, State, Timestamp)>,
    ) -> Self {
        let counted = |(quota, state, until)| Counted { quota: Name::from(quota), state, until };
        let mut state = Self::default();
        state.change_more(|more| {
            *more = More { blocked_until, counts: counts.into_iter().map(counted).collect() };
        });
        state
    }

    fn counted(&self) -> &[Counted] {
        match &self.0 {
            Kept::Nothing => &[],
            Kept::One(counted) => std::slice::from_ref(counted),
            Kept::More(more) => &more.counts,
        }
    }

    fn counted_mut(&mut self) -> &mut [Counted] {
        match &mut self.0 {
            Kept::Nothing => &mut [],
            Kept::One(counted) => std::slice::from_mut(counted),
            Kept::More(more) => &mut more.counts,
        }
    }

    /// Changes it with room for all that there can be, and then takes no more than has to be.
    fn change_more(&mut self, change: impl FnOnce(&mut More)) {
        let mut more = match std::mem::take(&mut self.0) {
            Kept::More(more) => more,
            Kept::One(counted) => Box::new(More { blocked_until: None, counts: vec![counted] }),
            Kept::Nothing => Box::new(More { blocked_until: None, counts: Vec::new() }),
        };
        change(&mut more);
        self.0 = match (more.blocked_until, more.counts.len()) {
            (None, 0 | 1) => more.counts.pop().map_or(Kept::Nothing, Kept::One),
            _ => Kept::More(more),
        };
    }

    fn set_blocked_until(&mut self, until: Option<Timestamp>) {
        if until != self.blocked_until() {
            self.change_more(|more| more.blocked_until = until);
        }
    }

    fn blocked_for(&self, now: Timestamp) -> Option<Duration> {
        self.blocked_until().filter(|until| now < *until).map(|until| until.since(now))
    }

    fn state(&self, quota: &Quota) -> Option<&State> {
        self.counted().iter().find(|it| it.quota == *quota.shared_name()).map(|it| &it.state)
    }

    fn keep_settled(&mut self, quota: &Quota, state: Option<State>, now: Timestamp) {
        let reset = rule::peek(state.as_ref(), now, 0, quota).reset;
        self.keep(quota, state, now + reset);
    }

    fn keep(&mut self, quota: &Quota, state: Option<State>, until: Timestamp) {
        let known = self.counted().iter().position(|it| it.quota == *quota.shared_name());
        match (known, state) {
            (Some(at), Some(state)) => {
                let counted = &mut self.counted_mut()[at];
                (counted.state, counted.until) = (state, until);
            }
            (None, Some(state)) => {
                let counted = Counted { quota: quota.shared_name().clone(), state, until };
                match &mut self.0 {
                    nothing @ Kept::Nothing => *nothing = Kept::One(counted),
                    _ => self.change_more(|more| more.counts.push(counted)),
                }
            }
            (Some(at), None) => match &mut self.0 {
                one @ Kept::One(_) => *one = Kept::Nothing,
                _ => self.change_more(|more| drop(more.counts.swap_remove(at))),
            },
            (None, None) => {}
        }
    }
}

impl PartialEq for KeyState {
    fn eq(&self, other: &Self) -> bool {
        self.blocked_until() == other.blocked_until() && self.counted() == other.counted()
    }
}

impl Eq for KeyState {}

impl fmt::Debug for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyState")
            .field("blocked_until", &self.blocked_until())
            .field("counts", &self.counted())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::test;
    use crate::time::{millis, minutes, seconds};

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + millis)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// A clock that is late by up to its lag decides as the exact one does, or not at all.
        #[test]
        fn a_late_clock_makes_no_difference(
            rule in 0..3_usize,
            limit in 1..40_u64,
            burst in 1..60_u64,
            lag in 0..9_000_u64,
            blocks in 0..4_u64,
            checks in prop::collection::vec((0..4_u64, 0..30_000_u64, 0..=100_u64), 1..80),
        ) {
            let quota = Quota::new(limit, millis(20));
            let quotas = [[quota.clone(), quota.clone().sliding_window(), quota.burst(burst)]
                [rule].clone()];
            let (mut late, mut exact) = (KeyState::default(), KeyState::default());
            let mut clock = 1_000_000;
            for (number, (cost, pause, behind)) in (0..).zip(checks) {
                clock += pause;
                let now = Timestamp::from_micros(clock);
                let from = Timestamp::from_micros(clock - lag * behind / 100);
                let until = Timestamp::from_micros(from.as_micros() + lag);
                if number == blocks {
                    late.block(now, millis(15));
                    exact.block(now, millis(15));
                }
                let check = Check::new("key", &quotas).cost(cost);
                let request = Request::costing(cost);
                let before = late.state(&quotas[0]).cloned();
                let answer = late.take_between((from, until), &quotas[0], cost);
                let decision = exact.check(now, &check);
                match answer {
                    Some((taken, forgotten)) => {
                        let said = Decision::of_taken(&quotas[0], cost, taken);
                        prop_assert!(decision.is_allowed());
                        prop_assert!(said.remaining() <= decision.remaining());
                        prop_assert!(said.reset() >= decision.reset());
                        prop_assert!(forgotten <= late.forgotten_at());
                        let (answer, _) = rule::decide(before.as_ref(), from, request, &quotas[0]);
                        prop_assert_eq!(said, Decision::of_answer(&quotas[0], cost, answer));
                    }
                    None => prop_assert_eq!(&late.check(now, &check), &decision),
                }
                prop_assert_eq!(&late, &exact);
            }
        }

        /// Several quotas allow what each of them would allow that had seen the same.
        #[test]
        fn what_one_quota_refuses_counts_against_none(
            limits in [1..6_u64, 1..9_u64, 1..12_u64],
            checks in prop::collection::vec((0..4_u64, 0..700_u64, any::<bool>()), 1..60),
        ) {
            let quotas = [
                Quota::new(limits[0], millis(500)),
                Quota::per_second(limits[1]).sliding_window(),
                Quota::new(limits[2], seconds(2)).burst(limits[0]),
            ];
            let (mut key, mut alone, mut clock) = (KeyState::default(), [None, None, None], 0);
            for (cost, pause, takes) in checks {
                clock += pause;
                let now = at(clock);
                let said: Vec<_> = quotas.iter().zip(&alone)
                    .map(|(quota, state): (_, &Option<State>)| {
                        rule::peek(state.as_ref(), now, cost, quota)
                    })
                    .collect();
                let mut check = Check::new("key", &quotas).cost(cost);
                check.takes = takes;
                let decision = key.check(now, &check);
                let allowed = said.iter().all(|verdict| verdict.allowed);
                prop_assert_eq!(decision.is_allowed(), allowed);
                let taken = if allowed && takes { cost } else { 0 };
                prop_assert_eq!(decision.taken(), taken);
                for (quota, state) in quotas.iter().zip(&mut alone) {
                    *state = rule::check(state.as_ref(), now, Request::costing(taken), quota).1;
                    let left = rule::peek(state.as_ref(), now, 0, quota);
                    let report = decision.quotas().find(|it| it.policy == quota.name()).unwrap();
                    prop_assert_eq!(report.verdict.remaining, left.remaining);
                    prop_assert_eq!(report.verdict.reset, left.reset);
                }
                if let Some(wait) = decision.retry_after() {
                    let passes = |wait| {
                        let check = Check::new("key", &quotas).cost(cost);
                        key.clone().check(now + wait, &check).is_allowed()
                    };
                    prop_assert!(passes(wait));
                    prop_assert!(!passes(wait - Duration::from_micros(1)));
                }
                let forgotten = key.forgotten_at();
                let mut old = key.clone();
                let full = Check::new("key", &quotas).cost(0);
                prop_assert_eq!(
                    old.check(forgotten.max(now), &full),
                    KeyState::default().check(now, &full)
                );
            }
        }
    }

    #[test]
    fn a_block_ends_at_its_time_and_takes_nothing() {
        let quotas = [Quota::per_minute(1)];
        let mut key = KeyState::default();
        key.block(at(0), seconds(1));
        assert_eq!(key.forgotten_at(), at(1_000));
        assert!(!key.check(at(999), &Check::new("a", &quotas)).is_allowed());
        assert!(key.check(at(1_000), &Check::new("a", &quotas)).is_allowed());
        key.block(at(1_000), minutes(9));
        key.block(at(1_000), Duration::ZERO);
        assert_eq!(
            key.check(at(1_000), &Check::new("a", &quotas)).reason(),
            super::super::Reason::OverQuota
        );
    }
}
