use std::sync::Arc;
use std::time::Duration;

use larder_core::{
    Capabilities, Consistency, Runtime, StoreError, StoreErrorKind, millis, seconds,
};
use worker::Env;

use super::namespace::Namespace;
use super::{BULK_KEYS, KvStore, MAX_KEY_BYTES, MAX_VALUE_BYTES, NAME, Shared};
use crate::WorkerRuntime;

/// The shortest `cacheTtl`.
const MIN_CACHE_TTL: Duration = seconds(30);
/// How long KV keeps what was read where it was read, unless told otherwise; and how long a change
/// may stay unseen at least.
const DEFAULT_CACHE_TTL: Duration = seconds(60);

/// Builds a [`KvStore`].
///
/// ```no_run
/// use larder_core::{minutes, seconds};
/// use larder_kv::{KvStore, WorkerRuntime};
///
/// # fn handler(env: worker::Env, ctx: worker::Context) -> larder_core::Result<()> {
/// let store = KvStore::builder()
///     .cache_ttl(minutes(5))
///     .timeout(seconds(2))
///     .open(&env, "CACHE", &WorkerRuntime::new(&ctx))?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `open`"]
pub struct KvStoreBuilder {
    cache_ttl: Option<Duration>,
    timeout: Duration,
    write_retries: u32,
    claims_strong: bool,
}

impl Default for KvStoreBuilder {
    fn default() -> Self {
        Self { cache_ttl: None, timeout: seconds(10), write_retries: 3, claims_strong: false }
    }
}

impl KvStoreBuilder {
    /// How long KV keeps a value, or a miss, near where it was read: `cacheTtl`, in whole seconds,
    /// at least 30 s. 60 s by default.
    ///
    /// Longer makes reads of seldom read keys faster, and lets a change stay unseen for longer.
    pub fn cache_ttl(mut self, ttl: Duration) -> Self {
        self.cache_ttl = Some(ttl);
        self
    }

    /// How long a call may take. 10 s by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How often a write is tried again that KV refused because the key was written within the same
    /// second. 3 by default, which takes up to 8 s.
    ///
    /// ```no_run
    /// # fn handler(env: worker::Env, ctx: worker::Context) -> larder_core::Result<()> {
    /// use larder_kv::{KvStore, WorkerRuntime};
    ///
    /// // A write that comes too soon is an error at once, and the value before it stands.
    /// let runtime = WorkerRuntime::new(&ctx);
    /// let store = KvStore::builder().write_retries(0).open(&env, "CACHE", &runtime)?;
    /// # Ok(()) }
    /// ```
    pub fn write_retries(mut self, retries: u32) -> Self {
        self.write_retries = retries;
        self
    }

    /// Claims to be strong, as the KV of a local workerd is: for tests, which then hold the store to
    /// more than it may promise in the world.
    #[cfg(feature = "testing")]
    pub fn claim_strong(mut self) -> Self {
        self.claims_strong = true;
        self
    }

    /// The store on the namespace that `binding` of wrangler.toml names.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Config`] where there is no such binding, or a setting that cannot work.
    pub fn open(
        self,
        env: &Env,
        binding: &str,
        runtime: &WorkerRuntime,
    ) -> Result<KvStore, StoreError> {
        super::bound(binding, env, runtime, self)
    }

    pub(super) fn over(
        self,
        namespace: Box<dyn Namespace>,
        runtime: Arc<dyn Runtime>,
    ) -> Result<KvStore, StoreError> {
        let refuse =
            |detail: String| Err(StoreError::new(StoreErrorKind::Config, NAME, "open", detail));
        let cache_ttl = match self.cache_ttl {
            Some(ttl) if ttl < MIN_CACHE_TTL => {
                return refuse(format!("cache_ttl is {ttl:?}; KV takes at least 30 s"));
            }
            ttl => ttl.map(|ttl| u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX)),
        };
        if self.timeout < millis(1) {
            return refuse(format!("timeout is {:?}; give it at least 1 ms", self.timeout));
        }
        let consistency = if self.claims_strong {
            Consistency::Strong
        } else {
            let within = self.cache_ttl.unwrap_or_default().max(DEFAULT_CACHE_TTL);
            Consistency::Eventual { within }
        };
        let capabilities = Capabilities::new(consistency)
            .max_key_bytes(MAX_KEY_BYTES)
            .max_value_bytes(MAX_VALUE_BYTES)
            .max_batch_keys(BULK_KEYS);
        let (timeout, write_retries) = (self.timeout, self.write_retries);
        let shared = Shared { namespace, capabilities, cache_ttl, timeout, write_retries };
        Ok(KvStore { shared: Arc::new(shared), runtime })
    }
}
