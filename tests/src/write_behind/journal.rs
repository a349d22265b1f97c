//! A journal around a journal, with taps in its pipes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use larder_core::write_behind::{
    Backlog, DeadLetter, JournalCapabilities, Journaled, Room, Sequence, Settled, Term,
};
use larder_core::{Journal, Runtime, StoreError};

use crate::stores::{Call, Tap};

/// The journal around the journal.
#[derive(Clone)]
pub(super) struct TappedJournal {
    inner: Arc<dyn Journal>,
    taps: Vec<Arc<dyn Tap>>,
    /// The most writes that are read at a time.
    window: usize,
}

impl TappedJournal {
    pub(super) fn new(inner: Arc<dyn Journal>, taps: Vec<Arc<dyn Tap>>, window: usize) -> Self {
        Self { inner, taps, window }
    }

    async fn through<T>(
        &self,
        call: Call,
        inner: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        for tap in &self.taps {
            tap.before(call).await?;
        }
        let answer = inner.await;
        for tap in &self.taps {
            tap.after(call).await?;
        }
        answer
    }
}

impl std::fmt::Debug for TappedJournal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TappedJournal").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[async_trait]
impl Journal for TappedJournal {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn id(&self) -> &str {
        self.inner.id()
    }

    fn capabilities(&self) -> &JournalCapabilities {
        self.inner.capabilities()
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        self.inner.runtime()
    }

    async fn append(&self, key: &str, value: Bytes) -> Result<Sequence, StoreError> {
        self.through(Call::Put, self.inner.append(key, value)).await
    }

    async fn lead(&self, flusher: &str, life: Duration) -> Result<Option<Term>, StoreError> {
        self.through(Call::Service, self.inner.lead(flusher, life)).await
    }

    async fn resign(&self, term: &Term) -> Result<(), StoreError> {
        self.through(Call::Service, self.inner.resign(term)).await
    }

    async fn read(
        &self,
        after: Option<Sequence>,
        room: Room,
    ) -> Result<Vec<Journaled>, StoreError> {
        assert!(room.writes <= self.window, "more is read than a window has room for: {room:?}");
        self.through(Call::GetMany, self.inner.read(after, room)).await
    }

    async fn settle(&self, term: &Term, settled: &[Settled]) -> Result<bool, StoreError> {
        self.through(Call::RemoveMany, self.inner.settle(term, settled)).await
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        self.through(Call::Get, self.inner.backlog()).await
    }

    async fn dead_letters(
        &self,
        after: Option<Sequence>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        self.through(Call::GetMany, self.inner.dead_letters(after, limit)).await
    }

    async fn replay(&self, sequence: Sequence) -> Result<bool, StoreError> {
        self.through(Call::Put, self.inner.replay(sequence)).await
    }

    async fn replayed(&self, room: Room) -> Result<Vec<DeadLetter>, StoreError> {
        self.through(Call::GetMany, self.inner.replayed(room)).await
    }

    async fn discard(&self, sequence: Sequence) -> Result<bool, StoreError> {
        self.through(Call::Remove, self.inner.discard(sequence)).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.through(Call::Service, self.inner.ready()).await
    }
}
