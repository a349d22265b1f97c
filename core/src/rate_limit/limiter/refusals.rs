//! Refusals that need not be asked for again.
//!
//! A key that was refused stays refused until its wait is over, unless somebody gives something
//! back. What this limiter gives back, and what it takes at a lower cost, it sees at once; what
//! others do it sees after a bounded time.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::forgetful::{Forget, Forgetful};
use crate::rate_limit::rule::Verdict;
use crate::rate_limit::{Check, Decision, Quota, Reason, Rule};
use crate::time::Timestamp;

pub(super) struct Refusals {
    keys: Forgetful<Slot>,
    /// How often something was given back to keys, each counted by one of these.
    changes: [AtomicU64; STRIPES],
    hasher: RandomState,
    longest: Duration,
}

const STRIPES: usize = 64;

/// How often something had been given back to a key when the store was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark(u64);

#[derive(Default)]
struct Slot(Option<Refusal>);

struct Refusal {
    decision: Decision,
    quotas: Arc<[Quota]>,
    cost: u64,
    asked: Timestamp,
    answered: Timestamp,
    until: Timestamp,
}

impl Forget for Slot {
    fn forgotten_at(&self) -> Timestamp {
        self.0.as_ref().map_or(Timestamp::EPOCH, |refusal| refusal.until)
    }
}

impl Refusal {
    fn answers(&self, check: &Check<'_>, now: Timestamp) -> bool {
        let is_time = now < self.until;
        let is_same = self.decision.reason() == Reason::Blocked
            || (self.cost == check.cost && *self.quotas == *check.quotas);
        is_time && is_same
    }

    fn ends_by(&self, allowed: &[Quota]) -> bool {
        let counted = |name: &str| allowed.iter().any(|quota| quota.name() == name);
        self.decision.reason() == Reason::Blocked
            || self.quotas.iter().any(|quota| counted(quota.name()))
    }
}

impl Refusals {
    /// Of at most so many keys, and none for longer than `longest`.
    pub(super) fn new(keys: usize, longest: Duration) -> Self {
        Self {
            keys: Forgetful::new(keys),
            changes: [const { AtomicU64::new(0) }; STRIPES],
            hasher: RandomState::new(),
            longest,
        }
    }

    fn changes(&self, key: &str) -> &AtomicU64 {
        let stripe = self.hasher.hash_one(key) % STRIPES as u64;
        &self.changes[usize::try_from(stripe).unwrap_or(0)]
    }

    pub(super) fn mark(&self, key: &str) -> Mark {
        Mark(self.changes(key).load(Ordering::Acquire))
    }

    /// The answer to `check`, where it is known to be refused at `now`.
    pub(super) fn answer(&self, check: &Check<'_>, now: Timestamp) -> Option<Decision> {
        let answer = self.keys.change_known(check.key, now, |slot| {
            if slot.0.as_ref().is_some_and(|refusal| now < refusal.asked) {
                // The clock went back, and would come to this time again.
                slot.0 = None;
            }
            let refusal = slot.0.as_ref().filter(|refusal| refusal.answers(check, now));
            let answer = refusal.map(|it| it.decision.clone().remembered(now.since(it.answered)));
            Some((answer, slot.forgotten_at()))
        });
        answer.flatten()
    }

    /// Remembers a refusal that the store was asked for at `asked` and answered by `answered`; it
    /// decided in between.
    pub(super) fn remember(
        &self,
        check: &Check<'_>,
        quotas: &Arc<[Quota]>,
        mark: Mark,
        decision: &Decision,
        (asked, answered): (Timestamp, Timestamp),
    ) {
        if decision.is_allowed()
            || waits_for_a_release(decision, quotas)
            || binds_by_turns(decision)
        {
            return;
        }
        if answered < asked {
            // The clock went back: it does not tell when the wait is over.
            return;
        }
        // What costs more than a quota ever has is refused for ever.
        let wait = decision.retry_after().unwrap_or(Duration::MAX);
        let until = asked + wait.min(self.longest);
        let refusal = || Refusal {
            decision: decision.clone(),
            quotas: Arc::clone(quotas),
            cost: check.cost,
            asked,
            answered,
            until,
        };
        self.keys.change(check.key, answered, |slot| {
            if self.mark(check.key) == mark {
                slot.0 = Some(refusal());
            }
        });
    }

    /// To be called when `key` was allowed something by `quotas`: what is left is less than a refusal
    /// by one of them has told, and no block holds.
    pub(super) fn allowed(&self, key: &str, quotas: &[Quota], now: Timestamp) {
        self.keys.change_known(key, now, |slot| {
            slot.0 = slot.0.take().filter(|refusal| !refusal.ends_by(quotas));
            Some(((), slot.forgotten_at()))
        });
    }

    /// To be called when something was given back to `key`.
    pub(super) fn forget(&self, key: &str) {
        // Counted first: a refusal that is just being remembered is either seen to be older than
        // this, or is in its place by now.
        self.changes(key).fetch_add(1, Ordering::AcqRel);
        self.keys.change_known(key, Timestamp::MAX, |slot| {
            slot.0 = None;
            Some(((), slot.forgotten_at()))
        });
    }
}

/// Of two quotas that refuse for ever, now the one binds and now the other.
fn binds_by_turns(decision: &Decision) -> bool {
    let for_ever = |verdict: Verdict| !verdict.allowed && verdict.retry_after.is_none();
    decision.quotas().filter(|report| for_ever(report.verdict)).count() > 1
}

/// A lease may be released at any time, and anywhere.
fn waits_for_a_release(decision: &Decision, quotas: &[Quota]) -> bool {
    let is_of_leases = |name: &str| {
        quotas.iter().any(|quota| quota.rule() == Rule::Concurrency && quota.name() == name)
    };
    decision.quotas().any(|report| !report.verdict.allowed && is_of_leases(report.policy))
}
