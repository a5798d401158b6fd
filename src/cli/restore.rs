//! `restore`: writes the records of a snapshot into a target.

use super::context::{Context, Done, stopped};
use super::output::{complain, print_line, to_json};
use super::{endpoint, text};
use crate::error::{Error, Result};
use crate::record::{Digest, ParticleType};
use crate::repository::{RestoreOptions, RestoreReport, Selection};
use crate::target::ConflictPolicy;
use crate::target::asb::AsbTargetOptions;
use clap::ValueEnum;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Restore a snapshot, a namespace, a set, or single records
///
/// Every record is accounted for: read = written + expired + exists + fresher + failed. Records that have expired are left out
/// of a live store (a cluster, an embedded store), and kept in files. Files must be new; a live store is added to, as --conflict says. Indexes and
/// UDF modules of the namespace are restored with it, whatever part of its records is.
///
/// Ends with exit code 3 if a record failed or was not found, or an index was left out; each is named.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith restore latest asb:/restore/out
  aerolith restore latest~2:test/users jsonl:users.jsonl
  aerolith restore latest:test aerospike://10.0.0.5:3000,10.0.0.6:3000/test --conflict newer
  aerolith restore @2026-05-01T12:00Z:test embedded:/restore/store --rename old --conflict newer
  aerolith restore latest:test/users asb:some.asb --key alice --key i:42
  aerolith restore latest:test jsonl:- --digest-file lost.txt --no-metadata | jq .")]
pub struct Args {
    /// SNAPSHOT[:NAMESPACE[/SET]]; SNAPSHOT is an id or its beginning, latest, latest~N, or @TIME
    snapshot: String,
    /// Where to: aerospike://HOST:PORT/NAMESPACE, asb:FOLDER, asb:FILE.asb, jsonl:FILE (- for standard output) or embedded:FOLDER
    target: String,
    /// The namespace's name in the target
    #[arg(long, value_name = "NAME")]
    rename: Option<String>,
    /// What happens to records that a live target has: replace them, keep them, or keep those with as high a generation
    #[arg(long, value_enum, default_value_t = Conflict::Replace)]
    conflict: Conflict,
    /// Only the record with this key (in the set given): a string, i:NUMBER or b:HEX; may be given more than once
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
    /// Only the records whose keys stand in this file (- for standard input), one a line
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Only the record with this digest in hexadecimal; may be given more than once
    #[arg(long, value_name = "HEX")]
    digest: Vec<String>,
    /// Only the records whose digests (hexadecimal) stand in this file (- for standard input), one a line
    #[arg(long, value_name = "FILE")]
    digest_file: Option<PathBuf>,
    /// Leave out indexes and UDF modules
    #[arg(long)]
    no_metadata: bool,
    /// Compress .asb files with Zstandard at this level, 1 to 22
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(i32).range(1..=22))]
    zstd: Option<i32>,
    #[command(flatten)]
    writing: endpoint::TargetArgs,
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
    duration_millis: u64,
    namespaces: Vec<NamespaceOutput>,
    /// Indexes and UDF modules that the target could not take.
    omissions: Vec<String>,
}

#[derive(Serialize)]
struct NamespaceOutput {
    namespace: String,
    target_namespace: String,
    read: u64,
    written: u64,
    expired: u64,
    exists: u64,
    fresher: u64,
    failed: u64,
    bytes: u64,
    /// Of the failed ones, those whose bodies could not be read.
    damaged: u64,
    /// Records that are known to be lost with the entries that named them.
    records_lost: u64,
    lost: Vec<String>,
    /// The first thousand.
    failures: Vec<Failure>,
    not_found: Vec<String>,
}

#[derive(Serialize)]
struct Failure {
    digest: String,
    reason: String,
}

/// A user key as people write it: `i:42`, `b:00ff`, `s:text`, or just text.
pub fn key_digest(set: &str, text: &str) -> Result<Digest> {
    let set = set.as_bytes();
    match text.split_once(':') {
        Some(("i", number)) => {
            let number: i64 = number
                .parse()
                .map_err(|_| Error::usage(format!("key {text:?}: behind i: stands no 64-bit integer")))?;
            Ok(Digest::compute(set, ParticleType::INTEGER, &number.to_be_bytes()))
        }
        Some(("b", digits)) => {
            let bytes = hex::decode(digits)
                .map_err(|_| Error::usage(format!("key {text:?}: behind b: stand no pairs of hexadecimal digits")))?;
            Ok(Digest::compute(set, ParticleType::BLOB, &bytes))
        }
        Some(("s", key)) => Ok(Digest::compute(set, ParticleType::STRING, key.as_bytes())),
        _ => Ok(Digest::compute(set, ParticleType::STRING, text.as_bytes())),
    }
}

/// A digest in hexadecimal.
pub fn parse_digest(text: &str) -> Result<Digest> {
    Digest::from_hex(text.trim())
        .ok_or_else(|| Error::usage(format!("{text:?} is no digest: give 40 hexadecimal digits")))
}

/// The lines of a file, or of standard input for `-`, that are not empty.
fn lines_of(path: &Path, what: &str) -> Result<Vec<String>> {
    let read =
        if path == Path::new("-") { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(path) };
    let text = read.map_err(|error| Error::io(format!("read {what} from {}", path.display()), error))?;
    let lines: Vec<String> =
        text.lines().map(|line| line.trim_end_matches('\r')).filter(|line| !line.is_empty()).map(Into::into).collect();
    if lines.is_empty() {
        return Err(Error::invalid(format!("{} holds no {what}: nothing would be restored", path.display())));
    }
    Ok(lines)
}

/// What is to be restored, and the keys that were given, by the digests that they stand for.
fn selection(args: &Args, set: Option<&str>) -> Result<(Selection, BTreeMap<Digest, String>)> {
    let mut digests = BTreeSet::new();
    let mut names = BTreeMap::new();
    let mut keys = args.key.clone();
    if let Some(path) = &args.key_file {
        keys.extend(lines_of(path, "keys")?);
    }
    for key in keys {
        let digest = key_digest(set.unwrap_or_default(), &key)?;
        digests.insert(digest);
        names.insert(digest, key);
    }
    for digest in &args.digest {
        digests.insert(parse_digest(digest)?);
    }
    if let Some(path) = &args.digest_file {
        for (n, line) in lines_of(path, "digests")?.iter().enumerate() {
            let digest = parse_digest(line);
            digests.insert(
                digest.map_err(|error| Error::invalid(format!("digest {} of {}: {error}", n + 1, path.display())))?,
            );
        }
    }
    let selection = match set {
        _ if !digests.is_empty() => Selection::Digests(digests),
        Some(set) => Selection::Set(set.as_bytes().to_vec()),
        None => Selection::All,
    };
    Ok((selection, names))
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let path = endpoint::path3(&args.snapshot);
    let (selection, names) = selection(&args, path.set.as_deref())?;
    let rename = match (args.rename, endpoint::target_namespace(&args.target)?) {
        (Some(name), Some(other)) if name != other => {
            return Err(Error::usage(format!(
                "--rename says {name:?}, the target's address {other:?}: give one of them"
            )));
        }
        (name, other) => name.or(other),
    };
    let snapshot = context.repository()?.snapshot(&path.snapshot)?;
    let begun = Instant::now();
    let namespaces = path.namespaces(&snapshot)?;
    if namespaces.len() > 1 {
        let advice = format!("restore {}:NAMESPACE. It has {}", path.snapshot, namespaces.join(", "));
        if rename.is_some() {
            return Err(Error::usage(format!(
                "--rename needs a single namespace, as does an address that names one: {advice}"
            )));
        }
        if matches!(selection, Selection::Digests(_)) {
            return Err(Error::usage(format!("single records are of a single namespace: {advice}")));
        }
    }
    let options = RestoreOptions {
        selection,
        rename,
        conflict: match args.conflict {
            Conflict::Replace => ConflictPolicy::Replace,
            Conflict::Keep => ConflictPolicy::Keep,
            Conflict::Newer => ConflictPolicy::Newer,
        },
        without_metadata: args.no_metadata,
    };
    let asb = AsbTargetOptions { zstd: args.zstd, ..AsbTargetOptions::default() };
    let target = endpoint::target(&args.target, asb, args.writing)?;
    let (control, progress) = context.control(format!("restoring into {}", target.name()));
    if options.selection == Selection::All {
        let live = snapshot.manifest().namespaces.iter().filter(|namespace| namespaces.contains(&namespace.name));
        control.add_total_records(live.map(|namespace| namespace.live_records).sum());
    }
    let mut reports = Vec::new();
    for namespace in &namespaces {
        let report = snapshot.restore(namespace, &*target, &options, &control).map_err(|error| {
            stopped(error, &format!("{} holds a part at most, and is not to be used. Restore again", target.name()))
        })?;
        reports.push((namespace.clone(), report));
    }
    target.finish()?;
    let omissions = target.omissions();
    drop(progress);
    let damaged = reports.iter().any(|(_, report)| report.is_damaged());
    name_what_is_left_out(&reports, &names, &omissions);
    let unread = endpoint::unread(snapshot.manifest(), &namespaces);
    unread.iter().for_each(|line| complain(line));
    let mut whole = unread.is_empty()
        && omissions.is_empty()
        && reports.iter().all(|(_, report)| report.failed == 0 && report.not_found.is_empty());
    if let (Selection::Set(_), Some(set)) = (&options.selection, &path.set)
        && reports.iter().all(|(_, report)| report.read == 0)
    {
        complain(&endpoint::no_such_set(set, &snapshot).to_string());
        whole = false;
    }
    // The records themselves may be on standard output.
    let aside = args.target == "jsonl:-";
    let print = |text: String| if aside { complain_plain(&text) } else { print_line(&text) };
    let duration_millis = begun.elapsed().as_millis() as u64;
    if context.json() {
        let rename = options.rename.as_deref();
        let namespaces = reports.into_iter().map(|(namespace, report)| output(namespace, rename, report)).collect();
        let (snapshot, target) = (snapshot.id().to_string(), target.name().to_string());
        print(to_json(&Output { snapshot, target, duration_millis, namespaces, omissions })?)?;
    } else {
        print(summary(&reports, target.name(), duration_millis))?;
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

/// Prints to standard error what would go to standard output.
fn complain_plain(text: &str) -> Result<()> {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
    Ok(())
}

fn name_what_is_left_out(reports: &[(String, RestoreReport)], names: &BTreeMap<Digest, String>, omissions: &[String]) {
    for (namespace, report) in reports {
        for loss in losses(report) {
            complain(&format!("damaged: namespace {namespace}: {loss}"));
        }
        if report.records_lost > 0 {
            let lost = text::count(report.records_lost);
            complain(&format!("damaged: namespace {namespace}: {lost} records could not be read"));
        }
        for failed in &report.failures {
            complain(&format!("failed: {namespace} {}: {}", failed.digest, failed.reason));
        }
        if report.failed > report.failures.len() as u64 {
            let more = text::count(report.failed - report.failures.len() as u64);
            complain(&format!("failed: {namespace}: {more} more"));
        }
        for digest in &report.not_found {
            let key = names.get(digest).map(|key| format!(" (key {key:?})")).unwrap_or_default();
            complain(&format!("not in the snapshot: {namespace} {digest}{key}"));
        }
    }
    omissions.iter().for_each(|omission| complain(&format!("left out: {omission}")));
}

fn output(namespace: String, rename: Option<&str>, report: RestoreReport) -> NamespaceOutput {
    let failures = report
        .failures
        .iter()
        .map(|failed| Failure { digest: failed.digest.to_string(), reason: failed.reason.clone() });
    NamespaceOutput {
        target_namespace: rename.unwrap_or(&namespace).to_string(),
        namespace,
        read: report.read,
        written: report.written,
        expired: report.expired,
        exists: report.exists,
        fresher: report.fresher,
        failed: report.failed,
        bytes: report.bytes,
        damaged: report.damaged,
        records_lost: report.records_lost,
        lost: losses(&report),
        failures: failures.collect(),
        not_found: report.not_found.iter().map(ToString::to_string).collect(),
    }
}

fn summary(reports: &[(String, RestoreReport)], target: &str, millis: u64) -> String {
    let mut total = RestoreReport::default();
    let row = |name: &str, report: &RestoreReport| {
        let numbers = [report.read, report.written, report.expired, report.exists, report.fresher, report.failed];
        let mut row = vec![text::safe(name)];
        row.extend(numbers.map(text::count));
        row
    };
    let mut rows = Vec::new();
    for (namespace, report) in reports {
        rows.push(row(namespace, report));
        total.add(report.clone());
    }
    if reports.len() > 1 {
        rows.push(row("in all", &total));
    }
    let header = ["namespace", "read", "written", "expired", "exists", "fresher", "failed"];
    let mut lines = vec![text::table(&header, &rows, &[1, 2, 3, 4, 5, 6])];
    if !total.not_found.is_empty() {
        lines.push(format!("{} not found", text::plural(total.not_found.len() as u64, "record")));
    }
    lines.push(format!("restored into {target}: {} of bodies in {}", text::bytes(total.bytes), text::millis(millis)));
    lines.join("\n")
}
