//! What a target owes to its cluster, whichever it is.

use super::conformance::{NEVER, Place, bin, int, number, zoo};
use super::{Found, NAMESPACE, batches, joined, scan, target};
use crate::support::cluster::client::digest;
use aerolith::record::{
    BinRef, Digest, Generation, NamespaceMetadata, ParticleType, RecordBatch, RecordMeta, SecondaryIndex, Timestamp,
    UdfModule, VoidTime,
};
use aerolith::{ConflictPolicy, RecordSource, RecordTarget, WriteOutcome};
use std::collections::BTreeMap;

/// Without generations, which begin again.
fn apart_from_generations(found: BTreeMap<[u8; 20], Found>) -> BTreeMap<[u8; 20], Found> {
    found.into_iter().map(|(at, found)| (at, Found { generation: 0, ..found })).collect()
}

/// A record without a key whose values are integers.
fn add(batch: &mut RecordBatch, set: &[u8], n: i64, (generation, void_time): (u32, u32), bins: &[(&str, Vec<u8>)]) {
    let meta = RecordMeta {
        digest: Digest(digest(set, &int(n))),
        set,
        generation: Generation(generation),
        void_time: VoidTime(void_time),
    };
    let bins: Vec<BinRef<'_>> = bins
        .iter()
        .map(|(name, bytes)| BinRef { name: name.as_bytes(), particle: ParticleType::BLOB, bytes })
        .collect();
    batch.push(meta, None, &bins).unwrap();
}

/// In an order that does not depend on the servers'.
fn sorted(mut outcome: WriteOutcome) -> WriteOutcome {
    outcome.left_alone.sort();
    outcome
}

fn seconds(time: Timestamp) -> u32 {
    (time.0 / 1000 - 1_262_304_000) as u32
}

#[test]
fn every_kind_of_record_is_restored_as_it_was() {
    let mut place = Place::new("rs-zoo");
    let set = place.set.clone();
    let mut zoo = zoo();
    let point = [&[0, 0, 0][..], br#"{"type":"Point","coordinates":[1.5,-2.25]}"#].concat();
    zoo.push((int(500), true, vec![bin("geo", 23, &point)]));
    zoo.push((int(501), false, vec![bin("odd \n name", 1, &[0; 8]), bin("fifteen-letters", 4, b"")]));
    if place.small.is_some() {
        // A server checks what is inside; what is tested here is that it goes there as it is.
        zoo.push((int(502), true, vec![bin("hll", 18, &[0, 4, 0, 1, 2, 3])]));
    }
    for (key, store_key, bins) in &zoo {
        place.client.put(&set, key, *store_key, NEVER, bins);
    }
    place.client.put(&set, &int(503), true, 5000, &number(1));
    let before = scan(&place.source(), None).unwrap();
    assert_eq!(before.len(), zoo.len() + 1);
    let taken = joined(&batches(&place.source()));
    for (key, ..) in &zoo {
        assert!(place.client.delete(&set, key));
    }
    assert!(place.client.delete(&set, &int(503)));
    let target = target(&place.address, "").unwrap();
    target.begin(NAMESPACE, &NamespaceMetadata::default()).unwrap();
    let outcome = target.write(NAMESPACE, &taken, ConflictPolicy::Replace).unwrap();
    assert_eq!(outcome, WriteOutcome { written: before.len() as u64, ..WriteOutcome::default() });
    let mut after = apart_from_generations(scan(&place.source(), None).unwrap());
    let mut before = apart_from_generations(before);
    // Clocks count in full seconds.
    let at = digest(&set, &int(503));
    let (is, was) = (after.remove(&at).unwrap(), before.remove(&at).unwrap());
    assert!(is.void_time.abs_diff(was.void_time) <= 1, "{} was {}", is.void_time, was.void_time);
    assert_eq!((is.bins, is.key), (was.bins, was.key));
    assert_eq!(after, before);
    for (key, ..) in &zoo {
        place.client.delete(&set, key);
    }
    place.client.delete(&set, &int(503));
}

#[test]
fn what_becomes_of_a_record_that_is_there_is_the_policy_s_choice() {
    let mut place = Place::new("rs-conflict");
    let set = place.set.clone();
    let target = target(&place.address, "").unwrap();
    let mut batch = RecordBatch::new();
    // Of generation 1, 3 and 3; there they have 2. One is not there, one is newer than servers can count.
    for (n, generation) in [(0, 1), (1, 3), (2, 2), (3, 7), (4, 100_000)] {
        add(&mut batch, &set, n, (generation, 0), &[("new", vec![n as u8])]);
    }
    let there = |place: &mut Place| {
        place.clear();
        for n in [0, 1, 2, 4] {
            (0..2).for_each(|_| {
                place.client.put(&set, &int(n), true, NEVER, &number(n));
            });
        }
    };
    let names = |place: &mut Place| -> Vec<String> {
        let of =
            |n| place.client.get(&set, &int(n)).unwrap().2.into_keys().map(|name| String::from_utf8(name).unwrap());
        (0..5).map(of).map(|names| names.collect::<Vec<_>>().join(",")).collect()
    };
    there(&mut place);
    let outcome = target.write(NAMESPACE, &batch, ConflictPolicy::Replace).unwrap();
    assert_eq!(outcome, WriteOutcome { written: 5, ..WriteOutcome::default() });
    assert_eq!(names(&mut place), ["new"; 5]);
    there(&mut place);
    let at = |n| Digest(digest(&set, &int(n)));
    let outcome = sorted(target.write(NAMESPACE, &batch, ConflictPolicy::Keep).unwrap());
    let left_alone = [0, 1, 2, 4].map(at).to_vec();
    assert_eq!(outcome, sorted(WriteOutcome { written: 1, exists: 4, left_alone, ..WriteOutcome::default() }));
    assert_eq!(names(&mut place), ["n", "n", "n", "new", "n"]);
    there(&mut place);
    let outcome = sorted(target.write(NAMESPACE, &batch, ConflictPolicy::Newer).unwrap());
    let left_alone = [0, 2].map(at).to_vec();
    assert_eq!(outcome, sorted(WriteOutcome { written: 3, fresher: 2, left_alone, ..WriteOutcome::default() }));
    assert_eq!(names(&mut place), ["n", "new", "n", "new", "new"]);
    there(&mut place);
    let outcome = target.write(NAMESPACE, &batch, ConflictPolicy::Merge).unwrap();
    assert_eq!(outcome, WriteOutcome { written: 5, ..WriteOutcome::default() });
    assert_eq!(names(&mut place), ["n,new", "n,new", "n,new", "new", "n,new"]);
}

#[test]
fn an_expired_record_is_not_sent_and_times_to_live_are_kept() {
    let mut place = Place::new("rs-ttl");
    if let Some(small) = &place.small {
        small.shared().namespaces.get_mut(NAMESPACE).unwrap().default_ttl = 777;
    }
    let set = place.set.clone();
    let target = target(&place.address, "").unwrap();
    let now = seconds(target.clock().unwrap());
    let mut batch = RecordBatch::new();
    for (n, void_time) in [(0, 0), (1, now + 5000), (2, now - 1), (3, now)] {
        add(&mut batch, &set, n, (1, void_time), &[("v", vec![1])]);
    }
    let outcome = target.write(NAMESPACE, &batch, ConflictPolicy::Replace).unwrap();
    let left_alone = [2, 3].map(|n| Digest(digest(&set, &int(n)))).to_vec();
    assert_eq!(sorted(outcome), sorted(WriteOutcome { written: 2, expired: 2, left_alone, ..WriteOutcome::default() }));
    assert_eq!(place.client.get(&set, &int(0)).unwrap().1, 0);
    let void_time = place.client.get(&set, &int(1)).unwrap().1;
    assert!(void_time.abs_diff(now + 5000) <= 1, "{void_time} at {now}");
    assert_eq!(place.client.get(&set, &int(2)), None);
    assert_eq!(place.client.get(&set, &int(3)), None);
}

#[test]
fn what_the_server_refuses_is_named_with_its_reason_and_the_rest_is_written() {
    let mut place = Place::new("rs-refused");
    let set = place.set.clone();
    let target = target(&place.address, "").unwrap();
    let mut batch = RecordBatch::new();
    for n in 0..300 {
        let bins = match n {
            7 => vec![("a name of sixteen", vec![1])],
            8 => vec![("v", vec![1; 9 << 20])],
            9 => vec![],
            _ => vec![("v", vec![1])],
        };
        add(&mut batch, &set, n, (1, 0), &bins);
    }
    let outcome = target.write(NAMESPACE, &batch, ConflictPolicy::Replace).unwrap();
    assert_eq!((outcome.written, outcome.failed.len()), (297, 3), "{:?}", outcome.failed);
    let reason = |n| {
        let digest = Digest(digest(&set, &int(n)));
        outcome.failed.iter().find(|failed| failed.digest == digest).map(|failed| failed.reason.clone()).unwrap()
    };
    assert!(reason(7).contains("code 21"), "{}", reason(7));
    assert!(reason(8).contains("code 13"), "{}", reason(8));
    assert!(reason(9).contains("no bins"), "{}", reason(9));
    assert_eq!(scan(&place.source(), None).unwrap().len(), 297);
    place.clear();
}

#[test]
fn indexes_and_modules_are_made_and_what_differs_is_named() {
    let mut place = Place::new("rs-index");
    let index = |name: &str, bin: &str, context: &[u8]| SecondaryIndex {
        set: b"rs-index".to_vec(),
        name: name.as_bytes().to_vec(),
        kind: b'K',
        bin: bin.as_bytes().to_vec(),
        value: b'S',
        context: context.to_vec(),
        ..SecondaryIndex::default()
    };
    let module = |content: &[u8]| UdfModule { kind: b'L', name: b"rs.lua".to_vec(), content: content.to_vec() };
    let wanted = |bin, content| NamespaceMetadata {
        indexes: vec![index("rs_keys", bin, &[0x92, 0x11, 0x91, 0x70]), index("rs_plain", "w", &[])],
        udfs: vec![module(content)],
        ..NamespaceMetadata::default()
    };
    let first = wanted("v", b"-- a");
    for _ in 0..2 {
        let target = target(&place.address, "").unwrap();
        assert_eq!(target.begin(NAMESPACE, &first).unwrap().omissions, [""; 0]);
        let there = place.source().metadata(NAMESPACE).unwrap();
        assert!(first.indexes.iter().all(|index| there.indexes.contains(index)), "{:?}", there.indexes);
        assert!(there.udfs.contains(&first.udfs[0]), "{:?}", there.udfs);
    }
    let target = target(&place.address, "").unwrap();
    let mut second = wanted("other", b"-- b");
    // A server would give the index that is there the other name.
    second.indexes.push(index("rs_renamed", "w", &[]));
    second.indexes.push(SecondaryIndex { kind: b'?', other: b"indextype=heap".to_vec(), ..index("rs_heap", "v", &[]) });
    let omitted = target.begin(NAMESPACE, &second).unwrap().omissions;
    assert_eq!(omitted.len(), 4, "{omitted:?}");
    assert!(omitted[0].contains("rs.lua") && omitted[0].contains("another"), "{omitted:?}");
    assert!(omitted[1].contains("rs_keys") && omitted[1].contains("another"), "{omitted:?}");
    assert!(omitted[2].contains("rs_renamed") && omitted[2].contains("the name \"rs_plain\""), "{omitted:?}");
    assert!(omitted[3].contains("rs_heap") && omitted[3].contains("indextype=heap"), "{omitted:?}");
    let there = place.source().metadata(NAMESPACE).unwrap();
    assert!(first.indexes.iter().all(|index| there.indexes.contains(index)), "{:?}", there.indexes);
    for name in ["rs_keys", "rs_plain"] {
        place.client.info(&format!("sindex-delete:ns=test;set=rs-index;indexname={name}"));
    }
    place.client.info("udf-remove:filename=rs.lua");
}

#[test]
fn indexes_over_expressions_contexts_and_whole_sets_come_back() {
    let mut place = Place::new("rs-over");
    let index = |name: &str, kind: u8, value: u8| SecondaryIndex {
        set: b"rs-over".to_vec(),
        name: name.as_bytes().to_vec(),
        kind,
        value,
        ..SecondaryIndex::default()
    };
    // bin_int("v") + 1, and bin_list("l").
    let sum = [&[0x93, 20, 0x93, 81, 2, 0xa1][..], b"v", &[1]].concat();
    let list = [&[0x93, 81, 4, 0xa1][..], b"l"].concat();
    let wanted = vec![
        SecondaryIndex { expression: sum.clone(), ..index("rs_sum", b'N', b'N') },
        SecondaryIndex { expression: sum, set: vec![], ..index("rs_sum_of_all", b'N', b'N') },
        SecondaryIndex { expression: list, ..index("rs_list", b'L', b'S') },
        SecondaryIndex { bin: b"l".to_vec(), context: vec![0x92, 0x10, 2], ..index("rs_context", b'L', b'N') },
        SecondaryIndex { bin: b"null".to_vec(), ..index("rs_bin_null", b'N', b'B') },
        SecondaryIndex { other: b"indextype=set".to_vec(), ..index("rs_whole_set", b'?', b'?') },
    ];
    let metadata = NamespaceMetadata { indexes: wanted.clone(), ..NamespaceMetadata::default() };
    for _ in 0..2 {
        let target = target(&place.address, "").unwrap();
        assert_eq!(target.begin(NAMESPACE, &metadata).unwrap().omissions, [""; 0]);
        let there = place.source().metadata(NAMESPACE).unwrap().indexes;
        for index in &wanted {
            assert!(there.contains(index), "{index:?} is not among {there:?}");
        }
    }
    // What asbackup leaves out of its files can't be made.
    let lost = SecondaryIndex { bin: b"null".to_vec(), other: b"bin=null".to_vec(), ..index("rs_lost", b'N', b'N') };
    let metadata = NamespaceMetadata { indexes: vec![lost], ..NamespaceMetadata::default() };
    let omitted = target(&place.address, "").unwrap().begin(NAMESPACE, &metadata).unwrap().omissions;
    assert!(omitted.len() == 1 && omitted[0].contains("rs_lost") && omitted[0].contains("asbackup"), "{omitted:?}");
    for index in &wanted {
        let set = if index.set.is_empty() { "" } else { "set=rs-over;" };
        let name = String::from_utf8_lossy(&index.name);
        place.client.info(&format!("sindex-delete:ns=test;{set}indexname={name}"));
    }
}

#[test]
fn a_namespace_that_is_not_there_is_named_with_those_that_are() {
    let place = Place::new("rs-namespace");
    let error = target(&place.address, "/nothing").err().unwrap().to_string();
    assert!(error.contains("no namespace \"nothing\"") && error.contains(NAMESPACE), "{error}");
    let open = target(&place.address, "").unwrap();
    let error = open.begin("nothing", &NamespaceMetadata::default()).unwrap_err().to_string();
    assert!(error.contains("no namespace \"nothing\""), "{error}");
    let renaming = target(&place.address, "/test").unwrap();
    renaming.begin("nothing", &NamespaceMetadata::default()).unwrap();
    let error = renaming.begin("something", &NamespaceMetadata::default()).unwrap_err().to_string();
    assert!(error.contains("several namespaces"), "{error}");
}
