//! A flusher's clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::runtime::Runtime;
use crate::sync::lock;
use crate::time::Timestamp;

/// Time that goes on by what passed on the clock or on the steady one, whichever is more.
///
/// So a lease is over in time where the clock is set back, and where the machine slept, in which time
/// the steady clock may have stood still. Where the clock is set forward, it is over too soon, which
/// does no harm.
pub(super) struct Pace {
    runtime: Arc<dyn Runtime>,
    last: Mutex<Reading>,
}

struct Reading {
    clock: Timestamp,
    steady: Duration,
    now: Timestamp,
}

impl Pace {
    pub(super) fn new(runtime: Arc<dyn Runtime>) -> Self {
        let (clock, steady) = (runtime.now(), runtime.steady());
        Self { runtime, last: Mutex::new(Reading { clock, steady, now: clock }) }
    }

    pub(super) fn now(&self) -> Timestamp {
        let mut last = lock(&self.last);
        let (clock, steady) = (self.runtime.now(), self.runtime.steady());
        let passed = clock.since(last.clock).max(steady.saturating_sub(last.steady));
        *last = Reading { clock, steady, now: last.now + passed };
        last.now
    }
}
