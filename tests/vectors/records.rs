//! Record bodies, their hashes, and the state hash.

use crate::support::{MASTER, bytes, committed, derived, keys};
use aerolith::format::leaf::RecordHash;
use aerolith::internals::run::StateSums;
use aerolith::record::batch::parse_bin_order;
use aerolith::record::{BinRef, Body, Digest, Generation, KeyRef, ParticleType, RecordBatch, RecordMeta, VoidTime};
use serde_json::json;

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
        let hash = keys.records().unwrap().hash(set, record.body);
        json!({
            "set": hex::encode(set),
            "key": key.map(|key| json!({ "type": key.particle.0, "bytes": hex::encode(key.bytes) })),
            "bins": bins.iter().map(|bin| json!({
                "name": hex::encode(bin.name), "type": bin.particle.0, "bytes": hex::encode(bin.bytes),
            })).collect::<Vec<_>>(),
            "digest": digest.to_string(), "partition": digest.partition().number(),
            "body": hex::encode(record.body), "bin_order": hex::encode(record.bin_order),
            "record_hash": hex::encode(hash.0), "state_term": hex::encode(keys.states().unwrap().term(&digest, &hash)),
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
        let body_length = (body.len() as u32).to_le_bytes();
        let mut message = [&[set.len() as u8][..], &body_length, set, &body].concat();
        message.resize(message.len().next_multiple_of(64), 0);
        let hash = blake3::keyed_hash(&derived("record hash"), &message);
        assert_eq!(bytes(&case["record_hash"]), hash.as_bytes()[..16]);
        let term = [bytes(&case["digest"]), bytes(&case["record_hash"]), vec![0; 28]].concat();
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
        records.iter().for_each(|(digest, hash)| sums.add(keys.states().unwrap(), digest, hash));
        let pair = |(digest, hash): &(Digest, RecordHash)| json!([digest.to_string(), hex::encode(hash.0)]);
        json!({
            "records": records.iter().map(pair).collect::<Vec<_>>(),
            "state_hash": hex::encode(sums.hash(keys.states().unwrap())),
        })
    });
    let stored = committed("state.json", json!({ "master": hex::encode(MASTER), "cases": built }));
    for case in stored["cases"].as_array().unwrap() {
        // Sums byte by byte, as the page has it.
        let mut sums = vec![[0u8; 32]; 4096];
        for record in case["records"].as_array().unwrap() {
            let digest = bytes(&record[0]);
            let partition = (usize::from(digest[0]) + 256 * usize::from(digest[1])) % 4096;
            let term = blake3::keyed_hash(&derived("state hash"), &[digest, bytes(&record[1]), vec![0; 28]].concat());
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
