//! `copy`: copies snapshots into another repository.

use super::among::Among;
use super::context::{Context, Done, stopped};
use super::output::{complain, print_line};
use super::passphrase::{PassphraseWay, open_other};
use super::text;
use crate::copy::{CopiedSnapshot, CopyOptions, CopyReport};
use crate::error::{Error, Result};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

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

#[derive(Serialize)]
struct Output {
    dry_run: bool,
    from: String,
    to: String,
    copied: Vec<Row>,
    present: Vec<Present>,
    not_copied: Vec<NotCopied>,
    holds: u64,
    labelled: u64,
    warnings: Vec<String>,
    duration_millis: u64,
}

#[derive(Serialize)]
struct Row {
    snapshot: String,
    copy: Option<String>,
    committed: String,
    cluster: String,
    namespaces: Vec<String>,
    records: u64,
    chunks: u64,
    bytes_read: u64,
    stored_bytes: u64,
}

#[derive(Serialize)]
struct Present {
    snapshot: String,
    copy: String,
}

#[derive(Serialize)]
struct NotCopied {
    snapshot: String,
    problem: String,
    damaged: bool,
}

impl From<&CopiedSnapshot> for Row {
    fn from(copied: &CopiedSnapshot) -> Self {
        let CopiedSnapshot { original, copy, chunks, bytes_read, stored_bytes } = copied;
        Row {
            snapshot: original.id.to_string(),
            copy: copy.map(|id| id.to_string()),
            committed: text::rfc3339(original.committed),
            cluster: original.cluster.clone(),
            namespaces: original.namespaces.iter().map(|namespace| namespace.name.clone()).collect(),
            records: original.namespaces.iter().map(|namespace| namespace.live_records).sum(),
            chunks: *chunks,
            bytes_read: *bytes_read,
            stored_bytes: *stored_bytes,
        }
    }
}

/// What a stopped copy leaves.
const UNCOMMITTED: &str = "snapshots that were copied before stay; the next copy continues with the others";

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let source = context.repository()?;
    let way = PassphraseWay {
        file: args.to_password_file.as_deref(),
        command: args.to_password_command.as_deref(),
        prefix: "to",
        repository: &args.to,
    };
    let target = open_other(&args.to, &way).map_err(|error| match error {
        Error::NotFound { what, .. } => {
            let here = source.store().location();
            let advice = format!("Make one with `aerolith --repo {} init --shared-chunking-with {here}`", args.to);
            Error::not_found(what, advice)
        }
        error => error,
    })?;
    let options = CopyOptions {
        snapshots: args.snapshots,
        filter: args.among.filter(),
        newer_than: args.newer_than,
        dry_run: args.dry_run,
    };
    let (from, to) = (source.store().location().to_string(), target.store().location().to_string());
    let begun = Instant::now();
    let (control, progress) = context.control(format!("copying {from} to {to}"));
    let report = source.copy(&target, &options, &control).map_err(|error| stopped(error, UNCOMMITTED))?;
    drop(progress);
    let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    report.warnings.iter().for_each(|warning| complain(warning));
    for not in &report.not_copied {
        complain(&format!("not copied: snapshot {}: {}", not.snapshot, not.problem));
    }
    if context.json() {
        context.print_json(&output(&report, from, to, millis))?;
    } else {
        print(&report, &to, millis)?;
    }
    Ok(match report.not_copied.iter().any(|not| not.damaged) {
        true => Done::Damaged,
        false if report.not_copied.is_empty() => Done::Whole,
        false => Done::Incomplete,
    })
}

fn output(report: &CopyReport, from: String, to: String, duration_millis: u64) -> Output {
    let present = report.present.iter();
    let not_copied = report.not_copied.iter().map(|not| NotCopied {
        snapshot: not.snapshot.to_string(),
        problem: not.problem.clone(),
        damaged: not.damaged,
    });
    Output {
        dry_run: report.dry_run,
        from,
        to,
        copied: report.copied.iter().map(Row::from).collect(),
        present: present.map(|(id, copy)| Present { snapshot: id.to_string(), copy: copy.to_string() }).collect(),
        not_copied: not_copied.collect(),
        holds: report.holds,
        labelled: report.labelled,
        warnings: report.warnings.clone(),
        duration_millis,
    }
}

fn print(report: &CopyReport, to: &str, millis: u64) -> Result<()> {
    let rows: Vec<Row> = report.copied.iter().map(Row::from).collect();
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
            format!("copied {n} to {to}{there}: {read} read, {stored} stored in {}", text::millis(millis))
        }
    })
}
