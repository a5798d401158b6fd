//! `backup`: backs up sources into one snapshot.

use super::applies::{self, GivenOption};
use super::context::{Context, Done, stopped};
use super::from_command::{FromCommand, Output};
use super::output::{complain, print_line};
use super::{endpoint, text};
use crate::backup::RecordOptions;
use crate::error::{Error, Result};
use crate::format::snapshot::{BackupKind, Counts, Manifest};
use crate::job::{self, SnapshotReport};
use crate::repository::Repository;
use crate::session::SessionOptions;
use crate::sources::RecordSource;
use clap::ValueEnum;
use serde::Serialize;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

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
    /// them), asb:PATH (a file or a directory), jsonl:FILE or embedded:DIRECTORY. asb:- and jsonl:- are standard
    /// input; a pipe does not show whether its writer succeeded, so forget the snapshot if it failed. Several sources
    /// become one snapshot; no namespace may be in two of them
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
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Only this namespace; may be given more than once
    #[arg(long, value_name = "NAME")]
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
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    parallel: usize,
    #[command(flatten)]
    reading: endpoint::SourceArgs,
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
struct Printed {
    #[serde(flatten)]
    snapshot: SnapshotReport,
    duration_millis: u64,
    /// The first thousand; `counts.bad` has their number.
    bad_records: Vec<Bad>,
    resumed: Vec<Resumed>,
    vanished: Vec<Vanished>,
    notes: Vec<String>,
}

/// A namespace of which more than half of the records are gone since the snapshot before.
#[derive(Serialize)]
struct Vanished {
    namespace: String,
    parent: String,
    records: u64,
    deleted: u64,
}

impl From<crate::backup::Vanished> for Vanished {
    fn from(vanished: crate::backup::Vanished) -> Self {
        let crate::backup::Vanished { namespace, parent, records, deleted } = vanished;
        Vanished { namespace, parent: parent.to_string(), records, deleted }
    }
}

/// What an earlier run of the same backup had read, and this one brought up to date.
#[derive(Serialize)]
struct Resumed {
    session: String,
    namespace: String,
    partitions: usize,
}

impl From<&crate::session::Resumed> for Resumed {
    fn from(resumed: &crate::session::Resumed) -> Self {
        let crate::session::Resumed { session, namespace, partitions } = resumed;
        Resumed { session: session.to_string(), namespace: namespace.clone(), partitions: *partitions }
    }
}

#[derive(Serialize)]
struct Bad {
    place: String,
    problem: String,
}

pub fn run(context: &Context, mut args: Args) -> Result<Done> {
    let kind = BackupKind::from(args.kind);
    if args.partial && kind == BackupKind::Full {
        return Err(Error::usage(
            "--partial goes with --kind incremental or differential: a full backup is never partial",
        ));
    }
    if args.lease.is_some_and(|lease| lease < MIN_LEASE) {
        return Err(Error::usage("--lease takes at least 1s: with less, every hiccup would look like death"));
    }
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
    let repository = context.repository()?;
    let begun = Instant::now();
    let scheme = args.source.first().map(|first| applies::scheme(first).to_string()).unwrap_or_default();
    // Ctrl-C must end the command from its start on.
    let watched = args.from_command.as_ref().map(|_| context.control("backing up the output of a command"));
    let command = args.from_command.as_deref().map(FromCommand::start).transpose()?;
    let (command, output) = command.map_or((None, None), |(command, output)| (Some(command), Some(output)));
    let about = |sources: &[Reading], cluster: Option<String>| {
        let names = sources.iter().map(|one| one.source.name().to_string()).collect::<Vec<_>>();
        let source = if names.is_empty() { args.source.join(", ") } else { names.join(", ") };
        let cluster = cluster.unwrap_or_else(|| scheme.clone());
        SessionOptions {
            job: format!("{kind} backup of {source}"),
            source,
            cluster,
            tags: args.tag.clone(),
            hold: args.hold.clone(),
            lease: args.lease,
            resume: !args.no_resume,
            note_every: args.note_every.map(|seconds| Duration::from_secs(u64::from(seconds))),
        }
    };
    let opened = open(&args, command.as_ref().zip(output)).and_then(|sources| {
        check_kind(&sources, &args)?;
        Ok(sources)
    });
    let opened = opened.map_err(|error| match (&command, &watched) {
        (Some(command), Some((control, _))) => command.explain(error, control),
        _ => error,
    });
    let sources = match opened {
        Ok(sources) => sources,
        Err(error) => {
            // A run that fails this early belongs into the history too: nobody else tells that last night's backup is
            // missing.
            if !matches!(error, Error::Usage(_)) {
                match repository.begin(about(&[], args.cluster.clone())) {
                    Ok(session) => session.abandon(&error),
                    Err(other) => complain(&format!("this session is missing from the history: {other}")),
                }
            }
            return Err(stopped(error, UNCOMMITTED));
        }
    };
    let cluster = match args.cluster.clone() {
        Some(name) => Some(name),
        None => common_cluster(&sources)?,
    };
    let is_named = cluster.is_some();
    let options = RecordOptions {
        partial: args.partial,
        skip_bad_records: args.skip_bad_records,
        allow_partial: args.allow_partial,
        accept_loss: args.accept_loss,
        memory_bytes: (args.memory as usize) << 20,
        parallel: args.parallel,
        compact: args.compact,
    };
    let about = about(&sources, cluster);
    let is_first = !is_named && !has_earlier(&repository, &about)?;
    let (control, progress) =
        watched.unwrap_or_else(|| context.control(format!("backing up {}", text::safe(&about.source))));
    let mut session = repository.watched(&control).begin(about)?;
    let mut read = Ok(());
    for Reading { source, namespaces } in &sources {
        for namespace in namespaces {
            read = read.and_then(|()| session.records(namespace, &**source, kind, &options).map(|_| ()));
        }
    }
    if let Some(command) = &command {
        read = match read {
            Ok(()) => command.succeeded(&control),
            Err(error) => Err(command.explain(error, &control)),
        };
    }
    if let Err(error) = read {
        session.abandon(&error);
        return Err(stopped(error, UNCOMMITTED));
    }
    let notes: Vec<String> = sources.iter().flat_map(|one| one.source.notes()).collect();
    notes.iter().for_each(|note| complain(note));
    let bad = session.bad_records().to_vec();
    let resumed: Vec<Resumed> = session.resumed().iter().map(Resumed::from).collect();
    session.warnings().iter().for_each(|warning| complain(warning));
    let vanished: Vec<Vanished> = session.vanished().into_iter().map(Vanished::from).collect();
    let snapshot = session.commit().map_err(|error| stopped(error, UNCOMMITTED))?;
    drop(progress);
    for Resumed { session, namespace, partitions } in &resumed {
        complain(&format!(
            "resumed session {session}: of {} of namespace {}, only what changed since was read",
            text::plural(*partitions as u64, "partition"),
            text::safe(namespace)
        ));
    }
    if is_first && !context.quiet() {
        complain(&format!(
            "nothing names the cluster, so it is called {scheme:?}: --cluster NAME gives it a name of its own, which later backups of \
             other paths need",
        ));
    }
    for Vanished { namespace, parent, records, deleted } in &vanished {
        complain(&format!(
            "{} of the {} that snapshot {parent} has in namespace {} are gone. If this is another database, forget the new \
             snapshot, {}, and give --cluster a name of its own; if the source lost data, restore from snapshot {parent}, and hold it: \
             aerolith hold add {parent} --reason WHY",
            text::count(*deleted),
            text::plural(*records, "record"),
            text::safe(namespace),
            snapshot.id()
        ));
    }
    let millis = begun.elapsed().as_millis() as u64;
    let manifest = snapshot.manifest();
    let bad_records: Vec<Bad> =
        bad.iter().map(|bad| Bad { place: bad.place.clone(), problem: bad.problem.clone() }).collect();
    bad_records.iter().for_each(|bad| complain(&format!("left out: {}: {}", bad.place, bad.problem)));
    let all: u64 = manifest.namespaces.iter().map(|namespace| namespace.counts.bad).sum();
    if all > bad_records.len() as u64 {
        complain(&format!("left out: {} more", text::count(all - bad_records.len() as u64)));
    }
    let fails_strict = args.strict && !vanished.is_empty();
    if context.json() {
        let (snapshot, duration_millis) = (manifest.into(), millis);
        context.print_json(&Printed { snapshot, duration_millis, bad_records, resumed, vanished, notes })?;
    } else {
        print_summary(manifest, millis)?;
    }
    if let Some(wrong) = manifest.namespaces.iter().find(|one| accounted(&one.counts) != one.live_records) {
        return Err(Error::invalid(format!("the counts of namespace {} don't add up: {:?}", wrong.name, wrong.counts)));
    }
    Ok(if manifest.missing.is_empty() && !fails_strict { Done::Whole } else { Done::Incomplete })
}

/// Options of its own that not every source takes.
fn own_options(args: &Args) -> [GivenOption; 4] {
    use applies::Kind::{Asb, Cluster, Embedded, Jsonl};
    let option = |name, given, goes_with, why| GivenOption { name, given, goes_with, all: false, why };
    let lost = "it has no nodes that could be gone with their partitions";
    let whole = "it can be asked for all that was deleted";
    let restarts = "a file is read from its beginning whenever a backup of it starts again";
    [
        GivenOption { all: true, ..option("--partial", args.partial, &[Asb, Jsonl], whole) },
        option("--allow-partial", args.allow_partial, &[Cluster], lost),
        option("--accept-loss", args.accept_loss, &[Cluster], lost),
        option("--note-every", args.note_every.is_some(), &[Cluster, Embedded], restarts),
    ]
}

/// The shortest lease.
const MIN_LEASE: std::time::Duration = std::time::Duration::from_secs(1);

/// A source, and those of its namespaces that are backed up.
struct Reading {
    source: Box<dyn RecordSource>,
    namespaces: Vec<String>,
}

/// Refuses to take what is known to hold only changes for all that there is.
fn check_kind(sources: &[Reading], args: &Args) -> Result<()> {
    let partial = sources.iter().find_map(|one| Some((one.source.name(), one.source.holds_changes_only()?)));
    match partial {
        Some((name, what)) if !args.partial => Err(Error::usage(format!(
            "{name} is {what}, which holds no more than what changed: back it up with --kind incremental --partial, after the \
             full one that it builds on"
        ))),
        _ => Ok(()),
    }
}

/// Opens the sources, and finds in which of them each namespace is.
fn open(args: &Args, mut command: Option<(&FromCommand, Output)>) -> Result<Vec<Reading>> {
    let mut sources: Vec<Reading> = Vec::with_capacity(args.source.len());
    let mut all = Vec::new();
    let selection = args.reading.selection(None)?;
    for text in &args.source {
        let source = match command.take() {
            Some((command, output)) => {
                let name = format!("{text} (output of {})", command.program());
                endpoint::output_source(text, &name, output, args.reading.clone(), selection.clone())?
            }
            None => endpoint::source(text, args.reading.clone(), selection.clone(), args.parallel)?,
        };
        let there = source.namespaces()?;
        if there.is_empty() {
            return Err(Error::not_found("a namespace to back up", format!("{} has none", source.name())));
        }
        all.extend_from_slice(&there);
        let wanted = |name: &String| args.namespace.is_empty() || args.namespace.contains(name);
        let namespaces: Vec<String> = there.into_iter().filter(wanted).collect();
        for earlier in &sources {
            if let Some(twice) = namespaces.iter().find(|name| earlier.namespaces.contains(name)) {
                let (one, other) = (earlier.source.name(), source.name());
                return Err(Error::usage(format!(
                    "namespace {twice} is in {one} and in {other}: back them up one by one, with a --cluster for each"
                )));
            }
        }
        sources.push(Reading { source, namespaces });
    }
    match args.namespace.iter().find(|namespace| !all.contains(namespace)) {
        Some(unknown) => {
            let names: Vec<&str> = sources.iter().map(|one| one.source.name()).collect();
            let have = if names.len() == 1 { "has" } else { "have" };
            let advice = format!("{} {have} {}", names.join(" and "), all.join(", "));
            Err(Error::not_found(format!("namespace {unknown}"), advice))
        }
        None => Ok(sources),
    }
}

/// Whether earlier snapshots bear the name that sources get which know of none, and are of the same source.
///
/// # Errors
///
/// If the repository holds another's snapshots: then nobody but the caller knows whether this is the same database.
fn has_earlier(repository: &Repository, about: &SessionOptions) -> Result<bool> {
    let list = repository.snapshots()?.snapshots;
    let SessionOptions { source, cluster, .. } = about;
    match list.iter().rev().find(|manifest| manifest.cluster == *cluster) {
        Some(earlier) if earlier.source == *source => Ok(true),
        Some(earlier) => Err(Error::usage(format!(
            "{source} doesn't say of which cluster it is, and the snapshots of cluster {cluster:?} are of another source, {}: give \
             --cluster {cluster} if it is the same database, so that this backup builds on them, or else a name of its own",
            earlier.source
        ))),
        None if list.is_empty() => Ok(false),
        None => {
            let names: BTreeSet<String> = list.iter().map(|manifest| format!("{:?}", manifest.cluster)).collect();
            let names = names.into_iter().take(5).collect::<Vec<_>>().join(", ");
            Err(Error::usage(format!(
                "{source} doesn't say of which cluster it is, and the repository holds snapshots of {names}: give --cluster NAME, one of \
                 these if it is the same database, so that this backup builds on them, or else a name of its own"
            )))
        }
    }
}

/// The cluster that all sources belong to which know of one.
fn common_cluster(sources: &[Reading]) -> Result<Option<String>> {
    let mut names: Vec<String> = sources.iter().filter_map(|one| one.source.cluster()).collect();
    names.dedup();
    match &names[..] {
        [one, other, ..] => Err(Error::usage(format!(
            "the sources are of different clusters, {one} and {other}: back them up one by one, or name one with --cluster"
        ))),
        _ => Ok(names.pop()),
    }
}

/// What a stopped backup leaves.
const UNCOMMITTED: &str = "nothing was committed, and the repository holds the snapshots it held. Run the backup again";

/// The records of the snapshot, by what the backup found of them.
fn accounted(counts: &Counts) -> u64 {
    counts.added + counts.changed + counts.touched + counts.healed + counts.unchanged
}

fn print_summary(manifest: &Manifest, millis: u64) -> Result<()> {
    type Column = (&'static str, fn(&Counts) -> u64);
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
    let seen = |of: fn(&Counts) -> u64| manifest.namespaces.iter().any(|namespace| of(&namespace.counts) > 0);
    let columns: Vec<Column> = columns.into_iter().filter(|(name, of)| !rare.contains(name) || seen(*of)).collect();
    let rows: Vec<Vec<String>> = manifest
        .namespaces
        .iter()
        .map(|namespace| {
            let mut row = vec![text::safe(&namespace.name)];
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
    for namespace in &manifest.namespaces {
        let name = text::safe(&namespace.name);
        let moved = namespace.counts.moved;
        if moved > 0 {
            print_line(&format!("{name}: moved {} out of mostly dead chunks", text::plural(moved, "value")))?;
        }
        for line in job::unread(namespace) {
            print_line(&format!("{name}: {line}"))?;
        }
        if namespace.deletes_unknown {
            print_line(&format!("{name}: what was deleted since the last full backup is unknown"))?;
        }
    }
    for missing in &manifest.missing {
        print_line(&format!("missing: {}", text::safe(missing)))?;
    }
    print_line(&format!(
        "committed snapshot {}: {} stored in {}",
        manifest.id,
        text::bytes(manifest.stored_bytes),
        text::millis(millis)
    ))
}
