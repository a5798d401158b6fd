//! What copies cost.

use super::two::*;
use crate::support::scene::*;
use crate::support::world::*;
use aerolith::BackupKind;
use aerolith::format::names;
use aerolith::store::{Call, MemoryStore};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn ten_days_copied_one_by_one_take_the_space_of_the_originals_and_read_what_changed() {
    const RECORDS: u64 = 6_000;
    let source = create(Arc::new(MemoryStore::new())).unwrap();
    let target = other(Arc::new(MemoryStore::new()));
    let mut world = World::filled(0..RECORDS);
    let mut snapshots = Vec::new();
    let mut first = None;
    for day in 0..10 {
        let kind = if day == 0 { BackupKind::Full } else { BackupKind::Incremental };
        snapshots.push(back_up_all(&source, kind, &[("test", &world)]));
        let report = copy(&source, &target).unwrap();
        let [copied] = &report.copied[..] else { panic!("{report:?}") };
        assert_eq!(report.present.len(), day as usize);
        let at_home = copied.original.stored_bytes();
        // The same chunks in packs of the same padding; the ids in them differ, and how they are spread over packs.
        let bound = at_home + at_home / 8 + 2_000;
        assert!(copied.stored_bytes <= bound, "day {day}: {} instead of {at_home}", copied.stored_bytes);
        // The bodies of what changed, and the entries of all, which prove that the rest is the same.
        let all = *first.get_or_insert(copied.bytes_read);
        assert!(day == 0 || copied.bytes_read < all / 3, "day {day}: {} of {all} read", copied.bytes_read);
        // Seed 0 gives back the bodies that there were: on that day records are only touched.
        world = world.later(0..RECORDS, 0.02, 0.005, day);
    }
    let touched = source.snapshot(&snapshots[1].0.to_string()).unwrap().manifest().namespaces[0].counts;
    assert!(touched.touched > 50 && touched.changed == 0, "{touched:?}");
    assert_copied(&source, &target, &snapshots, "ten days");
    assert_nothing_twice(&target, "ten days");
    assert_nothing_unused(&target, "ten days");
}

#[test]
fn copied_at_once_they_share_as_much_and_forgotten_originals_are_not_read_again() {
    let source = create(Arc::new(MemoryStore::new())).unwrap();
    let target = other(Arc::new(MemoryStore::new()));
    let mut world = World::filled(0..2_000);
    let mut snapshots = vec![back_up_all(&source, BackupKind::Full, &[("test", &world)])];
    for day in 0..9 {
        world = world.later(0..2_000, 0.03, 0.01, day);
        snapshots.push(back_up_all(&source, BackupKind::Incremental, &[("test", &world)]));
    }
    let report = copy(&source, &target).unwrap();
    let sum = |of: &dyn Fn(usize) -> u64| (0..10).map(of).sum::<u64>();
    let at_home = sum(&|n| report.copied[n].original.stored_bytes());
    let there = sum(&|n| report.copied[n].stored_bytes);
    assert!(there <= at_home + at_home / 8, "{there} instead of {at_home}");
    assert_copied(&source, &target, &snapshots, "ten days at once");
    // All that were copied are gone at home; the next builds on their runs, of which the copies say where they come
    // from.
    world = world.later(0..2_000, 0.03, 0.01, 10);
    let last = back_up_all(&source, BackupKind::Incremental, &[("test", &world)]);
    let old: Vec<String> = snapshots.iter().map(|(id, _)| id.to_string()).collect();
    forget(&source, &old).unwrap();
    prune(&source, &thorough()).unwrap();
    let next = copy(&source, &target).unwrap();
    assert!(next.copied[0].bytes_read < report.copied[0].bytes_read / 3, "{next:?}");
    assert_copied(&source, &target, &[last], "the eleventh day");
    assert_eq!(target.snapshots().unwrap().snapshots.len(), 11);
    assert_nothing_twice(&target, "the eleventh day");
}

#[test]
fn a_merge_in_the_source_is_copied_without_reading_the_values_again() {
    let source = create(Arc::new(MemoryStore::new())).unwrap();
    let target = other(Arc::new(MemoryStore::new()));
    let mut world = World::filled(0..1_500);
    world.put_large(3, 700_000);
    let mut snapshots = vec![back_up_all(&source, BackupKind::Full, &[("test", &world)])];
    let first = copy(&source, &target).unwrap().copied[0].bytes_read;
    let (mut merged, mut runs) = (0, 1);
    for day in 1..40 {
        world = world.later(20..1_500, 0.005, 0.001, day);
        snapshots.push(back_up_all(&source, BackupKind::Incremental, &[("test", &world)]));
        let report = copy(&source, &target).unwrap();
        let [copied] = &report.copied[..] else { panic!("{report:?}") };
        let now = copied.original.manifest().namespaces[0].runs.len();
        if now < runs {
            merged += 1;
            // The large value alone takes more than twice this.
            assert!(copied.bytes_read < first / 3, "{} of {first}", copied.bytes_read);
        }
        runs = now;
    }
    assert!(merged > 0, "nothing was merged");
    assert_copied(&source, &target, &snapshots, "merged");
    assert_nothing_twice(&target, "merged");
}

#[test]
fn many_snapshots_read_the_manifests_of_the_target_once() {
    let source = create(Arc::new(MemoryStore::new())).unwrap();
    let disk = other_disk();
    let mut world = World::filled(0..20);
    let snapshots: Vec<_> = (0..24)
        .map(|day| {
            world = world.later(0..20, 0.3, 0.0, day);
            back_up_all(&source, BackupKind::Full, &[("test", &world)])
        })
        .collect();
    let count = Arc::new(AtomicU64::new(0));
    let counting = count.clone();
    let store = HookStore::new(disk, move |call, key| {
        let is_of_one = key.starts_with(names::SNAPSHOTS) || key.starts_with(names::SESSIONS);
        counting.fetch_add(u64::from(call == Call::Get && is_of_one), Ordering::Relaxed);
    });
    let target = open_other(store).unwrap();
    copy(&source, &target).unwrap();
    // The manifest of each, its session, and a session that goes on.
    let read = count.load(Ordering::Relaxed);
    assert!(read <= 4 * 24, "{read} objects were read for 24 snapshots");
    assert_copied(&source, &target, &snapshots, "many");
}
