//! Whether what snapshots need is there and whole, and whether a source holds what a snapshot does.

pub(crate) mod check;
mod compare;

pub use check::{CheckOptions, CheckReport};
pub use compare::{CompareOptions, Comparison};
