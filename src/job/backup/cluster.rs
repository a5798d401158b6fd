//! Which cluster a backup is of.

use crate::error::{OptionsError, Result};
use crate::job::endpoint::OpenSource;
use crate::repository::Repository;
use crate::session::SessionOptions;
use std::collections::BTreeSet;

/// The cluster that all sources belong to which know of one.
pub(super) fn common(sources: &[OpenSource]) -> Result<Option<String>> {
    let mut names: Vec<String> = sources.iter().filter_map(|one| one.source.cluster()).collect();
    names.dedup();
    match &names[..] {
        [one, other, ..] => Err(OptionsError::SeveralClusters { one: one.clone(), other: other.clone() }.into()),
        _ => Ok(names.pop()),
    }
}

/// Whether earlier snapshots bear the name that sources get which know of none, and are of the same source.
///
/// # Errors
///
/// If the repository holds another's snapshots: then nobody but the caller knows whether this is the same database.
pub(super) fn has_earlier(repository: &Repository, about: &SessionOptions) -> Result<bool> {
    let list = repository.snapshots()?.snapshots;
    let SessionOptions { source, cluster, .. } = about;
    match list.iter().rev().find(|snapshot| snapshot.cluster() == cluster) {
        Some(earlier) if earlier.source() == source => Ok(true),
        Some(earlier) => Err(OptionsError::OtherSource {
            source_name: source.clone(),
            cluster: cluster.clone(),
            earlier: earlier.source().to_string(),
        }
        .into()),
        None if list.is_empty() => Ok(false),
        None => {
            let names: BTreeSet<String> = list.iter().map(|snapshot| format!("{:?}", snapshot.cluster())).collect();
            let clusters = names.into_iter().take(5).collect::<Vec<_>>().join(", ");
            Err(OptionsError::UnnamedCluster { source_name: source.clone(), clusters }.into())
        }
    }
}
