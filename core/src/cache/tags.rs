//! Tags: what marks entries that are invalidated together.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;

use super::Cache;
use crate::epoch::{self, Stamp};
use crate::error::{Error, StoreError};
use crate::flight::{discredit, supersede};
use crate::invalidation::Subject;
use crate::key;
use crate::layout::Layout;
use crate::meter::Operation;
use crate::time::days;

/// The complete keys of the epochs that an entry stands under: none, as a rule.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tags(SmallVec<[Arc<str>; 2]>);

/// What stands between a namespace and a tag in the key of its epoch.
const TAG: &str = "larder-tag:";
/// What stands after a namespace in the key of its epoch.
const CLEAR: &str = "larder-clear";

const MOST_TAGS: usize = 64;

/// What a frame has room for.
const LONGEST_KEY: usize = u16::MAX as usize;

/// How long an epoch stands at least, so that it does not often cost what is stamped with it.
const EPOCH_LIFE: Duration = days(1);

impl Tags {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn has_any(&self, keys: &[Arc<str>]) -> bool {
        self.0.iter().any(|tag| keys.contains(tag))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|key| &**key)
    }

    /// These, with one more.
    pub(super) fn and(&self, key: Arc<str>) -> Self {
        let mut tags = self.clone();
        if !tags.0.contains(&key) {
            tags.0.push(key);
        }
        tags
    }
}

impl Cache {
    /// Invalidates every entry with `tag`, however many there are, in one call of the store.
    ///
    /// Loads that are under way leave nothing behind, in other processes neither: an entry is
    /// stamped with what stood for its tags before its load began. Entries that were invalidated
    /// take room until their time to live is over.
    ///
    /// Where the store shows a write late, as KV does elsewhere, so it does this.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] for a tag that breaks the rules for keys, [`Error::Config`] in the layout
    /// [`Plain`](Layout::Plain), which has no place for tags, [`Error::Store`] where the store fails:
    /// then the entries may still stand.
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore};
    /// # async fn find_users() -> std::io::Result<Vec<String>> { Ok(vec!["Zoë".into()]) }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).build()?;
    /// cache.entry("users:page:1").tag("users").get_or_load(|| find_users()).await?;
    /// cache.remove_tag("users").await?;
    /// assert!(!cache.contains("users:page:1").await?);
    /// # Ok(()) }
    /// ```
    pub async fn remove_tag(&self, tag: impl AsRef<str>) -> Result<(), Error> {
        self.remove_tags([tag]).await
    }

    /// Invalidates every entry with any of `tags`, as [`remove_tag`](Self::remove_tag) does.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).build()?;
    /// cache.entry("greeting").tag("texts").tag("en").put("hello").await?;
    /// cache.remove_tags(["en", "de"]).await?;
    /// assert!(!cache.contains("greeting").await?);
    /// # Ok(()) }
    /// ```
    pub async fn remove_tags(
        &self,
        tags: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<(), Error> {
        let keys: Result<Vec<_>, _> = tags.into_iter().map(|tag| self.tag(tag.as_ref())).collect();
        self.end_epochs(&keys?).await
    }

    /// Invalidates everything in the cache's namespace, the namespaces inside it included.
    ///
    /// Goes through the store page by page, as [`remove_matching`](Self::remove_matching) does; a
    /// cache with [`instant_clear`](super::CacheBuilder::instant_clear) does it in one call. Without
    /// a namespace everything is everything: without `instant_clear`, every key in the store.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the store fails: some or all of the entries may still stand.
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).namespace("app").build()?;
    /// cache.put_many([("a", 1), ("b", 2)]).await?;
    /// cache.clear().await?;
    /// assert!(!cache.contains("a").await?);
    /// # Ok(()) }
    /// ```
    pub async fn clear(&self) -> Result<(), Error> {
        match self.scopes.0.last() {
            Some(own) => self.end_epochs(&[Arc::clone(own)]).await,
            None => self.remove_matching("*").await.map(drop),
        }
    }

    async fn end_epochs(&self, keys: &[Arc<str>]) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        let borrowed: Vec<&str> = keys.iter().map(|key| &**key).collect();
        self.ending(keys, self.store().remove_many(&borrowed)).await?;
        Ok(())
    }

    /// Removes keys that a pattern found, epochs among them: with an epoch goes all that stands under
    /// it, whatever its key is.
    pub(super) async fn remove_found(&self, keys: &[String]) -> Result<u64, StoreError> {
        let epochs = keys.iter().filter(|key| key.contains(TAG) || key.ends_with(CLEAR));
        let epochs: Vec<Arc<str>> = epochs.map(|key| Arc::from(&**key)).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        self.ending(&epochs, self.store().remove_many(&keys)).await
    }

    /// Makes a call of the store that removes `epochs`, and maybe more.
    async fn ending(
        &self,
        epochs: &[Arc<str>],
        call: impl Future<Output = Result<u64, StoreError>>,
    ) -> Result<u64, StoreError> {
        let tagged = || match epochs {
            [] => Vec::new(),
            epochs => self.shared.flights.tagged(epochs),
        };
        supersede(tagged(), &*self.runtime).await;
        let result = self.metered(Operation::Remove, call).await;
        self.invalidate_local(epochs);
        discredit(tagged());
        if result.is_ok() && !epochs.is_empty() {
            self.tell(|| Subject::Tags(epochs.iter().map(|key| key.as_ref().to_owned()).collect()))
                .await;
        }
        result
    }

    /// The complete key of a tag's epoch.
    pub(super) fn tag(&self, tag: &str) -> Result<Arc<str>, Error> {
        if matches!(self.layout(), Layout::Plain) {
            return Err(Error::Config {
                setting: "tag",
                problem: "the layout Plain has no place for tags; use Framed, or remove by pattern"
                    .into(),
            });
        }
        let store = self.store();
        let max = store.capabilities().max_key_bytes.min(LONGEST_KEY);
        if tag.is_empty() {
            key::check("tag", tag, max, store.name())?;
        }
        let key = self.namespace.join(&format!("{TAG}{tag}"));
        key::check("tag", &key, max, store.name())?;
        Ok(key.into())
    }

    /// This cache, its entries stamped with the epoch of its namespace.
    pub(super) fn stamping_its_namespace(mut self) -> Result<Self, Error> {
        let key = self.namespace.join(CLEAR);
        let max = self.store().capabilities().max_key_bytes.min(LONGEST_KEY);
        key::check("namespace", &key, max, self.store().name())?;
        self.scopes = self.scopes.and(key.into());
        Ok(self)
    }

    /// What an entry with these tags stands under.
    pub(super) fn tags(&self, names: &[String]) -> Result<Tags, Error> {
        let mut tags = self.scopes.clone();
        if names.len() > MOST_TAGS {
            return Err(Error::Config {
                setting: "tag",
                problem: format!("there are {}; an entry has at most {MOST_TAGS}", names.len()),
            });
        }
        for name in names {
            tags = tags.and(self.tag(name)?);
        }
        Ok(tags)
    }

    /// The epochs that stand for `tags`, before a load or a write begins that lives for `ttl`.
    pub(super) async fn stamps(
        &self,
        tags: &Tags,
        ttl: Duration,
    ) -> Result<Vec<Stamp>, StoreError> {
        if tags.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<&str> = tags.keys().collect();
        let life = ttl.saturating_mul(2).max(EPOCH_LIFE);
        let epochs = self.in_time(self.store().epochs(&keys, life));
        let epochs = self.metered(Operation::Read, epochs).await?;
        let stamp = |(key, epoch): (&Arc<str>, u64)| Stamp { key: Arc::clone(key), epoch };
        Ok(tags.0.iter().zip(epochs).map(stamp).collect())
    }

    /// Whether every epoch stands that the entry was stamped with, where the store tells at once.
    pub(super) fn stands_now(&self, stored: &[u8]) -> bool {
        self.layout().stamps(stored).all(|(key, epoch)| {
            let found = self.store().get_now(key).flatten();
            found.and_then(|found| epoch::from_bytes(&found)) == Some(epoch)
        })
    }

    /// The stored entries without those of which an epoch does not stand any more. `known` is what
    /// was read with them.
    pub(super) async fn standing<'t>(
        &'t self,
        mut stored: Vec<Option<Bytes>>,
        known: impl Iterator<Item = (&'t str, Option<Bytes>)>,
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        let stamps = |stored: &[Option<Bytes>]| {
            let stamped = stored.iter().flatten().flat_map(|stored| self.layout().stamps(stored));
            let keys: Vec<String> = stamped.map(|(key, _)| key.to_owned()).collect();
            keys
        };
        let keys = stamps(&stored);
        if keys.is_empty() {
            return Ok(stored);
        }
        let number = |found: Option<Bytes>| found.and_then(|found| epoch::from_bytes(&found));
        let mut epochs: HashMap<&str, Option<u64>> =
            known.map(|(key, found)| (key, number(found))).collect();
        let mut unknown = Vec::new();
        for key in keys.iter().map(String::as_str) {
            if let Entry::Vacant(place) = epochs.entry(key) {
                place.insert(None);
                unknown.push(key);
            }
        }
        if !unknown.is_empty() {
            let found = self.in_time(self.store().get_many(&unknown));
            let found = self.metered(Operation::Read, found).await?;
            epochs.extend(unknown.into_iter().zip(found.into_iter().map(number)));
        }
        for entry in &mut stored {
            let stands = |(key, epoch)| epochs.get(key).copied().flatten() == Some(epoch);
            if !entry.as_deref().is_none_or(|entry| self.layout().stamps(entry).all(stands)) {
                *entry = None;
            }
        }
        Ok(stored)
    }
}
