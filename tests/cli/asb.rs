//! `.asb` files that are malformed or cut off.

use super::support::{Sandbox, asb, person};
use serde_json::json;

/// Three records; the second one's type letter is wrong.
fn with_a_bad_record() -> (String, usize) {
    let bad = person("bob", 1, 40).replace("- I age", "- Q age");
    let text = asb("test", &[person("ann", 1, 30), bad, person("cid", 1, 50)].concat());
    let at = text.find("- Q").unwrap();
    (text, at)
}

#[test]
fn a_malformed_record_is_named_by_file_offset_and_expectation_and_nothing_is_sealed() {
    let sandbox = Sandbox::new();
    let (text, at) = with_a_bad_record();
    sandbox.write("bad.asb", &text);
    let failed = sandbox.run(&["backup", "asb:bad.asb"]).ends(1);
    failed.says(&["bad.asb at byte ", "expected a bin", "found "]).says(&[&format!("byte {at}")]);
    assert_eq!(sandbox.json(&["snapshots"])["snapshots"], json!([]));
    let session = sandbox.json(&["history"])["sessions"][0].clone();
    assert_eq!((&session["status"], &session["snapshot"]), (&json!("failed"), &json!(null)));
}

#[test]
fn bad_records_are_left_out_on_request_and_listed() {
    let sandbox = Sandbox::new();
    let (text, at) = with_a_bad_record();
    sandbox.write("bad.asb", &text);
    let skipped = sandbox.run(&["backup", "asb:bad.asb", "--skip-bad-records"]).ends(3);
    let place = format!("left out: bad.asb at byte {at}: expected a bin");
    skipped.says(&[&place]).shows(&[
        "bad",
        "missing: 1 record of test that could not be understood",
        "sealed snapshot",
    ]);
    let skipped = sandbox.run_with(&["backup", "asb:bad.asb", "--skip-bad-records"], |command| {
        command.args(["--json", "--quiet"]);
    });
    let json = skipped.ends(3).json();
    assert_eq!(
        (&json["namespaces"][0]["counts"]["bad"], &json["namespaces"][0]["live_records"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(json["bad_records"][0]["place"], format!("bad.asb at byte {at}"));
    assert!(json["bad_records"][0]["problem"].as_str().unwrap().starts_with("expected a bin"), "{json}");
    sandbox.run(&["snapshots"]).ends(0).shows(&["incomplete"]);
    sandbox.run(&["show", "latest"]).ends(0).shows(&["missing      1 record of test"]);
    assert_eq!(sandbox.json(&["history"])["sessions"][0]["status"], "incomplete");
}

#[test]
fn what_is_missing_behind_a_bad_place_is_not_taken_for_deleted() {
    let sandbox = Sandbox::new();
    let whole = asb("test", &[person("ann", 1, 30), person("bob", 1, 40), person("cid", 1, 50)].concat());
    sandbox.write("day.asb", &whole);
    sandbox.run(&["backup", "asb:day.asb"]).ends(0);
    sandbox.write("day.asb", &whole[..whole.rfind("+ k").unwrap() + 9]);
    let cut = sandbox.run_with(&["backup", "asb:day.asb", "--skip-bad-records"], |command| {
        command.args(["--json", "--quiet"]);
    });
    let namespace = cut.ends(3).json()["namespaces"][0].clone();
    assert_eq!(
        (&namespace["counts"]["deleted"], &namespace["live_records"], &namespace["deletes_unknown"]),
        (&json!(0), &json!(3), &json!(true))
    );
}

#[test]
fn a_file_that_was_cut_off_fails_wherever_inside_a_record_it_ends() {
    let sandbox = Sandbox::new();
    let whole = asb("test", &[person("ann", 1, 30), person("bob", 1, 40)].concat());
    let second = whole.rfind("+ k").unwrap();
    for end in [second + 1, second + 9, second + 30, whole.len() - 6, whole.len() - 1] {
        sandbox.write("cut.asb", &whole[..end]);
        let failed = sandbox.run(&["backup", "asb:cut.asb"]).ends(1);
        failed.says(&["cut.asb at byte ", "expected ", "found the end of the file"]);
    }
    let skipped = sandbox.run(&["backup", "asb:cut.asb", "--skip-bad-records"]).ends(3);
    skipped.says(&["left out: cut.asb at byte", "found the end of the file"]);
    assert_eq!(sandbox.json(&["history"])["sessions"].as_array().unwrap().len(), 6);
}

#[test]
fn what_is_no_backup_is_refused_with_what_it_looks_like() {
    let sandbox = Sandbox::new();
    let data = format!("{}/tests/data/asb", env!("CARGO_MANIFEST_DIR"));
    std::fs::create_dir(sandbox.path("empty")).unwrap();
    sandbox.write("empty.asb", "");
    sandbox.write("letter.asb", "Dear reader,\nthis is no backup.\n");
    let fails = |source: &str, says: &[&str]| {
        sandbox.run(&["backup", source]).ends(1).says(says);
    };
    fails("asb:empty", &["the folder is empty", ".asb files"]);
    fails("asb:empty.asb", &["empty.asb at byte 0", "Version 3.1"]);
    fails("asb:letter.asb", &["neither as asb text nor as zstd", "key file"]);
    fails("asb:absent", &["source asb:absent not found", "Check the path"]);
    fails(&format!("asb:{data}/every-kind-aes128.asb"), &["every-kind-aes128.asb", "--asb-key"]);
    fails("jsonl:letter.asb", &["letter.asb at byte 0", "expected the header"]);
    fails("embedded:empty", &["embedded store", "not found"]);
    let encrypted = format!("asb:{data}/every-kind-zstd-aes256.asb");
    sandbox.run(&["backup", &encrypted, "--asb-key", "letter.asb"]).ends(1).says(&["letter.asb"]);
    let key = format!("{data}/key-pkcs8.pem");
    let opened = sandbox.json(&["backup", &encrypted, "--asb-key", &key]);
    assert_eq!(opened["namespaces"][0]["live_records"], 7);
    sandbox.run(&["verify", "latest", &encrypted, "--asb-key", &key]).ends(0);
}
