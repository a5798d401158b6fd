//! Whether a snapshot that can't be read may be the one that a person means by `latest` or a time.

use super::catalogue::Manifests;
use crate::error::{Error, Result};
use crate::format::snapshot::{Manifest, SnapshotPlace};
use crate::format::{SnapshotId, names};

/// The snapshots that can't be read, and what is known of their place among the others.
pub struct Doubt {
    /// Each with why it can't be read, and the first snapshot that is certainly newer: its writer saw this one
    /// committed.
    unread: Vec<(SnapshotId, String, Option<SnapshotPlace>)>,
}

impl Doubt {
    /// Looks through a listing.
    pub fn of(list: &Manifests) -> Self {
        let unread = list.damaged.iter().map(|(id, error)| {
            // A copy has the place of its original, whose writer saw others.
            let newer = list.snapshots.iter().filter(|other| other.origin.is_none() && other.heads.contains(id));
            (*id, error.to_string(), newer.map(Manifest::place).min())
        });
        Doubt { unread: unread.collect() }
    }

    /// Gives back what a spec was resolved to, unless the spec goes by order and a snapshot that can't be read may be
    /// the one.
    pub fn settle(self, spec: &str, resolved: Result<Manifest>) -> Result<Manifest> {
        if !(spec.starts_with("latest") || spec.starts_with('@')) {
            return resolved;
        }
        let place = match &resolved {
            Ok(manifest) => Some(manifest.place()),
            Err(Error::NotFound { .. }) => None,
            Err(_) => return resolved,
        };
        let in_doubt =
            |newer: &Option<SnapshotPlace>| place.is_none_or(|place| newer.is_none_or(|newer| newer > place));
        match self.unread.into_iter().find(|(_, _, newer)| in_doubt(newer)) {
            None => resolved,
            Some((id, problem, _)) => Err(Error::Damaged {
                object: names::snapshot(&id),
                found: format!("it may be the one that {spec} means, and can't be read ({problem})"),
                advice: "Give the id of the snapshot that you want; `aerolith snapshots` lists those that can be read"
                    .into(),
            }),
        }
    }
}
