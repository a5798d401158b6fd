//! What options are called: messages of the library name fields of its options, in backquotes, and this puts what is
//! typed here in their place.

use std::borrow::Cow;

/// What fields of the library's options are called here, as its messages have them.
const NAMES: &[(&str, &str)] = &[
    ("`accept_loss`", "--accept-loss"),
    ("`allow_partial`", "--allow-partial"),
    ("`asb_key`", "--asb-key"),
    ("`authorities`", "--tls-ca FILE"),
    ("`bins`", "--bins"),
    ("`cluster`", "--cluster"),
    ("`cipher_suites`", "--tls-ciphers"),
    ("`conflict`", "--conflict"),
    ("`expiry`", "--no-ttl"),
    ("`fence`", "--fence"),
    ("`file_limit`", "--file-limit"),
    ("`filter`", "--filter-exp"),
    ("`independent`", "--independent"),
    ("`indexes_last`", "--indexes-last"),
    ("`key_passphrase`", "--tls-key-passphrase-file or --tls-key-passphrase-command"),
    ("`kind`", "--kind"),
    ("`last`", "--keep-last"),
    ("`lease`", "--lease"),
    ("`max_unused_percent`", "--max-unused"),
    ("`mirror`", "--mirror"),
    ("`modified_after`", "--modified-after"),
    ("`modified_before`", "--modified-before"),
    ("`namespace`", "SNAPSHOT:NAMESPACE"),
    ("`never_expires`", "--no-ttl-only"),
    ("`partial`", "--partial"),
    ("`rename`", "--rename"),
    ("`resume`", "--resume"),
    ("`skip_bad_records`", "--skip-bad-records"),
    ("`tags`", "--keep-tag"),
    ("`this_key`", "--this-key"),
    ("`tls`", "--tls or --tls-ca"),
    ("`total_timeout`", "--total-timeout"),
    ("`user`", "--user"),
    ("`verify`", "--verify"),
    ("`version`", "--asb-version"),
    ("`wait`", "--wait"),
    ("`without_indexes`", "--no-indexes"),
    ("`without_records`", "--no-records"),
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
    fn every_option_that_a_message_of_the_library_names_has_a_name_here() {
        // What is in backquotes and no field of options.
        let others = ["`config`", "`latest`"];
        let mut directories = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
        let mut named = 0;
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() && !path.ends_with("src/cli") {
                    directories.push(path.clone());
                }
                let text = if path.is_file() { std::fs::read_to_string(&path).unwrap() } else { continue };
                for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
                    for (at, _) in line.match_indices('`') {
                        let word = line[at + 1..].split('`').next().unwrap();
                        let is_field =
                            !word.is_empty() && word.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase());
                        let name = format!("`{word}`");
                        if is_field && line[at..].starts_with(&name) && !others.contains(&&*name) {
                            assert!(NAMES.iter().any(|(field, _)| *field == name), "{}: {name}", path.display());
                            named += 1;
                        }
                    }
                }
            }
        }
        assert!(named > 40, "{named}");
    }

    #[test]
    fn messages_name_the_options_of_the_command_line() {
        assert_eq!(with_options("wait with `wait`, or leave `it`"), "wait with --wait, or leave `it`");
        assert!(matches!(with_options("nothing to name"), Cow::Borrowed(_)));
    }
}
