//! Leaves and branch nodes.

use crate::support::{bytes, committed};
use aerolith::format::ChunkId;
use aerolith::format::leaf::{self, Entry, LiveEntry, RecordHash, ValuePlace};
use aerolith::format::node::{self, Child, Node};
use aerolith::record::{Digest, Generation, VoidTime};
use serde_json::{Value, json};

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
        let children: Vec<_> = children.collect();
        json!({ "level": node.level, "children": children, "node": hex::encode(node::encode(node)) })
    });
    let stored = committed("node.json", json!({ "nodes": built }));
    for (case, node) in stored["nodes"].as_array().unwrap().iter().zip(nodes) {
        assert_eq!(node::decode(node.level, &bytes(&case["node"])).unwrap(), node);
    }
}
