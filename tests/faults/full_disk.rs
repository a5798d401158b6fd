//! A disk that is full: a clear message, and all that was committed before restores and can be checked meanwhile.

use crate::support::world::*;
use aerolith::BackupKind;
use aerolith::format::names;
use aerolith::store::{Call, Effect, Fault, FaultStore, MemoryStore, Store};
use std::io::ErrorKind;
use std::sync::Arc;

#[test]
fn a_disk_that_is_full_from_any_write_on_harms_nothing_and_is_named() {
    let first = World::filled(0..300);
    let second = first.later(0..300, 0.3, 0.1, 1);
    let disk = MemoryStore::new();
    {
        let store = Arc::new(disk.fork());
        let repository = create(store).unwrap();
        back_up(&repository, &first, BackupKind::Full).unwrap();
        let store = repository.store();
        for object in store.list("").unwrap() {
            disk.put(&object.key, &store.get(&object.key, u64::MAX).unwrap().unwrap()).unwrap();
        }
    }
    let mut n = 0;
    loop {
        let disk = Arc::new(disk.fork());
        let store = Arc::new(FaultStore::new(disk));
        let repository = aerolith::Repository::open(store.clone(), PASSPHRASE).unwrap();
        let full = Effect::Fail(ErrorKind::StorageFull);
        store.inject(Fault::nth(n, full).of(Call::PutNew).lasting());
        store.inject(Fault::nth(0, full).of(Call::Put).lasting());
        let done = back_up(&repository, &second, BackupKind::Full);
        let writes = store.operations().iter().filter(|operation| operation.call == Call::PutNew).count();
        // Still full: reading and checking need no room.
        let taken = usize::from(done.is_ok());
        assert_whole(&repository, &format!("latest~{taken}"), &first.truth(), "while it is full");
        let found = check(&repository).unwrap();
        assert!(found.problems.is_empty(), "{found:?}");
        if let Ok(snapshot) = done {
            assert!(n >= writes, "write {n} failed, and yet the backup was committed");
            assert_whole(&repository, &snapshot.id().to_string(), &second.truth(), "there was room");
            break;
        }
        let text = refused(done).to_string();
        assert!(text.contains("no storage space"), "{text}");
        store.clear_faults();
        back_up(&repository, &second, BackupKind::Incremental).unwrap();
        assert_whole(&repository, "latest", &second.truth(), "once there is room again");
        n += 1;
    }
    // At least the session, packs of entries and values, the index and the commit.
    assert!(n >= 5, "{n}");
}

#[test]
fn a_check_tells_what_it_found_even_if_it_cannot_note_it() {
    let store = Arc::new(FaultStore::new(Arc::new(MemoryStore::new())));
    let repository = create(store.clone()).unwrap();
    back_up(&repository, &World::filled(0..300), BackupKind::Full).unwrap();
    let pack = store.list(names::PACKS).unwrap().into_iter().max_by_key(|pack| pack.size).unwrap().key;
    store.delete(&pack).unwrap();
    store.inject(Fault::nth(0, Effect::Fail(ErrorKind::StorageFull)).of(Call::PutNew).lasting());
    let found = check(&repository).unwrap();
    assert!(found.problems.iter().any(|problem| problem.contains(&pack)), "{found:?}");
    assert!(found.problems.iter().any(|problem| problem.contains("could not be noted")), "{found:?}");
}
