use std::path::PathBuf;
use std::sync::Arc;

use larder_core::write_behind::JournalCapabilities;
use larder_core::{Runtime, StoreError, SystemRuntime};

use crate::journal::SqliteJournal;

/// Sets up a [`SqliteJournal`].
///
/// ```
/// use larder_sqlite::SqliteJournal;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("last-seen.journal");
/// let journal = SqliteJournal::builder(path).max_writes(1_000_000).open()?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "call open"]
pub struct SqliteJournalBuilder {
    pub(crate) path: PathBuf,
    pub(crate) capabilities: JournalCapabilities,
    pub(crate) runtime: Arc<dyn Runtime>,
}

impl SqliteJournalBuilder {
    pub(crate) fn new(path: PathBuf) -> Self {
        let capabilities = JournalCapabilities::durable();
        Self { path, capabilities, runtime: Arc::new(SystemRuntime::default()) }
    }

    /// How many writes and dead letters there are at most. 100,000 by default. All processes on a
    /// journal need the same.
    pub fn max_writes(mut self, writes: usize) -> Self {
        self.capabilities.max_writes = writes;
        self
    }

    /// The largest value, in bytes. 1 MiB by default.
    pub fn max_value_bytes(mut self, bytes: usize) -> Self {
        self.capabilities.max_value_bytes = bytes;
        self
    }

    /// The clock to use. All processes on a journal need the same; the platform's by default.
    pub fn runtime(mut self, runtime: impl Runtime) -> Self {
        self.runtime = Arc::new(runtime);
        self
    }

    /// Opens the journal, and makes the file where there is none.
    ///
    /// # Errors
    ///
    /// Where the file cannot be used, or is the journal of a later version of Larder.
    pub fn open(self) -> Result<SqliteJournal, StoreError> {
        SqliteJournal::on(self)
    }
}
