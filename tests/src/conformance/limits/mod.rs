//! What the trait `RateLimitStore` promises.

mod counts;
mod handles;
mod leases;
mod several;
mod times;

use std::sync::Arc;
use std::time::Duration;

use larder_core::rate_limit::{Check, Decision};
use larder_core::{Quota, RateLimitStore};

use super::{Bench, Case, Failure};

pub(super) const CASES: &[&[Case]] =
    &[counts::CASES, times::CASES, several::CASES, leases::CASES, handles::CASES];

/// A key of a store of counts, and its quotas.
struct Subject {
    store: Arc<dyn RateLimitStore>,
    key: String,
    quotas: Vec<Quota>,
}

impl Subject {
    fn new(bench: &Bench, key: &str, quotas: &[Quota]) -> Result<Self, Failure> {
        let store = bench.limits().ok_or_else(|| Failure::new("it counts no rate limits"))?;
        let quotas = quotas.to_vec();
        Ok(Self { store: Arc::clone(store), key: bench.key(key), quotas })
    }

    async fn ask(&self, change: impl Fn(Check<'_>) -> Check<'_>) -> Result<Decision, Failure> {
        let check = Check::new(&self.key, &self.quotas).lease(fastrand::u64(..));
        Ok(self.store.check(&change(check)).await?)
    }

    async fn take(&self, cost: u64) -> Result<Decision, Failure> {
        self.ask(|check| check.cost(cost)).await
    }

    async fn peek(&self, cost: u64) -> Result<Decision, Failure> {
        self.ask(|check| check.cost(cost).peek()).await
    }
}

/// A quota of each rule that counts what is taken, each under a name of its own.
fn counting(limit: u64, window: Duration) -> [Quota; 3] {
    let quota = Quota::new(limit, window);
    [
        quota.clone().named("fixed"),
        quota.clone().sliding_window().named("sliding"),
        quota.gcra().named("gcra"),
    ]
}
