//! What every store owes its callers, as tests that any store can be put to.
//!
//! A store written elsewhere names the feature `testing` in its `dev-dependencies` and makes a test of each behaviour,
//! with an expression that hands a fresh, empty store to the function that it is given:
//!
//! ```
//! mod my_store {
//!     use aerolith::store::MemoryStore;
//!
//!     aerolith::store_conformance_tests!(|behaviour| behaviour(&MemoryStore::new()));
//! }
//! ```
//!
//! Or it calls [`check_all`] in one test. A store that keeps all of these can hold a repository, if its creations are
//! atomic and its listings current for every client at once, and not only for those of one process: that no test in one
//! process can show.

use super::{Listed, Put, Store};
use crate::error::Error;
use bytes::Bytes;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Makes one test of each behaviour that a store owes: see [`store::conformance`](crate::store::conformance).
#[macro_export]
macro_rules! store_conformance_tests {
    ($with_store:expr) => {
        $crate::store_conformance_tests!($with_store;
            an_object_comes_back_as_it_was_put,
            a_key_that_is_taken_is_left_alone,
            exactly_one_of_many_racing_creators_wins,
            a_reader_of_an_object_that_is_replaced_sees_one_version_whole,
            an_object_that_is_replaced_never_drops_out_of_a_listing,
            a_range_past_the_end_comes_back_short,
            an_object_larger_than_the_limit_is_damage,
            a_listing_holds_what_is_under_its_prefix_sorted_by_key,
            the_top_names_are_the_first_segments_of_all_keys,
            a_missing_directory_is_an_empty_listing,
            a_deleted_object_is_gone_and_its_key_free,
            creators_survive_deletions_around_them,
            bad_keys_are_refused_by_every_call,
            a_synced_store_still_holds_everything,
        );
    };
    ($with_store:expr; $($behaviour:ident),* $(,)?) => {
        mod conformance {
            use super::*;
            $(
                #[test]
                fn $behaviour() {
                    let with_store: fn(fn(&dyn $crate::store::Store)) = $with_store;
                    with_store($crate::store::conformance::$behaviour);
                }
            )*
        }
    };
}

/// A behaviour that a store owes: panics with what was found if the store, which must be empty, does not keep it.
pub type Behaviour = fn(&dyn Store);

/// Every behaviour, by name.
pub const BEHAVIOURS: [(&str, Behaviour); 14] = [
    ("an object comes back as it was put", an_object_comes_back_as_it_was_put),
    ("a key that is taken is left alone", a_key_that_is_taken_is_left_alone),
    ("exactly one of many racing creators wins", exactly_one_of_many_racing_creators_wins),
    (
        "a reader of an object that is replaced sees one version whole",
        a_reader_of_an_object_that_is_replaced_sees_one_version_whole,
    ),
    (
        "an object that is replaced never drops out of a listing",
        an_object_that_is_replaced_never_drops_out_of_a_listing,
    ),
    ("a range past the end comes back short", a_range_past_the_end_comes_back_short),
    ("an object larger than the limit is damage", an_object_larger_than_the_limit_is_damage),
    ("a listing holds what is under its prefix, sorted by key", a_listing_holds_what_is_under_its_prefix_sorted_by_key),
    ("the top names are the first segments of all keys", the_top_names_are_the_first_segments_of_all_keys),
    ("a missing directory is an empty listing", a_missing_directory_is_an_empty_listing),
    ("a deleted object is gone and its key free", a_deleted_object_is_gone_and_its_key_free),
    ("creators survive deletions around them", creators_survive_deletions_around_them),
    ("bad keys are refused by every call", bad_keys_are_refused_by_every_call),
    ("a synced store still holds everything", a_synced_store_still_holds_everything),
];

/// Puts a store to every behaviour; `with_store` calls what it is given with a fresh, empty store.
///
/// # Panics
///
/// At the first behaviour that the store does not keep, with what was found.
pub fn check_all(with_store: impl Fn(Behaviour)) {
    for (_, behaviour) in BEHAVIOURS {
        with_store(behaviour);
    }
}

const KIB: usize = 1024;

fn keys(listed: Vec<Listed>) -> Vec<String> {
    listed.into_iter().map(|object| object.key).collect()
}

/// An object is given back, in whole and in part, as it was put last.
pub fn an_object_comes_back_as_it_was_put(store: &dyn Store) {
    let large: Vec<u8> = (0..300 * KIB).map(|i| (i % 251) as u8).collect();
    for (key, bytes) in [("config", &b"x"[..]), ("packs/ab/empty", b""), ("index/s-1/0", &large)] {
        assert_eq!(store.size(key).unwrap(), None);
        assert_eq!(store.get(key, 1 << 30).unwrap(), None);
        assert_eq!(store.get_range(key, 0, 1).unwrap(), None);
        assert_eq!(store.put_new(key, bytes).unwrap(), Put::Created);
        assert_eq!(store.get(key, bytes.len() as u64).unwrap().as_deref(), Some(bytes));
        assert_eq!(store.size(key).unwrap(), Some(bytes.len() as u64));
    }
    store.put("index/s-1/0", b"shorter").unwrap();
    assert_eq!(store.get("index/s-1/0", 100).unwrap().as_deref(), Some(&b"shorter"[..]));
}

/// Creating an object under a key that is taken changes nothing, and says so.
pub fn a_key_that_is_taken_is_left_alone(store: &dyn Store) {
    for key in ["snapshots/a", "packs/ab/a"] {
        assert_eq!(store.put_new(key, b"first").unwrap(), Put::Created);
        assert_eq!(store.put_new(key, b"second").unwrap(), Put::Exists);
        assert_eq!(store.put_content(key, &Bytes::from_static(b"third")).unwrap(), Put::Exists);
        assert_eq!(store.get(key, 100).unwrap().as_deref(), Some(&b"first"[..]));
    }
}

/// Of many that create one key at once one wins, and all find its object whole.
pub fn exactly_one_of_many_racing_creators_wins(store: &dyn Store) {
    const RACERS: u8 = 8;
    for round in 0..12 {
        let key = format!("snapshots/{round}");
        let start = Barrier::new(RACERS.into());
        let winners: Vec<u8> = thread::scope(|scope| {
            let race = |racer| {
                let (key, start) = (&key, &start);
                scope.spawn(move || {
                    let bytes = vec![racer; 20 * KIB + usize::from(racer)];
                    start.wait();
                    let won = store.put_new(key, &bytes).unwrap() == Put::Created;
                    // Whoever lost must find the winner's object, and whole.
                    let found = store.get(key, 1 << 20).unwrap().unwrap();
                    assert!(found.iter().all(|byte| *byte == found[0]));
                    assert_eq!(found.len(), 20 * KIB + usize::from(found[0]));
                    won.then_some(racer)
                })
            };
            let racers: Vec<_> = (0..RACERS).map(race).collect();
            racers.into_iter().filter_map(|racer| racer.join().unwrap()).collect()
        });
        assert_eq!(winners.len(), 1, "winners: {winners:?}");
        assert_eq!(store.get(&key, 1 << 20).unwrap().unwrap()[0], winners[0]);
    }
}

/// Runs `reader` again and again while another thread replaces `sessions/a` by versions of different sizes.
fn while_an_object_is_replaced(store: &dyn Store, reader: impl Fn()) {
    let version = |n: usize| vec![n as u8; 1 + (n % 7) * 9 * KIB];
    store.put("sessions/a", &version(0)).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            (1..60).try_for_each(|n| store.put("sessions/a", &version(n))).unwrap();
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) && !writer.is_finished() {
            reader();
        }
    });
}

/// A reader never sees a mixture of two versions, nor none.
pub fn a_reader_of_an_object_that_is_replaced_sees_one_version_whole(store: &dyn Store) {
    while_an_object_is_replaced(store, || {
        let found = store.get("sessions/a", 1 << 20).unwrap().expect("an object that is replaced is never away");
        assert_eq!(found.len(), 1 + (usize::from(found[0]) % 7) * 9 * KIB);
        assert!(found.iter().all(|byte| *byte == found[0]));
        let range = store.get_range("sessions/a", 0, 1 << 20).unwrap().unwrap();
        assert_eq!(range.len(), 1 + (usize::from(range[0]) % 7) * 9 * KIB);
    });
}

/// An object that is being replaced is in every listing.
pub fn an_object_that_is_replaced_never_drops_out_of_a_listing(store: &dyn Store) {
    store.put("sessions/b", b"").unwrap();
    while_an_object_is_replaced(store, || {
        assert_eq!(keys(store.list("sessions/").unwrap()), ["sessions/a", "sessions/b"]);
    });
}

/// A range that reaches past the end gives the bytes that exist.
pub fn a_range_past_the_end_comes_back_short(store: &dyn Store) {
    store.put_new("packs/ab/a", b"0123456789").unwrap();
    let range = |offset, length| store.get_range("packs/ab/a", offset, length).unwrap().unwrap();
    assert_eq!(&range(2, 3)[..], b"234");
    assert_eq!(&range(0, 10)[..], b"0123456789");
    assert_eq!(&range(8, 10)[..], b"89");
    assert_eq!(&range(3, usize::MAX)[..], b"3456789");
    assert_eq!(&range(10, 1)[..], b"");
    assert_eq!(&range(11, 1)[..], b"");
    assert_eq!(&range(u64::MAX, usize::MAX)[..], b"");
    assert_eq!(&range(4, 0)[..], b"");
}

/// An object of more bytes than the caller takes is an error, before memory is taken.
pub fn an_object_larger_than_the_limit_is_damage(store: &dyn Store) {
    store.put_new("config", &[7; 100]).unwrap();
    let error = store.get("config", 99).unwrap_err();
    assert!(error.is_damage(), "{error}");
    assert_eq!(error.to_string(), "config is damaged: it is of 100 bytes, where at most 99 are expected");
    assert_eq!(store.get("config", 100).unwrap().unwrap().len(), 100);
}

/// A listing is sorted by key as bytes, and of one directory alone.
pub fn a_listing_holds_what_is_under_its_prefix_sorted_by_key(store: &dyn Store) {
    // '-' sorts before '/', so a walk in order of file names alone would come out wrong.
    for key in ["packs/ab/c", "packs/ab-1/a", "packs/ab/a", "config", "packs/a", "parity/ab/a", "packs/ab/b"] {
        store.put_new(key, key.as_bytes()).unwrap();
    }
    let listed = store.list("packs/").unwrap();
    assert!(listed.iter().all(|object| object.size == object.key.len() as u64));
    assert_eq!(keys(listed), ["packs/a", "packs/ab-1/a", "packs/ab/a", "packs/ab/b", "packs/ab/c"]);
    assert_eq!(keys(store.list("packs/ab/").unwrap()), ["packs/ab/a", "packs/ab/b", "packs/ab/c"]);
    let all = keys(store.list("").unwrap());
    assert_eq!(all.len(), 7);
    assert_eq!((all[0].as_str(), all[6].as_str()), ("config", "parity/ab/a"));
}

/// The top names are the first segments of all keys, sorted.
pub fn the_top_names_are_the_first_segments_of_all_keys(store: &dyn Store) {
    assert!(store.top_names().unwrap().is_empty());
    store.put("b", b"").unwrap();
    for key in ["a-1/a", "a/b", "a/c/d"] {
        assert_eq!(store.put_content(key, &Bytes::from_static(b"x")).unwrap(), Put::Created);
        assert_eq!(store.get(key, 1).unwrap().as_deref(), Some(&b"x"[..]));
    }
    assert_eq!(store.top_names().unwrap(), ["a", "a-1", "b"]);
}

/// What does not exist is listed as empty.
pub fn a_missing_directory_is_an_empty_listing(store: &dyn Store) {
    assert_eq!(store.list("").unwrap(), []);
    assert_eq!(store.list("gc/").unwrap(), []);
    store.put_new("packs/a", b"").unwrap();
    assert_eq!(store.list("packs/a/").unwrap(), []);
    assert_eq!(store.list("packs/b/c/").unwrap(), []);
}

/// A deletion takes the object away and frees its key; to delete nothing is no error.
pub fn a_deleted_object_is_gone_and_its_key_free(store: &dyn Store) {
    store.put_new("index/s/1", b"first").unwrap();
    store.put_new("index/s/2", b"second").unwrap();
    store.delete("index/s/1").unwrap();
    assert_eq!(store.get("index/s/1", 100).unwrap(), None);
    assert_eq!(keys(store.list("index/").unwrap()), ["index/s/2"]);
    store.delete("index/s/1").unwrap();
    store.delete("index/none/1").unwrap();
    store.delete("index/s/2").unwrap();
    assert_eq!(store.list("index/").unwrap(), []);
    assert_eq!(store.put_new("index/s/1", b"again").unwrap(), Put::Created);
    assert_eq!(store.get("index/s/1", 100).unwrap().as_deref(), Some(&b"again"[..]));
}

/// Creations and deletions in one directory do not disturb each other.
pub fn creators_survive_deletions_around_them(store: &dyn Store) {
    thread::scope(|scope| {
        for worker in 0..4 {
            scope.spawn(move || {
                let key = format!("packs/ab/{worker}");
                for _ in 0..25 {
                    assert_eq!(store.put_new(&key, b"x").unwrap(), Put::Created);
                    assert_eq!(store.size(&key).unwrap(), Some(1));
                    store.delete(&key).unwrap();
                }
                store.put(&key, b"last").unwrap();
            });
        }
    });
    assert_eq!(keys(store.list("").unwrap()), ["packs/ab/0", "packs/ab/1", "packs/ab/2", "packs/ab/3"]);
}

/// Keys that no store may take are refused as invalid.
pub fn bad_keys_are_refused_by_every_call(store: &dyn Store) {
    for bad in ["", "/config", "../config", "packs/../../x", "packs//a", "packs/", ".tmp-1", "Config", "a.b"] {
        let refusals = [
            store.put_new(bad, b"x").err(),
            store.put_content(bad, &Bytes::from_static(b"x")).err(),
            store.put(bad, b"x").err(),
            store.get(bad, 1).err(),
            store.get_range(bad, 0, 1).err(),
            store.size(bad).err(),
            store.delete(bad).err(),
        ];
        for (call, refusal) in refusals.into_iter().enumerate() {
            assert!(matches!(refusal, Some(Error::Invalid(_))), "{bad:?}, call {call}: {refusal:?}");
        }
    }
    for bad in ["packs", "/", "../", "packs//", "Packs/"] {
        assert!(matches!(store.list(bad), Err(Error::Invalid(_))), "{bad:?}");
    }
    assert_eq!(store.list("").unwrap(), []);
}

/// A sync changes nothing that can be seen.
pub fn a_synced_store_still_holds_everything(store: &dyn Store) {
    store.sync().unwrap();
    store.put_new("packs/ab/a", b"1").unwrap();
    store.put_new("packs/cd/a", b"2").unwrap();
    store.delete("packs/cd/a").unwrap();
    store.sync().unwrap();
    store.sync().unwrap();
    assert_eq!(keys(store.list("").unwrap()), ["packs/ab/a"]);
}
