//! Backups of what a command writes.

use super::support::{Sandbox, asb, person};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::{Duration, Instant};

fn with_input(sandbox: &Sandbox) {
    sandbox.write("in.asb", &asb("test", &[person("ann", 1, 30), person("bob", 1, 40)].concat()));
}

#[test]
fn the_output_of_a_command_that_succeeds_is_committed() {
    let sandbox = Sandbox::new();
    with_input(&sandbox);
    let shown =
        sandbox.run(&["backup", "--from-command", "SECRET=x /bin/cat in.asb; echo to the user >&2", "--cluster", "a"]);
    shown.ends(0).says(&["to the user"]).shows(&["committed snapshot"]);
    sandbox.run(&["verify", "latest", "asb:in.asb"]).ends(0);
    let snapshot = sandbox.json(&["show", "latest"]);
    assert_eq!(snapshot["source"], "asb:- (output of cat)", "without arguments and variables, which may be secrets");
    sandbox.run(&["restore", "latest", "jsonl:in.jsonl"]).ends(0);
    let backup = sandbox.json(&["backup", "jsonl:-", "--from-command", "cat in.jsonl", "--cluster", "a"]);
    assert_eq!(backup["namespaces"][0]["counts"]["unchanged"], 2, "{backup}");
    let encrypted = ["restore", "latest", "asb:out", "--asb-key"];
    let key = format!("{}/tests/data/asb/key-pkcs1.pem", env!("CARGO_MANIFEST_DIR"));
    sandbox.run(&[&encrypted[..], &[&key]].concat()).ends(0);
    let command = "cat out/test_00000.asb";
    sandbox.run(&["backup", "--from-command", command, "--cluster", "a"]).ends(1).says(&["--asb-key"]);
    sandbox.run(&["backup", "--from-command", command, "--cluster", "a", "--asb-key", &key]).ends(0);
}

#[test]
fn a_command_that_fails_is_named_with_its_status_and_nothing_is_committed() {
    let sandbox = Sandbox::new();
    with_input(&sandbox);
    sandbox.run(&["backup", "asb:in.asb", "--cluster", "a"]).ends(0);
    sandbox.run(&["restore", "latest", "jsonl:in.jsonl"]).ends(0);
    // After whole output, after a part of it, after none; by a status and by a signal.
    for source in ["asb:-", "jsonl:-"] {
        let file = if source == "asb:-" { "in.asb" } else { "in.jsonl" };
        for (command, status) in [
            (format!("cat {file}; exit 3"), "exit status: 3"),
            (format!("head -c 150 {file}; echo why >&2; exit 4"), "exit status: 4"),
            ("exit 5".into(), "exit status: 5"),
            (format!("cat {file}; kill -9 $$"), "signal: 9"),
            ("no-such-program".into(), "exit status: 127"),
        ] {
            for more in [&[][..], &["--skip-bad-records"]] {
                let arguments = [&["backup", source, "--cluster", "a", "--from-command", &command][..], more].concat();
                let failed = sandbox.run(&arguments).ends(1);
                let program = command.split([' ', ';']).next().unwrap();
                failed.says(&[&format!("the command {command:?} failed: {status}"), "nothing was committed", program]);
            }
        }
    }
    assert_eq!(sandbox.json(&["snapshots"])["snapshots"].as_array().unwrap().len(), 1);
    let sessions = sandbox.json(&["history"])["sessions"].as_array().unwrap().clone();
    assert_eq!(sessions.len(), 21);
    let reason = sessions[1]["reason"].as_str().unwrap();
    assert!(
        reason.contains("command cat") && reason.contains("exit status: 3") && !reason.contains("in.asb"),
        "{reason}"
    );
}

#[test]
fn what_is_wrong_with_the_output_of_a_command_that_succeeds_is_named_as_ever() {
    let sandbox = Sandbox::new();
    sandbox.write("bad.asb", &asb("test", &person("ann", 1, 30).replace("- I", "- Q")));
    let failed = sandbox.run(&["backup", "--from-command", "cat bad.asb"]).ends(1);
    failed.says(&["output of cat", "at byte", "expected a bin"]);
    // One that would go on for ever is ended.
    let begun = Instant::now();
    sandbox.run(&["backup", "--from-command", "yes nonsense"]).ends(1).says(&["neither as asb text nor as zstd"]);
    assert!(begun.elapsed() < Duration::from_secs(60));
    for source in [&["asb:bad.asb"][..], &["embedded:x"], &["asb:-", "jsonl:-"]] {
        let refused = sandbox.run(&[&["backup", "--from-command", "true"], source].concat()).ends(2);
        refused.says(&["--from-command", "asb:- or jsonl:-"]);
    }
    sandbox.run(&["backup", "--from-command", " "]).ends(2).says(&["names no command"]);
}

#[test]
fn ctrl_c_ends_the_command_with_the_backup() {
    let sandbox = Sandbox::new();
    with_input(&sandbox);
    std::fs::write(sandbox.path("in.jsonl"), "{\"aerolith\":\"jsonl\",\"version\":1}\n").unwrap();
    for (n, source) in ["asb:-", "jsonl:-"].into_iter().enumerate() {
        let file = if source == "asb:-" { "in.asb" } else { "in.jsonl" };
        // The shell, a part of a pipe, and one that it left in the background: all of it ends.
        let command = format!("cat {file}; echo $$ > pid; sleep 1000 & sleep 1000 | sleep 1000");
        let mut program = sandbox.command(&["backup", source, "--from-command", &command]);
        let mut child = program.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        errors.read_line(&mut said).unwrap();
        assert!(said.contains(": begun"), "{said}");
        let begun = Instant::now();
        let group = loop {
            let text = std::fs::read_to_string(sandbox.path("pid")).unwrap_or_default();
            if let Some(pid) = text.trim().parse().ok().and_then(Pid::from_raw) {
                break pid;
            }
            assert!(begun.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(5));
        };
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        errors.read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{said}");
        assert!(said.contains("stopped on request: nothing was committed"), "{said}");
        let is_gone = || rustix::process::test_kill_process_group(group).is_err();
        let begun = Instant::now();
        while !is_gone() {
            assert!(begun.elapsed() < Duration::from_secs(10), "the command goes on");
            std::thread::sleep(Duration::from_millis(5));
        }
        let session = sandbox.json(&["history"])["sessions"][n].clone();
        assert_eq!((&session["status"], &session["snapshot"]), (&json!("stopped"), &json!(null)));
        std::fs::remove_file(sandbox.path("pid")).unwrap();
    }
}

#[test]
fn output_that_cannot_be_read_is_at_fault_itself_though_the_command_dies_of_it() {
    let sandbox = Sandbox::new();
    sandbox.write("bad.asb", &[asb("test", &person("ann", 1, 30)), "nonsense\n".repeat(400_000)].concat());
    let failed = sandbox.run(&["backup", "--from-command", "cat bad.asb", "--cluster", "a"]).ends(1);
    failed.says(&["asb:- (output of cat) at byte", "nonsense"]);
}
