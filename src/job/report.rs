//! What the reports of several jobs have in common: snapshots, their namespaces and metadata.

use super::text;
use crate::error::Result;
use crate::format::search;
use crate::format::snapshot::{self as format, Manifest, NamespaceManifest, RunRef, Unread};
use crate::objects::order;
use crate::record::{NamespaceMetadata, PartitionSet};
use crate::repository::NamespaceView;
use serde::Serialize;
use std::collections::BTreeMap;

/// A snapshot: what its manifest says.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SnapshotReport {
    /// Its id.
    pub snapshot: String,
    /// When it was begun, by the writer's clock.
    pub started: String,
    /// When it was committed, by the writer's clock.
    pub committed: String,
    /// The machine that wrote it.
    pub host: String,
    /// The program that wrote it.
    pub program: String,
    /// Where the records came from.
    pub source: String,
    /// The cluster's name.
    pub cluster: String,
    /// Its labels.
    pub tags: Vec<String>,
    /// Its number in the order of snapshots: greater than that of every snapshot that its writer saw.
    pub sequence: u64,
    /// Ids of the newest snapshots that existed when it began.
    pub heads: Vec<String>,
    /// How many index segments it added to the repository.
    pub index_segments: u32,
    /// How many bytes it added to the repository.
    pub stored_bytes: u64,
    /// What could not be read, for people; empty if the snapshot is complete.
    pub missing: Vec<String>,
    /// For a snapshot that `repair` made, else `null`.
    pub salvage: Option<SalvageReport>,
    /// For a copy, else `null`. The other times of a copy are the original's.
    pub origin: Option<OriginReport>,
    /// Its namespaces.
    pub namespaces: Vec<NamespaceReport>,
}

impl From<&Manifest> for SnapshotReport {
    fn from(manifest: &Manifest) -> Self {
        SnapshotReport {
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
            salvage: manifest.salvage.map(|salvage| SalvageReport {
                original: salvage.original.to_string(),
                made: text::rfc3339(salvage.made),
                records_lost: salvage.records_lost,
            }),
            origin: manifest.origin.as_ref().map(OriginReport::from),
            namespaces: manifest.namespaces.iter().map(NamespaceReport::from).collect(),
        }
    }
}

/// A snapshot whose time can't be right, or that of another is not.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct DoubtfulTime {
    /// Its id.
    pub snapshot: String,
    /// The machine that wrote it.
    pub host: String,
    /// The time by that machine's clock.
    pub committed: String,
    /// The time that rules and `@TIME` use instead.
    pub plausible: String,
    /// Why, for people.
    pub problem: String,
}

impl From<&order::DoubtfulTime> for DoubtfulTime {
    fn from(doubtful: &order::DoubtfulTime) -> Self {
        DoubtfulTime {
            snapshot: doubtful.snapshot.to_string(),
            host: doubtful.host.clone(),
            committed: text::rfc3339(doubtful.committed.0),
            plausible: text::rfc3339(doubtful.plausible.0),
            problem: doubtful.to_string(),
        }
    }
}

/// What a snapshot was made of that a repair made.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SalvageReport {
    /// The id of the snapshot that lost chunks.
    pub original: String,
    /// When the repair made this one of it.
    pub made: String,
    /// How many records are gone.
    pub records_lost: u64,
}

/// Where a copy comes from.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct OriginReport {
    /// The repository where it was first written.
    pub repository: String,
    /// Its id there.
    pub snapshot: String,
    /// The repository that it was copied from.
    pub copied_from: String,
    /// When it was copied.
    pub copied: String,
}

impl From<&format::Origin> for OriginReport {
    fn from(origin: &format::Origin) -> Self {
        OriginReport {
            repository: origin.repository.to_string(),
            snapshot: origin.snapshot.to_string(),
            copied_from: origin.from.to_string(),
            copied: text::rfc3339(origin.copied),
        }
    }
}

/// A namespace of a snapshot.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct NamespaceReport {
    /// Its name.
    pub namespace: String,
    /// `full`, `incremental` or `differential`.
    pub kind: String,
    /// The time by the source's clock when the reading began.
    pub source_time: String,
    /// The id of the snapshot that it builds on, or `null`.
    pub parent: Option<String>,
    /// The id of the last full snapshot that it builds on.
    pub full: String,
    /// Whether deletes since `full` may have been missed.
    pub deletes_unknown: bool,
    /// How the backup found out which records of `parent` are gone.
    pub search: SearchReport,
    /// Which records the backup was asked for; empty for all.
    pub selection: String,
    /// Partitions that could not be read.
    pub unread: Vec<UnreadPartitions>,
    /// How many records it has: `added + changed + touched + healed + unchanged`.
    pub live_records: u64,
    /// The size of their bodies.
    pub live_bytes: u64,
    /// The plain size of the value chunks that contain them.
    pub reached_bytes: u64,
    /// A hash of the content, independent of its layout.
    pub state_hash: String,
    /// What the backup found of the records.
    pub counts: CountsReport,
    /// Its runs, newest first.
    pub runs: Vec<RunReport>,
    /// Ids of the chunks of indexes and UDF modules.
    pub metadata_chunks: Vec<String>,
}

impl From<&NamespaceManifest> for NamespaceReport {
    fn from(manifest: &NamespaceManifest) -> Self {
        NamespaceReport {
            namespace: manifest.name.clone(),
            kind: manifest.kind.to_string(),
            source_time: text::rfc3339(manifest.source_time),
            parent: manifest.parent.map(|id| id.to_string()),
            full: manifest.full.to_string(),
            deletes_unknown: manifest.deletes_unknown,
            search: (&manifest.search).into(),
            selection: manifest.selection.clone(),
            unread: manifest.unread.iter().map(UnreadPartitions::from).collect(),
            live_records: manifest.live_records,
            live_bytes: manifest.live_bytes,
            reached_bytes: manifest.reached_bytes,
            state_hash: hex::encode(manifest.state_hash),
            counts: manifest.counts.into(),
            runs: manifest.runs.iter().map(RunReport::from).collect(),
            metadata_chunks: manifest.metadata.iter().map(ToString::to_string).collect(),
        }
    }
}

/// What a backup found of the records of a namespace. Records that an incremental or differential backup did not read
/// because they did not change are `unchanged` too; those whose values were `moved` are also counted elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CountsReport {
    /// Records that the source delivered, without `duplicates` and `bad`.
    pub read: u64,
    /// Records that the parent did not have.
    pub added: u64,
    /// Records whose bins, key or set differ from the parent's.
    pub changed: u64,
    /// Records of which only generation, expiry or order of bins differ.
    pub touched: u64,
    /// Records that are as in the parent.
    pub unchanged: u64,
    /// Records of the parent that are gone.
    pub deleted: u64,
    /// Records that were rewritten because their values were missing or damaged.
    pub healed: u64,
    /// Records whose values were moved out of mostly dead chunks.
    pub moved: u64,
    /// Copies of a record that the source delivered more than once.
    pub duplicates: u64,
    /// Records that could not be parsed and were left out.
    pub bad: u64,
}

impl From<format::Counts> for CountsReport {
    fn from(counts: format::Counts) -> Self {
        let format::Counts { read, added, changed, touched, unchanged, deleted, healed, moved, duplicates, bad } =
            counts;
        CountsReport { read, added, changed, touched, unchanged, deleted, healed, moved, duplicates, bad }
    }
}

/// How a backup found out which records of its parent are gone. Where all is 0, it read every record, or was told
/// nothing of deletes.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SearchReport {
    /// Partitions of which the servers counted the records that did not change: all were there.
    pub counted: u32,
    /// Partitions that were not searched, as the user asked.
    pub unsearched: u32,
    /// Partitions whose records were looked for one by one.
    pub walked: Vec<WalkedPartitions>,
}

/// Partitions whose records were looked for one by one.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct WalkedPartitions {
    /// How many they are.
    pub partitions: u32,
    /// Why.
    pub reason: SearchReason,
}

/// Why records were looked for one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SearchReason {
    /// The source can't count its records, or not those of this selection.
    NotCounted,
    /// The user asked for it.
    Asked,
    /// The servers have fewer records than expected: some were deleted.
    FewerThanKnown,
    /// The servers have more records than expected: some came back with an older time, or an earlier backup left them
    /// out.
    MoreThanKnown,
    /// Nodes came or went since the parent, or partitions were moved: records may have come with an older time.
    Moved,
    /// A server's clock was set, or its process was started again, since the parent.
    ClockSet,
    /// The parent could not read them, and has them from an earlier snapshot.
    Older,
    /// The servers did not tell how many records they left out: partitions moved meanwhile, or the servers' setting
    /// `query-max-done` is 0 or too low, so that they forget each query at once.
    Untold,
    /// Records expired while they were counted.
    Expiring,
}

impl SearchReason {
    /// Whether a user would like to be told of it after each backup.
    pub(crate) fn is_remarkable(self) -> bool {
        !matches!(
            self,
            SearchReason::NotCounted | SearchReason::Asked | SearchReason::FewerThanKnown | SearchReason::Expiring
        )
    }

    /// In words.
    pub(crate) fn text(self) -> &'static str {
        match self {
            SearchReason::NotCounted => "the source does not count them",
            SearchReason::Asked => "as was asked",
            SearchReason::FewerThanKnown => "records were missing from them",
            SearchReason::MoreThanKnown => "they have more records than expected",
            SearchReason::Moved => "nodes came or went, or partitions were moved, since the parent",
            SearchReason::ClockSet => "a server's clock was set, or the server restarted, since the parent",
            SearchReason::Older => "the parent could not read them",
            SearchReason::Untold => {
                "the servers did not tell how many records they left out: partitions moved meanwhile, or their \
                 query-max-done is 0 or too low"
            }
            SearchReason::Expiring => "records expired while they were counted",
        }
    }
}

impl From<search::WalkReason> for SearchReason {
    fn from(reason: search::WalkReason) -> Self {
        use search::WalkReason;
        match reason {
            WalkReason::NotCounted => SearchReason::NotCounted,
            WalkReason::Asked => SearchReason::Asked,
            WalkReason::FewerThanKnown => SearchReason::FewerThanKnown,
            WalkReason::MoreThanKnown => SearchReason::MoreThanKnown,
            WalkReason::Moved => SearchReason::Moved,
            WalkReason::ClockSet => SearchReason::ClockSet,
            WalkReason::Older => SearchReason::Older,
            WalkReason::Untold => SearchReason::Untold,
            WalkReason::Expiring => SearchReason::Expiring,
        }
    }
}

impl From<&search::DeleteSearch> for SearchReport {
    fn from(search: &search::DeleteSearch) -> Self {
        let walked = search.walked.iter();
        let walked = walked.map(|(reason, n)| WalkedPartitions { partitions: *n, reason: (*reason).into() });
        SearchReport { counted: search.counted, unsearched: search.unsearched, walked: walked.collect() }
    }
}

/// Partitions that could not be read.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct UnreadPartitions {
    /// The number of the first.
    pub first: u32,
    /// The number of the last.
    pub last: u32,
    /// Of when the snapshot has what it holds of them; `null` if it holds nothing.
    pub as_of: Option<String>,
}

impl From<&Unread> for UnreadPartitions {
    fn from(unread: &Unread) -> Self {
        UnreadPartitions { first: unread.first, last: unread.last, as_of: unread.as_of.map(text::rfc3339) }
    }
}

/// What of a namespace could not be read, line by line; each begins with the partitions.
pub(crate) fn unread(manifest: &NamespaceManifest) -> Vec<String> {
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
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RunReport {
    /// The id of the chunk at the root of its tree.
    pub root: String,
    /// The height of the tree.
    pub level: u8,
    /// How many entries it has.
    pub entries: u64,
    /// How many of them are tombstones.
    pub tombstones: u64,
    /// The plain size of its nodes.
    pub tree_bytes: u64,
}

impl From<&RunRef> for RunReport {
    fn from(run: &RunRef) -> Self {
        let RunRef { root, level, entries, tombstones, tree_bytes } = *run;
        RunReport { root: root.to_string(), level, entries, tombstones, tree_bytes }
    }
}

/// A secondary index.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct IndexReport {
    /// Its name.
    pub name: String,
    /// The set that it is on; empty for all.
    pub set: String,
    /// The bin that it is on; empty for an expression or a whole set.
    pub bin: String,
    /// The place inside the bin's lists and maps, the encoded CDT context in base64; absent for the bin itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The encoded expression that it is on, in base64; absent for a bin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
    /// What else the source says of it, such as `indextype=set`; absent for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<String>,
    /// What of the bin it indexes, as `.asb` files write it.
    pub index_type: String,
    /// The type of its values, as `.asb` files write it.
    pub value_type: String,
}

/// A UDF module.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct UdfModule {
    /// Its name.
    pub name: String,
    /// Its language, as `.asb` files write it.
    pub language: String,
    /// Its size.
    pub bytes: usize,
}

/// A setting or the like, as the source stated it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Fact {
    /// What it is about.
    pub topic: String,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// What a role allows.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Privilege {
    /// Its name.
    pub privilege: String,
    /// The namespace that it is for; `null` for all.
    pub namespace: Option<String>,
    /// The set that it is for; `null` for all.
    pub set: Option<String>,
}

/// A role of the cluster.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RoleReport {
    /// Its name.
    pub name: String,
    /// What it allows.
    pub privileges: Vec<Privilege>,
    /// The addresses that it may be used from; empty for all.
    pub allow_list: Vec<String>,
    /// How many reads per second it allows; 0 for any number.
    pub read_quota: u32,
    /// How many writes per second it allows; 0 for any number.
    pub write_quota: u32,
}

impl From<&crate::record::Role> for RoleReport {
    fn from(role: &crate::record::Role) -> Self {
        let scope = |name: &[u8]| (!name.is_empty()).then(|| text::plain(name));
        let privileges = role.privileges.iter().map(|privilege| Privilege {
            privilege: privilege.name().map_or_else(|| privilege.code.to_string(), str::to_string),
            namespace: scope(&privilege.namespace),
            set: scope(&privilege.set),
        });
        let allow_list = role.allow_list.split(|&byte| byte == b',').filter(|address| !address.is_empty());
        RoleReport {
            name: text::plain(&role.name),
            privileges: privileges.collect(),
            allow_list: allow_list.map(text::plain).collect(),
            read_quota: role.read_quota,
            write_quota: role.write_quota,
        }
    }
}

/// A user of the cluster.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct UserReport {
    /// The name.
    pub name: String,
    /// The names of the roles.
    pub roles: Vec<String>,
}

fn base64_if_any(bytes: &[u8]) -> Option<String> {
    (!bytes.is_empty()).then(|| base64_simd::STANDARD.encode_to_string(bytes))
}

/// Indexes, UDF modules and settings of a namespace, users and roles of its cluster.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct NamespaceDetails {
    /// The name of the namespace.
    pub namespace: String,
    /// Its secondary indexes.
    pub indexes: Vec<IndexReport>,
    /// Its UDF modules.
    pub udf_modules: Vec<UdfModule>,
    /// Settings and the like, as the source stated them.
    pub facts: Vec<Fact>,
    /// The roles of its cluster.
    pub roles: Vec<RoleReport>,
    /// The users of its cluster.
    pub users: Vec<UserReport>,
}

impl NamespaceDetails {
    /// Reads those of a namespace.
    pub(super) fn read(view: &NamespaceView<'_>) -> Result<Self> {
        let NamespaceMetadata { indexes, udfs, facts, roles, users } = view.metadata()?;
        let indexes = indexes.iter().map(|index| IndexReport {
            name: text::plain(&index.name),
            set: text::plain(&index.set),
            bin: text::plain(&index.bin),
            context: base64_if_any(&index.context),
            expression: base64_if_any(&index.expression),
            other: (!index.other.is_empty()).then(|| text::plain(&index.other)),
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
        let users = users.iter().map(|user| UserReport {
            name: text::plain(&user.name),
            roles: user.roles.iter().map(|role| text::plain(role)).collect(),
        });
        let namespace = view.manifest().name.clone();
        let (indexes, udf_modules, facts) = (indexes.collect(), udf_modules.collect(), facts.collect());
        Ok(NamespaceDetails {
            namespace,
            indexes,
            udf_modules,
            facts,
            roles: roles.iter().map(RoleReport::from).collect(),
            users: users.collect(),
        })
    }
}

/// A snapshot with its indexes and UDF modules.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SnapshotDetails {
    /// What the snapshot says of itself.
    #[serde(flatten)]
    pub snapshot: SnapshotReport,
    /// The metadata of each namespace, in the same order.
    pub metadata: Vec<NamespaceDetails>,
    /// What of each namespace could not be read, for people.
    #[serde(skip)]
    pub unread: Vec<Vec<String>>,
}

/// A snapshot of which something could not be read.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct DamagedSnapshot {
    /// Its id.
    pub snapshot: String,
    /// Why it can't be read, for people.
    pub problem: String,
}
