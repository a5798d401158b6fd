//! Cuts of the keyed chunker.

use crate::support::{MASTER, committed, keys};
use aerolith::format::config::ChunkSizes;
use aerolith::internals::chunk::Cutter;
use serde_json::json;

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
            let length = cutter.cut(keys.cuts().unwrap(), rest);
            assert_eq!(length, plain_cut(keys.cuts().unwrap().gear().0, sizes, small, large, rest));
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
