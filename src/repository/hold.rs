//! Holding snapshots: what is held can't be forgotten until the hold is released.

use super::{Repository, SnapshotFilter, host, named, program};
use crate::crypto::random;
use crate::error::{Error, Result};
use crate::format::hold::Hold;
use crate::format::snapshot::SnapshotState;
use crate::format::{HoldId, SnapshotId, names, text};
use crate::objects;
use crate::record::Timestamp;

/// A hold, as it is in the store.
#[derive(Debug)]
#[non_exhaustive]
pub struct HoldEntry {
    /// Its id.
    pub id: HoldId,
    /// The snapshot that it holds.
    pub snapshot: SnapshotId,
    /// What it says, or why it can't be read. It holds in any case.
    pub note: Result<HoldNote>,
    /// What is under the snapshot's name; nothing while a backup with a hold is about to commit.
    pub state: Option<SnapshotState>,
}

/// What a hold says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HoldNote {
    /// When it was placed, by the clock of the machine that placed it.
    pub placed: Timestamp,
    /// That machine.
    pub host: String,
    /// The program that placed it, and its version.
    pub program: String,
    /// Why the snapshot must not be forgotten, for people.
    pub reason: String,
}

impl From<Hold> for HoldNote {
    fn from(hold: Hold) -> Self {
        let Hold { id: _, snapshot: _, placed, host, program, reason } = hold;
        HoldNote { placed: Timestamp(placed), host, program, reason }
    }
}

impl Repository {
    /// Holds the snapshots with these names, found among those that the filter admits.
    ///
    /// # Errors
    ///
    /// If a name is not found (nothing is held then), or if a snapshot is forgotten at the same moment.
    pub fn hold(&self, names: &[String], filter: &SnapshotFilter, reason: &str) -> Result<Vec<HoldEntry>> {
        check_reason(reason)?;
        let mut list = self.manifests()?;
        let ids = names.iter().map(|name| named(&mut list, name, filter).map(|manifest| manifest.id));
        let ids = ids.collect::<Result<Vec<_>>>()?;
        let mut placed = Vec::new();
        for snapshot in ids {
            let hold = self.place_hold(snapshot, reason)?;
            if self.state_of(&snapshot)? != Some(SnapshotState::Committed) {
                self.store.delete(&crate::format::names::hold(&snapshot, &hold.id))?;
                return Err(Error::invalid(format!(
                    "snapshot {snapshot} was forgotten at this moment: it is not held"
                )));
            }
            let state = Some(SnapshotState::Committed);
            placed.push(HoldEntry { id: hold.id, snapshot, note: Ok(hold.into()), state });
        }
        Ok(placed)
    }

    /// Places a hold on a name, whatever is there.
    pub(crate) fn place_hold(&self, snapshot: SnapshotId, reason: &str) -> Result<Hold> {
        check_reason(reason)?;
        let hold = Hold {
            id: HoldId(random()?),
            snapshot,
            placed: Timestamp::now().0,
            host: host(),
            program: program(),
            reason: reason.to_string(),
        };
        objects::place_hold(&*self.store, &self.keys, self.parameters.suite, &hold)?;
        Ok(hold)
    }

    /// Writes a hold again that can't be read.
    pub(crate) fn renew_hold(&self, snapshot: SnapshotId, id: HoldId) -> Result<()> {
        let hold = Hold {
            id,
            snapshot,
            placed: Timestamp::now().0,
            host: host(),
            program: program(),
            reason: "not known: the hold was damaged, and a repair wrote it again".into(),
        };
        objects::renew_hold(&*self.store, &self.keys, self.parameters.suite, &hold)
    }

    /// All holds, by snapshot.
    ///
    /// # Errors
    ///
    /// If the store can't be read. A hold that is damaged is no error: its entry says so.
    pub fn holds(&self) -> Result<Vec<HoldEntry>> {
        let states = objects::list_states(&*self.store, &self.keys)?;
        let mut holds = Vec::new();
        for (snapshot, id) in objects::list_holds(&*self.store, names::HOLDS)? {
            let note = match objects::read_hold(&*self.store, &self.keys, snapshot, id) {
                Ok(None) => continue,
                Ok(Some(hold)) => Ok(hold.into()),
                Err(error) if error.is_of_one_object() => Err(error),
                Err(error) => return Err(error),
            };
            holds.push(HoldEntry { id, snapshot, note, state: states.get(&snapshot) });
        }
        Ok(holds)
    }

    /// Releases a hold by its id or the beginning of it, or all holds of a snapshot, which is found among those that
    /// the filter admits.
    ///
    /// # Errors
    ///
    /// If nothing of this name is found or it could mean several, or the store can't be written.
    pub fn release(&self, name: &str, filter: &SnapshotFilter) -> Result<Vec<HoldEntry>> {
        let prefix = name.to_ascii_lowercase();
        let mut holds = self.holds()?;
        let matching = holds.iter().filter(|entry| entry.id.to_string().starts_with(&prefix)).count();
        let released: Vec<HoldEntry> = match matching {
            1 if !prefix.is_empty() => {
                holds.extract_if(.., |entry| entry.id.to_string().starts_with(&prefix)).collect()
            }
            _ if name.is_empty() => return Err(Error::usage("which hold? Give its id or its snapshot's")),
            _ => {
                let whole = SnapshotId::from_hex(name).filter(|id| holds.iter().any(|entry| entry.snapshot == *id));
                let id = match whole {
                    Some(id) => id,
                    None if matching > 1 => {
                        return Err(Error::invalid(format!("{matching} holds begin with {name}: give more of the id")));
                    }
                    None => {
                        named(&mut self.manifests()?, name, filter).map(|manifest| manifest.id).map_err(|error| {
                            match error {
                                Error::NotFound { .. } => Error::not_found(
                                    format!("hold or snapshot {name}"),
                                    "`aerolith hold list` lists what is held",
                                ),
                                error => error,
                            }
                        })?
                    }
                };
                holds.extract_if(.., |entry| entry.snapshot == id).collect()
            }
        };
        if released.is_empty() {
            return Err(Error::not_found(
                format!("a hold on snapshot {name}"),
                "`aerolith hold list` lists what is held",
            ));
        }
        for entry in &released {
            self.store.delete(&names::hold(&entry.snapshot, &entry.id))?;
        }
        self.store.sync()?;
        Ok(released)
    }
}

/// Refuses a reason that is too long to be kept.
pub(crate) fn check_reason(reason: &str) -> Result<()> {
    if reason.is_empty() {
        return Err(Error::usage("a hold needs a reason: say why the snapshot must stay"));
    }
    text::check("the reason of a hold", reason, text::REASON_BYTES).map_err(Error::usage)
}
