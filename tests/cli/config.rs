//! The configuration file: repositories by name.

use super::support::{Output, PASSWORD, Sandbox};
use std::process::Command;

/// Two repositories, of which the file `config/aerolith/config.toml` names both.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.run(&["--repo", "second", "init"]).ends(0);
    std::fs::create_dir_all(sandbox.path("config/aerolith")).unwrap();
    sandbox.write("config/aerolith/key", PASSWORD);
    sandbox.write(
        "config/aerolith/config.toml",
        "default = 'first'\n\
         [repositories.first]\nrepo = '../../repo'\npassword-file = 'key'\ncluster = 'shop'\n\
         [repositories.second]\nrepo = '../../second'\npassword-command = 'cat config/aerolith/key'\n",
    );
    sandbox
}

fn run_with(sandbox: &Sandbox, arguments: &[&str], change: impl FnOnce(&mut Command)) -> Output {
    let config = sandbox.path("config");
    sandbox.run_with(arguments, |command| {
        command.env_remove("AEROLITH_REPO").env_remove("AEROLITH_PASSWORD").env("XDG_CONFIG_HOME", config);
        change(command.env("PATH", "/usr/bin:/bin").arg("--quiet"));
    })
}

fn run(sandbox: &Sandbox, arguments: &[&str]) -> Output {
    run_with(sandbox, arguments, |_| ())
}

#[test]
fn repositories_have_names_and_passphrases_in_the_configuration_file() {
    let sandbox = sandbox();
    sandbox.people();
    let count = |output: Output| output.ends(0).json()["snapshots"].as_array().unwrap().len();
    assert_eq!(count(run(&sandbox, &["-p", "first", "snapshots", "--json"])), 2);
    assert_eq!(count(run(&sandbox, &["snapshots", "--json", "-p", "second"])), 0);
    assert_eq!(count(run(&sandbox, &["snapshots", "--json"])), 2, "the default one");
    // --profile goes before AEROLITH_REPO, which goes before the default; what the file says before AEROLITH_PASSWORD.
    let with = |arguments: &[&str]| {
        run_with(&sandbox, arguments, |command| {
            command.env("AEROLITH_REPO", "second").env("AEROLITH_PASSWORD", "wrong");
        })
    };
    assert_eq!(count(with(&["-p", "first", "snapshots", "--json"])), 2);
    with(&["snapshots", "--json"]).ends(1).says(&["wrong passphrase", "second", "AEROLITH_PASSWORD"]);
    assert_eq!(count(with(&["snapshots", "--json", "--password-file", "config/aerolith/key"])), 0);
    // A password option goes before what the file says.
    let wrong = run(&sandbox, &["-p", "first", "snapshots", "--password-command", "echo wrong"]);
    wrong.ends(1).says(&["password command \"echo wrong\""]);
}

#[test]
fn the_file_is_where_it_is_said_to_be() {
    let sandbox = sandbox();
    std::fs::rename(sandbox.path("config"), sandbox.path("elsewhere")).unwrap();
    let missing = run(&sandbox, &["-p", "first", "snapshots"]);
    missing.ends(2).says(&["config/aerolith/config.toml", "first", "--config"]);
    run(&sandbox, &["snapshots"]).ends(2).says(&["which repository?", "--profile"]);
    run(&sandbox, &["--config", "elsewhere/aerolith/config.toml", "snapshots"]).ends(0);
    let variable = run_with(&sandbox, &["snapshots", "-p", "first"], |command| {
        command.env("AEROLITH_CONFIG", "elsewhere/aerolith/config.toml");
    });
    variable.ends(0);
    run(&sandbox, &["--config", "absent.toml", "snapshots"])
        .ends(1)
        .says(&["cannot read the configuration absent.toml"]);
}

#[test]
fn a_name_or_a_field_that_is_unknown_is_refused() {
    let sandbox = sandbox();
    run(&sandbox, &["-p", "third", "snapshots"]).ends(2).says(&["\"third\"", "it names first, second"]);
    run(&sandbox, &["-p", "first", "--repo", "x", "snapshots"]).ends(2).says(&["--repo", "--profile"]);
    sandbox.write("bad.toml", "[repositories.a]\nrepo = 'x'\npasword-file = 'y'\n");
    let bad = run(&sandbox, &["--config", "bad.toml", "-p", "a", "snapshots"]);
    bad.ends(2).says(&["bad.toml", "\"pasword-file\"", "\"password-file\"", "\"cluster\"", "line 3"]);
    // What needs no repository needs no file.
    run(&sandbox, &["--config", "bad.toml", "completions", "bash"]).ends(0);
}

#[test]
fn the_file_says_which_cluster_is_meant_and_options_say_otherwise() {
    let sandbox = sandbox();
    sandbox.people();
    let shop = run(&sandbox, &["backup", "asb:people.asb", "--json"]).ends(0).json();
    assert_eq!(shop["cluster"], "shop");
    let shown = run(&sandbox, &["show", "latest", "--json"]).ends(0).json();
    assert_eq!(shown["snapshot"], shop["snapshot"], "the newest of several clusters");
    let other = run(&sandbox, &["backup", "asb:people.asb", "--json", "--cluster", "other"]).ends(0).json();
    assert_eq!(other["cluster"], "other");
    assert_eq!(run(&sandbox, &["snapshots", "--json"]).ends(0).json()["snapshots"].as_array().unwrap().len(), 4);
}

#[test]
fn the_file_says_how_live_clusters_are_reached() {
    let sandbox = sandbox();
    sandbox.write(
        "live.toml",
        "[repositories.a]\nrepo = 'repo'\npassword-file = 'config/aerolith/key'\n\
         [repositories.a.aerospike]\nuser = 'backup'\ncluster-password-file = 'secret'\n",
    );
    let backup = ["--config", "live.toml", "-p", "a", "backup", "aerospike://127.0.0.1:1/test"];
    run(&sandbox, &backup).ends(1).says(&["cannot read the cluster's password from", "secret"]);
    // Options go before it, and may make use of it.
    let given = run(&sandbox, &[&backup[..], &["--cluster-password-file", "given"]].concat());
    given.ends(1).says(&["cannot read the cluster's password from given"]);
    let backup = ["backup", "aerospike://127.0.0.1:1/test", "--cluster-password-file", "given"];
    sandbox.run(&backup).ends(2).says(&["--user, which is not given"]);
    // Other sources take no notice of it.
    sandbox.people();
    run(&sandbox, &["--config", "live.toml", "-p", "a", "backup", "asb:people.asb", "--cluster", "default"]).ends(0);
}

/// A file that names the clusters `shop` and `bar`, in which nobody listens.
const CLUSTERS: &str = "[clusters.shop]\nhosts = '127.0.0.1:1'\nuser = 'backup'\ncluster-password-file = 'secret'\n\
                        attempts = 2\nretry-wait = 0\n[clusters.bar]\nhosts = '127.0.0.1:2'\n";

#[test]
fn clusters_have_names_in_the_configuration_file_whichever_way_the_repository_is_named() {
    let sandbox = Sandbox::new();
    sandbox.write("file.toml", CLUSTERS);
    sandbox.write("given", "password");
    let run = |arguments: &[&str]| sandbox.run(&[&["--config", "file.toml"], arguments].concat());
    run(&["backup", "aerospike:shop/test"]).ends(1).says(&["cannot read the cluster's password from", "secret"]);
    // Options go before what the file says, and may say it another way.
    for options in [["--cluster-password-file", "given"], ["--cluster-password-command", "echo password"]] {
        let backup = run(&[&["backup", "aerospike:shop"][..], &options].concat());
        backup.ends(1).says(&["aerospike://127.0.0.1:1", "cannot connect to 127.0.0.1:1"]);
    }
    run(&["restore", "latest", "aerospike:bar/test"]).ends(1);
    run(&["verify", "latest:test", "aerospike:bar/test"]).ends(1);
    run(&["backup", "aerospike:baz/test"]).ends(2).says(&["there is no cluster \"baz\"; it names bar, shop"]);
    run(&["backup", "aerospike:shop/a", "aerospike:bar/b"])
        .ends(2)
        .says(&["aerospike:shop and aerospike:bar", "one cluster"]);
    let without = sandbox.run_with(&["backup", "aerospike:shop"], |command| {
        command.env("XDG_CONFIG_HOME", sandbox.path("nowhere"));
    });
    without.ends(2).says(&["that names the cluster \"shop\"", "--config"]);
}

#[test]
fn what_an_option_needs_beside_it_may_be_in_the_configuration_file() {
    let sandbox = Sandbox::new();
    let key = "tls-cert = 'absent.pem'\ntls-key = 'absent.key'\ntls-crl = 'absent.crl'\n";
    sandbox.write("file.toml", &format!("[clusters.shop]\nhosts = '127.0.0.1:1'\n{key}"));
    let shop = ["--config", "file.toml", "backup", "aerospike:shop/test", "--tls-ca", "absent.ca"];
    for options in [
        &["--tls-cert", "cert.pem"][..],
        &["--tls-key", "key.pem"],
        &["--tls-key-passphrase-file", "passphrase"],
        &["--tls-key-passphrase-command", "echo open"],
        &["--tls-crl-leaf-only"],
    ] {
        sandbox.run(&[&shop[..], options].concat()).ends(1).says(&["cannot read the certificates from absent.ca"]);
        let elsewhere = ["backup", "aerospike://127.0.0.1:1/test"];
        sandbox.run(&[&elsewhere[..], options].concat()).ends(2).says(&[options[0], " needs --tls-"]);
    }
}

#[test]
fn a_cluster_with_a_name_is_reached_as_is_said_of_it_and_not_as_the_others() {
    let sandbox = sandbox();
    sandbox.write(
        "live.toml",
        &format!(
            "{CLUSTERS}[repositories.a]\nrepo = 'repo'\npassword-file = 'config/aerolith/key'\n\
             [repositories.a.aerospike]\nuser = 'other'\ncluster-password-command = 'echo of the others; exit 1'\n"
        ),
    );
    let backup = |source: &str| run(&sandbox, &["--config", "live.toml", "-p", "a", "backup", source]);
    backup("aerospike:shop/test").ends(1).says(&["cannot read the cluster's password from", "secret"]);
    backup("aerospike://127.0.0.1:1/test").ends(1).says(&["of the others", "ended with exit status: 1"]);
    backup("aerospike:bar/test").ends(1).says(&["cannot connect to 127.0.0.1:2"]);
}
