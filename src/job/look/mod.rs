//! Looking at what a repository holds. Nothing is changed.

mod history;
mod snapshots;
mod stats;

pub use history::{HistoryOptions, HistoryReport, SessionKind, SessionReport, SessionStatus, history};
pub use snapshots::{SnapshotsReport, show, snapshots};
pub use stats::{SnapshotSizes, StatsReport, StoredObjects, stats};
