use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

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
}

impl<'a, K: AsRef<str>> Entry<'a, K> {
    pub(super) fn new(cache: &'a Cache, key: K) -> Self {
        Self { cache, key, policy: cache.policy }
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

    /// How long the load may take.
    pub fn load_timeout(mut self, timeout: Duration) -> Self {
        self.policy.load_timeout = timeout;
        self
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
        let found = self.cache.read_through(key, &self.policy, Absence::IsAMiss, load).await?;
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
        self.cache.read_through(key, &self.policy, Absence::IsAnAnswer, load).await
    }

    /// [`Cache::put`] with these settings.
    ///
    /// # Errors
    ///
    /// As there, and [`Error::Config`] for a setting that cannot work.
    pub async fn put<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        self.cache.put_coded(self.key.as_ref(), value, &self.policy).await
    }

    /// [`Cache::put_raw`] with these settings.
    ///
    /// # Errors
    ///
    /// As there, and [`Error::Config`] for a setting that cannot work.
    pub async fn put_raw<V: RawValue>(self, value: &V) -> Result<(), Error> {
        self.cache.put_as_is(self.key.as_ref(), value, &self.policy).await
    }
}
