//! `inspect`: looks at single objects of the repository.

use super::context::{Context, Done, Lines};
use crate::error::{Error, Result};
use crate::format::header::Class;
use crate::format::{ChunkId, leaf, names, node};
use crate::pack::{PackReader, read_directory};
use crate::repository::Repository;
use clap::Subcommand;
use serde_json::json;
use std::collections::HashSet;

/// Look at single objects of the repository, in JSON
///
/// Example: aerolith inspect pack 3f2a
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// What was fixed when the repository was made
    Config,
    /// The chunks of a pack
    Pack {
        /// The pack's id or its beginning
        id: String,
    },
    /// The index segments
    Index {
        /// Only those of this session
        id: Option<String>,
    },
    /// Where a chunk stands
    Chunk {
        /// The chunk's id
        id: String,
        /// Print its plain bytes in hexadecimal
        #[arg(long)]
        hex: bool,
    },
    /// The nodes of a run
    Run {
        /// The id of its root, as `show` prints it
        id: String,
    },
    /// The manifest of a snapshot
    Snapshot {
        /// An id or its beginning, latest, latest~N, or @TIME
        id: String,
    },
}

fn chunk_id(text: &str) -> Result<ChunkId> {
    ChunkId::from_hex(text).ok_or_else(|| Error::invalid(format!("{text:?} is no chunk: give 64 hexadecimal digits")))
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    let mut lines = Lines::new();
    match args.what {
        What::Snapshot { id } => {
            drop(lines);
            return super::show::run(context, super::show::Args { snapshot: id });
        }
        What::Config => {
            let repository = context.repository()?;
            lines.json(&json!({
                "repository": repository.id().to_string(),
                "location": repository.store().location(),
                "parameters": repository.parameters(),
            }))?;
        }
        What::Pack { id } => pack(&context.repository()?, &id, &mut lines)?,
        What::Index { id } => {
            let repository = context.repository()?;
            for listed in repository.store().list(names::INDEX)? {
                let Some((session, number)) = names::parse_index_segment(&listed.key) else { continue };
                let session = session.to_string();
                if id.as_ref().is_none_or(|id| session.starts_with(&id.to_ascii_lowercase())) {
                    lines.json(&json!({ "session": session, "segment": number, "bytes": listed.size }))?;
                }
            }
            let index = repository.index()?;
            let damaged: Vec<String> = index.damaged().iter().map(ToString::to_string).collect();
            lines.json(&json!({ "believed_packs": index.packs().len(), "damaged": damaged }))?;
        }
        What::Chunk { id, hex } => chunk(&context.repository()?, &chunk_id(&id)?, hex, &mut lines)?,
        What::Run { id } => tree(&context.repository()?, &chunk_id(&id)?, &mut lines)?,
    }
    lines.finish()?;
    Ok(Done::Whole)
}

fn pack(repository: &Repository, id: &str, lines: &mut Lines) -> Result<()> {
    let (store, prefix) = (repository.store(), id.to_ascii_lowercase());
    let listed = store.list(names::PACKS)?;
    let packs = listed.iter().filter_map(|object| Some((names::parse_pack(&object.key)?, object.size)));
    let mut found = packs.filter(|(id, _)| id.to_string().starts_with(&prefix));
    let (id, size) = match (found.next(), found.count()) {
        (Some(pack), 0) => pack,
        (Some(_), more) => return Err(Error::invalid(format!("{} packs begin with {id:?}", more + 1))),
        (None, _) => return Err(Error::not_found(format!("pack {id}"), "")),
    };
    let (reader, rows) = read_directory(&**store, repository.keys(), id, size)?;
    let class = format!("{:?}", reader.class()).to_lowercase();
    lines.json(&json!({ "pack": id.to_string(), "bytes": size, "class": class, "chunks": rows.len() }))?;
    for row in rows {
        let place = row.place;
        lines.json(&json!({
            "chunk": row.id.to_string(),
            "offset": place.offset,
            "stored": place.stored,
            "plain": place.plain,
            "packing": format!("{:?}", place.packing).to_lowercase(),
        }))?;
    }
    Ok(())
}

fn chunk(repository: &Repository, id: &ChunkId, hex: bool, lines: &mut Lines) -> Result<()> {
    let reader = repository.chunk_reader()?;
    let places = reader.locate(id)?;
    if places.is_empty() {
        return Err(Error::not_found(format!("chunk {id}"), "No pack holds it"));
    }
    for at in places {
        let class = PackReader::open(&**repository.store(), repository.keys(), at.pack)?.class();
        let plain = if hex { Some(hex::encode(reader.read_at(id, class, &at)?)) } else { None };
        lines.json(&json!({
            "chunk": id.to_string(),
            "pack": at.pack.to_string(),
            "class": format!("{class:?}").to_lowercase(),
            "offset": at.place.offset,
            "stored": at.place.stored,
            "plain": at.place.plain,
            "packing": format!("{:?}", at.place.packing).to_lowercase(),
            "hex": plain,
        }))?;
    }
    Ok(())
}

fn tree(repository: &Repository, root: &ChunkId, lines: &mut Lines) -> Result<()> {
    let manifests = repository.snapshots()?.snapshots;
    let mut runs = manifests.iter().flat_map(|manifest| &manifest.namespaces).flat_map(|namespace| &namespace.runs);
    let Some(run) = runs.find(|run| run.root == *root) else {
        return Err(Error::not_found(format!("run {root}"), "No snapshot has a run with this root"));
    };
    let reader = repository.chunk_reader()?;
    let mut nodes = vec![(run.level, run.root)];
    let mut seen = HashSet::new();
    while let Some((level, id)) = nodes.pop() {
        if !seen.insert(id) {
            continue;
        }
        let plain = reader.read(&id, Class::Tree)?;
        if level == 0 {
            let entries = leaf::decode(&plain).map_err(|error| error.of(format!("leaf {id}")))?;
            lines.json(&json!({
                "level": level,
                "chunk": id.to_string(),
                "plain": plain.len(),
                "first": entries.first().map(|entry| entry.digest.to_string()),
                "entries": entries.len(),
                "tombstones": entries.iter().filter(|entry| entry.live.is_none()).count(),
                "value_chunks": leaf::chunk_ids(&entries).len(),
            }))?;
            continue;
        }
        let found = node::decode(level, &plain).map_err(|error| error.of(format!("branch node {id}")))?;
        lines.json(&json!({
            "level": level,
            "chunk": id.to_string(),
            "plain": plain.len(),
            "first": found.children.first().map(|child| child.first.to_string()),
            "entries": found.children.iter().map(|child| child.entries).sum::<u64>(),
            "tombstones": found.children.iter().map(|child| child.tombstones).sum::<u64>(),
            "children": found.children.len(),
        }))?;
        nodes.extend(found.children.iter().rev().map(|child| (level - 1, child.id)));
    }
    Ok(())
}
