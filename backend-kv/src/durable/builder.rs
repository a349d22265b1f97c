use std::sync::Arc;
use std::time::Duration;

use larder_core::{Capabilities, Consistency, StoreError};
use worker::Env;

use super::fleet::Settings;
use super::{BATCH_KEYS, DurableStore, FAMILY, MAX_KEY_BYTES, MAX_VALUE_BYTES, Shared};
use crate::WorkerRuntime;

/// Builds a [`DurableStore`].
///
/// ```no_run
/// use larder_core::seconds;
/// use larder_kv::{DurableStore, WorkerRuntime};
///
/// # fn handler(env: worker::Env, ctx: worker::Context) -> larder_core::Result<()> {
/// let store = DurableStore::builder()
///     .objects(4)
///     .timeout(seconds(1))
///     .open(&env, "LARDER", &WorkerRuntime::new(&ctx))?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a builder does nothing until `open`"]
pub struct DurableStoreBuilder {
    settings: Settings,
}

impl DurableStoreBuilder {
    /// Over how many objects the keys are spread, 1 to 1,024. 16 by default.
    ///
    /// The number is a part of the objects' names: with another, every entry is a miss, and the old
    /// ones are deleted when their lives are over. Every part of a system that shares a store must
    /// say the same.
    ///
    /// An object answers 500 to 1,000 requests a second; a scan asks each of them.
    pub fn objects(mut self, objects: u16) -> Self {
        self.settings.objects = objects;
        self
    }

    /// How long a call may take. 5 s by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// The store on the objects that `binding` of wrangler.toml names.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Config`](larder_core::StoreErrorKind::Config) where there is no such binding, or a setting that cannot work.
    pub fn open(
        self,
        env: &Env,
        binding: &str,
        runtime: &WorkerRuntime,
    ) -> Result<DurableStore, StoreError> {
        let shared = Shared {
            fleet: self.settings.open(FAMILY, env, binding)?,
            capabilities: Capabilities::new(Consistency::Strong)
                .max_key_bytes(MAX_KEY_BYTES)
                .max_value_bytes(MAX_VALUE_BYTES)
                .max_batch_keys(BATCH_KEYS),
            timeout: self.settings.timeout,
        };
        Ok(DurableStore { shared: Arc::new(shared), runtime: Arc::new(runtime.clone()) })
    }
}
