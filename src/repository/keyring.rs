//! Key slots in the store.

use crate::crypto::slot;
use crate::error::{Error, Result};
use crate::format::keyslot::{KdfCost, SLOT_BYTES, SlotHeader, SlotSecret};
use crate::format::{KeyId, RepositoryId, names};
use crate::record::Timestamp;
use crate::store::{Put, Store};
use bytes::Bytes;

/// What can be said of a key slot.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyInfo {
    /// Its id.
    pub id: KeyId,
    /// What the passphrase costs to try.
    pub cost: KdfCost,
    /// Its label and when it was made, if the passphrase at hand opens it.
    pub opened: Option<(String, Timestamp)>,
    /// Whether it is the one that the repository was opened with.
    pub current: bool,
    /// What is wrong with it, if its bytes are not those that it was made with.
    pub damaged: Option<String>,
}

/// The id that a slot of these bytes has: so anybody can tell a damaged slot from one that another passphrase opens.
fn id_of(bytes: &[u8]) -> KeyId {
    let mut id = [0; KeyId::BYTES];
    blake3::Hasher::new().update(bytes).finalize_xof().fill(&mut id);
    KeyId(id)
}

fn read(store: &dyn Store, id: &KeyId) -> Result<Bytes> {
    let name = names::key(id);
    store.get(&name, SLOT_BYTES as u64)?.ok_or_else(|| Error::not_found(format!("key slot {id}"), ""))
}

/// Refuses a slot whose bytes are not those that it was made with.
pub fn check(store: &dyn Store, id: &KeyId) -> Result<()> {
    let bytes = read(store, id)?;
    SlotHeader::decode(&bytes).map_err(|error| error.of(names::key(id)))?;
    is_whole(id, &bytes)
}

fn is_whole(id: &KeyId, bytes: &[u8]) -> Result<()> {
    let found = id_of(bytes);
    if found == *id {
        return Ok(());
    }
    let error = Error::damaged(names::key(id), format!("its bytes have the name {found}"));
    Err(error.with_advice("Restore it from a copy, or open the repository with another slot and add a new one"))
}

/// Trying a passphrase on all slots together takes at most this much [`KdfCost::work`]: two slots of the highest cost
/// that there may be, or some 680 of the usual one.
pub const MAX_WORK: u64 = 2 * KdfCost::MAX_WORK;
/// At most so many slots are read.
const MAX_READ: usize = 16_384;

/// What may still be spent on trying a passphrase. A hostile store can plant slots without number, each as slow as
/// there may be.
pub struct Budget {
    slots: usize,
    work: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { slots: MAX_READ, work: MAX_WORK }
    }
}

impl Budget {
    /// Whether a slot of this cost may be tried; spends it then.
    pub fn allows(&mut self, cost: KdfCost) -> bool {
        let left = self.work.checked_sub(cost.work());
        self.work = left.unwrap_or(self.work);
        left.is_some()
    }
}

/// A slot of the store.
pub struct FoundSlot {
    /// Its id.
    pub id: KeyId,
    /// Its bytes, or why they can't be read.
    pub bytes: Result<Vec<u8>>,
    /// What trying a passphrase on it costs; nothing if it can't be read.
    pub cost: KdfCost,
}

/// All slots, the cheapest first: so a slot that is slower than ours costs us nothing. And how many there are beyond
/// those that the budget allows to be read.
pub fn cheapest_first(store: &dyn Store, budget: &Budget) -> Result<(Vec<FoundSlot>, usize)> {
    let (mut slots, mut unread) = (Vec::new(), 0);
    for id in store.list(names::KEYS)?.iter().filter_map(|listed| names::parse_key(&listed.key)) {
        if slots.len() >= budget.slots {
            unread += 1;
            continue;
        }
        let bytes = read(store, &id);
        if let Err(error) = &bytes
            && !error.is_of_one_object()
        {
            return bytes.map(|_| (Vec::new(), 0));
        }
        let header = bytes.as_ref().ok().and_then(|bytes| SlotHeader::decode(bytes).ok());
        let cost = header.map_or(NO_COST, |(header, _)| header.cost);
        slots.push(FoundSlot { id, bytes: bytes.map(Vec::from), cost });
    }
    slots.sort_by_key(|slot| (slot.cost.work(), slot.id));
    Ok((slots, unread))
}

/// Of a slot that can't be read.
const NO_COST: KdfCost = KdfCost { memory_kib: 0, passes: 0, lanes: 0 };

/// Opens a slot of these bytes; `None` if the passphrase is not its.
pub fn open_slot(
    repository: &RepositoryId,
    id: &KeyId,
    bytes: &[u8],
    passphrase: &[u8],
) -> Result<Option<(KdfCost, SlotSecret)>> {
    let opened = slot::unwrap(repository, passphrase, &names::key(id), bytes)?;
    if opened.is_none() {
        is_whole(id, bytes)?;
    }
    Ok(opened)
}

/// Stores a new slot.
pub fn add_slot(
    store: &dyn Store,
    repository: &RepositoryId,
    passphrase: &[u8],
    cost: KdfCost,
    secret: &SlotSecret,
) -> Result<KeyId> {
    if passphrase.is_empty() {
        return Err(Error::invalid("the passphrase is empty; choose one that nobody guesses"));
    }
    let bytes = slot::wrap(repository, passphrase, cost, secret)?;
    let id = id_of(&bytes);
    match store.put_new(&names::key(&id), &bytes)? {
        Put::Created => Ok(id),
        Put::Exists => Err(Error::invalid("this key slot exists already")),
    }
}

/// Lists all slots, sorted by id.
pub fn list(store: &dyn Store, repository: &RepositoryId, current: &KeyId, passphrase: &[u8]) -> Result<Vec<KeyInfo>> {
    let (mut slots, mut budget) = (Vec::new(), Budget::default());
    for FoundSlot { id, bytes, cost } in cheapest_first(store, &Budget::default())?.0 {
        let name = names::key(&id);
        let bytes = bytes.unwrap_or_default();
        let damaged = check(store, &id).err().map(|error| error.to_string());
        let opened = match slot::unwrap(repository, passphrase, &name, if budget.allows(cost) { &bytes } else { &[] }) {
            Err(error) if !error.is_of_one_object() => return Err(error),
            opened => opened.ok().flatten().map(|(_, secret)| (secret.label, Timestamp(secret.created))),
        };
        slots.push(KeyInfo { id, cost, opened, current: id == *current, damaged });
    }
    slots.sort_by_key(|slot| slot.id);
    Ok(slots)
}

/// The slots beside this one.
pub fn others(store: &dyn Store, id: &KeyId) -> Result<Vec<KeyId>> {
    let listed = store.list(names::KEYS)?;
    Ok(listed.iter().filter_map(|other| names::parse_key(&other.key)).filter(|other| other != id).collect())
}

/// Makes sure that a slot that was just added opens.
pub fn check_opens(store: &dyn Store, repository: &RepositoryId, id: &KeyId, passphrase: &[u8]) -> Result<()> {
    let opened = open_slot(repository, id, &read(store, id)?, passphrase)?;
    opened.map(|_| ()).ok_or_else(|| {
        let error = Error::damaged(names::key(id), "it doesn't open with the passphrase that it was just made with");
        error.with_advice("The old passphrase still opens the repository")
    })
}

/// Removes a slot; the last one stays.
pub fn remove(store: &dyn Store, id: &KeyId) -> Result<()> {
    let bytes = read(store, id)?;
    if !has_whole_beside(store, id)? {
        return Err(Error::invalid(format!(
            "key slot {id} is the last one that is whole: without it nobody could open the repository. Add another \
             first"
        )));
    }
    store.delete(&names::key(id))?;
    // Two that each remove the other's last slot meet here, and both put back what they took.
    if !has_whole_beside(store, id)? {
        store.put_new(&names::key(id), &bytes)?;
        return Err(Error::invalid(format!(
            "key slot {id} was the last one that is whole, since another program removed the others at the same time. \
             It was put back: add another first"
        )));
    }
    store.sync()
}

fn has_whole_beside(store: &dyn Store, id: &KeyId) -> Result<bool> {
    Ok(others(store, id)?.iter().any(|other| check(store, other).is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::{CreateOptions, Repository};
    use crate::store::MemoryStore;
    use std::sync::Arc;

    #[test]
    fn of_slots_that_were_planted_no_more_are_tried_than_is_bearable_and_ours_first() {
        let store = Arc::new(MemoryStore::new());
        let options = CreateOptions::default().cost(KdfCost::WEAK);
        let repository = Repository::create(store.clone(), b"ours", &options).unwrap();
        let secret = SlotSecret { master: Default::default(), created: 0, label: String::new() };
        for _ in 0..20 {
            let slower = KdfCost { memory_kib: 16, ..KdfCost::WEAK };
            add_slot(&*store, &repository.id(), b"theirs", slower, &secret).unwrap();
        }
        // Ours, and seven others.
        let spend = |slots| Budget { slots, work: KdfCost::WEAK.work() + 7 * 16 };
        let open = |pass: &[u8], slots| Repository::open_within(store.clone(), pass, spend(slots));
        assert_eq!(open(b"ours", 21).unwrap().id(), repository.id());
        for (slots, tried) in [(21, 8), (5, 5)] {
            let error = open(b"nobody's", slots).unwrap_err().to_string();
            let untried = format!("{} of the 21 key slots", 21 - tried);
            assert!(slots < 8 || error.contains(&untried), "{error}");
            assert!(error.contains("of the 21 key slots") && error.contains("plant"), "{error}");
        }
        assert!(!open(b"nobody's", 21).unwrap_err().to_string().contains("21 of"));
        assert!(matches!(Repository::open(store, b"nobody's"), Err(Error::WrongPassphrase { slots: 21, .. })));
    }

    #[test]
    fn slow_slots_are_tried_up_to_a_bound_and_each_that_may_be_alone() {
        let slowest = KdfCost { memory_kib: 4 << 20, passes: 16, lanes: 16 };
        assert!(slowest.is_valid() && !KdfCost { passes: 17, ..slowest }.is_valid());
        let mut budget = Budget::default();
        assert!(budget.allows(slowest) && budget.allows(slowest) && !budget.allows(KdfCost::WEAK));
        let mut budget = Budget::default();
        assert_eq!((0..).take_while(|_| budget.allows(KdfCost::RECOMMENDED)).count(), 682);
    }

    #[test]
    fn programs_that_make_a_repository_at_the_same_time_leave_one_slot() {
        let store = Arc::new(MemoryStore::new());
        let options = CreateOptions::default().cost(KdfCost::WEAK);
        // Of one that was killed before it came to the config.
        let secret = SlotSecret { master: Default::default(), created: 0, label: String::new() };
        add_slot(&*store, &RepositoryId([1; 16]), b"killed", KdfCost::WEAK, &secret).unwrap();
        let made: Vec<_> = std::thread::scope(|scope| {
            let (store, options) = (&store, &options);
            let create = move |n: usize| Repository::create(store.clone(), format!("pass {n}").as_bytes(), options);
            let threads: Vec<_> = (0..8).map(|n| scope.spawn(move || create(n))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let whole: Vec<usize> = (0..8).filter(|n| made[*n].is_ok()).collect();
        assert_eq!(whole.len(), 1);
        assert_eq!(store.list(names::KEYS).unwrap().len(), 1);
        Repository::open(store, format!("pass {}", whole[0]).as_bytes()).unwrap();
    }

    #[test]
    fn two_that_remove_each_others_slot_at_the_same_time_leave_one() {
        let options = CreateOptions::default().cost(KdfCost::WEAK);
        for _ in 0..200 {
            let store = Arc::new(MemoryStore::new());
            let repository = Repository::create(store.clone(), b"one", &options).unwrap();
            let two = repository.key_add(b"two", "", KdfCost::WEAK).unwrap();
            let both = std::sync::Barrier::new(2);
            std::thread::scope(|scope| {
                for id in [repository.key_current(), two] {
                    let (repository, both) = (&repository, &both);
                    scope.spawn(move || {
                        both.wait();
                        let _ = repository.key_remove(&id);
                    });
                }
            });
            assert!(!store.list(names::KEYS).unwrap().is_empty());
        }
    }

    #[test]
    fn a_passphrase_is_replaced_by_a_slot_that_opens_before_the_old_one_goes() {
        let store = Arc::new(MemoryStore::new());
        let options = CreateOptions::default().cost(KdfCost::WEAK);
        let repository = Repository::create(store.clone(), b"old", &options).unwrap();
        let new = repository.key_replace(b"new", "ops", KdfCost::WEAK).unwrap();
        assert!(matches!(Repository::open(store.clone(), b"old"), Err(Error::WrongPassphrase { slots: 1, .. })));
        assert_eq!(Repository::open(store.clone(), b"new").unwrap().key_current(), new);
        // The slot that it was opened with is gone.
        assert!(repository.key_replace(b"newer", "", KdfCost::WEAK).is_err());
        Repository::open(store, b"newer").unwrap();
    }

    #[test]
    fn slots_are_tried_from_the_cheapest_on() {
        let store = Arc::new(MemoryStore::new());
        let secret = SlotSecret { master: Default::default(), created: 0, label: String::new() };
        let repository = RepositoryId([1; 16]);
        let kib = [32, 8, 64, 16];
        for memory_kib in kib {
            add_slot(&*store, &repository, b"a", KdfCost { memory_kib, ..KdfCost::WEAK }, &secret).unwrap();
        }
        let order: Vec<u32> =
            cheapest_first(&*store, &Budget::default()).unwrap().0.iter().map(|slot| slot.cost.memory_kib).collect();
        assert_eq!(order, [8, 16, 32, 64]);
    }
}
