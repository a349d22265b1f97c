//! The port, by scripts and Redis' commands.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use larder_core::rate_limit::{Check, Decision, RateLimitCapabilities, Rule};
use larder_core::{Quota, RateLimitStore, Runtime, Store, StoreError};
use redis::Value;

use super::RedisRateLimits;
use super::decide::said;
use super::gathered::CHECK;
use super::layout::RateLimitLayout;
use super::packed::{self, Ask};
use crate::batch::on_keys;
use crate::config::LONGEST;
use crate::error::STORE;
use crate::script::Run;

#[async_trait]
impl RateLimitStore for RedisRateLimits {
    fn name(&self) -> &'static str {
        STORE
    }

    fn capabilities(&self) -> &RateLimitCapabilities {
        &self.shared.capabilities
    }

    fn default_namespace(&self) -> &str {
        self.layout.namespace()
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        self.shared.store.runtime()
    }

    fn check_quotas(&self, quotas: &[Quota]) -> Result<(), StoreError> {
        const OPERATION: &str = "check_quotas";
        if self.layout == RateLimitLayout::Exact {
            return self.question(OPERATION, Ask::Peek, ("key", quotas), 0, 0).map(drop);
        }
        self.keys(OPERATION, "key", quotas)?;
        match self.layout.only(OPERATION, quotas)? {
            Some(quota) => packed::whole_number(OPERATION, quota).map(drop),
            None => Ok(()),
        }
    }

    async fn check(&self, check: &Check<'_>) -> Result<Decision, StoreError> {
        const OPERATION: &str = CHECK;
        let _call = self.enter(OPERATION, check.key)?;
        let ask = if check.takes { Ask::Take } else { Ask::Peek };
        if self.layout == RateLimitLayout::Exact {
            let subject = (check.key, check.quotas);
            let question = self.question(OPERATION, ask, subject, check.cost, check.lease)?;
            return Ok(said(&self.ask(OPERATION, question, check.takes).await?, check));
        }
        let quota = self.layout.only(OPERATION, check.quotas)?;
        let counted = self.count(OPERATION, ask, (check.key, quota), check.cost).await?;
        Ok(counted.decide(check))
    }

    async fn refund(&self, key: &str, quotas: &[Quota], cost: u64) -> Result<(), StoreError> {
        const OPERATION: &str = "refund";
        let _call = self.enter(OPERATION, key)?;
        if self.layout == RateLimitLayout::Exact {
            let question = self.question(OPERATION, Ask::Refund, (key, quotas), cost, 0)?;
            self.ask(OPERATION, question, false).await?;
        } else if let Some(quota) = self.layout.only(OPERATION, quotas)? {
            self.count(OPERATION, Ask::Refund, (key, Some(quota)), cost).await?;
        }
        Ok(())
    }

    async fn release(&self, key: &str, quotas: &[Quota], lease: u64) -> Result<(), StoreError> {
        const OPERATION: &str = "release";
        let _call = self.enter(OPERATION, key)?;
        if self.layout != RateLimitLayout::Exact {
            return self.layout.only(OPERATION, quotas).map(drop);
        }
        let leased = quotas.iter().filter(|quota| quota.rule() == Rule::Concurrency);
        let leased: Vec<Quota> = leased.cloned().collect();
        if !leased.is_empty() {
            let question = self.question(OPERATION, Ask::Release, (key, &leased), 0, lease)?;
            self.ask(OPERATION, question, false).await?;
        }
        Ok(())
    }

    async fn reset(&self, key: &str, quotas: &[Quota]) -> Result<(), StoreError> {
        const OPERATION: &str = "reset";
        let _call = self.enter(OPERATION, key)?;
        if self.layout != RateLimitLayout::Exact {
            self.layout.only(OPERATION, quotas)?;
        }
        let keys = self.keys(OPERATION, key, quotas)?;
        let keys: Vec<&str> = keys.iter().collect();
        let client = self.client();
        let reply = client.call(OPERATION, &on_keys("UNLINK", &keys), client.deadline()).await?;
        client.integer(OPERATION, &reply).map(drop)
    }

    async fn block(&self, key: &str, time: Duration) -> Result<(), StoreError> {
        const OPERATION: &str = "block";
        let _call = self.enter(OPERATION, key)?;
        let client = self.client();
        let keys = self.keys(OPERATION, key, &[])?;
        let block = match self.layout {
            RateLimitLayout::Exact => keys.iter().next(),
            _ => keys.iter().nth(1),
        };
        let keys = [block.unwrap_or_default()];
        let micros = time.min(LONGEST).as_micros();
        if micros == 0 {
            let unlink = on_keys("UNLINK", &keys);
            let reply = client.call(OPERATION, &unlink, client.deadline()).await?;
            return client.integer(OPERATION, &reply).map(drop);
        }
        let (script, arguments) = (&self.shared.scripts.block, [micros.to_string()]);
        let arguments = arguments.each_ref().map(String::as_bytes);
        let run = Run { script, keys: &keys, arguments: &arguments, repeatable: true };
        match client.call(OPERATION, &run, client.deadline()).await? {
            Value::Okay => Ok(()),
            other => Err(client.unexpected(OPERATION, &other)),
        }
    }

    async fn ready(&self) -> Result<(), StoreError> {
        let _call = self.shared.calls.enter("ready")?;
        self.shared.store.ready().await
    }

    /// Closes the connection with them, but where it is that of a store.
    async fn close(&self) -> Result<(), StoreError> {
        let shared = &*self.shared;
        shared.store.close_beside(&shared.calls, shared.owns_store).await
    }
}
