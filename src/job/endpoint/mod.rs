//! Sources and targets by their URLs: `aerospike://HOST:PORT/NAMESPACE`, `asb:PATH`, `jsonl:FILE`,
//! `embedded:DIRECTORY`.

#[cfg(feature = "cluster")]
mod cluster;

#[cfg(feature = "cluster")]
pub use cluster::{ClusterAccess, ClusterLoad};

use crate::error::{Error, OptionsError, Result};
use crate::record::{Digest, RecordSelection};
use crate::secret::SecretSource;
use crate::setters::setters;
use crate::sources::asb::{AsbOptions, AsbSource};
use crate::sources::embedded::EmbeddedSource;
use crate::sources::jsonl::JsonlSource;
use crate::sources::{RecordSource, Selected};
use crate::targets::RecordTarget;
use crate::targets::asb::{AsbTarget, AsbTargetOptions};
use crate::targets::embedded::EmbeddedTarget;
use crate::targets::jsonl::JsonlTarget;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What a source or target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndpointKind {
    /// A live Aerospike cluster.
    Cluster,
    /// `.asb` files.
    Asb,
    /// A file of JSON lines.
    Jsonl,
    /// An embedded store.
    Embedded,
}

impl EndpointKind {
    /// What its URLs begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            EndpointKind::Cluster => "aerospike://",
            EndpointKind::Asb => "asb:",
            EndpointKind::Jsonl => "jsonl:",
            EndpointKind::Embedded => "embedded:",
        }
    }

    /// That of a URL; none of a text that is none.
    pub fn of(url: &str) -> Option<Self> {
        match scheme(url) {
            "aerospike" => Some(EndpointKind::Cluster),
            "asb" => Some(EndpointKind::Asb),
            "jsonl" => Some(EndpointKind::Jsonl),
            "embedded" => Some(EndpointKind::Embedded),
            _ => None,
        }
    }
}

/// What a URL has before its first colon, such as `asb`.
pub(crate) fn scheme(url: &str) -> &str {
    url.split(':').next().unwrap_or_default()
}

/// How a source is opened, and what of it is read.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct SourceOptions {
    /// Which records are read. A filter expression is evaluated by servers, so only a cluster takes one.
    pub selection: RecordSelection,
    /// A file of digests in hexadecimal, one on each line: only these records are read, beside those of `selection`.
    pub digest_file: Option<PathBuf>,
    /// The private key (PEM) of encrypted `.asb` files.
    pub asb_key: Option<SecretSource>,
    /// How a cluster is reached and read. The selection in it is not used.
    #[cfg(feature = "cluster")]
    pub cluster: ClusterAccess,
}

setters!(SourceOptions {
    selection: RecordSelection,
    digest_file: Option<PathBuf>,
    asb_key: Option<SecretSource>,
});

#[cfg(feature = "cluster")]
setters!(SourceOptions { cluster: ClusterAccess });

/// How a target is opened.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct TargetOptions {
    /// How `.asb` files are written.
    pub asb: AsbTargetOptions,
    /// How a cluster is reached.
    #[cfg(feature = "cluster")]
    pub cluster: ClusterAccess,
}

setters!(TargetOptions { asb: AsbTargetOptions });

#[cfg(feature = "cluster")]
setters!(TargetOptions { cluster: ClusterAccess });

/// A source that is open.
#[non_exhaustive]
pub struct OpenSource {
    /// The selected part of it.
    pub source: Box<dyn RecordSource>,
    /// The namespaces that it has.
    pub namespaces: Vec<String>,
}

/// A target that is open.
#[non_exhaustive]
pub struct OpenTarget {
    /// The target.
    pub target: Box<dyn RecordTarget>,
    /// The only namespace that its URL means, if it names one.
    pub namespace: Option<String>,
}

impl SourceOptions {
    /// The same with what the digest file holds. It may be a pipe, which can be read once alone.
    pub(crate) fn with_digests(&self) -> Result<Self> {
        let mut options = self.clone();
        let Some(path) = options.digest_file.take() else { return Ok(options) };
        let text = std::fs::read_to_string(&path);
        let text = text.map_err(|error| Error::io(format!("read digests from {}", path.display()), error))?;
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        options.selection.digests.extend(lines.map(parse_digest).collect::<Result<Vec<_>>>()?);
        if options.selection.digests.is_empty() {
            return Err(Error::invalid(format!("{} holds no digests: nothing would be read", path.display())));
        }
        Ok(options)
    }

    fn asb(&self) -> AsbOptions {
        AsbOptions { key: self.asb_key.clone(), ..AsbOptions::default() }
    }
}

/// A digest in hexadecimal.
pub(crate) fn parse_digest(text: &str) -> Result<Digest> {
    Digest::from_hex(text.trim())
        .ok_or_else(|| Error::usage(format!("{text:?} is no digest: give 40 hexadecimal digits")))
}

/// Opens a source.
///
/// # Errors
///
/// If the URL is none, an option doesn't go with it, or the source can't be reached or read.
pub fn open_source(url: &str, options: &SourceOptions) -> Result<OpenSource> {
    let source = open_selected(url, &options.with_digests()?)?;
    let namespaces = source.namespaces()?;
    Ok(OpenSource { source, namespaces })
}

fn open_selected(url: &str, options: &SourceOptions) -> Result<Box<dyn RecordSource>> {
    let selection = options.selection.clone();
    let (kind, path) = split(url)?;
    if kind != EndpointKind::Cluster {
        check_file(url, path, &selection)?;
    }
    let source: Box<dyn RecordSource> = match kind {
        EndpointKind::Cluster => return cluster_source(url, selection, options),
        EndpointKind::Asb => Box::new(AsbSource::open(path, options.asb())?),
        EndpointKind::Jsonl => Box::new(JsonlSource::open(path)?),
        EndpointKind::Embedded => Box::new(EmbeddedSource::open(path)?),
    };
    Ok(Selected::of(source, selection))
}

/// Refuses a source of files that isn't there, or a selection that it can't apply.
fn check_file(url: &str, path: &Path, selection: &RecordSelection) -> Result<()> {
    refuse_filter(url, selection)?;
    // `-` is standard input.
    if path != Path::new("-")
        && std::fs::metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    {
        return Err(Error::not_found(format!("source {url}"), "Check the path, and that its disk is mounted"));
    }
    Ok(())
}

/// The format of what a pipe delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PipeFormat {
    /// An `.asb` backup.
    Asb,
    /// JSON lines.
    Jsonl,
}

impl PipeFormat {
    /// The URL of standard input in this format.
    pub fn url(self) -> &'static str {
        match self {
            PipeFormat::Asb => "asb:-",
            PipeFormat::Jsonl => "jsonl:-",
        }
    }
}

/// Opens what a pipe delivers as a source. `name` is what messages and the snapshot call it.
///
/// # Errors
///
/// If an option doesn't go with it, or its beginning can't be read.
pub fn open_pipe(
    format: PipeFormat,
    name: &str,
    mut reader: Box<dyn Read + Send>,
    options: &SourceOptions,
) -> Result<OpenSource> {
    let options = options.with_digests()?;
    let selection = options.selection.clone();
    refuse_filter(format.url(), &selection)?;
    let source: Box<dyn RecordSource> = match format {
        PipeFormat::Jsonl => Box::new(JsonlSource::from_reader(&mut reader, name)?),
        PipeFormat::Asb => Box::new(AsbSource::from_reader(reader, name, options.asb())?),
    };
    let source = Selected::of(source, selection);
    let namespaces = source.namespaces()?;
    Ok(OpenSource { source, namespaces })
}

/// Nothing but a server can tell which records a filter expression is true for, or when they were updated.
fn refuse_filter(url: &str, selection: &RecordSelection) -> Result<()> {
    match &selection.for_servers()[..] {
        [] => Ok(()),
        fields => Err(Error::usage(format!(
            "{url}: servers alone can tell what {} selects, and it has none: leave it out",
            fields.join(" and ")
        ))),
    }
}

/// Opens a target: looks whether it can be restored into, and changes nothing yet.
///
/// # Errors
///
/// If the URL is none, an option doesn't go with it, or the target can't be reached or restored into.
pub fn open_target(url: &str, options: &TargetOptions) -> Result<OpenTarget> {
    let namespace = namespace_of(url)?;
    let (kind, path) = split(url)?;
    let target: Box<dyn RecordTarget> = match kind {
        EndpointKind::Cluster => cluster_target(url, options)?,
        EndpointKind::Asb => Box::new(AsbTarget::new(path, options.asb.clone())?),
        EndpointKind::Jsonl => Box::new(JsonlTarget::new(path)?),
        EndpointKind::Embedded => Box::new(EmbeddedTarget::open(path)?),
    };
    Ok(OpenTarget { target, namespace })
}

/// What a URL is of, and what it has after its first colon: a path, where it is no cluster's.
fn split(url: &str) -> Result<(EndpointKind, &Path)> {
    match (EndpointKind::of(url), url.split_once(':')) {
        (Some(kind), Some((_, path))) if !path.is_empty() => Ok((kind, Path::new(path))),
        _ => Err(no_endpoint(url)),
    }
}

/// That a text is no URL of a source or target.
pub(crate) fn no_endpoint(url: &str) -> Error {
    Error::usage(format!(
        "{url:?} is no source or target: write aerospike://HOST:PORT/NAMESPACE, asb:PATH, jsonl:FILE or \
         embedded:DIRECTORY"
    ))
}

#[cfg(feature = "cluster")]
fn cluster_source(url: &str, selection: RecordSelection, options: &SourceOptions) -> Result<Box<dyn RecordSource>> {
    options.cluster.source(url, selection)
}

#[cfg(not(feature = "cluster"))]
fn cluster_source(url: &str, _: RecordSelection, _: &SourceOptions) -> Result<Box<dyn RecordSource>> {
    Err(Error::invalid(format!("cannot read {url}: this aerolith was built without the feature \"cluster\"")))
}

#[cfg(feature = "cluster")]
fn cluster_target(url: &str, options: &TargetOptions) -> Result<Box<dyn RecordTarget>> {
    options.cluster.target(url)
}

#[cfg(not(feature = "cluster"))]
fn cluster_target(url: &str, _: &TargetOptions) -> Result<Box<dyn RecordTarget>> {
    Err(Error::invalid(format!("cannot write {url}: this aerolith was built without the feature \"cluster\"")))
}

/// The namespace that a URL names, if it is a cluster's and names one.
#[cfg(feature = "cluster")]
fn namespace_of(url: &str) -> Result<Option<String>> {
    match scheme(url) {
        "aerospike" => Ok(crate::aerospike::ClusterUrl::parse(url)?.namespace),
        _ => Ok(None),
    }
}

/// The namespace that a URL names, if it is a cluster's and names one.
#[cfg(not(feature = "cluster"))]
fn namespace_of(_: &str) -> Result<Option<String>> {
    Ok(None)
}

/// The name that a namespace has in a source or target: what was asked for, or else what the URL says.
pub(crate) fn name_there(given: Option<String>, url: &str) -> Result<Option<String>> {
    match (given, namespace_of(url)?) {
        (Some(name), Some(other)) if name != other => {
            Err(OptionsError::RenamedTwice { name, url: url.to_string(), other }.into())
        }
        (name, other) => Ok(name.or(other)),
    }
}

/// Whether a target has records already. What is none at all is told by whoever opens it.
pub(crate) fn holds_records(url: &str) -> bool {
    !matches!(EndpointKind::of(url), Some(EndpointKind::Asb | EndpointKind::Jsonl))
}

/// Whether a target is standard output, which is then the records' alone, and can't be read back.
pub(crate) fn is_standard_output(url: &str) -> bool {
    matches!(url, "asb:-" | "jsonl:-")
}
