//! The passphrases that open a repository.

use crate::error::{Error, Result};
use crate::format::KeyId;
use crate::format::keyslot::{KdfCost, MAX_LABEL_BYTES};
use crate::job::text;
use crate::repository::{KeyInfo, Repository};
use serde::Serialize;

/// The key slots of a repository.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct KeysReport {
    /// The key slots.
    pub keys: Vec<KeyReport>,
}

/// A key slot.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct KeyReport {
    /// Its id.
    pub key: String,
    /// Whether it is the one that opened the repository now.
    pub current: bool,
    /// Its label; `null` if the passphrase in use does not open it.
    pub label: Option<String>,
    /// When it was made; `null` if the passphrase in use does not open it.
    pub created: Option<String>,
    /// The memory that Argon2id takes to try a passphrase on it.
    pub memory_kib: u32,
    /// The passes that Argon2id takes.
    pub passes: u32,
    /// The lanes that Argon2id takes.
    pub lanes: u32,
    /// Why it can't be read, for people, or `null`.
    pub damaged: Option<String>,
}

impl From<KeyInfo> for KeyReport {
    fn from(slot: KeyInfo) -> Self {
        let (label, created) = slot.opened.unzip();
        let KdfCost { memory_kib, passes, lanes } = slot.cost;
        KeyReport {
            key: slot.id.to_string(),
            current: slot.current,
            label,
            created: created.map(|created| text::rfc3339(created.0)),
            memory_kib,
            passes,
            lanes,
            damaged: slot.damaged,
        }
    }
}

/// A key slot that was added, removed or changed.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct KeyChangeReport {
    /// Its id.
    pub key: String,
    /// What was done.
    pub change: KeyChange,
    /// The id of the slot that it replaced when the passphrase was changed, else `null`.
    pub replaced: Option<String>,
}

/// What was done to a key slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum KeyChange {
    /// It is new.
    Added,
    /// It took the place of another.
    Changed,
    /// It is gone.
    Removed,
}

impl KeyChangeReport {
    fn new(key: &KeyId, change: KeyChange) -> Self {
        KeyChangeReport { key: key.to_string(), change, replaced: None }
    }
}

/// Makes sure that a label fits into its place in a slot.
///
/// # Errors
///
/// If it doesn't.
pub fn check_label(label: &str) -> Result<()> {
    if label.len() > MAX_LABEL_BYTES {
        return Err(Error::usage(format!(
            "the label of a key slot takes at most {MAX_LABEL_BYTES} bytes, found {}",
            label.len()
        )));
    }
    Ok(())
}

/// Adds a key slot for another passphrase.
///
/// # Errors
///
/// If the label is too long, or the store can't be written.
pub fn add_key(repository: &Repository, passphrase: &[u8], label: &str) -> Result<KeyChangeReport> {
    check_label(label)?;
    let id = repository.key_add(passphrase, label, KdfCost::RECOMMENDED)?;
    Ok(KeyChangeReport::new(&id, KeyChange::Added))
}

/// Changes the passphrase that opened the repository. The label stays.
///
/// # Errors
///
/// If both are the same, or the store can't be read or written. Both open the repository if it is stopped in between.
pub fn change_passphrase(repository: &Repository, old: &[u8], new: &[u8]) -> Result<KeyChangeReport> {
    if old == new {
        return Err(Error::usage("the new passphrase is the old one: nothing was changed"));
    }
    let replaced = repository.key_current();
    let slots = repository.key_list(old)?;
    let label = slots.into_iter().find(|slot| slot.current).and_then(|slot| slot.opened).map(|(label, _)| label);
    let id = repository.key_replace(new, &label.unwrap_or_default(), KdfCost::RECOMMENDED)?;
    Ok(KeyChangeReport { replaced: Some(replaced.to_string()), ..KeyChangeReport::new(&id, KeyChange::Changed) })
}

/// Lists the key slots. Labels and times are shown of those that the passphrase opens.
///
/// # Errors
///
/// If the store can't be read. A slot that can't be read is no error: the report says so.
pub fn list_keys(repository: &Repository, passphrase: &[u8]) -> Result<KeysReport> {
    Ok(KeysReport { keys: repository.key_list(passphrase)?.into_iter().map(KeyReport::from).collect() })
}

/// Removes the key slot with this id, or the only one whose id begins like this. `even_current`: also if it is the one
/// that opened the repository.
///
/// # Errors
///
/// If there is no such slot, or it may not be removed.
pub fn remove_key(repository: &Repository, passphrase: &[u8], id: &str, even_current: bool) -> Result<KeyChangeReport> {
    let slots = repository.key_list(passphrase)?;
    let prefix = id.to_ascii_lowercase();
    let found: Vec<KeyId> =
        slots.iter().map(|slot| slot.id).filter(|slot| slot.to_string().starts_with(&prefix)).collect();
    let id = match &found[..] {
        _ if prefix.is_empty() => {
            return Err(Error::usage("which key slot? Give its id or its beginning, as `aerolith key list` does"));
        }
        [id] => *id,
        [] => return Err(Error::not_found(format!("key slot {id}"), "`aerolith key list` lists what there is")),
        _ => {
            let ids: Vec<String> = found.iter().map(ToString::to_string).collect();
            let (n, ids) = (ids.len(), ids.join(", "));
            return Err(Error::invalid(format!("{n} key slots begin with {id} ({ids}): give more of the id")));
        }
    };
    if id == repository.key_current() && !even_current {
        return Err(Error::usage(format!(
            "key slot {id} is the one that opened the repository just now: without it this passphrase is worth \
             nothing. Make sure that you know the passphrase of another slot, then give `this_key`. `aerolith key \
             passwd` changes the passphrase"
        )));
    }
    repository.key_remove(&id)?;
    Ok(KeyChangeReport::new(&id, KeyChange::Removed))
}
