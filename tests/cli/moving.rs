//! Commands that move records: `backup`, `restore`, `verify`, `demo`.

use super::support::{Output, Sandbox, asb, assert_id, assert_time, digest_of_person, person};
use aerolith::embedded::{EmbeddedStore, sample};
use serde_json::{Value, json};
use std::process::{Command, Stdio};

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("{name} is no number in {value}"))
}

/// The counts of a backup account for every record.
fn assert_backup_adds_up(namespace: &Value) {
    let counts = &namespace["counts"];
    let parts: u64 =
        ["added", "changed", "touched", "healed", "unchanged"].iter().map(|name| number(counts, name)).sum();
    assert_eq!(parts, number(namespace, "live_records"), "{namespace}");
}

fn assert_restore_adds_up(namespace: &Value) {
    let parts = ["written", "expired", "exists", "fresher", "failed"];
    let parts: u64 = parts.iter().map(|name| number(namespace, name)).sum();
    assert_eq!(parts, number(namespace, "read"), "{namespace}");
}

#[test]
fn backup_reports_what_it_did_with_every_record() {
    let sandbox = Sandbox::new();
    let records = [person("ann", 1, 30), person("bob", 1, 40), person("cid", 1, 50)];
    sandbox.write("people.asb", &asb("test", &records.concat()));
    let first = sandbox.json(&["backup", "asb:people.asb", "--cluster", "zoo", "--tag", "x"]);
    assert_id(&first["snapshot"], 32);
    ["started", "committed"].iter().for_each(|time| assert_time(&first[*time]));
    assert_eq!((&first["cluster"], &first["tags"], &first["missing"]), (&json!("zoo"), &json!(["x"]), &json!([])));
    assert!(first["duration_millis"].is_u64() && first["bad_records"] == json!([]));
    assert_backup_adds_up(&first["namespaces"][0]);
    sandbox.write("people.asb", &asb("test", &[person("ann", 2, 31), person("dee", 1, 20)].concat()));
    let second = sandbox.run(&["backup", "asb:people.asb", "--cluster", "zoo"]).ends(0);
    let rows: Vec<Vec<&str>> = second.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["namespace", "read", "added", "changed", "touched", "unchanged", "deleted", "records"]);
    assert_eq!(rows[1], ["test", "2", "1", "1", "0", "0", "2", "2"]);
    second.shows(&["committed snapshot "]);
}

#[test]
fn backup_of_files_that_hold_only_what_changed_says_that_deletes_are_unknown() {
    let sandbox = Sandbox::new();
    sandbox.people();
    sandbox.write("people.asb", &asb("test", &person("ann", 9, 99)));
    let partial = ["backup", "asb:people.asb", "--kind", "incremental", "--partial"];
    sandbox.run(&partial).ends(0).shows(&["what was deleted since the last full backup is unknown"]);
    let again = sandbox.json(&partial);
    let namespace = &again["namespaces"][0];
    assert_eq!((&namespace["deletes_unknown"], &namespace["live_records"]), (&json!(true), &json!(4)));
    assert_backup_adds_up(namespace);
    sandbox.run(&partial[..4]).ends(1).says(&["can't tell what was deleted", "--partial"]);
    sandbox.run(&["backup", "asb:people.asb", "--partial"]).ends(2).says(&["--partial goes with --kind"]);
    let elsewhere = ["backup", "asb:people.asb", "--kind", "differential", "--partial", "--cluster", "other"];
    sandbox
        .run(&elsewhere)
        .ends(1)
        .says(&["no earlier snapshot of namespace test of cluster \"other\"", "full one first"]);
}

#[test]
fn every_kind_of_backup_of_a_live_store_verifies_and_restores_into_every_target() {
    let sandbox = Sandbox::new();
    drop(sandbox.live());
    for (kind, seed) in [("full", 1), ("incremental", 2), ("differential", 3)] {
        // One process at a time has the store open.
        let live = EmbeddedStore::open(sandbox.path("live")).unwrap();
        sample::change(&live, "shop", 0..300, 0.1, seed).unwrap();
        sample::delete(&live, "shop", 0..300, 0.05, seed).unwrap();
        drop(live);
        let source = "embedded:live";
        let made = sandbox.json(&["backup", source, "--kind", kind]);
        let namespace = &made["namespaces"][0];
        assert_eq!(namespace["kind"], kind);
        assert_backup_adds_up(namespace);
        let same = sandbox.json(&["verify", "latest", source]);
        assert_eq!((&same["same"], &same["absent"]), (&json!(true), &json!([])));
        for target in ["asb:out-asb", "jsonl:out.jsonl", "embedded:out-embedded", "asb:out.asb"] {
            let target = target.replace("out", &format!("out-{kind}"));
            let restored = sandbox.json(&["restore", "latest", &target]);
            assert_restore_adds_up(&restored["namespaces"][0]);
            assert_eq!(restored["namespaces"][0]["written"], namespace["live_records"]);
            let same = sandbox.run(&["verify", "latest:shop", &target]).ends(0);
            same.shows(&["is as in snapshot", "0 only in the snapshot, 0 only in the source, 0 changed"]);
        }
    }
}

#[test]
fn verify_names_every_difference_and_ends_with_3() {
    let sandbox = Sandbox::new();
    sandbox.people();
    let different = sandbox.run(&["verify", "latest~1", "asb:people.asb"]).ends(3);
    different.shows(&[
        &format!("only in the snapshot: test {}", digest_of_person("cid")),
        &format!("only in the source: test {}", digest_of_person("dee")),
        &format!("changed: test {}", digest_of_person("ann")),
        "differs from snapshot",
    ]);
    let json = |command: &mut std::process::Command| {
        command.args(["--quiet", "--json"]);
    };
    let found = sandbox.run_with(&["verify", "latest~1", "asb:people.asb"], json).ends(3).json();
    assert_eq!((&found["same"], number(&found["namespaces"][0], "records_in_source")), (&json!(false), 4));
    assert_eq!(found["namespaces"][0]["changed"], json!([digest_of_person("ann")]));
    sandbox.write("other.asb", &asb("other", ""));
    let absent = sandbox.run_with(&["verify", "latest", "asb:other.asb"], json).ends(3).json();
    assert_eq!((&absent["absent"], &absent["not_in_snapshot"]), (&json!(["test"]), &json!(["other"])));
    let twice = ["verify", "latest:test/people", "asb:people.asb", "--set", "numbers"];
    sandbox.run(&twice).ends(2).says(&["the set is given twice"]);
    sandbox.run(&["verify", "latest", "asb:absent"]).ends(1).says(&["source asb:absent not found"]);
}

#[test]
fn restore_takes_a_namespace_a_set_or_single_records() {
    let sandbox = Sandbox::new();
    sandbox.people();
    let keys = |file: &str| {
        let text = std::fs::read_to_string(sandbox.path(file)).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut keys: Vec<String> =
            lines.filter(|line| line["kind"] == "record").map(|line| line["key"]["value"].to_string()).collect();
        keys.sort();
        keys
    };
    let report = sandbox.json(&["restore", "latest:test/people", "jsonl:set.jsonl"]);
    assert_eq!(keys("set.jsonl"), ["\"ann\"", "\"bob\"", "\"dee\""]);
    assert_eq!((&report["omissions"], &report["namespaces"][0]["not_found"]), (&json!([]), &json!([])));
    sandbox.json(&["restore", "latest~1:test/people", "jsonl:keys.jsonl", "--key", "cid", "--key", "s:bob"]);
    assert_eq!(keys("keys.jsonl"), ["\"bob\"", "\"cid\""]);
    sandbox.write("list", "ann\r\n\ndee\n");
    sandbox.json(&["restore", "latest:test/people", "jsonl:list.jsonl", "--key-file", "list"]);
    assert_eq!(keys("list.jsonl"), ["\"ann\"", "\"dee\""]);
    sandbox.write("digests", &format!("{}\n{}\n", digest_of_person("ann"), digest_of_person("bob")));
    sandbox.json(&["restore", "latest:test", "jsonl:digests.jsonl", "--digest-file", "digests"]);
    assert_eq!(keys("digests.jsonl"), ["\"ann\"", "\"bob\""]);
    sandbox.json(&["restore", "latest", "jsonl:number.jsonl", "--digest", &digest_of_person("dee")]);
    assert_eq!(keys("number.jsonl"), ["\"dee\""]);
}

#[test]
fn restore_names_what_it_did_not_find_and_ends_with_3() {
    let sandbox = Sandbox::new();
    sandbox.people();
    let some = ["restore", "latest:test/people", "jsonl:some.jsonl", "--key", "ann", "--key", "zoe"];
    let output = sandbox.run(&some).ends(3);
    output
        .says(&[&format!(
            "not in the snapshot: test {} (key \"zoe\"). Keys count within their set",
            digest_of_person("zoe")
        )])
        .shows(&["1 record not found"]);
    let without_set = sandbox.run(&["restore", "latest:test", "jsonl:other.jsonl", "--key", "ann"]).ends(3);
    without_set.says(&["No set was named", "SNAPSHOT:NAMESPACE/SET"]).shows(&["1 record not found"]);
    sandbox.run(&["restore", "latest:test/poeple", "jsonl:none.jsonl"]).ends(1).says(&["set \"poeple\"", "not found"]);
    sandbox.write("bad", "not-a-digest\n");
    sandbox.write("none", "\n\n");
    let digests = |file| ["restore", "latest:test", "jsonl:x.jsonl", "--digest-file", file];
    sandbox.run(&digests("bad")).ends(1).says(&["digest 1 of bad", "40 hexadecimal digits"]);
    sandbox.run(&digests("none")).ends(1).says(&["none holds no digests"]);
    sandbox.run(&digests("absent")).ends(1).says(&["cannot read digests from absent"]);
    sandbox.run(&["restore", "latest:test", "jsonl:x.jsonl", "--key", "i:z"]).ends(2).says(&["64-bit integer"]);
    assert!(!sandbox.path("x.jsonl").exists());
}

#[test]
fn restore_into_a_live_store_obeys_the_conflict_policy_and_leaves_out_what_has_expired() {
    let sandbox = Sandbox::new();
    // Record 7 is valid; the one with void time 1 expired in 2010.
    let old = person("old", 1, 1).replace("+ t 0", "+ t 1");
    sandbox.write("a.asb", &asb("test", &[person("ann", 5, 30), person("bob", 5, 40), old].concat()));
    sandbox.json(&["backup", "asb:a.asb"]);
    let restore = |arguments: &[&str]| {
        let mut all = vec!["restore", "latest", "embedded:store"];
        all.extend(arguments);
        let report = sandbox.json(&all)["namespaces"][0].clone();
        assert_restore_adds_up(&report);
        ["read", "written", "expired", "exists", "fresher"].map(|name| number(&report, name))
    };
    assert_eq!(restore(&[]), [3, 2, 1, 0, 0]);
    assert_eq!(restore(&["--conflict", "keep"]), [3, 0, 1, 2, 0]);
    assert_eq!(restore(&["--conflict", "newer"]), [3, 0, 1, 0, 2]);
    assert_eq!(restore(&["--conflict", "replace"]), [3, 2, 1, 0, 0]);
    assert_eq!(restore(&["--rename", "other", "--conflict", "keep"]), [3, 2, 1, 0, 0]);
    let store = EmbeddedStore::open(sandbox.path("store")).unwrap();
    assert_eq!(store.reader().unwrap().namespaces().unwrap(), ["other", "test"]);
    // A file keeps what has expired.
    assert_eq!(sandbox.json(&["restore", "latest", "jsonl:all.jsonl"])["namespaces"][0]["written"], 3);
}

#[test]
fn several_sources_become_one_snapshot() {
    let sandbox = Sandbox::new();
    sandbox.write("a.asb", &asb("test", &person("ann", 5, 30)));
    sandbox.write("b.asb", &asb("bar", &person("bob", 5, 40).replace("+ n test", "+ n bar")));
    let names = |value: &Value| -> Vec<String> {
        let namespaces = value["namespaces"].as_array().unwrap().iter();
        namespaces.map(|one| one["namespace"].as_str().unwrap().to_string()).collect()
    };
    let both = sandbox.json(&["backup", "asb:a.asb", "asb:b.asb"]);
    assert_eq!(names(&both), ["bar", "test"]);
    assert_eq!(names(&sandbox.json(&["backup", "asb:a.asb", "asb:b.asb", "--namespace", "bar"])), ["bar"]);
    sandbox.run(&["backup", "asb:a.asb", "asb:a.asb"]).ends(2).says(&["namespace test is in asb:a.asb and in"]);
    let unknown = sandbox.run(&["backup", "asb:a.asb", "asb:b.asb", "--namespace", "c"]).ends(1);
    unknown.says(&["namespace c not found", "asb:a.asb and asb:b.asb have test, bar"]);
}

#[test]
fn restore_renames_the_namespace_of_files_too() {
    let sandbox = Sandbox::new();
    sandbox.people();
    let report = sandbox.json(&["restore", "latest:test", "asb:out", "--rename", "copy", "--zstd", "3"]);
    assert_eq!(report["namespaces"][0]["target_namespace"], "copy");
    let copied = sandbox.json(&["backup", "asb:out", "--cluster", "copy"]);
    assert_eq!(copied["namespaces"][0]["namespace"], "copy");
    assert_eq!(copied["namespaces"][0]["live_records"], 4);
}

#[test]
fn records_on_standard_output_are_not_mixed_with_the_report() {
    let sandbox = Sandbox::new();
    sandbox.people();
    let output = sandbox.run(&["restore", "latest", "jsonl:-"]).ends(0);
    assert_eq!(output.json_lines().iter().filter(|line| line["kind"] == "record").count(), 4);
    let output = output.says(&["written", "restored into jsonl:-"]);
    sandbox.write("copy.jsonl", &output.out);
    sandbox.run(&["verify", "latest", "jsonl:copy.jsonl"]).ends(0);
    let file = std::fs::File::open(sandbox.path("copy.jsonl")).unwrap();
    let piped = sandbox.run_with(&["backup", "jsonl:-", "--cluster", "asb", "--quiet", "--json"], |command| {
        command.stdin(file);
    });
    assert_eq!(piped.ends(0).json()["namespaces"][0]["live_records"], 4);
}

/// Runs the program with a file's bytes on a pipe.
fn piped(sandbox: &Sandbox, file: &str, arguments: &[&str]) -> Output {
    let mut writer = Command::new("cat").arg(sandbox.path(file)).stdout(Stdio::piped()).spawn().unwrap();
    let output = sandbox.run_with(arguments, |command| {
        command.arg("--quiet").stdin(writer.stdout.take().unwrap());
    });
    writer.wait().unwrap();
    output
}

#[test]
fn an_asb_backup_comes_and_goes_through_pipes() {
    let sandbox = Sandbox::new();
    sandbox.people();
    for packing in [&[][..], &["--zstd", "3"]] {
        let restored = sandbox.command(&[&["restore", "latest:test", "asb:-"], packing].concat()).output().unwrap();
        assert!(restored.status.success());
        assert!(String::from_utf8_lossy(&restored.stderr).contains("restored into asb:-"));
        std::fs::write(sandbox.path("copy.asb"), &restored.stdout).unwrap();
        sandbox.run(&["verify", "latest", "asb:copy.asb"]).ends(0);
        let taken = piped(&sandbox, "copy.asb", &["backup", "asb:-", "--json", "--cluster", "asb"]).ends(0);
        assert_eq!(taken.json()["namespaces"][0]["live_records"], 4);
        piped(&sandbox, "copy.asb", &["verify", "latest", "asb:-"]).ends(0);
        // What is cut off inside a record is noticed, wherever it comes from.
        std::fs::write(sandbox.path("cut.asb"), &restored.stdout[..restored.stdout.len() - 3]).unwrap();
        let failed = piped(&sandbox, "cut.asb", &["backup", "asb:-", "--cluster", "cut"]).ends(1);
        failed.says(&["standard input", "at byte"]);
    }
    sandbox.write("garbage", "garbage, not asb");
    piped(&sandbox, "garbage", &["backup", "asb:-"]).ends(1).says(&["standard input: it begins neither"]);
    sandbox.run(&["backup", "asb:-"]).ends(1).says(&["standard input at byte 0", "found \"\""]);
    sandbox.json(&["restore", "latest", "embedded:store"]);
    sandbox.json(&["restore", "latest", "embedded:store", "--rename", "other"]);
    sandbox.json(&["backup", "embedded:store", "--cluster", "asb"]);
    sandbox.run(&["restore", "latest", "asb:-"]).ends(1).says(&["one .asb file holds one namespace"]);
}

#[test]
fn an_asb_backup_is_read_from_a_named_pipe_once() {
    let sandbox = Sandbox::new();
    sandbox.people();
    assert!(Command::new("mkfifo").arg(sandbox.path("pipe")).status().unwrap().success());
    let (pipe, text) = (sandbox.path("pipe"), std::fs::read(sandbox.path("people.asb")).unwrap());
    let writer = std::thread::spawn(move || std::fs::write(pipe, text).unwrap());
    sandbox.run(&["verify", "latest", "asb:pipe"]).ends(0);
    writer.join().unwrap();
}

#[test]
fn several_namespaces_are_restored_together_and_named_where_one_is_needed() {
    let sandbox = Sandbox::new();
    sandbox.people();
    sandbox.json(&["restore", "latest", "embedded:store"]);
    sandbox.json(&["restore", "latest", "embedded:store", "--rename", "other"]);
    let made = sandbox.json(&["backup", "embedded:store", "--cluster", "asb"]);
    assert_eq!(made["namespaces"].as_array().unwrap().len(), 2);
    let text = sandbox.run(&["restore", "latest", "asb:both"]).ends(0);
    text.shows(&["in all        8", "other", "test"]);
    sandbox.run(&["restore", "latest", "asb:x", "--rename", "y"]).ends(2).says(&["--rename needs a single namespace"]);
    sandbox.run(&["restore", "latest", "asb:x", "--key", "ann"]).ends(2).says(&["It has other, test"]);
    let one = sandbox.json(&["backup", "embedded:store", "--namespace", "other", "--cluster", "one"]);
    assert_eq!(one["namespaces"].as_array().unwrap().len(), 1);
    let unknown = sandbox.run(&["backup", "embedded:store", "--namespace", "none"]).ends(1);
    unknown.says(&["namespace none not found", "has other, test"]);
}

#[test]
fn the_demo_proves_all_three_kinds_equal() {
    let sandbox = Sandbox::empty();
    let demo = sandbox.json(&["demo", "--records", "300", "--directory", "demo"]);
    let backups = demo["backups"].as_array().unwrap();
    assert_eq!(backups.iter().map(|row| &row["kind"]).collect::<Vec<_>>(), ["full", "incremental", "differential"]);
    assert!(backups.iter().all(|row| row["equal"] == true), "{demo}");
    let text = sandbox.run(&["demo", "--records", "100"]).ends(0);
    text.shows(&["yes, every record", "export AEROLITH_REPO="]);
    sandbox.run(&["demo", "--records", "0"]).ends(2);
    sandbox.run(&["demo", "--directory", "demo"]).ends(1).says(&["demo"]);
}

#[test]
fn without_a_terminal_progress_is_log_lines_on_standard_error() {
    let sandbox = Sandbox::new();
    sandbox.write("people.asb", &asb("test", &person("ann", 1, 30)));
    let output = sandbox.run_with(&["backup", "asb:people.asb", "--json"], |_| {}).ends(0);
    output.json();
    let line = output.err.lines().next().unwrap();
    assert!(line.starts_with("aerolith: 2") && line.ends_with("backing up asb:people.asb: begun"), "{line}");
    assert_eq!(sandbox.run(&["check"]).ends(0).err, "");
}
