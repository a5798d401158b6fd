//! Targets that refuse: every record is accounted for, or the error is the target's own.

use crate::support::world::*;
use aerolith::record::{NamespaceMetadata, RecordBatch, Timestamp};
use aerolith::store::MemoryStore;
use aerolith::{
    BackupKind, ConflictPolicy, Error, FailedRecord, RecordTarget, Remarks, RestoreOptions, Result, WriteOutcome,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Refuses records whose digest begins with an even byte; fails as a whole once it has taken so many batches.
struct Refusing {
    inner: MemoryTarget,
    batches: AtomicU64,
}

fn is_refused(digest: &[u8; 20]) -> bool {
    digest[0].is_multiple_of(2)
}

impl RecordTarget for Refusing {
    fn name(&self) -> &str {
        "refusing"
    }
    fn is_live(&self) -> bool {
        false
    }
    fn clock(&self) -> Result<Timestamp> {
        Ok(Timestamp(0))
    }
    fn begin(&self, namespace: &str, metadata: &NamespaceMetadata) -> Result<Remarks> {
        self.inner.begin(namespace, metadata)
    }
    fn write(&self, namespace: &str, batch: &RecordBatch, policy: ConflictPolicy) -> Result<WriteOutcome> {
        let left = self.batches.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_err() {
            return Err(Error::Target { target_name: "refusing".into(), problem: "the connection is gone".into() });
        }
        let mut taken = RecordBatch::new();
        let mut failed = Vec::new();
        for record in batch.iter() {
            if is_refused(&record.meta.digest.0) {
                failed.push(FailedRecord { digest: record.meta.digest, reason: "record too big".into() });
            } else {
                taken.push_encoded(record.meta, record.body, record.bin_order).unwrap();
            }
        }
        Ok(WriteOutcome { failed, ..self.inner.write(namespace, &taken, policy)? })
    }
    fn finish(&self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn records_that_a_target_refuses_are_counted_and_named_and_the_others_are_written() {
    let world = World::filled(0..3000);
    let repository = create(Arc::new(MemoryStore::new())).unwrap();
    let snapshot = back_up(&repository, &world, BackupKind::Full).unwrap();
    let target = Refusing { inner: MemoryTarget::default(), batches: AtomicU64::new(u64::MAX) };
    let report = snapshot.restore(NAMESPACE, &target, &RestoreOptions::default()).unwrap();
    let truth = world.truth();
    let refused = truth.keys().filter(|digest| is_refused(digest)).count() as u64;
    assert!(refused > 1000, "more than are kept by name");
    assert_eq!((report.read, report.failed, report.written), (3000, refused, 3000 - refused));
    assert!(report.adds_up() && !report.is_damaged());
    assert_eq!(report.failures.len(), 1000);
    assert_eq!(report.more_failures.iter().collect::<Vec<_>>(), [("record too big", refused - 1000)]);
    assert!(report.failures.iter().all(|failed| is_refused(&failed.digest.0) && failed.reason == "record too big"));
    let expected: Truth = truth.into_iter().filter(|(digest, _)| !is_refused(digest)).collect();
    assert!(target.inner.records.into_inner().unwrap() == expected);
}

#[test]
fn a_target_of_ones_own_gets_a_plan_without_a_word_of_its_own() {
    let world = World::filled(0..3000);
    let repository = create(Arc::new(MemoryStore::new())).unwrap();
    let snapshot = back_up(&repository, &world, BackupKind::Full).unwrap();
    let target = Refusing { inner: MemoryTarget::default(), batches: AtomicU64::new(u64::MAX) };
    let plan = snapshot.restore_plan(NAMESPACE, &target, &RestoreOptions::default()).unwrap();
    assert_eq!((plan.report().read, plan.report().written, plan.report().failed), (3000, 3000, 0));
    assert!(target.inner.records.lock().unwrap().is_empty());
    let report = plan.execute().unwrap();
    assert!(report.adds_up() && report.failed > 1000);
    assert_eq!(target.inner.records.into_inner().unwrap().len() as u64, report.written);
}

#[test]
fn a_target_that_fails_as_a_whole_ends_the_restore_with_its_own_error() {
    let world = World::filled(0..20_000);
    let repository = create(Arc::new(MemoryStore::new())).unwrap();
    let snapshot = back_up(&repository, &world, BackupKind::Full).unwrap();
    for batches in [0, 1, 3] {
        let target = Refusing { inner: MemoryTarget::default(), batches: AtomicU64::new(batches) };
        let error = refused(snapshot.restore(NAMESPACE, &target, &RestoreOptions::default()));
        assert!(matches!(error, Error::Target { .. }), "{batches}: {error}");
        assert_eq!(error.exit_code(), 1);
    }
}
