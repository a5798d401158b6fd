//! The library as a program that uses it sees it: a source of its own, typed values, and reading.

use aerolith::embedded::{EmbeddedStore, sample};
use aerolith::record::{Digest, Key, RecordSelection, SecondaryIndex, Value};
use aerolith::store::{Call, Effect, Fault, FaultStore, MemoryStore};
use aerolith::{
    AsbTarget, AsbTargetOptions, BackupKind, BoxError, Change, ConflictPolicy, CreateOptions, EmbeddedSource,
    EmbeddedTarget, Error, JsonlTarget, KdfCost, Record, RecordOptions, RecordTarget, Repository, RestoreOptions,
    Result, Selected, Selection, SessionKind, SessionOptions, SessionOutcome, Snapshot, SnapshotState, Source,
    SourceRecord,
};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const NAMESPACE: &str = "people";

/// People by number, each with an age.
#[derive(Default)]
struct People {
    ages: Vec<(i64, i64)>,
    cluster: &'static str,
    /// What goes wrong after the last of them.
    fails: Option<&'static str>,
    has_bad_value: bool,
    asked: AtomicU64,
}

impl People {
    fn aged(ages: impl IntoIterator<Item = (i64, i64)>) -> Self {
        People { ages: ages.into_iter().collect(), cluster: "registry", ..People::default() }
    }
}

impl Source for People {
    fn cluster(&self) -> &str {
        self.cluster
    }

    fn namespaces(&self) -> Result<Vec<String>, BoxError> {
        Ok(vec![NAMESPACE.into()])
    }

    fn records(&self, namespace: &str, each: &mut dyn FnMut(SourceRecord) -> Result<()>) -> Result<(), BoxError> {
        assert_eq!(namespace, NAMESPACE);
        self.asked.fetch_add(1, Ordering::Relaxed);
        for (number, age) in &self.ages {
            let tags = Value::list([Value::text("a"), Value::integer(*age)]);
            let record = SourceRecord::new("users", *number).bin("age", *age).bin("tags", tags);
            each(match self.has_bad_value {
                true => record.bin("sketch", Value::Wildcard),
                false => record,
            })?;
        }
        match self.fails {
            Some(number) => Err(number.parse::<u8>().map(|_| ()).unwrap_err().into()),
            None => Ok(()),
        }
    }
}

fn repository() -> (Arc<MemoryStore>, Repository) {
    let store = Arc::new(MemoryStore::new());
    let options = CreateOptions::default().cost(KdfCost::WEAK);
    (store.clone(), Repository::create(store, b"passphrase", &options).unwrap())
}

fn back_up(repository: &Repository, people: &People, options: &RecordOptions) -> Result<Snapshot> {
    let mut session = repository.begin(SessionOptions::default())?;
    session.records(NAMESPACE, people, BackupKind::Full, options)?;
    session.commit()
}

fn digest(number: i64) -> Digest {
    Key::from(number).digest(b"users")
}

fn ages(snapshot: &Snapshot, selection: Selection) -> Result<Vec<i64>> {
    let records = snapshot.namespace(NAMESPACE)?.records(selection);
    let mut ages = records
        .map(|record| match record?.bin("age")? {
            Some(Value::Integer(age)) => Ok(age),
            other => Err(Error::invalid(format!("{other:?}"))),
        })
        .collect::<Result<Vec<i64>>>()?;
    ages.sort_unstable();
    Ok(ages)
}

#[test]
fn a_source_of_ones_own_is_backed_up_read_and_found_changed() {
    let (_, repository) = repository();
    let options = RecordOptions::default();
    let first = back_up(&repository, &People::aged((0..2000).map(|n| (n, n))), &options).unwrap();
    let second = back_up(&repository, &People::aged((1..2001).map(|n| (n, n.max(10)))), &options).unwrap();
    assert_eq!((first.cluster(), first.source()), ("registry", "registry"));
    let counts = second.namespace(NAMESPACE).unwrap().counts();
    assert_eq!((counts.added, counts.changed, counts.deleted), (1, 9, 1), "{counts:?}");

    let person = second.namespace(NAMESPACE).unwrap().get(&digest(7)).unwrap().unwrap();
    assert_eq!((person.set(), person.bin("age").unwrap()), (&b"users"[..], Some(Value::Integer(10))));
    assert_eq!(person.bin("tags").unwrap(), Some(Value::list([Value::text("a"), Value::integer(10)])));
    assert_eq!(person.bin("name").unwrap(), None);
    assert_eq!(ages(&first, Selection::default()).unwrap(), (0..2000).collect::<Vec<i64>>());

    let (was, is) = (first.namespace(NAMESPACE).unwrap(), second.namespace(NAMESPACE).unwrap());
    let changes: Vec<Change> = was.diff(&is).unwrap().collect::<Result<_>>().unwrap();
    let gone = changes.iter().filter(|change| change.after.is_none()).map(|change| change.digest);
    assert_eq!((changes.len(), gone.collect::<Vec<_>>()), (11, vec![digest(0)]));
}

#[test]
fn snapshots_of_a_listing_tell_of_themselves_without_the_index_and_read_it_once_for_all() {
    let (store, repository) = repository();
    for last in [100, 120] {
        back_up(&repository, &People::aged((0..last).map(|n| (n, n))), &RecordOptions::default()).unwrap();
    }
    let watched = Arc::new(FaultStore::new(store));
    let repository = Repository::open(watched.clone(), b"passphrase").unwrap();
    let index_reads = || watched.operations().iter().filter(|one| one.key.starts_with("index/")).count();
    let list = repository.snapshots().unwrap();
    let told = list.snapshots.iter().map(|snapshot| {
        let people = snapshot.namespaces().next().unwrap();
        (snapshot.cluster(), list.committed(snapshot), people.live_records(), people.counts().added)
    });
    let [first, second] = &list.snapshots[..] else { panic!("{list:?}") };
    let expected = [("registry", first.committed(), 100, 100), ("registry", second.committed(), 120, 20)];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    assert_eq!(index_reads(), 0);

    assert_eq!(ages(first, Selection::default()).unwrap().len(), 100);
    let once = index_reads();
    assert!(once > 0);
    assert_eq!(ages(second, Selection::default()).unwrap().len(), 120);
    let listings = watched.operations().iter().filter(|one| one.call == Call::List && one.key == "index/").count();
    assert_eq!(listings, 1, "{once} reads for the first");
    assert!(second.namespace(NAMESPACE).unwrap().get(&digest(110)).unwrap().is_some());
}

#[test]
fn an_index_that_cannot_be_read_at_first_is_read_once_it_can() {
    let (store, repository) = repository();
    back_up(&repository, &People::aged((0..100).map(|n| (n, n))), &RecordOptions::default()).unwrap();
    let faulty = Arc::new(FaultStore::new(store));
    let repository = Repository::open(faulty.clone(), b"passphrase").unwrap();
    let snapshot = repository.snapshots().unwrap().snapshots.remove(0);
    faulty.inject(Fault::nth(0, Effect::Fail(ErrorKind::PermissionDenied)).under("index/"));
    assert!(ages(&snapshot, Selection::default()).is_err());
    assert_eq!(ages(&snapshot, Selection::default()).unwrap().len(), 100);
}

#[test]
fn the_history_tells_of_each_session_what_became_of_it() {
    let (_, repository) = repository();
    let done = back_up(&repository, &People::aged([(1, 1)]), &RecordOptions::default()).unwrap().id();
    let failed = repository.begin(SessionOptions::default().cluster("registry")).unwrap();
    let failed_id = failed.id();
    failed.abandon(&Error::invalid("no more"));
    let running = repository.begin(SessionOptions::default().lease(Duration::from_secs(90)).job("nightly")).unwrap();
    let history = repository.history().unwrap();
    assert!(history.entries.iter().all(|entry| entry.kind() == SessionKind::Backup));
    let of = |id| history.entries.iter().find(|entry| entry.id() == id).unwrap();

    assert_eq!(of(done).outcome(), Some(SessionOutcome::Done));
    assert_eq!((of(done).state(), of(done).records()), (Some(SnapshotState::Committed), Some(1)));
    assert!(of(done).ended().is_some_and(|ended| ended >= of(done).started()));
    assert_eq!(of(failed_id).outcome(), Some(SessionOutcome::Failed("no more".into())));
    assert_eq!(of(failed_id).state(), None);
    let running = of(running.id());
    assert_eq!((running.outcome(), running.ended(), running.stored_bytes()), (None, None, None));
    assert_eq!((running.job(), running.lease()), ("nightly", Duration::from_secs(90)));
    assert!(running.heartbeat() >= running.started() && !running.host().is_empty());
}

#[test]
fn the_records_of_a_selection_are_those_alone_with_the_bins_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::create(directory.path().join("store")).unwrap();
    sample::fill(&store, NAMESPACE, 0..3000).unwrap();
    let (_, repository) = repository();
    let mut session = repository.begin(SessionOptions::default()).unwrap();
    let source = EmbeddedSource::new(store.clone());
    session.records(NAMESPACE, &source, BackupKind::Full, &RecordOptions::default()).unwrap();
    let snapshot = session.commit().unwrap();
    assert_eq!(snapshot.cluster(), store.cluster());
    let view = snapshot.namespace(NAMESPACE).unwrap();

    let of = |selection| view.records(selection).map(Result::unwrap).collect::<Vec<Record>>();
    let all = of(Selection::default());
    assert_eq!(all.len(), 3000);
    assert!(all.is_sorted_by_key(|record| record.digest.sort_key()));
    assert!(all.iter().all(|record| view.get(&record.digest).unwrap().as_ref() == Some(record)));
    let orders = of(Selection::of_set("orders"));
    assert!(orders.len() == 900 && orders.iter().all(|record| record.set() == b"orders"));
    let located = of(Selection::default().bins(["loc"]));
    assert_eq!(located.len(), 750, "records without the bin are left out");
    assert!(located.iter().all(|record| record.parse().unwrap().bins().len() == 1));

    let wanted = [sample::digest_of(3), sample::digest_of(5000), sample::digest_of(8)];
    let mut some = view.records(Selection::of_digests(wanted.into()));
    let mut found: Vec<Digest> = some.by_ref().map(|record| record.unwrap().digest).collect();
    found.sort_unstable();
    let mut expected = vec![wanted[0], wanted[2]];
    expected.sort_unstable();
    assert_eq!((found, some.not_found()), (expected, &wanted[1..2]));
}

#[test]
fn what_is_damaged_is_an_error_in_its_place_and_the_other_records_follow() {
    use aerolith::store::Store;
    let (store, repository) = repository();
    let options = RecordOptions::default();
    drop(back_up(&repository, &People::aged((0..5000).map(|n| (n, n))), &options).unwrap());
    let packs = store.list("packs/").unwrap();
    drop(back_up(&repository, &People::aged((0..6000).map(|n| (n, n))), &options).unwrap());
    let mut values_lost = 0;
    for pack in packs {
        let bytes = store.get(&pack.key, u64::MAX).unwrap().unwrap();
        store.delete(&pack.key).unwrap();
        let snapshot = repository.snapshot("latest").unwrap();
        let records = snapshot.namespace(NAMESPACE).unwrap().records(Selection::default());
        let (read, lost): (Vec<_>, Vec<_>) = records.partition(Result::is_ok);
        assert!((1000..6000).contains(&read.len()), "{} read, {:?}", read.len(), lost.first());
        assert!(!lost.is_empty() && lost.iter().all(|lost| lost.as_ref().is_err_and(Error::is_damage)));
        assert!(ages(&snapshot, Selection::default()).is_err());
        // A pack of values: each record is read, or its loss is told.
        values_lost += if read.len() + lost.len() == 6000 { lost.len() } else { 0 };
        store.put_new(&pack.key, &bytes).unwrap();
    }
    assert_eq!(values_lost, 5000);
    assert_eq!(ages(&repository.snapshot("latest").unwrap(), Selection::default()).unwrap().len(), 6000);
}

#[test]
fn errors_of_a_source_of_ones_own_come_back_with_their_cause_and_ours_as_they_are() {
    let (_, repository) = repository();
    let people = People { fails: Some("x"), ..People::aged([(1, 1)]) };
    let error = back_up(&repository, &people, &RecordOptions::default()).err().unwrap();
    assert_eq!(error.to_string(), "read namespace people of registry: invalid digit found in string");
    let cause = std::error::Error::source(&error).unwrap();
    assert!(cause.is::<std::num::ParseIntError>(), "{cause:?}");

    let control = aerolith::Control::new();
    control.stop();
    let mut session = repository.watched(&control).begin(SessionOptions::default()).unwrap();
    // More than a batch: the source itself sees the error, and passes it on with `?`.
    let many = People::aged((0..50_000).map(|n| (n, n)));
    let error = session.records(NAMESPACE, &many, BackupKind::Full, &RecordOptions::default()).err().unwrap();
    assert!(matches!(error, Error::Cancelled), "{error}");
}

#[test]
fn a_value_that_no_bin_can_hold_is_named_and_may_be_left_out() {
    let (_, repository) = repository();
    let people = People { has_bad_value: true, ..People::aged([(1, 1)]) };
    let error = back_up(&repository, &people, &RecordOptions::default()).err().unwrap().to_string();
    assert!(error.contains(&digest(1).to_string()) && error.contains("bin \"sketch\""), "{error}");
    let options = RecordOptions::default().skip_bad_records(true);
    let snapshot = back_up(&repository, &people, &options).unwrap();
    assert_eq!(snapshot.namespace(NAMESPACE).unwrap().counts().bad, 1);
}

#[test]
fn without_a_name_of_the_cluster_nothing_is_backed_up() {
    let (_, repository) = repository();
    let nameless = People { cluster: "", ..People::aged([(1, 1)]) };
    let error = back_up(&repository, &nameless, &RecordOptions::default()).err().unwrap().to_string();
    assert!(error.contains("Name the cluster"), "{error}");
    assert_eq!(nameless.asked.load(Ordering::Relaxed), 0);
    let options = SessionOptions::default().cluster("given");
    let mut session = repository.begin(options).unwrap();
    session.records(NAMESPACE, &nameless, BackupKind::Full, &RecordOptions::default()).unwrap();
    assert_eq!(session.commit().unwrap().cluster(), "given");
}

#[test]
fn a_part_of_a_source_of_ones_own_can_be_selected() {
    let (_, repository) = repository();
    let people = Box::new(People::aged((0..50).map(|n| (n, n))));
    let digests = vec![digest(3), digest(4)];
    let selected = Selected::of(people, RecordSelection::default().digests(digests));
    let mut session = repository.begin(SessionOptions::default()).unwrap();
    session.records(NAMESPACE, &*selected, BackupKind::Full, &RecordOptions::default()).unwrap();
    assert_eq!(ages(&session.commit().unwrap(), Selection::default()).unwrap(), [3, 4]);
}

/// All files and directories below one, with their bytes.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => {
                all.extend(contents(&path));
                all.insert(path, Vec::new());
            }
            false => _ = all.insert(path.clone(), std::fs::read(&path).unwrap()),
        }
    }
    all
}

fn target(kind: &str, path: &Path) -> Result<Box<dyn RecordTarget>> {
    Ok(match kind {
        "asb" => Box::new(AsbTarget::new(path, AsbTargetOptions::default())?),
        "jsonl" => Box::new(JsonlTarget::new(path)?),
        _ => Box::new(EmbeddedTarget::open(path)?),
    })
}

/// A snapshot of a namespace "shop" with an index that asrestore doesn't know.
fn shop(records: std::ops::Range<u64>) -> Snapshot {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::create(directory.path().join("records")).unwrap();
    sample::fill(&store, "shop", records).unwrap();
    let (name, expression) = (b"by-expression".to_vec(), vec![0x93, 0x51, 2]);
    let index = SecondaryIndex { name, kind: b'N', value: b'N', expression, ..SecondaryIndex::default() };
    store.put_index("shop", index).unwrap();
    let mut session = repository().1.begin(SessionOptions::default()).unwrap();
    let source = EmbeddedSource::new(store);
    session.records("shop", &source, BackupKind::Full, &RecordOptions::default()).unwrap();
    session.commit().unwrap()
}

#[test]
fn a_plan_of_a_restore_writes_nothing_anywhere_and_its_execution_reports_the_same() {
    let snapshot = shop(0..300);
    let directory = tempfile::tempdir().unwrap();
    let there = EmbeddedStore::create(directory.path().join("there")).unwrap();
    sample::fill(&there, "shop", 200..400).unwrap();
    drop(there);
    for (kind, name) in [("asb", "out"), ("asb", "one.asb"), ("jsonl", "out.jsonl"), ("", "new"), ("", "there")] {
        let options = RestoreOptions::default().conflict(ConflictPolicy::Keep);
        let mut before = contents(directory.path());
        let path = directory.path().join(name);
        let target = target(kind, &path).unwrap();
        // A store that is opened notes so in its file.
        if name == "there" {
            before = contents(directory.path());
        }
        let plan = snapshot.restore_plan("shop", &*target, &options).unwrap();
        assert!(contents(directory.path()) == before, "{name}");
        let planned = plan.report().clone();
        let exists = if name == "there" { 100 } else { 0 };
        assert_eq!((planned.read, planned.written, planned.exists), (300, 300 - exists, exists), "{name}");
        assert_eq!(planned.remarks.notes.len(), usize::from(kind == "asb"), "{name}");
        let mut done = plan.execute().unwrap();
        if exists > 0 {
            // To plan, no body is read of a record that the target would keep.
            assert!(planned.bytes > 0 && planned.bytes < done.bytes, "{name}");
            done.bytes = planned.bytes;
        }
        assert_eq!(done, planned, "{name}");
        target.finish().unwrap();
        assert!(path.exists(), "{name}");
    }
}

#[test]
fn a_plan_of_a_mirror_counts_what_it_deletes_and_its_execution_looks_again() {
    let snapshot = shop(0..300);
    let directory = tempfile::tempdir().unwrap();
    let there = EmbeddedStore::create(directory.path().join("there")).unwrap();
    sample::fill(&there, "shop", 200..400).unwrap();
    let target = EmbeddedTarget::new(there.clone());
    let plan = snapshot.restore_plan("shop", &target, &RestoreOptions::default().mirror(true)).unwrap();
    assert_eq!((plan.report().written, plan.report().deleted), (300, 100));
    assert_eq!(there.count("shop", None).unwrap(), 200);
    sample::fill(&there, "shop", 400..450).unwrap();
    assert_eq!(plan.execute().unwrap().deleted, 150);
    assert_eq!(there.count("shop", None).unwrap(), 300);
}

#[test]
fn a_target_that_nothing_was_begun_on_leaves_nothing_until_it_is_finished_and_then_an_empty_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name| directory.path().join(name);
    let targets = [("asb", "out"), ("asb", "one.asb"), ("jsonl", "out.jsonl"), ("", "store")];
    let targets: Vec<_> = targets.into_iter().map(|(kind, name)| target(kind, &path(name)).unwrap()).collect();
    assert!(contents(directory.path()).is_empty());
    targets.iter().for_each(|target| target.finish().unwrap());
    drop(targets);
    assert!(!path("out").exists() && !path("one.asb").exists());
    assert_eq!(std::fs::read_to_string(path("out.jsonl")).unwrap(), "{\"aerolith\":\"jsonl\",\"version\":1}\n");
    assert_eq!(EmbeddedStore::open(path("store")).unwrap().namespaces().unwrap(), [""; 0]);
}

#[test]
fn a_target_whose_directory_is_missing_is_refused_and_makes_none() {
    let directory = tempfile::tempdir().unwrap();
    for (kind, name) in [("asb", "a/out"), ("asb", "b/one.asb"), ("jsonl", "c/out.jsonl"), ("", "d/store")] {
        let refused = target(kind, &directory.path().join(name)).err().unwrap().to_string();
        assert!(refused.contains("there is no directory") && refused.contains("is mounted"), "{refused}");
    }
    assert!(contents(directory.path()).is_empty());
}
