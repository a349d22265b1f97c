//! What a program holds.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::select;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::builder::{WhenFull, WriteBehindBuilder};
use super::control::{Control, Handles, Phase};
use super::frame;
use super::journal::{Backlog, DeadLetter, DurableJournal, Journal, Sequence};
use super::meter::{Meter, WriteBehindStats};
use super::sink::{Sink, WriteId};
use crate::codec::AnyCodec;
use crate::error::{Error, StoreError, StoreErrorKind};
use crate::key::check_key;
use crate::runtime::Runtime;
use crate::time::{Timestamp, millis};

/// How often a full journal, or one that is to run empty, is asked again where nothing is heard.
const LOOK_AGAIN: Duration = millis(50);

/// Writes that are acknowledged when a journal holds them, and saved by a sink later.
///
/// - **What was acknowledged is saved**, at least once, after any crash: as safely as the journal
///   keeps it.
/// - **Of each key the newest that waits**: it covers those before it, and no write reaches the sink
///   after a later one of its key. Keys have no order among each other.
/// - **In batches**, one at a time, by one flusher however many processes share the journal. Another
///   takes over when it ends, or when its lease does.
/// - **A failure is tried again** after a while that grows. A write that keeps failing by itself while
///   others are saved, or that the sink refuses for good, becomes a dead letter: it is
///   [listed](Self::dead_letters), [replayed](Self::replay) or [discarded](Self::discard), and stands
///   in nobody's way. A later write of its key that is saved makes it obsolete and removes it, and a
///   replay takes its old place, before every later write of its key.
/// - **Bounded**: the journal by its number of writes, with a [choice](WhenFull) of what happens then;
///   the flusher by its [window](WriteBehindBuilder::window).
///
/// Clones are cheap and share everything. With the last of them the flusher leaves, after the batch
/// that it is at; what waits stays in the journal, for the next that is built on it.
///
/// ```
/// use larder_core::write_behind::{MemoryJournal, Write, WriteBehind};
/// use larder_core::seconds;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// let save = async |writes: Vec<Write<String>>| {
///     for write in writes {
///         println!("UPDATE users SET name = {:?} WHERE id = {:?}", write.value, write.key);
///     }
///     Ok::<_, std::io::Error>(())
/// };
/// let names = WriteBehind::volatile(MemoryJournal::new(), save).build()?;
///
/// names.write("42", &"Zoe".into()).await?;
/// names.write("42", &"Zoë".into()).await?;
/// assert_eq!(names.stop(seconds(5)).await?.writes, 0);
/// # Ok(()) }
/// ```
pub struct WriteBehind<T> {
    core: Arc<Core>,
    handles: Arc<Handles>,
    codec: AnyCodec,
    when_full: WhenFull,
    of: PhantomData<fn(T)>,
}

/// What handles and flusher share.
pub(super) struct Core {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) id: Arc<str>,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) meter: Meter,
    pub(super) control: Arc<Control>,
}

/// A dead letter, with its value where that can be read.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DeadWrite<T> {
    /// Its key.
    pub key: String,
    /// Its value; `None` where it is not of this type and codec.
    pub value: Option<T>,
    /// What it is known by, to the sink as well.
    pub id: WriteId,
    /// What the sink said.
    pub reason: String,
    /// How often it was tried by itself.
    pub attempts: u32,
    /// When it was given up.
    pub died_at: Timestamp,
}

impl<T> WriteBehind<T>
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    /// Starts to build on a journal that outlives the process.
    ///
    /// One that does not is refused by the compiler:
    ///
    /// ```compile_fail,E0277
    /// use larder_core::write_behind::{Journal, Write, WriteBehind};
    ///
    /// fn build(journal: impl Journal) {
    ///     let save = async |_: Vec<Write<String>>| Ok::<_, std::io::Error>(());
    ///     let _ = WriteBehind::builder(journal, save);
    /// }
    /// ```
    pub fn builder<S: Sink<T>>(journal: impl DurableJournal, sink: S) -> WriteBehindBuilder<T, S> {
        WriteBehindBuilder::new(Arc::new(journal), sink, true)
    }

    /// Starts to build on any journal: what one in memory acknowledged is lost with the process.
    ///
    /// ```
    /// # use larder_core::write_behind::{MemoryJournal, Write, WriteBehind};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let save = async |_: Vec<Write<String>>| Ok::<_, std::io::Error>(());
    /// let names = WriteBehind::volatile(MemoryJournal::new(), save).build()?;
    /// # let _ = names;
    /// # Ok(()) }
    /// ```
    pub fn volatile<S: Sink<T>>(journal: impl Journal, sink: S) -> WriteBehindBuilder<T, S> {
        WriteBehindBuilder::new(Arc::new(journal), sink, false)
    }

    pub(super) fn new(core: Arc<Core>, codec: AnyCodec, when_full: WhenFull) -> Self {
        let handles = Arc::new(Handles(Arc::clone(&core.control)));
        Self { core, handles, codec, when_full, of: PhantomData }
    }

    /// Writes a value. When this returns, the journal holds it.
    ///
    /// What tells a removal from a value is for `T` to say, such as an `Option`.
    ///
    /// Of two writes of a key the one that begins after the other returned is the later. Where this
    /// fails, or is dropped, it is not known whether the journal holds the write.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] for a key that breaks the rules, [`Error::Encode`] for a value that the codec
    /// cannot express, [`Error::Store`] where the journal fails: with
    /// [`StoreErrorKind::Full`] where it has no room, and did not get any in the time of
    /// [`WhenFull::Wait`]; with [`StoreErrorKind::TooLarge`] for a value beyond its limits; with
    /// [`StoreErrorKind::Closed`] after [`stop`](Self::stop).
    ///
    /// ```
    /// # use larder_core::write_behind::{MemoryJournal, Write, WriteBehind};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let save = async |_: Vec<Write<String>>| Ok::<_, std::io::Error>(());
    /// # let names = WriteBehind::volatile(MemoryJournal::new(), save).build()?;
    /// let id = names.write("user:42", &"Zoë".into()).await?;
    /// println!("it is known as {id}");
    /// # Ok(()) }
    /// ```
    pub async fn write(&self, key: impl AsRef<str>, value: &T) -> Result<WriteId, Error> {
        let (core, key) = (&*self.core, key.as_ref());
        let claimed = core.journal.capabilities();
        check_key(key, claimed.max_key_bytes, core.journal.name())?;
        let bytes = frame::write(&self.codec, value).map_err(|source| Error::Encode {
            key: key.into(),
            codec: self.codec.name(),
            source,
        })?;
        if bytes.len() > claimed.max_value_bytes {
            let (bytes, max) = (bytes.len(), claimed.max_value_bytes);
            let detail = format!("the value for {key:?} has {bytes} bytes, {max} are allowed");
            return Err(self.refusal(StoreErrorKind::TooLarge, detail));
        }
        if core.control.is(Phase::Draining) {
            return Err(self.refusal(StoreErrorKind::Closed, "it was stopped".into()));
        }
        let sequence = self.append(key, bytes).await?;
        Ok(WriteId::new(Arc::clone(&core.id), sequence))
    }

    async fn append(&self, key: &str, value: Bytes) -> Result<Sequence, Error> {
        let core = &*self.core;
        let began = core.runtime.steady();
        let waited = || core.runtime.steady().saturating_sub(began);
        loop {
            let settled = core.control.settled();
            let error = match core.journal.append(key, value.clone()).await {
                Ok(sequence) => {
                    core.meter.written(waited());
                    core.control.has_written();
                    return Ok(sequence);
                }
                Err(error) => error,
            };
            let waited = waited();
            match self.when_full {
                WhenFull::Wait(most) if error.kind() == StoreErrorKind::Full && waited < most => {
                    let wait = LOOK_AGAIN.min(most - waited);
                    select(settled, core.runtime.sleep(wait)).await;
                }
                _ => {
                    core.meter.not_written(&error);
                    return Err(error.into());
                }
            }
        }
    }

    fn refusal(&self, kind: StoreErrorKind, detail: String) -> Error {
        StoreError::new(kind, self.core.journal.name(), "append", detail).into()
    }

    /// Waits until the journal is empty, for `patience` at most, and says what is left. Batches do not
    /// wait to be filled meanwhile. What others write in that time has to be saved, too.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the journal fails.
    ///
    /// ```
    /// # use larder_core::{seconds, write_behind::{MemoryJournal, Write, WriteBehind}};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let save = async |_: Vec<Write<String>>| Ok::<_, std::io::Error>(());
    /// # let names = WriteBehind::volatile(MemoryJournal::new(), save).build()?;
    /// names.write("user:42", &"Zoë".into()).await?;
    /// assert_eq!(names.drain(seconds(5)).await?.writes, 0);
    /// # Ok(()) }
    /// ```
    pub async fn drain(&self, patience: Duration) -> Result<Backlog, Error> {
        let core = &*self.core;
        let deadline = core.runtime.steady() + patience;
        let _hurried = core.control.hurried();
        loop {
            let settled = core.control.settled();
            let backlog = core.journal.backlog().await?;
            let left = deadline.saturating_sub(core.runtime.steady());
            if backlog.writes == 0 || left.is_zero() {
                return Ok(backlog);
            }
            select(settled, core.runtime.sleep(LOOK_AGAIN.min(left))).await;
        }
    }

    /// Takes no more writes, saves what the journal holds, for `patience` at most, and ends the
    /// flusher; says what is left. Where another process flushes, it is left to that. Idempotent.
    ///
    /// What is left stays in the journal, for the next that is built on it.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the journal fails when it is asked what is left; the flusher has ended
    /// then, too.
    ///
    /// ```
    /// # use larder_core::{seconds, write_behind::{MemoryJournal, Write, WriteBehind}};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let save = async |_: Vec<Write<String>>| Ok::<_, std::io::Error>(());
    /// # let names = WriteBehind::volatile(MemoryJournal::new(), save).build()?;
    /// let left = names.stop(seconds(5)).await?;
    /// assert_eq!(left.writes, 0);
    /// assert!(names.write("user:42", &"Zoë".into()).await.is_err());
    /// # Ok(()) }
    /// ```
    pub async fn stop(&self, patience: Duration) -> Result<Backlog, Error> {
        let core = &*self.core;
        core.control.enter(Phase::Draining);
        let deadline = core.runtime.steady() + patience;
        loop {
            let settled = core.control.settled();
            if core.control.is_over() {
                break;
            }
            let left = deadline.saturating_sub(core.runtime.steady());
            if left.is_zero() {
                core.control.enter(Phase::Halted);
                break;
            }
            select(settled, core.runtime.sleep(left)).await;
        }
        Ok(core.journal.backlog().await?)
    }

    /// What waits.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the journal fails.
    ///
    /// ```
    /// # use larder_core::{Runtime, seconds, write_behind::{MemoryJournal, Write, WriteBehind}};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let save = async |_: Vec<Write<String>>| Ok::<_, std::io::Error>(());
    /// # let names = WriteBehind::volatile(MemoryJournal::new(), save).build()?;
    /// let waits = names.backlog().await?;
    /// println!("{} writes, the oldest for {:?}", waits.writes, waits.lag(names.runtime().now()));
    /// # Ok(()) }
    /// ```
    pub async fn backlog(&self) -> Result<Backlog, Error> {
        Ok(self.core.journal.backlog().await?)
    }

    /// The dead letters after `after`, the oldest write first; at most `limit`.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the journal fails.
    ///
    /// ```
    /// # use larder_core::{WriteBehind, Result};
    /// async fn show(names: &WriteBehind<String>) -> Result<()> {
    ///     let mut after = None;
    ///     loop {
    ///         let page = names.dead_letters(after, 100).await?;
    ///         let Some(last) = page.last() else { return Ok(()) };
    ///         after = Some(last.id.sequence());
    ///         for dead in page {
    ///             println!("{} = {:?}: {}", dead.key, dead.value, dead.reason);
    ///         }
    ///     }
    /// }
    /// ```
    pub async fn dead_letters(
        &self,
        after: Option<Sequence>,
        limit: usize,
    ) -> Result<Vec<DeadWrite<T>>, Error> {
        let letters = self.core.journal.dead_letters(after, limit).await?;
        Ok(letters.into_iter().map(|letter| self.read(letter)).collect())
    }

    fn read(&self, DeadLetter { sequence, key, death }: DeadLetter) -> DeadWrite<T> {
        DeadWrite {
            key,
            value: frame::read(&self.codec, &death.value).ok(),
            id: WriteId::new(Arc::clone(&self.core.id), sequence),
            reason: death.reason,
            attempts: death.attempts,
            died_at: death.died_at,
        }
    }

    /// Tries a dead letter again; whether there is such. Until that has come to something it stays in
    /// the list.
    ///
    /// It takes its old place under its old id: where a later write of its key waits, that covers it.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the journal fails.
    ///
    /// ```
    /// # use larder_core::{WriteBehind, Result};
    /// async fn replay_all(names: &WriteBehind<String>) -> Result<()> {
    ///     for dead in names.dead_letters(None, 1_000).await? {
    ///         names.replay(dead.id.sequence()).await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub async fn replay(&self, sequence: Sequence) -> Result<bool, Error> {
        let is_there = self.core.journal.replay(sequence).await?;
        self.core.control.look();
        Ok(is_there)
    }

    /// Drops a dead letter; whether there was such. One that is being tried again at that moment may
    /// still be saved.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the journal fails.
    ///
    /// ```
    /// # use larder_core::{WriteBehind, Result};
    /// async fn discard_all(names: &WriteBehind<String>) -> Result<()> {
    ///     for dead in names.dead_letters(None, 1_000).await? {
    ///         names.discard(dead.id.sequence()).await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub async fn discard(&self, sequence: Sequence) -> Result<bool, Error> {
        let was_there = self.core.journal.discard(sequence).await?;
        self.core.control.has_settled();
        Ok(was_there)
    }

    /// What it has counted so far.
    #[must_use]
    pub fn stats(&self) -> WriteBehindStats {
        self.core.meter.stats()
    }

    /// Its name in metrics and logs.
    #[must_use]
    pub fn name(&self) -> &str {
        self.core.meter.name()
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> &Arc<dyn Journal> {
        &self.core.journal
    }

    /// The clock, timers and tasks that it uses.
    #[must_use]
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.core.runtime
    }
}

impl<T> Clone for WriteBehind<T> {
    fn clone(&self) -> Self {
        Self {
            core: Arc::clone(&self.core),
            handles: Arc::clone(&self.handles),
            codec: self.codec.clone(),
            when_full: self.when_full,
            of: PhantomData,
        }
    }
}

impl<T> fmt::Debug for WriteBehind<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteBehind")
            .field("name", &self.core.meter.name())
            .field("journal", &self.core.journal)
            .finish_non_exhaustive()
    }
}
