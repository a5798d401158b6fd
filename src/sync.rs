//! Locks, past the poison of threads that panicked: what they guard here is never left half changed. And requests to a
//! store that don't wait for one another.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, whatever happened to the thread that held it before.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// At most so many requests to a store that is near are on their way at once: a few threads keep all cores busy.
const NEAR_REQUESTS: usize = 16;
/// Fewer of them than this for each thread are not worth starting it.
const LEAST_FOR_A_THREAD: usize = 8;
/// At most so many requests to a store that is far away are on their way at once: there the number of requests one
/// after another is the cost.
const FAR_REQUESTS: usize = 32;

/// Calls `each`, which makes requests to a store, for all items, several at once, and gives back the results in the
/// items' order. The calls may come in any order. `is_far` says whether the store is far away.
pub(crate) fn in_parallel<T: Sync, R: Send>(items: &[T], is_far: bool, each: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = match is_far {
        true => items.len().min(FAR_REQUESTS),
        false => (items.len() / LEAST_FOR_A_THREAD).min(NEAR_REQUESTS),
    };
    if threads < 2 {
        return items.iter().map(each).collect();
    }
    let next = AtomicUsize::new(0);
    let take_some = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            match items.get(at) {
                Some(item) => done.push((at, each(item))),
                None => return done,
            }
        }
    };
    let mut done = Vec::with_capacity(items.len());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(take_some)).collect();
        for thread in threads {
            match thread.join() {
                Ok(some) => done.extend(some),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items_however_many_there_are() {
        for n in [0, 1, 7, 16, 17, 1_000] {
            let items: Vec<usize> = (0..n).collect();
            let slow_at_first = |item: &usize| {
                if item.is_multiple_of(16) {
                    std::thread::sleep(std::time::Duration::from_micros(200));
                }
                item * 3
            };
            for is_far in [true, false] {
                let done = in_parallel(&items, is_far, slow_at_first);
                assert_eq!(done, (0..n).map(|item| item * 3).collect::<Vec<_>>());
            }
        }
    }
}
