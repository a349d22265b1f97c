//! The port [`RateLimitStore`], on a namespace.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use larder_core::rate_limit::{Check, Decision, RateLimitCapabilities, RateLimitStore};
use larder_core::{Quota, Runtime, Store, StoreError};

use super::super::NAME;
use super::local::Local;
use super::{KvRateLimits, lock};

#[async_trait]
impl RateLimitStore for KvRateLimits {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> &RateLimitCapabilities {
        &self.shared.capabilities
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::clone(&self.kv.runtime)
    }

    fn bound_to(&self, runtime: &Arc<dyn Runtime>) -> Option<Arc<dyn RateLimitStore>> {
        Some(Arc::new(Self { shared: Arc::clone(&self.shared), kv: self.kv.on(runtime) }))
    }

    async fn check(&self, check: &Check<'_>) -> Result<Decision, StoreError> {
        let local = self.local(check.key, check.quotas).await;
        let now = self.now();
        let (decision, next) = {
            let mut local = lock(&local);
            let decision = local.state.check(now, check);
            if !check.takes {
                return Ok(decision);
            }
            local.took(check.quotas, decision.taken());
            (decision, local.next_exchange(now))
        };
        if let Some(wait) = next {
            self.exchange_later(check.key, &local, check.quotas, wait);
        }
        Ok(decision)
    }

    async fn refund(&self, key: &str, quotas: &[Quota], cost: u64) -> Result<(), StoreError> {
        let local = self.local(key, quotas).await;
        let mut local = lock(&local);
        local.state.refund(self.now(), quotas, cost);
        local.gave_back(quotas, cost);
        Ok(())
    }

    async fn release(&self, key: &str, quotas: &[Quota], lease: u64) -> Result<(), StoreError> {
        let local = self.local(key, quotas).await;
        lock(&local).state.release(self.now(), quotas, lease);
        Ok(())
    }

    async fn reset(&self, key: &str, quotas: &[Quota]) -> Result<(), StoreError> {
        self.decree(key, |local| local.state.reset(quotas)).await
    }

    async fn block(&self, key: &str, time: Duration) -> Result<(), StoreError> {
        let now = self.now();
        self.decree(key, |local| local.state.block(now, time)).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.kv.ready().await
    }
}

impl KvRateLimits {
    /// Changes what is known of a key, here at once, and tells the others before it returns.
    async fn decree(&self, key: &str, change: impl FnOnce(&mut Local)) -> Result<(), StoreError> {
        let local = self.local(key, &[]).await;
        {
            let mut local = lock(&local);
            change(&mut local);
            local.decreed(self.now());
        }
        self.tell(key, &local).await
    }
}
