//! `copy`: copies snapshots into another repository.

use super::among::Among;
use super::context::Context;
use super::output::{complain, print_line};
use super::passphrase::{PassphraseWay, open_other};
use super::text;
use crate::error::{Error, Result};
use crate::job::{self, CopyOptions, CopyReport, Done};
use std::path::PathBuf;

/// Copy snapshots into another repository
///
/// Copies all snapshots, or those that are named. What the other repository already has is left alone, so the same
/// command every day copies what is new. The copies have their own ids, keep times, labels and everything else, and
/// say what they are copies of. Copies of held snapshots are held. The oldest is copied first; if the copy is stopped
/// or killed, the next one continues and stores nothing twice.
///
/// The other repository has its own passphrase, from --to-password-file, --to-password-command, AEROLITH_TO_PASSWORD
/// or a prompt. If one of the two was made with `init --shared-chunking-with`, chunks are taken over as they are;
/// otherwise records are read and named again, which takes longer.
///
/// Every chunk is authenticated, and the records must add up to the snapshot's state hash. A damaged snapshot is not
/// copied, but named; the others are copied, and the exit code is 10. Two copies at the same time may leave two
/// copies of a snapshot: both are complete, they share their chunks, and one can be forgotten.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith copy --to /mnt/offsite/aero
  aerolith copy latest --to /mnt/offsite/aero --to-password-file offsite.key
  aerolith copy --to /mnt/offsite/aero --newer-than 2026-05-01
  aerolith copy --to /mnt/offsite/aero --cluster zoo --tag monthly --dry-run")]
pub struct Args {
    /// The snapshots to copy: an id or its beginning, latest, latest~N, or @TIME [default: all]
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    /// The repository to copy into: a directory, or file:PATH
    #[arg(long, value_name = "URL")]
    to: String,
    /// Read its passphrase from the first line of this file, not from AEROLITH_TO_PASSWORD or a prompt
    #[arg(long, value_name = "FILE")]
    to_password_file: Option<PathBuf>,
    /// Read its passphrase from the first line that this command prints
    #[arg(long, value_name = "COMMAND", conflicts_with = "to_password_file")]
    to_password_command: Option<String>,
    #[command(flatten)]
    among: Among,
    /// Only those that are newer than this: a time, such as 2026-05-01, or a snapshot
    #[arg(long, value_name = "TIME|SNAPSHOT")]
    newer_than: Option<String>,
    /// Only say what would be copied
    #[arg(long, short = 'n')]
    dry_run: bool,
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let source = context.repository()?;
    let way = PassphraseWay {
        file: args.to_password_file.as_deref(),
        command: args.to_password_command.as_deref(),
        prefix: "to",
        repository: &args.to,
    };
    let target = open_other(&args.to, &way, context.control()).map_err(|error| match error {
        Error::NotFound { what, .. } => {
            let here = source.store().location();
            let advice = format!("Make one with `aerolith --repo {} init --shared-chunking-with {here}`", args.to);
            Error::not_found(what, advice)
        }
        error => error,
    })?;
    let options = CopyOptions::default()
        .snapshots(args.snapshots)
        .filter(args.among.filter())
        .newer_than(args.newer_than)
        .dry_run(args.dry_run);
    let report = job::copy(&source, &target, &options)?;
    for not in &report.not_copied {
        complain(&format!("not copied: snapshot {}: {}", not.snapshot, not.problem));
    }
    if context.json() {
        context.print_json(&report)?;
    } else {
        print(&report)?;
    }
    Ok(report.done())
}

fn print(report: &CopyReport) -> Result<()> {
    let (rows, to) = (&report.copied, &report.to);
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                text::short(&row.snapshot),
                row.copy.as_deref().map(text::short).unwrap_or_default(),
                text::safe(&row.cluster),
                text::safe(&row.namespaces.join(", ")),
                text::count(row.records),
                text::count(row.chunks),
                text::bytes(row.bytes_read),
                text::bytes(row.stored_bytes),
            ]
        })
        .collect();
    if !cells.is_empty() {
        let header = ["snapshot", "copy", "cluster", "namespaces", "records", "chunks", "read", "stored"];
        print_line(&text::table(&header, &cells, &[4, 5, 6, 7]))?;
    }
    let (n, present) = (text::plural(rows.len() as u64, "snapshot"), report.present.len() as u64);
    let (read, stored) =
        rows.iter().fold((0, 0), |(read, stored), row| (read + row.bytes_read, stored + row.stored_bytes));
    let there = if present > 0 { format!("; {} there already", text::count(present)) } else { String::new() };
    if report.holds > 0 {
        print_line(&format!("placed {} on copies of held snapshots", text::plural(report.holds, "hold")))?;
    }
    if report.labelled > 0 {
        print_line(&format!("brought the labels of {} up to date", text::plural(report.labelled, "copied snapshot")))?;
    }
    print_line(&match report.dry_run {
        true => format!("would copy {n} to {to}{there}: at most {} to read", text::bytes(read)),
        false => {
            let (read, stored) = (text::bytes(read), text::bytes(stored));
            format!(
                "copied {n} to {to}{there}: {read} read, {stored} stored in {}",
                text::millis(report.duration_millis)
            )
        }
    })
}
