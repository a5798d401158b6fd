//! Every option of `backup`, `restore` and `verify` with every kind of source and target: it is applied, or refused by
//! its name.

use super::support::{Output, Sandbox};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What an option goes with.
#[derive(Clone, Copy)]
enum Goes {
    /// With all kinds.
    Everywhere,
    /// With these alone.
    With(&'static [&'static str]),
    /// With none of the URLs here: its own test says with what.
    Nowhere,
}

use Goes::{Everywhere, Nowhere, With};

/// An option with a value and what it needs beside it, and what it goes with.
type Rule = (&'static [&'static str], Goes);

const CLUSTER: Goes = With(&["aerospike"]);
const LIVE: Goes = With(&["aerospike", "embedded"]);
const FILES: Goes = With(&["asb", "jsonl"]);
const ASB: Goes = With(&["asb"]);

/// How a cluster is reached.
const REACHING: &[Rule] = &[
    (&["--user", "ann", "--cluster-password-file", "password"], CLUSTER),
    (&["--cluster-password-file", "password", "--user", "ann"], CLUSTER),
    (&["--cluster-password-command", "echo x", "--user", "ann"], CLUSTER),
    (&["--secret-agent", "localhost:3005"], CLUSTER),
    (&["--secret-agent-ca", "ca.pem"], CLUSTER),
    (&["--auth", "internal"], CLUSTER),
    (&["--tls"], CLUSTER),
    (&["--tls-ca", "ca.pem"], CLUSTER),
    (&["--tls-cert", "cert.pem", "--tls-key", "key.pem"], CLUSTER),
    (&["--tls-key", "key.pem", "--tls-cert", "cert.pem"], CLUSTER),
    (&["--tls-key-passphrase-file", "p", "--tls-key", "key.pem", "--tls-cert", "cert.pem"], CLUSTER),
    (&["--tls-key-passphrase-command", "echo x", "--tls-key", "key.pem", "--tls-cert", "cert.pem"], CLUSTER),
    (&["--tls-name", "name"], CLUSTER),
    (&["--tls-min-version", "1.3"], CLUSTER),
    (&["--tls-ciphers", "TLS_AES_256_GCM_SHA384"], CLUSTER),
    (&["--tls-crl", "crl.pem"], CLUSTER),
    (&["--tls-crl-leaf-only", "--tls-crl", "crl.pem"], CLUSTER),
    (&["--records-per-second", "5"], CLUSTER),
    (&["--bytes-per-second", "5"], CLUSTER),
    (&["--socket-timeout", "60"], CLUSTER),
    (&["--connect-timeout", "5"], CLUSTER),
    (&["--attempts", "3"], CLUSTER),
    (&["--retry-wait", "100"], CLUSTER),
    (&["--total-timeout", "600"], CLUSTER),
    (&["--alternate-addresses"], CLUSTER),
];

/// What of a source is read, and how.
const READING: &[Rule] = &[
    (&["--asb-key", "key.pem"], ASB),
    (&["--set", "people"], Everywhere),
    (&["--bins", "age"], Everywhere),
    (&["--partitions", "0-1023"], Everywhere),
    (&["--digest", "3570c8f82ab208bf9027e2bf381f63e9d904502a"], Everywhere),
    (&["--digest-file", "digests"], Everywhere),
    (&["--modified-after", "2026-05-01"], CLUSTER),
    (&["--modified-before", "2026-05-01T12:00Z"], CLUSTER),
    (&["--no-ttl-only"], CLUSTER),
    (&["--filter-exp", "kwOTUQKhbmQ="], CLUSTER),
    (&["--node-records-per-second", "5"], CLUSTER),
    (&["--node-bytes-per-second", "5"], CLUSTER),
    (&["--nice", "gentle"], CLUSTER),
    (&["--rack", "1,2"], CLUSTER),
];

const BACKUP: &[Rule] = &[
    (&["--from-command", "true"], Nowhere),
    (&["--kind", "full"], Everywhere),
    (&["--partial", "--kind", "incremental"], FILES),
    (&["--cluster", "zoo"], Everywhere),
    (&["--namespace", "test"], Everywhere),
    (&["--tag", "x"], Everywhere),
    (&["--hold", "why"], Everywhere),
    (&["--lease", "1min"], Everywhere),
    (&["--strict"], Everywhere),
    (&["--skip-bad-records"], Everywhere),
    (&["--allow-partial"], CLUSTER),
    (&["--accept-loss"], CLUSTER),
    (&["--compact"], Everywhere),
    (&["--deletes", "walk", "--kind", "incremental"], LIVE),
    (&["--no-resume"], Everywhere),
    (&["--note-every", "5"], LIVE),
    (&["--memory", "64"], Everywhere),
    (&["--parallel", "2"], Everywhere),
];

const VERIFY: &[Rule] = &[
    (&["--rename", "test"], Everywhere),
    (&["--summary"], Everywhere),
    (&["--independent"], CLUSTER),
    (&["--limit", "1"], Everywhere),
    (&["--cluster", "asb"], Everywhere),
    (&["--tag", "one"], Everywhere),
    (&["--host", "here"], Everywhere),
];

const RESTORE: &[Rule] = &[
    (&["--rename", "test"], Everywhere),
    (&["--conflict", "replace"], LIVE),
    (&["--conflict", "keep"], LIVE),
    (&["--conflict", "newer"], LIVE),
    (&["--conflict", "merge"], LIVE),
    (&["--dry-run"], Everywhere),
    (&["--resume"], LIVE),
    (&["--failed-to", "refused"], Everywhere),
    (&["--verify"], Everywhere),
    (&["--mirror", "--yes"], LIVE),
    (&["--yes", "--mirror"], LIVE),
    (&["--set", "people"], Everywhere),
    (&["--partitions", "0-1023"], Everywhere),
    // A live target must be told what becomes of the other bins.
    (&["--bins", "age"], FILES),
    (&["--key", "ann"], Everywhere),
    (&["--key-file", "digests"], Everywhere),
    (&["--digest", "3570c8f82ab208bf9027e2bf381f63e9d904502a"], Everywhere),
    (&["--digest-file", "digests"], Everywhere),
    (&["--extra-ttl", "5"], Everywhere),
    (&["--no-ttl"], Everywhere),
    (&["--no-records"], Everywhere),
    (&["--no-metadata"], Everywhere),
    (&["--no-indexes"], Everywhere),
    (&["--no-udfs"], Everywhere),
    (&["--no-users"], Everywhere),
    (&["--indexes-last"], LIVE),
    (&["--wait-indexes"], CLUSTER),
    (&["--zstd", "3"], ASB),
    (&["--asb-key", "key.pem"], ASB),
    (&["--asb-encrypt", "aes128", "--asb-key", "key.pem"], ASB),
    (&["--file-limit", "1"], ASB),
    (&["--asb-version", "3.2"], ASB),
    (&["--cluster", "asb"], Everywhere),
    (&["--tag", "one"], Everywhere),
    (&["--host", "here"], Everywhere),
];

/// Every file below a directory, with its length.
fn files(directory: &Path, found: &mut BTreeMap<String, u64>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let length = if path.is_dir() { 0 } else { path.metadata().unwrap().len() };
        found.insert(path.display().to_string(), length);
        if path.is_dir() {
            files(&path, found);
        }
    }
}

/// Runs a command once with each option and each of the URLs, and holds what became of them against the rules. The URLs
/// must be such that nothing can be read or written behind them, so that what is applied fails with 1, and what is
/// refused with 2.
fn holds(command: &str, before: &[&str], urls: [&str; 4], rules: &[&[Rule]]) {
    let rules: Vec<Rule> = rules.concat();
    let named: BTreeSet<&str> = rules.iter().map(|(option, _)| option[0].trim_start_matches("--")).collect();
    let definition = aerolith::cli::command();
    let definition = definition.find_subcommand(command).unwrap();
    let there: BTreeSet<&str> = definition.get_arguments().filter_map(clap::Arg::get_long).collect();
    assert_eq!(named, there, "each option of {command} needs a rule here that says what it goes with");

    let sandbox = Sandbox::new();
    sandbox.people();
    sandbox.write("blocked", "");
    sandbox.write("password", "secret\n");
    sandbox.write("digests", "3570c8f82ab208bf9027e2bf381f63e9d904502a\n");
    let listed = || {
        let mut found = BTreeMap::new();
        files(sandbox.directory.path(), &mut found);
        found
    };
    let pairs = |refused: bool| -> Vec<(&str, &[&str])> {
        let all = urls.iter().flat_map(|url| rules.iter().map(move |(option, goes)| (*url, *option, *goes)));
        let is_refused = |url: &str, goes| match goes {
            Everywhere => false,
            With(schemes) => !schemes.iter().any(|scheme| url.starts_with(scheme)),
            Nowhere => true,
        };
        all.filter(|(url, _, goes)| is_refused(url, *goes) == refused).map(|(url, option, _)| (url, option)).collect()
    };
    let run = |pairs: Vec<(&str, &[&str])>, see: &(dyn Fn(&str, &[&str], Output) + Sync)| {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some((url, option)) = pairs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        see(url, option, sandbox.run(&[&[command], before, &[url], option].concat()));
                    }
                });
            }
        });
    };
    let as_it_was = listed();
    run(pairs(true), &|url, option, output| {
        assert_eq!(output.code, 2, "{command} {url} {option:?} isn't refused: {output:?}");
        // --yes answers what --mirror asks, so that one is named.
        let name = if option[0] == "--yes" { "--mirror" } else { option[0] };
        assert!(output.err.contains(name), "{command} {url} {option:?} isn't named: {output:?}");
    });
    assert_eq!(listed(), as_it_was, "what was refused wrote something");
    run(pairs(false), &|url, option, output| {
        assert_eq!(output.code, 1, "{command} {url} {option:?} isn't taken: {output:?}");
    });
}

/// Sources that can't be read, and targets that can't be written: nobody listens, and there is a file where a directory
/// should.
const BLOCKED: [&str; 4] = ["aerospike://127.0.0.1:1/test", "asb:blocked/x", "jsonl:blocked/x", "embedded:blocked/x"];

#[test]
fn every_option_of_backup_is_applied_to_a_source_or_refused_by_name() {
    holds("backup", &[], BLOCKED, &[REACHING, READING, BACKUP]);
}

#[test]
fn every_option_of_verify_is_applied_to_a_source_or_refused_by_name() {
    holds("verify", &["latest:test"], BLOCKED, &[REACHING, READING, VERIFY]);
}

#[test]
fn every_option_of_restore_is_applied_to_a_target_or_refused_by_name() {
    holds("restore", &["latest:test"], BLOCKED, &[REACHING, RESTORE]);
}

#[test]
fn all_that_is_refused_for_one_reason_is_named_at_once() {
    let sandbox = Sandbox::new();
    let files = ["backup", "asb:a", "--tls-cert", "cert.pem", "--tls-key", "key.pem", "--rack", "1", "--partial"];
    let refused = sandbox.run(&[&files[..], &["--kind", "incremental"]].concat()).ends(2);
    refused.says(&["--tls-cert and --tls-key and --rack go with aerospike:// alone, not with asb:a", "Leave them out"]);
    // Of several sources each must be one that holds only what changed.
    let two = ["backup", "asb:a", "embedded:b", "--partial", "--kind", "incremental"];
    sandbox.run(&two).ends(2).says(&["--partial goes with asb: and jsonl: alone, not with embedded:b", "Leave it out"]);
    // One node to wait for is enough.
    let two = ["backup", "asb:a", "aerospike://127.0.0.1:1/test", "--allow-partial", "--note-every", "5"];
    sandbox.run(&two).ends(1).says(&["source asb:a not found"]);
}

#[test]
fn a_number_of_nothing_is_refused_where_it_would_mean_that_the_option_was_not_given() {
    let sandbox = Sandbox::new();
    let refuses = |before: &[&str], options: &[&str]| {
        for option in options {
            sandbox.run(&[before, &[option, "0"]].concat()).ends(2).says(&[option, "0 is not in"]);
        }
    };
    let limits = ["--records-per-second", "--bytes-per-second"];
    let node_limits = ["--node-records-per-second", "--node-bytes-per-second"];
    refuses(&["backup", BLOCKED[0]], &[&limits[..], &node_limits, &["--parallel"]].concat());
    refuses(&["restore", "latest", BLOCKED[0]], &limits);
    let periods = ["--keep-hourly", "--keep-daily", "--keep-weekly", "--keep-monthly", "--keep-yearly"];
    refuses(&["forget", "--keep-last", "1"], &periods);
}

#[test]
fn what_is_done_inside_is_logged_only_if_it_is_asked_for() {
    let sandbox = Sandbox::new();
    let logged = |level: &str| {
        sandbox.run_with(&["check", "--quiet"], |command| {
            command.env("AEROLITH_LOG", level);
        })
    };
    for level in ["", "off"] {
        assert_eq!(logged(level).ends(0).err, "", "{level:?}");
    }
    let info = logged("INFO").ends(0).says(&["INFO", "checking ", "bytes_in"]);
    assert!(!info.err.contains("TRACE"), "{}", info.err);
    logged("trace").ends(0).says(&["INFO", "TRACE", "list", "sessions/"]);
    logged("loud").ends(2).says(&["loud", "debug or trace"]);
}
