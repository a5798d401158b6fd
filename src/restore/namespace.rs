//! Restoring: entries in key order, values read and handed to the target by several threads; every record is accounted
//! for.

use super::report::{RestoreOptions, RestoreReport};
use super::work::Restoring;
use crate::error::{Error, OptionsError, Result};
use crate::plan::Plan;
use crate::record::{Digest, NamespaceMetadata, RecordSelection};
use crate::repository::{NamespaceView, Selection, SelectionWalk, Snapshot};
use crate::run::Loss;
use crate::sources::partitioned;
use crate::targets::RecordTarget;
use std::borrow::Cow;

impl Snapshot {
    /// Restores the selected records of a namespace into a target. The caller ends with [`RecordTarget::finish`].
    ///
    /// Damage never stops it: whatever can be read for certain is restored, and the report says what was lost. With
    /// [`RestoreOptions::mirror`] nothing is deleted then.
    ///
    /// # Errors
    ///
    /// If the snapshot has no such namespace, the options don't go with it or with the target, the target can't go on,
    /// or the restore was stopped. What was written until then stays in a live target.
    pub fn restore(
        &self,
        namespace: &str,
        target: &dyn RecordTarget,
        options: &RestoreOptions,
    ) -> Result<RestoreReport> {
        self.restore_or_look(namespace, target, options, false)
    }

    /// What [`Snapshot::restore`] would do, and changes nothing: all is read, and the target is asked what would become
    /// of it. The plan can be shown and then executed; the caller then ends with [`RecordTarget::finish`].
    ///
    /// ```
    /// # use aerolith::{BackupKind, CreateOptions, EmbeddedSource, KdfCost, RecordOptions, Repository, SessionOptions};
    /// # use aerolith::embedded::{EmbeddedStore, sample};
    /// # use aerolith::store::MemoryStore;
    /// # use std::sync::Arc;
    /// use aerolith::{ConflictPolicy, EmbeddedTarget, RecordTarget, RestoreOptions};
    ///
    /// # fn main() -> aerolith::Result<()> {
    /// # let directory = tempfile::tempdir().map_err(|error| aerolith::Error::io("make a directory", error))?;
    /// # let records = EmbeddedStore::create(directory.path().join("records"))?;
    /// # sample::fill(&records, "shop", 0..100)?;
    /// # let options = CreateOptions::default().cost(KdfCost::WEAK);
    /// # let repository = Repository::create(Arc::new(MemoryStore::new()), b"a long passphrase", &options)?;
    /// # let mut session = repository.begin(SessionOptions::default())?;
    /// # session.records("shop", &EmbeddedSource::new(records), BackupKind::Full, &RecordOptions::default())?;
    /// # let snapshot = session.commit()?;
    /// # let shop = directory.path().join("shop");
    /// let target = EmbeddedTarget::open(shop)?;
    /// let options = RestoreOptions::default().conflict(ConflictPolicy::Keep);
    /// let plan = snapshot.restore_plan("shop", &target, &options)?;
    /// println!("{} of {} records would be written", plan.report().written, plan.report().read);
    /// let report = plan.execute()?;
    /// target.finish()?;
    /// # assert_eq!((report.written, report.exists), (100, 0));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Snapshot::restore`], as far as they can be told without writing.
    pub fn restore_plan<'t>(
        &self,
        namespace: &str,
        target: &'t dyn RecordTarget,
        options: &RestoreOptions,
    ) -> Result<Plan<'t, RestoreReport>> {
        let report = self.restore_or_look(namespace, target, options, true)?;
        let (snapshot, namespace, options) = (self.clone(), namespace.to_owned(), options.clone());
        Ok(Plan::new(report, move || snapshot.restore(&namespace, target, &options)))
    }

    fn restore_or_look(
        &self,
        namespace: &str,
        target: &dyn RecordTarget,
        options: &RestoreOptions,
        only_look: bool,
    ) -> Result<RestoreReport> {
        self.check_restore(namespace, options, target.name(), target.is_live())?;
        let doing = if only_look { "trying to restore" } else { "restoring" };
        let _part = self.control.part(format!("{doing} namespace {namespace} into {}", target.name())).entered();
        let view = self.namespace(namespace)?;
        let name = options.rename.as_deref().unwrap_or(namespace);
        let (mut metadata, metadata_lost) = wanted_metadata(&view, options)?;
        let mut last = NamespaceMetadata::default();
        let remarks = if only_look {
            target.preview_begin(name, &metadata)?
        } else {
            if options.indexes_last {
                last.indexes = std::mem::take(&mut metadata.indexes);
            }
            target.begin(name, &metadata)?
        };
        let mut report = match options.without_records {
            true => RestoreReport::default(),
            false => Restoring::new(self, target, name, options, only_look)?.run(view)?,
        };
        report.remarks = remarks;
        report.metadata_lost = metadata_lost;
        if options.selection.is_every_record() && !options.without_records {
            let expected = view.manifest().live_records;
            report.records_lost = expected.saturating_sub(report.read);
            if report.read > expected || report.lost.is_empty() && report.records_lost > 0 {
                let found = format!("its runs hold {} records, its manifest says {expected}", report.read);
                return Err(Error::damaged(format!("namespace {namespace} of snapshot {}", self.id()), found));
            }
        }
        if !report.adds_up() {
            return Err(Error::invalid(format!("the restore's counts don't add up: {report:?}")));
        }
        if options.mirror && report.lost.is_empty() {
            match only_look {
                true => report.deleted = self.surplus_count(namespace, target, options)?,
                false => self.delete_surplus(namespace, target, options, &mut report)?,
            }
        }
        if !last.indexes.is_empty() {
            report.remarks.add(target.add_metadata(name, &last)?);
        }
        Ok(report)
    }

    /// Refuses options that don't go together, with the target or with what a namespace holds, such as a mirror of one
    /// of which something is not known.
    pub(crate) fn check_restore(
        &self,
        namespace: &str,
        options: &RestoreOptions,
        target: &str,
        is_live: bool,
    ) -> Result<()> {
        options.check(target, is_live)?;
        let selection = &self.namespace(namespace)?.manifest().selection;
        if is_live && options.conflict.is_none() && RecordSelection::names_bins(selection) {
            return Err(OptionsError::HoldsSomeBins {
                snapshot: self.id().to_string(),
                namespace: namespace.to_owned(),
                selection: selection.clone(),
            }
            .into());
        }
        match options.mirror {
            true => self.may_be_mirrored(namespace, &options.selection),
            false => Ok(()),
        }
    }

    /// Whether all that a namespace held is known, so that what the snapshot lacks was not there.
    fn may_be_mirrored(&self, namespace: &str, selection: &Selection) -> Result<()> {
        let manifest = self.namespace(namespace)?.manifest();
        let refused = |reason: String| {
            let from = format!("namespace {namespace} of snapshot {}", self.id());
            Err(Error::invalid(format!(
                "{from} is no mirror: {reason}. What it lacks may have been there, so nothing is deleted for it. \
                 Restore it without `mirror`, or take another snapshot"
            )))
        };
        if let Some(missing) = self.manifest().missing.first() {
            return refused(format!("it was committed incomplete ({missing})"));
        }
        if manifest.counts.bad > 0 {
            return refused(format!("{} records could not be parsed when it was made", manifest.counts.bad));
        }
        if !manifest.selection.is_empty() {
            return refused(format!("it holds only {}", manifest.selection));
        }
        if !manifest.unread.is_empty() {
            return refused(format!("{} could not be read when it was made", manifest.unread_partitions().named()));
        }
        // A set that is named and isn't there is more likely a slip of the pen than one to be emptied.
        if let Some(sets) = &selection.sets
            && let [set, ..] = self.namespace(namespace)?.look_for_sets(sets)?.lacking(sets)[..]
        {
            return refused(format!("it has no record of set {:?}", String::from_utf8_lossy(set)));
        }
        let everything = Selection::default();
        let mut walk = SelectionWalk::new(self.namespace(namespace)?, Cow::Borrowed(&everything));
        for partition in everything.selected_partitions() {
            walk.take(partition)?;
        }
        match walk.losses().named.first() {
            None => Ok(()),
            Some(loss) => Err(self.unknown(namespace, loss)),
        }
    }

    /// The error that something of a namespace can't be read, and so nothing is deleted for its sake.
    fn unknown(&self, namespace: &str, loss: &Loss) -> Error {
        let found =
            format!("{loss}. What was there is unknown, so nothing is deleted for what the snapshot seems to lack");
        Error::damaged(format!("namespace {namespace} of snapshot {}", self.id()), found)
    }

    /// Counts what [`RestoreOptions::mirror`] would delete, which takes less than a whole plan
    /// ([`Snapshot::restore_plan`]). It is an error if the snapshot can't tell what it holds.
    ///
    /// # Errors
    ///
    /// If the snapshot has no such namespace or is damaged, so that it can't tell what it holds, or the target can't be
    /// read.
    pub fn count_surplus(&self, namespace: &str, target: &dyn RecordTarget, options: &RestoreOptions) -> Result<u64> {
        self.check_restore(namespace, options, target.name(), target.is_live())?;
        self.surplus_count(namespace, target, options)
    }

    fn surplus_count(&self, namespace: &str, target: &dyn RecordTarget, options: &RestoreOptions) -> Result<u64> {
        let mut count = 0;
        self.surplus(namespace, target, options, &mut |digests| {
            count += digests.len() as u64;
            Ok(())
        })?;
        Ok(count)
    }

    fn delete_surplus(
        &self,
        namespace: &str,
        target: &dyn RecordTarget,
        options: &RestoreOptions,
        report: &mut RestoreReport,
    ) -> Result<()> {
        let name = options.rename.as_deref().unwrap_or(namespace);
        self.surplus(namespace, target, options, &mut |digests| {
            let outcome = target.delete(name, digests)?;
            report.deleted += outcome.deleted;
            report.not_deleted += outcome.failed.len() as u64;
            report.more_undeleted.keep(&mut report.undeleted, outcome.failed);
            Ok(())
        })
    }

    /// Hands over, partition by partition, the digests that the target has of the selected sets and partitions and that
    /// no restore of the snapshot would write.
    fn surplus(
        &self,
        namespace: &str,
        target: &dyn RecordTarget,
        options: &RestoreOptions,
        each: &mut dyn FnMut(&[Digest]) -> Result<()>,
    ) -> Result<()> {
        let view = self.namespace(namespace)?;
        let name = target.name_of(options.rename.as_deref().unwrap_or(namespace));
        let sets: Vec<Option<&[u8]>> = match &options.selection.sets {
            None => vec![None],
            Some(sets) => sets.iter().map(|set| Some(&set[..])).collect(),
        };
        let now = target.clock()?;
        for set in sets {
            let Some(source) = target.read_back(set)? else { continue };
            let there = partitioned(&*source)?;
            // Whatever its set, a record that the snapshot has is written over and not deleted.
            let everything = Selection { partitions: options.selection.partitions, ..Selection::default() };
            let mut walk = SelectionWalk::new(view, Cow::Borrowed(&everything));
            for partition in everything.selected_partitions() {
                self.control.check()?;
                let ours = walk.take(partition)?;
                if let Some(loss) = walk.losses_so_far().named.first() {
                    return Err(self.unknown(namespace, loss));
                }
                let mut surplus = Vec::new();
                there.walk(name, partition, None, &mut |rows| {
                    surplus.extend(rows.iter().map(|row| row.digest).filter(|digest| {
                        let at = ours.binary_search_by_key(&digest.sort_key(), |entry| entry.digest.sort_key());
                        let live = at.ok().and_then(|at| ours.get(at)?.live.as_ref());
                        live.is_none_or(|live| options.expiry.of(live.void_time).is_expired(now))
                    }));
                    Ok(())
                })?;
                if !surplus.is_empty() {
                    each(&surplus)?;
                }
            }
        }
        Ok(())
    }
}

/// What is restored of a namespace's metadata, and why it can't be read, if so.
fn wanted_metadata(view: &NamespaceView<'_>, options: &RestoreOptions) -> Result<(NamespaceMetadata, Option<String>)> {
    if options.without_indexes && options.without_udfs && options.without_users {
        return Ok(Default::default());
    }
    let mut metadata = match view.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.is_of_one_object() => return Ok((Default::default(), Some(error.to_string()))),
        Err(error) => return Err(error),
    };
    if options.without_indexes {
        metadata.indexes.clear();
    }
    if options.without_udfs {
        metadata.udfs.clear();
    }
    if options.without_users {
        metadata.roles.clear();
        metadata.users.clear();
    }
    Ok((metadata, None))
}
