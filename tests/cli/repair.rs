//! `repair`.

use super::support::{Sandbox, asb, assert_id, assert_time, digest_of_person, person};
use std::path::PathBuf;

fn files(sandbox: &Sandbox, directory: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![sandbox.path("repo").join(directory)];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() { open.push(entry) } else { found.push(entry) }
        }
    }
    found
}

/// Flips a bit of each value chunk that a backup wrote.
fn damage_people(sandbox: &Sandbox, snapshot: &str) {
    let mut damaged = 0;
    for row in sandbox.json_lines(&["inspect", "index", snapshot]) {
        let Some(chunk) = row["chunk"].as_str() else { continue };
        for place in sandbox.json_lines(&["inspect", "chunk", chunk]).iter().filter(|place| place["class"] == "data") {
            let pack = place["pack"].as_str().unwrap();
            let path = sandbox.path("repo").join("packs").join(&pack[..2]).join(pack);
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[place["offset"].as_u64().unwrap() as usize] ^= 1;
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, bytes).unwrap();
            damaged += 1;
        }
    }
    assert!(damaged > 0);
}

#[test]
fn a_sound_repository_needs_no_repair() {
    let sandbox = Sandbox::new();
    sandbox.people();
    sandbox.run(&["repair", "--read-data"]).ends(0).shows(&["2 snapshots", "none lost anything"]);
    let report = sandbox.json(&["repair", "--dry-run"]);
    assert_eq!(
        (&report["dry_run"], &report["snapshots"], &report["packs_indexed"]),
        (&true.into(), &2.into(), &0.into())
    );
    for member in ["salvaged", "index_problems", "chunk_problems", "problems"] {
        assert_eq!(report[member], serde_json::json!([]), "{member}");
    }
    assert!(report["duration_millis"].is_u64() && report["chunks"].is_u64() && report["chunks_indexed"].is_u64());
}

#[test]
fn a_lost_index_is_rebuilt_and_check_is_content_again() {
    let sandbox = Sandbox::new();
    sandbox.people();
    files(&sandbox, "index").iter().for_each(|path| std::fs::remove_file(path).unwrap());
    sandbox.run(&["check"]).ends(10).shows(&["`aerolith repair`"]);
    sandbox.run(&["repair", "-n"]).ends(0).shows(&["would write", "into the index"]);
    sandbox.run(&["repair"]).ends(0).shows(&["is missing", "wrote", "into the index"]);
    sandbox.run(&["check", "--read-data"]).ends(0);
    let history = sandbox.json(&["history"]);
    let last = history["sessions"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["kind"], &last["status"]), (&"other".into(), &"done".into()));
}

#[test]
fn lost_records_are_named_with_set_and_key_and_the_rest_is_a_new_snapshot() {
    let sandbox = Sandbox::new();
    let [first, second] = sandbox.people();
    // The second has values of its own: of Ann, who is older there, and of Dee.
    damage_people(&sandbox, &second);
    let damaged = sandbox.run(&["repair", "--read-data", "--dry-run"]).ends(3);
    let damaged = damaged.shows(&["would salvage snapshot", &second, "lost:", &digest_of_person("dee")]);
    assert!(!damaged.out.contains("salvaged snapshot"));
    let done = sandbox.run_with(&["repair", "--read-data", "--json", "-q"], |_| ()).ends(3).json();
    let salvaged = done["salvaged"].as_array().unwrap().iter().find(|one| one["original"] == second.as_str()).unwrap();
    assert_id(&salvaged["snapshot"], 32);
    let namespace = &salvaged["namespaces"][0];
    assert_eq!(namespace["namespace"], "test");
    let lost = namespace["lost_records"].as_array().unwrap();
    let of = |name: &str| lost.iter().find(|record| record["digest"] == digest_of_person(name).as_str()).cloned();
    assert_eq!((&of("dee").unwrap()["set"], &of("dee").unwrap()["key"]), (&"people".into(), &serde_json::Value::Null));
    // Her former version in the first snapshot says who she is, if that was not lost too.
    if done["salvaged"].as_array().unwrap().iter().all(|one| one["original"] != first.as_str()) {
        assert_eq!(of("ann").unwrap()["key"], "ann");
    }
    assert_eq!(namespace["lost"].as_u64().unwrap(), lost.len() as u64);
    assert_eq!(namespace["lost_metadata"], serde_json::Value::Null);
    assert_eq!(namespace["lost_ranges"], serde_json::json!([]));
    let id = salvaged["snapshot"].as_str().unwrap();
    let shown = sandbox.json(&["show", id]);
    assert_eq!(
        (&shown["salvage"]["original"], &shown["salvage"]["records_lost"]),
        (&second.as_str().into(), &namespace["lost"])
    );
    assert_time(&shown["salvage"]["made"]);
    sandbox.run(&["show", id]).ends(0).shows(&["lost record", "salvage"]);
    sandbox.run(&["snapshots"]).ends(0).shows(&["salvaged from", "incomplete"]);
    // Again, there is nothing to do.
    sandbox.run(&["repair"]).ends(3).shows(&["was salvaged before, as"]);
    for one in done["salvaged"].as_array().unwrap() {
        sandbox.run(&["forget", one["original"].as_str().unwrap()]).ends(0);
    }
    sandbox.run(&["prune"]).ends(0);
    sandbox.run(&["check", "--read-data"]).ends(0);
}

#[test]
fn another_repository_gives_back_what_is_lost() {
    let sandbox = Sandbox::new();
    let [_, second] = sandbox.people();
    let make = |command: &mut std::process::Command| {
        command.env("AEROLITH_REPO", "second").env("AEROLITH_PASSWORD", "another one");
    };
    sandbox.run_with(&["init", "-q"], make).ends(0);
    sandbox.run_with(&["backup", "asb:people.asb", "-q"], make).ends(0);
    damage_people(&sandbox, &second);
    let from = ["repair", "--read-data", "--from", "second"];
    sandbox.run(&from).ends(2).says(&["AEROLITH_FROM_PASSWORD", "--from-password-file"]);
    sandbox.write("wrong.txt", "wrong\n");
    sandbox
        .run(&[&from[..], &["--from-password-file", "wrong.txt"]].concat())
        .ends(1)
        .says(&["wrong passphrase", "second"]);
    sandbox.run(&["repair", "--from-password-file", "wrong.txt"]).ends(2).says(&["--from"]);
    let done = sandbox
        .run_with(&[&from[..], &["--json", "-q"]].concat(), |command| {
            command.env("AEROLITH_FROM_PASSWORD", "another one");
        })
        .json();
    let salvaged = done["salvaged"].as_array().unwrap().iter().find(|one| one["original"] == second.as_str()).unwrap();
    assert_eq!(salvaged["namespaces"][0]["lost"], 0, "{done}");
    assert!(salvaged["namespaces"][0]["recovered"].as_u64().unwrap() > 0);
    sandbox.run(&["verify", salvaged["snapshot"].as_str().unwrap(), "asb:people.asb"]).ends(0);
}

#[test]
fn damage_that_the_source_makes_up_for_needs_no_repair() {
    let sandbox = Sandbox::new();
    let [_, second] = sandbox.people();
    damage_people(&sandbox, &second);
    sandbox.run(&["check", "--read-data"]).ends(10);
    // What it noted is looked at by every check, until it is healed.
    let again = sandbox.run_with(&["check", "--json", "--quiet"], |_| ()).ends(10).json();
    assert_eq!(again["hurt_snapshots"].as_array().unwrap().len(), 1, "{again}");
    let people = [person("ann", 2, 31), person("bob", 1, 40), person("dee", 1, 20)];
    sandbox.write("people.asb", &asb("test", &people.concat()));
    sandbox.run(&["backup", "asb:people.asb"]).ends(0);
    sandbox.run(&["restore", "latest", "jsonl:out.jsonl"]).ends(0);
    sandbox.run(&["repair", "--read-data=101"]).ends(2).says(&["from 0 to 100"]);
}

#[test]
fn emptied_sessions_and_holds_are_named_and_cleared() {
    let sandbox = Sandbox::new();
    let [first, _] = sandbox.people();
    sandbox.run(&["hold", "add", &first, "--reason", "case 7"]).ends(0);
    for file in files(&sandbox, "sessions").iter().chain(&files(&sandbox, "holds")) {
        std::fs::write(file, b"").unwrap();
    }
    sandbox.run(&["check"]).ends(10).shows(&["sessions/", "holds/", "`aerolith repair`"]);
    sandbox.run(&["repair", "-n"]).ends(0).shows(&["would clear: sessions/", "would clear: holds/"]);
    let report = sandbox.json(&["repair"]);
    assert_eq!(report["cleared"].as_array().unwrap().len(), 3, "{report}");
    sandbox.run(&["check"]).ends(0);
    sandbox.run(&["forget", &first]).ends(1).says(&["is held"]);
    sandbox.run(&["history"]).ends(0);
}

#[test]
fn a_snapshot_whose_object_is_gone_is_named_until_it_is_given_up_by_its_whole_id() {
    let sandbox = Sandbox::new();
    let [first, _] = sandbox.people();
    std::fs::remove_file(sandbox.path(&format!("repo/snapshots/{first}"))).unwrap();
    let gone = format!("snapshots/{first} is missing, though it was committed once");
    let way = format!("give it up with `aerolith forget {first}`");
    sandbox.run(&["check"]).ends(10).shows(&[&gone, &way]);
    sandbox.run(&["repair", "--dry-run"]).ends(10).says(&[&gone, &way]);
    sandbox.run(&["repair"]).ends(10).says(&[&gone, &way]);
    sandbox.run(&["forget", &first]).ends(0);
    assert!(!sandbox.run(&["repair"]).ends(0).err.contains(&first));
    sandbox.run(&["check"]).ends(0);
}
