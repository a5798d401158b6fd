//! How a cluster is reached and read, and `aerospike://…` as people write it.

use crate::error::{Error, Result};
use crate::record::RecordSelection;
use crate::secret::SecretSource;
use crate::setters::setters;
use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

/// The port of a server that was given without one.
pub const DEFAULT_PORT: u16 = 3000;

/// A host and a port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Address {
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl Address {
    /// Reads `HOST`, `HOST:PORT` or `[ADDRESS]:PORT`.
    pub fn parse(text: &str, default_port: u16) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
            }
            None => match text.rsplit_once(':') {
                // More than one colon and no brackets: an address without a port.
                Some((host, _)) if host.contains(':') => (text, None),
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = match port {
            Some(port) => port.parse().ok().filter(|&port| port != 0)?,
            None => default_port,
        };
        (!host.is_empty()).then(|| Self { host: host.to_string(), port })
    }
}

/// Where a cluster is: `aerospike://HOST:PORT[,HOST:PORT…][/NAMESPACE]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterUrl {
    /// Nodes to begin with; the others are learnt from them.
    pub seeds: Vec<Address>,
    /// The only namespace that is meant, if one is named.
    pub namespace: Option<String>,
}

impl ClusterUrl {
    /// What such a URL begins with.
    pub const SCHEME: &'static str = "aerospike://";

    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// If it is not such a URL; the error says how one is written.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |problem: &str| {
            Error::usage(format!("{text:?}: {problem}. Write aerospike://HOST:PORT[,HOST:PORT...][/NAMESPACE]"))
        };
        let rest = text.strip_prefix(Self::SCHEME).ok_or_else(|| wrong("it does not begin with aerospike://"))?;
        let (hosts, namespace) = rest.split_once('/').unwrap_or((rest, ""));
        if hosts.contains('@') {
            return Err(wrong("a user does not belong here; give `user` and a password file"));
        }
        let seeds = hosts.split(',').map(|host| Address::parse(host, DEFAULT_PORT)).collect::<Option<Vec<_>>>();
        let seeds = seeds.ok_or_else(|| wrong("a host or its port is not one"))?;
        // Servers take namespace names of up to 31 bytes, and none with these characters.
        if namespace.len() > 31 || namespace.contains(['/', ';', ':', '?']) {
            return Err(wrong("the namespace is not one"));
        }
        Ok(Self { seeds, namespace: (!namespace.is_empty()).then(|| namespace.to_string()) })
    }
}

impl fmt::Display for ClusterUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seeds: Vec<String> = self.seeds.iter().map(Address::to_string).collect();
        write!(f, "{}{}", Self::SCHEME, seeds.join(","))?;
        self.namespace.as_ref().map_or(Ok(()), |namespace| write!(f, "/{namespace}"))
    }
}

/// Who checks the user.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum AuthMode {
    /// The cluster knows user and password.
    #[default]
    Internal,
    /// A directory checks the password, which the server needs in the clear: only over TLS.
    External,
    /// The client's certificate names the user.
    Certificate,
}

/// A version of TLS.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// How connections are encrypted.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TlsOptions {
    /// Certificates of the authorities that are trusted (PEM), in a file or in the files of a directory; the system's
    /// if absent.
    pub authorities: Option<SecretSource>,
    /// Our own certificate, with the chain behind it (PEM).
    pub certificate: Option<SecretSource>,
    /// Our certificate's private key (PEM).
    pub key: Option<SecretSource>,
    /// What opens the key if it is encrypted; the first line of it.
    pub key_passphrase: Option<SecretSource>,
    /// The name that the servers' certificates bear; the host's name if absent.
    pub name: Option<String>,
    /// The oldest version that is spoken.
    pub oldest: TlsVersion,
    /// The cipher suites that may be used, by their names in the registry of IANA; all that are supported if none.
    pub cipher_suites: Vec<String>,
    /// Lists of revoked certificates (PEM), in a file or in the files of a directory. With them, a server is refused if
    /// its certificate is revoked, or the lists don't tell, or are out of date.
    pub revocations: Option<SecretSource>,
    /// Whether the lists need not tell of the authorities between a server's certificate and the trusted ones.
    pub revocations_of_servers_alone: bool,
}

setters!(TlsOptions {
    oldest: TlsVersion,
    revocations_of_servers_alone: bool,
} into {
    authorities: Option<SecretSource>,
    certificate: Option<SecretSource>,
    key: Option<SecretSource>,
    key_passphrase: Option<SecretSource>,
    name: Option<String>,
    revocations: Option<SecretSource>,
} each {
    cipher_suites: String => Vec<String>,
});

/// Where the Aerospike Secret Agent is, which hands out secrets of external services.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SecretAgent {
    /// Where it listens.
    pub address: Address,
    /// How connections to it are encrypted, if they are. Nothing of it may be a secret of the agent's.
    pub tls: Option<TlsOptions>,
    /// How long connecting to it may take, and each answer.
    pub timeout: Duration,
}

setters!(SecretAgent {
    address: Address,
    timeout: Duration,
} into {
    tls: Option<TlsOptions>,
});

impl Default for SecretAgent {
    fn default() -> Self {
        Self {
            address: Address { host: "localhost".to_string(), port: Self::PORT },
            tls: None,
            timeout: Duration::from_secs(5),
        }
    }
}

impl SecretAgent {
    /// The port of an agent that is given without one.
    pub const PORT: u16 = 3005;
}

/// How a cluster is reached and read.
#[derive(Clone)]
#[non_exhaustive]
pub struct ClusterOptions {
    /// The user, where access control is on.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Zeroizing<Vec<u8>>>,
    /// Who checks the user.
    pub auth: AuthMode,
    /// TLS, if wanted.
    pub tls: Option<TlsOptions>,
    /// The secret agent that is asked for what is said to be a secret of it.
    pub agent: SecretAgent,
    /// Which records are read.
    pub selection: RecordSelection,
    /// The most records read per second, over all connections; 0 for no limit.
    pub records_per_second: u32,
    /// The most bytes read per second, over all connections; 0 for no limit.
    pub bytes_per_second: u64,
    /// The most records read per second from one node; 0 for no limit.
    pub node_records_per_second: u32,
    /// The most bytes read per second from one node; 0 for no limit.
    pub node_bytes_per_second: u64,
    /// Queries at once; the machine's processors if 0.
    pub parallel: usize,
    /// The longest silence on a connection. A server that delivers nothing for so long (it may have nothing that passes
    /// the filter) is asked again.
    pub socket_timeout: Duration,
    /// How long making a connection may take, each with its TLS handshake, and how long the login on it.
    pub connect_timeout: Duration,
    /// How long a node is waited for that is gone and alone has a partition.
    pub absence: Duration,
    /// How often in a row a partition is asked for in vain, before that is an error.
    pub attempts: u32,
    /// The wait before something is asked for again; doubled with each further failure in a row, up to two seconds.
    pub retry_wait: Duration,
    /// How long a request may be in vain, with all its attempts and the waits between them, before that is an error;
    /// `None` for no limit but the attempts.
    pub total_timeout: Option<Duration>,
    /// Read from the nodes of these racks where they have a copy, the first rack rather than the second.
    pub racks: Vec<u32>,
    /// Reach nodes by their alternate addresses, as from outside their network.
    pub alternate_addresses: bool,
    /// Records are read ahead up to about this many bytes.
    pub read_ahead_bytes: usize,
}

setters!(ClusterOptions {
    auth: AuthMode,
    agent: SecretAgent,
    selection: RecordSelection,
    records_per_second: u32,
    bytes_per_second: u64,
    node_records_per_second: u32,
    node_bytes_per_second: u64,
    parallel: usize,
    socket_timeout: Duration,
    connect_timeout: Duration,
    absence: Duration,
    attempts: u32,
    retry_wait: Duration,
    racks: Vec<u32>,
    alternate_addresses: bool,
    read_ahead_bytes: usize,
} into {
    user: Option<String>,
    password: Option<Zeroizing<Vec<u8>>>,
    tls: Option<TlsOptions>,
    total_timeout: Option<Duration>,
});

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            user: None,
            password: None,
            auth: AuthMode::default(),
            tls: None,
            agent: SecretAgent::default(),
            selection: RecordSelection::default(),
            records_per_second: 0,
            bytes_per_second: 0,
            node_records_per_second: 0,
            node_bytes_per_second: 0,
            parallel: 0,
            socket_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(5),
            absence: Duration::from_secs(60),
            attempts: 10,
            retry_wait: Duration::from_millis(50),
            total_timeout: None,
            racks: Vec::new(),
            alternate_addresses: false,
            read_ahead_bytes: 32 << 20,
        }
    }
}

impl ClusterOptions {
    /// Queries at once.
    pub fn workers(&self) -> usize {
        match self.parallel {
            0 => std::thread::available_parallelism().map_or(2, usize::from),
            n => n,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_hosts_ports_and_namespace() {
        let url = |text| ClusterUrl::parse(text).map(|url| (url.to_string(), url.seeds.len(), url.namespace));
        let ok = |text: &str, seeds, namespace: Option<&str>| (text.to_string(), seeds, namespace.map(str::to_string));
        assert_eq!(url("aerospike://a").unwrap(), ok("aerospike://a:3000", 1, None));
        assert_eq!(url("aerospike://a:3100,b/bar").unwrap(), ok("aerospike://a:3100,b:3000/bar", 2, Some("bar")));
        assert_eq!(url("aerospike://[::1]:3100/").unwrap(), ok("aerospike://[::1]:3100", 1, None));
        assert_eq!(url("aerospike://fe80::7").unwrap(), ok("aerospike://[fe80::7]:3000", 1, None));
        for wrong in [
            "asb:x",
            "aerospike://",
            "aerospike://a:",
            "aerospike://a:0",
            "aerospike://a:70000",
            "aerospike://a,,b",
            "aerospike://[::1",
            "aerospike://a/b/c",
            "aerospike://ada:secret@a",
        ] {
            assert!(url(wrong).is_err(), "{wrong}");
        }
    }
}
