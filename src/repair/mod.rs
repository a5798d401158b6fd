//! Making a damaged repository whole again, as far as its packs allow.

mod repository;
mod salvage;

pub use repository::{RepairOptions, RepairReport};
pub use salvage::{LostRecord, NamespaceLosses, Salvaged};
