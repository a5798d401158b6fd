//! Plans, sessions, markers, manifests, index segments and packs by someone who holds the keys and lies about lengths,
//! counts and places: what is not true is refused or made up for, in bounded memory, and nothing that is true is lost
//! by it.

mod support;

use aerolith::format::header::{Class, HEADER_BYTES, ObjectKind, Suite};
use aerolith::format::index::{BLOCK_ROWS, IndexRow, SegmentDirectory, SegmentTrailer, associated_data, encode_block};
use aerolith::format::pack::Packing;
use aerolith::format::padding::padme;
use aerolith::format::plan::CollectionPlan;
use aerolith::format::{ChunkId, PackId, names, structured};
use aerolith::internals::chunks::ChunkReader;
use aerolith::internals::crypto::{Sealer, sealed};
use aerolith::internals::index::{Index, write_segments};
use aerolith::internals::objects;
use aerolith::internals::pack::{PackWriter, read_directory};
use aerolith::store::{MemoryStore, Store};
use aerolith::{BackupKind, Repository, SnapshotId};
use peak_alloc::PeakAlloc;
use std::sync::{Arc, Mutex, PoisonError};
use support::scene::*;
use support::world::*;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// One test at a time, so that what it takes can be measured.
static ALONE: Mutex<()> = Mutex::new(());

const SUITE: Suite = Suite::Aes256Gcm;
const LIAR: SnapshotId = SnapshotId([7; 16]);

/// Does some work, which must take less memory than this, in MiB, beyond what was taken before.
#[track_caller]
fn within<T>(mebibytes: usize, work: impl FnOnce() -> T) -> T {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let done = work();
    let taken = MEMORY.peak_usage().saturating_sub(before);
    assert!(taken <= mebibytes << 20, "it took {} KiB", taken >> 10);
    done
}

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stores a sealed value.
fn put(repository: &Repository, kind: ObjectKind, name: &str, value: &[u8]) {
    let bytes = sealed::seal(repository.keys(), kind, SUITE, name, value).unwrap();
    repository.store().put(name, &bytes).unwrap();
}

#[test]
fn counts_that_no_object_has_bytes_for_are_refused_before_memory_is_taken() {
    let _alone = alone();
    let repository = create(Arc::new(MemoryStore::new())).unwrap();
    for count in [u64::MAX, 1 << 60, 1 << 40, 1 << 32, 3] {
        let mut value = LIAR.0.to_vec();
        value.extend_from_slice(&count.to_le_bytes());
        value.extend_from_slice(&[9; 64]);
        put(&repository, ObjectKind::Plan, &names::plan(&LIAR), &value);
        let condemned = within(4, || objects::condemned(&**repository.store(), repository.keys()));
        let error = message(condemned);
        assert!(error.contains(&names::plan(&LIAR)), "{count}: {error}");
        // A session: its kind, then a text of so many bytes. A manifest: two times, then the same.
        let session = [&LIAR.0[..], &[0; 4], &count.to_le_bytes(), b"ab"].concat();
        put(&repository, ObjectKind::Session, &names::session(&LIAR), &session);
        let read = within(4, || objects::read_session(&**repository.store(), repository.keys(), LIAR));
        assert!(message(read).contains(&names::session(&LIAR)), "{count}");
        let manifest = [&LIAR.0[..], &[0; 16], &count.to_le_bytes(), b"ab"].concat();
        put(&repository, ObjectKind::Snapshot, &names::snapshot(&LIAR), &manifest);
        let read = within(4, || objects::read_manifest(&**repository.store(), repository.keys(), LIAR));
        assert!(message(read).contains(&names::snapshot(&LIAR)), "{count}");
    }
    // It hinders no reader: it is named, and passed over.
    assert_eq!(repository.history().unwrap().damaged.len(), 1);
    assert_eq!(repository.snapshots().unwrap().damaged.len(), 1);
    assert!(message(prune(&repository, &thorough())).contains(&names::plan(&LIAR)));
    let error = message(begin(&repository).map(|_| ()));
    assert!(error.contains(&names::plan(&LIAR)), "{error}");
}

#[test]
fn a_plan_that_condemns_everything_costs_a_rewrite_and_nothing_else() {
    let _alone = alone();
    let scene = Scene::new(100);
    let repository = scene.repository();
    let mut condemned: Vec<PackId> =
        (0..50_000u32).map(|n| PackId(*blake3::hash(&n.to_le_bytes()).as_bytes())).collect();
    let packs = scene.disk.list(names::PACKS).unwrap();
    condemned.extend(packs.iter().filter_map(|object| names::parse_pack(&object.key)));
    let plan = structured::encode(&CollectionPlan { session: LIAR, condemned }).unwrap();
    put(&repository, ObjectKind::Plan, &names::plan(&LIAR), &plan);
    // A backup begun under it builds on nothing that it condemns.
    let next = scene.kept.later(0..100, 0.2, 0.1, 7);
    let last = back_up_all(&repository, BackupKind::Incremental, &[("kept", &next)]);
    let report = within(64, || prune(&repository, &thorough()).unwrap());
    assert!(report.packs_deleted >= packs.len() as u64 && report.chunks_moved > 0, "{report:?}");
    let all: Vec<_> = scene.snapshots.iter().cloned().chain([last]).collect();
    assert_eq!(assert_exact(&repository, &all, "moved"), 4);
    assert_clean(&repository, "moved");
    assert_nothing_unused(&repository, "moved");
}

#[test]
fn a_session_from_the_future_holds_a_collection_up_and_can_be_fenced() {
    let _alone = alone();
    let scene = Scene::new(30);
    let repository = scene.repository();
    let mut session = objects::read_session(&*scene.disk, repository.keys(), scene.snapshots[0].0).unwrap();
    (session.id, session.job, session.outcome) = (LIAR, "to stay for ever".into(), None);
    (session.started, session.heartbeat, session.lease_millis) = (u64::MAX, u64::MAX, u64::MAX);
    session.adopted = vec![PackId([3; 32]); 100_000];
    put(&repository, ObjectKind::Session, &names::session(&LIAR), &structured::encode(&session).unwrap());
    let error = message(within(32, || prune(&repository, &thorough())));
    assert!(error.contains("to stay for ever") && error.contains("`fence`"), "{error}");
    let fencing = thorough().fence(true);
    assert_eq!(prune(&repository, &fencing).unwrap().fenced, [LIAR]);
    assert_eq!(assert_exact(&repository, &scene.snapshots, "fenced"), 3);
    assert_eq!(repository.history().unwrap().entries.last().unwrap().id(), LIAR);
}

#[test]
fn the_marker_of_another_snapshot_forgets_nothing() {
    let _alone = alone();
    let scene = Scene::new(30);
    let repository = scene.repository();
    let (first, second) = (scene.snapshots[0].0, scene.snapshots[1].0);
    let marker = objects::marker(repository.keys(), first, 1).unwrap();
    let name = names::snapshot(&second);
    let manifest = scene.disk.get(&name, u64::MAX).unwrap().unwrap();
    scene.disk.put(&name, &marker).unwrap();
    let packs = scene.disk.list(names::PACKS).unwrap();
    assert!(message(prune(&repository, &thorough())).contains(&name));
    assert_eq!(scene.disk.list(names::PACKS).unwrap(), packs);
    assert_eq!(check(&repository).unwrap().hurt, [second]);
    scene.disk.put(&name, &manifest).unwrap();
    assert_eq!(assert_exact(&repository, &scene.snapshots, "back"), 3);
}

/// A segment whose parts say what they are told to.
fn segment(
    repository: &Repository,
    name: &str,
    rows: &[IndexRow],
    packs: Vec<(PackId, u64)>,
    says: impl FnOnce(SegmentTrailer) -> SegmentTrailer,
) -> Vec<u8> {
    let sealer = Sealer::create(repository.keys(), ObjectKind::Index, Class::Index, SUITE).unwrap();
    let mut bytes = sealer.header().encode().to_vec();
    let mut seal = |plain: &[u8], part: u8| {
        let at = bytes.len();
        bytes.extend_from_slice(plain);
        sealer.seal(at as u64, &associated_data(part, name), &mut bytes, at).unwrap();
        at as u64
    };
    let head = |row: &IndexRow| u64::from_be_bytes(row.id.0[..8].try_into().unwrap());
    let blocks: Vec<&[IndexRow]> = rows.chunks(BLOCK_ROWS).collect();
    for block in &blocks {
        seal(&encode_block(block), b'b');
    }
    let fences = blocks.iter().map(|block| head(&block[0])).collect();
    let count = packs.len() as u32;
    let directory = seal(&SegmentDirectory { packs, fences, joined: Vec::new() }.encode(), b'd');
    let trailer = says(SegmentTrailer { directory, rows: rows.len() as u32, packs: count, joined: 0 });
    seal(&trailer.encode(), b't');
    bytes
}

#[test]
fn an_index_that_lies_about_packs_places_and_counts_hides_nothing() {
    let _alone = alone();
    type Lie = fn(&mut IndexRow, u64);
    let rows: [(&str, Lie); 6] = [
        ("a pack that the table lacks", |row, _| row.pack = 7),
        ("a place behind the pack's end", |row, size| row.place.offset = size as u32 + 1000),
        ("a chunk that is longer than its pack", |row, size| row.place.stored = size as u32 + 1),
        ("a chunk of 4 GiB", |row, _| row.place.plain = u32::MAX),
        ("a place within another chunk", |row, _| row.place.offset += 1),
        ("another chunk's name", |row, _| row.id = ChunkId([0x55; 32])),
    ];
    type Says = fn(SegmentTrailer) -> SegmentTrailer;
    let trailers: [(&str, Says); 5] = [
        ("more rows", |said| SegmentTrailer { rows: said.rows + 1, ..said }),
        ("as many rows as there can be", |said| SegmentTrailer { rows: 1 << 20, ..said }),
        ("more packs", |said| SegmentTrailer { packs: u32::MAX, ..said }),
        ("a directory behind its end", |said| SegmentTrailer { directory: u64::MAX - 8, ..said }),
        ("a directory in its header", |said| SegmentTrailer { directory: 0, ..said }),
    ];
    let scene = Scene::new(100);
    // The liar's session was committed: its segments count.
    let committed = scene.repository();
    objects::commit_without_snapshot(&*scene.disk, committed.keys(), LIAR, 1).unwrap();
    let mut truth: Vec<(PackId, u64, IndexRow)> = Vec::new();
    for object in scene.disk.list(names::PACKS).unwrap() {
        let id = names::parse_pack(&object.key).unwrap();
        let (_, rows) = read_directory(&*scene.disk, committed.keys(), id, object.size).unwrap();
        let row = |row: aerolith::format::pack::DirectoryRow| IndexRow { id: row.id, pack: 0, place: row.place };
        truth.extend(rows.into_iter().map(|found| (id, object.size, row(found))));
    }
    truth.sort_by_key(|(_, _, row)| row.id);
    let name = names::index_segment(&LIAR, 0);
    let honest = |said: SegmentTrailer| said;
    let mut lies: Vec<(String, Vec<u8>)> = Vec::new();
    for (about, lie) in rows {
        let mut packs: Vec<(PackId, u64)> = Vec::new();
        let mut told: Vec<IndexRow> = Vec::new();
        for (pack, size, row) in &truth {
            let number = packs.iter().position(|(id, _)| id == pack).unwrap_or_else(|| {
                packs.push((*pack, *size));
                packs.len() - 1
            });
            let mut row = IndexRow { pack: number as u32, ..*row };
            lie(&mut row, *size);
            told.push(row);
        }
        packs.truncate(if about.contains("table lacks") { 3 } else { usize::MAX });
        told.sort_by_key(|row| (row.id, row.pack));
        lies.push((about.to_string(), segment(&committed, &name, &told, packs, honest)));
    }
    let (pack, size, row) = truth[0];
    for (about, says) in trailers {
        lies.push((about.to_string(), segment(&committed, &name, &[row], vec![(pack, size)], says)));
    }
    for (about, bytes) in lies {
        let disk = Arc::new(scene.disk.fork());
        disk.put(&name, &bytes).unwrap();
        let repository = open(disk.clone()).unwrap();
        within(96, || assert_eq!(assert_exact(&repository, &scene.snapshots, &about), 3));
        within(96, || check(&repository).unwrap());
        let next = scene.kept.later(0..100, 0.2, 0.1, 7);
        let last = within(160, || back_up_all(&repository, BackupKind::Full, &[("kept", &next)]));
        forget(&repository, &[scene.id(0)]).unwrap();
        within(160, || prune(&repository, &thorough()).unwrap_or_else(|error| panic!("{about}: {error}")));
        let all: Vec<_> = scene.snapshots.iter().cloned().chain([last]).collect();
        assert_eq!(assert_exact(&repository, &all, &about), 3, "{about}");
    }
}

#[test]
fn a_chunk_that_unpacks_to_more_or_less_than_it_says_is_refused() {
    let _alone = alone();
    let store = Arc::new(MemoryStore::new());
    let repository = create(store.clone()).unwrap();
    let zeros = vec![0; 15 << 20];
    let bombs =
        [(Packing::Lz4, lz4_flex::block::compress(&zeros)), (Packing::Zstd, zstd::bulk::compress(&zeros, 3).unwrap())];
    let mut ids = Vec::new();
    let mut pack = PackWriter::create(repository.keys(), Class::Data, SUITE, Vec::new()).unwrap();
    for (packing, packed) in &bombs {
        for plain in [0, 1, 100, 1 << 20, 16 << 20] {
            let id = ChunkId(*blake3::hash(&[packing.number(), (plain >> 16) as u8, plain as u8]).as_bytes());
            pack.add(id, *packing, plain, packed).unwrap();
            ids.push(id);
        }
    }
    drop(zeros);
    let pack = pack.finish().unwrap();
    store.put_new(&pack.key(), &pack.bytes).unwrap();
    let size = pack.bytes.len() as u64;
    write_segments(&*store, repository.keys(), SUITE, &LIAR, vec![(pack.id, size, pack.rows)]).unwrap();
    let index = Arc::new(Index::open(&*store, repository.keys(), |_| true, Default::default()).unwrap());
    let reader = ChunkReader::new(store, repository.keys().clone(), index, 1 << 20);
    for id in ids {
        let error = within(24, || reader.read(&id, Class::Data)).unwrap_err();
        assert!(error.is_damage(), "{error}");
    }
}

#[test]
fn a_sealed_value_that_unpacks_to_more_or_less_than_it_says_is_refused_before_memory_is_taken() {
    let _alone = alone();
    let scene = Scene::new(30);
    let repository = scene.repository();
    let id = scene.snapshots[0].0;
    let name = names::snapshot(&id);
    let forge = |packing: Packing, plain: u32, packed: &[u8]| {
        let sealer = Sealer::create(repository.keys(), ObjectKind::Snapshot, Class::Meta, SUITE).unwrap();
        let mut bytes = sealer.header().encode().to_vec();
        let lengths = [packed.len() as u32, u32::from(packing.number()) << 30 | plain];
        let value = [&lengths.map(u32::to_le_bytes).concat()[..], packed].concat();
        bytes.extend_from_slice(&value);
        bytes.resize(HEADER_BYTES + padme(value.len() as u64) as usize, 0);
        sealer.seal(0, name.as_bytes(), &mut bytes, HEADER_BYTES).unwrap();
        repository.store().put(&name, &bytes).unwrap();
    };
    let read = || objects::read_manifest(&*scene.disk, repository.keys(), id);
    let manifest = read().unwrap();
    let plain = structured::encode(&manifest).unwrap();
    let length = plain.len() as u32;
    let (lz4, zstd) = (lz4_flex::block::compress(&plain), zstd::bulk::compress(&plain, 1).unwrap());
    for (packing, packed) in [(Packing::Stored, &plain), (Packing::Lz4, &lz4), (Packing::Zstd, &zstd)] {
        forge(packing, length, packed);
        assert_eq!(read().unwrap(), manifest, "{packing:?}");
        for (claim, packed) in [
            (length - 1, &packed[..]),
            (length + 1, packed),
            (length, &packed[..packed.len() - 1]),
            (0x3fff_ffff, packed),
        ] {
            forge(packing, claim, packed);
            let error = message(within(1, read));
            assert!(error.contains(&name), "{packing:?}, {claim}: {error}");
        }
    }
    // 80 MiB of zeros in a few kilobytes, and one byte more than a value may have.
    let bomb = zstd::bulk::compress(&vec![0; 80 << 20], 3).unwrap();
    for claim in [length, (64 << 20) - 7, 80 << 20] {
        forge(Packing::Zstd, claim, &bomb);
        assert!(message(within(1, read)).contains(&name), "{claim}");
    }
    // It is named, and does not keep others from being read.
    let list = repository.snapshots().unwrap();
    assert_eq!((list.damaged.len(), list.snapshots.len()), (1, 2));
}

#[test]
fn runs_and_snapshots_that_claim_more_than_they_have_are_told_so_in_bounded_memory() {
    let _alone = alone();
    let scene = Scene::new(100);
    let repository = scene.repository();
    let id = scene.snapshots[2].0;
    let manifest = objects::read_manifest(&*scene.disk, repository.keys(), id).unwrap();
    const MOST: u64 = (1 << 48) - 1;
    for claim in 0..4 {
        let mut claims = manifest.clone();
        let namespace = &mut claims.namespaces[0];
        match claim {
            0 => (namespace.live_records, namespace.live_bytes, namespace.reached_bytes) = (MOST, MOST, MOST),
            1 => namespace.runs[0].entries = MOST,
            2 => (namespace.runs[0].entries, namespace.runs[0].tombstones) = (MOST, MOST),
            _ => claims.index_segments = u32::MAX,
        }
        put(&repository, ObjectKind::Snapshot, &names::snapshot(&id), &structured::encode(&claims).unwrap());
        let snapshot = repository.snapshot(&id.to_string()).unwrap();
        let target = MemoryTarget::default();
        let restored = within(96, || snapshot.restore("kept", &target, &Default::default()));
        let is_told = restored.as_ref().map_or(true, |report| report.is_damaged());
        // How many segments there are is nothing that a restore depends on.
        assert_eq!(is_told, claim != 3, "claim {claim}: {restored:?}");
        let found = within(96, || check(&repository).unwrap());
        assert!(!found.problems.is_empty() || claim == 0, "claim {claim}: {found:?}");
        let truth = &scene.snapshots[2].1["kept"];
        assert!(is_part_of(&target.records.lock().unwrap(), truth), "claim {claim}");
        // A full backup on top of it holds what the source has.
        let (next, contents) = back_up_all(&repository, BackupKind::Full, &[("kept", &scene.kept)]);
        assert_eq!(assert_exact(&repository, &[(next, contents)], "on top"), 1);
    }
}
