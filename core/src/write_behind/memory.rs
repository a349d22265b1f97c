//! A journal in this process.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::journal::{
    Backlog, DeadLetter, Journal, JournalCapabilities, Journaled, Room, Sequence, Settled, Term,
};
use crate::error::StoreError;
use crate::runtime::Runtime;
use crate::sync::lock;
use crate::time::Timestamp;

const NAME: &str = "memory";

/// A [`Journal`] in this process, for tests: what it acknowledged ends with the process.
///
/// Clones share the writes.
///
/// ```
/// use larder_core::write_behind::MemoryJournal;
///
/// let journal = MemoryJournal::builder().max_writes(10_000).build();
/// assert!(journal.is_empty());
/// ```
#[derive(Clone)]
pub struct MemoryJournal {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    id: String,
    capabilities: JournalCapabilities,
    runtime: Arc<dyn Runtime>,
}

#[derive(Default)]
struct State {
    last: Option<Sequence>,
    writes: BTreeMap<Sequence, (String, Bytes)>,
    dead: BTreeMap<Sequence, Dead>,
    dead_of_key: HashMap<String, Sequence>,
    terms: u64,
    leader: Option<(Term, Timestamp)>,
}

struct Dead {
    letter: DeadLetter,
    is_replayed: bool,
}

/// Builds a [`MemoryJournal`].
///
/// ```
/// use larder_core::write_behind::MemoryJournal;
///
/// let journal = MemoryJournal::builder().max_writes(10_000).build();
/// # let _ = journal;
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` or `on`"]
pub struct MemoryJournalBuilder {
    capabilities: JournalCapabilities,
}

impl MemoryJournalBuilder {
    /// How many writes and dead letters there are at most. 100,000 by default.
    pub fn max_writes(mut self, writes: usize) -> Self {
        self.capabilities.max_writes = writes;
        self
    }

    /// The journal, on the clock of `runtime`.
    ///
    /// ```
    /// # use larder_core::{SystemRuntime, write_behind::MemoryJournal};
    /// let journal = MemoryJournal::builder().on(SystemRuntime::default());
    /// # let _ = journal;
    /// ```
    #[must_use]
    pub fn on(self, runtime: impl Runtime) -> MemoryJournal {
        let id = format!("{NAME}-{:016x}", fastrand::u64(..));
        let capabilities = self.capabilities;
        let (state, runtime) = (Mutex::default(), Arc::new(runtime));
        MemoryJournal { inner: Arc::new(Inner { state, id, capabilities, runtime }) }
    }
}

impl MemoryJournal {
    /// Starts to build a journal.
    ///
    /// ```
    /// # use larder_core::write_behind::MemoryJournal;
    /// let journal = MemoryJournal::builder().max_writes(10_000).build();
    /// # let _ = journal;
    /// ```
    pub fn builder() -> MemoryJournalBuilder {
        MemoryJournalBuilder { capabilities: JournalCapabilities::volatile() }
    }

    /// How many writes wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state().writes.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.inner.state)
    }
}

impl State {
    fn holds(&self, term: &Term, now: Timestamp) -> bool {
        self.leader.as_ref().is_some_and(|(leader, until)| leader == term && now < *until)
    }

    fn settle(&mut self, settled: &Settled) {
        for sequence in &settled.sequences {
            self.writes.remove(sequence);
        }
        let Some(newest) = settled.newest() else { return };
        match self.dead_of_key.get(&settled.key) {
            Some(dead) if *dead > newest => return,
            Some(dead) => drop(self.dead.remove(dead)),
            None => {}
        }
        self.dead_of_key.remove(&settled.key);
        if let Some(death) = &settled.death {
            let letter = DeadLetter::new(newest, &*settled.key, death.clone());
            self.dead.insert(newest, Dead { letter, is_replayed: false });
            self.dead_of_key.insert(settled.key.clone(), newest);
        }
    }
}

/// The part of a map of places that comes after one of them.
fn after<V>(
    map: &BTreeMap<Sequence, V>,
    after: Option<Sequence>,
) -> impl Iterator<Item = (&Sequence, &V)> {
    use std::ops::Bound;
    map.range((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
}

#[async_trait]
impl Journal for MemoryJournal {
    fn name(&self) -> &'static str {
        NAME
    }

    fn id(&self) -> &str {
        &self.inner.id
    }

    fn capabilities(&self) -> &JournalCapabilities {
        &self.inner.capabilities
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::clone(&self.inner.runtime)
    }

    async fn append(&self, key: &str, value: Bytes) -> Result<Sequence, StoreError> {
        let mut state = self.state();
        let max = self.inner.capabilities.max_writes;
        if state.writes.len() + state.dead.len() >= max {
            return Err(StoreError::full(NAME, "append", max));
        }
        let sequence = Sequence::next(state.last, self.inner.runtime.now());
        state.last = Some(sequence);
        state.writes.insert(sequence, (key.to_owned(), value));
        Ok(sequence)
    }

    async fn lead(&self, flusher: &str, life: Duration) -> Result<Option<Term>, StoreError> {
        let now = self.inner.runtime.now();
        let mut state = self.state();
        if let Some((term, until)) = &mut state.leader
            && now < *until
        {
            if term.flusher != flusher {
                return Ok(None);
            }
            *until = now + life;
            return Ok(Some(term.clone()));
        }
        state.terms += 1;
        let term = Term::new(flusher, state.terms);
        state.leader = Some((term.clone(), now + life));
        Ok(Some(term))
    }

    async fn resign(&self, term: &Term) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.leader.as_ref().is_some_and(|(leader, _)| leader == term) {
            state.leader = None;
        }
        Ok(())
    }

    async fn read(&self, from: Option<Sequence>, room: Room) -> Result<Vec<Journaled>, StoreError> {
        let write = |(sequence, (key, value)): (&Sequence, &(String, Bytes))| {
            Journaled::new(*sequence, &**key, value.clone())
        };
        let state = self.state();
        Ok(room.fill(after(&state.writes, from).map(write), |write| write.value.len()))
    }

    async fn settle(&self, term: &Term, settled: &[Settled]) -> Result<bool, StoreError> {
        let now = self.inner.runtime.now();
        let mut state = self.state();
        let holds = state.holds(term, now);
        if holds {
            settled.iter().for_each(|settled| state.settle(settled));
        }
        Ok(holds)
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        let state = self.state();
        let replayed = || state.dead.iter().filter(|(_, dead)| dead.is_replayed);
        let writes = state.writes.len() + replayed().count();
        let first = state.writes.keys().next().copied();
        Ok(Backlog::new(writes as u64, first, state.dead.len() as u64))
    }

    async fn dead_letters(
        &self,
        from: Option<Sequence>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let state = self.state();
        Ok(after(&state.dead, from).take(limit).map(|(_, dead)| dead.letter.clone()).collect())
    }

    async fn replay(&self, sequence: Sequence) -> Result<bool, StoreError> {
        let mut state = self.state();
        let dead = state.dead.get_mut(&sequence);
        Ok(dead.map(|dead| dead.is_replayed = true).is_some())
    }

    async fn replayed(&self, room: Room) -> Result<Vec<DeadLetter>, StoreError> {
        let state = self.state();
        let replayed = state.dead.values().filter(|dead| dead.is_replayed);
        Ok(room.fill(replayed.map(|dead| dead.letter.clone()), |letter| letter.death.value.len()))
    }

    async fn discard(&self, sequence: Sequence) -> Result<bool, StoreError> {
        let mut state = self.state();
        let Some(dead) = state.dead.remove(&sequence) else { return Ok(false) };
        state.dead_of_key.remove(&dead.letter.key);
        Ok(true)
    }

    async fn ready(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl fmt::Debug for MemoryJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryJournal").field("len", &self.len()).finish_non_exhaustive()
    }
}
