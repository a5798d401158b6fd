//! What every write into a cluster goes by: the cluster, how fast, the servers' clock, and what they are known to
//! refuse.

use super::pace::Pace;
use crate::aerospike::cluster::Cluster;
use crate::aerospike::error;
use crate::aerospike::throttle::Throttle;
use crate::aerospike::wire::write::{NEVER_EXPIRES, RecordWrite};
use crate::record::Timestamp;
use crate::sync::lock;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The servers' clock is looked at this often; in between ours counts on.
const CLOCK_LASTS: Duration = Duration::from_secs(10);

/// How a cluster is written to.
pub struct Writer {
    /// The cluster.
    pub cluster: Cluster,
    /// The limits that the user gave.
    pub throttle: Throttle,
    /// How fast the servers take what is sent.
    pub pace: Pace,
    clock: Mutex<Option<(Timestamp, Instant)>>,
    /// Namespaces that take no record that expires.
    without_expiry: Mutex<BTreeSet<String>>,
}

impl Writer {
    /// A writer into a cluster, within limits.
    pub fn new(cluster: Cluster, throttle: Throttle) -> Self {
        Writer { cluster, throttle, pace: Pace::default(), clock: Mutex::default(), without_expiry: Mutex::default() }
    }

    /// Notes that a namespace takes no record that expires.
    pub fn note_without_expiry(&self, namespace: &str) {
        lock(&self.without_expiry).insert(namespace.to_string());
    }

    /// Why the servers would refuse a write for its time to live.
    pub fn forbids(&self, namespace: &str, write: &RecordWrite<'_>) -> Option<String> {
        let expires = ![0, NEVER_EXPIRES].contains(&write.time_to_live);
        (expires && lock(&self.without_expiry).contains(namespace)).then(|| {
            format!(
                "it expires, and namespace {namespace} takes no such records while its nsup-period is 0: set a \
                 nsup-period there, or do away with times to live by `expiry`"
            )
        })
    }

    /// The servers' time. Between two looks at it our clock counts on.
    pub fn now(&self) -> error::Result<Timestamp> {
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
