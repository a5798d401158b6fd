//! A client of our own, connected as the options of a cluster say.

use super::client::{AuthMode as ClientAuth, Client, ClientPolicy, Host, QueryPolicy, Replica, TlsPolicy};
use super::cluster::namespaces;
use crate::aerospike::{Address, AuthMode, ClusterOptions, ClusterUrl, Tls};
use crate::error::{Error, Result};
use crate::runtime::wait;
use crate::secret::SecretSource;
use std::sync::Arc;
use std::time::Duration;

/// A client of our own, which ends with it.
pub(crate) struct Connected {
    /// The cluster's URL.
    pub name: String,
    pub(super) client: Arc<Client>,
    /// The policy of its queries.
    pub(super) policy: QueryPolicy,
}

/// Connects the official client to a cluster as our own reader would: user, TLS, rack, addresses and timeouts.
pub(crate) fn connect_to(url: &ClusterUrl, options: &ClusterOptions) -> Result<Connected> {
    let named = |problem: String| Error::Source { source_name: url.to_string(), problem };
    let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    let racks: Vec<usize> = options.racks.iter().filter_map(|rack| usize::try_from(*rack).ok()).collect();
    let mut policy = ClientPolicy {
        timeout: millis(options.connect_timeout),
        login_timeout: millis(options.connect_timeout),
        use_services_alternate: options.alternate_addresses,
        rack_ids: (!racks.is_empty()).then_some(racks),
        ..ClientPolicy::default()
    };
    let password = || match &options.password {
        None => Ok(String::new()),
        Some(bytes) => String::from_utf8(bytes.to_vec())
            .map_err(|_| named("the official client takes passwords in UTF-8 alone, and this one is not".into())),
    };
    policy.auth_mode = match (options.auth, &options.user) {
        (AuthMode::Certificate, _) => ClientAuth::Pki,
        (AuthMode::Internal, Some(user)) => ClientAuth::Internal(user.clone(), password()?),
        (AuthMode::External, Some(user)) => ClientAuth::External(user.clone(), password()?),
        (_, None) => ClientAuth::None,
    };
    if let Some(tls) = &options.tls {
        let reader = |source: &SecretSource, what: &str| options.agent.read(source, what);
        let tls = Tls::new(tls, &reader).map_err(|error| error.of_source(&url.to_string()))?;
        policy.tls_policy = Some(TlsPolicy::new(tls.config().clone()));
    }
    // The client needs a name for each certificate; as for our own reader it is the host's if none is given.
    let named_so = |seed: &Address| options.tls.as_ref().map(|tls| tls.name.clone().unwrap_or(seed.host.clone()));
    let hosts = url.seeds.iter().map(|seed| host(&seed.host, seed.port, named_so(seed).as_deref()));
    let hosts: Vec<Host> = hosts.collect();
    let client = wait(Client::new(&policy, &hosts))?;
    let client = client.map_err(|error| named(format!("the official client can't connect: {error}")))?;
    let mut policy = QueryPolicy {
        records_per_second: options.node_records_per_second,
        max_concurrent_nodes: options.parallel,
        ..QueryPolicy::default()
    };
    policy.base_policy.socket_timeout = millis(options.socket_timeout);
    if !options.racks.is_empty() {
        policy.base_policy.replica = Replica::PreferRack;
    }
    Ok(Connected { name: url.to_string(), client: Arc::new(client), policy })
}

impl Connected {
    /// The namespaces of the cluster, sorted.
    pub fn namespaces(&self) -> Result<Vec<String>> {
        namespaces(&self.client).map_err(|problem| self.error(problem))
    }

    pub(super) fn error(&self, problem: impl std::fmt::Display) -> Error {
        let problem = format!("the official client: {problem}");
        Error::Source { source_name: self.name.clone(), problem }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        // It only closes connections; what it answers changes nothing any more.
        let _ = wait(self.client.close());
    }
}

fn host(name: &str, port: u16, tls_name: Option<&str>) -> Host {
    match tls_name {
        Some(tls_name) => Host::new_tls(name, tls_name, port),
        None => Host::new(name, port),
    }
}
