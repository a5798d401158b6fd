//! `demo`: the main job on the embedded store, proved record by record.

use super::context::{Context, Done, print_line};
use super::text;
use crate::control::Control;
use crate::embedded::{EmbeddedStore, sample};
use crate::error::{Error, Result};
use crate::format::keyslot::KdfCost;
use crate::format::snapshot::BackupKind;
use crate::record::{PartitionId, RecordBatch};
use crate::repository::{CreateOptions, RecordOptions, Repository, RestoreOptions, SessionOptions};
use crate::source::embedded::EmbeddedSource;
use crate::source::{PartitionedSource, RecordSource};
use crate::target::RecordTarget;
use crate::target::embedded::EmbeddedTarget;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

const NAMESPACE: &str = "demo";
const PASSPHRASE: &str = "demo";

/// Show the main job: fill a store, back it up in full, as incremental and as differential, restore all three, prove them equal
///
/// Example: aerolith demo
#[derive(clap::Args)]
pub struct Args {
    /// How many records
    #[arg(long, default_value_t = 100_000)]
    records: u64,
    /// An empty or new folder for it all [default: a new one in the temporary directory]
    #[arg(long)]
    folder: Option<PathBuf>,
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

pub fn run(_: &Context, args: Args) -> Result<Done> {
    let folder = match args.folder {
        Some(folder) => folder,
        None => tempfile::Builder::new()
            .prefix("aerolith-demo-")
            .tempdir()
            .map_err(|error| Error::io("make a folder for the demo", error))?
            .keep(),
    };
    let live = EmbeddedStore::create(folder.join("store"))?;
    let begun = Instant::now();
    sample::fill(&live, NAMESPACE, 0..args.records)?;
    let (count, millis) = (text::count(args.records), begun.elapsed().as_millis() as u64);
    print_line(&format!("filled an embedded store with {count} records in {}", text::millis(millis)))?;
    let location = folder.join("repository");
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
            print_line(&format!("changed {}, deleted {}, touched {} records", counts[0], counts[1], counts[2]))?;
        }
        rows.push(back_up(&repository, &live, kind)?);
        truths.push(truth(&live)?);
    }
    let mut proved = true;
    for ((back, truth), row) in (0..3).rev().zip(&truths).zip(&mut rows) {
        proved &= restore(&repository, &folder, back, truth, row)?;
    }
    let header = ["backup", "records", "changed", "deleted", "stored", "time", "restored in", "equal"];
    print_line(&format!("\n{}\n", text::table(&header, &rows, &[1, 2, 3, 4, 5, 6])))?;
    if !proved {
        return Err(Error::invalid("a restored store differs from what was backed up".to_string()));
    }
    let at = location.display();
    print_line(&format!("Everything is in {}. Go on with:", folder.display()))?;
    print_line(&format!("  export AEROLITH_REPO={at} AEROLITH_PASSWORD={PASSPHRASE}"))?;
    print_line("  aerolith snapshots")?;
    print_line(&format!("  aerolith restore latest asb:{}", folder.join("out").display()))?;
    Ok(Done::Whole)
}

fn back_up(repository: &Repository, live: &EmbeddedStore, kind: BackupKind) -> Result<Vec<String>> {
    let source = EmbeddedSource::new(live.clone());
    let begun = Instant::now();
    let about = SessionOptions {
        source: source.name().to_string(),
        cluster: source.cluster().unwrap_or_default(),
        tags: vec!["demo".into()],
        job: format!("{kind} backup of the demo"),
    };
    let mut session = repository.begin(about, Arc::new(Control::new()))?;
    session.records(NAMESPACE, &source, kind, &RecordOptions::default())?;
    let snapshot = session.seal()?;
    let millis = begun.elapsed().as_millis() as u64;
    let manifest = snapshot.manifest();
    let namespace = manifest.namespaces.first().ok_or_else(|| Error::invalid("the snapshot is empty".to_string()))?;
    Ok(vec![
        kind.to_string(),
        text::count(namespace.live_records),
        text::count(namespace.counts.added + namespace.counts.changed + namespace.counts.touched),
        text::count(namespace.counts.deleted),
        text::bytes(manifest.stored_bytes),
        text::millis(millis),
    ])
}

fn restore(repository: &Repository, folder: &Path, back: usize, truth: &Truth, row: &mut Vec<String>) -> Result<bool> {
    let snapshot = repository.snapshot(&format!("latest~{back}"))?;
    let restored = EmbeddedStore::create(folder.join(format!("restored-{}", snapshot.id())))?;
    let target = EmbeddedTarget::new(restored.clone());
    let begun = Instant::now();
    snapshot.restore(NAMESPACE, &target, &RestoreOptions::default(), &Control::new())?;
    target.finish()?;
    row.push(text::millis(begun.elapsed().as_millis() as u64));
    let equal = self::truth(&restored)? == *truth;
    row.push(if equal { "yes, every record".into() } else { "NO".to_string() });
    Ok(equal)
}
