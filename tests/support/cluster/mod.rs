//! A small cluster of servers that speak Aerospike's wire protocol over TCP, on top of maps in memory.
//!
//! It was written from the protocol alone and shares no code with the library, so that both have to be wrong in the
//! same way for a test to pass wrongly. A [`TestCluster`] has one or more nodes that share the data; each partition
//! belongs to one of them and can be moved. Nodes can be told to misbehave ([`Fault`]).

#![allow(dead_code)]

pub mod client;
mod counts;
pub mod data;
mod filter;
mod hooks;
mod info;
pub mod protocol;
mod security;
mod serve;

use data::Namespace;
use hooks::Hook;
pub use hooks::Moment;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a server does wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Closes the connection after so many frames of an answer.
    Close(usize),
    /// Waits before the answer.
    Slow(Duration),
    /// Answers with this code alone.
    Refuse(u8),
    /// Says of this partition that it is not there, and leaves out its records.
    Partition(u16, u8),
    /// Sends a frame of another protocol version.
    Version,
    /// Announces a frame of so many bytes, and ends.
    Length(u64),
    /// Sends the answer with one byte changed in the middle of its first frame.
    Damage,
    /// Ends the answer without its last message, and leaves the connection open.
    NoEnd,
    /// Leaves out the record with this digest, as if it could not be read from storage; by digest it answers with the
    /// code.
    Unreadable([u8; 20], u8),
    /// Answers the write of the record with this digest with the code, and does not carry it out.
    RefuseRecord([u8; 20], u8),
    /// Answers the second row of the record with this digest, the one of set and key, with the code.
    RefuseIdentity([u8; 20], u8),
    /// Leaves the row of the record with this digest out of the answer, and does not carry it out.
    Unanswered([u8; 20]),
    /// Sends the first bin of the record with this digest twice.
    DuplicateBin([u8; 20]),
}

/// Which requests a fault is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// Partition queries.
    Query,
    /// Batches.
    Batch,
    /// Single and batch writes.
    Write,
    /// Info requests.
    Info,
}

/// A user who may log in.
#[derive(Clone, Debug, Default)]
pub struct User {
    pub credential: Vec<u8>,
    pub clear_password: Option<Vec<u8>>,
    pub roles: Vec<String>,
}

/// What all nodes share.
#[derive(Default)]
pub struct Shared {
    pub namespaces: BTreeMap<String, Namespace>,
    /// The index of the node that has a partition.
    pub owners: Vec<Option<usize>>,
    /// Whether the other nodes have copies of a node's partitions.
    pub copies: bool,
    pub regime: u32,
    pub generation: u64,
    pub cluster_name: String,
    pub nodes: Vec<NodeFacts>,
    pub indexes: Vec<BTreeMap<String, String>>,
    /// So many lists of indexes are still without any.
    pub unlisted: usize,
    /// So many lists of indexes still say that they are being built.
    pub building: usize,
    /// What nodes say of how all indexes stand, if not that: `RW` for built, `WO` for being built, `ERROR`,
    /// or nothing.
    pub index_states: BTreeMap<usize, &'static str>,
    /// How much of each index the nodes have built, as they say.
    pub percent_built: u32,
    pub modules: BTreeMap<String, String>,
    pub users: BTreeMap<String, User>,
    /// The fields of each role but its name, as they travel.
    pub roles: BTreeMap<String, Vec<(u8, Vec<u8>)>>,
    /// Whether roles with quotas are refused.
    pub no_quotas: bool,
    pub tokens: HashMap<Vec<u8>, bool>,
    pub faults: Vec<(usize, On, Fault, usize)>,
    /// How many queries that have ended a node remembers.
    pub remembered: usize,
    /// How many records more than they sent the nodes say that each query delivered.
    pub overcounted: u64,
    /// What happens before servers do something.
    hooks: Vec<Hook>,
    /// What was asked, for tests to look at.
    pub log: Vec<String>,
    /// The most milliseconds that a batch was allowed to take.
    pub longest_batch: u32,
    pub features: String,
    pub build: String,
    pub edition: String,
    /// Whether it says that it has no addresses to be reached by over TLS.
    pub tells_no_tls: bool,
    /// The partitions of which no node has a copy any more, and which are empty now.
    pub fresh: BTreeSet<u16>,
    /// How many of them the nodes speak of: those of the last change.
    pub fresh_told: usize,
    /// How many partitions they say that they have still to move; one less each time that they are asked.
    pub migrations: usize,
    /// What changes whenever nodes come or go.
    pub key: u64,
    /// For each namespace and set (empty for the whole namespace) the milliseconds since the servers' epoch until which
    /// it was truncated.
    pub truncated: BTreeMap<(String, Vec<u8>), u64>,
    /// Whether the servers take a while to remove what was truncated: until [`Shared::end_truncations`].
    pub slow_truncation: bool,
    /// Sets that were there once, by namespace.
    pub sets: BTreeSet<(String, Vec<u8>)>,
    /// Whether records survive a restart of their node.
    pub on_device: bool,
    /// Nanoseconds that the servers' clock is ahead of ours.
    pub clock_ahead: i64,
}

/// One node, as others see it.
#[derive(Clone, Debug)]
pub struct NodeFacts {
    pub name: String,
    pub address: SocketAddr,
    pub rack: Option<u32>,
    pub down: bool,
    /// Seconds that its clock is behind the others'.
    pub behind: u64,
    /// When its process began, in seconds since the Unix epoch by the machine's clock.
    pub started: u64,
    /// Records for which it read its device.
    pub device_reads: u64,
    /// The queries that have ended, oldest first.
    queries: VecDeque<counts::Query>,
}

/// A running cluster; it ends when dropped.
pub struct TestCluster {
    shared: Arc<Mutex<Shared>>,
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicU64>,
    open: Arc<Mutex<Vec<(usize, TcpStream)>>>,
}

impl Shared {
    /// Nodes came or went.
    pub fn change(&mut self) {
        self.generation += 1;
        self.regime += 1;
        self.key += 1;
        if self.fresh_told == self.fresh.len() {
            self.fresh_told = 0;
        } else {
            self.fresh_told = self.fresh.len();
        }
    }

    /// The records of these partitions are gone.
    fn lose(&mut self, partitions: &[u16]) {
        self.fresh = partitions.iter().copied().collect();
        for namespace in self.namespaces.values_mut() {
            namespace.records.retain(|digest, _| !partitions.contains(&data::partition(digest)));
            namespace.remains.retain(|digest| !partitions.contains(&data::partition(digest)));
        }
    }

    /// The servers' clock, in nanoseconds since the Unix epoch.
    pub fn clock(&self) -> u64 {
        serve::clock(self)
    }

    /// Lets time pass: for the servers' clocks and their processes alike.
    pub fn pass(&mut self, seconds: u32) {
        self.clock_ahead += i64::from(seconds) * 1_000_000_000;
        self.nodes.iter_mut().for_each(|node| node.started -= u64::from(seconds));
    }

    /// Deletes the records of a set, or all of a namespace, that were updated up to a time in nanoseconds since the
    /// Unix epoch. What was updated later stays.
    pub fn truncate_until(&mut self, namespace: &str, set: &[u8], time: u64) {
        let Some(records) = self.namespaces.get_mut(namespace) else { return };
        let sets: BTreeSet<Vec<u8>> = records.records.values().map(|record| record.set.clone()).collect();
        let hit = |record: &data::Record| (set.is_empty() || record.set == set) && record.updated <= time;
        for (digest, _) in records.records.extract_if(.., |_, record| hit(record)) {
            if self.slow_truncation {
                records.remains.insert(digest);
            }
        }
        self.sets.extend(sets.into_iter().map(|set| (namespace.to_string(), set)));
        // A truncation never takes back a later one.
        let until = self.truncated.entry((namespace.to_string(), set.to_vec())).or_default();
        *until = (*until).max(time / 1_000_000 - data::EPOCH * 1000);
    }
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TestCluster {
    /// Starts `nodes` nodes with the namespaces `test` and `bar`; partitions go round.
    pub fn start(nodes: usize) -> Self {
        Self::start_with(nodes, None)
    }

    /// The same, but every connection has to begin TLS.
    pub fn start_with(nodes: usize, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let shared = Shared {
            namespaces: ["test", "bar"].map(|name| (name.to_string(), Namespace::default())).into(),
            owners: (0..4096).map(|partition| Some(partition % nodes)).collect(),
            cluster_name: "small".into(),
            build: "8.1.2.0".into(),
            edition: "Small Edition".into(),
            key: 0xa1,
            features: "batch-any;pquery;pscans;replicas".into(),
            remembered: counts::REMEMBERED,
            percent_built: 40,
            ..Shared::default()
        };
        let cluster = Self {
            shared: Arc::new(Mutex::new(shared)),
            stop: Arc::default(),
            accepted: Arc::default(),
            open: Arc::default(),
        };
        for number in 0..nodes {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let facts = NodeFacts {
                name: format!("N{number}"),
                address: listener.local_addr().unwrap(),
                rack: None,
                down: false,
                behind: 0,
                started: data::now() / 1_000_000_000 - 100_000,
                device_reads: 0,
                queries: VecDeque::new(),
            };
            lock(&cluster.shared).nodes.push(facts);
            let (shared, stop) = (cluster.shared.clone(), cluster.stop.clone());
            let (accepted, open) = (cluster.accepted.clone(), cluster.open.clone());
            let tls = tls.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let Ok(stream) = stream else { return };
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    if lock(&shared).nodes[number].down {
                        continue;
                    }
                    accepted.fetch_add(1, Ordering::Relaxed);
                    lock(&open).push((number, stream.try_clone().unwrap()));
                    let (shared, tls) = (shared.clone(), tls.clone());
                    std::thread::spawn(move || {
                        let end = stream.try_clone();
                        let _ = stream.set_nodelay(true);
                        match tls {
                            None => serve::connection(stream, number, &shared),
                            Some(config) => {
                                let session = rustls::ServerConnection::new(config).unwrap();
                                serve::connection(rustls::StreamOwned::new(session, stream), number, &shared);
                            }
                        }
                        // Dropping it is not enough: the list of open connections holds it too.
                        end.map(|stream| stream.shutdown(std::net::Shutdown::Both))
                    });
                }
            });
        }
        cluster
    }

    /// The address of a node, as a seed.
    pub fn address(&self, node: usize) -> String {
        lock(&self.shared).nodes[node].address.to_string()
    }

    /// Opens the admin port of a node, and gives back its address.
    pub fn admin_port(&self, node: usize) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = self.shared.clone();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let shared = shared.clone();
                std::thread::spawn(move || serve::admin(stream, node, &shared));
            }
        });
        address
    }

    /// What the nodes share, to look at or to change.
    pub fn shared(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }

    /// Lets a node misbehave on the next so many requests of a kind.
    pub fn fault(&self, node: usize, on: On, fault: Fault, times: usize) {
        self.shared().faults.push((node, on, fault, times));
    }

    /// Lets something happen right before the servers come to a moment once more, after as many of them as `after`
    /// says.
    pub fn before(&self, moment: Moment, after: usize, then: impl FnOnce(&mut Shared) + Send + 'static) {
        self.shared().hooks.push(Hook { moment, after, then: Box::new(then) });
    }

    /// The records for which the nodes have read their devices.
    pub fn device_reads(&self) -> u64 {
        self.shared().nodes.iter().map(|node| node.device_reads).sum()
    }

    /// Moves a partition to another node, or to none.
    pub fn move_partition(&self, partition: u16, node: Option<usize>) {
        let mut shared = self.shared();
        shared.owners[usize::from(partition)] = node;
        shared.change();
    }

    /// Takes a node away, with its connections; its partitions go to `heir`.
    pub fn take_down(&self, node: usize, heir: usize) {
        let mut shared = self.shared();
        shared.nodes[node].down = true;
        shared.owners.iter_mut().filter(|owner| **owner == Some(node)).for_each(|owner| *owner = Some(heir));
        shared.change();
        drop(shared);
        self.close_connections(Some(node));
    }

    /// Starts a node again, as after a crash: its connections break, and, unless it keeps its records on a device or
    /// others have copies, what it had is gone.
    pub fn restart(&self, node: usize) {
        let mut shared = self.shared();
        // The tests don't wait until the clocks tell two starts apart.
        shared.nodes[node].started += 600;
        shared.nodes[node].down = false;
        let lost: Vec<u16> = (0..4096).filter(|p| shared.owners[usize::from(*p)] == Some(node)).collect();
        if !shared.on_device && !shared.copies {
            shared.lose(&lost);
        }
        shared.change();
        drop(shared);
        self.close_connections(Some(node));
    }

    /// Kills a node for good: its partitions go to `heir`, which has their records only if there are copies.
    pub fn kill(&self, node: usize, heir: usize) {
        let mut shared = self.shared();
        let lost: Vec<u16> = (0..4096).filter(|p| shared.owners[usize::from(*p)] == Some(node)).collect();
        if !shared.copies {
            shared.lose(&lost);
        }
        drop(shared);
        self.take_down(node, heir);
    }

    /// Deletes the records of a set, or all of a namespace, at once: those that were updated up to now by the servers'
    /// clock.
    pub fn truncate(&self, namespace: &str, set: &[u8]) {
        let now = serve::clock(&self.shared());
        self.truncate_until(namespace, set, now);
    }

    /// The same, but up to a time in nanoseconds since the Unix epoch. What was updated later stays.
    pub fn truncate_until(&self, namespace: &str, set: &[u8], time: u64) {
        self.shared().truncate_until(namespace, set, time);
    }

    /// Lets time pass: for the servers' clocks and their processes alike.
    pub fn pass(&self, seconds: u32) {
        self.shared().pass(seconds);
    }

    /// Takes back what is still to happen; gives back how much of it that is.
    pub fn nothing_more(&self) -> usize {
        std::mem::take(&mut self.shared().hooks).len()
    }

    /// Closes the connections of one node, or of all.
    pub fn close_connections(&self, node: Option<usize>) {
        lock(&self.open).retain(|(number, stream)| {
            let keep = node.is_some_and(|node| node != *number);
            if !keep {
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
            keep
        });
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

/// How long [`Fault::Slow`] takes in tests: longer than their socket timeout.
pub fn serve_slow() -> Duration {
    serve::SLOW
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for node in &lock(&self.shared).nodes {
            let _ = TcpStream::connect(node.address);
        }
        self.close_connections(None);
    }
}
