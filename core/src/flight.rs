//! Loads under way: who leads, who follows, and what an invalidation does to them.
//!
//! A *flight* is one load of one key. Whoever claims a key first leads it; the others follow and
//! are given what the leader publishes. The leader holds a [`Lead`]; dropping it, at whatever
//! point, ends the flight and frees the key.
//!
//! A flight goes on after it has published, until its write to the store has ended. In that time
//! newcomers still find its value here, and an invalidation waits for the write, so that it can
//! remove what was written. A flight that was superseded before its write never writes.
//!
//! Before it loads, a leader may look into the store once more. What it sees there may be removed
//! before it can tell; so when an invalidation has done its work, it takes such looks out of the
//! reach of those who come later.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event_listener::Event;
use futures::future::{Either, select};

use crate::cache::Tags;
use crate::error::Error;
use crate::runtime::Runtime;
use crate::stripes::Stripes;
use crate::sync::lock;
use crate::time::Timestamp;

/// What a load came to: a value, the knowledge that there is none, or an error.
pub(crate) type Outcome<T> = Result<Option<Arc<T>>, Error>;

type AnyOutcome = Outcome<dyn Any + Send + Sync>;

const SHARDS: usize = 64;

/// Between two looks, where a task must not be woken by another.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(32);

/// The loads under way in one cache and its clones.
pub(crate) struct Flights {
    shards: Box<[Shard]>,
    hasher: RandomState,
    /// Invalidations of keys, and how many there were of patterns: for the flights that begin later
    /// than the load does whose value they carry.
    keys: Stripes<STRIPES>,
    patterns: AtomicU64,
}

/// Keys in one stripe are taken for one another only where a value comes of an earlier load.
const STRIPES: usize = 1 << 10;

/// What had been invalidated at some moment.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    keys: u64,
    patterns: u64,
}

#[derive(Default)]
struct Shard {
    /// How many flights have ended here, ever.
    ended: AtomicU64,
    flights: Mutex<FlightsOfKeys>,
}

type FlightsOfKeys = HashMap<Arc<str>, Vec<Arc<Flight>>>;

/// One load of one key.
pub(crate) struct Flight {
    /// What is loaded: callers that want another type under the same key fly on their own.
    kind: TypeId,
    /// What its value stands under.
    tags: Tags,
    /// When its leader is gone for sure, if it can go without a trace; never otherwise.
    forgotten: Timestamp,
    state: Mutex<State>,
    changed: Event,
}

struct State {
    outcome: Option<AnyOutcome>,
    /// The leader loads. Before that it may look into the store, and publish what it finds there.
    loading: bool,
    /// When it began to load; before that, when it claimed the key.
    started: Timestamp,
    /// What had been invalidated when it began to load.
    seen: Seen,
    superseded: bool,
    writing: bool,
    ended: bool,
}

/// How many flights had ended in a key's shard at some moment.
///
/// Taken before the store is read. A claim after a miss compares it: if a flight has ended in
/// between, the store may hold the key by now and is read again before it is loaded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark(u64);

/// Who claims a key, and what would serve it.
pub(crate) struct Claimer {
    /// What it wants to find.
    pub(crate) kind: TypeId,
    /// What the value stands under if it leads.
    pub(crate) tags: Tags,
    /// Whether the knowledge that there is no value is an answer.
    pub(crate) takes_absence: bool,
    pub(crate) now: Timestamp,
    /// How old a flight may be that has published nothing; or any, where leaders are forgotten.
    pub(crate) patience: Duration,
    /// After how long a leader is gone for sure, where it can go without a trace: its task may be
    /// neither polled nor dropped.
    pub(crate) forget_after: Option<Duration>,
}

pub(crate) enum Claimed {
    Lead {
        lead: Lead,
        /// Whether the store may have changed since the mark.
        recheck: bool,
    },
    Follow(Follow),
}

impl State {
    fn at(claimed: Timestamp) -> Self {
        Self {
            outcome: None,
            loading: false,
            started: claimed,
            seen: Seen::default(),
            superseded: false,
            writing: false,
            ended: false,
        }
    }
}

impl Flights {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            hasher: RandomState::new(),
            keys: Stripes::default(),
            patterns: AtomicU64::new(0),
        }
    }

    fn shard(&self, key: &str) -> &Shard {
        let index = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        &self.shards[index]
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        let count = |shard: &Shard| lock(&shard.flights).values().map(Vec::len).sum::<usize>();
        self.shards.iter().map(count).sum()
    }

    pub(crate) fn mark(&self, key: &str) -> Mark {
        Mark(self.shard(key).ended.load(Ordering::Acquire))
    }

    /// Leads the key, or follows the one who does.
    ///
    /// A flight that was superseded is not followed: what it loads is older than the invalidation.
    /// Neither is one that is older than the claimer's patience, as its leader is gone without a
    /// trace.
    pub(crate) fn claim(self: &Arc<Self>, key: &str, mark: Mark, claimer: &Claimer) -> Claimed {
        let shard = self.shard(key);
        let mut flights = lock(&shard.flights);
        if let Some(others) = flights.get(key)
            && let Some(flight) = others.iter().find(|flight| flight.serves(claimer))
        {
            let flight = Arc::clone(flight);
            return Claimed::Follow(Follow { flight, patience: claimer.patience });
        }
        let (kind, tags) = (claimer.kind, claimer.tags.clone());
        let lead = self.begin(&mut flights, key, kind, tags, claimer.now, claimer.forget_after);
        let recheck = shard.ended.load(Ordering::Acquire) != mark.0;
        Claimed::Lead { lead, recheck }
    }

    /// Leads the key, beside whoever else does.
    pub(crate) fn lead(
        self: &Arc<Self>,
        key: &str,
        kind: TypeId,
        tags: Tags,
        now: Timestamp,
        forget_after: Option<Duration>,
    ) -> Lead {
        self.begin(&mut lock(&self.shard(key).flights), key, kind, tags, now, forget_after)
    }

    fn begin(
        self: &Arc<Self>,
        flights: &mut FlightsOfKeys,
        key: &str,
        kind: TypeId,
        tags: Tags,
        now: Timestamp,
        forget_after: Option<Duration>,
    ) -> Lead {
        let key: Arc<str> =
            flights.get_key_value(key).map_or_else(|| Arc::from(key), |(key, _)| Arc::clone(key));
        let forgotten = forget_after.map_or(Timestamp::MAX, |after| now + after);
        let (state, changed) = (Mutex::new(State::at(now)), Event::new());
        let flight = Arc::new(Flight { kind, tags, forgotten, state, changed });
        let others = flights.entry(Arc::clone(&key)).or_default();
        others.retain(|other| !other.forget(now));
        others.push(Arc::clone(&flight));
        Lead { flights: Arc::clone(self), key, flight }
    }

    fn seen(&self) -> Seen {
        Seen { keys: self.keys.last(), patterns: self.patterns.load(Ordering::SeqCst) }
    }

    /// Whether nothing was invalidated since that concerns the key, or may.
    fn stands(&self, key: &str, seen: Seen) -> bool {
        self.patterns.load(Ordering::SeqCst) == seen.patterns
            && self.keys.stands(self.keys.of(key), seen.keys)
    }

    /// The flights of `keys`, which are being invalidated.
    pub(crate) fn of<K: AsRef<str>>(&self, keys: &[K]) -> Vec<Arc<Flight>> {
        let mut found = Vec::new();
        for key in keys.iter().map(AsRef::as_ref) {
            let _ = self.keys.invalidate(key);
            found.extend(lock(&self.shard(key).flights).get(key).into_iter().flatten().cloned());
        }
        found
    }

    /// The flights of a key but this one.
    pub(crate) fn of_others(&self, key: &str, own: &Arc<Flight>) -> Vec<Arc<Flight>> {
        let mut found = self.of(&[key]);
        found.retain(|flight| !Arc::ptr_eq(flight, own));
        found
    }

    /// All of them, which are being invalidated.
    pub(crate) fn every(&self) -> Vec<Arc<Flight>> {
        self.matching(|_| true)
    }

    /// The flights of every key that `matches`, which are being invalidated.
    pub(crate) fn matching(&self, matches: impl Fn(&str) -> bool) -> Vec<Arc<Flight>> {
        self.patterns.fetch_add(1, Ordering::SeqCst);
        self.all(|key, _| matches(key))
    }

    /// The flights whose value stands under any of `tags`.
    pub(crate) fn tagged(&self, tags: &[Arc<str>]) -> Vec<Arc<Flight>> {
        self.all(|_, flight| flight.tags.has_any(tags))
    }

    fn all(&self, is_meant: impl Fn(&str, &Flight) -> bool) -> Vec<Arc<Flight>> {
        let mut found = Vec::new();
        for shard in &self.shards {
            for (key, flights) in &*lock(&shard.flights) {
                found.extend(flights.iter().filter(|flight| is_meant(key, flight)).cloned());
            }
        }
        found
    }
}

/// Makes loads that are under way worthless to the store, and waits for the writes among them.
/// What is removed from the store after this stays removed.
pub(crate) async fn supersede(flights: Vec<Arc<Flight>>, runtime: &dyn Runtime) {
    written(overtake(flights), runtime).await;
}

/// Makes loads that are under way worthless to the store; those of which the write has begun.
pub(crate) fn overtake(mut flights: Vec<Arc<Flight>>) -> Vec<Arc<Flight>> {
    flights.retain(|flight| {
        let mut state = lock(&flight.state);
        state.superseded = true;
        state.writing && !state.ended
    });
    flights
}

/// Waits for the end of writes that have begun.
pub(crate) async fn written(flights: Vec<Arc<Flight>>, runtime: &dyn Runtime) {
    for flight in flights {
        let is_over = |state: &State| state.ended || runtime.now() >= flight.forgotten;
        flight.wait_until(runtime, |state| is_over(state).then_some(())).await;
    }
}

/// To be called when the store has done what an invalidation asked of it, with the flights of that
/// moment: what their leaders may have seen in the store before is not for those who come later.
pub(crate) fn discredit(flights: Vec<Arc<Flight>>) {
    for flight in flights {
        let mut state = lock(&flight.state);
        state.superseded |= !state.loading;
    }
}

impl Flight {
    fn serves(&self, claimer: &Claimer) -> bool {
        if self.kind != claimer.kind {
            return false;
        }
        let state = lock(&self.state);
        let is_young = claimer.now < state.started + claimer.patience;
        !state.superseded
            && !state.ended
            && (is_young || claimer.forget_after.is_none())
            && match &state.outcome {
                None => is_young,
                Some(Ok(None)) => claimer.takes_absence,
                Some(_) => true,
            }
    }

    /// Whether its leader is gone for sure. If it is not, its value is not written any more.
    fn forget(&self, now: Timestamp) -> bool {
        let is_forgotten = now >= self.forgotten;
        if is_forgotten {
            lock(&self.state).superseded = true;
        }
        is_forgotten
    }

    async fn wait_until<R>(&self, runtime: &dyn Runtime, look: impl Fn(&State) -> Option<R>) -> R {
        let mut pause = SHORTEST_PAUSE;
        while runtime.isolates_tasks() {
            if let Some(found) = look(&lock(&self.state)) {
                return found;
            }
            runtime.sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        loop {
            let changed = self.changed.listen();
            if let Some(found) = look(&lock(&self.state)) {
                return found;
            }
            changed.await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut lock(&self.state));
        self.changed.notify(usize::MAX);
    }
}

/// Leadership of a flight. Dropped, it ends the flight.
pub(crate) struct Lead {
    flights: Arc<Flights>,
    key: Arc<str>,
    flight: Arc<Flight>,
}

impl Lead {
    pub(crate) fn key(&self) -> &Arc<str> {
        &self.key
    }

    pub(crate) fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    pub(crate) fn tags(&self) -> &Tags {
        &self.flight.tags
    }

    /// Says that the leader has looked into the store in vain and begins to load. What was
    /// invalidated before this moment is not in what it will find.
    pub(crate) fn begin_load(&self, now: Timestamp) {
        let mut state = lock(&self.flight.state);
        state.loading = true;
        state.started = now;
        state.seen = self.flights.seen();
        state.superseded = false;
    }

    /// Takes over what befell the load of `other` since it began, as its value comes of that: also
    /// what was invalidated of this key, before there was a flight of it.
    pub(crate) fn come_of(&self, other: &Self) {
        let (seen, superseded) = {
            let state = lock(&other.flight.state);
            (state.seen, state.superseded)
        };
        let mut state = lock(&self.flight.state);
        state.seen = seen;
        state.superseded |= superseded || !self.flights.stands(&self.key, seen);
    }

    /// When the load began, which is when the life of its value begins.
    pub(crate) fn load_started(&self) -> Timestamp {
        lock(&self.flight.state).started
    }

    /// Hands the outcome to the followers, and to those who come before the flight has ended.
    pub(crate) fn publish<T: Send + Sync + 'static>(&self, outcome: Outcome<T>) {
        let outcome = outcome.map(|value| value.map(|value| value as Arc<dyn Any + Send + Sync>));
        self.flight.change(|state| state.outcome = Some(outcome));
    }

    /// Whether the value may still be written; from a `true` on, invalidations wait for the end of
    /// this flight.
    pub(crate) fn begin_write(&self) -> bool {
        let mut state = lock(&self.flight.state);
        state.writing = !state.superseded;
        state.writing
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let shard = self.flights.shard(&self.key);
        {
            let mut flights = lock(&shard.flights);
            if let Some(others) = flights.get_mut(&self.key) {
                others.retain(|flight| !Arc::ptr_eq(flight, &self.flight));
                if others.is_empty() {
                    flights.remove(&self.key);
                }
            }
            shard.ended.fetch_add(1, Ordering::Release);
        }
        self.flight.change(|state| state.ended = true);
    }
}

/// Why a leader has nothing for its followers. The key is to be claimed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// It went away.
    Gone,
    /// It took longer than the patience.
    Overdue,
}

/// A place among those who wait for a leader.
pub(crate) struct Follow {
    flight: Arc<Flight>,
    patience: Duration,
}

impl Follow {
    /// What the leader publishes.
    pub(crate) async fn outcome<T: Send + Sync + 'static>(
        self,
        runtime: &dyn Runtime,
    ) -> Result<Outcome<T>, Lost> {
        let published = self.flight.wait_until(runtime, |state| match &state.outcome {
            Some(outcome) => Some(Ok(outcome.clone())),
            None => state.ended.then_some(Err(Lost::Gone)),
        });
        let mut published = std::pin::pin!(published);
        let outcome = loop {
            let started = lock(&self.flight.state).started;
            let left = (started + self.patience).since(runtime.now());
            match select(&mut published, runtime.sleep(left)).await {
                Either::Left((outcome, _)) => break outcome?,
                // The leader may have waited for a lease before it began to load.
                Either::Right(_) if lock(&self.flight.state).started > started => {}
                Either::Right(_) => return Err(Lost::Overdue),
            }
        };
        match outcome {
            Ok(None) => Ok(Ok(None)),
            Ok(Some(value)) => value.downcast().map(|value| Ok(Some(value))).or(Err(Lost::Gone)),
            Err(error) => Ok(Err(error)),
        }
    }
}
