//! Writers, readers, forgetters, holders, repairers, copiers and collectors as processes of the real program on one
//! repository and a second one that it is copied into, killed and stopped at random. Some sleep until many others have
//! come and gone.
//!
//! A writer's snapshots carry the name of the state they are of as a label, so that whatever was committed, also by a
//! process that was killed before it could say so, can be compared with what it must hold. The seed decides about
//! contents, orders and fates; how processes meet is up to the machine.

use aerolith::embedded::{Bin, EmbeddedStore, Key, StoreOptions};
use aerolith::record::ParticleType;
use aerolith::{CreateOptions, KdfCost, Repository};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const PASSWORD: &str = "a passphrase of the soak";
/// A backup that is refused for one of these reasons is no failure of the repository.
const WRITER_MAY_SAY: [&str; 2] = ["was fenced", "there is no earlier snapshot"];
/// The same for a collection.
const COLLECTOR_MAY_SAY: [&str; 3] = ["another prune is at work", "still at work", "was fenced by another"];
/// The same for a copy: the other repository's collector counted it as dead, or what it copied was forgotten meanwhile.
const COPIER_MAY_SAY: [&str; 2] = ["was fenced", "forgotten while it was copied"];
/// The same for a hold, and for a forget of what is held.
const HOLDER_MAY_SAY: [&str; 2] = ["was forgotten", "not found"];
const FORGETTER_MAY_SAY: [&str; 1] = ["is held"];
/// How repairs are counted that waited for a collection.
const REPAIR_WAITS: &str = "repairs that left the index to a collection";
/// A run that takes longer than this hangs.
const LONGEST_RUN: Duration = Duration::from_secs(120);
/// So many processes sleep for long at a time; one more wakes the first of them.
const SLEEPERS: usize = 8;
/// The repository of the soak, and the one that it is copied into.
const REPOSITORIES: [&str; 2] = ["repo", "copies"];

/// For each key its value.
type World = BTreeMap<u64, String>;

/// How long, and with what.
pub struct Options {
    /// The program.
    pub binary: PathBuf,
    /// Where the repository and the files are made.
    pub directory: PathBuf,
    pub seconds: u64,
    pub seed: u64,
    pub writers: usize,
    pub readers: usize,
    pub collectors: usize,
    /// How many records a state has.
    pub records: u64,
}

/// What happened, for people.
#[derive(Debug, Default)]
pub struct Report {
    pub runs: BTreeMap<&'static str, u64>,
    pub killed: u64,
    pub stopped: u64,
    /// Stopped for long.
    pub asleep: u64,
    pub refused: BTreeMap<String, u64>,
    pub restored: u64,
    pub snapshots_left: u64,
    pub copies: u64,
    /// Snapshots with more than one copy: of copies at the same time.
    pub copied_twice: u64,
    /// What must not be.
    pub violations: Vec<String>,
}

/// Numbers that a seed decides (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

/// What happens to a process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It ends by itself.
    Ends,
    Killed,
    /// It is stopped, for longer than anybody waits.
    Asleep,
}

/// How a process ended.
struct Ended {
    /// None if it was killed or sleeps.
    code: Option<i32>,
    out: String,
    err: String,
}

/// A process that sleeps for long, and where it writes what it has to say.
struct Sleeper {
    child: Child,
    about: Vec<String>,
    outputs: [PathBuf; 2],
}

struct Soak<'a> {
    options: &'a Options,
    until: Instant,
    worlds: Mutex<HashMap<String, World>>,
    /// Snapshots that somebody is about to forget.
    going: Mutex<HashSet<String>>,
    /// Processes that sleep for long, the first to fall asleep first.
    sleepers: Mutex<VecDeque<Sleeper>>,
    report: Mutex<Report>,
    files: AtomicU64,
}

/// Runs it.
pub fn soak(options: &Options) -> Report {
    let soak = Soak {
        options,
        until: Instant::now() + Duration::from_secs(options.seconds),
        worlds: Mutex::default(),
        going: Mutex::default(),
        sleepers: Mutex::default(),
        report: Mutex::default(),
        files: AtomicU64::new(0),
    };
    for name in REPOSITORIES {
        let store = aerolith::store::create(soak.path(name).to_str().unwrap()).unwrap();
        Repository::create(store, PASSWORD.as_bytes(), &CreateOptions::default().cost(KdfCost::WEAK)).unwrap();
    }
    std::thread::scope(|scope| {
        let soak = &soak;
        let random = |kind: u64, n: usize| Random(soak.options.seed ^ (kind << 56) ^ ((n as u64) << 48));
        for n in 0..options.writers {
            scope.spawn(move || soak.write(n, random(1, n)));
        }
        for n in 0..options.readers {
            scope.spawn(move || soak.read(random(2, n)));
        }
        for n in 0..options.collectors {
            scope.spawn(move || soak.collect("repo", random(3, n)));
        }
        scope.spawn(move || soak.forget(random(4, 0)));
        scope.spawn(move || soak.hold(random(5, 0)));
        scope.spawn(move || soak.repair(random(6, 0)));
        scope.spawn(move || soak.copy(random(7, 0)));
        scope.spawn(move || soak.collect("copies", random(8, 0)));
    });
    while soak.wake() {}
    soak.verify();
    soak.report.into_inner().unwrap()
}

impl Soak<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.options.directory.join(name)
    }

    fn goes_on(&self) -> bool {
        Instant::now() < self.until
    }

    fn violation(&self, what: String) {
        println!("VIOLATION: {what}");
        self.report.lock().unwrap().violations.push(what);
    }

    /// Runs the program on the repository, and with `random` lets something happen to it.
    fn run(&self, arguments: &[&str], random: Option<&mut Random>) -> Ended {
        self.run_in("repo", arguments, random)
    }

    /// The same on one of the two.
    fn run_in(&self, repository: &str, arguments: &[&str], random: Option<&mut Random>) -> Ended {
        *self.report.lock().unwrap().runs.entry(name_of(arguments)).or_default() += 1;
        let mut command = Command::new(&self.options.binary);
        command.args(arguments).args(["--quiet", "--json"]).current_dir(&self.options.directory).stdin(Stdio::null());
        command.env_clear().env("AEROLITH_REPO", repository).env("AEROLITH_PASSWORD", PASSWORD);
        command.env("AEROLITH_TO_PASSWORD", PASSWORD);
        command.env("TMPDIR", &self.options.directory);
        let outputs = [0, 1].map(|_| {
            let number = self.files.fetch_add(1, Ordering::Relaxed);
            self.path(&format!("output-{number}"))
        });
        let [out, err] = outputs.each_ref().map(|path| std::fs::File::create(path).unwrap());
        let mut child = command.stdout(out).stderr(err).spawn().unwrap();
        let mut fate = random.map_or(Fate::Ends, |random| self.meddle(&mut child, random));
        // What reads a store that goes on changing must not wake up and take the later state for the earlier.
        if fate == Fate::Asleep && arguments.iter().any(|argument| argument.starts_with("embedded:")) {
            let _ = child.kill();
            fate = Fate::Killed;
        }
        if fate == Fate::Asleep {
            self.report.lock().unwrap().asleep += 1;
            let about = arguments.iter().map(|argument| argument.to_string()).collect();
            let mut sleepers = self.sleepers.lock().unwrap();
            sleepers.push_back(Sleeper { child, about, outputs });
            let are_many = sleepers.len() > SLEEPERS;
            drop(sleepers);
            if are_many {
                self.wake();
            }
            return Ended { code: None, out: String::new(), err: String::new() };
        }
        let ended = self.await_end(&mut child, arguments);
        let code = if fate == Fate::Ends { ended } else { None };
        let [out, err] = self.said(outputs, arguments);
        Ended { code, out, err }
    }

    /// What a process that has ended wrote on standard output and standard error.
    fn said(&self, outputs: [PathBuf; 2], arguments: &[&str]) -> [String; 2] {
        let [out, err] = outputs.map(|path| {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let _ = std::fs::remove_file(path);
            text
        });
        if err.contains("panicked") {
            self.violation(format!("{arguments:?} panicked: {err}"));
        }
        [out, err]
    }

    /// Waits until a process ends, and gives back its exit code. One that hangs is killed.
    fn await_end(&self, child: &mut Child, arguments: &[&str]) -> Option<i32> {
        let end = Instant::now() + LONGEST_RUN;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code();
            }
            if Instant::now() > end {
                self.violation(format!("{arguments:?} hangs"));
                let _ = child.kill();
                return child.wait().unwrap().code();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Wakes the process that has slept the longest, if there is one: much has changed meanwhile, and it must do no
    /// harm.
    fn wake(&self) -> bool {
        let Some(mut sleeper) = self.sleepers.lock().unwrap().pop_front() else { return false };
        let _ = kill_process(Pid::from_child(&sleeper.child), Signal::CONT);
        let arguments: Vec<&str> = sleeper.about.iter().map(String::as_str).collect();
        let code = self.await_end(&mut sleeper.child, &arguments);
        let [out, err] = self.said(sleeper.outputs, &arguments);
        // What it restored may be forgotten by now; nothing else is damage.
        if code == Some(10) && name_of(&arguments) != "restore" {
            self.violation(format!("{arguments:?}, which slept for long, ended with 10: {out} {err}"));
        }
        true
    }

    /// Kills a process, or stops it for a while or for long, or lets it be.
    fn meddle(&self, child: &mut Child, random: &mut Random) -> Fate {
        let pid = Pid::from_child(child);
        let fate = random.below(100);
        let longest = [60, 600][random.below(2) as usize];
        let wait = Duration::from_millis(random.below(longest));
        let pause = Duration::from_millis(300 + random.below(3_000));
        if fate >= 50 {
            return Fate::Ends;
        }
        let end = Instant::now() + wait;
        while Instant::now() < end {
            if child.try_wait().unwrap().is_some() {
                return Fate::Ends;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        if fate < 25 {
            self.report.lock().unwrap().killed += 1;
            return if kill_process(pid, Signal::KILL).is_ok() { Fate::Killed } else { Fate::Ends };
        }
        // Asleep while others work, as if its lease had lapsed: collections with --fence take it for dead.
        self.report.lock().unwrap().stopped += 1;
        let _ = kill_process(pid, Signal::STOP);
        if fate < 27 {
            return Fate::Asleep;
        }
        std::thread::sleep(pause);
        let _ = kill_process(pid, Signal::CONT);
        Fate::Ends
    }

    /// Whether a run that failed may have: it was killed, or says one of these.
    fn is_allowed(&self, ended: &Ended, may_say: &[&str]) -> bool {
        let Some(_) = ended.code else { return true };
        let said = may_say.iter().find(|part| ended.err.contains(**part));
        if let Some(said) = said {
            *self.report.lock().unwrap().refused.entry(said.to_string()).or_default() += 1;
        }
        said.is_some()
    }

    /// A writer backs up an embedded store of its own, in all kinds, and now and then the same records as JSON lines
    /// under a cluster's name that all writers share.
    fn write(&self, n: usize, mut random: Random) {
        let mut world: World = (0..self.options.records).map(|key| (key, value(key, 0))).collect();
        let live = self.path(&format!("live-{n}"));
        let about = StoreOptions::default().cluster(format!("w{n}")).verify(false);
        put_all(&EmbeddedStore::create_with(&live, &about).unwrap(), &world);
        let mut round = 0;
        while self.goes_on() {
            round += 1;
            // Writers share most of what they write, some of it at the same time.
            let mut changed = World::new();
            let mut gone = Vec::new();
            for _ in 0..self.options.records / 10 {
                let key = random.below(self.options.records + 50);
                match random.below(4) {
                    0 => gone.push(key),
                    revision => drop(changed.insert(key, value(key, revision))),
                }
            }
            let store = EmbeddedStore::open_with(&live, &about).unwrap();
            put_all(&store, &changed);
            world.extend(changed);
            for key in gone {
                store.delete("test", &key_of(key).digest(set_of(key).as_bytes())).unwrap();
                world.remove(&key);
            }
            drop(store);
            let name = format!("w{n}-{round}");
            self.worlds.lock().unwrap().insert(name.clone(), world.clone());
            let file = self.path(&format!("{name}.jsonl"));
            let (source, cluster, kind) = if random.below(3) == 0 {
                std::fs::write(&file, lines(&world)).unwrap();
                (format!("jsonl:{name}.jsonl"), "all".to_string(), "full")
            } else {
                let kind = ["full", "incremental", "incremental", "differential"][random.below(4) as usize];
                (format!("embedded:live-{n}"), format!("w{n}"), kind)
            };
            let arguments = ["backup", &source, "--kind", kind, "--cluster", &cluster, "--tag", &name];
            let ended = self.run(&arguments, Some(&mut random));
            if ended.code != Some(0) && !self.is_allowed(&ended, &WRITER_MAY_SAY) {
                self.violation(format!("{arguments:?} ended with {:?}: {}", ended.code, ended.err));
            }
            let _ = std::fs::remove_file(file);
        }
    }

    /// The snapshots that stand, and their labels.
    fn snapshots(&self) -> Vec<(String, String)> {
        self.snapshots_in("repo")
    }

    fn snapshots_in(&self, repository: &str) -> Vec<(String, String)> {
        let ended = self.run_in(repository, &["snapshots"], None);
        let Ok(value) = serde_json::from_str::<Value>(&ended.out) else {
            self.violation(format!("snapshots ended with {:?}: {}", ended.code, ended.err));
            return Vec::new();
        };
        let rows = value["snapshots"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        rows.iter().map(|row| (text(&row["snapshot"]), text(&row["tags"][0]))).collect()
    }

    /// Restores a snapshot and compares it.
    fn restore(&self, repository: &str, id: &str, label: &str, random: Option<&mut Random>) {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let file = format!("restored-{number}.jsonl");
        let ended = self.run_in(repository, &["restore", id, &format!("jsonl:{file}")], random);
        let restored = std::fs::read_to_string(self.path(&file)).unwrap_or_default();
        let _ = std::fs::remove_file(self.path(&file));
        match ended.code {
            None => {}
            Some(0) => {
                self.report.lock().unwrap().restored += 1;
                let found = parse(&restored);
                if self.worlds.lock().unwrap().get(label) != Some(&found) {
                    self.violation(format!(
                        "snapshot {id} of {label} restores as something else: {} records",
                        found.len()
                    ));
                }
            }
            // Forgotten on the way, it may fail.
            Some(code) if self.snapshots_in(repository).iter().any(|(existing, _)| existing == id) => {
                self.violation(format!(
                    "restoring snapshot {id} of {label}, which exists, ended with {code}: {}",
                    ended.err
                ));
            }
            Some(_) => {
                *self.report.lock().unwrap().refused.entry("restore of a forgotten snapshot".into()).or_default() += 1;
            }
        }
    }

    fn read(&self, mut random: Random) {
        while self.goes_on() {
            let existing = self.snapshots();
            let Some((id, label)) = existing.get(random.below(existing.len() as u64) as usize) else {
                std::thread::sleep(Duration::from_millis(100));
                continue;
            };
            self.restore("repo", id, label, Some(&mut random));
        }
    }

    fn forget(&self, mut random: Random) {
        while self.goes_on() {
            std::thread::sleep(Duration::from_millis(100 + random.below(900)));
            let existing = self.snapshots();
            if existing.len() < 4 {
                continue;
            }
            let (id, _) = &existing[random.below(existing.len() as u64) as usize];
            self.going.lock().unwrap().insert(id.clone());
            let ended = self.run(&["forget", id], Some(&mut random));
            if ended.code.is_some() {
                self.going.lock().unwrap().remove(id);
            }
            if ended.code != Some(0) && !self.is_allowed(&ended, &FORGETTER_MAY_SAY) {
                self.violation(format!("forget {id} ended with {:?}: {}", ended.code, ended.err));
            }
        }
    }

    /// Holds a snapshot for a while: as long as it is held, it exists.
    fn hold(&self, mut random: Random) {
        while self.goes_on() {
            std::thread::sleep(Duration::from_millis(random.below(500)));
            let existing = self.snapshots();
            let Some((id, _)) = existing.get(random.below(existing.len() as u64) as usize) else { continue };
            let ended = self.run(&["hold", "add", id, "--reason", "soak"], Some(&mut random));
            if ended.code != Some(0) && !self.is_allowed(&ended, &HOLDER_MAY_SAY) {
                self.violation(format!("hold add {id} ended with {:?}: {}", ended.code, ended.err));
            }
            // A forget that began before may have looked for holds before there was one.
            let counts = ended.code == Some(0) && !self.going.lock().unwrap().contains(id);
            let existed = counts && self.snapshots().iter().any(|(existing, _)| existing == id);
            std::thread::sleep(Duration::from_millis(random.below(3_000)));
            if existed && !self.snapshots().iter().any(|(existing, _)| existing == id) {
                self.violation(format!("snapshot {id} was forgotten while it was held"));
            }
            self.release(id, Some(&mut random));
        }
    }

    /// Releases all holds of a snapshot, if there are any.
    fn release(&self, id: &str, random: Option<&mut Random>) {
        let ended = self.run(&["hold", "release", id], random);
        if ended.code != Some(0) && !self.is_allowed(&ended, &["held", "hold", "not found"]) {
            self.violation(format!("hold release {id} ended with {:?}: {}", ended.code, ended.err));
        }
    }

    /// A repair of a repository of which nothing was lost finds nothing to do, whoever is at work.
    fn repair(&self, mut random: Random) {
        while self.goes_on() {
            std::thread::sleep(Duration::from_millis(random.below(1_000)));
            let arguments = [&["repair"][..], &["repair", "--read-data"]][random.below(2) as usize];
            let ended = self.run(arguments, Some(&mut random));
            let Some(code) = ended.code else { continue };
            let value: Value = serde_json::from_str(&ended.out).unwrap_or_default();
            let is_empty = |name: &str| value[name].as_array().is_some_and(|all| all.is_empty());
            // It leaves an index alone that a collection is about to change, and says so.
            let waits = value["deferred"].is_string();
            if waits {
                *self.report.lock().unwrap().refused.entry(REPAIR_WAITS.into()).or_default() += 1;
            }
            let expected = if waits { 3 } else { 0 };
            if code != expected
                || !["index_problems", "chunk_problems", "salvaged", "problems"].into_iter().all(is_empty)
            {
                self.violation(format!("{arguments:?} ended with {code}: {} {}", ended.out, ended.err));
            }
        }
    }

    fn copy(&self, mut random: Random) {
        while self.goes_on() {
            std::thread::sleep(Duration::from_millis(random.below(1_000)));
            let arguments = ["copy", "--to", "copies"];
            let ended = self.run(&arguments, Some(&mut random));
            if ended.code != Some(0) && !self.is_allowed(&ended, &COPIER_MAY_SAY) {
                self.violation(format!("{arguments:?} ended with {:?}: {}", ended.code, ended.err));
            }
        }
    }

    fn collect(&self, repository: &str, mut random: Random) {
        while self.goes_on() {
            std::thread::sleep(Duration::from_millis(random.below(400)));
            let mut arguments = vec!["prune", "--max-unused", ["0", "20"][random.below(2) as usize]];
            match random.below(3) {
                0 => arguments.extend(["--wait", "2s"]),
                _ => arguments.push("--fence"),
            }
            let ended = self.run_in(repository, &arguments, Some(&mut random));
            if ended.code != Some(0) && !self.is_allowed(&ended, &COLLECTOR_MAY_SAY) {
                let said = format!("{:?}: {} {}", ended.code, ended.out, ended.err);
                self.violation(format!("{arguments:?} of {repository} ended with {said}"));
            }
        }
    }

    /// Everybody is gone: every snapshot must restore and be copied, what is not needed must go.
    fn verify(&self) {
        let ended = self.run(&["copy", "--to", "copies"], None);
        if ended.code != Some(0) {
            self.violation(format!("the last copy ended with {:?}: {} {}", ended.code, ended.out, ended.err));
        }
        let copies = self.snapshots_in("copies");
        for (id, label) in self.snapshots() {
            match copies.iter().filter(|(_, copied)| *copied == label).count() {
                1 => {}
                // One that slept between its look for other copies and its commit.
                2.. => self.report.lock().unwrap().copied_twice += 1,
                n => self.violation(format!("snapshot {id} of {label} has {n} copies")),
            }
        }
        self.report.lock().unwrap().copies = copies.len() as u64;
        REPOSITORIES.into_iter().for_each(|repository| self.verify_one(repository));
    }

    fn verify_one(&self, repository: &str) {
        for about in ["afterwards", "after a last prune"] {
            let existing = self.snapshots_in(repository);
            if repository == "repo" {
                self.report.lock().unwrap().snapshots_left = existing.len() as u64;
            }
            for (id, label) in &existing {
                self.restore(repository, id, label, None);
            }
            let ended = self.run_in(repository, &["check", "--read-data"], None);
            if ended.code != Some(0) {
                let said = format!("{:?}: {} {}", ended.code, ended.out, ended.err);
                self.violation(format!("{about}, check of {repository} ended with {said}"));
            }
            let ended = self.run_in(repository, &["prune", "--max-unused", "0", "--fence"], None);
            if ended.code != Some(0) {
                self.violation(format!("{about}, prune of {repository} ended with {:?}: {}", ended.code, ended.err));
            }
        }
        let dry = self.run_in(repository, &["prune", "--max-unused", "0", "--dry-run"], None);
        let value: Value = serde_json::from_str(&dry.out).unwrap_or_default();
        if value["packs_deleted"] != 0 || value["unused_bytes"] != 0 {
            self.violation(format!("garbage is left in {repository}: {} {}", dry.out, dry.err));
        }
        if is_there(&self.path(repository).join("gc")) {
            self.violation(format!("a plan is left in {repository}"));
        }
    }
}

/// Whether a directory holds an object. A killed process may leave a temporary file, which is none: its name begins
/// with a dot.
fn is_there(directory: &Path) -> bool {
    let is_object = |entry: std::fs::DirEntry| !entry.file_name().to_string_lossy().starts_with('.');
    std::fs::read_dir(directory).is_ok_and(|entries| entries.flatten().any(is_object))
}

fn name_of(arguments: &[&str]) -> &'static str {
    let known = ["backup", "restore", "forget", "prune", "snapshots", "check", "hold", "repair", "copy"];
    known.into_iter().find(|name| arguments.first() == Some(name)).unwrap_or("other")
}

fn set_of(key: u64) -> &'static str {
    ["s0", "s1"][(key % 2) as usize]
}

fn key_of(key: u64) -> Key {
    Key::from(key as i64)
}

fn put_all(store: &EmbeddedStore, world: &World) {
    for (key, value) in world {
        let bins = [Bin::raw("v", ParticleType::STRING, value.as_bytes())];
        store.put("test", set_of(*key).as_bytes(), &key_of(*key), &bins, 0).unwrap();
    }
}

/// A value that does not compress, some 2 KiB.
fn value(key: u64, revision: u64) -> String {
    let mut random = Random(key << 8 | revision);
    (0..128).fold(String::new(), |mut text, _| {
        let _ = write!(text, "{:016x}", random.next());
        text
    })
}

/// A state as JSON lines.
fn lines(world: &World) -> String {
    let mut text = String::from("{\"aerolith\":\"jsonl\",\"version\":1}\n");
    for (key, value) in world {
        let _ = writeln!(
            text,
            "{{\"namespace\":\"test\",\"set\":\"{}\",\"key\":{{\"type\":\"integer\",\"value\":{key}}},\
             \"bins\":[{{\"name\":\"v\",\"type\":\"string\",\"value\":\"{value}\"}}]}}",
            set_of(*key)
        );
    }
    text
}

/// What restored JSON lines hold.
fn parse(text: &str) -> World {
    let rows = text.lines().skip(1).filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let rows = rows.filter_map(|row| {
        let key = row["key"]["value"].as_u64()?;
        Some((key, row["bins"][0]["value"].as_str()?.to_string()))
    });
    rows.collect()
}
