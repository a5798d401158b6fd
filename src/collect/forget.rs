//! Dropping snapshots: each becomes a marker, whenever, in whatever order; nothing else depends on it.

use super::retention::Verdict;
use crate::control::Control;
use crate::crypto::Keys;
use crate::error::Result;
use crate::format::SnapshotId;
use crate::record::Timestamp;
use crate::snapshot as objects;
use crate::store::Store;

/// What became of the snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForgetReport {
    /// Why each snapshot that the policy was asked about stays, or that it goes. Empty where snapshots were named.
    pub verdicts: Vec<Verdict>,
    /// Those that were forgotten, or would be.
    pub forgotten: Vec<SnapshotId>,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Snapshots that can't be read, and so were left alone; for people.
    pub problems: Vec<String>,
}

/// Forgets snapshots, one after another. Stopped in between, or failing, it leaves the others as they are.
pub fn forget(store: &dyn Store, keys: &Keys, ids: &[SnapshotId], control: &Control) -> Result<()> {
    for id in ids {
        control.check()?;
        objects::forget(store, keys, *id, Timestamp::now().0)?;
    }
    Ok(())
}
