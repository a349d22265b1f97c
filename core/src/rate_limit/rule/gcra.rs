//! The generic cell rate algorithm: one point in time tells how much of the burst is used.
//!
//! The textbook keeps a theoretical arrival time and adds the time that a unit takes, `window /
//! limit`, which is seldom a whole number. Here the debt is counted in parts of a microsecond of
//! which each has `limit`: a unit is `window` parts, and a microsecond pays back `limit` of them.

use super::{Counts, Request, State, divide, divide_up};
use crate::rate_limit::Quota;
use crate::time::Timestamp;

/// When all of the burst is there again: `full_at`, and `fraction / limit` of a microsecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gcra {
    /// The whole microseconds.
    pub full_at: Timestamp,
    /// The rest, in parts of which a microsecond has as many as the quota's limit.
    pub fraction: u64,
}

/// What is owed at a moment, in parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level(u128);

fn parts(units: u64, quota: &Quota) -> u128 {
    u128::from(units) * u128::from(quota.window_micros())
}

impl Counts for Level {
    fn settle(state: Option<&State>, now: u64, quota: &Quota) -> Self {
        let Some(State::Gcra(gcra)) = state else { return Self(0) };
        let Some(left) = gcra.full_at.as_micros().checked_sub(now) else { return Self(0) };
        let fraction = gcra.fraction.min(quota.limit().saturating_sub(1));
        let owed = u128::from(left) * u128::from(quota.limit()) + u128::from(fraction);
        Self(owed.min(parts(quota.capacity(), quota)))
    }

    fn into_state(self, now: u64, quota: &Quota) -> Option<State> {
        let (owed, limit) = (self.0, quota.limit());
        let whole = divide(owed, limit);
        // Below the limit, as it is the rest of a division by it.
        let fraction = u64::try_from(owed - u128::from(whole) * u128::from(limit)).unwrap_or(0);
        let full_at = Timestamp::from_micros(now.saturating_add(whole));
        (owed > 0).then_some(State::Gcra(Gcra { full_at, fraction }))
    }

    fn remaining(&self, _now: u64, quota: &Quota) -> u64 {
        divide(parts(quota.capacity(), quota).saturating_sub(self.0), quota.window_micros())
    }

    fn wait(&self, _now: u64, cost: u64, quota: &Quota) -> u64 {
        let room = parts(quota.capacity() - cost, quota);
        divide_up(self.0.saturating_sub(room), quota.limit())
    }

    fn reset(&self, _now: u64, quota: &Quota) -> u64 {
        divide_up(self.0, quota.limit())
    }

    fn take(self, _now: u64, request: Request, quota: &Quota) -> Self {
        Self(self.0.saturating_add(parts(request.cost, quota)))
    }

    fn give_back(self, cost: u64, quota: &Quota) -> Self {
        Self(self.0.saturating_sub(parts(cost, quota)))
    }
}
