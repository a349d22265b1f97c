//! What a simulation does, drawn from its seed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use larder_core::{StoreError, millis};

use crate::stores::{Call, Tap, failed_on_purpose};

/// What a simulation does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What everything is drawn from.
    pub seed: u64,
    /// How many callers there are.
    pub callers: usize,
    /// How many calls each of them makes.
    pub calls: usize,
    /// How many keys they share.
    pub keys: usize,
    /// The longest way to the store, and back.
    pub latency: Duration,
    /// The life of a value.
    pub ttl: Duration,
    /// Whether writers put the new value, and not only remove the old one. Then a key has one
    /// writer at a time, as two puts have no order of their own.
    pub puts: bool,
    /// Whether the store loses calls and answers.
    pub store_faults: bool,
    /// Whether loaders fail, panic and hang.
    pub loader_faults: bool,
    /// Whether callers leave in the middle of a call.
    pub leaving: bool,
    /// Whether tasks must not wake one another, as on Workers.
    pub isolated: bool,
    /// Whether a load needs a lease.
    pub leases: bool,
    /// Whether rows are also loaded together, which gives them no tag of their own.
    pub together: bool,
    /// Whether the cache is cleared at once, by an epoch.
    pub instant_clear: bool,
    /// Whether there is a tier in front of the store.
    pub local: bool,
    /// Whether every event is noted.
    pub traced: bool,
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed ^ 0x5eed);
        let lives = [millis(20), millis(60), millis(1_000)];
        Self {
            seed,
            callers: random.usize(3..12),
            calls: random.usize(4..16),
            keys: random.usize(1..4),
            latency: millis(random.u64(0..6)),
            ttl: lives[random.usize(..lives.len())],
            puts: random.bool(),
            store_faults: random.u8(..4) == 0,
            loader_faults: random.u8(..3) == 0,
            leaving: random.bool(),
            isolated: random.u8(..4) == 0,
            leases: random.u8(..4) == 0,
            together: random.bool(),
            instant_clear: random.bool(),
            local: random.bool(),
            traced: false,
        }
    }
}

/// A store that now and then loses a call, or its answer.
pub struct Flaky {
    on: AtomicBool,
    random: Mutex<fastrand::Rng>,
}

impl Flaky {
    /// Fails where it is `on`, as `seed` decides.
    #[must_use]
    pub fn new(on: bool, seed: u64) -> Self {
        Self { on: AtomicBool::new(on), random: Mutex::new(fastrand::Rng::with_seed(seed ^ 0xf1a)) }
    }

    /// Fails no more.
    pub fn stop(&self) {
        self.on.store(false, Ordering::SeqCst);
    }

    fn answer(&self) -> Result<(), StoreError> {
        let fails = self.on.load(Ordering::SeqCst)
            && self.random.lock().unwrap_or_else(PoisonError::into_inner).u8(..16) == 0;
        if fails { Err(failed_on_purpose()) } else { Ok(()) }
    }
}

#[async_trait]
impl Tap for Flaky {
    async fn before(&self, _: Call) -> Result<(), StoreError> {
        self.answer()
    }

    async fn after(&self, _: Call) -> Result<(), StoreError> {
        self.answer()
    }
}
