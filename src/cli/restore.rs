//! `restore`: writes the records of a snapshot into a target.

use super::context::{Context, Done, print_line};
use super::{endpoint, text};
use crate::error::{Error, Result};
use crate::record::{Digest, ParticleType};
use crate::repository::{RestoreOptions, RestoreReport, Selection};
use crate::target::ConflictPolicy;
use crate::target::asb::AsbTargetOptions;
use clap::ValueEnum;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

/// Restore a snapshot, a namespace, a set, or single records
///
/// Example: aerolith restore latest asb:/restore/out
///
/// Every record is accounted for: read = written + expired + exists + fresher + failed.
#[derive(clap::Args)]
pub struct Args {
    /// SNAPSHOT[:NAMESPACE[/SET]]; SNAPSHOT is an id or its beginning, latest, latest~N, or @TIME
    snapshot: String,
    /// Where to: asb:PATH, jsonl:FILE or embedded:FOLDER
    target: String,
    /// The namespace's name in the target
    #[arg(long, value_name = "NAME")]
    rename: Option<String>,
    /// What happens to records that the target has
    #[arg(long, value_enum, default_value_t = Conflict::Replace)]
    conflict: Conflict,
    /// Only the record with this key (in the set given): a string, i:NUMBER or b:HEX; may be given more than once
    #[arg(long)]
    key: Vec<String>,
    /// Only the record with this digest in hexadecimal; may be given more than once
    #[arg(long)]
    digest: Vec<String>,
    /// Only the records whose digests (hexadecimal) stand in this file, one a line
    #[arg(long, value_name = "FILE")]
    digest_file: Option<PathBuf>,
    /// Leave out indexes and UDF modules
    #[arg(long)]
    no_metadata: bool,
    /// Compress .asb files with Zstandard at this level
    #[arg(long, value_name = "LEVEL")]
    zstd: Option<i32>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Conflict {
    Replace,
    Keep,
    Newer,
}

#[derive(Serialize)]
struct Output {
    snapshot: String,
    target: String,
    millis: u64,
    namespaces: Vec<NamespaceOutput>,
}

#[derive(Serialize)]
struct NamespaceOutput {
    namespace: String,
    read: u64,
    written: u64,
    expired: u64,
    exists: u64,
    fresher: u64,
    failed: u64,
    damaged: u64,
    records_lost: u64,
    lost: Vec<String>,
    failures: Vec<String>,
    not_found: Vec<String>,
}

/// A user key as people write it: `i:42`, `b:00ff`, `s:text`, or just text.
pub fn key_digest(set: &str, text: &str) -> Result<Digest> {
    let set = set.as_bytes();
    match text.split_once(':') {
        Some(("i", number)) => {
            let number: i64 =
                number.parse().map_err(|_| Error::invalid(format!("key {text:?}: behind i: stands no integer")))?;
            Ok(Digest::compute(set, ParticleType::INTEGER, &number.to_be_bytes()))
        }
        Some(("b", digits)) => {
            let bytes = hex::decode(digits)
                .map_err(|_| Error::invalid(format!("key {text:?}: behind b: stand no hexadecimal digits")))?;
            Ok(Digest::compute(set, ParticleType::BLOB, &bytes))
        }
        Some(("s", key)) => Ok(Digest::compute(set, ParticleType::STRING, key.as_bytes())),
        _ => Ok(Digest::compute(set, ParticleType::STRING, text.as_bytes())),
    }
}

/// A digest in hexadecimal.
pub fn parse_digest(text: &str) -> Result<Digest> {
    Digest::from_hex(text.trim())
        .ok_or_else(|| Error::invalid(format!("{text:?} is no digest: give 40 hexadecimal digits")))
}

fn selection(args: &Args, set: Option<&str>) -> Result<Selection> {
    let mut digests = std::collections::BTreeSet::new();
    for key in &args.key {
        digests.insert(key_digest(set.unwrap_or_default(), key)?);
    }
    for digest in &args.digest {
        digests.insert(parse_digest(digest)?);
    }
    if let Some(path) = &args.digest_file {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::io(format!("read digests from {}", path.display()), error))?;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            digests.insert(parse_digest(line)?);
        }
    }
    Ok(match set {
        _ if !digests.is_empty() => Selection::Digests(digests),
        Some(set) => Selection::Set(set.as_bytes().to_vec()),
        None => Selection::All,
    })
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let path = endpoint::path3(&args.snapshot);
    let repository = context.repository()?;
    let snapshot = repository.snapshot(&path.snapshot)?;
    let begun = Instant::now();
    let namespaces: Vec<String> = match &path.namespace {
        Some(namespace) => vec![snapshot.namespace(namespace)?.manifest().name.clone()],
        None => snapshot.manifest().namespaces.iter().map(|namespace| namespace.name.clone()).collect(),
    };
    if args.rename.is_some() && namespaces.len() > 1 {
        return Err(Error::invalid("--rename needs a single namespace: restore SNAPSHOT:NAMESPACE".to_string()));
    }
    let options = RestoreOptions {
        selection: selection(&args, path.set.as_deref())?,
        rename: args.rename,
        conflict: match args.conflict {
            Conflict::Replace => ConflictPolicy::Replace,
            Conflict::Keep => ConflictPolicy::Keep,
            Conflict::Newer => ConflictPolicy::Newer,
        },
        without_metadata: args.no_metadata,
    };
    let asb = AsbTargetOptions { zstd: args.zstd, ..AsbTargetOptions::default() };
    let target = endpoint::target(&args.target, asb)?;
    let (control, progress) = context.control("restoring");
    let mut reports = Vec::new();
    for namespace in &namespaces {
        reports.push((namespace.clone(), snapshot.restore(namespace, &*target, &options, &control)?));
    }
    target.finish()?;
    let omissions = target.omissions();
    drop(progress);
    let millis = begun.elapsed().as_millis() as u64;
    let damaged = reports.iter().any(|(_, report)| report.is_damaged());
    let whole =
        omissions.is_empty() && reports.iter().all(|(_, report)| report.failed == 0 && report.not_found.is_empty());
    if context.json() {
        let namespaces = reports.into_iter().map(|(namespace, report)| output(namespace, report)).collect();
        let (snapshot, target) = (snapshot.id().to_string(), target.name().to_string());
        context.print_json(&Output { snapshot, target, millis, namespaces })?;
    } else {
        print(&reports, target.name(), millis)?;
    }
    for omission in &omissions {
        eprintln!("left out: {omission}");
    }
    Ok(match (damaged, whole) {
        (true, _) => Done::Damaged,
        (false, true) => Done::Whole,
        (false, false) => Done::Incomplete,
    })
}

/// What of a namespace could not be read, line by line.
fn losses(report: &RestoreReport) -> Vec<String> {
    let mut lines = report.lost.lines();
    lines.extend(report.metadata_lost.iter().map(|problem| format!("indexes and UDF modules: {problem}")));
    lines
}

fn output(namespace: String, report: RestoreReport) -> NamespaceOutput {
    let failures = report.failures.iter().map(|failed| format!("{}: {}", failed.digest, failed.reason)).collect();
    NamespaceOutput {
        namespace,
        read: report.read,
        written: report.written,
        expired: report.expired,
        exists: report.exists,
        fresher: report.fresher,
        failed: report.failed,
        damaged: report.damaged,
        records_lost: report.records_lost,
        lost: losses(&report),
        failures,
        not_found: report.not_found.iter().map(ToString::to_string).collect(),
    }
}

fn print(reports: &[(String, RestoreReport)], target: &str, millis: u64) -> Result<()> {
    let rows: Vec<Vec<String>> = reports
        .iter()
        .map(|(namespace, report)| {
            let numbers = [report.read, report.written, report.expired, report.exists, report.fresher, report.failed];
            let mut row = vec![namespace.clone()];
            row.extend(numbers.map(text::count));
            row
        })
        .collect();
    let header = ["namespace", "read", "written", "expired", "exists", "fresher", "failed"];
    print_line(&text::table(&header, &rows, &[1, 2, 3, 4, 5, 6]))?;
    let bytes = reports.iter().map(|(_, report)| report.bytes).sum();
    print_line(&format!("restored into {target}: {} of bodies in {}", text::bytes(bytes), text::millis(millis)))?;
    for (namespace, report) in reports {
        for loss in losses(report) {
            eprintln!("damaged: namespace {namespace}: {loss}");
        }
        if report.records_lost > 0 {
            eprintln!("damaged: namespace {namespace}: {} records could not be read", text::count(report.records_lost));
        }
        for failed in &report.failures {
            eprintln!("failed: {namespace} {}: {}", failed.digest, failed.reason);
        }
        for digest in &report.not_found {
            eprintln!("not in the snapshot: {namespace} {digest}");
        }
    }
    Ok(())
}
