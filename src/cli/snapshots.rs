//! `snapshots`: lists the snapshots.

use super::among::Among;
use super::context::Context;
use super::output::{complain, print_line};
use super::text;
use crate::error::Result;
use crate::job::{self, Done, NamespaceReport, SnapshotReport, SnapshotsReport};

/// List the snapshots, oldest first
///
/// They are ordered by which of them existed when another was begun, and not by the clocks of their hosts; a time that
/// contradicts that order is named. There is one row for each namespace of a snapshot; `stored` is what the whole
/// snapshot added to the repository. Exits with code 10 if a snapshot can't be read.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith snapshots
  aerolith snapshots --cluster zoo --tag nightly --json")]
pub struct Args {
    #[command(flatten)]
    among: Among,
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let repository = context.repository()?;
    let report = job::snapshots(&repository, &args.among.filter())?;
    if context.json() {
        context.print_json(&report)?;
    } else if report.snapshots.is_empty() && report.damaged.is_empty() {
        complain(if report.left_out == 0 {
            "no snapshots yet: `aerolith backup` makes one"
        } else {
            "no snapshot matches"
        });
    } else {
        print(&report)?;
    }
    report.damaged.iter().chain(&report.unread_labels).for_each(|damaged| complain(&damaged.problem));
    Ok(report.done())
}

/// Selections up to this many characters wide are shown whole.
const LONGEST_SELECTION: usize = 60;

fn print(report: &SnapshotsReport) -> Result<()> {
    let mut rows = Vec::new();
    for snapshot in &report.snapshots {
        for namespace in &snapshot.namespaces {
            rows.push(vec![
                text::short(&snapshot.snapshot),
                text::to_second(&snapshot.committed),
                text::safe(&snapshot.cluster),
                text::safe(&namespace.namespace),
                namespace.kind.clone(),
                text::count(namespace.live_records),
                text::bytes(namespace.live_bytes),
                text::bytes(snapshot.stored_bytes),
                text::safe(&notes(report, snapshot, namespace).join(", ")),
            ]);
        }
    }
    let header = ["snapshot", "committed", "cluster", "namespace", "kind", "records", "bytes", "stored", "notes"];
    print_line(&text::table(&header, &rows, &[5, 6, 7]))
}

/// What else there is to say of a namespace of a snapshot.
fn notes(report: &SnapshotsReport, snapshot: &SnapshotReport, namespace: &NamespaceReport) -> Vec<String> {
    let mut notes = snapshot.tags.clone();
    if report.held.contains(&snapshot.snapshot) {
        notes.push("held".into());
    }
    if let Some(origin) = &snapshot.origin {
        notes.push(format!("copy of {}", text::short(&origin.snapshot)));
    }
    if namespace.deletes_unknown {
        notes.push("deletes unknown".into());
    }
    if let Some(salvage) = &snapshot.salvage {
        notes.push(format!("salvaged from {}", text::short(&salvage.original)));
    }
    if report.doubtful_times.iter().any(|doubtful| doubtful.snapshot == snapshot.snapshot) {
        notes.push("time in doubt".into());
    }
    if !namespace.selection.is_empty() {
        notes.push(format!("only {}", text::cut(&namespace.selection, LONGEST_SELECTION)));
    }
    if !snapshot.missing.is_empty() {
        notes.push("incomplete".into());
    }
    notes
}
