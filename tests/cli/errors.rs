//! What the program says when it can't do what it is asked.

use super::support::Sandbox;

#[test]
fn a_repository_that_is_not_there_is_named_and_what_to_do() {
    let sandbox = Sandbox::empty();
    std::fs::create_dir(sandbox.path("directory")).unwrap();
    sandbox.run(&["snapshots"]).ends(1).says(&["repo not found", "Check the path"]);
    sandbox.run(&["snapshots", "--repo", "directory"]).ends(1).says(&["directory not found", "aerolith init"]);
    let unset = sandbox.run_with(&["snapshots"], |command| {
        command.env_remove("AEROLITH_REPO");
    });
    unset.ends(2).says(&["which repository?", "--repo PATH", "AEROLITH_REPO"]);
}

#[test]
fn a_wrong_or_empty_passphrase_is_told_apart_from_a_missing_one() {
    let sandbox = Sandbox::new();
    let with = |password: &str| {
        sandbox.run_with(&["snapshots"], |command| {
            command.env("AEROLITH_PASSWORD", password);
        })
    };
    with("guess").ends(1).says(&["wrong passphrase", "1 key slot", "It came from AEROLITH_PASSWORD"]);
    with("").ends(2).says(&["the passphrase is empty", "AEROLITH_PASSWORD"]);
}

#[test]
fn what_is_wrong_wherever_it_is_run_is_refused_before_the_repository_is_opened() {
    let sandbox = Sandbox::new();
    let refuses = |arguments: &[&str], says: &str| {
        let output = sandbox.run_with(arguments, |command| {
            command.env("AEROLITH_PASSWORD", "guess");
        });
        output.ends(2).says(&[says]);
    };
    refuses(&["backup", "people.asb"], "is no source or target");
    refuses(&["restore", "latest", "people.asb"], "is no source or target");
    refuses(&["verify", "latest", "people.asb"], "is no source or target");
    refuses(&["backup", "asb:people.asb", "--partitions", "4096"], "--partitions 4096");
    refuses(&["backup", "asb:people.asb", "--digest", "zz"], "is no digest");
}

#[test]
fn a_demo_is_not_mixed_with_what_is_in_a_directory() {
    let sandbox = Sandbox::empty();
    sandbox.write("mine.txt", "mine");
    sandbox.run(&["demo", "--records", "10", "--directory", "."]).ends(1).says(&["not empty", "--directory"]);
    assert_eq!(std::fs::read_dir(sandbox.path(".")).unwrap().count(), 1);
}

#[test]
fn a_reader_that_goes_away_is_told_by_the_exit_code() {
    let sandbox = Sandbox::new();
    sandbox.people();
    for arguments in [&["check"][..], &["ls", "latest"], &["verify", "latest", "asb:people.asb"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = sandbox.command(arguments);
        let ended = command.arg("--quiet").stdout(writer).output().unwrap();
        assert_eq!(ended.status.code(), Some(141), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&ended.stderr), "", "{arguments:?}");
    }
}

#[test]
fn snapshots_that_are_not_there_are_told_from_names_that_name_none() {
    let sandbox = Sandbox::new();
    sandbox.run(&["show", "latest"]).ends(1).says(&[
        "snapshot latest not found",
        "no snapshots yet",
        "aerolith backup",
    ]);
    sandbox.people();
    sandbox.run(&["show", "latest~2"]).ends(1).says(&["latest~2 not found", "The oldest that can be read is latest~1"]);
    sandbox.run(&["show", "@2001-01-01T00:00Z"]).ends(1).says(&["at or before @2001-01-01T00:00Z not found"]);
    sandbox.run(&["show", &"0".repeat(32)]).ends(1).says(&["not found", "aerolith snapshots"]);
    for name in ["", "newest", "latest~", "latest~x", "latest~+1", "latest~99999999999999999999", "latest-1"] {
        sandbox.run(&["show", name]).ends(2).says(&["names no snapshot", "latest~N", "@2026-05-01T12:00Z"]);
    }
    sandbox.run(&["restore", "latest/test", "asb:out"]).ends(2).says(&["a namespace follows a colon: latest:test"]);
    sandbox.run(&["show", "@yesterday"]).ends(2).says(&["is not a time", "@2026-05-01T12:00Z"]);
}

#[test]
fn an_ambiguous_beginning_lists_the_snapshots_that_begin_so() {
    let sandbox = Sandbox::new();
    sandbox.people();
    // 17 snapshots can't all begin with different digits.
    for _ in 0..15 {
        sandbox.run(&["backup", "asb:people.asb"]).ends(0);
    }
    let ids: Vec<String> = sandbox.json(&["snapshots"])["snapshots"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["snapshot"].as_str().unwrap().to_string())
        .collect();
    let begins = |digit: &str| ids.iter().filter(|id| id.starts_with(digit)).count();
    let digit = "0123456789abcdef".split("").find(|digit| digit.len() == 1 && begins(digit) > 1).unwrap();
    let one = ids.iter().find(|id| id.starts_with(digit)).unwrap();
    let says = format!("{} snapshots begin with {digit}", begins(digit));
    sandbox.run(&["show", digit]).ends(1).says(&[&says, "give more of the id"]).says(&[&one[..6]]);
}

#[test]
fn sources_and_targets_that_are_none_are_usage_errors() {
    let sandbox = Sandbox::new();
    sandbox.people();
    for name in ["people.asb", "asb:", "s3:bucket", ""] {
        sandbox
            .run(&["backup", name])
            .ends(2)
            .says(&["is no source or target", "asb:PATH, jsonl:FILE or embedded:DIRECTORY"]);
        sandbox.run(&["restore", "latest", name]).ends(2).says(&["is no source or target"]);
        sandbox.run(&["verify", "latest", name]).ends(2).says(&["is no source or target"]);
    }
}

#[test]
fn nothing_that_is_there_is_overwritten_by_a_restore_into_files() {
    let sandbox = Sandbox::new();
    sandbox.people();
    sandbox.write("there.jsonl", "mine");
    sandbox.write("there.asb", "mine");
    std::fs::create_dir(sandbox.path("directory")).unwrap();
    sandbox.write("directory/mine.asb", "mine");
    std::fs::create_dir(sandbox.path("other")).unwrap();
    sandbox.write("other/mine.txt", "mine");
    let restore = |target: &str, says: &[&str]| {
        sandbox.run(&["restore", "latest", target]).ends(1).says(says);
    };
    restore("jsonl:there.jsonl", &["there.jsonl", "the file exists", "name another"]);
    restore("asb:there.asb", &["there.asb", "the file exists already", "another name"]);
    restore("asb:directory", &["directory", "holds .asb files already (mine.asb)", "empty one"]);
    restore("embedded:other", &["other", "the directory is not empty", "mine.txt"]);
    restore("embedded:there.asb", &["there.asb"]);
    restore("jsonl:absent/x.jsonl", &["absent/x.jsonl"]);
    restore("asb:there.asb/x", &["there.asb/x"]);
    for file in ["there.jsonl", "there.asb", "directory/mine.asb", "other/mine.txt"] {
        assert_eq!(std::fs::read_to_string(sandbox.path(file)).unwrap(), "mine", "{file}");
    }
    let zstd = sandbox.run(&["restore", "latest", "asb:new", "--zstd", "99"]).ends(2);
    zstd.says(&["99"]);
}
