//! SOURCE and TARGET as people write them.

use super::applies::{GivenOption, Kind};
use super::select::SelectArgs;
use super::text;
use crate::error::{Error, Result};
use crate::format::snapshot::Manifest;
use crate::job::endpoint::namespace_of;
use crate::job::{self, SourceOptions, TargetOptions};
#[cfg(feature = "cluster")]
use crate::record::RecordSelection;
use crate::repository::Snapshot;
use crate::sources::MetSets;
use crate::targets::asb::AsbTargetOptions;
use std::path::PathBuf;

/// What a source needs beside its URL.
#[derive(clap::Args, Clone)]
pub struct SourceArgs {
    /// The private key (PEM) of encrypted .asb files
    #[arg(long, alias = "asb-key-file", value_name = "FILE")]
    asb_key: Option<PathBuf>,
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
            let selection = RecordSelection { filter: self.cluster.filter()?, ..selection };
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
    pub fn options(&self, asb: AsbTargetOptions, dry_run: bool) -> Result<TargetOptions> {
        let options = TargetOptions::default().asb(asb).dry_run(dry_run);
        #[cfg(feature = "cluster")]
        let options = options.cluster(self.cluster.access()?);
        Ok(options)
    }
}

/// Whether a target is standard output, which is then the records' alone, and can't be read back.
pub fn is_standard_output(target: &str) -> bool {
    matches!(target, "asb:-" | "jsonl:-")
}

/// The name that a namespace has in a source or target: what --rename says, or else the address.
pub fn rename(given: Option<String>, url: &str) -> Result<Option<String>> {
    match (given, namespace_of(url)?) {
        (Some(name), Some(other)) if name != other => {
            Err(Error::usage(format!("--rename says {name:?}, the address {url} {other:?}: give one of them")))
        }
        (name, other) => Ok(name.or(other)),
    }
}

/// A set was named of which the snapshot has no record where it was looked for: most likely a slip of the pen.
pub fn no_such_set(set: &[u8], snapshot: &Snapshot, there: &MetSets) -> Error {
    let what = format!("a record of set {:?} in snapshot {}", String::from_utf8_lossy(set), snapshot.id());
    Error::not_found(what, format!("What was looked through has these sets: {}", text::safe(&there.to_string())))
}

/// What a snapshot's backup could not read of these namespaces, line by line.
pub fn unread(manifest: &Manifest, namespaces: &[String]) -> Vec<String> {
    let named = manifest.namespaces.iter().filter(|one| namespaces.contains(&one.name));
    let lines =
        named.flat_map(|one| job::unread(one).into_iter().map(move |line| format!("namespace {}: {line}", one.name)));
    lines.collect()
}

/// `SNAPSHOT[:NAMESPACE[/SET]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path3 {
    /// Which snapshot.
    pub snapshot: String,
    /// Which namespace.
    pub namespace: Option<String>,
    /// Which set.
    pub set: Option<String>,
}

impl Path3 {
    /// The names of the namespaces that are meant: the one given, else all of the snapshot.
    pub fn namespaces(&self, snapshot: &Snapshot) -> Result<Vec<String>> {
        match &self.namespace {
            Some(name) => Ok(vec![snapshot.namespace(name)?.manifest().name.clone()]),
            None => Ok(snapshot.manifest().namespaces.iter().map(|namespace| namespace.name.clone()).collect()),
        }
    }
}

/// Splits `SNAPSHOT[:NAMESPACE[/SET]]`; a time with colons counts as the snapshot up to the last colon after its `Z` or
/// zone.
pub fn path3(text: &str) -> Path3 {
    let colon = if text.starts_with('@') {
        // The colon that ends a time is one that is not followed by two digits.
        text.match_indices(':').map(|(at, _)| at).find(|at| {
            let rest = text.as_bytes().get(at + 1..).unwrap_or_default();
            !matches!(rest, [a, b, ..] if a.is_ascii_digit() && b.is_ascii_digit())
        })
    } else {
        text.find(':')
    };
    let (snapshot, rest) = match colon.and_then(|at| text.split_at_checked(at)) {
        Some((snapshot, rest)) => (snapshot, rest.strip_prefix(':')),
        None => (text, None),
    };
    let rest = rest.filter(|rest| !rest.is_empty());
    let (namespace, set) = match rest.and_then(|rest| rest.split_once('/')) {
        Some((namespace, set)) => (Some(namespace), Some(set)),
        None => (rest, None),
    };
    let own = |text: &str| text.to_string();
    Path3 { snapshot: own(snapshot), namespace: namespace.map(own), set: set.map(own) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_snapshot_namespace_and_set() {
        let parts = |text| {
            let Path3 { snapshot, namespace, set } = path3(text);
            (snapshot, namespace.unwrap_or_default(), set.unwrap_or_default())
        };
        let of = |a: &str, b: &str, c: &str| (a.to_string(), b.to_string(), c.to_string());
        assert_eq!(parts("latest"), of("latest", "", ""));
        assert_eq!(parts("latest~2:bar"), of("latest~2", "bar", ""));
        assert_eq!(parts("ab12:bar/s p"), of("ab12", "bar", "s p"));
        assert_eq!(parts("@2026-05-01T12:00Z"), of("@2026-05-01T12:00Z", "", ""));
        assert_eq!(parts("@2026-05-01T12:00Z:bar/users"), of("@2026-05-01T12:00Z", "bar", "users"));
    }
}
