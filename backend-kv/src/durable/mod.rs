//! The stores on Durable Objects, and what the objects do.

mod alarm;
mod builder;
mod engine;
mod fleet;
mod limits;
mod object;
mod placement;
pub(crate) mod protocol;
mod sessions;
mod store;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use larder_core::{Capabilities, Runtime, StoreError};
use worker::Env;

use crate::WorkerRuntime;
use crate::bounded::Call;
use fleet::Fleet;

pub use builder::DurableStoreBuilder;
pub(crate) use engine::{Database, Value};
pub(crate) use fleet::Transport;
pub use limits::{DurableRateLimits, DurableRateLimitsBuilder};
pub use object::Object;
pub use sessions::{DurableSessions, DurableSessionsBuilder};

pub(crate) const NAME: &str = "durable";
/// What the names of this store's objects begin with.
const FAMILY: &str = "larder";

/// The longest key, in bytes.
const MAX_KEY_BYTES: usize = 2_048;
/// The largest value: a row takes 2 MB with its key.
const MAX_VALUE_BYTES: usize = 2_000_000 - 3_072;
/// How many keys one request to an object carries.
const BATCH_KEYS: usize = 1_000;
/// How many bytes one request or its answer carries, but for a single value.
const BATCH_BYTES: usize = 4 << 20;

/// A [`Store`](larder_core::Store) on Durable Objects with SQLite storage, and
/// [`Leases`](larder_core::Leases) beside it.
///
/// Strong: every read sees the last acknowledged write, wherever it comes from, at the price of a
/// way to where the object lives. Keys are spread over a fixed number of objects by a hash, 16 unless
/// told otherwise; an object answers some hundreds of requests a second.
///
/// - **Set-up**: [`durable_object!`](crate::durable_object) adds the objects' class to the Worker;
///   see there for wrangler.toml.
/// - **Lives** are exact, by the object's clock. An alarm deletes what is over, some seconds later.
/// - **Limits**: keys of up to 2,048 bytes, values of up to 1,996,928 bytes: a row takes
///   [2 MB](https://developers.cloudflare.com/durable-objects/platform/limits/) altogether.
/// - **Calls**: one for each object that is concerned and 1,000 keys or 4 MiB; those of a many-form
///   run concurrently. See [`WorkerRuntime`] for how many a request may make.
///
/// ```no_run
/// use larder_core::{Cache, minutes};
/// use larder_kv::{DurableStore, WorkerRuntime};
///
/// # fn handler(env: worker::Env, ctx: worker::Context) -> larder_core::Result<()> {
/// let store = DurableStore::open(&env, "LARDER", &WorkerRuntime::new(&ctx))?;
/// let cache = Cache::builder(store).namespace("app").ttl(minutes(5)).build()?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct DurableStore {
    shared: Arc<Shared>,
    runtime: Arc<dyn Runtime>,
}

#[derive(Debug)]
struct Shared {
    fleet: Fleet,
    capabilities: Capabilities,
    timeout: Duration,
}

impl DurableStore {
    /// The store on the objects that `binding` of wrangler.toml names.
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
    /// use larder_kv::{DurableStore, WorkerRuntime};
    ///
    /// # fn handler(env: worker::Env, ctx: worker::Context) -> larder_core::Result<()> {
    /// let runtime = WorkerRuntime::new(&ctx);
    /// let store = DurableStore::builder().objects(64).open(&env, "LARDER", &runtime)?;
    /// # Ok(()) }
    /// ```
    pub fn builder() -> DurableStoreBuilder {
        DurableStoreBuilder::default()
    }

    fn call(&self, operation: &'static str) -> Call<'_> {
        let timeout = self.shared.timeout;
        Call { runtime: &*self.runtime, store: NAME, operation, timeout }
    }
}
