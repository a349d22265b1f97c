//! The thread that has the file.
//!
//! It takes whatever waits, and makes all appends among it in one transaction, so that they share one
//! wait for the disk: the slower the disk, the larger the transactions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;
use futures::channel::oneshot;
use larder_core::write_behind::Sequence;
use larder_core::{Runtime, StoreError, StoreErrorKind};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::error::{NAME, closed, from_sqlite};
use crate::sql;

/// The most calls that may wait at a time.
const MOST_WAITING: usize = 65_536;
/// The most calls that are taken at a time, which bounds how long a transaction takes.
const TOGETHER: usize = 1_024;

/// What the thread is asked for.
enum Call {
    Append { write: Append, answer: oneshot::Sender<Result<Sequence, StoreError>> },
    Other(Box<dyn FnOnce(&mut Connection) + Send>),
}

/// A write to be appended.
struct Append {
    key: String,
    value: Bytes,
}

/// The way to the thread, which ends with the last of them.
#[derive(Clone)]
pub(crate) struct Worker {
    calls: Sender<Call>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    waiting: AtomicUsize,
    is_closed: AtomicBool,
}

/// A call that waits.
struct Waiting<'a>(&'a Shared);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Worker {
    pub(crate) fn start(
        connection: Connection,
        max_writes: usize,
        runtime: Arc<dyn Runtime>,
    ) -> Result<Self, StoreError> {
        let (calls, received) = channel();
        let thread = Thread { connection, max_writes, runtime };
        let spawned = std::thread::Builder::new()
            .name("larder-journal".into())
            .spawn(move || thread.run(&received));
        match spawned {
            Ok(_) => Ok(Self { calls, shared: Arc::default() }),
            Err(error) => {
                let detail = "no thread can be started for the journal";
                Err(StoreError::new(StoreErrorKind::Other, NAME, "open", detail).with_source(error))
            }
        }
    }

    pub(crate) async fn append(&self, key: &str, value: Bytes) -> Result<Sequence, StoreError> {
        let _waiting = self.enter("append")?;
        let (answer, wait) = oneshot::channel();
        let write = Append { key: key.to_owned(), value };
        self.send("append", Call::Append { write, answer })?;
        wait.await.unwrap_or_else(|_| Err(gone("append")))
    }

    /// Does `work` in a transaction of its own, which is kept where that ends well.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _waiting = self.enter(operation)?;
        let (answer, wait) = oneshot::channel();
        let call = move |connection: &mut Connection| {
            let done = in_transaction(connection, work);
            // Nobody waits any more where the caller went away.
            let _ = answer.send(done.map_err(|error| from_sqlite(operation, error)));
        };
        self.send(operation, Call::Other(Box::new(call)))?;
        wait.await.unwrap_or_else(|_| Err(gone(operation)))
    }

    /// Waits for what was asked for before, and takes no more.
    pub(crate) async fn close(&self) -> Result<(), StoreError> {
        if self.shared.is_closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let (answer, wait) = oneshot::channel();
        let call = move |_: &mut Connection| {
            let _ = answer.send(());
        };
        self.send("close", Call::Other(Box::new(call)))?;
        wait.await.map_err(|_| gone("close"))
    }

    fn enter(&self, operation: &'static str) -> Result<Waiting<'_>, StoreError> {
        if self.shared.is_closed.load(Ordering::SeqCst) {
            return Err(closed(operation));
        }
        let before = self.shared.waiting.fetch_add(1, Ordering::SeqCst);
        let waiting = Waiting(&self.shared);
        if before >= MOST_WAITING {
            let detail = format!("{MOST_WAITING} calls wait for the disk already");
            return Err(StoreError::new(StoreErrorKind::Unavailable, NAME, operation, detail));
        }
        Ok(waiting)
    }

    fn send(&self, operation: &'static str, call: Call) -> Result<(), StoreError> {
        self.calls.send(call).map_err(|_| gone(operation))
    }
}

fn gone(operation: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Other, NAME, operation, "the journal's thread has ended")
}

fn in_transaction<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    // Immediate: a transaction that only later wants to write may find that it cannot.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = work(&transaction)?;
    transaction.commit()?;
    Ok(done)
}

struct Thread {
    connection: Connection,
    max_writes: usize,
    runtime: Arc<dyn Runtime>,
}

impl Thread {
    fn run(mut self, calls: &Receiver<Call>) {
        while let Ok(first) = calls.recv() {
            let (mut writes, mut answers, mut others) = (Vec::new(), Vec::new(), Vec::new());
            for call in std::iter::once(first).chain(calls.try_iter().take(TOGETHER - 1)) {
                match call {
                    Call::Append { write, answer } => {
                        writes.push(write);
                        answers.push(answer);
                    }
                    Call::Other(call) => others.push(call),
                }
            }
            // None of these calls has ended, so that they have no order.
            if !writes.is_empty() {
                self.append(&writes, answers);
            }
            others.into_iter().for_each(|call| call(&mut self.connection));
        }
    }

    fn append(
        &mut self,
        writes: &[Append],
        answers: Vec<oneshot::Sender<Result<Sequence, StoreError>>>,
    ) {
        let (max, now) = (self.max_writes, self.runtime.now());
        let writes = writes.iter().map(|write| (write.key.as_str(), &write.value[..]));
        let appended = in_transaction(&mut self.connection, |transaction| {
            sql::append(transaction, writes, max, now)
        });
        let appended = appended.map_err(|error| from_sqlite("append", error));
        for (index, answer) in answers.into_iter().enumerate() {
            let said = match &appended {
                Ok(places) => {
                    places.get(index).copied().ok_or_else(|| StoreError::full(NAME, "append", max))
                }
                Err(error) => Err(error.clone()),
            };
            let _ = answer.send(said);
        }
    }
}
