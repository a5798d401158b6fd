//! A store that shows an older state than it has shown.

use super::support::Sandbox;
use std::path::Path;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn run(sandbox: &Sandbox, arguments: &[&str]) -> super::support::Output {
    let state = sandbox.path("state");
    sandbox.run_with(arguments, |command| {
        command.arg("--quiet").env("XDG_STATE_HOME", state);
    })
}

fn set_back(sandbox: &Sandbox, to: &str) {
    std::fs::remove_dir_all(sandbox.path("repo")).unwrap();
    copy(&sandbox.path(to), &sandbox.path("repo"));
}

#[test]
fn a_store_that_was_set_back_is_noticed_until_the_user_says_that_it_is_meant() {
    let sandbox = Sandbox::new();
    sandbox.people();
    run(&sandbox, &["snapshots"]).ends(0);
    copy(&sandbox.path("repo"), &sandbox.path("older"));
    // What a command itself adds is remembered when it ends.
    run(&sandbox, &["backup", "asb:people.asb"]).ends(0);
    let newest = sandbox.json(&["snapshots"])["snapshots"][2]["snapshot"].as_str().unwrap().to_string();
    run(&sandbox, &["check"]).ends(0);
    set_back(&sandbox, "older");
    for command in [["snapshots"], ["check"]] {
        run(&sandbox, &command).ends(0).says(&["older state", &newest, "is gone", "state/aerolith/seen"]);
    }
    let quiet = run(&sandbox, &["snapshots", "--no-rollback-check"]).ends(0);
    assert!(!quiet.err.contains("older state"), "{quiet:?}");
    // Another user, or one that has no home, has seen nothing.
    assert!(!sandbox.run(&["snapshots"]).ends(0).err.contains("older state"));
    std::fs::remove_dir_all(sandbox.path("state/aerolith/seen")).unwrap();
    assert!(!run(&sandbox, &["snapshots"]).ends(0).err.contains("older state"));
}

#[test]
fn a_forgotten_snapshot_that_is_back_is_noticed() {
    let sandbox = Sandbox::new();
    let [first, _] = sandbox.people();
    copy(&sandbox.path("repo"), &sandbox.path("older"));
    run(&sandbox, &["forget", &first]).ends(0);
    run(&sandbox, &["snapshots"]).ends(0);
    set_back(&sandbox, "older");
    run(&sandbox, &["snapshots"]).ends(0).says(&["older state", &first, "forgotten then and is there again"]);
}

#[test]
fn a_file_that_cannot_be_understood_or_written_is_named_and_stops_nothing() {
    let sandbox = Sandbox::new();
    sandbox.people();
    run(&sandbox, &["snapshots"]).ends(0);
    let directory = sandbox.path("state/aerolith/seen");
    let file = std::fs::read_dir(&directory).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&file, "nonsense").unwrap();
    run(&sandbox, &["snapshots"]).ends(0).says(&["can't be parsed", "--no-rollback-check"]);
    std::fs::remove_dir_all(&directory).unwrap();
    std::fs::write(&directory, "a file in the directory's place").unwrap();
    run(&sandbox, &["snapshots"]).ends(0).says(&["aerolith/seen", "--no-rollback-check"]);
}

#[test]
fn the_variable_that_switches_it_off_takes_the_usual_words_and_names_itself_otherwise() {
    let sandbox = Sandbox::new();
    sandbox.people();
    let remembers = |word: &str| {
        let state = sandbox.path("state");
        let _ = std::fs::remove_dir_all(&state);
        let output = sandbox.run_with(&["snapshots"], |command| {
            command.arg("--quiet").env("XDG_STATE_HOME", &state).env("AEROLITH_NO_ROLLBACK_CHECK", word);
        });
        output.ends(0);
        state.exists()
    };
    for word in ["1", "yes", "TRUE", "true", "On", "Yes", " on "] {
        assert!(!remembers(word), "{word:?}");
    }
    for word in ["0", "no", "False", "OFF", "", " "] {
        assert!(remembers(word), "{word:?}");
    }
    let wrong = sandbox.run_with(&["snapshots"], |command| {
        command.env("AEROLITH_NO_ROLLBACK_CHECK", "maybe");
    });
    wrong.ends(2).says(&["AEROLITH_NO_ROLLBACK_CHECK", "maybe", "yes", "off"]);
}
