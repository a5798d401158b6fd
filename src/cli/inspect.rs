//! `inspect`: looks at single objects of the repository.

use super::among::Among;
use super::context::{Context, Done};
use super::output::Lines;
use super::text;
use crate::error::{Error, Result};
use crate::format::config::{ChunkSizes, Compression};
use crate::format::header::{Class, Suite};
use crate::format::pack::Place;
use crate::format::snapshot::Manifest;
use crate::format::{ChunkId, PackId, SnapshotId, leaf, names, node};
use crate::index::Index;
use crate::pack::{PackReader, read_directory, stored_packs};
use crate::repository::{Repository, Root};
use clap::Subcommand;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};

/// Show single objects of the repository, as JSON lines
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith inspect config
  aerolith inspect snapshot latest | jq .namespaces[].runs[].root
  aerolith inspect index
  aerolith inspect pack 3f2a")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The parameters that were set when the repository was made
    #[command(after_help = "Example: aerolith inspect config")]
    Config,
    /// A pack, and the chunks in it
    #[command(after_help = "Example: aerolith inspect pack 3f2a")]
    Pack {
        /// The pack's id or its beginning
        id: String,
    },
    /// The index segments; with ID, the rows of the segments of one session
    #[command(after_help = "Example: aerolith inspect index 14ee")]
    Index {
        /// The id of the session (that of its snapshot), or its beginning
        id: Option<String>,
    },
    /// The places where a chunk is stored
    #[command(after_help = "Example: aerolith inspect chunk 18ac7abe20a5 --hex | jq -r .hex | xxd -r -p")]
    Chunk {
        /// The chunk's id or its beginning
        id: String,
        /// Print its plain bytes in hexadecimal
        #[arg(long)]
        hex: bool,
    },
    /// The nodes of a run
    #[command(after_help = "Example: aerolith inspect run 18ac7abe20a5")]
    Run {
        /// The id of its root, as `show` prints it, or its beginning
        id: String,
    },
    /// A snapshot: what `show --json` prints
    #[command(after_help = "Example: aerolith inspect snapshot latest")]
    Snapshot {
        /// An id or its beginning, latest, latest~N, or @TIME
        id: String,
        #[command(flatten)]
        among: Among,
    },
}

/// An id or its beginning, in lower case.
fn beginning(what: &str, text: &str) -> Result<String> {
    let prefix = text.to_ascii_lowercase();
    if prefix.is_empty() || prefix.len() > 64 || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Error::usage(format!("{text:?} is no {what}: give its id in hexadecimal, or the id's beginning")));
    }
    Ok(prefix)
}

/// The one of `found` that is meant by a beginning.
fn only<T>(what: &str, prefix: &str, mut found: Vec<T>) -> Result<T> {
    match found.len() {
        0 => Err(Error::not_found(format!("{what} {prefix}"), "")),
        1 => Ok(found.swap_remove(0)),
        n => Err(Error::invalid(format!("{n} {what}s begin with {prefix}: give more of the id"))),
    }
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let mut lines = Lines::new();
    let done = match args.what {
        What::Snapshot { id, among } => {
            lines.json(&crate::job::show(&among.open(context, &id)?)?)?;
            Done::Whole
        }
        What::Config => config(&context.repository()?, &mut lines)?,
        What::Pack { id } => pack(context, &beginning("pack", &id)?, &mut lines)?,
        What::Index { id } => match id.map(|id| beginning("session", &id)).transpose()? {
            Some(prefix) => rows(&context.repository()?, &prefix, &mut lines)?,
            None => segments(&context.repository()?, &mut lines)?,
        },
        What::Chunk { id, hex } => chunk(context, &beginning("chunk", &id)?, hex, &mut lines)?,
        What::Run { id } => tree(context, &beginning("run", &id)?, &mut lines)?,
    };
    lines.finish()?;
    Ok(done)
}

fn config(repository: &Repository, lines: &mut Lines) -> Result<Done> {
    let parameters = repository.parameters();
    let sizes = |sizes: &ChunkSizes| json!({ "min_bytes": sizes.min, "avg_bytes": sizes.avg, "max_bytes": sizes.max });
    lines.json(&json!({
        "repository": repository.id().to_string(),
        "location": repository.store().location(),
        "created": text::rfc3339(parameters.created),
        "cipher": match parameters.suite {
            Suite::Aes256Gcm => "aes256-gcm",
            Suite::XChaCha20Poly1305 => "xchacha20-poly1305",
        },
        "compression": match parameters.compression {
            Compression::None => "none".to_string(),
            Compression::Lz4 => "lz4".to_string(),
            Compression::Zstd(level) => format!("zstd:{level}"),
        },
        "chunker": parameters.chunker,
        "value_chunks": sizes(&parameters.value_chunks),
        "stream_chunks": sizes(&parameters.stream_chunks),
        "pack_bytes": parameters.pack_bytes,
        "shared_chunking": repository.has_shared_chunking(),
    }))?;
    Ok(Done::Whole)
}

fn class_name(class: Class) -> String {
    format!("{class:?}").to_lowercase()
}

/// A place in a pack, with whatever else is known of it.
fn place(kind: &str, id: &ChunkId, pack: &PackId, place: &Place) -> BTreeMap<&'static str, Value> {
    BTreeMap::from([
        ("kind", json!(kind)),
        ("chunk", json!(id.to_string())),
        ("pack", json!(pack.to_string())),
        ("offset", json!(place.offset)),
        ("stored_bytes", json!(place.stored)),
        ("plain_bytes", json!(place.plain)),
        ("packing", json!(format!("{:?}", place.packing).to_lowercase())),
    ])
}

fn pack(context: &Context, prefix: &str, lines: &mut Lines) -> Result<Done> {
    let repository = context.repository()?;
    let store = repository.store();
    let found = stored_packs(&**store)?.into_iter().filter(|(id, _)| id.to_string().starts_with(prefix)).collect();
    let (id, size) = only("pack", prefix, found)?;
    let (reader, rows) = read_directory(&**store, repository.keys(), id, size)?;
    lines.json(&json!({
        "kind": "pack",
        "pack": id.to_string(),
        "bytes": size,
        "class": class_name(reader.class()),
        "chunks": rows.len(),
    }))?;
    rows.iter().try_for_each(|row| lines.json(&place("chunk", &row.id, &id, &row.place)))?;
    Ok(Done::Whole)
}

/// A segment: its session, its number, its size in bytes.
type Segment = (SnapshotId, u32, u64);

/// All segments, those that no committed session owns too, and the index that holds all their rows.
fn all_segments(repository: &Repository) -> Result<(Vec<Segment>, Index)> {
    let listed = repository.store().list(names::INDEX)?;
    let segments = listed.iter().filter_map(|object| {
        names::parse_index_segment(&object.key).map(|(session, number)| (session, number, object.size))
    });
    let index = Index::open(&**repository.store(), repository.keys(), |_| true, Default::default())?;
    Ok((segments.collect(), index))
}

fn segments(repository: &Repository, lines: &mut Lines) -> Result<Done> {
    let states = crate::objects::list_states(&**repository.store(), repository.keys())?;
    let (segments, index) = all_segments(repository)?;
    for (session, number, bytes) in &segments {
        lines.json(&json!({
            "kind": "segment",
            "session": session.to_string(),
            "segment": number,
            "bytes": bytes,
            "committed": states.was_committed(session),
        }))?;
    }
    let damaged: Vec<String> = index.damaged().iter().map(ToString::to_string).collect();
    let done = if damaged.is_empty() { Done::Whole } else { Done::Damaged };
    let packs = index.packs().len();
    lines.json(&json!({ "kind": "index", "segments": segments.len(), "packs": packs, "damaged": damaged }))?;
    Ok(done)
}

fn rows(repository: &Repository, prefix: &str, lines: &mut Lines) -> Result<Done> {
    let (segments, index) = all_segments(repository)?;
    let mut sessions: Vec<SnapshotId> = segments.iter().map(|(session, ..)| *session).collect();
    sessions.dedup();
    sessions.retain(|session| session.to_string().starts_with(prefix));
    let session = only("index segment", prefix, sessions)?;
    for (_, number, _) in segments.iter().filter(|(owner, ..)| *owner == session) {
        index.each_row(&**repository.store(), &session, *number, &mut |id, at| {
            let mut row = place("row", id, &at.pack, &at.place);
            row.insert("session", json!(session.to_string()));
            row.insert("segment", json!(number));
            lines.json(&row)
        })?;
    }
    match index.damaged() {
        [] => Ok(Done::Whole),
        damaged => {
            damaged.iter().for_each(|error| super::output::complain(&error.to_string()));
            Ok(Done::Damaged)
        }
    }
}

/// The chunk that is meant; one that is not given in full is looked for in the index.
fn chunk_id(repository: &Repository, prefix: &str) -> Result<ChunkId> {
    if let Some(id) = ChunkId::from_hex(prefix) {
        return Ok(id);
    }
    let (segments, index) = all_segments(repository)?;
    let mut found = Vec::new();
    for (session, number, _) in segments {
        index.each_row(&**repository.store(), &session, number, &mut |id, _| {
            if id.to_string().starts_with(prefix) && !found.contains(id) {
                found.push(*id);
            }
            Ok(())
        })?;
    }
    only("chunk", prefix, found)
}

fn chunk(context: &Context, prefix: &str, hex: bool, lines: &mut Lines) -> Result<Done> {
    let repository = context.repository()?;
    let id = chunk_id(&repository, prefix)?;
    let reader = repository.chunk_reader()?;
    let places = reader.locate(&id)?;
    if places.is_empty() {
        return Err(Error::not_found(format!("chunk {id}"), "No pack that a snapshot names holds it"));
    }
    for at in places {
        let class = PackReader::open(&**repository.store(), repository.keys(), at.pack)?.class();
        let mut line = place("chunk", &id, &at.pack, &at.place);
        line.insert("class", json!(class_name(class)));
        if hex {
            line.insert("hex", json!(hex::encode(reader.read_at(&id, class, &at)?)));
        }
        lines.json(&line)?;
    }
    Ok(Done::Whole)
}

fn tree(context: &Context, prefix: &str, lines: &mut Lines) -> Result<Done> {
    let repository = context.repository()?;
    let manifests = repository.snapshots()?.snapshots;
    let runs = manifests.iter().flat_map(Manifest::roots).filter_map(|root| match root {
        // One value and no tree.
        Root::Metadata { .. } => None,
        Root::Run { run, .. } => Some(run),
    });
    let found: BTreeMap<ChunkId, u8> =
        runs.filter(|run| run.root.to_string().starts_with(prefix)).map(|run| (run.root, run.level)).collect();
    let (root, level) = only("run", prefix, found.into_iter().collect())?;
    let reader = repository.chunk_reader()?;
    let mut nodes = vec![(level, root)];
    let mut seen = HashSet::new();
    while let Some((level, id)) = nodes.pop() {
        if !seen.insert(id) {
            continue;
        }
        let plain = reader.read(&id, Class::Tree)?;
        if level == 0 {
            let entries = leaf::decode(&plain).map_err(|error| error.of(format!("leaf {id}")))?;
            lines.json(&json!({
                "kind": "leaf",
                "level": level,
                "chunk": id.to_string(),
                "plain_bytes": plain.len(),
                "first": entries.first().map(|entry| entry.digest.to_string()),
                "entries": entries.len(),
                "tombstones": entries.iter().filter(|entry| entry.live.is_none()).count(),
                "value_chunks": leaf::chunk_ids(&entries).len(),
            }))?;
            continue;
        }
        let found = node::decode(level, &plain).map_err(|error| error.of(format!("branch node {id}")))?;
        lines.json(&json!({
            "kind": "branch",
            "level": level,
            "chunk": id.to_string(),
            "plain_bytes": plain.len(),
            "first": found.children.first().map(|child| child.first.to_string()),
            "entries": found.children.iter().map(|child| child.entries).sum::<u64>(),
            "tombstones": found.children.iter().map(|child| child.tombstones).sum::<u64>(),
            "children": found.children.len(),
        }))?;
        nodes.extend(found.children.iter().rev().map(|child| (level - 1, child.id)));
    }
    Ok(Done::Whole)
}
