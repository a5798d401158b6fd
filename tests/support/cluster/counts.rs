//! What servers count: the records of each partition, and what became of the records of each query.

use super::data::EPOCH;
use super::{NodeFacts, Shared};

/// How many queries that have ended a server remembers, if nobody says otherwise.
pub const REMEMBERED: usize = 100;

/// A query that has ended.
#[derive(Clone, Debug, Default)]
pub struct Query {
    pub id: u64,
    pub namespace: String,
    pub set: Vec<u8>,
    pub partitions: usize,
    pub digests: usize,
    /// Records that its filter excluded by their metadata. Those that have expired, were truncated or are of another
    /// set are in none of these numbers.
    pub filtered_meta: u64,
    /// Records that its filter excluded by their bins.
    pub filtered_bins: u64,
    pub succeeded: u64,
    /// Records that could not be read.
    pub failed: u64,
}

impl NodeFacts {
    /// Remembers a query, and forgets the oldest ones.
    pub fn remember(&mut self, query: Query, at_most: usize) {
        self.queries.push_back(query);
        while self.queries.len() > at_most {
            self.queries.pop_front();
        }
    }
}

impl Query {
    fn describe(&self) -> String {
        let set = match self.set.is_empty() {
            true => String::new(),
            false => format!(":set={}", String::from_utf8_lossy(&self.set)),
        };
        format!(
            "trid={}:ns={}{set}:n-pids-requested={}:n-keyds-requested={}:rps=0:active-threads=0:status=done(ok):\
             job-progress=100.00:run-time=1:time-since-done=0:recs-throttled=0:recs-filtered-meta={}:\
             recs-filtered-bins={}:recs-succeeded={}:recs-failed={}:from=127.0.0.1+40000:job-type=basic:\
             net-io-bytes=30:net-io-time=0:socket-timeout=30000",
            self.id,
            self.namespace,
            self.partitions,
            self.digests,
            self.filtered_meta,
            self.filtered_bins,
            self.succeeded,
            self.failed
        )
    }
}

/// The answer to `query-show`: one query, or all that the node remembers.
pub fn query_show(node: &NodeFacts, id: Option<&String>) -> String {
    let Some(id) = id else {
        return node.queries.iter().map(Query::describe).collect::<Vec<_>>().join(";");
    };
    match id.parse::<u64>() {
        Err(_) | Ok(0) => "ERROR:4:bad id".into(),
        Ok(id) => {
            let query = node.queries.iter().rev().find(|query| query.id == id);
            query.map_or_else(|| "ERROR:2:job not found".into(), Query::describe)
        }
    }
}

/// The answer to `partition-info`: what the node has of each partition.
pub fn partition_info(shared: &Shared, node: usize) -> String {
    let mut rows = vec![
        "namespace:partition:state:n_replicas:replica:succession:n_dupl:working_master:proxy_dst:emigrates:\
         lead_emigrates:immigrates:records:tombstones:regime:tree_id:version:final_version"
            .to_string(),
    ];
    let copies = if shared.copies { 2 } else { 1 };
    for (name, namespace) in &shared.namespaces {
        for (number, records) in namespace.counts().into_iter().enumerate() {
            let owner = shared.owners[number];
            let master = owner.map_or("0", |owner| &shared.nodes[owner].name);
            let (state, replica, records, version) = match owner {
                Some(owner) if owner == node => ('S', 0, records, format!("{:012x}.0.mp-", shared.key)),
                Some(_) if shared.copies => ('S', 1, records, format!("{:012x}.0.-p-", shared.key)),
                _ => ('A', -1, 0, "000000000000.0.-p-".to_string()),
            };
            rows.push(format!(
                "{name}:{number}:{state}:{copies}:{replica}:{}:0:{master}:{master}:0:0:0:{records}:0:{}:1:{version}:\
                 {version}",
                replica.max(0),
                shared.regime
            ));
        }
    }
    rows.join(";")
}

impl Shared {
    /// The nodes read their devices for so many records.
    pub fn read_device(&mut self, node: usize, records: u64) {
        if self.on_device {
            self.nodes[node].device_reads += records;
        }
    }

    /// Removes what has expired, as the servers do from time to time: until then it is counted, and in no answer.
    pub fn sweep(&mut self) {
        let now = super::serve::clock(self);
        for namespace in self.namespaces.values_mut() {
            namespace.records.retain(|_, record| !record.expired(now));
        }
    }

    /// Removes what is left of truncated records.
    pub fn end_truncations(&mut self) {
        self.namespaces.values_mut().for_each(|namespace| namespace.remains.clear());
    }

    /// Whether a record of a set that was updated then was truncated since: servers don't take such a record from
    /// others.
    pub fn is_truncated(&self, namespace: &str, set: &[u8], updated: u64) -> bool {
        let of = |set: &[u8]| self.truncated.get(&(namespace.to_string(), set.to_vec())).copied().unwrap_or(0);
        updated / 1_000_000 < (of(b"").max(of(set)) + EPOCH * 1000)
    }
}
