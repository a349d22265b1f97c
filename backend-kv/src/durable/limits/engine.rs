//! What an object does with counts: it reads a key's row, decides by the pure rules, and writes.
//! Nothing is awaited in between, so that every request sees all before it.

use std::time::Duration;

use larder_core::rate_limit::{Check, KeyState, Reason};
use larder_core::{Quota, Timestamp};

use super::super::engine::{
    Database, Handled, LATEST, SWEEP_PAUSE, Value, first, integer, reply, unexpected,
};
use super::super::protocol::Reply;
use super::message::{Ask, Limit, Said, micros};
use crate::error::Failure;
use crate::stored_counts;

/// `now` in milliseconds since the UNIX epoch.
pub(in crate::durable) fn answer<D: Database>(
    database: &D,
    ask: &Ask<'_>,
    now: u64,
) -> Result<Handled, Failure> {
    let now = Timestamp::from_millis(now);
    match ask {
        Ask::Check { key, quotas, cost, lease, takes } => {
            let quotas = all(quotas);
            let mut check = Check::new(key, &quotas).cost(*cost).lease(*lease);
            check.takes = *takes;
            let changed = change(database, key, now, |state| state.check(now, &check))?;
            let (decision, expires) = changed;
            if decision.reason() == Reason::Blocked {
                let left = micros(decision.retry_after().unwrap_or_default());
                return Ok(Handled { expires, ..reply(&Reply::Blocked(left))? });
            }
            let said = |quota: &Quota| {
                let report = decision.quotas().find(|report| report.policy == quota.name());
                let report = report.ok_or_else(|| {
                    Failure::new(format!("there are two quotas {:?}", quota.name()))
                })?;
                Ok(Said::of(&report.verdict))
            };
            let said = quotas.iter().map(said).collect::<Result<_, Failure>>()?;
            Ok(Handled { expires, ..reply(&Reply::Verdicts(said))? })
        }
        Ask::Refund { key, quotas, cost } => {
            done(change(database, key, now, |state| state.refund(now, &all(quotas), *cost)))
        }
        Ask::Release { key, quotas, lease } => {
            done(change(database, key, now, |state| state.release(now, &all(quotas), *lease)))
        }
        Ask::Reset { key, quotas } => {
            done(change(database, key, now, |state| state.reset(&all(quotas))))
        }
        Ask::Block { key, micros } => {
            let time = Duration::from_micros(*micros);
            done(change(database, key, now, |state| state.block(now, time)))
        }
    }
}

fn all(quotas: &[Limit<'_>]) -> Vec<Quota> {
    quotas.iter().map(Limit::quota).collect()
}

fn done(changed: Result<((), Option<u64>), Failure>) -> Result<Handled, Failure> {
    let ((), expires) = changed?;
    Ok(Handled { expires, ..reply(&Reply::Done)? })
}

/// Changes what is kept of a key, and tells in milliseconds when that is over, if something is.
///
/// What is over and was not swept yet is read all the same: it says no more than nothing would, and
/// counts where the clock went back.
fn change<D: Database, R>(
    database: &D,
    key: &str,
    now: Timestamp,
    change: impl FnOnce(&mut KeyState) -> R,
) -> Result<(R, Option<u64>), Failure> {
    let kept = read(database, key)?;
    let mut state = kept.clone().unwrap_or_default();
    let result = change(&mut state);
    if state.forgotten_at() <= now {
        if kept.is_some() {
            database.run("DELETE FROM larder_limits_v1 WHERE key = ?", vec![key.into()])?;
        }
        return Ok((result, None));
    }
    let expires = expires(&state);
    match kept {
        Some(kept) if kept == state => {}
        // Without a change of the index, which would be another row written.
        Some(kept) if self::expires(&kept) == expires => {
            let row = vec![stored(&state)?, key.into()];
            database.run("UPDATE larder_limits_v1 SET state = ? WHERE key = ?", row)?;
        }
        _ => {
            let row = vec![key.into(), stored(&state)?, integer(expires)];
            database.run(
                "INSERT INTO larder_limits_v1 (key, state, expires) VALUES (?, ?, ?)
                 ON CONFLICT (key) DO UPDATE SET state = excluded.state, expires = excluded.expires",
                row,
            )?;
        }
    }
    Ok((result, Some(expires)))
}

/// When a row may be deleted, in milliseconds: in steps, as a rule that moves its end with every
/// request would move the row in the index with each.
fn expires(state: &KeyState) -> u64 {
    let forgotten = state.forgotten_at().as_micros().div_ceil(1_000);
    forgotten.next_multiple_of(SWEEP_PAUSE).min(LATEST)
}

fn stored(state: &KeyState) -> Result<Value, Failure> {
    stored_counts::encode(state).map(Value::Blob)
}

fn read<D: Database>(database: &D, key: &str) -> Result<Option<KeyState>, Failure> {
    let rows =
        database.run("SELECT state FROM larder_limits_v1 WHERE key = ?", vec![key.into()])?;
    match first(rows) {
        None => Ok(None),
        Some(Value::Blob(state)) => stored_counts::decode(&state).map(Some),
        Some(other) => Err(unexpected(&other)),
    }
}
