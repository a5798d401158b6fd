//! The options of commands that read or write a live cluster.

use super::applies::{GivenOption, Kind};
use super::tls::{SecretArgs, TlsArgs};
use crate::aerospike::{AuthMode, ClusterOptions};
use crate::error::{Error, Result};
use crate::job::{ClusterAccess, ClusterLoad};
use crate::record::{RecordSelection, Timestamp};
use crate::repository::resolve::parse_begin;
use clap::ValueEnum;
use std::time::Duration;
use zeroize::Zeroizing;

/// The variable that may hold the password of `--user`.
const PASSWORD_VARIABLE: &str = "AEROLITH_CLUSTER_PASSWORD";

/// How a live cluster is reached.
#[derive(clap::Args, Clone)]
#[command(next_help_heading = "Live clusters (aerospike://...)")]
pub struct ClusterArgs {
    /// The user, where the cluster has access control; the password comes from --cluster-password-file,
    /// --cluster-password-command, or the variable AEROLITH_CLUSTER_PASSWORD
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    #[command(flatten)]
    secret: SecretArgs,
    /// Who checks the user: the cluster, a directory service (over TLS only), or the client's certificate [default:
    /// internal]
    #[arg(long, value_enum, value_name = "HOW")]
    auth: Option<Auth>,
    #[command(flatten)]
    tls: TlsArgs,
    /// Read or write at most N records per second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    records_per_second: Option<u32>,
    /// Read or write at most N bytes per second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    bytes_per_second: Option<u64>,
    /// How long a server may be silent, in seconds, before the request is repeated [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    socket_timeout: Option<u32>,
    /// How long making a connection to a server may take, in seconds, and logging in on it [default: 5]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    connect_timeout: Option<u32>,
    /// How often in a row a request may be made in vain [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    attempts: Option<u32>,
    /// How long to wait before a request is repeated, in milliseconds; doubled with each failure, up to two seconds
    /// [default: 50]
    #[arg(long, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u32).range(0..=3_600_000))]
    retry_wait: Option<u32>,
    /// How long a request may be in vain, in seconds, with all its attempts and the waits between them [default: no
    /// limit]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    total_timeout: Option<u32>,
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
    /// Read only records for which this filter expression is true: base64, as clients print it
    #[arg(long, value_name = "BASE64")]
    filter_exp: Option<String>,
    /// Read only records whose last update is at or after this time by the servers' clocks, such as 2026-05-01 or
    /// 2026-05-01T12:00Z; without a zone it is the machine's. A snapshot of such a selection is of that selection
    /// alone: for what changed since the last backup there is --kind incremental, which also finds deletes
    #[arg(long, value_name = "TIME", value_parser = parse_modified)]
    modified_after: Option<Timestamp>,
    /// Read only records whose last update is before this time
    #[arg(long, value_name = "TIME", value_parser = parse_modified)]
    modified_before: Option<Timestamp>,
    /// Read only records that never expire
    #[arg(long)]
    no_ttl_only: bool,
    /// Read at most N records per second from one node
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    node_records_per_second: Option<u32>,
    /// Read at most N bytes per second from one node
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    node_bytes_per_second: Option<u64>,
    /// Reduce the load on the cluster. gentle: one query at once, 5,000 records and 5,000,000 bytes per second from
    /// one node; moderate: two queries, 50,000 records and 50,000,000 bytes. --parallel and the limits override it
    #[arg(long, value_enum, value_name = "HOW")]
    nice: Option<Nice>,
    /// Read from the nodes of this rack where they have a copy; several racks, separated by commas, in order of
    /// preference
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    rack: Vec<u32>,
}

impl ClusterReadArgs {
    /// What the library is told; `parallel` queries at once, the machine's processors if 0.
    pub fn access(&self, parallel: usize) -> Result<ClusterAccess> {
        let load = match self.nice {
            None => ClusterLoad::Full,
            Some(Nice::Moderate) => ClusterLoad::Moderate,
            Some(Nice::Gentle) => ClusterLoad::Gentle,
        };
        let access = self.cluster.access()?;
        let options = ClusterOptions {
            parallel,
            racks: self.rack.clone(),
            node_records_per_second: self.node_records_per_second.unwrap_or(0),
            node_bytes_per_second: self.node_bytes_per_second.unwrap_or(0),
            ..access.options.clone()
        };
        Ok(access.options(options).load(load))
    }

    /// A selection with what servers evaluate.
    pub fn filtered(&self, selection: RecordSelection) -> Result<RecordSelection> {
        if let (Some(after), Some(before)) = (self.modified_after, self.modified_before)
            && after >= before
        {
            return Err(Error::usage(format!(
                "--modified-after {after} is not before --modified-before {before}: no record would be read"
            )));
        }
        let selection = selection
            .modified_after(self.modified_after)
            .modified_before(self.modified_before)
            .never_expires(self.no_ttl_only);
        let Some(text) = &self.filter_exp else { return Ok(selection) };
        let decoded = base64_simd::STANDARD.decode_to_vec(text.trim()).ok().filter(|bytes| !bytes.is_empty());
        let filter = decoded
            .ok_or_else(|| Error::usage(format!("--filter-exp {text}: that is no base64 of a filter expression")))?;
        Ok(selection.filter(filter))
    }

    /// All of them, and whether they were given. No `..`: an option that is added must be told of here.
    pub fn given(&self) -> Vec<GivenOption> {
        let Self {
            cluster,
            filter_exp,
            modified_after,
            modified_before,
            no_ttl_only,
            node_records_per_second,
            node_bytes_per_second,
            nice,
            rack,
        } = self;
        let reads = |name, given| GivenOption { name, given, goes_with: &[Kind::Cluster], all: true, why: SERVERS };
        let mut all = cluster.given();
        all.extend([
            reads("--filter-exp", filter_exp.is_some()),
            reads("--modified-after", modified_after.is_some()),
            reads("--modified-before", modified_before.is_some()),
            reads("--no-ttl-only", *no_ttl_only),
            reads("--node-records-per-second", node_records_per_second.is_some()),
            reads("--node-bytes-per-second", node_bytes_per_second.is_some()),
            reads("--nice", nice.is_some()),
            reads("--rack", !rack.is_empty()),
        ]);
        all
    }
}

/// Reads a time; a day means its beginning. asbackup's form, with `_` before the hours, is one too.
fn parse_modified(text: &str) -> Result<Timestamp, String> {
    let time = parse_begin(&text.replacen('_', "T", 1)).map(Timestamp);
    time.ok_or_else(|| "it is not a time; write it as 2026-05-01T12:00Z".to_string())
}

#[derive(Clone, Copy, ValueEnum)]
enum Nice {
    Gentle,
    Moderate,
}

#[derive(Clone, Copy, ValueEnum)]
enum Auth {
    Internal,
    External,
    Pki,
}

/// Why nothing but a live cluster takes an option.
const SERVERS: &str = "it has no servers";

impl ClusterArgs {
    /// All of them, and whether they were given. No `..`: an option that is added must be told of here.
    pub fn given(&self) -> Vec<GivenOption> {
        let Self {
            user,
            secret,
            auth,
            tls,
            records_per_second,
            bytes_per_second,
            socket_timeout,
            connect_timeout,
            attempts,
            retry_wait,
            total_timeout,
            alternate_addresses,
        } = self;
        let reaches = |name, given| GivenOption { name, given, goes_with: &[Kind::Cluster], all: false, why: SERVERS };
        let mut all = vec![
            reaches("--user", user.is_some()),
            reaches("--auth", auth.is_some()),
            GivenOption { all: true, ..reaches("--records-per-second", records_per_second.is_some()) },
            GivenOption { all: true, ..reaches("--bytes-per-second", bytes_per_second.is_some()) },
            reaches("--socket-timeout", socket_timeout.is_some()),
            reaches("--connect-timeout", connect_timeout.is_some()),
            reaches("--attempts", attempts.is_some()),
            reaches("--retry-wait", retry_wait.is_some()),
            reaches("--total-timeout", total_timeout.is_some()),
            reaches("--alternate-addresses", *alternate_addresses),
        ];
        all.extend(secret.given(reaches));
        all.extend(tls.given(reaches));
        all
    }

    /// What the library is told.
    pub fn access(&self) -> Result<ClusterAccess> {
        let variable = std::env::var_os(PASSWORD_VARIABLE);
        let password = match (&self.user, self.secret.password_option(), variable) {
            (None, Some(option), _) => {
                return Err(Error::usage(format!("{option} has the password of --user, which is not given")));
            }
            (None, None, _) | (Some(_), Some(_), _) => None,
            (Some(_), None, Some(password)) => Some(Zeroizing::new(password.into_encoded_bytes())),
            (Some(_), None, None) => {
                return Err(Error::usage(format!(
                    "no password for --user: set {PASSWORD_VARIABLE}, or give --cluster-password-file or \
                     --cluster-password-command"
                )));
            }
        };
        let seconds = |seconds: Option<u32>| seconds.map(|seconds| Duration::from_secs(u64::from(seconds)));
        let defaults = ClusterOptions::default();
        let socket_timeout = seconds(self.socket_timeout).unwrap_or(defaults.socket_timeout);
        let options = ClusterOptions {
            user: self.user.clone(),
            password,
            auth: match self.auth {
                Some(Auth::Internal) | None => AuthMode::Internal,
                Some(Auth::External) => AuthMode::External,
                Some(Auth::Pki) => AuthMode::Certificate,
            },
            tls: self.tls.options()?,
            agent: self.secret.agent()?,
            records_per_second: self.records_per_second.unwrap_or(0),
            bytes_per_second: self.bytes_per_second.unwrap_or(0),
            socket_timeout,
            connect_timeout: seconds(self.connect_timeout).unwrap_or(defaults.connect_timeout),
            attempts: self.attempts.unwrap_or(defaults.attempts),
            retry_wait: self.retry_wait.map_or(defaults.retry_wait, |millis| Duration::from_millis(u64::from(millis))),
            total_timeout: seconds(self.total_timeout),
            absence: socket_timeout.min(defaults.absence),
            alternate_addresses: self.alternate_addresses,
            ..defaults
        };
        Ok(ClusterAccess::default().options(options).password_source(self.secret.password()?))
    }
}
