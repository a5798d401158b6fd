//! Writes into an embedded store: `embedded:DIRECTORY`.

use super::{ConflictPolicy, FailedRecord, RecordTarget, WriteOutcome};
use crate::embedded::{Durability, EmbeddedStore, StoreOptions, Transaction};
use crate::error::Result;
use crate::record::{Body, NamespaceMetadata, RecordBatch, RecordView, Timestamp};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Transactions are deferred until this many bytes of bodies wait for the disk.
const SYNC_EVERY_BYTES: u64 = 64 << 20;

/// An embedded store as a target.
///
/// Each batch is one transaction: readers see all of it or nothing. Batches reach the disk every 64 MiB and in
/// [`RecordTarget::finish`]; after a crash before that the restore is run again.
pub struct EmbeddedTarget {
    store: EmbeddedStore,
    name: String,
    waiting_bytes: AtomicU64,
}

impl EmbeddedTarget {
    /// Opens the store in `directory`, or creates one there.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        Ok(Self::new(EmbeddedStore::open_or_create(directory, &StoreOptions::default())?))
    }

    /// Writes into a store that is open.
    pub fn new(store: EmbeddedStore) -> Self {
        let name = format!("embedded:{}", store.directory());
        Self { store, name, waiting_bytes: AtomicU64::new(0) }
    }

    /// The store that it writes.
    pub fn store(&self) -> &EmbeddedStore {
        &self.store
    }

    /// Whether the next transaction is to be synced, counting in `bytes` that it will write.
    fn durability(&self, bytes: u64) -> Durability {
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if waiting < SYNC_EVERY_BYTES {
            return Durability::Deferred;
        }
        self.waiting_bytes.store(0, Ordering::Relaxed);
        Durability::Synced
    }
}

fn write_one(
    tables: &mut Transaction<'_>,
    namespace: &str,
    record: &RecordView<'_>,
    policy: ConflictPolicy,
    outcome: &mut WriteOutcome,
) -> Result<()> {
    if policy != ConflictPolicy::Replace
        && let Some(there) = tables.generation(namespace, &record.meta.digest)?
    {
        if policy == ConflictPolicy::Keep {
            outcome.exists += 1;
            return Ok(());
        }
        if there >= record.meta.generation {
            outcome.fresher += 1;
            return Ok(());
        }
    }
    tables.put_record(namespace, record)?;
    outcome.written += 1;
    Ok(())
}

impl RecordTarget for EmbeddedTarget {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_live(&self) -> bool {
        true
    }

    fn clock(&self) -> Result<Timestamp> {
        Ok(self.store.now())
    }

    fn begin(&self, namespace: &str, metadata: &NamespaceMetadata) -> Result<()> {
        self.store.write(|tables| tables.put_metadata(namespace, metadata))
    }

    fn write(&self, namespace: &str, batch: &RecordBatch, policy: ConflictPolicy) -> Result<WriteOutcome> {
        // What can be done without the one writer's turn is done before it. Sorted rows go in faster.
        let mut outcome = WriteOutcome::default();
        let mut records = Vec::with_capacity(batch.len());
        for record in batch.iter() {
            match Body::parse(record.body) {
                Ok(_) => records.push(record),
                Err(error) => {
                    let digest = record.meta.digest;
                    outcome.failed.push(FailedRecord { digest, reason: error.to_string() });
                }
            }
        }
        records.sort_by_key(|record| record.meta.digest.sort_key());
        self.store.write_with(self.durability(batch.byte_len() as u64), |tables| {
            records.iter().try_for_each(|record| write_one(tables, namespace, record, policy, &mut outcome))
        })?;
        Ok(outcome)
    }

    fn finish(&self) -> Result<()> {
        self.store.sync()
    }
}
