//! What a program's own client reads, as a source of backups.

use super::client::{Bins, Client, PartitionFilter, QueryPolicy};
use super::cluster::{clock, namespaces};
use super::record::push_client_record;
use super::scan::Scan;
use crate::control::Control;
use crate::error::{Error, Result};
use crate::record::{NamespaceMetadata, RecordBatch, RecordSelection, Timestamp};
use crate::sources::{BadRecord, RecordSink, RecordSource, SourceShape, StreamSource};
use std::sync::Arc;

/// A batch is handed over once it has so many bytes.
const BATCH_BYTES: usize = 1 << 20;

/// The records that a client of the program's own reads, as a source: with its connections, TLS, user, rack and policy.
///
/// It reads every record of a namespace, or of one set, and the backup stores what the client would write for it. What
/// the client loses on reading ([`TypedLoss`](super::TypedLoss)) is lost in the snapshot, without a trace; a record
/// that the client can't decode ends the backup with an error. `AerospikeSource` (feature `cluster`) reads without
/// loss, follows what changed, and finds deletes at less cost: it is the one for backups that are to be relied on. This
/// one is for programs that may reach the cluster in no other way, and for tests.
pub struct ClientSource {
    client: Arc<Client>,
    name: String,
    set: String,
    policy: QueryPolicy,
}

impl ClientSource {
    /// All records, with the client's default policy of queries.
    pub fn new(client: Arc<Client>) -> Self {
        let name = "the official client".to_string();
        ClientSource { client, name, set: String::new(), policy: QueryPolicy::default() }
    }

    /// Its name for people and for the snapshot; no secrets.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        ClientSource { name: name.into(), ..self }
    }

    /// Only the records of this set.
    #[must_use]
    pub fn set(self, set: impl Into<String>) -> Self {
        ClientSource { set: set.into(), ..self }
    }

    /// The policy of its queries. A filter expression in it selects records: the snapshot names it.
    #[must_use]
    pub fn policy(self, policy: QueryPolicy) -> Self {
        ClientSource { policy, ..self }
    }

    fn error(&self, problem: impl Into<String>) -> Error {
        Error::Source { source_name: self.name.clone(), problem: problem.into() }
    }
}

impl RecordSource for ClientSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn cluster(&self) -> Option<String> {
        self.client.server_cluster_name()
    }

    fn namespaces(&self) -> Result<Vec<String>> {
        namespaces(&self.client).map_err(|problem| self.error(problem))
    }

    fn clock(&self) -> Result<Timestamp> {
        clock(&self.client).map_err(|problem| self.error(problem))
    }

    /// None: the client lists no indexes.
    fn metadata(&self, _: &str) -> Result<NamespaceMetadata> {
        Ok(NamespaceMetadata::default())
    }

    fn selection(&self) -> String {
        let sets = if self.set.is_empty() { Vec::new() } else { vec![self.set.clone().into_bytes()] };
        let filter = self.policy.filter_expression().and_then(|filter| filter.base64().ok());
        let filter = filter.and_then(|text| base64_simd::STANDARD.decode_to_vec(text).ok()).unwrap_or_default();
        RecordSelection { sets, filter, ..RecordSelection::default() }.name()
    }

    fn shape(&self) -> SourceShape<'_> {
        SourceShape::Stream(self)
    }
}

impl StreamSource for ClientSource {
    fn read(&self, namespace: &str, sink: &dyn RecordSink, control: &Control) -> Result<()> {
        let scan = Scan { client: &self.client, policy: &self.policy, namespace, set: &self.set, bins: Bins::All };
        let mut batch = RecordBatch::new();
        let read = scan.read(PartitionFilter::all(), control, |record| {
            let before = batch.byte_len();
            if let Err(problem) = push_client_record(&record, &mut batch) {
                let digest = record.key.as_ref().map(|key| hex::encode(key.digest())).unwrap_or_default();
                let place = format!("namespace {namespace}, record {digest}");
                let error = self.error(format!("{place}: {problem}"));
                return sink.bad_record(BadRecord { place, problem, breaks_off: false }, error);
            }
            control.add_bytes_in(batch.byte_len().saturating_sub(before) as u64);
            if batch.byte_len() < BATCH_BYTES {
                return Ok(());
            }
            sink.records(std::mem::take(&mut batch))
        })?;
        read.map_err(|error| {
            self.error(format!(
                "the query of namespace {namespace} ended: {error}. If there is a record that the client can't decode, \
                 only a backup of aerospike://... reads the namespace"
            ))
        })?;
        if batch.is_empty() { Ok(()) } else { sink.records(batch) }
    }
}
