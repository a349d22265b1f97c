//! Locks between threads.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is under a lock here is whole after every step, so that a panic elsewhere leaves it usable.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
