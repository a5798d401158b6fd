//! Labels that come and go.

use crate::support::scene::*;
use crate::support::world::*;
use aerolith::format::names;
use aerolith::store::{Call, Effect, Fault, FaultStore, MemoryStore, Store};
use aerolith::{BackupKind, CheckOptions, Labelled, RepairOptions, Repository, Result, Retention, SnapshotFilter};
use std::sync::Arc;

fn tag(repository: &Repository, id: &str, add: &[&str], remove: &[&str]) -> Result<Labelled> {
    let [add, remove] = [add, remove].map(|labels| labels.iter().map(ToString::to_string).collect::<Vec<_>>());
    repository.tag(id, &SnapshotFilter::ALL, &add, &remove)
}

fn tags(repository: &Repository, id: &str) -> Vec<String> {
    let list = repository.snapshots().unwrap();
    assert!(list.unread_labels.is_empty(), "{:?}", list.unread_labels);
    list.snapshots.into_iter().find(|one| one.id().to_string() == id).unwrap().tags().to_vec()
}

fn objects(disk: &Arc<MemoryStore>) -> Vec<String> {
    disk.list(names::TAGS).unwrap().into_iter().map(|object| object.key).collect()
}

#[test]
fn labels_come_and_go_and_leave_one_object() {
    let scene = Scene::new(30);
    let (repository, id) = (scene.repository(), scene.id(0));
    assert!(objects(&scene.disk).is_empty());
    let done = tag(&repository, &id, &["b", "a"], &[]).unwrap();
    assert_eq!((done.tags, done.changed), (vec!["a".to_string(), "b".into()], true));
    assert!(!tag(&repository, &id, &["a"], &[]).unwrap().changed);
    assert_eq!(tag(&repository, &id, &[], &["a"]).unwrap().tags, ["b"]);
    assert_eq!(tag(&repository, &id, &["a", "c"], &[]).unwrap().tags, ["a", "b", "c"]);
    assert_eq!(tags(&repository, &id), ["a", "b", "c"]);
    assert!(tags(&repository, &scene.id(1)).is_empty());
    assert_eq!(objects(&scene.disk).len(), 1);
    let error = message(tag(&repository, &id, &["d"], &["nightly"]));
    assert!(error.contains("label \"nightly\" of snapshot") && error.contains("It has a, b, c"), "{error}");
    assert_eq!(tags(&repository, &id), ["a", "b", "c"], "half of a change was made");
    assert_exact(&repository, &scene.snapshots, "labelled");
}

#[test]
fn more_labels_than_a_snapshot_may_have_are_refused() {
    let scene = Scene::new(30);
    let (repository, id) = (scene.repository(), scene.id(0));
    let names: Vec<String> = (0..64).map(|n| format!("n{n:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    tag(&repository, &id, &names, &[]).unwrap();
    for label in ["a", "z"] {
        let error = message(tag(&repository, &id, &[label], &[]));
        assert!(error.contains("has 64 labels and may have 64"), "{error}");
    }
    tag(&repository, &id, &["z"], &["n00"]).unwrap();
    assert_eq!(tags(&repository, &id).len(), 64);
    assert!(message(tag(&repository, &id, &[""], &[])).contains("empty"));
    assert!(message(tag(&repository, &id, &[&"x".repeat(257)], &[])).contains("at most 256 bytes"));
    // Labels that came and went are kept, so that no older change brings them back; there is an end to that.
    tag(&repository, &id, &[], &names[2..]).unwrap();
    let rounds = (0..100).map(|n| {
        let names: Vec<String> = (0..60).map(|k| format!("o{n}-{k}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        tag(&repository, &id, &names, &[]).and_then(|_| tag(&repository, &id, &[], &names))
    });
    let (done, failed): (Vec<_>, Vec<_>) = rounds.partition(Result::is_ok);
    assert_eq!((done.len(), failed.len()), (15, 85));
    assert!(message(failed.into_iter().next().unwrap()).contains("at most 1024"));
    assert_eq!(tags(&repository, &id), ["n01", "z"]);
}

#[test]
fn writers_that_do_not_see_each_other_lose_no_change() {
    let scene = Scene::new(30);
    let id = scene.id(0);
    tag(&scene.repository(), &id, &["old"], &[]).unwrap();
    let (other, name, mut met) = (scene.repository(), id.clone(), false);
    let store = HookStore::new(scene.disk.clone(), move |call, key| {
        if call == Call::PutNew && key.starts_with(names::TAGS) && !met {
            met = true;
            tag(&other, &name, &["theirs"], &["old"]).unwrap();
        }
    });
    tag(&open(store).unwrap(), &id, &["ours"], &[]).unwrap();
    assert_eq!(tags(&scene.repository(), &id), ["ours", "theirs"]);
    assert_eq!(objects(&scene.disk).len(), 2);
    tag(&scene.repository(), &id, &["last"], &[]).unwrap();
    assert_eq!(tags(&scene.repository(), &id), ["last", "ours", "theirs"]);
    assert_eq!(objects(&scene.disk).len(), 1);
}

#[test]
fn a_reader_sees_the_labels_that_replaced_those_that_it_listed() {
    let scene = Scene::new(30);
    let id = scene.id(0);
    tag(&scene.repository(), &id, &["a"], &[]).unwrap();
    let (other, name, mut n) = (scene.repository(), id.clone(), 0);
    let store = HookStore::new(scene.disk.clone(), move |call, key| {
        if call == Call::Get && key.starts_with(names::TAGS) && n < 3 {
            n += 1;
            tag(&other, &name, &[&format!("n{n}")], &[]).unwrap();
        }
    });
    assert_eq!(tags(&open(store).unwrap(), &id), ["a", "n1", "n2", "n3"]);
}

#[test]
fn a_change_that_is_interrupted_anywhere_is_made_or_not_and_can_be_repeated() {
    let scene = Scene::new(30);
    let id = scene.id(0);
    tag(&scene.repository(), &id, &["old"], &[]).unwrap();
    let mut ends = [0, 0];
    for (call, effect) in [
        (Call::PutNew, Effect::CrashBefore),
        (Call::PutNew, Effect::CrashAfter),
        (Call::Delete, Effect::CrashBefore),
        (Call::Delete, Effect::CrashAfter),
    ] {
        let disk = Arc::new(scene.disk.fork());
        let store = Arc::new(FaultStore::new(disk.clone()));
        store.inject(Fault::nth(0, effect).of(call).under(names::TAGS));
        message(tag(&open(store).unwrap(), &id, &["new"], &["old"]));
        let repository = open(disk.clone()).unwrap();
        match tags(&repository, &id) {
            found if found == ["old"] => ends[0] += 1,
            found => {
                assert_eq!(found, ["new"], "{call:?}, {effect:?}");
                ends[1] += 1;
            }
        }
        tag(&repository, &id, &["new"], &[]).unwrap();
        assert!(tags(&repository, &id).contains(&"new".to_string()));
    }
    assert_eq!(ends, [1, 3]);
}

#[test]
fn a_snapshot_that_is_forgotten_takes_its_labels_with_it() {
    let scene = Scene::new(30);
    let (repository, id) = (scene.repository(), scene.id(0));
    tag(&repository, &scene.id(1), &["stays"], &[]).unwrap();
    tag(&repository, &id, &["a"], &[]).unwrap();
    // Forgotten while the change is written.
    let (other, name, mut met) = (scene.repository(), id.clone(), false);
    let store = HookStore::new(scene.disk.clone(), move |call, key| {
        if call == Call::PutNew && key.starts_with(names::TAGS) && !met {
            met = true;
            forget(&other, std::slice::from_ref(&name)).unwrap();
        }
    });
    let error = message(tag(&open(store).unwrap(), &id, &["b"], &[]));
    assert!(error.contains("was forgotten at this moment"), "{error}");
    assert_eq!(objects(&scene.disk).len(), 2);
    assert!(message(tag(&repository, &id, &["b"], &[])).contains("not found"));
    prune(&repository, &thorough()).unwrap();
    assert_eq!(objects(&scene.disk).len(), 1);
    assert_eq!(tags(&repository, &scene.id(1)), ["stays"]);
}

#[test]
fn rules_go_by_the_labels_of_now_and_keep_what_they_cannot_read() {
    let scene = Scene::new(30);
    let repository = scene.repository();
    let first = back_up_all(&repository, BackupKind::Full, &[("gone", &scene.kept)]).0;
    back_up_all(&repository, BackupKind::Full, &[("gone", &scene.kept)]);
    tag(&repository, &first.to_string(), &["keep"], &[]).unwrap();
    let policy = Retention::default().last(1).tags(["keep"]);
    let forgotten = |policy: &Retention| {
        let report = repository.forget_plan(policy, &SnapshotFilter::ALL).unwrap().into_report();
        (report.forgotten, report.problems)
    };
    assert_eq!(forgotten(&policy).0, [scene.snapshots[1].0]);
    tag(&repository, &scene.id(1), &["other"], &[]).unwrap();
    let damaged = names::tags_of(&scene.snapshots[1].0);
    let key = objects(&scene.disk).into_iter().find(|key| key.starts_with(&damaged)).unwrap();
    flip(&scene.disk, &key, 90);
    let (gone, problems) = forgotten(&policy);
    assert!(gone.is_empty() && problems.len() == 1 && problems[0].contains(&key), "{gone:?} {problems:?}");
    // Where labels are no reason to stay, it doesn't matter which there are.
    let newest = Retention::default().last(1);
    assert_eq!(forgotten(&newest).0, [scene.snapshots[1].0, first]);
    let error = message(tag(&repository, &scene.id(1), &["more"], &[]));
    assert!(error.contains(&key) && error.contains("aerolith repair"), "{error}");
    let report = repository.check(&CheckOptions::default()).unwrap();
    assert!(report.problems.len() == 1 && report.problems[0].contains(&key) && report.hurt.is_empty(), "{report:?}");
    let repaired = repair(&repository, &RepairOptions::default()).unwrap();
    assert!(repaired.cleared.len() == 1 && repaired.cleared[0].contains(&key), "{repaired:?}");
    assert!(repository.check(&CheckOptions::default()).unwrap().problems.is_empty());
    assert_eq!(tag(&repository, &scene.id(1), &["more"], &[]).unwrap().tags, ["more"]);
}
