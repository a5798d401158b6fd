//! Forgets snapshots, by rules or by name.

use super::{Done, DoubtfulTime, PruneReport, stopped, text};
use crate::collect::forget::ForgetReport as Forgotten;
use crate::collect::{Reason, Retention};
use crate::error::Result;
use crate::format::SnapshotId;
use crate::format::snapshot::Manifest;
use crate::repository::{Repository, SnapshotFilter};
use crate::setters::setters;
use serde::Serialize;
use std::collections::HashMap;

/// What [`forget`] is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ForgetOptions {
    /// Which snapshots are forgotten.
    pub which: Which,
    /// The rules apply to these alone, and names are looked for among them.
    pub filter: SnapshotFilter,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// Which snapshots are forgotten.
#[derive(Clone, Debug)]
pub enum Which {
    /// Those that no rule keeps.
    Rules(Retention),
    /// Those with these names: ids or their beginnings, `latest`, `latest~N`, `@TIME`.
    Named(Vec<String>),
}

impl ForgetOptions {
    /// Forgets these among all snapshots.
    pub fn new(which: Which) -> Self {
        ForgetOptions { which, filter: SnapshotFilter::ALL, dry_run: false }
    }
}

setters!(ForgetOptions { filter: SnapshotFilter, dry_run: bool });

/// What was forgotten, or would be.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ForgetReport {
    /// Whether this was a dry run: nothing was changed.
    pub dry_run: bool,
    /// Ids of the snapshots that were forgotten, or would be.
    pub forgotten: Vec<String>,
    /// Every snapshot that the rules considered, oldest first, or those that were named.
    pub snapshots: Vec<ConsideredSnapshot>,
    /// Snapshots whose times can't be right, and are not used.
    pub doubtful_times: Vec<DoubtfulTime>,
    /// Snapshots that can't be read and were left alone, and labels that can't be read, for people.
    pub problems: Vec<String>,
    /// With `--prune`, what `prune` prints; else `null`.
    pub prune: Option<PruneReport>,
}

/// A snapshot that was considered.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ConsideredSnapshot {
    /// Its id.
    pub snapshot: String,
    /// When it was committed; empty if it can't be read.
    pub committed: String,
    /// Its cluster.
    pub cluster: String,
    /// The names of its namespaces.
    pub namespaces: Vec<String>,
    /// Whether it stays.
    pub stays: bool,
    /// Why it stays, for people.
    pub reasons: Vec<String>,
}

impl ForgetReport {
    /// How it ended, with the prune if there was one.
    pub fn done(&self) -> Done {
        match &self.prune {
            _ if !self.problems.is_empty() => Done::Damaged,
            Some(prune) => prune.done(),
            None => Done::Whole,
        }
    }
}

/// Forgets snapshots. The space is reclaimed by [`prune`](super::prune()), whose report belongs into
/// [`ForgetReport::prune`].
///
/// # Errors
///
/// If a snapshot that was named is not found or is held, if the rules would leave a group without any snapshot and
/// don't say so, or if it is stopped. Nothing was forgotten then, unless it was stopped.
pub fn forget(repository: &Repository, options: &ForgetOptions) -> Result<ForgetReport> {
    let ForgetOptions { which, filter, dry_run } = options;
    let _part =
        repository.control().part(format!("forgetting snapshots of {}", repository.store().location())).entered();
    let mut list = repository.manifests()?;
    let goes_by_time = match which {
        Which::Rules(policy) => policy.goes_by_time(),
        Which::Named(names) => names.iter().any(|name| name.starts_with('@')),
    };
    if goes_by_time {
        list.times.warnings().iter().for_each(|warning| repository.control().warn(warning));
    }
    let doubtful_times = list.times.doubtful().iter().map(DoubtfulTime::from).collect();
    filter.check_cluster(list.snapshots.iter())?;
    let plan = match which {
        Which::Rules(policy) => repository.forget_plan_of(&mut list, policy, filter),
        Which::Named(names) => repository.forget_named_plan_of(&mut list, names, filter),
    };
    let report = plan.and_then(|plan| if *dry_run { Ok(plan.into_report()) } else { plan.execute() });
    let report = report.map_err(|error| stopped(error, "some snapshots may have been forgotten"))?;
    let manifests = list.snapshots.into_iter().map(|manifest| (manifest.id, manifest)).collect();
    Ok(ForgetReport {
        dry_run: *dry_run,
        forgotten: report.forgotten.iter().map(ToString::to_string).collect(),
        snapshots: considered(&report, &manifests),
        doubtful_times,
        problems: report.problems,
        prune: None,
    })
}

/// What is decided on each snapshot, in the order in which they were committed; those that were named go.
fn considered(report: &Forgotten, manifests: &HashMap<SnapshotId, Manifest>) -> Vec<ConsideredSnapshot> {
    let row = |id: &SnapshotId, reasons: Vec<String>| {
        let manifest = manifests.get(id);
        let names = manifest.iter().flat_map(|manifest| &manifest.namespaces).map(|namespace| namespace.name.clone());
        ConsideredSnapshot {
            snapshot: id.to_string(),
            committed: manifest.map(|manifest| text::rfc3339(manifest.committed)).unwrap_or_default(),
            cluster: manifest.map(|manifest| manifest.cluster.clone()).unwrap_or_default(),
            namespaces: names.collect(),
            stays: !reasons.is_empty(),
            reasons,
        }
    };
    if report.verdicts.is_empty() {
        return report.forgotten.iter().map(|id| row(id, Vec::new())).collect();
    }
    let reasons = |reasons: &[Reason]| reasons.iter().map(ToString::to_string).collect();
    report.verdicts.iter().map(|verdict| row(&verdict.snapshot, reasons(&verdict.reasons))).collect()
}
