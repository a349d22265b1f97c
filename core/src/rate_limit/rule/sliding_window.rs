//! Two windows, the earlier of which fades as the later one goes on.

use super::{Counts, Request, State, scale};
use crate::rate_limit::Quota;
use crate::time::Timestamp;

/// The counts of the window at hand and of the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlidingWindow {
    /// When the window at hand began: with a request, or where the one before it ended.
    pub started: Timestamp,
    /// How much was taken in it.
    pub current: u64,
    /// How much was taken in the one before.
    pub previous: u64,
}

impl SlidingWindow {
    fn elapsed(&self, now: u64) -> u64 {
        now.saturating_sub(self.started.as_micros())
    }

    /// What the previous window still counts for, rounded up.
    fn faded(&self, now: u64, quota: &Quota) -> u64 {
        let window = quota.window_micros();
        // Rounding what has gone down is rounding what is left up.
        self.previous - scale(self.previous, self.elapsed(now).min(window), window)
    }
}

/// How far into its successor a window of `count` units counts for more than `room`.
fn fades_to(count: u64, room: u64, window: u64) -> u64 {
    if count <= room { 0 } else { window - scale(room, window, count) }
}

impl Counts for SlidingWindow {
    fn settle(state: Option<&State>, now: u64, quota: &Quota) -> Self {
        let fresh = Self { started: Timestamp::from_micros(now), current: 0, previous: 0 };
        let Some(State::SlidingWindow(counts)) = state else { return fresh };
        let (start, window) = (counts.started.as_micros(), quota.window_micros());
        match now.saturating_sub(start) / window {
            // A clock that went back has brought no time.
            0 => Self { started: counts.started.min(fresh.started), ..*counts },
            1 if counts.current > 0 => Self {
                started: Timestamp::from_micros(start + window),
                current: 0,
                previous: counts.current,
            },
            _ => fresh,
        }
    }

    fn into_state(self, _now: u64, _quota: &Quota) -> Option<State> {
        (self.current > 0 || self.previous > 0).then_some(State::SlidingWindow(self))
    }

    fn remaining(&self, now: u64, quota: &Quota) -> u64 {
        quota.capacity().saturating_sub(self.current).saturating_sub(self.faded(now, quota))
    }

    fn wait(&self, now: u64, cost: u64, quota: &Quota) -> u64 {
        let (window, elapsed) = (quota.window_micros(), self.elapsed(now));
        let room = quota.capacity() - cost;
        if let Some(room) = room.checked_sub(self.current) {
            return fades_to(self.previous, room, window).saturating_sub(elapsed);
        }
        // At the end of the window its own count begins to fade.
        (window - elapsed).saturating_add(fades_to(self.current, room, window))
    }

    fn reset(&self, now: u64, quota: &Quota) -> u64 {
        let window = quota.window_micros();
        let left = window - self.elapsed(now);
        match (self.current, self.previous) {
            (0, 0) => 0,
            (0, _) => left,
            _ => left.saturating_add(window),
        }
    }

    fn take(mut self, _now: u64, request: Request, _quota: &Quota) -> Self {
        self.current = self.current.saturating_add(request.cost);
        self
    }

    fn give_back(mut self, cost: u64, _quota: &Quota) -> Self {
        let older = cost.saturating_sub(self.current);
        self.current = self.current.saturating_sub(cost);
        self.previous = self.previous.saturating_sub(older);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::{check, peek};
    use super::*;
    use crate::runtime::test;
    use crate::time::seconds;

    #[test]
    fn a_window_follows_only_on_one_that_was_used() {
        let quota = Quota::new(10, seconds(10)).sliding_window();
        let at = |seconds: u64| Timestamp::from_millis(seconds * 1_000);
        let (_, state) = check(None, at(100), Request::costing(1), &quota);
        // In the second window nothing is taken.
        let (_, state) = check(state.as_ref(), at(112), Request::costing(0), &quota);
        let (_, state) = check(state.as_ref(), at(121), Request::costing(10), &quota);
        let verdict = peek(state.as_ref(), at(121), 1, &quota);
        assert_eq!(verdict.retry_after, Some(seconds(11)));
        assert_eq!(verdict.reset, seconds(20));
    }
}
