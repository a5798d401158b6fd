//! The secrets of a repository, by what each is for.

use super::Error;
use std::fmt;

/// One secret of a key ring. Whoever opens a repository may have some of them only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Secret {
    /// Opens chunks of the class tree: entries and nodes, without values.
    Trees,
    /// Opens chunks of the class data: values.
    Values,
    /// Opens index segments.
    Index,
    /// Opens config, sessions, snapshots, plans, holds, labels and folds.
    Metadata,
    /// Names chunks of the class tree.
    TreeNames,
    /// Names chunks of the class data.
    DataNames,
    /// Cuts values into chunks.
    Cuts,
    /// Hashes records.
    RecordHashes,
    /// Sums up the records of a state.
    StateHashes,
    /// Makes and proves the markers of forgotten snapshots.
    Markers,
    /// The master key: makes all others, and key slots.
    Master,
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Secret::Trees => "the secret that opens the entries of records",
            Secret::Values => "the secret that opens values",
            Secret::Index => "the secret that opens the index",
            Secret::Metadata => "the secret that opens config, sessions and snapshots",
            Secret::TreeNames => "the secret that names chunks of entries",
            Secret::DataNames => "the secret that names chunks of values",
            Secret::Cuts => "the secret that cuts values into chunks",
            Secret::RecordHashes => "the secret that hashes records",
            Secret::StateHashes => "the secret that hashes states",
            Secret::Markers => "the secret that marks snapshots as forgotten",
            Secret::Master => "the master key",
        })
    }
}

/// What a key ring answers that does not have a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbsentSecret(pub Secret);

impl From<AbsentSecret> for Error {
    fn from(absent: AbsentSecret) -> Self {
        Error::AbsentSecret { secret: absent.0, object: String::new() }
    }
}
