//! The database that the processes cache, which knows what may be seen of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use larder_core::invalidation::InvalidationStats;
use larder_core::{Runtime, Timestamp};

use super::{Outcome, Plan};

/// The cache's key of a row.
pub(super) fn name(key: usize) -> String {
    format!("row:{key}")
}

/// A row as the callers see it: which it is, and its version. Versions of a row only go up.
pub(super) type Stamp = (usize, usize);

pub(super) struct Database {
    runtime: Arc<dyn Runtime>,
    bound: Duration,
    traced: bool,
    rows: Vec<Mutex<Row>>,
    outcome: Mutex<Outcome>,
}

#[derive(Default)]
struct Row {
    version: usize,
    /// Versions below which everything was invalidated, and when that had returned.
    invalidated: Vec<(usize, Timestamp)>,
    /// When each process last loaded or invalidated it.
    touched: Vec<(usize, Timestamp)>,
    /// Until when what a process that was killed has left may be seen.
    excused_below: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Database {
    pub(super) fn new(plan: &Plan, runtime: Arc<dyn Runtime>) -> Self {
        Self {
            runtime,
            bound: plan.bound(),
            traced: plan.traced,
            rows: (0..plan.keys).map(|_| Mutex::default()).collect(),
            outcome: Mutex::default(),
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        std::mem::take(&mut lock(&self.outcome))
    }

    pub(super) fn violation(&self, what: String) {
        self.note(|| format!("VIOLATION: {what}"));
        lock(&self.outcome).violations.push(what);
    }

    pub(super) fn note(&self, what: impl FnOnce() -> String) {
        if self.traced {
            let at = self.runtime.now().as_micros() % 1_000_000_000;
            lock(&self.outcome).trace.push(format!("{at:>9} {}", what()));
        }
    }

    pub(super) fn read(&self, key: usize) -> Stamp {
        (key, lock(&self.rows[key]).version)
    }

    /// Changes a row; the new version.
    pub(super) fn write(&self, key: usize) -> usize {
        let mut row = lock(&self.rows[key]);
        row.version += 1;
        row.version
    }

    /// A process loads the row, or invalidates it.
    pub(super) fn touch(&self, node: usize, key: usize) {
        let now = self.runtime.now();
        let mut row = lock(&self.rows[key]);
        row.touched.retain(|(other, _)| *other != node);
        row.touched.push((node, now));
    }

    /// An invalidation of everything below this version has returned.
    pub(super) fn invalidated(&self, key: usize, version: usize) {
        let now = self.runtime.now();
        lock(&self.rows[key]).invalidated.push((version, now));
        lock(&self.outcome).invalidations += 1;
    }

    /// What a process did just before it was killed is not held against the others: it may have told
    /// nobody, and what it stored too late stays.
    pub(super) fn killed(&self, node: usize) {
        let now = self.runtime.now();
        for row in &self.rows {
            let mut row = lock(row);
            let touched = row.touched.iter().find(|(other, _)| *other == node);
            if touched.is_some_and(|(_, at)| now.since(*at) <= self.bound) {
                row.excused_below = row.version;
            }
        }
    }

    pub(super) fn look(&self) -> Timestamp {
        self.runtime.now()
    }

    /// Holds what a call got against what was invalidated when it began.
    pub(super) fn check(&self, node: usize, key: usize, began: Timestamp, got: Stamp) {
        let row = lock(&self.rows[key]);
        let (other, version) = got;
        let above = row.invalidated.iter().filter(|(below, _)| *below > version);
        let since = above.map(|(_, at)| began.since(*at)).max().unwrap_or_default();
        let is_excused = version < row.excused_below;
        let exists = other == key && version <= row.version;
        drop(row);
        {
            let mut outcome = lock(&self.outcome);
            outcome.reads += 1;
            outcome.late += u64::from(!since.is_zero());
        }
        if !exists {
            self.violation(format!("node {node} sees row {key} as {got:?}, which never was"));
        } else if since > self.bound && !is_excused {
            self.violation(format!(
                "node {node}, reading from {began:?} on, sees row {key} as {got:?}, which was \
                 invalidated {since:?} before; the bound is {:?}",
                self.bound
            ));
        }
    }

    pub(super) fn count(&self, stats: &InvalidationStats) {
        let mut outcome = lock(&self.outcome);
        outcome.gaps += stats.gaps;
        outcome.checks += stats.checks;
        outcome.withdrawn += stats.withdrawn;
    }
}
