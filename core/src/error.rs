//! What can go wrong, what it was tried on, and what to do.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::events::Targets;
use crate::key::KeyError;

/// The result of a cache call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the caller's own code, shared by everyone who waited for it.
pub type SharedError = Arc<dyn StdError + Send + Sync>;

/// Why a cache call failed.
///
/// Clones share their cause: everyone who waited for a load is given the same error.
///
/// ```
/// use larder_core::{Cache, Error};
///
/// /// After this nobody is shown the old user, or the caller knows that somebody may be.
/// async fn forget(cache: &Cache, id: u64) -> Result<(), Error> {
///     match cache.remove(format!("user:{id}")).await {
///         Ok(_) => Ok(()),
///         Err(Error::Store(error)) if error.is_retryable() => {
///             cache.remove(format!("user:{id}")).await.map(drop)
///         }
///         Err(error) => Err(error),
///     }
/// }
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A key, namespace or pattern that breaks the rules.
    #[error(transparent)]
    Key(#[from] KeyError),

    /// A setting that cannot work.
    #[error("{setting}: {problem}")]
    Config {
        /// The builder's method.
        setting: &'static str,
        /// What is wrong, and what would be right.
        problem: String,
    },

    /// The value could not be written in the cache's codec.
    #[error("the value for {key:?} cannot be encoded as {codec}: {source}")]
    Encode {
        /// The complete key.
        key: Arc<str>,
        /// The codec's name.
        codec: &'static str,
        /// What the codec said.
        source: SharedError,
    },

    /// The store failed at something that a cache cannot make up for, such as an invalidation.
    #[error(transparent)]
    Store(#[from] StoreError),

    /// The loader failed.
    #[error("the loader for {key:?} failed: {source}")]
    Load {
        /// The complete key.
        key: Arc<str>,
        /// The loader's own error; see [`Error::loader`].
        source: SharedError,
    },

    /// The loader did not end within the load timeout. The key is free again.
    #[error("the loader for {key:?} did not end within {after:?} (see CacheBuilder::load_timeout)")]
    LoadTimeout {
        /// The complete key.
        key: Arc<str>,
        /// The load timeout.
        after: Duration,
    },

    /// The loader panicked. The key is free again.
    #[error("the loader for {key:?} panicked: {message}")]
    LoadPanicked {
        /// The complete key.
        key: Arc<str>,
        /// What the panic said.
        message: String,
    },

    /// A write-through could not save the value to its source. Nothing stands under the key, unless
    /// the store failed as well: then what stood before may.
    #[error("the value for {key:?} could not be saved: {source}")]
    Save {
        /// The complete key.
        key: Arc<str>,
        /// The source's own error.
        source: SharedError,
    },

    /// Some of what was to be invalidated may still be served; the rest is invalidated. See
    /// [`Cache::invalidate`](crate::Cache::invalidate).
    #[error("not invalidated, and perhaps still served: {left}: {source}")]
    NotInvalidated {
        /// What is left to invalidate.
        left: Box<Targets>,
        /// Why, for the first of it.
        source: Box<Error>,
    },

    /// A value that cannot be written into a session, or not be read from it as the type that was
    /// asked for.
    #[error("the session's value {key:?} is not what was expected: {source}")]
    SessionValue {
        /// The value's key in the session.
        key: String,
        /// What serde said.
        source: SharedError,
    },

    /// A session that is larger than its store takes. Nothing of it was saved.
    #[error(
        "the session has {bytes} bytes, {store} takes at most {max}; keep large values elsewhere, \
         and their keys in the session"
    )]
    SessionTooLarge {
        /// Its size with the changes.
        bytes: usize,
        /// The most that the store takes.
        max: usize,
        /// The store's name.
        store: &'static str,
    },

    /// So many requests changed the session at once that this one's changes did not come through.
    #[error("the session was changed by others {tries} times in a row; try again")]
    SessionContended {
        /// How often it was tried.
        tries: u32,
    },

    /// The operating system gave no random numbers, and no session begins without.
    #[error("no random numbers for a session's id: {reason}")]
    NoRandomness {
        /// What the platform said.
        reason: String,
    },
}

impl Error {
    /// The loader's own error, where this is one and of that type.
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).build()?;
    /// let error = cache
    ///     .get_or_load::<u32, _, _, _>("answer", || async { Err(std::fmt::Error) })
    ///     .await
    ///     .unwrap_err();
    /// assert!(error.loader::<std::fmt::Error>().is_some());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn loader<E: StdError + 'static>(&self) -> Option<&E> {
        match self {
            Self::Load { source, .. } => source.downcast_ref(),
            _ => None,
        }
    }
}

/// Why a [`Store`](crate::Store) failed.
///
/// It names the store, the operation and what to do, and holds no secrets.
///
/// ```
/// use larder_core::{StoreError, StoreErrorKind};
///
/// let detail = "no answer within 1s; is the server overloaded?";
/// let error = StoreError::new(StoreErrorKind::Timeout, "redis", "get", detail)
///     .with_source(std::io::Error::from(std::io::ErrorKind::TimedOut));
/// assert!(error.is_retryable());
/// assert_eq!(error.kind().as_str(), "timeout");
/// assert_eq!(error.operation(), "get");
/// assert_eq!(error.to_string(), "redis get: no answer within 1s; is the server overloaded?");
/// ```
#[derive(Debug, Clone)]
pub struct StoreError {
    kind: StoreErrorKind,
    store: &'static str,
    operation: &'static str,
    detail: String,
    source: Option<SharedError>,
}

/// What kind of failure a [`StoreError`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store cannot be reached, or dropped the connection.
    Unavailable,
    /// The store did not answer in time.
    Timeout,
    /// The call was not tried: the store failed too often just now (an open circuit breaker).
    CircuitOpen,
    /// The call was not tried: the request at hand may make no more of them, see
    /// [`Runtime::take_calls`](crate::Runtime::take_calls).
    Exhausted,
    /// The store was closed by [`Store::close`](crate::Store::close).
    Closed,
    /// A key or value beyond the store's limits; it was not sent.
    TooLarge,
    /// There is no room for more, and nothing goes to make some: a journal whose source is down.
    Full,
    /// The key holds something that is no value of a cache, such as a Redis list.
    WrongType,
    /// The store refused the credentials, or the user may not run the command.
    Denied,
    /// The store's configuration cannot work.
    Config,
    /// The backend does not do this.
    Unsupported,
    /// Anything else the store answered.
    Other,
}

impl StoreErrorKind {
    /// The kind in a word, as metrics label it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::CircuitOpen => "circuit_open",
            Self::Exhausted => "exhausted",
            Self::Closed => "closed",
            Self::TooLarge => "too_large",
            Self::Full => "full",
            Self::WrongType => "wrong_type",
            Self::Denied => "denied",
            Self::Config => "config",
            Self::Unsupported => "unsupported",
            Self::Other => "other",
        }
    }
}

impl StoreError {
    /// An error of `store` at `operation`; `detail` says what was wrong and what to do.
    pub fn new(
        kind: StoreErrorKind,
        store: &'static str,
        operation: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self { kind, store, operation, detail: detail.into(), source: None }
    }

    /// Adds what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// A journal has as many writes as it takes.
    ///
    /// ```
    /// use larder_core::{StoreError, StoreErrorKind};
    ///
    /// assert_eq!(StoreError::full("memory", "append", 100).kind(), StoreErrorKind::Full);
    /// ```
    pub fn full(store: &'static str, operation: &'static str, max_writes: usize) -> Self {
        let detail = format!(
            "the journal holds {max_writes} writes and dead letters, and takes no more; is the sink \
             down, are there dead letters to discard, is any flusher at work?"
        );
        Self::new(StoreErrorKind::Full, store, operation, detail)
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// The operation that failed.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind,
            StoreErrorKind::Unavailable
                | StoreErrorKind::Timeout
                | StoreErrorKind::CircuitOpen
                | StoreErrorKind::Full
        )
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.store, self.operation, self.detail)
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
