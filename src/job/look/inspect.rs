//! Looks at single objects of a repository.

use super::snapshots::show;
use crate::error::{Error, Result};
use crate::format::config::{ChunkSizes, Compression};
use crate::format::header::{Class, Suite};
use crate::format::pack::{ChunkPlace, Packing};
use crate::format::{ChunkId, PackId, SnapshotId, leaf, names, node};
use crate::index::Index;
use crate::job::{Done, SnapshotDetails, text};
use crate::pack::{PackReader, read_directory, stored_packs};
use crate::repository::{Repository, Root, SnapshotFilter};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};

/// What [`inspect`] looks at.
#[derive(Clone, Debug)]
pub struct InspectOptions(What);

#[derive(Clone, Debug)]
enum What {
    Config,
    Snapshot(String, SnapshotFilter),
    Pack(String),
    Index(Option<String>),
    Chunk(String, bool),
    Run(String),
}

impl InspectOptions {
    /// The parameters that were set when the repository was made.
    pub fn config() -> Self {
        InspectOptions(What::Config)
    }

    /// A snapshot; one that is not named by its id is looked for among those that the filter admits.
    pub fn snapshot(snapshot: &str, filter: SnapshotFilter) -> Self {
        InspectOptions(What::Snapshot(snapshot.to_string(), filter))
    }

    /// A pack, by its id or the beginning of it, and the chunks in it.
    ///
    /// # Errors
    ///
    /// If that is no id.
    pub fn pack(id: &str) -> Result<Self> {
        beginning("pack", id).map(What::Pack).map(InspectOptions)
    }

    /// All index segments; or the rows of the segments of a session, by its id or the beginning of it.
    ///
    /// # Errors
    ///
    /// If that is no id.
    pub fn index(session: Option<&str>) -> Result<Self> {
        session.map(|id| beginning("session", id)).transpose().map(What::Index).map(InspectOptions)
    }

    /// The places where a chunk is stored, by its id or the beginning of it; with its plain bytes if `hex`.
    ///
    /// # Errors
    ///
    /// If that is no id.
    pub fn chunk(id: &str, hex: bool) -> Result<Self> {
        beginning("chunk", id).map(|id| InspectOptions(What::Chunk(id, hex)))
    }

    /// The nodes of a run, by the id of its root or the beginning of it.
    ///
    /// # Errors
    ///
    /// If that is no id.
    pub fn run(root: &str) -> Result<Self> {
        beginning("run", root).map(What::Run).map(InspectOptions)
    }
}

/// A line of what [`inspect`] finds.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum InspectedObject {
    /// The parameters of the repository.
    Config(ConfigReport),
    /// A snapshot.
    Snapshot(Box<SnapshotDetails>),
    /// A pack.
    Pack(PackReport),
    /// A place in a pack.
    Place(PlaceReport),
    /// An index segment.
    Segment(SegmentReport),
    /// The whole index.
    Index(IndexSummary),
    /// A node of a run.
    Node(NodeReport),
}

/// The parameters that were set when a repository was made.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ConfigReport {
    /// The number of the chunker.
    pub chunker: u8,
    /// `aes256-gcm` or `xchacha20-poly1305`.
    pub cipher: &'static str,
    /// `none`, `lz4` or `zstd:LEVEL`.
    pub compression: String,
    /// When the repository was made.
    pub created: String,
    /// Where it is.
    pub location: String,
    /// How large packs are made.
    pub pack_bytes: u64,
    /// Its id.
    pub repository: String,
    /// Whether it was made with `--shared-chunking-with`.
    pub shared_chunking: bool,
    /// How large chunks of streams are.
    pub stream_chunks: ChunkSizesReport,
    /// How large chunks of values are.
    pub value_chunks: ChunkSizesReport,
}

/// How large chunks are.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ChunkSizesReport {
    /// The size that they have on average.
    pub avg_bytes: u64,
    /// The size of the largest.
    pub max_bytes: u64,
    /// The size of the smallest, but for the last of a stream.
    pub min_bytes: u64,
}

impl From<&ChunkSizes> for ChunkSizesReport {
    fn from(sizes: &ChunkSizes) -> Self {
        let [avg_bytes, max_bytes, min_bytes] = [sizes.avg, sizes.max, sizes.min].map(u64::from);
        ChunkSizesReport { avg_bytes, max_bytes, min_bytes }
    }
}

/// A pack.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PackReport {
    /// Its size.
    pub bytes: u64,
    /// How many chunks are in it.
    pub chunks: usize,
    /// The class of its chunks: `tree` or `data`.
    pub class: &'static str,
    /// `pack`.
    pub kind: &'static str,
    /// Its id.
    pub pack: String,
}

/// A place where a chunk is stored.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PlaceReport {
    /// The id of the chunk.
    pub chunk: String,
    /// The class of the chunk, `tree` or `data`; only `inspect chunk` says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<&'static str>,
    /// The plain bytes of the chunk in hexadecimal, with `--hex`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hex: Option<String>,
    /// `chunk`, or `row` for a row of the index.
    pub kind: &'static str,
    /// Where in the pack it begins, in bytes.
    pub offset: u64,
    /// The id of the pack.
    pub pack: String,
    /// How it is compressed: `stored` (not at all), `lz4` or `zstd`.
    pub packing: &'static str,
    /// The size of the chunk.
    pub plain_bytes: u64,
    /// The number of the index segment that the row is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment: Option<u32>,
    /// The id of the session that the segment belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Its size as it is stored.
    pub stored_bytes: u64,
}

/// An index segment.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SegmentReport {
    /// Its size.
    pub bytes: u64,
    /// Whether its session committed: only segments of such sessions are used.
    pub committed: bool,
    /// `segment`.
    pub kind: &'static str,
    /// Its number.
    pub segment: u32,
    /// The id of the session that it belongs to.
    pub session: String,
}

/// All index segments together.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct IndexSummary {
    /// Segments that can't be read, for people.
    pub damaged: Vec<String>,
    /// `index`.
    pub kind: &'static str,
    /// How many packs have rows in them.
    pub packs: usize,
    /// How many segments there are.
    pub segments: usize,
}

/// A node of a run.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct NodeReport {
    /// How many nodes are below a branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub children: Option<usize>,
    /// The id of its chunk.
    pub chunk: String,
    /// How many entries it has, or all leaves below it.
    pub entries: u64,
    /// The digest of the first; `null` if there is none.
    pub first: Option<String>,
    /// `branch` or `leaf`.
    pub kind: &'static str,
    /// How high above the leaves it is; 0 for a leaf.
    pub level: u8,
    /// Its size.
    pub plain_bytes: usize,
    /// How many of the entries are tombstones.
    pub tombstones: u64,
    /// How many chunks of values the entries of a leaf refer to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_chunks: Option<usize>,
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

/// Takes what is found, line by line.
type Each<'a> = dyn FnMut(InspectedObject) -> Result<()> + 'a;

/// Looks at an object of a repository, and hands what is found to `each`, line by line.
///
/// # Errors
///
/// If there is no such object, if it is damaged, if the store can't be read, or if `each` fails.
pub fn inspect(
    repository: &Repository,
    options: &InspectOptions,
    mut each: impl FnMut(InspectedObject) -> Result<()>,
) -> Result<Done> {
    match &options.0 {
        What::Config => each(InspectedObject::Config(config(repository)))?,
        What::Snapshot(spec, filter) => {
            let details = show(&repository.snapshot_among(spec, filter)?)?;
            each(InspectedObject::Snapshot(Box::new(details)))?;
        }
        What::Pack(prefix) => pack(repository, prefix, &mut each)?,
        What::Index(Some(prefix)) => return rows(repository, prefix, &mut each),
        What::Index(None) => return segments(repository, &mut each),
        What::Chunk(prefix, hex) => chunk(repository, prefix, *hex, &mut each)?,
        What::Run(prefix) => tree(repository, prefix, &mut each)?,
    }
    Ok(Done::Whole)
}

fn config(repository: &Repository) -> ConfigReport {
    let parameters = repository.parameters();
    ConfigReport {
        chunker: parameters.chunker,
        cipher: match parameters.suite {
            Suite::Aes256Gcm => "aes256-gcm",
            Suite::XChaCha20Poly1305 => "xchacha20-poly1305",
        },
        compression: match repository.compression() {
            Compression::None => "none".to_string(),
            Compression::Lz4 => "lz4".to_string(),
            Compression::Zstd(level) => format!("zstd:{level}"),
        },
        created: text::rfc3339(repository.created().0),
        location: repository.store().location().to_string(),
        pack_bytes: parameters.pack_bytes.into(),
        repository: repository.id().to_string(),
        shared_chunking: repository.has_shared_chunking(),
        stream_chunks: (&parameters.stream_chunks).into(),
        value_chunks: (&parameters.value_chunks).into(),
    }
}

fn class_name(class: Class) -> &'static str {
    match class {
        Class::Tree => "tree",
        Class::Data => "data",
        Class::Index => "index",
        Class::Meta => "meta",
    }
}

/// A place in a pack.
fn place(kind: &'static str, id: &ChunkId, pack: &PackId, place: &ChunkPlace) -> PlaceReport {
    PlaceReport {
        chunk: id.to_string(),
        class: None,
        hex: None,
        kind,
        offset: place.offset.into(),
        pack: pack.to_string(),
        packing: match place.packing {
            Packing::Stored => "stored",
            Packing::Lz4 => "lz4",
            Packing::Zstd => "zstd",
        },
        plain_bytes: place.plain.into(),
        segment: None,
        session: None,
        stored_bytes: place.stored.into(),
    }
}

fn pack(repository: &Repository, prefix: &str, each: &mut Each<'_>) -> Result<()> {
    let store = repository.store();
    let found = stored_packs(&**store)?.into_iter().filter(|(id, _)| id.to_string().starts_with(prefix)).collect();
    let (id, bytes) = only("pack", prefix, found)?;
    let (reader, rows) = read_directory(&**store, repository.keys(), id, bytes)?;
    let class = class_name(reader.class());
    each(InspectedObject::Pack(PackReport { bytes, chunks: rows.len(), class, kind: "pack", pack: id.to_string() }))?;
    rows.iter().try_for_each(|row| each(InspectedObject::Place(place("chunk", &row.id, &id, &row.place))))
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

fn segments(repository: &Repository, each: &mut Each<'_>) -> Result<Done> {
    let states = crate::objects::list_states(&**repository.store(), repository.keys())?;
    let (segments, index) = all_segments(repository)?;
    for &(session, segment, bytes) in &segments {
        let committed = states.was_committed(&session);
        let session = session.to_string();
        each(InspectedObject::Segment(SegmentReport { bytes, committed, kind: "segment", segment, session }))?;
    }
    let damaged: Vec<String> = index.damaged().iter().map(ToString::to_string).collect();
    let done = if damaged.is_empty() { Done::Whole } else { Done::Damaged };
    let (packs, segments) = (index.packs().len(), segments.len());
    each(InspectedObject::Index(IndexSummary { damaged, kind: "index", packs, segments }))?;
    Ok(done)
}

fn rows(repository: &Repository, prefix: &str, each: &mut Each<'_>) -> Result<Done> {
    let (segments, index) = all_segments(repository)?;
    let mut sessions: Vec<SnapshotId> = segments.iter().map(|(session, ..)| *session).collect();
    sessions.dedup();
    sessions.retain(|session| session.to_string().starts_with(prefix));
    let session = only("index segment", prefix, sessions)?;
    for (_, number, _) in segments.iter().filter(|(owner, ..)| *owner == session) {
        index.each_row(&**repository.store(), &session, *number, &mut |id, at| {
            let place = place("row", id, &at.pack, &at.place);
            let (segment, session) = (Some(*number), Some(session.to_string()));
            each(InspectedObject::Place(PlaceReport { segment, session, ..place }))
        })?;
    }
    index.damaged().iter().for_each(|error| repository.control().warn(error.to_string()));
    Ok(if index.damaged().is_empty() { Done::Whole } else { Done::Damaged })
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

fn chunk(repository: &Repository, prefix: &str, hex: bool, each: &mut Each<'_>) -> Result<()> {
    let id = chunk_id(repository, prefix)?;
    let reader = repository.chunk_reader()?;
    let places = reader.locate(&id)?;
    if places.is_empty() {
        return Err(Error::not_found(format!("chunk {id}"), "No pack that a snapshot names holds it"));
    }
    for at in places {
        let class = PackReader::open(&**repository.store(), repository.keys(), at.pack)?.class();
        let hex = if hex { Some(hex::encode(reader.read_at(&id, class, &at)?)) } else { None };
        let place = place("chunk", &id, &at.pack, &at.place);
        each(InspectedObject::Place(PlaceReport { class: Some(class_name(class)), hex, ..place }))?;
    }
    Ok(())
}

fn tree(repository: &Repository, prefix: &str, each: &mut Each<'_>) -> Result<()> {
    let snapshots = repository.snapshots()?.snapshots;
    let runs = snapshots.iter().flat_map(|snapshot| snapshot.manifest().roots()).filter_map(|root| match root {
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
            each(InspectedObject::Node(NodeReport {
                children: None,
                chunk: id.to_string(),
                entries: entries.len() as u64,
                first: entries.first().map(|entry| entry.digest.to_string()),
                kind: "leaf",
                level,
                plain_bytes: plain.len(),
                tombstones: entries.iter().filter(|entry| entry.live.is_none()).count() as u64,
                value_chunks: Some(leaf::chunk_ids(&entries).len()),
            }))?;
            continue;
        }
        let found = node::decode(level, &plain).map_err(|error| error.of(format!("branch node {id}")))?;
        each(InspectedObject::Node(NodeReport {
            children: Some(found.children.len()),
            chunk: id.to_string(),
            entries: found.children.iter().map(|child| child.entries).sum(),
            first: found.children.first().map(|child| child.first.to_string()),
            kind: "branch",
            level,
            plain_bytes: plain.len(),
            tombstones: found.children.iter().map(|child| child.tombstones).sum(),
            value_chunks: None,
        }))?;
        nodes.extend(found.children.iter().rev().map(|child| (level - 1, child.id)));
    }
    Ok(())
}
