//! Writes into an embedded store: `embedded:DIRECTORY`.

use super::partial::check_parent;
use super::{ConflictPolicy, DeleteOutcome, FailedRecord, Fate, RecordTarget, Remarks, WriteOutcome};
use crate::embedded::{Durability, EmbeddedStore, StoreOptions, Transaction};
use crate::error::Result;
use crate::record::RecordSelection;
use crate::record::{Body, Digest, NamespaceMetadata, RecordBatch, RecordView, Timestamp};
use crate::sources::embedded::EmbeddedSource;
use crate::sources::{RecordSource, Selected};
use crate::sync::lock;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Transactions are deferred until this many bytes of bodies wait for the disk.
const SYNC_EVERY_BYTES: u64 = 64 << 20;

/// An embedded store as a target.
///
/// Each batch is one transaction: readers see all of it or nothing. Batches reach the disk every 64 MiB and in
/// [`RecordTarget::finish`]; after a crash before that the restore is run again.
pub struct EmbeddedTarget {
    /// The store; none until there is one.
    store: Mutex<Option<EmbeddedStore>>,
    directory: PathBuf,
    name: String,
    waiting_bytes: AtomicU64,
}

impl EmbeddedTarget {
    /// The store in `directory`. If there is none, one is made there once something is restored into it.
    ///
    /// # Errors
    ///
    /// If the directory holds something else, its parent doesn't exist, it can't be read, or another process has the
    /// store open.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        let directory = directory.as_ref();
        let name = format!("embedded:{}", directory.display());
        let store = match EmbeddedStore::is_absent(directory)? {
            true => None,
            false => Some(EmbeddedStore::open(directory)?),
        };
        if store.is_none() && !directory.exists() {
            check_parent(directory, &name)?;
        }
        Ok(Self { store: Mutex::new(store), directory: directory.to_owned(), name, waiting_bytes: AtomicU64::new(0) })
    }

    /// Writes into a store that is open.
    pub fn new(store: EmbeddedStore) -> Self {
        let (directory, name) = (PathBuf::from(store.directory()), format!("embedded:{}", store.directory()));
        Self { store: Mutex::new(Some(store)), directory, name, waiting_bytes: AtomicU64::new(0) }
    }

    /// The store, if there is one.
    fn there(&self) -> Option<EmbeddedStore> {
        lock(&self.store).clone()
    }

    /// The store, which is made if there is none.
    fn store(&self) -> Result<EmbeddedStore> {
        let mut store = lock(&self.store);
        if let Some(store) = &*store {
            return Ok(store.clone());
        }
        // Somebody else may have made one since.
        let made = EmbeddedStore::open_or_create(&self.directory, &StoreOptions::default())?;
        Ok(store.insert(made).clone())
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

/// The records whose bodies can be read; the others are named.
fn readable<'a>(batch: &'a RecordBatch, outcome: &mut WriteOutcome) -> Vec<RecordView<'a>> {
    let mut records = Vec::with_capacity(batch.len());
    for record in batch.iter() {
        match Body::parse(record.body) {
            Ok(_) => records.push(record),
            Err(error) => {
                outcome.failed.push(FailedRecord { digest: record.meta.digest, reason: error.to_string() });
            }
        }
    }
    records
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

    fn clock(&self) -> Result<Timestamp> {
        Ok(self.there().map_or_else(Timestamp::now, |store| store.now()))
    }

    fn preview_write(&self, _namespace: &str, batch: &RecordBatch, _policy: ConflictPolicy) -> Result<WriteOutcome> {
        let mut outcome = WriteOutcome::default();
        outcome.written = readable(batch, &mut outcome).len() as u64;
        Ok(outcome)
    }

    fn begin(&self, namespace: &str, metadata: &NamespaceMetadata) -> Result<Remarks> {
        self.store()?.write(|tables| tables.put_metadata(namespace, metadata))?;
        Ok(Remarks::default())
    }

    fn add_metadata(&self, namespace: &str, metadata: &NamespaceMetadata) -> Result<Remarks> {
        self.begin(namespace, metadata)
    }

    fn write(&self, namespace: &str, batch: &RecordBatch, policy: ConflictPolicy) -> Result<WriteOutcome> {
        // What can be done without the one writer's turn is done before it. Sorted rows go in faster.
        let mut outcome = WriteOutcome::default();
        let mut records = readable(batch, &mut outcome);
        records.sort_by_key(|record| record.meta.digest.sort_key());
        self.store()?.write_with(self.durability(batch.byte_len() as u64), |tables| {
            records.iter().try_for_each(|record| write_one(tables, namespace, record, policy, &mut outcome))
        })?;
        Ok(outcome)
    }

    fn delete(&self, namespace: &str, digests: &[Digest]) -> Result<DeleteOutcome> {
        self.store()?.write_with(Durability::Deferred, |tables| {
            digests.iter().try_for_each(|digest| tables.delete(namespace, digest).map(|_| ()))
        })?;
        Ok(DeleteOutcome { deleted: digests.len() as u64, failed: Vec::new() })
    }

    fn read_back(&self, set: Option<&[u8]>) -> Result<Option<Box<dyn RecordSource>>> {
        let Some(store) = self.there() else { return Ok(None) };
        let sets = set.map(<[u8]>::to_vec).into_iter().collect();
        let selection = RecordSelection { sets, ..RecordSelection::default() };
        Ok(Some(Selected::of(Box::new(EmbeddedSource::new(store)), selection)))
    }

    fn finish(&self) -> Result<()> {
        self.store()?.sync()
    }
}
