//! `stats`: how large everything is.

use super::context::{Context, Done, print_line};
use super::text;
use crate::error::Result;
use crate::format::{ChunkId, names};
use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// Show how much the repository holds, and what each snapshot adds to it
///
/// Example: aerolith stats
///
/// Of each snapshot: the plain bytes of its live records (needs), those of the value chunks that they stand in (holds), and
/// the stored bytes of all chunks that it reaches, that no older snapshot reaches (adds), and that no other one does (only).
#[derive(clap::Args)]
pub struct Args {}

#[derive(Serialize)]
struct Output {
    logical_bytes: u64,
    unique_bytes: u64,
    reached_bytes: u64,
    stored_bytes: u64,
    stored: Vec<Stored>,
    snapshots: Vec<SnapshotOutput>,
    damaged: Vec<String>,
}

#[derive(Serialize)]
struct Stored {
    what: &'static str,
    objects: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct SnapshotOutput {
    snapshot: String,
    sealed: u64,
    records: u64,
    needed_bytes: u64,
    held_bytes: u64,
    reached_bytes: u64,
    added_bytes: u64,
    only_bytes: u64,
    chunks: u64,
    missing_chunks: u64,
}

/// A chunk that some snapshot reaches.
struct Reached {
    stored: u64,
    plain: u64,
    snapshots: u32,
    /// The last snapshot, by number, that reaches it.
    last: usize,
}

pub fn run(context: &Context, _: Args) -> Result<Done> {
    let repository = context.repository()?;
    let (control, progress) = context.control("measuring");
    let reader = repository.chunk_reader()?;
    let list = repository.snapshots()?;
    let mut all: HashMap<ChunkId, Reached> = HashMap::new();
    let mut snapshots = Vec::new();
    for (number, manifest) in list.snapshots.into_iter().enumerate() {
        control.check()?;
        let snapshot = repository.open_snapshot(&reader, manifest);
        let mut ids = Vec::new();
        snapshot.reach(&mut HashSet::new(), &mut |id, _| ids.push(id))?;
        let namespaces = &snapshot.manifest().namespaces;
        let mut output = SnapshotOutput {
            snapshot: snapshot.id().to_string(),
            sealed: snapshot.manifest().sealed,
            records: namespaces.iter().map(|namespace| namespace.live_records).sum(),
            needed_bytes: namespaces.iter().map(|namespace| namespace.live_bytes).sum(),
            held_bytes: namespaces.iter().map(|namespace| namespace.reached_bytes).sum(),
            reached_bytes: 0,
            added_bytes: 0,
            only_bytes: 0,
            chunks: ids.len() as u64,
            missing_chunks: 0,
        };
        for id in ids {
            if let Some(known) = all.get_mut(&id) {
                known.snapshots += 1;
                known.last = number;
                output.reached_bytes += known.stored;
                output.missing_chunks += u64::from(known.stored == 0);
                continue;
            }
            let place = reader.locate(&id)?.first().map(|at| at.place);
            let (stored, plain) = place.map_or((0, 0), |place| (u64::from(place.stored), u64::from(place.plain)));
            output.missing_chunks += u64::from(place.is_none());
            output.reached_bytes += stored;
            output.added_bytes += stored;
            all.insert(id, Reached { stored, plain, snapshots: 1, last: number });
        }
        snapshots.push(output);
    }
    for chunk in all.values().filter(|chunk| chunk.snapshots == 1) {
        if let Some(output) = snapshots.get_mut(chunk.last) {
            output.only_bytes += chunk.stored;
        }
    }
    let places = [
        ("packs", names::PACKS),
        ("index", names::INDEX),
        ("snapshots", names::SNAPSHOTS),
        ("sessions", names::SESSIONS),
        ("plans", names::PLANS),
        ("keys", names::KEYS),
    ];
    let mut stored = Vec::new();
    for (what, prefix) in places {
        let listed = repository.store().list(prefix)?;
        let bytes = listed.iter().map(|object| object.size).sum();
        stored.push(Stored { what, objects: listed.len() as u64, bytes });
    }
    let config = repository.store().size(names::CONFIG)?;
    stored.push(Stored { what: "config", objects: u64::from(config.is_some()), bytes: config.unwrap_or_default() });
    drop(progress);
    let output = Output {
        logical_bytes: snapshots.iter().map(|snapshot| snapshot.needed_bytes).sum(),
        unique_bytes: all.values().map(|chunk| chunk.plain).sum(),
        reached_bytes: all.values().map(|chunk| chunk.stored).sum(),
        stored_bytes: stored.iter().map(|stored| stored.bytes).sum(),
        stored,
        snapshots,
        damaged: list.damaged.iter().map(|(_, error)| error.to_string()).collect(),
    };
    if context.json() {
        context.print_json(&output)?
    } else {
        print(&output)?
    }
    let missing = output.snapshots.iter().any(|snapshot| snapshot.missing_chunks > 0);
    Ok(if missing || !output.damaged.is_empty() { Done::Damaged } else { Done::Whole })
}

fn print(output: &Output) -> Result<()> {
    let rows: Vec<Vec<String>> = output
        .snapshots
        .iter()
        .map(|snapshot| {
            let id = snapshot.snapshot.get(..12).unwrap_or_default().to_string();
            let mut row = vec![id, text::time(snapshot.sealed), text::count(snapshot.records)];
            let sizes = [
                snapshot.needed_bytes,
                snapshot.held_bytes,
                snapshot.reached_bytes,
                snapshot.added_bytes,
                snapshot.only_bytes,
            ];
            row.extend(sizes.map(text::bytes));
            row
        })
        .collect();
    let header = ["snapshot", "sealed", "records", "needs", "holds", "reaches", "adds", "only"];
    print_line(&text::table(&header, &rows, &[2, 3, 4, 5, 6, 7]))?;
    print_line("")?;
    print_line(&format!("logical  {} in the live records of all snapshots", text::bytes(output.logical_bytes)))?;
    print_line(&format!("unique   {} in distinct chunks", text::bytes(output.unique_bytes)))?;
    print_line(&format!("reached  {} of stored chunks", text::bytes(output.reached_bytes)))?;
    print_line(&format!("stored   {} in all", text::bytes(output.stored_bytes)))?;
    let rows: Vec<Vec<String>> = output
        .stored
        .iter()
        .map(|stored| vec![format!("  {}", stored.what), text::count(stored.objects), text::bytes(stored.bytes)])
        .collect();
    print_line(&text::table(&["  in", "objects", "bytes"], &rows, &[1, 2]))?;
    for snapshot in output.snapshots.iter().filter(|snapshot| snapshot.missing_chunks > 0) {
        eprintln!("aerolith: snapshot {} lacks {} chunks", snapshot.snapshot, text::count(snapshot.missing_chunks));
    }
    output.damaged.iter().for_each(|error| eprintln!("aerolith: {error}"));
    Ok(())
}
