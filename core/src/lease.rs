//! The port for leases: one load of a key in a whole fleet.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::StoreError;
use crate::runtime::Runtime;

/// Locks that expire, shared by all nodes or isolates of a fleet.
///
/// A cache that is given leases ([`CacheBuilder::leases`](crate::CacheBuilder::leases)) loads a key
/// only while it holds the key's lease; the others wait for the value to appear in the store. A
/// lease saves work and guards nothing: where it cannot be had in time, the load goes on without.
#[async_trait]
pub trait Leases: fmt::Debug + Send + Sync + 'static {
    /// The lease of `key` for `life`, unless somebody holds it.
    ///
    /// # Errors
    ///
    /// Where the service that keeps the leases fails.
    async fn acquire(&self, key: &str, life: Duration) -> Result<Option<LeaseToken>, StoreError>;

    /// Gives the lease back, if `token` still holds it.
    ///
    /// # Errors
    ///
    /// Where the service that keeps the leases fails.
    async fn release(&self, key: &str, token: &LeaseToken) -> Result<(), StoreError>;

    /// These leases on the timers and the calls of `runtime`, as
    /// [`Store::bound_to`](crate::Store::bound_to).
    fn bound_to(&self, runtime: &Arc<dyn Runtime>) -> Option<Arc<dyn Leases>> {
        let _ = runtime;
        None
    }
}

#[async_trait]
impl<L: Leases + ?Sized> Leases for Arc<L> {
    async fn acquire(&self, key: &str, life: Duration) -> Result<Option<LeaseToken>, StoreError> {
        (**self).acquire(key, life).await
    }

    async fn release(&self, key: &str, token: &LeaseToken) -> Result<(), StoreError> {
        (**self).release(key, token).await
    }

    fn bound_to(&self, runtime: &Arc<dyn Runtime>) -> Option<Arc<dyn Leases>> {
        (**self).bound_to(runtime)
    }
}

/// What tells a lease's holder from a later one.
///
/// ```
/// use larder_core::LeaseToken;
///
/// assert_eq!(LeaseToken::new("7f3a").as_str(), "7f3a");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseToken(String);

impl LeaseToken {
    /// A token of a backend's own form.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// What the backend wrote into it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A lease that is held; dropped, it is given back in the background.
pub(crate) struct Held {
    release: Option<(Arc<dyn Runtime>, futures::future::BoxFuture<'static, ()>)>,
}

impl Held {
    pub(crate) fn new(
        runtime: Arc<dyn Runtime>,
        release: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self { release: Some((runtime, Box::pin(release))) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some((runtime, release)) = self.release.take() {
            runtime.spawn(release);
        }
    }
}
