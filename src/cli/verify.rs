//! `verify`: compares a snapshot with a live source.

use super::among::{Among, describe};
use super::context::{Context, Done};
use super::output::{complain, name_damage, print_line};
use super::{applies, endpoint, text};
use crate::error::Result;
use crate::format::snapshot::Manifest;
use crate::job::{self, SnapshotPath, VerifyOptions, VerifyReport};

/// Compare a snapshot with a source, partition by partition
///
/// Compares sets, keys and bins. Generations and expiry are not compared, nor are the cells that servers derive from
/// the text of GeoJSON values and that files don't have. A set, and the options that select, restrict the comparison
/// to that part of both sides. Records of the snapshot that have expired since and are gone from the source are no
/// difference. A namespace that the source does not have is one; a namespace that the snapshot does not have is
/// named. Exits with code 3 if the two differ, or if what was selected is in neither. Values of the snapshot whose
/// hashes agree with those of the source are not read: `check --read-data` finds damage in them.
///
/// With --independent the official Aerospike client reads the cluster, so that a restore is proven by code that is not
/// Aerolith's. Then every value of the snapshot is read, and times to live are compared as well, within 5 seconds.
/// What that client can't represent (payloads of NaN, the order of lists, strings that are not UTF-8, maps with keys of
/// floats or booleans, and the like) is counted as not comparable, never as the same, and makes the exit code 3.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith verify latest asb:/backups/monday
  aerolith verify 14ee:test embedded:/data/store --json
  aerolith verify latest:test/users aerospike://10.0.0.5:3000 --partitions 0-1023 --summary
  aerolith verify latest:test aerospike://10.0.0.5:3000/copy
  aerolith verify latest:test aerospike://10.0.0.5:3000 --independent")]
pub struct Args {
    /// SNAPSHOT[:NAMESPACE[/SET]]; SNAPSHOT is an id or its beginning, latest, latest~N, or @TIME
    snapshot: String,
    /// What to compare with: aerospike://HOST:PORT/NAMESPACE, asb:PATH, jsonl:FILE (- for standard input) or
    /// embedded:DIRECTORY
    source: String,
    /// The namespace's name in the source, if it differs
    #[arg(long, value_name = "NAME")]
    rename: Option<String>,
    /// Read the cluster through the official Aerospike client, not through Aerolith's own reader, and compare times to
    /// live too
    #[arg(long)]
    independent: bool,
    /// Print only how many records differ, no digests
    #[arg(long)]
    summary: bool,
    /// Print at most N digests of each kind of difference
    #[arg(long, value_name = "N", conflicts_with = "summary", default_value_t = 1000)]
    limit: usize,
    #[command(flatten)]
    reading: endpoint::SourceArgs,
    #[command(flatten)]
    among: Among,
}

impl Args {
    /// The source, as it was given.
    pub fn endpoint(&mut self) -> &mut String {
        &mut self.source
    }
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let path = SnapshotPath::parse(&args.snapshot);
    applies::check(&[&args.source], args.reading.given())?;
    let source = args.reading.options(path.set.as_deref(), 0)?;
    let snapshot = args.among.open(context, &path.snapshot)?;
    let options = VerifyOptions::default().namespace(path.namespace).rename(args.rename).source(source);
    let options = options.independent(args.independent);
    let report = job::verify(&snapshot, &args.source, &options)?;
    complain_of(&report);
    match context.json() {
        true => context.print_json(&report)?,
        false => print(&report, snapshot.manifest(), if args.summary { 0 } else { args.limit })?,
    }
    Ok(report.done())
}

/// Says on standard error what was selected and not found, and what else there is to say of the source.
fn complain_of(report: &VerifyReport) {
    for namespace in &report.namespaces {
        if namespace.nothing_selected {
            let name = text::safe(&namespace.namespace);
            complain(&format!("neither side has a record of what was selected of namespace {name}"));
        }
        if let Some(problem) = &namespace.unfound {
            complain(&format!("{}: {}", report.source, text::safe(problem)));
        }
    }
    report.notes.iter().for_each(|note| complain(note));
}

fn print(report: &VerifyReport, manifest: &Manifest, limit: usize) -> Result<()> {
    for namespace in &report.namespaces {
        for loss in &namespace.lost {
            name_damage(&format!("namespace {}: {loss}", namespace.namespace));
        }
        for line in &namespace.not_compared {
            print_line(&format!("not compared: {}, {line}", text::safe(&namespace.namespace)))?;
        }
        let lists = [
            ("only in the snapshot", &namespace.only_in_snapshot),
            ("only in the source", &namespace.only_in_source),
            ("changed", &namespace.changed),
            ("expires at another time", &namespace.other_expiry),
            ("stored under another digest than its key has", &namespace.other_digest),
        ];
        for (what, digests) in lists {
            let name = text::safe(&namespace.namespace);
            digests.iter().take(limit).try_for_each(|digest| print_line(&format!("{what}: {name} {digest}")))?;
            if limit > 0 && digests.len() > limit {
                let more = text::count((digests.len() - limit) as u64);
                print_line(&format!("{what}: {name}: {more} more; --limit and --json show them"))?;
            }
        }
        for one in &namespace.not_comparable {
            let (name, records) = (text::safe(&namespace.namespace), text::plural(one.records, "record"));
            print_line(&format!(
                "not comparable: {name}: {records}: the official client can't represent {}",
                one.reason
            ))?;
            one.digests
                .iter()
                .take(limit)
                .try_for_each(|digest| print_line(&format!("not comparable: {name} {digest}")))?;
        }
        print_line(&format!(
            "{}: {} in the snapshot, {} in the source; {} only in the snapshot, {} only in the source, {} changed, {} \
             expired since, in {} that differ",
            text::safe(&namespace.namespace),
            text::plural(namespace.records_in_snapshot, "record"),
            text::count(namespace.records_in_source),
            text::count(namespace.only_in_snapshot.len() as u64),
            text::count(namespace.only_in_source.len() as u64),
            text::count(namespace.changed.len() as u64),
            text::count(namespace.expired),
            text::plural(namespace.partitions_that_differ, "partition")
        ))?;
        if namespace.other_cells > 0 {
            let records = text::plural(namespace.other_cells, "record");
            print_line(&format!(
                "{}: {records} the same but for the cells that servers derive from GeoJSON",
                text::safe(&namespace.namespace)
            ))?;
        }
    }
    for name in &report.absent {
        let there = if report.in_source.is_empty() { "none".into() } else { report.in_source.join(", ") };
        print_line(&format!("not in the source: namespace {}; it has {}", text::safe(name), text::safe(&there)))?;
    }
    for name in &report.not_in_snapshot {
        print_line(&format!("not in the snapshot, and not compared: namespace {}", text::safe(name)))?;
    }
    let (source, snapshot) = (&report.source, describe(manifest));
    let compared_nothing = !report.namespaces.is_empty() && report.namespaces.iter().all(|one| one.nothing_selected);
    print_line(&match report.same {
        false => format!("{source} differs from {snapshot}"),
        true if compared_nothing => {
            format!("nothing was compared: neither {source} nor {snapshot} has a record of what was selected")
        }
        true if report.done() == Done::Whole => format!("{source} is as in {snapshot}"),
        true => format!("{source} is as in {snapshot}, as far as the two were compared"),
    })
}
