//! Aerolith: a content-addressed, deduplicating, encrypted backup repository for databases of records, Aerospike first.
//!
//! A [`Repository`] holds snapshots, each of them whole: any can be restored, read or forgotten on its own. The names
//! that a caller meets are here, by family; modules are there for what has many names of its own: [`record`] (the model
//! of records), [`store`] (object stores), [`embedded`] (a small store of records), [`job`] (whole jobs, as the command
//! line and services start them), and [`mod@format`] (the bytes of stored objects, the low level).
//!
//! # A repository
//!
//! [`Repository::create`], [`Repository::open`], [`Repository::snapshots`], [`Repository::snapshot`]. Anything that
//! takes long can be watched and stopped: [`Repository::watched`], [below](#watching).
//!
//! ```
//! use aerolith::{CreateOptions, KdfCost, Repository, store::MemoryStore};
//! use std::sync::Arc;
//!
//! # fn main() -> aerolith::Result<()> {
//! let store = Arc::new(MemoryStore::new());
//! // A real repository keeps the default cost; the weak one is for examples.
//! let options = CreateOptions::default().cost(KdfCost::WEAK);
//! Repository::create(store.clone(), b"a long passphrase", &options)?;
//!
//! let repository = Repository::open(store, b"a long passphrase")?;
//! assert!(repository.snapshots()?.snapshots.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! # Backing up
//!
//! [`Repository::begin`] begins a session, [`BackupSession::records`] backs up a namespace of a source, and
//! [`BackupSession::commit`] makes the snapshot visible. The second backup of the same cluster stores what differs.
//!
//! ```
//! # use aerolith::{CreateOptions, EmbeddedSource, KdfCost, Repository, store::MemoryStore};
//! # use aerolith::embedded::{EmbeddedStore, sample};
//! # use std::sync::Arc;
//! use aerolith::{BackupKind, RecordOptions, SessionOptions};
//!
//! # fn main() -> aerolith::Result<()> {
//! # let directory = tempfile::tempdir().map_err(|error| aerolith::Error::io("make a directory", error))?;
//! # let records = EmbeddedStore::create(directory.path().join("records"))?;
//! # sample::fill(&records, "shop", 0..100)?;
//! # let options = CreateOptions::default().cost(KdfCost::WEAK);
//! # let repository = Repository::create(Arc::new(MemoryStore::new()), b"a long passphrase", &options)?;
//! let source = EmbeddedSource::new(records);
//! let mut session = repository.begin(SessionOptions::default().cluster("shops").tags(["nightly"]))?;
//! session.records("shop", &source, BackupKind::Full, &RecordOptions::default())?;
//! let snapshot = session.commit()?;
//! assert_eq!((snapshot.cluster(), snapshot.tags()), ("shops", &["nightly".to_string()][..]));
//! # Ok(())
//! # }
//! ```
//!
//! # Reading and restoring
//!
//! [`Snapshot::namespace`] gives single records ([`NamespaceView::get`]), records of a [`Selection`]
//! ([`NamespaceView::records`]) and differences ([`NamespaceView::diff`]); [`Snapshot::restore`] writes into a target,
//! [`Snapshot::restore_plan`] says before what it would do, and [`Snapshot::compare`] compares with a source.
//!
//! ```
//! # use aerolith::{BackupKind, CreateOptions, EmbeddedSource, KdfCost, RecordOptions, Repository, SessionOptions};
//! # use aerolith::embedded::{EmbeddedStore, sample};
//! # use aerolith::store::MemoryStore;
//! # use std::sync::Arc;
//! use aerolith::{JsonlTarget, RecordTarget, RestoreOptions, Selection};
//!
//! # fn main() -> aerolith::Result<()> {
//! # let directory = tempfile::tempdir().map_err(|error| aerolith::Error::io("make a directory", error))?;
//! # let records = EmbeddedStore::create(directory.path().join("records"))?;
//! # sample::fill(&records, "shop", 0..100)?;
//! # let options = CreateOptions::default().cost(KdfCost::WEAK);
//! # let repository = Repository::create(Arc::new(MemoryStore::new()), b"a long passphrase", &options)?;
//! # let mut session = repository.begin(SessionOptions::default())?;
//! # session.records("shop", &EmbeddedSource::new(records), BackupKind::Full, &RecordOptions::default())?;
//! # session.commit()?;
//! let snapshot = repository.snapshot("latest")?;
//! let shop = snapshot.namespace("shop")?;
//! assert!(shop.get(&sample::digest_of(7))?.is_some());
//! let orders = shop.records(Selection::of_set("orders")).count();
//!
//! let target = JsonlTarget::new(directory.path().join("orders.jsonl"))?;
//! let options = RestoreOptions::default().selection(Selection::of_set("orders"));
//! let report = snapshot.restore("shop", &target, &options)?;
//! target.finish()?;
//! assert_eq!(report.written, orders as u64);
//! # Ok(())
//! # }
//! ```
//!
//! # Keeping
//!
//! [`Repository::forget`] drops snapshots by [`Retention`], [`Repository::prune`] reclaims what none of the others
//! needs, [`Repository::check`] looks for damage, [`Repository::repair`] mends, [`Repository::copy`] keeps a second
//! repository up to date. What deletes or copies can be looked at first, as a [`Plan`].
//!
//! ```
//! # use aerolith::{CreateOptions, KdfCost, Repository, store::MemoryStore};
//! # use std::sync::Arc;
//! use aerolith::{CheckOptions, PruneOptions, Retention, SnapshotFilter};
//!
//! # fn main() -> aerolith::Result<()> {
//! # let options = CreateOptions::default().cost(KdfCost::WEAK);
//! # let repository = Repository::create(Arc::new(MemoryStore::new()), b"a long passphrase", &options)?;
//! let rules = Retention::default().daily(7).weekly(5).monthly(12);
//! let plan = repository.forget_plan(&rules, &SnapshotFilter::ALL)?;
//! println!("{} snapshots would go", plan.report().forgotten.len());
//! plan.execute()?;
//! repository.prune(&PruneOptions::default())?;
//! assert!(repository.check(&CheckOptions::default().read_percent(5.0))?.problems.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! # Watching
//!
//! A [`Control`] counts what long calls do and stops them, and its [`Observer`] is told what happens: which part of the
//! work begins, progress, warnings. Nothing is printed, and nobody has to listen; the same goes to `tracing`, for
//! programs that have a subscriber.
//!
//! ```
//! # use aerolith::{CreateOptions, KdfCost, Repository, store::MemoryStore};
//! use aerolith::{CheckOptions, Control, Event};
//!
//! # fn main() -> aerolith::Result<()> {
//! # let options = CreateOptions::default().cost(KdfCost::WEAK);
//! # let store = std::sync::Arc::new(MemoryStore::new());
//! # let repository = Repository::create(store, b"a long passphrase", &options)?;
//! let control = Control::observed(|control: &Control, event: Event<'_>| match event {
//!     Event::Began(what) => eprintln!("{what}"),
//!     Event::Progress => eprintln!("{} bytes read", control.bytes_in()),
//!     Event::Warning(text) => eprintln!("warning: {text}"),
//!     _ => {}
//! });
//! // Another thread may call `control.stop()`.
//! repository.watched(&control).check(&CheckOptions::default())?;
//! # Ok(())
//! # }
//! ```
//!
//! # Sources and targets
//!
//! [`AsbSource`], [`JsonlSource`], [`EmbeddedSource`] and `AerospikeSource` (feature `cluster`), and targets of the
//! same kinds. A source of one's own implements [`Source`]; the low level below it is [`RecordSource`] and
//! [`RecordTarget`].
//!
//! ```
//! use aerolith::{BoxError, Result, Source, SourceRecord};
//!
//! struct Ages;
//!
//! impl Source for Ages {
//!     fn cluster(&self) -> &str {
//!         "ages"
//!     }
//!
//!     fn namespaces(&self) -> Result<Vec<String>, BoxError> {
//!         Ok(vec!["people".into()])
//!     }
//!
//!     fn records(&self, _: &str, each: &mut dyn FnMut(SourceRecord) -> Result<()>) -> Result<(), BoxError> {
//!         each(SourceRecord::new("users", "alice").bin("age", 42))?;
//!         Ok(())
//!     }
//! }
//! ```
//!
//! # Features
//!
//! `asb`, `jsonl` and `embedded` are the sources and targets of these kinds, `cluster` live clusters, `official-client`
//! the module `official` for programs that have a client of the crate `aerospike`, `jobs` the module [`job`], which
//! needs the first three, and `cli` the command line. `cli`, which needs `jobs`, `cluster` and `official-client` are on
//! by default. `schema` gives JSON schemas of the reports of jobs, `testing` the behaviours that every
//! [`store::Store`] owes. `internals` is for this project's own tests.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::too_many_lines
    )
)]
#![cfg_attr(not(feature = "internals"), deny(clippy::missing_errors_doc))]
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
#[cfg(feature = "asb")]
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
#[cfg(feature = "embedded")]
pub mod embedded;
mod error;
pub mod format;
#[cfg(all(feature = "internals", feature = "jobs"))]
#[expect(clippy::panic, clippy::indexing_slicing, reason = "a fuzzer panics where a property does not hold")]
#[doc(hidden)]
pub mod fuzzing;
mod index;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
#[cfg(feature = "jobs")]
pub mod job;
#[cfg(feature = "jsonl")]
mod jsonl;
mod objects;
#[cfg(feature = "official-client")]
pub mod official;
mod pack;
mod plan;
pub mod record;
mod rename;
mod repair;
mod repository;
mod restore;
mod run;
#[cfg(any(feature = "cloud", feature = "official-client"))]
mod runtime;
#[cfg(any(feature = "asb", feature = "cluster"))]
mod secret;
mod session;
mod setters;
mod sources;
mod spool;
pub mod store;
mod sync;
mod targets;
mod verify;

// What every call knows.
pub use control::{Control, Event, Observer, Phase, Question};
pub use error::{AbsentSecret, BoxError, Error, OptionsError, Result, Secret, StoreErrorKind};
pub use plan::Plan;

// A repository, and what it holds.
pub use format::config::Compression;
pub use format::keyslot::KdfCost;
pub use format::session::SessionKind;
pub use format::snapshot::{BackupKind, SnapshotState};
pub use format::{HoldId, KeyId, RepositoryId, SnapshotId};
pub use objects::order::{Contradiction, DoubtfulTime};
pub use repository::{
    Change, CreateOptions, Diff, History, HistoryEntry, HoldEntry, HoldNote, KeyInfo, Labelled, NamespaceView, Record,
    RecordCounts, Records, Repository, Rollback, Selection, SessionOutcome, Snapshot, SnapshotFilter, SnapshotList,
};
pub use run::{Entry, LiveEntry, Loss, Losses, MergedCursor, RecordHash, ValuePlace};

// Backing up.
pub use backup::{DeleteMode, RecordOptions, Vanished};
pub use session::{BackupSession, Resumed, SessionOptions};

// Restoring, comparing and checking.
pub use restore::{Expiry, Marks, Reasons, RestoreOptions, RestoreReport};
pub use verify::{CheckOptions, CheckReport, CompareOptions, Comparison};

// Keeping: retention, reclaiming, copies, repair.
pub use collect::forget::ForgetReport;
pub use collect::{Held, Period, PruneOptions, PruneReport, Reason, Retention, SessionAtWork, Verdict, Zone};
pub use copy::{CopiedSnapshot, CopyOptions, CopyReport, NotCopied};
pub use repair::{LostRecord, NamespaceLosses, RepairOptions, RepairReport, Salvaged};

// Where records come from.
#[cfg(feature = "asb")]
pub use sources::asb::{AsbOptions, AsbSource};
#[cfg(feature = "embedded")]
pub use sources::embedded::EmbeddedSource;
#[cfg(feature = "jsonl")]
pub use sources::jsonl::JsonlSource;
pub use sources::{
    BadRecord, CountingSource, DigestRow, Found, Known, LeftOut, MetSets, PartitionedSource, RecordSink, RecordSource,
    Rest, Selected, Source, SourceRecord, SourceShape, Standing, StreamSource,
};

// Where records go.
#[cfg(feature = "asb")]
pub use asb::{AsbCipher, AsbVersion};
#[cfg(feature = "asb")]
pub use targets::asb::{AsbTarget, AsbTargetOptions};
#[cfg(feature = "embedded")]
pub use targets::embedded::EmbeddedTarget;
#[cfg(feature = "jsonl")]
pub use targets::jsonl::JsonlTarget;
#[cfg(feature = "jsonl")]
pub use targets::keep_failed::KeepFailed;
pub use targets::{
    ConflictPolicy, DeleteOutcome, FailedRecord, Fate, RecordTarget, Remarks, UnbuiltIndex, WriteOutcome,
};

#[cfg(any(feature = "asb", feature = "cluster"))]
pub use secret::SecretSource;

// Live clusters, as both.
#[cfg(feature = "cluster")]
pub use self::aerospike::{Address, AuthMode, ClusterOptions, ClusterUrl, SecretAgent, TlsOptions, TlsVersion};
#[cfg(feature = "cluster")]
pub use sources::aerospike::AerospikeSource;
#[cfg(feature = "cluster")]
pub use targets::aerospike::AerospikeTarget;

/// Compiles and runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
