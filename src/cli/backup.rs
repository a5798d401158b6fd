//! `backup`: backs up sources into one snapshot.

use super::context::{Context, Done, print_line};
use super::{endpoint, text};
use crate::error::{Error, Result};
use crate::format::snapshot::{BackupKind, Manifest};
use crate::repository::{RecordOptions, SessionOptions};
use clap::ValueEnum;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

/// Back up a source as a new snapshot
///
/// Example: aerolith backup asb:/backups/monday
///
/// A full backup that finds an earlier snapshot of the same cluster and namespace stores only what differs. An incremental
/// reads what changed since the last snapshot, a differential what changed since the last full one; both find deletes.
#[derive(clap::Args)]
pub struct Args {
    /// What to back up: asb:PATH, jsonl:FILE or embedded:FOLDER
    #[arg(required = true)]
    source: String,
    /// How to read it
    #[arg(long, value_enum, default_value_t = Kind::Full)]
    kind: Kind,
    /// The source holds only what changed (asbackup --modified-after): deletes stay unknown, and the snapshot says so
    #[arg(long)]
    partial: bool,
    /// The cluster's name; a backup builds on earlier ones of the same cluster [default: the source's own, else its kind]
    #[arg(long)]
    cluster: Option<String>,
    /// Only this namespace; may be given more than once
    #[arg(long)]
    namespace: Vec<String>,
    /// A label for the snapshot; may be given more than once
    #[arg(long)]
    tag: Vec<String>,
    /// Leave out records that can't be understood, list them, and exit with 3
    #[arg(long)]
    skip_bad_records: bool,
    /// The private key (PEM) of encrypted .asb files
    #[arg(long, value_name = "FILE")]
    asb_key: Option<PathBuf>,
    /// Memory for sorting records that come without order, in MiB; what does not fit goes to an encrypted temporary file
    #[arg(long, default_value_t = 768, value_parser = clap::value_parser!(u64).range(16..=1 << 20))]
    memory: u64,
    /// Partitions read at once [default: the number of processors]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    parallel: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Full,
    Incremental,
    Differential,
}

impl From<Kind> for BackupKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Full => BackupKind::Full,
            Kind::Incremental => BackupKind::Incremental,
            Kind::Differential => BackupKind::Differential,
        }
    }
}

#[derive(Serialize)]
struct Output<'a> {
    snapshot: &'a Manifest,
    millis: u64,
    bad_records: Vec<String>,
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let kind = BackupKind::from(args.kind);
    if args.partial && kind == BackupKind::Full {
        return Err(Error::invalid("--partial goes with --kind incremental or differential".to_string()));
    }
    let repository = context.repository()?;
    let begun = Instant::now();
    let source = endpoint::source(&args.source, args.asb_key)?;
    let scheme = args.source.split(':').next().unwrap_or_default();
    let cluster = args.cluster.or_else(|| source.cluster()).unwrap_or_else(|| scheme.to_string());
    let there = source.namespaces()?;
    let namespaces = if args.namespace.is_empty() { there.clone() } else { args.namespace };
    if let Some(unknown) = namespaces.iter().find(|namespace| !there.contains(namespace)) {
        let advice = format!("{} has {}", source.name(), there.join(", "));
        return Err(Error::not_found(format!("namespace {unknown}"), advice));
    }
    if namespaces.is_empty() {
        return Err(Error::not_found("a namespace to back up", format!("{} has none", source.name())));
    }
    let options = RecordOptions {
        partial: args.partial,
        skip_bad_records: args.skip_bad_records,
        memory_bytes: (args.memory as usize) << 20,
        parallel: args.parallel,
    };
    let (control, progress) = context.control("backing up");
    let about = SessionOptions {
        source: source.name().to_string(),
        cluster,
        tags: args.tag,
        job: format!("{kind} backup of {}", source.name()),
    };
    let mut session = repository.begin(about, control)?;
    for namespace in &namespaces {
        if let Err(error) = session.records(namespace, &*source, kind, &options) {
            session.abandon(&error);
            return Err(error);
        }
    }
    let bad = session.bad_records().to_vec();
    for warning in session.warnings() {
        eprintln!("aerolith: {warning}");
    }
    let snapshot = session.seal()?;
    drop(progress);
    let millis = begun.elapsed().as_millis() as u64;
    let manifest = snapshot.manifest();
    let bad_records: Vec<String> = bad.iter().map(|bad| format!("{}: {}", bad.place, bad.problem)).collect();
    if context.json() {
        context.print_json(&Output { snapshot: manifest, millis, bad_records })?;
    } else {
        print_summary(manifest, millis)?;
        for bad in &bad_records {
            eprintln!("left out: {bad}");
        }
    }
    Ok(if manifest.missing.is_empty() { Done::Whole } else { Done::Incomplete })
}

fn print_summary(manifest: &Manifest, millis: u64) -> Result<()> {
    let rows: Vec<Vec<String>> = manifest
        .namespaces
        .iter()
        .map(|namespace| {
            let counts = &namespace.counts;
            let numbers = [
                counts.read,
                counts.added,
                counts.changed,
                counts.touched,
                counts.unchanged,
                counts.deleted,
                namespace.live_records,
            ];
            let mut row = vec![namespace.name.clone()];
            row.extend(numbers.map(text::count));
            row
        })
        .collect();
    let header = ["namespace", "read", "added", "changed", "touched", "unchanged", "deleted", "records"];
    print_line(&text::table(&header, &rows, &[1, 2, 3, 4, 5, 6, 7]))?;
    for namespace in &manifest.namespaces {
        let counts = &namespace.counts;
        for (n, what) in [
            (counts.healed, "written anew because their value was missing or damaged"),
            (counts.moved, "moved out of mostly dead chunks"),
            (counts.duplicates, "copies dropped: the source delivered a record more than once"),
            (counts.bad, "left out: they could not be understood"),
        ] {
            if n > 0 {
                print_line(&format!("{}: {} records {what}", namespace.name, text::count(n)))?;
            }
        }
        if namespace.deletes_unknown {
            print_line(&format!("{}: what was deleted is unknown", namespace.name))?;
        }
    }
    print_line(&format!(
        "sealed snapshot {}: {} stored in {}",
        manifest.id,
        text::bytes(manifest.stored_bytes),
        text::millis(millis)
    ))
}
