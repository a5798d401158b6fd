//! The options of commands that read or write a live cluster.

use super::context::first_line;
use super::restore::parse_digest;
use crate::error::{Error, Result};
use crate::record::PartitionSet;
use crate::source::aerospike::{AuthMode, ClusterOptions, RecordSelection, TlsOptions};
use clap::ValueEnum;
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

/// The variable that may hold the password of `--user`.
const PASSWORD_VARIABLE: &str = "AEROLITH_CLUSTER_PASSWORD";

/// How a live cluster is reached.
#[derive(clap::Args, Clone)]
#[command(next_help_heading = "Live clusters (aerospike://...)")]
pub struct ClusterArgs {
    /// The user, where the cluster has access control; the password comes from --cluster-password-file or from the variable
    /// AEROLITH_CLUSTER_PASSWORD
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Read the password of --user from the first line of this file
    #[arg(long, value_name = "FILE", requires = "user")]
    cluster_password_file: Option<PathBuf>,
    /// Who checks the user: the cluster, a directory (only over TLS), or the client's certificate
    #[arg(long, value_enum, default_value_t = Auth::Internal, value_name = "HOW")]
    auth: Auth,
    /// Encrypt connections; implied by the other --tls options
    #[arg(long)]
    tls: bool,
    /// Trusted certificate authorities (PEM) [default: the system's]
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// The client's certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of the client's certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The name that the servers' certificates bear [default: what the cluster says, else the host]
    #[arg(long, value_name = "NAME")]
    tls_name: Option<String>,
    /// Read or write at most so many records per second
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    records_per_second: u32,
    /// Read or write at most so many bytes per second
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    bytes_per_second: u64,
    /// The longest silence of a server, in seconds, after which it is asked again
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    socket_timeout: u32,
    /// Reach nodes by their alternate addresses, as from outside their network
    #[arg(long)]
    alternate_addresses: bool,
}

/// What of a live cluster is read, and where.
#[derive(clap::Args, Clone)]
#[command(next_help_heading = "Live clusters (aerospike://...)")]
pub struct ClusterReadArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Read only this set; may be given more than once. Like all that select, it makes snapshots that build on earlier ones of the
    /// same selection alone, since what was not selected is not gone
    #[arg(long, value_name = "NAME")]
    set: Vec<String>,
    /// Read only these bins, with commas between them
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    bins: Vec<String>,
    /// Read only these partitions, such as 0-1023,2000
    #[arg(long, value_name = "RANGES", alias = "partition-list")]
    partitions: Option<String>,
    /// Read only the record with this digest, in hexadecimal; may be given more than once
    #[arg(long, value_name = "HEX")]
    digest: Vec<String>,
    /// Read only the records whose digests this file names, one on each line
    #[arg(long, value_name = "FILE")]
    digest_file: Option<PathBuf>,
    /// Read only records for which this filter expression is true: base64, as clients print it
    #[arg(long, value_name = "BASE64")]
    filter_exp: Option<String>,
    /// Read at most so many records per second from one node
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    node_records_per_second: u32,
    /// Read at most so many bytes per second from one node
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    node_bytes_per_second: u64,
    /// Spare the cluster. gentle: one query at once, 5,000 records and 5,000,000 bytes per second from one node; moderate: two
    /// queries, 50,000 records and 50,000,000 bytes. --parallel and the limits, where given, count instead
    #[arg(long, value_enum, value_name = "HOW")]
    nice: Option<Nice>,
    /// Read from the nodes of this rack where they have a copy
    #[arg(long, value_name = "ID")]
    rack: Option<u32>,
}

impl ClusterReadArgs {
    /// The options of the library; `parallel` queries at once, the machine's processors if 0.
    pub fn options(self, parallel: usize) -> Result<ClusterOptions> {
        let selection = self.selection()?;
        let rack = self.rack;
        let nice = match self.nice {
            None => NiceLimits::default(),
            Some(Nice::Gentle) => NiceLimits { parallel: 1, records: 5_000, bytes: 5_000_000 },
            Some(Nice::Moderate) => NiceLimits { parallel: 2, records: 50_000, bytes: 50_000_000 },
        };
        // A limit of 0 was not given.
        let node_records_per_second = [self.node_records_per_second, nice.records].into_iter().find(|n| *n > 0);
        let node_bytes_per_second = [self.node_bytes_per_second, nice.bytes].into_iter().find(|n| *n > 0);
        let parallel = if parallel == 0 { nice.parallel } else { parallel };
        Ok(ClusterOptions {
            selection,
            rack,
            node_records_per_second: node_records_per_second.unwrap_or(0),
            node_bytes_per_second: node_bytes_per_second.unwrap_or(0),
            ..self.cluster.options(parallel)?
        })
    }

    fn selection(&self) -> Result<RecordSelection> {
        let names = |names: &[String]| names.iter().map(|name| name.as_bytes().to_vec()).collect();
        let partitions = self.partitions.as_ref().map(|text| {
            let wrong =
                || Error::usage(format!("--partitions {text}: give numbers and ranges up to 4095, as 0-1023,2000"));
            PartitionSet::parse(text).ok_or_else(wrong)
        });
        let mut digests = self.digest.iter().map(|text| parse_digest(text)).collect::<Result<Vec<_>>>()?;
        if let Some(path) = &self.digest_file {
            let doing = || format!("read digests from {}", path.display());
            let text = std::fs::read_to_string(path).map_err(|error| Error::io(doing(), error))?;
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            digests.extend(lines.map(parse_digest).collect::<Result<Vec<_>>>()?);
            if digests.is_empty() {
                return Err(Error::invalid(format!("{} holds no digests: nothing would be read", path.display())));
            }
        }
        let filter = self.filter_exp.as_ref().map(|text| {
            let decoded = base64_simd::STANDARD.decode_to_vec(text.trim());
            decoded
                .ok()
                .filter(|bytes| !bytes.is_empty())
                .ok_or_else(|| Error::usage(format!("--filter-exp {text}: that is no base64 of a filter expression")))
        });
        Ok(RecordSelection {
            sets: names(&self.set),
            bins: names(&self.bins),
            partitions: partitions.transpose()?,
            digests,
            filter: filter.transpose()?.unwrap_or_default(),
        })
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Nice {
    Gentle,
    Moderate,
}

/// What a preset limits; 0 for no limit.
#[derive(Default)]
struct NiceLimits {
    parallel: usize,
    records: u32,
    bytes: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Auth {
    Internal,
    External,
    Pki,
}

impl ClusterArgs {
    /// The options of the library; `parallel` queries at once, the machine's processors if 0.
    pub fn options(self, parallel: usize) -> Result<ClusterOptions> {
        let password = match (&self.user, &self.cluster_password_file, std::env::var_os(PASSWORD_VARIABLE)) {
            (None, _, _) => None,
            (Some(_), Some(path), _) => {
                let doing = || format!("read the cluster's password from {}", path.display());
                Some(first_line(std::fs::read(path).map_err(|error| Error::io(doing(), error))?))
            }
            (Some(_), None, Some(password)) => Some(Zeroizing::new(password.into_encoded_bytes())),
            (Some(_), None, None) => {
                return Err(Error::usage(format!(
                    "no password for --user: set {PASSWORD_VARIABLE}, or give --cluster-password-file"
                )));
            }
        };
        let named = self.tls_ca.is_some() || self.tls_cert.is_some() || self.tls_name.is_some();
        let tls = (self.tls || named).then_some(TlsOptions {
            authorities: self.tls_ca,
            certificate: self.tls_cert,
            key: self.tls_key,
            name: self.tls_name,
        });
        Ok(ClusterOptions {
            user: self.user,
            password,
            auth: match self.auth {
                Auth::Internal => AuthMode::Internal,
                Auth::External => AuthMode::External,
                Auth::Pki => AuthMode::Certificate,
            },
            tls,
            records_per_second: self.records_per_second,
            bytes_per_second: self.bytes_per_second,
            parallel,
            socket_timeout: Duration::from_secs(u64::from(self.socket_timeout)),
            absence: Duration::from_secs(u64::from(self.socket_timeout)).min(ClusterOptions::default().absence),
            alternate_addresses: self.alternate_addresses,
            ..ClusterOptions::default()
        })
    }
}
