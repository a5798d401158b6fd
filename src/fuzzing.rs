//! What is fuzzed: one function for each parser of bytes that come from outside, for `tests/fuzz.rs` and `tools/fuzz`.
//! No part of the library's interface.
//!
//! Each takes any bytes and gives back whether they were accepted. It panics if a property does not hold: what was
//! accepted encodes to the same bytes where the format is canonical, else to bytes that decode to the same value.

mod seeds;

use crate::asb::AsbVersion;
use crate::asb::format::{Formatter, put_head, put_index};
use crate::chunk::{compress, decompress};
use crate::crypto::sealed;
use crate::embedded::layout;
use crate::format::config::{self, Compression, Config};
use crate::format::fold::{Fold, HistoryFold};
use crate::format::header::{HEADER_BYTES, Header, ObjectKind};
use crate::format::hold::Hold;
use crate::format::index::{SegmentDirectory, SegmentTrailer, TRAILER_PLAIN, decode_block, encode_block};
use crate::format::keyslot::{SLOT_HEADER_BYTES, SlotHeader, SlotSecret};
use crate::format::pack::{Packing, Trailer, decode_directory, encode_directory};
use crate::format::plan::CollectionPlan;
use crate::format::session::Session;
use crate::format::snapshot::Manifest;
use crate::format::tags::Tags;
use crate::format::{FoldId, HoldId, SnapshotId, TagsId, leaf, names, node, structured};
use crate::jsonl::{
    Line, line_namespace, parse_line, write_index, write_namespace, write_record, write_role, write_shown_value,
    write_udf, write_user,
};
use crate::record::batch::parse_bin_order;
use crate::record::value::decode;
use crate::record::{
    Body, Digest, Generation, KeyRef, NamespaceMetadata, ParticleType, RecordBatch, RecordMeta, VoidTime, varint,
};
use crate::repository::Manifests;
use crate::repository::SnapshotFilter;
use crate::repository::resolve::resolve;
use crate::sources::asb::{ParsedAsb, parse_asb_bytes};
use crate::store::local_path;
use serde::de::IgnoredAny;

/// One parser.
pub struct Target {
    /// Its name, and that of its file in `tools/fuzz`.
    pub name: &'static str,
    /// Takes any bytes; panics if a property does not hold, gives back whether they were accepted.
    pub run: fn(&[u8]) -> bool,
    /// Bytes that are accepted, to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// For n bytes, all that it does (encoding again and comparing included) takes at most this many times n bytes of
    /// memory …
    pub memory_factor: usize,
    /// … and this many more.
    pub memory_constant: usize,
}

const fn target(name: &'static str, run: fn(&[u8]) -> bool, seeds: fn() -> Vec<Vec<u8>>, factor: usize) -> Target {
    Target { name, run, seeds, memory_factor: factor, memory_constant: 64 << 10 }
}

/// Like [`target`], for what is decoded by `serde`, which takes up to 1 MiB for each list that it begins.
const fn lists(name: &'static str, run: fn(&[u8]) -> bool, seeds: fn() -> Vec<Vec<u8>>, factor: usize) -> Target {
    Target { name, run, seeds, memory_factor: factor, memory_constant: 4 << 20 }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "asb", run: asb, seeds: seeds::asb, memory_factor: 200, memory_constant: 1 << 20 },
    target("json_line", json_line, seeds::json_line, 80),
    target("record_body", record_body, seeds::record_body, 40),
    target("value", value, seeds::value, 400),
    target("bin_order", bin_order, seeds::bin_order, 40),
    target("leaf", leaf, seeds::leaf, 40),
    target("branch_node", branch_node, seeds::branch_node, 60),
    target("header", header, seeds::header, 8),
    target("pack_trailer", pack_trailer, seeds::pack_trailer, 8),
    target("pack_directory", pack_directory, seeds::pack_directory, 8),
    target("index_block", index_block, seeds::index_block, 8),
    target("index_directory", index_directory, seeds::index_directory, 16),
    lists("config", config, seeds::config, 40),
    target("key_slot", key_slot, seeds::key_slot, 8),
    // As for `chunk`, below.
    Target {
        name: "sealed_value",
        run: sealed_value,
        seeds: seeds::sealed_value,
        memory_factor: 8,
        memory_constant: 4 * PLAIN_LIMIT,
    },
    lists("manifest", manifest, seeds::manifest, 60),
    lists("session", session, seeds::session, 60),
    lists("plan", plan, seeds::plan, 40),
    lists("hold", hold, seeds::hold, 40),
    lists("tags", tags, seeds::tags, 60),
    lists("fold", fold, seeds::fold, 40),
    lists("history", history, seeds::history, 60),
    lists("metadata", metadata, seeds::metadata, 60),
    target("object_key", object_key, seeds::object_key, 16),
    target("snapshot_name", snapshot_name, seeds::snapshot_name, 16),
    target("store_url", store_url, seeds::store_url, 16),
    target("embedded_row", embedded_row, seeds::embedded_row, 8),
    #[cfg(feature = "cluster")]
    target("cluster_answer", cluster_answer, seeds::cluster_answer, 100),
    // The plain length may be anything up to `PLAIN_LIMIT`, whatever the compressed one.
    Target { name: "chunk", run: chunk, seeds: seeds::chunk, memory_factor: 8, memory_constant: 4 * PLAIN_LIMIT },
];

/// Splits `N` bytes off the front.
fn front<const N: usize>(bytes: &[u8]) -> Option<([u8; N], &[u8])> {
    bytes.split_first_chunk::<N>().map(|(front, rest)| (*front, rest))
}

type Row<'a> = (Digest, &'a [u8], Generation, VoidTime, &'a [u8], &'a [u8]);

fn rows(records: &RecordBatch) -> Vec<Row<'_>> {
    let row = |meta: RecordMeta<'_>| (meta.digest, meta.generation, meta.void_time);
    let rows = records.iter().map(|record| {
        let (digest, generation, void_time) = row(record.meta);
        (digest, record.meta.set, generation, void_time, record.body, record.bin_order)
    });
    rows.collect()
}

/// A file of Aerospike's text format, plain or compressed. The block size it is read in changes nothing, and records
/// that are rewritten are read as they were.
pub fn asb(bytes: &[u8]) -> bool {
    // What a few bytes decompress to is read in blocks; here, where all records are kept, it would be without bound.
    let compressed = !b"Version ".starts_with(bytes.get(..8).unwrap_or(bytes));
    let limit = 256 << 10;
    if compressed && zstd::bulk::decompress(bytes, limit).is_err() {
        return false;
    }
    let Ok(small) = parse_asb_bytes(bytes, 100) else { return false };
    let Ok(parsed) = parse_asb_bytes(bytes, 8 << 10) else { panic!("refused in larger blocks") };
    assert_eq!(rows(&small.records), rows(&parsed.records), "the block size changes the records");
    assert_eq!(small.metadata, parsed.metadata, "the block size changes the metadata");
    assert_eq!(small.faults.len(), parsed.faults.len(), "the block size changes the faults");
    drop(small);
    let ParsedAsb { namespace, records, metadata, .. } = parsed;
    let mut text = Vec::new();
    put_head(&mut text, AsbVersion::V3_2, &namespace, true);
    let mut indexes = metadata.indexes;
    indexes.retain(|index| put_index(&mut text, AsbVersion::V3_2, &namespace, index).is_ok());
    let mut formatter = Formatter::new(&namespace);
    let written: Vec<bool> = records.iter().map(|record| formatter.put_record(&mut text, &record).is_ok()).collect();
    let again = parse_asb_bytes(&text, 8 << 10).map(|parsed| {
        assert!(parsed.faults.is_empty(), "{:?}", parsed.faults);
        assert_eq!(indexes, parsed.metadata.indexes);
        parsed.records
    });
    match again {
        Ok(again) => {
            let expected = rows(&records).into_iter().zip(&written).filter(|(_, written)| **written);
            assert_eq!(expected.map(|(row, _)| row).collect::<Vec<_>>(), rows(&again));
        }
        Err(error) => panic!("{error}"),
    }
    true
}

/// A line of Aerolith's JSON.
pub fn json_line(bytes: &[u8]) -> bool {
    let short = line_namespace(bytes);
    let Ok(line) = parse_line(bytes) else { return false };
    let mut out = Vec::new();
    let namespace = match &line {
        Line::Header(_) => return true,
        Line::Record(record) => {
            let mut batch = RecordBatch::new();
            let Ok(()) = record.push_to(&mut batch) else { return true };
            let Some(view) = batch.get(0) else { panic!("a record that was pushed is not there") };
            assert!(write_record(&mut out, &record.namespace, &view).is_ok());
            &record.namespace
        }
        Line::Namespace(namespace) => {
            write_namespace(&mut out, namespace);
            namespace
        }
        Line::Index(namespace, index) => {
            write_index(&mut out, namespace, index);
            namespace
        }
        Line::Udf(namespace, udf) => {
            write_udf(&mut out, namespace, udf);
            namespace
        }
        Line::Role(namespace, role) => {
            write_role(&mut out, namespace, role);
            namespace
        }
        Line::User(namespace, user) => {
            write_user(&mut out, namespace, user);
            namespace
        }
    };
    assert_eq!(out.pop(), Some(b'\n'));
    assert_eq!(parse_line(&out).as_ref(), Ok(&line));
    let short = short.map(|short| (short.namespace, short.is_metadata));
    assert_eq!(short, Ok((Some(namespace.clone()), !matches!(line, Line::Record(_) | Line::Namespace(_)))));
    true
}

/// A record's body: canonical.
pub fn record_body(bytes: &[u8]) -> bool {
    let Ok(body) = Body::parse(bytes) else { return false };
    let mut batch = RecordBatch::new();
    let key = body.key().map(|key| KeyRef { ..key });
    let meta = RecordMeta { digest: Digest([0; 20]), set: b"", generation: Generation(1), void_time: VoidTime(0) };
    assert_eq!(batch.push(meta, key, body.bins()), Ok(()));
    assert_eq!(batch.get(0).map(|record| (record.body, record.bin_order)), Some((bytes, &[][..])));
    true
}

/// A particle after its type: what is decoded can be shown on a line, and its JSON can be read.
pub fn value(bytes: &[u8]) -> bool {
    let Some(([particle], bytes)) = front(bytes) else { return false };
    let particle = ParticleType(particle);
    let mut line = Vec::new();
    write_shown_value(&mut line, particle, bytes);
    assert!(serde_json::from_slice::<IgnoredAny>(&line).is_ok(), "{}", String::from_utf8_lossy(&line));
    let Ok(value) = decode(particle, bytes) else { return false };
    assert!(!value.to_string().contains(|c: char| c.is_control()));
    true
}

/// A bin order, after the number of bins in one byte: canonical.
pub fn bin_order(bytes: &[u8]) -> bool {
    let Some(([bins], order)) = front(bytes) else { return false };
    let Some(places) = parse_bin_order(order, usize::from(bins)) else { return false };
    let mut sorted = places.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..u16::from(bins)).collect::<Vec<_>>());
    let mut encoded = Vec::new();
    places.iter().for_each(|&place| varint::put(&mut encoded, u64::from(place)));
    assert_eq!(encoded, order);
    true
}

/// A leaf.
pub fn leaf(bytes: &[u8]) -> bool {
    let Ok(entries) = leaf::decode(bytes) else { return false };
    assert!(!entries.is_empty());
    assert!(leaf::chunk_ids(&entries).len() <= bytes.len() / 32);
    assert_eq!(leaf::decode(&leaf::encode(&entries)).as_ref(), Ok(&entries));
    true
}

/// A branch node: canonical.
pub fn branch_node(bytes: &[u8]) -> bool {
    let Some(([level], _)) = front(bytes) else { return false };
    let Ok(node) = node::decode(level, bytes) else { return false };
    assert_eq!(node::encode(&node), bytes);
    true
}

/// The header of a sealed object of the kind that a byte in front tells: canonical.
pub fn header(bytes: &[u8]) -> bool {
    let Some(([kind], bytes)) = front(bytes) else { return false };
    use ObjectKind::{Config, Fold, History, Hold, Index, Pack, Plan, Session, Snapshot, Tags};
    let kinds = [Config, Pack, Index, Session, Snapshot, Plan, Hold, Fold, History];
    let kind = kinds.get(usize::from(kind)).copied().unwrap_or(Tags);
    let Ok(header) = Header::decode(kind, bytes) else { return false };
    assert!(kind.takes(header.class));
    assert_eq!(bytes.get(..HEADER_BYTES), Some(&header.encode()[..]));
    true
}

/// A pack's trailer after the pack's size: canonical.
pub fn pack_trailer(bytes: &[u8]) -> bool {
    let Some((size, bytes)) = front(bytes) else { return false };
    let size = u64::from_le_bytes(size);
    let Ok(trailer) = Trailer::decode(bytes, size) else { return false };
    assert_eq!(trailer.encode(), bytes);
    assert!(trailer.directory + (trailer.directory_bytes() as u64) < size);
    true
}

/// A pack's directory after its own offset: canonical.
pub fn pack_directory(bytes: &[u8]) -> bool {
    let Some((directory, bytes)) = front(bytes) else { return false };
    let Ok(rows) = decode_directory(bytes, u64::from_le_bytes(directory)) else { return false };
    assert_eq!(encode_directory(&rows), bytes);
    true
}

/// A block of an index segment after the number of the segment's packs: canonical.
pub fn index_block(bytes: &[u8]) -> bool {
    let Some((packs, bytes)) = front(bytes) else { return false };
    let Ok(rows) = decode_block(bytes, u32::from_le_bytes(packs)) else { return false };
    assert_eq!(encode_block(&rows), bytes);
    true
}

/// An index segment's size, trailer and directory: canonical.
pub fn index_directory(bytes: &[u8]) -> bool {
    let Some((size, bytes)) = front(bytes) else { return false };
    let Some((plain, bytes)) = front::<TRAILER_PLAIN>(bytes) else { return false };
    let size = u64::from_le_bytes(size);
    let Ok(trailer) = SegmentTrailer::decode(&plain, size) else { return false };
    assert_eq!(trailer.encode(), plain);
    for block in 0..trailer.blocks() {
        let end = trailer.block(block).map(|(at, length)| at + length as u64);
        assert!(end.is_some_and(|end| end <= trailer.directory));
    }
    assert_eq!(trailer.block(trailer.blocks()), None);
    let Ok(directory) = SegmentDirectory::decode(bytes, &trailer) else { return false };
    assert_eq!(directory.encode(), bytes);
    true
}

/// A config's plain header and what it holds, unsealed: canonical.
pub fn config(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let Ok((version, id)) = config::decode_header(&mut rest) else { return false };
    assert_eq!(bytes.get(..bytes.len() - rest.len()), Some(&config::encode_header(version, &id)[..]));
    let Ok(decoded) = Config::decode(version, rest) else { return false };
    assert!(decoded.parameters.value_chunks.is_valid() && decoded.version() == version);
    assert!(decoded.encode().is_ok_and(|encoded| **encoded == *rest));
    true
}

/// A key slot whose secret part is not encrypted: canonical.
pub fn key_slot(bytes: &[u8]) -> bool {
    let Ok((header, sealed)) = SlotHeader::decode(bytes) else { return false };
    assert_eq!(bytes.get(..SLOT_HEADER_BYTES), Some(&header.encode()[..]));
    assert!(header.cost.is_valid());
    let Some((secret, _)) = sealed.split_last_chunk::<16>() else { panic!("a slot without a tag") };
    let Ok(opened) = SlotSecret::decode(secret) else { return false };
    assert!(opened.encode().is_ok_and(|encoded| encoded[..] == *secret));
    true
}

/// The plaintext of a sealed value, compressed or not: canonical where it is not.
pub fn sealed_value(bytes: &[u8]) -> bool {
    let Ok(value) = sealed::unpack(bytes, PLAIN_LIMIT as u32) else { return false };
    let again = sealed::pack(Compression::None, &value);
    if bytes.get(7).is_some_and(|byte| byte >> 6 == 0) {
        assert_eq!(again, bytes);
    }
    assert_eq!(sealed::unpack(&again, PLAIN_LIMIT as u32).as_ref(), Ok(&value));
    true
}

/// A manifest of the snapshot that its first bytes name: canonical.
pub fn manifest(bytes: &[u8]) -> bool {
    let Some((id, _)) = front(bytes) else { return false };
    let Ok(manifest) = Manifest::decode(SnapshotId(id), bytes) else { return false };
    assert_eq!(structured::encode(&manifest).as_deref(), Ok(bytes));
    true
}

/// A session of the id in its first bytes: canonical.
pub fn session(bytes: &[u8]) -> bool {
    let Some((id, _)) = front(bytes) else { return false };
    let Ok(session) = Session::decode(SnapshotId(id), bytes) else { return false };
    assert_eq!(structured::encode(&session).as_deref(), Ok(bytes));
    true
}

/// A plan of the session that its first bytes name: canonical.
pub fn plan(bytes: &[u8]) -> bool {
    let Some((id, _)) = front(bytes) else { return false };
    let Ok(plan) = CollectionPlan::decode(SnapshotId(id), bytes) else { return false };
    assert_eq!(structured::encode(&plan).as_deref(), Ok(bytes));
    true
}

/// A hold of the id and on the snapshot that its first bytes name: canonical.
pub fn hold(bytes: &[u8]) -> bool {
    let Some((id, rest)) = front(bytes) else { return false };
    let Some((snapshot, _)) = front(rest) else { return false };
    let Ok(hold) = Hold::decode(SnapshotId(snapshot), HoldId(id), bytes) else { return false };
    assert_eq!(structured::encode(&hold).as_deref(), Ok(bytes));
    true
}

/// Changes of labels, of the id and of the snapshot that its first bytes name: canonical.
pub fn tags(bytes: &[u8]) -> bool {
    let Some((id, rest)) = front(bytes) else { return false };
    let Some((snapshot, _)) = front(rest) else { return false };
    let Ok(tags) = Tags::decode(SnapshotId(snapshot), TagsId(id), bytes) else { return false };
    assert_eq!(structured::encode(&tags).as_deref(), Ok(bytes));
    true
}

/// Folded names, of the fold that its first bytes name: canonical.
pub fn fold(bytes: &[u8]) -> bool {
    let Some((id, _)) = front(bytes) else { return false };
    let Ok(fold) = Fold::decode(FoldId(id), bytes) else { return false };
    assert_eq!(structured::encode(&fold).as_deref(), Ok(bytes));
    true
}

/// A history of folded sessions, of the id that its first bytes name: canonical.
pub fn history(bytes: &[u8]) -> bool {
    let Some((id, _)) = front(bytes) else { return false };
    let Ok(history) = HistoryFold::decode(FoldId(id), bytes) else { return false };
    assert_eq!(structured::encode(&history).as_deref(), Ok(bytes));
    true
}

/// What a cluster's node answers: the first byte says to what.
#[cfg(feature = "cluster")]
pub fn cluster_answer(bytes: &[u8]) -> bool {
    use crate::aerospike::topology;
    use crate::aerospike::wire::{WireError, admin, batch, info, login, query};
    let Some((kind, answer)) = bytes.split_first() else { return false };
    match kind % 9 {
        0 => query::items(answer, |_| Ok::<_, WireError>(())).is_ok(),
        1 => {
            let identity = |item: batch::BatchItem<'_, '_>| {
                if let batch::BatchItem::Row { bins, .. } = item {
                    batch::identity(bins);
                }
                Ok::<_, WireError>(())
            };
            batch::items(answer, identity).is_ok()
        }
        2 => info::InfoReply::parse(answer).get("node").is_ok(),
        3 => topology::peers(answer).is_ok(),
        4 => topology::replicas(answer).is_ok(),
        5 => login::reply(answer).is_ok(),
        6 => admin::users(answer, &mut Vec::new()).is_ok(),
        7 => admin::roles(answer, &mut Vec::new()).is_ok(),
        _ => crate::aerospike::connection::secret_agent::secret(answer).is_ok(),
    }
}

/// A namespace's metadata: canonical.
pub fn metadata(bytes: &[u8]) -> bool {
    let Ok(metadata) = structured::decode::<NamespaceMetadata>("the metadata", bytes) else { return false };
    assert_eq!(structured::encode(&metadata).as_deref(), Ok(bytes));
    true
}

/// An object's key in the store: canonical.
pub fn object_key(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let made = [
        names::parse_key(text).map(|id| names::key(&id)),
        names::parse_pack(text).map(|id| names::pack(&id)),
        names::parse_index_segment(text).map(|(session, n)| names::index_segment(&session, n)),
        names::parse_session(text).map(|id| names::session(&id)),
        names::parse_snapshot(text).map(|id| names::snapshot(&id)),
        names::parse_plan(text).map(|id| names::plan(&id)),
        names::parse_hold(text).map(|(snapshot, id)| names::hold(&snapshot, &id)),
        names::parse_tags(text).map(|(snapshot, id)| names::tags(&snapshot, &id)),
        names::parse_fold(text).map(|id| names::fold(&id)),
        names::parse_history(text).map(|id| names::history(&id)),
    ];
    let mut made = made.into_iter().flatten();
    let Some(name) = made.next() else { return false };
    assert_eq!((name.as_str(), made.next()), (text, None), "one kind, one spelling");
    true
}

/// A snapshot's name as people give it, among three snapshots.
pub fn snapshot_name(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mut list = Manifests { snapshots: seeds::manifests(), ..Manifests::default() };
    let all = SnapshotFilter::ALL;
    let Ok(found) = resolve(&mut list, text, &all) else { return false };
    assert_eq!(resolve(&mut list, &found.id.to_string(), &all).map(|found| found.id).ok(), Some(found.id));
    let by_id = !text.starts_with('@') && !text.starts_with("latest");
    assert!(!by_id || found.id.to_string().starts_with(&text.to_ascii_lowercase()));
    true
}

/// A store's URL; what is refused is not repeated beyond its scheme, since it may hold a password.
pub fn store_url(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let path = match local_path(text) {
        Ok(path) => path,
        Err(error) => {
            let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
            assert!(scheme.contains("hunter2") || !error.to_string().contains("hunter2"), "{error}");
            return false;
        }
    };
    let Some(path) = path.to_str() else { panic!("a path that is no text, of a text") };
    assert!(!path.is_empty() && text.ends_with(path));
    if !path.starts_with("//") {
        let again = local_path(&format!("file:{path}")).ok().and_then(|path| path.to_str().map(str::to_owned));
        assert_eq!(again.as_deref(), Some(path));
    }
    true
}

/// A row of the embedded store: a head of 20 bytes and a body with its bin order: canonical.
pub fn embedded_row(bytes: &[u8]) -> bool {
    let Some((head, row)) = front::<{ layout::HEAD_BYTES }>(bytes) else { return false };
    assert_eq!(layout::Head::decode(&head).encode(), head);
    let Some((body, order)) = layout::decode_body(row) else { return false };
    let mut again = Vec::new();
    layout::encode_body(&mut again, body, order);
    assert_eq!(again, row);
    true
}

/// What is compressed has no more plain bytes than this.
const PLAIN_LIMIT: usize = 1 << 18;

/// A compressed chunk after its compression (one byte) and plain length (four).
pub fn chunk(bytes: &[u8]) -> bool {
    let Some(([way], rest)) = front(bytes) else { return false };
    let Some((length, packed)) = front(rest) else { return false };
    let length = u32::from_le_bytes(length) % (PLAIN_LIMIT as u32 + 1);
    let (packing, compression) = match way {
        0 => (Packing::Stored, Compression::None),
        1 => (Packing::Lz4, Compression::Lz4),
        _ => (Packing::Zstd, Compression::Zstd(1)),
    };
    let Ok(plain) = decompress(packing, packed, length) else { return false };
    assert_eq!(plain.len(), length as usize);
    let mut again = Vec::new();
    let packing = compress(compression, &plain, &mut again);
    assert_eq!(decompress(packing, &again, length).as_ref(), Ok(&plain));
    true
}
