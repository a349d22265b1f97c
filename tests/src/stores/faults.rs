use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use larder_core::StoreError;

use super::{Call, Tap, failed_on_purpose};

/// Whether a failing call has reached the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// It has not.
    Before,
    /// It has, and its answer was lost.
    After,
}

/// A store that fails while it is told to, at the calls that are chosen.
pub struct Faults {
    when: When,
    chosen: fn(Call) -> bool,
    on: AtomicBool,
}

impl Faults {
    /// Fails every call that `chosen` picks, from now on.
    pub fn of(when: When, chosen: fn(Call) -> bool) -> Self {
        Self { when, chosen, on: AtomicBool::new(true) }
    }

    /// Starts or stops failing.
    pub fn turn(&self, on: bool) {
        self.on.store(on, Ordering::SeqCst);
    }

    fn answer(&self, call: Call, when: When) -> Result<(), StoreError> {
        if self.when == when && self.on.load(Ordering::SeqCst) && (self.chosen)(call) {
            return Err(failed_on_purpose());
        }
        Ok(())
    }
}

#[async_trait]
impl Tap for Faults {
    async fn before(&self, call: Call) -> Result<(), StoreError> {
        self.answer(call, When::Before)
    }

    async fn after(&self, call: Call) -> Result<(), StoreError> {
        self.answer(call, When::After)
    }
}
