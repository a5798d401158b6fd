//! What is held can't be forgotten.

use crate::support::scene::*;
use crate::support::world::*;
use aerolith::format::names;
use aerolith::format::snapshot::SnapshotState;
use aerolith::store::{Call, Store};
use aerolith::{BackupKind, Retention, SessionOptions, SnapshotFilter};

#[test]
fn a_held_snapshot_stays_by_name_and_by_rule_until_each_hold_is_released() {
    let scene = Scene::new(30);
    let repository = scene.repository();
    let first = repository.hold(&[scene.id(0), scene.id(1)], &SnapshotFilter::ALL, "case 7").unwrap();
    let second = repository.hold(&[scene.id(0)], &SnapshotFilter::ALL, "audit").unwrap();
    for names in [vec![scene.id(0)], vec![scene.id(2), scene.id(0)]] {
        let error = message(forget(&repository, &names));
        assert!(error.contains("is held") && error.contains(&scene.id(0)) && error.contains("hold release"), "{error}");
        assert!(error.contains("case 7") || error.contains("audit"), "{error}");
    }
    assert_eq!(repository.snapshots().unwrap().snapshots.len(), 3, "one that was named beside it went");
    let none = Retention::default().last(0);
    let report = repository.forget(&none, &SnapshotFilter::ALL).unwrap();
    assert_eq!(report.forgotten, [scene.snapshots[2].0]);
    let reasons: Vec<String> = report.verdicts[0].reasons.iter().map(ToString::to_string).collect();
    assert!(
        reasons.iter().any(|why| why.contains("case 7")) && reasons.iter().any(|why| why.contains("audit")),
        "{reasons:?}"
    );
    prune(&repository, &thorough()).unwrap();
    assert_eq!(assert_exact(&repository, &scene.snapshots, "held"), 2);
    assert_eq!(repository.release(&first[0].id.to_string()[..8], &SnapshotFilter::ALL).unwrap().len(), 1);
    message(forget(&repository, &[scene.id(0)]));
    assert_eq!(repository.release(&scene.id(0), &SnapshotFilter::ALL).unwrap()[0].id, second[0].id);
    forget(&repository, &[scene.id(0)]).unwrap();
    assert_eq!(repository.holds().unwrap().len(), 1);
    for unknown in ["ffffffff", &scene.id(0), ""] {
        repository.release(unknown, &SnapshotFilter::ALL).unwrap_err();
    }
    assert!(message(repository.hold(&[scene.id(0)], &SnapshotFilter::ALL, "too late")).contains("not found"));
}

#[test]
fn a_hold_that_cannot_be_read_holds_and_can_be_released() {
    let scene = Scene::new(30);
    let repository = scene.repository();
    let hold = repository.hold(&[scene.id(0)], &SnapshotFilter::ALL, "case 7").unwrap().remove(0);
    flip(&scene.disk, &names::hold(&hold.snapshot, &hold.id), 90);
    let error = message(forget(&repository, &[scene.id(0)]));
    assert!(error.contains("is held") && error.contains("can't be read"), "{error}");
    assert!(repository.holds().unwrap()[0].note.is_err());
    repository.release(&scene.id(0), &SnapshotFilter::ALL).unwrap();
    forget(&repository, &[scene.id(0)]).unwrap();
}

#[test]
fn a_backup_can_be_held_from_its_beginning_and_one_that_was_fenced_leaves_no_hold() {
    let scene = Scene::new(30);
    let repository = scene.repository();
    let begin = || {
        let about = SessionOptions::default().cluster("memory").hold("case 7".to_string());
        let mut session = repository.begin(about).unwrap();
        session.records("kept", &scene.kept, BackupKind::Incremental, &options()).unwrap();
        session
    };
    let committed = begin().commit().unwrap().id();
    assert!(message(forget(&repository, &[committed.to_string()])).contains("case 7"));
    let fenced = begin();
    let id = fenced.id();
    scene.disk.put(&names::snapshot(&id), b"").unwrap();
    message(fenced.commit());
    assert!(repository.holds().unwrap().iter().all(|hold| hold.snapshot == committed));
    // One that a backup left that died before its commit goes with the next collection.
    let dead = begin();
    let orphan = aerolith::format::hold::Hold {
        id: aerolith::format::HoldId([9; 16]),
        snapshot: dead.id(),
        placed: 1,
        host: String::new(),
        program: String::new(),
        reason: String::new(),
    };
    let suite = repository.parameters().suite;
    aerolith::internals::objects::place_hold(&*scene.disk, repository.keys(), suite, &orphan).unwrap();
    scene.disk.put(&names::snapshot(&dead.id()), b"").unwrap();
    assert_eq!(repository.holds().unwrap().iter().filter(|hold| hold.state == Some(SnapshotState::Fenced)).count(), 1);
    drop(dead);
    prune(&repository, &thorough()).unwrap();
    assert!(repository.holds().unwrap().iter().all(|hold| hold.snapshot == committed));
}

#[test]
fn a_hold_and_a_forget_at_the_same_moment_never_both_succeed_unnoticed() {
    // Forgotten while the hold is written: the hold says so, and is gone.
    let scene = Scene::new(30);
    let other = scene.repository();
    let id = scene.id(0);
    let store = HookStore::new(scene.disk.clone(), move |call, key| {
        if call == Call::PutNew && key.starts_with(names::HOLDS) {
            forget(&other, std::slice::from_ref(&id)).unwrap();
        }
    });
    let error = message(open(store).unwrap().hold(&[scene.id(0)], &SnapshotFilter::ALL, "case 7"));
    assert!(error.contains("was forgotten at this moment") && error.contains("not held"), "{error}");
    assert!(scene.repository().holds().unwrap().is_empty());
    // Held while the names are looked up: the forget finds out right before it writes.
    let scene = Scene::new(30);
    let (other, id) = (scene.repository(), scene.id(0));
    let mut held = false;
    let store = HookStore::new(scene.disk.clone(), move |call, key| {
        if call == Call::List && key == names::holds_of(&aerolith::SnapshotId::from_hex(&id).unwrap()) && !held {
            held = true;
            other.hold(std::slice::from_ref(&id), &SnapshotFilter::ALL, "case 7").unwrap();
        }
    });
    assert!(message(forget(&open(store).unwrap(), &[scene.id(0)])).contains("case 7"));
    // Between that look and the write it comes too late, and stays for all to see.
    let scene = Scene::new(30);
    let (other, id) = (scene.repository(), scene.id(0));
    let store = HookStore::new(scene.disk.clone(), move |call, key| {
        if call == Call::Put && key.starts_with(names::SNAPSHOTS) {
            other.hold(std::slice::from_ref(&id), &SnapshotFilter::ALL, "case 7").unwrap();
        }
    });
    forget(&open(store).unwrap(), &[scene.id(0)]).unwrap();
    assert_eq!(scene.repository().holds().unwrap()[0].state, Some(SnapshotState::Forgotten));
}

#[test]
fn a_snapshot_that_is_named_twice_is_forgotten_once() {
    let scene = Scene::new(30);
    let repository = scene.repository();
    let names = [scene.id(0), scene.id(0)[..12].to_string()];
    let report = repository.forget_named(&names, &SnapshotFilter::ALL).unwrap();
    assert_eq!(report.forgotten, [scene.snapshots[0].0]);
}
