//! Looking at what a repository holds. Nothing is changed.

mod diff;
mod get;
mod history;
mod inspect;
mod ls;
mod snapshots;
mod stats;

pub use diff::{BinValue, ChangeKind, ChangedValue, DiffOptions, DiffSummary, RecordChange, SnapshotDiff, diff};
pub use get::{FoundRecord, GetOptions, get};
pub use history::{HistoryOptions, HistoryReport, SessionReport, SessionStatus, SessionWork, history};
pub use inspect::{
    ChunkSizesReport, ConfigReport, IndexSummary, InspectOptions, InspectedObject, NodeReport, PackReport, PlaceReport,
    SegmentReport, inspect,
};
pub use ls::{ListedRecord, LsOptions, ls};
pub use snapshots::{SnapshotsReport, show, snapshots};
pub use stats::{SnapshotSizes, StatsReport, StoredObjects, stats};
