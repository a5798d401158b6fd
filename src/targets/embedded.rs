//! Writes into an embedded store: `embedded:DIRECTORY`.

use super::{ConflictPolicy, DeleteOutcome, FailedRecord, Fate, RecordTarget, WriteOutcome};
use crate::embedded::{Durability, EmbeddedStore, StoreOptions, Transaction};
use crate::error::Result;
use crate::record::RecordSelection;
use crate::record::{Body, Digest, NamespaceMetadata, RecordBatch, RecordView, Timestamp};
use crate::sources::embedded::EmbeddedSource;
use crate::sources::{RecordSource, Selected};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Transactions are deferred until this many bytes of bodies wait for the disk.
const SYNC_EVERY_BYTES: u64 = 64 << 20;

/// An embedded store as a target.
///
/// Each batch is one transaction: readers see all of it or nothing. Batches reach the disk every 64 MiB and in
/// [`RecordTarget::finish`]; after a crash before that the restore is run again.
pub struct EmbeddedTarget {
    /// The store; none where a dry run found none.
    store: Option<EmbeddedStore>,
    dry_run: bool,
    name: String,
    waiting_bytes: AtomicU64,
}

impl EmbeddedTarget {
    /// Opens the store in `directory`, or creates one there.
    ///
    /// # Errors
    ///
    /// If the directory holds something else, can't be read or written, or another process has the store open.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        Ok(Self::new(EmbeddedStore::open_or_create(directory, &StoreOptions::default())?))
    }

    /// Writes into a store that is open.
    pub fn new(store: EmbeddedStore) -> Self {
        let name = format!("embedded:{}", store.directory());
        Self { store: Some(store), dry_run: false, name, waiting_bytes: AtomicU64::new(0) }
    }

    /// Says what would be done to the store in `directory`, and does nothing. If there is none, none is made.
    ///
    /// # Errors
    ///
    /// If the directory holds something else, or another process has the store open.
    pub fn dry_run(directory: impl AsRef<Path>) -> Result<Self> {
        let directory = directory.as_ref();
        let name = format!("embedded:{}", directory.display());
        let store = match EmbeddedStore::is_absent(directory)? {
            true => None,
            false => Some(EmbeddedStore::open(directory)?),
        };
        Ok(Self { store, dry_run: true, name, waiting_bytes: AtomicU64::new(0) })
    }

    /// The store that it writes, unless it is a dry run's.
    fn store(&self) -> Option<&EmbeddedStore> {
        self.store.as_ref().filter(|_| !self.dry_run)
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
    let digest = record.meta.digest;
    let there = match policy {
        ConflictPolicy::Replace | ConflictPolicy::Merge => None,
        ConflictPolicy::Keep | ConflictPolicy::Newer => tables.generation(namespace, &digest)?,
    };
    match policy.fate(there, record.meta.generation) {
        Fate::Exists => outcome.exists += 1,
        Fate::Fresher => outcome.fresher += 1,
        Fate::Written if policy == ConflictPolicy::Merge => {
            match tables.merge_record(namespace, record)? {
                Ok(()) => outcome.written += 1,
                Err(error) => outcome.failed.push(FailedRecord { digest, reason: error.to_string() }),
            }
            return Ok(());
        }
        Fate::Written => {
            tables.put_record(namespace, record)?;
            outcome.written += 1;
            return Ok(());
        }
    }
    outcome.left_alone.push(digest);
    Ok(())
}

impl RecordTarget for EmbeddedTarget {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_live(&self) -> bool {
        true
    }

    fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    fn clock(&self) -> Result<Timestamp> {
        Ok(self.store.as_ref().map_or_else(Timestamp::now, EmbeddedStore::now))
    }

    fn begin(&self, namespace: &str, metadata: &NamespaceMetadata) -> Result<()> {
        match self.store() {
            Some(store) => store.write(|tables| tables.put_metadata(namespace, metadata)),
            None => Ok(()),
        }
    }

    fn add_metadata(&self, namespace: &str, metadata: &NamespaceMetadata) -> Result<()> {
        self.begin(namespace, metadata)
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
        let Some(store) = self.store() else {
            outcome.written = records.len() as u64;
            return Ok(outcome);
        };
        records.sort_by_key(|record| record.meta.digest.sort_key());
        store.write_with(self.durability(batch.byte_len() as u64), |tables| {
            records.iter().try_for_each(|record| write_one(tables, namespace, record, policy, &mut outcome))
        })?;
        Ok(outcome)
    }

    fn delete(&self, namespace: &str, digests: &[Digest]) -> Result<DeleteOutcome> {
        if let Some(store) = self.store() {
            store.write_with(Durability::Deferred, |tables| {
                digests.iter().try_for_each(|digest| tables.delete(namespace, digest).map(|_| ()))
            })?;
        }
        Ok(DeleteOutcome { deleted: digests.len() as u64, failed: Vec::new() })
    }

    fn read_back(&self, set: Option<&[u8]>) -> Result<Option<Box<dyn RecordSource>>> {
        let Some(store) = &self.store else { return Ok(None) };
        let sets = set.map(<[u8]>::to_vec).into_iter().collect();
        let selection = RecordSelection { sets, ..RecordSelection::default() };
        Ok(Some(Selected::of(Box::new(EmbeddedSource::new(store.clone())), selection)))
    }

    fn finish(&self) -> Result<()> {
        match self.store() {
            Some(store) => store.sync(),
            None => Ok(()),
        }
    }
}
