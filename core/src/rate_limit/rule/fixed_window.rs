//! Windows one after the other, each beginning with a request: what INCR and EXPIRE count.

use super::{Counts, Request, State};
use crate::rate_limit::Quota;
use crate::time::Timestamp;

/// The count of the window at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedWindow {
    /// How much was taken in it.
    pub count: u64,
    /// When it ends, and the count with it.
    pub ends: Timestamp,
}

impl Counts for FixedWindow {
    fn settle(state: Option<&State>, now: u64, quota: &Quota) -> Self {
        let next = Timestamp::from_micros(now.saturating_add(quota.window_micros()));
        match state {
            Some(State::FixedWindow(window)) if now < window.ends.as_micros() => {
                Self { count: window.count, ends: window.ends.min(next) }
            }
            _ => Self { count: 0, ends: next },
        }
    }

    fn into_state(self, _now: u64, _quota: &Quota) -> Option<State> {
        (self.count > 0).then_some(State::FixedWindow(self))
    }

    fn remaining(&self, _now: u64, quota: &Quota) -> u64 {
        quota.capacity().saturating_sub(self.count)
    }

    fn wait(&self, now: u64, _cost: u64, _quota: &Quota) -> u64 {
        self.ends.as_micros().saturating_sub(now)
    }

    fn reset(&self, now: u64, _quota: &Quota) -> u64 {
        if self.count == 0 { 0 } else { self.ends.as_micros().saturating_sub(now) }
    }

    fn take(mut self, _now: u64, request: Request, _quota: &Quota) -> Self {
        self.count = self.count.saturating_add(request.cost);
        self
    }

    fn give_back(mut self, cost: u64, _quota: &Quota) -> Self {
        self.count = self.count.saturating_sub(cost);
        self
    }
}
