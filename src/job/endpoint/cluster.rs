//! Live clusters by their URLs.

use crate::aerospike::{ClusterOptions, ClusterUrl};
use crate::error::Result;
use crate::job::secret;
use crate::record::RecordSelection;
use crate::secret::SecretSource;
use crate::setters::setters;
use crate::sources::RecordSource;
use crate::sources::aerospike::AerospikeSource;
use crate::targets::RecordTarget;
use crate::targets::aerospike::AerospikeTarget;

/// How a live cluster is reached and read.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct ClusterAccess {
    /// What the library is told.
    pub options: ClusterOptions,
    /// Where the user's password comes from, if the options hold none: the first line of what is there. It is read
    /// when the cluster is opened.
    pub password_source: Option<SecretSource>,
    /// Reduce the load on the cluster while it is read, where the options set no limit of their own.
    pub load: ClusterLoad,
}

setters!(ClusterAccess {
    options: ClusterOptions,
    password_source: Option<SecretSource>,
    load: ClusterLoad,
});

/// How hard a cluster is worked while it is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClusterLoad {
    /// Without limits but those that are set one by one.
    #[default]
    Full,
    /// Two queries at once, 50,000 records and 50,000,000 bytes per second from one node.
    Moderate,
    /// One query at once, 5,000 records and 5,000,000 bytes per second from one node.
    Gentle,
}

impl ClusterLoad {
    /// Queries at once, and records and bytes per second from one node; 0 for no limit.
    fn limits(self) -> (usize, u32, u64) {
        match self {
            ClusterLoad::Full => (0, 0, 0),
            ClusterLoad::Moderate => (2, 50_000, 50_000_000),
            ClusterLoad::Gentle => (1, 5_000, 5_000_000),
        }
    }
}

impl ClusterAccess {
    /// What the library is told, with the password out of its file.
    pub(in crate::job) fn with_password(&self) -> Result<ClusterOptions> {
        let mut options = self.options.clone();
        if let (None, Some(source)) = (&options.password, &self.password_source) {
            let text = options.agent.read(source, "cluster's password")?;
            options.password = Some(secret::first_line(&text, &format!("the first line of {source}"))?);
        }
        Ok(options)
    }

    pub(super) fn source(&self, url: &str, selection: RecordSelection) -> Result<Box<dyn RecordSource>> {
        let url = ClusterUrl::parse(url)?;
        let (parallel, records, bytes) = self.load.limits();
        let mut options = self.with_password()?;
        options.selection = selection;
        // A limit of 0 was not set.
        if options.parallel == 0 {
            options.parallel = parallel;
        }
        if options.node_records_per_second == 0 {
            options.node_records_per_second = records;
        }
        if options.node_bytes_per_second == 0 {
            options.node_bytes_per_second = bytes;
        }
        Ok(Box::new(AerospikeSource::connect(&url, options)?))
    }

    pub(super) fn target(&self, url: &str) -> Result<Box<dyn RecordTarget>> {
        Ok(Box::new(AerospikeTarget::connect(&ClusterUrl::parse(url)?, self.with_password()?)?))
    }
}
