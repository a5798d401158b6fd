//! `verify`: compares a snapshot with a live source.

use super::among::{Among, describe};
use super::context::{Context, Done, stopped};
use super::output::{complain, name_damage, print_line};
use super::{applies, endpoint, text};
use crate::error::{Error, Result};
use crate::format::snapshot::{Manifest, NamespaceManifest};
use crate::job::{self, OpenSource};
use crate::record::Digest;
use crate::record::RecordSelection;
use crate::repository::Selection;
use crate::sources::{RecordSource, SourceShape};
use crate::verify::{CompareOptions, Comparison};
use serde::Serialize;

/// Compare a snapshot with a source, partition by partition
///
/// Compares sets, keys and bins. Generations and expiry are not compared, nor are the cells that servers derive from
/// the text of GeoJSON values and that files don't have. A set, and the options that select, restrict the comparison
/// to that part of both sides. Records of the snapshot that have expired since and are gone from the source are no
/// difference. A namespace that the source does not have is one; a namespace that the snapshot does not have is
/// named. Exits with code 3 if the two differ, or if what was selected is in neither.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith verify latest asb:/backups/monday
  aerolith verify 14ee:test embedded:/data/store --json
  aerolith verify latest:test/users aerospike://10.0.0.5:3000 --partitions 0-1023 --summary
  aerolith verify latest:test aerospike://10.0.0.5:3000/copy")]
pub struct Args {
    /// SNAPSHOT[:NAMESPACE[/SET]]; SNAPSHOT is an id or its beginning, latest, latest~N, or @TIME
    snapshot: String,
    /// What to compare with: aerospike://HOST:PORT/NAMESPACE, asb:PATH, jsonl:FILE (- for standard input) or
    /// embedded:DIRECTORY
    source: String,
    /// The namespace's name in the source, if it differs
    #[arg(long, value_name = "NAME")]
    rename: Option<String>,
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

#[derive(Serialize)]
struct Output {
    snapshot: String,
    committed: String,
    cluster: String,
    source: String,
    same: bool,
    namespaces: Vec<Compared>,
    /// Namespaces of the snapshot that the source lacks.
    absent: Vec<String>,
    /// Namespaces of the source that the snapshot lacks; they are not compared.
    not_in_snapshot: Vec<String>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Compared {
    namespace: String,
    records_in_snapshot: u64,
    records_in_source: u64,
    partitions_that_differ: u64,
    only_in_snapshot: Vec<String>,
    only_in_source: Vec<String>,
    changed: Vec<String>,
    expired: u64,
    /// Records that are the same but for the cells that servers derive from GeoJSON.
    other_cells: u64,
    /// Partitions that the snapshot's backup could not read; they are not compared.
    not_compared: Vec<String>,
    /// What of the snapshot can't be read; records that may stand there are not compared.
    lost: Vec<String>,
}

impl Compared {
    fn new(namespace: &NamespaceManifest, compared: &Comparison) -> Self {
        let strings = |digests: &[Digest]| digests.iter().map(ToString::to_string).collect();
        let mut lost = compared.lost.lines();
        lost.extend(compared.unreadable.iter().map(|digest| format!("record {digest}: its body can't be read")));
        Compared {
            namespace: namespace.name.clone(),
            records_in_snapshot: compared.records_in_snapshot,
            records_in_source: compared.records_in_source,
            partitions_that_differ: compared.partitions_that_differ,
            only_in_snapshot: strings(&compared.only_in_snapshot),
            only_in_source: strings(&compared.only_in_source),
            changed: strings(&compared.changed),
            expired: compared.expired,
            other_cells: compared.other_cells,
            not_compared: job::unread(namespace),
            lost,
        }
    }

    fn same(&self) -> bool {
        let differs = [&self.only_in_snapshot, &self.only_in_source, &self.changed, &self.lost];
        differs.iter().all(|list| list.is_empty())
    }
}

/// A selection for people.
fn selected(selection: &str) -> &str {
    if selection.is_empty() { "everything" } else { selection }
}

/// What of a snapshot's namespace is compared: what the source was asked for, as far as the backup has read it.
fn part(manifest: &NamespaceManifest, source: &dyn RecordSource, asked: &RecordSelection) -> Result<Selection> {
    let (name, of_source) = (&manifest.name, source.selection());
    let there = match source.shape() {
        SourceShape::Partitioned(source) => source.partitions(),
        SourceShape::Stream(_) => asked.selected_partitions(),
    };
    let unread = manifest.unread_partitions();
    let partitions = Some(there.iter().filter(|partition| !unread.contains(*partition)).collect());
    if manifest.selection == of_source {
        return Ok(Selection { partitions, ..Selection::default() });
    }
    if !manifest.selection.is_empty() {
        return Err(Error::usage(format!(
            "the snapshot of namespace {name} holds {}, and the source was asked for {}: give verify the options that the \
             backup had",
            selected(&manifest.selection),
            selected(&of_source)
        )));
    }
    if asked.name() != of_source {
        return Err(Error::usage(format!(
            "--filter-exp is evaluated by servers, so it is unknown which records of namespace {name} of the snapshot it selects: leave it out"
        )));
    }
    let all = |names: &[Vec<u8>]| (!names.is_empty()).then(|| names.iter().cloned().collect());
    Ok(Selection {
        sets: all(&asked.sets),
        digests: (!asked.digests.is_empty()).then(|| asked.digests.iter().copied().collect()),
        partitions,
        bins: all(&asked.bins),
    })
}

/// Under which name the source has a namespace, if not under its own.
fn other_name(args: &Args, names: &[String]) -> Result<Option<String>> {
    match endpoint::rename(args.rename.clone(), &args.source)? {
        Some(name) if names.len() == 1 => Ok(Some(name)),
        // The address names one of several: the others are missing in it.
        Some(name) if args.rename.is_none() && names.contains(&name) => Ok(None),
        Some(_) => Err(Error::usage(format!(
            "--rename needs a single namespace, as does an address that names one: verify SNAPSHOT:NAMESPACE. The snapshot has {}",
            names.join(", ")
        ))),
        None => Ok(None),
    }
}

/// What was selected and isn't in a source that was read, as far as it can be told; for people.
fn unfound(source: &dyn RecordSource, namespace: &str) -> Option<String> {
    source.unfound(namespace).or_else(|| source.standing(namespace).ok()??.unfound(namespace))
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let path = endpoint::path3(&args.snapshot);
    applies::check(&[&args.source], args.reading.given())?;
    let reading = args.reading.options(path.set.as_deref(), 0)?.with_digests()?;
    let asked = RecordSelection { filter: Vec::new(), ..reading.selection.clone() };
    let repository = context.repository()?;
    let snapshot = args.among.open_in(&repository, &path.snapshot)?;
    let names = path.namespaces(&snapshot)?;
    let rename = other_name(&args, &names)?;
    let OpenSource { source, namespaces: there } = job::open_source(&args.source, &reading)?;
    let (mut wanted, mut absent) = (Vec::new(), Vec::new());
    for name in names {
        let name_there = rename.as_deref().unwrap_or(&name);
        if there.iter().any(|one| one == name_there) {
            let selection = part(snapshot.namespace(&name)?.manifest(), &*source, &asked)?;
            wanted.push((name, selection));
        } else {
            absent.push(name_there.to_string());
        }
    }
    let (control, progress) = context.control(format!("comparing with {}", source.name()));
    let (mut namespaces, mut empty) = (Vec::new(), false);
    for (name, selection) in wanted {
        let view = snapshot.namespace(&name)?;
        let manifest = view.manifest();
        let options = CompareOptions {
            selection,
            rename: rename.clone(),
            others_differ: true,
            within: true,
            ..CompareOptions::default()
        };
        let compared = snapshot.watched(&control).compare(&name, &*source, &options);
        let compared = compared.map_err(|error| stopped(error, "the two were not compared to their end"))?;
        if compared.records_in_snapshot == 0 && compared.records_in_source == 0 && !source.selection().is_empty() {
            complain(&format!("neither side has a record of what was selected of namespace {}", text::safe(&name)));
            empty = true;
        }
        // With digests a set says nothing more.
        if let Some(problem) =
            unfound(&*source, rename.as_deref().unwrap_or(&name)).filter(|_| asked.digests.is_empty())
        {
            complain(&format!("{}: {}", source.name(), text::safe(&problem)));
            // A set that the snapshot has is compared: what is in it, and isn't expired, differs. So it is with all
            // that its backup had selected.
            empty |= manifest.selection.is_empty()
                && (asked.sets.is_empty() || !compared.sets.lacking(&asked.sets).is_empty());
        }
        namespaces.push(Compared::new(manifest, &compared));
    }
    drop(progress);
    let notes = source.notes();
    notes.iter().for_each(|note| complain(note));
    let not_in_snapshot: Vec<String> = match path.namespace {
        Some(_) => Vec::new(),
        None if rename.is_some() => Vec::new(),
        None => there.iter().filter(|name| snapshot.manifest().namespace(name).is_none()).cloned().collect(),
    };
    let same = absent.is_empty() && namespaces.iter().all(Compared::same);
    let manifest = snapshot.manifest();
    let output = Output {
        snapshot: manifest.id.to_string(),
        committed: text::rfc3339(manifest.committed),
        cluster: manifest.cluster.clone(),
        source: source.name().to_string(),
        same,
        namespaces,
        absent,
        not_in_snapshot,
        notes,
    };
    if context.json() {
        context.print_json(&output)?
    } else {
        print(&output, manifest, if args.summary { 0 } else { args.limit }, &there)?
    }
    let all = output.namespaces.iter().all(|namespace| namespace.not_compared.is_empty());
    Ok(match output.namespaces.iter().all(|namespace| namespace.lost.is_empty()) {
        false => Done::Damaged,
        true if same && all && !empty => Done::Whole,
        true => Done::Incomplete,
    })
}

fn print(output: &Output, manifest: &Manifest, limit: usize, there: &[String]) -> Result<()> {
    for namespace in &output.namespaces {
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
        ];
        for (what, digests) in lists {
            let name = text::safe(&namespace.namespace);
            digests.iter().take(limit).try_for_each(|digest| print_line(&format!("{what}: {name} {digest}")))?;
            if limit > 0 && digests.len() > limit {
                let more = text::count((digests.len() - limit) as u64);
                print_line(&format!("{what}: {name}: {more} more; --limit and --json show them"))?;
            }
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
    for name in &output.absent {
        let there = if there.is_empty() { "none".into() } else { there.join(", ") };
        print_line(&format!("not in the source: namespace {}; it has {}", text::safe(name), text::safe(&there)))?;
    }
    for name in &output.not_in_snapshot {
        print_line(&format!("not in the snapshot, and not compared: namespace {}", text::safe(name)))?;
    }
    let verdict = if output.same { "is as in" } else { "differs from" };
    print_line(&format!("{} {verdict} {}", output.source, describe(manifest)))
}
