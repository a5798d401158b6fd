//! `repair`: rebuilds the index, and salvages snapshots that lost chunks.

use super::context::{Context, OtherArgs};
use super::output::{complain, print_line};
use super::{read_data, text};
use crate::error::Result;
use crate::job::{self, Done, LostRange, LostRecord, ReadPart, RepairOptions, RepairReport, SalvagedSnapshot};

/// So many lost records and ranges are listed on the terminal; `--json` has all of them.
const LISTED: usize = 100;

/// Rebuild the index, and save what can be read of snapshots that lost chunks
///
/// Index segments that can't be read are rebuilt from the packs. Sessions that can't be read are deleted, and holds
/// that can't be read are rewritten without their reasons. For each snapshot that needs missing or damaged chunks, a
/// new snapshot is made that holds what can be read. Lost records are looked for in the same namespace of all other
/// snapshots, and with --from also of those in another repository, regardless of its keys. What is gone is named: by
/// digest, set and, if it is known, key. No snapshot is changed in place: forget the damaged ones once you don't need
/// them. --read-data finds damage that nobody has found yet.
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
    /// First read and authenticate this part of the data, such as 10% or 500MB, to find what is damaged; all of it if
    /// no part is given
    #[arg(long, value_name = "PART", num_args = 0..=1, default_missing_value = "100%", value_parser = read_data::parse)]
    read_data: Option<ReadPart>,
    /// Take records that are lost here from this repository, if it has them
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    #[command(flatten)]
    from_password: OtherArgs,
    /// Only say what would be done
    #[arg(long, short = 'n')]
    dry_run: bool,
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let repository = context.repository()?;
    let from = args.from.as_deref().map(|url| context.other(url, &args.from_password)).transpose()?;
    let read = args.read_data.unwrap_or(ReadPart::NONE);
    let options = RepairOptions::default().read(read).from(from).dry_run(args.dry_run);
    let report = job::repair(&repository, &options)?;
    if context.json() {
        context.print_json(&report)?;
    } else {
        print(&report)?;
    }
    report.problems.iter().chain(&report.deferred).for_each(|problem| complain(problem));
    Ok(report.done())
}

fn print(report: &RepairReport) -> Result<()> {
    let would = |past: &str, will: &str| if report.dry_run { format!("would {will}") } else { past.to_string() };
    report.index_problems.iter().try_for_each(|problem| print_line(&format!("index: {problem}")))?;
    if report.packs_indexed > 0 || !report.index_problems.is_empty() && report.deferred.is_none() {
        print_line(&format!(
            "{} {} of {} into the index",
            would("wrote", "write"),
            text::plural(report.chunks_indexed, "chunk"),
            text::plural(report.packs_indexed, "pack")
        ))?;
    }
    let cleared = if report.dry_run { "would clear" } else { "cleared" };
    report.cleared.iter().try_for_each(|line| print_line(&format!("{cleared}: {line}")))?;
    report.chunk_problems.iter().try_for_each(|problem| print_line(&format!("chunk: {problem}")))?;
    for saved in &report.salvaged {
        print_salvaged(saved, report.dry_run)?;
    }
    print_line(&format!(
        "{}, {} looked at, {} read; {}",
        text::plural(report.snapshots, "snapshot"),
        text::plural(report.chunks, "chunk"),
        text::count(report.chunks_read),
        match report.salvaged.len() as u64 {
            0 => "none lost anything".to_string(),
            n => format!("{} lost chunks", text::plural(n, "snapshot")),
        }
    ))
}

fn print_salvaged(saved: &SalvagedSnapshot, dry_run: bool) -> Result<()> {
    let original = &saved.original;
    print_line(&match &saved.snapshot {
        Some(id) if saved.earlier => format!("snapshot {original} was salvaged before, as {id}"),
        Some(id) => format!("salvaged snapshot {original} as {id}"),
        None if dry_run => format!("would salvage snapshot {original}"),
        None => format!("snapshot {original} was not salvaged"),
    })?;
    for namespace in &saved.namespaces {
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
        for LostRange { from, until, .. } in namespace.lost_ranges.iter().take(LISTED) {
            print_line(&format!(
                "  lost: digests from {} to {}",
                from.as_deref().unwrap_or("the first"),
                until.as_ref().map_or("the last".to_string(), |until| format!("before {until} in key order"))
            ))?;
        }
        for LostRecord { digest, set, key, .. } in namespace.lost_records.iter().take(LISTED) {
            let name = text::safe(&format!("{}/{set}  {}", namespace.namespace, key.as_deref().unwrap_or_default()));
            print_line(&format!("  lost: {digest}  {}", name.trim_end()))?;
        }
        let more =
            namespace.lost_records.len().saturating_sub(LISTED) + namespace.lost_ranges.len().saturating_sub(LISTED);
        if more > 0 {
            print_line(&format!("  and {} more; --json has all of them", text::count(more as u64)))?;
        }
    }
    Ok(())
}
