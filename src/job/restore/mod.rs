//! Writes the records of a snapshot into a target.

mod report;

pub use report::{FailedRecord, RestoreReport, RestoredNamespace, Verification};

use super::endpoint::{OpenTarget, TargetOptions, holds_records, is_standard_output, name_there, open_target};
use super::millis_since;
use super::path::{namespaces, no_such_set};
use crate::control::{Control, Question};
use crate::error::{Error, OptionsError, Result};
use crate::format::snapshot::NamespaceManifest;
use crate::record::RecordSelection;
use crate::repository::{Selection, Snapshot};
use crate::restore::{self, Expiry};
use crate::setters::setters;
use crate::sources::MetSets;
use crate::targets::{ConflictPolicy, RecordTarget};
use crate::verify::Comparison;
use report::Restored;
use std::time::Instant;

/// What [`restore()`] restores, and how.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct RestoreOptions {
    /// Only this namespace of the snapshot; all if absent.
    pub namespace: Option<String>,
    /// Which of its records.
    pub selection: Selection,
    /// The namespace's name in the target; what the target's URL says, or its own, if absent.
    pub rename: Option<String>,
    /// What happens to records that a live target has. They are replaced if nothing is said, as long as that drops
    /// none of their bins.
    pub conflict: Option<ConflictPolicy>,
    /// When the records expire.
    pub expiry: Expiry,
    /// Leave out secondary indexes.
    pub without_indexes: bool,
    /// Leave out UDF modules.
    pub without_udfs: bool,
    /// Leave out users and roles.
    pub without_users: bool,
    /// Make secondary indexes after the records, not before.
    pub indexes_last: bool,
    /// Pass over records that a live target has as they would be written, as after a restore that was stopped.
    pub resume: bool,
    /// Then delete what a live target has of the selected sets and partitions and the snapshot does not have. The
    /// caller is asked before: [`Observer::confirm`](crate::Observer::confirm).
    pub mirror: bool,
    /// That `mirror` may delete was confirmed before: nobody is asked.
    pub confirmed: bool,
    /// Then read back what was written, and compare it with the snapshot.
    pub verify: bool,
    /// How the target is opened.
    pub target: TargetOptions,
}

setters!(RestoreOptions {
    namespace: Option<String>,
    selection: Selection,
    rename: Option<String>,
    conflict: Option<ConflictPolicy>,
    expiry: Expiry,
    without_indexes: bool,
    without_udfs: bool,
    without_users: bool,
    indexes_last: bool,
    resume: bool,
    mirror: bool,
    confirmed: bool,
    verify: bool,
    target: TargetOptions,
});

impl RestoreOptions {
    /// Makes sure that they go together, and with the target of this URL.
    ///
    /// # Errors
    ///
    /// If they don't.
    pub fn check(&self, url: &str) -> Result<()> {
        if holds_records(url) && self.selection.bins.is_some() && self.conflict.is_none() {
            return Err(OptionsError::BinsWithoutConflict.into());
        }
        if self.verify && is_standard_output(url) {
            return Err(OptionsError::VerifiedOutput.into());
        }
        self.to_library(None).check(url, holds_records(url))
    }

    fn to_library(&self, rename: Option<String>) -> restore::RestoreOptions {
        restore::RestoreOptions {
            selection: self.selection.clone(),
            rename,
            conflict: self.conflict.unwrap_or_default(),
            expiry: self.expiry,
            without_indexes: self.without_indexes,
            without_udfs: self.without_udfs,
            without_users: self.without_users,
            indexes_last: self.indexes_last,
            resume: self.resume,
            mirror: self.mirror,
        }
    }
}

/// Restores records of a snapshot into a target. Every record is accounted for. What an aborted restore wrote into a
/// live store stays there; files are whole or not there.
///
/// # Errors
///
/// If options don't go together or not with the snapshot or the target, the snapshot does not have the namespace or any
/// of the sets, the target can't be opened or written, the store can't be read, the observer says no, or it is stopped.
/// A record that can't be restored is no error: the report names it.
pub fn restore(snapshot: &Snapshot, url: &str, options: &RestoreOptions) -> Result<RestoreReport> {
    options.check(url)?;
    let rename = name_there(options.rename.clone(), url)?;
    let begun = Instant::now();
    let names = namespaces(snapshot, options.namespace.as_deref())?;
    if names.len() > 1 && rename.is_some() {
        return Err(OptionsError::RenameOfSeveral { namespaces: names }.into());
    }
    if names.len() > 1 && options.selection.digests.is_some() {
        return Err(OptionsError::RecordsOfSeveral { namespaces: names }.into());
    }
    let how = options.to_library(rename);
    check_parts(snapshot, &names, url, options)?;
    check_sets(snapshot, &names, &how.selection)?;
    let OpenTarget { target, .. } = open_target(url, &options.target)?;
    if options.mirror && !options.confirmed && !options.target.dry_run {
        names.iter().try_for_each(|name| ask(snapshot, name, &*target, &how))?;
    }
    let restored = write(snapshot, &names, &*target, &how)?;
    let compared = match options.verify {
        true => read_back(snapshot, &restored, &*target, &how)?,
        false => Vec::new(),
    };
    let mut report = RestoreReport::new(snapshot.manifest(), &*target);
    report.take(snapshot.manifest(), restored, compared, &how);
    look_for_sets(&mut report, snapshot, &how.selection);
    report.duration_millis = millis_since(begun);
    Ok(report)
}

/// Refuses to replace whole records by those of a snapshot that holds but some of their bins, unless told.
fn check_parts(snapshot: &Snapshot, namespaces: &[String], url: &str, options: &RestoreOptions) -> Result<()> {
    let parted =
        |one: &&NamespaceManifest| namespaces.contains(&one.name) && RecordSelection::names_bins(&one.selection);
    match snapshot.manifest().namespaces.iter().find(parted) {
        Some(one) if holds_records(url) && options.conflict.is_none() => Err(OptionsError::HoldsSomeBins {
            snapshot: snapshot.id().to_string(),
            namespace: one.name.clone(),
            selection: one.selection.clone(),
        }
        .into()),
        _ => Ok(()),
    }
}

/// Refuses a restore of sets of which the snapshot has none, before anything is written.
fn check_sets(snapshot: &Snapshot, namespaces: &[String], selection: &Selection) -> Result<()> {
    let Some(sets) = &selection.sets else { return Ok(()) };
    let mut met = MetSets::default();
    for namespace in namespaces {
        met.add(snapshot.namespace(namespace)?.look_for_sets(sets)?);
    }
    match &met.lacking(sets)[..] {
        [set, ..] if met.lacking(sets).len() == sets.len() => Err(no_such_set(set, snapshot, &met)),
        _ => Ok(()),
    }
}

/// Asks before a mirror deletes anything; an error is a no.
fn ask(snapshot: &Snapshot, namespace: &str, target: &dyn RecordTarget, how: &restore::RestoreOptions) -> Result<()> {
    let records = snapshot.count_surplus(namespace, target, how)?;
    let question = Question::DeleteSurplus {
        records,
        namespace: target.name_of(how.rename.as_deref().unwrap_or(namespace)).to_string(),
        target: target.name().to_string(),
        snapshot: snapshot.id(),
    };
    match snapshot.control.confirm(&question)? {
        true => Ok(()),
        false => Err(Error::invalid("nothing was written, nothing deleted")),
    }
}

/// Restores the namespaces, one after the other.
fn write(
    snapshot: &Snapshot,
    names: &[String],
    target: &dyn RecordTarget,
    how: &restore::RestoreOptions,
) -> Result<Vec<Restored>> {
    let doing = if target.is_dry_run() { "trying a restore into" } else { "restoring into" };
    let control = &snapshot.control;
    let _part = control.part(format!("{doing} {}", target.name()));
    if how.selection.is_every_record() {
        let live = snapshot.manifest().namespaces.iter().filter(|namespace| names.contains(&namespace.name));
        control.add_total_records(live.map(|namespace| namespace.live_records).sum());
    }
    let mut restored = Vec::new();
    for namespace in names {
        let report = snapshot.restore(namespace, target, how);
        let report = report.map_err(|error| left_behind(error, target, control))?;
        restored.push(Restored { namespace: namespace.clone(), report });
    }
    target.finish().map_err(|error| left_behind(error, target, control))?;
    Ok(restored)
}

/// Says what an error leaves in the target.
fn left_behind(error: Error, target: &dyn RecordTarget, control: &Control) -> Error {
    match error {
        error if target.is_dry_run() => error,
        Error::Cancelled if !target.is_live() => Error::invalid(format!(
            "{}. {} holds a part at most, and is not to be used. Restore again",
            Error::Cancelled,
            target.name()
        )),
        error @ Error::Cancelled => Error::PartlyRestored { source: Box::new(error) },
        error @ Error::Target { .. } if target.is_live() && control.records() > 0 => {
            Error::PartlyRestored { source: Box::new(error) }
        }
        error => error,
    }
}

/// Compares what was written with the snapshot.
fn read_back(
    snapshot: &Snapshot,
    restored: &[Restored],
    target: &dyn RecordTarget,
    how: &restore::RestoreOptions,
) -> Result<Vec<Comparison>> {
    let _part = snapshot.control.part(format!("reading back from {}", target.name()));
    let compared = restored.iter().map(|Restored { namespace, report }| {
        let compared = snapshot.verify_restored(namespace, target, how, report);
        let compared = compared.map_err(|error| match error {
            Error::Cancelled => Error::invalid("stopped on request: all was written, not all was read back"),
            error => error,
        });
        Ok(compared?.unwrap_or_default())
    });
    compared.collect()
}

/// Notes which of the selected sets have no record in what was restored.
fn look_for_sets(report: &mut RestoreReport, snapshot: &Snapshot, selection: &Selection) {
    let lacking = report.sets.lacking(selection.sets.iter().flatten());
    let lacking: Vec<String> = lacking.iter().map(|set| no_such_set(set, snapshot, &report.sets).to_string()).collect();
    // In the selected partitions there may be none of some set. That there is none of any is no success.
    let nothing = report.namespaces.iter().all(|namespace| namespace.read == 0);
    report.is_incomplete |= !lacking.is_empty() && (selection.partitions.is_none() || nothing);
    report.unfound = lacking;
}
