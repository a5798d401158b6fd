//! `snapshots`: lists the snapshots.

use super::context::{Context, Done, print_line};
use super::text;
use crate::error::Result;

/// List the snapshots, oldest first
///
/// Example: aerolith snapshots
#[derive(clap::Args)]
pub struct Args {}

pub fn run(context: &Context, _: Args) -> Result<Done> {
    let list = context.repository()?.snapshots()?;
    if context.json() {
        context.print_json(&list.snapshots)?;
    } else {
        let mut rows = Vec::new();
        for manifest in &list.snapshots {
            for namespace in &manifest.namespaces {
                let mut notes = manifest.tags.clone();
                if namespace.deletes_unknown {
                    notes.push("deletes unknown".into());
                }
                if !manifest.missing.is_empty() {
                    notes.push("incomplete".into());
                }
                rows.push(vec![
                    manifest.id.to_string().get(..12).unwrap_or_default().to_string(),
                    text::time(manifest.sealed),
                    manifest.cluster.clone(),
                    namespace.name.clone(),
                    namespace.kind.to_string(),
                    text::count(namespace.live_records),
                    text::bytes(namespace.live_bytes),
                    text::bytes(manifest.stored_bytes),
                    notes.join(", "),
                ]);
            }
        }
        let header = ["snapshot", "sealed", "cluster", "namespace", "kind", "records", "bytes", "stored", "notes"];
        print_line(&text::table(&header, &rows, &[5, 6, 7]))?;
    }
    for (_, error) in &list.damaged {
        eprintln!("aerolith: {error}");
    }
    Ok(if list.damaged.is_empty() { Done::Whole } else { Done::Damaged })
}
