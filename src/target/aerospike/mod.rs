//! Writes into a live Aerospike cluster: `aerospike://HOST:PORT[,HOST:PORT…][/NAMESPACE]`.
//!
//! Records are written by their stored digests, with their particles' exact bytes and the user key where one was stored, in
//! batches to the nodes that have their partitions (`write`). A record is always written whole. Each has a result of its
//! own: those that may yet succeed are sent again, those that the server refuses are reported.
//!
//! - *Times to live* are reckoned by the servers' clock, so that a record expires when it would have; one that has expired
//!   meanwhile is not sent.
//! - *Generations* can't be set: a record begins anew with 1. They only decide what is newer.
//! - *In doubt* is a write whose answer was lost. It is sent again; if it then turns out that the record is there, a look at
//!   it tells whether it is ours.

mod encode;
mod metadata;
mod pace;
mod write;

use super::{ConflictPolicy, RecordTarget, WriteOutcome};
use crate::error::{Error, Result};
use crate::record::{NamespaceMetadata, RecordBatch, Timestamp};
use crate::source::aerospike::cluster::{Cluster, ClusterUse};
use crate::source::aerospike::error::ClusterError;
use crate::source::aerospike::throttle::Throttle;
use crate::source::aerospike::{ClusterOptions, ClusterUrl, error};
use crate::sync::lock;
use pace::Pace;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The servers' clock is looked at this often; in between ours counts on.
const CLOCK_LASTS: Duration = Duration::from_secs(10);

/// A live cluster as a target.
pub struct AerospikeTarget {
    cluster: Cluster,
    name: String,
    /// The namespace that the URL names: what is written goes there, whatever it is called in the snapshot.
    only: Option<String>,
    /// The namespace that began first, where the URL names one.
    first: Mutex<Option<String>>,
    throttle: Throttle,
    pace: Pace,
    clock: Mutex<Option<(Timestamp, Instant)>>,
    omissions: Mutex<Vec<String>>,
}

impl AerospikeTarget {
    /// Connects to a cluster.
    pub fn connect(url: &ClusterUrl, options: ClusterOptions) -> Result<Self> {
        let name = url.to_string();
        let throttle = Throttle::new(options.records_per_second, options.bytes_per_second);
        let cluster = Cluster::connect(url, options, ClusterUse::Write).map_err(|error| error.of_target(&name))?;
        let target = Self {
            cluster,
            name,
            only: url.namespace.clone(),
            first: Mutex::default(),
            throttle,
            pace: Pace::default(),
            clock: Mutex::default(),
            omissions: Mutex::default(),
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

    fn check_namespace(&self, namespace: &str) -> Result<()> {
        let there = self.cluster.topology().namespaces();
        if there.iter().any(|name| name == namespace) {
            return Ok(());
        }
        let found = if there.is_empty() { "none".to_string() } else { there.join(", ") };
        self.named(Err(ClusterError::Other(format!(
            "the cluster has no namespace {namespace:?}, its namespaces are: {found}. Namespaces are made in the servers' \
             configuration; to restore into another one, put its name behind the address or give --rename"
        ))))
    }

    /// The servers' time. Between two looks at it our clock counts on.
    fn now(&self) -> error::Result<Timestamp> {
        let mut known = lock(&self.clock);
        if let Some((time, seen)) = *known
            && seen.elapsed() < CLOCK_LASTS
        {
            let passed = u64::try_from(seen.elapsed().as_millis()).unwrap_or(u64::MAX);
            return Ok(Timestamp(time.0.saturating_add(passed)));
        }
        let time = self.cluster.clock()?;
        *known = Some((time, Instant::now()));
        Ok(time)
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
        self.named(self.now())
    }

    fn begin(&self, namespace: &str, metadata: &NamespaceMetadata) -> Result<()> {
        if self.only.is_some() {
            let mut first = lock(&self.first);
            if first.get_or_insert_with(|| namespace.to_string()) != namespace {
                return Err(Error::usage(format!(
                    "{}: several namespaces can't be restored into one; leave the namespace out of the address",
                    self.name
                )));
            }
        }
        let namespace = self.namespace(namespace);
        self.check_namespace(namespace)?;
        let omitted = self.named(metadata::create(&self.cluster, namespace, metadata))?;
        lock(&self.omissions).extend(omitted);
        Ok(())
    }

    fn write(&self, namespace: &str, batch: &RecordBatch, policy: ConflictPolicy) -> Result<WriteOutcome> {
        self.named(write::write(self, self.namespace(namespace), batch, policy))
    }

    fn finish(&self) -> Result<()> {
        Ok(())
    }

    fn omissions(&self) -> Vec<String> {
        lock(&self.omissions).clone()
    }
}
