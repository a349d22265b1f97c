//! The stores on a KV namespace.

mod builder;
mod bulk;
pub(crate) mod frame;
mod limits;
pub(crate) mod namespace;
mod sessions;
#[cfg(any(test, feature = "testing"))]
mod simulated;
mod store;
mod write;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use larder_core::{Capabilities, Runtime, StoreError, StoreErrorKind};
use worker::Env;

use crate::WorkerRuntime;
use crate::bounded::Call;
use crate::js::WorkersKv;
use namespace::Namespace;

pub use builder::KvStoreBuilder;
pub use limits::KvRateLimits;
pub use sessions::KvSessions;
#[cfg(any(test, feature = "testing"))]
pub use simulated::{SimulatedKv, SimulatedKvReader};

pub(crate) const NAME: &str = "kv";

/// The longest key, in bytes.
const MAX_KEY_BYTES: usize = 512;
/// The largest value.
const MAX_VALUE_BYTES: usize = 25 << 20;
/// The shortest life that KV keeps.
const MIN_TTL: Duration = Duration::from_secs(60);
/// How many values one call reads.
const BULK_KEYS: usize = 100;
/// How many keys one call lists.
const PAGE_KEYS: u32 = 1_000;

/// A [`Store`](larder_core::Store) on a namespace of Workers KV.
///
/// Right for cached values that may be a minute old. A write is seen by others *as a rule* within
/// 60 s, or the `cache_ttl` where that is longer: [Cloudflare][how] says «60 seconds or more», and
/// that the place of the write itself usually sees it at once. The same holds for a write that
/// follows a *miss*, which KV remembers too, and for listings: a removal by pattern passes by a key
/// that cannot be seen yet. There is no compare-and-swap and there are no counters.
///
/// - **Lives** are exact to the millisecond. KV keeps whole seconds, and 60 at least; the rest is
///   in the value's metadata, and enforced when it is read.
/// - **Values** lie there as they are where they are text, as JSON is; and values of other writers,
///   with or without metadata of their own, can be read. What `larder` writes has metadata
///   `{"larder": 1, …}`, of at most some 320 bytes of the 1,024 that KV takes.
/// - **[Limits][limits]** of KV ([`Capabilities`]) are checked before the call: keys of 1 to 512
///   bytes, other than `.` and `..`; values of up to 25 MiB.
/// - **One write a second** for a key: KV refuses another, with 429. It is tried again when it may
///   succeed, a few times, and is an error after that, which the cache counts. Each retry is counted
///   as `larder_kv_retries_total`.
/// - **Calls**: a request may make 1,000, see [`WorkerRuntime`].
///
/// | operation | calls |
/// | --- | --- |
/// | `get`, `put`, `contains`, `time_to_live`, a page of `scan` (1,000 keys) | 1 |
/// | `get_many` | 1 for 100 keys, and 1 for each value that is not text, as MessagePack |
/// | `put_many` | 1 a key |
/// | `remove` | 2: KV does not say whether something stood there |
/// | `remove_many` | 1 a key, and 1 for 100 keys |
///
/// [`Cache::remove_matching_from`] removes what a request may, and says where another is to go on.
///
/// ```no_run
/// use larder_core::{Cache, minutes};
/// use larder_kv::{KvStore, WorkerRuntime};
///
/// # fn handler(env: worker::Env, ctx: worker::Context) -> larder_core::Result<()> {
/// let store = KvStore::open(&env, "CACHE", &WorkerRuntime::new(&ctx))?;
/// let cache = Cache::builder(store).namespace("app").ttl(minutes(5)).build()?;
/// # Ok(()) }
/// ```
///
/// [`Cache::remove_matching_from`]: larder_core::Cache::remove_matching_from
/// [how]: https://developers.cloudflare.com/kv/concepts/how-kv-works/
/// [limits]: https://developers.cloudflare.com/kv/platform/limits/
#[derive(Debug, Clone)]
pub struct KvStore {
    shared: Arc<Shared>,
    runtime: Arc<dyn Runtime>,
}

#[derive(Debug)]
struct Shared {
    namespace: Box<dyn Namespace>,
    capabilities: Capabilities,
    cache_ttl: Option<u32>,
    timeout: Duration,
    write_retries: u32,
}

impl KvStore {
    /// The store on the namespace that `binding` of wrangler.toml names.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Config`] where there is no such binding, or it is of another kind.
    pub fn open(env: &Env, binding: &str, runtime: &WorkerRuntime) -> Result<Self, StoreError> {
        Self::builder().open(env, binding, runtime)
    }

    /// Starts to build a store with settings of its own.
    ///
    /// ```no_run
    /// use larder_core::minutes;
    /// use larder_kv::{KvStore, WorkerRuntime};
    ///
    /// # fn handler(env: worker::Env, ctx: worker::Context) -> larder_core::Result<()> {
    /// let runtime = WorkerRuntime::new(&ctx);
    /// let store = KvStore::builder().cache_ttl(minutes(5)).open(&env, "CACHE", &runtime)?;
    /// # Ok(()) }
    /// ```
    pub fn builder() -> KvStoreBuilder {
        KvStoreBuilder::default()
    }

    fn on(&self, runtime: &Arc<dyn Runtime>) -> Self {
        Self { shared: Arc::clone(&self.shared), runtime: Arc::clone(runtime) }
    }

    fn namespace(&self) -> &dyn Namespace {
        &*self.shared.namespace
    }

    fn call(&self, operation: &'static str) -> Call<'_> {
        let timeout = self.shared.timeout;
        Call { runtime: &*self.runtime, store: NAME, operation, timeout }
    }
}

/// Refuses what KV would refuse.
fn check_key(call: &Call<'_>, key: &str) -> Result<(), StoreError> {
    let problem = match key {
        "" => "an empty key is none; give it at least one character".to_owned(),
        "." | ".." => format!("KV takes no key {key:?}; put it into a namespace"),
        _ if key.len() > MAX_KEY_BYTES => {
            let start: String = key.chars().take(40).collect();
            let detail = format!(
                "the key {start:?}… has {} bytes, KV takes at most {MAX_KEY_BYTES}; shorten it, or \
                 use a hash of it",
                key.len()
            );
            return Err(call.error(StoreErrorKind::TooLarge, detail));
        }
        _ => return Ok(()),
    };
    Err(call.error(StoreErrorKind::Unsupported, problem))
}

fn bound(
    binding: &str,
    env: &Env,
    runtime: &WorkerRuntime,
    settings: KvStoreBuilder,
) -> Result<KvStore, StoreError> {
    let Some(namespace) = WorkersKv::open(env, binding) else {
        let detail = format!(
            "the Worker has no KV namespace {binding:?}; name one in wrangler.toml under \
             [[kv_namespaces]]"
        );
        return Err(StoreError::new(StoreErrorKind::Config, NAME, "open", detail));
    };
    settings.over(Box::new(namespace), Arc::new(runtime.clone()))
}
