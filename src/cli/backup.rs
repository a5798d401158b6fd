//! `backup`: backs up sources into one snapshot.

use super::applies::{self, GivenOption};
use super::context::{Context, Done};
use super::from_command::FromCommand;
use super::output::{complain, print_line};
use super::{endpoint, text};
use crate::backup::{DeleteMode, RecordOptions};
use crate::error::{Error, Result};
use crate::format::snapshot::BackupKind;
use crate::job::{
    self, BackupOptions, BackupReport, BackupSource, CommandOutput, CountsReport, PipeFormat, ResumedNamespace,
    VanishedRecords, WalkedPartitions,
};
use crate::repository::Repository;
use clap::ValueEnum;
use clap::builder::NonEmptyStringValueParser;
use std::time::Duration;

/// Back up a source as a new snapshot
///
/// A full backup that finds an earlier snapshot of the same cluster and namespace stores only what differs. An
/// incremental backup reads what changed since the last snapshot, a differential backup what changed since the last
/// full one. Both find deletes. If files come from different clusters, name each cluster with --cluster.
///
/// Every record is accounted for: records = added + changed + touched + healed + unchanged.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith backup aerospike://10.0.0.1:3000/test --kind incremental
  aerolith backup asb:/backups/monday --cluster zoo
  aerolith backup asb:/backups/tuesday-incr --cluster zoo --kind incremental --partial
  aerolith backup asb:/backups/monday --cluster zoo --asb-key key.pem --tag nightly --strict --json
  aerolith backup embedded:/data/store --kind differential
  aerolith backup asb:/backups/users asb:/backups/orders --cluster shop
  aerolith backup asb:/backups/monday --hold 'case 7/2026'
  aerolith backup embedded:/data/store --kind incremental --compact
  aerolith backup --from-command 'asbackup -n test -o -' --cluster zoo
  aerolith backup jsonl:- --from-command './export.sh --all' --cluster zoo
  set -o pipefail; asbackup -n test -o - | aerolith backup asb:- --cluster zoo
  zcat dump.jsonl.gz | aerolith backup jsonl:-")]
pub struct Args {
    /// What to back up: aerospike://HOST:PORT,HOST:PORT/NAMESPACE (one host is enough; without a namespace, all of
    /// them), aerospike:NAME/NAMESPACE for a cluster of the configuration file, asb:PATH (a file or a directory),
    /// jsonl:FILE or embedded:DIRECTORY. asb:- and jsonl:- are standard input; a pipe does not show whether its writer
    /// succeeded, so forget the snapshot if it failed. Several sources become one snapshot; no namespace may be in two
    /// of them
    #[arg(required_unless_present = "from_command")]
    source: Vec<String>,
    /// Run a command and back up what it writes to standard output, as asb:- (the default here) or jsonl:-. Nothing
    /// is committed unless it exits with status 0. It is run by `sh -c`, which reports only the status of the last
    /// command of a pipe, and it can't ask on the terminal
    #[arg(long, value_name = "COMMAND")]
    from_command: Option<String>,
    /// The kind of backup
    #[arg(long, value_enum, default_value_t = Kind::Full)]
    kind: Kind,
    /// The source holds only what changed (asbackup --modified-after): deletes stay unknown, and the snapshot says so
    #[arg(long)]
    partial: bool,
    /// The cluster's name; a backup builds on earlier ones of the same cluster [default: the source's own, else its
    /// kind]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    cluster: Option<String>,
    /// Only this namespace; may be given more than once
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    namespace: Vec<String>,
    /// A label for the snapshot; may be given more than once
    #[arg(long)]
    tag: Vec<String>,
    /// Hold the snapshot for this reason: nobody can forget it until `aerolith hold release`
    #[arg(long, value_name = "REASON")]
    hold: Option<String>,
    /// How long this backup may show no sign of life before a prune may fence it: for machines that sleep longer than
    /// the default [default: 10min]
    #[arg(long, value_name = "DURATION", value_parser = text::parse_duration)]
    lease: Option<std::time::Duration>,
    /// Exit with code 3 if more than half of the records of the previous snapshot are gone. The snapshot is
    /// committed, and the warning printed, in any case
    #[arg(long)]
    strict: bool,
    /// Leave out records that can't be parsed, list them, and exit with code 3
    #[arg(long)]
    skip_bad_records: bool,
    /// Commit the snapshot even if some partitions of a cluster can't be read. They are named and stay as the
    /// previous snapshot has them, and the next backup catches up. Exits with code 3
    #[arg(long)]
    allow_partial: bool,
    /// Treat what looks like a loss as deletes. A cluster that lost nodes answers as if the records that only they
    /// had were deleted; a backup that detects this refuses, or with --allow-partial leaves those partitions as they
    /// were
    #[arg(long)]
    accept_loss: bool,
    /// How an incremental or differential backup finds out what is gone
    #[arg(long, value_enum, value_name = "MODE", default_value_t = Deletes::Auto)]
    deletes: Deletes,
    /// Make a snapshot that refers to nothing but what its own records need: every value is read and cut again, and
    /// written again if it shares a chunk with older versions of records. Once the older snapshots are forgotten,
    /// `aerolith prune` leaves nothing else
    #[arg(long)]
    compact: bool,
    /// Read everything again, even if an earlier attempt at this backup was killed less than a day ago. Without this
    /// option the backup continues where that one stopped
    #[arg(long)]
    no_resume: bool,
    /// How often, in seconds, a backup of a cluster or an embedded store records its progress, so that it can be
    /// resumed from there after it was killed [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=86_400))]
    note_every: Option<u32>,
    /// Memory for sorting records that arrive in no order, in MiB; the rest goes to an encrypted temporary file
    #[arg(long, value_name = "MIB", default_value_t = 768, value_parser = clap::value_parser!(u64).range(16..=1 << 20))]
    memory: u64,
    /// Number of partitions, or queries of a cluster, to read at once [default: the number of processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    parallel: Option<u16>,
    #[command(flatten)]
    reading: endpoint::SourceArgs,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Deletes {
    /// Let a cluster count the records that did not change, and look for records only where some are missing; walk all
    /// digests where counting does not suffice
    Auto,
    /// Walk all digests
    Walk,
    /// Do not look for deletes. What is gone stays in the snapshot, which says so; the next backup finds it
    None,
}

impl From<Deletes> for DeleteMode {
    fn from(deletes: Deletes) -> Self {
        match deletes {
            Deletes::Auto => DeleteMode::Auto,
            Deletes::Walk => DeleteMode::Walk,
            Deletes::None => DeleteMode::None,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Full,
    Incremental,
    Differential,
}

impl Args {
    /// The sources, as they were given.
    pub fn endpoints(&mut self) -> Vec<&mut String> {
        self.source.iter_mut().collect()
    }
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

pub fn run(context: &Context, mut args: Args) -> Result<Done> {
    let options = options(&args);
    options.check()?;
    if args.from_command.is_some() {
        if args.source.is_empty() {
            args.source.push("asb:-".into());
        }
        if !matches!(&args.source[..], [one] if matches!(one.as_str(), "asb:-" | "jsonl:-")) {
            return Err(Error::usage(
                "--from-command is the source: the only other SOURCE can be asb:- or jsonl:-, which names the format",
            ));
        }
    }
    let sources: Vec<&str> = args.source.iter().map(String::as_str).collect();
    applies::check(&sources, own_options(&args).into_iter().chain(args.reading.given()))?;
    let options = options.source(args.reading.options(None, args.parallel.map_or(0, usize::from))?);
    let repository = context.repository()?;
    let report = match &args.from_command {
        Some(command) => back_up_output(context, &repository, command, &sources, &options)?,
        None => {
            let sources = args.source.iter().cloned().map(BackupSource::Url).collect();
            job::backup(&repository, sources, &options)?
        }
    };
    complain_of(&report, context);
    if context.json() {
        context.print_json(&report)?;
    } else {
        print_summary(&report)?;
    }
    report.check_counts()?;
    let fails_strict = args.strict && !report.vanished.is_empty();
    Ok(if fails_strict { Done::Incomplete } else { report.done() })
}

/// What the job is told, but for the sources.
fn options(args: &Args) -> BackupOptions {
    BackupOptions::default()
        .kind(args.kind.into())
        .cluster(args.cluster.clone())
        .namespaces(args.namespace.clone())
        .tags(args.tag.clone())
        .hold(args.hold.clone())
        .lease(args.lease)
        .resume(!args.no_resume)
        .note_every(args.note_every.map(|seconds| Duration::from_secs(u64::from(seconds))))
        .records(RecordOptions {
            partial: args.partial,
            skip_bad_records: args.skip_bad_records,
            allow_partial: args.allow_partial,
            accept_loss: args.accept_loss,
            memory_bytes: (args.memory as usize) << 20,
            parallel: args.parallel.map_or(0, usize::from),
            compact: args.compact,
            deletes: args.deletes.into(),
        })
}

/// Runs a command and backs up what it writes. `sources` is its format.
fn back_up_output(
    context: &Context,
    repository: &Repository,
    command: &str,
    sources: &[&str],
    options: &BackupOptions,
) -> Result<BackupReport> {
    let (format, url) = match sources {
        ["jsonl:-"] => (PipeFormat::Jsonl, "jsonl:-"),
        _ => (PipeFormat::Asb, "asb:-"),
    };
    // Ctrl-C ends the command from its start on.
    let _part = context.control().part("backing up the output of a command");
    let (command, output) = FromCommand::start(command)?;
    let name = format!("{url} (output of {})", command.program());
    let output = CommandOutput { format, name, reader: Box::new(output), command: &command };
    job::backup(repository, vec![BackupSource::Command(output)], options)
}

/// Says on standard error what is remarkable about a backup.
fn complain_of(report: &BackupReport, context: &Context) {
    for ResumedNamespace { session, namespace, partitions, .. } in &report.resumed {
        complain(&format!(
            "resumed session {session}: of {} of namespace {}, only what changed since was read",
            text::plural(*partitions as u64, "partition"),
            text::safe(namespace)
        ));
    }
    if let Some(name) = report.unnamed_cluster.as_ref().filter(|_| !context.quiet()) {
        complain(&format!(
            "nothing names the cluster, so it is called {name:?}: --cluster NAME gives it a name of its own, which \
             later backups of other paths need",
        ));
    }
    for VanishedRecords { namespace, parent, records, deleted, .. } in &report.vanished {
        complain(&format!(
            "{} of the {} that snapshot {parent} has in namespace {} are gone. If this is another database, forget the \
             new snapshot, {}, and give --cluster a name of its own; if the source lost data, restore from snapshot \
             {parent}, and hold it: aerolith hold add {parent} --reason WHY",
            text::count(*deleted),
            text::plural(*records, "record"),
            text::safe(namespace),
            report.snapshot.snapshot
        ));
    }
    let bad = &report.bad_records;
    bad.iter().for_each(|bad| complain(&format!("left out: {}: {}", bad.place, bad.problem)));
    let all: u64 = report.snapshot.namespaces.iter().map(|namespace| namespace.counts.bad).sum();
    if all > bad.len() as u64 {
        complain(&format!("left out: {} more", text::count(all - bad.len() as u64)));
    }
}

/// Options of its own that not every source takes.
fn own_options(args: &Args) -> [GivenOption; 5] {
    use applies::Kind::{Asb, Cluster, Embedded, Jsonl};
    let option = |name, given, goes_with, why| GivenOption { name, given, goes_with, all: false, why };
    let lost = "it has no nodes that could be gone with their partitions";
    let whole = "it can be asked for all that was deleted";
    let restarts = "a file is read from its beginning whenever a backup of it starts again";
    [
        GivenOption { all: true, ..option("--partial", args.partial, &[Asb, Jsonl], whole) },
        option("--allow-partial", args.allow_partial, &[Cluster], lost),
        option("--accept-loss", args.accept_loss, &[Cluster], lost),
        option("--deletes", args.deletes != Deletes::Auto, &[Cluster, Embedded], "a file can't be asked for deletes"),
        option("--note-every", args.note_every.is_some(), &[Cluster, Embedded], restarts),
    ]
}

fn print_summary(report: &BackupReport) -> Result<()> {
    let snapshot = &report.snapshot;
    type Column = (&'static str, fn(&CountsReport) -> u64);
    let columns: [Column; 9] = [
        ("read", |counts| counts.read),
        ("added", |counts| counts.added),
        ("changed", |counts| counts.changed),
        ("touched", |counts| counts.touched),
        ("healed", |counts| counts.healed),
        ("unchanged", |counts| counts.unchanged),
        ("deleted", |counts| counts.deleted),
        ("duplicates", |counts| counts.duplicates),
        ("bad", |counts| counts.bad),
    ];
    // What is rare has no column of its own until it happens.
    let rare = ["healed", "duplicates", "bad"];
    let seen = |of: fn(&CountsReport) -> u64| snapshot.namespaces.iter().any(|namespace| of(&namespace.counts) > 0);
    let columns: Vec<Column> = columns.into_iter().filter(|(name, of)| !rare.contains(name) || seen(*of)).collect();
    let rows: Vec<Vec<String>> = snapshot
        .namespaces
        .iter()
        .map(|namespace| {
            let mut row = vec![text::safe(&namespace.namespace)];
            row.extend(columns.iter().map(|(_, of)| text::count(of(&namespace.counts))));
            row.push(text::count(namespace.live_records));
            row
        })
        .collect();
    let mut header = vec!["namespace"];
    header.extend(columns.iter().map(|(name, _)| *name));
    header.push("records");
    let right: Vec<usize> = (1..header.len()).collect();
    print_line(&text::table(&header, &rows, &right))?;
    for (namespace, unread) in snapshot.namespaces.iter().zip(&report.unread) {
        let name = text::safe(&namespace.namespace);
        let moved = namespace.counts.moved;
        if moved > 0 {
            print_line(&format!("{name}: moved {} out of mostly dead chunks", text::plural(moved, "value")))?;
        }
        for line in unread {
            print_line(&format!("{name}: {line}"))?;
        }
        if namespace.deletes_unknown {
            print_line(&format!("{name}: what was deleted since the last full backup is unknown"))?;
        }
        let walked: Vec<&WalkedPartitions> =
            namespace.search.walked.iter().filter(|walked| walked.reason.is_remarkable()).collect();
        for walked in walked {
            print_line(&format!("{name}: {}", text::walked(walked)))?;
        }
    }
    for missing in &snapshot.missing {
        print_line(&format!("missing: {}", text::safe(missing)))?;
    }
    print_line(&format!(
        "committed snapshot {}: {} stored in {}",
        snapshot.snapshot,
        text::bytes(snapshot.stored_bytes),
        text::millis(report.duration_millis)
    ))
}
