//! Connecting a client of our own, and what its cluster is asked for.

use super::client::{AdminPolicy, Client, ClientPolicy};
use crate::error::{Error, Result};
use crate::record::Timestamp;
use crate::record::time::AEROSPIKE_EPOCH_SECONDS;
use crate::runtime::wait;
use std::sync::Arc;

/// Connects a client, for programs that have none of their own: `hosts` is `HOST:PORT[,HOST:PORT...]`. Its calls are
/// futures; whatever runs them may.
///
/// # Errors
///
/// If no node can be reached, or the cluster wants another user or password or TLS.
pub fn connect(hosts: &str, policy: &ClientPolicy) -> Result<Arc<Client>> {
    let connected = wait(Client::new(policy, &hosts.to_string()))?;
    connected.map(Arc::new).map_err(|error| Error::Source {
        source_name: hosts.to_string(),
        problem: format!("the official client can't connect: {error}"),
    })
}

/// The clock of the node that is furthest behind, in full seconds; in words why it can't be told.
pub(super) fn clock(client: &Client) -> Result<Timestamp, String> {
    let namespaces = info(client, "namespaces")?;
    let first = namespaces.split(';').next().unwrap_or_default();
    let command = format!("namespace/{first}");
    let mut earliest = None;
    for node in client.nodes() {
        let answer = wait(node.info(&AdminPolicy::default(), &[&command])).map_err(|error| error.to_string())?;
        let answer = answer.map_err(|error| format!("the official client can't ask for {command}: {error}"))?;
        let statistics = answer.get(&command).map(String::as_str).unwrap_or_default();
        let time = statistics.split(';').find_map(|pair| pair.strip_prefix("current_time="));
        let time = time.and_then(|time| time.parse::<u64>().ok());
        earliest = [earliest, time].into_iter().flatten().min();
    }
    let seconds = earliest.ok_or("no node tells its time")?;
    Ok(Timestamp(seconds.saturating_add(AEROSPIKE_EPOCH_SECONDS).saturating_mul(1000)))
}

/// Asks a node for one value.
pub(super) fn info(client: &Client, name: &str) -> Result<String, String> {
    let answer = wait(client.info(&AdminPolicy::default(), &[name])).map_err(|error| error.to_string())?;
    let mut answer = answer.map_err(|error| format!("the official client can't ask for {name}: {error}"))?;
    answer.swap_remove(name).ok_or_else(|| format!("the server does not say its {name}"))
}

/// The namespaces of a cluster, sorted.
pub(super) fn namespaces(client: &Client) -> Result<Vec<String>, String> {
    let names = info(client, "namespaces")?;
    let mut names: Vec<String> = names.split(';').filter(|name| !name.is_empty()).map(str::to_string).collect();
    names.sort();
    Ok(names)
}
