//! Key slots in the store.

use crate::crypto::{random, slot};
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
}

fn read(store: &dyn Store, id: &KeyId) -> Result<Vec<u8>> {
    let name = names::key(id);
    store.get(&name, SLOT_BYTES as u64)?.ok_or_else(|| Error::not_found(format!("key slot {id}"), ""))
}

/// Opens a slot; `None` if the pass phrase is not its.
pub fn open_slot(
    store: &dyn Store,
    repository: &RepositoryId,
    id: &KeyId,
    passphrase: &[u8],
) -> Result<Option<(KdfCost, SlotSecret)>> {
    slot::unwrap(repository, passphrase, &names::key(id), &read(store, id)?)
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
    let id = KeyId(random()?);
    let bytes = slot::wrap(repository, passphrase, cost, secret)?;
    match store.put_new(&names::key(&id), &bytes)? {
        Put::Created => Ok(id),
        Put::Exists => Err(Error::invalid("a key slot with this random name exists already; try again")),
    }
}

/// Lists all slots, sorted by id.
pub fn list(store: &dyn Store, repository: &RepositoryId, current: &KeyId, passphrase: &[u8]) -> Result<Vec<KeyInfo>> {
    let mut slots = Vec::new();
    for listed in store.list(names::KEYS)? {
        let Some(id) = names::parse_key(&listed.key) else { continue };
        let name = names::key(&id);
        let bytes = read(store, &id)?;
        let (header, _) = SlotHeader::decode(&bytes).map_err(|error| error.of(&name))?;
        let opened = slot::unwrap(repository, passphrase, &name, &bytes)?;
        let opened = opened.map(|(_, secret)| (secret.label, secret.created));
        slots.push(KeyInfo { id, cost: header.cost, opened, current: id == *current });
    }
    Ok(slots)
}

/// Removes a slot; the last one stays.
pub fn remove(store: &dyn Store, id: &KeyId) -> Result<()> {
    read(store, id)?;
    if store.list(names::KEYS)?.len() <= 1 {
        return Err(Error::invalid(format!(
            "key slot {id} is the last one: without it nobody could open the repository. Add another first"
        )));
    }
    store.delete(&names::key(id))?;
    store.sync()
}
