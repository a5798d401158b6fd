//! A directory with a repository in it, and the program run in it.

use aerolith::embedded::{EmbeddedStore, sample};
use aerolith::record::{Digest, ParticleType};
use aerolith::{CreateOptions, KdfCost, Repository};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

pub const PASSWORD: &str = "a passphrase of the tests";

const PROGRAM: &str = env!("CARGO_BIN_EXE_aerolith");
/// Runs a program in a session of its own, which has no terminal.
const SETSID: &str = "/usr/bin/setsid";

/// What a run of the program left.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Output {
    /// Asserts how it ended.
    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Asserts that standard error says all of this, and nothing that a user should not see.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.err.contains(part), "{part:?} is not in {}", self.err);
        }
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }

    /// Asserts that standard output shows all of this.
    #[track_caller]
    pub fn shows(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.out.contains(part), "{part:?} is not in {}", self.out);
        }
        self
    }

    /// Standard output as one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Standard output as JSON lines.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }
}

/// A directory of its own; `repo` in it is a repository once [`Sandbox::new`] made one.
pub struct Sandbox {
    pub directory: tempfile::TempDir,
}

impl Sandbox {
    /// A directory with an empty repository. Its passphrase costs next to nothing to try, so that tests are quick; the
    /// program itself has no such option.
    pub fn new() -> Self {
        let sandbox = Self::empty();
        let store = aerolith::store::create(sandbox.path("repo").to_str().unwrap()).unwrap();
        let options = CreateOptions::default().cost(KdfCost::WEAK).label("first");
        Repository::create(store, PASSWORD.as_bytes(), &options).unwrap();
        sandbox
    }

    /// A directory without a repository.
    pub fn empty() -> Self {
        Sandbox { directory: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The program, to be run in the directory, with nothing on standard input, and away from the terminal of whoever
    /// runs the tests, where a prompt would wait for them. `setsid` becomes the program: it is the same process.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        if Path::new(SETSID).exists() {
            command = Command::new(SETSID);
            command.arg(PROGRAM);
        }
        command.args(arguments).current_dir(self.directory.path()).stdin(Stdio::null());
        command.env_clear().env("AEROLITH_REPO", "repo").env("AEROLITH_PASSWORD", PASSWORD).env("TZ", "UTC");
        command.env("TMPDIR", self.directory.path());
        command
    }

    /// Runs the program without progress.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, |command| {
            command.arg("--quiet");
        })
    }

    /// Runs the program with something changed.
    pub fn run_with(&self, arguments: &[&str], change: impl FnOnce(&mut Command)) -> Output {
        let mut command = self.command(arguments);
        change(&mut command);
        let output = output_in_time(command, arguments);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Output { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Runs a command that must succeed, and gives back its JSON document.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        self.run_with(arguments, |command| {
            command.args(["--quiet", "--json"]);
        })
        .ends(0)
        .json()
    }

    /// Runs a command that must succeed, and gives back its JSON lines.
    #[track_caller]
    pub fn json_lines(&self, arguments: &[&str]) -> Vec<Value> {
        self.run_with(arguments, |command| {
            command.args(["--quiet", "--json"]);
        })
        .ends(0)
        .json_lines()
    }

    pub fn write(&self, name: &str, contents: &str) {
        std::fs::write(self.path(name), contents).unwrap();
    }

    /// Makes the embedded store `live` with 300 records of namespace `shop`.
    pub fn live(&self) -> EmbeddedStore {
        let live = EmbeddedStore::create(self.path("live")).unwrap();
        sample::fill(&live, "shop", 0..300).unwrap();
        live
    }

    /// Two snapshots of the people in `people.asb`: Ann, Bob and Cid; then Ann older, Cid gone, Dee new, 7 only
    /// touched.
    pub fn people(&self) -> [String; 2] {
        let first = [person("ann", 1, 30), person("bob", 1, 40), person("cid", 1, 50), number(7, 1)];
        self.write("people.asb", &asb("test", &first.concat()));
        let one = self.json(&["backup", "asb:people.asb", "--tag", "one"]);
        let second = [person("ann", 2, 31), person("bob", 1, 40), person("dee", 1, 20), number(7, 2)];
        self.write("people.asb", &asb("test", &second.concat()));
        let two = self.json(&["backup", "asb:people.asb"]);
        [one, two].map(|value| value["snapshot"].as_str().unwrap().to_string())
    }
}

/// Runs a command to its end. One that hangs is killed, and named, before it takes the whole suite with it.
#[track_caller]
fn output_in_time(mut command: Command, arguments: &[&str]) -> std::process::Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_child(&child);
    let (ended, end) = channel::<()>();
    let watch = std::thread::spawn(move || {
        let hangs = end.recv_timeout(LONGEST_RUN) == Err(RecvTimeoutError::Timeout);
        hangs && kill_process(pid, Signal::KILL).is_ok()
    });
    let output = child.wait_with_output().unwrap();
    drop(ended);
    assert!(!watch.join().unwrap(), "{arguments:?} hangs: {output:?}");
    output
}

/// No run of the program in these tests takes a tenth of this.
const LONGEST_RUN: Duration = Duration::from_secs(300);

/// A backup file of one namespace.
pub fn asb(namespace: &str, records: &str) -> String {
    format!("Version 3.1\n# namespace {namespace}\n# first-file\n{records}")
}

fn digest_of(set: &str, particle: ParticleType, key: &[u8]) -> (Digest, String) {
    let digest = Digest::compute(set.as_bytes(), particle, key);
    (digest, base64_simd::STANDARD.encode_to_string(digest.0))
}

/// A record of set `people` with a string key.
pub fn person(name: &str, generation: u32, age: i64) -> String {
    let (_, digest) = digest_of("people", ParticleType::STRING, name.as_bytes());
    let length = name.len();
    format!(
        "+ k S {length} {name}\n+ n test\n+ d {digest}\n+ s people\n+ g {generation}\n+ t 0\n+ b 1\n- I age {age}\n"
    )
}

/// A record of set `numbers` with an integer key, which expires in 2030.
pub fn number(key: i64, generation: u32) -> String {
    let (_, digest) = digest_of("numbers", ParticleType::INTEGER, &key.to_be_bytes());
    format!("+ k I {key}\n+ n test\n+ d {digest}\n+ s numbers\n+ g {generation}\n+ t 631152000\n+ b 1\n- I n {key}\n")
}

/// The digest of a record of [`person`], in hexadecimal.
pub fn digest_of_person(name: &str) -> String {
    digest_of("people", ParticleType::STRING, name.as_bytes()).0.to_string()
}

/// Whether it is a time as the schemas promise: RFC 3339, UTC, milliseconds.
#[track_caller]
pub fn assert_time(value: &Value) {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is not a time"));
    assert!(text.len() == 24 && text.ends_with('Z') && text.as_bytes()[19] == b'.', "{text}");
    text.parse::<jiff::Timestamp>().unwrap();
}

/// Whether it is an id of this many hexadecimal digits.
#[track_caller]
pub fn assert_id(value: &Value, digits: usize) {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no id"));
    assert!(text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
}
