//! The database that the processes cache, which knows what may be seen of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use larder_core::invalidation::InvalidationStats;
use larder_core::{Runtime, Timestamp};

use super::{Figures, Plan};
use crate::seeds::Record;

/// The cache's key of a row.
pub(super) fn name(key: usize) -> String {
    format!("row:{key}")
}

/// A row as the callers see it: which it is, and its version. Versions of a row only go up.
pub(super) type Stamp = (usize, usize);

pub(super) struct Database {
    runtime: Arc<dyn Runtime>,
    bound: Duration,
    bound_in_front: Duration,
    storing: Duration,
    rows: Vec<Mutex<Row>>,
    pub(super) record: Record<Figures>,
}

#[derive(Default)]
struct Row {
    version: usize,
    /// When each version was followed by the next.
    followed: Vec<Timestamp>,
    /// Versions below which everything was invalidated, and when that had returned.
    invalidated: Vec<(usize, Timestamp)>,
    /// When each process last invalidated it.
    told: Vec<(usize, Timestamp)>,
    loads: Vec<Load>,
    /// Until when what a process that was killed has left may be seen.
    excused_below: usize,
}

struct Load {
    node: usize,
    version: usize,
    /// `None` while it is under way.
    ended: Option<Timestamp>,
}

impl Row {
    /// Whether a load may have put this version into the store when the next was there already.
    fn is_left(&self, version: usize, storing: Duration) -> bool {
        let Some(followed) = self.followed.get(version) else { return false };
        self.loads.iter().any(|load| {
            let ended = load.ended.map(|at| at + storing);
            load.version == version && ended.is_none_or(|at| at >= *followed)
        })
    }

    /// Whether a load of this process has stored what was changed meanwhile, since then.
    fn has_left(&self, node: usize, since: Timestamp) -> bool {
        self.loads.iter().any(|load| {
            let is_recent = load.ended.is_some_and(|at| at >= since);
            load.node == node && load.version < self.version && is_recent
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Database {
    pub(super) fn new(plan: &Plan, runtime: Arc<dyn Runtime>) -> Self {
        Self {
            record: Record::new(&runtime, plan.traced),
            runtime,
            bound: plan.bound(),
            bound_in_front: plan.bound_in_front(),
            storing: plan.storing(),
            rows: (0..plan.keys).map(|_| Mutex::default()).collect(),
        }
    }

    /// A load of a process reads the row.
    pub(super) fn load(&self, node: usize, key: usize) -> Stamp {
        let mut row = lock(&self.rows[key]);
        let version = row.version;
        row.loads.push(Load { node, version, ended: None });
        (key, version)
    }

    /// The load that read this is about to store it.
    pub(super) fn loaded(&self, node: usize, (key, version): Stamp) {
        let now = self.runtime.now();
        let mut row = lock(&self.rows[key]);
        let mut loads = row.loads.iter_mut();
        let is_it =
            |load: &&mut Load| load.node == node && load.version == version && load.ended.is_none();
        if let Some(load) = loads.find(is_it) {
            load.ended = Some(now);
        }
    }

    /// Changes a row; the new version.
    pub(super) fn write(&self, key: usize) -> usize {
        let now = self.runtime.now();
        let mut row = lock(&self.rows[key]);
        row.version += 1;
        row.followed.push(now);
        row.version
    }

    /// An invalidation of everything below this version, by this process, has returned.
    pub(super) fn invalidated(&self, node: usize, (key, version): Stamp) {
        let now = self.runtime.now();
        let mut row = lock(&self.rows[key]);
        row.invalidated.push((version, now));
        row.told.retain(|(other, _)| *other != node);
        row.told.push((node, now));
        drop(row);
        self.record.count(|figures| figures.invalidations += 1);
    }

    /// Two things that a process did just before it was killed are not held against the others: what
    /// it stored too late stays; and where somebody did not know it, nobody misses what it said.
    pub(super) fn killed(&self, node: usize, was_known: bool) {
        let now = self.runtime.now();
        for row in &self.rows {
            let mut row = lock(row);
            let told = row.told.iter().find(|(other, _)| *other == node);
            let has_told = told.is_some_and(|(_, at)| now.since(*at) <= self.bound);
            if row.has_left(node, now - self.bound) || (has_told && !was_known) {
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
        let bound = match row.is_left(version, self.storing) {
            true => self.bound,
            false => self.bound_in_front,
        };
        drop(row);
        self.record.count(|figures| {
            figures.reads += 1;
            figures.late += u64::from(!since.is_zero());
        });
        if !exists {
            self.record
                .violation(format!("node {node} sees row {key} as {got:?}, which never was"));
        } else if since > bound && !is_excused {
            self.record.violation(format!(
                "node {node}, reading from {began:?} on, sees row {key} as {got:?}, which was \
                 invalidated {since:?} before; the bound is {bound:?}"
            ));
        }
    }

    pub(super) fn count(&self, stats: &InvalidationStats) {
        self.record.count(|figures| {
            figures.gaps += stats.gaps;
            figures.checks += stats.checks;
            figures.withdrawn += stats.withdrawn;
        });
    }
}
