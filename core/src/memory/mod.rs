//! The store in this process.

mod builder;
mod store;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quick_cache::sync::{Cache as QuickCache, EntryAction, EntryResult};

use crate::epoch;
use crate::runtime::Runtime;
use crate::store::Capabilities;
use crate::time::Timestamp;

pub use builder::MemoryStoreBuilder;

/// A [`Store`](crate::Store) in this process, bounded by weight.
///
/// Every entry weighs its key, its value and 64 bytes. When the store is full it evicts what is
/// used least (S3-FIFO, by [`quick_cache`](https://docs.rs/quick_cache)). An entry is not returned
/// from the very moment that its time is over; its memory is freed when it is next asked for,
/// evicted or swept.
///
/// Clones share the entries.
///
/// ```
/// use bytes::Bytes;
/// use larder_core::{MemoryStore, Store, minutes};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder_core::StoreError> {
/// let store = MemoryStore::builder().capacity_bytes(16 << 20).build();
/// store.put("greeting", Bytes::from_static(b"hello"), minutes(1)).await?;
/// assert_eq!(store.get("greeting").await?.unwrap(), "hello");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    inner: Arc<Inner>,
}

struct Inner {
    entries: QuickCache<Box<str>, Held, Weight>,
    capabilities: Capabilities,
    runtime: Arc<dyn Runtime>,
    /// When expired entries are next looked for, in microseconds.
    sweep_at: AtomicU64,
}

#[derive(Clone)]
struct Held {
    value: Bytes,
    until: Timestamp,
}

/// What an entry weighs besides its key and value.
const OVERHEAD_BYTES: usize = 64;
const SWEEP_EVERY: Duration = Duration::from_secs(30);

#[derive(Clone)]
struct Weight;

impl quick_cache::Weighter<Box<str>, Held> for Weight {
    fn weight(&self, key: &Box<str>, held: &Held) -> u64 {
        (key.len() + held.value.len() + OVERHEAD_BYTES) as u64
    }
}

impl MemoryStore {
    /// Starts to build a store.
    ///
    /// ```
    /// # use larder_core::MemoryStore;
    /// let store = MemoryStore::builder().capacity_bytes(16 << 20).build();
    /// # let _ = store;
    /// ```
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder::default()
    }

    /// The value under `key`, without the detour of an async call.
    ///
    /// ```
    /// # use larder_core::MemoryStore;
    /// let store = MemoryStore::new();
    /// assert_eq!(store.get_sync("greeting"), None);
    /// ```
    #[must_use]
    pub fn get_sync(&self, key: &str) -> Option<Bytes> {
        let held = self.inner.entries.get(key)?;
        if self.inner.runtime.has_passed(held.until) {
            self.drop_expired(key, held.until);
            return None;
        }
        Some(held.value)
    }

    /// How many entries there are, those among them whose time is over but which still take room
    /// included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.entries.is_empty()
    }

    /// What the entries weigh, in bytes.
    ///
    /// ```
    /// use larder_core::{MemoryStore, Store, minutes};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder_core::StoreError> {
    /// let store = MemoryStore::new();
    /// store.put("greeting", "hello".into(), minutes(1)).await?;
    /// assert_eq!(store.weight_bytes(), 8 + 5 + 64); // the key, the value and what goes with them
    /// assert_eq!(store.len(), 1);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.inner.entries.weight()
    }

    fn put_sync(&self, key: &str, value: Bytes, ttl: Duration) {
        let now = self.inner.runtime.now();
        self.sweep_if_due(now);
        self.inner.entries.insert(key.into(), Held { value, until: now + ttl });
    }

    /// The epoch under `key`, which stands for `life` from now on; a new one where there is none.
    fn epoch_sync(&self, key: &str, life: Duration) -> u64 {
        let now = self.inner.runtime.now();
        let until = now + life;
        let begun = epoch::new();
        let new = || Held { value: epoch::to_bytes(begun), until };
        let found = self.inner.entries.entry(&Box::<str>::from(key), None, |_, held| {
            let stands = (now < held.until).then(|| epoch::from_bytes(&held.value)).flatten();
            match stands {
                Some(_) => held.until = held.until.max(until),
                None => *held = new(),
            }
            EntryAction::Retain(stands.unwrap_or(begun))
        });
        match found {
            EntryResult::Retained(epoch) => epoch,
            EntryResult::Vacant(place) => {
                // One that is removed at this very moment is taken for one that never stood.
                let _ = place.insert(new());
                begun
            }
            // Neither asked for, nor bounded in time.
            _ => begun,
        }
    }

    /// Where a live entry of `key` ends.
    fn live_until(&self, key: &str) -> Option<Timestamp> {
        let until = self.inner.entries.peek(key)?.until;
        (!self.inner.runtime.has_passed(until)).then_some(until)
    }

    fn remove_sync(&self, key: &str) -> bool {
        self.inner
            .entries
            .remove(key)
            .is_some_and(|(_, held)| !self.inner.runtime.has_passed(held.until))
    }

    /// Removes the entry that was seen to be expired, and not one that was written since.
    fn drop_expired(&self, key: &str, until: Timestamp) {
        self.inner.entries.remove_if(key, |held| held.until == until);
    }

    /// Frees what expired unread, so that it does not displace what is alive. Now and then, and
    /// only where room is scarce.
    fn sweep_if_due(&self, now: Timestamp) {
        let due = self.inner.sweep_at.load(Ordering::Relaxed);
        if now.as_micros() < due {
            return;
        }
        let next = (now + SWEEP_EVERY).as_micros();
        let mine = self
            .inner
            .sweep_at
            .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok();
        if mine && self.inner.entries.weight() > self.inner.entries.capacity() / 2 {
            self.inner.entries.retain(|_, held| now < held.until);
        }
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("entries", &self.len())
            .field("weight_bytes", &self.weight_bytes())
            .field("capacity_bytes", &self.inner.entries.capacity())
            .finish_non_exhaustive()
    }
}
