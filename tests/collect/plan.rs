//! Plans that are executed after something else happened.

use crate::support::scene::{Scene, assert_clean, assert_exact, back_up_all, forget, message, prune, thorough};
use crate::support::world::World;
use aerolith::format::names;
use aerolith::store::Store;
use aerolith::{BackupKind, SnapshotFilter};

#[test]
fn an_executed_plan_to_prune_deletes_the_packs_that_it_showed_and_no_others() {
    let scene = Scene::new(30);
    let repository = scene.repository();
    let add = |namespace, from| {
        let world = World::filled(from..from + 500);
        back_up_all(&repository, BackupKind::Full, &[(namespace, &world)]).0.to_string()
    };
    let (first, second) = (add("first", 10_000), add("second", 20_000));
    prune(&repository, &thorough()).unwrap();
    forget(&repository, &[first]).unwrap();
    let packs = || scene.disk.list(names::PACKS).unwrap().len() as u64;
    let before = packs();
    let plan = repository.prune_plan(&thorough()).unwrap();
    let shown = plan.report().clone();
    assert!(shown.packs_deleted > 0 && packs() == before, "{shown:?}");
    forget(&repository, &[second]).unwrap();
    let all = repository.prune_plan(&thorough()).unwrap().into_report();
    assert!(all.packs_deleted > shown.packs_deleted, "{all:?}");

    let done = plan.execute().unwrap();
    assert_eq!((done.packs_deleted, done.bytes_deleted), (shown.packs_deleted, shown.bytes_deleted));
    assert!(done.unused_bytes_left > 0, "{done:?}");
    assert_eq!(assert_exact(&repository, &scene.snapshots, "planned"), 3);
    let rest = prune(&repository, &thorough()).unwrap();
    assert!(rest.packs_deleted > 0 && rest.unused_bytes_left == 0, "{rest:?}");
    assert_clean(&repository, "planned");
}

#[test]
fn an_executed_plan_to_forget_stops_at_a_snapshot_that_was_held_meanwhile() {
    let scene = Scene::new(30);
    let repository = scene.repository();
    let ids = || repository.snapshots().unwrap().snapshots.iter().map(|one| one.id().to_string()).collect::<Vec<_>>();
    let all = ids();
    let plan = repository.forget_named_plan(&all[..2], &SnapshotFilter::ALL).unwrap();
    assert!(plan.report().forgotten.len() == 2 && ids() == all, "{plan:?}");
    repository.hold(&all[1..2], &SnapshotFilter::ALL, "case 7").unwrap();
    assert!(message(plan.execute()).contains("held"));
    assert_eq!(ids(), all[1..]);
}
