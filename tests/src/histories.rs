//! Random histories of a key, with hostile times: what a store of counts says, beside the pure
//! function.
//!
//! ```
//! use std::sync::Arc;
//!
//! use larder_core::{MemoryRateLimits, Timestamp, VirtualRuntime};
//! use larder_tests::histories::{self, HostileClock};
//!
//! let runtime = VirtualRuntime::seeded(1);
//! let clock = HostileClock::new(Arc::new(runtime.clone()), Timestamp::from_millis(1 << 40));
//! let limits = MemoryRateLimits::builder().on(clock.clone());
//! let checks = runtime.block_on(async move { histories::play(1, "key", &limits, &clock).await });
//! assert!(checks.unwrap() > 0);
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use futures::future::BoxFuture;
use larder_core::rate_limit::{Check, KeyState};
use larder_core::{Quota, RateLimitStore, Runtime, Timestamp, days, millis};

use crate::conformance::Failure;

/// How many steps a history has.
const STEPS: u64 = 40;

/// A runtime whose clock stands still until a history moves it, forward or back, by whole
/// milliseconds.
#[derive(Debug, Clone)]
pub struct HostileClock {
    runtime: Arc<dyn Runtime>,
    micros: Arc<AtomicU64>,
}

impl HostileClock {
    /// A clock that shows `start`, with the timers and tasks of `runtime`.
    #[must_use]
    pub fn new(runtime: Arc<dyn Runtime>, start: Timestamp) -> Self {
        Self { runtime, micros: Arc::new(AtomicU64::new(start.as_micros())) }
    }

    fn set(&self, time: Timestamp) {
        self.micros.store(time.as_micros(), Ordering::SeqCst);
    }
}

impl Runtime for HostileClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.micros.load(Ordering::SeqCst))
    }

    fn isolates_tasks(&self) -> bool {
        self.runtime.isolates_tasks()
    }

    fn take_calls(&self, calls: u32) -> bool {
        self.runtime.take_calls(calls)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.runtime.sleep(duration)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.runtime.spawn(task);
    }
}

/// Plays the history of that seed under `key`, on a store that acts by `clock`, and tells how many
/// checks there were.
///
/// # Errors
///
/// Where the store fails, or says anything else than the pure function.
pub async fn play(
    seed: u64,
    key: &str,
    store: &dyn RateLimitStore,
    clock: &HostileClock,
) -> Result<u32, Failure> {
    let mut rng = Rng::with_seed(seed);
    let start = clock.now();
    let of_all: Vec<Quota> = (0..rng.usize(1..=4)).map(|at| quota(&mut rng, at)).collect();
    let (mut model, mut checks) = (KeyState::default(), 0);
    for number in 0..STEPS {
        let now = clock.now();
        let chosen: Vec<Quota> = match rng.u8(..4) {
            0 => of_all.iter().filter(|_| rng.bool()).cloned().collect(),
            _ => of_all.clone(),
        };
        match rng.u8(..24) {
            0..12 => {
                let mut check = Check::new(key, &chosen).cost(cost(&mut rng)).lease(number);
                check.takes = rng.u8(..8) > 0;
                let (wanted, said) = (model.check(now, &check), store.check(&check).await?);
                checks += 1;
                if said != wanted {
                    return Err(Failure::new(format!(
                        "history {seed}, step {number}, at {now:?}: {check:?}\n is {said:?}\n not \
                         {wanted:?}"
                    )));
                }
            }
            12..14 => {
                let cost = cost(&mut rng);
                model.refund(now, &chosen, cost);
                store.refund(key, &chosen, cost).await?;
            }
            14..16 => {
                let lease = rng.u64(..STEPS);
                model.release(now, &chosen, lease);
                store.release(key, &chosen, lease).await?;
            }
            16 => {
                model.reset(&chosen);
                store.reset(key, &chosen).await?;
            }
            17 => {
                let time = millis(rng.u64(..60));
                model.block(now, time);
                store.block(key, time).await?;
            }
            _ => {
                clock.set(another_time(&mut rng, now, start));
                continue;
            }
        }
        if model.forgotten_at() <= now {
            // As every store may.
            model = KeyState::default();
        }
    }
    Ok(checks)
}

fn quota(rng: &mut Rng, at: usize) -> Quota {
    let (limit, window) = (rng.u64(..9), millis(rng.u64(1..120)));
    let quota = match rng.u8(..4) {
        0 => Quota::new(limit, window),
        1 => Quota::new(limit, window).sliding_window(),
        2 => Quota::new(limit, window).burst(rng.u64(..12)),
        _ => Quota::concurrent(limit, window),
    };
    quota.named(format!("quota {at}"))
}

fn cost(rng: &mut Rng) -> u64 {
    match rng.u8(..16) {
        0 => 0,
        1 => u64::MAX - rng.u64(..2),
        _ => rng.u64(1..4),
    }
}

/// Mostly a little later; at times much later, or earlier, by up to 300 days from the start.
fn another_time(rng: &mut Rng, now: Timestamp, start: Timestamp) -> Timestamp {
    match rng.u8(..12) {
        0 => now + millis(rng.u64(..500)),
        1 | 2 => (now - millis(rng.u64(..200))).max(start - days(300)),
        3 => start + days(rng.u64(..300)),
        4 => start - days(rng.u64(..300)),
        _ => now + millis(rng.u64(..30)),
    }
}

#[cfg(test)]
mod tests {
    use larder_core::{MemoryRateLimits, VirtualRuntime};

    use super::*;

    #[test]
    fn memory_says_what_the_pure_function_says() {
        let runtime = VirtualRuntime::seeded(0);
        for seed in 0..3_000 {
            let clock =
                HostileClock::new(Arc::new(runtime.clone()), Timestamp::EPOCH + days(9_000));
            let limits = MemoryRateLimits::builder().on(clock.clone());
            let played = runtime.block_on(async move { play(seed, "a", &limits, &clock).await });
            assert!(played.is_ok(), "{played:?}");
        }
    }
}
