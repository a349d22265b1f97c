//! The database that the callers cache, which knows what may be seen of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::lock::{Mutex as AsyncMutex, OwnedMutexGuard};
use larder_core::{Cache, Error, Runtime, Timestamp};

use super::{Figures, LOAD_TIMEOUT, Plan};
use crate::seeds::Record;

/// The cache's key of a row.
pub(super) fn name(key: usize) -> String {
    format!("row:{key}")
}

/// The cache's key of a row in a byte form of its own.
pub(super) fn raw_name(key: usize) -> String {
    format!("raw:{key}")
}

/// Every key of a row in the cache.
pub(super) fn names(key: usize) -> [String; 2] {
    [name(key), raw_name(key)]
}

/// A row as the callers see it: which it is, and its version. Versions of a row only go up.
pub(super) type Stamp = (usize, usize);

pub(super) struct Database {
    runtime: Arc<dyn Runtime>,
    ttl: Duration,
    rows: Vec<Mutex<Row>>,
    pub(super) record: Record<Figures>,
    /// One writer of a row at a time, where the plan asks for it.
    writers: Vec<Arc<AsyncMutex<()>>>,
}

struct Row {
    versions: Vec<Version>,
    /// The oldest version that may be seen by who begins to read now.
    floor: usize,
    /// How many invalidations have begun, and how many of them have not ended.
    invalidations: u64,
    open: u64,
    /// The loads under way, each with its kind and what stood when its call began.
    loads: HashMap<u64, (Kind, Seen)>,
    next_load: u64,
}

/// What is loaded of a row. Each kind has a key of its own in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Coded,
    Raw,
}

struct Version {
    exists: bool,
    /// When the next version took its place.
    until: Option<Timestamp>,
}

/// What stood when a call began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    floor: usize,
    at: Timestamp,
    invalidations: u64,
    open: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Database {
    pub(super) fn new(plan: &Plan, runtime: Arc<dyn Runtime>) -> Self {
        let row = |_| {
            Mutex::new(Row {
                versions: vec![Version { exists: true, until: None }],
                floor: 0,
                invalidations: 0,
                open: 0,
                loads: HashMap::new(),
                next_load: 0,
            })
        };
        Self {
            record: Record::new(&runtime, plan.traced),
            runtime,
            ttl: plan.ttl,
            rows: (0..plan.keys).map(row).collect(),
            writers: (0..plan.keys).map(|_| Arc::default()).collect(),
        }
    }

    pub(super) fn call_ended(&self) {
        self.record.count(|figures| figures.calls += 1);
    }

    pub(super) async fn writer(&self, key: usize) -> OwnedMutexGuard<()> {
        Arc::clone(&self.writers[key]).lock_owned().await
    }

    /// The version of a row now, if the row exists.
    pub(super) fn read(&self, key: usize) -> Option<Stamp> {
        let row = lock(&self.rows[key]);
        let version = row.versions.len() - 1;
        row.versions[version].exists.then_some((key, version))
    }

    /// Changes a row, or makes it come or go; the new version.
    pub(super) fn write(&self, key: usize, exists: bool) -> usize {
        let now = self.runtime.now();
        let mut row = lock(&self.rows[key]);
        if let Some(last) = row.versions.last_mut() {
            last.until = Some(now);
        }
        row.versions.push(Version { exists, until: None });
        row.versions.len() - 1
    }

    pub(super) fn look(&self, key: usize) -> Seen {
        let row = lock(&self.rows[key]);
        let Row { floor, invalidations, open, .. } = *row;
        Seen { floor, at: self.runtime.now(), invalidations, open }
    }

    /// Begins a load of `key` for a call that has `seen` what stood; the load ends when the guard
    /// is dropped.
    pub(super) fn begin_load(self: &Arc<Self>, kind: Kind, key: usize, seen: Seen) -> Load {
        let mut row = lock(&self.rows[key]);
        let stood_since = |call: &Seen| call.open == 0 && call.invalidations == row.invalidations;
        let mut others = row.loads.values().filter(|(other, _)| *other == kind);
        let alone = !stood_since(&seen) || !others.any(|(_, call)| stood_since(call));
        let number = row.next_load;
        row.next_load += 1;
        row.loads.insert(number, (kind, seen));
        drop(row);
        self.record.count(|figures| figures.loads += 1);
        if !alone {
            self.record.violation(format!(
                "two loads of {key} ({kind:?}) overlap without an invalidation"
            ));
        }
        Load { database: Arc::clone(self), key, number }
    }

    /// Begins an invalidation of `keys`, each of which stands at a version.
    pub(super) fn begin_invalidation(
        self: &Arc<Self>,
        keys: impl IntoIterator<Item = usize>,
    ) -> Invalidation {
        let mut versions = Vec::new();
        for key in keys {
            let mut row = lock(&self.rows[key]);
            row.invalidations += 1;
            row.open += 1;
            versions.push((key, row.versions.len() - 1));
        }
        Invalidation { database: Arc::clone(self), versions }
    }

    /// Holds what a call got against what stood when it began. `lag` is how much older than an
    /// entry's life it may be, because the load behind it was waited for.
    pub(super) fn check(&self, key: usize, seen: Seen, got: Option<Stamp>, lag: Lag) {
        let row = lock(&self.rows[key]);
        let oldest = seen.at - (self.ttl + lag.most());
        let in_time = |version: &Version| version.until.is_none_or(|until| until >= oldest);
        let problem = match got {
            Some((other, _)) if other != key => Some(format!("it is of row {other}")),
            Some((_, version)) => match row.versions.get(version) {
                None => Some("there is no such version".to_owned()),
                Some(_) if version < seen.floor => {
                    Some(format!("it was invalidated up to version {}", seen.floor))
                }
                Some(of) if !of.exists => Some("the row does not exist in it".into()),
                Some(of) if !in_time(of) => Some(format!("its life was over at {:?}", of.until)),
                Some(_) => None,
            },
            None => {
                let mut candidates = row.versions.iter().skip(seen.floor);
                let absent = candidates.any(|version| !version.exists && in_time(version));
                (!absent).then(|| format!("the row has existed since version {}", seen.floor))
            }
        };
        drop(row);
        if let Some(problem) = problem {
            self.record
                .violation(format!("row {key}, read from {:?} on, is {got:?}: {problem}", seen.at));
        }
    }

    /// After the last invalidation the cache holds what the database holds.
    pub(super) async fn check_end(
        self: &Arc<Self>,
        key: usize,
        cache: &Cache,
    ) -> Result<(), Error> {
        let loads = lock(&self.rows[key]).loads.len();
        if loads > 0 {
            self.record.violation(format!("{loads} loads of {key} never ended"));
        }
        let found = async || Ok::<_, Error>(self.read(key));
        for _ in 0..2 {
            let got = cache.get_or_find(name(key), found).await?;
            if got.as_deref().copied() != self.read(key) {
                self.record.violation(format!("in the end row {key} is {got:?}"));
            }
        }
        Ok(())
    }
}

/// How old an answer may be beyond the life of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lag {
    /// It was read from the store.
    None,
    /// It may come of a load that was under way, and was being written.
    Load,
}

impl Lag {
    fn most(self) -> Duration {
        match self {
            Self::None => Duration::ZERO,
            Self::Load => LOAD_TIMEOUT * 3,
        }
    }
}

pub(super) struct Load {
    database: Arc<Database>,
    key: usize,
    number: u64,
}

impl Drop for Load {
    fn drop(&mut self) {
        lock(&self.database.rows[self.key]).loads.remove(&self.number);
    }
}

pub(super) struct Invalidation {
    database: Arc<Database>,
    versions: Vec<(usize, usize)>,
}

impl Invalidation {
    /// The keys, and the version of each at the beginning.
    pub(super) fn versions(&self) -> &[(usize, usize)] {
        &self.versions
    }

    /// The invalidation has returned: nothing older may be seen by who comes now.
    pub(super) fn done(self) {
        for (key, version) in &self.versions {
            let mut row = lock(&self.database.rows[*key]);
            row.floor = row.floor.max(*version);
        }
    }
}

impl Drop for Invalidation {
    fn drop(&mut self) {
        for (key, _) in &self.versions {
            let mut row = lock(&self.database.rows[*key]);
            row.open -= 1;
            // Its last effects count as one more, for loads that began while it was open.
            row.invalidations += 1;
        }
    }
}
