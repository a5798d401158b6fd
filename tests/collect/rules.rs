//! The rules that keep a collection from losing anything, one by one: each test fails if its rule is left out.

use crate::support::scene::*;
use crate::support::world::*;
use aerolith::format::snapshot::SnapshotState;
use aerolith::format::{ChunkId, PackId, names};
use aerolith::internals::index::Location;
use aerolith::internals::objects;
use aerolith::internals::pack::stored_packs;
use aerolith::record::Timestamp;
use aerolith::store::{Call, Effect, Fault, FaultStore, MemoryStore, Store};
use aerolith::{
    BackupKind, PruneOptions, RepairOptions, Repository, SessionOptions, Snapshot, SnapshotFilter, SnapshotId,
};
use std::sync::Arc;

fn taking_over() -> PruneOptions {
    thorough().fence(true)
}

/// A value chunk of the last snapshot that exists in a pack which the first snapshot's forgetting leaves partly needed,
/// if there is one.
fn find_live_chunk(scene: &Scene) -> Option<(ChunkId, Location)> {
    let repository = scene.repository();
    let values = values(&repository, &scene.id(2));
    let first = repository.snapshot(&scene.id(0)).unwrap();
    let mut gone = Vec::new();
    let chunks = repository.chunk_reader().unwrap();
    first.reach(&mut Default::default(), &mut |id, _| gone.push(id)).unwrap();
    gone.retain(|id| !values.contains(id));
    let partly: Vec<PackId> = gone.iter().flat_map(|id| chunks.locate(id).unwrap()).map(|at| at.pack).collect();
    values.into_iter().find_map(|id| {
        let at = chunks.locate(&id).unwrap().into_iter().find(|at| partly.contains(&at.pack))?;
        Some((id, at))
    })
}

/// The same of a scene that is large enough for one.
fn live_chunk(scene: &Scene) -> (ChunkId, Location) {
    find_live_chunk(scene).expect("no chunk of the last snapshot is in a pack of the first")
}

fn flip_at(disk: &MemoryStore, at: &Location) {
    flip(disk, &names::pack(&at.pack), at.place.offset as usize);
}

#[test]
fn what_cannot_be_read_is_not_condemned() {
    let scene = Scene::new(1200);
    let repository = scene.repository();
    let (_, at) = live_chunk(&scene);
    forget(&repository, &[scene.id(0)]).unwrap();
    flip_at(&scene.disk, &at);
    let report = prune(&repository, &thorough()).unwrap();
    assert!(report.problems.iter().any(|problem| problem.contains("stays as it is")), "{report:?}");
    assert!(scene.disk.list(names::PLANS).unwrap().is_empty(), "a plan can't be carried out");
    assert!(scene.disk.size(&names::pack(&at.pack)).unwrap().is_some());
    // Had back from a copy, it is moved.
    flip_at(&scene.disk, &at);
    prune(&repository, &thorough()).unwrap();
    assert_eq!(assert_exact(&repository, &scene.snapshots, "had back"), 2);
    assert_nothing_unused(&repository, "had back");
}

#[test]
fn a_condemned_pack_of_which_a_live_chunk_cannot_be_read_stays_with_its_plan() {
    let scene = Scene::new(1200);
    let (_, at) = live_chunk(&scene);
    forget(&scene.repository(), &[scene.id(0)]).unwrap();
    plan_and_die(&scene.disk, open);
    flip_at(&scene.disk, &at);
    let repository = scene.repository();
    let report = prune(&repository, &taking_over()).unwrap();
    assert!(report.problems.iter().any(|problem| problem.contains("stays until the chunk can be had")), "{report:?}");
    assert!(scene.disk.size(&names::pack(&at.pack)).unwrap().is_some());
    assert!(!scene.disk.list(names::PLANS).unwrap().is_empty(), "it is condemned for ever");
    flip_at(&scene.disk, &at);
    prune(&repository, &thorough()).unwrap();
    assert_eq!(assert_exact(&repository, &scene.snapshots, "had back"), 2);
    assert_clean(&repository, "had back");
    assert_nothing_unused(&repository, "had back");
}

/// Forgets a snapshot of which a live chunk has a damaged copy outside the plan, prunes, and says whether it came to
/// that: which pack a chunk falls into is random.
fn with_a_damaged_copy_outside() -> bool {
    let scene = Scene::new(400);
    let repository = scene.repository();
    let Some((id, at)) = find_live_chunk(&scene) else { return false };
    // Damaged, noted, and written a second time by a backup of another cluster.
    flip_at(&scene.disk, &at);
    check(&repository).unwrap();
    let about = SessionOptions::default().cluster("other");
    let mut session = repository.begin(about).unwrap();
    session.records("kept", &World::filled(0..400), BackupKind::Full, &options()).unwrap();
    // So much beside it that its pack stays.
    session.records("more", &World::filled(20_000..26_000), BackupKind::Full, &options()).unwrap();
    session.commit().unwrap();
    let copies = repository.chunk_reader().unwrap().locate(&id).unwrap();
    assert_eq!(copies.len(), 2, "the test needs a second copy of a chunk");
    // The first copy comes back, and the second is damaged instead.
    flip_at(&scene.disk, &at);
    copies.iter().filter(|copy| **copy != at).for_each(|copy| flip_at(&scene.disk, copy));
    forget(&repository, &[scene.id(0)]).unwrap();
    prune(&repository, &PruneOptions::default()).unwrap();
    assert_eq!(assert_exact(&repository, &scene.snapshots, "one whole copy"), 2);
    let gone = |copy: &Location| scene.disk.size(&names::pack(&copy.pack)).unwrap().is_none();
    copies.iter().all(|copy| gone(copy) == (*copy == at))
}

#[test]
fn a_copy_outside_the_plan_counts_only_if_it_is_whole() {
    assert!((0..20).any(|_| with_a_damaged_copy_outside()), "no pack went while the other stayed");
}

#[test]
fn a_collection_finds_what_it_must_move_without_the_index() {
    let scene = Scene::new(200);
    forget(&scene.repository(), &[scene.id(0)]).unwrap();
    for segment in scene.disk.list(names::INDEX).unwrap() {
        for at in [20, 80] {
            let disk = Arc::new(scene.disk.fork());
            flip(&disk, &segment.key, at);
            let repository = open(disk).unwrap();
            let about = format!("{} at {at}", segment.key);
            prune(&repository, &thorough()).unwrap_or_else(|error| panic!("{about}: {error}"));
            assert_eq!(assert_exact(&repository, &scene.snapshots, &about), 2);
            let found = check(&repository).unwrap();
            assert!(found.hurt.is_empty(), "{about}: {found:?}");
        }
    }
}

/// The calls that something makes, as they come.
fn calls(disk: &Arc<MemoryStore>, work: impl FnOnce(&Repository)) -> Vec<(Call, String)> {
    let store = Arc::new(FaultStore::new(disk.clone()));
    work(&open(store.clone()).unwrap());
    store.operations().into_iter().map(|operation| (operation.call, operation.key)).collect()
}

/// Between the last call of one kind and the first of another there must be a sync.
fn assert_durable_between(
    calls: &[(Call, String)],
    what: &str,
    before: impl Fn(&(Call, String)) -> bool,
    after: impl Fn(&(Call, String)) -> bool,
) {
    let last = calls.iter().rposition(before).unwrap_or_else(|| panic!("{what}: nothing came before"));
    let first = calls.iter().position(after).unwrap_or_else(|| panic!("{what}: nothing came after"));
    assert!(last < first, "{what}: in the wrong order");
    assert!(calls[last..first].iter().any(|(call, _)| *call == Call::Sync), "{what}: nothing made it durable");
}

#[test]
fn packs_are_gone_for_good_before_the_index_is_cleaned_and_that_before_the_plan_goes() {
    let scene = Scene::new(400);
    forget(&scene.repository(), &[scene.id(0)]).unwrap();
    let calls = calls(&scene.disk, |repository| {
        prune(repository, &thorough()).unwrap();
    });
    let is = |wanted: Call, directory: &'static str| {
        move |(call, key): &(Call, String)| *call == wanted && key.starts_with(directory)
    };
    let cleans = |one: &(Call, String)| is(Call::Put, names::INDEX)(one) || is(Call::Delete, names::INDEX)(one);
    assert_durable_between(
        &calls,
        "copies, then the commit",
        is(Call::PutNew, names::INDEX),
        is(Call::PutNew, names::SNAPSHOTS),
    );
    let commit = calls.iter().position(is(Call::PutNew, names::SNAPSHOTS)).unwrap();
    let deletes = calls.iter().position(is(Call::Delete, names::PACKS)).unwrap();
    assert!(commit < deletes, "something was deleted before the commit");
    assert_durable_between(&calls, "packs, then the index", is(Call::Delete, names::PACKS), cleans);
    assert_durable_between(&calls, "the index, then the plan", cleans, is(Call::Delete, names::PLANS));
}

#[test]
fn a_repair_is_committed_for_good_before_it_replaces_what_cannot_be_read() {
    let scene = Scene::new(100);
    let segment = scene.disk.list(names::INDEX).unwrap().remove(0).key;
    flip(&scene.disk, &segment, 80);
    let calls = calls(&scene.disk, |repository| {
        repository.repair(&RepairOptions::default()).unwrap();
    });
    let commits = |(call, key): &(Call, String)| *call == Call::PutNew && key.starts_with(names::SNAPSHOTS);
    let replaces = |(call, key): &(Call, String)| *call == Call::Put && *key == segment;
    assert_durable_between(&calls, "the commit, then the old segment", commits, replaces);
}

#[test]
fn a_session_that_says_that_it_ended_is_fenced_since_its_commit_may_be_on_its_way() {
    let scene = Scene::new(40);
    let repository = scene.repository();
    let mut session = begin(&repository).unwrap();
    session.records("kept", &scene.kept, BackupKind::Incremental, &options()).unwrap();
    let id = session.id();
    session.abandon(&aerolith::Error::Cancelled);
    forget(&repository, &[scene.id(0)]).unwrap();
    let report = prune(&repository, &thorough()).unwrap();
    assert!(report.fenced.is_empty(), "{report:?}");
    let size = scene.disk.size(&names::snapshot(&id)).unwrap().expect("its name is still free");
    assert_eq!(SnapshotState::from_size(size), SnapshotState::Fenced);
}

#[test]
fn holds_are_read_again_right_before_each_snapshot_is_forgotten() {
    let scene = Scene::new(30);
    let (other, id) = (scene.repository(), scene.id(1));
    let mut looked = false;
    // Once it was looked at with the others, and before its own turn.
    let store = HookStore::new(scene.disk.clone(), move |call, key| {
        if call == Call::List && key == names::HOLDS {
            looked = true;
        } else if looked && call == Call::Put && key.starts_with(names::SNAPSHOTS) {
            looked = false;
            other.hold(std::slice::from_ref(&id), &SnapshotFilter::ALL, "case 7").unwrap();
        }
    });
    let error = message(forget(&open(store).unwrap(), &[scene.id(0), scene.id(1)]));
    assert!(error.contains("case 7"), "{error}");
    let left: Vec<SnapshotId> = scene.repository().snapshots().unwrap().snapshots.iter().map(Snapshot::id).collect();
    assert_eq!(left, [scene.snapshots[1].0, scene.snapshots[2].0]);
}

#[test]
fn rows_of_a_damaged_segment_are_kept_for_a_pack_that_cannot_be_read() {
    let disk = Arc::new(MemoryStore::new());
    let repository = create(disk.clone()).unwrap();
    back_up_all(&repository, BackupKind::Full, &[("kept", &World::filled(0..30_000))]);
    let index = repository.index().unwrap();
    let (session, number) = index.segments()[0];
    let (packs, rows) = index.contents_of(&session, number).unwrap();
    assert!(rows > 128, "the test needs several blocks, and there are {rows} rows");
    let mut of_pack = std::collections::HashMap::<PackId, Vec<ChunkId>>::new();
    let each = &mut |id: &ChunkId, at: &Location| {
        of_pack.entry(at.pack).or_default().push(*id);
        Ok(())
    };
    index.each_row(&*disk, &session, number, each).unwrap();
    let (pack, chunks) = of_pack.into_iter().max_by_key(|(_, chunks)| chunks.len()).unwrap();
    let (_, size) = *packs.iter().find(|(id, _)| *id == pack).unwrap();
    // The first block of the segment, and the pack's directory.
    flip(&disk, &names::index_segment(&session, number), 80);
    flip(&disk, &names::pack(&pack), size as usize - 10);
    let report = repository.repair(&RepairOptions::default()).unwrap();
    assert!(report.problems.iter().any(|problem| problem.contains(&pack.to_string())), "{report:?}");
    let index = repository.index().unwrap();
    let known = chunks.iter().filter(|id| index.contains(&*disk, id).unwrap()).count();
    assert!(known > chunks.len() / 3 && known < chunks.len(), "{known} of {}", chunks.len());
}

#[test]
fn a_session_that_cannot_be_read_is_fenced() {
    let scene = Scene::new(40);
    let repository = scene.repository();
    let mut session = begin(&repository).unwrap();
    session.records("kept", &scene.kept, BackupKind::Incremental, &options()).unwrap();
    flip(&scene.disk, &names::session(&session.id()), 40);
    let report = prune(&repository, &thorough()).unwrap();
    assert_eq!(report.fenced, [session.id()]);
    assert!(message(session.commit()).contains("fenced"));
}

#[test]
fn a_session_is_dead_after_a_day_whatever_it_says_of_its_lease() {
    let scene = Scene::new(40);
    let repository = scene.repository();
    let id = SnapshotId([5; 16]);
    let mut session = objects::read_session(&*scene.disk, repository.keys(), scene.snapshots[0].0).unwrap();
    (session.id, session.outcome, session.lease_millis) = (id, None, u64::MAX);
    let hours_ago = |hours: u64| Timestamp::now().0 - hours * 3_600_000;
    session.heartbeat = hours_ago(23);
    put_session(&repository, &scene.disk, &session);
    assert!(message(prune(&repository, &thorough())).contains("still at work"));
    session.heartbeat = hours_ago(25);
    put_session(&repository, &scene.disk, &session);
    assert_eq!(prune(&repository, &thorough()).unwrap().fenced, [id]);
}

#[test]
fn a_check_leaves_nothing_that_a_collection_fences() {
    let scene = Scene::new(40);
    let repository = scene.repository();
    let chunk = values(&repository, &scene.id(2))[0];
    damage_chunk(&repository, &scene.disk, &chunk);
    check(&repository).unwrap();
    assert!(repository.history().unwrap().entries.iter().any(|entry| entry.job() == "check"));
    let before = scene.disk.list(names::SNAPSHOTS).unwrap().len();
    prune(&repository, &thorough().max_unused_percent(100.0)).unwrap();
    // The collection's own name.
    assert_eq!(scene.disk.list(names::SNAPSHOTS).unwrap().len(), before + 1);
}

/// Chunks with two copies, of which now the one and now the other is damaged; and both packs are condemned.
#[test]
fn of_two_condemned_copies_the_one_that_can_be_read_is_moved() {
    let disk = Arc::new(MemoryStore::new());
    let repository = create(disk.clone()).unwrap();
    let world = World::filled(0..600);
    let snapshots = begin_twice(&repository, "kept", &world)
        .map(|session| (session.commit().unwrap().id(), [("kept", world.truth())].into()));
    let chunks = repository.chunk_reader().unwrap();
    let ids = values(&repository, &snapshots[0].0.to_string());
    assert!(ids.len() > 1, "the test needs two chunks");
    for (n, id) in ids.iter().enumerate() {
        let copies = chunks.locate(id).unwrap();
        assert_eq!(copies.len(), 2);
        flip_at(&disk, &copies[n % 2]);
    }
    let mut condemned: Vec<PackId> = stored_packs(&*disk).unwrap().into_iter().map(|(id, _)| id).collect();
    condemned.sort_unstable();
    put_plan(&repository, &disk, SnapshotId([5; 16]), condemned);
    let report = prune(&repository, &thorough()).unwrap();
    assert!(report.problems.is_empty(), "{report:?}");
    assert_eq!(assert_exact(&repository, &snapshots, "moved"), 2);
    assert_clean(&repository, "moved");
    assert_nothing_unused(&repository, "moved");
}

/// A collection that died between its commit and its first deletion: all that is live has a copy that stays.
#[test]
fn what_a_collection_that_died_has_moved_is_not_moved_again() {
    // Which copy is found first depends on random ids.
    for _ in 0..6 {
        let scene = Scene::new(100);
        forget(&scene.repository(), &[scene.id(0)]).unwrap();
        let faulty = Arc::new(FaultStore::new(scene.disk.clone()));
        faulty.inject(Fault::nth(0, Effect::CrashBefore).under(names::PACKS).of(Call::Delete));
        message(prune(&open(faulty).unwrap(), &thorough()));
        let repository = scene.repository();
        let report = prune(&repository, &taking_over()).unwrap();
        assert!(report.packs_deleted > 0 && report.chunks_moved == 0, "{report:?}");
        assert_eq!(assert_exact(&repository, &scene.snapshots, "taken over"), 2);
        assert_nothing_unused(&repository, "taken over");
    }
}

#[test]
fn naming_many_snapshots_lists_the_store_once() {
    let scene = Scene::new(10);
    let calls = |names: &[String]| {
        let disk = Arc::new(scene.disk.fork());
        let counted = Arc::new(std::sync::Mutex::new(0));
        let count = counted.clone();
        let store = HookStore::new(disk, move |call, key| {
            *count.lock().unwrap() += usize::from(call == Call::Get && key.starts_with(names::SNAPSHOTS));
        });
        forget(&open(store).unwrap(), names).unwrap();
        std::mem::take(&mut *counted.lock().unwrap())
    };
    let one = calls(&[scene.id(0)]);
    assert_eq!(
        calls(&[scene.id(0), scene.id(1), "latest".into()]),
        one,
        "manifests are read once, however many are named"
    );
}
