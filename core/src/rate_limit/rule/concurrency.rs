//! Leases: what is under way counts until it is released, or until its time is over.

use super::{Counts, Request, State};
use crate::rate_limit::Quota;
use crate::time::Timestamp;

/// The leases that are held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Concurrency {
    /// In no order; at most as many as the limit.
    pub leases: Vec<Lease>,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Its number, which only its holder knows.
    pub number: u64,
    /// How much it holds.
    pub cost: u64,
    /// When it ends by itself.
    pub until: Timestamp,
}

impl Concurrency {
    fn held(&self) -> u64 {
        self.leases.iter().fold(0, |sum, lease| sum.saturating_add(lease.cost))
    }

    pub(super) fn without(mut self, number: u64) -> Self {
        self.leases.retain(|lease| lease.number != number);
        self
    }
}

impl Counts for Concurrency {
    fn settle(state: Option<&State>, now: u64, quota: &Quota) -> Self {
        let Some(State::Concurrency(held)) = state else { return Self::default() };
        let latest = Timestamp::from_micros(now.saturating_add(quota.window_micros()));
        let live = held.leases.iter().filter(|lease| now < lease.until.as_micros());
        Self { leases: live.map(|it| Lease { until: it.until.min(latest), ..*it }).collect() }
    }

    fn into_state(self, _now: u64, _quota: &Quota) -> Option<State> {
        (!self.leases.is_empty()).then_some(State::Concurrency(self))
    }

    fn remaining(&self, _now: u64, quota: &Quota) -> u64 {
        quota.capacity().saturating_sub(self.held())
    }

    fn wait(&self, now: u64, cost: u64, quota: &Quota) -> u64 {
        let mut ends: Vec<_> = self.leases.iter().map(|it| (it.until, it.cost)).collect();
        ends.sort_unstable();
        let (mut held, room) = (self.held(), quota.capacity() - cost);
        let mut ends = ends.into_iter();
        let mut at = now;
        while held > room
            && let Some((until, cost)) = ends.next()
        {
            held = held.saturating_sub(cost);
            at = until.as_micros();
        }
        at.saturating_sub(now)
    }

    fn reset(&self, now: u64, _quota: &Quota) -> u64 {
        let last = self.leases.iter().map(|lease| lease.until.as_micros()).max();
        last.map_or(0, |until| until.saturating_sub(now))
    }

    fn take(mut self, now: u64, request: Request, quota: &Quota) -> Self {
        let until = Timestamp::from_micros(now.saturating_add(quota.window_micros()));
        self.leases.push(Lease { number: request.lease, cost: request.cost, until });
        self
    }

    /// Nothing: a lease is given back by its number.
    fn give_back(self, _cost: u64, _quota: &Quota) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::peek;
    use super::*;
    use crate::runtime::test;
    use crate::time::{millis, minutes};

    #[test]
    fn leases_are_waited_for_in_the_order_of_their_ends() {
        let lease = |number, ends| Lease { number, cost: 1, until: Timestamp::from_millis(ends) };
        let held = Concurrency { leases: vec![lease(1, 70), lease(2, 30), lease(3, 50)] };
        let quota = Quota::concurrent(3, minutes(1));
        let wait = |cost| {
            let state = State::Concurrency(held.clone());
            peek(Some(&state), Timestamp::from_millis(10), cost, &quota).retry_after
        };
        assert_eq!(
            [1, 2, 3, 4].map(wait),
            [Some(millis(20)), Some(millis(40)), Some(millis(60)), None]
        );
    }
}
