//! The port for journals: what a backend keeps, and what it says of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::StoreError;
use crate::runtime::Runtime;
use crate::time::Timestamp;

/// A journal of writes that have not reached their source yet.
///
/// Writes stand in the order in which they were appended, each under a [`Sequence`] of its own, until
/// they are settled: saved, or dead. One flusher works on a journal at a time, for a [`Term`]; what
/// it settles after its term is refused.
///
/// A dead letter is a write that the source would not take. It never gets in the way of a later write
/// of its key, nor overwrites one: there is at most one of a key, the newest; a later write of the key
/// that is saved removes it; and [`replay`](Self::replay) takes it up again at its old place.
///
/// Every implementation passes the same conformance suite. Keys arrive checked
/// ([`check_key`](crate::check_key)), and values within the limits of the [`JournalCapabilities`].
///
/// # Errors
///
/// Every method fails with a [`StoreError`] that names the journal and the operation. Whether what
/// failed was done is not known; each of them bears being called again, but for
/// [`append`](Self::append), which then may keep the write twice.
#[async_trait]
pub trait Journal: fmt::Debug + Send + Sync + 'static {
    /// A short name for logs, metrics and errors: `memory`, `redis`.
    fn name(&self) -> &'static str;

    /// What tells this journal from all others, for as long as it exists: with a [`Sequence`] it
    /// makes the key by which a sink knows a write again.
    fn id(&self) -> &str;

    /// What this journal promises, and its limits.
    fn capabilities(&self) -> &JournalCapabilities;

    /// The clock, timers and tasks that go with this journal.
    fn runtime(&self) -> Arc<dyn Runtime>;

    /// Keeps a write behind all others. When this returns, it is as safe as the journal makes it.
    ///
    /// Fails with [`StoreErrorKind::Full`](crate::StoreErrorKind::Full), and keeps nothing, where the
    /// journal has [as many writes](JournalCapabilities::max_writes) as it takes.
    async fn append(&self, key: &str, value: Bytes) -> Result<Sequence, StoreError>;

    /// Lets `flusher` work on the journal for `life` from now; `None` where another does.
    ///
    /// Called again by the same flusher within that time, it prolongs the same [`Term`]. A term that
    /// ran out is never prolonged: the next, whoever has it, has a higher number.
    async fn lead(&self, flusher: &str, life: Duration) -> Result<Option<Term>, StoreError>;

    /// Ends the term, if it is still under way, so that another flusher need not wait.
    async fn resign(&self, term: &Term) -> Result<(), StoreError>;

    /// The first writes that are not settled, after the one of `after`; in their order, and no more
    /// than `room` takes. Fewer do not mean that there are no others, none do.
    async fn read(&self, after: Option<Sequence>, room: Room)
    -> Result<Vec<Journaled>, StoreError>;

    /// Takes what is settled out of the journal, in one step; `false`, and nothing is done, where the
    /// term is over.
    ///
    /// What was saved takes the dead letter of its key along, unless that is of a later write; what
    /// died becomes one, in the place of an older of its key.
    async fn settle(&self, term: &Term, settled: &[Settled]) -> Result<bool, StoreError>;

    /// What waits.
    async fn backlog(&self) -> Result<Backlog, StoreError>;

    /// The dead letters after the one of `after`, the oldest write first; at most `limit`.
    async fn dead_letters(
        &self,
        after: Option<Sequence>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError>;

    /// Asks the flusher to try a dead letter again; whether there is such. It stays in the list until
    /// it is settled.
    async fn replay(&self, sequence: Sequence) -> Result<bool, StoreError>;

    /// The dead letters that are to be tried again, the oldest write first; no more than `room`
    /// takes.
    async fn replayed(&self, room: Room) -> Result<Vec<DeadLetter>, StoreError>;

    /// Drops a dead letter; whether there was such.
    async fn discard(&self, sequence: Sequence) -> Result<bool, StoreError>;

    /// Whether the journal answers now.
    async fn ready(&self) -> Result<(), StoreError>;

    /// Lets what is in flight finish, then refuses further calls. Idempotent.
    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A [`Journal`] whose writes outlive the process: what was acknowledged is there after a crash.
///
/// How much more it outlives (a power cut, the loss of a disk), its documentation says. It says of
/// itself that it is durable by [`JournalCapabilities::is_durable`].
pub trait DurableJournal: Journal {}

impl<J: DurableJournal + ?Sized> DurableJournal for Arc<J> {}

#[async_trait]
impl<J: Journal + ?Sized> Journal for Arc<J> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn id(&self) -> &str {
        (**self).id()
    }

    fn capabilities(&self) -> &JournalCapabilities {
        (**self).capabilities()
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        (**self).runtime()
    }

    async fn append(&self, key: &str, value: Bytes) -> Result<Sequence, StoreError> {
        (**self).append(key, value).await
    }

    async fn lead(&self, flusher: &str, life: Duration) -> Result<Option<Term>, StoreError> {
        (**self).lead(flusher, life).await
    }

    async fn resign(&self, term: &Term) -> Result<(), StoreError> {
        (**self).resign(term).await
    }

    async fn read(
        &self,
        after: Option<Sequence>,
        room: Room,
    ) -> Result<Vec<Journaled>, StoreError> {
        (**self).read(after, room).await
    }

    async fn settle(&self, term: &Term, settled: &[Settled]) -> Result<bool, StoreError> {
        (**self).settle(term, settled).await
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        (**self).backlog().await
    }

    async fn dead_letters(
        &self,
        after: Option<Sequence>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        (**self).dead_letters(after, limit).await
    }

    async fn replay(&self, sequence: Sequence) -> Result<bool, StoreError> {
        (**self).replay(sequence).await
    }

    async fn replayed(&self, room: Room) -> Result<Vec<DeadLetter>, StoreError> {
        (**self).replayed(room).await
    }

    async fn discard(&self, sequence: Sequence) -> Result<bool, StoreError> {
        (**self).discard(sequence).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        (**self).ready().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        (**self).close().await
    }
}

/// The place of a write in its journal: the microsecond in which it was appended, by the journal's
/// clock, or one more than the last, whichever is later.
///
/// So it grows from write to write, also where a clock goes back, and a journal that was lost and is
/// begun anew goes on where the old one was. It fits into a signed number of 64 bits, such as SQL's
/// `BIGINT`.
///
/// ```
/// use larder_core::Timestamp;
/// use larder_core::write_behind::Sequence;
///
/// let now = Timestamp::from_millis(1_767_225_600_000);
/// let first = Sequence::next(None, now);
/// let second = Sequence::next(Some(first), now);
/// assert!(first < second);
/// assert_eq!(first.written_at(), now);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(u64);

impl Sequence {
    /// From its number.
    #[must_use]
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// That of a write that is appended `now`, after the one of `last`.
    #[must_use]
    pub fn next(last: Option<Self>, now: Timestamp) -> Self {
        let least = last.map_or(1, |last| last.0.saturating_add(1));
        Self(now.as_micros().max(least))
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// When the write was appended, by the journal's clock.
    #[must_use]
    pub const fn written_at(self) -> Timestamp {
        Timestamp::from_micros(self.0)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// How much a reader has room for, see [`Journal::read`].
///
/// Reading ends with the value that reaches the number of bytes, so that one that is larger by itself
/// is read as well.
///
/// ```
/// use larder_core::write_behind::Room;
///
/// let mut room = Room::new(3, 1_000);
/// assert!(room.take(600));
/// assert!(!room.take(600), "this one goes in, and is the last");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Room {
    /// The most writes.
    pub writes: usize,
    /// The bytes of values after which there is room for no other.
    pub bytes: usize,
}

impl Room {
    /// So many writes, and bytes of their values.
    #[must_use]
    pub const fn new(writes: usize, bytes: usize) -> Self {
        Self { writes, bytes }
    }

    /// So many writes, however large.
    #[must_use]
    pub const fn of_writes(writes: usize) -> Self {
        Self::new(writes, usize::MAX)
    }

    /// Whether nothing goes in.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.writes == 0 || self.bytes == 0
    }

    /// Takes the room of a value of so many bytes; whether there is more.
    pub fn take(&mut self, bytes: usize) -> bool {
        self.writes = self.writes.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        !self.is_full()
    }

    /// The first of `items` that there is room for, by the bytes of their values.
    pub fn fill<T>(
        mut self,
        items: impl IntoIterator<Item = T>,
        bytes: impl Fn(&T) -> usize,
    ) -> Vec<T> {
        let mut filled = Vec::new();
        if self.is_full() {
            return filled;
        }
        for item in items {
            let has_more = self.take(bytes(&item));
            filled.push(item);
            if !has_more {
                break;
            }
        }
        filled
    }
}

/// A flusher's right to settle, see [`Journal::lead`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Term {
    /// Whose it is.
    pub flusher: String,
    /// Its number: higher than that of every term before it.
    pub number: u64,
}

impl Term {
    /// The term of that number.
    pub fn new(flusher: impl Into<String>, number: u64) -> Self {
        Self { flusher: flusher.into(), number }
    }
}

/// A write as the journal holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Journaled {
    /// Its place.
    pub sequence: Sequence,
    /// Its key.
    pub key: String,
    /// Its value, as [`Journal::append`] was given it.
    pub value: Bytes,
}

impl Journaled {
    /// A write.
    pub fn new(sequence: Sequence, key: impl Into<String>, value: Bytes) -> Self {
        Self { sequence, key: key.into(), value }
    }
}

/// Writes of one key that are done with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settled {
    /// Their key.
    pub key: String,
    /// The write that was tried, and those before it which it covers; ascending, never empty.
    pub sequences: Vec<Sequence>,
    /// Why the newest of them died; `None` where it was saved.
    pub death: Option<Death>,
}

impl Settled {
    /// Writes that were saved.
    pub fn saved(key: impl Into<String>, sequences: Vec<Sequence>) -> Self {
        Self { key: key.into(), sequences, death: None }
    }

    /// Writes the newest of which died.
    pub fn dead(key: impl Into<String>, sequences: Vec<Sequence>, death: Death) -> Self {
        Self { key: key.into(), sequences, death: Some(death) }
    }

    /// The newest of them.
    #[must_use]
    pub fn newest(&self) -> Option<Sequence> {
        self.sequences.last().copied()
    }
}

/// Why a write is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Death {
    /// Its value, as it was appended.
    pub value: Bytes,
    /// What the sink said.
    pub reason: String,
    /// How often it was tried by itself.
    pub attempts: u32,
    /// When it was given up.
    pub died_at: Timestamp,
}

impl Death {
    /// The end of a write.
    pub fn new(value: Bytes, reason: impl Into<String>, attempts: u32, died_at: Timestamp) -> Self {
        Self { value, reason: reason.into(), attempts, died_at }
    }
}

/// A write that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Its place in the journal.
    pub sequence: Sequence,
    /// Its key.
    pub key: String,
    /// Why it was given up.
    pub death: Death,
}

impl DeadLetter {
    /// The dead letter of a write.
    pub fn new(sequence: Sequence, key: impl Into<String>, death: Death) -> Self {
        Self { sequence, key: key.into(), death }
    }
}

/// What waits in a journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backlog {
    /// Writes that are not settled, and dead letters that are to be tried again.
    pub writes: u64,
    /// The oldest write that is not settled.
    pub oldest: Option<Sequence>,
    /// Dead letters, those that are to be tried again included.
    pub dead: u64,
}

impl Backlog {
    /// So many writes, the oldest of them, and so many dead letters.
    #[must_use]
    pub fn new(writes: u64, oldest: Option<Sequence>, dead: u64) -> Self {
        Self { writes, oldest, dead }
    }

    /// How long the oldest write has been waiting; zero where none does.
    #[must_use]
    pub fn lag(&self, now: Timestamp) -> Duration {
        self.oldest.map_or(Duration::ZERO, |oldest| now.since(oldest.written_at()))
    }
}

/// What a journal promises, and its limits.
///
/// ```
/// use larder_core::write_behind::JournalCapabilities;
///
/// assert!(JournalCapabilities::durable().is_durable);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct JournalCapabilities {
    /// Whether what was acknowledged outlives the process.
    pub is_durable: bool,
    /// The longest key, in bytes.
    pub max_key_bytes: usize,
    /// The largest value, in bytes as the journal is given it.
    pub max_value_bytes: usize,
    /// How many writes and dead letters there are at most.
    pub max_writes: usize,
}

impl JournalCapabilities {
    /// What was acknowledged outlives the process. Keys of up to 4,096 bytes, values of up to 1 MiB,
    /// and 100,000 writes.
    #[must_use]
    pub fn durable() -> Self {
        Self {
            is_durable: true,
            max_key_bytes: 4_096,
            max_value_bytes: 1 << 20,
            max_writes: 100_000,
        }
    }

    /// The same, but what was acknowledged ends with the process.
    #[must_use]
    pub fn volatile() -> Self {
        Self { is_durable: false, ..Self::durable() }
    }

    /// Sets the longest key, in bytes.
    #[must_use]
    pub fn max_key_bytes(mut self, bytes: usize) -> Self {
        self.max_key_bytes = bytes;
        self
    }

    /// Sets the largest value, in bytes.
    #[must_use]
    pub fn max_value_bytes(mut self, bytes: usize) -> Self {
        self.max_value_bytes = bytes;
        self
    }

    /// Sets how many writes and dead letters there are at most.
    #[must_use]
    pub fn max_writes(mut self, writes: usize) -> Self {
        self.max_writes = writes;
        self
    }
}
