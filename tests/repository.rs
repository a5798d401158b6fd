//! Backups and restores through the library: real `.asb` files and the embedded store, proved record by record.

use aerolith::embedded::{EmbeddedStore, Key, sample};
use aerolith::format::header::Class;
use aerolith::format::names;
use aerolith::internals::run::RunCursor;
use aerolith::record::{PartitionId, RecordBatch};
use aerolith::store::{CountingStore, MemoryStore, Store};
use aerolith::{
    BackupKind, CheckOptions, CreateOptions, EmbeddedSource, EmbeddedTarget, Error, KdfCost, PartitionedSource,
    RecordOptions, RecordSource, RecordTarget, Repository, RestoreOptions, Result, SessionOptions, Snapshot,
};
use std::sync::Arc;

const NAMESPACE: &str = "test";

fn options() -> CreateOptions {
    CreateOptions::default().cost(KdfCost::WEAK)
}

fn repository() -> (Arc<MemoryStore>, Repository) {
    let store = Arc::new(MemoryStore::new());
    let repository = Repository::create(store.clone(), b"secret", &options()).unwrap();
    (store, repository)
}

fn back_up(repository: &Repository, source: &dyn RecordSource, namespace: &str, kind: BackupKind) -> Result<Snapshot> {
    let about =
        SessionOptions::default().source(source.name().to_string()).cluster(source.cluster().unwrap_or_default());
    let mut session = repository.begin(about)?;
    session.records(namespace, source, kind, &RecordOptions::default())?;
    session.commit()
}

type Truth = Vec<([u8; 20], Vec<u8>, u32, Vec<u8>)>;

fn truth(store: &EmbeddedStore) -> Truth {
    let source = EmbeddedSource::new(store.clone());
    let mut all = Truth::new();
    for partition in PartitionId::all() {
        let scanned = source.scan(NAMESPACE, partition, None, &mut |batch: RecordBatch| {
            all.extend(batch.iter().map(|record| {
                let meta = record.meta;
                (meta.digest.0, meta.set.to_vec(), meta.void_time.0, record.body.to_vec())
            }));
            Ok(())
        });
        scanned.unwrap();
    }
    all.sort();
    all
}

fn restored(snapshot: &Snapshot, directory: &std::path::Path) -> Truth {
    let store = EmbeddedStore::create(directory).unwrap();
    let target = EmbeddedTarget::new(store.clone());
    let report = snapshot.restore(NAMESPACE, &target, &RestoreOptions::default()).unwrap();
    target.finish().unwrap();
    assert!(report.adds_up() && report.failed == 0, "{report:?}");
    truth(&store)
}

fn days(live: &EmbeddedStore, seed: u64) {
    quiet_days(live, seed);
    sample::touch(live, NAMESPACE, 0..3000, 0.02, seed).unwrap();
}

/// The same without touched records.
fn quiet_days(live: &EmbeddedStore, seed: u64) {
    sample::change(live, NAMESPACE, 0..3000, 0.05, seed).unwrap();
    sample::delete(live, NAMESPACE, 0..3000, 0.01, seed).unwrap();
}

#[test]
fn every_kind_of_backup_restores_what_the_source_held_deletes_included() {
    let directory = tempfile::tempdir().unwrap();
    let live = EmbeddedStore::create(directory.path().join("live")).unwrap();
    sample::fill(&live, NAMESPACE, 0..3000).unwrap();
    let (_, repository) = repository();
    let source = EmbeddedSource::new(live.clone());
    let mut taken = Vec::new();
    let kinds = [BackupKind::Full, BackupKind::Incremental, BackupKind::Differential, BackupKind::Full];
    for (seed, kind) in (1..).zip(kinds) {
        let snapshot = back_up(&repository, &source, NAMESPACE, kind).unwrap();
        taken.push((snapshot.id(), truth(&live)));
        days(&live, seed);
    }
    for (n, (id, truth)) in taken.iter().enumerate() {
        let snapshot = repository.snapshot(&id.to_string()).unwrap();
        assert_eq!(restored(&snapshot, &directory.path().join(format!("out{n}"))), *truth, "snapshot {n}");
    }
}

#[test]
fn incrementals_have_the_state_hash_of_a_full_backup_through_merges_and_moves() {
    // A touched record's new entry keeps its value's chunk in use: all runs are merged then.
    let (merged, _) = live_through(30, days);
    assert!(merged > 0, "no merge moved a value");
    let (merged, beside) = live_through(40, quiet_days);
    assert!(merged > 1 && beside > 0, "{merged} merges, {beside} of them of the oldest runs alone");
}

/// Backs up so many days and proves what comes of it; gives back how many merges moved values, and how many of them
/// left newer runs as they were.
fn live_through(count: u64, pass: fn(&EmbeddedStore, u64)) -> (u32, u32) {
    let directory = tempfile::tempdir().unwrap();
    let live = EmbeddedStore::create(directory.path().join("live")).unwrap();
    sample::fill(&live, NAMESPACE, 0..3000).unwrap();
    let source = EmbeddedSource::new(live.clone());
    let (_, repository) = repository();
    back_up(&repository, &source, NAMESPACE, BackupKind::Full).unwrap();
    let (mut merged, mut beside, mut before) = (0, 0, 1);
    for day in 1..=count {
        pass(&live, day);
        let snapshot = back_up(&repository, &source, NAMESPACE, BackupKind::Incremental).unwrap();
        let manifest = snapshot.namespace(NAMESPACE).unwrap().manifest().clone();
        merged += u32::from(manifest.counts.moved > 0);
        // Newer runs than those that were merged stay.
        beside += u32::from(manifest.counts.moved > 0 && manifest.runs.len() > 1);
        let about = format!("day {day}: {manifest:?}");
        assert!(manifest.reached_bytes < 2 * manifest.live_bytes, "{about}");
        assert!(manifest.runs.len() <= before + 1 && manifest.runs.len() <= 33, "{about}");
        let entries: u64 = manifest.runs.iter().map(|run| run.entries).sum();
        assert!(entries <= 2 * manifest.live_records + manifest.live_records / 10, "{about}");
        before = manifest.runs.len();
        // There is nothing below the oldest run that an entry without a record could hide.
        let mut oldest = RunCursor::new(snapshot.chunks().unwrap(), manifest.runs.last().unwrap()).unwrap();
        while let Some(entry) = oldest.next().unwrap() {
            assert!(entry.live.is_some(), "a deletion in the oldest run on {about}");
        }
        // What the manifest says of the value chunks is what a walk finds.
        let (mut values, chunks) = (0, snapshot.chunks().unwrap().clone());
        let each = &mut |id, class| {
            let place = chunks.locate(&id).unwrap()[0].place;
            values += if class == Class::Data { u64::from(place.plain) } else { 0 };
        };
        snapshot.reach(&mut Default::default(), each).unwrap();
        assert!(values <= manifest.reached_bytes, "{values} bytes are referred to on {about}");
    }
    let last = repository.snapshot("latest").unwrap();
    let hash = last.namespace(NAMESPACE).unwrap().manifest().state_hash;
    assert_eq!(restored(&last, &directory.path().join("out")), truth(&live));
    // With the same master key, a fresh full backup of the same content must come to the same hash.
    let full = back_up(&repository, &source, NAMESPACE, BackupKind::Full).unwrap();
    assert_eq!(full.namespace(NAMESPACE).unwrap().manifest().state_hash, hash);
    assert_eq!(
        full.namespace(NAMESPACE)
            .unwrap()
            .state_sums(repository.keys())
            .unwrap()
            .hash(repository.keys().states().unwrap()),
        hash
    );
    (merged, beside)
}

#[test]
fn many_small_runs_become_few_while_the_oldest_stays_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let live = EmbeddedStore::create(directory.path().join("live")).unwrap();
    sample::fill(&live, NAMESPACE, 0..3000).unwrap();
    let source = EmbeddedSource::new(live.clone());
    let (_, repository) = repository();
    let first = back_up(&repository, &source, NAMESPACE, BackupKind::Full).unwrap();
    let oldest = first.namespace(NAMESPACE).unwrap().manifest().runs[0];
    let (mut most, mut merges) = (0, 0);
    for day in 0..80 {
        // One record comes and goes, others go for good.
        let passing = live.put(NAMESPACE, b"passing", &Key::from(1), &[], 0).unwrap();
        if day % 2 == 0 {
            live.delete(NAMESPACE, &passing).unwrap();
        }
        live.delete(NAMESPACE, &sample::digest_of(day)).unwrap();
        live.advance_clock(60_000);
        let snapshot = back_up(&repository, &source, NAMESPACE, BackupKind::Incremental).unwrap();
        live.advance_clock(60_000);
        let runs = &snapshot.namespace(NAMESPACE).unwrap().manifest().runs;
        assert_eq!(runs.last(), Some(&oldest), "day {day}");
        if runs.len() <= most {
            merges += 1;
            // What newer runs hide in older ones is still hidden.
            let merged = snapshot.namespace(NAMESPACE).unwrap();
            let hash = merged.state_sums(repository.keys()).unwrap().hash(repository.keys().states().unwrap());
            assert_eq!(hash, merged.manifest().state_hash, "day {day}");
        }
        most = runs.len();
        assert!(most <= 33, "{most} runs");
    }
    assert!(merges > 1, "{merges} merges");
    let last = repository.snapshot("latest").unwrap();
    assert_eq!(restored(&last, &directory.path().join("out")), truth(&live));
    let hash = last.namespace(NAMESPACE).unwrap().manifest().state_hash;
    let full = back_up(&repository, &source, NAMESPACE, BackupKind::Full).unwrap();
    assert_eq!(full.namespace(NAMESPACE).unwrap().manifest().state_hash, hash);
}

#[test]
fn one_record_out_of_many_runs_takes_a_node_and_a_leaf_of_each() {
    const RECORDS: u64 = 60_000;
    let directory = tempfile::tempdir().unwrap();
    let live = EmbeddedStore::create(directory.path().join("live")).unwrap();
    sample::fill(&live, NAMESPACE, 0..RECORDS).unwrap();
    let source = EmbeddedSource::new(live.clone());
    let (store, repository) = repository();
    back_up(&repository, &source, NAMESPACE, BackupKind::Full).unwrap();
    for day in 1..=4 {
        sample::change(&live, NAMESPACE, 0..RECORDS, 0.1, day).unwrap();
        back_up(&repository, &source, NAMESPACE, BackupKind::Incremental).unwrap();
    }
    let never = |index: &u64| (1..=4).all(|day| !sample::is_picked(*index, day, 0.1));
    let (mut most, mut all, mut asked) = (0, 0, 0);
    for index in (0..RECORDS).filter(never).step_by(1000) {
        let counting = Arc::new(CountingStore::new(store.clone()));
        let snapshot = Repository::open(counting.clone(), b"secret").unwrap().snapshot("latest").unwrap();
        assert_eq!(snapshot.namespace(NAMESPACE).unwrap().manifest().runs.len(), 5);
        let before = counting.counts();
        assert!(snapshot.namespace(NAMESPACE).unwrap().get(&sample::digest_of(index)).unwrap().is_some());
        let read = (counting.counts() - before).bytes_read();
        (most, all, asked) = (most.max(read), all + read, asked + 1);
    }
    // Of each run a root, a node, a leaf of some 270 entries and their rows of the index; and a value chunk.
    let value = 100_000;
    assert!(all / asked < 5 * 25_000 + value / 2, "{} bytes on average", all / asked);
    assert!(most < 5 * 40_000 + value, "{most} bytes");
    println!("{} bytes on average, {most} at most", all / asked);
}

#[test]
fn a_lost_index_costs_nothing_and_the_next_backup_writes_it_anew() {
    let directory = tempfile::tempdir().unwrap();
    let live = EmbeddedStore::create(directory.path().join("live")).unwrap();
    sample::fill(&live, NAMESPACE, 0..500).unwrap();
    let (store, repository) = repository();
    let source = EmbeddedSource::new(live.clone());
    back_up(&repository, &source, NAMESPACE, BackupKind::Full).unwrap();
    for object in store.list(names::INDEX).unwrap() {
        store.delete(&object.key).unwrap();
    }
    let snapshot = repository.snapshot("latest").unwrap();
    assert_eq!(restored(&snapshot, &directory.path().join("out1")), truth(&live));
    back_up(&repository, &source, NAMESPACE, BackupKind::Full).unwrap();
    assert!(!store.list(names::INDEX).unwrap().is_empty());
    let snapshot = repository.snapshot("latest").unwrap();
    assert_eq!(restored(&snapshot, &directory.path().join("out2")), truth(&live));
}

#[test]
fn a_full_backup_heals_what_a_lost_pack_took_and_check_names_the_snapshots_that_are_hurt() {
    let directory = tempfile::tempdir().unwrap();
    let live = EmbeddedStore::create(directory.path().join("live")).unwrap();
    sample::fill(&live, NAMESPACE, 0..2000).unwrap();
    let (store, repository) = repository();
    let source = EmbeddedSource::new(live.clone());
    back_up(&repository, &source, NAMESPACE, BackupKind::Full).unwrap();
    let clean = repository.check(&CheckOptions::default().read_percent(100.0)).unwrap();
    assert!(clean.problems.is_empty() && clean.chunks == clean.chunks_read, "{clean:?}");
    let packs = store.list(names::PACKS).unwrap();
    let largest = packs.iter().max_by_key(|pack| pack.size).unwrap();
    store.delete(&largest.key).unwrap();
    let report = repository.check(&CheckOptions::default()).unwrap();
    assert_eq!(report.hurt.len(), 1, "{report:?}");
    let healed = back_up(&repository, &source, NAMESPACE, BackupKind::Full).unwrap();
    assert!(healed.namespace(NAMESPACE).unwrap().manifest().counts.healed > 0);
    assert_eq!(restored(&healed, &directory.path().join("out")), truth(&live));
}

#[test]
fn refuses_a_wrong_passphrase_and_to_remove_the_last_way_in() {
    let (store, repository) = repository();
    let opened = Repository::open(store.clone(), b"wrong");
    assert!(matches!(opened, Err(Error::WrongPassphrase { slots: 1, .. })), "{opened:?}");
    let first = repository.key_list(b"secret").unwrap().remove(0).id;
    assert!(repository.key_remove(&first).is_err());
    repository.key_add(b"other", "second", KdfCost::WEAK).unwrap();
    repository.key_remove(&first).unwrap();
    assert!(Repository::open(store.clone(), b"secret").is_err());
    Repository::open(store, b"other").unwrap();
}

#[test]
fn a_namespace_is_backed_up_once_in_a_session() {
    let directory = tempfile::tempdir().unwrap();
    let live = EmbeddedStore::create(directory.path().join("live")).unwrap();
    sample::fill(&live, NAMESPACE, 0..50).unwrap();
    let (_, repository) = repository();
    let source = EmbeddedSource::new(live);
    let mut session = repository.begin(SessionOptions::default()).unwrap();
    session.records(NAMESPACE, &source, BackupKind::Full, &RecordOptions::default()).unwrap();
    let again = session.records(NAMESPACE, &source, BackupKind::Full, &RecordOptions::default());
    assert!(again.unwrap_err().to_string().contains("already"));
    assert_eq!(session.commit().unwrap().manifest().namespaces.len(), 1);
}
