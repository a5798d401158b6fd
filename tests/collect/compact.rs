//! A snapshot that rests on nothing but what its records need.

use crate::support::scene::*;
use crate::support::world::*;
use aerolith::store::MemoryStore;
use aerolith::{BackupKind, PruneReport, Repository};
use std::sync::Arc;

fn held(report: &PruneReport) -> (u64, u64) {
    let [held] = &report.held[..] else { panic!("{report:?}") };
    (held.needed_bytes, held.held_bytes)
}

/// The plain bytes of the value chunks that stand in the packs.
fn stored_values(repository: &Repository) -> u64 {
    let reader = repository.chunk_reader().unwrap();
    let values = values(repository, "latest");
    values.iter().map(|id| u64::from(reader.locate(id).unwrap()[0].place.plain)).sum()
}

#[test]
fn a_compact_backup_has_one_run_and_no_dead_values_are_left_once_older_snapshots_are_gone() {
    for kind in [BackupKind::Full, BackupKind::Incremental] {
        let repository = create(Arc::new(MemoryStore::new())).unwrap();
        let mut world = World::filled(0..600);
        back_up_all(&repository, BackupKind::Full, &[("kept", &world)]);
        for seed in 1..4 {
            world = world.later(0..600, 0.1, 0.03, seed);
            back_up_all(&repository, BackupKind::Incremental, &[("kept", &world)]);
        }
        let older: Vec<String> =
            repository.snapshots().unwrap().snapshots.iter().map(|one| one.id().to_string()).collect();
        forget(&repository, &older[..older.len() - 1]).unwrap();
        // That a collection leaves so much is said.
        prune(&repository, &thorough()).unwrap();
        let (needed, holds) = held(&prune(&repository, &thorough()).unwrap());
        assert!(holds > needed + needed / 100, "{kind}: {holds} for {needed}");
        world = world.later(0..600, 0.05, 0.02, 9);
        let mut session = begin(&repository).unwrap();
        let how = options().compact(true);
        session.records("kept", &world, kind, &how).unwrap();
        let snapshot = session.commit().unwrap();
        let (id, made) = (snapshot.id(), &snapshot.manifest().namespaces[0]);
        assert_eq!(made.runs.len(), 1, "{kind}");
        assert_eq!((made.runs[0].entries, made.runs[0].tombstones), (made.live_records, 0), "{kind}");
        forget(&repository, &older[older.len() - 1..]).unwrap();
        let (needed, holds) = held(&prune(&repository, &thorough()).unwrap());
        assert_eq!(needed, holds, "{kind}");
        assert_eq!(stored_values(&repository), needed, "{kind}");
        assert_nothing_unused(&repository, "compact");
        assert_eq!(assert_exact(&repository, &[(id, [("kept", world.truth())].into())], "compact"), 1);
        assert_clean(&repository, "compact");
        // The state is that of any other backup.
        let view = repository.snapshot("latest").unwrap();
        let view = view.namespace("kept").unwrap();
        assert_eq!(
            view.state_sums(repository.keys()).unwrap().hash(repository.keys().states().unwrap()),
            made.state_hash
        );
    }
}
