use super::*;
use crate::store::MemoryStore;
use std::sync::Arc;

crate::store_conformance_tests!(|test| test(&FaultStore::new(MemoryStore::new())));

fn store() -> (Arc<MemoryStore>, FaultStore<Arc<MemoryStore>>) {
    let below = Arc::new(MemoryStore::new());
    (below.clone(), FaultStore::new(below))
}

fn keys(store: &dyn Store) -> Vec<String> {
    store.list("").unwrap().into_iter().map(|listed| listed.key).collect()
}

fn kind_of<T>(result: Result<T>) -> ErrorKind {
    match result {
        Err(Error::Store { source, .. }) => source.downcast_ref::<std::io::Error>().expect("an I/O error").kind(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the call succeeded"),
    }
}

#[test]
fn only_the_nth_call_that_matches_fails() {
    let (below, store) = store();
    store.inject(Fault::nth(1, Effect::Fail(ErrorKind::StorageFull)).of(Call::PutNew).under("packs/"));
    store.put_new("packs/a", b"").unwrap();
    store.put_new("index/a", b"").unwrap();
    store.put("packs/b", b"").unwrap();
    assert_eq!(kind_of(store.put_new("packs/c", b"")), ErrorKind::StorageFull);
    store.put_new("packs/d", b"").unwrap();
    assert_eq!(keys(&below), ["index/a", "packs/a", "packs/b", "packs/d"]);
}

#[test]
fn a_lasting_fault_hits_until_it_is_cleared() {
    let (_, store) = store();
    store.inject(Fault::nth(1, Effect::Fail(ErrorKind::StorageFull)).of(Call::Put).lasting());
    store.put("a", b"").unwrap();
    for _ in 0..3 {
        assert_eq!(kind_of(store.put("b", b"")), ErrorKind::StorageFull);
        assert_eq!(store.size("b").unwrap(), None);
    }
    store.clear_faults();
    store.put("b", b"").unwrap();
}

#[test]
fn a_lost_reply_hides_a_success() {
    let (_, store) = store();
    store.inject(Fault::nth(0, Effect::LoseReply(ErrorKind::TimedOut)));
    assert_eq!(kind_of(store.put_new("snapshots/a", b"mine")), ErrorKind::TimedOut);
    assert_eq!(store.put_new("snapshots/a", b"again").unwrap(), Put::Exists);
    assert_eq!(store.get("snapshots/a", 9).unwrap().as_deref(), Some(&b"mine"[..]));
}

#[test]
fn a_crash_ends_everything_before_or_after_the_call_took_effect() {
    for (effect, left) in [(Effect::CrashBefore, vec!["a"]), (Effect::CrashAfter, vec!["a", "b"])] {
        let (below, store) = store();
        store.inject(Fault::nth(1, effect));
        store.put("a", b"").unwrap();
        assert!(!store.has_crashed());
        store.put("b", b"").unwrap_err();
        assert!(store.has_crashed());
        store.put("c", b"").unwrap_err();
        store.get("a", 9).unwrap_err();
        store.list("").unwrap_err();
        store.delete("a").unwrap_err();
        store.sync().unwrap_err();
        assert_eq!(keys(&below), left, "{effect:?}");
    }
}

#[test]
fn the_log_holds_every_call_in_order_up_to_the_crash() {
    let (_, store) = store();
    store.inject(Fault::nth(0, Effect::Fail(ErrorKind::TimedOut)).of(Call::Get));
    store.inject(Fault::nth(3, Effect::CrashBefore));
    store.put_new("packs/ab/c", b"12345").unwrap();
    store.get("config", 9).unwrap_err();
    store.list("packs/").unwrap();
    store.sync().unwrap_err();
    store.delete("packs/ab/c").unwrap_err();
    let operation = |call, key: &str, size| Operation { call, key: key.into(), size };
    assert_eq!(
        store.operations(),
        [
            operation(Call::PutNew, "packs/ab/c", 5),
            operation(Call::Get, "config", 0),
            operation(Call::List, "packs/", 0),
            operation(Call::Sync, "", 0),
        ]
    );
}

#[test]
fn a_power_cut_undoes_what_was_not_synced_and_nothing_else() {
    let (below, store) = store();
    store.put_content("packs/synced", &Bytes::from_static(b"1")).unwrap();
    store.put_content("packs/deleted", &Bytes::from_static(b"2")).unwrap();
    store.sync().unwrap();
    store.put_content("packs/new", &Bytes::from_static(b"3")).unwrap();
    store.put_new("index/new", b"4").unwrap();
    store.put("packs/put", b"5").unwrap();
    store.delete("packs/deleted").unwrap();
    store.put_content("packs/synced", &Bytes::from_static(b"6")).unwrap();
    store.lose_unsynced().unwrap();
    assert_eq!(keys(&below), ["index/new", "packs/deleted", "packs/put", "packs/synced"]);
    assert_eq!(below.get("packs/deleted", 9).unwrap().as_deref(), Some(&b"2"[..]));
    assert_eq!(below.get("packs/synced", 9).unwrap().as_deref(), Some(&b"1"[..]));
    store.get("index/new", 9).unwrap_err();
}

#[test]
fn a_sync_that_failed_saved_nothing_and_one_whose_reply_was_lost_saved_all() {
    for (effect, left) in [
        (Effect::Fail(ErrorKind::TimedOut), 0),
        (Effect::CrashBefore, 0),
        (Effect::LoseReply(ErrorKind::TimedOut), 1),
        (Effect::CrashAfter, 1),
    ] {
        let (below, store) = store();
        store.inject(Fault::nth(0, effect).of(Call::Sync));
        store.put_content("packs/a", &Bytes::from_static(b"")).unwrap();
        store.sync().unwrap_err();
        store.lose_unsynced().unwrap();
        assert_eq!(keys(&below).len(), left, "{effect:?}");
    }
}

#[test]
fn a_power_cut_can_take_some_changes_and_leave_others() {
    let (below, store) = store();
    store.put_content("packs/a", &Bytes::from_static(b"")).unwrap();
    store.put_content("packs/b", &Bytes::from_static(b"")).unwrap();
    store.lose_unsynced_where(|key| key == "packs/a").unwrap();
    assert_eq!(keys(&below), ["packs/b"]);
}

#[test]
fn a_torn_object_has_half_of_its_bytes_and_the_process_is_dead() {
    let (below, store) = store();
    store.inject(Fault::nth(0, Effect::Tear).of(Call::PutNew));
    store.put("a", b"whole").unwrap();
    store.put_new("b", b"123456").unwrap_err();
    store.put("c", b"").unwrap_err();
    assert_eq!(below.get("b", 9).unwrap().as_deref(), Some(&b"123"[..]));
    assert_eq!(keys(&below), ["a", "b"]);
}

#[test]
fn a_late_request_fails_and_does_its_work_after_so_many_further_calls() {
    let (below, store) = store();
    store.inject(Fault::nth(0, Effect::Late(2)).of(Call::Put));
    assert_eq!(kind_of(store.put("a", b"late")), ErrorKind::TimedOut);
    store.put("a", b"1").unwrap();
    store.put("b", b"2").unwrap();
    assert_eq!(below.get("a", 9).unwrap().as_deref(), Some(&b"1"[..]));
    store.put("c", b"3").unwrap();
    assert_eq!(below.get("a", 9).unwrap().as_deref(), Some(&b"late"[..]));
    // What is on its way arrives though the process died.
    store.inject(Fault::nth(0, Effect::Late(9)).of(Call::Delete));
    store.inject(Fault::nth(0, Effect::CrashBefore).of(Call::Get));
    store.delete("b").unwrap_err();
    store.get("b", 9).unwrap_err();
    assert_eq!(keys(&below), ["a", "b", "c"]);
    store.land_late().unwrap();
    assert_eq!(keys(&below), ["a", "c"]);
}

#[test]
fn stale_listings_show_what_was_there_and_reads_what_is() {
    let (_, store) = store();
    store.put("sessions/a", b"1").unwrap();
    store.serve_stale_lists().unwrap();
    store.put("sessions/a", b"123").unwrap();
    store.put("sessions/b", b"2").unwrap();
    store.put("gc/c", b"3").unwrap();
    assert_eq!(store.list("sessions/").unwrap(), [Listed { key: "sessions/a".into(), size: 1 }]);
    assert!(store.list("gc/").unwrap().is_empty() && store.get("gc/c", 9).unwrap().is_some());
    store.serve_fresh_lists();
    assert_eq!(keys(&store).len(), 3);
}

#[test]
fn top_names_are_a_listing_that_fails_and_goes_stale_like_any_other() {
    let (_, store) = store();
    store.put("a/b", b"").unwrap();
    store.inject(Fault::nth(0, Effect::Fail(ErrorKind::TimedOut)).of(Call::List));
    assert_eq!(kind_of(store.top_names()), ErrorKind::TimedOut);
    assert_eq!(store.operations().last().unwrap().call, Call::List);
    store.serve_stale_lists().unwrap();
    store.put("c", b"").unwrap();
    assert_eq!(store.top_names().unwrap(), ["a"]);
    store.serve_fresh_lists();
    assert_eq!(store.top_names().unwrap(), ["a", "c"]);
}
