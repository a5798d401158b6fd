//! Options that don't fit what they are applied to.

/// What options ask for does not fit together, or not what they are applied to. As everywhere in the library's
/// messages, fields of options are in backquotes, so that a program that calls them otherwise can put its own names
/// there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// A full backup was said to be partial.
    #[error("`partial` goes with `kind` incremental or differential: a full backup is never partial")]
    PartialFull,
    /// A lease is shorter than any hiccup.
    #[error("`lease` takes at least 1s: with less, a short delay would look like a crash")]
    ShortLease,
    /// A source that holds only what changed was to be taken for all that there is.
    #[error(
        "{source_name} is {what}, which holds no more than what changed: back it up with `kind` incremental and \
         `partial`, after the full one that it builds on"
    )]
    ChangesOnly {
        /// The source.
        source_name: String,
        /// What it is.
        what: String,
    },
    /// A namespace is in two of the sources.
    #[error("namespace {namespace} is in {one} and in {other}: back them up one by one, with a `cluster` for each")]
    NamespaceTwice {
        /// The namespace.
        namespace: String,
        /// The source that has it too.
        one: String,
        /// The other one.
        other: String,
    },
    /// The sources know of different clusters, and none was named.
    #[error(
        "the sources are of different clusters, {one} and {other}: back them up one by one, or name one with `cluster`"
    )]
    SeveralClusters {
        /// The name of one.
        one: String,
        /// The name of another.
        other: String,
    },
    /// Nothing names the cluster, and the snapshots of the one that it would be called are of another source.
    #[error(
        "{source_name} doesn't say of which cluster it is, and the snapshots of cluster {cluster:?} are of another \
         source, {earlier}: give `cluster` {cluster} if it is the same database, so that this backup builds on them, \
         or else a name of its own"
    )]
    OtherSource {
        /// The source.
        source_name: String,
        /// The name that it would be given.
        cluster: String,
        /// The source of the snapshots of that name.
        earlier: String,
    },
    /// Nothing names the cluster, and the repository holds snapshots of others.
    #[error(
        "{source_name} doesn't say of which cluster it is, and the repository holds snapshots of {clusters}: give \
         `cluster` NAME, one of these if it is the same database, so that this backup builds on them, or else a name \
         of its own"
    )]
    UnnamedCluster {
        /// The source.
        source_name: String,
        /// The first few clusters that the repository knows, for people.
        clusters: String,
    },
    /// A namespace was given one name, and the URL names another.
    #[error("`rename` says {name:?}, the address {url} {other:?}: give one of them")]
    RenamedTwice {
        /// The name that was given.
        name: String,
        /// The URL.
        url: String,
        /// The name in it.
        other: String,
    },
    /// One name was given for several namespaces.
    #[error(
        "`rename` needs a single namespace, as does an address that names one: choose one of the snapshot with \
         `namespace`. It has {}",
        .namespaces.join(", ")
    )]
    RenameOfSeveral {
        /// Those that the snapshot has.
        namespaces: Vec<String>,
    },
    /// It is unknown which records of a snapshot is selected by what servers alone can tell: a filter expression, the
    /// time of the last update, whether a record expires.
    #[error(
        "servers alone can tell what {} selects, so it is unknown which records of namespace {namespace} of the \
         snapshot that is: leave it out",
        .fields.join(" and ")
    )]
    UnknownFilter {
        /// The namespace.
        namespace: String,
        /// The fields that select so, in backquotes.
        fields: Vec<&'static str>,
    },
    /// Single records were asked for, and the snapshot has several namespaces.
    #[error(
        "single records are of a single namespace: choose one of the snapshot with `namespace`. It has {}",
        .namespaces.join(", ")
    )]
    RecordsOfSeveral {
        /// Those that the snapshot has.
        namespaces: Vec<String>,
    },
    /// Some bins alone are to be restored into a target that has records, and nothing says what happens to those.
    #[error(
        "`bins` needs `conflict` here: merge keeps what a record of the target has beside these bins, replace does not"
    )]
    BinsWithoutConflict,
    /// The snapshot holds some bins alone, and nothing says what happens to records that the target has.
    #[error(
        "snapshot {snapshot} holds of namespace {namespace} only {selection}: say `conflict` merge, which keeps what a \
         record of the target has beside these bins, or `conflict` replace, which drops it"
    )]
    HoldsSomeBins {
        /// The snapshot's id.
        snapshot: String,
        /// The namespace.
        namespace: String,
        /// What the snapshot holds of it.
        selection: String,
    },
    /// A limit for each file was given, and the target is a single one.
    #[error("`file_limit` is for several files, and {target} is a single one: name a directory, or leave it out")]
    LimitOfSingleFile {
        /// The target.
        target: String,
    },
    /// What is written to standard output was to be read back.
    #[error("standard output can't be read back: leave out `verify`, or name a file")]
    VerifiedOutput,
}
