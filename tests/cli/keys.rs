//! `init` and `key`, and where pass phrases come from.

use super::support::{PASSWORD, Sandbox, assert_id, assert_time};

#[test]
fn init_makes_a_repository_once_with_the_strong_cost_and_what_was_asked_for() {
    let sandbox = Sandbox::empty();
    let made = sandbox.json(&["init", "--compression", "zstd:7", "--cipher", "xchacha20-poly1305", "--label", "ops"]);
    assert_id(&made["repository"], 32);
    assert!(made["location"].as_str().unwrap().ends_with("repo"), "{made}");
    let config = sandbox.json(&["inspect", "config"]);
    assert_eq!((&config["compression"], &config["cipher"]), (&"zstd:7".into(), &"xchacha20-poly1305".into()));
    assert_eq!(config["repository"], made["repository"]);
    let keys = &sandbox.json(&["key", "list"])["keys"];
    assert_eq!((&keys[0]["label"], &keys[0]["current"]), (&"ops".into(), &true.into()));
    assert!(keys[0]["memory_kib"].as_u64().unwrap() >= 65536 && keys[0]["passes"].as_u64().unwrap() >= 3, "{keys}");
    sandbox.run(&["init"]).ends(1).says(&["there is a repository in", "nothing was changed"]);
}

#[test]
fn init_refuses_what_is_no_new_folder_and_what_it_does_not_know() {
    let sandbox = Sandbox::empty();
    sandbox.write("file", "");
    std::fs::create_dir(sandbox.path("full")).unwrap();
    sandbox.write("full/letter", "");
    sandbox.run(&["init", "--repo", "file"]).ends(1).says(&["file"]);
    sandbox.run(&["init", "--repo", "full"]).ends(1).says(&["neither empty nor a repository", "letter"]);
    sandbox.run(&["init", "--repo", "s3:bucket"]).ends(2).says(&["unknown kind of store"]);
    sandbox.run(&["init", "--compression", "zstd:99"]).ends(2).says(&["1 to 19"]);
    sandbox.run(&["init", "--compression", "rar"]).ends(2).says(&["zstd:LEVEL"]);
    sandbox.run(&["init", "--label", &"x".repeat(65)]).ends(2).says(&["64 bytes", "65"]);
    assert!(!sandbox.path("repo").exists());
}

#[test]
fn pass_phrases_are_added_listed_and_removed_but_not_the_last() {
    let sandbox = Sandbox::new();
    sandbox.write("new", "second\r\nnot this line");
    let added = sandbox.json(&["key", "add", "--label", "ops", "--new-password-file", "new"]);
    assert_eq!(added["change"], "added");
    assert_id(&added["key"], 32);
    let second = |command: &mut std::process::Command| {
        command.env("AEROLITH_PASSWORD", "second").args(["--quiet", "--json"]);
    };
    let keys = sandbox.run_with(&["key", "list"], second).ends(0).json();
    let keys = keys["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    let mine = keys.iter().find(|key| key["key"] == added["key"]).unwrap();
    let other = keys.iter().find(|key| key["key"] != added["key"]).unwrap();
    assert_eq!((&mine["label"], &mine["current"]), (&"ops".into(), &true.into()));
    assert_time(&mine["created"]);
    assert!(other["label"].is_null() && other["created"].is_null(), "a label of another slot can't be read");
    sandbox.run(&["key", "list"]).ends(0).shows(&["(another pass phrase)", "first", "passes"]);

    let first = other["key"].as_str().unwrap();
    let removed = sandbox.json(&["key", "remove", &first[..10]]);
    assert_eq!((&removed["key"], &removed["change"]), (&first.into(), &"removed".into()));
    sandbox.run(&["key", "list"]).ends(1).says(&["wrong pass phrase", "It came from AEROLITH_PASSWORD"]);
    let last = added["key"].as_str().unwrap();
    sandbox.run_with(&["key", "remove", last], second).ends(1).says(&["is the last one", "Add another first"]);
    sandbox.run_with(&["key", "remove", "ffff0000"], second).ends(1).says(&["not found", "aerolith key list"]);
    sandbox.run_with(&["key", "remove", ""], second).ends(2).says(&["which key slot?"]);
}

#[test]
fn an_empty_or_missing_new_pass_phrase_is_refused_without_a_prompt() {
    let sandbox = Sandbox::new();
    sandbox.run(&["key", "add"]).ends(2).says(&["no new pass phrase", "AEROLITH_NEW_PASSWORD"]);
    let empty = sandbox.run_with(&["key", "add"], |command| {
        command.env("AEROLITH_NEW_PASSWORD", "");
    });
    empty.ends(2).says(&["the pass phrase is empty", "AEROLITH_NEW_PASSWORD"]);
    sandbox.run(&["key", "add", "--label", &"x".repeat(65)]).ends(2).says(&["64 bytes"]);
}

#[test]
fn the_pass_phrase_comes_from_a_file_a_command_or_the_environment() {
    let sandbox = Sandbox::new();
    sandbox.write("right", &format!("{PASSWORD}\n"));
    sandbox.write("wrong", "something else\n");
    sandbox.write("empty", "\n");
    let run = |arguments: &[&str]| {
        let mut all = vec!["snapshots", "--json"];
        all.extend(arguments);
        sandbox.run_with(&all, |command| {
            command.env_remove("AEROLITH_PASSWORD");
        })
    };
    run(&["--password-file", "right"]).ends(0);
    run(&["--password-command", "cat right"]).ends(0);
    run(&["--password-file", "wrong"]).ends(1).says(&["wrong pass phrase", "the first line of wrong"]);
    run(&["--password-command", "cat wrong"]).ends(1).says(&["wrong pass phrase", "password command \"cat wrong\""]);
    run(&["--password-file", "empty"]).ends(2).says(&["the pass phrase is empty", "the first line of empty"]);
    run(&["--password-command", "true"]).ends(2).says(&["the pass phrase is empty", "\"true\""]);
    run(&["--password-file", "absent"]).ends(1).says(&["cannot read the pass phrase from absent"]);
    run(&["--password-command", "exit 3"]).ends(1).says(&["cannot run the password command", "exit status: 3"]);
    run(&["--password-file", "right", "--password-command", "x"]).ends(2).says(&["cannot be used with"]);
    // Standard input is no terminal here: a prompt would wait for ever.
    run(&[]).ends(2).says(&["no pass phrase, and no terminal", "AEROLITH_PASSWORD", "--password-file"]);
}
