//! Aerolith: a content-addressed, deduplicating, encrypted backup repository for databases of records, Aerospike first.
//!
//! A [`Repository`] holds snapshots; a backup is a session between [`Repository::begin`] and
//! [`BackupSession::commit`]. Sources ([`RecordSource`]) deliver records, targets
//! ([`RecordTarget`]) take them back.
//!
//! ```
//! use aerolith::{BackupKind, CreateOptions, EmbeddedSource, KdfCost, RecordOptions, Repository, SessionOptions};
//! use aerolith::embedded::{sample, EmbeddedStore};
//! use aerolith::store::MemoryStore;
//! use std::sync::Arc;
//!
//! # fn main() -> aerolith::Result<()> {
//! # let directory = tempfile::tempdir().map_err(|error| aerolith::Error::io("make a directory", error))?;
//! let records = EmbeddedStore::create(directory.path().join("records"))?;
//! sample::fill(&records, "shop", 0..100)?;
//!
//! // A real repository keeps the default cost; the weak one is for examples.
//! let options = CreateOptions::default().cost(KdfCost::WEAK);
//! let repository = Repository::create(Arc::new(MemoryStore::new()), b"a long passphrase", &options)?;
//!
//! let mut session = repository.begin(SessionOptions::default())?;
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
#![cfg_attr(
    not(feature = "cli"),
    allow(
        dead_code,
        unused_imports,
        reason = "the build with the command line, which uses most, tells what nothing uses"
    )
)]

#[cfg(feature = "cluster")]
mod aerospike;
mod asb;
mod backup;
mod chunk;
mod chunks;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
mod collect;
mod control;
mod copy;
mod crypto;
pub mod embedded;
mod error;
pub mod format;
#[cfg(feature = "internals")]
#[expect(clippy::panic, clippy::indexing_slicing, reason = "a fuzzer panics where a property does not hold")]
#[doc(hidden)]
pub mod fuzzing;
mod index;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
pub mod job;
mod jsonl;
mod objects;
mod pack;
mod plan;
pub mod record;
mod rename;
mod repair;
mod repository;
mod restore;
mod run;
mod session;
mod setters;
mod sources;
mod spool;
pub mod store;
mod sync;
mod targets;
mod verify;

// What every call knows.
pub use control::{Control, Phase};
pub use error::{AbsentSecret, BoxError, Error, OptionsError, Result, Secret, StoreErrorKind};
pub use plan::Plan;

// A repository, and what it holds.
pub use format::SnapshotId;
pub use format::config::Compression;
pub use format::keyslot::KdfCost;
pub use format::snapshot::BackupKind;
pub use repository::{
    Change, CreateOptions, Diff, History, HistoryEntry, HoldEntry, KeyInfo, Labelled, NamespaceView, Record, Records,
    Repository, Rollback, Selection, SizeReport, Snapshot, SnapshotFilter, SnapshotList,
};
pub use run::{Entry, LiveEntry, Loss, Losses, MergedCursor, RecordHash, ValuePlace};

// Backing up.
pub use backup::{RecordOptions, Vanished};
pub use session::{BackupSession, Resumed, SessionOptions};

// Restoring, comparing and checking.
pub use restore::{Expiry, Marks, Reasons, RestoreOptions, RestoreReport};
pub use verify::{CheckOptions, CheckReport, CompareOptions, Comparison};

// Keeping: retention, reclaiming, copies, repair.
pub use collect::forget::ForgetReport;
pub use collect::{Held, Period, Policy, PruneOptions, PruneReport, Reason, Verdict, Waiting, Zone};
pub use copy::{CopiedSnapshot, CopyOptions, CopyReport, NotCopied};
pub use repair::{LostRecord, NamespaceLosses, RepairOptions, RepairReport, Salvaged};

// Where records come from.
pub use sources::asb::{AsbOptions, AsbSource};
pub use sources::embedded::EmbeddedSource;
pub use sources::jsonl::JsonlSource;
pub use sources::{
    BadRecord, DigestRow, MetSets, PartitionedSource, RecordSink, RecordSource, Selected, Source, SourceRecord,
    SourceShape, Standing, StreamSource,
};

// Where records go.
pub use asb::{AsbCipher, AsbVersion};
pub use targets::asb::{AsbTarget, AsbTargetOptions};
pub use targets::embedded::EmbeddedTarget;
pub use targets::jsonl::JsonlTarget;
pub use targets::{ConflictPolicy, DeleteOutcome, FailedRecord, Fate, RecordTarget, WriteOutcome};

// Live clusters, as both.
#[cfg(feature = "cluster")]
pub use aerospike::{Address, AuthMode, ClusterOptions, ClusterUrl, TlsOptions};
#[cfg(feature = "cluster")]
pub use sources::aerospike::AerospikeSource;
#[cfg(feature = "cluster")]
pub use targets::aerospike::AerospikeTarget;

/// Compiles and runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
