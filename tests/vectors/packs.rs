//! Packs and index segments.

use crate::support::{MASTER, Plain, SALT, SUITES, bytes, committed, keys, opened, subkey};
use aerolith::SnapshotId;
use aerolith::format::header::{Class, HEADER_BYTES, ObjectKind, Suite};
use aerolith::format::pack::{ChunkPlace, DirectoryRow, Packing};
use aerolith::format::{ChunkId, PackId, names};
use aerolith::internals::chunk::decompress;
use aerolith::internals::crypto::Sealer;
use aerolith::internals::index::{Index, Location, encode_segment};
use aerolith::internals::pack::{PackWriter, read_directory};
use aerolith::store::{MemoryStore, Store};
use serde_json::json;

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
        let mut pack = PackWriter::with_sealer(Sealer::with_salt(&keys, ObjectKind::Pack, class, suite, SALT).unwrap());
        for (plain, packing, packed) in &chunks {
            pack.add(keys.chunk_id(class, plain).unwrap(), *packing, plain.len() as u32, packed).unwrap();
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
    let name = names::index_segment(&session, 12);
    let packs = [(PackId([1; 32]), 70_000u64), (PackId([2; 32]), 90_112)];
    let row = |i: u32| {
        let packing = [Packing::Stored, Packing::Lz4, Packing::Zstd][(i % 3) as usize];
        let place = ChunkPlace {
            offset: 72 + 1000 * i,
            stored: 516,
            plain: if i.is_multiple_of(3) { 500 } else { 1000 + i },
            packing,
        };
        DirectoryRow { id: ChunkId(*blake3::hash(i.to_string().as_bytes()).as_bytes()), place }
    };
    // The first chunk is in both packs.
    let rows = [(0..40).map(row).collect::<Vec<_>>(), [0].into_iter().chain(40..70).map(row).collect()];
    let table: Vec<_> = packs.iter().zip(&rows).map(|((id, size), rows)| (*id, *size, rows.clone())).collect();
    let joined = [(SnapshotId([0x22; 16]), 0), (SnapshotId([0x33; 16]), 7)];
    let sealer = |suite| Sealer::with_salt(&keys, ObjectKind::Index, Class::Index, suite, SALT).unwrap();
    let segments = SUITES.map(|suite| {
        let segment = encode_segment(&sealer(suite), &name, &table, &joined).unwrap();
        json!({ "suite": suite.number(), "segment": hex::encode(segment) })
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
            "name": name, "row_fields": ["chunk id", "offset", "stored length", "plain length", "compression"],
            "packs": table.iter().map(described).collect::<Vec<_>>(),
            "joined": joined.map(|(session, number)| json!([session.to_string(), number])), "segments": segments,
        }),
    );
    for case in stored["segments"].as_array().unwrap() {
        let object = bytes(&case["segment"]);
        let (store, blocks, count) = (MemoryStore::new(), 2, 71);
        let directory = HEADER_BYTES + 48 * count + 16 * blocks;
        assert_eq!(object.len(), directory + 2 * 40 + blocks * 8 + 2 * 20 + 16 + 36);
        let (key, suite) = (subkey("index", &object), object[5]);
        let bound = |part: &str| format!("{part}{name}").into_bytes();
        let plain = opened(&key, suite, directory as u64, &bound("d"), &object[directory..object.len() - 36]);
        let end = object.len() - 36;
        let trailer = opened(&key, suite, end as u64, &bound("t"), &object[end..]);
        assert_eq!(trailer, Plain::default().u64(directory as u64).u32(71).u32(2).u32(2).0);
        let second = opened(&key, suite, 72 + 3088, &bound("b"), &object[72 + 3088..directory]);
        assert_eq!(plain[88..96], second[..8], "the second fence");
        let by_hand = Plain::default().raw(&[0x22; 16]).u32(0).raw(&[0x33; 16]).u32(7);
        assert_eq!(plain[96..], by_hand.0, "the joined segments");
        store.put_new(&name, &object).unwrap();
        let index = Index::open(&store, &keys, |id| *id == session, Default::default()).unwrap();
        assert_eq!(index.packs(), packs.into());
        assert_eq!(index.joined_into(&session, 12), joined);
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
