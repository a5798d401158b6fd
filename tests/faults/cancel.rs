//! Ctrl-C, which is [`Control::stop`], at any point of a long call.

use crate::support::watching::{Asked, Watch, Watching};
use crate::support::world::*;
use aerolith::internals::objects::fence;
use aerolith::record::{NamespaceMetadata, RecordBatch, Timestamp};
use aerolith::store::MemoryStore;
use aerolith::{
    BackupKind, CheckOptions, ConflictPolicy, Control, Error, RecordOptions, RecordTarget, Remarks, RestoreOptions,
    Result, SessionOptions, SessionOutcome, SnapshotId, WriteOutcome,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Stops the backup when it is asked for this partition.
struct StopAt<'a>(&'a World, u16, Control);

impl Watch for StopAt<'_> {
    type Source = World;

    fn source(&self) -> &World {
        self.0
    }

    fn asked(&self, asked: Asked) -> Result<()> {
        if matches!(asked, Asked::Scan(partition, _) if partition.number() >= self.1) {
            self.2.stop();
        }
        Ok(())
    }
}

#[test]
fn a_stopped_backup_commits_nothing_says_so_and_stands_in_no_ones_way() {
    let first = World::filled(0..500);
    let second = first.later(0..500, 0.3, 0.1, 1);
    let repository = create(Arc::new(MemoryStore::new())).unwrap();
    back_up(&repository, &first, BackupKind::Full).unwrap();
    for kind in [BackupKind::Full, BackupKind::Incremental, BackupKind::Differential] {
        for partition in [0, 1, 1000, 4095] {
            let control = Control::new();
            let about = SessionOptions::default().cluster("memory");
            let mut session = repository.watched(&control).begin(about).unwrap();
            let source = Watching(StopAt(&second, partition, control));
            let options = RecordOptions::default().parallel(2);
            let error = match session.records(NAMESPACE, &source, kind, &options) {
                // The last partitions may have been on their way; then the commit is stopped.
                Ok(_) => refused(session.commit()),
                Err(error) => {
                    session.abandon(&error);
                    let last = repository.history().unwrap().entries.pop().unwrap();
                    assert_eq!(last.outcome(), Some(SessionOutcome::Stopped));
                    error
                }
            };
            assert!(matches!(error, Error::Cancelled), "{kind} at {partition}: {error}");
            assert_eq!(repository.snapshots().unwrap().snapshots.len(), 1);
        }
    }
    assert_whole(&repository, "latest", &first.truth(), "after stopped backups");
    assert!(check(&repository).unwrap().problems.is_empty());
    back_up(&repository, &second, BackupKind::Incremental).unwrap();
    assert_whole(&repository, "latest", &second.truth(), "after stopped backups");
}

/// Has the session of the backup fenced when it is asked for the tenth partition, and is slow from then on.
struct FencedAtTen<'a>(&'a World, &'a MemoryStore, SnapshotId, AtomicU64);

impl Watch for FencedAtTen<'_> {
    type Source = World;

    fn source(&self) -> &World {
        self.0
    }

    fn asked(&self, asked: Asked) -> Result<()> {
        match self.3.fetch_add(u64::from(matches!(asked, Asked::Scan(..))), Ordering::SeqCst) {
            10 => drop(fence(self.1, self.2)?),
            n if n > 10 => std::thread::sleep(Duration::from_millis(5)),
            _ => {}
        }
        Ok(())
    }
}

#[test]
fn a_backup_that_is_fenced_does_not_read_its_source_to_the_end() {
    let world = World::filled(0..500);
    let disk = Arc::new(MemoryStore::new());
    let repository = create(disk.clone()).unwrap();
    let about = SessionOptions::default().cluster("memory").lease(Duration::from_secs(1));
    let mut session = repository.begin(about).unwrap();
    let source = Watching(FencedAtTen(&world, &disk, session.id(), AtomicU64::new(0)));
    let error =
        refused(session.records(NAMESPACE, &source, BackupKind::Full, &RecordOptions::default().parallel(1)).map(drop));
    let id = session.id().to_string();
    assert!(matches!(&error, Error::Fenced { session } if *session == id), "{error}");
    let asked = source.0.3.load(Ordering::SeqCst);
    assert!(asked < 2000, "{asked} partitions were read");
    session.abandon(&error);
    let last = repository.history().unwrap().entries.pop().unwrap();
    assert!(matches!(last.outcome(), Some(SessionOutcome::Failed(reason)) if reason.contains("was fenced")));
}

/// Stops the restore at its n-th batch.
struct StopTarget(MemoryTarget, AtomicU64, Control);

impl RecordTarget for StopTarget {
    fn name(&self) -> &str {
        "memory"
    }
    fn is_live(&self) -> bool {
        false
    }
    fn clock(&self) -> Result<Timestamp> {
        Ok(Timestamp(0))
    }
    fn begin(&self, namespace: &str, metadata: &NamespaceMetadata) -> Result<Remarks> {
        self.0.begin(namespace, metadata)
    }
    fn write(&self, namespace: &str, batch: &RecordBatch, policy: ConflictPolicy) -> Result<WriteOutcome> {
        if self.1.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.2.stop();
        }
        self.0.write(namespace, batch, policy)
    }
    fn finish(&self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_stopped_restore_or_check_ends_soon_and_says_so() {
    let world = World::filled(0..20_000);
    let repository = create(Arc::new(MemoryStore::new())).unwrap();
    let snapshot = back_up(&repository, &world, BackupKind::Full).unwrap();
    for n in [1, 2, 4] {
        let control = Control::new();
        let target = StopTarget(MemoryTarget::default(), AtomicU64::new(n), control.clone());
        let error = refused(snapshot.watched(&control).restore(NAMESPACE, &target, &RestoreOptions::default()));
        assert!(matches!(error, Error::Cancelled), "batch {n}: {error}");
        let records = target.0.records.into_inner().unwrap();
        assert!(records.len() < 20_000 && is_part_of(&records, &world.truth()));
    }
    let control = Control::new();
    control.stop();
    let error = refused(repository.watched(&control).check(&CheckOptions::default().read_percent(100.0)));
    assert!(matches!(error, Error::Cancelled), "{error}");
}
