//! What the script is asked, and the states that it keeps: little-endian, numbers as doubles.
//!
//! Lua has no other numbers. Whole ones are exact in it below 2^53; limits and costs have to be
//! below 2^52, and times, with a century to come, are so until the year 2112.

use std::time::Duration;

use larder_core::rate_limit::Rule;
use larder_core::rate_limit::rule::{Concurrency, FixedWindow, Gcra, Lease, SlidingWindow, State};
use larder_core::{Quota, StoreError, Timestamp};
use redis::Value;

use super::config;
use crate::config::LONGEST;

/// Limits and costs are below this.
pub(super) const MOST: u64 = 1 << 52;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Ask {
    Peek = 0,
    Take = 1,
    Refund = 2,
    Release = 3,
}

/// How a state begins.
fn letter(rule: Rule) -> Option<u8> {
    match rule {
        Rule::FixedWindow => Some(b'f'),
        Rule::SlidingWindow => Some(b's'),
        Rule::Gcra => Some(b'g'),
        Rule::Concurrency => Some(b'c'),
        _ => None,
    }
}

/// What is asked of one subject.
pub(super) fn ask(
    operation: &'static str,
    ask: Ask,
    quotas: &[Quota],
    cost: u64,
    lease: u64,
) -> Result<Vec<u8>, StoreError> {
    let Ok(count) = u8::try_from(quotas.len()) else {
        let detail = format!("{} quotas at once; there can be at most {}", quotas.len(), u8::MAX);
        return Err(config(operation, detail));
    };
    let mut asked = Vec::with_capacity(2 + quotas.len() * 57);
    asked.extend([ask as u8, count]);
    for quota in quotas {
        put(&mut asked, quota, cost, lease)
            .map_err(|why| config(operation, format!("the quota {:?} {why}", quota.name())))?;
    }
    Ok(asked)
}

/// The limit and the window in milliseconds of a quota that a whole number holds.
pub(super) fn whole_number(
    operation: &'static str,
    quota: &Quota,
) -> Result<(u64, u64), StoreError> {
    let (limit, window) = within(quota)
        .map_err(|why| config(operation, format!("the quota {:?} {why}", quota.name())))?;
    Ok((limit, window.div_ceil(1_000)))
}

/// The limit, and the window in microseconds, where the script can count with them.
fn within(quota: &Quota) -> Result<(u64, u64), String> {
    let (limit, window) = (quota.limit(), quota.window());
    let most = limit.max(quota.capacity());
    if most >= MOST {
        return Err(format!("allows {most}; Redis counts exactly below {MOST} only"));
    }
    match u64::try_from(window.as_micros()) {
        Ok(micros) if window <= LONGEST => Ok((limit, micros)),
        _ => Err(format!("has a window of {window:?}; a century is the longest")),
    }
}

fn put(asked: &mut Vec<u8>, quota: &Quota, cost: u64, lease: u64) -> Result<(), String> {
    let letter = letter(quota.rule())
        .ok_or_else(|| format!("counts by {:?}, which this version cannot", quota.rule()))?;
    let (limit, window) = within(quota)?;
    // More than any limit, and so refused as every such cost.
    let cost = cost.min(MOST);
    asked.push(letter);
    match quota.rule() {
        Rule::Gcra => {
            let capacity = quota.capacity();
            let time = |units: u64| time_of(units, window, limit);
            let most = time(capacity);
            if most.0 > LONGEST.as_micros() {
                return Err(format!("takes more than a century to bring {capacity} back"));
            }
            numbers(asked, [limit.max(1)]);
            pair(asked, most);
            pair(asked, time(cost));
            match capacity.checked_sub(cost) {
                // Nothing owed is too much for nothing.
                _ if cost == 0 => numbers(asked, [MOST, 0]),
                Some(room) => pair(asked, time(room)),
                None => asked.extend([(-1_f64).to_le_bytes(), 0_f64.to_le_bytes()].concat()),
            }
        }
        rule => {
            numbers(asked, [limit, window, cost]);
            if rule == Rule::Concurrency {
                asked.extend(lease.to_le_bytes());
            }
        }
    }
    Ok(())
}

/// In which time so many units come back, in microseconds and parts of one of which there are
/// `limit`.
fn time_of(units: u64, window: u64, limit: u64) -> (u128, u64) {
    if let Some(parts) = units.checked_mul(window) {
        // A division of half the width, which is the common case, takes a fraction of the time.
        let limit = limit.max(1);
        return (u128::from(parts / limit), parts % limit);
    }
    let (parts, limit) = (u128::from(units) * u128::from(window), u128::from(limit.max(1)));
    (parts / limit, u64::try_from(parts % limit).unwrap_or(0))
}

fn pair(asked: &mut Vec<u8>, (whole, parts): (u128, u64)) {
    // A cost that is more than anything can owe.
    let whole = u64::try_from(whole).unwrap_or(MOST).min(MOST);
    numbers(asked, [whole, parts]);
}

#[allow(clippy::cast_precision_loss)] // All are at most 2^52.
fn numbers<const N: usize>(asked: &mut Vec<u8>, numbers: [u64; N]) {
    for number in numbers {
        asked.extend((number as f64).to_le_bytes());
    }
}

/// What the script found of a subject.
pub(super) struct Found {
    pub(super) now: Timestamp,
    block: Option<Timestamp>,
    /// The states of the first quota and of the others. One is the common case, and costs no
    /// allocation.
    first: Option<State>,
    others: Vec<Option<State>>,
}

impl Found {
    /// What was found of each subject, of which `sizes` tells how many keys it has.
    pub(super) fn in_reply(
        reply: &Value,
        sizes: impl ExactSizeIterator<Item = usize>,
    ) -> Option<Vec<Self>> {
        let Value::Array(values) = reply else { return None };
        let (Value::Int(now), mut rest) = values.split_last()? else { return None };
        let now = Timestamp::from_micros(now.unsigned_abs());
        let mut found = Vec::with_capacity(sizes.len());
        for size in sizes {
            let (values, others) = rest.split_at_checked(size)?;
            rest = others;
            let (block, values) = values.split_first()?;
            let mut states = values.iter().map(|value| text(value).and_then(state));
            found.push(Self {
                now,
                block: text(block).and_then(self::block),
                first: states.next().flatten(),
                others: states.collect(),
            });
        }
        rest.is_empty().then_some(found)
    }

    /// For how long the key is blocked yet.
    pub(super) fn blocked_for(&self) -> Option<Duration> {
        self.block.filter(|until| self.now < *until).map(|until| until.since(self.now))
    }

    /// The state of each quota.
    pub(super) fn states(&self) -> impl Iterator<Item = Option<&State>> {
        std::iter::once(&self.first).chain(&self.others).map(Option::as_ref)
    }
}

fn text(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(text) => Some(text),
        _ => None,
    }
}

/// The state that a value is, of whichever rule.
fn state(value: &[u8]) -> Option<State> {
    let (letter, rest) = value.split_first()?;
    match (letter, rest.len()) {
        (b'f', 16) => {
            let [count, ends] = read(rest)?;
            Some(State::FixedWindow(FixedWindow { count, ends: Timestamp::from_micros(ends) }))
        }
        (b's', 24) => {
            let [started, current, previous] = read(rest)?;
            let started = Timestamp::from_micros(started);
            Some(State::SlidingWindow(SlidingWindow { started, current, previous }))
        }
        (b'g', 16) => {
            let [full_at, fraction] = read(rest)?;
            let full_at = Timestamp::from_micros(full_at);
            Some(State::Gcra(Gcra { full_at, fraction }))
        }
        (b'c', length) if length % 24 == 0 => {
            let leases = rest.chunks_exact(24).map(|lease| {
                let (number, rest) = lease.split_first_chunk()?;
                let [cost, until] = read(rest)?;
                let (number, until) = (u64::from_le_bytes(*number), Timestamp::from_micros(until));
                Some(Lease { number, cost, until })
            });
            Some(State::Concurrency(Concurrency { leases: leases.collect::<Option<_>>()? }))
        }
        _ => None,
    }
}

/// Until when a block lasts.
fn block(value: &[u8]) -> Option<Timestamp> {
    let [until] = read(value).filter(|_| value.len() == 8)?;
    Some(Timestamp::from_micros(until))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Whole and below 2^53.
fn read<const N: usize>(mut bytes: &[u8]) -> Option<[u64; N]> {
    let mut numbers = [0; N];
    for number in &mut numbers {
        let (first, rest) = bytes.split_first_chunk()?;
        *number = f64::from_le_bytes(*first) as u64;
        bytes = rest;
    }
    Some(numbers)
}
