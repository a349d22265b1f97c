//! The port [`Store`], on memory.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::MemoryStore;
use crate::error::{StoreError, StoreErrorKind};
use crate::glob::Glob;
use crate::runtime::Runtime;
use crate::store::{Capabilities, Cursor, PutEntry, ScanPage, Store};

impl MemoryStore {
    fn check_size(&self, key: &str, value: &Bytes) -> Result<(), StoreError> {
        let max = self.inner.capabilities.max_value_bytes;
        if value.len() <= max {
            return Ok(());
        }
        let detail = format!(
            "the value for {key:?} has {} bytes, the store takes at most {max}; \
             see MemoryStoreBuilder::capacity_bytes",
            value.len()
        );
        Err(StoreError::new(StoreErrorKind::TooLarge, "memory", "put", detail))
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.inner.capabilities
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::clone(&self.inner.runtime)
    }

    fn get_now(&self, key: &str) -> Option<Option<Bytes>> {
        Some(self.get_sync(key))
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        Ok(self.get_sync(key))
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, StoreError> {
        Ok(keys.iter().map(|key| self.get_sync(key)).collect())
    }

    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), StoreError> {
        self.check_size(key, &value)?;
        self.put_sync(key, value, ttl);
        Ok(())
    }

    async fn put_many(&self, entries: &[PutEntry<'_>]) -> Result<(), StoreError> {
        for entry in entries {
            self.check_size(entry.key, &entry.value)?;
        }
        for entry in entries {
            self.put_sync(entry.key, entry.value.clone(), entry.ttl);
        }
        Ok(())
    }

    async fn remove(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.remove_sync(key))
    }

    async fn remove_many(&self, keys: &[&str]) -> Result<u64, StoreError> {
        Ok(keys.iter().filter(|key| self.remove_sync(key)).count() as u64)
    }

    async fn contains(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.live_until(key).is_some())
    }

    async fn epochs(&self, keys: &[&str], life: Duration) -> Result<Vec<u64>, StoreError> {
        Ok(keys.iter().map(|key| self.epoch_sync(key, life)).collect())
    }

    async fn time_to_live(&self, key: &str) -> Result<Option<Duration>, StoreError> {
        let now = self.inner.runtime.now();
        Ok(self.live_until(key).map(|until| until.since(now)))
    }

    /// All matches in one page: their keys are in memory anyway.
    async fn scan(&self, pattern: &Glob, _cursor: Option<Cursor>) -> Result<ScanPage, StoreError> {
        let now = self.inner.runtime.now();
        let live = self.inner.entries.iter().filter(|(_, held)| now < held.until);
        let keys = live.map(|(key, _)| String::from(key)).filter(|key| pattern.matches(key));
        Ok(ScanPage { keys: keys.collect(), next: None })
    }

    async fn ready(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
