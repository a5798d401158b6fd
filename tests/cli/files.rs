//! Files that restores write: at once, after one another, encrypted, of every version.

use super::support::{Sandbox, asb, person};
use aerolith::{AsbTarget, AsbTargetOptions, JsonlTarget, RecordTarget};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

/// The names in the sandbox, but for the repository and what begins with `except`.
fn names(sandbox: &Sandbox, directory: &str) -> Vec<String> {
    let entries = std::fs::read_dir(sandbox.path(directory)).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A snapshot that takes a while to restore.
fn long(sandbox: &Sandbox) {
    let records: String = (0..150_000).map(|n| person(&format!("person-{n}"), 1, n)).collect();
    sandbox.write("long.asb", &asb("test", &records));
    sandbox.run(&["backup", "asb:long.asb"]).ends(0);
}

#[test]
fn a_second_restore_into_files_that_are_being_written_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.people();
    let metadata = Default::default();
    let directory = AsbTarget::new(&sandbox.path("out"), AsbTargetOptions::default()).unwrap();
    directory.begin("test", &metadata).unwrap();
    let single = AsbTarget::new(&sandbox.path("one.asb"), AsbTargetOptions::default()).unwrap();
    single.begin("test", &metadata).unwrap();
    let lines = JsonlTarget::new(sandbox.path("out.jsonl")).unwrap();
    lines.begin("test", &metadata).unwrap();
    for target in ["asb:out", "asb:one.asb", "jsonl:out.jsonl"] {
        let refused = sandbox.run(&["restore", "latest", target]).ends(1);
        refused.says(&[target, "another restore is writing", "Wait for it, or"]);
    }
    // Beside them there is room.
    for target in ["asb:other", "asb:two.asb", "jsonl:other.jsonl"] {
        sandbox.run(&["restore", "latest", target]).ends(0);
    }
    for target in [&directory as &dyn RecordTarget, &single, &lines] {
        target.finish().unwrap();
    }
    assert_eq!(names(&sandbox, "out"), ["test_00000.asb"]);
}

#[test]
fn of_two_restores_at_once_each_ends_with_a_whole_file_or_is_refused() {
    let sandbox = Sandbox::new();
    long(&sandbox);
    for (round, target) in ["asb:out", "jsonl:out.jsonl", "asb:out.asb"].into_iter().enumerate() {
        let start = || {
            let mut command = sandbox.command(&["restore", "latest", target, "--quiet"]);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let ended = [start(), start()].map(|child| child.wait_with_output().unwrap());
        let codes = ended.each_ref().map(|output| output.status.code().unwrap());
        assert!(codes == [0, 1] || codes == [1, 0], "{target}, round {round}: {ended:?}");
        sandbox.run(&["verify", "latest", target]).ends(0);
    }
    let expected = ["long.asb", "out", "out.asb", "out.jsonl", "repo"];
    assert_eq!(
        (names(&sandbox, "."), names(&sandbox, "out")),
        (expected.map(String::from).to_vec(), vec!["test_00000.asb".into()])
    );
}

#[test]
fn no_signal_leaves_files_that_the_next_restore_does_not_clear() {
    let sandbox = Sandbox::new();
    long(&sandbox);
    for signals in [&[Signal::INT, Signal::INT][..], &[Signal::TERM], &[Signal::KILL]] {
        for target in ["asb:out", "jsonl:out.jsonl", "asb:out.asb"] {
            let mut command = sandbox.command(&["restore", "latest", target]);
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            let mut errors = BufReader::new(child.stderr.take().unwrap());
            let mut said = String::new();
            errors.read_line(&mut said).unwrap();
            assert!(said.contains(": begun"), "{said}");
            for signal in signals {
                let _ = kill_process(Pid::from_child(&child), *signal);
            }
            errors.read_to_string(&mut said).unwrap();
            assert!(!child.wait().unwrap().success(), "{said}");
            let left = || {
                let directories = [".", "out"].into_iter().filter(|directory| sandbox.path(directory).exists());
                let all: Vec<String> = directories.flat_map(|directory| names(&sandbox, directory)).collect();
                all.into_iter().filter(|name| name.ends_with(".partial")).collect::<Vec<_>>()
            };
            if signals != [Signal::KILL] {
                assert_eq!(left(), [""; 0], "{target} after {signals:?}");
            }
            let left = left();
            let again = sandbox.run(&["restore", "latest", target]).ends(0);
            again.says(&left.iter().map(String::as_str).collect::<Vec<_>>());
            sandbox.run(&["verify", "latest", target]).ends(0);
            let (scheme, path) = target.split_once(':').unwrap();
            let path = sandbox.path(path);
            if scheme == "asb" && path.is_dir() {
                assert_eq!(names(&sandbox, "out"), ["test_00000.asb"]);
                std::fs::remove_dir_all(path).unwrap();
            } else {
                std::fs::remove_file(path).unwrap();
            }
            assert_eq!(names(&sandbox, "."), ["long.asb", "repo"]);
        }
    }
}

#[test]
fn encrypted_files_are_read_back_with_their_key() {
    let sandbox = Sandbox::new();
    sandbox.people();
    let key = format!("{}/tests/data/asb/key-pkcs1.pem", env!("CARGO_MANIFEST_DIR"));
    for (n, cipher) in
        [&["--asb-encrypt", "aes128"][..], &["--asb-encrypt", "aes256", "--zstd", "3"], &[]].iter().enumerate()
    {
        let target = format!("asb:out{n}");
        let arguments = [&["restore", "latest", &target, "--asb-key", &key, "--verify"][..], cipher].concat();
        let restored = sandbox.json(&arguments);
        assert_eq!(restored["namespaces"][0]["verification"]["same"], true);
        sandbox.run(&["verify", "latest", &target]).ends(1).says(&["--asb-key"]);
        sandbox.run(&["verify", "latest", &target, "--asb-key", &key]).ends(0);
        let pem = std::fs::read_to_string(&key).unwrap();
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        for (place, text) in [("env:KEY_OF_FILES", &pem), ("env-b64:KEY_OF_FILES", &body)] {
            let arguments = ["verify", "latest", &target, "--asb-key", place];
            sandbox.run_with(&arguments, |command| _ = command.env("KEY_OF_FILES", text)).ends(0);
            sandbox.run(&arguments).ends(2).says(&["the key of .asb files", "KEY_OF_FILES", "it is not set"]);
        }
    }
    let refuses = |arguments: &[&str], code: i32, says: &[&str]| {
        sandbox.run(&[&["restore", "latest", "asb:refused"], arguments].concat()).ends(code).says(says);
    };
    refuses(&["--asb-encrypt", "aes128"], 2, &["--asb-key"]);
    refuses(&["--asb-key", "people.asb"], 1, &["key file people.asb", "no private key"]);
    refuses(&["--asb-key", "absent.pem"], 1, &["read the key of .asb files from absent.pem"]);
    refuses(&["--file-limit", "0"], 2, &["--file-limit"]);
    refuses(&["--asb-version", "3.3"], 2, &["3.1, 3.2"]);
    for option in [&["--asb-key", &key][..], &["--zstd", "3"], &["--file-limit", "1"], &["--asb-version", "3.2"]] {
        let refused = sandbox.run(&[&["restore", "latest", "jsonl:refused"], option].concat()).ends(2);
        refused.says(&[option[0], "is for .asb files", "jsonl:refused"]);
    }
    for single in ["asb:refused.asb", "asb:-"] {
        sandbox
            .run(&["restore", "latest", single, "--file-limit", "1"])
            .ends(2)
            .says(&["--file-limit", "name a directory"]);
    }
    assert!(names(&sandbox, ".").iter().all(|name| !name.starts_with("refused")));
}

#[test]
fn files_end_at_the_limit_and_all_of_them_are_read() {
    let sandbox = Sandbox::new();
    let records: String = (0..30_000).map(|n| person(&format!("person-{n}"), 1, n)).collect();
    sandbox.write("some.asb", &asb("test", &records));
    sandbox.run(&["backup", "asb:some.asb"]).ends(0);
    sandbox.run(&["restore", "latest", "asb:out", "--file-limit", "1"]).ends(0);
    assert!(names(&sandbox, "out").len() > 1, "{:?}", names(&sandbox, "out"));
    sandbox.run(&["verify", "latest", "asb:out"]).ends(0);
}

#[test]
fn an_index_over_an_expression_comes_back_in_files_of_version_3_2() {
    let sandbox = Sandbox::new();
    let lines = "* e test people by-exp N 1  N kxGTfgI=\n* i test people by-age N 1 age N\n";
    let text = asb("test", &[lines, &person("ann", 1, 30)].concat()).replace("Version 3.1", "Version 3.2");
    sandbox.write("in.asb", &text);
    sandbox.run(&["backup", "asb:in.asb"]).ends(0);
    let restored = sandbox.run(&["restore", "latest", "asb:out.asb"]).ends(0);
    restored.says(&["version 3.2, which absctl reads and asrestore refuses", "--asb-version 3.1"]);
    assert_eq!(std::fs::read_to_string(sandbox.path("out.asb")).unwrap(), text);
    let older = sandbox.run(&["restore", "latest", "asb:older", "--asb-version", "3.1"]).ends(3);
    older.says(&["by-exp", "over an expression, which asb version 3.1 can't hold"]);
    let older = std::fs::read_to_string(sandbox.path("older/test_00000.asb")).unwrap();
    assert_eq!(
        older,
        text.replace("Version 3.2", "Version 3.1").replace("* e test people by-exp N 1  N kxGTfgI=\n", "")
    );
    let json = sandbox.json(&["restore", "latest", "asb:json", "--asb-version", "3.2"]);
    assert_eq!((&json["omissions"], &json["notes"]), (&json!([]), &json!([])));
}

#[test]
fn empty_namespaces_come_back_from_files_of_every_kind() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("in")).unwrap();
    sandbox.write("in/empty.asb", &asb("empty", ""));
    sandbox.write("in/test.asb", &asb("test", &person("ann", 1, 30)));
    sandbox.run(&["backup", "asb:in", "--cluster", "a"]).ends(0);
    for target in ["asb:out", "jsonl:out.jsonl", "embedded:out-store"] {
        sandbox.run(&["restore", "latest", target]).ends(0);
        sandbox.run(&["verify", "latest", target]).ends(0);
    }
    let lines = std::fs::read_to_string(sandbox.path("out.jsonl")).unwrap();
    assert!(lines.ends_with("{\"kind\":\"namespace\",\"namespace\":\"empty\"}\n"), "{lines}");
    assert_eq!(lines.matches("\"kind\":\"namespace\"").count(), 1, "others are named by their records");
    let again = sandbox.json(&["backup", "jsonl:out.jsonl", "--cluster", "a"]);
    let names: Vec<_> = again["namespaces"].as_array().unwrap().iter().map(|one| &one["namespace"]).collect();
    assert_eq!(names, ["empty", "test"]);
    // Alone too, and where nothing was selected.
    sandbox.run(&["restore", "latest:empty", "jsonl:empty.jsonl"]).ends(0);
    sandbox.run(&["backup", "jsonl:empty.jsonl", "--cluster", "a"]).ends(0);
    sandbox.write("bad.jsonl", "{\"aerolith\":\"jsonl\",\"version\":1}\n{\"kind\":\"namespace\"}\n");
    sandbox.run(&["backup", "jsonl:bad.jsonl", "--cluster", "b"]).ends(1).says(&["expected a field \"namespace\""]);
}
