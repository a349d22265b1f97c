//! Writing and invalidating.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use super::form::{Form, Raw};
use super::policy::Policy;
use super::{Cache, RawValue, Tags};
use crate::epoch::Stamp;
use crate::error::{Error, SharedError, StoreError, StoreErrorKind};
use crate::flight::{discredit, supersede};
use crate::glob::Glob;
use crate::invalidation::Subject;
use crate::key;
use crate::layout::{Life, Presence};
use crate::meter::Operation;
use crate::store::{Cursor, PutEntry};

/// What [`Cache::remove_matching_from`] came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removal {
    /// How many keys were removed.
    pub removed: u64,
    /// Where to go on; `None` where everything that matched is removed.
    pub next: Option<Cursor>,
}

/// What it means that the request may make no more calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exhaustion {
    IsAnError,
    Pauses,
}

impl Cache {
    /// Sets the value under `key`, for the cache's time to live.
    ///
    /// Loads of the key that are under way will not overwrite it.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] for a key that breaks the rules, [`Error::Encode`] for a value that the codec
    /// cannot express, [`Error::Store`] where the store fails or the value is too large for it:
    /// then what stood under the key may still stand.
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).build()?;
    /// cache.put("primes", &[2, 3, 5]).await?;
    /// assert_eq!(*cache.get::<Vec<u32>>("primes").await?.unwrap(), [2, 3, 5]);
    /// # Ok(()) }
    /// ```
    pub async fn put<T: Serialize + ?Sized>(
        &self,
        key: impl AsRef<str>,
        value: &T,
    ) -> Result<(), Error> {
        self.entry(key).put(value).await
    }

    /// Sets the raw value under `key`: see [`RawValue`].
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let cache = Cache::builder(MemoryStore::new()).build()?;
    /// cache.put_raw("page", &bytes::Bytes::from_static(b"<!doctype html>")).await?;
    /// # Ok(()) }
    /// ```
    pub async fn put_raw<V: RawValue>(&self, key: impl AsRef<str>, value: &V) -> Result<(), Error> {
        self.entry(key).put_raw(value).await
    }

    /// Sets every value under its key, in as few round trips as the store allows. Not atomic.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put), and [`Error::Config`] for a time to live of zero. Keys and values are
    /// checked before anything is written.
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).build()?;
    /// cache.put_many([("one", 1), ("two", 2)]).await?;
    /// assert!(cache.contains("two").await?);
    /// # Ok(()) }
    /// ```
    pub async fn put_many<K: AsRef<str>, T: Serialize>(
        &self,
        entries: impl IntoIterator<Item = (K, T)>,
    ) -> Result<(), Error> {
        self.policy.check()?;
        let stamps = self.stamps(&self.scopes, self.policy.ttl).await?;
        let now = self.runtime.now();
        let mut keys = Vec::new();
        let mut values = Vec::new();
        for (key, value) in entries {
            let key = self.full_key(key.as_ref())?;
            let ttl = self.policy.life(false, fastrand::f64());
            let encoded = self.layout().encode(&value, Life::starting(now, ttl), &stamps);
            values.push((self.fitting(&key, encoded)?, ttl));
            keys.push(key);
        }
        if keys.is_empty() {
            return Ok(());
        }
        let entries: Vec<PutEntry<'_>> = keys
            .iter()
            .zip(values)
            .map(|(key, (value, ttl))| PutEntry { key, value, ttl: self.layout().store_ttl(ttl) })
            .collect();
        self.invalidating(&keys, Operation::Write, self.store().put_many(&entries)).await
    }

    /// Removes what stands under `key`; whether something did.
    ///
    /// Loads of the key that are under way will not bring the old value back, and calls that start
    /// from now on load anew.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] for a key that breaks the rules, [`Error::Store`] where the store fails: then
    /// what stood under the key may still stand.
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).build()?;
    /// cache.put("answer", &42).await?;
    /// assert!(cache.remove("answer").await?);
    /// assert!(!cache.remove("answer").await?);
    /// # Ok(()) }
    /// ```
    pub async fn remove(&self, key: impl AsRef<str>) -> Result<bool, Error> {
        let key = self.full_key(key.as_ref())?;
        self.invalidating(&[&key], Operation::Remove, self.store().remove(&key)).await
    }

    /// Removes what stands under each of `keys`; how many did.
    ///
    /// # Errors
    ///
    /// As [`remove`](Self::remove).
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).build()?;
    /// cache.put_many([("a", 1), ("b", 2)]).await?;
    /// assert_eq!(cache.remove_many(["a", "b", "c"]).await?, 2);
    /// # Ok(()) }
    /// ```
    pub async fn remove_many(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<u64, Error> {
        let keys = self.full_keys(keys)?;
        if keys.is_empty() {
            return Ok(0);
        }
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        self.invalidating(&keys, Operation::Remove, self.store().remove_many(&keys)).await
    }

    /// Removes every key of the cache's namespace that matches `pattern`; how many there were.
    ///
    /// Goes through the store page by page and never blocks it. A key that is written while the
    /// removal runs may stay.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] for an empty pattern or one with control characters, [`Error::Store`] where
    /// the store fails: some of the keys may be gone by then.
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).namespace("app").build()?;
    /// cache.put_many([("users:page:1", 1), ("users:page:2", 2), ("user:1", 3)]).await?;
    /// assert_eq!(cache.remove_matching("users:*").await?, 2);
    /// # Ok(()) }
    /// ```
    pub async fn remove_matching(&self, pattern: impl Into<Glob>) -> Result<u64, Error> {
        let removal = self.remove_pages(&pattern.into(), None, Exhaustion::IsAnError).await?;
        Ok(removal.removed)
    }

    /// [`remove_matching`](Self::remove_matching) for a platform that limits the calls of a
    /// request, as Workers do: begins at `cursor` or the beginning, and where the calls are used up
    /// says how far it came and where to go on, in another request.
    ///
    /// # Errors
    ///
    /// As [`remove_matching`](Self::remove_matching).
    ///
    /// ```
    /// # use larder_core::{Cache, Cursor, MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let cache = Cache::builder(MemoryStore::new()).build()?;
    /// # let saved: Option<String> = None;
    /// let removal = cache.remove_matching_from("users:*", saved.map(Cursor::new)).await?;
    /// if let Some(next) = removal.next {
    ///     println!("{} removed, to go on from {}", removal.removed, next.position());
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn remove_matching_from(
        &self,
        pattern: impl Into<Glob>,
        cursor: Option<Cursor>,
    ) -> Result<Removal, Error> {
        self.remove_pages(&pattern.into(), cursor, Exhaustion::Pauses).await
    }

    async fn remove_pages(
        &self,
        pattern: &Glob,
        cursor: Option<Cursor>,
        exhaustion: Exhaustion,
    ) -> Result<Removal, Error> {
        let store = self.store();
        key::check("pattern", pattern.as_str(), store.capabilities().max_key_bytes, store.name())?;
        let pattern = pattern.within(self.namespace.prefix());
        // A load that is not kept though it could be does no harm, one that is kept though it must
        // not be would.
        let matches = |key: &str| pattern.may_match(key);
        supersede(self.shared.flights.matching(matches), &*self.runtime).await;
        let cursor = cursor.unwrap_or_else(Cursor::beginning);
        let removal = self.remove_matches(&pattern, cursor, exhaustion).await;
        self.invalidate_local_matching(&pattern);
        discredit(self.shared.flights.matching(matches));
        if removal.is_ok() {
            self.tell(|| Subject::Patterns(vec![pattern.clone()])).await;
        }
        removal
    }

    async fn remove_matches(
        &self,
        pattern: &Glob,
        mut at: Cursor,
        exhaustion: Exhaustion,
    ) -> Result<Removal, Error> {
        let mut removed = 0;
        loop {
            match self.remove_page(pattern, &at, &mut removed).await {
                Ok(Some(next)) => at = next,
                Ok(None) => return Ok(Removal { removed, next: None }),
                Err(error)
                    if exhaustion == Exhaustion::Pauses
                        && error.kind() == StoreErrorKind::Exhausted =>
                {
                    return Ok(Removal { removed, next: Some(at) });
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn remove_page(
        &self,
        pattern: &Glob,
        at: &Cursor,
        removed: &mut u64,
    ) -> Result<Option<Cursor>, StoreError> {
        let cursor = (*at != Cursor::beginning()).then(|| at.clone());
        let page = self.metered(Operation::Remove, self.store.scan(pattern, cursor)).await?;
        // In portions, so that what was removed is known where the next portion fails.
        for keys in page.keys.chunks(self.store.capabilities().max_batch_keys.max(1)) {
            *removed += self.remove_found(keys).await?;
        }
        Ok(page.next)
    }

    pub(super) async fn put_coded<T: Serialize + ?Sized>(
        &self,
        key: &str,
        value: &T,
        policy: &Policy,
        tags: &Tags,
    ) -> Result<(), Error> {
        policy.check()?;
        let stamps = self.stamps(tags, policy.ttl).await?;
        let (life, ttl) = self.life_from_now(policy);
        self.put_encoded(key, self.layout().encode(value, life, &stamps), ttl).await
    }

    pub(super) async fn put_as_is<V: RawValue>(
        &self,
        key: &str,
        value: &V,
        policy: &Policy,
        tags: &Tags,
    ) -> Result<(), Error> {
        policy.check()?;
        let stamps = self.stamps(tags, policy.ttl).await?;
        let (life, ttl) = self.life_from_now(policy);
        let encoded = Raw::<V>::encode(self.layout(), Some(value), life, &stamps);
        self.put_encoded(key, encoded, ttl).await
    }

    fn life_from_now(&self, policy: &Policy) -> (Life, Duration) {
        let ttl = policy.life(false, fastrand::f64());
        (Life::starting(self.runtime.now(), ttl), ttl)
    }

    async fn put_encoded(
        &self,
        key: &str,
        encoded: Result<Bytes, SharedError>,
        ttl: Duration,
    ) -> Result<(), Error> {
        let key = self.full_key(key)?;
        let value = self.fitting(&key, encoded)?;
        let ttl = self.layout().store_ttl(ttl);
        self.invalidating(&[&key], Operation::Write, self.store().put(&key, value, ttl)).await
    }

    /// Makes a call of the store after which nothing from before it is to be seen under `keys`.
    async fn invalidating<T>(
        &self,
        keys: &[impl AsRef<str>],
        operation: Operation,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Error> {
        let flights = &self.shared.flights;
        supersede(flights.of(keys), &*self.runtime).await;
        let result = self.metered(operation, call).await;
        self.invalidate_local(keys);
        discredit(flights.of(keys));
        if result.is_ok() {
            self.tell_keys(keys).await;
        }
        Ok(result?)
    }

    /// The encoded value, if the codec could and the store can take it.
    pub(super) fn fitting(
        &self,
        key: &str,
        encoded: Result<Bytes, SharedError>,
    ) -> Result<Bytes, Error> {
        let value = encoded.map_err(|source| Error::Encode {
            key: key.into(),
            codec: self.layout().codec_name(),
            source,
        })?;
        let max = self.store().capabilities().max_value_bytes;
        if value.len() > max {
            let detail = format!(
                "the value for {key:?} has {} bytes with its header, the store takes at most \
                 {max}; store less of it, or nothing",
                value.len()
            );
            let store = self.store().name();
            return Err(StoreError::new(StoreErrorKind::TooLarge, store, "put", detail).into());
        }
        Ok(value)
    }

    /// Encodes what a load found, and how long the store is to keep it; `None` where its life is
    /// over before it began, or where it cannot be kept, which is logged.
    pub(super) fn keepable<F: Form>(
        &self,
        key: &str,
        value: Presence<&F::Value>,
        life: Life,
        stamps: &[Stamp],
    ) -> Option<(Bytes, Duration)> {
        let left = life.fresh_until.since(self.runtime.now());
        if left.is_zero() {
            return None;
        }
        match self.fitting(key, F::encode(self.layout(), value, life, stamps)) {
            Ok(bytes) => Some((bytes, self.layout().store_ttl(left))),
            Err(error) => {
                self.meter().unwritable();
                tracing::warn!(%error, "a loaded value is not kept");
                None
            }
        }
    }
}
