//! Records that a target refuses, and files that are restored without a repository.

use super::support::{Sandbox, asb, person};
use aerolith::embedded::EmbeddedStore;
use serde_json::{Value, json};

/// Its generation is more than `.asb` files hold.
const OLD: &str = r#"{"namespace":"test","set":"people","key":{"type":"string","value":"old"},"generation":70000,
"void_time":0,"bins":[{"name":"age","type":"integer","value":90}]}"#;

fn lines(sandbox: &Sandbox, file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(sandbox.path(file)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A repository with a snapshot of two people, one of whom `.asb` files can't hold.
fn with_one_to_refuse() -> Sandbox {
    let sandbox = Sandbox::new();
    let young = OLD.replace("old", "young").replace("70000", "7");
    let header = r#"{"aerolith":"jsonl","version":1}"#;
    sandbox.write("in.jsonl", &[header, &OLD.replace('\n', ""), &young.replace('\n', "")].join("\n"));
    sandbox.run(&["backup", "jsonl:in.jsonl", "--cluster", "c"]).ends(0);
    sandbox
}

#[test]
fn what_a_target_refuses_is_kept_and_restored_later() {
    let sandbox = with_one_to_refuse();
    let restored = sandbox.run(&["restore", "latest", "asb:out", "--failed-to", "refused.jsonl"]).ends(3);
    restored
        .says(&["failed: test ", "generation 70000"])
        .shows(&["refused 1 record, kept in refused.jsonl: aerolith restore jsonl:refused.jsonl"]);
    let kept = lines(&sandbox, "refused.jsonl");
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert_eq!((&kept[1]["key"]["value"], &kept[1]["generation"]), (&json!("old"), &json!(70000)));
    assert!(kept[1]["refused"].as_str().unwrap().contains("generation 70000"), "{kept:?}");
    let again = sandbox.json(&["restore", "jsonl:refused.jsonl", "jsonl:again.jsonl"]);
    assert_eq!(again["namespaces"][0]["written"], 1);
    assert_eq!((&again["source"], &again["snapshot"]), (&json!("jsonl:refused.jsonl"), &json!("")));
    let again = lines(&sandbox, "again.jsonl");
    let mut without = kept[1].clone();
    without.as_object_mut().unwrap().remove("refused");
    assert_eq!(again[1], without);
}

#[test]
fn the_file_of_refused_records_is_made_only_for_some_and_never_written_over() {
    let sandbox = with_one_to_refuse();
    let report = sandbox.json(&["restore", "latest", "jsonl:all.jsonl", "--failed-to", "refused.jsonl"]);
    assert_eq!((&report["kept_failed"], report.get("failed_to")), (&json!(0), None));
    assert!(!sandbox.path("refused.jsonl").exists());
    sandbox.write("refused.jsonl", "mine");
    let refused = sandbox.run(&["restore", "latest", "asb:out", "--failed-to", "refused.jsonl"]).ends(1);
    refused.says(&["jsonl:refused.jsonl", "the file exists"]);
    assert!(!sandbox.path("out").exists());
    assert_eq!(std::fs::read_to_string(sandbox.path("refused.jsonl")).unwrap(), "mine");
    sandbox.run(&["restore", "latest", "asb:out", "--failed-to", "-"]).ends(2).says(&["name a file"]);
    sandbox.run(&["restore", "latest", "asb:out", "--failed-to", "x", "--dry-run"]).ends(2);
}

#[test]
fn files_are_restored_without_a_repository() {
    let sandbox = Sandbox::empty();
    std::fs::create_dir(sandbox.path("monday")).unwrap();
    std::fs::create_dir(sandbox.path("temporary")).unwrap();
    let people = [person("ann", 1, 30), person("bob", 1, 40), person("cid", 1, 50)].concat();
    sandbox.write("monday/test_00000.asb", &asb("test", &people));
    sandbox.write("other.asb", &asb("other", &person("dee", 1, 20).replace("+ n test", "+ n other")));
    let run = |arguments: &[&str]| {
        sandbox.run_with(arguments, |command| {
            command.env_remove("AEROLITH_REPO").env_remove("AEROLITH_PASSWORD");
            command.env("TMPDIR", sandbox.path("temporary")).arg("--quiet");
        })
    };
    let dry = run(&["restore", "asb:monday", "asb:other.asb", "embedded:store", "--dry-run"]).ends(0);
    dry.shows(&["would write", "nothing was written", "out of asb:monday, asb:other.asb"]);
    let restored = run(&["restore", "asb:monday", "asb:other.asb", "embedded:store", "--set", "people"]).ends(0);
    restored.shows(&["in all        4        4", "out of asb:monday, asb:other.asb"]);
    let again = run(&["restore", "asb:monday", "embedded:store", "--resume", "--verify", "--json"]).ends(0).json();
    assert_eq!((&again["namespaces"][0]["written"], &again["namespaces"][0]["same"]), (&json!(0), &json!(3)));
    let store = EmbeddedStore::open(sandbox.path("store")).unwrap();
    assert!(store.get("other", b"people", &"dee".into()).unwrap().is_some());
    drop(store);
    // What was taken on the way is gone.
    assert_eq!(std::fs::read_dir(sandbox.path("temporary")).unwrap().count(), 0);
    // A file that is no whole backup restores nothing.
    sandbox.write("cut.asb", &asb("test", &people[..people.len() - 9]));
    run(&["restore", "asb:cut.asb", "embedded:another"]).ends(1).says(&["cut.asb at byte"]);
    assert!(!sandbox.path("another").exists());
    run(&["restore", "asb:none", "embedded:another"]).ends(1).says(&["source asb:none"]);
    run(&["restore", "asb:monday", "embedded:store", "--cluster", "c"]).ends(2).says(&["--cluster", "not files"]);
    run(&["restore", "asb:monday", "latest", "embedded:store"]).ends(2).says(&["name one snapshot"]);
    run(&["restore", "latest", "latest~1", "embedded:store"]).ends(2).says(&["name one snapshot"]);
}

#[test]
fn indexes_and_modules_are_restored_without_records() {
    let sandbox = Sandbox::new();
    let globals = "* i test people by-age N 1 age N\n* u L sum.lua 3 abc\n";
    let whole = asb("test", &person("ann", 1, 30)).replace("file\n", &format!("file\n{globals}"));
    sandbox.write("in.asb", &whole);
    sandbox.run(&["backup", "asb:in.asb", "--cluster", "c"]).ends(0);
    let dry = sandbox.json(&["restore", "latest", "asb:out.asb", "--no-records", "--dry-run"]);
    assert_eq!(dry["namespaces"][0]["read"], 0);
    let report = sandbox.json(&["restore", "latest", "asb:out.asb", "--no-records"]);
    assert_eq!((&report["namespaces"][0]["read"], &report["namespaces"][0]["records_lost"]), (&json!(0), &json!(0)));
    let written = std::fs::read_to_string(sandbox.path("out.asb")).unwrap();
    assert_eq!(written, format!("Version 3.1\n# namespace test\n# first-file\n{globals}"));
    for (option, more) in [("--set", "people"), ("--key", "ann"), ("--partitions", "0")] {
        let refused = sandbox.run(&["restore", "latest", "asb:other.asb", "--no-records", option, more]).ends(2);
        refused.says(&["--no-records", "nothing to select"]);
    }
    sandbox.run(&["restore", "latest", "asb:other.asb", "--no-records", "--no-metadata"]).ends(2);
}
