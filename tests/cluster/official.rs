//! The official client beside ours, which nobody here wrote: what it writes is backed up and restored, and it reads
//! back what it wrote.

use super::conformance::{NEVER, Place, int, zoo};
use super::{NAMESPACE, quick, target};
use crate::support::cluster::client::digest;
use crate::support::cluster::{Fault, On};
use aerolith::official::client::{
    Bin, Bins, Client, ClientPolicy, Error, Expiration, IndexMap, Key, QueryPolicy, ReadPolicy, Record, Value,
    WritePolicy,
};
use aerolith::official::{ClientSource, ClientTarget, Undeleted, connect, typed, verbatim};
use aerolith::record::{Digest, NamespaceMetadata, RecordSelection, Role, SecondaryIndex, UdfModule, User};
use aerolith::store::MemoryStore;
use aerolith::{
    AerospikeSource, BackupKind, ClusterUrl, ConflictPolicy, CreateOptions, KdfCost, RecordOptions, RecordSource,
    RecordTarget, Repository, RestoreOptions, SessionOptions, Snapshot,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// Whatever runs the client's calls of these tests.
fn run<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn client(place: &Place) -> Arc<Client> {
    connect(&place.address, &ClientPolicy::default()).unwrap()
}

fn key(place: &Place, key: impl Into<Value>) -> Key {
    Key::new(NAMESPACE, std::str::from_utf8(&place.set).unwrap(), key.into()).unwrap()
}

fn put(client: &Client, key: &Key, expiration: Expiration, bins: &[Bin]) {
    let policy = WritePolicy { send_key: true, expiration, ..WritePolicy::default() };
    run(client.put(&policy, key, bins)).unwrap();
}

fn get(client: &Client, key: &Key) -> Result<Record, Error> {
    run(client.get(&ReadPolicy::default(), key, Bins::All))
}

fn repository() -> Repository {
    let store = Arc::new(MemoryStore::new());
    let options = CreateOptions::default().cost(KdfCost::WEAK);
    Repository::create(store, b"a passphrase", &options).unwrap()
}

fn back_up(repository: &Repository, source: &dyn RecordSource) -> Snapshot {
    let mut session = repository.begin(SessionOptions::default().cluster("here")).unwrap();
    session.records(NAMESPACE, source, BackupKind::Full, &RecordOptions::default()).unwrap();
    session.commit().unwrap()
}

/// Keys and bins of all that the client can write.
fn values() -> Vec<(Value, Vec<Bin>)> {
    let list = Value::List(vec![
        Value::Int(-1),
        Value::from("text"),
        Value::Blob(vec![0, 255]),
        Value::from(1.5),
        Value::from(2.5f32),
        Value::Bool(true),
        Value::Nil,
        Value::List(vec![Value::Int(1 << 40)]),
        Value::GeoJson(r#"{"type":"Point","coordinates":[1.0,2.0]}"#.into()),
    ]);
    let pairs =
        || [(Value::from("b"), Value::Int(1)), (Value::Int(3), list.clone()), (Value::Blob(vec![9]), Value::Nil)];
    let geo = Value::GeoJson(r#"{"type":"Point","coordinates":[-122.0,37.5]}"#.into());
    vec![
        (Value::Int(0), vec![Bin::new("i", Value::Int(i64::MIN)), Bin::new("s", Value::from("日本"))]),
        (Value::Int(1), vec![Bin::new("d", Value::from(-0.0)), Bin::new("nan", Value::from(f64::NAN))]),
        (Value::Int(2), vec![Bin::new("t", Value::Bool(true)), Bin::new("f", Value::Bool(false))]),
        (Value::Int(3), vec![Bin::new("l", list.clone()), Bin::new("e", Value::List(vec![]))]),
        (Value::Int(4), vec![Bin::new("m", Value::OrderedMap(IndexMap::from(pairs())))]),
        (Value::Int(5), vec![Bin::new("k", Value::SortedMap(BTreeMap::from(pairs())))]),
        (Value::Int(6), vec![Bin::new("h", Value::HashMap(HashMap::from(pairs()))), Bin::new("g", geo)]),
        (
            Value::Int(7),
            vec![Bin::new("b", Value::Blob((0..=255).collect())), Bin::new("u", Value::Unknown(9, vec![1]))],
        ),
        (Value::from("a key"), vec![Bin::new("n", Value::Int(8))]),
        (Value::Blob(vec![0, 1, 255]), vec![Bin::new("n", Value::Int(9))]),
    ]
}

/// Writes them, and gives back what the client then reads.
fn fill(place: &Place, client: &Client) -> Vec<(Key, Record)> {
    let all = values().into_iter().enumerate().map(|(n, (user_key, bins))| {
        let key = key(place, user_key);
        put(client, &key, if n % 2 == 0 { Expiration::Never } else { Expiration::Seconds(5000) }, &bins);
        let record = get(client, &key).unwrap();
        (key, record)
    });
    all.collect()
}

fn delete_all(client: &Client, records: &[(Key, Record)]) {
    for (key, _) in records {
        assert!(run(client.delete(&WritePolicy::default(), key)).unwrap());
    }
}

#[track_caller]
fn read_back(client: &Client, records: &[(Key, Record)]) {
    for (key, before) in records {
        let after = get(client, key).unwrap();
        assert_eq!(after.bins, before.bins, "{key}");
        assert!(after.expiration().abs_diff(before.expiration()) <= 3, "{key}");
    }
}

#[test]
fn what_the_official_client_wrote_is_restored_as_it_was() {
    let place = Place::new("of-restore");
    let client = client(&place);
    let records = fill(&place, &client);
    let repository = repository();
    let snapshot = back_up(&repository, &place.source());
    assert_eq!(snapshot.namespace(NAMESPACE).unwrap().live_records(), records.len() as u64);
    delete_all(&client, &records);
    let target = target(&place.address, "").unwrap();
    let report = snapshot.restore(NAMESPACE, &target, &RestoreOptions::default()).unwrap();
    assert_eq!(report.written, records.len() as u64);
    read_back(&client, &records);
    delete_all(&client, &records);
}

#[test]
fn both_give_a_key_the_same_digest() {
    for set in ["", "s", "a longer name of a set"] {
        for number in [0, 1, -1, i64::MIN, i64::MAX] {
            let theirs = Key::new(NAMESPACE, set, Value::Int(number)).unwrap();
            assert_eq!(theirs.digest(), digest(set.as_bytes(), &int(number)));
        }
        for text in ["", "k", "日本", &"x".repeat(1000)] {
            let theirs = Key::new(NAMESPACE, set, Value::from(text)).unwrap();
            assert_eq!(theirs.digest(), digest(set.as_bytes(), &[b"\x03", text.as_bytes()].concat()));
            assert_eq!(theirs.partition_id(), usize::from(Digest(theirs.digest()).partition().number()));
            let theirs = Key::new(NAMESPACE, set, Value::Blob(text.into())).unwrap();
            assert_eq!(theirs.digest(), digest(set.as_bytes(), &[b"\x04", text.as_bytes()].concat()));
        }
    }
}

#[test]
fn a_typed_record_is_what_the_client_reads() {
    let place = Place::new("of-typed");
    let client = client(&place);
    let records = fill(&place, &client);
    let repository = repository();
    let snapshot = back_up(&repository, &place.source());
    let view = snapshot.namespace(NAMESPACE).unwrap();
    for (key, record) in &records {
        let ours = view.get(&Digest(key.digest())).unwrap().unwrap();
        let (typed_key, bins) = typed(NAMESPACE, &ours).unwrap();
        assert_eq!(typed_key, *key);
        let bins: IndexMap<String, Value> = bins.into_iter().map(|bin| (bin.name, bin.value)).collect();
        assert_eq!(bins, record.bins, "{key}");
    }
    delete_all(&client, &records);
}

#[test]
fn records_that_the_client_cannot_read_go_back_through_it_verbatim() {
    let mut place = Place::new("of-zoo");
    let client = client(&place);
    let set = place.set.clone();
    let (zoo, repository) = (zoo(), repository());
    zoo.iter().for_each(|(key, store_key, bins)| {
        place.client.put(&set, key, *store_key, NEVER, bins);
    });
    let before: Vec<_> = zoo.iter().map(|(key, ..)| place.client.get(&set, key).unwrap().2).collect();
    let snapshot = back_up(&repository, &place.source());
    let view = snapshot.namespace(NAMESPACE).unwrap();
    let refused = zoo.iter().filter(|(key, ..)| {
        let record = view.get(&Digest(digest(&set, key))).unwrap().unwrap();
        assert!(verbatim(NAMESPACE, &record).is_ok());
        matches!(typed(NAMESPACE, &record), Err(aerolith::Error::ClientLoses { .. }))
    });
    // The NaN with a payload, the string that is not UTF-8, the list that is ordered.
    assert_eq!(refused.count(), 3);
    for (key, ..) in &zoo {
        assert!(place.client.delete(&set, key));
    }
    let report = snapshot.restore_into(NAMESPACE, &client, &RestoreOptions::default()).unwrap();
    assert_eq!((report.written, report.failed), (zoo.len() as u64, 0));
    for ((key, ..), before) in zoo.iter().zip(&before) {
        assert_eq!(place.client.get(&set, key).unwrap().2, *before, "{key:?}");
    }
    // Keys too: the same snapshot again.
    let again = back_up(&repository, &place.source());
    let hash = |snapshot: &Snapshot| snapshot.namespace(NAMESPACE).unwrap().state_hash();
    assert_eq!(hash(&again), hash(&snapshot));
    for (key, ..) in &zoo {
        assert!(place.client.delete(&set, key));
    }
}

#[test]
fn the_clients_records_are_a_source() {
    let place = Place::new("of-source");
    let client = client(&place);
    let records = fill(&place, &client);
    let other = Key::new(NAMESPACE, "of-source-not", Value::Int(1)).unwrap();
    put(&client, &other, Expiration::Never, &[Bin::new("n", Value::Int(1))]);
    let repository = repository();
    let source = ClientSource::new(client.clone()).set(std::str::from_utf8(&place.set).unwrap());
    assert_eq!(source.selection(), "set of-source");
    let theirs = back_up(&repository, &source);
    let ours = back_up(&repository, &place.source());
    let [theirs, ours] = [&theirs, &ours].map(|snapshot| snapshot.namespace(NAMESPACE).unwrap());
    assert_eq!(theirs.live_records(), records.len() as u64);
    for (key, _) in &records {
        let digest = Digest(key.digest());
        let [theirs, ours] = [&theirs, &ours].map(|view| view.get(&digest).unwrap().unwrap());
        assert_eq!(
            (theirs.set(), theirs.generation(), theirs.void_time()),
            (ours.set(), ours.generation(), ours.void_time())
        );
        // The cells of GeoJSON are all that the client does not hand on.
        if !theirs.parse().unwrap().bins().iter().any(|bin| bin.name == b"g") {
            assert_eq!(theirs.body, ours.body, "{key}");
        }
    }
    delete_all(&client, &records);
    delete_keys(&client, &[other]);
}

#[test]
fn a_backup_of_what_the_client_cannot_decode_ends_with_advice() {
    let mut place = Place::new("of-broken");
    let set = place.set.clone();
    place.client.put(&set, &int(0), true, NEVER, &[(b"v".to_vec(), 3, b"\xff".to_vec())]);
    let source = ClientSource::new(client(&place)).set("of-broken");
    let mut session = repository().begin(SessionOptions::default().cluster("here")).unwrap();
    let error = session.records(NAMESPACE, &source, BackupKind::Full, &RecordOptions::default()).unwrap_err();
    assert!(error.to_string().contains("only a backup of aerospike://"), "{error}");
}

#[test]
fn a_record_that_was_deleted_comes_back_and_what_is_there_stays() {
    let place = Place::new("of-undelete");
    let client = client(&place);
    let keys: Vec<Key> = (0..4).map(|n| key(&place, Value::Int(n))).collect();
    keys.iter().for_each(|key| put(&client, key, Expiration::Never, &[Bin::new("n", Value::Int(1))]));
    let snapshot = back_up(&repository(), &place.source());
    run(client.delete(&WritePolicy::default(), &keys[0])).unwrap();
    put(&client, &keys[1], Expiration::Never, &[Bin::new("n", Value::Int(2))]);
    let other = key(&place, Value::from("never there"));
    let target = ClientTarget::new(client.clone());
    let wanted = [&keys[0], &keys[1], &other].map(|key| Digest(key.digest()));
    let results = snapshot.undelete(NAMESPACE, wanted, &target).unwrap();
    let became = [Undeleted::Written, Undeleted::Exists, Undeleted::NotInSnapshot];
    assert_eq!(results, wanted.into_iter().zip(became).collect::<Vec<_>>());
    let number = |key| get(&client, key).unwrap().bins.get("n").cloned();
    assert_eq!((number(&keys[0]), number(&keys[1])), (Some(Value::Int(1)), Some(Value::Int(2))));
}

#[test]
fn each_policy_for_records_that_exist_holds_through_the_client() {
    let place = Place::new("of-conflict");
    let client = client(&place);
    let set_of = |n: i64, bins: &[(&str, i64)]| {
        let bins: Vec<Bin> = bins.iter().map(|(name, n)| Bin::new(*name, Value::Int(*n))).collect();
        put(&client, &key(&place, Value::Int(n)), Expiration::Never, &bins);
    };
    set_of(0, &[("n", 1)]);
    // Generation 2.
    set_of(1, &[("n", 1)]);
    set_of(1, &[("n", 1)]);
    let snapshot = back_up(&repository(), &place.source());
    let run_with = |policy| {
        (0..2).for_each(|n| drop(run(client.delete(&WritePolicy::default(), &key(&place, Value::Int(n))))));
        (0..2).for_each(|n| set_of(n, &[("n", 2), ("m", 2)]));
        let options = RestoreOptions::default().conflict(policy);
        let report = snapshot.restore_into(NAMESPACE, &client, &options).unwrap();
        let bins = |n| get(&client, &key(&place, Value::Int(n))).unwrap().bins;
        let numbers = (0..2).map(|n| {
            let bins = bins(n);
            (bins.get("n").cloned(), bins.contains_key("m"))
        });
        ((report.written, report.exists, report.fresher), numbers.collect::<Vec<_>>())
    };
    let (one, two) = (Some(Value::Int(1)), Some(Value::Int(2)));
    let ours = (one.clone(), false);
    let theirs = (two, true);
    assert_eq!(run_with(ConflictPolicy::Replace), ((2, 0, 0), vec![ours.clone(), ours.clone()]));
    assert_eq!(run_with(ConflictPolicy::Merge), ((2, 0, 0), vec![(one.clone(), true), (one, true)]));
    assert_eq!(run_with(ConflictPolicy::Keep), ((0, 2, 0), vec![theirs.clone(), theirs.clone()]));
    assert_eq!(run_with(ConflictPolicy::Newer), ((1, 0, 1), vec![theirs, ours]));
}

#[test]
fn a_record_that_the_server_refuses_is_named_and_the_others_are_written() {
    let mut place = Place::new("of-refused");
    let client = client(&place);
    let set = place.set.clone();
    (0..3).for_each(|n| {
        place.client.put(&set, &int(n), true, NEVER, &super::conformance::number(n));
    });
    let mut session = repository().begin(SessionOptions::default().cluster("here")).unwrap();
    session.records(NAMESPACE, &Broken, BackupKind::Full, &RecordOptions::default()).unwrap();
    let snapshot = session.commit().unwrap();
    let report = snapshot.restore_into(NAMESPACE, &client, &RestoreOptions::default()).unwrap();
    assert_eq!((report.written, report.failed), (1, 1));
    let target = ClientTarget::new(client.clone());
    assert!(target.delete(NAMESPACE, &[Digest(digest(b"of-refused", &int(7)))]).unwrap().failed.is_empty());
}

/// A record that no server takes, and one that they do.
struct Broken;

impl aerolith::Source for Broken {
    fn cluster(&self) -> &str {
        "here"
    }

    fn namespaces(&self) -> Result<Vec<String>, aerolith::BoxError> {
        Ok(vec![NAMESPACE.into()])
    }

    fn records(
        &self,
        _: &str,
        each: &mut dyn FnMut(aerolith::SourceRecord) -> aerolith::Result<()>,
    ) -> Result<(), aerolith::BoxError> {
        each(aerolith::SourceRecord::new("of-refused", 7).bin("a name of too many bytes", 1))?;
        each(aerolith::SourceRecord::new("of-refused", 7i64 + 1).bin("n", 1))?;
        Ok(())
    }
}

#[test]
fn the_clients_filter_expressions_select_for_our_reader() {
    use aerolith::official::client::expressions::{and, eq, ge, int_bin, int_val, lt, set_name, string_val};
    let place = Place::new("of-filter");
    let client = client(&place);
    for n in 0..50 {
        put(&client, &key(&place, Value::Int(n)), Expiration::Never, &[Bin::new("n", Value::Int(n))]);
    }
    let expression = and(vec![
        eq(set_name(), string_val("of-filter")),
        ge(int_bin("n"), int_val(10)),
        lt(int_bin("n"), int_val(20)),
    ]);
    let base64 = expression.base64().unwrap();
    let filter = base64_simd::STANDARD.decode_to_vec(base64.as_bytes()).unwrap();
    let selection = RecordSelection::default().filter(filter);
    let url = ClusterUrl::parse(&format!("aerospike://{}", place.address)).unwrap();
    let ours = AerospikeSource::connect(&url, quick(b"").selection(selection)).unwrap();
    let repository = repository();
    let ours = back_up(&repository, &ours);
    assert_eq!(ours.namespace(NAMESPACE).unwrap().live_records(), 10);
    // And so the client's own queries.
    let mut policy = QueryPolicy::default();
    policy.base_policy.filter_expression = Some(expression);
    let theirs = ClientSource::new(client.clone()).policy(policy);
    assert_eq!(theirs.selection(), ours.namespace(NAMESPACE).unwrap().selection());
    let theirs = back_up(&repository, &theirs);
    let hash = |snapshot: &Snapshot| snapshot.namespace(NAMESPACE).unwrap().state_hash();
    assert_eq!(hash(&theirs), hash(&ours));
}

/// Runs the program's `verify --independent` of a set, and gives back its code and report.
fn verify_independently(of: &super::program::Place, place: &Place) -> (i32, serde_json::Value, String) {
    let set = std::str::from_utf8(&place.set).unwrap();
    let (path, url) = (format!("latest:{NAMESPACE}/{set}"), format!("aerospike://{}", place.address));
    let output = of.run(&["verify", &path, &url, "--independent", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&output.out).unwrap_or_else(|_| panic!("{output:?}"));
    let namespace = report["namespaces"][0].clone();
    assert_eq!(report["independent"], true);
    (output.code, namespace, of.run(&["verify", &path, &url, "--independent"]).out)
}

fn back_up_set(of: &super::program::Place, place: &Place) {
    let set = std::str::from_utf8(&place.set).unwrap();
    let url = format!("aerospike://{}/{NAMESPACE}", place.address);
    let output = of.run(&["backup", &url, "--set", set, "--kind", "full"]);
    assert_eq!(output.code, 0, "{output:?}");
}

fn digests(list: &serde_json::Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|digest| digest.as_str().unwrap().to_string()).collect()
}

#[test]
fn an_independent_verify_finds_each_kind_of_difference() {
    let place = Place::new("of-verify");
    let client = client(&place);
    let program = super::program::Place::new();
    let key = |n: i64| key(&place, Value::Int(n));
    let shown = |n: i64| Digest(key(n).digest()).to_string();
    let number = |n: i64| [Bin::new("n", Value::Int(n))];
    (0..10).for_each(|n| put(&client, &key(n), Expiration::Seconds(5000), &number(n)));
    back_up_set(&program, &place);
    let (code, report, out) = verify_independently(&program, &place);
    assert!(code == 0 && out.contains("is as in snapshot"), "{report} {out}");
    assert_eq!((&report["records_in_snapshot"], &report["records_in_source"]), (&10.into(), &10.into()));

    run(client.delete(&WritePolicy::default(), &key(1))).unwrap();
    put(&client, &key(2), Expiration::Seconds(5000), &number(-2));
    put(&client, &key(3), Expiration::Seconds(9000), &number(3));
    put(&client, &key(4), Expiration::Seconds(5000), &[Bin::new("more", Value::Int(4))]);
    put(&client, &key(11), Expiration::Never, &number(11));
    let (code, report, out) = verify_independently(&program, &place);
    assert!(code == 3 && out.contains("differs from snapshot"), "{report} {out}");
    assert_eq!(digests(&report["only_in_snapshot"]), [shown(1)]);
    assert_eq!(digests(&report["only_in_source"]), [shown(11)]);
    let mut changed = digests(&report["changed"]);
    changed.sort();
    let mut expected = [shown(2), shown(4)];
    expected.sort();
    assert_eq!(changed, expected);
    assert_eq!(digests(&report["other_expiry"]), [shown(3)]);
    assert!(out.contains(&format!("expires at another time: {NAMESPACE} {}", shown(3))), "{out}");
    assert_eq!(report["not_comparable"].as_array().map(Vec::len), Some(0));
    assert_eq!(report["partitions_that_differ"], 5);
    (0..12).for_each(|n| drop(run(client.delete(&WritePolicy::default(), &key(n)))));
}

#[test]
fn what_the_client_cannot_represent_is_never_the_same() {
    let mut place = Place::new("of-uncomparable");
    let program = super::program::Place::new();
    let set = place.set.clone();
    for (key, store_key, bins) in zoo() {
        place.client.put(&set, &key, store_key, NEVER, &bins);
    }
    // A map whose key is a float. Servers of today take none; what older ones took is there still.
    let float_key = place.small.is_some();
    if float_key {
        place.client.put(
            &set,
            &int(500),
            true,
            NEVER,
            &[(b"m".to_vec(), 19, b"\x81\xcb\x3f\xf8\0\0\0\0\0\0\x01".to_vec())],
        );
    }
    back_up_set(&program, &place);
    let (code, report, out) = verify_independently(&program, &place);
    assert_eq!(code, 3, "{report}");
    let reasons = report["not_comparable"].as_array().unwrap();
    let reasons: BTreeMap<&str, u64> =
        reasons.iter().map(|one| (one["reason"].as_str().unwrap(), one["records"].as_u64().unwrap())).collect();
    let mut expected = BTreeMap::from([
        ("a string that is not UTF-8", 1),
        ("the order of a list", 1),
        ("the sign or payload of a NaN", 1),
    ]);
    if float_key {
        expected.insert("a map with a key that is no integer, string or bytes", 1);
    }
    assert_eq!(reasons, expected);
    for list in ["only_in_snapshot", "only_in_source", "changed", "other_expiry"] {
        assert_eq!(digests(&report[list]), [""; 0], "{report}");
    }
    assert!(out.contains("as far as the two were compared"), "{out}");
    // What can be read is compared still, beside what can't.
    place.client.put(&set, &int(0), true, NEVER, &[(b"v".to_vec(), 1, 7i64.to_be_bytes().to_vec())]);
    let (code, report, _) = verify_independently(&program, &place);
    assert_eq!((code, digests(&report["changed"])), (3, vec![Digest(digest(&set, &int(0))).to_string()]));
    // What it can't read where the snapshot has what it could, is a change.
    place.client.put(&set, &int(0), true, NEVER, &[(b"v".to_vec(), 3, b"\xff".to_vec())]);
    let (code, report, _) = verify_independently(&program, &place);
    assert_eq!((code, digests(&report["changed"])), (3, vec![Digest(digest(&set, &int(0))).to_string()]));
    for (key, ..) in zoo() {
        place.client.delete(&set, &key);
    }
    place.client.delete(&set, &int(500));
}

#[test]
fn only_a_cluster_is_verified_independently() {
    let program = super::program::Place::new();
    let place = Place::new("of-files");
    put(&client(&place), &key(&place, Value::Int(0)), Expiration::Never, &[Bin::new("n", Value::Int(0))]);
    back_up_set(&program, &place);
    let output = program.run(&["verify", "latest", "jsonl:nowhere", "--independent"]);
    assert!(output.code == 2 && output.err.contains("--independent goes with aerospike://"), "{output:?}");
}

/// Keys of `numbers` in the place's set, each with a record that never expires.
fn put_numbers(place: &Place, client: &Client, numbers: std::ops::Range<i64>) -> Vec<Key> {
    let keys = numbers.map(|n| (key(place, Value::Int(n)), [Bin::new("n", Value::Int(n))]));
    let put = |(key, bins): (Key, [Bin; 1])| {
        put(client, &key, Expiration::Never, &bins);
        key
    };
    keys.map(put).collect()
}

fn delete_keys(client: &Client, keys: &[Key]) {
    keys.iter().for_each(|key| drop(run(client.delete(&WritePolicy::default(), key))));
}

#[test]
fn what_may_yet_succeed_through_the_client_is_sent_again_and_what_may_be_ours_is_told() {
    let place = Place::new("of-again");
    // Real servers don't fail when they are told to.
    let Some(small) = &place.small else { return };
    let client = client(&place);
    let keys = put_numbers(&place, &client, 0..20);
    let snapshot = back_up(&repository(), &place.source());
    let restore = |on, fault: Fault, policy| {
        delete_keys(&client, &keys);
        (0..2).for_each(|node| small.fault(node, on, fault.clone(), 1));
        snapshot.restore_into(NAMESPACE, &client, &RestoreOptions::default().conflict(policy))
    };
    let report = restore(On::Batch, Fault::Refuse(18), ConflictPolicy::Replace).unwrap();
    assert_eq!((report.written, report.failed), (20, 0), "the servers were overloaded: {report:?}");
    // The records are written, and the answers are lost.
    let report = restore(On::Batch, Fault::Close(0), ConflictPolicy::Replace).unwrap();
    assert_eq!((report.written, report.failed), (20, 0), "{report:?}");
    let report = restore(On::Batch, Fault::Close(0), ConflictPolicy::Keep).unwrap();
    assert_eq!((report.written, report.exists, report.failed), (0, 0, 20), "{report:?}");
    assert!(report.failures[0].reason.contains("it may be ours or another's"), "{report:?}");
    // What is wrong for all ends the restore.
    small.shared().namespaces.get_mut(NAMESPACE).unwrap().stop_writes = true;
    let error = restore(On::Info, Fault::Slow(Duration::ZERO), ConflictPolicy::Replace).unwrap_err().to_string();
    assert!(error.contains("it has no room, or is at stop-writes"), "{error}");
    small.shared().namespaces.get_mut(NAMESPACE).unwrap().stop_writes = false;
}

#[test]
fn what_goes_through_the_client_lives_as_long_as_it_would_have() {
    let place = Place::new("of-lifetimes");
    let client = client(&place);
    let keys: Vec<Key> = (0..3).map(|n| key(&place, Value::Int(n))).collect();
    let lifetimes = [Expiration::Never, Expiration::Seconds(5000), Expiration::Seconds(15)];
    for (key, lifetime) in keys.iter().zip(lifetimes) {
        put(&client, key, lifetime, &[Bin::new("n", Value::Int(1))]);
    }
    let program = super::program::Place::new();
    back_up_set(&program, &place);
    match &place.small {
        Some(small) => small.pass(16),
        None => std::thread::sleep(Duration::from_secs(16)),
    }
    // Of what is gone since it has expired nothing differs.
    let (code, report, out) = verify_independently(&program, &place);
    assert!(code == 0 && report["expired"] == 1, "{report} {out}");
    let before: Vec<(Key, Record)> = keys[..2].iter().map(|key| (key.clone(), get(&client, key).unwrap())).collect();
    delete_keys(&client, &keys[..2]);
    // A namespace may have a time to live of its own.
    if let Some(small) = &place.small {
        small.shared().namespaces.get_mut(NAMESPACE).unwrap().default_ttl = 700;
    }
    let snapshot = program.repository().snapshot("latest").unwrap();
    let digests = keys.iter().map(|key| Digest(key.digest()));
    let became = snapshot.undelete(NAMESPACE, digests, &ClientTarget::new(client.clone())).unwrap();
    let became: Vec<Undeleted> = became.into_iter().map(|(_, one)| one).collect();
    assert_eq!(became, [Undeleted::Written, Undeleted::Written, Undeleted::Expired]);
    read_back(&client, &before);
    delete_keys(&client, &keys[..2]);
}

#[test]
fn an_independent_verify_compares_keys_and_their_digests() {
    let mut place = Place::new("of-keys");
    let client = client(&place);
    let program = super::program::Place::new();
    let set = place.set.clone();
    let keys = put_numbers(&place, &client, 0..3);
    // A record that is stored under another digest than its key has: only by hand.
    let elsewhere = digest(b"another set", &int(9));
    if let Some(small) = &place.small {
        let record = small.shared().namespaces[NAMESPACE].records[&keys[0].digest()].clone();
        small.shared().namespaces.get_mut(NAMESPACE).unwrap().put(elsewhere, record);
    }
    back_up_set(&program, &place);
    // Written anew, without its key.
    place.client.delete(&set, &int(1));
    place.client.put(&set, &int(1), false, NEVER, &super::conformance::number(1));
    let (code, report, _) = verify_independently(&program, &place);
    assert_eq!((code, digests(&report["changed"])), (3, vec![Digest(keys[1].digest()).to_string()]), "{report}");
    let expected = if place.small.is_some() { vec![Digest(elsewhere).to_string()] } else { vec![] };
    assert_eq!(digests(&report["other_digest"]), expected, "{report}");
    delete_keys(&client, &keys);
    if let Some(small) = &place.small {
        small.shared().namespaces.get_mut(NAMESPACE).unwrap().records.remove(&elsewhere);
    }
}

#[test]
fn an_independent_verify_reads_what_was_backed_up_and_nothing_else() {
    let places = ["of-part", "of-part-too", "of-part-not"];
    let place = Place::new(places[0]);
    let client = client(&place);
    let program = super::program::Place::new();
    let url = format!("aerospike://{}/{NAMESPACE}", place.address);
    let all = places.map(|set| {
        let keys: Vec<Key> = (0..30).map(|n| Key::new(NAMESPACE, set, Value::Int(n)).unwrap()).collect();
        let number = |n| [Bin::new("n", Value::Int(n))];
        keys.iter().zip(0..).for_each(|(key, n)| put(&client, key, Expiration::Never, &number(n)));
        keys
    });
    use aerolith::official::client::expressions::{ge, int_bin, int_val};
    let filter = ge(int_bin("n"), int_val(10)).base64().unwrap();
    let parts: [&[&str]; 2] =
        [&["--set", places[0], "--set", places[1]], &["--set", places[0], "--filter-exp", &filter]];
    for (part, records) in parts.into_iter().zip([60, 20]) {
        let done = program.run(&[&["backup", &url, "--kind", "full"], part].concat());
        assert_eq!(done.code, 0, "{done:?}");
        let output = program.run(&[&["verify", "latest", &url, "--independent", "--json"], part].concat());
        let report: serde_json::Value = serde_json::from_str(&output.out).unwrap();
        assert_eq!((output.code, &report["namespaces"][0]["records_in_source"]), (0, &records.into()), "{report}");
    }
    all.iter().for_each(|keys| delete_keys(&client, keys));
}

#[test]
fn what_does_not_go_through_the_client_is_named() {
    let place = Place::new("of-named");
    let target = ClientTarget::new(client(&place));
    let metadata = NamespaceMetadata {
        indexes: vec![SecondaryIndex::default()],
        udfs: vec![UdfModule::default(), UdfModule::default()],
        roles: vec![Role::default()],
        users: vec![User::default()],
        ..NamespaceMetadata::default()
    };
    let omitted = target.preview_begin(NAMESPACE, &metadata).unwrap().omissions.join("\n");
    for what in ["1 secondary indexes:", "2 UDF modules:", "1 roles:", "1 users:"] {
        assert!(omitted.contains(what), "{what}: {omitted}");
    }
    let error = target.preview_begin("elsewhere", &metadata).unwrap_err().to_string();
    assert!(error.contains("its namespaces are: ") && error.contains(NAMESPACE), "{error}");
}
