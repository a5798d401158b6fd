//! Looking chunks up in the index: what is found, and how many blocks of the segments that takes.

use aerolith::SnapshotId;
use aerolith::format::header::Suite;
use aerolith::format::pack::{ChunkPlace, DirectoryRow, Packing};
use aerolith::format::{ChunkId, PackId};
use aerolith::internals::crypto::Keys;
use aerolith::internals::index::{Index, write_segments};
use aerolith::store::{Call, CountingStore, MemoryStore};
use std::collections::HashSet;

/// Rows of each segment: ten blocks.
const ROWS: u32 = 640;

fn keys() -> Keys {
    Keys::derive(&[3; 32])
}

fn session(n: u8) -> SnapshotId {
    SnapshotId([n; 16])
}

fn pack(n: u8) -> PackId {
    PackId([n; 32])
}

/// The chunks of a session, spread over all ids.
fn chunk(session: u8, n: u32) -> ChunkId {
    ChunkId(*blake3::hash(&[&[session][..], &n.to_le_bytes()].concat()).as_bytes())
}

/// Where the chunks of a pack stand, behind its header.
fn offset(n: u32) -> u32 {
    1_000 + n * 100
}

/// Writes a segment of a session whose chunks are in a pack of the same number.
fn write(store: &CountingStore<MemoryStore>, n: u8, chunks: impl Iterator<Item = ChunkId>) {
    let place = |offset| ChunkPlace { offset, stored: 100, plain: 84, packing: Packing::Stored };
    let rows = (0..).zip(chunks).map(|(at, id)| DirectoryRow { id, place: place(offset(at)) }).collect();
    write_segments(store, &keys(), Suite::Aes256Gcm, &session(n), vec![(pack(n), 1 << 20, rows)]).unwrap();
}

/// Four segments, those of sessions 1 to 4.
fn written() -> CountingStore<MemoryStore> {
    let store = CountingStore::new(MemoryStore::new());
    (1..=4).for_each(|n| write(&store, n, (0..ROWS).map(|at| chunk(n, at))));
    store
}

fn open(store: &CountingStore<MemoryStore>, excluded: &[PackId]) -> Index {
    Index::open(store, &keys(), |_| true, excluded.iter().copied().collect::<HashSet<_>>()).unwrap()
}

/// The blocks that were read meanwhile.
fn blocks(store: &CountingStore<MemoryStore>, work: impl FnOnce()) -> u64 {
    let before = store.counts().calls(Call::GetRange);
    work();
    store.counts().calls(Call::GetRange) - before
}

#[test]
fn chunks_are_found_with_few_blocks_where_their_neighbours_were_found() {
    let store = written();
    for n in 1..=4 {
        let index = open(&store, &[]);
        let read = blocks(&store, || {
            for at in 0..ROWS {
                let found = index.find_near(&store, &chunk(n, at)).unwrap().unwrap();
                assert_eq!((found.pack, found.place.offset), (pack(n), offset(at)));
            }
        });
        // Its own, and one of each segment that was asked before the first was found.
        assert!(read <= u64::from(ROWS).div_ceil(64) + 3, "{read} blocks for the chunks of segment {n}");
    }
}

#[test]
fn segments_are_asked_in_the_order_of_their_ranks() {
    let store = written();
    for first in 1..=4 {
        let mut index = open(&store, &[]);
        index.order_by(|id| if *id == session(first) { 0 } else { 1 });
        let read = blocks(&store, || assert!(index.find_near(&store, &chunk(first, 7)).unwrap().is_some()));
        assert_eq!(read, 1, "segment {first}");
    }
}

#[test]
fn segments_before_the_one_that_was_asked_last_are_asked_too() {
    let store = written();
    let index = open(&store, &[]);
    for n in [4, 1, 3, 2] {
        assert_eq!(index.find_near(&store, &chunk(n, 0)).unwrap().unwrap().pack, pack(n));
    }
    assert!(index.find_near(&store, &chunk(5, 0)).unwrap().is_none());
}

#[test]
fn a_copy_in_a_pack_that_counts_as_absent_is_not_found_and_another_is() {
    let store = written();
    // The first chunk of each of the first two sessions has a second copy.
    write(&store, 5, [chunk(1, 0), chunk(2, 0)].into_iter());
    let index = open(&store, &[pack(1)]);
    assert_eq!(index.find_near(&store, &chunk(1, 0)).unwrap().unwrap().pack, pack(5));
    assert!(index.find_near(&store, &chunk(1, 1)).unwrap().is_none());
    let places = |id: &ChunkId| -> Vec<PackId> {
        let mut packs: Vec<PackId> = index.lookup(&store, id).unwrap().iter().map(|at| at.pack).collect();
        packs.sort_unstable();
        packs
    };
    assert_eq!((places(&chunk(1, 0)), places(&chunk(1, 1))), (vec![pack(5)], vec![]));
    assert_eq!(places(&chunk(2, 0)), [pack(2), pack(5)]);
    assert_eq!(index.absent_packs_of(&store, &chunk(1, 1)).unwrap(), [pack(1)]);
}

#[test]
fn a_small_segment_is_opened_and_searched_with_one_request() {
    let store = CountingStore::new(MemoryStore::new());
    (1..=20).for_each(|n| write(&store, n, (0..100).map(|at| chunk(n, at))));
    let before = store.counts();
    let index = open(&store, &[]);
    for n in 1..=20 {
        assert_eq!(index.find_near(&store, &chunk(n, 99)).unwrap().unwrap().pack, pack(n));
        assert_eq!(index.lookup(&store, &chunk(n, 1)).unwrap().len(), 1);
    }
    let after = store.counts();
    let made = |call| after.calls(call) - before.calls(call);
    assert_eq!((made(Call::Get), made(Call::GetRange), made(Call::List)), (20, 0, 1));
}
