//! A collection's plan: the packs that it condemns. A sealed value of kind plan.

use super::ids::{PackId, SnapshotId};
use serde::{Deserialize, Serialize};

/// What a collection is going to delete.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The collector's session.
    pub session: SnapshotId,
    /// The packs that are used no more.
    pub condemned: Vec<PackId>,
}
