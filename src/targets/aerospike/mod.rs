//! Writes into a live Aerospike cluster: `aerospike://HOST:PORT[,HOST:PORT…][/NAMESPACE]`.
//!
//! Records are written by their stored digests, with their particles' exact bytes and the user key where one was
//! stored, in batches to the nodes that have their partitions (`write`). A record is always written whole. Each has a
//! result of its own: those that may yet succeed are sent again, those that the server refuses are reported.
//!
//! - *Times to live* are reckoned by the servers' clock, so that a record expires when it would have; one that has
//!   expired meanwhile is not sent.
//! - *Generations* can't be set: a record begins again with 1. They only decide what is newer.
//! - *What can't succeed* for any record (no room, no permission) ends the restore with advice; what one record is
//!   refused for is told of that record.
//! - *In doubt* is a write whose answer was lost. It is sent again; if it then turns out that the record is there, a
//!   look at it tells whether it is ours.

mod advice;
mod encode;
mod metadata;
mod pace;
mod security;
mod unbuilt;
mod write;
mod writer;

use super::{ConflictPolicy, DeleteOutcome, RecordTarget, Remarks, UnbuiltIndex, WriteOutcome};
use crate::aerospike::cluster::{Cluster, ClusterUse};
use crate::aerospike::error::ClusterError;
use crate::aerospike::throttle::Throttle;
use crate::aerospike::wire::info;
use crate::aerospike::wire::write::WriteMode;
use crate::aerospike::{ClusterOptions, ClusterUrl, error, remains};
use crate::error::{Error, Result};
use crate::record::RecordSelection;
use crate::record::{
    Digest, Generation, NamespaceMetadata, PartitionSet, RecordBatch, RecordMeta, SecondaryIndex, Timestamp, VoidTime,
};
use crate::sources::RecordSource;
use crate::sources::aerospike::AerospikeSource;
use crate::sync::lock;
use std::collections::BTreeSet;
use std::sync::Mutex;
use writer::Writer;

/// Records that are deleted in one go.
const DELETES_AT_ONCE: usize = 10_000;

/// A live cluster as a target.
pub struct AerospikeTarget {
    writer: Writer,
    url: ClusterUrl,
    name: String,
    /// The namespace that the URL names: what is written goes there, whatever it is called in the snapshot.
    only: Option<String>,
    /// The namespace that began first.
    first: Mutex<Option<String>>,
    /// Namespaces into which something was written.
    written: Mutex<BTreeSet<String>>,
}

impl AerospikeTarget {
    /// Connects to a cluster.
    ///
    /// # Errors
    ///
    /// If no node can be reached, or the cluster wants another user or password or TLS.
    pub fn connect(url: &ClusterUrl, options: ClusterOptions) -> Result<Self> {
        let name = url.to_string();
        let throttle = Throttle::new(options.records_per_second, options.bytes_per_second);
        let cluster = Cluster::connect(url, options, ClusterUse::Write).map_err(|error| error.of_target(&name))?;
        let target = Self {
            writer: Writer::new(cluster, throttle),
            url: url.clone(),
            name,
            only: url.namespace.clone(),
            first: Mutex::default(),
            written: Mutex::default(),
        };
        if let Some(namespace) = &target.only {
            target.check_namespace(namespace)?;
        }
        Ok(target)
    }

    fn named<T>(&self, result: error::Result<T>) -> Result<T> {
        result.map_err(|error| error.of_target(&self.name))
    }

    /// What a namespace of the snapshot is called here.
    fn namespace<'a>(&'a self, namespace: &'a str) -> &'a str {
        self.only.as_deref().unwrap_or(namespace)
    }

    /// Refuses a namespace that can't be restored into; its name here.
    fn check<'a>(&'a self, first: &Option<String>, namespace: &'a str) -> Result<&'a str> {
        if self.only.is_some() && first.as_deref().is_some_and(|first| first != namespace) {
            return Err(Error::usage(format!(
                "{}: several namespaces can't be restored into one; leave the namespace out of the address",
                self.name
            )));
        }
        let namespace = self.namespace(namespace);
        self.check_namespace(namespace)?;
        self.named(self.look_at(namespace))?;
        Ok(namespace)
    }

    /// Makes what is missing of the metadata, or only looks at what is there.
    fn put_metadata(&self, namespace: &str, metadata: &NamespaceMetadata, only_look: bool) -> Result<Remarks> {
        let cluster = &self.writer.cluster;
        let mut omissions = self.named(metadata::create(cluster, namespace, metadata, only_look))?;
        omissions.extend(self.named(security::create(cluster, metadata, only_look))?);
        Ok(Remarks { omissions, ..Remarks::default() })
    }

    fn check_namespace(&self, namespace: &str) -> Result<()> {
        let there = self.writer.cluster.topology().namespaces();
        if there.iter().any(|name| name == namespace) {
            return Ok(());
        }
        let found = if there.is_empty() { "none".to_string() } else { there.join(", ") };
        self.named(Err(ClusterError::Other(format!(
            "the cluster has no namespace {namespace:?}, its namespaces are: {found}. Namespaces are made in the \
             servers' configuration; to restore into another one, put its name after the address or give `rename`"
        ))))
    }

    /// Looks at what would keep all writes from succeeding.
    fn look_at(&self, namespace: &str) -> error::Result<()> {
        let statistics =
            self.writer.cluster.info_of_all(&format!("namespace/{namespace}"), "a namespace's statistics")?;
        for statistics in statistics {
            let is = |name: &str| info::value(&statistics, b';', name);
            let reason = match (is("stop_writes"), is("clock_skew_stop_writes")) {
                (Some(b"true"), _) => format!(
                    "it is at stop-writes: its memory, storage or index is too full{}. Make room there first",
                    advice::fullness(&statistics)
                ),
                (_, Some(b"true")) => "the nodes' clocks are too far apart. Set them first".to_string(),
                _ => String::new(),
            };
            if !reason.is_empty() {
                return Err(ClusterError::Other(format!("namespace {namespace} takes no writes just now: {reason}")));
            }
            let no_nsup = is("nsup-period") == Some(b"0") && is("allow-ttl-without-nsup") == Some(b"false");
            if no_nsup {
                self.writer.note_without_expiry(namespace);
            }
        }
        Ok(())
    }
}

impl RecordTarget for AerospikeTarget {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_live(&self) -> bool {
        true
    }

    fn clock(&self) -> Result<Timestamp> {
        self.named(self.writer.now())
    }

    fn preview_begin(&self, namespace: &str, metadata: &NamespaceMetadata) -> Result<Remarks> {
        let namespace = self.check(&lock(&self.first).clone(), namespace)?;
        self.put_metadata(namespace, metadata, true)
    }

    /// As far as that can be told without asking a server.
    fn preview_write(&self, namespace: &str, batch: &RecordBatch, policy: ConflictPolicy) -> Result<WriteOutcome> {
        self.named(write::rehearse(&self.writer, self.namespace(namespace), batch, policy))
    }

    fn begin(&self, namespace: &str, metadata: &NamespaceMetadata) -> Result<Remarks> {
        let mut first = lock(&self.first);
        let there = self.check(&first, namespace)?;
        first.get_or_insert_with(|| namespace.to_string());
        drop(first);
        lock(&self.written).insert(there.to_string());
        self.put_metadata(there, metadata, false)
    }

    fn add_metadata(&self, namespace: &str, metadata: &NamespaceMetadata) -> Result<Remarks> {
        self.put_metadata(self.namespace(namespace), metadata, false)
    }

    fn write(&self, namespace: &str, batch: &RecordBatch, policy: ConflictPolicy) -> Result<WriteOutcome> {
        self.named(write::write(&self.writer, self.namespace(namespace), batch, encode::mode(policy)))
    }

    fn unbuilt_indexes(&self, namespace: &str, indexes: &[SecondaryIndex]) -> Result<Vec<UnbuiltIndex>> {
        self.named(unbuilt::look(&self.writer.cluster, self.namespace(namespace), indexes))
    }

    /// On the Enterprise Edition with tombstones, so that no restart of a node brings the records back.
    fn delete(&self, namespace: &str, digests: &[Digest]) -> Result<DeleteOutcome> {
        let mut outcome = DeleteOutcome::default();
        let topology = self.writer.cluster.topology();
        let durable = topology.nodes.values().all(|node| node.edition.contains("Enterprise"));
        for digests in digests.chunks(DELETES_AT_ONCE) {
            let mut batch = RecordBatch::new();
            for &digest in digests {
                let (generation, void_time) = (Generation(0), VoidTime::NEVER);
                let pushed = batch.push(RecordMeta { digest, set: b"", generation, void_time }, None, &[]);
                pushed.map_err(|error| Error::invalid(format!("record {digest}: {error}")))?;
            }
            let mode = WriteMode::Delete { durable };
            let deleted = self.named(write::write(&self.writer, self.namespace(namespace), &batch, mode))?;
            outcome.deleted += deleted.written;
            outcome.failed.extend(deleted.failed);
        }
        Ok(outcome)
    }

    fn read_back(&self, set: Option<&[u8]>) -> Result<Option<Box<dyn RecordSource>>> {
        let sets = set.filter(|set| !set.is_empty()).map(<[u8]>::to_vec).into_iter().collect();
        let selection = RecordSelection { sets, ..RecordSelection::default() };
        let options = ClusterOptions { selection, ..self.writer.cluster.options().clone() };
        Ok(Some(Box::new(AerospikeSource::connect(&self.url, options)?)))
    }

    fn name_of<'a>(&'a self, namespace: &'a str) -> &'a str {
        self.namespace(namespace)
    }

    /// Looks whether what was written is there still.
    fn finish(&self) -> Result<()> {
        let written = lock(&self.written).clone();
        if written.is_empty() {
            return Ok(());
        }
        let namespaces = written.iter().map(String::as_str);
        self.named(remains::check(&self.writer.cluster, namespaces, &PartitionSet::all(), "written into"))
    }
}
