//! What a dry run promises is what a collection does, whoever is at work.

use crate::support::scene::*;
use crate::support::world::*;
use aerolith::store::MemoryStore;
use aerolith::{BackupKind, BackupSession, PruneOptions, PruneReport, Repository, SessionOptions};
use std::sync::Arc;
use std::time::Duration;

fn dry(repository: &Repository, options: &PruneOptions) -> PruneReport {
    repository.prune_plan(&options.clone()).unwrap().into_report()
}

/// A backup at work that has stored packs, and noted them.
fn at_work(repository: &Repository, world: &World) -> BackupSession {
    let about = SessionOptions::default().cluster("memory").note_every(Duration::ZERO);
    let mut session = repository.begin(about).unwrap();
    session.records("kept", world, BackupKind::Full, &options()).unwrap();
    session
}

#[test]
fn a_dry_run_says_that_it_would_be_refused_and_promises_no_packs_of_a_backup_at_work() {
    let disk = Arc::new(MemoryStore::new());
    let repository = create(disk.clone()).unwrap();
    let world = World::filled(0..2000);
    let session = at_work(&repository, &world);
    let promised = dry(&repository, &thorough());
    assert_eq!((promised.packs_deleted, promised.bytes_deleted), (0, 0), "{promised:?}");
    assert!(promised.packs_in_doubt > 0 && promised.bytes_in_doubt > 0, "{promised:?}");
    assert_eq!(promised.waits_for.iter().map(|one| one.session).collect::<Vec<_>>(), [session.id()]);
    let refused = promised.refused.unwrap();
    assert_eq!(message(prune(&repository, &thorough())), refused);
    assert!(refused.contains(&session.id().to_string()) && refused.contains("`wait`"), "{refused}");
    // Told to wait it would not be refused.
    let waiting = thorough().wait(Duration::from_secs(1));
    let promised = dry(&repository, &waiting);
    assert!(promised.refused.is_none() && promised.waits_for.len() == 1, "{promised:?}");
    let snapshot = session.commit().unwrap();
    let promised = dry(&repository, &thorough());
    assert!(promised.refused.is_none() && promised.waits_for.is_empty(), "{promised:?}");
    assert_eq!(promised.packs_in_doubt, 0, "{promised:?}");
    assert_eq!(assert_exact(&repository, &[(snapshot.id(), [("kept", world.truth())].into())], "committed"), 1);
}

#[test]
fn what_a_dry_run_promises_of_a_backup_that_ended_or_is_given_up_is_done() {
    for given_up in [false, true] {
        let repository = create(Arc::new(MemoryStore::new())).unwrap();
        let session = at_work(&repository, &World::filled(0..2000));
        let how = thorough().fence(given_up);
        let kept = given_up.then_some(session);
        let promised = dry(&repository, &how);
        let done = prune(&repository, &how).unwrap();
        assert!(promised.packs_deleted > 0 && promised.packs_in_doubt == 0, "{promised:?}");
        let told = |report: &PruneReport| (report.packs_deleted, report.bytes_deleted, report.fenced.clone());
        assert_eq!(told(&promised), told(&done));
        assert_eq!(done.fenced, kept.iter().map(BackupSession::id).collect::<Vec<_>>());
    }
}
