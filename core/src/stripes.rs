//! Numbers of invalidations, by which who has read something tells whether it still stands.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::DefaultHashBuilder;

/// Every invalidation of a key has a number, which is left in the key's stripe, one of `N`. Keys that
/// share one are invalidated together. `N` is a power of two.
pub(crate) struct Stripes<const N: usize> {
    /// Of each stripe the number of the last invalidation in it.
    stripes: Box<[AtomicU64]>,
    hasher: DefaultHashBuilder,
    last: AtomicU64,
}

impl<const N: usize> Default for Stripes<N> {
    fn default() -> Self {
        Self {
            stripes: (0..N).map(|_| AtomicU64::new(0)).collect(),
            hasher: DefaultHashBuilder::default(),
            last: AtomicU64::new(0),
        }
    }
}

impl<const N: usize> Stripes<N> {
    /// The number of the last invalidation of any key.
    pub(crate) fn last(&self) -> u64 {
        self.last.load(Ordering::SeqCst)
    }

    #[inline]
    pub(crate) fn of(&self, key: &str) -> u32 {
        (self.hasher.hash_one(key) % N as u64) as u32
    }

    /// Whether nothing in the stripe was invalidated after the invalidation of that number.
    #[inline]
    pub(crate) fn stands(&self, stripe: u32, since: u64) -> bool {
        self.stripes[stripe as usize % N].load(Ordering::Acquire) <= since
    }

    /// Makes everything worthless that was read of this key before now. The number of that, and of the
    /// invalidation in the stripe before it.
    pub(crate) fn invalidate(&self, key: &str) -> (u64, u64) {
        let number = self.next();
        let before = self.stripes[self.of(key) as usize].fetch_max(number, Ordering::SeqCst);
        (number, before)
    }

    /// A number for what concerns any key.
    pub(crate) fn next(&self) -> u64 {
        self.last.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn hash(&self, bytes: &[u8]) -> u64 {
        self.hasher.hash_one(bytes)
    }
}
