//! What threads share.

use std::cell::Cell;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is under a lock here is whole after every step, so that a panic elsewhere leaves it usable.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A value with cache lines of its own, so that threads which use its neighbours do not slow down
/// those that use it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Apart<T>(pub(crate) T);

impl<T> Deref for Apart<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

const STRIPES: usize = 8;

/// The stripe of all threads that have none of their own.
const SHARED: usize = STRIPES - 1;

/// A counter that threads add to without waiting for one another.
#[derive(Debug, Default)]
pub(crate) struct Count([Apart<AtomicU64>; STRIPES]);

impl Count {
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        match STRIPE.get() {
            // Nobody else writes there, and to write takes less than to add atomically.
            own if own < SHARED => {
                let count = &self.0[own];
                count.store(count.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
            }
            _ => self.add_rarely(n),
        }
    }

    #[cold]
    fn add_rarely(&self, n: u64) {
        if STRIPE.get() == NOT_CHOSEN {
            // While a thread ends it can own nothing any more.
            let owned = OWNED.try_with(|owned| owned.0).unwrap_or(SHARED);
            STRIPE.set(owned);
            return self.add(n);
        }
        self.0[SHARED].fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.iter().map(|stripe| stripe.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }
}

const NOT_CHOSEN: usize = usize::MAX;

thread_local! {
    static STRIPE: Cell<usize> = const { Cell::new(NOT_CHOSEN) };
    static OWNED: Owned = Owned::claim();
}

/// A stripe that only one thread writes to, as long as it lives; [`SHARED`] where all are taken.
struct Owned(usize);

/// A bit for each stripe that has an owner.
static TAKEN: AtomicU64 = AtomicU64::new(0);

impl Owned {
    fn claim() -> Self {
        let free = |taken: u64| usize::try_from(taken.trailing_ones()).unwrap_or(SHARED);
        // Acquires what the owner before has released: its last count.
        let before = TAKEN.fetch_update(Ordering::Acquire, Ordering::Relaxed, |taken| {
            (free(taken) < SHARED).then(|| taken | 1 << free(taken))
        });
        Self(before.map_or(SHARED, free))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        STRIPE.set(SHARED);
        if self.0 < SHARED {
            TAKEN.fetch_and(!(1 << self.0), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;
    use crate::runtime::{natively, test};

    natively! {
    #[test]
    fn nothing_is_lost_whoever_counts() {
        let count = Count::default();
        // More than there are stripes, at once and one after the other.
        for _ in 0..4 {
            let start = Barrier::new(2 * STRIPES);
            thread::scope(|scope| {
                for _ in 0..2 * STRIPES {
                    scope.spawn(|| {
                        start.wait();
                        (0..10_000).for_each(|_| count.add(1));
                    });
                }
            });
        }
        assert_eq!(count.get(), 4 * 2 * STRIPES as u64 * 10_000);
    }
    }
}
