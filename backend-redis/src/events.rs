//! What happens to the connection, and the user's callback for it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use larder_core::StoreError;

/// Something that happened to the connection.
///
/// In order: `Connected`, `Ready`, then at its end `Error` (where there was one) and `Closed`; and
/// before every further attempt `Reconnecting`. An attempt that fails is an `Error`, with a
/// `Connected` before it where the server was reached but not ready.
///
/// Addresses are as in [`RedisStore::address`](crate::RedisStore::address): without user and
/// password.
///
/// ```no_run
/// use larder_redis::{ConnectionEvent, RedisStore};
///
/// # async fn run() -> Result<(), larder_core::StoreError> {
/// let store = RedisStore::builder()
///     .host("cache.internal")
///     .on_event(|event| match event {
///         ConnectionEvent::Error { error, .. } => eprintln!("{error}"),
///         event => println!("{event}"),
///     })
///     .connect()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ConnectionEvent {
    /// The network connection stands, and the server took the credentials.
    #[non_exhaustive]
    Connected {
        /// Where to.
        address: Arc<str>,
    },
    /// The server has loaded its data; calls go through.
    #[non_exhaustive]
    Ready {
        /// Where.
        address: Arc<str>,
    },
    /// The connection, or an attempt to make it, failed.
    #[non_exhaustive]
    Error {
        /// Why; it names the address.
        error: StoreError,
    },
    /// The connection is gone.
    #[non_exhaustive]
    Closed {
        /// Where to it was.
        address: Arc<str>,
    },
    /// Another attempt will be made.
    #[non_exhaustive]
    Reconnecting {
        /// Where to.
        address: Arc<str>,
        /// Which attempt since the last connection, from 1.
        attempt: u32,
        /// After which wait.
        delay: Duration,
    },
}

impl fmt::Display for ConnectionEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected { address } => write!(f, "connected to {address}"),
            Self::Ready { address } => write!(f, "{address} is ready"),
            Self::Error { error } => error.fmt(f),
            Self::Closed { address } => write!(f, "the connection to {address} is closed"),
            Self::Reconnecting { address, attempt, delay } => {
                write!(f, "reconnecting to {address} in {delay:.1?} (attempt {attempt})")
            }
        }
    }
}

/// The callback, if there is one.
#[derive(Clone, Default)]
pub(crate) struct Listener(Option<Arc<Callback>>);

type Callback = dyn Fn(&ConnectionEvent) + Send + Sync;

impl Listener {
    pub(crate) fn new(callback: impl Fn(&ConnectionEvent) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(callback)))
    }

    pub(crate) fn call(&self, event: &ConnectionEvent) {
        if let Some(callback) = &self.0
            && catch_unwind(AssertUnwindSafe(|| callback(event))).is_err()
        {
            tracing::error!("the callback for connection events panicked");
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "set" } else { "none" })
    }
}
