//! The port [`Store`], on a namespace.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use larder_core::{
    Capabilities, Cursor, Glob, PutEntry, Runtime, ScanPage, Store, StoreError, StoreErrorKind,
};

use super::frame::Label;
use super::namespace::Listed;
use super::write::foreign_life;
use super::{BULK_KEYS, KvStore, MAX_KEY_BYTES, NAME, PAGE_KEYS, check_key};
use crate::bounded::{AT_ONCE, Call};

#[async_trait]
impl Store for KvStore {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::clone(&self.runtime)
    }

    fn bound_to(&self, runtime: &Arc<dyn Runtime>) -> Option<Arc<dyn Store>> {
        Some(Arc::new(self.on(runtime)))
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let call = self.call("get");
        check_key(&call, key)?;
        call.take(1)?;
        self.read(&call, key).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.read_many(&self.call("get_many"), keys).await
    }

    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), StoreError> {
        let call = self.call("put");
        Self::check_value(&call, key, &value)?;
        call.take(1)?;
        self.write(&call, key, &value, ttl).await
    }

    async fn put_many(&self, entries: &[PutEntry<'_>]) -> Result<(), StoreError> {
        let call = self.call("put_many");
        for entry in entries {
            Self::check_value(&call, entry.key, &entry.value)?;
        }
        // Two writes of a key at once would be refused; the last is to stand.
        let mut seen = HashSet::new();
        let entries: Vec<&PutEntry<'_>> =
            entries.iter().rev().filter(|entry| seen.insert(entry.key)).collect();
        call.take(entries.len())?;
        let writes: Vec<BoxFuture<'_, Result<(), StoreError>>> = entries
            .into_iter()
            .map(|entry| Box::pin(self.write(&call, entry.key, &entry.value, entry.ttl)) as _)
            .collect();
        stream::iter(writes).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn remove(&self, key: &str) -> Result<bool, StoreError> {
        let call = self.call("remove");
        check_key(&call, key)?;
        call.take(2)?;
        let stood = self.stands(&call, key).await?;
        // Also where nothing was seen: it may not be visible here yet.
        self.erase(&call, key).await?;
        Ok(stood)
    }

    async fn remove_many(&self, keys: &[&str]) -> Result<u64, StoreError> {
        let call = self.call("remove_many");
        let mut unique = keys.to_vec();
        unique.sort_unstable();
        unique.dedup();
        for key in &unique {
            check_key(&call, key)?;
        }
        call.take(unique.len() + unique.len().div_ceil(BULK_KEYS))?;
        let stood = self.count(&call, &unique).await?;
        let erasures: Vec<BoxFuture<'_, Result<(), StoreError>>> =
            unique.into_iter().map(|key| Box::pin(self.erase(&call, key)) as _).collect();
        stream::iter(erasures).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        Ok(stood)
    }

    async fn contains(&self, key: &str) -> Result<bool, StoreError> {
        let call = self.call("contains");
        check_key(&call, key)?;
        call.take(1)?;
        self.stands(&call, key).await
    }

    async fn time_to_live(&self, key: &str) -> Result<Option<Duration>, StoreError> {
        let call = self.call("time_to_live");
        check_key(&call, key)?;
        call.take(1)?;
        // A key is the first of those that begin with it. Unlike a read, a listing says when a value
        // of another writer expires.
        let page = call.answer(self.namespace().list(key, None, 1)).await?;
        let found = page.keys.into_iter().find(|listed| listed.name == key);
        let now = self.runtime.now();
        Ok(found.and_then(|listed| match Label::of(listed.metadata.as_ref()) {
            Ok(Label { until: Some(until), .. }) => {
                let left = until.since(now);
                (!left.is_zero()).then_some(left)
            }
            Ok(_) | Err(_) => foreign_life(listed.expiration, now),
        }))
    }

    async fn scan(&self, pattern: &Glob, cursor: Option<Cursor>) -> Result<ScanPage, StoreError> {
        let prefix = pattern.literal_prefix();
        if prefix.len() > MAX_KEY_BYTES {
            return Ok(ScanPage::default());
        }
        let call = self.call("scan");
        call.take(1)?;
        let cursor = cursor.as_ref().map(Cursor::position);
        let page = call.answer(self.namespace().list(&prefix, cursor, PAGE_KEYS)).await?;
        let now = self.runtime.now();
        let is_live = |listed: &Listed| match Label::of(listed.metadata.as_ref()) {
            Ok(label) => !label.is_over(now),
            Err(_) => true,
        };
        let live = page.keys.into_iter().filter(is_live).map(|listed| listed.name);
        let keys = live.filter(|name| pattern.matches(name)).collect();
        Ok(ScanPage { keys, next: page.next.map(Cursor::new) })
    }

    async fn ready(&self) -> Result<(), StoreError> {
        let call = self.call("ready");
        call.take(1)?;
        call.answer(self.namespace().metadata("larder:ready", None)).await.map(drop)
    }
}

impl KvStore {
    /// One call that was taken already.
    pub(super) async fn read(
        &self,
        call: &Call<'_>,
        key: &str,
    ) -> Result<Option<Bytes>, StoreError> {
        let held = call.answer(self.namespace().get(key, self.shared.cache_ttl)).await?;
        let Some(held) = held else { return Ok(None) };
        match Label::of(held.metadata.as_ref()) {
            Ok(label) if label.is_over(self.runtime.now()) => Ok(None),
            Ok(label) => Ok(Some(label.open(held.value))),
            Err(_) => {
                let detail = format!(
                    "{key:?} was written by another version of larder-kv, in a form that this one \
                     cannot read; it is replaced by the next write"
                );
                Err(call.error(StoreErrorKind::WrongType, detail))
            }
        }
    }

    /// One call that was taken already.
    async fn stands(&self, call: &Call<'_>, key: &str) -> Result<bool, StoreError> {
        let found = call.answer(self.namespace().metadata(key, self.shared.cache_ttl)).await?;
        let now = self.runtime.now();
        Ok(found.is_some_and(|metadata| {
            Label::of(metadata.as_ref()).map_or(true, |label| !label.is_over(now))
        }))
    }
}
