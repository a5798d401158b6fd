//! Whether a store gives a key that is free to one writer alone.
//!
//! All that several writers do in a repository rests on that, and a store in the cloud may not know the condition, pass
//! it over, or look first and write then. So it is tried, before a repository is made in such a store, and whenever it
//! is checked: with many writers at once, which a store that looks first rarely survives. What can't be shown this way
//! is that a store always keeps it: `docs/stores.md` lists those that are known to.

use crate::crypto::random;
use crate::error::{Error, Result, StoreErrorKind};
use crate::format::names;
use crate::store::{Put, Store};
use std::sync::Barrier;

/// Writers that create an object at once.
const WRITERS: u8 = 16;
/// How often they do.
const ROUNDS: usize = 3;

/// Tries it, if the store is not known to. What it writes it deletes again, if it may.
///
/// # Errors
///
/// If the store can't be written to, or more or fewer than one of many writers created an object.
pub(crate) fn prove_creations(store: &dyn Store) -> Result<()> {
    if store.creations_are_proven() {
        return Ok(());
    }
    for _ in 0..ROUNDS {
        let key = names::probe(&hex::encode(random::<16>()?));
        let proved = race(store, &key);
        // Whoever may not delete leaves it: nobody takes it for anything.
        let _ = store.delete(&key);
        proved?;
    }
    Ok(())
}

/// What each writer writes: bytes of its own, so that the winner can be told.
fn bytes_of(writer: u8) -> Vec<u8> {
    vec![writer; 256]
}

fn race(store: &dyn Store, key: &str) -> Result<()> {
    let start = Barrier::new(WRITERS.into());
    let outcomes: Vec<Result<Put>> = std::thread::scope(|scope| {
        let write = |writer| {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                store.put_new(key, &bytes_of(writer))
            })
        };
        let writers: Vec<_> = (0..WRITERS).map(write).collect();
        let died = |_| Err(Error::internal("a thread that tried the store died"));
        writers.into_iter().map(|writer| writer.join().unwrap_or_else(died)).collect()
    });
    let outcomes = outcomes.into_iter().collect::<Result<Vec<Put>>>()?;
    let winners: Vec<u8> =
        (0..WRITERS).zip(outcomes).filter_map(|(writer, put)| (put == Put::Created).then_some(writer)).collect();
    let unfit = |found: String| {
        let doing = format!("rely on {} to create an object for one writer alone", store.location());
        let advice =
            "It is no place for a repository, which backups at the same time would damage: docs/stores.md lists \
                      stores that are"
                .to_string();
        Error::Store { kind: StoreErrorKind::Other, doing, source: found.into(), advice }
    };
    let [winner] = winners[..] else {
        return Err(unfit(format!("of {WRITERS} writers of {key} it told {} that they created it", winners.len())));
    };
    if store.get(key, 1 << 10)?.as_deref() != Some(&bytes_of(winner)) {
        return Err(unfit(format!("{key} does not hold what the writer wrote that it told so")));
    }
    match store.put_new(key, b"late")? {
        Put::Exists => Ok(()),
        Put::Created => Err(unfit(format!("it created {key}, which was there"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Listed, MemoryStore};
    use bytes::Bytes;

    /// A store that looks whether a key is free, and then writes; or that never looks.
    struct Careless {
        inner: MemoryStore,
        looks: bool,
    }

    impl Store for Careless {
        fn location(&self) -> &str {
            "careless"
        }
        fn creations_are_proven(&self) -> bool {
            false
        }
        fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Put> {
            if self.looks && self.inner.size(key)?.is_some() {
                return Ok(Put::Exists);
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
            self.inner.put(key, bytes)?;
            Ok(Put::Created)
        }
        fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
            self.inner.put(key, bytes)
        }
        fn get(&self, key: &str, limit: u64) -> Result<Option<Bytes>> {
            self.inner.get(key, limit)
        }
        fn get_range(&self, key: &str, offset: u64, length: usize) -> Result<Option<Bytes>> {
            self.inner.get_range(key, offset, length)
        }
        fn size(&self, key: &str) -> Result<Option<u64>> {
            self.inner.size(key)
        }
        fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
            self.inner.list(prefix)
        }
        fn delete(&self, key: &str) -> Result<()> {
            self.inner.delete(key)
        }
        fn sync(&self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_store_that_looks_and_then_writes_is_no_place_for_a_repository() {
        for looks in [true, false] {
            let store = Careless { inner: MemoryStore::new(), looks };
            let error = prove_creations(&store).unwrap_err().to_string();
            assert!(error.contains("of 16 writers") && error.contains("docs/stores.md"), "{error}");
            assert!(store.list("").unwrap().is_empty());
        }
    }

    #[test]
    fn a_store_whose_creations_are_atomic_is_one() {
        race(&MemoryStore::new(), "probes/a").unwrap();
        let taken = MemoryStore::new();
        taken.put("probes/a", b"somebody's").unwrap();
        let error = race(&taken, "probes/a").unwrap_err().to_string();
        assert!(error.contains("it told 0"), "{error}");
    }
}
