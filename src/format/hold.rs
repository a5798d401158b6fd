//! A hold: says that a snapshot must not be forgotten. A sealed value of kind hold.

use super::FormatError;
use super::ids::{HoldId, SnapshotId};
use super::text;
use serde::{Deserialize, Serialize};

/// Why a snapshot must not be forgotten.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hold {
    /// Its id.
    pub id: HoldId,
    /// The snapshot that it holds.
    pub snapshot: SnapshotId,
    /// When it was placed, in milliseconds since the Unix epoch.
    pub placed: u64,
    /// The machine that it was placed from.
    pub host: String,
    /// The program and its version.
    pub program: String,
    /// Why, for people.
    pub reason: String,
}

impl Hold {
    /// Reads a hold; it must be the one that its key names, and of that snapshot.
    ///
    /// # Errors
    ///
    /// If the bytes are not those that the format defines; the error says what was expected and what was found.
    pub fn decode(snapshot: SnapshotId, id: HoldId, bytes: &[u8]) -> Result<Self, FormatError> {
        let hold: Hold = super::structured::decode("the hold", bytes)?;
        if hold.id != id {
            return Err(FormatError::field("the hold's id", id, hold.id));
        }
        if hold.snapshot != snapshot {
            return Err(FormatError::field("the hold's snapshot", snapshot, hold.snapshot));
        }
        text::check("the host", &hold.host, text::NAME_BYTES)?;
        text::check("the program", &hold.program, text::NAME_BYTES)?;
        text::check("the reason", &hold.reason, text::REASON_BYTES)?;
        Ok(hold)
    }
}
