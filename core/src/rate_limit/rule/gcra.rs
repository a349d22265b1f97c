//! The generic cell rate algorithm: one point in time tells how much of the burst is used.
//!
//! The textbook keeps a theoretical arrival time and adds the time that a unit takes, `window /
//! limit`, which is seldom a whole number. Here a microsecond has `limit` parts: a unit is `window` of
//! them, and a microsecond pays back `limit`.

use super::{Counts, IN_PARTS, Left, Request, State, Taken};
use crate::rate_limit::Quota;
use crate::rate_limit::quota::{Span, divide};
use crate::time::Timestamp;

/// When all of the burst is there again: `full_at`, and `fraction / limit` of a microsecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gcra {
    /// The whole microseconds.
    pub full_at: Timestamp,
    /// The rest, in parts of which a microsecond has as many as the quota's limit.
    pub fraction: u64,
}

/// What is owed at a moment: the time that pays it back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level(Span);

const NOTHING: Span = Span { micros: 0, parts: 0 };

/// Rounded up.
fn micros(span: Span) -> u64 {
    u64::try_from(span.micros).unwrap_or(u64::MAX).saturating_add(u64::from(span.parts > 0))
}

#[inline]
fn sum(a: Span, b: Span, quota: &Quota) -> Span {
    let micros = a.micros.saturating_add(b.micros);
    // Each has less than a microsecond in parts.
    match a.parts.checked_sub(quota.limit().max(1) - b.parts) {
        Some(parts) => Span { micros: micros.saturating_add(1), parts },
        None => Span { micros, parts: a.parts + b.parts },
    }
}

/// Nothing where `b` is more.
#[inline]
fn difference(a: Span, b: Span, quota: &Quota) -> Span {
    if a <= b {
        return NOTHING;
    }
    match a.parts.checked_sub(b.parts) {
        Some(parts) => Span { micros: a.micros - b.micros, parts },
        None => {
            let parts = a.parts + (quota.limit() - b.parts);
            Span { micros: a.micros - b.micros - 1, parts }
        }
    }
}

/// Takes `cost`, which is not zero, where it is there: what [`check`](super::check) does then,
/// without a division.
#[inline(always)]
pub(super) fn take(gcra: &mut Gcra, now: u64, cost: u64, quota: &Quota) -> Option<Taken> {
    let owed = sum(Level::of(gcra, now, quota).0, quota.time_of(cost), quota);
    if owed > quota.time_of_all() {
        return None;
    }
    let parts = owed.parts;
    let micros = u64::try_from(owed.micros).ok()?;
    let reset = micros.checked_add(u64::from(parts > 0)).filter(|reset| *reset < IN_PARTS)?;
    let full_at = now.checked_add(micros)?;
    *gcra = Gcra { full_at: Timestamp::from_micros(full_at), fraction: parts };
    Some(Taken::of(Left::Without { parts }, reset))
}

impl Level {
    #[inline]
    fn of(gcra: &Gcra, now: u64, quota: &Quota) -> Self {
        let Some(left) = gcra.full_at.as_micros().checked_sub(now) else { return Self(NOTHING) };
        let parts = gcra.fraction.min(quota.limit().saturating_sub(1));
        Self(Span { micros: left.into(), parts }.min(quota.time_of_all()))
    }
}

impl Counts for Level {
    fn settle(state: Option<&State>, now: u64, quota: &Quota) -> Self {
        let Some(State::Gcra(gcra)) = state else { return Self(NOTHING) };
        Self::of(gcra, now, quota)
    }

    #[inline]
    fn into_state(self, now: u64, _quota: &Quota) -> Option<State> {
        let Span { micros, parts } = self.0;
        let full_at = now.saturating_add(u64::try_from(micros).unwrap_or(u64::MAX));
        let full_at = Timestamp::from_micros(full_at);
        (self.0 > NOTHING).then_some(State::Gcra(Gcra { full_at, fraction: parts }))
    }

    #[inline]
    fn remaining(&self, _now: u64, quota: &Quota) -> u64 {
        let room = difference(quota.time_of_all(), self.0, quota);
        let parts = room.micros * u128::from(quota.limit()) + u128::from(room.parts);
        divide(parts, quota.window_micros())
    }

    fn wait(&self, _now: u64, cost: u64, quota: &Quota) -> u64 {
        micros(difference(self.0, quota.time_of(quota.capacity() - cost), quota))
    }

    #[inline]
    fn reset(&self, _now: u64, _quota: &Quota) -> u64 {
        micros(self.0)
    }

    fn take(self, _now: u64, request: Request, quota: &Quota) -> Self {
        Self(sum(self.0, quota.time_of(request.cost), quota))
    }

    fn give_back(self, cost: u64, quota: &Quota) -> Self {
        Self(difference(self.0, quota.time_of(cost), quota))
    }
}
