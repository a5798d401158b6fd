//! A collection's plan: the packs that it condemns. A sealed value of kind plan.

use super::FormatError;
use super::ids::{PackId, SnapshotId};
use serde::{Deserialize, Serialize};

/// What a collection is going to delete.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CollectionPlan {
    /// The collector's session.
    pub session: SnapshotId,
    /// The packs that are used no more.
    pub condemned: Vec<PackId>,
}

impl CollectionPlan {
    /// Reads a plan; it must be of the session that its key names.
    ///
    /// # Errors
    ///
    /// If the bytes are not those that the format defines; the error says what was expected and what was found.
    pub fn decode(session: SnapshotId, bytes: &[u8]) -> Result<Self, FormatError> {
        let plan: CollectionPlan = super::structured::decode("the plan", bytes)?;
        if plan.session != session {
            return Err(FormatError::field("the plan's session", session, plan.session));
        }
        Ok(plan)
    }
}
