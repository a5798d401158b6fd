//! `verify`: compares a snapshot with a live source.

use super::context::{Context, Done, stopped};
use super::output::print_line;
use super::{endpoint, schema, text};
use crate::control::Control;
use crate::crypto::Keys;
use crate::error::{Error, Result};
use crate::record::{Digest, PartitionId, RecordBatch, Timestamp};
use crate::repository::NamespaceView;
use crate::run::{Entry, MergedCursor, PartitionRecords, RecordHash, Sorter, StateSums};
use crate::source::{BadRecord, PartitionedSource, RecordSink, RecordSource, SourceShape};
use rayon::prelude::*;
use serde::Serialize;
use std::sync::Arc;

/// Records of a source without order are held in memory up to about this many bytes.
const MEMORY_BYTES: usize = 768 << 20;
/// Partitions that are read at once.
const AT_ONCE: usize = 64;

/// Compare a snapshot with a source, partition by partition
///
/// Compares sets, keys and bins; generations and expiry are not compared. Records of the snapshot that have expired since and
/// are gone from the source are no difference. A namespace that the source lacks is one; one that the snapshot lacks is named.
/// Ends with exit code 3 if the two differ.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith verify latest asb:/backups/monday
  aerolith verify 14ee:test embedded:/data/store --json")]
pub struct Args {
    /// `SNAPSHOT[:NAMESPACE]`; SNAPSHOT is an id or its beginning, latest, latest~N, or @TIME
    snapshot: String,
    /// What to compare with: aerospike://HOST:PORT/NAMESPACE, asb:PATH, jsonl:FILE (- for standard input) or embedded:FOLDER
    source: String,
    #[command(flatten)]
    reading: endpoint::SourceArgs,
}

#[derive(Serialize)]
struct Output {
    snapshot: String,
    source: String,
    same: bool,
    namespaces: Vec<Compared>,
    /// Namespaces of the snapshot that the source lacks.
    absent: Vec<String>,
    /// Namespaces of the source that the snapshot lacks; they are not compared.
    not_in_snapshot: Vec<String>,
}

#[derive(Default, Serialize)]
struct Compared {
    namespace: String,
    records_in_snapshot: u64,
    records_in_source: u64,
    partitions_that_differ: u64,
    only_in_snapshot: Vec<String>,
    only_in_source: Vec<String>,
    changed: Vec<String>,
    expired: u64,
    /// Partitions that the snapshot's backup could not read; they are not compared.
    not_compared: Vec<String>,
    /// What of the snapshot can't be read; records that may stand there are not compared.
    lost: Vec<String>,
}

impl Compared {
    fn same(&self) -> bool {
        let differs = [&self.only_in_snapshot, &self.only_in_source, &self.changed, &self.lost];
        differs.iter().all(|list| list.is_empty())
    }

    /// Compares one partition: the sums first, the records where those differ.
    fn partition(&mut self, keys: &Keys, ours: &[Entry], theirs: &[(Digest, RecordHash)], now: Timestamp) {
        let mut our_sum = [0; 4];
        let ours = ours.iter().filter_map(|entry| entry.live.as_ref().map(|live| (entry.digest, live)));
        for (digest, live) in ours.clone() {
            StateSums::accumulate(&mut our_sum, keys, &digest, &live.hash);
            self.records_in_snapshot += 1;
        }
        self.records_in_source += theirs.len() as u64;
        if our_sum == StateSums::sum(keys, theirs) {
            return;
        }
        let mut theirs = theirs.iter().peekable();
        let mut differs = false;
        for (digest, live) in ours {
            while let Some((other, _)) = theirs.next_if(|(other, _)| other.sort_key() < digest.sort_key()) {
                self.only_in_source.push(other.to_string());
                differs = true;
            }
            match theirs.next_if(|(other, _)| *other == digest) {
                Some((_, hash)) if *hash == live.hash => {}
                Some(_) => {
                    self.changed.push(digest.to_string());
                    differs = true;
                }
                None if live.void_time.is_expired(now) => self.expired += 1,
                None => {
                    self.only_in_snapshot.push(digest.to_string());
                    differs = true;
                }
            }
        }
        for (other, _) in theirs {
            self.only_in_source.push(other.to_string());
            differs = true;
        }
        self.partitions_that_differ += u64::from(differs);
    }
}

struct Inbox<'a> {
    sorter: Sorter,
    control: &'a Control,
}

impl RecordSink for Inbox<'_> {
    fn records(&self, batch: RecordBatch) -> Result<()> {
        self.control.check()?;
        self.control.add_records(batch.len() as u64);
        self.sorter.push(batch)
    }

    fn bad_record(&self, _: BadRecord, error: Error) -> Result<()> {
        Err(error)
    }
}

fn hashes(records: &PartitionRecords) -> Vec<(Digest, RecordHash)> {
    records.iter().map(|(record, hash)| (record.meta.digest, hash)).collect()
}

fn scan(
    source: &dyn PartitionedSource,
    namespace: &str,
    partition: PartitionId,
    keys: &Keys,
    control: &Control,
) -> Result<Vec<(Digest, RecordHash)>> {
    control.check()?;
    let mut batches = Vec::new();
    source.scan(namespace, partition, None, &mut |batch| {
        control.add_records(batch.len() as u64);
        batches.push(batch);
        Ok(())
    })?;
    Ok(hashes(&PartitionRecords::from_batches(keys, batches)))
}

/// The source's records without those of which the snapshot can't tell what it holds.
fn known_or_ours(
    mut theirs: Vec<(Digest, RecordHash)>,
    ours: &[Entry],
    entries: &MergedCursor<'_>,
) -> Vec<(Digest, RecordHash)> {
    let is_ours =
        |digest: &Digest| ours.binary_search_by_key(&digest.sort_key(), |entry| entry.digest.sort_key()).is_ok();
    theirs.retain(|(digest, _)| !entries.is_unknown(digest) || is_ours(digest));
    theirs
}

/// A selection for people.
fn selected(selection: &str) -> &str {
    if selection.is_empty() { "everything" } else { selection }
}

fn compare(
    view: &NamespaceView<'_>,
    source: &dyn RecordSource,
    keys: &Arc<Keys>,
    control: &Control,
) -> Result<Compared> {
    let name = &view.manifest().name;
    let mut compared = Compared { namespace: name.clone(), ..Compared::default() };
    let now = source.clock()?;
    let mut entries = view.readable_entries()?;
    let unread = view.manifest().unread_partitions();
    compared.not_compared = schema::unread(view.manifest());
    if view.manifest().selection != source.selection() {
        return Err(Error::usage(format!(
            "the snapshot of namespace {name} holds {}, and the source was asked for {}: give verify the options that the \
             backup had",
            selected(&view.manifest().selection),
            selected(&source.selection())
        )));
    }
    match source.shape() {
        SourceShape::Stream(stream) => {
            let inbox = Inbox { sorter: Sorter::new(keys.clone(), MEMORY_BYTES), control };
            stream.read(name, &inbox, control)?;
            for partition in PartitionId::all() {
                control.check()?;
                let theirs = hashes(&inbox.sorter.take(partition)?);
                let ours = entries.take_partition(partition)?;
                if !unread.contains(partition) {
                    compared.partition(keys, &ours, &known_or_ours(theirs, &ours, &entries), now);
                }
            }
        }
        SourceShape::Partitioned(partitioned) => {
            let selected = partitioned.partitions();
            let all: Vec<PartitionId> = selected.iter().filter(|partition| !unread.contains(*partition)).collect();
            for some in all.chunks(AT_ONCE) {
                let read = some.par_iter().map(|&partition| scan(partitioned, name, partition, keys, control));
                let found: Vec<Vec<(Digest, RecordHash)>> = read.collect::<Result<_>>()?;
                for (&partition, theirs) in some.iter().zip(found) {
                    let mut ours = entries.take_partition(partition)?;
                    ours.retain(|entry| entry.digest.partition() == partition);
                    compared.partition(keys, &ours, &known_or_ours(theirs, &ours, &entries), now);
                }
            }
        }
    }
    compared.lost = entries.losses().lines();
    Ok(compared)
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let path = endpoint::path3(&args.snapshot);
    if path.set.is_some() {
        return Err(Error::usage("verify compares whole namespaces: leave out the set"));
    }
    let repository = context.repository()?;
    let snapshot = repository.snapshot(&path.snapshot)?;
    let source = endpoint::source(&args.source, args.reading, 0)?;
    let there = source.namespaces()?;
    let (control, progress) = context.control(format!("comparing with {}", source.name()));
    let (mut namespaces, mut absent) = (Vec::new(), Vec::new());
    for name in path.namespaces(&snapshot)? {
        if there.contains(&name) {
            let compared = compare(&snapshot.namespace(&name)?, &*source, repository.keys(), &control);
            namespaces.push(compared.map_err(|error| stopped(error, "the two were not compared to their end"))?);
        } else {
            absent.push(name);
        }
    }
    drop(progress);
    let not_in_snapshot: Vec<String> = match path.namespace {
        Some(_) => Vec::new(),
        None => there.into_iter().filter(|name| snapshot.manifest().namespace(name).is_none()).collect(),
    };
    let same = absent.is_empty() && namespaces.iter().all(Compared::same);
    let (id, source) = (snapshot.id().to_string(), source.name().to_string());
    let output = Output { snapshot: id, source, same, namespaces, absent, not_in_snapshot };
    if context.json() {
        context.print_json(&output)?
    } else {
        print(&output)?
    }
    let all = output.namespaces.iter().all(|namespace| namespace.not_compared.is_empty());
    Ok(match output.namespaces.iter().all(|namespace| namespace.lost.is_empty()) {
        false => Done::Damaged,
        true if same && all => Done::Whole,
        true => Done::Incomplete,
    })
}

fn print(output: &Output) -> Result<()> {
    for namespace in &output.namespaces {
        for loss in &namespace.lost {
            eprintln!("damaged: namespace {}: {loss}", namespace.namespace);
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
            digests.iter().try_for_each(|digest| print_line(&format!("{what}: {} {digest}", namespace.namespace)))?;
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
    }
    output.absent.iter().try_for_each(|name| print_line(&format!("not in the source: namespace {name}")))?;
    for name in &output.not_in_snapshot {
        print_line(&format!("not in the snapshot, and not compared: namespace {}", text::safe(name)))?;
    }
    let verdict = if output.same { "is as in" } else { "differs from" };
    print_line(&format!("{} {verdict} snapshot {}", output.source, output.snapshot))
}
