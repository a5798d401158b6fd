//! Labels that come and go after a snapshot was committed. Its manifest never changes, so what became of them is beside
//! it.

use super::{Manifests, Repository, SnapshotFilter, host, named, program};
use crate::crypto::random;
use crate::error::{Error, Result};
use crate::format::snapshot::SnapshotState;
use crate::format::tags::{Tags, check_changes};
use crate::format::{SnapshotId, TagsId, names, text};
use crate::objects;
use crate::objects::{Changes, StoredLabels};
use crate::record::Timestamp;
use std::collections::BTreeSet;

/// What to do about labels that can't be read.
const UNREAD: &str = "Which labels came and went since the snapshot was committed is not known for certain. `aerolith \
                      repair` deletes the object; then set the labels once more";

/// The labels of a snapshot after they were changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Labelled {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The labels that it has now.
    pub tags: Vec<String>,
    /// Whether that is a change.
    pub changed: bool,
}

impl Repository {
    /// Gives the snapshots of a list the labels that they have now.
    pub(crate) fn label(&self, list: &mut Manifests) -> Result<()> {
        let standing = objects::read_labels(&*self.store, &self.keys, names::TAGS)?;
        if standing.is_empty() {
            return Ok(());
        }
        for manifest in &mut list.snapshots {
            if let Some(standing) = standing.get(&manifest.id) {
                manifest.tags = standing.changes.applied(&manifest.tags);
            }
        }
        for (id, StoredLabels { damaged, .. }) in standing {
            let is_there = list.snapshots.iter().any(|manifest| manifest.id == id);
            let told = damaged.into_iter().filter(|_| is_there);
            list.unread_labels.extend(told.map(|(_, error)| (id, error.with_advice(UNREAD))));
        }
        Ok(())
    }

    /// Adds labels to the snapshot that `spec` names among those that the filter admits, and takes others away. Those
    /// that it has, or has not, stay as they are.
    ///
    /// # Errors
    ///
    /// If the snapshot is not found, or forgotten at the same moment; if a label to take away is none of its labels; if
    /// it would have more labels than a snapshot may have; if changes that stand can't be read. Nothing is changed
    /// then.
    pub fn tag(&self, spec: &str, filter: &SnapshotFilter, add: &[String], remove: &[String]) -> Result<Labelled> {
        for label in add {
            if label.is_empty() {
                return Err(Error::usage("a label must not be empty"));
            }
            text::check("a label", label, text::NAME_BYTES).map_err(Error::usage)?;
        }
        let id = named(&mut self.manifests()?, spec, filter)?.id;
        let committed = objects::read_manifest(&*self.store, &self.keys, id)?;
        let standing = self.standing_labels(id)?;
        let mut changes = standing.changes.clone();
        let before = changes.applied(&committed.tags);
        if let Some(label) = remove.iter().find(|label| !before.contains(label)) {
            let has =
                if before.is_empty() { "It has none".to_string() } else { format!("It has {}", before.join(", ")) };
            return Err(Error::not_found(format!("label {label:?} of snapshot {id}"), has));
        }
        add.iter().filter(|label| !before.contains(label)).for_each(|label| changes.set(label, true));
        remove.iter().for_each(|label| changes.set(label, false));
        let tags = changes.applied(&committed.tags);
        let wanted: BTreeSet<&String> = before.iter().chain(add).filter(|label| !remove.contains(label)).collect();
        if wanted.len() > text::TAGS {
            return Err(Error::usage(format!(
                "snapshot {id} has {} labels and may have {}: take others away before more are added",
                before.len(),
                text::TAGS
            )));
        }
        let changed = changes != standing.changes;
        if changed {
            self.replace_labels(id, &changes, &standing)?;
        }
        Ok(Labelled { snapshot: id, tags, changed })
    }

    /// Takes over what became of the labels of a copy's original. Gives back whether that changed anything.
    ///
    /// # Errors
    ///
    /// As [`Repository::tag`].
    pub(crate) fn merge_labels(&self, snapshot: SnapshotId, changes: &Changes) -> Result<bool> {
        let standing = self.standing_labels(snapshot)?;
        let mut merged = standing.changes.clone();
        merged.merge(changes.labels());
        let changed = merged != standing.changes;
        if changed {
            self.replace_labels(snapshot, &merged, &standing)?;
        }
        Ok(changed)
    }

    /// What became of one snapshot's labels; an error if something of that can't be read.
    fn standing_labels(&self, id: SnapshotId) -> Result<StoredLabels> {
        let mut all = objects::read_labels(&*self.store, &self.keys, &names::tags_of(&id))?;
        let mut standing = all.remove(&id).unwrap_or_default();
        match standing.damaged.pop() {
            Some((_, error)) => Err(error.with_advice(UNREAD)),
            None => Ok(standing),
        }
    }

    /// Writes changes and deletes those that they hold. Stopped in between, both stand and say the same.
    fn replace_labels(&self, snapshot: SnapshotId, changes: &Changes, standing: &StoredLabels) -> Result<()> {
        let labels = changes.labels();
        check_changes(&labels).map_err(|error| {
            Error::invalid(format!("the labels of snapshot {snapshot} can't be changed any more: {error}"))
        })?;
        let id = TagsId(random()?);
        let tags = Tags { id, snapshot, changed: Timestamp::now().0, host: host(), program: program(), labels };
        objects::write_labels(&*self.store, &self.keys, self.parameters.suite, &tags)?;
        if self.state_of(&snapshot)? != Some(SnapshotState::Committed) {
            self.store.delete(&names::tags(&snapshot, &id))?;
            return Err(Error::invalid(format!(
                "snapshot {snapshot} was forgotten at this moment: its labels were not changed"
            )));
        }
        for old in &standing.read {
            self.store.delete(&names::tags(&snapshot, old))?;
        }
        self.store.sync()
    }

    /// Deletes changes of labels that can't be read, and says so.
    pub(crate) fn clear_labels(&self, dry_run: bool) -> Result<Vec<String>> {
        let mut cleared = Vec::new();
        for (snapshot, standing) in objects::read_labels(&*self.store, &self.keys, names::TAGS)? {
            for (id, error) in standing.damaged {
                if !dry_run {
                    self.store.delete(&names::tags(&snapshot, &id))?;
                }
                cleared.push(format!(
                    "{error}; it was deleted: labels of snapshot {snapshot} that were changed since it was committed \
                     may have to be set once more"
                ));
            }
        }
        Ok(cleared)
    }
}
