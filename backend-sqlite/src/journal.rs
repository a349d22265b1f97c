//! The journal, and its port.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use larder_core::write_behind::{
    Backlog, DeadLetter, DurableJournal, Journal, JournalCapabilities, Journaled, Room, Sequence,
    Settled, Term,
};
use larder_core::{Runtime, StoreError, StoreErrorKind};
use rusqlite::{Connection, TransactionBehavior};

use crate::builder::SqliteJournalBuilder;
use crate::error::{NAME, from_sqlite};
use crate::sql;
use crate::worker::Worker;

/// A [`Journal`] in an SQLite file, for the processes of one machine.
///
/// A write is acknowledged when the disk has it: the file is in WAL mode with `synchronous = FULL`, so
/// that every commit waits for an `fsync`. What was acknowledged outlives a crash of the process and,
/// as far as the disk keeps what it says it has, one of the machine. It does not outlive the disk.
///
/// Writes that come while the disk is busy share the next transaction, and its wait. So a single
/// writer makes as many writes a second as the disk makes `fsync`s, and many writers together make many
/// times more.
///
/// The file, with its companions `-wal` and `-shm`, must be on a disk of the machine: SQLite's locks and
/// its WAL do not work over a network. Several processes may share it; each waits for the transactions
/// of the others. One file is one journal.
///
/// All work is done by a thread of its own, which ends with the last clone.
///
/// ```
/// use larder_core::Journal;
/// use larder_sqlite::SqliteJournal;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("last-seen.journal");
/// let journal = SqliteJournal::open(path)?;
/// assert_eq!(journal.backlog().await?.writes, 0);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct SqliteJournal {
    worker: Worker,
    path: Arc<Path>,
    id: Arc<str>,
    capabilities: JournalCapabilities,
    runtime: Arc<dyn Runtime>,
}

impl SqliteJournal {
    /// Opens the journal in the file at `path`, and makes it where there is none; with the defaults of
    /// [`SqliteJournalBuilder`].
    ///
    /// # Errors
    ///
    /// Where the file cannot be used, or is the journal of a later version of Larder.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("last-seen.journal");
    /// let journal = larder_sqlite::SqliteJournal::open(path)?;
    /// # Ok(()) }
    /// ```
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::builder(path).open()
    }

    /// Sets up a journal in the file at `path`.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("last-seen.journal");
    /// let journal = larder_sqlite::SqliteJournal::builder(path).max_writes(1_000_000).open()?;
    /// # Ok(()) }
    /// ```
    pub fn builder(path: impl Into<PathBuf>) -> SqliteJournalBuilder {
        SqliteJournalBuilder::new(path.into())
    }

    pub(crate) fn on(builder: SqliteJournalBuilder) -> Result<Self, StoreError> {
        let SqliteJournalBuilder { path, capabilities, runtime } = builder;
        let (connection, version, id) =
            opened(&path).map_err(|error| from_sqlite("open", error))?;
        let Some(id) = id else {
            let detail = format!(
                "{} has the version {version}, this one reads {}; run the version of Larder that \
                 wrote it, until the journal is empty",
                path.display(),
                sql::VERSION
            );
            return Err(StoreError::new(StoreErrorKind::Config, NAME, "open", detail));
        };
        sync_folder(&path);
        let worker = Worker::start(connection, capabilities.max_writes, Arc::clone(&runtime))?;
        Ok(Self { worker, path: path.into(), id: id.into(), capabilities, runtime })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn opened(path: &Path) -> rusqlite::Result<(Connection, i64, Option<String>)> {
    let mut connection = Connection::open(path)?;
    sql::configure(&connection)?;
    let new_id = format!("{NAME}-{:016x}", fastrand::u64(..));
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (version, id) = sql::prepare(&transaction, &new_id)?;
    transaction.commit()?;
    Ok((connection, version, id))
}

/// A file that was just made outlives a power cut only when its folder is on the disk, too. Where the
/// platform cannot do that, it need not.
fn sync_folder(path: &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let synced =
        std::fs::File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all());
    if let Err(error) = synced {
        tracing::debug!(%error, "the folder of the journal was not synchronized");
    }
}

#[async_trait]
impl Journal for SqliteJournal {
    fn name(&self) -> &'static str {
        NAME
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn capabilities(&self) -> &JournalCapabilities {
        &self.capabilities
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::clone(&self.runtime)
    }

    async fn append(&self, key: &str, value: Bytes) -> Result<Sequence, StoreError> {
        self.worker.append(key, value).await
    }

    async fn lead(&self, flusher: &str, life: Duration) -> Result<Option<Term>, StoreError> {
        let (flusher, runtime) = (flusher.to_owned(), Arc::clone(&self.runtime));
        let now = move || runtime.now();
        self.worker.run("lead", move |it| sql::lead(it, &flusher, life, now())).await
    }

    async fn resign(&self, term: &Term) -> Result<(), StoreError> {
        let term = term.clone();
        self.worker.run("resign", move |it| sql::resign(it, &term)).await
    }

    async fn read(
        &self,
        after: Option<Sequence>,
        room: Room,
    ) -> Result<Vec<Journaled>, StoreError> {
        self.worker.run("read", move |it| sql::read(it, after, room)).await
    }

    async fn settle(&self, term: &Term, settled: &[Settled]) -> Result<bool, StoreError> {
        let (term, settled) = (term.clone(), settled.to_vec());
        let runtime = Arc::clone(&self.runtime);
        let now = move || runtime.now();
        self.worker.run("settle", move |it| sql::settle(it, &term, &settled, now())).await
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        self.worker.run("backlog", sql::backlog).await
    }

    async fn dead_letters(
        &self,
        after: Option<Sequence>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        self.worker.run("dead_letters", move |it| sql::dead_letters(it, after, limit)).await
    }

    async fn replay(&self, sequence: Sequence) -> Result<bool, StoreError> {
        self.worker.run("replay", move |it| sql::replay(it, sequence)).await
    }

    async fn replayed(&self, room: Room) -> Result<Vec<DeadLetter>, StoreError> {
        self.worker.run("replayed", move |it| sql::replayed(it, room)).await
    }

    async fn discard(&self, sequence: Sequence) -> Result<bool, StoreError> {
        self.worker.run("discard", move |it| sql::discard(it, sequence)).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.worker.run("ready", sql::ready).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.worker.close().await
    }
}

impl DurableJournal for SqliteJournal {}

impl fmt::Debug for SqliteJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteJournal")
            .field("path", &self.path)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
