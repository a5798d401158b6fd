//! Compares a snapshot with a live source.

mod independent;
mod report;

pub use report::{ComparedNamespace, NotComparable, VerifyReport};

use super::endpoint::{OpenSource, SourceOptions, name_there, open_source};
use super::path::namespaces;
use super::stopped;
use crate::error::{Error, OptionsError, Result};
use crate::format::snapshot::NamespaceManifest;
use crate::record::{PartitionSet, RecordSelection};
use crate::repository::{Selection, Snapshot};
use crate::setters::setters;
use crate::sources::{RecordSource, SourceShape};
use crate::verify::{CompareOptions, Comparison};

/// What [`verify`] compares.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct VerifyOptions {
    /// Only this namespace of the snapshot; all if absent.
    pub namespace: Option<String>,
    /// The namespace's name in the source; what the source's URL says, or its own, if absent.
    pub rename: Option<String>,
    /// How the source is opened, and what of both sides is compared.
    pub source: SourceOptions,
    /// Read a cluster through the official client, not through our own reader, and compare times to live too.
    pub independent: bool,
}

setters!(VerifyOptions {
    namespace: Option<String>,
    rename: Option<String>,
    source: SourceOptions,
    independent: bool,
});

/// Compares a snapshot with a source, partition by partition: sets, keys and bins of each record. Records of the
/// snapshot that have expired since and are gone from the source are no difference.
///
/// With [`VerifyOptions::independent`] the official client reads the cluster: none of our code does. Times to live are
/// compared too, within seconds. What the client can't represent is counted as not comparable, and never as the same.
///
/// # Errors
///
/// If the snapshot does not have the namespace, its backup selected other records than are asked for, the source can't
/// be opened or read, the store can't be read, or it is stopped. That the two differ is no error: the report
/// says it.
pub fn verify(snapshot: &Snapshot, url: &str, options: &VerifyOptions) -> Result<VerifyReport> {
    let reading = options.source.with_digests()?;
    // What servers evaluate is known to the source alone.
    let asked = reading.selection.for_anyone();
    let names = namespaces(snapshot, options.namespace.as_deref())?;
    let rename = other_name(options, url, &names)?;
    if options.independent {
        return independent::verify(snapshot, url, &reading, names, (rename, options.namespace.is_some()));
    }
    let OpenSource { source, namespaces: there } = open_source(url, &reading)?;
    let (mut wanted, mut absent) = (Vec::new(), Vec::new());
    for name in names {
        let name_there = rename.as_deref().unwrap_or(&name);
        if there.iter().any(|one| one == name_there) {
            let partitions = match source.shape() {
                SourceShape::Partitioned(source) => source.partitions(),
                SourceShape::Stream(_) => asked.selected_partitions(),
            };
            let selection =
                part(snapshot.namespace(&name)?.manifest(), &source.selection(), partitions, &reading.selection)?;
            wanted.push((name, selection));
        } else {
            absent.push(name_there.to_string());
        }
    }
    let part = snapshot.control.part(format!("comparing with {}", source.name()));
    let mut namespaces = Vec::new();
    for (name, selection) in wanted {
        let options = CompareOptions {
            selection,
            rename: rename.clone(),
            others_differ: true,
            within: true,
            ..CompareOptions::default()
        };
        let compared = snapshot.compare(&name, &*source, &options);
        let compared = compared.map_err(|error| stopped(error, "the two were not compared to their end"))?;
        let manifest = snapshot.namespace(&name)?;
        let mut report = ComparedNamespace::new(manifest.manifest(), &compared);
        look_for_selected(&mut report, manifest.manifest(), &*source, &asked, &compared, rename.as_deref());
        namespaces.push(report);
    }
    drop(part);
    let not_in_snapshot: Vec<String> = match (&options.namespace, &rename) {
        (None, None) => there.iter().filter(|name| snapshot.manifest().namespace(name).is_none()).cloned().collect(),
        _ => Vec::new(),
    };
    let mut report = VerifyReport::new(snapshot.manifest(), &*source);
    report.same = absent.is_empty() && namespaces.iter().all(ComparedNamespace::same);
    Ok(VerifyReport { namespaces, absent, not_in_snapshot, in_source: there, ..report })
}

/// Under which name the source has a namespace, if not under its own.
fn other_name(options: &VerifyOptions, url: &str, names: &[String]) -> Result<Option<String>> {
    match name_there(options.rename.clone(), url)? {
        Some(name) if names.len() == 1 => Ok(Some(name)),
        // The address names one of several: the others are missing in it.
        Some(name) if options.rename.is_none() && names.contains(&name) => Ok(None),
        Some(_) => Err(OptionsError::RenameOfSeveral { namespaces: names.to_vec() }.into()),
        None => Ok(None),
    }
}

/// What of a snapshot's namespace is compared: what the source was asked for, as far as the backup has read it.
fn part(
    manifest: &NamespaceManifest,
    of_source: &str,
    there: PartitionSet,
    asked: &RecordSelection,
) -> Result<Selection> {
    let unread = manifest.unread_partitions();
    let partitions = Some(there.iter().filter(|partition| !unread.contains(*partition)).collect());
    if manifest.selection == of_source {
        return Ok(Selection { partitions, ..Selection::default() });
    }
    if !manifest.selection.is_empty() {
        return Err(Error::usage(format!(
            "the snapshot of namespace {} holds {}, and the source was asked for {}: give verify the options that the \
             backup had",
            manifest.name,
            selected(&manifest.selection),
            selected(of_source)
        )));
    }
    let known = asked.for_anyone();
    if known.name() != of_source {
        let fields = asked.for_servers();
        return Err(OptionsError::UnknownFilter { namespace: manifest.name.clone(), fields }.into());
    }
    Ok(Selection { partitions, ..selection_of(&known) })
}

/// What was asked for, but for partitions and filters.
fn selection_of(asked: &RecordSelection) -> Selection {
    let all = |names: &[Vec<u8>]| (!names.is_empty()).then(|| names.iter().cloned().collect());
    Selection {
        sets: all(&asked.sets),
        digests: (!asked.digests.is_empty()).then(|| asked.digests.iter().copied().collect()),
        partitions: None,
        bins: all(&asked.bins),
    }
}

/// A selection for people.
fn selected(selection: &str) -> &str {
    if selection.is_empty() { "everything" } else { selection }
}

/// Notes what was selected of a namespace and found on neither side.
fn look_for_selected(
    report: &mut ComparedNamespace,
    manifest: &NamespaceManifest,
    source: &dyn RecordSource,
    asked: &RecordSelection,
    compared: &Comparison,
    rename: Option<&str>,
) {
    let nothing = compared.records_in_snapshot == 0 && compared.records_in_source == 0;
    report.nothing_selected = nothing && !source.selection().is_empty();
    // With digests a set says nothing more.
    let unfound = unfound(source, rename.unwrap_or(&manifest.name)).filter(|_| asked.digests.is_empty());
    // A set that the snapshot has is compared: what is in it, and isn't expired, differs. So it is with all that its
    // backup had selected.
    let on_neither_side = unfound.is_some()
        && manifest.selection.is_empty()
        && (asked.sets.is_empty() || !compared.sets.lacking(&asked.sets).is_empty());
    report.on_neither_side = report.nothing_selected || on_neither_side;
    report.unfound = unfound;
}

/// What was selected and isn't in a source that was read, as far as it can be told; for people.
fn unfound(source: &dyn RecordSource, namespace: &str) -> Option<String> {
    source.unfound(namespace).or_else(|| source.standing(namespace).ok()??.unfound(namespace))
}
