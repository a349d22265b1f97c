use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::available_parallelism;

use quick_cache::sync::{Cache as QuickCache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder};

use super::{Inner, MemoryStore, OVERHEAD_BYTES, Weight};
use crate::runtime::Runtime;
use crate::store::{Capabilities, Consistency};

/// Builds a [`MemoryStore`].
///
/// ```
/// use larder_core::MemoryStore;
///
/// let store = MemoryStore::builder().capacity_bytes(16 << 20).build();
/// assert!(store.is_empty());
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` or `on`"]
pub struct MemoryStoreBuilder {
    capacity_bytes: u64,
}

impl Default for MemoryStoreBuilder {
    fn default() -> Self {
        Self { capacity_bytes: 64 << 20 }
    }
}

/// A part of the store with a lock of its own is not made smaller than this, as no value can be
/// larger than its part.
const SMALLEST_SHARD_BYTES: u64 = 4 << 20;
const TYPICAL_ENTRY_BYTES: u64 = 512;

impl MemoryStoreBuilder {
    /// How much all entries may weigh together, in bytes. 64 MiB by default.
    ///
    /// The largest value is somewhat smaller, see
    /// [`Capabilities::max_value_bytes`](crate::Capabilities::max_value_bytes): the store is split
    /// into parts of at least 4 MiB, each with a lock of its own.
    pub fn capacity_bytes(mut self, bytes: u64) -> Self {
        self.capacity_bytes = bytes;
        self
    }

    /// The store, on the clock of `runtime`.
    ///
    /// ```
    /// # use larder_core::{MemoryStore, SystemRuntime};
    /// let store = MemoryStore::builder().on(SystemRuntime::default());
    /// # let _ = store;
    /// ```
    #[must_use]
    pub fn on(self, runtime: impl Runtime) -> MemoryStore {
        let capacity = self.capacity_bytes.max(1);
        let cores = available_parallelism().map_or(1, usize::from) as u64;
        let shards = (4 * cores).min(capacity / SMALLEST_SHARD_BYTES).max(1);
        // Down to a power of two: quick_cache would round up.
        let shards = 1 << shards.ilog2();
        let entries = capacity / TYPICAL_ENTRY_BYTES;
        let options = OptionsBuilder::new()
            .shards(shards)
            .estimated_items_capacity(usize::try_from(entries.max(32)).unwrap_or(usize::MAX))
            .weight_capacity(capacity)
            .build();
        let entries = match options {
            Ok(options) => QuickCache::with_options(
                options,
                Weight,
                DefaultHashBuilder::default(),
                DefaultLifecycle::default(),
            ),
            // Only missing fields are an error, and none is missing.
            Err(_) => QuickCache::with_weighter(32, capacity, Weight),
        };
        // quick_cache keeps 3 % of a shard for newcomers; a value must fit into the rest.
        let room = entries.shard_capacity() / 100 * 95;
        let max_value = usize::try_from(room).unwrap_or(usize::MAX).saturating_sub(OVERHEAD_BYTES);
        let max_key = (max_value / 4).min(4_096);
        let capabilities = Capabilities::new(Consistency::Strong)
            .max_key_bytes(max_key)
            .max_value_bytes(max_value - max_key)
            .in_process();
        MemoryStore {
            inner: Arc::new(Inner {
                entries,
                capabilities,
                runtime: Arc::new(runtime),
                sweep_at: AtomicU64::new(0),
            }),
        }
    }
}
