//! Readers that go away, and users who stop a run.

use super::support::{Sandbox, asb, assert_time, person};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

/// Writes a backup that takes a while to read.
fn long(sandbox: &Sandbox) {
    let records: String = (0..150_000).map(|n| person(&format!("person-{n}"), 1, n)).collect();
    sandbox.write("long.asb", &asb("test", &records));
}

/// Runs a command, interrupts it once it says that it has begun, and gives back its exit code and what it said.
fn interrupt(sandbox: &Sandbox, arguments: &[&str], signal: Signal) -> (Option<i32>, String) {
    let mut command = sandbox.command(arguments);
    let mut child: Child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    errors.read_line(&mut said).unwrap();
    assert!(said.contains(": begun"), "{said}");
    kill_process(Pid::from_child(&child), signal).unwrap();
    errors.read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code(), said)
}

/// Whether whoever runs the tests lets them, and the programs that they start, live on without a terminal, as `nohup`
/// does.
fn hangups_are_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or("0");
    u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & 1 == 1)
}

#[test]
fn a_backup_that_is_interrupted_commits_nothing_and_stands_in_the_history_as_stopped() {
    let sandbox = Sandbox::new();
    long(&sandbox);
    let mut signals = vec![(Signal::INT, 130), (Signal::TERM, 143)];
    if !hangups_are_ignored() {
        signals.push((Signal::HUP, 129));
    }
    for (n, (signal, expected)) in signals.into_iter().enumerate() {
        let (code, said) = interrupt(&sandbox, &["backup", "asb:long.asb"], signal);
        assert_eq!(code, Some(expected), "{said}");
        assert!(said.contains("stopping at the next safe point; press again to stop at once"), "{said}");
        assert!(said.contains("stopped on request: nothing was committed"), "{said}");
        assert_eq!(sandbox.json(&["snapshots"])["snapshots"], json!([]));
        let session = sandbox.json(&["history"])["sessions"][n].clone();
        assert_eq!((&session["status"], &session["snapshot"]), (&json!("stopped"), &json!(null)));
        assert_time(&session["ended"]);
    }
    sandbox.run(&["backup", "asb:long.asb"]).ends(0);
}

#[test]
fn a_restore_that_is_interrupted_leaves_nothing_that_looks_whole() {
    let sandbox = Sandbox::new();
    long(&sandbox);
    sandbox.run(&["backup", "asb:long.asb"]).ends(0);
    for target in ["asb:out", "jsonl:out.jsonl"] {
        let (code, said) = interrupt(&sandbox, &["restore", "latest", target], Signal::INT);
        assert_eq!(code, Some(130), "{said}");
        assert!(said.contains("stopped on request") && said.contains("Restore again"), "{said}");
    }
    // No part of a file stays, nor the directory that was made for them.
    let mut left = std::fs::read_dir(sandbox.directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.all(|name| name == "repo" || name == "long.asb"));
    sandbox.run(&["restore", "latest", "asb:out"]).ends(0);
}

#[test]
fn a_reader_that_goes_away_ends_the_program_without_a_message() {
    let sandbox = Sandbox::new();
    long(&sandbox);
    sandbox.run(&["backup", "asb:long.asb"]).ends(0);
    for arguments in [&["ls", "latest"][..], &["ls", "latest", "--json"], &["ls", "latest", "--no-keys"]] {
        let mut child = sandbox.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::with_capacity(64, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), &output.stderr[..]), (Some(141), &b""[..]), "{arguments:?}");
    }
    // Records that nobody takes are a failed restore, but no panic.
    let mut restore = sandbox.command(&["restore", "latest", "jsonl:-", "--quiet"]);
    let mut child = restore.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("Broken pipe"), "{said}");
}

#[test]
fn nobody_on_standard_error_is_no_reason_to_panic() {
    let sandbox = Sandbox::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut failing = sandbox.command(&["show", "latest"]);
    let status = failing.stdout(Stdio::null()).stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(1));
}
