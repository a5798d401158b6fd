//! How often and how long reading is tried again, when nodes go, come, or merge partitions.

use crate::aerospike::cluster::Cluster;
use crate::aerospike::error::{ClusterError, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Once partitions were given up, others are asked for so often in vain at most.
pub(super) const ATTEMPTS_AFTER_LOSSES: u32 = 2;

/// How often and how long something is tried again.
pub(super) struct Patience<'a> {
    cluster: &'a Cluster,
    stop: &'a AtomicBool,
    pub(super) attempts: u32,
    pub(super) failures: u32,
    /// How long a node that is gone is waited for.
    pub(super) absence: Duration,
    /// Whether all that is left waits for nodes that are gone.
    pub(super) awaited: bool,
    waiting_since: Option<Instant>,
    /// When the last partition came, or the first was asked for.
    progressed: Instant,
    /// Whether all that is left waits for servers that put partitions together, and come on with it.
    pub(super) merging: bool,
    /// How many partitions the servers had still to move when they were asked last.
    migrations: Option<u64>,
    last: Option<ClusterError>,
}

/// Whether to try again.
pub(super) enum Round {
    Next,
    GiveUp,
}

impl<'a> Patience<'a> {
    pub(super) fn new(cluster: &'a Cluster, stop: &'a AtomicBool) -> Self {
        let (attempts, absence) = (cluster.options().attempts.max(1), cluster.options().absence);
        Self {
            cluster,
            stop,
            attempts,
            failures: 0,
            absence,
            awaited: false,
            waiting_since: None,
            progressed: Instant::now(),
            merging: false,
            migrations: None,
            last: None,
        }
    }

    /// Whether the servers move partitions of a namespace, and have come on since they were asked last, or begun again.
    pub(super) fn migrations_go_on(&mut self, namespace: &str) -> bool {
        let left = self.cluster.migrations_left(namespace);
        let before = std::mem::replace(&mut self.migrations, left);
        left.is_some_and(|left| left > 0) && left != before
    }

    pub(super) fn failed(&mut self, error: ClusterError) {
        self.last = Some(error);
    }

    /// A round is over: nothing to do if all is done; else waits and looks at the cluster again, or gives up after too
    /// many rounds in a row that brought nothing.
    pub(super) fn round(&mut self, version: u64, progress: bool, done: bool) -> Result<()> {
        let last = self.last.take();
        match self.next_round(version, progress, done)? {
            Round::Next => Ok(()),
            Round::GiveUp => {
                let problem = last.map_or_else(|| "nothing came".to_string(), |error| error.to_string());
                Err(ClusterError::Other(self.gave_up(&problem)))
            }
        }
    }

    pub(super) fn gave_up(&self, problem: &str) -> String {
        match self.waiting_since {
            _ if self.cluster.is_over_time(self.progressed) => {
                let seconds = self.progressed.elapsed().as_secs();
                format!("gave up after {seconds} s, as `total_timeout` says; the last: {problem}")
            }
            Some(since) if self.absence > Duration::ZERO && since.elapsed() >= self.absence => {
                format!("gave up after {} s; the last: {problem}", since.elapsed().as_secs())
            }
            _ => format!("gave up after {} attempts; the last: {problem}", self.attempts),
        }
    }

    pub(super) fn next_round(&mut self, version: u64, progress: bool, done: bool) -> Result<Round> {
        if done {
            return Ok(Round::Next);
        }
        let awaited = std::mem::take(&mut self.awaited);
        let merging = std::mem::take(&mut self.merging);
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        if progress {
            self.progressed = Instant::now();
        }
        self.failures = match () {
            () if progress => 1,
            () if merging => (self.failures + 1).min(self.attempts.saturating_sub(1)),
            () if awaited && since.elapsed() < self.absence => self.failures.max(1),
            () => self.failures + 1,
        };
        if self.failures >= self.attempts || self.cluster.is_over_time(self.progressed) {
            return Ok(Round::GiveUp);
        }
        rest(self.cluster.wait_after(self.failures), self.stop);
        if self.stop.load(Ordering::Relaxed) {
            return Err(ClusterError::Other("reading was stopped".into()));
        }
        // If even this fails, the old map may still do: the next round tells.
        let _ = self.cluster.refresh(version);
        Ok(Round::Next)
    }
}

/// Waits, but not beyond `stop`.
pub(super) fn rest(mut time: Duration, stop: &AtomicBool) {
    while !time.is_zero() && !stop.load(Ordering::Relaxed) {
        let nap = time.min(Duration::from_millis(50));
        std::thread::sleep(nap);
        time -= nap;
    }
}
