//! The options of commands that read or write a live cluster.

use super::context::first_line;
use crate::error::{Error, Result};
use crate::source::aerospike::{AuthMode, ClusterOptions, TlsOptions};
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
    /// Read only this set. Its snapshots build on earlier ones of the same set
    #[arg(long, value_name = "NAME")]
    set: Option<String>,
    /// Read from the nodes of this rack where they have a copy
    #[arg(long, value_name = "ID")]
    rack: Option<u32>,
}

impl ClusterReadArgs {
    /// The options of the library; `parallel` queries at once, the machine's processors if 0.
    pub fn options(self, parallel: usize) -> Result<ClusterOptions> {
        let (set, rack) = (self.set.unwrap_or_default().into_bytes(), self.rack);
        Ok(ClusterOptions { set, rack, ..self.cluster.options(parallel)? })
    }
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
            alternate_addresses: self.alternate_addresses,
            ..ClusterOptions::default()
        })
    }
}
