//! Reading and writing clusters. The tests in `conformance`, `counts`, `official`, `restore`, `restore_options` and
//! `selection` run against the cluster whose address is in `AEROLITH_TEST_CLUSTER` (its namespace `test`), and without
//! it against the small one of `tests/support/cluster`. The others need the small one.

mod cluster {
    use super::*;

    mod conformance;
    mod counts;
    mod deletes;
    mod faults;
    mod histories;
    mod large;
    mod left_out;
    mod login;
    mod losses;
    #[cfg(feature = "official-client")]
    mod official;
    mod partial;
    mod program;
    mod random_resume;
    mod reaching;
    mod recorded;
    mod restore;
    mod restore_faults;
    mod restore_options;
    mod resume;
    mod selection;
    mod tls;
    mod town;
    mod users;
    mod verify;
    mod waiting;
}
mod support;

use aerolith::record::{Digest, PartitionId, RecordBatch, RecordSelection, Timestamp};
use aerolith::{AerospikeSource, AerospikeTarget, ClusterOptions, ClusterUrl, DigestRow, PartitionedSource};
use std::collections::BTreeMap;
use std::time::Duration;

const NAMESPACE: &str = "test";

/// A record, as tests compare it: set, key (its type first), generation, void time, bins in the source's order.
#[derive(Clone, Debug, PartialEq)]
struct Found {
    set: Vec<u8>,
    key: Vec<u8>,
    generation: u32,
    void_time: u32,
    bins: Vec<support::cluster::data::Bin>,
}

fn take(batch: &RecordBatch, found: &mut BTreeMap<[u8; 20], Found>) {
    for record in batch.iter() {
        let body = record.parse().unwrap();
        let key = body.key().map(|key| [&[key.particle.0], key.bytes].concat()).unwrap_or_default();
        let bins = record.in_source_order(body.bins());
        let one = Found {
            set: record.meta.set.to_vec(),
            key,
            generation: record.meta.generation.0,
            void_time: record.meta.void_time.0,
            bins: bins.iter().map(|bin| (bin.name.to_vec(), bin.particle.0, bin.bytes.to_vec())).collect(),
        };
        assert_eq!(found.insert(record.meta.digest.0, one), None, "{} came twice", record.meta.digest);
    }
}

/// Options that make tests end soon.
fn quick(set: &[u8]) -> ClusterOptions {
    ClusterOptions::default()
        .selection(RecordSelection::default().sets(if set.is_empty() { vec![] } else { vec![set.to_vec()] }))
        .socket_timeout(Duration::from_secs(20))
        .attempts(4)
        .absence(Duration::from_secs(5))
}

fn connect(address: &str, options: ClusterOptions) -> aerolith::Result<AerospikeSource> {
    AerospikeSource::connect(&ClusterUrl::parse(&format!("aerospike://{address}/{NAMESPACE}"))?, options)
}

fn target(address: &str, namespace: &str) -> aerolith::Result<AerospikeTarget> {
    AerospikeTarget::connect(&ClusterUrl::parse(&format!("aerospike://{address}{namespace}"))?, quick(b""))
}

/// All that a source holds, in batches.
fn batches(source: &AerospikeSource) -> Vec<RecordBatch> {
    let mut all = Vec::new();
    for partition in PartitionId::all() {
        let mut add = |batch| {
            all.push(batch);
            Ok(())
        };
        source.scan(NAMESPACE, partition, None, &mut add).unwrap();
    }
    all
}

/// Adds one batch to another.
fn joined(batches: &[RecordBatch]) -> RecordBatch {
    let mut all = RecordBatch::new();
    for record in batches.iter().flat_map(RecordBatch::iter) {
        all.push_encoded(record.meta, record.body, record.bin_order).unwrap();
    }
    all
}

fn scan(source: &AerospikeSource, since: Option<Timestamp>) -> aerolith::Result<BTreeMap<[u8; 20], Found>> {
    let mut found = BTreeMap::new();
    for partition in PartitionId::all() {
        source.scan(NAMESPACE, partition, since, &mut |batch| {
            take(&batch, &mut found);
            Ok(())
        })?;
    }
    Ok(found)
}

fn walk(source: &AerospikeSource) -> aerolith::Result<BTreeMap<[u8; 20], DigestRow>> {
    let mut found = BTreeMap::new();
    for partition in PartitionId::all() {
        source.walk(NAMESPACE, partition, None, &mut |rows| {
            for row in rows {
                assert_eq!(row.digest.partition(), partition);
                assert_eq!(found.insert(row.digest.0, *row), None, "{} came twice", row.digest);
            }
            Ok(())
        })?;
    }
    Ok(found)
}

fn read(source: &AerospikeSource, digests: &[[u8; 20]]) -> aerolith::Result<BTreeMap<[u8; 20], Found>> {
    let mut found = BTreeMap::new();
    let digests: Vec<Digest> = digests.iter().map(|digest| Digest(*digest)).collect();
    source.read(NAMESPACE, &digests, &mut |batch| {
        take(&batch, &mut found);
        Ok(())
    })?;
    Ok(found)
}
