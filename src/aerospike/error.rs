//! What can go wrong between us and a cluster.

use super::wire::WireError;
use super::wire::result_code::ResultCode;
use std::io;

/// A failure of one exchange with a node, or of what several of them make up.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The network, or the node at its other end.
    #[error("cannot {doing}: {source}")]
    Net {
        /// What was being done, to which node.
        doing: String,
        /// What the system answered.
        source: io::Error,
    },
    /// The node sent what the protocol doesn't allow.
    #[error("node {node} sent a reply that can't be parsed: {source}")]
    Wire {
        /// The node.
        node: String,
        /// What was found.
        source: WireError,
    },
    /// The node refused.
    #[error("node {node} refused to {doing}: {code}")]
    Refused {
        /// The node.
        node: String,
        /// What it was asked to do.
        doing: String,
        /// Its reason.
        code: ResultCode,
    },
    /// The process at a node's address is not the one that was looked at.
    #[error("node {node} was restarted, or another node has its address now")]
    Restarted {
        /// The node.
        node: String,
    },
    /// The cluster, or the request, is not such that this could work.
    #[error("{0}")]
    Other(String),
}

/// A result whose error is [`ClusterError`].
pub type Result<T, E = ClusterError> = std::result::Result<T, E>;

impl ClusterError {
    /// A failure of the network.
    pub fn net(doing: impl Into<String>, source: io::Error) -> Self {
        ClusterError::Net { doing: doing.into(), source }
    }

    /// A refusal.
    pub fn refused(node: &str, doing: impl Into<String>, code: ResultCode) -> Self {
        ClusterError::Refused { node: node.to_string(), doing: doing.into(), code }
    }

    /// A reply that can't be parsed.
    pub fn wire(node: &str, source: WireError) -> Self {
        ClusterError::Wire { node: node.to_string(), source }
    }

    /// Whether the same request may succeed later, or on another node. A damaged reply counts: it comes from a
    /// connection that has lost its place, and the next one is fresh.
    pub fn is_passing(&self) -> bool {
        match self {
            ClusterError::Net { .. } | ClusterError::Wire { .. } | ClusterError::Restarted { .. } => true,
            ClusterError::Refused { code, .. } => code.is_passing(),
            ClusterError::Other(_) => false,
        }
    }

    /// The library's error, for the target of this name.
    pub fn of_target(self, name: &str) -> crate::Error {
        crate::Error::Target { target_name: name.to_string(), problem: self.to_string() }
    }

    /// The library's error, for the source of this name.
    pub fn of_source(self, name: &str) -> crate::Error {
        crate::Error::Source { source_name: name.to_string(), problem: self.to_string() }
    }
}
