//! Labels of snapshots as they are now: those of the manifest, and what was changed since.

use super::{put_named_at_random, seal_object};
use crate::crypto::Keys;
use crate::crypto::sealed::{MAX_SEALED_BYTES, unseal};
use crate::error::{Error, Result};
use crate::format::header::{ObjectKind, Suite};
use crate::format::tags::{LabelChange, Tags};
use crate::format::{SnapshotId, TagsId, names, text};
use crate::store::Store;
use std::collections::{BTreeMap, BTreeSet};

/// So often changes are listed again because one went while they were read, before that is an error.
const MAX_LISTINGS: usize = 8;

/// What became of each label of one snapshot: the number of its newest change, and whether the snapshot has it since.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(BTreeMap<String, (u64, bool)>);

impl Changes {
    /// Takes over what others say: of each label the newest change counts; where two have one number, it is there.
    pub fn merge(&mut self, labels: impl IntoIterator<Item = LabelChange>) {
        for LabelChange { label, sequence, present } in labels {
            let known = self.0.entry(label).or_default();
            *known = (*known).max((sequence, present));
        }
    }

    /// Notes a change after all that are known.
    pub fn set(&mut self, label: &str, present: bool) {
        let sequence = 1 + self.0.values().map(|(sequence, _)| *sequence).max().unwrap_or(0);
        self.0.insert(label.to_string(), (sequence, present));
    }

    /// What is stored of them.
    pub fn labels(&self) -> Vec<LabelChange> {
        let change = |(label, &(sequence, present)): (&String, &(u64, bool))| LabelChange {
            label: label.clone(),
            sequence,
            present,
        };
        self.0.iter().map(change).collect()
    }

    /// The labels of a snapshot whose manifest has these: those that stay, in their order, then those that came,
    /// ascending; the first [`text::TAGS`] of them, since writers that did not see each other may have added more.
    pub fn applied(&self, tags: &[String]) -> Vec<String> {
        let stays = |tag: &&String| self.0.get(*tag).is_none_or(|(_, present)| *present);
        let came =
            self.0.iter().filter(|(label, (_, present))| *present && !tags.contains(label)).map(|(label, _)| label);
        tags.iter().filter(stays).chain(came).take(text::TAGS).cloned().collect()
    }
}

/// The changes of the labels of one snapshot that are in the store.
#[derive(Debug, Default)]
pub struct StoredLabels {
    /// What they say together, as far as they can be read.
    pub changes: Changes,
    /// The objects that were read.
    pub read: Vec<TagsId>,
    /// Those that can't be read, and why.
    pub damaged: Vec<(TagsId, Error)>,
}

/// The changes that stand in a directory: [`names::TAGS`] or [`names::tags_of`].
///
/// Who changes labels writes what was there and the change into a new object, and then deletes those that it replaces.
/// So an object that is gone by the time that it is read is no loss, but what replaced it must be read: it is listed
/// again.
pub fn read_labels(store: &dyn Store, keys: &Keys, directory: &str) -> Result<BTreeMap<SnapshotId, StoredLabels>> {
    let mut all: BTreeMap<SnapshotId, StoredLabels> = BTreeMap::new();
    let mut seen: BTreeSet<(SnapshotId, TagsId)> = BTreeSet::new();
    for _ in 0..MAX_LISTINGS {
        let mut gone = false;
        for object in store.list(directory)? {
            let Some((snapshot, id)) = names::parse_tags(&object.key).filter(|place| !seen.contains(place)) else {
                continue;
            };
            let found = match read(store, keys, snapshot, id) {
                Ok(None) => {
                    gone = true;
                    continue;
                }
                Ok(Some(tags)) => Ok(tags),
                Err(error) if error.is_of_one_object() => Err(error),
                Err(error) => return Err(error),
            };
            seen.insert((snapshot, id));
            let standing = all.entry(snapshot).or_default();
            match found {
                Ok(tags) => {
                    standing.changes.merge(tags.labels);
                    standing.read.push(id);
                }
                Err(error) => standing.damaged.push((id, error)),
            }
        }
        if !gone {
            return Ok(all);
        }
    }
    Err(Error::invalid(format!(
        "the labels under {directory} were changed all the while that they were read, {MAX_LISTINGS} times: try again"
    )))
}

/// Reads one object; `None` if it is gone.
fn read(store: &dyn Store, keys: &Keys, snapshot: SnapshotId, id: TagsId) -> Result<Option<Tags>> {
    let name = names::tags(&snapshot, &id);
    let Some(bytes) = store.get(&name, MAX_SEALED_BYTES)? else { return Ok(None) };
    let value = unseal(keys, ObjectKind::Tags, &name, bytes).map_err(|error| error.of(&name))?;
    Tags::decode(snapshot, id, &value).map(Some).map_err(|error| error.of(&name))
}

/// Writes changes. What they replace may be deleted once this is done.
pub fn write_labels(store: &dyn Store, keys: &Keys, suite: Suite, tags: &Tags) -> Result<()> {
    let name = names::tags(&tags.snapshot, &tags.id);
    let bytes = seal_object(keys, ObjectKind::Tags, suite, &name, tags)?;
    put_named_at_random(store, &name, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn change() -> impl Strategy<Value = LabelChange> {
        ("[a-c]", 1u64..4, any::<bool>()).prop_map(|(label, sequence, present)| LabelChange {
            label,
            sequence,
            present,
        })
    }

    fn merged(changes: &[LabelChange]) -> Changes {
        let mut all = Changes::default();
        all.merge(changes.to_vec());
        all
    }

    proptest! {
        #[test]
        fn changes_merge_to_the_same_in_any_order_and_any_number_of_times(
            changes in prop::collection::vec(change(), 0..12),
            again in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
            order in any::<prop::sample::Index>(),
        ) {
            let one = merged(&changes);
            let mut other = changes.clone();
            if !changes.is_empty() {
                other.extend(again.iter().map(|at| at.get(&changes).clone()));
                let at = order.index(other.len());
                other.rotate_left(at);
            }
            other.reverse();
            prop_assert_eq!(&merged(&other), &one);
            prop_assert_eq!(&merged(&one.labels()), &one);
        }

        #[test]
        fn a_change_counts_from_then_on(changes in prop::collection::vec(change(), 0..12), present: bool) {
            let mut all = merged(&changes);
            all.set("b", present);
            let tags = all.applied(&["b".to_string(), "z".to_string()]);
            prop_assert_eq!(tags.contains(&"b".to_string()), present);
            prop_assert!(tags.contains(&"z".to_string()));
        }
    }

    #[test]
    fn labels_of_the_manifest_come_first_and_no_more_count_than_a_manifest_may_have() {
        let mut changes = Changes::default();
        changes.set("b", true);
        changes.set("a", true);
        changes.set("y", false);
        let tags = ["z", "y", "b"].map(String::from);
        assert_eq!(changes.applied(&tags), ["z", "b", "a"]);
        (0..100).for_each(|n| changes.set(&format!("n{n:03}"), true));
        assert_eq!(changes.applied(&tags).len(), text::TAGS);
    }
}
