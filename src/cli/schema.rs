//! What several commands print as JSON. The schemas are in `docs/json.md`; a change there is a change for everybody's scripts.

use super::text;
use crate::error::Result;
use crate::format::snapshot::{self as format, Counts, Manifest, NamespaceManifest, RunRef, Unread};
use crate::objects::order;
use crate::record::{NamespaceMetadata, PartitionSet};
use crate::repository::NamespaceView;
use serde::Serialize;
use std::collections::BTreeMap;

/// A snapshot, as `backup`, `snapshots`, `show` and `inspect snapshot` print it.
#[derive(Serialize)]
pub struct Snapshot {
    pub snapshot: String,
    pub started: String,
    pub committed: String,
    pub host: String,
    pub program: String,
    pub source: String,
    pub cluster: String,
    pub tags: Vec<String>,
    pub sequence: u64,
    pub heads: Vec<String>,
    pub index_segments: u32,
    pub stored_bytes: u64,
    pub missing: Vec<String>,
    pub salvage: Option<Salvage>,
    pub origin: Option<Origin>,
    pub namespaces: Vec<Namespace>,
}

impl From<&Manifest> for Snapshot {
    fn from(manifest: &Manifest) -> Self {
        Snapshot {
            snapshot: manifest.id.to_string(),
            started: text::rfc3339(manifest.started),
            committed: text::rfc3339(manifest.committed),
            host: manifest.host.clone(),
            program: manifest.program.clone(),
            source: manifest.source.clone(),
            cluster: manifest.cluster.clone(),
            tags: manifest.tags.clone(),
            sequence: manifest.sequence,
            heads: manifest.heads.iter().map(ToString::to_string).collect(),
            index_segments: manifest.index_segments,
            stored_bytes: manifest.stored_bytes,
            missing: manifest.missing.clone(),
            salvage: manifest.salvage.map(|salvage| Salvage {
                original: salvage.original.to_string(),
                made: text::rfc3339(salvage.made),
                records_lost: salvage.records_lost,
            }),
            origin: manifest.origin.as_ref().map(Origin::from),
            namespaces: manifest.namespaces.iter().map(Namespace::from).collect(),
        }
    }
}

/// A snapshot whose time can't be right, or that of another is not.
#[derive(Serialize)]
pub struct DoubtfulTime {
    pub snapshot: String,
    pub host: String,
    pub committed: String,
    pub plausible: String,
    pub problem: String,
}

impl From<&order::DoubtfulTime> for DoubtfulTime {
    fn from(doubtful: &order::DoubtfulTime) -> Self {
        DoubtfulTime {
            snapshot: doubtful.snapshot.to_string(),
            host: doubtful.host.clone(),
            committed: text::rfc3339(doubtful.committed),
            plausible: text::rfc3339(doubtful.plausible),
            problem: doubtful.to_string(),
        }
    }
}

/// What a snapshot was made of that a repair made.
#[derive(Serialize)]
pub struct Salvage {
    pub original: String,
    pub made: String,
    pub records_lost: u64,
}

/// Where a copy comes from.
#[derive(Serialize)]
pub struct Origin {
    pub repository: String,
    pub snapshot: String,
    pub copied_from: String,
    pub copied: String,
}

impl From<&format::Origin> for Origin {
    fn from(origin: &format::Origin) -> Self {
        Origin {
            repository: origin.repository.to_string(),
            snapshot: origin.snapshot.to_string(),
            copied_from: origin.from.to_string(),
            copied: text::rfc3339(origin.copied),
        }
    }
}

/// A namespace of a snapshot.
#[derive(Serialize)]
pub struct Namespace {
    pub namespace: String,
    pub kind: String,
    pub source_time: String,
    pub parent: Option<String>,
    pub full: String,
    pub deletes_unknown: bool,
    pub selection: String,
    pub unread: Vec<UnreadPartitions>,
    pub live_records: u64,
    pub live_bytes: u64,
    pub reached_bytes: u64,
    pub state_hash: String,
    pub counts: Counts,
    pub runs: Vec<Run>,
    pub metadata_chunks: Vec<String>,
}

impl From<&NamespaceManifest> for Namespace {
    fn from(manifest: &NamespaceManifest) -> Self {
        Namespace {
            namespace: manifest.name.clone(),
            kind: manifest.kind.to_string(),
            source_time: text::rfc3339(manifest.source_time),
            parent: manifest.parent.map(|id| id.to_string()),
            full: manifest.full.to_string(),
            deletes_unknown: manifest.deletes_unknown,
            selection: manifest.selection.clone(),
            unread: manifest.unread.iter().map(UnreadPartitions::from).collect(),
            live_records: manifest.live_records,
            live_bytes: manifest.live_bytes,
            reached_bytes: manifest.reached_bytes,
            state_hash: hex::encode(manifest.state_hash),
            counts: manifest.counts,
            runs: manifest.runs.iter().map(Run::from).collect(),
            metadata_chunks: manifest.metadata.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Partitions that could not be read.
#[derive(Serialize)]
pub struct UnreadPartitions {
    pub first: u32,
    pub last: u32,
    pub as_of: Option<String>,
}

impl From<&Unread> for UnreadPartitions {
    fn from(unread: &Unread) -> Self {
        UnreadPartitions { first: unread.first, last: unread.last, as_of: unread.as_of.map(text::rfc3339) }
    }
}

/// What of a namespace could not be read, line by line; each begins with the partitions.
pub fn unread(manifest: &NamespaceManifest) -> Vec<String> {
    let mut by_time: BTreeMap<Option<u64>, PartitionSet> = BTreeMap::new();
    for partition in manifest.unread_partitions().iter() {
        by_time.entry(manifest.as_of(partition)).or_default().insert(partition);
    }
    let lines = by_time.into_iter().map(|(as_of, partitions)| match as_of {
        Some(time) => format!("{}: could not be read, as of {}", partitions.named(), text::rfc3339(time)),
        None => format!("{}: never read, nothing is known of what they hold", partitions.named()),
    });
    lines.collect()
}

/// A run of a namespace.
#[derive(Serialize)]
pub struct Run {
    pub root: String,
    pub level: u8,
    pub entries: u64,
    pub tombstones: u64,
    pub tree_bytes: u64,
}

impl From<&RunRef> for Run {
    fn from(run: &RunRef) -> Self {
        let RunRef { root, level, entries, tombstones, tree_bytes } = *run;
        Run { root: root.to_string(), level, entries, tombstones, tree_bytes }
    }
}

/// A secondary index.
#[derive(Serialize)]
pub struct Index {
    pub name: String,
    pub set: String,
    pub bin: String,
    pub index_type: String,
    pub value_type: String,
}

/// A UDF module.
#[derive(Serialize)]
pub struct UdfModule {
    pub name: String,
    pub language: String,
    pub bytes: usize,
}

/// A setting or the like, as the source stated it.
#[derive(Serialize)]
pub struct Fact {
    pub topic: String,
    pub name: String,
    pub value: String,
}

/// What a role allows.
#[derive(Serialize)]
pub struct Privilege {
    pub privilege: String,
    pub namespace: Option<String>,
    pub set: Option<String>,
}

/// A role of the cluster.
#[derive(Serialize)]
pub struct Role {
    pub name: String,
    pub privileges: Vec<Privilege>,
    pub allow_list: Vec<String>,
    pub read_quota: u32,
    pub write_quota: u32,
}

impl From<&crate::record::Role> for Role {
    fn from(role: &crate::record::Role) -> Self {
        let scope = |name: &[u8]| (!name.is_empty()).then(|| text::plain(name));
        let privileges = role.privileges.iter().map(|privilege| Privilege {
            privilege: privilege.name().map_or_else(|| privilege.code.to_string(), str::to_string),
            namespace: scope(&privilege.namespace),
            set: scope(&privilege.set),
        });
        let allow_list = role.allow_list.split(|&byte| byte == b',').filter(|address| !address.is_empty());
        Role {
            name: text::plain(&role.name),
            privileges: privileges.collect(),
            allow_list: allow_list.map(text::plain).collect(),
            read_quota: role.read_quota,
            write_quota: role.write_quota,
        }
    }
}

/// A user of the cluster.
#[derive(Serialize)]
pub struct User {
    pub name: String,
    pub roles: Vec<String>,
}

/// Indexes, UDF modules and settings of a namespace, users and roles of its cluster.
#[derive(Serialize)]
pub struct Metadata {
    pub namespace: String,
    pub indexes: Vec<Index>,
    pub udf_modules: Vec<UdfModule>,
    pub facts: Vec<Fact>,
    pub roles: Vec<Role>,
    pub users: Vec<User>,
}

impl Metadata {
    /// Reads those of a namespace.
    pub fn read(view: &NamespaceView<'_>) -> Result<Self> {
        let NamespaceMetadata { indexes, udfs, facts, roles, users } = view.metadata()?;
        let indexes = indexes.iter().map(|index| Index {
            name: text::plain(&index.name),
            set: text::plain(&index.set),
            bin: text::plain(&index.bin),
            index_type: text::plain(&[index.kind]),
            value_type: text::plain(&[index.value]),
        });
        let udf_modules = udfs.iter().map(|udf| UdfModule {
            name: text::plain(&udf.name),
            language: text::plain(&[udf.kind]),
            bytes: udf.content.len(),
        });
        let facts = facts.iter().map(|fact| Fact {
            topic: fact.topic.clone(),
            name: text::plain(&fact.name),
            value: text::plain(&fact.value),
        });
        let users = users.iter().map(|user| User {
            name: text::plain(&user.name),
            roles: user.roles.iter().map(|role| text::plain(role)).collect(),
        });
        let namespace = view.manifest().name.clone();
        let (indexes, udf_modules, facts) = (indexes.collect(), udf_modules.collect(), facts.collect());
        Ok(Metadata {
            namespace,
            indexes,
            udf_modules,
            facts,
            roles: roles.iter().map(Role::from).collect(),
            users: users.collect(),
        })
    }
}

/// A snapshot with its indexes and UDF modules.
#[derive(Serialize)]
pub struct Details {
    #[serde(flatten)]
    pub snapshot: Snapshot,
    pub metadata: Vec<Metadata>,
    /// What of each namespace could not be read, for people.
    #[serde(skip)]
    pub unread: Vec<Vec<String>>,
}

/// Something of the repository that could not be read.
#[derive(Serialize)]
pub struct DamagedSnapshot {
    pub snapshot: String,
    pub problem: String,
}
