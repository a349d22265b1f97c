//! The port for bytes: what a backend stores, and what it says it can do.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::try_join_all;

use crate::epoch;
use crate::error::StoreError;
use crate::glob::Glob;
use crate::runtime::Runtime;

/// A store of bytes under string keys, each with a time to live.
///
/// Larder keeps an entry's logical life inside the value; the store's time to live collects what
/// nobody can use any more. Every implementation passes the same conformance suite, less what its
/// [`Capabilities`] do not claim.
///
/// Every call ends within a bounded time, whatever the store's state: waiting callers rely on it.
///
/// Keys arrive checked ([`check_key`](crate::check_key)) and complete, with their namespace.
///
/// # Errors
///
/// Every method fails with a [`StoreError`] that names the store and the operation. A
/// value that the store holds under the key but cannot hand out as bytes (a Redis list, say) is
/// [`StoreErrorKind::WrongType`](crate::StoreErrorKind::WrongType) on [`get`](Self::get) and
/// missing in [`get_many`](Self::get_many).
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// A short name for logs, metrics and errors: `memory`, `redis`.
    fn name(&self) -> &'static str;

    /// What this store can do, and its limits.
    fn capabilities(&self) -> &Capabilities;

    /// The clock, timers and tasks that go with this store.
    fn runtime(&self) -> Arc<dyn Runtime>;

    /// This store on the timers and the [calls](Runtime::take_calls) of `runtime`, see
    /// [`Cache::on`](crate::Cache::on). `None` where that makes no difference, as everywhere but on
    /// Workers.
    fn bound_to(&self, runtime: &Arc<dyn Runtime>) -> Option<Arc<dyn Store>> {
        let _ = runtime;
        None
    }

    /// What [`get`](Self::get) answers, where that takes no waiting and cannot fail; `None` where
    /// it may, as everywhere but in a store in this process.
    ///
    /// A hit that goes this way costs no boxed future.
    fn get_now(&self, key: &str) -> Option<Option<Bytes>> {
        let _ = key;
        None
    }

    /// The value under `key`.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError>;

    /// The values under `keys`, in their order.
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, StoreError>;

    /// The values under `keys`, in their order, each with how long it will stay, as
    /// [`time_to_live`](Self::time_to_live) tells it: for values that carry no life of their own.
    ///
    /// Whoever replaces a value between the two may leave it with the life of its successor, but no
    /// value comes with that of one before it.
    ///
    /// As provided, it reads all values and then asks for the life of each.
    async fn get_many_with_ttl(
        &self,
        keys: &[&str],
    ) -> Result<Vec<Option<(Bytes, Duration)>>, StoreError> {
        let values = self.get_many(keys).await?;
        let lives = keys.iter().zip(values).map(|(key, value)| async move {
            let Some(value) = value else { return Ok(None) };
            Ok::<_, StoreError>(self.time_to_live(key).await?.map(|ttl| (value, ttl)))
        });
        try_join_all(lives).await
    }

    /// Sets `value` under `key` for `ttl`, whatever stood there.
    ///
    /// A store that keeps time in larger units than `ttl` rounds it up.
    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), StoreError>;

    /// Sets every entry, in as few round trips as the store allows. Not atomic.
    async fn put_many(&self, entries: &[PutEntry<'_>]) -> Result<(), StoreError>;

    /// Removes `key`; whether something stood there.
    async fn remove(&self, key: &str) -> Result<bool, StoreError>;

    /// Removes every one of `keys`; how many stood there.
    async fn remove_many(&self, keys: &[&str]) -> Result<u64, StoreError>;

    /// Whether something stands under `key`.
    async fn contains(&self, key: &str) -> Result<bool, StoreError>;

    /// The epoch under each of `keys`, in their order; where there is none, one begins.
    ///
    /// An epoch is a number below 2^64. Until it is [removed](Self::remove) it stands under its key,
    /// in decimal digits, as [`get_many`](Self::get_many) reads it; the one after it is another
    /// number, whatever is lost, repeated or late on the way. A [`Cache`](crate::Cache) stamps what
    /// it loads with the epochs of its tags, and takes an entry for nothing when one of them does
    /// not stand any more.
    ///
    /// A new one stands for `life` at least, and longer than that where the store prolongs the life
    /// of those that it is asked for. An epoch that is lost costs what was stamped with it, and
    /// nothing else.
    ///
    /// As provided, it reads and then writes, each in one call, and prolongs nothing. That is right
    /// wherever a write that was acknowledged does not happen once more: two that begin an epoch
    /// at once may undo one another's, and what was stamped with the one undone is lost. A store
    /// that repeats its writes has to begin an epoch in one step.
    async fn epochs(&self, keys: &[&str], life: Duration) -> Result<Vec<u64>, StoreError> {
        let stored = self.get_many(keys).await?;
        let stand = stored.iter().map(|value| value.as_deref().and_then(epoch::from_bytes));
        let mut begun = Vec::new();
        let epochs = keys.iter().zip(stand).map(|(key, epoch)| {
            epoch.unwrap_or_else(|| {
                let epoch = epoch::new();
                begun.push(PutEntry { key, value: epoch::to_bytes(epoch), ttl: life });
                epoch
            })
        });
        let epochs = epochs.collect();
        if !begun.is_empty() {
            self.put_many(&begun).await?;
        }
        Ok(epochs)
    }

    /// How long `key` will stay; `None` where nothing stands. A key without an expiry, which only
    /// a foreign writer can have set, is [`Duration::MAX`].
    async fn time_to_live(&self, key: &str) -> Result<Option<Duration>, StoreError>;

    /// One page of the keys that match `pattern`, from `cursor` or the beginning.
    ///
    /// Never blocks the store: a page is bounded, and an empty page with a cursor is not the end.
    /// A key that stands during the whole scan is returned at least once.
    async fn scan(&self, pattern: &Glob, cursor: Option<Cursor>) -> Result<ScanPage, StoreError>;

    /// Whether the store answers now.
    async fn ready(&self) -> Result<(), StoreError>;

    /// Lets what is in flight finish, then refuses further calls. Idempotent.
    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl<S: Store + ?Sized> Store for Arc<S> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn capabilities(&self) -> &Capabilities {
        (**self).capabilities()
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        (**self).runtime()
    }

    fn bound_to(&self, runtime: &Arc<dyn Runtime>) -> Option<Arc<dyn Store>> {
        (**self).bound_to(runtime)
    }

    fn get_now(&self, key: &str) -> Option<Option<Bytes>> {
        (**self).get_now(key)
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        (**self).get(key).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, StoreError> {
        (**self).get_many(keys).await
    }

    async fn get_many_with_ttl(
        &self,
        keys: &[&str],
    ) -> Result<Vec<Option<(Bytes, Duration)>>, StoreError> {
        (**self).get_many_with_ttl(keys).await
    }

    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), StoreError> {
        (**self).put(key, value, ttl).await
    }

    async fn put_many(&self, entries: &[PutEntry<'_>]) -> Result<(), StoreError> {
        (**self).put_many(entries).await
    }

    async fn remove(&self, key: &str) -> Result<bool, StoreError> {
        (**self).remove(key).await
    }

    async fn remove_many(&self, keys: &[&str]) -> Result<u64, StoreError> {
        (**self).remove_many(keys).await
    }

    async fn contains(&self, key: &str) -> Result<bool, StoreError> {
        (**self).contains(key).await
    }

    async fn epochs(&self, keys: &[&str], life: Duration) -> Result<Vec<u64>, StoreError> {
        (**self).epochs(keys, life).await
    }

    async fn time_to_live(&self, key: &str) -> Result<Option<Duration>, StoreError> {
        (**self).time_to_live(key).await
    }

    async fn scan(&self, pattern: &Glob, cursor: Option<Cursor>) -> Result<ScanPage, StoreError> {
        (**self).scan(pattern, cursor).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        (**self).ready().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        (**self).close().await
    }
}

/// One entry of [`Store::put_many`].
#[derive(Debug, Clone)]
pub struct PutEntry<'a> {
    /// The complete key.
    pub key: &'a str,
    /// The value.
    pub value: Bytes,
    /// How long it is to stay.
    pub ttl: Duration,
}

/// Where a scan goes on. Opaque; only the store that gave it can read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(String);

impl Cursor {
    /// A cursor of a store's own form.
    pub fn new(position: impl Into<String>) -> Self {
        Self(position.into())
    }

    /// Where every scan begins, for code that has to name it.
    #[must_use]
    pub fn beginning() -> Self {
        Self(String::new())
    }

    /// What the store wrote into it.
    #[must_use]
    pub fn position(&self) -> &str {
        &self.0
    }
}

/// One page of [`Store::scan`].
#[derive(Debug, Clone, Default)]
pub struct ScanPage {
    /// Complete keys that match; possibly none.
    pub keys: Vec<String>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

/// What a store can do, and its limits.
///
/// ```
/// use larder_core::{Capabilities, Consistency};
///
/// let memory = Capabilities::new(Consistency::Strong).max_value_bytes(1 << 20);
/// assert_eq!(memory.consistency, Consistency::Strong);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Capabilities {
    /// When a write can be seen.
    pub consistency: Consistency,
    /// The longest complete key, in bytes.
    pub max_key_bytes: usize,
    /// The largest stored value, in bytes, Larder's header included.
    pub max_value_bytes: usize,
    /// The shortest time to live that the store itself keeps. Shorter ones are Larder's to enforce.
    pub min_ttl: Duration,
    /// How many keys the service takes in one call. A store splits what is longer; whoever wants to
    /// know how far it came splits it himself.
    pub max_batch_keys: usize,
    /// Whether the values live in this process, so that a read costs less than measuring it.
    pub in_process: bool,
}

impl Capabilities {
    /// Capabilities with the given consistency, keys of up to 4,096 bytes, values of up to
    /// 512 MiB (Redis' limit), any time to live from 1 ms on, 1,000 keys a call, outside of this
    /// process.
    #[must_use]
    pub fn new(consistency: Consistency) -> Self {
        Self {
            consistency,
            max_key_bytes: 4_096,
            max_value_bytes: 512 << 20,
            min_ttl: Duration::from_millis(1),
            max_batch_keys: 1_000,
            in_process: false,
        }
    }

    /// Sets the longest complete key, in bytes.
    #[must_use]
    pub fn max_key_bytes(mut self, bytes: usize) -> Self {
        self.max_key_bytes = bytes;
        self
    }

    /// Sets the largest stored value, in bytes.
    #[must_use]
    pub fn max_value_bytes(mut self, bytes: usize) -> Self {
        self.max_value_bytes = bytes;
        self
    }

    /// Sets the shortest time to live that the store keeps.
    #[must_use]
    pub fn min_ttl(mut self, ttl: Duration) -> Self {
        self.min_ttl = ttl;
        self
    }

    /// Sets how many keys the service takes in one call.
    #[must_use]
    pub fn max_batch_keys(mut self, keys: usize) -> Self {
        self.max_batch_keys = keys.max(1);
        self
    }

    /// Says that the values live in this process.
    #[must_use]
    pub fn in_process(mut self) -> Self {
        self.in_process = true;
        self
    }
}

/// When a write can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Consistency {
    /// By every read that starts after the write was acknowledged.
    Strong,
    /// By the writer at once, elsewhere after up to `within`, as a rule. So is the end of an epoch:
    /// entries of a tag that was removed, and a namespace that was cleared, are seen elsewhere for
    /// as long.
    Eventual {
        /// How long a write may stay unseen elsewhere.
        within: Duration,
    },
}
