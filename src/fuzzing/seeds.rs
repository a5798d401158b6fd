//! Bytes to begin with: what the library itself writes.

use crate::asb::AsbVersion;
use crate::asb::format::{Formatter, put_head, put_index, put_udf};
use crate::chunk::compress;
use crate::crypto::sealed;
use crate::embedded::layout;
use crate::format::config::{self, ChunkSizes, Compression, Config, ContentKeys, Parameters};
use crate::format::evidence::{Evidence, NodeEvidence};
use crate::format::fold::{Fold, FoldedName, FoldedOutcome, FoldedSession, FoldedStatus, HistoryFold};
use crate::format::header::{Class, Header, ObjectKind, Suite};
use crate::format::hold::Hold;
use crate::format::index::{IndexRow, SegmentDirectory, SegmentTrailer, TRAILER_BYTES, encode_block};
use crate::format::keyslot::{KdfCost, SlotHeader, SlotSecret};
use crate::format::leaf::{self, Entry, LiveEntry, RecordHash, ValuePlace};
use crate::format::node::{self, Child, Node};
use crate::format::pack::{ChunkPlace, DirectoryRow, Packing, Trailer, encode_directory};
use crate::format::plan::CollectionPlan;
use crate::format::search::{DeleteSearch, WalkReason};
use crate::format::session::{BadPlace, Journal, OpenNamespace, Outcome, Process, Session, SessionKind, Status};
use crate::format::snapshot::{BackupKind, Counts, Manifest, NamespaceManifest, Origin, RunRef, Salvage, Unread};
use crate::format::tags::{LabelChange, Tags};
use crate::format::{ChunkId, FoldId, HoldId, KeyId, PackId, RepositoryId, SnapshotId, TagsId, names, structured};
use crate::jsonl::{write_header, write_index, write_namespace, write_record, write_role, write_udf, write_user};
use crate::record::value::MAX_DEPTH;
use crate::record::{
    BinRef, Digest, Fact, Generation, KeyRef, NamespaceMetadata, ParticleType, PartitionId, PartitionSet, Privilege,
    RecordBatch, RecordMeta, Role, SecondaryIndex, Timestamp, UdfModule, User, VoidTime,
};
use std::sync::Arc;

const NAMESPACE: &str = "test";

/// A digest; they ascend in key order with `n`.
fn digest(n: u8) -> Digest {
    let mut bytes = [n ^ 0x5a; 20];
    bytes[..3].copy_from_slice(&[0, 0, n]);
    Digest(bytes)
}

fn chunk_id(n: u8) -> ChunkId {
    ChunkId([n; 32])
}

fn batch() -> RecordBatch {
    let mut batch = RecordBatch::new();
    let bin = |name: &'static [u8], particle, bytes: &'static [u8]| BinRef { name, particle, bytes };
    let bins = [
        bin(b"name", ParticleType::STRING, b"Ada \xff"),
        bin(b"age", ParticleType::INTEGER, &[0, 0, 0, 0, 0, 0, 0, 36]),
        bin(b"share", ParticleType::DOUBLE, &[0x3f, 0xe0, 0, 0, 0, 0, 0, 0]),
        bin(b"none", ParticleType::DOUBLE, &[0x7f, 0xf8, 0, 0, 0, 0, 0, 0]),
        bin(b"on", ParticleType::BOOL, &[1]),
        bin(b"list", ParticleType::LIST, &[0x92, 1, 2]),
        bin(b"map", ParticleType::MAP, &[0x81, 1, 2]),
        bin(b"at", ParticleType::GEOJSON, b"\0\0\0{\"type\":\"Point\"}"),
        bin(b"raw \\", ParticleType::BLOB, b"a\nb\0c"),
        bin(b"gone", ParticleType::NULL, b""),
    ];
    let keys = [
        None,
        Some(KeyRef { particle: ParticleType::STRING, bytes: b"user\n1" }),
        Some(KeyRef { particle: ParticleType::INTEGER, bytes: &[0xff; 8] }),
        Some(KeyRef { particle: ParticleType::BLOB, bytes: &[1, 2, 3] }),
    ];
    for n in 0..8u8 {
        let set: &[u8] = if n.is_multiple_of(2) { b"users" } else { b"" };
        let (generation, void_time) = (Generation(u32::from(n) + 1), VoidTime(u32::from(n % 3) * 500_000_000));
        let meta = RecordMeta { digest: digest(n), set, generation, void_time };
        let key = keys.get(usize::from(n) % keys.len()).copied().flatten();
        let some = bins.get(usize::from(n % 4)..).unwrap_or_default();
        let pushed = batch.push(meta, key, some.get(..usize::from(n).min(some.len())).unwrap_or_default());
        assert!(pushed.is_ok());
    }
    batch
}

fn index() -> SecondaryIndex {
    let [set, name, bin] = [&b"users"[..], b"by_age", b"age"].map(<[u8]>::to_vec);
    SecondaryIndex { set, name, kind: b'N', bin, value: b'N', context: vec![0x91, 1], ..SecondaryIndex::default() }
}

fn udf() -> UdfModule {
    UdfModule { kind: b'L', name: b"sum.lua".to_vec(), content: b"return 1\n".to_vec() }
}

/// A value that can be encoded, encoded.
fn encoded<T: serde::Serialize>(value: &T) -> Vec<u8> {
    structured::encode(value).unwrap_or_default()
}

pub(super) fn asb() -> Vec<Vec<u8>> {
    let mut head = Vec::new();
    put_head(&mut head, AsbVersion::V3_2, NAMESPACE.as_bytes(), true);
    let mut whole = head.clone();
    let over_expression =
        SecondaryIndex { bin: Vec::new(), context: Vec::new(), expression: b"\x93".to_vec(), ..index() };
    for index in [index(), over_expression] {
        assert!(put_index(&mut whole, AsbVersion::V3_2, NAMESPACE.as_bytes(), &index).is_ok());
    }
    assert!(put_udf(&mut whole, &udf()).is_ok());
    let batch = batch();
    let mut formatter = Formatter::new(NAMESPACE.as_bytes());
    for record in batch.iter() {
        assert!(formatter.put_record(&mut whole, &record).is_ok());
    }
    let mut packed = Vec::new();
    assert_eq!(compress(Compression::Zstd(1), &whole, &mut packed), Packing::Zstd);
    vec![head, whole, packed]
}

pub(super) fn json_line() -> Vec<Vec<u8>> {
    let mut text = Vec::new();
    write_header(&mut text);
    write_namespace(&mut text, NAMESPACE);
    write_index(&mut text, NAMESPACE, &index());
    write_udf(&mut text, NAMESPACE, &udf());
    write_role(&mut text, NAMESPACE, &role());
    write_user(&mut text, NAMESPACE, &user());
    batch().iter().for_each(|record| assert!(write_record(&mut text, NAMESPACE, &record).is_ok()));
    text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
}

pub(super) fn record_body() -> Vec<Vec<u8>> {
    batch().iter().map(|record| record.body.to_vec()).collect()
}

pub(super) fn value() -> Vec<Vec<u8>> {
    let list: &[u8] =
        b"\x9c\xc7\0\x01\x01\xe0\xcd\xff\xff\xd3\x80\0\0\0\0\0\0\0\xa2\x03a\xc4\x02\x04b\xd9\x03\x17{}\xc0\xc3\
        \xcb\x3f\xf8\0\0\0\0\0\0\xd4\xff\0";
    let map: &[u8] =
        b"\xde\0\x06\xc7\0\x13\xc0\xa2\x03a\x92\x01\x81\xa2\x03$\x02\xa2\x03b\x01\xa2\x03b\x02\xca\x3f\0\0\0\x90\
        \x01\x80";
    let nested = |depth| [&vec![0x91; depth - 1][..], &[0x90]].concat();
    let particles = [
        (ParticleType::LIST, list.to_vec()),
        (ParticleType::MAP, map.to_vec()),
        (ParticleType::LIST, nested(MAX_DEPTH)),
        (ParticleType::MAP, [&[0x81, 0x01].repeat(MAX_DEPTH - 1)[..], &[0x80]].concat()),
        (ParticleType::HLL, [&[0, 4, 4][..], &[0; 8], &[0x1f; 20]].concat()),
        (ParticleType::GEOJSON, b"\0\0\x01cellcell{}".to_vec()),
        (ParticleType::STRING, b"text".to_vec()),
        (ParticleType::DOUBLE, f64::NAN.to_be_bytes().to_vec()),
    ];
    particles.map(|(particle, bytes)| [&[particle.0][..], &bytes].concat()).to_vec()
}

pub(super) fn bin_order() -> Vec<Vec<u8>> {
    let many: Vec<u8> = [200].into_iter().chain((0..128).rev()).chain((128..200).flat_map(|n| [n, 1])).collect();
    vec![vec![1, 0], vec![3, 1, 2, 0], many]
}

fn entries() -> Vec<Entry> {
    let live = |n: u8| {
        let more = if n % 7 == 3 { n % 4 } else { 0 };
        LiveEntry {
            set: if n.is_multiple_of(2) { Arc::from(&b"users"[..]) } else { Arc::from([]) },
            generation: Generation(u32::from(n) * 1000),
            void_time: VoidTime(u32::from(n % 3) * 500_000_000),
            hash: RecordHash([n; 16]),
            bin_order: if n.is_multiple_of(5) { Arc::from(&[1u8, 0][..]) } else { Arc::from([]) },
            place: ValuePlace {
                chunk: chunk_id(n / 4),
                more: (0..more).map(|i| chunk_id(100 + i)).collect(),
                offset: u32::from(n % 4) * 150,
                length: 150,
            },
        }
    };
    (0..20u8).map(|n| Entry { digest: digest(n), live: (n % 6 != 5).then(|| live(n)) }).collect()
}

pub(super) fn leaf() -> Vec<Vec<u8>> {
    let entries = entries();
    let tombstones: Vec<Entry> = entries.iter().map(|entry| Entry { live: None, ..entry.clone() }).collect();
    let parts = [&entries[..1], &entries[5..6], &entries, &tombstones];
    parts.map(leaf::encode).to_vec()
}

pub(super) fn branch_node() -> Vec<Vec<u8>> {
    let child = |n: u8, uses: Vec<u8>| Child {
        first: digest(n),
        id: chunk_id(n),
        entries: 1 + (u64::from(n) << 20),
        tombstones: u64::from(n),
        uses: uses.into_iter().map(chunk_id).collect(),
    };
    let leaves = (0..6).map(|n| child(n, (0..n).map(|i| 10 * (n / 2) + i).collect()));
    let nodes = (0..6).map(|n| child(n, Vec::new()));
    vec![
        node::encode(&Node { level: 1, children: leaves.collect() }),
        node::encode(&Node { level: 2, children: nodes.collect() }),
        node::encode(&Node { level: 16, children: vec![child(0, Vec::new())] }),
    ]
}

pub(super) fn header() -> Vec<Vec<u8>> {
    let cases = [
        (0u8, ObjectKind::Config, Class::Meta),
        (1, ObjectKind::Pack, Class::Tree),
        (1, ObjectKind::Pack, Class::Data),
        (2, ObjectKind::Index, Class::Index),
        (5, ObjectKind::Plan, Class::Meta),
        (6, ObjectKind::Hold, Class::Meta),
        (7, ObjectKind::Fold, Class::Meta),
        (8, ObjectKind::History, Class::Meta),
        (9, ObjectKind::Tags, Class::Meta),
    ];
    let made = cases.map(|(number, kind, class)| {
        let suite = if number == 1 { Suite::XChaCha20Poly1305 } else { Suite::Aes256Gcm };
        let header = Header { kind, suite, scheme: 0, class, salt: [1; 32], commitment: [2; 32] };
        [&[number][..], &header.encode()].concat()
    });
    made.to_vec()
}

fn place(n: u32) -> ChunkPlace {
    let packing = [Packing::Stored, Packing::Lz4, Packing::Zstd].get(n as usize % 3).copied();
    ChunkPlace { offset: 72 + 116 * n, stored: 116, plain: 100 + n, packing: packing.unwrap_or(Packing::Stored) }
}

pub(super) fn pack_trailer() -> Vec<Vec<u8>> {
    let trailer = |chunks: u32| {
        let trailer = Trailer { directory: 72 + 1000, chunks };
        let size = trailer.directory + trailer.directory_bytes() as u64 + 32;
        [&size.to_le_bytes()[..], &trailer.encode()].concat()
    };
    vec![trailer(0), trailer(3), trailer(70_000)]
}

pub(super) fn pack_directory() -> Vec<Vec<u8>> {
    let rows: Vec<DirectoryRow> = (0..9).map(|n| DirectoryRow { id: chunk_id(n), place: place(n.into()) }).collect();
    let end = 72 + 116 * 9u64;
    [&rows[..0], &rows].map(|rows| [&end.to_le_bytes()[..], &encode_directory(rows)].concat()).to_vec()
}

pub(super) fn index_block() -> Vec<Vec<u8>> {
    let row = |n: u8| IndexRow { id: chunk_id(n), pack: u32::from(n % 3), place: place(n.into()) };
    let rows: Vec<IndexRow> = (0..64).map(row).collect();
    [&rows[..1], &rows].map(|rows| [&3u32.to_le_bytes()[..], &encode_block(rows)].concat()).to_vec()
}

pub(super) fn index_directory() -> Vec<Vec<u8>> {
    let made = [(0u32, 0u8), (1, 1), (130, 3)].map(|(rows, packs)| {
        let mut trailer = SegmentTrailer { directory: 0, rows, packs: packs.into(), joined: packs.into() };
        trailer.directory = 72 + 48 * u64::from(rows) + 16 * trailer.blocks() as u64;
        let size = trailer.directory + (trailer.directory_bytes() + TRAILER_BYTES) as u64;
        let joined = (0..packs).map(|n| (SnapshotId([n; 16]), 7)).collect();
        let packs = (0..packs).map(|n| (PackId([n; 32]), 1000 * u64::from(n))).collect();
        let directory = SegmentDirectory { packs, fences: (0..trailer.blocks() as u64).collect(), joined };
        [&size.to_le_bytes()[..], &trailer.encode(), &directory.encode()].concat()
    });
    made.to_vec()
}

pub(super) fn config() -> Vec<Vec<u8>> {
    let made = [Compression::None, Compression::Lz4, Compression::Zstd(-3)].map(|compression| Parameters {
        created: 1_780_000_000_000,
        suite: Suite::Aes256Gcm,
        compression,
        chunker: 1,
        value_chunks: ChunkSizes { min: 16 << 10, avg: 64 << 10, max: 256 << 10 },
        stream_chunks: ChunkSizes { min: 256 << 10, avg: 1 << 20, max: 4 << 20 },
        pack_bytes: 16 << 20,
    });
    let content = ContentKeys {
        tree_chunk_id: [1; 32],
        data_chunk_id: [2; 32],
        chunker_gear: [3; 32],
        record_hash: [4; 32],
        state_hash: [5; 32],
    };
    let with = |content: Option<ContentKeys>| {
        let configs =
            made.iter().map(move |parameters| Config { parameters: parameters.clone(), content: content.clone() });
        configs.map(|config| {
            let header = config::encode_header(config.version(), &RepositoryId([3; 16]));
            [&header[..], &config.encode().map(|value| value.to_vec()).unwrap_or_default()].concat()
        })
    };
    with(None).chain(with(Some(content))).collect()
}

pub(super) fn key_slot() -> Vec<Vec<u8>> {
    let header = SlotHeader { cost: KdfCost::RECOMMENDED, salt: [1; 32], nonce: [2; 24] };
    let made = ["", "first", &"ü".repeat(32)].map(|label| {
        let secret = SlotSecret { master: [3; 32].into(), created: 1_780_000_000_000, label: label.into() };
        let secret = secret.encode().map(|bytes| bytes.to_vec()).unwrap_or_default();
        [&header.encode()[..], &secret, &[4; 16]].concat()
    });
    made.to_vec()
}

pub(super) fn sealed_value() -> Vec<Vec<u8>> {
    let ways = [Compression::None, Compression::Lz4, Compression::Zstd(9)];
    let made = ways.map(|way| [0usize, 9, 1000].map(|length| sealed::pack(way, &vec![7; length])));
    made.concat()
}

fn evidence() -> Evidence {
    let part: PartitionSet = PartitionId::all().take(9).collect();
    let nodes = [("A", PartitionSet::all()), ("B", part)];
    let nodes = nodes.iter().map(|(name, held)| NodeEvidence::new(name, 1_780_000_000_000, held)).collect();
    Evidence { taken: 1_780_000_000_000, margin_millis: 5000, epoch: 7, settled: true, nodes }
}

/// Three snapshots, the first two with ids that begin alike.
pub(super) fn manifests() -> Vec<Manifest> {
    let run = |n: u8| RunRef { root: chunk_id(n), level: n % 4, entries: 9, tombstones: 2, tree_bytes: 900 };
    let namespace = |name: &str, id| NamespaceManifest {
        name: name.into(),
        kind: BackupKind::Incremental,
        source_time: 1_780_000_000_000,
        parent: Some(SnapshotId([0xab; 16])),
        full: id,
        deletes_unknown: true,
        search: DeleteSearch {
            counted: 4000,
            unsearched: 0,
            walked: vec![(WalkReason::FewerThanKnown, 90), (WalkReason::Moved, 6)],
        },
        selection: "set users".into(),
        unread: vec![Unread { first: 3, last: 9, as_of: None }, Unread { first: 10, last: 4095, as_of: Some(1) }],
        runs: (0..3).map(run).collect(),
        live_records: 7,
        live_bytes: 900,
        reached_bytes: 1000,
        state_hash: [7; 32],
        metadata: vec![chunk_id(8)],
        counts: Counts { read: 1, bad: 2, ..Counts::default() },
        evidence: Some(evidence()),
    };
    let manifest = |last: u8, first: u8| {
        let mut id = [0xab; 16];
        (id[0], id[15]) = (first, last);
        let id = SnapshotId(id);
        Manifest {
            id,
            started: 1_780_000_000_000,
            committed: 1_780_000_000_000 + 60_000 * u64::from(last),
            host: "host".into(),
            program: "aerolith".into(),
            source: "embedded:shop".into(),
            cluster: "prod".into(),
            tags: vec!["nightly".into(), "ü".into()],
            sequence: u64::from(last),
            heads: vec![SnapshotId([9; 16])],
            index_segments: 1,
            stored_bytes: 4096,
            missing: vec!["a".into()],
            salvage: (last == 2).then_some(Salvage { original: id, made: 7, was_whole: true, records_lost: 3 }),
            origin: (last == 2).then(|| Origin {
                repository: RepositoryId([5; 16]),
                snapshot: SnapshotId([6; 16]),
                sequence: 4,
                from: RepositoryId([7; 16]),
                copied: 1_780_000_000_000,
                roots: (0..6).map(chunk_id).collect(),
            }),
            namespaces: vec![namespace("bar", id), namespace("test", id)],
        }
    };
    vec![manifest(1, 0xab), manifest(2, 0xab), manifest(3, 0xcd)]
}

pub(super) fn manifest() -> Vec<Vec<u8>> {
    let mut manifests = manifests();
    if let Some(first) = manifests.first_mut() {
        first.namespaces.clear();
    }
    manifests.iter().map(encoded).collect()
}

pub(super) fn session() -> Vec<Vec<u8>> {
    let statuses = [Status::Done, Status::Incomplete("one".into()), Status::Failed("two".into()), Status::Stopped];
    let outcomes = statuses.into_iter().map(|status| {
        let damaged_chunks = vec![chunk_id(3), chunk_id(4)];
        Some(Outcome { ended: 5, status, records: 6, stored_bytes: 7, damaged_chunks })
    });
    let session = |outcome: Option<Outcome>| Session {
        id: SnapshotId([7; 16]),
        kind: if outcome.is_some() { SessionKind::Check } else { SessionKind::Backup },
        job: "full backup".into(),
        host: "höst".into(),
        program: "aerolith".into(),
        process: Some(Process {
            boot: "53a0c2ec-1f2e-4d2d-9d43-0a8e7b3d1c55".into(),
            namespace: "pid:[4026531836] time:[4026531834]".into(),
            id: 4711,
            started: 8_765,
        }),
        started: 1,
        heartbeat: 2,
        lease_millis: 600_000,
        adopted: vec![PackId([1; 32])],
        outcome,
        journal: None,
    };
    let open = OpenNamespace {
        name: "test".into(),
        kind: BackupKind::Full,
        selection: "set users".into(),
        parent: Some(SnapshotId([3; 16])),
        merged: true,
        source_time: 9,
        partitions: 4096,
        unread: vec![Unread { first: 3, last: 9, as_of: None }],
        run: Some(RunRef { root: chunk_id(1), level: 1, entries: 9, tombstones: 2, tree_bytes: 900 }),
        value_bytes: 1000,
        counts: Counts { read: 1, bad: 2, ..Counts::default() },
        bad: vec![BadPlace { place: "a".into(), problem: "b".into() }],
        evidence: Some(evidence()),
    };
    let journal = Journal { cluster: "prod".into(), packs: vec![PackId([2; 32])], namespaces: vec![open; 2] };
    let stopped = Session { journal: Some(journal), ..session(None) };
    outcomes.chain([None]).map(|outcome| encoded(&session(outcome))).chain([encoded(&stopped)]).collect()
}

pub(super) fn hold() -> Vec<Vec<u8>> {
    let hold = |reason: &str| Hold {
        id: HoldId([7; 16]),
        snapshot: SnapshotId([8; 16]),
        placed: 1_780_000_000_000,
        host: "host".into(),
        program: "aerolith".into(),
        reason: reason.into(),
    };
    ["", "case 7/2026", &"ü".repeat(40)].map(|reason| encoded(&hold(reason))).to_vec()
}

pub(super) fn tags() -> Vec<Vec<u8>> {
    let tags = |n: u64| Tags {
        id: TagsId([7; 16]),
        snapshot: SnapshotId([8; 16]),
        changed: 1_780_000_000_000,
        host: "host".into(),
        program: "aerolith".into(),
        labels: (1..=n)
            .map(|n| LabelChange { label: format!("ü{n}"), sequence: n * 90, present: n % 2 == 1 })
            .collect(),
    };
    [0, 1, 5].map(|n| encoded(&tags(n))).to_vec()
}

pub(super) fn fold() -> Vec<Vec<u8>> {
    let ids = |first: u8, n: u8| (first..first + n).map(|n| SnapshotId([n; 16])).collect();
    let fold = |n: u8| Fold { id: FoldId([7; 16]), folded: 9, forgotten: ids(1, n), fenced: ids(100, n / 2) };
    [0, 1, 5].map(|n| encoded(&fold(n))).to_vec()
}

pub(super) fn history() -> Vec<Vec<u8>> {
    let (names, kinds) = (
        [FoldedName::Forgotten, FoldedName::Fenced, FoldedName::Free],
        [SessionKind::Backup, SessionKind::Other, SessionKind::Check],
    );
    let row = |(n, (name, kind)): (u8, (FoldedName, SessionKind))| {
        let status = [FoldedStatus::Done, FoldedStatus::Failed(0), FoldedStatus::Stopped].into_iter().nth(n.into());
        let outcome = status.map(|status| FoldedOutcome { ended: 3, status, records: 4, stored_bytes: 5 });
        FoldedSession {
            session: SnapshotId([n; 16]),
            name,
            kind,
            job: 1,
            host: 0,
            program: 2,
            cluster: 0,
            started: 1,
            heartbeat: 2,
            resumed_by: (n == 1).then_some(SnapshotId([9; 16])),
            outcome: outcome.filter(|_| n > 0),
        }
    };
    let history = |n: usize| HistoryFold {
        id: FoldId([7; 16]),
        folded: 9,
        texts: ["", "backup", "ü"].map(String::from).to_vec(),
        rows: (0..).zip(names.into_iter().zip(kinds)).take(n).map(row).collect(),
    };
    [0, 1, 3].map(|n| encoded(&history(n))).to_vec()
}

pub(super) fn plan() -> Vec<Vec<u8>> {
    let plan =
        |n: u8| CollectionPlan { session: SnapshotId([7; 16]), condemned: (0..n).map(|n| PackId([n; 32])).collect() };
    [0, 5].map(|n| encoded(&plan(n))).to_vec()
}

fn role() -> Role {
    let privilege = Privilege { code: 10, namespace: b"bar".to_vec(), set: b"users".to_vec() };
    let (name, allow_list) = (b"shop".to_vec(), b"10.0.0.0/8".to_vec());
    Role { name, privileges: vec![privilege], allow_list, read_quota: 1000, write_quota: 0 }
}

fn user() -> User {
    User { name: b"ada".to_vec(), roles: vec![b"shop".to_vec()] }
}

pub(super) fn metadata() -> Vec<Vec<u8>> {
    let fact = Fact { topic: "namespace setting".into(), name: b"default-ttl".to_vec(), value: b"0".to_vec() };
    let (indexes, udfs) = (vec![index(); 2], vec![udf()]);
    let some = NamespaceMetadata { indexes, udfs, facts: vec![fact], roles: vec![role()], users: vec![user()] };
    vec![encoded(&NamespaceMetadata::default()), encoded(&some)]
}

pub(super) fn object_key() -> Vec<Vec<u8>> {
    let id = SnapshotId([0xab; 16]);
    let made = [
        names::key(&KeyId([1; 16])),
        names::pack(&PackId([0xcd; 32])),
        names::index_segment(&id, 0),
        names::index_segment(&id, 120),
        names::session(&id),
        names::snapshot(&id),
        names::plan(&id),
        names::hold(&id, &HoldId([7; 16])),
        names::tags(&id, &TagsId([7; 16])),
        names::fold(&FoldId([7; 16])),
        names::history(&FoldId([7; 16])),
    ];
    made.map(String::into_bytes).to_vec()
}

pub(super) fn snapshot_name() -> Vec<Vec<u8>> {
    let whole = format!("{}01", "ab".repeat(15));
    let time = format!("@{}", Timestamp(1_780_000_000_000 + 90_000));
    let names = ["latest", "latest~2", &whole, "cd", "CDAB", "@2026-06-01T12:00Z", "@2026-06-01T12:00", &time];
    names.map(|name| name.as_bytes().to_vec()).to_vec()
}

pub(super) fn store_url() -> Vec<Vec<u8>> {
    let urls = ["/srv/backup", "backup", "./s3:odd", "file:/srv/backup", "file:backup", "file:///srv/ü"];
    let refused = ["s3://user:hunter2@host/bucket", "file://hunter2/x"];
    urls.into_iter().chain(refused).map(|url| url.as_bytes().to_vec()).collect()
}

pub(super) fn embedded_row() -> Vec<Vec<u8>> {
    let batch = batch();
    let rows = batch.iter().map(|record| {
        let RecordMeta { generation, void_time, .. } = record.meta;
        let head = layout::Head { generation, void_time, last_update: Timestamp(1_780_000_000_000), set: 3 };
        let mut row = Vec::new();
        layout::encode_body(&mut row, record.body, record.bin_order);
        [&head.encode()[..], &row].concat()
    });
    rows.collect()
}

pub(super) fn chunk() -> Vec<Vec<u8>> {
    let plain: Vec<u8> = record_body().concat().repeat(3);
    let ways = [Compression::None, Compression::Lz4, Compression::Zstd(3)];
    let mut seeds = Vec::new();
    for way in ways {
        for plain in [&plain[..], &[7; 5000], b"x"] {
            let mut packed = Vec::new();
            let packing = compress(way, plain, &mut packed);
            seeds.push([&[packing.number()][..], &(plain.len() as u32).to_le_bytes(), &packed].concat());
        }
    }
    seeds
}

#[cfg(feature = "cluster")]
pub(super) fn cluster_answer() -> Vec<Vec<u8>> {
    use crate::aerospike::wire::message::{Head, field, info3, put_field, put_operation};
    let mut records = vec![0];
    Head { generation: 3, fields: 3, operations: 2, ..Head::default() }.put(&mut records);
    put_field(&mut records, field::DIGEST, &[7; 20]);
    put_field(&mut records, field::SET, b"users");
    put_field(&mut records, field::KEY, b"\x03ada");
    put_operation(&mut records, 1, ParticleType::STRING, b"name", b"Ada");
    put_operation(&mut records, 1, ParticleType::LIST, b"tags", &[0x91, 1]);
    Head { info3: info3::PARTITION_DONE, generation: 7, result: 11, ..Head::default() }.put(&mut records);
    Head { info3: info3::LAST, ..Head::default() }.put(&mut records);
    let mut rows = vec![1];
    Head { row: 1, operations: 2, ..Head::default() }.put(&mut rows);
    put_operation(&mut rows, 7, ParticleType::STRING, b"s", b"users");
    put_operation(&mut rows, 7, ParticleType::BOOL, b"e", &[1]);
    Head { info3: info3::LAST, ..Head::default() }.put(&mut rows);
    let bitmap = base64_simd::STANDARD.encode_to_string([0x5a; 512]);
    let login = b"\x05\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x04\x05tok\0\0\0\x05\x06\0\0\x0e\x10";
    vec![
        records,
        rows,
        b"\x02node\tA1\nbuild\t8.1.2.0\n".to_vec(),
        b"\x037,3000,[[B1,,[10.0.0.2:3100,10.0.0.3]],[C1,tls.name,[[::1]:3000]]]".to_vec(),
        format!("\x04test:5,1,{bitmap};bar:0,1,{bitmap}").into_bytes(),
        login.to_vec(),
        b"\x06\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x04\0ada\0\0\0\x07\x0a\x01\x04shop".to_vec(),
        b"\x07\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05\x0bshop\0\0\0\x09\x0c\x01\x0a\x03bar\x01s".to_vec(),
        b"\x08{\"SecretValue\": \"c2VjcmV0\"}".to_vec(),
    ]
}
