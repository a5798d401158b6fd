//! The protocol of Aerospike clusters, as sources and targets speak it: connections, the picture of who has which
//! partition, and messages.

mod admin_port;
pub mod cluster;
pub(crate) mod connection;
pub mod error;
mod lineage;
pub(crate) mod metadata;
mod options;
pub(crate) mod remains;
pub(crate) mod security;
pub(crate) mod throttle;
pub mod topology;
pub mod wire;

pub(crate) use connection::tls::Tls;
pub use options::{Address, AuthMode, ClusterOptions, ClusterUrl, SecretAgent, TlsOptions, TlsVersion};
