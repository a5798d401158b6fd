//! SOURCE and TARGET as people write them.

use super::applies::{GivenOption, Kind, scheme};
use super::select::SelectArgs;
use super::text;
use crate::error::{Error, Result};
use crate::format::snapshot::Manifest;
use crate::job;
use crate::record::RecordSelection;
use crate::repository::Snapshot;
use crate::sources::asb::{AsbOptions, AsbSource};
use crate::sources::embedded::EmbeddedSource;
use crate::sources::jsonl::JsonlSource;
use crate::sources::{MetSets, RecordSource, Selected};
use crate::targets::RecordTarget;
use crate::targets::asb::{AsbTarget, AsbTargetOptions};
use crate::targets::embedded::EmbeddedTarget;
use crate::targets::jsonl::JsonlTarget;
use std::io::Read;
use std::path::{Path, PathBuf};

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

    /// Which records are selected; `set` is one that was named in another place.
    pub fn selection(&self, set: Option<&str>) -> Result<RecordSelection> {
        self.select.selection(set)
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
}

fn split(text: &str) -> Result<(&str, &Path)> {
    match text.split_once(':') {
        Some((scheme @ ("asb" | "jsonl" | "embedded"), path)) if !path.is_empty() => Ok((scheme, Path::new(path))),
        _ => Err(Error::usage(format!(
            "{text:?} is no source or target: write aerospike://HOST:PORT/NAMESPACE, asb:PATH, jsonl:FILE or \
             embedded:DIRECTORY"
        ))),
    }
}

/// Whether a target is standard output, which is then the records' alone, and can't be read back.
pub fn is_standard_output(target: &str) -> bool {
    matches!(target, "asb:-" | "jsonl:-")
}

/// Opens the selected part of a source. A cluster is asked `parallel` things at once.
pub fn source(
    text: &str,
    args: SourceArgs,
    selection: RecordSelection,
    parallel: usize,
) -> Result<Box<dyn RecordSource>> {
    let key_file = args.asb_key;
    if scheme(text) == "aerospike" {
        return cluster(
            text,
            selection,
            parallel,
            #[cfg(feature = "cluster")]
            args.cluster,
        );
    }
    let (scheme, path) = split(text)?;
    // `-` is standard input.
    if path != Path::new("-")
        && std::fs::metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    {
        return Err(Error::not_found(format!("source {text}"), "Check the path, and that its disk is mounted"));
    }
    let source: Box<dyn RecordSource> = match scheme {
        "asb" => Box::new(AsbSource::open(path, AsbOptions { key_file, ..AsbOptions::default() })?),
        "jsonl" => Box::new(JsonlSource::open(path)?),
        _ => Box::new(EmbeddedSource::open(path)?),
    };
    Ok(Selected::of(source, selection))
}

/// Opens what `output` delivers as a source: `asb:-` or `jsonl:-`. `name` is what messages call it.
pub fn output_source(
    text: &str,
    name: &str,
    mut output: impl Read + Send + 'static,
    args: SourceArgs,
    selection: RecordSelection,
) -> Result<Box<dyn RecordSource>> {
    let key_file = args.asb_key;
    let source: Box<dyn RecordSource> = match text {
        "jsonl:-" => Box::new(JsonlSource::from_reader(&mut output, name)?),
        _ => {
            let options = AsbOptions { key_file, ..AsbOptions::default() };
            Box::new(AsbSource::from_reader(Box::new(output), name, options)?)
        }
    };
    Ok(Selected::of(source, selection))
}

#[cfg(feature = "cluster")]
fn cluster(
    text: &str,
    selection: RecordSelection,
    parallel: usize,
    args: super::cluster::ClusterReadArgs,
) -> Result<Box<dyn RecordSource>> {
    use crate::aerospike::ClusterUrl;
    use crate::sources::aerospike::AerospikeSource;
    Ok(Box::new(AerospikeSource::connect(&ClusterUrl::parse(text)?, args.options(selection, parallel)?)?))
}

#[cfg(not(feature = "cluster"))]
fn cluster(text: &str, _: RecordSelection, _: usize) -> Result<Box<dyn RecordSource>> {
    Err(Error::invalid(format!("cannot read {text}: this aerolith was built without the feature \"cluster\"")))
}

#[cfg(feature = "cluster")]
fn cluster_target(text: &str, args: TargetArgs, dry_run: bool) -> Result<Box<dyn RecordTarget>> {
    use crate::aerospike::ClusterUrl;
    use crate::targets::aerospike::AerospikeTarget;
    let connect = if dry_run { AerospikeTarget::dry_run } else { AerospikeTarget::connect };
    Ok(Box::new(connect(&ClusterUrl::parse(text)?, args.cluster.options(0)?)?))
}

#[cfg(not(feature = "cluster"))]
fn cluster_target(text: &str, _: TargetArgs, _: bool) -> Result<Box<dyn RecordTarget>> {
    Err(Error::invalid(format!("cannot write {text}: this aerolith was built without the feature \"cluster\"")))
}

/// The namespace that a target's URL names, if it is a cluster's and names one.
#[cfg(feature = "cluster")]
pub fn target_namespace(text: &str) -> Result<Option<String>> {
    match scheme(text) {
        "aerospike" => Ok(crate::aerospike::ClusterUrl::parse(text)?.namespace),
        _ => Ok(None),
    }
}

/// The namespace that a target's URL names, if it is a cluster's and names one.
#[cfg(not(feature = "cluster"))]
pub fn target_namespace(_: &str) -> Result<Option<String>> {
    Ok(None)
}

/// The name that a namespace has in a source or target: what --rename says, or else the address.
pub fn rename(given: Option<String>, url: &str) -> Result<Option<String>> {
    match (given, target_namespace(url)?) {
        (Some(name), Some(other)) if name != other => {
            Err(Error::usage(format!("--rename says {name:?}, the address {url} {other:?}: give one of them")))
        }
        (name, other) => Ok(name.or(other)),
    }
}

/// Opens a target, or only looks at it for a dry run.
pub fn target(text: &str, asb: AsbTargetOptions, args: TargetArgs, dry_run: bool) -> Result<Box<dyn RecordTarget>> {
    if scheme(text) == "aerospike" {
        return cluster_target(text, args, dry_run);
    }
    let (scheme, path) = split(text)?;
    Ok(match scheme {
        "asb" if dry_run => Box::new(AsbTarget::dry_run(path, asb)?),
        "jsonl" if dry_run => Box::new(JsonlTarget::dry_run(path)?),
        "embedded" if dry_run => Box::new(EmbeddedTarget::dry_run(path)?),
        "asb" => Box::new(AsbTarget::create(path, asb)?),
        "jsonl" => Box::new(JsonlTarget::create(path)?),
        _ => Box::new(EmbeddedTarget::open(path)?),
    })
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
