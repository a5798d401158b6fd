//! `repair`: rebuilds the index, and salvages snapshots that lost chunks.

use super::context::{Context, Done, OtherArgs, stopped};
use super::output::{complain, print_line};
use super::read_data::ReadData;
use super::text;
use crate::error::Result;
use crate::repair::{LostRecord, NamespaceLosses, RepairOptions, RepairReport, Salvaged};
use serde::Serialize;
use std::time::Duration;

/// So many lost records and ranges are listed on the terminal; `--json` has all of them.
const LISTED: usize = 100;

/// Rebuild the index, and save what can be read of snapshots that lost chunks
///
/// Index segments that can't be read are rebuilt from the packs. Sessions that can't be read are deleted, and holds
/// that can't be read are rewritten without their reasons. For each snapshot that needs missing or damaged chunks, a
/// new snapshot is made that holds what can be read. Lost records are looked for in all other snapshots, and with
/// --from in another repository, regardless of its keys. What is gone is named: by digest, set and, if it is known,
/// key. No snapshot is changed in place: forget the damaged ones once you don't need them. --read-data finds damage
/// that nobody has found yet.
///
/// Damaged records that the source still has come back with the next full backup, without any repair. While a
/// collection is running the index is left alone. Exits with code 3 if records are gone or the collection must end
/// first, and with code 10 if something can't be repaired.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith repair --dry-run
  aerolith repair --read-data
  aerolith repair --from /mnt/second/repo --from-password-file second.txt")]
pub struct Args {
    /// First read and authenticate this part of the data, such as 10% or 500MB, to find what is damaged; all of it if no part is given
    #[arg(long, value_name = "PART", num_args = 0..=1, default_missing_value = "100%", value_parser = ReadData::parse)]
    read_data: Option<ReadData>,
    /// Take records that are lost here from this repository, if it has them
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    #[command(flatten)]
    from_password: OtherArgs,
    /// Only say what would be done
    #[arg(long, short = 'n')]
    dry_run: bool,
}

#[derive(Serialize)]
struct Output {
    dry_run: bool,
    index_problems: Vec<String>,
    packs_indexed: u64,
    chunks_indexed: u64,
    cleared: Vec<String>,
    snapshots: u64,
    chunks: u64,
    chunks_read: u64,
    chunk_problems: Vec<String>,
    salvaged: Vec<Saved>,
    problems: Vec<String>,
    deferred: Option<String>,
    duration_millis: u64,
}

#[derive(Serialize)]
struct Saved {
    original: String,
    snapshot: Option<String>,
    earlier: bool,
    namespaces: Vec<Namespace>,
}

#[derive(Serialize)]
struct Namespace {
    namespace: String,
    records: u64,
    recovered: u64,
    lost: u64,
    lost_records: Vec<Lost>,
    lost_ranges: Vec<Range>,
    lost_metadata: Option<String>,
}

#[derive(Serialize)]
struct Lost {
    digest: String,
    set: String,
    key: Option<String>,
}

#[derive(Serialize)]
struct Range {
    from: Option<String>,
    until: Option<String>,
}

impl From<&LostRecord> for Lost {
    fn from(record: &LostRecord) -> Self {
        let key = record.key.as_ref().map(|(particle, bytes)| text::key(*particle, bytes));
        Lost { digest: record.digest.to_string(), set: text::plain(&record.set), key }
    }
}

impl From<&NamespaceLosses> for Namespace {
    fn from(losses: &NamespaceLosses) -> Self {
        let range = |(from, until): &(Option<crate::record::Digest>, Option<crate::record::Digest>)| Range {
            from: from.map(|digest| digest.to_string()),
            until: until.map(|digest| digest.to_string()),
        };
        Namespace {
            namespace: losses.namespace.clone(),
            records: losses.kept,
            recovered: losses.recovered,
            lost: losses.lost,
            lost_records: losses.records.iter().map(Lost::from).collect(),
            lost_ranges: losses.ranges.iter().map(range).collect(),
            lost_metadata: losses.metadata.clone(),
        }
    }
}

impl From<&Salvaged> for Saved {
    fn from(salvaged: &Salvaged) -> Self {
        Saved {
            original: salvaged.original.to_string(),
            snapshot: salvaged.snapshot.map(|id| id.to_string()),
            earlier: salvaged.earlier,
            namespaces: salvaged.namespaces.iter().map(Namespace::from).collect(),
        }
    }
}

impl Output {
    fn new(report: &RepairReport, duration: Duration) -> Self {
        Output {
            dry_run: report.dry_run,
            index_problems: report.segments.clone(),
            packs_indexed: report.packs_indexed,
            chunks_indexed: report.chunks_indexed,
            cleared: report.cleared.clone(),
            snapshots: report.found.snapshots,
            chunks: report.found.chunks,
            chunks_read: report.found.chunks_read,
            chunk_problems: report.found.problems.clone(),
            salvaged: report.salvaged.iter().map(Saved::from).collect(),
            problems: report.problems.clone(),
            deferred: report.deferred.clone(),
            duration_millis: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn print(&self) -> Result<()> {
        let would = |past: &str, will: &str| if self.dry_run { format!("would {will}") } else { past.to_string() };
        self.index_problems.iter().try_for_each(|problem| print_line(&format!("index: {problem}")))?;
        if self.packs_indexed > 0 || !self.index_problems.is_empty() && self.deferred.is_none() {
            print_line(&format!(
                "{} {} of {} into the index",
                would("wrote", "write"),
                text::plural(self.chunks_indexed, "chunk"),
                text::plural(self.packs_indexed, "pack")
            ))?;
        }
        let cleared = if self.dry_run { "would clear" } else { "cleared" };
        self.cleared.iter().try_for_each(|line| print_line(&format!("{cleared}: {line}")))?;
        self.chunk_problems.iter().try_for_each(|problem| print_line(&format!("chunk: {problem}")))?;
        for saved in &self.salvaged {
            saved.print(self.dry_run)?;
        }
        print_line(&format!(
            "{}, {} looked at, {} read; {}",
            text::plural(self.snapshots, "snapshot"),
            text::plural(self.chunks, "chunk"),
            text::count(self.chunks_read),
            match self.salvaged.len() as u64 {
                0 => "none lost anything".to_string(),
                n => format!("{} lost chunks", text::plural(n, "snapshot")),
            }
        ))
    }
}

impl Saved {
    fn print(&self, dry_run: bool) -> Result<()> {
        let original = &self.original;
        print_line(&match &self.snapshot {
            Some(id) if self.earlier => format!("snapshot {original} was salvaged before, as {id}"),
            Some(id) => format!("salvaged snapshot {original} as {id}"),
            None if dry_run => format!("would salvage snapshot {original}"),
            None => format!("snapshot {original} was not salvaged"),
        })?;
        for namespace in &self.namespaces {
            print_line(&format!(
                "  {}: {} kept, {} of them found elsewhere, {} lost",
                text::safe(&namespace.namespace),
                text::plural(namespace.records, "record"),
                text::count(namespace.recovered),
                text::count(namespace.lost)
            ))?;
            if let Some(problem) = &namespace.lost_metadata {
                print_line(&format!("  lost: indexes and UDF modules: {problem}"))?;
            }
            for Range { from, until } in namespace.lost_ranges.iter().take(LISTED) {
                print_line(&format!(
                    "  lost: digests from {} to {}",
                    from.as_deref().unwrap_or("the first"),
                    until.as_ref().map_or("the last".to_string(), |until| format!("before {until} in key order"))
                ))?;
            }
            for Lost { digest, set, key } in namespace.lost_records.iter().take(LISTED) {
                let name =
                    text::safe(&format!("{}/{set}  {}", namespace.namespace, key.as_deref().unwrap_or_default()));
                print_line(&format!("  lost: {digest}  {}", name.trim_end()))?;
            }
            let more = namespace.lost_records.len().saturating_sub(LISTED)
                + namespace.lost_ranges.len().saturating_sub(LISTED);
            if more > 0 {
                print_line(&format!("  and {} more; --json has all of them", text::count(more as u64)))?;
            }
        }
        Ok(())
    }
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let repository = context.repository()?;
    let from = args.from.as_deref().map(|url| context.other(url, &args.from_password)).transpose()?;
    let (control, progress) = context.control(format!("repairing {}", repository.store().location()));
    let begun = std::time::Instant::now();
    let read_percent = args.read_data.unwrap_or(ReadData::Percent(0.0)).percent(&**repository.store())?;
    let options = RepairOptions { read_percent, dry_run: args.dry_run, from };
    let report = repository.repair(&options, &control);
    let report = report.map_err(|error| stopped(error, "the next repair continues"))?;
    drop(progress);
    let output = Output::new(&report, begun.elapsed());
    if context.json() {
        context.print_json(&output)?;
    } else {
        output.print()?;
    }
    report.problems.iter().chain(&report.deferred).for_each(|problem| complain(problem));
    Ok(match () {
        () if report.is_damaged() => Done::Damaged,
        () if report.has_losses() || report.deferred.is_some() => Done::Incomplete,
        () => Done::Whole,
    })
}
