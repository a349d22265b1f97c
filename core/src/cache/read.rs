//! Reading what the store holds.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};

use super::form::{Coded, Form, Raw};
use super::local::Moment;
use super::{Cache, Cacheable, RawValue, Tags};
use crate::error::{Error, StoreError, StoreErrorKind};
use crate::layout::{Layout, Presence, Stored};
use crate::meter::Operation;

/// The store cannot be reached, or is too slow.
pub(super) struct StoreFailed;

/// What [`Cache::lookup`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup<T> {
    /// A value.
    Hit(Arc<T>),
    /// The knowledge that there is no value.
    Absent,
    /// Nothing usable.
    Miss,
}

impl<T> Lookup<T> {
    /// The value, if there is one.
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).build()?;
    /// cache.put("answer", &42).await?;
    /// assert_eq!(cache.lookup::<u32>("answer").await?.value().as_deref(), Some(&42));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn value(self) -> Option<Arc<T>> {
        match self {
            Self::Hit(value) => Some(value),
            Self::Absent | Self::Miss => None,
        }
    }

    fn of(found: Option<Presence<Arc<T>>>) -> Self {
        match found {
            Some(Some(value)) => Self::Hit(value),
            Some(None) => Self::Absent,
            None => Self::Miss,
        }
    }
}

impl Cache {
    /// The value under `key`, if the cache holds one.
    ///
    /// A store that fails and bytes that cannot be read count as a miss. An entry with tags takes a second
    /// round trip, for their epochs, unless [`entry`](Self::entry) is told the tags.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] for a key that breaks the rules.
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).build()?;
    /// cache.put("answer", &42).await?;
    /// assert_eq!(cache.get::<u32>("answer").await?.as_deref(), Some(&42));
    /// assert_eq!(cache.get::<u32>("question").await?, None);
    /// # Ok(()) }
    /// ```
    pub async fn get<T: Cacheable>(&self, key: impl AsRef<str>) -> Result<Option<Arc<T>>, Error> {
        if let Some(found) = self.hit_local::<Coded<T>>(key.as_ref())? {
            return Ok(found);
        }
        let key = self.full_key(key.as_ref())?;
        Ok(self.read::<Coded<T>>(&key, &self.scopes).await.flatten())
    }

    /// Like [`get`](Self::get), and tells a known absence from a miss.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use larder_core::{Cache, Lookup, MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).build()?;
    /// assert_eq!(cache.lookup::<u32>("answer").await?, Lookup::Miss);
    /// cache.get_or_find("answer", || async { Ok::<Option<u32>, std::io::Error>(None) }).await?;
    /// assert_eq!(cache.lookup::<u32>("answer").await?, Lookup::Absent);
    /// # Ok(()) }
    /// ```
    pub async fn lookup<T: Cacheable>(&self, key: impl AsRef<str>) -> Result<Lookup<T>, Error> {
        if let Some(found) = self.hit_local::<Coded<T>>(key.as_ref())? {
            return Ok(Lookup::of(Some(found)));
        }
        let key = self.full_key(key.as_ref())?;
        Ok(Lookup::of(self.read::<Coded<T>>(&key, &self.scopes).await))
    }

    /// What [`lookup`](Self::lookup) finds [in front of the store](crate::CacheBuilder::local), where that
    /// may be used unchecked: at once, and without asking anybody.
    ///
    /// [`Lookup::Miss`] says nothing of the store: it is for `lookup`, or another call, to find out. Only
    /// what is found is counted.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use larder_core::{Cache, Lookup, MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).local(10_000).build()?;
    /// assert_eq!(cache.lookup_local::<u32>("answer")?, Lookup::Miss);
    /// cache.put("answer", &42_u32).await?;
    /// cache.get::<u32>("answer").await?;
    /// assert_eq!(cache.lookup_local::<u32>("answer")?, Lookup::Hit(Arc::new(42)));
    /// # Ok(()) }
    /// ```
    pub fn lookup_local<T: Cacheable>(&self, key: impl AsRef<str>) -> Result<Lookup<T>, Error> {
        Ok(Lookup::of(self.hit_local::<Coded<T>>(key.as_ref())?))
    }

    /// The raw value under `key`, if the cache holds one: see [`RawValue`].
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    ///
    /// ```
    /// use bytes::Bytes;
    /// # use larder_core::{Cache, MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).build()?;
    /// cache.put_raw("pixel", &Bytes::from_static(b"\x89PNG")).await?;
    /// assert_eq!(cache.get_raw::<Bytes>("pixel").await?.unwrap().len(), 4);
    /// # Ok(()) }
    /// ```
    pub async fn get_raw<V: RawValue>(
        &self,
        key: impl AsRef<str>,
    ) -> Result<Option<Arc<V>>, Error> {
        if let Some(found) = self.hit_local::<Raw<V>>(key.as_ref())? {
            return Ok(found);
        }
        let key = self.full_key(key.as_ref())?;
        Ok(self.read::<Raw<V>>(&key, &self.scopes).await.flatten())
    }

    /// What [`get_raw`](Self::get_raw) answers, where it can be told at once: what is in the local
    /// tier, or in a store in memory.
    ///
    /// `None` says nothing: it is for `get_raw`, or another call, to find out. Only a hit is
    /// counted.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    ///
    /// ```
    /// use bytes::Bytes;
    /// # use larder_core::{Cache, MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).build()?;
    /// cache.put_raw("pixel", &Bytes::from_static(b"\x89PNG")).await?;
    /// assert_eq!(cache.get_raw_now::<Bytes>("pixel")?.unwrap().len(), 4);
    /// # Ok(()) }
    /// ```
    pub fn get_raw_now<V: RawValue + Clone>(
        &self,
        key: impl AsRef<str>,
    ) -> Result<Option<V>, Error> {
        if let Some(Some(value)) = self.local::<Raw<V>>(key.as_ref())? {
            self.meter().hit(1);
            return Ok(Some(Arc::unwrap_or_clone(value)));
        }
        let key = self.full_key(key.as_ref())?;
        let stored = self.store().get_now(&key).flatten();
        let Some(stored) = stored.filter(|stored| self.stands_now(stored)) else { return Ok(None) };
        let has_passed = |deadline| self.runtime.has_passed(deadline);
        match Raw::<V>::decode(self.layout(), &stored, has_passed) {
            Stored::Fresh(Some(value), _) => {
                self.meter().hit(1);
                Ok(Some(value))
            }
            // Whoever asks again counts it for what it is.
            _ => Ok(None),
        }
    }

    /// The values under `keys`, in their order, in as few round trips as the store allows.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] if any key breaks the rules.
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).build()?;
    /// cache.put_many([("a", 1), ("c", 3)]).await?;
    /// let found = cache.get_many::<u32>(["a", "b", "c"]).await?;
    /// let found: Vec<_> = found.iter().map(|value| value.as_deref().copied()).collect();
    /// assert_eq!(found, [Some(1), None, Some(3)]);
    /// # Ok(()) }
    /// ```
    pub async fn get_many<T: Cacheable>(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Vec<Option<Arc<T>>>, Error> {
        let keys = self.full_keys(keys)?;
        let found = self.read_many::<Coded<T>>(&keys).await;
        Ok(found.into_iter().map(Option::flatten).collect())
    }

    /// Whether a value stands under `key`. A known absence is none.
    ///
    /// Costs as much as reading the stored bytes, and does not decode them. Is not counted as a
    /// hit or a miss.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).build()?;
    /// cache.put("answer", &42).await?;
    /// assert!(cache.contains("answer").await?);
    /// # Ok(()) }
    /// ```
    pub async fn contains(&self, key: impl AsRef<str>) -> Result<bool, Error> {
        let key = self.full_key(key.as_ref())?;
        let stored = self.stored(&key, &self.scopes).await;
        Ok(stored.ok().flatten().is_some_and(|stored| {
            self.layout().holds_value(&stored, |deadline| self.runtime.has_passed(deadline))
        }))
    }

    /// How much longer the store keeps what stands under `key`, be it a value or a known absence;
    /// `None` where nothing stands.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] for a key that breaks the rules, [`Error::Store`] where the store fails.
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore, minutes};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).ttl(minutes(5)).build()?;
    /// cache.put("answer", &42).await?;
    /// assert!(cache.time_to_live("answer").await?.unwrap() <= minutes(5));
    /// # Ok(()) }
    /// ```
    pub async fn time_to_live(&self, key: impl AsRef<str>) -> Result<Option<Duration>, Error> {
        let key = self.full_key(key.as_ref())?;
        Ok(self.metered(Operation::Read, self.store().time_to_live(&key)).await?)
    }

    /// What stands in front of the store, counted as a hit.
    #[inline]
    pub(super) fn hit_local<F: Form>(
        &self,
        key: &str,
    ) -> Result<Option<Presence<Arc<F::Value>>>, Error> {
        let found = self.local::<F>(key)?;
        if found.is_some() {
            self.meter().hit(1);
        }
        Ok(found)
    }

    pub(super) fn full_keys(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Vec<String>, Error> {
        keys.into_iter().map(|key| Ok(self.full_key(key.as_ref())?)).collect()
    }

    /// `None` for a miss of any kind; `Some(None)` for a known absence.
    pub(super) async fn read<F: Form>(
        &self,
        key: &str,
        tags: &Tags,
    ) -> Option<Presence<Arc<F::Value>>> {
        self.read_telling::<F>(key, tags).await.unwrap_or_default()
    }

    /// [`read`](Self::read), and tells a store that failed from one that holds nothing.
    pub(super) async fn read_telling<F: Form>(
        &self,
        key: &str,
        tags: &Tags,
    ) -> Result<Option<Presence<Arc<F::Value>>>, StoreFailed> {
        let found = self.ask::<F>(key, tags).await;
        match found {
            Ok(Some(_)) => self.meter().hit(1),
            Ok(None) | Err(StoreFailed) => self.meter().miss(1),
        }
        found
    }

    /// [`read`](Self::read) on behalf of a call that has been counted.
    pub(super) async fn read_uncounted<F: Form>(
        &self,
        key: &str,
        tags: &Tags,
    ) -> Option<Presence<Arc<F::Value>>> {
        self.ask::<F>(key, tags).await.unwrap_or_default()
    }

    async fn ask<F: Form>(
        &self,
        key: &str,
        tags: &Tags,
    ) -> Result<Option<Presence<Arc<F::Value>>>, StoreFailed> {
        let moment = self.moment();
        if let (Layout::Plain, Some(moment)) = (self.layout(), moment) {
            return match self.ask_for_lives::<F>(&[key], moment).await {
                Err(error) if error.is_retryable() => Err(StoreFailed),
                found => Ok(found.ok().and_then(|found| found.into_iter().next()).flatten()),
            };
        }
        if let Some(stored) = self.store().get_now(key) {
            let stored = stored.filter(|stored| self.stands_now(stored));
            return Ok(self.interpret::<F>(key, Ok(stored), moment));
        }
        match self.stored(key, tags).await {
            Err(error) if error.is_retryable() => Err(StoreFailed),
            stored => Ok(self.interpret::<F>(key, stored, moment)),
        }
    }

    /// Reads for the layout `Plain`, in which only the store knows how long a value lives, what is
    /// to be kept in front of it.
    async fn ask_for_lives<F: Form>(
        &self,
        keys: &[&str],
        moment: Moment,
    ) -> Result<Vec<Option<Presence<Arc<F::Value>>>>, StoreError> {
        let read = self.in_time(self.store().get_many_with_ttl(keys));
        let found = self.metered(Operation::Read, read).await?;
        let each = keys.iter().zip(found).map(|(key, found)| {
            let (stored, ttl) = found?;
            self.interpret::<F>(key, Ok(Some(stored)), Some(moment.until_after(ttl)))
        });
        Ok(each.collect())
    }

    /// What the store holds under `key`, unless a tag of it was removed. The epochs of `tags`, which
    /// it is likely to have, are read together with it.
    async fn stored(&self, key: &str, tags: &Tags) -> Result<Option<Bytes>, StoreError> {
        let (entry, epochs) = if tags.is_empty() {
            let read = self.in_time(self.store().get(key));
            (self.metered(Operation::Read, read).await?, Vec::new())
        } else {
            let all: Vec<&str> = std::iter::once(key).chain(tags.keys()).collect();
            let read = self.in_time(self.store().get_many(&all));
            let mut found = self.metered(Operation::Read, read).await?.into_iter();
            (found.next().flatten(), found.collect())
        };
        // Most have none, and are done.
        if entry.as_deref().is_none_or(|entry| self.layout().stamps(entry).is_empty()) {
            return Ok(entry);
        }
        let entries = self.standing(vec![entry], tags.keys().zip(epochs)).await?;
        Ok(entries.into_iter().next().flatten())
    }

    /// [`stored`](Self::stored) for every one of `keys`, in their order.
    async fn stored_many(
        &self,
        keys: &[&str],
        tags: &Tags,
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        let all: Vec<&str> = keys.iter().copied().chain(tags.keys()).collect();
        let read = self.in_time(self.store().get_many(&all));
        let mut entries = self.metered(Operation::Read, read).await?;
        let epochs = entries.split_off(keys.len().min(entries.len()));
        self.standing(entries, tags.keys().zip(epochs)).await
    }

    /// [`read`](Self::read) for every one of `keys`, in their order.
    pub(super) async fn read_many<F: Form>(
        &self,
        keys: &[String],
    ) -> Vec<Option<Presence<Arc<F::Value>>>> {
        let mut found: Vec<_> = keys.iter().map(|key| self.local_full::<F>(key)).collect();
        let missing = keys.iter().zip(&found).filter(|(_, found)| found.is_none());
        let missing: Vec<String> = missing.map(|(key, _)| key.clone()).collect();
        let mut stored = self.read_many_uncounted::<F>(&missing).await.into_iter();
        for place in found.iter_mut().filter(|found| found.is_none()) {
            *place = stored.next().flatten();
        }
        let hits = found.iter().filter(|found| found.is_some()).count() as u64;
        self.meter().hit(hits);
        self.meter().miss(found.len() as u64 - hits);
        found
    }

    /// [`read_many`](Self::read_many) on behalf of a call that has been counted.
    pub(super) async fn read_many_uncounted<F: Form>(
        &self,
        keys: &[String],
    ) -> Vec<Option<Presence<Arc<F::Value>>>> {
        if keys.is_empty() {
            return Vec::new();
        }
        let borrowed: Vec<&str> = keys.iter().map(String::as_str).collect();
        let moment = self.moment();
        if let (Layout::Plain, Some(moment)) = (self.layout(), moment) {
            let found = self.ask_for_lives::<F>(&borrowed, moment).await;
            return found.unwrap_or_else(|_| keys.iter().map(|_| None).collect());
        }
        match self.stored_many(&borrowed, &self.scopes).await {
            Ok(stored) => keys
                .iter()
                .zip(stored)
                .map(|(key, stored)| self.interpret::<F>(key, Ok(stored), moment))
                .collect(),
            Err(_) => keys.iter().map(|_| None).collect(),
        }
    }

    /// Gives a read up after the read timeout.
    pub(super) async fn in_time<T>(
        &self,
        read: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let Some(timeout) = self.policy.read_timeout else { return read.await };
        if self.store().capabilities().in_process {
            return read.await;
        }
        match select(pin!(read), self.runtime.sleep(timeout)).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => {
                let detail = format!("no answer within {timeout:?}, the read timeout of the cache");
                Err(StoreError::new(StoreErrorKind::Timeout, self.store().name(), "get", detail))
            }
        }
    }

    fn interpret<F: Form>(
        &self,
        key: &str,
        stored: Result<Option<Bytes>, StoreError>,
        moment: Option<Moment>,
    ) -> Option<Presence<Arc<F::Value>>> {
        let why = match stored {
            Ok(None) => return None,
            Ok(Some(stored)) => {
                if let Some(same) = self.recheck_local::<F>(key, &stored, moment) {
                    return Some(same);
                }
                let has_passed = |deadline| self.runtime.has_passed(deadline);
                match F::decode(self.layout(), &stored, has_passed) {
                    Stored::Fresh(value, life) => {
                        let value = value.map(Arc::new);
                        let tags = self.layout().stamps(&stored).map(|(tag, _)| tag);
                        self.keep_local::<F>(key, moment, &value, life, &stored, tags);
                        return Some(value);
                    }
                    Stored::Expired => return None,
                    Stored::Unreadable(why) => why,
                }
            }
            Err(error) if error.kind() == StoreErrorKind::WrongType => "wrong_type",
            Err(_) => return None,
        };
        self.meter().unreadable(why);
        tracing::debug!(key, why, "a stored entry cannot be read; it counts as a miss");
        None
    }
}
