//! The runtime that the client's futures run on, and connecting a client of our own.
//!
//! There is one for the process, started when it is first needed. It never ends: connections that a client made while
//! one of its calls ran here stay in its pool, and are of use as long as the runtime that made them lives.

use super::client::{AdminPolicy, Client, ClientPolicy};
use crate::error::{Error, Result};
use crate::record::Timestamp;
use crate::record::time::AEROSPIKE_EPOCH_SECONDS;
use crate::sync::lock;
use std::sync::{Arc, Mutex};
use tokio::runtime::{Builder, Handle};

/// It waits for answers most of the time.
const THREADS: usize = 2;
/// The client decodes nested lists and maps by recursion without a bound.
const STACK_BYTES: usize = 16 << 20;

/// The runtime.
pub(super) fn handle() -> Result<Handle> {
    static STARTED: Mutex<Option<Handle>> = Mutex::new(None);
    let mut started = lock(&STARTED);
    if let Some(handle) = &*started {
        return Ok(handle.clone());
    }
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(THREADS).thread_stack_size(STACK_BYTES).thread_name("aerolith-client");
    let runtime = runtime.enable_all().build();
    let runtime = runtime.map_err(|error| Error::io("start threads for the official client", error))?;
    let handle = started.insert(runtime.handle().clone()).clone();
    std::mem::forget(runtime);
    Ok(handle)
}

/// Runs a future to its end. May be called from anywhere, from a program's own tasks too.
pub(super) fn wait<T: Send>(future: impl Future<Output = T> + Send) -> Result<T> {
    let handle = handle()?;
    if Handle::try_current().is_err() {
        return Ok(handle.block_on(future));
    }
    // A thread that works for a runtime may not wait on another one; a thread of ours may.
    let done = std::thread::scope(|scope| scope.spawn(|| handle.block_on(future)).join());
    done.map_err(|_| Error::internal("a call of the official client panicked"))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_future_is_waited_for_inside_a_runtime_and_outside() {
        assert_eq!(wait(async { 7 }).unwrap(), 7);
        let inside = handle().unwrap().spawn(async { wait(async { 8 }) });
        assert_eq!(wait(inside).unwrap().unwrap().unwrap(), 8);
    }
}
