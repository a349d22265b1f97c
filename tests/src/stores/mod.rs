//! A store around a store, with taps in its pipes: a [`Tap`] sees every call before it reaches the
//! inner store and after, and may hold it up or make it fail.

mod delays;
mod faults;
mod gate;
mod tally;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use larder_core::{
    Capabilities, Cursor, Glob, PutEntry, Runtime, ScanPage, Store, StoreError, StoreErrorKind,
};

pub use delays::Delays;
pub use faults::{Faults, When};
pub use gate::Gate;
pub use tally::Tally;

/// What a store is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `get`, `contains`, `time_to_live`.
    Get,
    /// `get_many`, `get_many_with_ttl`.
    GetMany,
    /// `put`.
    Put,
    /// `put_many`.
    PutMany,
    /// `epochs`.
    Epochs,
    /// `remove`.
    Remove,
    /// `remove_many`.
    RemoveMany,
    /// `scan`.
    Scan,
    /// `ready` and `close`.
    Service,
}

impl Call {
    /// Whether it sets values.
    #[must_use]
    pub fn is_write(self) -> bool {
        matches!(self, Self::Put | Self::PutMany)
    }

    /// Whether it removes values.
    #[must_use]
    pub fn is_removal(self) -> bool {
        matches!(self, Self::Remove | Self::RemoveMany)
    }

    /// Whether it reads values.
    #[must_use]
    pub fn is_read(self) -> bool {
        matches!(self, Self::Get | Self::GetMany | Self::Epochs)
    }
}

/// What stands in a store's pipe.
#[async_trait]
pub trait Tap: Send + Sync + 'static {
    /// Before the inner store is called. An error is the call's answer, and the store is not
    /// called.
    async fn before(&self, call: Call) -> Result<(), StoreError>;

    /// After the inner store has done it. An error takes the answer's place.
    async fn after(&self, call: Call) -> Result<(), StoreError>;
}

/// The store around the store.
#[derive(Clone)]
pub struct Tapped {
    inner: Arc<dyn Store>,
    tap: Arc<dyn Tap>,
    capabilities: Capabilities,
}

impl Tapped {
    /// Puts `tap` into the pipe of `inner`.
    pub fn new(inner: Arc<dyn Store>, tap: Arc<dyn Tap>) -> Self {
        let capabilities = inner.capabilities().clone();
        Self { inner, tap, capabilities }
    }

    /// Says that it takes values of no more than `max` bytes, and leaves it to its callers to keep
    /// to that.
    #[must_use]
    pub fn claiming_values_up_to(mut self, max: usize) -> Self {
        self.capabilities = self.capabilities.max_value_bytes(max);
        self
    }

    async fn through<T>(
        &self,
        call: Call,
        inner: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.tap.before(call).await?;
        let answer = inner.await;
        self.tap.after(call).await?;
        answer
    }
}

/// The error of a tap that fails on purpose.
#[must_use]
pub fn failed_on_purpose() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "tapped", "call", "it failed on purpose")
}

impl std::fmt::Debug for Tapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tapped").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for Tapped {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        self.inner.runtime()
    }

    fn bound_to(&self, runtime: &Arc<dyn Runtime>) -> Option<Arc<dyn Store>> {
        let inner = self.inner.bound_to(runtime)?;
        Some(Arc::new(Self { inner, ..self.clone() }))
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.through(Call::Get, self.inner.get(key)).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.through(Call::GetMany, self.inner.get_many(keys)).await
    }

    async fn get_many_with_ttl(
        &self,
        keys: &[&str],
    ) -> Result<Vec<Option<(Bytes, Duration)>>, StoreError> {
        self.through(Call::GetMany, self.inner.get_many_with_ttl(keys)).await
    }

    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), StoreError> {
        self.through(Call::Put, self.inner.put(key, value, ttl)).await
    }

    async fn put_many(&self, entries: &[PutEntry<'_>]) -> Result<(), StoreError> {
        self.through(Call::PutMany, self.inner.put_many(entries)).await
    }

    async fn remove(&self, key: &str) -> Result<bool, StoreError> {
        self.through(Call::Remove, self.inner.remove(key)).await
    }

    async fn remove_many(&self, keys: &[&str]) -> Result<u64, StoreError> {
        self.through(Call::RemoveMany, self.inner.remove_many(keys)).await
    }

    async fn contains(&self, key: &str) -> Result<bool, StoreError> {
        self.through(Call::Get, self.inner.contains(key)).await
    }

    async fn epochs(&self, keys: &[&str], life: Duration) -> Result<Vec<u64>, StoreError> {
        self.through(Call::Epochs, self.inner.epochs(keys, life)).await
    }

    async fn time_to_live(&self, key: &str) -> Result<Option<Duration>, StoreError> {
        self.through(Call::Get, self.inner.time_to_live(key)).await
    }

    async fn scan(&self, pattern: &Glob, cursor: Option<Cursor>) -> Result<ScanPage, StoreError> {
        self.through(Call::Scan, self.inner.scan(pattern, cursor)).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.through(Call::Service, self.inner.ready()).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.through(Call::Service, self.inner.close()).await
    }
}
