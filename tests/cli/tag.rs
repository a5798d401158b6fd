//! `tag`.

use super::support::Sandbox;
use serde_json::json;
use std::process::Command;

#[test]
fn labels_come_and_go_and_all_commands_go_by_them() {
    let sandbox = Sandbox::new();
    let [first, second] = sandbox.people();
    let line = format!("labels of snapshot {first}: one, yearly");
    sandbox.run(&["tag", "add", &first[..8], "yearly"]).ends(0).shows(&[&line]);
    sandbox.run(&["tag", "add", &first, "yearly"]).ends(0).shows(&[&line]).says(&["nothing to change"]);
    let json = sandbox.json(&["tag", "remove", &first, "one"]);
    assert_eq!(json, json!({"snapshot": first, "tags": ["yearly"], "changed": true}));
    let list = sandbox.json(&["snapshots", "--tag", "yearly"]);
    assert_eq!((&list["snapshots"][0]["snapshot"], list["snapshots"].as_array().unwrap().len()), (&json!(first), 1));
    assert_eq!(sandbox.json(&["show", "latest", "--tag", "yearly"])["tags"], json!(["yearly"]));
    sandbox.run(&["snapshots"]).ends(0).shows(&["yearly"]);
    sandbox.run(&["show", "latest", "--tag", "one"]).ends(1).says(&["with the label \"one\" not found"]);
    let kept = sandbox.run(&["forget", "--keep-last", "1", "--keep-tag", "yearly", "--dry-run"]).ends(0);
    kept.shows(&["labelled yearly", "would forget 0 snapshots"]);
    sandbox.run(&["tag", "remove", "latest~1", "yearly"]).ends(0).shows(&[&format!("{first}: none")]);
    sandbox.run(&["forget", "--keep-last", "1", "--keep-tag", "yearly"]).ends(0).shows(&["forgot 1 snapshot"]);
    sandbox.run(&["prune"]).ends(0);
    sandbox.run(&["check"]).ends(0);
    assert_eq!(sandbox.json(&["snapshots"])["snapshots"][0]["snapshot"], json!(second));
    let stored = sandbox.json(&["stats"])["stored"].clone();
    let tags = stored.as_array().unwrap().iter().find(|place| place["what"] == "tags").unwrap();
    assert_eq!(tags["objects"], 0, "{stored}");
}

#[test]
fn what_is_not_there_is_named() {
    let sandbox = Sandbox::new();
    sandbox.people();
    sandbox.run(&["tag"]).ends(2).says(&["Usage"]);
    sandbox.run(&["tag", "add", "latest"]).ends(2).says(&["<LABEL>"]);
    sandbox.run(&["tag", "add", "latest", ""]).ends(2).says(&["a label must not be empty"]);
    sandbox.run(&["tag", "add", "latest", &"x".repeat(300)]).ends(2).says(&["a label", "at most 256 bytes"]);
    sandbox.run(&["tag", "add", "ffff", "x"]).ends(1).says(&["snapshot ffff not found"]);
    sandbox.run(&["tag", "remove", "latest", "x"]).ends(1).says(&["label \"x\" of snapshot", "It has none"]);
}

#[test]
fn copies_take_over_what_became_of_their_originals_labels() {
    let sandbox = Sandbox::new();
    let [first, _] = sandbox.people();
    sandbox.run_with(&["--repo", "offsite", "init"], |command| {
        command.env("AEROLITH_PASSWORD", "other");
    });
    let copy = || {
        let to = |command: &mut Command| {
            command.arg("--quiet").env("AEROLITH_TO_PASSWORD", "other");
        };
        sandbox.run_with(&["copy", "--to", "offsite"], to).ends(0)
    };
    let labels = || {
        let there = |command: &mut Command| {
            command.args(["--quiet", "--json", "--repo", "offsite"]).env("AEROLITH_PASSWORD", "other");
        };
        sandbox.run_with(&["snapshots"], there).ends(0).json()["snapshots"][0]["tags"].clone()
    };
    sandbox.run(&["tag", "add", &first, "early"]).ends(0);
    copy().shows(&["brought the labels of 1 copied snapshot up to date"]);
    assert_eq!(labels(), json!(["one", "early"]));
    sandbox.run(&["tag", "remove", &first, "one"]).ends(0);
    sandbox.run(&["tag", "add", &first, "late"]).ends(0);
    assert_eq!(labels(), json!(["one", "early"]));
    copy().shows(&["brought the labels of 1 copied snapshot up to date"]);
    assert_eq!(labels(), json!(["early", "late"]));
    assert!(!copy().out.contains("labels"));
}
