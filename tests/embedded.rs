//! The embedded store, its source and its target, seen from outside.

use aerolith::embedded::{Bin, Durability, EmbeddedStore, Key, StoreOptions, sample};
use aerolith::record::{
    Digest, Generation, NamespaceMetadata, PARTITIONS, ParticleType, PartitionId, RecordBatch, RecordMeta,
    SecondaryIndex, Timestamp, UdfModule, VoidTime,
};
use aerolith::{
    ConflictPolicy, EmbeddedSource, EmbeddedTarget, Error, PartitionedSource, RecordSource, RecordTarget, Result,
    SourceShape,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use tempfile::TempDir;

const START: Timestamp = Timestamp(1_800_000_000_000);
const DAY: u64 = 86_400_000;

fn store() -> (TempDir, EmbeddedStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::create(dir.path().join("store")).unwrap();
    store.set_clock(Some(START));
    (dir, store)
}

fn path(dir: &TempDir) -> PathBuf {
    dir.path().join("store")
}

fn put(store: &EmbeddedStore, key: &str, value: i64) -> Digest {
    store.put("test", b"users", &Key::from(key), &[Bin::integer("n", value)], 0).unwrap()
}

fn generation(store: &EmbeddedStore, digest: &Digest) -> Option<u32> {
    store.get_by_digest("test", digest).unwrap().map(|record| record.generation.0)
}

fn scan(source: &dyn PartitionedSource, since: Option<Timestamp>) -> Vec<Digest> {
    let mut digests = Vec::new();
    for partition in PartitionId::all() {
        let each = &mut |batch: RecordBatch| {
            assert!(!batch.is_empty());
            digests.extend(batch.iter().map(|record| record.meta.digest));
            Ok(())
        };
        source.scan("test", partition, since, each).unwrap();
    }
    digests
}

fn since(store: &EmbeddedStore, time: Timestamp) -> BTreeSet<Digest> {
    scan(&EmbeddedSource::new(store.clone()), Some(time)).into_iter().collect()
}

fn walk(source: &dyn PartitionedSource) -> BTreeMap<Digest, (Generation, VoidTime)> {
    let mut rows = BTreeMap::new();
    for partition in PartitionId::all() {
        source
            .walk("test", partition, None, &mut |heads| {
                rows.extend(heads.iter().map(|head| (head.digest, (head.generation, head.void_time))));
                Ok(())
            })
            .unwrap();
    }
    rows
}

#[test]
fn counts_generations_from_one_and_starts_again_after_a_delete() {
    let (_dir, store) = store();
    let digest = put(&store, "a", 1);
    assert_eq!(generation(&store, &digest), Some(1));
    put(&store, "a", 2);
    assert_eq!(store.touch("test", &digest, 0).unwrap(), Some(Generation(3)));
    assert!(store.delete("test", &digest).unwrap());
    assert!(!store.delete("test", &digest).unwrap());
    assert_eq!(generation(&store, &digest), None);
    assert_eq!(store.touch("test", &digest, 0).unwrap(), None);
    put(&store, "a", 3);
    assert_eq!(generation(&store, &digest), Some(1));
}

#[test]
fn wraps_generations_from_65535_to_one() {
    let (_dir, store) = store();
    for (kept, next) in [(65_534, 65_535), (65_535, 1), (70_000, 1), (0, 1)] {
        let mut batch = RecordBatch::new();
        let meta = RecordMeta {
            digest: Key::from("a").digest(b"users"),
            set: b"users",
            generation: Generation(kept),
            void_time: VoidTime::NEVER,
        };
        batch.push(meta, None, &[]).unwrap();
        store.write(|tables| tables.put_record("test", &batch.get(0).unwrap())).unwrap();
        assert_eq!(generation(&store, &meta.digest), Some(kept));
        put(&store, "a", 1);
        assert_eq!(generation(&store, &meta.digest), Some(next));
    }
}

#[test]
fn hides_a_record_from_the_second_in_which_it_expires() {
    let (_dir, store) = store();
    let key = Key::from("short");
    let digest = store.put("test", b"users", &key, &[Bin::integer("n", 1)], 10).unwrap();
    let stays = put(&store, "stays", 1);
    assert_eq!(
        store.get("test", b"users", &key).unwrap().unwrap().void_time.timestamp(),
        Some(Timestamp(START.0 + 10_000))
    );
    store.advance_clock(9_999);
    let source = EmbeddedSource::new(store.clone());
    assert_eq!(walk(&source).len(), 2);
    store.advance_clock(1);
    assert_eq!(store.get_by_digest("test", &digest).unwrap(), None);
    assert_eq!(walk(&source).into_keys().collect::<Vec<_>>(), [stays]);
    assert_eq!(scan(&source, None), [stays]);
    assert_eq!(scan(&source, Some(START)), [stays]);
    assert_eq!(store.count("test", None).unwrap(), 1);
    // It is no longer there to be touched, deleted or counted up from.
    assert_eq!(store.touch("test", &digest, 0).unwrap(), None);
    assert_eq!(store.purge_expired().unwrap(), 1);
    assert_eq!(store.purge_expired().unwrap(), 0);
    store.put("test", b"users", &key, &[], 0).unwrap();
    assert_eq!(generation(&store, &digest), Some(1));
}

#[test]
fn counts_a_write_over_an_expired_record_as_the_first() {
    let (_dir, store) = store();
    let key = Key::from(7);
    for _ in 0..3 {
        store.put("test", b"users", &key, &[], 1).unwrap();
    }
    store.advance_clock(1000);
    store.put("test", b"users", &key, &[], 0).unwrap();
    assert_eq!(generation(&store, &key.digest(b"users")), Some(1));
}

#[test]
fn lives_through_thirty_days() {
    let (_dir, store) = store();
    sample::fill(&store, "test", 0..1000).unwrap();
    assert_eq!(store.count("test", None).unwrap(), 1000);
    store.advance_clock(29 * DAY);
    assert_eq!(store.count("test", None).unwrap(), 1000);
    store.advance_clock(DAY);
    assert_eq!(store.count("test", None).unwrap(), 900);
    assert_eq!(store.purge_expired().unwrap(), 100);
}

#[test]
fn scans_each_partition_in_digest_order_and_all_of_them_once() {
    let (_dir, store) = store();
    sample::fill(&store, "test", 0..5000).unwrap();
    sample::fill(&store, "other", 0..10).unwrap();
    let digests = scan(&EmbeddedSource::new(store), None);
    assert_eq!(digests.len(), 5000);
    assert!(digests.windows(2).all(|pair| pair[0].sort_key() < pair[1].sort_key()));
    let expected: BTreeSet<Digest> = (0..5000).map(sample::digest_of).collect();
    assert_eq!(digests.into_iter().collect::<BTreeSet<_>>(), expected);
}

#[test]
fn finds_what_was_written_or_touched_at_or_after_a_time() {
    let (_dir, store) = store();
    let old = put(&store, "old", 1);
    let touched = put(&store, "touched", 1);
    store.advance_clock(1000);
    let at = store.now();
    let new = put(&store, "new", 1);
    store.touch("test", &touched, 60).unwrap();
    assert_eq!(since(&store, at), BTreeSet::from([new, touched]));
    assert_eq!(since(&store, Timestamp(at.0 + 1)), BTreeSet::new());
    assert_eq!(since(&store, START), BTreeSet::from([old, new, touched]));
}

#[test]
fn last_updates_never_go_backwards_though_the_clock_does() {
    let (dir, store) = store();
    put(&store, "a", 1);
    let back = Some(Timestamp(START.0 - 5000));
    store.set_clock(back);
    let since_then = EmbeddedSource::new(store.clone()).clock().unwrap();
    let digest = put(&store, "a", 2);
    assert_eq!(store.get_by_digest("test", &digest).unwrap().unwrap().last_update, Timestamp(START.0 + 1));
    assert_eq!(since(&store, since_then), BTreeSet::from([digest]));
    // The file keeps it: another process goes on from there.
    drop(store);
    let store = EmbeddedStore::open(dir.path().join("store")).unwrap();
    store.set_clock(back);
    let again = put(&store, "b", 1);
    assert_eq!(store.get_by_digest("test", &again).unwrap().unwrap().last_update, Timestamp(START.0 + 2));
}

/// A record that is deleted and rewritten begins with generation 1 again, so only its last update tells it from the
/// old one.
#[test]
fn an_incremental_backup_finds_what_was_written_anew_while_the_clock_was_set_back() {
    use aerolith::{BackupKind, CreateOptions, RecordOptions, Repository, SessionOptions};
    let (_dir, store) = store();
    let digest = put(&store, "a", 1);
    let memory = std::sync::Arc::new(aerolith::store::MemoryStore::new());
    let repository = Repository::create(memory, b"x", &CreateOptions::default()).unwrap();
    let backup = |kind| {
        let mut session = repository.begin(SessionOptions::default()).unwrap();
        session.records("test", &EmbeddedSource::new(store.clone()), kind, &RecordOptions::default()).unwrap();
        session.commit().unwrap()
    };
    backup(BackupKind::Full);
    store.set_clock(Some(Timestamp(START.0 - 60_000)));
    store.delete("test", &digest).unwrap();
    put(&store, "a", 2);
    let snapshot = backup(BackupKind::Incremental);
    let record = snapshot.namespace("test").unwrap().get(&digest).unwrap().unwrap();
    assert_eq!(record.parse().unwrap().bins()[0].bytes, 2i64.to_be_bytes());
}

#[test]
fn never_tells_a_time_after_which_an_open_transaction_could_write() {
    let (_dir, store) = store();
    let source = EmbeddedSource::new(store.clone());
    let noted = store
        .write(|tables| {
            tables.put("test", b"users", Key::from("a").as_ref(), &[], 0)?;
            store.advance_clock(60_000);
            assert_eq!(scan(&source, None), []);
            source.clock()
        })
        .unwrap();
    assert_eq!(scan(&source, Some(noted)).len(), 1);
    assert_eq!(source.clock().unwrap(), Timestamp(START.0 + 60_000));
}

#[test]
fn reads_by_digest_and_leaves_out_what_is_gone() {
    let (_dir, store) = store();
    let (a, b) = (put(&store, "a", 1), put(&store, "b", 2));
    let gone = Key::from("c").digest(b"users");
    let mut read = Vec::new();
    EmbeddedSource::new(store)
        .read("test", &[b, gone, a], &mut |batch| {
            read.extend(batch.iter().map(|record| record.meta.digest));
            Ok(())
        })
        .unwrap();
    assert_eq!(read, [b, a]);
}

#[test]
fn sees_newer_data_with_each_call_unless_frozen() {
    let (_dir, store) = store();
    put(&store, "a", 1);
    let (live, frozen) = (EmbeddedSource::new(store.clone()), EmbeddedSource::frozen(store.clone()).unwrap());
    store.advance_clock(1000);
    let late = put(&store, "b", 1);
    store.truncate("test", None).unwrap();
    put(&store, "b", 1);
    assert_eq!(scan(&live, None), [late]);
    assert_eq!((scan(&frozen, None).len(), walk(&frozen).len()), (1, 1));
    assert!(scan(&frozen, None) != [late]);
    assert_eq!(frozen.clock().unwrap(), START);
}

#[test]
fn a_transaction_that_fails_leaves_nothing() {
    let (_dir, store) = store();
    let failed: Result<()> = store.write(|tables| {
        tables.put("test", b"users", Key::from("a").as_ref(), &[], 0)?;
        Err(Error::Cancelled)
    });
    assert!(matches!(failed, Err(Error::Cancelled)));
    assert_eq!(store.namespaces().unwrap(), Vec::<String>::new());
    put(&store, "b", 1);
    assert_eq!(store.count("test", None).unwrap(), 1);
}

/// What a crash at this moment would leave: the file as it is, opened elsewhere.
fn count_after_a_crash(dir: &TempDir) -> u64 {
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(path(dir).join("store.redb"), copy.path().join("store.redb")).unwrap();
    EmbeddedStore::open(copy.path()).unwrap().count("test", None).unwrap()
}

#[test]
fn a_crash_takes_nothing_that_was_synced_and_deferred_writes_as_a_whole() {
    let (dir, store) = store();
    sample::fill(&store, "test", 0..500).unwrap();
    assert_eq!(count_after_a_crash(&dir), 500);
    let more: Vec<_> = (500..900).map(|index| sample::record(index, 0)).collect();
    store.write_with(Durability::Deferred, |tables| tables.put_many("test", &more)).unwrap();
    assert_eq!(store.count("test", None).unwrap(), 900);
    assert_eq!(count_after_a_crash(&dir), 500);
    store
        .write(|tables| {
            tables.truncate("test", None)?;
            assert_eq!(count_after_a_crash(&dir), 500);
            tables.put_many("test", &more)
        })
        .unwrap();
    assert_eq!(count_after_a_crash(&dir), 400);
    store.write_with(Durability::Deferred, |tables| tables.truncate("test", None)).unwrap();
    store.sync().unwrap();
    assert_eq!(count_after_a_crash(&dir), 0);
}

#[test]
fn truncates_one_set_and_leaves_the_others() {
    let (_dir, store) = store();
    sample::fill(&store, "test", 0..100).unwrap();
    assert_eq!(store.count("test", Some(b"orders")).unwrap(), 30);
    assert_eq!(store.truncate("test", Some(b"orders")).unwrap(), 30);
    assert_eq!(store.truncate("test", Some(b"no such set")).unwrap(), 0);
    assert_eq!(store.count("test", None).unwrap(), 70);
    assert_eq!(store.truncate("test", None).unwrap(), 70);
    assert_eq!(store.namespaces().unwrap(), ["test"]);
}

#[test]
fn keeps_everything_over_a_reopening() {
    let (dir, store) = store();
    let digest = put(&store, "a", 5);
    let index =
        SecondaryIndex { name: b"by_n".to_vec(), bin: b"n".to_vec(), kind: b'N', value: b'N', ..Default::default() };
    let udf = UdfModule { kind: b'L', name: b"x.lua".to_vec(), content: b"\xffcode".to_vec() };
    store.put_index("test", index.clone()).unwrap();
    store.put_index("test", index.clone()).unwrap();
    store.put_udf("test", udf.clone()).unwrap();
    let (before, cluster) = (store.get_by_digest("test", &digest).unwrap(), store.cluster().to_owned());
    drop(store);
    let store = EmbeddedStore::open(path(&dir)).unwrap();
    assert_eq!(store.get_by_digest("test", &digest).unwrap(), before);
    assert_eq!(
        store.metadata("test").unwrap(),
        NamespaceMetadata { indexes: vec![index], udfs: vec![udf], ..NamespaceMetadata::default() }
    );
    assert_eq!(store.cluster(), cluster);
    assert!(cluster.starts_with("embedded-") && cluster.len() == 17, "{cluster}");
}

#[test]
fn bears_the_cluster_name_that_it_was_given() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions::default().cluster("berlin".to_string());
    let store = EmbeddedStore::create_with(path(&dir), &options).unwrap();
    let source = EmbeddedSource::new(store);
    assert_eq!(source.cluster().as_deref(), Some("berlin"));
    assert_eq!(source.name(), format!("embedded:{}", path(&dir).display()));
    assert!(matches!(source.shape(), SourceShape::Partitioned(_)));
}

#[test]
fn says_what_it_found_where_a_store_should_be() {
    let dir = tempfile::tempdir().unwrap();
    let message = |path: PathBuf| EmbeddedStore::open(path).unwrap_err().to_string();
    assert!(message(dir.path().join("nowhere")).contains("doesn't exist"));
    assert!(message(dir.path().to_owned()).contains("no file store.redb"));
    let file = dir.path().join("store.redb");
    std::fs::write(&file, b"some text that is no database, but longer than a header would be").unwrap();
    assert!(message(file.clone()).contains("is a file"), "{}", message(file.clone()));
    let text = message(dir.path().to_owned());
    assert!(text.contains("not an embedded store") && text.contains("store.redb"), "{text}");
    std::fs::remove_file(&file).unwrap();
    drop(redb::Database::create(&file).unwrap());
    let text = message(dir.path().to_owned());
    assert!(text.contains("not an embedded store"), "{text}");
    std::fs::write(dir.path().join("mine.txt"), b"keep").unwrap();
    std::fs::remove_file(&file).unwrap();
    let text = EmbeddedStore::create(dir.path()).unwrap_err().to_string();
    assert!(text.contains("not empty") && text.contains("mine.txt"), "{text}");
}

#[test]
fn refuses_to_open_or_create_a_store_twice() {
    let (dir, store) = store();
    let text = EmbeddedStore::open(path(&dir)).unwrap_err().to_string();
    assert!(text.contains("already open"), "{text}");
    assert!(EmbeddedStore::create(path(&dir)).unwrap_err().to_string().contains("already holds"));
    drop(store);
    EmbeddedStore::open(path(&dir)).unwrap();
}

/// Opens the store and reads all of it.
fn read_all(dir: &TempDir) -> Result<()> {
    let store = EmbeddedStore::open(path(dir))?;
    let source = EmbeddedSource::new(store);
    for namespace in source.namespaces()? {
        source.metadata(&namespace)?;
        for partition in PartitionId::all() {
            source.scan(&namespace, partition, None, &mut |_| Ok(()))?;
            source.walk(&namespace, partition, None, &mut |_| Ok(()))?;
        }
    }
    Ok(())
}

#[test]
fn reports_a_damaged_or_cut_off_file_without_a_panic() {
    let (dir, store) = store();
    sample::fill(&store, "test", 0..300).unwrap();
    drop(store);
    read_all(&dir).unwrap();
    let file = path(&dir).join("store.redb");
    let whole = std::fs::read(&file).unwrap();
    let mut found = 0;
    let places = (0..4096).step_by(193).chain((4096..whole.len()).step_by(whole.len() / 25));
    for place in places {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x55;
        std::fs::write(&file, &damaged).unwrap();
        if let Err(error) = read_all(&dir) {
            assert!(error.to_string().contains("store.redb"), "{error}");
            found += 1;
        }
    }
    assert!(found > 5, "only {found} damages were found");
    for length in [0, 1, 63, 4096, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&file, &whole[..length]).unwrap();
        let error = read_all(&dir).unwrap_err();
        assert!(error.to_string().contains("store.redb"), "{length} bytes: {error}");
    }
}

fn batch_of(value: u8, generation: u32, digests: &[Digest]) -> RecordBatch {
    let mut batch = RecordBatch::new();
    for digest in digests {
        let (generation, void_time) = (Generation(generation), VoidTime::NEVER);
        let meta = RecordMeta { digest: *digest, set: b"users", generation, void_time };
        let bin = aerolith::record::BinRef { name: b"v", particle: ParticleType::BLOB, bytes: &[value] };
        batch.push(meta, None, &[bin]).unwrap();
    }
    batch
}

fn value(store: &EmbeddedStore, digest: &Digest) -> u8 {
    store.get_by_digest("test", digest).unwrap().unwrap().bins[0].bytes[0]
}

#[test]
fn restores_by_conflict_policy_and_accounts_for_every_record() {
    let (_dir, store) = store();
    let target = EmbeddedTarget::new(store.clone());
    let digests: Vec<Digest> = (0..4).map(|n| Digest([n; 20])).collect();
    target.begin("test", &NamespaceMetadata::default()).unwrap();
    let first = target.write("test", &batch_of(1, 5, &digests[..3]), ConflictPolicy::Keep).unwrap();
    assert_eq!((first.written, first.exists, first.fresher), (3, 0, 0));

    let kept = target.write("test", &batch_of(2, 9, &digests), ConflictPolicy::Keep).unwrap();
    assert_eq!((kept.written, kept.exists, kept.fresher, kept.failed.len()), (1, 3, 0, 0));
    assert_eq!(value(&store, &digests[0]), 1);

    for (generation, written, left) in [(4, 0, 1), (5, 0, 1), (6, 1, 3)] {
        let newer = target.write("test", &batch_of(3, generation, &digests[..1]), ConflictPolicy::Newer).unwrap();
        assert_eq!((newer.written, newer.fresher), (written, 1 - written), "generation {generation}");
        assert_eq!(value(&store, &digests[0]), if written == 1 { 3 } else { left });
    }

    let replaced = target.write("test", &batch_of(4, 1, &digests), ConflictPolicy::Replace).unwrap();
    assert_eq!(replaced.written, 4);
    assert_eq!((value(&store, &digests[0]), generation(&store, &digests[0])), (4, Some(1)));
    target.finish().unwrap();
}

#[test]
fn an_expired_record_is_no_conflict() {
    let (_dir, store) = store();
    let digest = store.put("test", b"users", &Key::from("a"), &[], 1).unwrap();
    store.advance_clock(1000);
    let target = EmbeddedTarget::new(store.clone());
    let outcome = target.write("test", &batch_of(9, 1, &[digest]), ConflictPolicy::Keep).unwrap();
    assert_eq!((outcome.written, outcome.exists), (1, 0));
    assert_eq!(value(&store, &digest), 9);
}

#[test]
fn a_body_that_is_none_fails_alone() {
    let (_dir, store) = store();
    let mut batch = batch_of(1, 1, &[Digest([1; 20])]);
    let meta = RecordMeta { digest: Digest([2; 20]), ..batch.get(0).unwrap().meta };
    let (set, meta) = (meta.set.to_vec(), meta);
    let meta = RecordMeta { set: &set, digest: meta.digest, generation: meta.generation, void_time: meta.void_time };
    batch.push_encoded(meta, b"\x00\x05nonsense", b"").unwrap();
    let outcome = EmbeddedTarget::new(store).write("test", &batch, ConflictPolicy::Replace).unwrap();
    assert_eq!((outcome.written, outcome.failed.len()), (1, 1));
    assert_eq!(outcome.failed[0].digest, Digest([2; 20]));
}

#[test]
fn a_restore_keeps_indexes_and_survives_a_reopening() {
    let (dir, store) = store();
    let index = SecondaryIndex { name: b"i".to_vec(), kind: b'N', ..Default::default() };
    let metadata = NamespaceMetadata { indexes: vec![index], ..NamespaceMetadata::default() };
    let target = EmbeddedTarget::new(store);
    target.begin("test", &metadata).unwrap();
    std::thread::scope(|scope| {
        for half in 0..2u8 {
            let target = &target;
            scope.spawn(move || {
                for n in 0..50 {
                    let batch = batch_of(half, 1, &[Digest([half * 100 + n; 20])]);
                    assert_eq!(target.write("test", &batch, ConflictPolicy::Replace).unwrap().written, 1);
                }
            });
        }
    });
    target.finish().unwrap();
    drop(target);
    let store = EmbeddedStore::open(path(&dir)).unwrap();
    assert_eq!(store.count("test", None).unwrap(), 100);
    assert_eq!(store.metadata("test").unwrap(), metadata);
}

#[test]
fn changes_touches_and_deletes_the_fractions_asked_for() {
    let (_dir, store) = store();
    sample::fill(&store, "test", 0..10_000).unwrap();
    store.advance_clock(1000);
    let at = store.now();
    let changed = sample::change(&store, "test", 0..10_000, 0.02, 1).unwrap();
    assert!((150..250).contains(&changed), "{changed}");
    assert_eq!(since(&store, at).len() as u64, changed);
    let index = (0..10_000).find(|&index| sample::is_picked(index, 1, 0.02)).unwrap();
    let record = store.get_by_digest("test", &sample::digest_of(index)).unwrap().unwrap();
    assert_eq!((record.generation, record.bins), (Generation(2), sample::bins_of(index, 1)));
    let deleted = sample::delete(&store, "test", 0..10_000, 0.01, 1).unwrap();
    assert_eq!(store.count("test", None).unwrap(), 10_000 - deleted);
    assert!((60..140).contains(&deleted), "{deleted}");
    store.advance_clock(1000);
    let touched = sample::touch(&store, "test", 0..10_000, 0.01, 1).unwrap();
    assert_eq!(since(&store, store.now()).len() as u64, touched);
    // What is deleted stays so.
    sample::change(&store, "test", 0..10_000, 1.0, 2).unwrap();
    assert_eq!(store.count("test", None).unwrap(), 10_000 - deleted);
}

type Parts = (Vec<u8>, [u8; 20], u32, u32, Option<Vec<u8>>, Vec<(Vec<u8>, u8, Vec<u8>)>);

fn parts() -> impl Strategy<Value = Parts> {
    let bytes = |range| proptest::collection::vec(any::<u8>(), range);
    let bins = proptest::collection::hash_map(bytes(0..16), (any::<u8>(), bytes(0..60)), 0..12)
        .prop_map(|map| map.into_iter().map(|(name, (particle, bytes))| (name, particle, bytes)).collect::<Vec<_>>());
    (bytes(0..20), any::<[u8; 20]>(), any::<u32>(), any::<u32>(), proptest::option::of(bytes(0..30)), bins)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn gives_back_any_record_that_it_was_given(records in proptest::collection::vec(parts(), 1..30)) {
        let (_dir, store) = store();
        // No record expires at the epoch but those that never do.
        store.set_clock(Some(Timestamp(0)));
        let mut batch = RecordBatch::new();
        let mut digests = BTreeSet::new();
        for (set, digest, generation, void_time, key, bins) in &records {
            if !digests.insert(Digest(*digest).sort_key()) {
                continue;
            }
            let meta = RecordMeta {
                digest: Digest(*digest), set, generation: Generation(*generation), void_time: VoidTime(*void_time),
            };
            let key = key.as_ref().map(|bytes| aerolith::record::KeyRef { particle: ParticleType::BLOB, bytes });
            let bins: Vec<_> = bins.iter()
                .map(|(name, particle, bytes)| (name, ParticleType(*particle), bytes))
                .map(|(name, particle, bytes)| aerolith::record::BinRef { name, particle, bytes })
                .collect();
            batch.push(meta, key, &bins).unwrap();
        }
        EmbeddedTarget::new(store.clone()).write("test", &batch, ConflictPolicy::Replace).unwrap();
        let mut expected: Vec<_> = batch.iter().collect();
        expected.sort_by_key(|record| record.meta.digest.sort_key());
        let mut place = 0;
        let partitions: BTreeSet<PartitionId> = expected.iter().map(|record| record.meta.digest.partition()).collect();
        let source = EmbeddedSource::new(store);
        for partition in partitions {
            source.scan("test", partition, None, &mut |batch| {
                for record in batch.iter() {
                    assert_eq!(record, expected[place]);
                    place += 1;
                }
                Ok(())
            }).unwrap();
        }
        prop_assert_eq!(place, expected.len());
        prop_assert!(PARTITIONS == 4096);
    }
}
