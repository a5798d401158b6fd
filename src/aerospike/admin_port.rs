//! Recognises a server's admin port.
//!
//! Since release 8.1 a server may have a port for administrators. It answers info requests and logins as the service
//! port does, and closes the connection at the first request for records, which looks like a broken network.

use super::connection::Connection;
use super::error::{ClusterError, Result};
use super::options::Address;
use super::wire::info;

/// What tells whether a connection is one to the admin port.
const CONNECTION: &str = "connection";

/// Refuses a connection to the admin port of the node `name` of release `build`. Older releases, which have no such
/// port and note in their log what they don't know, are not asked. `service` is what the server is asked for its
/// service port.
pub fn refuse(
    connection: &mut Connection,
    name: &str,
    build: &str,
    address: &Address,
    service: &'static str,
) -> Result<()> {
    if info::is_older(build, (8, 1)) {
        return Ok(());
    }
    let reply = connection.info(&[CONNECTION, service])?;
    let is_admin = reply.find(CONNECTION, "what the connection is").ok();
    if is_admin.and_then(|value| info::value(value, b';', "admin")) != Some(b"true") {
        return Ok(());
    }
    let ports = reply.find(service, "the addresses of the service port").map(info::text).unwrap_or_default();
    let ports: Vec<&str> = ports.split(',').filter(|port| !port.is_empty()).take(8).collect();
    let give = match ports.is_empty() {
        true => "Give the node's service port".to_string(),
        false => format!("Give the node's service port: {}", ports.join(" or ")),
    };
    Err(ClusterError::Other(format!(
        "{address} is the admin port of node {name}, which hands out and takes no records. {give}"
    )))
}
