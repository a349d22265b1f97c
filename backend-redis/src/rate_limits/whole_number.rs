//! Counts as other programs keep them: whole numbers that expire.

use std::time::Duration;

use larder_core::rate_limit::rule::{FixedWindow, State};
use larder_core::rate_limit::{Check, Decision};
use larder_core::{Quota, StoreError, Timestamp};
use redis::Value;

use super::RedisRateLimits;
use super::decide::decide;
use super::layout::RateLimitLayout;
use super::packed::{self, Ask};
use crate::script::Run;

impl RedisRateLimits {
    /// What was counted, and for how long yet.
    pub(super) async fn count(
        &self,
        operation: &'static str,
        ask: Ask,
        (key, quota): (&str, Option<&Quota>),
        cost: u64,
    ) -> Result<Counted, StoreError> {
        let keys = self.keys(operation, key, &[])?;
        let (limit, window) = match quota {
            Some(quota) => packed::whole_number(operation, quota)?,
            // Nothing is looked at but the block.
            None => (0, 0),
        };
        let ask = if quota.is_some() { ask } else { Ask::Peek };
        let adopts = self.layout == RateLimitLayout::Plain;
        let arguments = [ask as u64, limit, window, cost.min(packed::MOST), u64::from(adopts)]
            .map(|it| it.to_string());
        let arguments = arguments.each_ref().map(String::as_bytes);
        let (script, keys) = (&self.shared.scripts.count, keys.iter().collect::<Vec<_>>());
        let repeatable = ask == Ask::Peek;
        let run = Run { script, keys: &keys, arguments: &arguments, repeatable };
        let client = self.client();
        let reply = client.call(operation, &run, client.deadline()).await?;
        Counted::of(&reply).ok_or_else(|| client.unexpected(operation, &reply))
    }
}

/// What was counted under a whole number.
pub(super) struct Counted {
    count: u64,
    left: Duration,
    blocked: Duration,
}

impl Counted {
    fn of(reply: &Value) -> Option<Self> {
        let Value::Array(reply) = reply else { return None };
        let [count, Value::Int(left), Value::Int(blocked)] = reply.as_slice() else { return None };
        let count = match count {
            Value::BulkString(text) => {
                // Beyond what 64 bits hold it is beyond every limit.
                std::str::from_utf8(text).ok()?.parse().unwrap_or(u64::MAX)
            }
            _ => 0,
        };
        let part = |number: &i64| u64::try_from(*number).unwrap_or(0);
        let left = Duration::from_millis(part(left));
        Some(Self { count, left, blocked: Duration::from_micros(part(blocked)) })
    }

    pub(super) fn decide(&self, check: &Check<'_>) -> Decision {
        if !self.blocked.is_zero() {
            return Decision::blocked(self.blocked);
        }
        // Redis told how long the window lasts yet, and not when that is.
        let now = Timestamp::EPOCH;
        let window = FixedWindow { count: self.count, ends: now + self.left };
        let state = (self.count > 0).then_some(State::FixedWindow(window));
        decide(check, now, || std::iter::once(state.as_ref()))
    }
}
