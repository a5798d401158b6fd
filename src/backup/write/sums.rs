//! Adding up the records of partitions for the state hash, beside the thread that writes.

use crate::crypto::keys::StateKey;
use crate::record::{Digest, PARTITIONS, PartitionId};
use crate::run::{RecordHash, StateSums};
use crate::sync::lock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Partitions wait until they have so many records in all: fewer are not worth another thread's while.
const SUMMED_AT_ONCE: usize = 4096;
/// At most so many threads add up at once; past that the writing thread does it itself.
const MAX_SUMMING: usize = 8;

/// The live records of a partition.
type Live = (PartitionId, Vec<(Digest, RecordHash)>);

/// The sums of all partitions, once all were added.
#[derive(Default)]
pub(super) struct Sums {
    sums: Mutex<StateSums>,
    summing: AtomicUsize,
}

/// Partitions that wait to be added up.
#[derive(Default)]
pub(super) struct Waiting {
    partitions: Vec<Live>,
    records: usize,
}

impl Sums {
    /// Adds a partition; partitions come in order, and with the last one all that wait are added.
    pub(super) fn add<'scope>(
        &'scope self,
        scope: &rayon::Scope<'scope>,
        key: &'scope StateKey,
        waiting: &mut Waiting,
        (partition, live): Live,
    ) {
        waiting.records += live.len();
        waiting.partitions.push((partition, live));
        if waiting.records < SUMMED_AT_ONCE && u32::from(partition.number()) + 1 < u32::from(PARTITIONS) {
            return;
        }
        let Waiting { partitions, .. } = std::mem::take(waiting);
        let add_up = move || {
            for (partition, live) in partitions {
                let sum = StateSums::sum(key, &live);
                lock(&self.sums).set(partition, sum);
            }
            self.summing.fetch_sub(1, Ordering::Relaxed);
        };
        match self.summing.fetch_add(1, Ordering::Relaxed) < MAX_SUMMING {
            true => scope.spawn(move |_| add_up()),
            false => add_up(),
        }
    }

    /// All sums, once the scope has ended.
    pub(super) fn into_inner(self) -> StateSums {
        self.sums.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
