//! The options of `restore`: which records, how, and what is said about it.

use super::support::{Output, Sandbox, asb, digest_of_person, number, person};
use aerolith::embedded::{Bin, EmbeddedStore, Key};
use aerolith::record::{SecondaryIndex, UdfModule};
use serde_json::{Value, json};
use std::path::Path;

fn json(command: &mut std::process::Command) {
    command.args(["--quiet", "--json"]);
}

fn count(report: &Value, name: &str) -> u64 {
    report["namespaces"][0][name].as_u64().unwrap_or_else(|| panic!("{name} in {report}"))
}

fn counts<const N: usize>(report: &Value, names: [&str; N]) -> [u64; N] {
    names.map(|name| count(report, name))
}

fn key(name: &str) -> Key {
    Key::from(name)
}

/// The ages of people in the store `store`, or nothing for those who are not there.
fn ages(sandbox: &Sandbox, names: &[&str]) -> Vec<Option<i64>> {
    let store = EmbeddedStore::open(sandbox.path("store")).unwrap();
    let age = |name: &&str| {
        let record = store.get("test", b"people", &key(name)).unwrap()?;
        let bin = record.bins.iter().find(|bin| &*bin.name == b"age")?;
        Some(i64::from_be_bytes(bin.bytes[..].try_into().unwrap()))
    };
    names.iter().map(age).collect()
}

/// Puts somebody into the store `store`.
fn put(sandbox: &Sandbox, name: &str, bins: &[Bin]) {
    let store = EmbeddedStore::open(sandbox.path("store")).unwrap();
    store.put("test", b"people", &key(name), bins, 0).unwrap();
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Of a file of JSON lines, the keys of its records.
fn keys(sandbox: &Sandbox, file: &str) -> Vec<String> {
    let lines = lines(&sandbox.path(file));
    let mut keys: Vec<String> = lines
        .iter()
        .filter(|line| line["kind"] == "record")
        .map(|line| line["key"]["value"].to_string().replace('"', ""))
        .collect();
    keys.sort();
    keys
}

#[test]
fn a_dry_run_writes_nothing_anywhere_and_counts_as_the_restore_does() {
    let sandbox = Sandbox::new();
    sandbox.people();
    let before = sandbox.json(&["restore", "latest~1", "embedded:store"]);
    assert_eq!((&before["dry_run"], count(&before, "written")), (&json!(false), 4));
    for target in ["asb:out", "asb:out.asb", "asb:-", "jsonl:out.jsonl", "jsonl:-", "embedded:out"] {
        let dry = sandbox.json(&["restore", "latest", target, "--dry-run"]);
        assert_eq!((&dry["dry_run"], counts(&dry, ["read", "written"])), (&json!(true), [4, 4]), "{target}");
        let text = sandbox.run(&["restore", "latest", target, "-n"]).ends(0);
        text.shows(&["would write", "dry run: nothing was written into"]);
    }
    assert!(["out", "out.asb", "out.jsonl", "-", "-.partial"].iter().all(|name| !sandbox.path(name).exists()));
    let names = ["read", "written", "exists", "fresher"];
    for (policy, expected) in [("keep", [4, 1, 3, 0]), ("newer", [4, 3, 0, 1]), ("replace", [4, 4, 0, 0])] {
        let arguments = ["restore", "latest", "embedded:store", "--conflict", policy, "--dry-run"];
        assert_eq!(counts(&sandbox.json(&arguments), names), expected, "{policy}");
        assert_eq!(ages(&sandbox, &["ann", "dee"]), [Some(30), None]);
    }
    assert_eq!(
        counts(&sandbox.json(&["restore", "latest", "embedded:store", "--conflict", "newer"]), names),
        [4, 3, 0, 1]
    );
    // What could not be restored into can't be tried.
    sandbox.write("there.jsonl", "mine");
    sandbox.run(&["restore", "latest", "jsonl:there.jsonl", "-n"]).ends(1).says(&["the file exists"]);
    sandbox.run(&["restore", "latest", "jsonl:absent/x.jsonl", "-n"]).ends(1).says(&["absent"]);
    sandbox.run(&["restore", "latest", "embedded:.", "-n"]).ends(1).says(&["the directory is not empty"]);
    sandbox.run(&["restore", "latest", "asb:.", "-n"]).ends(1).says(&["holds .asb files already"]);
}

#[test]
fn merge_writes_over_the_bins_of_the_snapshot_and_keeps_the_others() {
    let sandbox = Sandbox::new();
    sandbox.people();
    sandbox.json(&["restore", "latest:test/people", "embedded:store", "--key", "bob"]);
    put(&sandbox, "ann", &[Bin::integer("age", 99), Bin::string("mail", "a@b")]);
    let merged = sandbox.json(&["restore", "latest", "embedded:store", "--conflict", "merge", "--verify"]);
    assert_eq!((count(&merged, "written"), &merged["namespaces"][0]["verification"]["same"]), (4, &json!(true)));
    assert_eq!(ages(&sandbox, &["ann", "bob", "dee"]), [Some(31), Some(40), Some(20)]);
    let store = EmbeddedStore::open(sandbox.path("store")).unwrap();
    let ann = store.get("test", b"people", &key("ann")).unwrap().unwrap();
    let names: Vec<&[u8]> = ann.bins.iter().map(|bin| &*bin.name).collect();
    assert_eq!((names, ann.generation.0), (vec![&b"age"[..], b"mail"], 2));
    drop(store);
    for target in ["asb:out", "jsonl:out.jsonl"] {
        let refused = sandbox.run(&["restore", "latest", target, "--conflict", "merge"]).ends(2);
        refused.says(&["--conflict goes with aerospike:// and embedded: alone", "files are new"]);
    }
}

#[test]
fn sets_partitions_and_bins_can_be_chosen() {
    let sandbox = Sandbox::new();
    sandbox.people();
    sandbox.json(&["restore", "latest:test", "jsonl:sets.jsonl", "--set", "people", "--set", "numbers"]);
    assert_eq!(keys(&sandbox, "sets.jsonl"), ["7", "ann", "bob", "dee"]);
    sandbox.json(&["restore", "latest:test", "jsonl:one.jsonl", "--set", "numbers"]);
    assert_eq!(keys(&sandbox, "one.jsonl"), ["7"]);
    let partition = |name: &str| {
        let hex = digest_of_person(name);
        let byte = |at: usize| u16::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (byte(0) | byte(2) << 8) & 4095
    };
    let (ann, dee) = (partition("ann"), partition("dee"));
    let ranges = format!("{ann},{dee}-{dee}");
    let report = sandbox.json(&["restore", "latest", "jsonl:parts.jsonl", "--partitions", &ranges, "--verify"]);
    assert_eq!(keys(&sandbox, "parts.jsonl"), ["ann", "dee"]);
    assert_eq!(report["namespaces"][0]["verification"]["records"], 2);
    let report = sandbox.json(&["restore", "latest", "jsonl:bins.jsonl", "--bins", "age,mail", "--verify"]);
    assert_eq!(counts(&report, ["read", "written", "without_bins"]), [4, 3, 1]);
    // Of bins that no record has nothing is restored, which is no success.
    let none = sandbox.run(&["restore", "latest", "jsonl:none.jsonl", "--bins", "nope,neither"]).ends(3);
    none.says(&["no selected record has a bin neither or nope"]);
    assert_eq!(report["namespaces"][0]["verification"]["records"], 3);
    assert_eq!(keys(&sandbox, "bins.jsonl"), ["ann", "bob", "dee"]);
    sandbox.run(&["restore", "latest", "asb:bins", "--bins", "age"]).ends(0).shows(&["no bins"]);
    let wrong = |arguments: &[&str], says: &[&str]| {
        let mut all = vec!["restore", "latest:test"];
        all.extend(arguments);
        sandbox.run(&all).ends(2).says(says);
    };
    wrong(&["embedded:store", "--bins", "age"], &["--bins needs --conflict", "merge"]);
    for ranges in ["4096", "7-3", "x", ""] {
        wrong(&["asb:x", "--partitions", ranges], &["--partitions", "0-1023,2000"]);
    }
    wrong(&["asb:x", "--partitions", "1", "--digest", &digest_of_person("ann")], &["leave out --partitions"]);
    wrong(&["asb:x", "--set", "a", "--set", "b", "--key", "c"], &["a single --set"]);
    sandbox.run(&["restore", "latest:test/a", "asb:x", "--set", "b"]).ends(2).says(&["the set is given twice"]);
    sandbox
        .run(&["restore", "latest:test", "asb:x", "--set", "b"])
        .ends(1)
        .says(&["a record of set \"b\"", "not found"]);
}

#[test]
fn records_can_live_longer_or_for_ever() {
    let sandbox = Sandbox::new();
    // It expired in 2010.
    let old = person("old", 1, 1).replace("+ t 0", "+ t 1");
    sandbox.write("a.asb", &asb("test", &[person("ann", 1, 30), number(7, 1), old].concat()));
    sandbox.json(&["backup", "asb:a.asb"]);
    let void_times = |file: &str| -> Vec<u64> {
        let lines = lines(&sandbox.path(file));
        let mut found: Vec<u64> = lines.iter().filter_map(|line| line["void_time"].as_u64()).collect();
        found.sort_unstable();
        found
    };
    for (n, (options, expected)) in [
        (vec![], [0, 1, 631_152_000]),
        (vec!["--extra-ttl", "100"], [0, 101, 631_152_100]),
        (vec!["--no-ttl"], [0, 0, 0]),
    ]
    .into_iter()
    .enumerate()
    {
        let target = format!("jsonl:{n}.jsonl");
        let mut arguments = vec!["restore", "latest", &target];
        arguments.extend(options);
        sandbox.json(&arguments);
        assert_eq!(void_times(&format!("{n}.jsonl")), expected);
    }
    let into = |options: &[&str]| {
        let mut arguments = vec!["restore", "latest", "embedded:store", "--dry-run"];
        arguments.extend(options);
        counts(&sandbox.json(&arguments), ["written", "expired"])
    };
    assert_eq!(into(&[]), [2, 1]);
    assert_eq!(into(&["--extra-ttl", "315360000"]), [2, 1]);
    assert_eq!(into(&["--no-ttl"]), [3, 0]);
    sandbox.run(&["restore", "latest", "asb:x", "--no-ttl", "--extra-ttl", "1"]).ends(2).says(&["cannot be used with"]);
    sandbox.run(&["restore", "latest", "asb:x", "--extra-ttl", "0"]).ends(2).says(&["--extra-ttl"]);
}

#[test]
fn indexes_and_modules_can_be_left_out_or_come_last() {
    let sandbox = Sandbox::new();
    let live = sandbox.live();
    let index = SecondaryIndex {
        name: b"by_n".to_vec(),
        kind: b'N',
        bin: b"n".to_vec(),
        value: b'N',
        ..SecondaryIndex::default()
    };
    live.put_index("shop", index).unwrap();
    live.put_udf("shop", UdfModule { kind: b'L', name: b"a.lua".to_vec(), content: b"-- a".to_vec() }).unwrap();
    drop(live);
    sandbox.json(&["backup", "embedded:live"]);
    let cases: [(&[&str], _); 5] = [
        (&[], (1, 1)),
        (&["--no-indexes"], (0, 1)),
        (&["--no-udfs"], (1, 0)),
        (&["--no-metadata"], (0, 0)),
        (&["--no-indexes", "--no-udfs"], (0, 0)),
    ];
    for (n, (options, expected)) in cases.into_iter().enumerate() {
        let (file, store) = (format!("jsonl:{n}.jsonl"), format!("embedded:{n}"));
        for target in [&file, &store] {
            let mut arguments = vec!["restore", "latest", target, "--rename", "other"];
            arguments.extend(options);
            sandbox.run(&arguments).ends(0);
        }
        let kinds: Vec<Value> = lines(&sandbox.path(&format!("{n}.jsonl")));
        let of = |kind: &str| kinds.iter().filter(|line| line["kind"] == kind && line["namespace"] == "other").count();
        assert_eq!((of("index"), of("udf")), expected);
        let there = EmbeddedStore::open(sandbox.path(&n.to_string())).unwrap().metadata("other").unwrap();
        assert_eq!((there.indexes.len(), there.udfs.len()), expected);
    }
    sandbox.run(&["restore", "latest", "embedded:last", "--indexes-last"]).ends(0);
    let there = EmbeddedStore::open(sandbox.path("last")).unwrap().metadata("shop").unwrap();
    assert_eq!((there.indexes.len(), there.udfs.len()), (1, 1));
    let file = sandbox.run(&["restore", "latest", "asb:last-asb", "--indexes-last"]).ends(2);
    file.says(&["indexes come before the records", "leave out --indexes-last"]);
    sandbox.run(&["restore", "latest", "asb:x", "--indexes-last", "--no-indexes"]).ends(2);
}

#[test]
fn users_and_roles_go_where_they_can_be_kept_and_are_named_where_not() {
    let sandbox = Sandbox::new();
    let lines_of_access = [
        concat!(
            r#"{"kind":"role","namespace":"shop","name":"auditor","#,
            r#""privileges":[{"code":10,"privilege":"read","namespace":"shop","set":"orders"}],"#,
            r#""allow_list":"10.0.0.0/8","read_quota":100}"#,
        ),
        r#"{"kind":"user","namespace":"shop","name":"ann","roles":["auditor","read-write"]}"#,
        r#"{"kind":"user","namespace":"shop","name":"bob","roles":[]}"#,
    ];
    let record = r#"{"namespace":"shop","key":{"type":"integer","value":1},"bins":[]}"#;
    let header = r#"{"aerolith":"jsonl","version":1}"#;
    sandbox.write("in.jsonl", &[header, lines_of_access.join("\n").as_str(), record].join("\n"));
    sandbox.json(&["backup", "jsonl:in.jsonl"]);
    sandbox.run(&["restore", "latest", "jsonl:out.jsonl"]).ends(0);
    let text = std::fs::read_to_string(sandbox.path("out.jsonl")).unwrap();
    assert!(lines_of_access.iter().all(|line| text.lines().any(|written| written == *line)), "{text}");
    sandbox.run(&["restore", "latest", "embedded:store"]).ends(0);
    let kept = EmbeddedStore::open(sandbox.path("store")).unwrap().metadata("shop").unwrap();
    assert_eq!((kept.roles[0].privileges.len(), kept.users[0].roles.len(), kept.users.len()), (1, 2, 2));
    // A file of asbackup can't hold them: that is said, unless they are not asked for.
    let named = sandbox.run(&["restore", "latest", "asb:out"]).ends(3);
    let said = format!("{}{}", named.out, named.err);
    assert!(said.contains("1 role and 2 users: files of asbackup hold none; --no-users"), "{said}");
    sandbox.run(&["restore", "latest", "asb:without", "--no-users"]).ends(0);
}

#[test]
fn what_was_restored_is_read_back_from_every_target() {
    let sandbox = Sandbox::new();
    sandbox.people();
    let all = ["asb:out", "asb:out.asb", "jsonl:out.jsonl", "embedded:store"];
    for target in all {
        let report = sandbox.json(&["restore", "latest", target, "--verify"]);
        let found = &report["namespaces"][0]["verification"];
        assert_eq!((&found["same"], &found["records"]), (&json!(true), &json!(4)), "{target}");
        assert_eq!((&found["missing"], &found["changed"], &found["extra"]), (&json!([]), &json!([]), &json!([])));
    }
    assert_eq!(sandbox.json(&["restore", "latest", "asb:none"])["namespaces"][0]["verification"], Value::Null);
    let text = sandbox.run(&["restore", "latest:test/people", "embedded:store", "--verify", "--key", "ann"]).ends(0);
    text.shows(&["read back test: 1 record compared, 0 missing, 0 changed"]);
    for output in ["jsonl:-", "asb:-"] {
        sandbox.run(&["restore", "latest", output, "--verify"]).ends(2).says(&["can't be read back"]);
    }
    sandbox.run(&["restore", "latest", "asb:x", "--verify", "-n"]).ends(2).says(&["cannot be used with"]);
}

#[test]
fn a_mirror_asks_first_and_deletes_what_the_snapshot_lacks() {
    let sandbox = Sandbox::new();
    sandbox.people();
    sandbox.json(&["restore", "latest~1", "embedded:store"]);
    let mirror = |more: &[&str]| -> Output {
        let mut arguments = vec!["restore", "latest", "embedded:store", "--mirror"];
        arguments.extend(more);
        sandbox.run_with(&arguments, json)
    };
    mirror(&[]).ends(2).says(&["there is no terminal to ask on", "--yes", "--dry-run"]);
    let dry = mirror(&["--dry-run"]).ends(0).json();
    assert_eq!(counts(&dry, ["written", "deleted"]), [4, 1]);
    assert_eq!(ages(&sandbox, &["ann", "cid"]), [Some(30), Some(50)]);
    let done = mirror(&["--yes", "--verify"]).ends(0).json();
    assert_eq!(counts(&done, ["written", "deleted", "not_deleted"]), [4, 1, 0]);
    assert_eq!(ages(&sandbox, &["ann", "bob", "cid", "dee"]), [Some(31), Some(40), None, Some(20)]);
    sandbox.run(&["verify", "latest", "embedded:store"]).ends(0);
    // Other sets are not its matter.
    sandbox.json(&["restore", "latest~1", "embedded:store"]);
    let set = ["restore", "latest:test/numbers", "embedded:store", "--mirror", "--yes"];
    assert_eq!(counts(&sandbox.json(&set), ["read", "deleted"]), [1, 0]);
    assert_eq!(ages(&sandbox, &["cid"]), [Some(50)]);
    let text = sandbox.run(&["restore", "latest", "embedded:store", "--mirror", "--yes"]).ends(0);
    text.shows(&["deleted"]);
    let wrong = |arguments: &[&str], says: &[&str]| {
        let mut all = vec!["restore", "latest:test"];
        all.extend(arguments);
        sandbox.run(&all).ends(2).says(says);
    };
    wrong(&["asb:x", "--mirror", "--yes"], &["leave out --mirror"]);
    // Whether or not anybody could say yes.
    wrong(&["asb:x", "--mirror"], &["leave out --mirror"]);
    wrong(&["embedded:store", "--mirror", "--yes", "--key", "a"], &["not for single records"]);
    wrong(&["embedded:store", "--mirror", "--yes", "--conflict", "keep"], &["--conflict replace alone"]);
    wrong(&["embedded:store", "--yes"], &["--mirror"]);
}

#[test]
fn a_snapshot_that_misses_something_is_no_mirror() {
    let sandbox = Sandbox::new();
    let broken = format!("{}+ k S 3 bad\n+ n test\n+ d !\n", person("ann", 1, 30));
    sandbox.write("a.asb", &asb("test", &broken));
    sandbox.run(&["backup", "asb:a.asb", "--skip-bad-records"]);
    put_store(&sandbox);
    let refused = sandbox.run(&["restore", "latest", "embedded:store", "--mirror", "--yes"]).ends(1);
    refused.says(&["is no mirror", "nothing is deleted", "without --mirror"]);
    assert_eq!(ages(&sandbox, &["bob", "ann"]), [Some(1), None]);
}

#[test]
fn a_mirror_of_namespaces_of_which_one_is_no_mirror_writes_none() {
    let sandbox = Sandbox::new();
    sandbox.write("a.asb", &asb("test", &person("ann", 1, 30)));
    sandbox.write("b.asb", &asb("zoo", &number(7, 1).replace("+ n test", "+ n zoo")));
    sandbox.run(&["backup", "asb:a.asb", "asb:b.asb", "--cluster", "two"]).ends(0);
    put_store(&sandbox);
    let refused = sandbox.run(&["restore", "latest", "embedded:store", "--set", "people", "--mirror", "--yes"]).ends(1);
    refused.says(&["people", "zoo"]);
    assert_eq!(ages(&sandbox, &["bob", "ann"]), [Some(1), None]);
}

/// A store with Bob in it.
fn put_store(sandbox: &Sandbox) {
    let store = EmbeddedStore::create(sandbox.path("store")).unwrap();
    store.put("test", b"people", &key("bob"), &[Bin::integer("age", 1)], 0).unwrap();
}

#[test]
fn a_restore_that_is_run_again_passes_over_what_is_there_already() {
    let sandbox = Sandbox::new();
    sandbox.people();
    let resume = || {
        let report = sandbox.json(&["restore", "latest", "embedded:store", "--resume"]);
        counts(&report, ["read", "written", "same"])
    };
    // As a restore that was killed leaves it.
    sandbox.json(&["restore", "latest:test/people", "embedded:store", "--key", "ann", "--key", "bob"]);
    assert_eq!(resume(), [4, 2, 2]);
    assert_eq!(resume(), [4, 0, 4]);
    put(&sandbox, "dee", &[Bin::integer("age", 21)]);
    assert_eq!(resume(), [4, 1, 3]);
    EmbeddedStore::open(sandbox.path("store")).unwrap().truncate("test", None).unwrap();
    assert_eq!(resume(), [4, 4, 0]);
    let text = sandbox.run(&["restore", "latest", "embedded:store", "--resume", "--dry-run"]).ends(0);
    text.shows(&["would write", "same"]);
    sandbox.run(&["restore", "latest", "asb:x", "--resume"]).ends(2).says(&["can't be resumed", "leave out --resume"]);
}
