//! `snapshots`: lists the snapshots.

use super::among::Among;
use super::context::{Context, Done};
use super::output::{complain, print_line};
use super::schema::{DamagedSnapshot, DoubtfulTime, Snapshot};
use super::text;
use crate::error::Result;
use crate::format::snapshot::Manifest;
use crate::objects::order::Times;
use serde::Serialize;

/// List the snapshots, oldest first
///
/// The order is that in which snapshots were begun with the earlier ones in view, and does not depend on the clocks
/// of their hosts. A time that contradicts the order is named. There is one row for each namespace of a snapshot;
/// `stored` is what the whole snapshot added to the repository. Exits with code 10 if a snapshot can't be read.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith snapshots
  aerolith snapshots --cluster zoo --tag nightly --json")]
pub struct Args {
    #[command(flatten)]
    among: Among,
}

#[derive(Serialize)]
struct Output {
    snapshots: Vec<Snapshot>,
    held: Vec<String>,
    doubtful_times: Vec<DoubtfulTime>,
    damaged: Vec<DamagedSnapshot>,
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let repository = context.repository()?;
    let list = repository.snapshots()?;
    let held: Vec<String> = repository.holds()?.iter().map(|hold| hold.snapshot.to_string()).collect();
    let filter = args.among.filter();
    filter.check_cluster(&list.snapshots)?;
    let snapshots: Vec<&Manifest> = list.snapshots.iter().filter(|manifest| filter.admits(manifest)).collect();
    if context.json() {
        let damaged = list
            .damaged
            .iter()
            .map(|(id, error)| DamagedSnapshot { snapshot: id.to_string(), problem: error.to_string() });
        let snapshots = snapshots.into_iter().map(Snapshot::from).collect();
        let doubtful_times = list.times.doubtful().iter().map(DoubtfulTime::from).collect();
        context.print_json(&Output { snapshots, held, doubtful_times, damaged: damaged.collect() })?;
    } else if snapshots.is_empty() && list.damaged.is_empty() {
        let there =
            if list.snapshots.is_empty() { "no snapshots yet: `aerolith backup` makes one" } else { "none such" };
        complain(there);
    } else {
        print(&snapshots, &held, &list.times)?;
    }
    list.times.warnings().iter().for_each(|warning| complain(warning));
    for (_, error) in list.damaged.iter().chain(&list.unread_labels) {
        complain(&error.to_string());
    }
    Ok(if list.damaged.is_empty() && list.unread_labels.is_empty() { Done::Whole } else { Done::Damaged })
}

/// Selections up to this many characters wide are shown whole.
const LONGEST_SELECTION: usize = 60;

fn print(snapshots: &[&Manifest], held: &[String], times: &Times) -> Result<()> {
    let mut rows = Vec::new();
    for manifest in snapshots {
        for namespace in &manifest.namespaces {
            let mut notes = manifest.tags.clone();
            if held.contains(&manifest.id.to_string()) {
                notes.push("held".into());
            }
            if let Some(origin) = &manifest.origin {
                notes.push(format!("copy of {}", text::short(&origin.snapshot.to_string())));
            }
            if namespace.deletes_unknown {
                notes.push("deletes unknown".into());
            }
            if let Some(salvage) = &manifest.salvage {
                notes.push(format!("salvaged from {}", text::short(&salvage.original.to_string())));
            }
            if times.doubtful().iter().any(|doubtful| doubtful.snapshot == manifest.id) {
                notes.push("time in doubt".into());
            }
            if !namespace.selection.is_empty() {
                notes.push(format!("only {}", text::cut(&namespace.selection, LONGEST_SELECTION)));
            }
            if !manifest.missing.is_empty() {
                notes.push("incomplete".into());
            }
            rows.push(vec![
                text::short(&manifest.id.to_string()),
                text::time(manifest.committed),
                text::safe(&manifest.cluster),
                text::safe(&namespace.name),
                namespace.kind.to_string(),
                text::count(namespace.live_records),
                text::bytes(namespace.live_bytes),
                text::bytes(manifest.stored_bytes),
                text::safe(&notes.join(", ")),
            ]);
        }
    }
    let header = ["snapshot", "committed", "cluster", "namespace", "kind", "records", "bytes", "stored", "notes"];
    print_line(&text::table(&header, &rows, &[5, 6, 7]))
}
