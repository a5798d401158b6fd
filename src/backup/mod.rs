//! Backups of namespaces of records: what is read, compared with the parent, and written.

mod ahead;
mod inbox;
mod loss;
mod merge_policy;
mod namespace;
mod partitions;
mod records;
mod resume;
mod settle;
mod work;
mod write;

pub(crate) use inbox::Inbox;
pub use namespace::Vanished;
pub use work::{DeleteMode, RecordOptions};
