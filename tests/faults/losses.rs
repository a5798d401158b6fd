//! Damaged leaves, branch nodes and values: what they cost, and what they don't.

use crate::support::world::*;
use aerolith::embedded::EmbeddedStore;
use aerolith::format::names;
use aerolith::job;
use aerolith::record::{Digest, PartitionId, PartitionSet};
use aerolith::store::{MemoryStore, Store};
use aerolith::{BackupKind, Change, EmbeddedTarget, RecordOptions, RestoreOptions, Selection, SessionOptions};
use std::sync::Arc;

fn repository() -> (Arc<MemoryStore>, aerolith::Repository) {
    let store = Arc::new(MemoryStore::new());
    let repository = create(store.clone()).unwrap();
    (store, repository)
}

#[test]
fn a_damaged_leaf_costs_its_own_records_alone_and_a_full_backup_heals() {
    let world = World::filled(0..3000);
    let (store, repository) = repository();
    let snapshot = back_up(&repository, &world, BackupKind::Full).unwrap();
    let run = snapshot.manifest().namespaces[0].runs[0];
    let leaves = children(&repository, &run);
    assert!(leaves.len() >= 4, "{}", leaves.len());
    let (lost, next) = (&leaves[1], &leaves[2]);
    damage_chunk(&repository, &store, &lost.id);
    let (records, report) = restore(&repository.snapshot("latest").unwrap()).unwrap();
    let truth = world.truth();
    let expected: Truth = truth
        .iter()
        .filter(|(digest, _)| before(digest, &lost.first) || !before(digest, &next.first))
        .map(|(digest, row)| (*digest, row.clone()))
        .collect();
    assert!(records == expected, "{} records instead of {}", records.len(), expected.len());
    assert!(report.is_damaged());
    assert_eq!((report.records_lost, report.lost.nodes, report.lost.entries), (lost.entries, 1, lost.entries));
    let loss = &report.lost.named[0];
    assert_eq!((loss.chunk, loss.from, loss.until), (lost.id, Some(lost.first), Some(next.first)));
    let text = loss.to_string();
    assert!(text.contains(&lost.id.to_string()) && text.contains("packs/") && text.contains("entries"), "{text}");

    let found = check(&repository).unwrap();
    assert!(found.problems.iter().any(|problem| problem.contains(&lost.id.to_string())), "{found:?}");
    assert_eq!(found.hurt, [snapshot.id()]);
    for kind in [BackupKind::Incremental, BackupKind::Differential] {
        let error = refused(back_up(&repository, &world, kind));
        assert!(error.is_damage() && error.to_string().contains("full backup"), "{error}");
        assert!(error.to_string().contains(&lost.id.to_string()), "{error}");
    }
    let healed = back_up(&repository, &world, BackupKind::Full).unwrap();
    let manifest = &healed.manifest().namespaces[0];
    assert_eq!((manifest.counts.healed, manifest.counts.added, manifest.runs.len()), (lost.entries, 0, 1));
    assert_eq!(manifest.state_hash, snapshot.manifest().namespaces[0].state_hash);
    assert_whole(&repository, "latest", &truth, "healed");
    back_up(&repository, &world, BackupKind::Incremental).unwrap();
}

#[test]
fn a_full_backup_heals_a_leaf_that_no_check_has_found_even_if_it_writes_the_very_same_leaf() {
    let world = World::filled(0..400);
    let (store, repository) = repository();
    let snapshot = back_up(&repository, &world, BackupKind::Full).unwrap();
    let run = snapshot.manifest().namespaces[0].runs[0];
    // All that the tree needs: the run's nodes and the metadata.
    damage_chunk(&repository, &store, &run.root);
    damage_chunk(&repository, &store, &snapshot.manifest().namespaces[0].metadata[0]);
    let (records, report) = restore(&repository.snapshot("latest").unwrap()).unwrap();
    assert!(records.is_empty() && report.records_lost == 400 && report.metadata_lost.is_some(), "{report:?}");
    back_up(&repository, &world, BackupKind::Full).unwrap();
    assert_whole(&repository, "latest", &world.truth(), "healed");
    let view = repository.snapshot("latest").unwrap();
    assert_eq!(view.namespace(NAMESPACE).unwrap().metadata().unwrap().indexes.len(), 1);
}

#[test]
fn damage_that_a_restore_meets_is_noted_and_the_next_full_backup_heals_it() {
    let world = World::filled(0..3000);
    let (store, repository) = repository();
    let snapshot = back_up(&repository, &world, BackupKind::Full).unwrap();
    damage_chunk(&repository, &store, values(&repository, "latest").first().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let restore = |name: &str, options: &job::RestoreOptions| {
        let url = format!("jsonl:{}", directory.path().join(name).display());
        let snapshot = repository.snapshot(&snapshot.id().to_string()).unwrap();
        job::restore(&repository, &snapshot, &url, options).unwrap()
    };
    let sessions = || repository.history().unwrap().entries.into_iter().map(|entry| entry.job().to_string());
    let before = sessions().count();
    // A dry run writes nothing, and what is noted once is noted.
    for (name, dry_run, noted) in [("dry", true, 0), ("one", false, 1), ("two", false, 1)] {
        let report = restore(name, &job::RestoreOptions::default().dry_run(dry_run));
        assert!(report.namespaces[0].damaged > 0 && report.done() == job::Done::Damaged, "{report:?}");
        assert_eq!(sessions().count(), before + noted, "{name}");
    }
    assert_eq!(sessions().next_back().unwrap(), "restore");
    back_up(&repository, &world, BackupKind::Full).unwrap();
    assert_whole(&repository, "latest", &world.truth(), "healed");
}

#[test]
fn where_a_newer_leaf_is_damaged_older_entries_are_left_out_and_newer_ones_are_not() {
    let first = World::filled(0..6000);
    let second = first.later(0..6000, 0.25, 0.08, 1);
    let third = second.later(0..6000, 0.05, 0.02, 2);
    let (store, repository) = repository();
    back_up(&repository, &first, BackupKind::Full).unwrap();
    let middle = back_up(&repository, &second, BackupKind::Incremental).unwrap();
    let last = back_up(&repository, &third, BackupKind::Incremental).unwrap();
    let runs = last.manifest().namespaces[0].runs.clone();
    assert_eq!(runs.len(), 3, "the test needs three runs");
    let leaves = children(&repository, &runs[1]);
    let (lost, next) = (&leaves[1], &leaves[2]);
    damage_chunk(&repository, &store, &lost.id);
    let inside = |digest: &[u8; 20]| !before(digest, &lost.first) && before(digest, &next.first);
    for (snapshot, world, old) in [(&middle, &second, &first), (&last, &third, &second)] {
        let truth = world.truth();
        let (records, report) = restore(&repository.snapshot(&snapshot.id().to_string()).unwrap()).unwrap();
        assert!(is_part_of(&records, &truth), "something wrong was restored");
        let outside = truth.keys().filter(|digest| !inside(digest)).count();
        assert_eq!(records.keys().filter(|digest| !inside(digest)).count(), outside);
        assert_eq!(report.records_lost, (truth.len() - records.len()) as u64);
        assert!(report.lost.uncertain > 0 && report.is_damaged(), "{report:?}");
        // What the newest run says of a record in the range is certain.
        let old = old.truth();
        let changed = |digest: &&[u8; 20]| inside(digest) && old.get(*digest) != truth.get(*digest);
        let certain = truth.keys().filter(changed).count();
        let expected = if snapshot.id() == last.id() { certain } else { 0 };
        assert_eq!(records.keys().filter(|digest| inside(digest)).count(), expected);
    }
    // The first snapshot doesn't need that run.
    assert_whole(&repository, "latest~2", &first.truth(), "the first");
    let error = refused(back_up(&repository, &third, BackupKind::Incremental));
    assert!(error.to_string().contains("full backup"), "{error}");
    let healed = back_up(&repository, &third, BackupKind::Full).unwrap();
    assert_eq!(healed.manifest().namespaces[0].runs.len(), 1);
    assert_whole(&repository, "latest", &third.truth(), "healed");
}

#[test]
fn single_records_partitions_and_differences_are_told_as_far_as_they_can_be() {
    let first = World::filled(0..4000);
    let second = first.later(0..4000, 0.5, 0.2, 1);
    let (store, repository) = repository();
    back_up(&repository, &first, BackupKind::Full).unwrap();
    let last = back_up(&repository, &second, BackupKind::Incremental).unwrap();
    let leaves = children(&repository, &last.manifest().namespaces[0].runs[0]);
    let (lost, next) = (leaves[1].clone(), leaves[2].clone());
    damage_chunk(&repository, &store, &lost.id);
    let inside = |digest: &[u8; 20]| !before(digest, &lost.first) && before(digest, &next.first);
    let (old, new) = (first.truth(), second.truth());
    let (a, b) = (repository.snapshot("latest~1").unwrap(), repository.snapshot("latest").unwrap());
    let (was, is) = (a.namespace(NAMESPACE).unwrap(), b.namespace(NAMESPACE).unwrap());

    let mut diff = was.diff(&is).unwrap();
    let changes: Vec<Change> = diff.by_ref().map(Result::unwrap).collect();
    let losses = diff.losses();
    assert_eq!((losses.nodes, losses.named[0].chunk), (1, lost.id));
    let differ = |digest: &&[u8; 20]| !inside(digest) && old.get(*digest) != new.get(*digest);
    let mut expected: Vec<[u8; 20]> = old.keys().filter(differ).copied().collect();
    expected.sort_by_key(|digest| Digest(*digest).sort_key());
    assert_eq!(changes.iter().map(|change| change.digest.0).collect::<Vec<_>>(), expected);

    let outside = new.keys().find(|digest| !inside(digest)).unwrap();
    assert_eq!(is.get(&Digest(*outside)).unwrap().unwrap().body, new[outside].2);
    let error = refused(is.get(&lost.first));
    assert!(error.is_damage() && error.to_string().contains("packs/"), "{error}");
    assert!(is.partition(lost.first.partition()).is_err());
    let far = Digest(*new.keys().max_by_key(|digest| Digest(**digest).sort_key()).unwrap()).partition();
    assert_eq!(
        is.partition(far).unwrap().len(),
        new.keys().filter(|digest| Digest(**digest).partition() == far).count()
    );

    let target = MemoryTarget::default();
    let digests = [Digest(*outside), lost.first, Digest([7; 20])].into();
    let options = RestoreOptions::default().selection(Selection::of_digests(digests));
    let report = b.restore(NAMESPACE, &target, &options).unwrap();
    assert!(report.adds_up() && report.is_damaged());
    let unknown_is_inside = inside(&[7; 20]);
    assert_eq!((report.written, report.damaged), (1, 1 + u64::from(unknown_is_inside)));
}

#[test]
fn a_damaged_branch_node_costs_what_stands_below_it() {
    // Two levels of branch nodes take this many records, whatever the keys make of the cuts.
    let world = World::filled(0..130_000);
    let (store, repository) = repository();
    let snapshot = back_up(&repository, &world, BackupKind::Full).unwrap();
    let run = snapshot.manifest().namespaces[0].runs[0];
    assert!(run.level >= 2, "level {}", run.level);
    let nodes = children(&repository, &run);
    let (lost, next) = (&nodes[0], &nodes[1]);
    damage_chunk(&repository, &store, &lost.id);
    let truth = world.truth();
    let (records, report) = restore(&repository.snapshot("latest").unwrap()).unwrap();
    let outside = truth.keys().filter(|digest| !before(digest, &next.first)).count();
    assert_eq!((records.len(), report.records_lost), (outside, lost.entries));
    assert!(is_part_of(&records, &truth));
    let found = check(&repository).unwrap();
    assert!(found.problems.iter().any(|problem| problem.contains(&format!("branch node {}", lost.id))), "{found:?}");
    back_up(&repository, &world, BackupKind::Full).unwrap();
    assert_whole(&repository, "latest", &truth, "healed");
}

#[test]
fn a_damaged_value_costs_its_own_records_and_the_rest_of_its_pack_restores() {
    let world = World::filled(0..3000);
    let (store, repository) = repository();
    let snapshot = back_up(&repository, &world, BackupKind::Full).unwrap();
    let view = snapshot.namespace(NAMESPACE).unwrap();
    let some = *world.truth().keys().next().unwrap();
    let chunk = view.entry(&Digest(some)).unwrap().unwrap().place.chunk;
    let mut entries = view.entries().unwrap();
    let mut hurt = 0;
    while let Some(entry) = entries.next().unwrap() {
        hurt += u64::from(entry.live.is_some_and(|live| live.place.chunks().any(|id| *id == chunk)));
    }
    damage_chunk(&repository, &store, &chunk);
    let (records, report) = restore(&repository.snapshot("latest").unwrap()).unwrap();
    assert!(is_part_of(&records, &world.truth()));
    assert_eq!((report.damaged, report.failed, records.len() as u64), (hurt, hurt, 3000 - hurt));
    assert!(report.failures[0].reason.contains(&chunk.to_string()), "{}", report.failures[0].reason);
    assert!(hurt > 0 && hurt < 3000);

    // Without a check nobody knows; after it a full backup writes the values again, and only once.
    check(&repository).unwrap();
    let healed = back_up(&repository, &world, BackupKind::Full).unwrap();
    assert_eq!(healed.manifest().namespaces[0].counts.healed, hurt);
    assert_whole(&repository, "latest", &world.truth(), "healed");
    let again = back_up(&repository, &world, BackupKind::Full).unwrap();
    assert_eq!(again.manifest().namespaces[0].counts.healed, 0);
}

#[test]
fn another_copy_is_used_where_one_is_missing_even_if_no_index_names_it() {
    let world = World::filled(0..500);
    let (store, repository) = repository();
    back_up(&repository, &world, BackupKind::Full).unwrap();
    // A crashed backup of the same data in a copy of the repository leaves packs that no index names.
    let other = Arc::new(MemoryStore::new());
    for name in ["config"].into_iter().map(String::from).chain(store.list("keys/").unwrap().into_iter().map(|o| o.key))
    {
        other.put(&name, &store.get(&name, u64::MAX).unwrap().unwrap()).unwrap();
    }
    back_up(&aerolith::Repository::open(other.clone(), PASSPHRASE).unwrap(), &world, BackupKind::Full).unwrap();
    let indexed = store.list(names::PACKS).unwrap();
    for object in other.list(names::PACKS).unwrap() {
        store.put(&object.key, &other.get(&object.key, u64::MAX).unwrap().unwrap()).unwrap();
    }
    for (n, object) in indexed.iter().enumerate() {
        if n % 2 == 0 {
            store.delete(&object.key).unwrap();
        } else {
            flip(&store, &object.key, 80);
        }
    }
    assert_whole(&repository, "latest", &world.truth(), "from the other copies");
    // The next backup builds on them, and so must name them.
    back_up(&repository, &world, BackupKind::Full).unwrap();
    let index = repository.index().unwrap();
    let named = index.packs();
    let snapshot = repository.snapshot("latest").unwrap();
    let mut reached = Vec::new();
    snapshot.reach(&mut Default::default(), &mut |id, _| reached.push(id)).unwrap();
    let store: &dyn Store = &*store;
    for id in reached {
        let places = index.lookup(store, &id).unwrap();
        let there = |pack| named.contains_key(pack) && store.size(&names::pack(pack)).unwrap().is_some();
        assert!(places.iter().any(|at| there(&at.pack)), "chunk {id} is in no pack that the index names");
    }
}

/// Two sessions wrote the same chunks, and the index is lost.
#[test]
fn of_two_copies_that_no_index_names_the_whole_one_is_used() {
    let world = World::filled(0..600);
    let (store, repository) = repository();
    let mut sessions = [(); 2].map(|()| {
        let about = SessionOptions::default().cluster("memory");
        repository.begin(about).unwrap()
    });
    for session in &mut sessions {
        let options = RecordOptions::default().parallel(1);
        session.records(NAMESPACE, &world, BackupKind::Full, &options).unwrap();
    }
    let [first, _] = sessions.map(|session| session.commit().unwrap().id());
    let mut reached = Vec::new();
    let snapshot = repository.snapshot(&first.to_string()).unwrap();
    snapshot.reach(&mut Default::default(), &mut |id, _| reached.push(id)).unwrap();
    let chunks = repository.chunk_reader().unwrap();
    // Now the one and now the other is damaged.
    for (n, id) in reached.iter().enumerate() {
        let copies = chunks.locate(id).unwrap();
        let at = &copies[n % copies.len()];
        if copies.len() == 2 {
            flip(&store, &names::pack(&at.pack), at.place.offset as usize);
        }
    }
    for segment in store.list(names::INDEX).unwrap() {
        store.delete(&segment.key).unwrap();
    }
    assert_whole(&repository, &first.to_string(), &world.truth(), "two copies");
}

#[test]
fn a_mirror_is_refused_before_it_writes_and_partitions_without_damage_are_whole() {
    let world = World::filled(0..3000);
    let (store, repository) = repository();
    let snapshot = back_up(&repository, &world, BackupKind::Full).unwrap();
    let leaves = children(&repository, &snapshot.manifest().namespaces[0].runs[0]);
    let (lost, next) = (&leaves[1], &leaves[2]);
    damage_chunk(&repository, &store, &lost.id);
    let snapshot = repository.snapshot("latest").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let live = EmbeddedStore::create(directory.path()).unwrap();
    let target = EmbeddedTarget::new(live.clone());
    let mirror = RestoreOptions::default().mirror(true);
    for tried in [
        snapshot.restore(NAMESPACE, &target, &mirror).map(|_| ()),
        snapshot.count_surplus(NAMESPACE, &target, &mirror).map(|_| ()),
    ] {
        let error = refused(tried);
        assert!(error.is_damage() && error.to_string().contains("nothing is deleted"), "{error}");
        assert!(error.to_string().contains(&lost.id.to_string()), "{error}");
    }
    assert_eq!(live.namespaces().unwrap(), [""; 0]);

    let of = |wanted: &dyn Fn(PartitionId) -> bool| {
        let partitions: PartitionSet = PartitionId::all().filter(|partition| wanted(*partition)).collect();
        let selection = Selection::default().partitions(partitions);
        let options = RestoreOptions::default().selection(selection);
        let report = snapshot.restore(NAMESPACE, &target, &options).unwrap();
        let compared = snapshot.verify_restored(NAMESPACE, &target, &options, &report).unwrap().unwrap();
        assert!(report.adds_up() && compared.changed.is_empty() && compared.only_in_snapshot.is_empty());
        assert_eq!(compared.records_in_snapshot, report.written);
        (report, compared)
    };
    let (first, last) = (lost.first.partition(), next.first.partition());
    // Two ranges with the damage between them.
    let (report, compared) = of(&|partition| partition < first || partition > last);
    let outside = |digest: &[u8; 20]| Digest(*digest).partition() < first || Digest(*digest).partition() > last;
    assert_eq!(report.written, world.truth().keys().filter(|digest| outside(digest)).count() as u64);
    assert!(!report.is_damaged() && compared.is_same(), "{report:?}");
    let (report, compared) = of(&|partition| partition == first || partition == last);
    assert!(report.is_damaged() && compared.is_damaged() && !compared.is_same());
    assert_eq!(report.lost.named[0].chunk, lost.id);
}
