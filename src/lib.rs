//! Aerolith: a content-addressed, deduplicating, encrypted backup repository for databases of records.

pub mod chunk;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod control;
pub mod crypto;
pub mod embedded;
pub mod error;
pub mod format;
pub mod index;
pub mod jsonl;
pub mod pack;
pub mod record;
pub mod repository;
pub mod run;
pub mod snapshot;
pub mod source;
pub mod store;
pub mod target;

pub use control::Control;
pub use error::{Error, Result};
pub use repository::Repository;
