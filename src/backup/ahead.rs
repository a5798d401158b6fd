//! Reading partitions ahead with several threads, and handing them on in order.

use crate::error::{Error, Result};
use crate::record::PartitionId;
use crate::sync::lock;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// For each thread, partitions that may be read before their turn comes …
const AHEAD: u64 = 64;
/// … while those that were read take less than this many bytes.
const AHEAD_BYTES: usize = 64 << 20;

struct State<T> {
    /// The partition that is asked for next.
    next: u64,
    /// Those that were read before they were asked for, each with its size in bytes.
    read: BTreeMap<u16, (usize, Result<T>)>,
    bytes: usize,
}

struct Shelf<T> {
    state: Mutex<State<T>>,
    ready: Condvar,
    room: Condvar,
}

impl<T> Shelf<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        lock(&self.state)
    }

    fn put(&self, partition: PartitionId, size: usize, read: Result<T>) {
        let mut state = self.lock();
        state.bytes += size;
        state.read.insert(partition.number(), (size, read));
        if state.next == u64::from(partition.number()) {
            self.ready.notify_one();
        }
    }

    fn take(&self, partition: PartitionId, ahead: u64) -> Result<T> {
        let number = u64::from(partition.number());
        let mut state = self.lock();
        state.next = number;
        let read = loop {
            match state.read.remove(&partition.number()) {
                Some((size, read)) => {
                    state.bytes -= size;
                    break read;
                }
                None => {
                    // Whoever has it may wait for room.
                    self.room.notify_all();
                    state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        };
        // Not each time: waking threads costs more than what they have to do for a small partition.
        if number.is_multiple_of(ahead.div_ceil(2)) {
            self.room.notify_all();
        }
        read
    }
}

/// Says that a partition will not come if its thread dies, so that nobody waits for it.
struct Promise<'a, T>(&'a Shelf<T>, PartitionId);

impl<T> Drop for Promise<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let died = Error::invalid(format!("the thread that read partition {} died", self.1.number()));
            self.0.put(self.1, 0, Err(died));
        }
    }
}

/// Calls `read` for each partition, on `threads` threads; what it gives back takes so many bytes as `size` says.
/// `consume` is given what hands them on; it must ask in ascending order, for each partition once.
pub fn read_ahead<T: Send, R>(
    threads: usize,
    read: impl Fn(PartitionId) -> Result<T> + Sync,
    size: impl Fn(&T) -> usize + Sync,
    consume: impl FnOnce(&mut dyn FnMut(PartitionId) -> Result<T>) -> R,
) -> R {
    let ahead = AHEAD * threads.max(1) as u64;
    let claimed = AtomicU64::new(0);
    let state = Mutex::new(State { next: 0, read: BTreeMap::new(), bytes: 0 });
    let shelf = Shelf { state, ready: Condvar::new(), room: Condvar::new() };
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let number = claimed.fetch_add(1, Ordering::Relaxed);
                    let Some(partition) = u16::try_from(number).ok().and_then(PartitionId::new) else { return };
                    let mut state = shelf.lock();
                    while number > state.next && (number >= state.next + ahead || state.bytes >= AHEAD_BYTES) {
                        state = shelf.room.wait(state).unwrap_or_else(PoisonError::into_inner);
                    }
                    drop(state);
                    let _promise = Promise(&shelf, partition);
                    let read = read(partition);
                    shelf.put(partition, read.as_ref().map_or(0, &size), read);
                }
            });
        }
        let done = consume(&mut |partition| shelf.take(partition, ahead));
        // Lets the readers run to their end if the consumer stopped early.
        claimed.store(u64::MAX >> 1, Ordering::Relaxed);
        shelf.lock().next = u64::MAX >> 1;
        shelf.room.notify_all();
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hands_partitions_on_in_order_whatever_order_they_are_read_in() {
        let read = |partition: PartitionId| {
            if partition.number().is_multiple_of(7) {
                std::thread::sleep(std::time::Duration::from_micros(50));
            }
            Ok(partition.number())
        };
        let all: Vec<u16> = read_ahead(4, read, |_| 1, |next| PartitionId::all().map(|p| next(p).unwrap()).collect());
        assert_eq!(all, (0..4096).collect::<Vec<_>>());
    }

    #[test]
    fn hands_on_partitions_that_are_larger_than_the_bound() {
        let read = |partition: PartitionId| Ok(partition.number());
        let size = |_: &u16| AHEAD_BYTES;
        let sum: u64 = read_ahead(3, read, size, |next| PartitionId::all().map(|p| u64::from(next(p).unwrap())).sum());
        assert_eq!(sum, 4095 * 2048);
    }

    #[test]
    fn ends_when_the_consumer_stops_early() {
        let first = read_ahead(
            3,
            |partition| Ok(partition.number()),
            |_| AHEAD_BYTES,
            |next| next(PartitionId::all().next().unwrap()),
        );
        assert_eq!(first.unwrap(), 0);
    }
}
