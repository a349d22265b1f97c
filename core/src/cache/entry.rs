use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::form::Coded;
use super::load::{Absence, BoxError};
use super::policy::Policy;
use super::{Cache, Cacheable, RawValue};
use crate::error::Error;

/// One call with settings of its own, begun by [`Cache::entry`].
///
/// ```
/// # use larder_core::{Cache, MemoryStore, minutes, seconds};
/// # async fn find_user(id: u64) -> std::io::Result<Option<String>> { Ok(Some("Zoë".into())) }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// let cache = Cache::builder(MemoryStore::new()).build()?;
/// let user = cache
///     .entry("user:42")
///     .ttl(minutes(1))
///     .absent_ttl(seconds(5))
///     .jitter(0.2)
///     .get_or_find(|| find_user(42))
///     .await?;
/// assert_eq!(user.as_deref().unwrap(), "Zoë");
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "an entry does nothing until it is read, loaded or put"]
pub struct Entry<'a, K> {
    pub(super) cache: &'a Cache,
    pub(super) key: K,
    pub(super) policy: Policy,
    pub(super) tags: Vec<String>,
}

impl<'a, K: AsRef<str>> Entry<'a, K> {
    pub(super) fn new(cache: &'a Cache, key: K) -> Self {
        Self { cache, key, policy: cache.policy, tags: Vec::new() }
    }

    /// How long the value lives, counted from the start of its load.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.policy.ttl = ttl;
        self
    }

    /// How long it is remembered that there is no value.
    pub fn absent_ttl(mut self, ttl: Duration) -> Self {
        self.policy.absent_ttl = ttl;
        self
    }

    /// The share of the life that chance may take from it, from 0 to 1.
    pub fn jitter(mut self, share: f64) -> Self {
        self.policy.jitter = share;
        self
    }

    /// Marks what is loaded or put with `tag`, by which [`Cache::remove_tag`] invalidates it: up to
    /// 64 of them, each in a call of its own.
    ///
    /// Whoever reads the entry asks for what stands for its tags: in the same round trip where the
    /// call names them, as [`get_or_load`](Self::get_or_load) and [`get`](Self::get) do, and in one
    /// more where it does not, as [`Cache::get`].
    ///
    /// A tag is of its cache's namespace, and stands in the store as a key of its own,
    /// `<namespace>:larder-tag:<tag>`. That key is removed together with all the others by a pattern
    /// that matches it.
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore};
    /// # async fn find_order(id: u64) -> std::io::Result<String> { Ok("2 apples".into()) }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).build()?;
    /// let order = cache
    ///     .entry("order:7")
    ///     .tag("orders")
    ///     .tag("customer:42")
    ///     .get_or_load(|| find_order(7))
    ///     .await?;
    /// cache.remove_tag("customer:42").await?;
    /// assert_eq!(cache.get::<String>("order:7").await?, None);
    /// # Ok(()) }
    /// ```
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// How long the load may take.
    pub fn load_timeout(mut self, timeout: Duration) -> Self {
        self.policy.load_timeout = timeout;
        self
    }

    /// [`Cache::get`], with these tags asked for in the same round trip.
    ///
    /// # Errors
    ///
    /// As there, and [`Error::Config`] for tags that cannot be.
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).build()?;
    /// cache.entry("order:7").tag("orders").put("2 apples").await?;
    /// let order = cache.entry("order:7").tag("orders").get::<String>().await?;
    /// assert_eq!(order.as_deref().unwrap(), "2 apples");
    /// # Ok(()) }
    /// ```
    pub async fn get<T: Cacheable>(self) -> Result<Option<Arc<T>>, Error> {
        if let Some(found) = self.cache.hit_local::<Coded<T>>(self.key.as_ref())? {
            return Ok(found);
        }
        let tags = self.cache.tags(&self.tags)?;
        let key = self.cache.full_key(self.key.as_ref())?;
        Ok(self.cache.read::<Coded<T>>(&key, &tags).await.flatten())
    }

    /// [`Cache::get_or_load`] with these settings.
    ///
    /// # Errors
    ///
    /// As there, and [`Error::Config`] for a setting that cannot work.
    pub async fn get_or_load<T, F, Fut, E>(self, loader: F) -> Result<Arc<T>, Error>
    where
        T: Cacheable,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Into<BoxError>,
    {
        let load = || async { loader().await.map(Some).map_err(Into::into) };
        let key = self.key.as_ref();
        let tags = self.cache.tags(&self.tags)?;
        let absence = Absence::IsAMiss;
        let found = self.cache.read_through(key, &self.policy, &tags, absence, load).await?;
        // `load` never answers with an absence, and no other absence is taken for an answer.
        found.ok_or_else(|| Error::Load {
            key: key.into(),
            source: Arc::new(std::io::Error::other("the loader found no value")),
        })
    }

    /// [`Cache::get_or_find`] with these settings.
    ///
    /// # Errors
    ///
    /// As there, and [`Error::Config`] for a setting that cannot work.
    pub async fn get_or_find<T, F, Fut, E>(self, loader: F) -> Result<Option<Arc<T>>, Error>
    where
        T: Cacheable,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Option<T>, E>>,
        E: Into<BoxError>,
    {
        let load = || async { loader().await.map_err(Into::into) };
        let key = self.key.as_ref();
        let tags = self.cache.tags(&self.tags)?;
        self.cache.read_through(key, &self.policy, &tags, Absence::IsAnAnswer, load).await
    }

    /// [`Cache::put`] with these settings.
    ///
    /// # Errors
    ///
    /// As there, and [`Error::Config`] for a setting that cannot work.
    pub async fn put<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        let tags = self.cache.tags(&self.tags)?;
        self.cache.put_coded(self.key.as_ref(), value, &self.policy, &tags).await
    }

    /// [`Cache::put_raw`] with these settings.
    ///
    /// # Errors
    ///
    /// As there, and [`Error::Config`] for a setting that cannot work.
    pub async fn put_raw<V: RawValue>(self, value: &V) -> Result<(), Error> {
        let tags = self.cache.tags(&self.tags)?;
        self.cache.put_as_is(self.key.as_ref(), value, &self.policy, &tags).await
    }
}
