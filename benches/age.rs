//! What a repository's age costs: `cargo bench --bench age`.
//!
//! Makes a repository of 20 snapshots, and one of 2,000 snapshots in which 18,000 other sessions have ended
//! (`SNAPSHOTS` and `SESSIONS` take other numbers), each an incremental backup of a small change, runs the command line
//! on both, and prints the median of five runs of each command, and how many bytes of metadata are stored for each
//! snapshot: of the old one less than [`METADATA_BYTES`]. Its first prune folds its sessions. All of it takes four
//! minutes.

use aerolith::embedded::{EmbeddedStore, sample};
use aerolith::format::header::ObjectKind;
use aerolith::format::session::{Outcome, Session, SessionKind, Status};
use aerolith::format::{names, structured};
use aerolith::internals::{crypto, objects};
use aerolith::record::Timestamp;
use aerolith::store::{LocalStore, MemoryStore, Store};
use aerolith::{
    BackupKind, CreateOptions, EmbeddedSource, Error, KdfCost, PruneOptions, RecordOptions, Repository, Result,
    SessionOptions, SnapshotId,
};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const NAMESPACE: &str = "shop";
const RECORDS: u64 = 500;
const PASSPHRASE: &str = "a passphrase for benches";
const HOUR: u64 = 3_600_000;
const RUNS: usize = 5;
/// The metadata of 2,000 snapshots among 20,000 sessions takes less than this for each snapshot.
const METADATA_BYTES: u64 = 2_000;
/// While it is made, a repository is pruned after so many backups, as in real life.
const PRUNED_EVERY: u64 = 50;

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn put_session(repository: &Repository, session: &Session) -> Result<()> {
    let name = names::session(&session.id);
    let value = structured::encode(session).map_err(|error| Error::invalid(error.to_string()))?;
    let (keys, suite) = (repository.keys(), repository.parameters().suite);
    repository.store().put(&name, &crypto::sealed::seal(keys, ObjectKind::Session, suite, &name, &value)?)
}

/// Lets a session have ended so many hours ago.
fn age(repository: &Repository, id: SnapshotId, hours: u64) -> Result<()> {
    let mut session = objects::read_session(&**repository.store(), repository.keys(), id)?;
    let back = |time: &mut u64| *time = time.saturating_sub(hours * HOUR);
    back(&mut session.started);
    back(&mut session.heartbeat);
    session.outcome.iter_mut().for_each(|outcome| back(&mut outcome.ended));
    put_session(repository, &session)
}

/// Writes what a session leaves that ended so many hours ago and whose snapshot was forgotten: its object and a marker.
fn leave_forgotten(repository: &Repository, hours: u64) -> Result<()> {
    let (store, keys) = (&**repository.store(), repository.keys());
    let id = objects::new_id()?;
    // No two sessions have the same times and numbers.
    let random = id.0.iter().fold(0u64, |number, byte| number.rotate_left(7) ^ u64::from(*byte));
    let ended = Timestamp::now().0.saturating_sub(hours * HOUR + random % HOUR);
    let (heartbeat, started) = (ended + random % 3, ended.saturating_sub(1_000 + (random >> 20) % 100_000));
    let (records, stored_bytes) = ((random >> 30) % 1_000, 4_096 + (random >> 40) % 100_000);
    let session = Session {
        id,
        kind: SessionKind::Backup,
        job: format!("incremental backup of embedded:{NAMESPACE}"),
        host: "node".into(),
        program: "aerolith".into(),
        process: None,
        started,
        heartbeat,
        lease_millis: objects::LEASE_MILLIS,
        adopted: Vec::new(),
        outcome: Some(Outcome { ended, status: Status::Done, records, stored_bytes, damaged_chunks: vec![] }),
        journal: None,
    };
    put_session(repository, &session)?;
    store.put(&names::snapshot(&id), &objects::marker(keys, id, ended)?)
}

/// Makes a repository at `path` with so many snapshots, after so many other sessions.
fn make(path: &Path, records: &Path, snapshots: u64, others: u64) -> Result<()> {
    let source = EmbeddedStore::create(records)?;
    sample::fill(&source, NAMESPACE, 0..RECORDS)?;
    let store = Arc::new(MemoryStore::new());
    let options = CreateOptions::default().cost(KdfCost::WEAK);
    let repository = Repository::create(store.clone(), PASSPHRASE.as_bytes(), &options)?;
    let mut kept = Vec::new();
    for n in 0..snapshots {
        let kind = if n == 0 { BackupKind::Full } else { BackupKind::Incremental };
        sample::change(&source, NAMESPACE, 0..RECORDS, 0.01, n)?;
        let mut session = repository.begin(SessionOptions::default().cluster("bench"))?;
        session.records(NAMESPACE, &EmbeddedSource::new(source.clone()), kind, &RecordOptions::default())?;
        let id = session.commit()?.id();
        kept.push(id);
        if n % PRUNED_EVERY == PRUNED_EVERY - 1 {
            repository.prune(&PruneOptions::default())?;
        }
    }
    for (n, id) in (0..).zip(kept) {
        age(&repository, id, snapshots - n)?;
    }
    for n in 0..others {
        leave_forgotten(&repository, others + snapshots - n)?;
    }
    LocalStore::create(path)?;
    for object in store.list("")? {
        let Some(bytes) = store.get(&object.key, u64::MAX)? else { continue };
        let file = path.join(&object.key);
        let io = |error| Error::io(format!("write {}", file.display()), error);
        std::fs::create_dir_all(file.parent().unwrap_or(path)).map_err(io)?;
        std::fs::write(&file, bytes).map_err(io)?;
    }
    Ok(())
}

fn run(repository: &Path, arguments: &[&str]) -> Duration {
    let began = Instant::now();
    let status = Command::new(env!("CARGO_BIN_EXE_aerolith"))
        .args(arguments)
        .env("AEROLITH_REPO", repository)
        .env("AEROLITH_PASSWORD", PASSPHRASE)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.is_ok_and(|status| status.success()), "{arguments:?} failed");
    began.elapsed()
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

fn main() -> Result<()> {
    let (snapshots, sessions) = (from_env("SNAPSHOTS", 2_000), from_env("SESSIONS", 20_000));
    let directory = tempfile::tempdir().map_err(|error| Error::io("make a temporary directory", error))?;
    let mut found: Vec<Vec<f64>> = Vec::new();
    for (name, snapshots, others) in [("young", 20, 0), ("old", snapshots, sessions.saturating_sub(snapshots))] {
        let (repository, records) = (directory.path().join(name), directory.path().join(format!("{name}-records")));
        let began = Instant::now();
        make(&repository, &records, snapshots, others)?;
        println!(
            "{name}: {snapshots} snapshots, {others} other sessions, made in {:.1} s",
            began.elapsed().as_secs_f64()
        );
        let first = run(&repository, &["prune"]).as_secs_f64();
        println!("  first prune {first:.2} s");
        let source = format!("embedded:{}", records.display());
        let backup = ["backup", &source, "--kind", "incremental", "--cluster", "bench"];
        let commands: [&[&str]; 4] =
            [&backup, &["snapshots"], &["forget", "--keep-last", "5", "--dry-run"], &["prune"]];
        found.push(commands.iter().map(|one| median((0..RUNS).map(|_| run(&repository, one)).collect())).collect());
        let store = LocalStore::open(&repository)?;
        let mut bytes = 0;
        for kept in [names::SNAPSHOTS, names::SESSIONS, names::INDEX, names::FOLDS, names::HISTORY] {
            let listed = store.list(kept)?;
            let sum: u64 = listed.iter().map(|object| object.size).sum();
            println!("  {kept} {} objects, {sum} bytes", listed.len());
            bytes += sum;
        }
        println!("  {} bytes of metadata for each snapshot", bytes / snapshots);
        let is_measured = (snapshots, others) == (2_000, 18_000);
        assert!(!is_measured || bytes / snapshots < METADATA_BYTES, "{METADATA_BYTES} bytes or more");
    }
    for (at, command) in ["backup", "snapshots", "forget --dry-run", "prune"].iter().enumerate() {
        let (young, old) = (found[0][at], found[1][at]);
        let bound = young * 2.0 + 0.2;
        println!("{command:16} young {young:.3} s, old {old:.3} s, bound {bound:.3} s");
    }
    Ok(())
}
