use std::sync::Arc;
use std::time::Duration;

use larder_core::{Capabilities, Consistency, StoreError, StoreErrorKind, millis, seconds};
use worker::Env;

use super::placement::Placement;
use super::{BATCH_KEYS, DurableStore, MAX_KEY_BYTES, MAX_VALUE_BYTES, NAME, Shared};
use crate::WorkerRuntime;
use crate::js::Objects;

const MOST_OBJECTS: u16 = 1_024;

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
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `open`"]
pub struct DurableStoreBuilder {
    objects: u16,
    timeout: Duration,
}

impl Default for DurableStoreBuilder {
    fn default() -> Self {
        Self { objects: 16, timeout: seconds(5) }
    }
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
        self.objects = objects;
        self
    }

    /// How long a call may take. 5 s by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The store on the objects that `binding` of wrangler.toml names.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Config`] where there is no such binding, or a setting that cannot work.
    pub fn open(
        self,
        env: &Env,
        binding: &str,
        runtime: &WorkerRuntime,
    ) -> Result<DurableStore, StoreError> {
        let refuse =
            |detail: String| Err(StoreError::new(StoreErrorKind::Config, NAME, "open", detail));
        if !(1..=MOST_OBJECTS).contains(&self.objects) {
            let objects = self.objects;
            return refuse(format!("objects is {objects}; it can be 1 to {MOST_OBJECTS}"));
        }
        if self.timeout < millis(1) {
            return refuse(format!("timeout is {:?}; give it at least 1 ms", self.timeout));
        }
        let objects = match Objects::open(env, binding) {
            Ok(objects) => objects,
            Err(failure) => {
                return refuse(format!(
                    "the Worker has no Durable Objects {binding:?} ({failure}); name them in \
                     wrangler.toml under [[durable_objects.bindings]]"
                ));
            }
        };
        let shared = Shared {
            objects,
            placement: Placement::new(self.objects),
            capabilities: Capabilities::new(Consistency::Strong)
                .max_key_bytes(MAX_KEY_BYTES)
                .max_value_bytes(MAX_VALUE_BYTES)
                .max_batch_keys(BATCH_KEYS),
            timeout: self.timeout,
        };
        Ok(DurableStore { shared: Arc::new(shared), runtime: Arc::new(runtime.clone()) })
    }
}
