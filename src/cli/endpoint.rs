//! SOURCE and TARGET as people write them.

use super::applies::{GivenOption, Kind};
use super::passphrase::secret;
use super::select::SelectArgs;
use crate::error::Result;
use crate::job::{SourceOptions, TargetOptions};
use crate::secret::SecretSource;
use crate::targets::asb::AsbTargetOptions;

/// What a source needs beside its URL.
#[derive(clap::Args, Clone)]
pub struct SourceArgs {
    /// The private key (PEM) of encrypted .asb files. env:VARIABLE, env-b64:VARIABLE and b64:TEXT stand for one that is
    /// in no file
    #[arg(long, alias = "asb-key-file", value_name = "FILE", value_parser = secret())]
    asb_key: Option<SecretSource>,
    #[command(flatten)]
    select: SelectArgs,
    #[cfg(feature = "cluster")]
    #[command(flatten)]
    cluster: super::cluster::ClusterReadArgs,
}

impl SourceArgs {
    /// All of them that not every source takes, and whether they were given. No `..`: an option that is added must be
    /// told of here.
    pub fn given(&self) -> Vec<GivenOption> {
        let Self {
            asb_key,
            // What selects, each source can do.
            select: _,
            #[cfg(feature = "cluster")]
            cluster,
        } = self;
        let key = GivenOption {
            name: "--asb-key",
            given: asb_key.is_some(),
            goes_with: &[Kind::Asb],
            all: false,
            why: "nothing else is encrypted so",
        };
        #[cfg_attr(not(feature = "cluster"), expect(unused_mut))]
        let mut all = vec![key];
        #[cfg(feature = "cluster")]
        all.extend(cluster.given());
        all
    }

    /// What the library is told. `set` is one that was named in another place; a cluster is asked `parallel` things at
    /// once.
    pub fn options(&self, set: Option<&str>, parallel: usize) -> Result<SourceOptions> {
        let selection = self.select.selection(set)?;
        let options = SourceOptions::default().digest_file(self.select.digest_file()).asb_key(self.asb_key.clone());
        #[cfg(feature = "cluster")]
        let (options, selection) = {
            let selection = self.cluster.filtered(selection)?;
            (options.cluster(self.cluster.access(parallel)?), selection)
        };
        #[cfg(not(feature = "cluster"))]
        let _ = parallel;
        Ok(options.selection(selection))
    }
}

/// What a target needs beside its URL.
#[derive(clap::Args)]
pub struct TargetArgs {
    #[cfg(feature = "cluster")]
    #[command(flatten)]
    cluster: super::cluster::ClusterArgs,
}

impl TargetArgs {
    /// All of them, and whether they were given. No `..`: an option that is added must be told of here.
    pub fn given(&self) -> Vec<GivenOption> {
        let Self {
            #[cfg(feature = "cluster")]
            cluster,
        } = self;
        #[cfg(feature = "cluster")]
        let all = cluster.given();
        #[cfg(not(feature = "cluster"))]
        let all = Vec::new();
        all
    }

    /// What the library is told.
    pub fn options(&self, asb: AsbTargetOptions) -> Result<TargetOptions> {
        let options = TargetOptions::default().asb(asb);
        #[cfg(feature = "cluster")]
        let options = options.cluster(self.cluster.access()?);
        Ok(options)
    }
}
