//! `demo`: the main job on the embedded store, proved record by record.

use super::context::{Context, Done};
use super::output::print_line;
use super::text;
use crate::backup::RecordOptions;
use crate::embedded::{EmbeddedStore, sample};
use crate::error::{Error, Result};
use crate::format::keyslot::KdfCost;
use crate::format::snapshot::BackupKind;
use crate::record::{PartitionId, RecordBatch};
use crate::repository::{CreateOptions, Repository};
use crate::restore::RestoreOptions;
use crate::session::SessionOptions;
use crate::sources::embedded::EmbeddedSource;
use crate::sources::{PartitionedSource, RecordSource};
use crate::targets::RecordTarget;
use crate::targets::embedded::EmbeddedTarget;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Instant;

const NAMESPACE: &str = "demo";
const PASSPHRASE: &str = "demo";

/// Back up and restore an embedded store in all three ways, and compare the results
///
/// Fills a store, backs it up in full, changes and deletes records, takes an incremental and a differential backup,
/// restores all three, and compares record by record. Needs no repository. The directory is kept, so that you can
/// look around in it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith demo
  aerolith demo --records 1000000 --directory /tmp/demo")]
pub struct Args {
    /// How many records
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100_000,
        value_parser = clap::value_parser!(u64).range(1..=1 << 32)
    )]
    records: u64,
    /// An empty or new directory for all of it [default: a new one in the temporary directory]
    #[arg(long)]
    directory: Option<PathBuf>,
}

#[derive(Serialize)]
struct Output {
    directory: String,
    repository: String,
    records: u64,
    backups: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    snapshot: String,
    kind: String,
    records: u64,
    changed: u64,
    deleted: u64,
    stored_bytes: u64,
    backup_millis: u64,
    restore_millis: u64,
    equal: bool,
}

/// A record as it must come back: digest, set, void time, body.
type Truth = Vec<([u8; 20], Vec<u8>, u32, Vec<u8>)>;

fn truth(store: &EmbeddedStore) -> Result<Truth> {
    let source = EmbeddedSource::new(store.clone());
    let mut all = Truth::new();
    for partition in PartitionId::all() {
        source.scan(NAMESPACE, partition, None, &mut |batch: RecordBatch| {
            all.extend(batch.iter().map(|record| {
                let meta = record.meta;
                (meta.digest.0, meta.set.to_vec(), meta.void_time.0, record.body.to_vec())
            }));
            Ok(())
        })?;
    }
    all.sort();
    Ok(all)
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let directory = match args.directory {
        Some(directory) => {
            // One that is missing is made.
            if std::fs::read_dir(&directory).is_ok_and(|mut entries| entries.next().is_some()) {
                return Err(Error::invalid(format!(
                    "{} is not empty: give --directory an empty or a new directory",
                    directory.display()
                )));
            }
            directory
        }
        None => tempfile::Builder::new()
            .prefix("aerolith-demo-")
            .tempdir()
            .map_err(|error| Error::io("make a directory for the demo", error))?
            .keep(),
    };
    let live = EmbeddedStore::create(directory.join("store"))?;
    let begun = Instant::now();
    sample::fill(&live, NAMESPACE, 0..args.records)?;
    let (count, millis) = (text::count(args.records), begun.elapsed().as_millis() as u64);
    // JSON is one document: what it does is told to people only.
    let tell = |text: &str| if context.json() { Ok(()) } else { print_line(text) };
    tell(&format!("filled an embedded store with {count} records in {}", text::millis(millis)))?;
    let location = directory.join("repository");
    let store = crate::store::create(&location.to_string_lossy())?;
    let options = CreateOptions { cost: KdfCost::RECOMMENDED, label: "demo".into(), ..CreateOptions::default() };
    let repository = Repository::create(store, PASSPHRASE.as_bytes(), &options)?;
    let mut rows = Vec::new();
    let mut truths = Vec::new();
    for (kind, seed) in [(BackupKind::Full, 0), (BackupKind::Incremental, 1), (BackupKind::Differential, 2)] {
        if seed > 0 {
            let changed = sample::change(&live, NAMESPACE, 0..args.records, 0.03, seed)?;
            let deleted = sample::delete(&live, NAMESPACE, 0..args.records, 0.005, seed)?;
            let touched = sample::touch(&live, NAMESPACE, 0..args.records, 0.01, seed)?;
            let counts = [changed, deleted, touched].map(text::count);
            tell(&format!("changed {}, deleted {}, touched {} records", counts[0], counts[1], counts[2]))?;
        }
        rows.push(back_up(&repository, &live, kind)?);
        truths.push(truth(&live)?);
    }
    for (row, truth) in rows.iter_mut().zip(&truths) {
        restore(&repository, &directory, truth, row)?;
    }
    let proved = rows.iter().all(|row| row.equal);
    if context.json() {
        let (directory, repository) = (directory.display().to_string(), location.display().to_string());
        context.print_json(&Output { directory, repository, records: args.records, backups: rows })?;
    } else {
        print(&directory, &location, &rows)?;
    }
    if !proved {
        return Err(Error::invalid("a restored store differs from what was backed up"));
    }
    Ok(Done::Whole)
}

fn print(directory: &Path, location: &Path, rows: &[Row]) -> Result<()> {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                row.kind.clone(),
                text::count(row.records),
                text::count(row.changed),
                text::count(row.deleted),
                text::bytes(row.stored_bytes),
                text::millis(row.backup_millis),
                text::millis(row.restore_millis),
                if row.equal { "yes, every record" } else { "NO" }.to_string(),
            ]
        })
        .collect();
    let header = ["backup", "records", "changed", "deleted", "stored", "time", "restored in", "equal"];
    print_line(&format!("\n{}\n", text::table(&header, &cells, &[1, 2, 3, 4, 5, 6])))?;
    let at = location.display();
    print_line(&format!("Everything is in {}. Continue with:", directory.display()))?;
    print_line(&format!("  export AEROLITH_REPO={at} AEROLITH_PASSWORD={PASSPHRASE}"))?;
    print_line("  aerolith snapshots")?;
    print_line(&format!("  aerolith restore latest asb:{}", directory.join("out").display()))
}

fn back_up(repository: &Repository, live: &EmbeddedStore, kind: BackupKind) -> Result<Row> {
    let source = EmbeddedSource::new(live.clone());
    let begun = Instant::now();
    let about = SessionOptions {
        source: source.name().to_string(),
        cluster: source.cluster().unwrap_or_default(),
        tags: vec!["demo".into()],
        job: format!("{kind} backup of the demo"),
        ..SessionOptions::default()
    };
    let mut session = repository.begin(about)?;
    session.records(NAMESPACE, &source, kind, &RecordOptions::default())?;
    let snapshot = session.commit()?;
    let millis = begun.elapsed().as_millis() as u64;
    let manifest = snapshot.manifest();
    let namespace = manifest.namespaces.first().ok_or_else(|| Error::invalid("the snapshot is empty".to_string()))?;
    Ok(Row {
        snapshot: manifest.id.to_string(),
        kind: kind.to_string(),
        records: namespace.live_records,
        changed: namespace.counts.added + namespace.counts.changed + namespace.counts.touched,
        deleted: namespace.counts.deleted,
        stored_bytes: manifest.stored_bytes,
        backup_millis: millis,
        restore_millis: 0,
        equal: false,
    })
}

/// Restores a backup into a store of its own, and compares.
fn restore(repository: &Repository, directory: &Path, truth: &Truth, row: &mut Row) -> Result<()> {
    let snapshot = repository.snapshot(&row.snapshot)?;
    let restored = EmbeddedStore::create(directory.join(format!("restored-{}", snapshot.id())))?;
    let target = EmbeddedTarget::new(restored.clone());
    let begun = Instant::now();
    snapshot.restore(NAMESPACE, &target, &RestoreOptions::default())?;
    target.finish()?;
    row.restore_millis = begun.elapsed().as_millis() as u64;
    row.equal = self::truth(&restored)? == *truth;
    Ok(())
}
