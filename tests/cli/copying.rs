//! `copy`, and `init --shared-chunking-with`.

use super::support::{PASSWORD, Sandbox, assert_id, assert_time};
use aerolith::{CreateOptions, KdfCost, Repository};
use std::process::Command;

const OTHER: &str = "the passphrase of the other one";

/// Makes `offsite` in the sandbox, whose passphrase costs next to nothing to try.
fn offsite(sandbox: &Sandbox, shared: bool) {
    let path = |name: &str| sandbox.path(name).to_str().unwrap().to_string();
    let open = || Repository::open(aerolith::store::open(&path("repo")).unwrap(), PASSWORD.as_bytes()).unwrap();
    let shares_chunking_with = shared.then(open);
    let options = CreateOptions::default().cost(KdfCost::WEAK).shares_chunking_with(shares_chunking_with);
    Repository::create(aerolith::store::create(&path("offsite")).unwrap(), OTHER.as_bytes(), &options).unwrap();
}

/// With the other passphrase in the environment.
fn with_other(command: &mut Command) {
    command.args(["--quiet", "--json"]).env("AEROLITH_TO_PASSWORD", OTHER);
}

/// Looks into the other repository.
fn there(command: &mut Command) {
    command.args(["--quiet", "--json", "--repo", "offsite"]).env("AEROLITH_PASSWORD", OTHER);
}

#[test]
fn all_that_is_new_is_copied_and_the_copies_say_where_they_come_from() {
    for shared in [false, true] {
        let sandbox = Sandbox::new();
        let [one, two] = sandbox.people();
        offsite(&sandbox, shared);
        let dry = sandbox.run_with(&["copy", "--to", "offsite", "--dry-run"], with_other).ends(0).json();
        assert_eq!((&dry["dry_run"], &dry["copied"][1]["copy"]), (&true.into(), &serde_json::Value::Null));
        let done = sandbox.run_with(&["copy", "--to", "offsite"], with_other).ends(0).json();
        let copied = done["copied"].as_array().unwrap();
        assert_eq!(copied.len(), 2);
        assert_eq!((&copied[0]["snapshot"], &copied[1]["snapshot"]), (&one.as_str().into(), &two.as_str().into()));
        assert_eq!((&copied[0]["records"], &copied[0]["namespaces"][0]), (&4.into(), &"test".into()));
        assert_eq!((&copied[0]["cluster"], &dry["copied"][0]["chunks"]), (&"asb".into(), &copied[0]["chunks"]));
        assert!(copied[0]["bytes_read"].as_u64().unwrap() > 0 && copied[0]["stored_bytes"].as_u64().unwrap() > 0);
        assert_id(&copied[0]["copy"], 32);
        assert_time(&copied[0]["committed"]);
        for (list, n) in [("present", 0), ("not_copied", 0), ("warnings", 0)] {
            assert_eq!(done[list].as_array().unwrap().len(), n, "{list}");
        }
        let again = sandbox.run_with(&["copy", "--to", "offsite"], with_other).ends(0).json();
        assert_eq!(
            (again["copied"].as_array().unwrap().len(), &again["present"][0]["snapshot"]),
            (0, &one.as_str().into())
        );

        let id = copied[0]["copy"].as_str().unwrap();
        let shown = sandbox.run_with(&["show", id], there).ends(0).json();
        let home = sandbox.json(&["show", &one]);
        assert_eq!(
            (&shown["committed"], &shown["tags"], &shown["source"]),
            (&home["committed"], &home["tags"], &home["source"])
        );
        assert_eq!((&shown["origin"]["snapshot"], &home["origin"]), (&home["snapshot"], &serde_json::Value::Null));
        assert_eq!(shown["origin"]["repository"], shown["origin"]["copied_from"]);
        assert_time(&shown["origin"]["copied"]);
        let hashes = (&shown["namespaces"][0]["state_hash"], &home["namespaces"][0]["state_hash"]);
        assert_eq!(hashes.0 == hashes.1, shared);
        let plain = |command: &mut Command| {
            command.args(["--quiet", "--repo", "offsite"]).env("AEROLITH_PASSWORD", OTHER);
        };
        sandbox.run_with(&["show", id], plain).ends(0).shows(&["copy of      ", &one, "made 20"]);
        sandbox.run_with(&["snapshots"], plain).ends(0).shows(&[&format!("one, copy of {}", &one[..12])]);
        let history = sandbox.run_with(&["history"], there).ends(0).json();
        let last = history["sessions"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(
            (&last["kind"], &last["status"], &last["snapshot"]),
            (&"other".into(), &"done".into(), &"committed".into())
        );
        assert_eq!(last["records"], 4);
        assert!(last["job"].as_str().unwrap().contains(&two), "{last}");
        sandbox.run_with(&["check", "--read-data"], there).ends(0);
        sandbox.run_with(&["verify", "latest", "asb:people.asb"], there).ends(0);
        let config = sandbox.run_with(&["inspect", "config"], there).ends(0).json();
        assert_eq!(config["shared_chunking"], shared);
    }
}

#[test]
fn named_and_labelled_snapshots_are_copied_and_a_table_says_which() {
    let sandbox = Sandbox::new();
    let [one, two] = sandbox.people();
    offsite(&sandbox, false);
    let plain = |command: &mut Command| {
        command.arg("--quiet").env("AEROLITH_TO_PASSWORD", OTHER);
    };
    let dry = sandbox.run_with(&["copy", "-n", "--to", "offsite", "--tag", "one"], plain).ends(0);
    dry.shows(&["would copy 1 snapshot to ", "at most", &one[..12]]);
    let done = sandbox.run_with(&["copy", "latest", "--to", "offsite"], plain).ends(0);
    done.shows(&["snapshot", "chunks", &two[..12], "copied 1 snapshot to ", "stored in"]);
    let nothing = sandbox.run_with(&["copy", "--to", "offsite", "--tag", "two"], plain).ends(1);
    nothing.says(&["a snapshot with the label \"two\" not found", "There are snapshots with the labels \"one\""]);
    let other = sandbox.run_with(&["copy", "--to", "offsite", "--cluster", "other"], plain).ends(1);
    other.says(&["cluster \"other\" not found", "There are snapshots of \"asb\""]);
    sandbox.run_with(&["copy", "--to", "offsite"], plain).ends(0).shows(&["; 1 there already"]);
    sandbox.run_with(&["copy", "ffff", "--to", "offsite"], plain).ends(1).says(&["snapshot ffff not found"]);
}

#[test]
fn the_other_passphrase_comes_from_its_own_file_command_or_variable() {
    let sandbox = Sandbox::new();
    sandbox.people();
    offsite(&sandbox, false);
    sandbox.write("key", &format!("{OTHER}\n"));
    sandbox.run(&["copy", "--to", "offsite", "--to-password-file", "key"]).ends(0);
    sandbox.run(&["copy", "--to", "offsite", "--to-password-command", "cat key"]).ends(0);
    let none = sandbox.run(&["copy", "--to", "offsite"]).ends(2);
    none.says(&["no passphrase of offsite", "AEROLITH_TO_PASSWORD", "--to-password-file or --to-password-command"]);
    let wrong = |command: &mut Command| {
        command.args(["--quiet"]).env("AEROLITH_TO_PASSWORD", PASSWORD);
    };
    let said = sandbox.run_with(&["copy", "--to", "offsite"], wrong).ends(1);
    said.says(&["wrong passphrase", "offsite", "It came from AEROLITH_TO_PASSWORD"]);
    sandbox.write("empty", "\n");
    sandbox.run(&["copy", "--to", "offsite", "--to-password-file", "empty"]).ends(2).says(&["the passphrase is empty"]);
    let both = ["--to-password-file", "key", "--to-password-command", "x"];
    sandbox.run(&[&["copy", "--to", "offsite"], &both[..]].concat()).ends(2).says(&["cannot be used with"]);
    // No other passphrase is tried in its place.
    sandbox.run(&["copy", "--to", "offsite", "--password-file", "key"]).ends(1).says(&["wrong passphrase"]);
}

#[test]
fn a_target_that_is_none_or_the_source_itself_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.people();
    let to = |url: &str| {
        sandbox.run_with(&["copy", "--to", url], |command| {
            command.args(["--quiet"]).env("AEROLITH_TO_PASSWORD", PASSWORD);
        })
    };
    to("nowhere").ends(1).says(&["nowhere", "aerolith --repo nowhere init --shared-chunking-with"]);
    to("repo").ends(2).says(&["is repository", "itself"]);
    to("s3:bucket").ends(2).says(&["unknown kind of store"]);
    sandbox.run(&["copy"]).ends(2).says(&["--to"]);
}

#[test]
fn a_damaged_snapshot_is_named_and_ends_with_10() {
    let sandbox = Sandbox::new();
    let [one, _] = sandbox.people();
    offsite(&sandbox, false);
    let path = sandbox.path("repo").join("snapshots").join(&one);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let done = sandbox.run_with(&["copy", "--to", "offsite"], with_other).ends(10);
    assert_eq!(done.json()["not_copied"][0]["snapshot"], one.as_str());
    assert_eq!(
        (&done.json()["not_copied"][0]["damaged"], done.json()["copied"].as_array().unwrap().len()),
        (&true.into(), 1)
    );
    done.says(&["not copied: snapshot ", &one]);
}

#[test]
fn init_shares_the_chunking_of_a_repository_that_it_can_open() {
    let sandbox = Sandbox::new();
    let init = |arguments: &[&str], shared: Option<&str>| {
        sandbox.run_with(&[&["--repo", "offsite", "init"], arguments].concat(), |command| {
            command.args(["--quiet", "--json"]).env("AEROLITH_PASSWORD", OTHER);
            shared.into_iter().for_each(|password| {
                command.env("AEROLITH_SHARED_PASSWORD", password);
            });
        })
    };
    let share = ["--shared-chunking-with", "repo"];
    init(&share, None).ends(2).says(&["AEROLITH_SHARED_PASSWORD", "--shared-password-file"]);
    init(&share, Some("wrong")).ends(1).says(&["wrong passphrase", "It came from AEROLITH_SHARED_PASSWORD"]);
    init(&["--shared-password-file", "x"], None).ends(2).says(&["--shared-chunking-with"]);
    init(&["--shared-chunking-with", "nowhere"], Some("x")).ends(1).says(&["nowhere"]);
    let made = init(&share, Some(PASSWORD)).ends(0).json();
    assert_eq!(made["shared_chunking_with"], sandbox.json(&["inspect", "config"])["repository"]);
    let config = sandbox.run_with(&["inspect", "config"], there).ends(0).json();
    assert_eq!((&config["shared_chunking"], &config["compression"]), (&true.into(), &"lz4".into()));
    assert_eq!(sandbox.json(&["inspect", "config"])["shared_chunking"], false);
    // Neither passphrase opens the other.
    sandbox.run(&["--repo", "offsite", "snapshots"]).ends(1).says(&["wrong passphrase"]);
}
