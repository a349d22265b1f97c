//! What writes are saved by.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::Sequence;
use super::frame;
use crate::codec::AnyCodec;

/// What saves writes: a database, another service.
///
/// Functions and closures of the form `async |writes: Vec<Write<T>>| -> Result<(), E>` are sinks.
///
/// A batch holds each key once. Its writes are independent of each other: a sink may save them in any
/// order, in one transaction or one by one.
///
/// A write may come again: after an error, a time-out or a crash. A sink bears that by itself where a
/// write sets a state (`UPDATE … SET …`), and by [`Write::id`] where it does not. And a save that
/// was given up, for its time was over or its process stood still, may still take effect beside a
/// later one. A sink that is to be safe from that keeps the number of what it saved, and takes
/// nothing older:
///
/// ```sql
/// UPDATE users SET name = ?name, sequence = ?sequence WHERE id = ?id AND sequence <= ?sequence
/// ```
///
/// ```
/// use larder_core::write_behind::{Sink, SinkError, Write};
///
/// /// Saves into a table of its own.
/// struct Names;
///
/// #[async_trait::async_trait]
/// impl Sink<String> for Names {
///     async fn save(&self, writes: Vec<Write<String>>) -> Result<(), SinkError> {
///         for write in writes {
///             println!("{} is {} by {}", write.key, write.value, write.id);
///         }
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait Sink<T>: Send + Sync + 'static {
    /// Saves a batch; each key is in it once.
    ///
    /// # Errors
    ///
    /// A [`SinkError`] says what becomes of the batch.
    async fn save(&self, writes: Vec<Write<T>>) -> Result<(), SinkError>;
}

#[async_trait]
impl<T, F, Fut, E> Sink<T> for F
where
    T: Send + 'static,
    F: Fn(Vec<Write<T>>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send,
    E: Into<SinkError>,
{
    async fn save(&self, writes: Vec<Write<T>>) -> Result<(), SinkError> {
        self(writes).await.map_err(Into::into)
    }
}

/// A write on its way to the sink.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Write<T> {
    /// Its key.
    pub key: String,
    /// Its value: the newest that waited under the key.
    pub value: T,
    /// What it is known by: the same in every attempt, also after a crash.
    pub id: WriteId,
    /// How many writes of the key it covers, besides itself.
    pub covers: usize,
}

/// What a write is known by: its journal, and its place there.
///
/// ```
/// use larder_core::write_behind::{Sequence, WriteId};
///
/// let id = WriteId::new("users", Sequence::from_number(1_767_225_600_000_000));
/// assert_eq!(id.to_string(), "users-1767225600000000");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WriteId {
    journal: Arc<str>,
    sequence: Sequence,
}

impl WriteId {
    /// The id of a write.
    pub fn new(journal: impl Into<Arc<str>>, sequence: Sequence) -> Self {
        Self { journal: journal.into(), sequence }
    }

    /// The journal's [id](super::Journal::id).
    #[must_use]
    pub fn journal(&self) -> &str {
        &self.journal
    }

    /// The place in the journal: it grows with every write, so that of two writes the later is known
    /// by it.
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }
}

impl fmt::Display for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.journal, self.sequence)
    }
}

/// Why a batch was not saved, and what is to become of it.
///
/// Every error of the standard form is one that may pass: `?` makes it [`retry`](Self::retry).
///
/// ```
/// use larder_core::write_behind::SinkError;
///
/// fn check(name: &str) -> Result<(), SinkError> {
///     if name.is_empty() {
///         return Err(SinkError::permanent("a name must not be empty"));
///     }
///     Ok(())
/// }
/// # assert!(check("").is_err());
/// ```
pub struct SinkError(Kind);

enum Kind {
    Retry(String),
    Permanent(String),
    Rejected(Vec<(usize, String)>),
}

impl SinkError {
    /// Nothing is known to be saved, and the same batch may be saved later: the database is down.
    /// The writes are tried again, in smaller batches first, and after a while that grows.
    pub fn retry(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(Kind::Retry(said(&*error.into())))
    }

    /// Nothing of the batch was saved, and it will never be: something in it breaks a rule. The
    /// writes are tried in smaller batches; one that fails so by itself becomes a dead letter.
    pub fn permanent(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(Kind::Permanent(said(&*error.into())))
    }

    /// These writes of the batch, by their indices, were not saved and never will be; each becomes a
    /// dead letter. All others were saved.
    ///
    /// ```
    /// use larder_core::write_behind::{SinkError, Write};
    ///
    /// async fn save(writes: Vec<Write<i64>>) -> Result<(), SinkError> {
    ///     let mut rejected = Vec::new();
    ///     for (index, write) in writes.iter().enumerate() {
    ///         if write.value < 0 {
    ///             rejected.push((index, "a balance is not negative"));
    ///         }
    ///     }
    ///     // … saves the others …
    ///     if rejected.is_empty() { Ok(()) } else { Err(SinkError::rejected(rejected)) }
    /// }
    /// ```
    pub fn rejected<R: Into<String>>(writes: impl IntoIterator<Item = (usize, R)>) -> Self {
        let writes = writes.into_iter().map(|(index, reason)| (index, reason.into()));
        Self(Kind::Rejected(writes.collect()))
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for SinkError {
    fn from(error: E) -> Self {
        Self::retry(error)
    }
}

impl fmt::Debug for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Retry(reason) => f.debug_tuple("Retry").field(reason).finish(),
            Kind::Permanent(reason) => f.debug_tuple("Permanent").field(reason).finish(),
            Kind::Rejected(writes) => f.debug_tuple("Rejected").field(writes).finish(),
        }
    }
}

/// The longest reason that is kept with a dead letter, in characters.
const LONGEST_REASON: usize = 1_000;

/// An error with its causes, as one line of bounded length.
fn said(error: &(dyn StdError + 'static)) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    shortened(said)
}

fn shortened(mut reason: String) -> String {
    if let Some((at, _)) = reason.char_indices().nth(LONGEST_REASON) {
        reason.truncate(at);
        reason.push('…');
    }
    reason
}

/// A write that is to be saved, before its value is read.
#[derive(Debug, Clone)]
pub(super) struct Unsaved {
    pub(super) key: Arc<str>,
    pub(super) value: Bytes,
    pub(super) sequence: Sequence,
    pub(super) covers: usize,
}

/// What a batch came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The writes that are given up at once, by their indices.
    pub(super) rejected: Vec<(usize, String)>,
    /// What became of all others.
    pub(super) rest: Result<(), Failure>,
}

/// Why nothing of the rest was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) is_permanent: bool,
    pub(super) reason: String,
}

impl Outcome {
    pub(super) fn failed(reason: impl Into<String>) -> Self {
        let reason = shortened(reason.into());
        Self { rejected: Vec::new(), rest: Err(Failure { is_permanent: false, reason }) }
    }
}

/// A sink whose values are bytes.
#[async_trait]
pub(super) trait BytesSink: Send + Sync {
    async fn save(&self, batch: Vec<Unsaved>) -> Outcome;
}

/// Reads the values for a sink of a type.
pub(super) struct Typed<S, T> {
    pub(super) sink: S,
    pub(super) codec: AnyCodec,
    pub(super) journal: Arc<str>,
    pub(super) of: std::marker::PhantomData<fn() -> T>,
}

#[async_trait]
impl<T: DeserializeOwned + Send + 'static, S: Sink<T>> BytesSink for Typed<S, T> {
    async fn save(&self, batch: Vec<Unsaved>) -> Outcome {
        let mut rejected = Vec::new();
        let mut writes = Vec::with_capacity(batch.len());
        let mut indices = Vec::with_capacity(batch.len());
        for (index, write) in batch.into_iter().enumerate() {
            match frame::read(&self.codec, &write.value) {
                Err(reason) => rejected.push((index, reason)),
                Ok(value) => {
                    indices.push(index);
                    writes.push(Write {
                        key: write.key.as_ref().into(),
                        value,
                        id: WriteId::new(Arc::clone(&self.journal), write.sequence),
                        covers: write.covers,
                    });
                }
            }
        }
        if writes.is_empty() {
            return Outcome { rejected, rest: Ok(()) };
        }
        let failed = |is_permanent, reason| Err(Failure { is_permanent, reason });
        let rest = match self.sink.save(writes).await {
            Ok(()) => Ok(()),
            Err(SinkError(Kind::Retry(reason))) => failed(false, reason),
            Err(SinkError(Kind::Permanent(reason))) => failed(true, reason),
            Err(SinkError(Kind::Rejected(by_index))) => {
                let known = by_index.into_iter().map(|(index, reason)| match indices.get(index) {
                    Some(index) => Ok((*index, shortened(reason))),
                    None => Err(index),
                });
                match known.collect::<Result<Vec<_>, _>>() {
                    Ok(known) => {
                        rejected.extend(known);
                        Ok(())
                    }
                    // Which of them it means is not known, and none may be lost.
                    Err(index) => failed(
                        false,
                        format!(
                            "the sink rejects write {index} of {}, counted from 0",
                            indices.len()
                        ),
                    ),
                }
            }
        };
        Outcome { rejected, rest }
    }
}
