//! What options are called: the library says what doesn't fit, and this which option to change.

use crate::error::{Error, OptionsError};
use std::borrow::Cow;

/// What fields of the library's options are called here. Its messages have them in backquotes.
const NAMES: &[(&str, &str)] = &[
    ("`accept_loss`", "--accept-loss"),
    ("`allow_partial`", "--allow-partial"),
    ("`asb_key`", "--asb-key"),
    ("`authorities`", "--tls-ca FILE"),
    ("`cluster`", "--cluster"),
    ("`conflict`", "--conflict"),
    ("`fence`", "--fence"),
    ("`filter`", "--filter-exp"),
    ("`indexes_last`", "--indexes-last"),
    ("`last`", "--keep-last"),
    ("`max_unused_percent`", "--max-unused"),
    ("`mirror`", "--mirror"),
    ("`never_expires`", "--no-ttl"),
    ("`partial`", "--partial"),
    ("`rename`", "--rename"),
    ("`resume`", "--resume"),
    ("`skip_bad_records`", "--skip-bad-records"),
    ("`tags`", "--keep-tag"),
    ("`this_key`", "--this-key"),
    ("`tls`", "--tls or --tls-ca"),
    ("`user`", "--user"),
    ("`version`", "--asb-version"),
    ("`wait`", "--wait"),
    ("`without_indexes`", "--no-indexes"),
    ("`without_udfs`", "--no-udfs"),
    ("`without_users`", "--no-users"),
];

/// A message of the library with the options called as they are here.
pub fn with_options(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    if text.contains('`') {
        for (field, option) in NAMES {
            text = Cow::Owned(text.replace(field, option));
        }
    }
    text
}

/// Names the options in an error of the library.
pub fn name_options(error: Error) -> Error {
    match error {
        Error::Options(error) => Error::usage(advice(&error)),
        Error::PartlyRestored { source } => Error::invalid(format!(
            "{}. What was written stays. Run it again; with --resume it passes over what is there already",
            source.to_string().trim_end_matches('.')
        )),
        error => error,
    }
}

fn advice(error: &OptionsError) -> String {
    match error {
        OptionsError::PartialFull => {
            "--partial goes with --kind incremental or differential: a full backup is never partial".into()
        }
        OptionsError::ShortLease => {
            "--lease takes at least 1s: with less, a short delay would look like a crash".into()
        }
        OptionsError::ChangesOnly { source_name, what } => format!(
            "{source_name} is {what}, which holds no more than what changed: back it up with --kind incremental \
             --partial, after the full one that it builds on"
        ),
        OptionsError::NamespaceTwice { namespace, one, other } => format!(
            "namespace {namespace} is in {one} and in {other}: back them up one by one, with a --cluster for each"
        ),
        OptionsError::SeveralClusters { one, other } => format!(
            "the sources are of different clusters, {one} and {other}: back them up one by one, or name one with \
             --cluster"
        ),
        OptionsError::OtherSource { source_name, cluster, earlier } => format!(
            "{source_name} doesn't say of which cluster it is, and the snapshots of cluster {cluster:?} are of another \
             source, {earlier}: give --cluster {cluster} if it is the same database, so that this backup builds on \
             them, or else a name of its own"
        ),
        OptionsError::UnnamedCluster { source_name, clusters } => format!(
            "{source_name} doesn't say of which cluster it is, and the repository holds snapshots of {clusters}: give \
             --cluster NAME, one of these if it is the same database, so that this backup builds on them, or else a \
             name of its own"
        ),
        OptionsError::RenamedTwice { name, url, other } => {
            format!("--rename says {name:?}, the address {url} {other:?}: give one of them")
        }
        OptionsError::RenameOfSeveral { namespaces } => format!(
            "--rename needs a single namespace, as does an address that names one: verify SNAPSHOT:NAMESPACE. The \
             snapshot has {}",
            namespaces.join(", ")
        ),
        OptionsError::UnknownFilter { namespace } => format!(
            "--filter-exp is evaluated by servers, so it is unknown which records of namespace {namespace} of the \
             snapshot it selects: leave it out"
        ),
        OptionsError::RecordsOfSeveral { namespaces } => format!(
            "single records are of a single namespace: restore SNAPSHOT:NAMESPACE. It has {}",
            namespaces.join(", ")
        ),
        OptionsError::BinsWithoutConflict => {
            "--bins needs --conflict here: merge keeps what a record of the target has \
                                              beside these bins, replace does not"
                .into()
        }
        OptionsError::HoldsSomeBins { snapshot, namespace, selection } => format!(
            "snapshot {snapshot} holds of namespace {namespace} only {selection}: say --conflict merge, which keeps \
             what a record of the target has beside these bins, or --conflict replace, which drops it"
        ),
        OptionsError::VerifiedOutput => "standard output can't be read back: leave out --verify, or name a file".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_options_that_messages_name_exist() {
        fn has(command: &clap::Command, name: &str) -> bool {
            command.get_arguments().any(|argument| argument.get_long() == Some(name))
                || command.get_subcommands().any(|one| has(one, name))
        }
        let command = crate::cli::Cli::command();
        for (field, option) in NAMES {
            for name in option.split_whitespace().filter_map(|word| word.strip_prefix("--")) {
                assert!(has(&command, name), "{field} is said to be --{name}");
            }
        }
    }

    #[test]
    fn messages_name_the_options_of_the_command_line() {
        assert_eq!(with_options("wait with `wait`, or leave `it`"), "wait with --wait, or leave `it`");
        assert!(matches!(with_options("nothing to name"), Cow::Borrowed(_)));
    }
}
