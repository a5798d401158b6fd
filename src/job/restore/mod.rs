//! Writes the records of a snapshot into a target.

mod files;
mod indexes;
mod report;

pub use files::{is_of_files, restore_files};
pub use report::{FailedRecord, RestoreReport, RestoredNamespace, UnbuiltIndex, Verification};

use super::endpoint::{OpenTarget, TargetOptions, holds_records, is_standard_output, name_there, open_target};
use super::path::{namespaces, no_such_set};
use super::{millis_since, text};
use crate::control::{Control, Part, Question};
use crate::error::{Error, OptionsError, Result};
use crate::repository::{Repository, Selection, Snapshot};
use crate::restore;
use crate::setters::setters;
use crate::sources::MetSets;
use crate::targets::RecordTarget;
use crate::targets::keep_failed::KeepFailed;
use crate::verify::Comparison;
use report::Restored;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What [`restore()`] restores, and how.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct RestoreOptions {
    /// Only this namespace of the snapshot; all if absent.
    pub namespace: Option<String>,
    /// Which of its records, and how. The namespace's name in the target is what the target's URL says, if nothing else
    /// is. Before a mirror deletes anything [`Observer::confirm`](crate::Observer::confirm) is asked.
    pub records: restore::RestoreOptions,
    /// That a mirror may delete was confirmed before: nobody is asked.
    pub confirmed: bool,
    /// Then read back what was written, and compare it with the snapshot.
    pub verify: bool,
    /// Then wait until the target has built the secondary indexes that were restored, if need be for this long.
    /// [`Duration::MAX`] is for ever; not at all if absent. What is not built then is named.
    pub wait_indexes: Option<Duration>,
    /// Only say what would be done.
    pub dry_run: bool,
    /// A new file of JSON lines for the records that the target refuses, as they were to be written: [`restore_files`]
    /// takes it once the reason is gone. If none is refused, it is not made. A dry run makes none.
    pub failed_to: Option<PathBuf>,
    /// How the target is opened.
    pub target: TargetOptions,
}

setters!(RestoreOptions {
    namespace: Option<String>,
    records: restore::RestoreOptions,
    confirmed: bool,
    verify: bool,
    wait_indexes: Option<Duration>,
    dry_run: bool,
    failed_to: Option<PathBuf>,
    target: TargetOptions,
});

impl RestoreOptions {
    /// Makes sure that they go together, and with the target of this URL.
    ///
    /// # Errors
    ///
    /// If they don't.
    pub fn check(&self, url: &str) -> Result<()> {
        if self.verify && is_standard_output(url) {
            return Err(OptionsError::VerifiedOutput.into());
        }
        self.records.check(url, holds_records(url))
    }
}

/// Restores records of a snapshot into a target. Every record is accounted for. What an aborted restore wrote into a
/// live store stays there; files are whole or not there. Damage is noted in the repository, so that the next full
/// backup writes it again; a dry run notes nothing.
///
/// # Errors
///
/// If options don't go together or not with the snapshot or the target, the snapshot does not have the namespace or any
/// of the sets, the target can't be opened or written, the store can't be read, the observer says no, or it is stopped.
/// A record that can't be restored is no error: the report names it.
pub fn restore(
    repository: &Repository,
    snapshot: &Snapshot,
    url: &str,
    options: &RestoreOptions,
) -> Result<RestoreReport> {
    options.check(url)?;
    let mut how = options.records.clone();
    how.rename = name_there(how.rename, url)?;
    let begun = Instant::now();
    let names = namespaces(snapshot, options.namespace.as_deref())?;
    if names.len() > 1 && how.rename.is_some() {
        return Err(OptionsError::RenameOfSeveral { namespaces: names }.into());
    }
    if names.len() > 1 && how.selection.digests.is_some() {
        return Err(OptionsError::RecordsOfSeveral { namespaces: names }.into());
    }
    // Before the first of them is written.
    names.iter().try_for_each(|name| snapshot.check_restore(name, &how, url, holds_records(url)))?;
    check_sets(snapshot, &names, &how.selection)?;
    let OpenTarget { target, .. } = open_target(url, &options.target)?;
    let keeping = options.failed_to.as_ref().map(|file| KeepFailed::new(&*target, file)).transpose()?;
    let target: &dyn RecordTarget = keeping.as_ref().map_or(&*target, |keeping| keeping);
    let mut report = RestoreReport::new(snapshot.manifest(), target, options.dry_run);
    if options.dry_run {
        let planned = plan(snapshot, &names, target, &how)?;
        report.take(snapshot.manifest(), planned, Vec::new(), &how);
    } else {
        if how.mirror && !options.confirmed {
            names.iter().try_for_each(|name| ask(snapshot, name, target, &how))?;
        }
        let restored = write(snapshot, &names, target, &how)?;
        let compared = match options.verify {
            true => read_back(snapshot, &restored, target, &how)?,
            false => Vec::new(),
        };
        report.take(snapshot.manifest(), restored, compared, &how);
        if let Some(longest) = options.wait_indexes.filter(|_| !how.without_indexes) {
            report.unbuilt = indexes::wait(snapshot, &names, target, &how, longest)?;
            report.is_incomplete |= !report.unbuilt.is_empty();
        }
        if report.is_damaged
            && let Err(error) = repository.note_damage_of(snapshot, "restore")
        {
            snapshot.control.warn(format!("what is damaged could not be noted for the next full backup: {error}"));
        }
    }
    look_for_sets(&mut report, snapshot, &how.selection);
    look_for_bins(&mut report, &how.selection);
    report.duration_millis = millis_since(begun);
    if let (Some(keeping), Some(file)) = (&keeping, &options.failed_to)
        && keeping.kept() > 0
    {
        report.kept_failed = keeping.kept();
        report.failed_to = Some(file.display().to_string());
    }
    Ok(report)
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

/// Begins a part of the job that handles the namespaces one after the other.
fn begin(snapshot: &Snapshot, names: &[String], doing: String, how: &restore::RestoreOptions) -> Part {
    let control = &snapshot.control;
    let part = control.part(doing);
    if how.selection.is_every_record() && !how.without_records {
        let live = snapshot.manifest().namespaces.iter().filter(|namespace| names.contains(&namespace.name));
        control.add_total_records(live.map(|namespace| namespace.live_records).sum());
    }
    part
}

/// Looks what would become of the namespaces.
fn plan(
    snapshot: &Snapshot,
    names: &[String],
    target: &dyn RecordTarget,
    how: &restore::RestoreOptions,
) -> Result<Vec<Restored>> {
    let _part = begin(snapshot, names, format!("trying a restore into {}", target.name()), how);
    let planned = names.iter().map(|namespace| {
        let report = snapshot.restore_plan(namespace, target, how)?.into_report();
        Ok(Restored { namespace: namespace.clone(), report })
    });
    planned.collect()
}

/// Restores the namespaces.
fn write(
    snapshot: &Snapshot,
    names: &[String],
    target: &dyn RecordTarget,
    how: &restore::RestoreOptions,
) -> Result<Vec<Restored>> {
    let control = &snapshot.control;
    let _part = begin(snapshot, names, format!("restoring into {}", target.name()), how);
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
        Error::Cancelled if !target.is_live() && is_standard_output(target.name()) => Error::invalid(format!(
            "{}. What was written to standard output is a part, and is not to be used. Restore again",
            Error::Cancelled
        )),
        Error::Cancelled if !target.is_live() => {
            Error::invalid(format!("{}, and nothing is left in {}. Restore again", Error::Cancelled, target.name()))
        }
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

/// Notes that no record has any of the selected bins.
fn look_for_bins(report: &mut RestoreReport, selection: &Selection) {
    let Some(bins) = &selection.bins else { return };
    let (read, without) = report
        .namespaces
        .iter()
        .fold((0, 0), |(read, without), namespace| (read + namespace.read, without + namespace.without_bins));
    if read > 0 && read == without {
        let names: Vec<String> = bins.iter().map(|name| text::plain(name)).collect();
        report.is_incomplete = true;
        report.unfound.push(format!("no selected record has a bin {}", names.join(" or ")));
    }
}
