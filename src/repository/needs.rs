//! What a snapshot needs: its roots, and every chunk that they reach. This is the only place that says so.
//!
//! Whoever marks, checks, repairs, copies, measures or takes over chunks goes through [`Manifest::roots`] and matches
//! [`Root`] without a wildcard: a new kind of root doesn't compile until each of them says what it does about it. An
//! object kind that only some of them knew would be deleted by `prune` while a snapshot still needs it.

use crate::chunks::ChunkReader;
use crate::control::Control;
use crate::error::Result;
use crate::format::ChunkId;
use crate::format::header::Class;
use crate::format::snapshot::{Manifest, NamespaceManifest, RunRef};
use crate::run::{Loss, needed_of, reach_run};
use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// Something in a manifest that refers to chunks; together the roots reach all that the snapshot needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root<'a> {
    /// What describes a namespace beside its records: indexes, UDF modules and the like.
    Metadata {
        /// The namespace's name.
        namespace: &'a str,
        /// The chunks of the encoded metadata, in order.
        chunks: &'a [ChunkId],
    },
    /// A run of a namespace. Those of one namespace come newest first.
    Run {
        /// The namespace's name.
        namespace: &'a str,
        /// The run.
        run: &'a RunRef,
    },
}

/// Of what it is a root, for people: `namespace shop`.
impl fmt::Display for Root<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Root::Metadata { namespace, .. } | Root::Run { namespace, .. } => write!(f, "namespace {namespace}"),
        }
    }
}

impl Root<'_> {
    /// Calls `each` for every chunk that the root reaches and that is not in `seen` yet, with the chunk's class, and
    /// `lost` for each node that can't be read: what is below that is not reached. Of a run only branch nodes are read,
    /// and its leaf if it has no other node.
    ///
    /// # Errors
    ///
    /// If the store fails; what is damaged or missing goes to `lost`.
    pub fn reach(
        &self,
        chunks: &ChunkReader,
        seen: &mut HashSet<ChunkId>,
        each: &mut dyn FnMut(ChunkId, Class),
        lost: &mut dyn FnMut(Loss),
    ) -> Result<()> {
        match self {
            Root::Metadata { chunks: parts, .. } => {
                parts.iter().filter(|id| seen.insert(**id)).for_each(|id| each(*id, Class::Tree));
                Ok(())
            }
            Root::Run { run, .. } => reach_run(chunks, run, seen, each, lost),
        }
    }
}

impl Manifest {
    /// Everything that the snapshot refers to by chunks, namespace by namespace.
    pub fn roots(&self) -> Vec<Root<'_>> {
        // All fields are named, so that one that is added later is thought about here: does it refer to chunks?
        let Manifest {
            id: _,
            started: _,
            committed: _,
            sequence: _,
            host: _,
            program: _,
            source: _,
            cluster: _,
            tags: _,
            heads: _,
            index_segments: _,
            stored_bytes: _,
            missing: _,
            salvage: _,
            // Its roots are chunks of the repository that it was copied from.
            origin: _,
            namespaces,
        } = self;
        namespaces.iter().flat_map(NamespaceManifest::roots).collect()
    }
}

impl NamespaceManifest {
    /// Everything that the namespace refers to by chunks: its metadata, then its runs, newest first.
    pub fn roots(&self) -> Vec<Root<'_>> {
        // All fields are named, so that one that is added later is thought about here: does it refer to chunks?
        let NamespaceManifest {
            name,
            kind: _,
            source_time: _,
            parent: _,
            full: _,
            deletes_unknown: _,
            search: _,
            selection: _,
            unread: _,
            runs,
            live_records: _,
            live_bytes: _,
            reached_bytes: _,
            state_hash: _,
            metadata,
            counts: _,
            evidence: _,
        } = self;
        let runs = runs.iter().map(|run| Root::Run { namespace: name, run });
        std::iter::once(Root::Metadata { namespace: name, chunks: metadata }).chain(runs).collect()
    }
}

/// Those of some chunks that a snapshot needs: all but values that only entries refer to which newer runs hide. What is
/// in a range that can't be read is not known and doesn't count; [`Root::reach`] tells of that.
pub fn needed_by(
    chunks: &ChunkReader,
    manifest: &Manifest,
    wanted: &HashSet<ChunkId>,
    control: &Control,
) -> Result<HashSet<ChunkId>> {
    let mut needed = HashSet::new();
    let mut runs_of: BTreeMap<&str, Vec<RunRef>> = BTreeMap::new();
    for root in manifest.roots() {
        match root {
            Root::Metadata { chunks: parts, .. } => needed.extend(parts.iter().filter(|id| wanted.contains(id))),
            // What a run needs rests on the newer ones of its namespace.
            Root::Run { namespace, run } => runs_of.entry(namespace).or_default().push(*run),
        }
    }
    for runs in runs_of.values() {
        needed.extend(needed_of(chunks, runs, wanted, control)?);
    }
    Ok(needed)
}
