//! Collections that meet backups and one another, step by step in a fixed order.

use crate::support::scene::*;
use crate::support::world::*;
use aerolith::format::header::Class;
use aerolith::format::names;
use aerolith::store::{Call, MemoryStore, Store};
use aerolith::{BackupKind, BackupSession, Error, Plan, RepairReport, Repository, SnapshotId};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// An incremental backup of `kept` that was begun and not yet committed.
fn begun(repository: &Repository, world: &World) -> BackupSession {
    let mut session = begin(repository).unwrap();
    session.records("kept", world, BackupKind::Incremental, &options()).unwrap();
    session
}

#[test]
fn a_backup_at_work_is_waited_for_or_fenced_and_nothing_is_deleted_before() {
    let scene = Scene::new(50);
    let repository = scene.repository();
    forget(&repository, &[scene.id(0), scene.id(1)]).unwrap();
    let packs = scene.disk.list(names::PACKS).unwrap();
    let next = scene.kept.later(0..50, 0.3, 0.1, 7);
    let session = begun(&repository, &next);
    let error = message(prune(&repository, &thorough()));
    assert!(error.contains("still at work") && error.contains(&session.id().to_string()), "{error}");
    assert!(scene.disk.list(names::PACKS).unwrap().len() >= packs.len());
    // Waited for, it commits, and keeps what it wrote.
    let waiting = std::thread::spawn({
        let repository = repository.clone();
        move || prune(&repository, &thorough().wait(Duration::from_secs(60)))
    });
    let snapshot = session.commit().unwrap();
    waiting.join().unwrap().unwrap();
    let contents = [(snapshot.id(), [("kept", next.truth())].into())];
    assert_eq!(assert_exact(&repository, &contents, "waited for"), 1);
    // Fenced, it can't.
    let session = begun(&repository, &next.later(0..50, 0.3, 0.1, 8));
    let report = prune(&repository, &thorough().fence(true)).unwrap();
    assert_eq!(report.fenced, [session.id()]);
    let error = message(session.commit());
    assert!(error.contains("fenced"), "{error}");
    // What it stored since is garbage.
    prune(&repository, &thorough()).unwrap();
    assert_eq!(assert_exact(&repository, &contents, "fenced"), 1);
    assert_clean(&repository, "fenced");
    assert_nothing_unused(&repository, "fenced");
}

/// Runs a prune during which something happens at two points: after the pending plans were read, which is before its
/// own plan is written, and once the sessions were listed after that. Each gets a repository of its own.
fn prune_with(
    disk: &Arc<MemoryStore>,
    mut before_plan: impl FnMut(&Repository) + Send + 'static,
    mut after_plan: impl FnMut(&Repository) + Send + 'static,
    mut after_sessions: impl FnMut(&Repository) + Send + 'static,
) {
    let other = open(disk.clone()).unwrap();
    let mut step = 0;
    let store = HookStore::new(disk.clone(), move |call, key| match (step, call) {
        (0, Call::List) if key == names::PLANS => {
            step = 1;
            before_plan(&other);
        }
        (1, Call::PutNew) if key.starts_with(names::PLANS) => step = 2,
        (2, Call::List) if key == names::SESSIONS => {
            step = 3;
            after_plan(&other);
        }
        (3, Call::List) if key == names::SNAPSHOTS => {
            step = 4;
            after_sessions(&other);
        }
        _ => {}
    });
    prune(&open(store).unwrap(), &thorough()).unwrap();
}

/// Its packs were stored after the collection had listed the packs, and its name was taken before it listed the names.
#[test]
fn chunks_of_a_backup_that_commits_while_a_prune_looks_are_not_missed() {
    for dry_run in [true, false] {
        let scene = Scene::new(60);
        forget(&scene.repository(), &[scene.id(0)]).unwrap();
        let (other, next) = (scene.repository(), scene.kept.later(0..60, 0.5, 0.1, 7));
        let (mut packs_listed, committed) = (false, Arc::new(Mutex::new(None)));
        let commits = committed.clone();
        let store = HookStore::new(scene.disk.clone(), move |call, key| {
            if packs_listed && (call, key) == (Call::List, names::SNAPSHOTS) {
                let back_up = || back_up_all(&other, BackupKind::Incremental, &[("kept", &next)]);
                commits.lock().unwrap().get_or_insert_with(back_up);
            }
            packs_listed |= (call, key) == (Call::List, names::PACKS);
        });
        let repository = open(store).unwrap();
        let report = match dry_run {
            true => repository.prune_plan(&thorough()).map(Plan::into_report),
            false => prune(&repository, &thorough()),
        };
        let report = report.unwrap();
        assert!(report.chunks_missing == 0 && report.problems.is_empty(), "{report:?}");
        let committed = committed.lock().unwrap().take().expect("no backup was taken meanwhile");
        let repository = scene.repository();
        assert_eq!(assert_exact(&repository, &[committed], "committed meanwhile"), 1);
        assert_eq!(assert_exact(&repository, &scene.snapshots, "committed meanwhile"), 2);
        assert_clean(&repository, "committed meanwhile");
    }
}

#[test]
fn a_backup_begun_before_the_plan_keeps_what_it_builds_on_though_that_was_forgotten_meanwhile() {
    let scene = Scene::new(200);
    forget(&scene.repository(), &[scene.id(0), scene.id(1)]).unwrap();
    let next = scene.kept.later(0..200, 0.3, 0.1, 7);
    let session: Arc<Mutex<Option<BackupSession>>> = Arc::default();
    let committed: Arc<Mutex<Option<SnapshotId>>> = Arc::default();
    let (world, parent) = (next.clone(), scene.id(2));
    let (begins, commits, id) = (session.clone(), session, committed.clone());
    prune_with(
        &scene.disk,
        move |repository| {
            *begins.lock().unwrap() = Some(begun(repository, &world));
            // From now on no snapshot needs anything: all packs are condemned, those of the session too.
            forget(repository, std::slice::from_ref(&parent)).unwrap();
        },
        move |_| {
            let session = commits.lock().unwrap().take().unwrap();
            *id.lock().unwrap() = Some(session.commit().unwrap().id());
        },
        |_| {},
    );
    let id = committed.lock().unwrap().unwrap();
    let repository = scene.repository();
    assert_eq!(assert_exact(&repository, &[(id, [("kept", next.truth())].into())], "begun before"), 1);
    assert_clean(&repository, "begun before");
    assert_nothing_unused(&repository, "begun before");
}

#[test]
fn a_backup_begun_after_the_plan_keeps_what_it_builds_on_though_that_was_forgotten_meanwhile() {
    for kind in [BackupKind::Incremental, BackupKind::Full] {
        let scene = Scene::new(200);
        // Its packs are partly needed by the others, and so condemned.
        forget(&scene.repository(), &[scene.id(0)]).unwrap();
        let next = scene.kept.later(0..200, 0.3, 0.1, 7);
        let session: Arc<Mutex<Option<BackupSession>>> = Arc::default();
        let (begins, world, parents) = (session.clone(), next.clone(), [scene.id(1), scene.id(2)]);
        prune_with(
            &scene.disk,
            |_| {},
            |_| {},
            move |repository| {
                let mut session = begin(repository).unwrap();
                session.records("kept", &world, kind, &options()).unwrap();
                *begins.lock().unwrap() = Some(session);
                forget(repository, &parents).unwrap();
            },
        );
        let snapshot = session.lock().unwrap().take().unwrap().commit().unwrap();
        let repository = scene.repository();
        let contents = [(snapshot.id(), [("kept", next.truth())].into())];
        assert_eq!(assert_exact(&repository, &contents, "begun after"), 1);
        assert_clean(&repository, "begun after");
        prune(&repository, &thorough()).unwrap();
        assert_eq!(assert_exact(&repository, &contents, "pruned again"), 1);
        assert_nothing_unused(&repository, "pruned again");
    }
}

#[test]
fn a_backup_keeps_what_it_builds_on_though_its_parent_came_and_went_while_the_plan_was_pending() {
    for kind in [BackupKind::Incremental, BackupKind::Full] {
        let scene = Scene::new(200);
        forget(&scene.repository(), &[scene.id(0), scene.id(1)]).unwrap();
        let parent_world = scene.kept.later(0..200, 0.3, 0.1, 7);
        let world = parent_world.later(0..200, 0.3, 0.1, 8);
        let truth = world.truth();
        let parent: Arc<Mutex<Option<BackupSession>>> = Arc::default();
        let parent_id: Arc<Mutex<String>> = Arc::default();
        let child: Arc<Mutex<Option<BackupSession>>> = Arc::default();
        let (begins, commits, grandparent) = (parent.clone(), parent, scene.id(2));
        let (notes, knows, child_begins) = (parent_id.clone(), parent_id, child.clone());
        prune_with(
            &scene.disk,
            move |repository| {
                *begins.lock().unwrap() = Some(begun(repository, &parent_world));
                forget(repository, std::slice::from_ref(&grandparent)).unwrap();
            },
            move |_| {
                let session = commits.lock().unwrap().take().unwrap();
                *notes.lock().unwrap() = session.commit().unwrap().id().to_string();
            },
            move |repository| {
                let mut session = begin(repository).unwrap();
                session.records("kept", &world, kind, &options()).unwrap();
                *child_begins.lock().unwrap() = Some(session);
                // The collector never sees the parent: neither when it marks nor when it looks again.
                forget(repository, &[knows.lock().unwrap().clone()]).unwrap();
            },
        );
        let snapshot = child.lock().unwrap().take().unwrap().commit().unwrap();
        let repository = scene.repository();
        let contents = [(snapshot.id(), [("kept", truth)].into())];
        assert_eq!(assert_exact(&repository, &contents, "parent gone"), 1);
        assert_clean(&repository, "parent gone");
    }
}

#[test]
fn a_backup_that_is_fenced_while_it_reads_what_it_builds_on_says_that_and_not_damage() {
    // With a plan that is pending when it begins, and without.
    for pending in [true, false] {
        let scene = Scene::new(200);
        forget(&scene.repository(), &[scene.id(0)]).unwrap();
        if pending {
            plan_and_die(&scene.disk, open);
        }
        let armed = Arc::new(AtomicBool::new(false));
        let (fires, other, parents) = (armed.clone(), scene.repository(), [scene.id(1), scene.id(2)]);
        let store = HookStore::new(scene.disk.clone(), move |call, key| {
            if call == Call::GetRange && key.starts_with(names::PACKS) && fires.swap(false, Ordering::Relaxed) {
                forget(&other, &parents).unwrap();
                prune(&other, &thorough().fence(true)).unwrap();
            }
        });
        let mut session = begin(&open(store).unwrap()).unwrap();
        armed.store(true, Ordering::Relaxed);
        let world = scene.kept.later(0..200, 0.3, 0.1, 7);
        let told = session.records("kept", &world, BackupKind::Incremental, &options()).map(|_| ());
        assert!(matches!(told, Err(Error::Fenced { .. })), "{told:?}");
        assert!(!armed.load(Ordering::Relaxed));
    }
}

#[test]
fn of_two_collections_the_second_gives_up_and_one_that_was_fenced_deletes_nothing() {
    let scene = Scene::new(50);
    forget(&scene.repository(), &[scene.id(0)]).unwrap();
    prune_with(
        &scene.disk,
        |repository| {
            let error = message(prune(repository, &thorough()));
            assert!(error.contains("another prune is at work"), "{error}");
        },
        |_| {},
        |_| {},
    );
    assert_clean(&scene.repository(), "one gave up");
    // With so many chunks that some pack is partly needed, whatever their ids.
    let scene = Scene::new(1200);
    let disk = scene.disk.clone();
    forget(&scene.repository(), &[scene.id(0)]).unwrap();
    let other = open(disk.clone()).unwrap();
    let mut fenced = false;
    let store = HookStore::new(disk, move |call, key| {
        // Right before its commit, whether it had something to move or not.
        if call == Call::Sync && !fenced {
            fenced = true;
            let report = prune(&other, &thorough().fence(true)).unwrap();
            assert_eq!(report.fenced.len(), 1);
        }
        assert!(call != Call::Delete, "a fenced collection deletes {key}");
    });
    let error = message(prune(&open(store).unwrap(), &thorough()));
    assert!(error.contains("fenced by another"), "{error}");
    let repository = scene.repository();
    assert_eq!(assert_exact(&repository, &scene.snapshots, "fenced"), 2);
    prune(&repository, &thorough()).unwrap();
    assert_clean(&repository, "fenced");
    assert_nothing_unused(&repository, "fenced");
}

#[test]
fn a_restore_goes_on_while_its_chunks_move() {
    let scene = Scene::new(1200);
    let repository = scene.repository();
    forget(&repository, &[scene.id(0)]).unwrap();
    let snapshot = repository.snapshot(&scene.id(2)).unwrap();
    let report = prune(&repository, &thorough()).unwrap();
    assert!(report.chunks_moved > 0);
    let target = MemoryTarget::default();
    let restored = snapshot.restore("kept", &target, &Default::default()).unwrap();
    assert!(!restored.is_damaged() && *target.records.lock().unwrap() == scene.kept.truth(), "{restored:?}");
}

#[test]
fn a_restore_goes_on_though_its_chunks_move_again_and_again() {
    let disk = Arc::new(MemoryStore::new());
    let repository = create(disk).unwrap();
    let worlds = [World::filled(0..200), World::filled(10_000..10_200), World::filled(20_000..20_200)];
    let names = ["kept", "second", "third"];
    let all: Vec<(&'static str, &World)> = names.into_iter().zip(&worlds).collect();
    // Chunks of all namespaces share packs, first those of the first snapshot, then those they are moved into.
    let ids = [3, 2, 1].map(|count| back_up_all(&repository, BackupKind::Full, &all[..count]).0);
    let snapshot = repository.snapshot(&ids[2].to_string()).unwrap();
    let view = snapshot.namespace("kept").unwrap();
    let truth = worlds[0].truth();
    let digests: Vec<&[u8; 20]> = truth.keys().collect();
    for (n, id) in ids[..2].iter().enumerate() {
        forget(&repository, &[id.to_string()]).unwrap();
        let report = prune(&repository, &thorough()).unwrap();
        assert!(report.chunks_moved > 0, "{report:?}");
        // Only some chunks, so that the others must be found after the next collection.
        let record = view.get(&aerolith::record::Digest(*digests[n * 100])).unwrap().unwrap();
        assert!(record.body == truth[digests[n * 100]].2);
    }
    let target = MemoryTarget::default();
    let restored = snapshot.restore("kept", &target, &Default::default()).unwrap();
    assert!(!restored.is_damaged() && *target.records.lock().unwrap() == truth, "{restored:?}");
}

#[test]
fn a_collection_whose_snapshots_are_forgotten_and_collected_while_it_marks_calls_nothing_damaged() {
    let scene = Scene::new(50);
    let other = scene.repository();
    let ids = [scene.id(0), scene.id(1), scene.id(2)];
    let mut met = false;
    let store = HookStore::new(scene.disk.clone(), move |call, key| {
        // It has read the manifests, and none of their nodes.
        if call == Call::List && key == names::INDEX && !met {
            met = true;
            forget(&other, &ids).unwrap();
            prune(&other, &thorough().fence(true)).unwrap();
        }
    });
    let error = message(prune(&open(store).unwrap(), &thorough()));
    assert!(error.contains("fenced by another"), "{error}");
    let repository = scene.repository();
    prune(&repository, &thorough()).unwrap();
    assert_clean(&repository, "forgotten while it marked");
    assert_nothing_unused(&repository, "forgotten while it marked");
}

/// The original is committed while a plan is pending that condemns what it builds on, and is forgotten before the
/// collection looks at the snapshots again; its salvage is committed after that.
#[test]
fn a_salvage_keeps_what_it_refers_to_though_no_collection_sees_it_or_its_original() {
    let disk = Arc::new(MemoryStore::new());
    let repository = create(disk.clone()).unwrap();
    let (kept, whole) = (World::filled(0..300), World::filled(20_000..20_200));
    let (first, _) = back_up_all(&repository, BackupKind::Full, &[("kept", &kept), ("whole", &whole)]);
    let next = kept.later(0..300, 0.2, 0.1, 3);
    let original: Arc<Mutex<Option<BackupSession>>> = Arc::default();
    let original_id: Arc<Mutex<String>> = Arc::default();
    let repairing: Arc<Mutex<Option<JoinHandle<RepairReport>>>> = Arc::default();
    let (begins, commits, worlds) = (original.clone(), original, (next.clone(), whole.clone()));
    let (notes, knows, starts) = (original_id.clone(), original_id, repairing.clone());
    let (go_on, wait_to_go_on) = channel::<()>();
    let (below, mut waits) = (disk.clone(), Some(wait_to_go_on));
    prune_with(
        &disk,
        move |repository| {
            let mut session = begun(repository, &worlds.0);
            session.records("whole", &worlds.1, BackupKind::Incremental, &options()).unwrap();
            *begins.lock().unwrap() = Some(session);
            forget(repository, &[first.to_string()]).unwrap();
        },
        move |_| {
            let session = commits.lock().unwrap().take().unwrap();
            *notes.lock().unwrap() = session.commit().unwrap().id().to_string();
        },
        move |repository| {
            let id = knows.lock().unwrap().clone();
            let snapshot = repository.snapshot(&id).unwrap();
            let oldest = *snapshot.manifest().namespace("kept").unwrap().runs.last().unwrap();
            let mut values = Vec::new();
            let each = &mut |id, class| values.extend((class == Class::Data).then_some(id));
            aerolith::internals::run::reach_run(
                snapshot.chunks().unwrap(),
                &oldest,
                &mut HashSet::new(),
                each,
                &mut |_| {},
            )
            .unwrap();
            damage_chunk(repository, &below, &values[0]);
            let (arrives, wait_for_commit) = channel::<()>();
            let wait_to_go_on = waits.take().unwrap();
            let store = HookStore::new(below.clone(), move |call, key| {
                if call == Call::PutNew && key.starts_with(names::SNAPSHOTS) {
                    arrives.send(()).unwrap();
                    wait_to_go_on.recv().unwrap();
                }
            });
            *starts.lock().unwrap() =
                Some(std::thread::spawn(move || repair(&open(store).unwrap(), &thorough_repair()).unwrap()));
            wait_for_commit.recv().unwrap();
            forget(repository, &[id]).unwrap();
        },
    );
    go_on.send(()).unwrap();
    let report = repairing.lock().unwrap().take().unwrap().join().unwrap();
    let salvage = report.salvaged[0].snapshot.unwrap();
    let repository = open(disk).unwrap();
    assert_clean(&repository, "salvaged");
    let snapshot = repository.snapshot(&salvage.to_string()).unwrap();
    for (namespace, truth) in [("kept", next.truth()), ("whole", whole.truth())] {
        let target = MemoryTarget::default();
        let restored = snapshot.restore(namespace, &target, &Default::default()).unwrap();
        let records = target.records.into_inner().unwrap();
        assert!(!restored.is_damaged() && !records.is_empty() && is_part_of(&records, &truth), "{restored:?}");
        assert!(namespace == "kept" || records.len() == truth.len(), "{namespace} lost records");
    }
}

/// It began when the collection had looked at the sessions, and writes its index before the collection cleans the
/// index.
#[test]
fn the_index_of_a_backup_that_is_about_to_commit_stays() {
    let scene = Scene::new(100);
    forget(&scene.repository(), &[scene.id(0)]).unwrap();
    let next = scene.kept.later(0..100, 0.3, 0.1, 7);
    let (committing, wait_for_commit) = channel::<()>();
    let (go_on, wait_to_go_on) = channel::<()>();
    let (below, world, mut waits) = (scene.disk.clone(), next.clone(), Some((committing, wait_to_go_on)));
    let backup: Arc<Mutex<Option<JoinHandle<SnapshotId>>>> = Arc::default();
    let starts = backup.clone();
    let store = HookStore::new(scene.disk.clone(), move |call, key| {
        if call == Call::Delete
            && key.starts_with(names::PACKS)
            && let Some((committing, wait_to_go_on)) = waits.take()
        {
            let store = HookStore::new(below.clone(), move |call, key| {
                if call == Call::PutNew && key.starts_with(names::SNAPSHOTS) {
                    committing.send(()).unwrap();
                    wait_to_go_on.recv().unwrap();
                }
            });
            let world = world.clone();
            *starts.lock().unwrap() =
                Some(std::thread::spawn(move || begun(&open(store).unwrap(), &world).commit().unwrap().id()));
            wait_for_commit.recv().unwrap();
        }
    });
    prune(&open(store).unwrap(), &thorough()).unwrap();
    go_on.send(()).unwrap();
    let id = backup.lock().unwrap().take().unwrap().join().unwrap();
    let repository = scene.repository();
    assert_eq!(assert_exact(&repository, &[(id, [("kept", next.truth())].into())], "committed after"), 1);
    assert_clean(&repository, "committed after");
}
