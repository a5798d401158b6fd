//! Key slots in the store.

use crate::crypto::slot;
use crate::error::{Error, Result};
use crate::format::keyslot::{KdfCost, SLOT_BYTES, SlotHeader, SlotSecret};
use crate::format::{KeyId, RepositoryId, names};
use crate::store::{Put, Store};

/// What can be said of a key slot.
#[derive(Clone, Debug)]
pub struct KeyInfo {
    /// Its id.
    pub id: KeyId,
    /// What the pass phrase costs to try.
    pub cost: KdfCost,
    /// Its label and when it was made (milliseconds since the Unix epoch), if the pass phrase at hand opens it.
    pub opened: Option<(String, u64)>,
    /// Whether it is the one that the repository was opened with.
    pub current: bool,
    /// What is wrong with it, if its bytes are not those that it was made with.
    pub damaged: Option<String>,
}

/// The id that a slot of these bytes has: so anybody can tell a damaged slot from one that another pass phrase opens.
fn id_of(bytes: &[u8]) -> KeyId {
    let mut id = [0; KeyId::BYTES];
    blake3::Hasher::new().update(bytes).finalize_xof().fill(&mut id);
    KeyId(id)
}

fn read(store: &dyn Store, id: &KeyId) -> Result<Vec<u8>> {
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

/// Opens a slot; `None` if the pass phrase is not its.
pub fn open_slot(
    store: &dyn Store,
    repository: &RepositoryId,
    id: &KeyId,
    passphrase: &[u8],
) -> Result<Option<(KdfCost, SlotSecret)>> {
    let bytes = read(store, id)?;
    let opened = slot::unwrap(repository, passphrase, &names::key(id), &bytes)?;
    if opened.is_none() {
        is_whole(id, &bytes)?;
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
        return Err(Error::invalid("the pass phrase is empty; choose one that nobody guesses"));
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
    let mut slots = Vec::new();
    for listed in store.list(names::KEYS)? {
        let Some(id) = names::parse_key(&listed.key) else { continue };
        let name = names::key(&id);
        let bytes = match read(store, &id) {
            Err(error) if !error.is_of_one_object() => return Err(error),
            bytes => bytes.unwrap_or_default(),
        };
        let damaged = check(store, &id).err().map(|error| error.to_string());
        let none = KdfCost { memory_kib: 0, passes: 0, lanes: 0 };
        let cost = SlotHeader::decode(&bytes).map_or(none, |(header, _)| header.cost);
        let opened = match slot::unwrap(repository, passphrase, &name, &bytes) {
            Err(error) if !error.is_of_one_object() => return Err(error),
            opened => opened.ok().flatten().map(|(_, secret)| (secret.label, secret.created)),
        };
        slots.push(KeyInfo { id, cost, opened, current: id == *current, damaged });
    }
    Ok(slots)
}

/// Removes a slot; the last one stays.
pub fn remove(store: &dyn Store, id: &KeyId) -> Result<()> {
    read(store, id)?;
    let listed = store.list(names::KEYS)?;
    let mut others = listed.iter().filter_map(|other| names::parse_key(&other.key));
    if !others.any(|other| other != *id && check(store, &other).is_ok()) {
        return Err(Error::invalid(format!(
            "key slot {id} is the last one that is whole: without it nobody could open the repository. Add another first"
        )));
    }
    store.delete(&names::key(id))?;
    store.sync()
}
