//! Snapshots of a part, sets that are not there, and two sets beside each other: what is named and what is refused.

use super::support::{Sandbox, asb, number, person};

/// A snapshot of three people and a number in full, and `live`, an embedded store with the same records.
fn filled() -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    let records = [person("ann", 1, 30), person("bob", 1, 40), person("cid", 1, 50), number(7, 1)];
    sandbox.write("people.asb", &asb("test", &records.concat()));
    let whole = sandbox.json(&["backup", "asb:people.asb"])["snapshot"].as_str().unwrap().to_string();
    sandbox.run(&["restore", &whole, "embedded:live"]).ends(0);
    (sandbox, whole)
}

/// How many records the store has of a set.
fn held(sandbox: &Sandbox, set: &str) -> u64 {
    let live = aerolith::embedded::EmbeddedStore::open(sandbox.path("live")).unwrap();
    live.count("test", Some(set.as_bytes())).unwrap()
}

#[test]
fn diff_counts_the_records_of_two_sets_beside_each_other_and_refuses_sets_that_are_not_there() {
    let (sandbox, whole) = filled();
    sandbox.write("people.asb", &asb("test", &[person("ann", 2, 31), person("bob", 1, 40)].concat()));
    let later = sandbox.json(&["backup", "asb:people.asb"])["snapshot"].as_str().unwrap().to_string();
    let of = |snapshot: &str, set: &str| format!("{snapshot}:test/{set}");
    let summary = |a: String, b: String| sandbox.run(&["diff", &a, &b, "--summary"]);
    summary(of(&whole, "people"), of(&whole, "numbers")).ends(0).shows(&["1 added, 3 removed, 0 changed, 0 touched"]);
    summary(of(&whole, "people"), of(&later, "people")).ends(0).shows(&["0 added, 1 removed, 1 changed, 0 touched"]);
    summary(of(&whole, "numbers"), of(&later, "numbers")).ends(0).shows(&["0 added, 1 removed, 0 changed, 0 touched"]);
    let there = "these sets: numbers, people";
    summary(of(&whole, "nope"), of(&whole, "nope")).ends(1).says(&["set \"nope\"", there]);
    summary(of(&whole, "people"), of(&whole, "nope")).ends(1).says(&["set \"nope\"", there]);
}

#[test]
fn a_snapshot_of_some_bins_replaces_no_record_of_a_live_target_unless_told() {
    let (sandbox, _) = filled();
    let part = sandbox.json(&["backup", "asb:people.asb", "--bins", "age"])["snapshot"].as_str().unwrap().to_string();
    for more in [&[][..], &["--dry-run"]] {
        let refused = sandbox.run(&[&["restore", &part, "embedded:live"], more].concat()).ends(2);
        refused.says(&["holds of namespace test only bins age", "--conflict merge", "--conflict replace"]);
    }
    assert_eq!(held(&sandbox, "numbers"), 1);
    sandbox.run(&["restore", &part, "embedded:live", "--conflict", "replace"]).ends(0);
    sandbox.run(&["restore", &part, "asb:out.asb"]).ends(0);
}

#[test]
fn what_shows_or_uses_a_snapshot_of_a_part_says_which() {
    let (sandbox, whole) = filled();
    let part = sandbox.json(&["backup", "asb:people.asb", "--set", "people"])["snapshot"].as_str().unwrap().to_string();
    sandbox.run(&["snapshots"]).ends(0).shows(&["only set people"]);
    let loud = |arguments: &[&str]| sandbox.run_with(arguments, |_| ()).ends(0);
    loud(&["restore", &part, "asb:out.asb"]).says(&["holds of namespace test only set people"]);
    loud(&["diff", &whole, &part]).says(&["holds of namespace test only set people"]);
    let silent = loud(&["restore", &whole, "asb:whole.asb"]);
    assert!(!silent.err.contains("only"), "{silent:?}");
}

#[test]
fn a_set_that_the_snapshot_does_not_have_is_refused_before_anything_is_written_or_deleted() {
    let (sandbox, _) = filled();
    sandbox.write("numbers.asb", &asb("test", &number(7, 1)));
    let numbers =
        sandbox.json(&["backup", "asb:numbers.asb", "--cluster", "n"])["snapshot"].as_str().unwrap().to_string();
    let people = format!("{numbers}:test/people");
    sandbox.run(&["restore", &people, "asb:out.asb"]).ends(1).says(&["set \"people\"", "these sets: numbers"]);
    assert!(!sandbox.path("out.asb").exists());
    for sets in [&["--set", "people"][..], &["--set", "people", "--set", "numbers"]] {
        let of = format!("{numbers}:test");
        let mirror = [&["restore", &of, "embedded:live", "--mirror", "--yes"], sets].concat();
        sandbox.run(&mirror).ends(1).says(&["set \"people\""]);
        assert_eq!(held(&sandbox, "people"), 3);
    }
}

#[test]
fn a_first_backup_that_finds_nothing_of_what_is_selected_is_refused() {
    let (sandbox, _) = filled();
    let digest = "0".repeat(40);
    for source in ["asb:people.asb", "embedded:live"] {
        let refused = sandbox.run(&["backup", source, "--cluster", "other", "--digest", &digest]).ends(1);
        refused.says(&["no record of what is selected", &digest]);
    }
    assert_eq!(sandbox.json(&["snapshots"])["snapshots"].as_array().unwrap().len(), 1);
}

#[test]
fn labels_and_reasons_are_not_empty() {
    let (sandbox, whole) = filled();
    sandbox.run(&["backup", "asb:people.asb", "--tag", ""]).ends(2).says(&["a label must not be empty"]);
    sandbox.run(&["backup", "asb:people.asb", "--hold", ""]).ends(2).says(&["needs a reason"]);
    sandbox.run(&["hold", "add", &whole, "--reason", ""]).ends(2).says(&["needs a reason"]);
}
