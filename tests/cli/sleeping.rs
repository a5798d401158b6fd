//! A backup that sleeps through its lease: a closed lid, a stopped process.

use super::support::{Sandbox, asb, person};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::Read;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// A backup that is stopped. It dies with this value, lest a test that fails leaves it behind.
struct Sleeper {
    child: Child,
    session: String,
}

/// A backup that is stopped once its session has begun.
fn stopped(sandbox: &Sandbox, lease: &str) -> Sleeper {
    let records: String = (0..150_000).map(|n| person(&format!("person-{n}"), 1, n)).collect();
    sandbox.write("long.asb", &asb("test", &records));
    let sessions = || -> Vec<String> {
        let files = std::fs::read_dir(sandbox.path("repo/sessions")).into_iter().flatten();
        files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.starts_with('.'))
            .collect()
    };
    let before = sessions();
    let mut command = sandbox.command(&["backup", "asb:long.asb", "--cluster", "asb", "--lease", lease, "--quiet"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    let mut session = None;
    while session.is_none() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
        session = sessions().into_iter().find(|session| !before.contains(session));
    }
    kill_process(Pid::from_child(&child), Signal::STOP).unwrap();
    Sleeper { child, session: session.expect("no session began") }
}

impl Sleeper {
    /// Lets it go on, and gives back how it ended and what it said.
    fn wake(mut self) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).unwrap();
        let mut error = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
        (self.child.wait().unwrap().code(), error)
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_backup_that_sleeps_through_its_lease_learns_of_it_and_the_next_one_succeeds() {
    let sandbox = Sandbox::new();
    sandbox.people();
    let sleeper = stopped(&sandbox, "5s");
    let session = sleeper.session.clone();
    // Asleep for less than its lease, it is waited for.
    sandbox.run(&["prune"]).ends(1).says(&["still at work", &session, "--wait", "--fence"]);
    let pruned = sandbox.json(&["prune", "--wait", "1min"]);
    assert_eq!(pruned["fenced"], serde_json::json!([session]));
    let (code, error) = sleeper.wake();
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("was fenced before it could commit") && error.contains("asleep past its lease"), "{error}");
    assert!(error.contains("Nothing was committed") && error.contains("run the backup again"), "{error}");
    let sessions = sandbox.json(&["history"])["sessions"].clone();
    let row = sessions.as_array().unwrap().iter().find(|row| row["session"] == session.as_str()).unwrap().clone();
    assert_eq!((&row["status"], &row["snapshot"]), (&"failed".into(), &"fenced".into()));
    assert_eq!(sandbox.json(&["snapshots"])["snapshots"].as_array().unwrap().len(), 2);
    sandbox.run(&["backup", "asb:long.asb", "--cluster", "asb"]).ends(0);
    sandbox.run(&["prune"]).ends(0);
    sandbox.run(&["check", "--read-data"]).ends(0);
}

#[test]
fn a_backup_that_sleeps_for_less_than_its_lease_commits() {
    let sandbox = Sandbox::new();
    sandbox.people();
    let sleeper = stopped(&sandbox, "10min");
    let session = sleeper.session.clone();
    std::thread::sleep(Duration::from_millis(1500));
    sandbox.run(&["prune"]).ends(1).says(&["still at work", &session]);
    let (code, error) = sleeper.wake();
    assert_eq!(code, Some(0), "{error}");
    assert_eq!(sandbox.json(&["snapshots"])["snapshots"][2]["snapshot"], session.as_str());
    sandbox.run(&["backup", "asb:long.asb", "--lease", "0s"]).ends(2).says(&["at least 1s"]);
}

#[test]
fn a_program_that_sleeps_in_the_middle_of_a_listing_blocks_nobody() {
    let sandbox = Sandbox::new();
    sandbox.people();
    // What a stopped program still has of a directory that it was listing or changing.
    let _sleeper = ["sessions", "snapshots"].map(|directory| {
        let handle = File::open(sandbox.path(&format!("repo/{directory}"))).unwrap();
        handle.lock().unwrap();
        handle
    });
    sandbox.run(&["backup", "asb:people.asb"]).ends(0);
    sandbox.run(&["forget", "--keep-last", "1"]).ends(0);
    sandbox.run(&["prune"]).ends(0);
    sandbox.run(&["check"]).ends(0);
}

#[test]
fn a_backup_that_was_killed_on_this_machine_holds_up_no_prune() {
    let sandbox = Sandbox::new();
    let mut killed = stopped(&sandbox, "10min");
    let session = killed.session.clone();
    let running = sandbox.json(&["history"])["sessions"][0].clone();
    assert_eq!(running["status"], "running");
    let dry = sandbox.json(&["prune", "--dry-run"]);
    assert_eq!((&dry["waits_for"][0]["session"], &dry["fenced"]), (&session.clone().into(), &serde_json::json!([])));
    assert!(dry["refused"].as_str().unwrap().contains(&session));
    sandbox.run(&["prune", "-n"]).ends(0).shows(&["nothing would be done now", &session, "Once it has ended"]);
    sandbox.run(&["prune", "-n", "--wait", "1h"]).ends(0).shows(&["would wait for session", &session]);
    // What was refused and did nothing is no event.
    sandbox.run(&["prune"]).ends(1).says(&[&session]);
    assert_eq!(sandbox.json(&["history"])["sessions"].as_array().unwrap().len(), 1);
    let all = sandbox.json(&["history", "--all"])["sessions"].clone();
    assert!(all[1]["reason"].as_str().unwrap().starts_with("refused: "), "{all}");
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    let crashed = sandbox.json(&["history"])["sessions"][0].clone();
    assert_eq!((&crashed["status"], &crashed["reason"]), (&"crashed".into(), &"its process is gone".into()));
    sandbox.run(&["prune", "--dry-run"]).ends(0).shows(&["would be fenced", &session]);
    sandbox.run(&["prune"]).ends(0).shows(&["fenced", &session]);
    sandbox.run(&["backup", "asb:long.asb"]).ends(0);
    sandbox.run(&["check"]).ends(0);
}
