//! Comparing with a cluster that the official client reads.

use super::VerifyReport;
use crate::error::{Error, Result};
use crate::job::endpoint::{EndpointKind, SourceOptions};
use crate::repository::Snapshot;

#[cfg(all(feature = "cluster", feature = "official-client"))]
pub(super) fn verify(
    snapshot: &Snapshot,
    url: &str,
    reading: &SourceOptions,
    names: Vec<String>,
    (rename, one): (Option<String>, bool),
) -> Result<VerifyReport> {
    use super::ComparedNamespace;
    use crate::aerospike::ClusterUrl;
    use crate::job::stopped;
    use crate::official::{IndependentOptions, connect_to};
    use crate::repository::Selection;

    check(url)?;
    let asked = &reading.selection;
    if asked.modified_after.is_some() || asked.modified_before.is_some() || asked.never_expires {
        return Err(Error::usage(
            "`independent` does not select by last updates or by what never expires: give a filter expression",
        ));
    }
    let cluster_url = ClusterUrl::parse(url)?;
    let connected = connect_to(&cluster_url, &reading.cluster.with_password()?)?;
    let mut in_source = connected.namespaces()?;
    in_source.retain(|name| cluster_url.namespace.as_ref().is_none_or(|only| only == name));
    let mut report = VerifyReport::of(snapshot.manifest(), &connected.name, Vec::new());
    report.independent = true;
    for name in names {
        let name_there = rename.as_deref().unwrap_or(&name);
        if !in_source.iter().any(|one| one == name_there) {
            report.absent.push(name_there.to_string());
            continue;
        }
        let view = snapshot.namespace(&name)?;
        let part = super::part(view.manifest(), &asked.name(), asked.selected_partitions(), asked)?;
        let selection = Selection { partitions: part.partitions, ..super::selection_of(asked) };
        let options = IndependentOptions { selection, rename: rename.clone(), filter: asked.filter.clone() };
        let compared = snapshot.compare_independently(&name, &connected, &options);
        let compared = compared.map_err(|error| stopped(error, "the two were not compared to their end"))?;
        let mut namespace = ComparedNamespace::independent(view.manifest(), compared);
        let nothing = namespace.records_in_snapshot == 0 && namespace.records_in_source == 0;
        namespace.nothing_selected = nothing && !asked.name().is_empty();
        namespace.on_neither_side = namespace.nothing_selected;
        report.namespaces.push(namespace);
    }
    if !one && rename.is_none() {
        let own = |name: &&String| snapshot.manifest().namespace(name).is_none();
        report.not_in_snapshot = in_source.iter().filter(own).cloned().collect();
    }
    report.same = report.absent.is_empty() && report.namespaces.iter().all(ComparedNamespace::same);
    report.in_source = in_source;
    Ok(report)
}

#[cfg(not(all(feature = "cluster", feature = "official-client")))]
pub(super) fn verify(
    _: &Snapshot,
    url: &str,
    _: &SourceOptions,
    _: Vec<String>,
    _: (Option<String>, bool),
) -> Result<VerifyReport> {
    check(url)?;
    Err(Error::invalid(
        "cannot compare through the official client: this aerolith was built without the features \"cluster\" and \
         \"official-client\"",
    ))
}

/// Refuses what is no cluster.
fn check(url: &str) -> Result<()> {
    match EndpointKind::of(url) {
        Some(EndpointKind::Cluster) => Ok(()),
        _ => Err(Error::usage(format!(
            "{url}: `independent` goes with aerospike://... alone: the official client reads nothing but clusters"
        ))),
    }
}
