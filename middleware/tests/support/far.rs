//! A store elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use larder_core::{
    Capabilities, Consistency, Cursor, Glob, MemoryStore, PutEntry, Runtime, ScanPage, Store,
    StoreError, StoreErrorKind, VirtualRuntime,
};

/// A store elsewhere, whose connection is bad on purpose.
#[derive(Debug, Clone)]
pub(crate) struct Far {
    memory: MemoryStore,
    capabilities: Capabilities,
    pub(crate) bad: Arc<Bad>,
}

#[derive(Debug, Default)]
pub(crate) struct Bad {
    pub(crate) down: AtomicBool,
    pub(crate) read_millis: AtomicU64,
    pub(crate) write_millis: AtomicU64,
    pub(crate) remove_millis: AtomicU64,
}

impl Far {
    pub(crate) fn new(runtime: &VirtualRuntime) -> Self {
        Self {
            memory: MemoryStore::builder().on(runtime.clone()),
            capabilities: Capabilities::new(Consistency::Strong),
            bad: Arc::default(),
        }
    }

    async fn pass(&self, millis: &AtomicU64) -> Result<(), StoreError> {
        let delay = Duration::from_millis(millis.load(Ordering::SeqCst));
        self.memory.runtime().sleep(delay).await;
        if self.bad.down.load(Ordering::SeqCst) {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "far", "call", "it is down"));
        }
        Ok(())
    }
}

#[async_trait]
impl Store for Far {
    fn name(&self) -> &'static str {
        "far"
    }
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }
    fn runtime(&self) -> Arc<dyn Runtime> {
        self.memory.runtime()
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.pass(&self.bad.read_millis).await?;
        self.memory.get(key).await
    }
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.memory.get_many(keys).await
    }
    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), StoreError> {
        self.pass(&self.bad.write_millis).await?;
        self.memory.put(key, value, ttl).await
    }
    async fn put_many(&self, entries: &[PutEntry<'_>]) -> Result<(), StoreError> {
        self.memory.put_many(entries).await
    }
    async fn remove(&self, key: &str) -> Result<bool, StoreError> {
        self.pass(&self.bad.remove_millis).await?;
        self.memory.remove(key).await
    }
    async fn remove_many(&self, keys: &[&str]) -> Result<u64, StoreError> {
        self.pass(&self.bad.remove_millis).await?;
        self.memory.remove_many(keys).await
    }
    async fn contains(&self, key: &str) -> Result<bool, StoreError> {
        self.memory.contains(key).await
    }
    async fn time_to_live(&self, key: &str) -> Result<Option<Duration>, StoreError> {
        self.memory.time_to_live(key).await
    }
    async fn scan(&self, pattern: &Glob, cursor: Option<Cursor>) -> Result<ScanPage, StoreError> {
        self.memory.scan(pattern, cursor).await
    }
    async fn ready(&self) -> Result<(), StoreError> {
        self.pass(&self.bad.read_millis).await
    }
}
