//! The nodes of a cluster and connections to them.
//!
//! From one seed that answers, all nodes are learnt; each says which partitions it has. What was learnt is kept until a
//! request fails, and then learnt anew. Connections are kept for later requests, those on which anything went wrong are
//! closed.

use super::connection::Connection;
use super::error::{ClusterError, Result};
use super::options::{Address, AuthMode, ClusterOptions, ClusterUrl};
use super::tls::Tls;
use super::topology::{self, PartitionMap, Peer};
use super::wire::info::{self, InfoReply};
use super::wire::login::{self, Login, Session};
use crate::record::time::AEROSPIKE_EPOCH_SECONDS;
use crate::record::{PartitionId, Timestamp};
use crate::sync::lock;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// What a server must be able to do to be read: queries by partition, which came with release 6.0.
const NEEDED_FEATURE: &[u8] = b"pquery";
/// What a server that takes batches of writes can do, since release 6.0.
const BATCH_WRITES: &[u8] = b"batch-any";
/// A session's token is given up this long before it ends.
const SESSION_RESERVE: Duration = Duration::from_secs(60);
/// The first wait before something is asked for again; doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// The longest such wait.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// Idle connections that are kept for a node.
const MAX_IDLE: usize = 64;

/// One server.
pub struct Node {
    /// Its name, which no other node of the cluster has.
    pub name: Arc<str>,
    /// Its release.
    pub build: String,
    /// Its edition.
    pub edition: String,
    /// Whether it takes batches of writes.
    pub batch_writes: bool,
    /// The rack in which it stands, for each namespace; empty where racks are unknown.
    pub racks: HashMap<String, u32>,
    /// Where it can be reached, and the name that its certificate bears.
    place: (Address, Option<String>),
    idle: Mutex<Vec<Connection>>,
    session: Mutex<Option<(Session, Option<Instant>)>>,
}

/// The cluster as it was last seen.
#[derive(Default)]
pub struct Topology {
    /// How often it was looked at.
    pub version: u64,
    /// The cluster's own name; empty if it has none.
    pub cluster_name: String,
    /// Its nodes, by name.
    pub nodes: BTreeMap<Arc<str>, Arc<Node>>,
    /// Who has which partition, by namespace.
    maps: HashMap<String, PartitionMap>,
}

impl Topology {
    /// The namespaces of all nodes, sorted.
    pub fn namespaces(&self) -> Vec<String> {
        let mut names: Vec<String> = self.maps.keys().cloned().collect();
        names.sort();
        names
    }

    /// The node to read a partition from: its master, or one of the wanted rack that has a copy.
    pub fn owner(&self, namespace: &str, partition: PartitionId, rack: Option<u32>) -> Option<&Arc<Node>> {
        let map = self.maps.get(namespace)?;
        let near = rack.and_then(|rack| {
            map.owners(partition)
                .filter_map(|name| self.nodes.get(name))
                .find(|node| node.racks.get(namespace) == Some(&rack))
        });
        near.or_else(|| self.nodes.get(map.master(partition)?))
    }
}

/// A cluster that can be asked.
pub struct Cluster {
    options: ClusterOptions,
    tls: Option<Tls>,
    credential: Option<Zeroizing<Vec<u8>>>,
    seeds: Vec<Address>,
    topology: Mutex<Arc<Topology>>,
    refreshing: Mutex<()>,
    next_id: AtomicU64,
    purpose: ClusterUse,
}

/// What a cluster is connected to for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClusterUse {
    /// To be read, which not all releases are able to.
    Read,
    /// To be written.
    Write,
}

impl Cluster {
    /// Connects to the first seed that answers, and learns the rest from it.
    pub fn connect(url: &ClusterUrl, options: ClusterOptions, purpose: ClusterUse) -> Result<Self> {
        let tls = options.tls.as_ref().map(Tls::new).transpose()?;
        if options.auth != AuthMode::Internal && tls.is_none() {
            let why = match options.auth {
                AuthMode::Certificate => "the client's certificate is what names the user",
                _ => "the password travels in the clear inside it",
            };
            return Err(ClusterError::Other(format!(
                "this way of logging in needs TLS: {why}. Give --tls-ca or --tls"
            )));
        }
        let credential =
            match (&options.user, &options.password, options.auth) {
                (_, _, AuthMode::Certificate) | (None, None, _) => None,
                (Some(_), Some(password), _) => Some(login::credential(password).map_err(|problem| {
                    ClusterError::Other(format!("the cluster's password can't be used: {problem}"))
                })?),
                (Some(user), None, _) => return Err(ClusterError::Other(format!("no password for user {user:?}"))),
                (None, Some(_), _) => return Err(ClusterError::Other("a password, but no user: give --user".into())),
            };
        let mut start = [0; 8];
        getrandom::fill(&mut start)
            .map_err(|error| ClusterError::Other(format!("the system gives no random numbers: {error}")))?;
        let cluster = Self {
            tls,
            credential,
            seeds: url.seeds.clone(),
            topology: Mutex::default(),
            refreshing: Mutex::default(),
            // Even after a billion queries another client's numbers are far away.
            next_id: AtomicU64::new(u64::from_be_bytes(start) >> 1 | 1),
            purpose,
            options,
        };
        cluster.refresh(0)?;
        Ok(cluster)
    }

    /// How it is reached.
    pub fn options(&self) -> &ClusterOptions {
        &self.options
    }

    /// The cluster as it was last seen.
    pub fn topology(&self) -> Arc<Topology> {
        lock(&self.topology).clone()
    }

    /// A number that no other query has.
    pub fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Looks at the cluster again, unless somebody has since the topology of version `seen`.
    pub fn refresh(&self, seen: u64) -> Result<()> {
        let _one_at_a_time = lock(&self.refreshing);
        let old = self.topology();
        if old.version > seen {
            return Ok(());
        }
        let new = self.learn(&old)?;
        *lock(&self.topology) = Arc::new(new);
        Ok(())
    }

    fn learn(&self, old: &Topology) -> Result<Topology> {
        let mut new = Topology { version: old.version + 1, ..Topology::default() };
        let mut queue: VecDeque<Peer> = VecDeque::new();
        for node in old.nodes.values() {
            let (address, tls_name) = node.place.clone();
            queue.push_back(Peer { name: node.name.to_string(), tls_name, addresses: vec![address] });
        }
        for seed in &self.seeds {
            queue.push_back(Peer { name: String::new(), tls_name: None, addresses: vec![seed.clone()] });
        }
        let mut failed: Vec<String> = Vec::new();
        let mut seeds_asked: Vec<Address> = Vec::new();
        while let Some(peer) = queue.pop_front() {
            if new.nodes.contains_key(peer.name.as_str()) {
                continue;
            }
            // A seed that is known as a node already needs no second look.
            if peer.name.is_empty() {
                let known = |address| new.nodes.values().any(|node| &node.place.0 == address);
                if peer.addresses.iter().any(|address| known(address) || seeds_asked.contains(address)) {
                    continue;
                }
                seeds_asked.extend(peer.addresses.iter().cloned());
            }
            for address in &peer.addresses {
                match self.meet(address, peer.tls_name.as_deref(), old.nodes.get(peer.name.as_str())) {
                    Ok((node, reply)) => {
                        match self.take_in(&mut new, node, &reply) {
                            Ok(peers) => queue.extend(peers),
                            Err(error) if error.is_passing() => failed.push(error.to_string()),
                            Err(error) => return Err(error),
                        }
                        break;
                    }
                    // A refused login will not go better elsewhere.
                    Err(error) if !error.is_passing() => return Err(error),
                    Err(error) => failed.push(error.to_string()),
                }
            }
        }
        if new.nodes.is_empty() {
            failed.dedup();
            return Err(ClusterError::Other(format!("no node of the cluster can be reached: {}", failed.join("; "))));
        }
        Ok(new)
    }

    fn peers_command(&self) -> &'static str {
        match (self.tls.is_some(), self.options.alternate_addresses) {
            (false, false) => "peers-clear-std",
            (false, true) => "peers-clear-alt",
            (true, false) => "peers-tls-std",
            (true, true) => "peers-tls-alt",
        }
    }

    /// Connects to a node and asks who it is.
    fn meet(
        &self,
        address: &Address,
        tls_name: Option<&str>,
        known: Option<&Arc<Node>>,
    ) -> Result<(Arc<Node>, InfoReply)> {
        let mut asked =
            vec!["node", "build", "edition", "features", "cluster-name", "replicas", self.peers_command(), "rack-ids"];
        if self.options.rack.is_none() {
            asked.pop();
        }
        if let Some(node) = known {
            match self.with(node, |connection| connection.info(&asked)) {
                Ok(reply) if reply.get("node").is_ok_and(|name| name == node.name.as_bytes()) => {
                    return Ok((self.updated(node, &reply), reply));
                }
                // The kept connection is dead, or somebody else has the address now.
                _ => lock(&node.idle).clear(),
            }
        }
        let (mut connection, session) = self.open(address, tls_name, None)?;
        let reply = connection.info(&asked)?;
        let text = |name| reply.text(name).map_err(|error| ClusterError::wire(&address.to_string(), error));
        let name: Arc<str> = text("node")?.into();
        connection.set_node(&format!("{name} ({address})"));
        let features = reply.get("features").map_err(|error| ClusterError::wire(&name, error))?;
        let build = text("build")?;
        let has = |wanted: &[u8]| info::list(features, b';').any(|feature| feature == wanted);
        if self.purpose == ClusterUse::Read && !has(NEEDED_FEATURE) {
            return Err(ClusterError::Other(format!(
                "node {name} runs release {build}; queries by partition need release 6.0 or newer"
            )));
        }
        let node = Node {
            batch_writes: has(BATCH_WRITES),
            name,
            build,
            edition: text("edition").unwrap_or_default(),
            racks: reply.get("rack-ids").map(topology::racks).unwrap_or_default(),
            place: (address.clone(), tls_name.map(str::to_string)),
            idle: Mutex::new(vec![connection]),
            session: Mutex::new(session.map(timed)),
        };
        Ok((Arc::new(node), reply))
    }

    /// The node, with its racks as it states them now.
    fn updated(&self, node: &Arc<Node>, reply: &InfoReply) -> Arc<Node> {
        let racks = reply.get("rack-ids").map(topology::racks).unwrap_or_default();
        if racks == node.racks {
            return node.clone();
        }
        Arc::new(Node {
            name: node.name.clone(),
            build: node.build.clone(),
            edition: node.edition.clone(),
            batch_writes: node.batch_writes,
            racks,
            place: node.place.clone(),
            idle: Mutex::new(std::mem::take(&mut *lock(&node.idle))),
            session: Mutex::new(lock(&node.session).clone()),
        })
    }

    /// Adds a node and its partitions; gives back the peers that it names.
    fn take_in(&self, new: &mut Topology, node: Arc<Node>, reply: &InfoReply) -> Result<Vec<Peer>> {
        let wrong = |error| ClusterError::wire(&node.name, error);
        let cluster_name = match reply.text("cluster-name") {
            Ok(name) if name != "null" => name,
            _ => String::new(),
        };
        if new.nodes.is_empty() {
            new.cluster_name = cluster_name;
        } else if new.cluster_name != cluster_name {
            return Err(ClusterError::Other(format!(
                "node {} belongs to cluster {cluster_name:?}, others that were named to {:?}: name the nodes of a single one",
                node.name, new.cluster_name
            )));
        }
        let owned = topology::replicas(reply.get("replicas").map_err(wrong)?).map_err(wrong)?;
        let peers = topology::peers(reply.get(self.peers_command()).map_err(wrong)?);
        // The Community Edition knows no TLS peers, and a proxy that adds TLS names none.
        let peers = if self.tls.is_some() { peers.unwrap_or_default() } else { peers.map_err(wrong)? };
        for ownership in &owned {
            new.maps.entry(ownership.namespace.clone()).or_default().claim(&node.name, ownership);
        }
        new.nodes.insert(node.name.clone(), node);
        Ok(peers)
    }

    /// Makes a connection and logs in on it.
    fn open(
        &self,
        address: &Address,
        tls_name: Option<&str>,
        known: Option<&Node>,
    ) -> Result<(Connection, Option<Session>)> {
        let tls = self.tls.as_ref().map(|tls| (tls, tls_name));
        let mut connection =
            Connection::open(address, tls, (self.options.connect_timeout, self.options.socket_timeout))?;
        if let Some(node) = known {
            connection.set_node(&format!("{} ({address})", node.name));
        }
        let user = self.options.user.as_deref();
        let by_certificate = self.options.auth == AuthMode::Certificate;
        if user.is_none() && !by_certificate {
            return Ok((connection, None));
        }
        let session = known.and_then(|node| lock(&node.session).clone());
        if let Some((session, _)) = session.filter(|(_, end)| end.is_none_or(|end| Instant::now() < end)) {
            let message = login::authenticate(user.filter(|_| !by_certificate), &session.token);
            match connection.login(&message, "go on with a session") {
                Ok(_) => return Ok((connection, None)),
                // The server forgot it, as after a restart: log in anew.
                Err(ClusterError::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let credential = self.credential.as_ref().map(|hash| hash.as_slice()).unwrap_or_default();
        let password = self.options.password.as_ref().map(|password| password.as_slice()).unwrap_or_default();
        let who = match (self.options.auth, user) {
            (AuthMode::Certificate, _) | (_, None) => Login::Certificate,
            (AuthMode::Internal, Some(user)) => Login::Internal { user, credential },
            (AuthMode::External, Some(user)) => Login::External { user, credential, password },
        };
        let doing = user.map_or_else(|| "log in by certificate".to_string(), |user| format!("log in user {user:?}"));
        let session = connection.login(&login::login(&who), &doing)?;
        Ok((connection, session))
    }

    /// Runs `work` on a connection to a node. The connection is kept for others if all went well.
    pub fn with<T>(&self, node: &Node, work: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        let mut connection = self.take_connection(node)?;
        let done = work(&mut connection)?;
        Self::keep_connection(node, connection);
        Ok(done)
    }

    /// A connection to a node: one that was kept, or a new one on which we are logged in.
    pub(crate) fn take_connection(&self, node: &Node) -> Result<Connection> {
        let kept = lock(&node.idle).pop();
        if let Some(connection) = kept {
            return Ok(connection);
        }
        let (address, tls_name) = &node.place;
        let (connection, session) = self.open(address, tls_name.as_deref(), Some(node))?;
        if let Some(session) = session {
            *lock(&node.session) = Some(timed(session));
        }
        Ok(connection)
    }

    /// Keeps a connection on which all went well for later requests.
    pub(crate) fn keep_connection(node: &Node, connection: Connection) {
        let mut idle = lock(&node.idle);
        if idle.len() < MAX_IDLE {
            idle.push(connection);
        }
    }

    /// Closes the connections to a node that were kept: after one of them broke, the others may be as dead.
    pub(crate) fn close_kept(node: &Node) {
        lock(&node.idle).clear();
    }

    /// The clock of the node that is furthest behind, in full seconds. All namespaces have the same.
    pub fn clock(&self) -> Result<Timestamp> {
        let missing = || ClusterError::Other("no node tells its time".to_string());
        let namespace = self.topology().namespaces().into_iter().next().ok_or_else(missing)?;
        let all = self.info_of_all(&format!("namespace/{namespace}"), "a namespace's statistics")?;
        let times = all.iter().filter_map(|statistics| info::number::<u64>(statistics, b';', "current_time"));
        let earliest = times.min().ok_or_else(missing)?;
        Ok(Timestamp((earliest + AEROSPIKE_EPOCH_SECONDS) * 1000))
    }

    /// How long to wait after so many failures in a row.
    pub fn wait_after(failures: u32) -> Duration {
        FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_WAIT)
    }

    /// Asks something until it is answered, and looks at the cluster again in between. Gives up as the options say.
    pub fn patiently<T>(&self, mut ask: impl FnMut(&Topology) -> Result<T>) -> Result<T> {
        let mut failures = 0;
        loop {
            let topology = self.topology();
            match ask(&topology) {
                Err(error) if error.is_passing() && failures + 1 < self.options.attempts => {
                    failures += 1;
                    std::thread::sleep(Self::wait_after(failures));
                    // If even this fails, the old picture may still do: the next round tells.
                    let _ = self.refresh(topology.version);
                }
                done => return done,
            }
        }
    }

    /// Asks every node for one value, as `namespace/test`.
    pub fn info_of_all(&self, name: &str, what: &'static str) -> Result<Vec<Vec<u8>>> {
        self.patiently(|topology| topology.nodes.values().map(|node| self.info(node, name, what)).collect())
    }

    /// Asks a node for one value; once more on a fresh connection if the kept one was closed meanwhile.
    pub fn info(&self, node: &Node, name: &str, what: &'static str) -> Result<Vec<u8>> {
        let ask = || self.with(node, |connection| connection.info(&[name]));
        let reply = match ask() {
            Err(ClusterError::Net { .. }) => {
                lock(&node.idle).clear();
                ask()?
            }
            reply => reply?,
        };
        // What a node does not know now it will not know later.
        let found =
            reply.find(name, what).map_err(|error| ClusterError::Other(format!("node {}: {error}", node.name)))?;
        Ok(found.to_vec())
    }
}

fn timed(session: Session) -> (Session, Option<Instant>) {
    let end = session.lifetime.map(|lifetime| Instant::now() + lifetime.saturating_sub(SESSION_RESERVE));
    (session, end)
}
