//! Repairing: a lost index comes back, snapshots that lost chunks are salvaged, and what is gone is named, no more and
//! no less.

use crate::support::scene::*;
use crate::support::world::*;
use aerolith::format::{PackId, names};
use aerolith::record::Digest;
use aerolith::store::{Call, Effect, Fault, FaultStore, MemoryStore, Store};
use aerolith::{BackupKind, RepairOptions, RepairReport, Repository, SnapshotId};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::Arc;

/// What a snapshot's namespace restores to, of which nothing may be damaged.
fn restored(repository: &Repository, id: SnapshotId, namespace: &str, about: &str) -> Truth {
    let target = MemoryTarget::default();
    let snapshot = repository.snapshot(&id.to_string()).unwrap();
    let report = snapshot.restore(namespace, &target, &Default::default());
    let report = report.unwrap_or_else(|error| panic!("{about}: {error}"));
    assert!(!report.is_damaged() && report.adds_up(), "{about}: {report:?}");
    target.records.into_inner().unwrap()
}

/// Nothing is wrong any more, and another repair changes nothing.
fn assert_repaired(disk: &Arc<MemoryStore>, about: &str) {
    let repository = open(disk.clone()).unwrap();
    let before = disk.list("").unwrap();
    let again = repair(&repository, &thorough_repair()).unwrap();
    assert!(!again.is_damaged() && again.deferred.is_none() && again.segments.is_empty(), "{about}: {again:?}");
    assert!(again.salvaged.iter().all(|salvaged| salvaged.earlier), "{about}: {again:?}");
    assert_eq!(disk.list("").unwrap(), before, "{about}: the second repair changed something");
    for salvaged in &again.salvaged {
        forget(&repository, &[salvaged.original.to_string()]).unwrap();
    }
    assert_clean(&repository, about);
}

/// Checks what a repair says of the snapshots against what they held, and what the salvages hold.
fn assert_salvaged(repository: &Repository, snapshots: &[(SnapshotId, Contents)], report: &RepairReport, about: &str) {
    let mut expected: BTreeSet<SnapshotId> = check(repository).unwrap().hurt.into_iter().collect();
    for salvaged in &report.salvaged {
        assert!(expected.remove(&salvaged.original), "{about}: {} is not hurt", salvaged.original);
        let contents = &snapshots.iter().find(|(id, _)| *id == salvaged.original).unwrap().1;
        let id = salvaged.snapshot.unwrap();
        let manifest = manifest_of(repository, id);
        assert_eq!(manifest.salvage.unwrap().original, salvaged.original, "{about}");
        assert_eq!(manifest.salvage.unwrap().records_lost, salvaged.records_lost(), "{about}");
        let mut lost_in_all = 0;
        for (namespace, truth) in contents {
            let records = restored(repository, id, namespace, about);
            assert!(is_part_of(&records, truth), "{about}: something wrong was salvaged");
            let gone: BTreeSet<[u8; 20]> =
                truth.keys().filter(|digest| !records.contains_key(*digest)).copied().collect();
            lost_in_all += gone.len() as u64;
            let losses = salvaged.namespaces.iter().find(|losses| losses.namespace == *namespace);
            let Some(losses) = losses else {
                assert!(gone.is_empty(), "{about}");
                continue;
            };
            assert_eq!((losses.kept, losses.lost), (records.len() as u64, gone.len() as u64), "{about}");
            let named: BTreeSet<[u8; 20]> = losses.records.iter().map(|record| record.digest.0).collect();
            assert!(named.is_subset(&gone) && named.len() == losses.records.len(), "{about}");
            assert!(losses.records.iter().all(|record| record.set == truth[&record.digest.0].0), "{about}");
            let in_range = |digest: &[u8; 20]| {
                let key = Digest(*digest).sort_key();
                losses.ranges.iter().any(|(from, until)| {
                    from.is_none_or(|from| from.sort_key() <= key) && until.is_none_or(|until| key < until.sort_key())
                })
            };
            assert!(gone.difference(&named).all(in_range), "{about}: a lost record is neither named nor in a range");
            let facts =
                repository.snapshot(&id.to_string()).unwrap().namespace(namespace).unwrap().metadata().unwrap().facts;
            let facts: BTreeSet<String> = facts
                .iter()
                .filter(|fact| fact.topic == "lost record")
                .map(|fact| String::from_utf8(fact.name.clone()).unwrap())
                .collect();
            assert_eq!(facts, named.iter().map(|digest| Digest(*digest).to_string()).collect(), "{about}");
        }
        assert_eq!(lost_in_all, salvaged.records_lost(), "{about}");
        // Indexes and UDF modules can be lost without a record.
        assert!(lost_in_all == 0 || salvaged.has_losses(), "{about}");
    }
    assert!(expected.is_empty(), "{about}: not salvaged: {expected:?}");
}

#[test]
fn a_damaged_or_lost_index_is_rebuilt_from_the_packs() {
    let scene = Scene::new(60);
    // With segments of snapshots that stand and of a collection.
    forget(&scene.repository(), &[scene.id(0)]).unwrap();
    prune(&scene.repository(), &thorough()).unwrap();
    let segments = scene.disk.list(names::INDEX).unwrap();
    assert!(segments.len() >= 3, "{segments:?}");
    let all = segments.iter().map(|object| vec![object.key.clone()]);
    let all = all.chain([segments.iter().map(|object| object.key.clone()).collect()]);
    for keys in all {
        for damage in ["header", "block", "end", "cut", "empty", "gone"] {
            let about = format!("{keys:?}, {damage}");
            let disk = Arc::new(scene.disk.fork());
            for key in &keys {
                let mut bytes = Vec::from(disk.get(key, u64::MAX).unwrap().unwrap());
                let end = bytes.len() - 5;
                match damage {
                    "header" => bytes[20] ^= 1,
                    "block" => bytes[80] ^= 1,
                    "end" => bytes[end] ^= 1,
                    "cut" => bytes.truncate(100),
                    "empty" => bytes.clear(),
                    _ => {}
                }
                match damage {
                    "gone" => disk.delete(key).unwrap(),
                    _ => disk.put(key, &bytes).unwrap(),
                }
            }
            let repository = open(disk.clone()).unwrap();
            let before = disk.list("").unwrap();
            let dry = repository.repair_plan(&RepairOptions::default()).unwrap().into_report();
            assert_eq!(disk.list("").unwrap(), before, "{about}: a dry run changed something");
            let report = repair(&repository, &RepairOptions::default()).unwrap();
            assert_eq!(
                (dry.packs_indexed, dry.segments.len()),
                (report.packs_indexed, report.segments.len()),
                "{about}"
            );
            assert!(
                report.packs_indexed > 0 && report.problems.is_empty() && report.salvaged.is_empty(),
                "{about}: {report:?}"
            );
            let index = repository.index().unwrap();
            assert!(index.unreadable(&*disk).unwrap().is_empty(), "{about}");
            let packs: BTreeSet<PackId> =
                disk.list(names::PACKS).unwrap().iter().filter_map(|object| names::parse_pack(&object.key)).collect();
            assert_eq!(index.packs().into_keys().collect::<BTreeSet<_>>(), packs, "{about}");
            assert_clean(&repository, &about);
            assert_eq!(assert_exact(&repository, &scene.snapshots, &about), 2);
            assert_repaired(&disk, &about);
            // Collections find their way too.
            forget(&repository, &[scene.id(1)]).unwrap();
            prune(&repository, &thorough()).unwrap();
            assert_eq!(assert_exact(&repository, &scene.snapshots, &about), 1);
            assert_clean(&repository, &about);
            assert_nothing_unused(&repository, &about);
        }
    }
}

#[test]
fn while_a_plan_is_pending_the_index_is_left_alone() {
    let scene = Scene::new(60);
    forget(&scene.repository(), &[scene.id(0)]).unwrap();
    plan_and_die(&scene.disk, open);
    let segment = scene.disk.list(names::INDEX).unwrap().remove(0).key;
    flip(&scene.disk, &segment, 80);
    let repository = scene.repository();
    let before = scene.disk.list(names::INDEX).unwrap();
    let dry = repository.repair_plan(&RepairOptions::default()).unwrap().into_report();
    let sessions = scene.disk.list(names::SESSIONS).unwrap();
    let report = repair(&repository, &RepairOptions::default()).unwrap();
    assert!(report.deferred.as_ref().is_some_and(|why| why.contains("aerolith prune")), "{report:?}");
    assert!(report.is_damaged() && !report.segments.is_empty(), "{report:?}");
    assert_eq!((&dry.deferred, &dry.segments, dry.packs_indexed), (&report.deferred, &report.segments, 0));
    assert_eq!(scene.disk.list(names::INDEX).unwrap(), before);
    assert_eq!(scene.disk.list(names::SESSIONS).unwrap(), sessions, "a session that can do nothing was begun");
    prune(&repository, &thorough().fence(true)).unwrap();
    repair(&repository, &RepairOptions::default()).unwrap();
    assert_eq!(assert_exact(&repository, &scene.snapshots, "pruned, then repaired"), 2);
    assert_clean(&repository, "pruned, then repaired");
    assert_repaired(&scene.disk, "pruned, then repaired");
}

/// The segment of a collection that moved chunks is gone without a trace; and another collection's plan is pending.
#[test]
fn a_repair_that_only_waits_for_a_collection_calls_nothing_damaged() {
    let scene = Scene::new(60);
    forget(&scene.repository(), &[scene.id(0)]).unwrap();
    let before = scene.disk.list(names::INDEX).unwrap();
    prune(&scene.repository(), &thorough()).unwrap();
    let after = scene.disk.list(names::INDEX).unwrap();
    let written = after.iter().filter(|new| before.iter().all(|old| old.key != new.key));
    assert!(written.map(|new| scene.disk.delete(&new.key).unwrap()).count() > 0, "nothing was moved");
    let repository = scene.repository();
    put_plan(&repository, &scene.disk, SnapshotId([5; 16]), Vec::new());
    let report = repair(&repository, &RepairOptions::default()).unwrap();
    assert!(report.deferred.is_some() && !report.is_damaged() && report.packs_indexed == 0, "{report:?}");
    prune(&repository, &thorough()).unwrap();
    let report = repair(&repository, &RepairOptions::default()).unwrap();
    assert!(report.deferred.is_none() && !report.is_damaged(), "{report:?}");
    assert_eq!(assert_exact(&repository, &scene.snapshots, "after the plan"), 2);
    assert_repaired(&scene.disk, "after the plan");
}

#[test]
fn a_repair_that_meets_a_new_plan_leaves_the_index_alone_and_blocks_nothing() {
    let scene = Scene::new(60);
    let segment = scene.disk.list(names::INDEX).unwrap().remove(0).key;
    flip(&scene.disk, &segment, 80);
    let before = scene.disk.list(names::INDEX).unwrap();
    let (disk, other) = (scene.disk.clone(), scene.repository());
    let mut planned = false;
    // Between its first look and its session a collection writes its plan, and dies.
    let store = HookStore::new(scene.disk.clone(), move |call, key| {
        if call == Call::PutNew && key.starts_with(names::SESSIONS) && !planned {
            planned = true;
            put_plan(&other, &disk, SnapshotId([5; 16]), Vec::new());
        }
    });
    let report = repair(&open(store).unwrap(), &RepairOptions::default()).unwrap();
    assert!(report.deferred.as_ref().is_some_and(|why| why.contains("aerolith prune")), "{report:?}");
    assert!(report.is_damaged() && !report.segments.is_empty(), "{report:?}");
    assert_eq!((report.packs_indexed, scene.disk.list(names::INDEX).unwrap()), (0, before));
    let repository = scene.repository();
    prune(&repository, &thorough()).unwrap();
    assert!(repair(&repository, &RepairOptions::default()).unwrap().packs_indexed > 0);
    assert_eq!(assert_exact(&repository, &scene.snapshots, "after the plan"), 3);
    assert_repaired(&scene.disk, "after the plan");
}

/// Runs a repair of a scene of which a segment is damaged; right before it begins its session something else happens.
fn repair_after(scene: &Scene, mut first: impl FnMut(&Repository) + Send + 'static) -> RepairReport {
    let segment = scene.disk.list(names::INDEX).unwrap().remove(0).key;
    flip(&scene.disk, &segment, 80);
    let (other, mut met) = (scene.repository(), false);
    let store = HookStore::new(scene.disk.clone(), move |call, key| {
        if call == Call::PutNew && key.starts_with(names::SESSIONS) && !met {
            met = true;
            first(&other);
        }
    });
    repair(&open(store).unwrap(), &RepairOptions::default()).unwrap()
}

#[test]
fn a_repair_names_no_pack_that_a_collection_deleted_before_its_session_began() {
    let scene = Scene::new(60);
    let all: Vec<String> = (0..3).map(|n| scene.id(n)).collect();
    repair_after(&scene, move |other| {
        forget(other, &all).unwrap();
        prune(other, &thorough()).unwrap();
    });
    assert!(scene.disk.list(names::PACKS).unwrap().is_empty());
    assert!(scene.repository().index().unwrap().packs().is_empty(), "packs that are gone were written into the index");
}

#[test]
fn where_another_repair_was_faster_nothing_is_called_damaged() {
    let scene = Scene::new(60);
    // What a backup left that lost its power: no pack, and nobody needs it.
    scene.disk.put(&names::pack(&PackId([7; 32])), b"torn").unwrap();
    let report = repair_after(&scene, |other| {
        repair(other, &RepairOptions::default()).unwrap();
    });
    assert!(report.problems.is_empty() && !report.is_damaged(), "{report:?}");
    assert_eq!(assert_exact(&scene.repository(), &scene.snapshots, "repaired twice"), 3);
}

#[test]
fn packs_that_hold_only_what_others_hold_too_are_left_out_of_the_index() {
    let scene = Scene::new(60);
    let repository = scene.repository();
    let world = World::filled(5_000..5_100);
    // Both write the same, and one of them can't commit.
    let [committed, fenced] = begin_twice(&repository, "twice", &world);
    committed.commit().unwrap();
    scene.disk.put(&names::snapshot(&fenced.id()), b"").unwrap();
    assert!(message(fenced.commit()).contains("fenced"));
    let before = scene.disk.list("").unwrap();
    let report = repair(&repository, &RepairOptions::default()).unwrap();
    assert_eq!((report.packs_indexed, report.segments.len()), (0, 0), "{report:?}");
    assert_eq!(scene.disk.list("").unwrap(), before);
}

#[test]
fn segments_of_snapshots_that_are_forgotten_while_a_repair_looks_are_not_reported() {
    let disk = Arc::new(MemoryStore::new());
    let repository = create(disk.clone()).unwrap();
    let mut ids: Vec<String> = Vec::new();
    for (n, namespace) in (0u64..).zip(["stays", "first", "second"]) {
        let world = World::filled(n * 1_000..n * 1_000 + 40);
        ids.push(back_up_all(&repository, BackupKind::Full, &[(namespace, &world)]).0.to_string());
    }
    let (other, mut left, mut looked) = (open(disk.clone()).unwrap(), ids[1..].to_vec(), false);
    // Each time that it has read the snapshots, and not yet the index.
    let store = HookStore::new(disk, move |call, key| {
        looked |= call == Call::Get && key.starts_with(names::SNAPSHOTS);
        if looked && call == Call::List && key == names::INDEX && !left.is_empty() {
            looked = false;
            forget(&other, &[left.remove(0)]).unwrap();
            prune(&other, &thorough()).unwrap();
        }
    });
    let report = repair(&open(store).unwrap(), &RepairOptions::default()).unwrap();
    assert!(report.segments.is_empty() && !report.is_damaged(), "{report:?}");
    assert!(repository.snapshots().unwrap().snapshots.len() < 3, "nothing was forgotten meanwhile");
}

#[test]
fn records_whose_values_are_lost_are_named_and_the_others_salvaged() {
    let scene = Scene::new(800);
    let repository = scene.repository();
    let chunk = values(&repository, &scene.id(1))[0];
    damage_chunk(&repository, &scene.disk, &chunk);
    // Nobody knows of it yet.
    assert!(repair(&repository, &RepairOptions::default()).unwrap().salvaged.is_empty());
    let dry = repository.repair_plan(&thorough_repair()).unwrap().into_report();
    let before = manifests(&repository);
    let report = repair(&repository, &thorough_repair()).unwrap();
    assert!(report.has_losses() && report.problems.is_empty(), "{report:?}");
    assert_salvaged(&repository, &scene.snapshots, &report, "values");
    let lost = |report: &RepairReport| report.salvaged.iter().map(|one| one.namespaces.clone()).collect::<Vec<_>>();
    assert_eq!(lost(&dry), lost(&report), "the dry run said something else");
    // Originals are as they were, and each salvage comes right after its own.
    let after = manifests(&repository);
    assert!(before.iter().all(|manifest| after.contains(manifest)));
    for (n, manifest) in after.iter().enumerate().filter(|(_, manifest)| manifest.salvage.is_some()) {
        assert_eq!(after[n - 1].id, manifest.salvage.unwrap().original);
    }
    assert_eq!(
        repository.snapshot("latest").unwrap().manifest().salvage.map(|one| one.original),
        Some(scene.snapshots[2].0)
    );
    assert_repaired(&scene.disk, "values");
}

#[test]
fn a_later_backup_builds_on_a_salvage_and_brings_back_what_it_lost() {
    for kind in [BackupKind::Incremental, BackupKind::Differential, BackupKind::Full] {
        let scene = Scene::new(600);
        let repository = scene.repository();
        damage_chunk(&repository, &scene.disk, &values(&repository, &scene.id(2))[0]);
        let report = repair(&repository, &thorough_repair()).unwrap();
        assert!(report.has_losses());
        let salvaged = report.salvaged.iter().find(|one| one.original == scene.snapshots[2].0).unwrap();
        let partial = options().partial(true);
        if kind != BackupKind::Full {
            let error = message(begin(&repository).unwrap().records("kept", &scene.kept, kind, &partial).map(|_| ()));
            assert!(
                kind == BackupKind::Differential || error.contains("salvage") || error.contains("repair could save"),
                "{error}"
            );
        }
        let next = scene.kept.later(0..600, 0.1, 0.05, 5);
        let last = back_up_all(&repository, kind, &[("kept", &next)]);
        let parent = manifest_of(&repository, last.0).namespaces[0].parent;
        if kind != BackupKind::Differential {
            assert_eq!(parent, salvaged.snapshot, "{kind}");
        }
        assert_eq!(assert_exact(&repository, &[last], "built on a salvage"), 1, "{kind}");
        // What the backup brought back, a repair may now take for the damaged snapshots.
        repair(&repository, &thorough_repair()).unwrap();
        assert_repaired(&scene.disk, "built on a salvage");
    }
}

#[test]
fn what_is_lost_here_is_taken_from_other_snapshots_and_from_another_repository() {
    let scene = Scene::new(500);
    let repository = scene.repository();
    let other = create(Arc::new(MemoryStore::new())).unwrap();
    // The other repository has one state, under keys of its own, and that state's records alone can be had.
    let (_, contents) = back_up_all(&other, BackupKind::Full, &[("kept", &scene.kept)]);
    let damaged = values(&repository, &scene.id(2));
    damaged.iter().for_each(|id| damage_chunk(&repository, &scene.disk, id));
    let without = repository.repair_plan(&thorough_repair()).unwrap().into_report();
    let with = thorough_repair().from(other.clone());
    let report = repair(&repository, &with).unwrap();
    assert_salvaged(&repository, &scene.snapshots, &report, "from another");
    let of = |report: &RepairReport| {
        report.salvaged.iter().find(|one| one.original == scene.snapshots[2].0).cloned().unwrap()
    };
    assert!(of(&without).records_lost() > 0 && of(&report).records_lost() == 0, "{report:?}");
    let salvage = of(&report).snapshot.unwrap();
    assert!(restored(&repository, salvage, "kept", "from another") == contents["kept"]);
    assert!(manifest_of(&repository, salvage).missing.is_empty());
    assert_eq!(
        manifest_of(&repository, salvage).namespaces[0].state_hash,
        manifest_of(&repository, scene.snapshots[2].0).namespaces[0].state_hash
    );
    assert!(report.has_losses(), "older versions of changed records are in neither");
    assert_repaired(&scene.disk, "from another");
    // Of what a first repair could not find a later one makes more.
    let scene = Scene::new(500);
    let repository = scene.repository();
    let other = create(Arc::new(MemoryStore::new())).unwrap();
    back_up_all(&other, BackupKind::Full, &[("kept", &scene.kept)]);
    damage_chunk(&repository, &scene.disk, &values(&repository, &scene.id(2))[0]);
    assert!(repair(&repository, &thorough_repair()).unwrap().has_losses());
    let better = repair(&repository, &thorough_repair().from(other)).unwrap();
    let last = better.salvaged.iter().find(|one| one.original == scene.snapshots[2].0).unwrap();
    assert!(!last.earlier && !last.has_losses(), "{better:?}");
    assert_eq!(repository.snapshot("latest").unwrap().manifest().salvage.map(|one| one.records_lost), Some(0));
    assert_repaired(&scene.disk, "found later");
}

#[test]
fn a_full_backup_heals_the_damaged_snapshots_and_no_repair_is_needed() {
    let scene = Scene::new(400);
    let repository = scene.repository();
    let chunk = values(&repository, &scene.id(2))[0];
    damage_chunk(&repository, &scene.disk, &chunk);
    assert!(repository.repair_plan(&thorough_repair()).unwrap().into_report().has_losses());
    check(&repository).unwrap();
    let last = back_up_all(&repository, BackupKind::Full, &[("kept", &scene.kept)]);
    assert_eq!(assert_exact(&repository, &[last], "healed"), 1);
    let report = repair(&repository, &thorough_repair()).unwrap();
    let of_last = report.salvaged.iter().find(|one| one.original == scene.snapshots[2].0);
    assert!(of_last.is_none_or(|one| one.records_lost() == 0), "what the backup wrote again was not found: {report:?}");
}

/// Each pack of a repository, damaged in each way.
#[test]
fn whatever_is_damaged_a_repair_saves_all_that_can_be_read_and_names_the_rest() {
    let scene = Scene::new(300);
    let packs = scene.disk.list(names::PACKS).unwrap();
    let cases: Vec<(String, usize)> = packs.iter().flat_map(|pack| (0..7).map(|n| (pack.key.clone(), n))).collect();
    cases.par_iter().for_each(|(key, damage)| {
        let about = format!("{key}, {damage}");
        let disk = Arc::new(scene.disk.fork());
        let mut bytes = Vec::from(disk.get(key, u64::MAX).unwrap().unwrap());
        let length = bytes.len();
        match damage {
            0 => bytes[20] ^= 1,
            1 => bytes[length / 3] ^= 1,
            2 => bytes[length * 2 / 3] ^= 1,
            3 => bytes[length - 40] ^= 1,
            4 => bytes.truncate(length / 2),
            5 => bytes.clear(),
            _ => {}
        }
        match damage {
            6 => disk.delete(key).unwrap(),
            _ => disk.put(key, &bytes).unwrap(),
        }
        let repository = open(disk.clone()).unwrap();
        let report = repair(&repository, &thorough_repair()).unwrap_or_else(|error| panic!("{about}: {error}"));
        assert_salvaged(&repository, &scene.snapshots, &report, &about);
        // A pack that is damaged or gone is what check still complains of, until what needed it is forgotten and
        // pruned.
        for salvaged in &report.salvaged {
            forget(&repository, &[salvaged.original.to_string()]).unwrap();
        }
        let left = check(&repository).unwrap();
        assert!(left.hurt.is_empty(), "{about}: {left:?}");
        prune(&repository, &thorough()).unwrap_or_else(|error| panic!("{about}: {error}"));
        let again = repair(&repository, &thorough_repair()).unwrap();
        assert!(again.salvaged.is_empty(), "{about}: {again:?}");
        let next = scene.kept.later(0..300, 0.1, 0.1, 4);
        let last = back_up_all(&repository, BackupKind::Incremental, &[("kept", &next)]);
        assert_eq!(assert_exact(&repository, &[last], &about), 1, "{about}");
    });
}

/// Damages the index and a value, and repairs with a fault at each call in turn; then the next repair finishes.
fn at_every_call(effect: Effect, power_cut: bool) {
    let scene = Scene::new(40);
    let repository = scene.repository();
    let gone: BTreeMap<&str, usize> = [("kept", 0)].into();
    damage_chunk(&repository, &scene.disk, &values(&repository, &scene.id(2))[gone["kept"]]);
    let segments = scene.disk.list(names::INDEX).unwrap();
    flip(&scene.disk, &segments[0].key, 80);
    scene.disk.delete(&segments[1].key).unwrap();
    let script = |store: Arc<dyn Store>| repair(&open(store)?, &thorough_repair()).map(|_| ());
    let counting = Arc::new(FaultStore::new(Arc::new(scene.disk.fork())));
    script(counting.clone()).unwrap();
    let calls = counting.operations().len();
    assert!(calls > 60, "{calls}");
    (0..calls + 5).into_par_iter().for_each(|n| {
        let about = format!("{effect:?} at call {n}");
        let disk: Arc<MemoryStore> = Arc::new(scene.disk.fork());
        let store = Arc::new(FaultStore::new(disk.clone()));
        store.inject(Fault::nth(n, effect));
        let _ = script(store.clone());
        if power_cut {
            store.lose_unsynced().unwrap();
        }
        let repository = open(disk.clone()).unwrap();
        let report = repair(&repository, &thorough_repair()).unwrap_or_else(|error| panic!("{about}: {error}"));
        assert!(report.problems.is_empty(), "{about}: {report:?}");
        assert_salvaged(&repository, &scene.snapshots, &report, &about);
        assert_repaired(&disk, &about);
        prune(&repository, &thorough().fence(true)).unwrap_or_else(|error| panic!("{about}: {error}"));
        assert_clean(&repository, &about);
        assert_nothing_unused(&repository, &about);
    });
}

#[test]
fn a_repair_that_crashes_before_any_call_is_finished_by_the_next() {
    at_every_call(Effect::CrashBefore, false);
}

#[test]
fn a_repair_that_loses_power_at_any_call_is_finished_by_the_next() {
    at_every_call(Effect::CrashAfter, true);
}

#[test]
fn a_repair_of_which_a_call_fails_is_finished_by_the_next() {
    at_every_call(Effect::Fail(ErrorKind::ConnectionReset), false);
}

#[test]
fn a_repair_that_loses_a_reply_is_finished_by_the_next() {
    at_every_call(Effect::LoseReply(ErrorKind::ConnectionReset), false);
}
