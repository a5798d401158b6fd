//! `init` and `key`, and where passphrases come from.

use super::support::{Output, PASSWORD, Sandbox, assert_id, assert_time};
use std::io::{Read, Write};
use std::process::{Command, Stdio};

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
fn init_refuses_what_is_no_new_directory_and_what_it_does_not_know() {
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
fn passphrases_are_added_listed_and_removed_but_not_the_last() {
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
    sandbox.run(&["key", "list"]).ends(0).shows(&["(another passphrase)", "first", "passes"]);

    let first = other["key"].as_str().unwrap();
    let removed = sandbox.json(&["key", "remove", &first[..10], "--this-key"]);
    assert_eq!((&removed["key"], &removed["change"]), (&first.into(), &"removed".into()));
    sandbox.run(&["key", "list"]).ends(1).says(&["wrong passphrase", "It came from AEROLITH_PASSWORD"]);
    let last = added["key"].as_str().unwrap();
    sandbox
        .run_with(&["key", "remove", last, "--this-key"], second)
        .ends(1)
        .says(&["is the last one", "Add another first"]);
    sandbox.run_with(&["key", "remove", "ffff0000"], second).ends(1).says(&["not found", "aerolith key list"]);
    sandbox.run_with(&["key", "remove", ""], second).ends(2).says(&["which key slot?"]);
}

#[test]
fn an_empty_or_missing_new_passphrase_is_refused_without_a_prompt() {
    let sandbox = Sandbox::new();
    sandbox.run(&["key", "add"]).ends(2).says(&["no new passphrase", "AEROLITH_NEW_PASSWORD"]);
    let empty = sandbox.run_with(&["key", "add"], |command| {
        command.env("AEROLITH_NEW_PASSWORD", "");
    });
    empty.ends(2).says(&["the passphrase is empty", "AEROLITH_NEW_PASSWORD"]);
    sandbox.run(&["key", "add", "--label", &"x".repeat(65)]).ends(2).says(&["64 bytes"]);
}

#[test]
fn the_passphrase_comes_from_a_file_a_command_or_the_environment() {
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
    run(&["--password-file", "wrong"]).ends(1).says(&["wrong passphrase", "the first line of wrong"]);
    run(&["--password-command", "cat wrong"]).ends(1).says(&["wrong passphrase", "password command \"cat wrong\""]);
    run(&["--password-file", "empty"]).ends(2).says(&["the passphrase is empty", "the first line of empty"]);
    run(&["--password-command", "true"]).ends(2).says(&["the passphrase is empty", "\"true\""]);
    run(&["--password-file", "absent"]).ends(1).says(&["cannot read the passphrase of repo from absent"]);
    run(&["--password-command", "exit 3"]).ends(1).says(&["cannot run the password command", "exit status: 3"]);
    run(&["--password-file", "right", "--password-command", "x"]).ends(2).says(&["cannot be used with"]);
    // There is no terminal here: a prompt would wait for ever.
    run(&[]).ends(2).says(&["no passphrase of repo, and no terminal", "AEROLITH_PASSWORD", "--password-file"]);
}

#[test]
fn the_passphrase_comes_from_variables_that_name_a_file_or_a_command_and_from_one_of_them_alone() {
    let sandbox = Sandbox::new();
    sandbox.write("right", &format!("{PASSWORD}\n"));
    sandbox.write("long", &"x".repeat(1 << 20));
    let run = |variables: &[(&str, &str)], arguments: &[&str]| -> Output {
        let mut all = vec!["snapshots", "--json"];
        all.extend(arguments);
        sandbox.run_with(&all, |command| {
            command.env_remove("AEROLITH_PASSWORD").env("PATH", "/usr/bin:/bin").envs(variables.iter().copied());
        })
    };
    run(&[("AEROLITH_PASSWORD_FILE", "right")], &[]).ends(0);
    run(&[("AEROLITH_PASSWORD_COMMAND", "cat right")], &[]).ends(0);
    // An option goes before any variable.
    run(&[("AEROLITH_PASSWORD_FILE", "absent")], &["--password-file", "right"]).ends(0);
    let file = run(&[("AEROLITH_PASSWORD_FILE", "absent")], &[]);
    file.ends(1).says(&["cannot read the passphrase of repo from absent"]);
    run(&[("AEROLITH_PASSWORD_FILE", "")], &[]).ends(2).says(&["AEROLITH_PASSWORD_FILE is empty"]);
    run(&[("AEROLITH_PASSWORD_COMMAND", "")], &[]).ends(2).says(&["AEROLITH_PASSWORD_COMMAND is empty"]);
    run(&[("AEROLITH_PASSWORD_COMMAND", "exit 3")], &[]).ends(1).says(&["\"exit 3\"", "exit status: 3"]);
    run(&[("AEROLITH_PASSWORD_COMMAND", "true")], &[]).ends(2).says(&["the passphrase is empty", "\"true\""]);
    let both = run(&[("AEROLITH_PASSWORD", "x"), ("AEROLITH_PASSWORD_COMMAND", "cat right")], &[]);
    both.ends(2).says(&["AEROLITH_PASSWORD and AEROLITH_PASSWORD_COMMAND are set", "Unset"]);
    // What never ends, or isn't a passphrase, takes no memory.
    run(&[("AEROLITH_PASSWORD_COMMAND", "yes")], &[]).ends(1).says(&["prints more than 65536 bytes"]);
    run(&[("AEROLITH_PASSWORD_FILE", "/dev/zero")], &[]).ends(1).says(&["that is no passphrase"]);
    run(&[("AEROLITH_PASSWORD_FILE", "long")], &[]).ends(1).says(&["that is no passphrase"]);
    // The command doesn't eat what is backed up.
    sandbox.people();
    let backup = sandbox.run_with(&["backup", "asb:-", "--json", "--cluster", "other"], |command| {
        command.env_remove("AEROLITH_PASSWORD").env("AEROLITH_PASSWORD_COMMAND", "cat >eaten; cat right");
        command.env("PATH", "/usr/bin:/bin").stdin(std::fs::File::open(sandbox.path("people.asb")).unwrap());
    });
    assert_eq!(backup.ends(0).json()["cluster"], "other");
    assert_eq!(std::fs::read(sandbox.path("eaten")).unwrap(), b"");
}

#[test]
fn the_slot_in_use_is_removed_only_when_that_is_said() {
    let sandbox = Sandbox::new();
    let first = sandbox.json(&["key", "list"])["keys"][0]["key"].as_str().unwrap().to_string();
    sandbox.write("new", "second");
    sandbox.json(&["key", "add", "--new-password-file", "new"]);
    sandbox.run(&["key", "remove", &first]).ends(2).says(&[&first, "--this-key", "key passwd"]);
    assert_eq!(sandbox.json(&["key", "list"])["keys"].as_array().unwrap().len(), 2);
    sandbox.run(&["key", "remove", &first, "--this-key"]).ends(0);
    sandbox.run(&["key", "list"]).ends(1).says(&["wrong passphrase"]);
}

#[test]
fn the_passphrase_is_changed_and_the_slot_keeps_its_label() {
    let sandbox = Sandbox::new();
    let old = sandbox.json(&["key", "list"])["keys"][0]["key"].clone();
    sandbox.write("new", "second\n");
    sandbox.write("same", PASSWORD);
    sandbox.run(&["key", "passwd", "--new-password-file", "same"]).ends(2).says(&["nothing was changed"]);
    let changed = sandbox.json(&["key", "passwd", "--new-password-file", "new"]);
    assert_eq!((&changed["change"], &changed["replaced"]), (&"changed".into(), &old));
    assert_id(&changed["key"], 32);
    sandbox.run(&["snapshots"]).ends(1).says(&["wrong passphrase"]);
    let keys = sandbox.json(&["key", "list", "--password-file", "new"]);
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
    let slot = &keys["keys"][0];
    assert_eq!((&slot["key"], &slot["label"]), (&changed["key"], &"first".into()));
    assert!(slot["memory_kib"].as_u64().unwrap() >= 65536, "{slot}");
    let command = ["key", "passwd", "--password-file", "new", "--new-password-command", "echo third"];
    let third = sandbox.run_with(&command, |command| {
        command.env("PATH", "/usr/bin:/bin");
    });
    third.ends(0).shows(&["changed the passphrase"]);
}

#[test]
fn programs_that_make_a_repository_at_the_same_time_leave_one_key_slot() {
    let sandbox = Sandbox::empty();
    let start = |_| sandbox.command(&["init"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let children: Vec<_> = (0..4).map(start).collect();
    let made = children.into_iter().map(|mut child| child.wait().unwrap().code()).filter(|code| *code == Some(0));
    assert_eq!(made.count(), 1);
    assert_eq!(std::fs::read_dir(sandbox.path("repo/keys")).unwrap().count(), 1);
    sandbox.run(&["snapshots"]).ends(0);
}

#[test]
fn a_repository_with_holds_is_one_and_a_directory_with_what_systems_leave_can_become_one() {
    let sandbox = Sandbox::new();
    sandbox.people();
    sandbox.run(&["hold", "add", "latest", "--reason", "x"]).ends(0);
    sandbox.run(&["init"]).ends(1).says(&["there is a repository in", "nothing was changed"]);
    std::fs::create_dir_all(sandbox.path("disk/lost+found")).unwrap();
    sandbox.write("disk/.DS_Store", "x");
    sandbox.run(&["--repo", "disk", "init"]).ends(0);
    sandbox.run(&["--repo", "disk", "check"]).ends(0);
}

#[test]
fn what_is_stored_only_the_owner_can_open() {
    use std::os::unix::fs::MetadataExt;
    let sandbox = Sandbox::empty();
    sandbox.run(&["init"]).ends(0);
    sandbox.people();
    sandbox.run(&["hold", "add", "latest", "--reason", "x"]).ends(0);
    let mut directories = vec![sandbox.path("repo")];
    let mut seen = 0;
    while let Some(directory) = directories.pop() {
        assert_eq!(std::fs::metadata(&directory).unwrap().mode() & 0o777, 0o700, "{}", directory.display());
        for path in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            seen += 1;
            if path.is_dir() {
                directories.push(path);
            } else {
                assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600, "{}", path.display());
            }
        }
    }
    assert!(seen > 12, "{seen}");
}

/// Runs the program on a terminal of its own, types these lines, each once a prompt asks, and gives back the exit code
/// and what the terminal showed.
fn on_a_terminal(sandbox: &Sandbox, arguments: &str, lines: &[&str]) -> (Option<i32>, String) {
    let mut terminal = Command::new("script");
    let program = env!("CARGO_BIN_EXE_aerolith");
    terminal.args(["-qec", &format!("'{program}' {arguments}"), "/dev/null"]).current_dir(sandbox.directory.path());
    terminal.env_clear().env("AEROLITH_REPO", "repo").env("PATH", "/usr/bin:/bin").env("SHELL", "/bin/sh");
    let mut child = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut keyboard, mut screen) = (child.stdin.take(), child.stdout.take().unwrap());
    let (mut shown, mut piece) = (Vec::new(), [0; 256]);
    let mut lines = lines.iter();
    while let Ok(read @ 1..) = screen.read(&mut piece) {
        shown.extend_from_slice(&piece[..read]);
        if shown.ends_with(b": ") {
            match lines.next() {
                Some(line) => writeln!(keyboard.as_ref().unwrap(), "{line}").unwrap(),
                None => drop(keyboard.take()),
            }
        }
    }
    (child.wait().unwrap().code(), String::from_utf8_lossy(&shown).into_owned())
}

#[test]
fn a_prompt_names_the_repository_and_asks_three_times() {
    let sandbox = Sandbox::new();
    let (code, shown) = on_a_terminal(&sandbox, "snapshots --json", &["wrong", "", PASSWORD]);
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(shown.matches("passphrase of repo: ").count(), 3, "{shown}");
    assert_eq!(shown.matches("wrong passphrase for repo").count(), 2, "{shown}");
    let (code, shown) = on_a_terminal(&sandbox, "snapshots", &["wrong", "worse", "worst"]);
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("wrong passphrase") && shown.contains("It came from the prompt"), "{shown}");
    // Nobody is asked for the passphrase of what isn't there.
    let (code, shown) = on_a_terminal(&sandbox, "snapshots --repo .", &[]);
    assert!(code == Some(1) && shown.contains("aerolith init") && !shown.contains("passphrase of"), "{shown}");
    let (code, shown) = on_a_terminal(&sandbox, "key passwd", &[PASSWORD, "new", "other", "new", "new"]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("new passphrase of repo: ") && shown.contains("the two passphrases differ"), "{shown}");
    let (code, shown) = on_a_terminal(&sandbox, "snapshots", &["new"]);
    assert_eq!(code, Some(0), "{shown}");
}

#[test]
fn a_prompt_asks_at_the_terminal_where_standard_input_is_what_is_backed_up() {
    let sandbox = Sandbox::new();
    sandbox.people();
    let (code, shown) = on_a_terminal(&sandbox, "backup asb:- --cluster other <people.asb", &["wrong", PASSWORD]);
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(shown.matches("passphrase of repo: ").count(), 2, "{shown}");
    assert!(shown.contains("committed snapshot"), "{shown}");
    assert_eq!(sandbox.json(&["snapshots", "--cluster", "other"])["snapshots"].as_array().unwrap().len(), 1);
    // So is a new one, twice.
    let new = "key add --password-file first </dev/null";
    sandbox.write("first", PASSWORD);
    let (code, shown) = on_a_terminal(&sandbox, new, &["second", "second"]);
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(sandbox.json(&["key", "list"])["keys"].as_array().unwrap().len(), 2);
}
