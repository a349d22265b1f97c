use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use larder_core::StoreError;

use super::{Call, Tap};

/// Counts the calls of each kind.
#[derive(Default)]
pub struct Tally {
    counts: [AtomicU64; 9],
}

impl Tally {
    /// How often the store was asked for this.
    #[must_use]
    pub fn of(&self, call: Call) -> u64 {
        self.counts[call as usize].load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Tap for Tally {
    async fn before(&self, call: Call) -> Result<(), StoreError> {
        self.counts[call as usize].fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn after(&self, _: Call) -> Result<(), StoreError> {
        Ok(())
    }
}
