//! Restores of namespaces of records into targets.

mod namespace;
mod report;
mod work;

pub(crate) use report::only_set;
pub use report::{Expiry, Marks, Reasons, RestoreOptions, RestoreReport};
