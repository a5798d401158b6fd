//! The nodes of a cluster and connections to them.
//!
//! From one seed that answers, all nodes are learnt; each says which partitions it has. What was learnt is kept until a
//! request fails, and then learnt again. Connections are kept for later requests, those on which anything went wrong
//! are closed.

use super::admin_port;
use super::connection::Connection;
use super::connection::tls::Tls;
use super::error::{ClusterError, Result};
use super::lineage::{ClusterKey, Lineage, Look, SeenNode, Start};
use super::options::{Address, AuthMode, ClusterOptions, ClusterUrl};
use super::topology::{self, PartitionMap, Peer};
use super::wire::info::{self, InfoReply};
use super::wire::login::{self, Login, SessionToken};
use crate::record::time::AEROSPIKE_EPOCH_SECONDS;
use crate::record::{PartitionId, PartitionSet, Timestamp};
use crate::secret::SecretSource;
use crate::sync::lock;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// The oldest release that is read and written.
const OLDEST: (u32, u32) = (6, 0);
/// What a server must be able to do to be read: queries by partition, which came with release 6.0.
const NEEDED_FEATURE: &[u8] = b"pquery";
/// What a server that takes batches of writes can do, since release 6.0.
const BATCH_WRITES: &[u8] = b"batch-any";
/// A session's token is given up this long before it ends.
const SESSION_RESERVE: Duration = Duration::from_secs(60);
/// The cluster is looked at again after so long even if nothing failed, so that nodes that are restarted one after
/// the other are seen one by one.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// The longest wait before something is asked for again, unless the first is longer.
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
    /// The rack in which it is, for each namespace; empty where racks are unknown.
    pub racks: HashMap<String, u32>,
    /// When its process began; `None` if it doesn't tell.
    start: Option<Start>,
    /// What it held of each namespace when this process was met first.
    stock: HashMap<String, Stock>,
    /// Where it can be reached, and the name that its certificate bears.
    place: (Address, Option<String>),
    idle: Mutex<Vec<Connection>>,
    session: Mutex<Option<(SessionToken, Option<Instant>)>>,
}

/// What a node held of a namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Stock {
    /// Its records, copies too.
    objects: u64,
    /// Whether they survive a restart: on a device, in a file, or in memory that the Enterprise Edition finds again.
    lasting: bool,
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
    /// What each node said of itself.
    seen: HashMap<Arc<str>, SeenNode>,
    /// Which copies count, by namespace.
    lineages: HashMap<String, Lineage>,
}

impl Topology {
    /// The namespaces of all nodes, sorted.
    pub fn namespaces(&self) -> Vec<String> {
        let mut names: Vec<String> = self.maps.keys().cloned().collect();
        names.sort();
        names
    }

    /// The node to read a partition from: its master, or one that has a copy and is in the first of the wanted racks
    /// that has any. Copies that don't descend from what the cluster held when it was first looked at are none.
    pub fn owner(&self, namespace: &str, partition: PartitionId, racks: &[u32]) -> Option<&Arc<Node>> {
        let near = racks
            .iter()
            .find_map(|rack| self.copies(namespace, partition).find(|node| node.racks.get(namespace) == Some(rack)));
        // Where another node claims to be the master and has nothing, a copy that counts serves.
        near.or_else(|| self.copies(namespace, partition).next())
    }

    /// A node to read a partition from, rather than the one that just failed.
    pub fn owner_beside(&self, namespace: &str, partition: PartitionId, failed: &str) -> Option<&Arc<Node>> {
        self.copies(namespace, partition).find(|node| &*node.name != failed)
    }

    /// The nodes that have a copy of a partition that counts, its master first.
    fn copies(&self, namespace: &str, partition: PartitionId) -> impl Iterator<Item = &Arc<Node>> {
        let known = self.maps.get(namespace).zip(self.lineages.get(namespace));
        let owners = known
            .into_iter()
            .flat_map(move |(map, lineage)| map.owners(partition).filter(move |name| lineage.counts(partition, name)));
        owners.filter_map(|name| self.nodes.get(name))
    }

    /// Why no node can be asked for a partition.
    pub fn why_no_owner(&self, namespace: &str, partition: PartitionId) -> String {
        let number = partition.number();
        let lost = self.lineages.get(namespace).and_then(|lineage| lineage.lost_with(partition));
        let Some(holders) = lost else { return format!("no node claims partition {number} of namespace {namespace}") };
        let state = |name: &Arc<str>| match self.nodes.contains_key(name) {
            true => format!("{name} was restarted"),
            false => format!("{name} is gone"),
        };
        let states: Vec<String> = holders.iter().map(state).collect();
        format!(
            "partition {number} of namespace {namespace} may be lost: of the nodes that had it, {}. What the cluster \
             has of it now is not what it had",
            states.join(", ")
        )
    }

    /// Of some partitions those whose data may be gone, and the nodes that had them.
    pub fn lost(&self, namespace: &str, of: &PartitionSet) -> (PartitionSet, Vec<Arc<str>>) {
        let Some(lineage) = self.lineages.get(namespace) else { return Default::default() };
        let (mut lost, mut nodes) = (PartitionSet::default(), Vec::new());
        for partition in of.iter() {
            let Some(holders) = lineage.lost_with(partition) else { continue };
            lost.insert(partition);
            nodes.extend(holders);
            nodes.sort();
            nodes.dedup();
        }
        (lost, nodes)
    }

    /// What a node's copies of a namespace that count are of.
    pub fn held_by(&self, namespace: &str, node: &str) -> PartitionSet {
        self.lineages.get(namespace).map(|lineage| lineage.held_by(node)).unwrap_or_default()
    }

    /// The cluster's key; `None` if the nodes don't all tell the same.
    pub fn key(&self) -> Option<u64> {
        let mut keys = self.seen.values().map(|seen| seen.key);
        match keys.next()? {
            first @ ClusterKey::Stable(key) if keys.all(|other| other == first) => Some(key),
            _ => None,
        }
    }

    /// Whether a node that had a partition is gone and may come back with it.
    pub fn may_return(&self, namespace: &str, partition: PartitionId) -> bool {
        let lost = self.lineages.get(namespace).and_then(|lineage| lineage.lost_with(partition));
        lost.is_some_and(|holders| holders.iter().any(|holder| !self.nodes.contains_key(holder)))
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
    /// When it was looked at last.
    looked: Mutex<Option<Instant>>,
    /// What each node held when it was met first.
    stocks: Mutex<HashMap<Arc<str>, HashMap<String, Stock>>>,
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
        let reader = |source: &SecretSource, what: &str| options.agent.read(source, what);
        let tls = options.tls.as_ref().map(|tls| Tls::new(tls, &reader)).transpose()?;
        if options.auth != AuthMode::Internal && tls.is_none() {
            let why = match options.auth {
                AuthMode::Certificate => "the client's certificate is what names the user",
                _ => "the password travels in the clear inside it",
            };
            return Err(ClusterError::Other(format!("this way of logging in needs TLS: {why}. Give `tls`")));
        }
        let credential =
            match (&options.user, &options.password, options.auth) {
                (_, _, AuthMode::Certificate) | (None, None, _) => None,
                (Some(_), Some(password), _) => Some(login::credential(password).map_err(|problem| {
                    ClusterError::Other(format!("the cluster's password can't be used: {problem}"))
                })?),
                (Some(user), None, _) => return Err(ClusterError::Other(format!("no password for user {user:?}"))),
                (None, Some(_), _) => return Err(ClusterError::Other("a password, but no user: give `user`".into())),
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
            looked: Mutex::default(),
            stocks: Mutex::default(),
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
        *lock(&self.looked) = Some(Instant::now());
        let new = self.learn(&old)?;
        *lock(&self.topology) = Arc::new(new);
        Ok(())
    }

    /// Looks at the cluster again if the last look is a while ago.
    pub fn look_again(&self) {
        let seen = self.topology().version;
        // Whoever looks just now does so for all.
        let mut looked = lock(&self.looked);
        if looked.is_some_and(|last| last.elapsed() >= LOOK_EVERY) {
            *looked = Some(Instant::now());
            drop(looked);
            // If this fails, so will requests, and they tell.
            let _ = self.refresh(seen);
        }
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
        self.trace(old, &mut new);
        Ok(new)
    }

    /// Finds the copies that count.
    fn trace(&self, old: &Topology, new: &mut Topology) {
        let none = Lineage::default();
        // A namespace that no node has just now is not forgotten.
        let names: BTreeSet<&String> = new.maps.keys().chain(old.lineages.keys()).collect();
        let traced = names.into_iter().map(|namespace| {
            let kept = |name: &str| {
                // What was written last may not have come to the device.
                if self.purpose == ClusterUse::Write {
                    return false;
                }
                let stock = |nodes: &BTreeMap<Arc<str>, Arc<Node>>| nodes.get(name)?.stock.get(namespace).copied();
                let now = stock(&new.nodes);
                let before = lock(&self.stocks).get(name).and_then(|stocks| stocks.get(namespace).copied());
                now.is_some_and(|now| now.lasting && before.is_some_and(|before| now.objects >= before.objects / 2))
            };
            let look = Look { seen: &|name| new.seen.get(name).copied(), kept: &kept };
            let empty = PartitionMap::default();
            let map = new.maps.get(namespace).unwrap_or(&empty);
            (namespace.clone(), old.lineages.get(namespace).unwrap_or(&none).next(map, &look))
        });
        new.lineages = traced.collect();
        let mut stocks = lock(&self.stocks);
        for node in new.nodes.values() {
            stocks.entry(node.name.clone()).or_insert_with(|| node.stock.clone());
        }
    }

    /// What a node is asked for its own addresses, of the kind by which it is reached.
    fn service_command(&self) -> &'static str {
        match (self.tls.is_some(), self.options.alternate_addresses) {
            (false, false) => "service-clear-std",
            (false, true) => "service-clear-alt",
            (true, false) => "service-tls-std",
            (true, true) => "service-tls-alt",
        }
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
        // The cluster key comes first and last: if it is the same, what lies between was said of one state.
        let mut asked = vec![
            STATISTICS,
            "node",
            "build",
            "edition",
            "features",
            "cluster-name",
            "replicas",
            self.peers_command(),
            STABLE_KEY,
            "rack-ids",
        ];
        if self.options.racks.is_empty() {
            asked.pop();
        }
        if let Some(node) = known {
            match self.with(node, |connection| connection.info(&asked)) {
                Ok(reply)
                    if reply.get("node").is_ok_and(|name| name == node.name.as_bytes())
                        && is_same(node.start, start(&reply)) =>
                {
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
        if info::is_older(&build, OLDEST) || self.purpose == ClusterUse::Read && !has(NEEDED_FEATURE) {
            return Err(ClusterError::Other(format!(
                "node {name} runs release {build}; to be read or written it needs release {}.{} or newer",
                OLDEST.0, OLDEST.1
            )));
        }
        admin_port::refuse(&mut connection, &name, &build, address, self.service_command())?;
        let edition = text("edition").unwrap_or_default();
        if self.tls.is_some() && reply.get(self.peers_command()).is_err() && edition.contains("Community") {
            return Err(ClusterError::Other(format!(
                "node {name} is of the Community Edition, which has no TLS and tells no addresses to be reached by \
                 over it: whatever ends TLS before it can't serve. Leave out `tls`, and tunnel to its own address"
            )));
        }
        let node = Node {
            batch_writes: has(BATCH_WRITES),
            start: start(&reply),
            stock: stock(&mut connection, &reply, &edition)?,
            name,
            build,
            edition,
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
            start: node.start,
            stock: node.stock.clone(),
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
                "node {} belongs to cluster {cluster_name:?}, others that were named to {:?}: name the nodes of a \
                 single one",
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
        let seen = SeenNode { start: node.start, key: cluster_key(reply) };
        new.seen.insert(node.name.clone(), seen);
        new.nodes.insert(node.name.clone(), node);
        Ok(peers)
    }

    /// Makes a connection and logs in on it.
    fn open(
        &self,
        address: &Address,
        tls_name: Option<&str>,
        known: Option<&Node>,
    ) -> Result<(Connection, Option<SessionToken>)> {
        let (mut connection, session) = self.log_in(address, tls_name, known)?;
        connection.set_timeout(self.options.socket_timeout)?;
        Ok((connection, session))
    }

    fn log_in(
        &self,
        address: &Address,
        tls_name: Option<&str>,
        known: Option<&Node>,
    ) -> Result<(Connection, Option<SessionToken>)> {
        let tls = self.tls.as_ref().map(|tls| (tls, tls_name));
        let mut connection = Connection::open(address, tls, self.options.connect_timeout)?;
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
                // The server forgot it, as after a restart: log in again.
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
        let (mut connection, session) = self.open(address, tls_name.as_deref(), Some(node))?;
        if let Some(session) = session {
            *lock(&node.session) = Some(timed(session));
        }
        // Restarted since it was looked at, the server may hold nothing of what it is going to be asked for.
        if node.start.is_some() {
            let reply = connection.info(&["node", STATISTICS])?;
            if !reply.get("node").is_ok_and(|name| name == node.name.as_bytes()) || !is_same(node.start, start(&reply))
            {
                return Err(ClusterError::Restarted { node: node.name.to_string() });
            }
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
    pub fn wait_after(&self, failures: u32) -> Duration {
        let first = self.options.retry_wait;
        first.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_WAIT.max(first))
    }

    /// Whether something has been asked for in vain since `begun` for as long as that may last.
    pub fn is_over_time(&self, begun: Instant) -> bool {
        self.options.total_timeout.is_some_and(|limit| begun.elapsed() >= limit)
    }

    /// Asks something until it is answered, and looks at the cluster again in between. Gives up as the options say.
    pub fn patiently<T>(&self, mut ask: impl FnMut(&Topology) -> Result<T>) -> Result<T> {
        let (mut failures, begun) = (0, Instant::now());
        loop {
            let topology = self.topology();
            match ask(&topology) {
                Err(error)
                    if error.is_passing() && failures + 1 < self.options.attempts && !self.is_over_time(begun) =>
                {
                    failures += 1;
                    std::thread::sleep(self.wait_after(failures));
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

    /// How many partitions of a namespace the servers have still to move, from one to another and counted at both;
    /// `None` if that can't be told.
    pub fn migrations_left(&self, namespace: &str) -> Option<u64> {
        let name = format!("namespace/{namespace}");
        let topology = self.topology();
        let mut left = None;
        for node in topology.nodes.values() {
            let Ok(statistics) = self.info(node, &name, "a namespace's statistics") else { continue };
            for direction in MIGRATIONS {
                let more: Option<u64> = info::number(&statistics, b';', direction);
                left = more.map_or(left, |more| Some(left.unwrap_or(0) + more));
            }
        }
        left
    }

    /// Asks a node for values; once more on a fresh connection if the kept one was closed meanwhile.
    pub fn info_of(&self, node: &Node, names: &[&str]) -> Result<InfoReply> {
        let ask = || self.with(node, |connection| connection.info(names));
        match ask() {
            Err(ClusterError::Net { .. }) => {
                lock(&node.idle).clear();
                ask()
            }
            reply => reply,
        }
    }

    /// Asks a node for one value.
    pub fn info(&self, node: &Node, name: &str, what: &'static str) -> Result<Vec<u8>> {
        let reply = self.info_of(node, &[name])?;
        // What a node does not know now it will not know later.
        let found =
            reply.find(name, what).map_err(|error| ClusterError::Other(format!("node {}: {error}", node.name)))?;
        Ok(found.to_vec())
    }
}

/// What a namespace's statistics call the partitions that a node has still to send, and to receive.
pub const MIGRATIONS: [&str; 2] = ["migrate_tx_partitions_remaining", "migrate_rx_partitions_remaining"];
/// What tells when a server's process began, and to which cluster it belongs.
const STATISTICS: &str = "statistics";
/// What gives the cluster's key if partitions are not just being shared out again.
const STABLE_KEY: &str = "cluster-stable:ignore-migrations=true";

/// When a server's process began, on our clock.
fn start(reply: &InfoReply) -> Option<Start> {
    static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let now = i64::try_from(BEGIN.get_or_init(Instant::now).elapsed().as_secs()).ok()?;
    let uptime = info::number::<i64>(reply.get(STATISTICS).ok()?, b';', "uptime")?;
    Some(Start(now.checked_sub(uptime)?))
}

/// Whether two looks at a node show the same process; one that doesn't tell counts as the same.
fn is_same(a: Option<Start>, b: Option<Start>) -> bool {
    a.zip(b).is_none_or(|(a, b)| a.is(b))
}

/// The cluster key, if it was the same before and after all that a reply says.
fn cluster_key(reply: &InfoReply) -> ClusterKey {
    let read = |value: &[u8]| u64::from_str_radix(std::str::from_utf8(value).ok()?.trim(), 16).ok();
    let first = reply.get(STATISTICS).ok().and_then(|statistics| info::value(statistics, b';', "cluster_key"));
    let last = reply.find(STABLE_KEY, "the cluster's key");
    match (first.and_then(read), last.ok().and_then(read)) {
        (Some(first), Some(last)) if first == last => ClusterKey::Stable(first),
        (None, None) => ClusterKey::Untold,
        _ => ClusterKey::Unstable,
    }
}

/// What a node holds of each of its namespaces.
fn stock(connection: &mut Connection, reply: &InfoReply, edition: &str) -> Result<HashMap<String, Stock>> {
    let Ok(owned) = reply.get("replicas").map_err(|_| ()).and_then(|value| topology::replicas(value).map_err(|_| ()))
    else {
        return Ok(HashMap::new());
    };
    let names: Vec<String> = owned.into_iter().map(|ownership| ownership.namespace).collect();
    let statistics = |name: &str| format!("namespace/{name}");
    let settings = |name: &str| format!("get-config:context=namespace;namespace={name}");
    let asked: Vec<String> = names.iter().flat_map(|name| [statistics(name), settings(name)]).collect();
    if asked.is_empty() {
        return Ok(HashMap::new());
    }
    let reply = connection.info(&asked.iter().map(String::as_str).collect::<Vec<_>>())?;
    let stock = names.into_iter().map(|name| {
        let statistics = reply.find(&statistics(&name), "a namespace's statistics").unwrap_or_default();
        let settings = reply.find(&settings(&name), "a namespace's configuration").unwrap_or_default();
        let in_memory = info::value(settings, b';', "storage-engine").is_none_or(|engine| engine == b"memory");
        let backed = info::list(settings, b';').any(|setting| {
            setting.starts_with(b"storage-engine.file[") || setting.starts_with(b"storage-engine.device[")
        });
        let lasting = !in_memory || backed || edition.contains("Enterprise");
        let objects = info::number(statistics, b';', "objects").unwrap_or(0);
        (name, Stock { objects, lasting })
    });
    Ok(stock.collect())
}

fn timed(session: SessionToken) -> (SessionToken, Option<Instant>) {
    let end = session.lifetime.map(|lifetime| Instant::now() + lifetime.saturating_sub(SESSION_RESERVE));
    (session, end)
}
