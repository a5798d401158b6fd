//! The test vectors of `format-spec/vectors/`: each is made anew from its inputs and compared with the committed bytes, and the
//! committed bytes are decoded back. Where a page defines the bytes on its own, they are also made by its rules alone.
//!
//! After a change of the format, write the files anew and look at what changed:
//! `AEROLITH_WRITE_VECTORS=1 cargo test --test vectors`.

use aerolith::chunk::{Cutter, decompress};
use aerolith::crypto::{Keys, Sealer, sealed, slot};
use aerolith::format::config::{self, ChunkSizes, Compression, Parameters};
use aerolith::format::header::{Class, HEADER_BYTES, ObjectKind, Suite};
use aerolith::format::keyslot::{KdfCost, SlotHeader, SlotSecret};
use aerolith::format::leaf::{self, Entry, LiveEntry, RecordHash, ValuePlace};
use aerolith::format::node::{self, Child, Node};
use aerolith::format::pack::{DirectoryRow, Packing, Place};
use aerolith::format::plan::Plan;
use aerolith::format::session::{Outcome, Session, SessionKind, Status};
use aerolith::format::snapshot::{
    BackupKind, Counts, MARKER_MAGIC, Manifest, NamespaceManifest, RunRef, SnapshotState,
};
use aerolith::format::{ChunkId, PackId, RepositoryId, SnapshotId, names, structured};
use aerolith::index::{Index, Location, encode_segment};
use aerolith::pack::{PackWriter, read_directory};
use aerolith::record::batch::parse_bin_order;
use aerolith::record::{
    BinRef, Body, Digest, Generation, KeyRef, NamespaceMetadata, ParticleType, RecordBatch, RecordMeta, SecondaryIndex,
    UdfModule, VoidTime,
};
use aerolith::run::StateSums;
use aerolith::store::{MemoryStore, Store};
use serde_json::{Value, json};
use std::path::PathBuf;

const MASTER: [u8; 32] = counting(0);
const SALT: [u8; 32] = counting(0x80);
const REPOSITORY: RepositoryId = RepositoryId([0xa5; 16]);
const SUITES: [Suite; 2] = [Suite::Aes256Gcm, Suite::XChaCha20Poly1305];

const fn counting(first: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    let mut i = 0;
    while i < 32 {
        bytes[i] = first + i as u8;
        i += 1;
    }
    bytes
}

fn keys() -> Keys {
    Keys::derive(&MASTER)
}

/// What `format-spec/keys.md` calls K(purpose).
fn derived(purpose: &str) -> [u8; 32] {
    blake3::derive_key(&format!("aerolith 2026 format 1 {purpose}"), &MASTER)
}

fn hexed(value: Value) -> Value {
    match value {
        Value::Array(items) if items.len() >= 16 && items.iter().all(Value::is_number) => {
            let bytes: Vec<u8> = items.iter().map(|n| n.as_u64().unwrap() as u8).collect();
            json!(hex::encode(bytes))
        }
        Value::Array(items) => items.into_iter().map(hexed).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, hexed(value))).collect(),
        other => other,
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn difference(path: String, built: &Value, stored: &Value) -> Option<String> {
    match (built, stored) {
        (Value::Object(a), Value::Object(b)) => {
            let names = a.keys().chain(b.keys());
            names.into_iter().find_map(|name| difference(format!("{path}/{name}"), &built[name], &stored[name]))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(i, (a, b))| difference(format!("{path}/{i}"), a, b))
        }
        (a, b) if a == b => None,
        (a, b) => Some(format!("{path}\n  made anew: {a}\n  committed: {b}")),
    }
}

/// Compares what was made from the inputs with the committed file, and gives back what is committed.
fn committed(name: &str, built: Value) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("format-spec/vectors").join(name);
    if std::env::var_os("AEROLITH_WRITE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(&built).unwrap();
        std::fs::write(&path, text + "\n").unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let stored: Value = serde_json::from_str(&text).unwrap();
    if let Some(difference) = difference(name.to_string(), &built, &stored) {
        panic!("{difference}");
    }
    stored
}

/// Encodes as `format-spec/structured.md` says, without the library.
#[derive(Default)]
struct Plain(Vec<u8>);

impl Plain {
    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
    fn u8(self, n: u8) -> Self {
        self.raw(&[n])
    }
    fn u32(self, n: u32) -> Self {
        self.raw(&n.to_le_bytes())
    }
    fn u64(self, n: u64) -> Self {
        self.raw(&n.to_le_bytes())
    }
    fn text(self, text: &str) -> Self {
        self.list(text.as_bytes())
    }
    fn list(self, bytes: &[u8]) -> Self {
        self.u64(bytes.len() as u64).raw(bytes)
    }
}

/// Subkey and commitment as `format-spec/sealing.md` says, without the library.
fn subkey(purpose: &str, object: &[u8]) -> [u8; 32] {
    let mut output = [0; 64];
    blake3::Hasher::new_keyed(&derived(purpose)).update(&object[..40]).finalize_xof().fill(&mut output);
    assert_eq!(output[32..], object[40..72], "the key commitment");
    output[..32].try_into().unwrap()
}

/// Opens one sealed part as `format-spec/sealing.md` says, without the library.
fn opened(key: &[u8; 32], suite: u8, place: u64, associated: &[u8], part: &[u8]) -> Vec<u8> {
    use chacha20poly1305::aead::{Aead, KeyInit, Payload};
    let payload = Payload { msg: part, aad: associated };
    let mut nonce = [0; 24];
    nonce[16..].copy_from_slice(&place.to_le_bytes());
    match suite {
        1 => {
            let nonce: [u8; 12] = nonce[12..].try_into().unwrap();
            aes_gcm::Aes256Gcm::new(key.into()).decrypt(&nonce.into(), payload).unwrap()
        }
        2 => chacha20poly1305::XChaCha20Poly1305::new(key.into()).decrypt(&nonce.into(), payload).unwrap(),
        other => panic!("suite {other}"),
    }
}

/// Seals `value` under both suites, and opens what is committed by the library and by the pages.
fn sealed_value(file: &str, kind: ObjectKind, name: &str, value: Value, plain: &[u8], lead: &[u8]) -> Vec<u8> {
    let objects = SUITES.map(|suite| {
        let sealer = Sealer::with_salt(&keys(), kind, Class::Meta, suite, SALT);
        let object = sealed::seal_with(&sealer, name, plain).unwrap();
        json!({ "suite": suite.number(), "object": hex::encode([lead, &object].concat()) })
    });
    let stored = committed(
        file,
        json!({
            "master": hex::encode(MASTER), "salt": hex::encode(SALT), "name": name, "value": hexed(value),
            "encoded": hex::encode(plain), "sealed": objects,
        }),
    );
    for case in stored["sealed"].as_array().unwrap() {
        let object = bytes(&case["object"])[lead.len()..].to_vec();
        let part = opened(&subkey("meta", &object), object[5], 0, name.as_bytes(), &object[HEADER_BYTES..]);
        let length = u32::from_le_bytes(part[..4].try_into().unwrap()) as usize;
        assert_eq!(part[4..4 + length], bytes(&stored["encoded"]));
        assert!(part[4 + length..].iter().all(|&byte| byte == 0));
        assert_eq!(sealed::unseal(&keys(), kind, name, object.clone()).unwrap(), bytes(&stored["encoded"]));
        assert!(sealed::unseal(&keys(), kind, "another name", object).is_err());
    }
    bytes(&stored["encoded"])
}

#[test]
fn derived_keys_and_the_gear_table() {
    let purposes = [
        "tree chunk id",
        "data chunk id",
        "chunker gear",
        "record hash",
        "state hash",
        "snapshot marker",
        "pack tree",
        "pack data",
        "index",
        "meta",
    ];
    let keys = keys();
    let (gear, shifted) = keys.gear();
    let table: Vec<u8> = gear.iter().flat_map(|n| n.to_le_bytes()).collect();
    let stored = committed(
        "keys.json",
        json!({
            "master": hex::encode(MASTER),
            "derived": purposes.map(|p| json!({ "purpose": p, "key": hex::encode(derived(p)) })),
            "gear_first": gear[..8].iter().map(|n| format!("{n:016x}")).collect::<Vec<_>>(),
            "gear_last": format!("{:016x}", gear[255]),
            "gear_bytes_blake3": hex::encode(blake3::hash(&table).as_bytes()),
        }),
    );
    let mut expected = vec![0; 2048];
    let key: [u8; 32] = bytes(&stored["derived"][2]["key"]).try_into().unwrap();
    blake3::Hasher::new_keyed(&key).finalize_xof().fill(&mut expected);
    assert_eq!(table, expected);
    assert!(gear.iter().zip(shifted).all(|(one, two)| one << 1 == *two));
}

#[test]
fn a_marker() {
    let (id, time) = (SnapshotId([0x11; 16]), 1_780_000_000_000u64);
    let start = [&MARKER_MAGIC[..], &time.to_le_bytes()].concat();
    let hash = keys().marker(&[&start[..], &id.0].concat());
    let stored = committed(
        "marker.json",
        json!({
            "master": hex::encode(MASTER), "snapshot": id.to_string(), "forgotten": time,
            "marker": hex::encode([&start[..], &hash].concat()),
        }),
    );
    let marker = bytes(&stored["marker"]);
    assert_eq!(SnapshotState::from_size(marker.len() as u64), SnapshotState::Forgotten);
    let expected = blake3::keyed_hash(&derived("snapshot marker"), &[&marker[..16], &id.0].concat());
    assert_eq!(marker[16..], *expected.as_bytes());
}

#[test]
fn structured_values_have_one_form() {
    let decode = |bytes: &[u8]| structured::decode::<(bool, Option<u8>)>("a value", bytes);
    assert_eq!(decode(&[1, 1, 7]).unwrap(), (true, Some(7)));
    for bytes in [&[2, 0][..], &[0, 2, 7], &[0, 1], &[0, 0, 0], &[]] {
        assert!(decode(bytes).is_err(), "{bytes:?}");
    }
    assert!(structured::decode::<Compression>("an enum", &[3, 0, 0, 0]).is_err());
    assert!(structured::decode::<String>("a text", &[1, 0, 0, 0, 0, 0, 0, 0, 0xff]).is_err());
    assert!(structured::decode::<Vec<u64>>("a list", &[0xff; 8]).is_err());
}

#[test]
fn a_key_slot() {
    let header = SlotHeader { cost: KdfCost::WEAK, salt: SALT, nonce: [0x24; 24] };
    let secret = SlotSecret { master: MASTER.into(), created: 1_780_000_000_000, label: "first".into() };
    let slot = slot::wrap_with(&REPOSITORY, b"correct horse", &header, &secret).unwrap();
    let stored = committed(
        "keyslot.json",
        json!({
            "repository": hex::encode(REPOSITORY.0), "passphrase": "correct horse",
            "memory_kib": header.cost.memory_kib, "passes": header.cost.passes, "lanes": header.cost.lanes,
            "salt": hex::encode(header.salt), "nonce": hex::encode(header.nonce), "master": hex::encode(MASTER),
            "created": secret.created, "label": secret.label, "slot": hex::encode(slot),
        }),
    );
    let slot = bytes(&stored["slot"]);
    let (cost, opened) = slot::unwrap(&REPOSITORY, b"correct horse", "keys/x", &slot).unwrap().unwrap();
    assert!(cost == KdfCost::WEAK && opened == secret);
    assert!(slot::unwrap(&REPOSITORY, b"correct house", "keys/x", &slot).unwrap().is_none());
    assert!(slot::unwrap(&RepositoryId([0; 16]), b"correct horse", "keys/x", &slot).unwrap().is_none());
}

#[test]
fn chunk_ids() {
    let plain: [&[u8]; 4] = [b"", b"a", b"Aerolith", &[0; 1025]];
    let id = |class, plain| keys().chunk_id(class, plain).to_string();
    let cases = plain.map(
        |plain| json!({ "plain": hex::encode(plain), "tree": id(Class::Tree, plain), "data": id(Class::Data, plain) }),
    );
    let stored = committed("chunk-ids.json", json!({ "master": hex::encode(MASTER), "cases": cases }));
    for case in stored["cases"].as_array().unwrap() {
        for class in ["tree", "data"] {
            let expected = blake3::keyed_hash(&derived(&format!("{class} chunk id")), &bytes(&case["plain"]));
            assert_eq!(bytes(&case[class]), expected.as_bytes());
        }
    }
}

/// The cut as `format-spec/chunker.md` defines it, a byte at a time.
fn plain_cut(gear: &[u64; 256], sizes: ChunkSizes, small: u64, large: u64, bytes: &[u8]) -> usize {
    let n = bytes.len();
    if n <= sizes.min as usize {
        return n;
    }
    let n = n.min(sizes.max as usize);
    let mut hash = 0u64;
    for i in sizes.min as usize..n & !1 {
        hash = (hash << 1).wrapping_add(gear[usize::from(bytes[i])]);
        let mask = if i < sizes.avg as usize { small } else { large };
        if hash & mask == 0 {
            return i;
        }
    }
    n
}

#[test]
fn cuts_of_the_keyed_chunker() {
    let mut noise = vec![0; 8 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    let cases: [(ChunkSizes, u64, u64, &[u8]); 5] = [
        (ChunkSizes { min: 64, avg: 256, max: 1024 }, 0x0000019000353000, 0x0000000018035100, &noise[..10_001]),
        (ChunkSizes { min: 2048, avg: 8192, max: 32768 }, 0x0000d90313530000, 0x0000d90103530000, &noise[..300_000]),
        (
            ChunkSizes { min: 16384, avg: 65536, max: 262_144 },
            0x0000d90703537000,
            0x0000d90f03530000,
            &noise[..2 << 20],
        ),
        (ChunkSizes { min: 262_144, avg: 1 << 20, max: 4 << 20 }, 0x0000d91767537000, 0x0000d91707537000, &noise),
        (ChunkSizes { min: 64, avg: 256, max: 1024 }, 0x0000019000353000, 0x0000000018035100, &[0; 2501]),
    ];
    let keys = keys();
    let built = cases.map(|(sizes, small, large, stream)| {
        assert!(sizes.is_valid());
        let cutter = Cutter::new(sizes);
        let (mut rest, mut lengths) = (stream, Vec::new());
        while !rest.is_empty() {
            let length = cutter.cut(&keys, rest);
            assert_eq!(length, plain_cut(keys.gear().0, sizes, small, large, rest));
            lengths.push(length);
            rest = &rest[length..];
        }
        json!({
            "min": sizes.min, "avg": sizes.avg, "max": sizes.max,
            "small": format!("{small:016x}"), "large": format!("{large:016x}"),
            "stream": if stream[0] == 0 { "zeros" } else { "XOF of plain BLAKE3 over the empty message" },
            "bytes": stream.len(), "lengths": lengths,
        })
    });
    let stored = committed("cuts.json", json!({ "master": hex::encode(MASTER), "cases": built }));
    for case in stored["cases"].as_array().unwrap() {
        let sum: u64 = case["lengths"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum();
        assert_eq!(json!(sum), case["bytes"]);
    }
}

fn bin<'a>(name: &'a [u8], particle: u8, bytes: &'a [u8]) -> BinRef<'a> {
    BinRef { name, particle: ParticleType(particle), bytes }
}

#[test]
fn record_bodies_hashes_and_digests() {
    let long = [b'x'; 200];
    let number = 42u64.to_be_bytes();
    let key = |particle: u8, bytes| Some(KeyRef { particle: ParticleType(particle), bytes });
    let records: [(&[u8], Option<KeyRef<'_>>, Vec<BinRef<'_>>); 5] = [
        (b"", None, vec![]),
        (b"users", key(3, b"user000023433"), vec![bin(b"age", 1, &number)]),
        (b"users", key(1, &number), vec![bin(b"b", 3, b"\xff\xfe"), bin(b"c", 99, b""), bin(b"a", 4, &long)]),
        (b"\xff", key(4, b""), vec![bin(b"", 17, &[1]), bin(b"name", 2, &[0x7f, 0xf8, 0, 0, 0, 0, 0, 9])]),
        (b"users", None, vec![bin(b"ab", 20, &[0x91, 0x01]), bin(b"a", 19, &[0x80])]),
    ];
    let keys = keys();
    let built = records.clone().map(|(set, key, bins)| {
        let mut batch = RecordBatch::new();
        let digest = match key {
            Some(key) => Digest::compute(set, key.particle, key.bytes),
            None => Digest([0x5a; 20]),
        };
        let meta = RecordMeta { digest, set, generation: Generation(1), void_time: VoidTime::NEVER };
        batch.push(meta, key, &bins).unwrap();
        let record = batch.get(0).unwrap();
        let hash = keys.record_hash(set, record.body);
        json!({
            "set": hex::encode(set),
            "key": key.map(|key| json!({ "type": key.particle.0, "bytes": hex::encode(key.bytes) })),
            "bins": bins.iter().map(|bin| json!({
                "name": hex::encode(bin.name), "type": bin.particle.0, "bytes": hex::encode(bin.bytes),
            })).collect::<Vec<_>>(),
            "digest": digest.to_string(), "partition": digest.partition().number(),
            "body": hex::encode(record.body), "bin_order": hex::encode(record.bin_order),
            "record_hash": hex::encode(hash.0), "state_term": hex::encode(keys.state_term(&digest, &hash)),
        })
    });
    let stored = committed("records.json", json!({ "master": hex::encode(MASTER), "records": built }));
    for (case, (set, key, bins)) in stored["records"].as_array().unwrap().iter().zip(records) {
        let body = bytes(&case["body"]);
        let parsed = Body::parse(&body).unwrap();
        assert_eq!(parsed.key(), key);
        let order = parse_bin_order(&bytes(&case["bin_order"]), bins.len());
        let order = order.unwrap_or_else(|| (0..bins.len() as u16).collect());
        assert_eq!(order.iter().map(|&place| parsed.bins()[usize::from(place)]).collect::<Vec<_>>(), bins);
        let message = [&[set.len() as u8][..], set, &body].concat();
        let hash = blake3::keyed_hash(&derived("record hash"), &message);
        assert_eq!(bytes(&case["record_hash"]), hash.as_bytes()[..16]);
        let term = [bytes(&case["digest"]), bytes(&case["record_hash"])].concat();
        assert_eq!(bytes(&case["state_term"]), blake3::keyed_hash(&derived("state hash"), &term).as_bytes());
    }
}

#[test]
fn state_hashes() {
    let keys = keys();
    let record = |i: u8| (Digest([i; 20]), RecordHash([i ^ 0xff; 16]));
    let sets: [Vec<_>; 3] = [vec![], vec![record(7)], (0..=255).chain(3..6).map(record).collect()];
    let built = sets.map(|records| {
        let mut sums = StateSums::default();
        records.iter().for_each(|(digest, hash)| sums.add(&keys, digest, hash));
        json!({
            "records": records.iter().map(|(digest, hash)| json!([digest.to_string(), hex::encode(hash.0)])).collect::<Vec<_>>(),
            "state_hash": hex::encode(sums.hash(&keys)),
        })
    });
    let stored = committed("state.json", json!({ "master": hex::encode(MASTER), "cases": built }));
    for case in stored["cases"].as_array().unwrap() {
        // Sums byte by byte, as the page has it.
        let mut sums = vec![[0u8; 32]; 4096];
        for record in case["records"].as_array().unwrap() {
            let digest = bytes(&record[0]);
            let partition = (usize::from(digest[0]) + 256 * usize::from(digest[1])) % 4096;
            let term = blake3::keyed_hash(&derived("state hash"), &[digest, bytes(&record[1])].concat());
            let mut carry = 0u16;
            for (sum, byte) in sums[partition].iter_mut().zip(term.as_bytes()) {
                let total = u16::from(*sum) + u16::from(*byte) + carry;
                (*sum, carry) = (total as u8, total >> 8);
            }
        }
        let hash = blake3::keyed_hash(&derived("state hash"), &sums.concat());
        assert_eq!(bytes(&case["state_hash"]), hash.as_bytes());
    }
}

fn digest(partition: u16, last: u8) -> Digest {
    let mut bytes = [last; 20];
    bytes[..2].copy_from_slice(&partition.to_le_bytes());
    Digest(bytes)
}

fn entries() -> Vec<Entry> {
    let live = |set: &[u8], order: &[u8], chunk: u8, more: &[u8], offset, length| LiveEntry {
        set: set.into(),
        generation: Generation(u32::from(chunk) * 100),
        void_time: VoidTime(if chunk == 1 { 500_000_000 } else { 0 }),
        hash: RecordHash([chunk ^ 0xf0; 16]),
        bin_order: order.into(),
        place: ValuePlace {
            chunk: ChunkId([chunk; 32]),
            more: more.iter().map(|&n| ChunkId([n; 32])).collect(),
            offset,
            length,
        },
    };
    let row = |partition, last, live| Entry { digest: digest(partition, last), live };
    vec![
        row(0, 0x10, Some(live(b"users", b"", 1, &[], 0, 300))),
        row(0, 0x20, Some(live(b"users", &[1, 0], 1, &[], 300, 200))),
        row(0x1000, 0x30, None),
        row(1, 0x05, Some(live(b"", b"", 2, &[1, 3], 0, 600_000))),
        row(2, 0x05, Some(live(b"users", &[1, 0], 1, &[], 100, 70))),
        row(0x0102, 0x05, Some(live(b"orders", b"", 2, &[], 70_000, 129))),
        row(4095, 0xff, None),
    ]
}

fn described(entry: &Entry) -> Value {
    let Some(live) = &entry.live else { return json!({ "digest": entry.digest.to_string(), "tombstone": true }) };
    json!({
        "digest": entry.digest.to_string(), "set": String::from_utf8_lossy(&live.set),
        "generation": live.generation.0, "void_time": live.void_time.0, "hash": hex::encode(live.hash.0),
        "bin_order": hex::encode(&live.bin_order),
        "chunks": live.place.chunks().map(ToString::to_string).collect::<Vec<_>>(),
        "offset": live.place.offset, "length": live.place.length,
    })
}

#[test]
fn a_leaf_and_a_branch_node() {
    let mut entries = entries();
    entries.sort_by_key(|entry| entry.digest.sort_key());
    let stored = committed(
        "leaf.json",
        json!({
            "entries": entries.iter().map(described).collect::<Vec<_>>(),
            "leaf": hex::encode(leaf::encode(&entries)),
        }),
    );
    assert_eq!(leaf::decode(&bytes(&stored["leaf"])).unwrap(), entries);

    let child = |partition, id, entries, tombstones, uses: &[u8]| Child {
        first: digest(partition, id),
        id: ChunkId([id; 32]),
        entries,
        tombstones,
        uses: uses.iter().map(|&n| ChunkId([n; 32])).collect(),
    };
    let nodes = [
        Node { level: 1, children: vec![child(0, 9, 7, 2, &[1, 2, 3]), child(300, 8, 1024, 0, &[3, 4])] },
        Node { level: 2, children: vec![child(0, 9, 1031, 2, &[]), child(4000, 1, 70_000, 70_000, &[])] },
    ];
    let built = nodes.each_ref().map(|node| {
        let children = node.children.iter().map(|child| {
            json!({
                "first": child.first.to_string(), "id": child.id.to_string(), "entries": child.entries,
                "tombstones": child.tombstones, "uses": child.uses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        });
        json!({ "level": node.level, "children": children.collect::<Vec<_>>(), "node": hex::encode(node::encode(node)) })
    });
    let stored = committed("node.json", json!({ "nodes": built }));
    for (case, node) in stored["nodes"].as_array().unwrap().iter().zip(nodes) {
        assert_eq!(node::decode(node.level, &bytes(&case["node"])).unwrap(), node);
    }
}

#[test]
fn packs() {
    let keys = keys();
    let zstd = [&[0x28, 0xb5, 0x2f, 0xfd, 0x20, 5, 5 << 3 | 1, 0, 0], &b"hello"[..]].concat();
    let chunks: [(&[u8], Packing, &[u8]); 3] = [
        (b"stored as it is", Packing::Stored, b"stored as it is"),
        (&[b'a'; 100], Packing::Lz4, &[0x1f, b'a', 1, 0, 75, 0x50, b'a', b'a', b'a', b'a', b'a']),
        (b"hello", Packing::Zstd, &zstd),
    ];
    let cases = [(Suite::Aes256Gcm, Class::Data), (Suite::XChaCha20Poly1305, Class::Tree)];
    let built = cases.map(|(suite, class)| {
        let mut pack = PackWriter::with_sealer(Sealer::with_salt(&keys, ObjectKind::Pack, class, suite, SALT));
        for (plain, packing, packed) in &chunks {
            pack.add(keys.chunk_id(class, plain), *packing, plain.len() as u32, packed).unwrap();
        }
        let pack = pack.finish().unwrap();
        json!({
            "suite": suite.number(), "class": class.number(), "pack_id": pack.id.to_string(), "key": pack.key(),
            "pack": hex::encode(&pack.bytes),
        })
    });
    let described = chunks.map(|(plain, packing, packed)| {
        json!({
            "plain": hex::encode(plain), "compression": packing.number(),
            "packed": hex::encode(packed),
        })
    });
    let stored = committed(
        "packs.json",
        json!({ "master": hex::encode(MASTER), "salt": hex::encode(SALT), "chunks": described, "packs": built }),
    );
    for case in stored["packs"].as_array().unwrap() {
        let object = bytes(&case["pack"]);
        let id = PackId(*blake3::hash(&object).as_bytes());
        assert_eq!(json!(id.to_string()), case["pack_id"]);
        let store = MemoryStore::new();
        store.put_new(&names::pack(&id), &object).unwrap();
        let (reader, rows) = read_directory(&store, &keys, id, object.len() as u64).unwrap();
        assert_eq!(json!(reader.class().number()), case["class"]);
        let key = subkey(if object[7] == 1 { "pack tree" } else { "pack data" }, &object);
        let end = object.len() - 32;
        let trailer = opened(&key, object[5], end as u64, b"t", &object[end..]);
        let directory = u64::from_le_bytes(trailer[..8].try_into().unwrap());
        assert_eq!(trailer[8..], [3, 0, 0, 0, 0, 0, 0, 0]);
        let plain = opened(&key, object[5], directory, b"d", &object[directory as usize..end]);
        assert_eq!(rows.len(), chunks.len());
        for ((row, (content, packing, packed)), raw) in rows.iter().zip(chunks).zip(plain.chunks(44)) {
            assert_eq!(reader.read(&store, &keys, &row.id, &row.place).unwrap(), content);
            assert_eq!(raw[..32], row.id.0);
            assert_eq!(raw[32..], row.place.encode());
            let offset = u32::from_le_bytes(raw[32..36].try_into().unwrap()) as usize;
            let length = u32::from_le_bytes(raw[36..40].try_into().unwrap()) as usize;
            let bound = [&b"c"[..], &(offset as u64).to_le_bytes(), &raw[36..44]].concat();
            let found = opened(&key, object[5], offset as u64, &bound, &object[offset..offset + length]);
            assert_eq!(found, packed);
            assert_eq!(decompress(packing, &found, content.len() as u32).unwrap(), content);
        }
    }
}

#[test]
fn an_index_segment() {
    let (keys, session) = (keys(), SnapshotId([0x11; 16]));
    let packs = [(PackId([1; 32]), 70_000u64), (PackId([2; 32]), 90_112)];
    let row = |i: u32| {
        let packing = [Packing::Stored, Packing::Lz4, Packing::Zstd][(i % 3) as usize];
        let place = Place {
            offset: 72 + 1000 * i,
            stored: 516,
            plain: if i.is_multiple_of(3) { 500 } else { 1000 + i },
            packing,
        };
        DirectoryRow { id: ChunkId(*blake3::hash(i.to_string().as_bytes()).as_bytes()), place }
    };
    // The first chunk stands in both packs.
    let rows = [(0..40).map(row).collect::<Vec<_>>(), [0].into_iter().chain(40..70).map(row).collect()];
    let table: Vec<_> = packs.iter().zip(&rows).map(|((id, size), rows)| (*id, *size, rows.clone())).collect();
    let sealer = |suite| Sealer::with_salt(&keys, ObjectKind::Index, Class::Index, suite, SALT);
    let segments = SUITES.map(|suite| {
        json!({ "suite": suite.number(), "segment": hex::encode(encode_segment(&sealer(suite), &table).unwrap()) })
    });
    let described = |(id, size, rows): &(PackId, u64, Vec<DirectoryRow>)| {
        let rows = rows.iter().map(|DirectoryRow { id, place }| {
            json!([id.to_string(), place.offset, place.stored, place.plain, place.packing.number()])
        });
        json!({ "id": id.to_string(), "size": size, "rows": rows.collect::<Vec<_>>() })
    };
    let stored = committed(
        "index.json",
        json!({
            "master": hex::encode(MASTER), "salt": hex::encode(SALT),
            "row_fields": ["chunk id", "offset", "stored length", "plain length", "compression"],
            "packs": table.iter().map(described).collect::<Vec<_>>(), "segments": segments,
        }),
    );
    for case in stored["segments"].as_array().unwrap() {
        let object = bytes(&case["segment"]);
        let (store, blocks, count) = (MemoryStore::new(), 2, 71);
        let directory = HEADER_BYTES + 48 * count + 16 * blocks;
        assert_eq!(object.len(), directory + 2 * 40 + blocks * 8 + 16 + 32);
        let (key, suite) = (subkey("index", &object), object[5]);
        let plain = opened(&key, suite, directory as u64, b"d", &object[directory..object.len() - 32]);
        let end = object.len() - 32;
        let trailer = opened(&key, suite, end as u64, b"t", &object[end..]);
        assert_eq!(trailer, Plain::default().u64(directory as u64).u32(71).u32(2).0);
        let second = opened(&key, suite, 72 + 3088, b"b", &object[72 + 3088..directory]);
        assert_eq!(plain[88..], second[..8], "the second fence");
        store.put_new(&names::index_segment(&session, 0), &object).unwrap();
        let index = Index::open(&store, &keys, |id| *id == session, Default::default()).unwrap();
        assert_eq!(index.packs(), packs.into());
        for (pack, _, rows) in &table {
            for DirectoryRow { id, place } in rows {
                let found = index.lookup(&store, id).unwrap();
                assert!(found.contains(&Location { pack: *pack, place: *place }), "{id}");
            }
        }
        assert_eq!(index.lookup(&store, &row(0).id).unwrap().len(), 2);
        assert!(!index.contains(&store, &row(70).id).unwrap());
    }
}

#[test]
fn a_config() {
    let sizes = [[16_384u32, 65_536, 262_144], [262_144, 1 << 20, 4 << 20]];
    let [value, stream] = sizes.map(|[min, avg, max]| ChunkSizes { min, avg, max });
    let parameters = Parameters {
        created: 1_780_000_000_000,
        suite: Suite::XChaCha20Poly1305,
        compression: Compression::Zstd(-3),
        chunker: 1,
        value_chunks: value,
        stream_chunks: stream,
        pack_bytes: 16 << 20,
    };
    let header = config::encode_header(&REPOSITORY);
    assert_eq!(header[..], [&b"AEROLITH\x01\0\0\0"[..], &[0xa5; 16]].concat());
    assert_eq!(config::decode_header(&mut &header[..]).unwrap(), REPOSITORY);
    let plain = structured::encode(&parameters).unwrap();
    let by_hand = Plain::default().u64(1_780_000_000_000).u32(1).u32(2).u32(-3i32 as u32).u8(1);
    assert_eq!(plain, sizes.concat().into_iter().fold(by_hand, Plain::u32).u32(16 << 20).0);
    let shown = serde_json::to_value(&parameters).unwrap();
    let name = format!("config {REPOSITORY}");
    let encoded = sealed_value("config.json", ObjectKind::Config, &name, shown, &plain, &header);
    assert_eq!(structured::decode::<Parameters>("parameters", &encoded).unwrap(), parameters);
}

#[test]
fn a_session() {
    let id = SnapshotId([0x11; 16]);
    let session = Session {
        id,
        kind: SessionKind::Collection,
        job: "prune".into(),
        host: "höst".into(),
        program: "aerolith 0.1.0".into(),
        started: 1_780_000_000_000,
        heartbeat: 1_780_000_060_000,
        lease_millis: 600_000,
        adopted: vec![PackId([0x22; 32])],
        outcome: Some(Outcome {
            ended: 1_780_000_100_000,
            status: Status::Incomplete("one".into()),
            records: 3,
            stored_bytes: 4096,
            damaged_chunks: vec![ChunkId([0x33; 32]), ChunkId([0x44; 32])],
        }),
    };
    let plain = structured::encode(&session).unwrap();
    let by_hand = Plain::default().raw(&id.0).u32(2).text("prune").text("höst").text("aerolith 0.1.0");
    let by_hand = by_hand.u64(1_780_000_000_000).u64(1_780_000_060_000).u64(600_000).u64(1).raw(&[0x22; 32]).u8(1);
    let by_hand = by_hand.u64(1_780_000_100_000).u32(1).text("one").u64(3).u64(4096).u64(2);
    assert_eq!(plain, by_hand.raw(&[0x33; 32]).raw(&[0x44; 32]).0);
    let shown = serde_json::to_value(&session).unwrap();
    let encoded = sealed_value("session.json", ObjectKind::Session, &names::session(&id), shown, &plain, b"");
    assert_eq!(structured::decode::<Session>("session", &encoded).unwrap(), session);
}

#[test]
fn a_plan() {
    let id = SnapshotId([0x11; 16]);
    let plan = Plan { session: id, condemned: vec![PackId([0x22; 32]), PackId([0x33; 32])] };
    let plain = structured::encode(&plan).unwrap();
    assert_eq!(plain, Plain::default().raw(&id.0).u64(2).raw(&[0x22; 32]).raw(&[0x33; 32]).0);
    let name = format!("{}{id}", names::PLANS);
    let shown = serde_json::to_value(&plan).unwrap();
    let encoded = sealed_value("plan.json", ObjectKind::Plan, &name, shown, &plain, b"");
    assert_eq!(structured::decode::<Plan>("plan", &encoded).unwrap(), plan);
}

#[test]
fn a_manifest() {
    let [id, parent, full] = [0x11, 0x12, 0x13].map(|n| SnapshotId([n; 16]));
    let namespace = NamespaceManifest {
        name: "test".into(),
        kind: BackupKind::Differential,
        source_time: 1_779_999_999_000,
        parent: Some(parent),
        full,
        deletes_unknown: true,
        runs: vec![RunRef { root: ChunkId([0x77; 32]), level: 2, entries: 9, tombstones: 4, tree_bytes: 1234 }],
        live_records: 5,
        live_bytes: 600,
        reached_bytes: 700,
        state_hash: [0x88; 32],
        metadata: vec![ChunkId([0x99; 32])],
        counts: Counts {
            read: 1,
            added: 2,
            changed: 3,
            touched: 4,
            unchanged: 5,
            deleted: 6,
            healed: 7,
            moved: 8,
            duplicates: 9,
            bad: 10,
        },
    };
    let manifest = Manifest {
        id,
        started: 1_780_000_000_000,
        sealed: 1_780_000_100_000,
        host: "host".into(),
        program: "aerolith 0.1.0".into(),
        source: "aerospike://host".into(),
        cluster: "prod".into(),
        tags: vec!["nightly".into(), "".into()],
        seen: vec![parent, full],
        index_segments: 1,
        stored_bytes: 4096,
        missing: vec!["a".into()],
        namespaces: vec![namespace],
    };
    let plain = structured::encode(&manifest).unwrap();
    let by_hand = Plain::default().raw(&id.0).u64(1_780_000_000_000).u64(1_780_000_100_000).text("host");
    let by_hand = by_hand.text("aerolith 0.1.0").text("aerospike://host").text("prod").u64(2).text("nightly").text("");
    let by_hand = by_hand.u64(2).raw(&parent.0).raw(&full.0).u32(1).u64(4096).u64(1).text("a").u64(1).text("test");
    let by_hand = by_hand.u32(2).u64(1_779_999_999_000).u8(1).raw(&parent.0).raw(&full.0).u8(1);
    let by_hand = by_hand.u64(1).raw(&[0x77; 32]).u8(2).u64(9).u64(4).u64(1234).u64(5).u64(600).u64(700);
    let by_hand = by_hand.raw(&[0x88; 32]).u64(1).raw(&[0x99; 32]);
    assert_eq!(plain, (1..=10).fold(by_hand, Plain::u64).0);
    let shown = serde_json::to_value(&manifest).unwrap();
    let encoded = sealed_value("manifest.json", ObjectKind::Snapshot, &names::snapshot(&id), shown, &plain, b"");
    assert_eq!(Manifest::decode(id, &encoded).unwrap(), manifest);
    assert!(Manifest::decode(parent, &encoded).is_err());
}

#[test]
fn the_metadata_of_a_namespace() {
    let index = SecondaryIndex {
        set: b"users".into(),
        name: b"by_age".into(),
        kind: b'N',
        bin: b"age".into(),
        value: b'N',
        context: vec![],
        expression: vec![0x93, 1, 2],
    };
    let udf = UdfModule { kind: b'L', name: b"sum.lua".into(), content: b"return 1".into() };
    let metadata = NamespaceMetadata { indexes: vec![index], udfs: vec![udf] };
    let plain = structured::encode(&metadata).unwrap();
    let by_hand = Plain::default().u64(1).list(b"users").list(b"by_age").u8(b'N').list(b"age").u8(b'N').list(b"");
    assert_eq!(plain, by_hand.list(&[0x93, 1, 2]).u64(1).u8(b'L').list(b"sum.lua").list(b"return 1").0);
    let stored = committed(
        "metadata.json",
        json!({
            "indexes": [{
                "set": "users", "name": "by_age", "kind": "N", "bin": "age", "value": "N", "context": "",
                "expression": "930102",
            }],
            "udfs": [{ "kind": "L", "name": "sum.lua", "content": "return 1" }],
            "encoded": hex::encode(&plain),
        }),
    );
    let decoded: NamespaceMetadata = structured::decode("metadata", &bytes(&stored["encoded"])).unwrap();
    assert_eq!(decoded, metadata);
}
