//! Locks, past the poison of threads that panicked: what they guard here is never left half changed.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, whatever happened to the thread that held it before.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
