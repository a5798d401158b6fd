//! `forget` and `prune`.

use super::support::{PASSWORD, Sandbox, asb, assert_id, assert_time, person};
use aerolith::Repository;
use aerolith::embedded::{EmbeddedStore, sample};
use aerolith::format::names;
use aerolith::format::snapshot::Manifest;
use aerolith::internals::objects::commit_snapshot;

/// Four snapshots of the sample records, of which the first is labelled.
fn four(sandbox: &Sandbox) -> Vec<String> {
    drop(sandbox.live());
    let backup = |arguments: &[&str]| {
        let all = [&["backup", "embedded:live", "--cluster", "zoo"], arguments].concat();
        sandbox.json(&all)["snapshot"].as_str().unwrap().to_string()
    };
    let first = backup(&["--tag", "hold"]);
    let later = (1..4).map(|n| {
        let live = EmbeddedStore::open(sandbox.path("live")).unwrap();
        sample::fill(&live, "shop", 300 * n..300 * n + 300).unwrap();
        drop(live);
        backup(&[])
    });
    std::iter::once(first).chain(later).collect()
}

#[test]
fn rules_say_why_each_snapshot_stays_and_the_rest_goes() {
    let sandbox = Sandbox::new();
    let ids = four(&sandbox);
    let rules = ["forget", "--keep-last", "1", "--keep-tag", "hold"];
    let dry = sandbox.json(&[&rules[..], &["--dry-run"]].concat());
    assert_eq!((&dry["dry_run"], &dry["prune"]), (&true.into(), &serde_json::Value::Null));
    let rows = dry["snapshots"].as_array().unwrap();
    let stays: Vec<bool> = rows.iter().map(|row| row["stays"].as_bool().unwrap()).collect();
    assert_eq!(stays, [true, false, false, true]);
    assert_eq!((&rows[0]["reasons"][0], &rows[3]["reasons"][0]), (&"labelled hold".into(), &"the newest".into()));
    assert_eq!((&rows[0]["cluster"], &rows[0]["namespaces"][0]), (&"zoo".into(), &"shop".into()));
    assert_id(&rows[1]["snapshot"], 32);
    assert_time(&rows[1]["committed"]);
    assert_eq!(sandbox.json(&["snapshots"])["snapshots"].as_array().unwrap().len(), 4, "a dry run changed something");
    let shown = sandbox.run(&[&rules[..], &["-n"]].concat()).ends(0);
    shown.shows(&["labelled hold", "the newest", "goes", "would forget 2 snapshots"]);

    let done =
        sandbox.json(&[&rules[..], &["--prune", "--wait", "1s", "--max-unused", "0", "--cluster", "zoo"]].concat());
    assert_eq!(done["forgotten"], serde_json::json!([ids[1], ids[2]]));
    assert_eq!(done["prune"]["snapshots"], 2);
    let left = sandbox.json(&["snapshots"]);
    let left: Vec<&str> =
        left["snapshots"].as_array().unwrap().iter().map(|row| row["snapshot"].as_str().unwrap()).collect();
    assert_eq!(left, [&ids[0], &ids[3]]);
    sandbox.run(&["check", "--read-data"]).ends(0);
    let history = sandbox.json(&["history"]);
    let last = history["sessions"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        (&last["kind"], &last["status"], &last["snapshot"]),
        (&"collection".into(), &"done".into(), &serde_json::Value::Null)
    );
}

#[test]
fn named_snapshots_go_and_prune_gives_the_space_back() {
    let sandbox = Sandbox::new();
    let ids = four(&sandbox);
    sandbox.run(&["forget", &ids[0][..10], "latest"]).ends(0).shows(&["goes", "forgot 2 snapshots"]);
    sandbox.run(&["forget", &ids[0]]).ends(1).says(&["not found", "forgotten before"]);
    let dry = sandbox.json(&["prune", "--dry-run", "--max-unused", "0"]);
    let done = sandbox.json(&["prune", "--max-unused", "0"]);
    assert!(done["packs_deleted"].as_u64().unwrap() > 0, "{done}");
    for member in
        ["snapshots", "chunks", "packs", "bytes", "unused_bytes", "packs_deleted", "bytes_deleted", "chunks_moved"]
    {
        assert_eq!(dry[member], done[member], "{member}");
    }
    assert_eq!((&done["unused_bytes_left"], &done["chunks_missing"]), (&0.into(), &0.into()));
    assert!(done["problems"].as_array().unwrap().is_empty() && done["fenced"].as_array().unwrap().is_empty());
    assert!(
        done["duration_millis"].is_u64() && done["segments_deleted"].is_u64() && done["segments_rewritten"].is_u64()
    );
    sandbox.run(&["prune"]).ends(0).shows(&["2 snapshots need", "0 packs (0 B) deleted", "0 B unused left"]);
    sandbox.run(&["forget", "latest", "--prune"]).ends(0).shows(&["1 snapshot needs", "forgot 1 snapshot"]);
    sandbox.run(&["check", "--read-data"]).ends(0).shows(&["no problems found"]);
    sandbox.run(&["restore", "latest", "jsonl:out.jsonl"]).ends(0);
    assert!(std::fs::read_to_string(sandbox.path("out.jsonl")).unwrap().lines().count() >= 600);
}

#[test]
fn what_would_leave_nothing_or_is_not_understood_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.people();
    sandbox.run(&["forget"]).ends(2).says(&["what shall stay?", "--keep-"]);
    sandbox.run(&["forget", "latest", "--keep-last", "1"]).ends(2).says(&["cannot be used with"]);
    sandbox.run(&["forget", "--keep-tag", "hold"]).ends(1).says(&[
        "all 2 snapshots",
        "nothing was forgotten",
        "--keep-last 0",
    ]);
    sandbox.write("one.asb", &asb("test", &person("ann", 5, 30)));
    sandbox.run(&["backup", "asb:one.asb", "--cluster", "single"]).ends(0);
    sandbox
        .run(&["forget", "--keep-tag", "hold", "--cluster", "single"])
        .ends(1)
        .says(&["the only snapshot of cluster \"single\" with namespace test;"]);
    sandbox.run(&["forget", "latest", "--cluster", "single"]).ends(0);
    sandbox.run(&["forget", "--keep-last", "1", "--cluster", "other"]).ends(1).says(&["\"other\"", "not found"]);
    sandbox.run(&["forget", "--keep-within", "soon"]).ends(2).says(&["30d"]);
    sandbox.run(&["forget", "--keep-last", "1", "--dry-run", "--prune"]).ends(2).says(&["cannot be used with"]);
    sandbox.run(&["forget", "--keep-last", "1", "--wait", "1h"]).ends(2).says(&["go with --prune"]);
    sandbox.run(&["forget", "--keep-last", "1", "--prune", "--max-unused", "101"]).ends(2).says(&["from 0 to 100"]);
    sandbox.run(&["forget", "ffff"]).ends(1).says(&["not found", "aerolith snapshots"]);
    sandbox.run(&["prune", "--max-unused", "101"]).ends(2).says(&["from 0 to 100"]);
    sandbox.run(&["prune", "--max-unused", "-1"]).ends(2).says(&["'-1'", "from 0 to 100"]);
    sandbox.run(&["prune", "--max-unused", "few"]).ends(2).says(&["'few'", "from 0 to 100"]);
    sandbox.run(&["prune", "--wait", "5 minutes"]).ends(2).says(&["90s"]);
    assert_eq!(sandbox.json(&["snapshots"])["snapshots"].as_array().unwrap().len(), 2);
    sandbox.run(&["forget", "--keep-last", "0"]).ends(0).shows(&["forgot 2 snapshots"]);
    sandbox.run(&["snapshots"]).ends(0).says(&["no snapshots yet"]);
}

#[test]
fn a_prune_that_frees_nothing_says_why_and_a_compact_backup_helps() {
    let sandbox = Sandbox::new();
    let people = |revision: i64| -> String {
        (0..400).map(|n| person(&format!("p{n}"), 1, if n % 5 < revision { n + 1000 * revision } else { n })).collect()
    };
    for revision in 0..3 {
        sandbox.write("people.asb", &asb("test", &people(revision)));
        sandbox.run(&["backup", "asb:people.asb"]).ends(0);
    }
    sandbox.run(&["forget", "--keep-last", "1", "--prune", "--max-unused", "0"]).ends(0);
    sandbox.run(&["prune", "--max-unused", "0"]).ends(0).shows(&["of values for", "`aerolith backup --compact`"]);
    let told = sandbox.json(&["prune", "--max-unused", "0"])["held"][0].clone();
    assert_id(&told["snapshot"], 32);
    assert!(told["held_bytes"].as_u64() > told["needed_bytes"].as_u64(), "{told}");
    sandbox.run(&["backup", "asb:people.asb", "--compact"]).ends(0);
    sandbox.run(&["forget", "--keep-last", "1", "--prune", "--max-unused", "0"]).ends(0);
    let told = sandbox.json(&["prune", "--max-unused", "0"])["held"][0].clone();
    assert_eq!(told["held_bytes"], told["needed_bytes"]);
    let shown = sandbox.run(&["prune", "--max-unused", "0"]).ends(0);
    assert!(!shown.out.contains("--compact"), "{}", shown.out);
}

/// Lets the host that committed this snapshot have had a clock that was ahead by so many days.
fn clock_was_ahead(sandbox: &Sandbox, id: &str, days: i64) {
    let repository =
        Repository::open(aerolith::store::open(&sandbox.path("repo").to_string_lossy()).unwrap(), PASSWORD.as_bytes())
            .unwrap();
    let manifest = repository.snapshot(id).unwrap().manifest().clone();
    let moved = |time: u64| time.saturating_add_signed(days * 86_400_000);
    let (started, committed, host) = (moved(manifest.started), moved(manifest.committed), "fast".to_string());
    let manifest = Manifest { started, committed, host, ..manifest };
    let store = repository.store();
    store.delete(&names::snapshot(&manifest.id)).unwrap();
    commit_snapshot(&**store, repository.keys(), repository.parameters().suite, &manifest).unwrap();
}

#[test]
fn a_clock_ten_years_ahead_is_named_and_makes_no_other_snapshot_old() {
    let sandbox = Sandbox::new();
    let ids = four(&sandbox);
    clock_was_ahead(&sandbox, &ids[1], 3650);
    let named = ["the time of snapshot", &ids[1], "by the clock of host fast", "in the future"];
    sandbox.run(&["snapshots"]).ends(0).says(&named).shows(&["time in doubt"]);
    let doubtful = &sandbox.json(&["snapshots"])["doubtful_times"];
    assert_eq!((&doubtful[0]["snapshot"], &doubtful[0]["host"]), (&ids[1].as_str().into(), &"fast".into()));
    assert_time(&doubtful[0]["committed"]);
    assert_time(&doubtful[0]["plausible"]);
    assert_eq!(sandbox.json(&["show", "latest"])["snapshot"], ids[3]);
    let rules = ["forget", "--keep-last", "1", "--keep-within", "30d"];
    sandbox.run(&[&rules[..], &["-n"]].concat()).ends(0).says(&named);
    let done = sandbox.json(&rules);
    assert_eq!(
        (&done["forgotten"], &done["doubtful_times"][0]["snapshot"]),
        (&serde_json::json!([]), &ids[1].as_str().into())
    );
}

#[test]
fn days_begin_in_the_zone_that_is_given() {
    let sandbox = Sandbox::new();
    let ids = four(&sandbox);
    let rules = ["forget", "-n", "--keep-within-daily", "7d", "--keep-within-yearly", "10y", "--timezone"];
    let kept = sandbox.json(&[&rules[..], &["Asia/Tokyo"]].concat());
    let last = kept["snapshots"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["snapshot"], ids[3]);
    assert_eq!(
        last["reasons"],
        serde_json::json!(["newest of its day and young enough", "newest of its year and young enough"])
    );
    sandbox.run(&[&rules[..], &["Mars/Base"]].concat()).ends(2).says(&["no time zone", "Mars/Base", "Europe/Berlin"]);
}
