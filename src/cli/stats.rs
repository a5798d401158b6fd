//! `stats`: how large everything is.

use super::among::Among;
use super::context::{Context, Done, stopped};
use super::output::{complain, print_line};
use super::text;
use crate::error::Result;
use crate::format::{ChunkId, names};
use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// Show how much the repository holds, and what each snapshot adds to it
///
/// For each snapshot: the plain bytes of its live records (needs), those of the value chunks that contain them
/// (holds), the stored bytes of all chunks that it refers to (reaches), of those that no older snapshot refers to
/// (adds), and of those that no other snapshot refers to (only). With --cluster and the like, the other snapshots are
/// those of the same cluster and so on.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith stats
  aerolith stats --json | jq '.stored_bytes, .snapshots[-1].added_bytes'")]
pub struct Args {
    #[command(flatten)]
    among: Among,
}

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
    committed: String,
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

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let repository = context.repository()?;
    let (control, progress) = context.control(format!("measuring {}", repository.store().location()));
    // The snapshots first: what they need is in the index once it is read.
    let mut list = repository.snapshots()?;
    let filter = args.among.filter();
    filter.check_cluster(&list.snapshots)?;
    list.snapshots.retain(|manifest| filter.admits(manifest));
    let reader = repository.chunk_reader()?;
    let mut all: HashMap<ChunkId, Reached> = HashMap::new();
    let mut snapshots = Vec::new();
    let mut damaged: Vec<String> = list.damaged.iter().map(|(_, error)| error.to_string()).collect();
    for manifest in list.snapshots {
        control.check().map_err(|error| stopped(error, "nothing was changed"))?;
        let snapshot = repository.open_snapshot(&reader, manifest);
        let mut ids = Vec::new();
        if let Err(error) = snapshot.reach(&mut HashSet::new(), &mut |id, _| ids.push(id)) {
            if !error.is_damage() {
                return Err(error);
            }
            if repository.is_forgotten(&snapshot.id())? {
                continue;
            }
            damaged.push(format!("snapshot {}: {error}; its figures are too low", snapshot.id()));
        }
        let namespaces = &snapshot.manifest().namespaces;
        let mut output = SnapshotOutput {
            snapshot: snapshot.id().to_string(),
            committed: text::rfc3339(snapshot.manifest().committed),
            records: namespaces.iter().map(|namespace| namespace.live_records).sum(),
            needed_bytes: namespaces.iter().map(|namespace| namespace.live_bytes).sum(),
            held_bytes: namespaces.iter().map(|namespace| namespace.reached_bytes).sum(),
            reached_bytes: 0,
            added_bytes: 0,
            only_bytes: 0,
            chunks: ids.len() as u64,
            missing_chunks: 0,
        };
        let (known, fresh): (Vec<ChunkId>, Vec<ChunkId>) = ids.into_iter().partition(|id| all.contains_key(id));
        let mut places = Vec::with_capacity(fresh.len());
        for id in fresh {
            places.push((id, reader.locate(&id)?.first().map(|at| at.place)));
        }
        // Forgotten since it was listed, and collected.
        if places.iter().any(|(_, place)| place.is_none()) && repository.is_forgotten(&snapshot.id())? {
            continue;
        }
        let number = snapshots.len();
        for id in known {
            if let Some(known) = all.get_mut(&id) {
                known.snapshots += 1;
                known.last = number;
                output.reached_bytes += known.stored;
                output.missing_chunks += u64::from(known.stored == 0);
            }
        }
        for (id, place) in places {
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
        ("holds", names::HOLDS),
        ("tags", names::TAGS),
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
        damaged,
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
            let mut row =
                vec![text::short(&snapshot.snapshot), snapshot.committed.clone(), text::count(snapshot.records)];
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
    let header = ["snapshot", "committed", "records", "needs", "holds", "reaches", "adds", "only"];
    print_line(&text::table(&header, &rows, &[2, 3, 4, 5, 6, 7]))?;
    print_line("")?;
    let totals = [
        ("logical", output.logical_bytes, "the live records of all snapshots"),
        ("unique", output.unique_bytes, "the distinct chunks that they reach, before compression"),
        ("reached", output.reached_bytes, "those chunks as they are stored"),
        ("stored", output.stored_bytes, "all objects of the repository"),
    ];
    let rows: Vec<Vec<String>> =
        totals.iter().map(|(name, n, what)| vec![name.to_string(), text::bytes(*n), what.to_string()]).collect();
    print_line(&text::table(&["total", "bytes", "of"], &rows, &[1]))?;
    print_line("")?;
    let rows: Vec<Vec<String>> = output
        .stored
        .iter()
        .map(|stored| vec![stored.what.to_string(), text::count(stored.objects), text::bytes(stored.bytes)])
        .collect();
    print_line(&text::table(&["in", "objects", "bytes"], &rows, &[1, 2]))?;
    for snapshot in output.snapshots.iter().filter(|snapshot| snapshot.missing_chunks > 0) {
        let lacks = text::plural(snapshot.missing_chunks, "chunk");
        complain(&format!("snapshot {} is missing {lacks}", snapshot.snapshot));
    }
    output.damaged.iter().for_each(|problem| complain(problem));
    Ok(())
}
