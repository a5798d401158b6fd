//! Restores of namespaces of records into targets.

mod namespace;
mod work;

pub(crate) use namespace::only_set;
pub use namespace::{Expiry, Marks, Reasons, RestoreOptions, RestoreReport};
