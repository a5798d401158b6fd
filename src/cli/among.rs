//! Which snapshots a command means: options that all commands share which take snapshots.

use super::context::Context;
use super::text;
use crate::error::Result;
use crate::format::snapshot::{Manifest, NamespaceManifest};
use crate::repository::{Snapshot, SnapshotFilter};

/// Where the help shows them.
const HEADING: &str = "Among which snapshots";

#[derive(clap::Args, Clone, Debug, Default)]
pub struct Among {
    /// Only snapshots of this cluster: latest, latest~N and @TIME need it if the repository holds those of several
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    cluster: Option<String>,
    /// Only snapshots with this label; given more than once, with all of them
    #[arg(long, value_name = "TAG", help_heading = HEADING)]
    tag: Vec<String>,
    /// Only snapshots that this host wrote
    #[arg(long, value_name = "HOST", help_heading = HEADING)]
    host: Option<String>,
}

impl Among {
    pub fn filter(&self) -> SnapshotFilter {
        SnapshotFilter { cluster: self.cluster.clone(), tags: self.tag.clone(), host: self.host.clone() }
    }

    /// Whether any snapshot will do.
    pub fn is_any(&self) -> bool {
        self.cluster.is_none() && self.tag.is_empty() && self.host.is_none()
    }

    /// Opens the snapshot that is meant. A warning tells why it may not be the one that was thought of.
    pub fn open(&self, context: &Context, spec: &str) -> Result<Snapshot> {
        context.repository()?.snapshot_among(spec, &self.filter())
    }
}

/// Of which namespaces a snapshot holds but a part, line by line: of one or of all.
pub fn parts(manifest: &Manifest, namespace: Option<&str>) -> Vec<String> {
    let asked = |one: &&NamespaceManifest| namespace.is_none_or(|name| one.name == name) && !one.selection.is_empty();
    let line = |one: &NamespaceManifest| {
        let (id, name) = (text::short(&manifest.id.to_string()), text::safe(&one.name));
        format!("snapshot {id} holds of namespace {name} only {}", text::safe(&one.selection))
    };
    manifest.namespaces.iter().filter(asked).map(line).collect()
}

/// A snapshot for people: which, of which cluster, and when.
pub fn describe(manifest: &Manifest) -> String {
    let (id, cluster, time) = (manifest.id, text::safe(&manifest.cluster), text::time(manifest.committed));
    format!("snapshot {id} of cluster {cluster}, committed {time}")
}
