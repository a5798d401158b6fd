//! Backups of a part of a cluster's records.

use super::conformance::{NEVER, Place, bin, int, number};
use super::{Found, NAMESPACE, connect, partial, program, quick, read, scan, walk};
use crate::support::cluster::client::digest;
use crate::support::cluster::data::partition;
use aerolith::record::{Digest, PartitionSet, RecordSelection, Timestamp};
use aerolith::{
    AerospikeSource, BackupKind, ClusterOptions, PartitionedSource, RecordOptions, RecordSource, Repository,
    SessionOptions, Snapshot,
};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// `n > 100`, as the Python client encodes it: `exp.GT(exp.IntBin("n"), 100)`.
const ABOVE_100: [u8; 8] = [0x93, 3, 0x93, 81, 2, 0xa1, b'n', 100];
const ABOVE_100_BASE64: &str = "kwOTUQKhbmQ=";

/// Records 0 to 199 in the place's set, 200 to 209 in `other`, 300 to 309 in `third`.
fn filled(name: &str) -> Place {
    let mut place = Place::new(name);
    let set = place.set.clone();
    for n in 0..200 {
        let bins = [number(n), vec![bin("s", 3, b"text"), bin("t", 3, b"more")]].concat();
        place.client.put(&set, &int(n), true, NEVER, &bins);
    }
    for (other, begin) in [("other", 200), ("third", 300)] {
        let name = [name, other].join("-");
        (begin..begin + 10).for_each(|n| {
            place.client.put(name.as_bytes(), &int(n), true, NEVER, &number(n));
        });
    }
    place
}

fn emptied(mut place: Place, name: &str) {
    for (other, begin) in [("other", 200), ("third", 300)] {
        let name = [name, other].join("-");
        (begin..begin + 10).for_each(|n| {
            place.client.delete(name.as_bytes(), &int(n));
        });
    }
}

fn source(place: &Place, selection: RecordSelection) -> AerospikeSource {
    connect(&place.address, quick(b"").selection(selection)).unwrap()
}

/// What a selection must give by scan, walk and digest alike.
fn assert_gives(source: &AerospikeSource, expected: &BTreeMap<[u8; 20], Vec<&str>>, asked: &[[u8; 20]]) {
    let bins = |found: &BTreeMap<[u8; 20], Found>| -> BTreeMap<[u8; 20], Vec<String>> {
        let names = |found: &Found| {
            let mut names: Vec<String> =
                found.bins.iter().map(|bin| String::from_utf8(bin.0.clone()).unwrap()).collect();
            names.sort();
            names
        };
        found.iter().map(|(at, found)| (*at, names(found))).collect()
    };
    let expected: BTreeMap<[u8; 20], Vec<String>> =
        expected.iter().map(|(at, names)| (*at, names.iter().map(ToString::to_string).collect())).collect();
    assert_eq!(bins(&scan(source, None).unwrap()), expected);
    assert_eq!(bins(&scan(source, Some(Timestamp(1))).unwrap()), expected);
    assert_eq!(walk(source).unwrap().into_keys().collect::<Vec<_>>(), expected.keys().copied().collect::<Vec<_>>());
    let by_digest: BTreeMap<[u8; 20], Vec<String>> =
        expected.iter().filter(|(at, _)| asked.contains(at)).map(|(at, names)| (*at, names.clone())).collect();
    assert_eq!(bins(&read(source, asked).unwrap()), by_digest);
    assert_eq!(source.take_bad_records(), (0, vec![]));
}

#[test]
fn sets_bins_and_filters_select_alike_by_scan_walk_and_digest() {
    let name = "sl-parts";
    let place = filled(name);
    let set = place.set.clone();
    let names = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect::<Vec<_>>();
    let own = |range: std::ops::Range<i64>, bins: &[&'static str]| -> BTreeMap<[u8; 20], Vec<&'static str>> {
        range.map(|n| (digest(&set, &int(n)), bins.to_vec())).collect()
    };
    let asked: Vec<[u8; 20]> = own(90..110, &[]).into_keys().chain([[9; 20]]).collect();
    let this = RecordSelection::default().sets([set.clone()]);

    let bins = this.clone().bins(names(&["s", "n", "none"]));
    assert_gives(&source(&place, bins), &own(0..200, &["n", "s"]), &asked);
    let filter = this.clone().filter(ABOVE_100.to_vec());
    assert_gives(&source(&place, filter.clone()), &own(101..200, &["n", "s", "t"]), &asked);
    let both = filter.bins(names(&["t"]));
    assert_gives(&source(&place, both), &own(101..200, &["t"]), &asked);

    let other = format!("{name}-other");
    let two = RecordSelection::default().sets([set.clone(), other.clone().into_bytes()]);
    let mut expected = own(0..200, &["n", "s", "t"]);
    expected.extend((200..210).map(|n| (digest(other.as_bytes(), &int(n)), vec!["n"])));
    let third = digest(format!("{name}-third").as_bytes(), &int(300));
    assert_gives(&source(&place, two), &expected, &[&asked[..], &[third]].concat());
    emptied(place, name);
}

#[test]
fn times_of_the_last_update_and_lifetimes_select_alike_by_scan_walk_and_digest() {
    let name = "sl-times";
    let mut place = filled(name);
    let set = place.set.clone();
    // The servers' clock is told in full seconds.
    std::thread::sleep(Duration::from_millis(2100));
    let time = source(&place, RecordSelection::default()).clock().unwrap();
    for n in 150..210 {
        place.client.put(&set, &int(n), true, if n < 180 { 50_000 } else { NEVER }, &number(n));
    }
    let own = |parts: &[(std::ops::Range<i64>, &[&'static str])]| -> BTreeMap<[u8; 20], Vec<&'static str>> {
        let each = parts.iter().flat_map(|(range, bins)| range.clone().map(|n| (n, bins.to_vec())));
        each.map(|(n, bins)| (digest(&set, &int(n)), bins)).collect()
    };
    let (all, new): (&[&str], &[&str]) = (&["n", "s", "t"], &["n"]);
    let asked: Vec<[u8; 20]> = own(&[(140..190, new)]).into_keys().collect();
    let this = RecordSelection::default().sets([set.clone()]);
    let after = this.clone().modified_after(time);
    assert_gives(&source(&place, after.clone()), &own(&[(150..210, new)]), &asked);
    let before = this.clone().modified_before(time);
    assert_gives(&source(&place, before.clone()), &own(&[(0..150, all)]), &asked);
    let lasting = this.never_expires(true);
    assert_gives(&source(&place, lasting.clone()), &own(&[(0..150, all), (180..210, new)]), &asked);
    assert_gives(&source(&place, after.never_expires(true)), &own(&[(180..210, new)]), &asked);
    let above = lasting.modified_before(time).filter(ABOVE_100.to_vec());
    assert_gives(&source(&place, above), &own(&[(101..150, all)]), &asked);
    (200..210).for_each(|n| assert!(place.client.delete(&set, &int(n))));
    emptied(place, name);
}

#[test]
fn partitions_and_digests_select_alike_by_scan_and_walk() {
    let name = "sl-digests";
    let place = filled(name);
    let set = place.set.clone();
    let own = |keep: &dyn Fn(i64) -> bool| -> BTreeMap<[u8; 20], Vec<&'static str>> {
        (0..200).filter(|n| keep(*n)).map(|n| (digest(&set, &int(n)), vec!["n", "s", "t"])).collect()
    };
    let this = RecordSelection::default().sets([set.clone()]);
    let partitions = PartitionSet::parse("100-2099,4000");
    let within = |n: i64| {
        let number = partition(&digest(&set, &int(n)));
        (100..2100).contains(&number) || number == 4000
    };
    let some = source(&place, this.clone().partitions(partitions));
    assert_gives(&some, &own(&within), &[]);
    assert_eq!(some.partitions().len(), 2001);

    let digests: Vec<Digest> = (0..20).map(|n| Digest(digest(&set, &int(n * 20)))).collect();
    let named = RecordSelection::default().digests(digests);
    assert_gives(&source(&place, named.clone()), &own(&|n| n % 20 == 0), &[]);
    assert_gives(&source(&place, named.partitions(partitions)), &own(&|n| n % 20 == 0 && within(n)), &[]);
    emptied(place, name);
}

fn back_up(repository: &Repository, source: &AerospikeSource, kind: BackupKind) -> aerolith::Result<Snapshot> {
    let about = SessionOptions::default().cluster("small");
    let mut session = repository.begin(about)?;
    session.records(NAMESPACE, source, kind, &RecordOptions::default())?;
    session.commit()
}

#[test]
fn a_selection_builds_on_its_own_kind_and_leaves_the_rest_alone() {
    let name = "sl-builds";
    let mut place = filled(name);
    let set = place.set.clone();
    let sets = ["", "-other", "-third"].map(|end| format!("{name}{end}").into_bytes()).to_vec();
    let all = RecordSelection::default().sets(sets);
    let some = all.clone().filter(ABOVE_100.to_vec());
    let repository = partial::empty();
    let whole = back_up(&repository, &source(&place, all.clone()), BackupKind::Full).unwrap();
    assert_eq!(whole.manifest().namespaces[0].live_records, 220);
    let refused = back_up(&repository, &source(&place, some.clone()), BackupKind::Incremental);
    let error = refused.err().unwrap().to_string();
    assert!(error.contains("no earlier snapshot") && error.contains("filter "), "{error}");
    let part = back_up(&repository, &source(&place, some.clone()), BackupKind::Full).unwrap();
    let namespace = &part.manifest().namespaces[0];
    assert_eq!((namespace.live_records, namespace.parent, namespace.counts.deleted), (119, None, 0));
    assert!(namespace.selection.contains("filter kwOTUQKhbmQ="), "{}", namespace.selection);
    for n in 95..105 {
        place.client.put(&set, &int(n), true, NEVER, &number(n + 3));
        place.client.delete(&set, &int(n + 50));
    }
    let part = back_up(&repository, &source(&place, some.clone()), BackupKind::Incremental).unwrap();
    let counts = part.manifest().namespaces[0].counts;
    // 98 to 100 are above 100 now; 101 to 104 were.
    assert_eq!((counts.added, counts.changed, counts.deleted), (3, 4, 10));
    let again = back_up(&repository, &source(&place, some), BackupKind::Full).unwrap();
    assert_eq!(again.manifest().namespaces[0].state_hash, part.manifest().namespaces[0].state_hash);
    let next = back_up(&repository, &source(&place, all.clone()), BackupKind::Incremental).unwrap();
    let counts = next.manifest().namespaces[0].counts;
    assert_eq!((next.manifest().namespaces[0].parent, counts.deleted), (Some(whole.id()), 10));
    let full = back_up(&repository, &source(&place, all), BackupKind::Full).unwrap();
    assert_eq!(full.manifest().namespaces[0].state_hash, next.manifest().namespaces[0].state_hash);
    emptied(place, name);
}

#[test]
fn the_program_takes_selections_and_presets() {
    let (cluster, _) = partial::filled(2);
    let place = program::Place::new();
    let url = format!("aerospike://{}/{NAMESPACE}", cluster.address(0));
    let back_up = |arguments: &[&str]| {
        let done = place.run(&[&["backup", &url, "--json"], arguments].concat());
        assert_eq!(done.code, 0, "{arguments:?}: {done:?}");
        let json: serde_json::Value = serde_json::from_str(&done.out).unwrap();
        let namespace = &json["namespaces"][0];
        (namespace["live_records"].as_u64().unwrap(), namespace["selection"].as_str().unwrap().to_string())
    };
    let one = Digest(partial::at(7)).to_string();
    assert_eq!(back_up(&["--nice", "moderate"]), (400, String::new()));
    assert_eq!(back_up(&["--set", "s"]), (400, "set s".into()));
    assert_eq!(back_up(&["--bins", "n,m"]), (400, "bins m,n".into()));
    assert_eq!(back_up(&["--filter-exp", ABOVE_100_BASE64]), (299, format!("filter {ABOVE_100_BASE64}")));
    assert_eq!(back_up(&["--digest", &one]), (1, format!("digest {one}")));
    let times = ["--modified-after", "2020-01-01_00:00:00", "--modified-before", "2100-01-01T00:00Z", "--no-ttl-only"];
    let (some, name) = back_up(&times);
    let expected = "modified after 2020-01-01T00:00:00.000Z; modified before 2100-01-01T00:00:00.000Z; never expires";
    assert_eq!((some, name.as_str()), (400, expected));
    let reversed = ["backup", &url, "--modified-after", "2021-01-01", "--modified-before", "2020-01-01"];
    assert!(place.run(&reversed).err.contains("no record would be read"));
    let (some, name) = back_up(&["--partitions", "0-1023,2000"]);
    assert!((60..140).contains(&some) && name == "partitions 0-1023,2000", "{some} {name}");
    assert_eq!(place.run(&["verify", "latest", &url, "--partitions", "0-1023,2000"]).code, 0);
    let other = place.run(&["verify", "latest", &url]);
    assert!(other.code == 2 && other.err.contains("partitions 0-1023,2000"), "{other:?}");
    assert!(place.run(&["show", "latest"]).out.contains("selection    partitions 0-1023,2000"));
    // The whole one still counts as the parent of whole ones.
    let next = place.run(&["backup", &url, "--kind", "incremental"]);
    assert!(next.code == 0 && next.out.contains("400"), "{next:?}");
    // Nobody but a server knows which of its records that would be.
    let own = place.run(&["verify", "latest", &url, "--no-ttl-only", "--modified-after", "2020-01-01"]);
    assert!(own.code == 2 && own.err.contains("what --modified-after and --no-ttl-only selects"), "{own:?}");
    assert!(!own.err.contains("--filter-exp"), "{own:?}");
    for (option, value) in
        [("--partitions", "4096"), ("--filter-exp", "?"), ("--digest", "12"), ("--modified-after", "then")]
    {
        let wrong = place.run(&["backup", &url, option, value]);
        assert!(wrong.code == 2 && wrong.err.contains(value), "{wrong:?}");
    }
    let unknown = place.run(&["backup", &url, "--filter-exp", "wQ=="]);
    assert!(unknown.code == 1 && unknown.err.contains("--filter-exp"), "{unknown:?}");
}

#[test]
fn limits_count_for_each_node_and_for_all_together() {
    let time = |nodes: usize, options: ClusterOptions| {
        let (cluster, _) = partial::filled(nodes);
        let source = connect(&cluster.address(0), options.parallel(4)).unwrap();
        let begun = Instant::now();
        assert_eq!(scan(&source, None).unwrap().len(), 400);
        begun.elapsed().as_secs_f64()
    };
    // On a busy machine a reading may take longer than its limit asks for: then once more.
    let within = |range: std::ops::Range<f64>, nodes: usize, options: ClusterOptions| {
        let mut times = Vec::new();
        for _ in 0..3 {
            let taken = time(nodes, options.clone());
            if range.contains(&taken) {
                return taken;
            }
            times.push(taken);
        }
        panic!("{times:?} s are not within {range:?}");
    };
    // 400 records of one node, 200 of each of two.
    let node_records = quick(b"").node_records_per_second(400);
    let alone = within(0.8..3.0, 1, node_records.clone());
    within(0.35..alone.min(2.0), 2, node_records);
    // About 80 bytes a record.
    let bytes = within(0.5..4.0, 2, quick(b"").bytes_per_second(32_000));
    within(0.25..bytes.min(2.0), 2, quick(b"").node_bytes_per_second(32_000));
}
