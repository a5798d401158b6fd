//! The model's steps are the code's steps: what real backups, forgets, collections and restores ask of the store is
//! held against the steps that the model's actors take, one after another.

use super::model::{Model, Scene, Step};
use super::scenes;
use super::state::State;
use crate::support::scene::{Scene as Repositories, begin, forget, open, options, prune, thorough};
use crate::support::world::{MemoryTarget, put_session};
use aerolith::BackupKind;
use aerolith::internals::collect::KEPT_MILLIS;
use aerolith::internals::objects;
use aerolith::store::{Call, FaultStore, MemoryStore, Operation};
use std::sync::Arc;

/// The calls that each step of the model represents: what is called, and in which directory.
fn calls_of(actor: &str, step: &str) -> Vec<(Call, &'static str)> {
    use Call::*;
    let calls: &[(Call, &str)] = match (actor, step) {
        (_, "creates its session") => &[(PutNew, "sessions")],
        (_, "lists the sessions") => &[(List, "sessions"), (List, "snapshots")],
        (_, "fences") => &[(PutNew, "snapshots")],
        ("user", "forgets") => &[(Put, "snapshots")],
        // Each other word of the name under `snapshots/` is one listing.
        (_, "lists the names" | "builds on" | "builds on nothing" | "opens snapshot") => &[(List, "snapshots")],
        (_, "lists the names and reads the manifests") => &[(List, "snapshots")],
        (_, "has all settled, and lists the snapshots again") => &[(List, "snapshots")],
        (_, "has all settled, and reads the plans") => &[(List, "gc")],
        (_, "reads the plans, which condemn" | "reads all plans, which condemn") => &[(List, "gc")],
        (_, "reads the index" | "reads the index, and chooses" | "reads the index outside the plans") => {
            &[(List, "index")]
        }
        (_, "lists the packs" | "lists the packs again" | "lists the packs once more") => &[(List, "packs")],
        // A reader misses a pack, or the rows of a segment that was rewritten.
        (_, "looks up what it needs" | "has nothing to move" | "is done" | "misses") => &[],
        (_, "uploads a pack" | "moves what is live") => &[(PutNew, "packs")],
        (_, "writes its segment, which names") => &[(PutNew, "index")],
        (_, "syncs" | "has cleaned the index") => &[(Sync, "")],
        (_, "commits") => &[(PutNew, "snapshots")],
        (_, "commits itself") => &[(Sync, ""), (PutNew, "snapshots")],
        (_, "writes its plan") => &[(PutNew, "gc")],
        (_, "deletes") => &[(Delete, "packs")],
        (_, "lists the index") => &[(List, "index")],
        // Whether a row is left or none decides which of the two it is.
        (_, "deletes the segment of" | "rewrites the segment of") => &[(Delete, "index")],
        (_, "deletes the plan of") => &[(Delete, "gc")],
        (_, "reads the folds") => &[(List, "folds")],
        // The history of the sessions is written before the fold, and their objects go with their names.
        (_, "writes its fold, with the names of" | "folds sessions without their names") => &[(PutNew, "folds")],
        (_, "syncs its fold") => &[(Sync, "")],
        (_, "deletes the name of" | "deletes the session of") => &[(Delete, "snapshots")],
        (_, "deletes the fold of") => &[(Delete, "folds")],
        (_, "has deleted the names" | "has folded") => &[],
        ("reader", "reads a chunk from" | "reads the directories of") => &[(GetRange, "packs")],
        _ => panic!("no calls are known for: {actor} {step}"),
    };
    calls.to_vec()
}

/// Lets one actor of a scene run alone to its end, and gives back its steps. Of several it takes the first of those
/// that it likes, or else the first.
fn alone(scene: Scene, state: &mut State, actor: &str, likes: &[&str]) -> Vec<&'static str> {
    let model = Model { scene, without: &[] };
    let mut taken = Vec::new();
    loop {
        let mut steps: Vec<Step> = model.steps(state).into_iter().filter(|step| step.actor == actor).collect();
        if steps.is_empty() {
            return taken;
        }
        let liked = steps.iter().position(|step| likes.contains(&step.what)).unwrap_or(0);
        let step = steps.swap_remove(liked);
        taken.push(step.what);
        *state = step.state;
        if actor == "user" {
            return taken;
        }
    }
}

/// What was asked of a store, by directory. Session objects that are rewritten are heartbeats and outcomes, which
/// nobody waits for.
fn asked(operations: &[Operation]) -> Vec<(Call, &str)> {
    let directory = |operation: &Operation| match (operation.call, operation.key.split('/').next().unwrap_or_default())
    {
        (Call::Put, "index") => (Call::Delete, "index"),
        (Call::Delete, "sessions") => (Call::Delete, "snapshots"),
        (call, "folds" | "history") => (call, "folds"),
        (call, "sessions") => (call, "sessions"),
        (call, "snapshots") => (call, "snapshots"),
        (call, "packs") => (call, "packs"),
        (call, "index") => (call, "index"),
        (call, "gc") => (call, "gc"),
        (call, _) => (call, ""),
    };
    operations.iter().map(directory).filter(|asked| *asked != (Call::Put, "sessions")).collect()
}

/// The steps' calls must come in this order, and whatever is changed must be one of them. Other reads may come in
/// between, and one step may take several calls of its kind.
#[track_caller]
fn assert_same(actor: &str, steps: &[&str], operations: &[Operation]) {
    let expected: Vec<(&str, (Call, &str))> =
        steps.iter().flat_map(|step| calls_of(actor, step).into_iter().map(move |call| (*step, call))).collect();
    let asked = asked(operations);
    let (mut next, mut last) = (0, None);
    for call in &asked {
        if expected.get(next).is_some_and(|(_, expected)| expected == call) {
            (next, last) = (next + 1, Some(*call));
            continue;
        }
        let changes = call.0.changes() || call.0 == Call::Sync;
        assert!(!changes || last == Some(*call), "{call:?} is no step after {:?}: {asked:?}", &expected[..next]);
    }
    assert!(next == expected.len(), "{:?} was not asked after {:?}: {asked:?}", expected[next], &expected[..next]);
}

/// A repository in which packs are partly needed once its first snapshot is forgotten, and a store that logs what is
/// asked of it once it is open. The keys decide which chunk falls into which pack, and with few of them no pack is
/// partly needed: then another one is made.
fn logged() -> (Repositories, Arc<FaultStore<Arc<MemoryStore>>>) {
    let has_to_move = |scene: &Repositories| {
        let repository = open(Arc::new(scene.disk.fork())).unwrap();
        forget(&repository, &[scene.id(0)]).unwrap();
        prune(&repository, &thorough()).unwrap().chunks_moved > 0
    };
    let scene = std::iter::repeat_with(|| Repositories::new(150)).find(has_to_move).unwrap();
    let store = Arc::new(FaultStore::new(scene.disk.clone()));
    (scene, store)
}

#[test]
fn a_backup_asks_what_the_writer_of_the_model_asks() {
    let (scene, store) = logged();
    let next = scene.kept.later(0..150, 0.3, 0.1, 7);
    let repository = open(store.clone()).unwrap();
    let before = store.operations().len();
    let mut session = begin(&repository).unwrap();
    session.records("kept", &next, BackupKind::Incremental, &options()).unwrap();
    session.commit().unwrap();
    let mut state = Model { scene: scenes::WRITER_PART, without: &[] }.first();
    let steps = alone(scenes::WRITER_PART, &mut state, "W0", &["builds on"]);
    assert!(steps.contains(&"uploads a pack") && steps.contains(&"commits"), "{steps:?}");
    assert_same("W0", &steps, &store.operations()[before..]);
}

#[test]
fn a_forget_and_a_collection_ask_what_the_user_and_the_collector_of_the_model_ask() {
    let (scene, store) = logged();
    let repository = open(store.clone()).unwrap();
    let mut state = Model { scene: scenes::COLLECTORS_EXISTING, without: &[] }.first();
    let before = store.operations().len();
    forget(&repository, &[scene.id(0)]).unwrap();
    let steps = alone(scenes::COLLECTORS_EXISTING, &mut state, "user", &[]);
    assert_same("user", &steps, &store.operations()[before..]);
    let likes = ["writes its segment, which names"];
    for collector in ["G0", "G1"] {
        let before = store.operations().len();
        let report = prune(&repository, &thorough()).unwrap();
        let steps = alone(scenes::COLLECTORS_EXISTING, &mut state, collector, &likes);
        // The first moves and deletes, the second finds nothing to do and writes no plan.
        let first = collector == "G0";
        assert_eq!((report.chunks_moved > 0, steps.contains(&"writes its plan")), (first, first), "{steps:?}");
        assert_same(collector, &steps, &store.operations()[before..]);
    }
}

#[test]
fn a_folding_asks_what_the_collector_of_the_model_asks() {
    let (scene, store) = logged();
    let repository = open(store.clone()).unwrap();
    let old = |repository: &aerolith::Repository| {
        for id in objects::list_sessions(&*scene.disk).unwrap() {
            let mut session = objects::read_session(&*scene.disk, repository.keys(), id).unwrap();
            session.heartbeat -= KEPT_MILLIS + 1;
            put_session(repository, &scene.disk, &session);
        }
    };
    // A session that failed, one after the other: the second folding merges what the first wrote.
    let mut state = Model { scene: scenes::FOLDING_COLLECTORS, without: &[] }.first();
    for collector in ["G0", "G1"] {
        drop(begin(&repository).unwrap());
        prune(&repository, &thorough()).unwrap();
        old(&repository);
        let before = store.operations().len();
        prune(&repository, &thorough()).unwrap();
        let steps = alone(scenes::FOLDING_COLLECTORS, &mut state, collector, &["writes its fold, with the names of"]);
        let merges = steps.contains(&"deletes the fold of");
        assert_eq!((steps.contains(&"deletes the name of"), merges), (true, collector == "G1"), "{steps:?}");
        assert_same(collector, &steps, &store.operations()[before..]);
    }
}

#[test]
fn a_collection_fences_where_the_collector_of_the_model_does() {
    let (scene, store) = logged();
    let repository = open(store.clone()).unwrap();
    let writing = begin(&repository).unwrap();
    let model = Model { scene: scenes::WRITER_EXISTING, without: &[] };
    let begun = model.steps(&model.first()).into_iter().find(|step| step.actor == "W0").unwrap();
    assert_eq!(begun.what, "creates its session");
    let mut state = begun.state;
    let before = store.operations().len();
    forget(&repository, &[scene.id(0)]).unwrap();
    let forgotten = alone(scenes::WRITER_EXISTING, &mut state, "user", &[]);
    assert_same("user", &forgotten, &store.operations()[before..]);
    let before = store.operations().len();
    let report = prune(&repository, &thorough().fence(true)).unwrap();
    assert_eq!(report.fenced, [writing.id()]);
    let steps = alone(scenes::WRITER_EXISTING, &mut state, "G0", &["writes its segment, which names"]);
    assert!(steps.contains(&"fences"), "{steps:?}");
    assert_same("G0", &steps, &store.operations()[before..]);
}

#[test]
fn a_restore_asks_what_the_reader_of_the_model_asks() {
    let (scene, store) = logged();
    let repository = open(store.clone()).unwrap();
    let before = store.operations().len();
    let snapshot = repository.snapshot(&scene.id(2)).unwrap();
    let target = MemoryTarget::default();
    snapshot.restore("kept", &target, &Default::default()).unwrap();
    let mut state = Model { scene: scenes::READER, without: &[] }.first();
    let steps = alone(scenes::READER, &mut state, "reader", &[]);
    assert_same("reader", &steps, &store.operations()[before..]);
    // And once what it knows of was moved.
    let (before, snapshot) = (store.operations().len(), repository.snapshot(&scene.id(2)).unwrap());
    let moving = open(scene.disk.clone()).unwrap();
    forget(&moving, &[scene.id(0)]).unwrap();
    prune(&moving, &thorough()).unwrap();
    let target = MemoryTarget::default();
    let restored = snapshot.restore("kept", &target, &Default::default()).unwrap();
    assert!(!restored.is_damaged());
    let mut state = Model { scene: scenes::READER_TWICE, without: &[] }.first();
    let mut steps = Vec::new();
    let model = Model { scene: scenes::READER_TWICE, without: &[] };
    let mut take = |state: &mut State, wanted: &str| {
        let step = model.steps(state).into_iter().find(|step| step.actor == "reader" && step.what == wanted).unwrap();
        steps.push(step.what);
        *state = step.state;
    };
    ["opens snapshot", "lists the names", "reads the index"].into_iter().for_each(|what| take(&mut state, what));
    alone(scenes::READER_TWICE, &mut state, "G0", &[]);
    ["misses", "lists the packs", "reads the directories of", "reads a chunk from"]
        .into_iter()
        .for_each(|what| take(&mut state, what));
    assert_same("reader", &steps, &store.operations()[before..]);
}
