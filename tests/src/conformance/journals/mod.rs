//! What the trait `Journal` promises.

mod dead_letters;
mod terms;
mod writes;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, Either, select};
use larder_core::write_behind::{Death, Room, Sequence, Settled, Term};
use larder_core::{Journal, Runtime, StoreError, millis, seconds};

use super::case::{CaseResult, Failure};

/// One thing that every journal has to do.
#[derive(Debug, Clone, Copy)]
pub struct JournalCase {
    /// Its path and name.
    pub name: &'static str,
    run: fn(JournalBench) -> BoxFuture<'static, CaseResult>,
}

/// Every case of a journal.
pub fn journal_cases() -> impl Iterator<Item = &'static JournalCase> {
    [writes::CASES, terms::CASES, dead_letters::CASES].into_iter().flatten()
}

/// Opens a journal by its name, which takes so many writes; each is empty at first, and all handles of
/// one name are on the same.
pub type OpenJournal =
    dyn Fn(&str, usize) -> BoxFuture<'static, Result<Arc<dyn Journal>, StoreError>> + Send + Sync;

/// What a case works on: a journal of its own.
#[derive(Clone)]
pub struct JournalBench {
    open: Arc<OpenJournal>,
    name: String,
    journal: Arc<dyn Journal>,
}

/// How many writes the journals take, but for those that are to be full.
const ROOM: usize = 10_000;

/// Runs `case` on a journal that `open` opens.
///
/// # Errors
///
/// What went wrong.
pub async fn run_journal_case(open: Arc<OpenJournal>, case: &JournalCase) -> CaseResult {
    let name = case.name.replace("::", "-");
    let journal = open(&name, ROOM).await?;
    let runtime = journal.runtime();
    let bench = JournalBench { open, name, journal };
    match select((case.run)(bench), runtime.sleep(seconds(120))).await {
        Either::Left((result, _)) => result,
        Either::Right(_) => Err(Failure::new("it did not end within two minutes")),
    }
}

impl fmt::Debug for JournalBench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalBench").field("journal", &self.journal).finish_non_exhaustive()
    }
}

impl JournalBench {
    async fn another_handle(&self) -> Result<Arc<dyn Journal>, StoreError> {
        (self.open)(&self.name, ROOM).await
    }

    /// Another journal, that takes so many writes.
    async fn with_room_for(&self, writes: usize) -> Result<Self, StoreError> {
        let name = format!("{}-of-{writes}", self.name);
        let journal = (self.open)(&name, writes).await?;
        Ok(Self { name, journal, open: Arc::clone(&self.open) })
    }

    async fn append(&self, key: &str, value: &'static str) -> Result<Sequence, StoreError> {
        self.journal.append(key, Bytes::from_static(value.as_bytes())).await
    }

    /// Leads for a minute.
    async fn lead(&self, flusher: &str) -> Result<Term, Failure> {
        let term = self.journal.lead(flusher, seconds(60)).await?;
        term.ok_or_else(|| Failure::new(format!("{flusher} may not lead")))
    }

    async fn settle(&self, term: &Term, settled: &[Settled]) -> CaseResult {
        match self.journal.settle(term, settled).await? {
            true => Ok(()),
            false => Err(Failure::new("the term is over")),
        }
    }

    /// The keys and values that wait, in their order.
    async fn waiting(&self) -> Result<Vec<(String, String)>, StoreError> {
        let writes = self.journal.read(None, Room::of_writes(ROOM)).await?;
        let text = |value: Bytes| String::from_utf8_lossy(&value).into_owned();
        Ok(writes.into_iter().map(|write| (write.key, text(write.value))).collect())
    }

    /// The dead keys and their reasons, in the order of their writes.
    async fn dead(&self) -> Result<Vec<(String, String)>, StoreError> {
        let dead = self.journal.dead_letters(None, ROOM).await?;
        Ok(dead.into_iter().map(|letter| (letter.key, letter.death.reason)).collect())
    }

    /// The end of a write, for this reason.
    fn death(&self, reason: &str) -> Death {
        let value = Bytes::from_static(b"\0\xff value");
        Death::new(value, reason, 7, self.journal.runtime().now())
    }

    async fn pause(&self) {
        self.journal.runtime().sleep(millis(5)).await;
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

/// The cases of a module as its `CASES`, named after their functions.
macro_rules! case_list {
    ($path:literal: $($function:ident),+ $(,)?) => {
        pub(super) const CASES: &[$crate::conformance::JournalCase] = &[
            $($crate::conformance::JournalCase {
                name: concat!($path, "::", stringify!($function)),
                run: |bench| Box::pin($function(bench)),
            }),+
        ];
    };
}

use case_list;
