//! Aerolith: a content-addressed, deduplicating, encrypted backup repository for databases of records, Aerospike first.
//!
//! A [`Repository`] holds snapshots; a backup is a session between [`Repository::begin`] and
//! [`session::BackupSession::commit`]. Sources ([`sources::RecordSource`]) deliver records, targets
//! ([`targets::RecordTarget`]) take them back.
//!
//! ```
//! use aerolith::embedded::{EmbeddedStore, sample};
//! use aerolith::format::{keyslot::KdfCost, snapshot::BackupKind};
//! use aerolith::backup::RecordOptions;
//! use aerolith::repository::{CreateOptions, Repository};
//! use aerolith::session::SessionOptions;
//! use aerolith::sources::embedded::EmbeddedSource;
//! use aerolith::{Control, store::MemoryStore};
//! use std::sync::Arc;
//!
//! # fn main() -> aerolith::Result<()> {
//! # let directory = tempfile::tempdir().map_err(|error| aerolith::Error::io("make a directory", error))?;
//! let records = EmbeddedStore::create(directory.path().join("records"))?;
//! sample::fill(&records, "shop", 0..100)?;
//!
//! // A real repository keeps the default cost; the weak one is for examples.
//! let options = CreateOptions { cost: KdfCost::WEAK, ..CreateOptions::default() };
//! let repository = Repository::create(Arc::new(MemoryStore::new()), b"a long passphrase", &options)?;
//!
//! let mut session = repository.begin(SessionOptions::default(), Arc::new(Control::new()))?;
//! session.records("shop", &EmbeddedSource::new(records), BackupKind::Full, &RecordOptions::default())?;
//! let snapshot = session.commit()?;
//!
//! let record = snapshot.namespace("shop")?.get(&sample::digest_of(7))?.expect("record 7 was backed up");
//! assert!(!record.parse()?.bins().is_empty());
//! # Ok(())
//! # }
//! ```

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unreachable)
)]

#[cfg(feature = "cluster")]
pub mod aerospike;
pub mod asb;
pub mod backup;
pub mod chunk;
pub mod chunks;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod collect;
pub mod control;
pub mod copy;
pub mod crypto;
pub mod embedded;
pub mod error;
pub mod format;
#[doc(hidden)]
#[expect(clippy::panic, clippy::indexing_slicing, reason = "a fuzzer panics where a property does not hold")]
pub mod fuzzing;
pub mod index;
pub mod job;
pub mod jsonl;
pub mod objects;
pub mod pack;
pub mod record;
mod rename;
pub mod repair;
pub mod repository;
pub mod restore;
pub mod run;
pub mod session;
pub mod sources;
pub mod spool;
pub mod store;
mod sync;
pub mod targets;
pub mod verify;

pub use control::Control;
pub use error::{BoxError, Error, Result, Secret, StoreErrorKind};
pub use repository::Repository;

/// Compiles and runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
