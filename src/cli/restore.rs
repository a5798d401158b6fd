//! `restore`: writes the records of a snapshot into a target.

use super::among::{Among, describe, parts};
use super::applies::{self, GivenOption, Kind};
use super::asb::AsbArgs;
use super::context::{Context, Done};
use super::endpoint;
use super::restored::{self, Restored};
use super::select::{bin_names, parse_digest};
use super::terminal::{Announced, NO_ANSWER};
use super::text;
use crate::control::Control;
use crate::error::{Error, Result};
use crate::job::endpoint::is_standard_output;
use crate::job::path::key_digest;
use crate::job::{self, RestoreOptions, SnapshotPath, SourceOptions, is_of_files};
use crate::record::{Digest, PartitionSet};
use crate::repository::{Selection, Snapshot};
use crate::restore::{self, Expiry};
use crate::targets::ConflictPolicy;
use clap::ValueEnum;
use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Restore a snapshot, a namespace, sets, partitions, or single records
///
/// Every record is accounted for: read = written + expired + exists + fresher + failed (+ same with --resume, + no
/// bins with --bins). Records that have expired are left out of a live store (a cluster, an embedded store), and kept
/// in files. Files must be new; records are added to a live store as --conflict says. Indexes and UDF modules of the
/// namespace are restored with it, even if only a part of its records is.
///
/// What an aborted restore wrote into a live store stays there. Run it again, with --resume to skip what is already
/// there.
///
/// Exits with code 3 if a record failed, a record or a set was not found, an index was left out, or --verify found a
/// difference; each is named.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith restore latest asb:/restore/out
  aerolith restore latest asb:/restore/out --zstd 3 --asb-key key.pem --file-limit 100
  aerolith restore latest~2:test/users jsonl:users.jsonl
  aerolith restore latest:test aerospike://10.0.0.5:3000,10.0.0.6:3000/test --conflict newer
  aerolith restore latest:test aerospike://10.0.0.5:3000/test --dry-run --conflict keep
  aerolith restore latest:test aerospike://10.0.0.5:3000/test --resume --verify
  aerolith restore latest:test/users aerospike://10.0.0.5:3000 --mirror --yes
  aerolith restore @2026-05-01T12:00Z:test embedded:/restore/store --rename old --conflict newer
  aerolith restore latest:test/users asb:some.asb --key alice --key i:42
  aerolith restore latest:test aerospike://10.0.0.5:3000 --bins email,phone --conflict merge
  aerolith restore latest:test jsonl:- --digest-file lost.txt --no-metadata | jq .
  aerolith restore latest:test aerospike://10.0.0.5:3000/test --failed-to refused.jsonl
  aerolith restore jsonl:refused.jsonl aerospike://10.0.0.5:3000/test
  aerolith restore latest:test asb:- | asrestore -n test -i -")]
pub struct Args {
    /// SNAPSHOT[:NAMESPACE[/SET]]; SNAPSHOT is an id or its beginning, latest, latest~N, or @TIME. Or files, which are
    /// restored without a repository: asb:PATH or jsonl:FILE, such as a file of --failed-to; several of them with
    /// different namespaces
    #[arg(required = true, value_name = "SNAPSHOT")]
    snapshot: Vec<String>,
    /// Where to: aerospike://HOST:PORT/NAMESPACE, asb:DIRECTORY, asb:FILE.asb, jsonl:FILE or embedded:DIRECTORY; asb:-
    /// and jsonl:- are standard output
    target: String,
    /// The namespace's name in the target; its indexes follow
    #[arg(long, value_name = "NAME")]
    rename: Option<String>,
    /// What to do with records that a live target already has: replace them, merge (write the snapshot's bins over
    /// theirs and keep the others), keep them, or keep those whose generation is at least as high (newer) [default:
    /// replace]
    #[arg(long, value_enum)]
    conflict: Option<Conflict>,
    /// Only say what would be done: reads everything, connects to a cluster, makes no file and writes nothing
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Skip records that a live target already has as they would be written, as after a restore that was killed. The
    /// target is read for this, so nothing counts as done that is not. The count `same` says how many they are
    #[arg(long)]
    resume: bool,
    /// Write the records that the target refuses into this new file, as JSON lines with the reasons. Restore it with
    /// `aerolith restore jsonl:FILE TARGET` once the reason is gone, such as a limit on the size of records
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    failed_to: Option<PathBuf>,
    /// Then read back what was written and compare it record by record with the snapshot. A difference is named;
    /// exits with code 3
    #[arg(long, conflicts_with = "dry_run")]
    verify: bool,
    /// Then delete what a live target has in the namespace (or in the selected sets and partitions) and the snapshot
    /// does not. Says how many records that is, and asks before it deletes
    #[arg(long)]
    mirror: bool,
    /// Don't ask before --mirror
    #[arg(long, requires = "mirror")]
    yes: bool,
    /// Extend the life of records that expire by this many seconds; those that have expired since then come back
    #[arg(long, value_name = "SECONDS", conflicts_with = "no_ttl",
          value_parser = clap::value_parser!(u32).range(1..=315_360_000))]
    extra_ttl: Option<u32>,
    /// Restore all records so that they never expire
    #[arg(long)]
    no_ttl: bool,
    /// Leave out all records: restore only indexes, UDF modules, users and roles
    #[arg(long, conflicts_with_all = ["no_metadata", "verify", "failed_to", "resume", "mirror"])]
    no_records: bool,
    /// Leave out indexes, UDF modules, users and roles
    #[arg(long)]
    no_metadata: bool,
    /// Leave out secondary indexes
    #[arg(long)]
    no_indexes: bool,
    /// Leave out UDF modules
    #[arg(long)]
    no_udfs: bool,
    /// Leave out users and roles. By default a cluster with access control gets the roles that it does not have, with
    /// their privileges, allow list and quotas. Users can't be created without their passwords, and are named. JSON
    /// lines and embedded stores keep both
    #[arg(long)]
    no_users: bool,
    /// Create secondary indexes after the records, not before. That is quicker for many records, because the servers
    /// then build each index in one go in the background. The default is before: then queries find what is there at
    /// any time, and an aborted restore does not leave indexes missing
    #[arg(long, conflicts_with_all = ["no_indexes", "no_metadata"])]
    indexes_last: bool,
    /// Then wait until the servers have built the restored indexes, for at most this long if a time is given (such as
    /// --wait-indexes=10min). Indexes that are not built then are named, and the exit code is 3
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, value_parser = text::parse_duration,
          conflicts_with_all = ["dry_run", "no_indexes", "no_metadata"])]
    wait_indexes: Option<Option<Duration>>,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    asb: AsbArgs,
    #[command(flatten)]
    writing: endpoint::TargetArgs,
    #[command(flatten)]
    among: Among,
}

/// Which records.
#[derive(clap::Args)]
#[command(next_help_heading = "Which records")]
struct Which {
    /// Only this set, instead of a set after the namespace; may be given more than once
    #[arg(long, value_name = "NAME")]
    set: Vec<String>,
    /// Only these of the 4096 partitions: numbers and ranges, such as 0-1023,2000
    #[arg(long, value_name = "RANGES")]
    partitions: Option<String>,
    /// Only these bins, separated by commas or given more than once. A live target also needs --conflict: replace
    /// leaves a record only these bins, merge keeps the others
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    bins: Vec<String>,
    /// Only the record with this key (in the set given): a string, i:NUMBER or b:HEX; may be given more than once
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
    /// Only the records whose keys are in this file (- for standard input), one per line
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Only the record with this digest in hexadecimal; may be given more than once
    #[arg(long, value_name = "HEX")]
    digest: Vec<String>,
    /// Only the records whose digests (hexadecimal) are in this file (- for standard input), one per line
    #[arg(long, value_name = "FILE")]
    digest_file: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Conflict {
    Replace,
    Merge,
    Keep,
    Newer,
}

impl Args {
    /// The target, as it was given.
    pub fn endpoint(&mut self) -> &mut String {
        &mut self.target
    }
}

impl From<Conflict> for ConflictPolicy {
    fn from(conflict: Conflict) -> Self {
        match conflict {
            Conflict::Replace => ConflictPolicy::Replace,
            Conflict::Merge => ConflictPolicy::Merge,
            Conflict::Keep => ConflictPolicy::Keep,
            Conflict::Newer => ConflictPolicy::Newer,
        }
    }
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

/// The digests that were asked for, and the keys that were given, by the digests that they stand for.
fn digests(which: &Which, sets: &BTreeSet<Vec<u8>>) -> Result<(BTreeSet<Digest>, BTreeMap<Digest, String>)> {
    let mut digests = BTreeSet::new();
    let mut names = BTreeMap::new();
    let mut keys = which.key.clone();
    if let Some(path) = &which.key_file {
        keys.extend(lines_of(path, "keys")?);
    }
    if !keys.is_empty() && sets.len() > 1 {
        return Err(Error::usage("a key identifies a record within one set: give --key with a single --set"));
    }
    let set = sets.first().map(|set| String::from_utf8_lossy(set)).unwrap_or_default();
    for key in keys {
        let digest = key_digest(&set, &key)?;
        digests.insert(digest);
        names.insert(digest, key);
    }
    for digest in &which.digest {
        digests.insert(parse_digest(digest)?);
    }
    if let Some(path) = &which.digest_file {
        for (n, line) in lines_of(path, "digests")?.iter().enumerate() {
            let digest = parse_digest(line);
            digests.insert(
                digest.map_err(|error| Error::invalid(format!("digest {} of {}: {error}", n + 1, path.display())))?,
            );
        }
    }
    Ok((digests, names))
}

/// What is to be restored, and the keys that were given, by the digests that they stand for.
fn selection(which: &Which, set: Option<&str>) -> Result<(Selection, BTreeMap<Digest, String>)> {
    if let (Some(set), Some(other)) = (set, which.set.first()) {
        return Err(Error::usage(format!(
            "the set is given twice, {set:?} after the namespace and --set {other:?}: use --set for all of them"
        )));
    }
    let sets: BTreeSet<Vec<u8>> = set.into_iter().chain(which.set.iter().map(String::as_str)).map(Into::into).collect();
    let (digests, names) = digests(which, &sets)?;
    let partitions = which.partitions.as_deref().map(|text| {
        let wrong =
            || Error::usage(format!("--partitions {text}: give numbers from 0 to 4095 and ranges, as 0-1023,2000"));
        PartitionSet::parse(text).ok_or_else(wrong)
    });
    let partitions = partitions.transpose()?;
    if partitions.is_some() && !digests.is_empty() {
        return Err(Error::usage("single records are where they are: leave out --partitions"));
    }
    let selection = Selection {
        // A digest names its record, whatever the set.
        sets: (!sets.is_empty() && digests.is_empty()).then_some(sets),
        digests: (!digests.is_empty()).then_some(digests),
        partitions,
        bins: (!which.bins.is_empty()).then(|| bin_names(&which.bins)).transpose()?,
    };
    Ok((selection, names))
}

/// Refuses what can be told to be wrong before anything is opened.
fn check(args: &Args) -> Result<()> {
    let conflict = GivenOption {
        name: "--conflict",
        given: args.conflict.is_some(),
        goes_with: &[Kind::Cluster, Kind::Embedded],
        all: true,
        why: "files are new, so they hold no records yet",
    };
    let wait = GivenOption {
        name: "--wait-indexes",
        given: args.wait_indexes.is_some(),
        goes_with: &[Kind::Cluster],
        all: true,
        why: "it builds no indexes",
    };
    let options = [conflict, wait].into_iter().chain(args.asb.given()).chain(args.writing.given());
    // The key opens files that are restored, too.
    let reads_asb = args.snapshot.iter().any(|one| applies::Kind::of(one) == Some(Kind::Asb));
    let options = options.filter(|option| !(reads_asb && option.name == "--asb-key"));
    if args.failed_to.as_deref() == Some(Path::new("-")) {
        return Err(Error::usage("--failed-to -: name a file; standard output is for the report"));
    }
    applies::check(&[&args.target], options)
}

/// Refuses to begin what nobody could confirm.
fn check_answerable(args: &Args) -> Result<()> {
    if args.mirror && !args.yes && !args.dry_run && !std::io::stdin().is_terminal() {
        return Err(Error::usage(format!("there is no terminal to ask on: {NO_ANSWER}")));
    }
    Ok(())
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    check(&args)?;
    let files: Vec<String> = args.snapshot.iter().filter(|one| is_of_files(one)).cloned().collect();
    match &args.snapshot[..] {
        all if all.len() == files.len() => run_files(context, &args, &files),
        [snapshot] => run_snapshot(context, &args, snapshot),
        _ => Err(Error::usage("only files (asb:PATH, jsonl:FILE) are restored together; name one snapshot")),
    }
}

/// Restores a snapshot of the repository.
fn run_snapshot(context: &Context, args: &Args, snapshot: &str) -> Result<Done> {
    let path = SnapshotPath::parse(snapshot);
    let (selection, names) = selection(&args.which, path.set.as_deref())?;
    let options = options(args, &path, selection)?;
    options.check(&args.target)?;
    check_answerable(args)?;
    let repository = context.repository()?;
    let snapshot = repository.snapshot_among(&path.snapshot, &args.among.filter())?;
    let snapshot = announced(context, &snapshot, &path)?;
    let report = job::restore(&repository, &snapshot, &args.target, &options)?;
    let set = path.set.as_deref().or(args.which.set.first().map(String::as_str));
    tell(
        context,
        args,
        &Restored { from: &describe(snapshot.manifest()), options: &options, names, set, report: &report },
    )
}

/// Restores files that are in no repository.
fn run_files(context: &Context, args: &Args, files: &[String]) -> Result<Done> {
    if !args.among.is_any() {
        return Err(Error::usage("--cluster, --tag and --host choose among snapshots, not files: leave them out"));
    }
    let (selection, names) = selection(&args.which, None)?;
    let options = options(args, &SnapshotPath::default(), selection)?;
    options.check(&args.target)?;
    check_answerable(args)?;
    let reading = SourceOptions::default().asb_key(args.asb.key());
    let report = job::restore_files(files, &args.target, &options, &reading, context.control())?;
    let set = args.which.set.first().map(String::as_str);
    tell(context, args, &Restored { from: &files.join(", "), options: &options, names, set, report: &report })
}

/// Says what was restored. The records themselves may be on standard output.
fn tell(context: &Context, args: &Args, restored: &Restored<'_>) -> Result<Done> {
    restored::print(context, restored, is_standard_output(&args.target) && !args.dry_run)?;
    Ok(restored.report.done())
}

/// What the job is told.
fn options(args: &Args, path: &SnapshotPath, selection: Selection) -> Result<RestoreOptions> {
    let expiry = match args.extra_ttl {
        _ if args.no_ttl => Expiry::Never,
        Some(seconds) => Expiry::Later(seconds),
        None => Expiry::AsBackedUp,
    };
    let records = restore::RestoreOptions::default()
        .selection(selection)
        .rename(args.rename.clone())
        .conflict(args.conflict.map(ConflictPolicy::from))
        .expiry(expiry)
        .without_records(args.no_records)
        .without_indexes(args.no_metadata || args.no_indexes)
        .without_udfs(args.no_metadata || args.no_udfs)
        .without_users(args.no_metadata || args.no_users)
        .indexes_last(args.indexes_last)
        .resume(args.resume)
        .mirror(args.mirror);
    let options = RestoreOptions::default()
        .namespace(path.namespace.clone())
        .records(records)
        .confirmed(args.yes)
        .verify(args.verify)
        .dry_run(args.dry_run)
        .wait_indexes(args.wait_indexes.map(|longest| longest.unwrap_or(Duration::MAX)))
        .failed_to(args.failed_to.clone());
    Ok(options.target(args.writing.options(args.asb.options())?))
}

/// The snapshot, of which the terminal is told once its restore begins.
fn announced(context: &Context, snapshot: &Snapshot, path: &SnapshotPath) -> Result<Snapshot> {
    if context.quiet() {
        return Ok(snapshot.clone());
    }
    let manifest = snapshot.manifest();
    let parts = path.namespaces(snapshot)?.iter().flat_map(|name| parts(manifest, Some(name))).collect();
    let announced = Announced::new(context.terminal(), describe(manifest), parts);
    Ok(snapshot.watched(&Control::observed(announced)))
}
