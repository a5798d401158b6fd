//! What the master key makes, and how it is wrapped.

use crate::support::{MASTER, REPOSITORY, SALT, bytes, committed, derived, keys};
use aerolith::format::RepositoryId;
use aerolith::format::header::Class;
use aerolith::format::keyslot::{SlotHeader, SlotSecret};
use aerolith::format::snapshot::{MARKER_MAGIC, SnapshotState};
use aerolith::internals::crypto::slot;
use aerolith::{KdfCost, SnapshotId};
use serde_json::json;

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
    let (gear, shifted) = keys.cuts().unwrap().gear();
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
    let hash = keys().marker(&[&start[..], &id.0].concat()).unwrap();
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
    let id = |class, plain| keys().chunk_id(class, plain).unwrap().to_string();
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
