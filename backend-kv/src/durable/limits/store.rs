//! The port [`RateLimitStore`], on objects.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use larder_core::rate_limit::rule::Verdict;
use larder_core::rate_limit::{
    Check, Decision, ExactRateLimitStore, RateLimitCapabilities, RateLimitStore,
};
use larder_core::{Quota, Runtime, StoreError, StoreErrorKind};

use super::super::protocol::{Reply, Request};
use super::super::{MAX_KEY_BYTES, NAME, fleet};
use super::DurableRateLimits;
use super::message::{Ask, Limit, Said, micros};
use crate::bounded::Call;

#[async_trait]
impl RateLimitStore for DurableRateLimits {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> &RateLimitCapabilities {
        &self.shared.capabilities
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::clone(&self.runtime)
    }

    fn bound_to(&self, runtime: &Arc<dyn Runtime>) -> Option<Arc<dyn RateLimitStore>> {
        Some(Arc::new(Self { shared: Arc::clone(&self.shared), runtime: Arc::clone(runtime) }))
    }

    fn check_quotas(&self, quotas: &[Quota]) -> Result<(), StoreError> {
        limits(&self.call("check_quotas"), quotas).map(drop)
    }

    async fn check(&self, check: &Check<'_>) -> Result<Decision, StoreError> {
        let call = self.call(if check.takes { "check" } else { "peek" });
        let Check { key, cost, lease, takes, .. } = *check;
        let ask = Ask::Check { key, quotas: limits(&call, check.quotas)?, cost, lease, takes };
        self.ask(&call, key, ask, |reply| match reply {
            Reply::Verdicts(said) if said.len() == check.quotas.len() => {
                Some(check.decision(|quota| verdict(check.quotas, &said, quota)))
            }
            Reply::Blocked(left) => Some(Decision::blocked(Duration::from_micros(left))),
            _ => None,
        })
        .await
    }

    async fn refund(&self, key: &str, quotas: &[Quota], cost: u64) -> Result<(), StoreError> {
        let call = self.call("refund");
        let ask = Ask::Refund { key, quotas: limits(&call, quotas)?, cost };
        self.ask(&call, key, ask, done).await
    }

    async fn release(&self, key: &str, quotas: &[Quota], lease: u64) -> Result<(), StoreError> {
        let call = self.call("release");
        let ask = Ask::Release { key, quotas: limits(&call, quotas)?, lease };
        self.ask(&call, key, ask, done).await
    }

    async fn reset(&self, key: &str, quotas: &[Quota]) -> Result<(), StoreError> {
        let call = self.call("reset");
        let ask = Ask::Reset { key, quotas: limits(&call, quotas)? };
        self.ask(&call, key, ask, done).await
    }

    async fn block(&self, key: &str, time: Duration) -> Result<(), StoreError> {
        let ask = Ask::Block { key, micros: micros(time) };
        self.ask(&self.call("block"), key, ask, done).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        // Any object answers it, and it changes nothing.
        let ask = Request::Limits(Ask::Reset { key: "", quotas: Vec::new() });
        self.shared.fleet.ask(&self.call("ready"), 0, &ask, done).await
    }
}

impl ExactRateLimitStore for DurableRateLimits {}

impl DurableRateLimits {
    /// Asks the object that counts for `key`.
    async fn ask<T>(
        &self,
        call: &Call<'_>,
        key: &str,
        ask: Ask<'_>,
        read: impl FnOnce(Reply<'_>) -> Option<T> + Send,
    ) -> Result<T, StoreError> {
        fleet::check_key(call, key, MAX_KEY_BYTES)?;
        let fleet = &self.shared.fleet;
        fleet.ask(call, fleet.placement().of(key), &Request::Limits(ask), read).await
    }
}

fn limits<'q>(call: &Call<'_>, quotas: &'q [Quota]) -> Result<Vec<Limit<'q>>, StoreError> {
    let limits: Result<_, _> = quotas.iter().map(Limit::of).collect();
    limits.map_err(|failure| call.error(StoreErrorKind::Unsupported, failure.message))
}

/// What was said of that one of `quotas`, of which each has something said.
fn verdict(quotas: &[Quota], said: &[Said], quota: &Quota) -> Verdict {
    let of = quotas.iter().zip(said).find(|(known, _)| known.name() == quota.name());
    match of {
        Some((_, said)) => said.verdict(quota),
        None => Verdict::refused(quota.capacity(), 0, quota.window(), None),
    }
}

fn done(reply: Reply<'_>) -> Option<()> {
    matches!(reply, Reply::Done).then_some(())
}
