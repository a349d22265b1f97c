//! What a flusher does with the writes that it has read, as functions of what it knows and the time:
//! which go into the next batch, what becomes of them after it, and when one is given up.
//!
//! A window holds the newest write of each key, and the places of those that it covers. A batch that
//! failed as a whole does not tell who is to blame, so that its writes go out in halves of it from
//! then on, until each was saved or failed by itself. Until something succeeds, all wait: one whose
//! sink is down is asked by one small batch after the other, at times that grow apart.

#[cfg(test)]
mod properties;
mod retry;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::sink::{Failure, Outcome, Unsaved};
use super::{Death, Journaled, Room, Sequence, Settled};
use crate::time::Timestamp;

pub(super) use retry::Backoff;

/// What a flusher goes by.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// The most writes in a batch.
    pub(super) batch: usize,
    /// How long the first write of a batch waits for others.
    pub(super) linger: Duration,
    /// After how many failures by itself, while others succeeded, a write is given up.
    pub(super) attempts: u32,
    pub(super) backoff: Backoff,
    /// The most keys in the window.
    pub(super) keys: usize,
    /// The most bytes of values in the window; one more write may exceed it.
    pub(super) bytes: usize,
}

/// The writes that are to be saved.
#[derive(Debug)]
pub(super) struct Window {
    rules: Rules,
    /// By the oldest place of each.
    queue: BTreeMap<Sequence, Pending>,
    oldest: HashMap<Arc<str>, Sequence>,
    bytes: usize,
    /// Batches in a row of which nothing was saved.
    failed_in_a_row: u32,
    /// Until when nothing is sent because of that.
    quiet_until: Timestamp,
    /// How many writes were saved.
    saved: u64,
}

/// The newest write of a key, and what it covers.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    key: Arc<str>,
    value: Bytes,
    /// Ascending; the last is the newest.
    sequences: Vec<Sequence>,
    since: Timestamp,
    /// Not before this.
    due: Timestamp,
    /// The largest batch that it may be part of.
    most: usize,
    /// Failures by itself, and those among them that count: that others succeeded meanwhile.
    failures: u32,
    counted: u32,
    /// [`Window::saved`] when it came, or failed last by itself.
    saved_before: u64,
}

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Next {
    /// To save this, and to [`conclude`](Window::conclude) what came of it.
    Save(Batch),
    /// To ask again then, or when there is more.
    Wait(Timestamp),
    /// Nothing, until there is more.
    Idle,
}

/// Writes that go to the sink together.
#[derive(Debug)]
pub(super) struct Batch(Vec<Pending>);

/// What came of a batch.
#[derive(Debug, Default)]
pub(super) struct Conclusion {
    /// What is done with.
    pub(super) settled: Vec<Settled>,
    /// How many are to be tried again.
    pub(super) failed: usize,
}

impl Pending {
    fn is_suspect(&self) -> bool {
        self.most < usize::MAX
    }

    fn first(&self) -> Option<Sequence> {
        self.sequences.first().copied()
    }

    fn newest(&self) -> Option<Sequence> {
        self.sequences.last().copied()
    }

    fn saved(self) -> Settled {
        Settled::saved(&*self.key, self.sequences)
    }

    fn dead(self, died_at: Timestamp, reason: String) -> Settled {
        let death = Death::new(self.value, reason, self.failures.saturating_add(1), died_at);
        Settled::dead(&*self.key, self.sequences, death)
    }
}

impl Batch {
    pub(super) fn writes(&self) -> Vec<Unsaved> {
        let unsaved = |pending: &Pending| {
            Some(Unsaved {
                key: Arc::clone(&pending.key),
                value: pending.value.clone(),
                sequence: pending.newest()?,
                covers: pending.sequences.len() - 1,
            })
        };
        self.0.iter().filter_map(unsaved).collect()
    }
}

impl Window {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            queue: BTreeMap::new(),
            oldest: HashMap::new(),
            bytes: 0,
            failed_in_a_row: 0,
            quiet_until: Timestamp::EPOCH,
            saved: 0,
        }
    }

    /// How much more may be read, if each write is of another key.
    pub(super) fn room(&self) -> Room {
        let keys = self.rules.keys.saturating_sub(self.queue.len());
        Room::new(keys, self.rules.bytes.saturating_sub(self.bytes))
    }

    /// Takes a write in. One that is older than what waits under its key is covered by that; one that
    /// is newer covers it, and waits as long as that would have: what fails is tried again no sooner.
    pub(super) fn admit(&mut self, now: Timestamp, write: Journaled) {
        let Journaled { sequence, key, value } = write;
        if let Some(mut pending) = self.take(&key) {
            if let Err(at) = pending.sequences.binary_search(&sequence) {
                if at == pending.sequences.len() {
                    pending.value = value;
                    // It is another value that was found wanting.
                    (pending.counted, pending.saved_before) = (0, self.saved);
                }
                pending.sequences.insert(at, sequence);
            }
            self.put(pending);
            return;
        }
        self.put(Pending {
            key: key.into(),
            value,
            sequences: vec![sequence],
            since: now,
            due: now,
            most: usize::MAX,
            failures: 0,
            counted: 0,
            saved_before: self.saved,
        });
    }

    /// What is to be done next. `hurries`: nothing waits for others to fill a batch.
    pub(super) fn next(&mut self, now: Timestamp, hurries: bool) -> Next {
        if self.queue.is_empty() {
            return Next::Idle;
        }
        if now < self.quiet_until {
            return Next::Wait(self.quiet_until);
        }
        let due = || self.queue.values().filter(|pending| pending.due <= now);
        // Who was due first, so that one which fails again and again is in nobody's way.
        let Some(first) = due().min_by_key(|pending| pending.due) else {
            return self.wait_for_next();
        };
        if !first.is_suspect() {
            let fresh = || due().filter(|pending| !pending.is_suspect());
            let chosen: Vec<_> =
                fresh().take(self.rules.batch).filter_map(Pending::first).collect();
            let has_lingered = |pending: &Pending| pending.since + self.rules.linger <= now;
            if hurries || chosen.len() == self.rules.batch || fresh().any(has_lingered) {
                return Next::Save(self.batch(chosen));
            }
        }
        // Those that failed go among themselves, so that no other fails because of them.
        let mut suspects: Vec<_> = due().filter(|pending| pending.is_suspect()).collect();
        suspects.sort_by_key(|pending| pending.due);
        let mut most = self.rules.batch;
        let mut chosen: Vec<Sequence> = Vec::new();
        for pending in suspects {
            most = most.min(pending.most);
            if chosen.len() >= most {
                break;
            }
            chosen.extend(pending.first());
        }
        if chosen.is_empty() {
            return self.wait_for_next();
        }
        Next::Save(self.batch(chosen))
    }

    /// What becomes of a batch that was sent; what dies of it, died at `died_at`. `spread` is between 0 and 1, and differs from time to
    /// time and from flusher to flusher.
    pub(super) fn conclude(
        &mut self,
        now: Timestamp,
        died_at: Timestamp,
        batch: Batch,
        outcome: Outcome,
        spread: f64,
    ) -> Conclusion {
        let mut conclusion = Conclusion::default();
        let mut rest = Vec::with_capacity(batch.0.len());
        let mut rejected: HashMap<usize, String> = outcome.rejected.into_iter().collect();
        for (index, pending) in batch.0.into_iter().enumerate() {
            match rejected.remove(&index) {
                Some(reason) => conclusion.settled.push(pending.dead(died_at, reason)),
                None => rest.push(pending),
            }
        }
        match outcome.rest {
            Ok(()) => {
                self.saved += rest.len() as u64;
                self.failed_in_a_row = 0;
                conclusion.settled.extend(rest.into_iter().map(Pending::saved));
            }
            Err(failure) => {
                self.failed(now, died_at, rest, &failure, spread, &mut conclusion);
            }
        }
        conclusion
    }

    fn failed(
        &mut self,
        now: Timestamp,
        died_at: Timestamp,
        rest: Vec<Pending>,
        failure: &Failure,
        spread: f64,
        conclusion: &mut Conclusion,
    ) {
        if !failure.is_permanent {
            self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
            let pause = self.rules.backoff.after(self.failed_in_a_row, spread);
            self.quiet_until = now + pause;
        }
        let is_alone = rest.len() == 1;
        let half = rest.len().div_ceil(2);
        for mut pending in rest {
            if !is_alone {
                pending.most = half;
                self.put_back(pending, conclusion);
                continue;
            }
            if failure.is_permanent {
                conclusion.settled.push(pending.dead(died_at, failure.reason.clone()));
                continue;
            }
            let others_succeeded = self.saved > pending.saved_before;
            pending.saved_before = self.saved;
            pending.counted += u32::from(others_succeeded);
            if pending.counted >= self.rules.attempts {
                conclusion.settled.push(pending.dead(died_at, failure.reason.clone()));
                continue;
            }
            pending.failures = pending.failures.saturating_add(1);
            pending.most = 1;
            pending.due = now + self.rules.backoff.after(pending.failures, spread);
            self.put_back(pending, conclusion);
        }
    }

    fn put_back(&mut self, pending: Pending, conclusion: &mut Conclusion) {
        conclusion.failed += 1;
        self.put(pending);
    }

    fn wait_for_next(&self) -> Next {
        let times = self.queue.values().map(|pending| match pending.is_suspect() {
            true => pending.due,
            false => pending.due.max(pending.since + self.rules.linger),
        });
        times.min().map_or(Next::Idle, Next::Wait)
    }

    fn batch(&mut self, chosen: Vec<Sequence>) -> Batch {
        let taken = chosen.into_iter().filter_map(|oldest| self.queue.remove(&oldest));
        let taken: Vec<_> = taken.collect();
        for pending in &taken {
            self.oldest.remove(&pending.key);
            self.bytes -= pending.value.len();
        }
        Batch(taken)
    }

    fn take(&mut self, key: &str) -> Option<Pending> {
        let pending = self.queue.remove(&self.oldest.remove(key)?)?;
        self.bytes -= pending.value.len();
        Some(pending)
    }

    fn put(&mut self, pending: Pending) {
        let Some(oldest) = pending.first() else { return };
        self.bytes += pending.value.len();
        self.oldest.insert(Arc::clone(&pending.key), oldest);
        self.queue.insert(oldest, pending);
    }
}
