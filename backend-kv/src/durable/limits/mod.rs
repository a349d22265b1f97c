//! Rate limits on Durable Objects.

pub(super) mod engine;
pub(super) mod message;
#[cfg(feature = "testing")]
mod storage;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use larder_core::rate_limit::{Counting, RateLimitCapabilities};
use larder_core::{Runtime, StoreError};
use worker::Env;

use super::fleet::{Fleet, Settings};
#[cfg(feature = "testing")]
use super::placement::Placement;
use super::{MAX_KEY_BYTES, NAME};
use crate::WorkerRuntime;
use crate::bounded::Call;

/// What the names of these objects begin with: other objects than those of a `DurableStore`, so
/// that neither waits for the other.
const FAMILY: &str = "larder-limits";

/// A [`RateLimitStore`](larder_core::RateLimitStore) on Durable Objects with SQLite storage: exact,
/// wherever in the world its requests come from.
///
/// An object does one thing at a time: it reads what is kept of a key, decides by the
/// [rules](larder_core::rate_limit::rule) and writes, without anything awaited in between. All
/// quotas of a check are decided together, in one request to one object, by the object's clock,
/// which has milliseconds.
///
/// Keys are spread over a fixed number of objects by a hash, 16 unless told otherwise; an object
/// answers [some hundreds of requests a
/// second](https://developers.cloudflare.com/durable-objects/platform/limits/), those for one key
/// included. It lives where it was first asked for: everybody else pays for the way, which
/// [`RateLimiterBuilder::timeout`](larder_core::rate_limit::RateLimiterBuilder::timeout) bounds.
/// A limiter answers a key that was just refused without asking.
///
/// - **Set-up**: the class that [`durable_object!`](crate::durable_object) makes. A Worker that has
///   it for a [`DurableStore`](crate::DurableStore) needs nothing else, and no migration: the
///   objects are others of the same class.
/// - **Nothing stays**: every row has a time from which it says no more than none would, and an
///   alarm deletes it some ten seconds later.
/// - **What is written**, and [paid for](https://developers.cloudflare.com/durable-objects/platform/pricing/):
///   two rows for the first request of a key, then one for each that is allowed, with the index now
///   and then. What changes nothing, as a refusal, writes nothing.
/// - **Limits**: keys of up to 2,048 bytes; some 60,000 leases held under one key, as a row takes
///   2 MB.
/// - **Calls**: one each. A check and a refund are not tried again where an object was lost before
///   it answered, as they may have been counted.
///
/// ```no_run
/// use larder_core::{Quota, RateLimiter};
/// use larder_kv::{DurableRateLimits, WorkerRuntime};
///
/// # fn handler(env: worker::Env, ctx: worker::Context) -> larder_core::Result<()> {
/// let limits = DurableRateLimits::open(&env, "LARDER", &WorkerRuntime::new(&ctx))?;
/// let limiter = RateLimiter::builder(limits).quota(Quota::per_minute(100)).build()?;
/// # Ok(()) }
/// ```
///
/// A limiter is kept over requests and bound to each by
/// [`RateLimiter::on`](larder_core::RateLimiter::on).
#[derive(Debug, Clone)]
pub struct DurableRateLimits {
    shared: Arc<Shared>,
    runtime: Arc<dyn Runtime>,
}

#[derive(Debug)]
struct Shared {
    fleet: Fleet,
    capabilities: RateLimitCapabilities,
    timeout: Duration,
}

impl Shared {
    fn new(fleet: Fleet, timeout: Duration) -> Arc<Self> {
        let capabilities = RateLimitCapabilities::new(Counting::Exact).max_key_bytes(MAX_KEY_BYTES);
        Arc::new(Self { fleet, capabilities, timeout })
    }
}

impl DurableRateLimits {
    /// The counts on the objects that `binding` of wrangler.toml names.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Config`](larder_core::StoreErrorKind::Config) where there is no such
    /// binding, or it is of another kind.
    pub fn open(env: &Env, binding: &str, runtime: &WorkerRuntime) -> Result<Self, StoreError> {
        Self::builder().open(env, binding, runtime)
    }

    /// Starts to build a store with settings of its own.
    ///
    /// ```no_run
    /// use larder_kv::{DurableRateLimits, WorkerRuntime};
    ///
    /// # fn handler(env: worker::Env, ctx: worker::Context) -> larder_core::Result<()> {
    /// let runtime = WorkerRuntime::new(&ctx);
    /// let limits = DurableRateLimits::builder().objects(64).open(&env, "LARDER", &runtime)?;
    /// # Ok(()) }
    /// ```
    pub fn builder() -> DurableRateLimitsBuilder {
        DurableRateLimitsBuilder::default()
    }

    /// The counts in the storage at hand, by the clock of `runtime`: what an object does, without a
    /// way to it and without its alarm. For tests inside of an object, of times that its own clock
    /// does not show.
    ///
    /// # Errors
    ///
    /// Where the storage fails.
    #[cfg(feature = "testing")]
    pub fn in_storage(storage: worker::SqlStorage, runtime: impl Runtime) -> worker::Result<Self> {
        let runtime: Arc<dyn Runtime> = Arc::new(runtime);
        let storage = storage::Direct::new(storage, Arc::clone(&runtime))?;
        let fleet = Fleet::new(storage, Placement::new(FAMILY, 1));
        Ok(Self { shared: Shared::new(fleet, Settings::default().timeout), runtime })
    }

    fn call(&self, operation: &'static str) -> Call<'_> {
        let timeout = self.shared.timeout;
        Call { runtime: &*self.runtime, store: NAME, operation, timeout }
    }
}

/// Builds [`DurableRateLimits`].
///
/// ```no_run
/// use larder_core::seconds;
/// use larder_kv::{DurableRateLimits, WorkerRuntime};
///
/// # fn handler(env: worker::Env, ctx: worker::Context) -> larder_core::Result<()> {
/// let limits = DurableRateLimits::builder()
///     .objects(4)
///     .timeout(seconds(1))
///     .open(&env, "LARDER", &WorkerRuntime::new(&ctx))?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a builder does nothing until `open`"]
pub struct DurableRateLimitsBuilder {
    settings: Settings,
}

impl DurableRateLimitsBuilder {
    /// Over how many objects the keys are spread, 1 to 1,024. 16 by default.
    ///
    /// The number is a part of the objects' names: with another, every key begins anew. Every part
    /// of a system that shares the counts must say the same.
    pub fn objects(mut self, objects: u16) -> Self {
        self.settings.objects = objects;
        self
    }

    /// How long a call may take. 5 s by default; a limiter waits no longer than its own time-out.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// The counts on the objects that `binding` of wrangler.toml names.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Config`](larder_core::StoreErrorKind::Config) where there is no such
    /// binding, or a setting that cannot work.
    pub fn open(
        self,
        env: &Env,
        binding: &str,
        runtime: &WorkerRuntime,
    ) -> Result<DurableRateLimits, StoreError> {
        let fleet = self.settings.open(FAMILY, env, binding)?;
        let shared = Shared::new(fleet, self.settings.timeout);
        Ok(DurableRateLimits { shared, runtime: Arc::new(runtime.clone()) })
    }
}
