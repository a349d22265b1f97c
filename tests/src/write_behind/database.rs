//! The sink, which knows what may come to it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use larder_core::write_behind::{DeadWrite, Sequence, Sink, SinkError, Write, WriteId};
use larder_core::{Error, Runtime, StoreErrorKind};

use super::{Figures, Plan, Poison};
use crate::seeds::Record;

pub(super) struct Database {
    plan: Plan,
    runtime: Arc<dyn Runtime>,
    pub(super) record: Record<Figures>,
    state: Mutex<State>,
}

struct State {
    random: fastrand::Rng,
    has_faults: bool,
    bears_all: bool,
    rows: BTreeMap<String, (Sequence, u64)>,
    /// Every write that was seen, by its id.
    seen: BTreeMap<Sequence, (String, u64)>,
    /// The last number of each key that was acknowledged.
    acknowledged: BTreeMap<String, u64>,
    /// How many numbers each writer has drawn.
    drawn: BTreeMap<String, usize>,
    saving: usize,
}

/// A sink on the database.
#[derive(Clone)]
pub(super) struct DatabaseSink(Arc<Database>);

/// What the sink does besides its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    FailsBefore,
    FailsAfter,
    Hangs,
    Panics,
}

/// A save that is under way; where its process is killed, it is dropped.
struct Saving<'a>(&'a Database);

impl Drop for Saving<'_> {
    fn drop(&mut self) {
        self.0.state().saving -= 1;
    }
}

impl Database {
    pub(super) fn new(plan: &Plan, runtime: Arc<dyn Runtime>) -> Self {
        let state = State {
            random: fastrand::Rng::with_seed(plan.seed ^ 0xdb),
            has_faults: plan.sink_faults,
            bears_all: plan.poison == Poison::None,
            rows: BTreeMap::new(),
            seen: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            drawn: BTreeMap::new(),
            saving: 0,
        };
        let record = Record::new(&runtime, plan.traced);
        Self { plan: plan.clone(), runtime, record, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn sink(self: &Arc<Self>) -> DatabaseSink {
        DatabaseSink(Arc::clone(self))
    }

    /// The next number of a writer, unless it has drawn as many as it is to.
    pub(super) fn next_of(&self, writer: &str, most: usize) -> Option<u64> {
        let mut state = self.state();
        let drawn = state.drawn.entry(writer.to_owned()).or_default();
        if *drawn >= most {
            return None;
        }
        *drawn += 1;
        Some(*drawn as u64)
    }

    pub(super) fn acknowledged(&self, key: &str, number: u64, id: &WriteId) {
        self.record.note(|| format!("{key}={number} is acknowledged as {}", id.sequence()));
        self.record.count(|figures| figures.written += 1);
        let same = (key.to_owned(), number);
        let mut state = self.state();
        state.acknowledged.insert(key.to_owned(), number);
        let seen = state.seen.entry(id.sequence()).or_insert_with(|| same.clone()).clone();
        drop(state);
        if seen != same {
            self.record.violation(format!("{id} is {seen:?} and {same:?}"));
        }
    }

    /// An error is fine where the plan provokes it.
    pub(super) fn refused(&self, key: &str, number: u64, error: &Error) {
        self.record.note(|| format!("{key}={number} is refused: {error}"));
        let provoked = match error {
            Error::Store(error) if error.kind() == StoreErrorKind::Full => {
                self.plan.max_writes < 100
            }
            Error::Store(_) => self.plan.journal_faults,
            _ => false,
        };
        if !provoked {
            self.record.violation(format!("the write {key}={number} fails: {error}"));
        }
    }

    pub(super) fn killed(&self) {
        self.record.count(|figures| figures.killed += 1);
    }

    pub(super) fn stop_faults(&self) {
        self.state().has_faults = false;
    }

    pub(super) fn heal(&self) {
        self.state().bears_all = true;
    }

    fn is_poison(&self, number: u64) -> bool {
        number % 7 == 3 && !self.state().bears_all
    }

    fn fault(&self) -> Fault {
        let mut state = self.state();
        if !state.has_faults {
            return Fault::None;
        }
        match state.random.u8(..12) {
            0 => Fault::FailsBefore,
            1 => Fault::FailsAfter,
            2 => Fault::Hangs,
            3 if cfg!(panic = "unwind") => Fault::Panics,
            _ => Fault::None,
        }
    }

    async fn pause(&self, most_millis: u64) {
        let pause = Duration::from_micros(self.state().random.u64(..most_millis * 1_000));
        self.runtime.sleep(pause).await;
    }

    fn begin(&self, writes: &[Write<u64>]) -> Saving<'_> {
        self.record.count(|figures| figures.saved += writes.len() as u64);
        let mut state = self.state();
        state.saving += 1;
        let mut problems = Vec::new();
        // A save that was given up may still be under way in the database, but not here.
        if state.saving > 1 {
            problems.push("two flushers save at a time".to_owned());
        }
        if writes.is_empty() || writes.len() > self.plan.batch {
            problems.push(format!("a batch of {}", writes.len()));
        }
        let keys: BTreeSet<_> = writes.iter().map(|write| &write.key).collect();
        if keys.len() < writes.len() {
            problems.push("a key is in a batch twice".to_owned());
        }
        for write in writes {
            let same = (write.key.clone(), write.value);
            let sequence = write.id.sequence();
            let seen = state.seen.entry(sequence).or_insert_with(|| same.clone());
            if *seen != same {
                problems.push(format!("{sequence} is {seen:?} and {same:?}"));
            }
        }
        drop(state);
        problems.into_iter().for_each(|problem| self.record.violation(problem));
        Saving(self)
    }

    fn apply(&self, write: &Write<u64>) {
        let (key, number, sequence) = (&write.key, write.value, write.id.sequence());
        let mut state = self.state();
        let before = state.rows.get(key).copied();
        if before.is_some_and(|(last, _)| last > sequence) {
            drop(state);
            self.record.note(|| format!("{key}={number} ({sequence}) comes late"));
            if !self.plan.is_guarded {
                self.record.violation(format!("{key}={number} is saved after {before:?}"));
            }
            return;
        }
        state.rows.insert(key.clone(), (sequence, number));
        drop(state);
        self.record.note(|| format!("{key}={number} ({sequence}) is saved"));
        if before.is_some_and(|(_, last)| last > number) {
            self.record.violation(format!("{key}={number} has a later place than {before:?}"));
        }
    }

    /// Looks at what is dead, when nothing is left to save.
    pub(super) fn check_dead(&self, dead: &[DeadWrite<u64>]) {
        self.record.count(|figures| figures.dead += dead.len() as u64);
        for dead in dead {
            let (key, sequence) = (&dead.key, dead.id.sequence());
            let row = self.state().rows.get(key).copied();
            match dead.value {
                // One that fails at random may do so often enough.
                Some(number) if !self.is_poison(number) && !self.plan.sink_faults => {
                    self.record.violation(format!("{key}={number} is dead: {}", dead.reason));
                }
                None => self.record.violation(format!("the value of a dead {key} cannot be read")),
                Some(_) => {}
            }
            if row.is_some_and(|(saved, _)| saved > sequence) {
                self.record.violation(format!("{key} at {sequence} is dead and obsolete: {row:?}"));
            }
        }
    }

    /// Looks at what stands there, when everything was saved.
    pub(super) fn check_end(&self) {
        let state = self.state();
        let missing: Vec<_> = state
            .acknowledged
            .iter()
            .filter(|(key, number)| state.rows.get(*key).is_none_or(|(_, row)| row < number))
            .map(|(key, number)| format!("{key}={number} is lost: {:?}", state.rows.get(key)))
            .collect();
        drop(state);
        missing.into_iter().for_each(|it| self.record.violation(it));
    }
}

#[async_trait]
impl Sink<u64> for DatabaseSink {
    async fn save(&self, writes: Vec<Write<u64>>) -> Result<(), SinkError> {
        let database = &*self.0;
        let _saving = database.begin(&writes);
        let fault = database.fault();
        database.record.note(|| {
            let shown: Vec<_> =
                writes.iter().map(|it| format!("{}={}", it.key, it.value)).collect();
            format!("is to save {} ({fault:?})", shown.join(" "))
        });
        database.pause(15).await;
        let poisoned = |(at, write): (usize, &Write<u64>)| {
            database.is_poison(write.value).then_some((at, "it cannot be borne"))
        };
        let poison: Vec<_> = writes.iter().enumerate().filter_map(poisoned).collect();
        match database.plan.poison {
            _ if fault == Fault::FailsBefore => return Err(SinkError::retry("on purpose, before")),
            Poison::Fails if !poison.is_empty() => return Err(SinkError::retry("it is locked")),
            Poison::FailsForGood if !poison.is_empty() => {
                return Err(SinkError::permanent("it breaks a rule"));
            }
            _ => {}
        }
        let good: Vec<_> =
            writes.into_iter().filter(|write| !database.is_poison(write.value)).collect();
        if database.plan.is_guarded {
            // It goes its way, whatever becomes of who asked for it.
            let (it, random) = (Arc::clone(&self.0), database.state().random.u64(..600));
            let late = if fault == Fault::None { 5 } else { random + 1 };
            database.runtime.spawn(Box::pin(async move {
                it.pause(late).await;
                good.iter().for_each(|write| it.apply(write));
            }));
            if fault == Fault::None {
                database.runtime.sleep(Duration::from_millis(6)).await;
            }
        } else {
            good.iter().for_each(|write| database.apply(write));
        }
        match fault {
            Fault::Hangs => pending().await,
            Fault::Panics => std::panic::resume_unwind(Box::new("on purpose")),
            Fault::FailsAfter => return Err(SinkError::retry("on purpose, after")),
            Fault::None | Fault::FailsBefore => {}
        }
        database.pause(15).await;
        if poison.is_empty() { Ok(()) } else { Err(SinkError::rejected(poison)) }
    }
}
