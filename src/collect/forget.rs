//! Dropping snapshots: each becomes a marker, whenever, in whatever order; nothing else depends on it.

use super::retention::Verdict;
use crate::control::Control;
use crate::crypto::Keys;
use crate::error::{Error, Result};
use crate::format::{HoldId, SnapshotId, names};
use crate::objects;
use crate::record::Timestamp;
use crate::store::Store;

/// What became of the snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForgetReport {
    /// Why each snapshot that the policy was asked about stays, or that it goes. Empty where snapshots were named.
    pub verdicts: Vec<Verdict>,
    /// Those that were forgotten, or would be.
    pub forgotten: Vec<SnapshotId>,
    /// Snapshots that can't be read, and so were left alone; for people.
    pub problems: Vec<String>,
}

/// Forgets snapshots, one after another. Stopped in between, or failing, it leaves the others as they are; it fails at
/// the first that is held.
pub fn forget(store: &dyn Store, keys: &Keys, ids: &[SnapshotId], control: &Control) -> Result<()> {
    for id in ids {
        control.check()?;
        // Right before: see `format-spec/holds.md`.
        if let Some((_, hold)) = objects::list_holds(store, &names::holds_of(id))?.first() {
            return Err(held(store, keys, *id, *hold));
        }
        objects::forget(store, keys, *id, Timestamp::now().0)?;
    }
    Ok(())
}

/// Says that a snapshot can't be forgotten, and by which hold.
pub fn held(store: &dyn Store, keys: &Keys, snapshot: SnapshotId, hold: HoldId) -> Error {
    Error::invalid(format!(
        "snapshot {snapshot} is held and can't be forgotten: {}. Release the hold first: aerolith hold release {hold}",
        describe(store, keys, snapshot, hold)
    ))
}

/// A hold in a few words.
pub fn describe(store: &dyn Store, keys: &Keys, snapshot: SnapshotId, hold: HoldId) -> String {
    match objects::read_hold(store, keys, snapshot, hold) {
        Ok(Some(found)) => {
            format!("hold {hold} of {} from {}, {:?}", Timestamp(found.placed), found.host, found.reason)
        }
        Ok(None) => format!("hold {hold}, which was just released"),
        Err(error) => format!("hold {hold}, which can't be read ({error})"),
    }
}
