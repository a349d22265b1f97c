use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use larder_core::{Runtime, StoreError};

use super::{Call, Tap};

/// A network: every call takes a time, drawn from a seed, on the way there and on the way back.
pub struct Delays {
    runtime: Arc<dyn Runtime>,
    longest: Duration,
    random: Mutex<fastrand::Rng>,
}

impl Delays {
    /// Delays of up to `longest` each way.
    pub fn up_to(longest: Duration, runtime: Arc<dyn Runtime>, seed: u64) -> Self {
        Self { runtime, longest, random: Mutex::new(fastrand::Rng::with_seed(seed)) }
    }

    async fn travel(&self) {
        let part = self.random.lock().unwrap_or_else(PoisonError::into_inner).f64();
        self.runtime.sleep(self.longest.mul_f64(part)).await;
    }
}

#[async_trait]
impl Tap for Delays {
    async fn before(&self, _: Call) -> Result<(), StoreError> {
        self.travel().await;
        Ok(())
    }

    async fn after(&self, _: Call) -> Result<(), StoreError> {
        self.travel().await;
        Ok(())
    }
}
