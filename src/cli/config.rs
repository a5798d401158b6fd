//! The configuration file: repositories and clusters by name, and what else they need.

use crate::error::{Error, Result};
use crate::job::secret::MAX_BYTES;
use crate::secret::SecretSource;
use crate::store::local_path;
use clap::builder::ArgPredicate;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The whole file. Fields are called as the options are, without the dashes before them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The repository that is meant where a command names none.
    default: Option<String>,
    #[serde(default)]
    repositories: BTreeMap<String, Named>,
    /// Live clusters, each with its hosts.
    #[serde(default)]
    clusters: BTreeMap<String, Live>,
}

/// A repository by name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Named {
    pub repo: String,
    pub password_file: Option<PathBuf>,
    pub password_command: Option<String>,
    #[serde(default)]
    pub no_rollback_check: bool,
    #[serde(default)]
    pub store_options: BTreeMap<String, String>,
    pub storage_class: Option<String>,
    cluster: Option<String>,
    #[serde(default)]
    aerospike: Live,
}

/// How live clusters are reached.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Live {
    /// Where a cluster with a name is: what follows `aerospike://` in its URL.
    hosts: Option<String>,
    user: Option<String>,
    cluster_password_file: Option<PathBuf>,
    cluster_password_command: Option<String>,
    secret_agent: Option<String>,
    secret_agent_ca: Option<PathBuf>,
    auth: Option<Auth>,
    tls: Option<bool>,
    tls_ca: Option<PathBuf>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    tls_key_passphrase_file: Option<PathBuf>,
    tls_key_passphrase_command: Option<String>,
    tls_name: Option<String>,
    tls_min_version: Option<TlsVersion>,
    tls_ciphers: Option<String>,
    tls_crl: Option<PathBuf>,
    tls_crl_leaf_only: Option<bool>,
    alternate_addresses: Option<bool>,
    rack: Option<String>,
    socket_timeout: Option<u32>,
    connect_timeout: Option<u32>,
    attempts: Option<u32>,
    retry_wait: Option<u32>,
    total_timeout: Option<u32>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Auth {
    Internal,
    External,
    Pki,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum TlsVersion {
    #[serde(rename = "1.2")]
    V1_2,
    #[serde(rename = "1.3")]
    V1_3,
}

/// Commands for which `cluster` says what --cluster is. Those that list, copy or forget mean all clusters where nothing
/// is said.
const ONE_CLUSTER: [&str; 7] = ["backup", "restore", "verify", "show", "ls", "get", "diff"];

/// Where the file is: as given, by the environment, or in the user's configuration directory. And whether somebody said
/// so.
fn place(given: Option<&Path>) -> Option<(PathBuf, bool)> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = given.map(Path::to_owned).or_else(|| variable("AEROLITH_CONFIG")) {
        return Some((path, true));
    }
    let directory = |name: &str| variable(name).filter(|path| path.is_absolute());
    let config = directory("XDG_CONFIG_HOME").or_else(|| Some(directory("HOME")?.join(".config")))?;
    Some((config.join("aerolith/config.toml"), false))
}

/// A file that was read, and the directory that it lies in.
struct Text {
    text: String,
    path: PathBuf,
    directory: PathBuf,
}

/// The file, for what is sought in it; nothing if it isn't there and nobody needs it.
fn open(given: Option<&Path>, sought: Option<&str>) -> Result<Option<Text>> {
    let Some((path, is_asked_for)) = place(given) else {
        return match sought {
            Some(sought) => Err(Error::usage(format!(
                "which configuration file names {sought}? Give --config FILE, or set AEROLITH_CONFIG: neither \
                 XDG_CONFIG_HOME nor HOME is set"
            ))),
            None => Ok(None),
        };
    };
    let text = match read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_asked_for => {
            return match sought {
                None => Ok(None),
                Some(sought) => Err(Error::usage(format!(
                    "there is no {} that names {sought}: make it, or say where it is with --config",
                    path.display()
                ))),
            };
        }
        text => text.map_err(|error| Error::io(format!("read the configuration {}", path.display()), error))?,
    };
    let directory =
        std::path::absolute(&path).ok().and_then(|path| path.parent().map(Path::to_owned)).unwrap_or_default();
    Ok(Some(Text { text, path, directory }))
}

/// The repository of this name, or the default one if there is no name; nothing if the file names no default, or isn't
/// there and wasn't asked for.
pub fn find(given: Option<&Path>, name: Option<&str>) -> Result<Option<Named>> {
    let sought = name.map(|name| format!("the repository {name:?}"));
    let Some(Text { text, path, directory }) = open(given, sought.as_deref())? else { return Ok(None) };
    parse(&text, name, &directory).map_err(|problem| Error::usage(format!("{}: {problem}", path.display())))
}

/// A live cluster that the file names.
pub struct NamedCluster {
    /// What follows `aerospike://` in its URL.
    pub hosts: String,
    live: Live,
}

/// The live cluster of this name.
pub fn find_cluster(given: Option<&Path>, name: &str) -> Result<NamedCluster> {
    let sought = format!("the cluster {name:?}");
    let file = open(given, Some(&sought))?;
    let Text { text, path, directory } = file.ok_or_else(|| Error::usage(format!("no file names {sought}")))?;
    parse_cluster(&text, name, &directory).map_err(|problem| Error::usage(format!("{}: {problem}", path.display())))
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(MAX_BYTES).read_to_string(&mut text)?;
    if read as u64 == MAX_BYTES {
        return Err(std::io::Error::other(format!("it has {MAX_BYTES} bytes or more")));
    }
    Ok(text)
}

fn file(text: &str) -> Result<File, String> {
    // Fields are quoted, since names in backquotes are taken for those of the library's options.
    toml::from_str(text).map_err(|error: toml::de::Error| error.to_string().trim_end().replace('`', "\""))
}

/// What a file names of a kind, for somebody who named something else.
fn there<T>(all: &BTreeMap<String, T>) -> String {
    let names: Vec<&str> = all.keys().map(String::as_str).collect();
    if names.is_empty() { "it names none".to_string() } else { format!("it names {}", names.join(", ")) }
}

/// Finds the repository in the text of a file that lies in `directory`.
fn parse(text: &str, name: Option<&str>, directory: &Path) -> Result<Option<Named>, String> {
    let file = file(text)?;
    let Some(name) = name.or(file.default.as_deref()) else { return Ok(None) };
    let Some(named) = file.repositories.get(name) else {
        return Err(format!("there is no repository {name:?}; {}", there(&file.repositories)));
    };
    let mut named = named.clone();
    let what = format!("repository {name:?}");
    if named.password_file.is_some() && named.password_command.is_some() {
        return Err(format!("{what} has both a password-file and a password-command: take one away"));
    }
    if named.aerospike.hosts.is_some() {
        return Err(format!("{what} has hosts under aerospike: they go into a table of \"clusters\""));
    }
    named.aerospike.settle(&what, directory)?;
    // What isn't a local path is told by whoever opens it.
    if let Ok(path) = local_path(&named.repo) {
        named.repo =
            within(directory, path)?.into_os_string().into_string().map_err(|_| "the path is no UTF-8 text")?;
    }
    if let Some(file) = &mut named.password_file {
        *file = within(directory, file)?;
    }
    Ok(Some(named))
}

/// Finds the cluster in the text of a file that lies in `directory`.
fn parse_cluster(text: &str, name: &str, directory: &Path) -> Result<NamedCluster, String> {
    let file = file(text)?;
    let Some(live) = file.clusters.get(name) else {
        return Err(format!("there is no cluster {name:?}; {}", there(&file.clusters)));
    };
    let mut live = live.clone();
    let what = format!("cluster {name:?}");
    live.settle(&what, directory)?;
    let hosts = live.hosts.clone().filter(|hosts| !hosts.is_empty());
    let hosts = hosts.ok_or_else(|| format!("{what} has no hosts: HOST:PORT, or several of them with commas"))?;
    if hosts.contains('/') {
        return Err(format!("{what} has the hosts {hosts:?}: write HOST:PORT, without aerospike:// and a namespace"));
    }
    Ok(NamedCluster { hosts, live })
}

/// A path as the file means it: `~/` is the user's home, and what isn't absolute lies beside the file.
fn within(directory: &Path, path: &Path) -> Result<PathBuf, String> {
    match path.strip_prefix("~") {
        Ok(rest) => match std::env::var_os("HOME").filter(|home| !home.is_empty()) {
            Some(home) => Ok(Path::new(&home).join(rest)),
            None => Err(format!("{}: HOME is not set", path.display())),
        },
        Err(_) => Ok(directory.join(path)),
    }
}

/// Whether what stands for a file is one, and not another place of a secret.
fn is_path(path: &Path) -> bool {
    path.to_str().is_none_or(|text| matches!(SecretSource::parse(text), Ok(SecretSource::File(_))))
}

impl Live {
    /// Checks what goes together, and finds the files.
    fn settle(&mut self, what: &str, directory: &Path) -> Result<(), String> {
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return Err(format!("{what} has one of tls-cert and tls-key: it needs both, or none"));
        }
        for (file, command, name) in [
            (self.cluster_password_file.is_some(), self.cluster_password_command.is_some(), "cluster-password"),
            (self.tls_key_passphrase_file.is_some(), self.tls_key_passphrase_command.is_some(), "tls-key-passphrase"),
        ] {
            if file && command {
                return Err(format!("{what} has both a {name}-file and a {name}-command: take one away"));
            }
        }
        let files = [
            &mut self.cluster_password_file,
            &mut self.secret_agent_ca,
            &mut self.tls_ca,
            &mut self.tls_cert,
            &mut self.tls_key,
            &mut self.tls_key_passphrase_file,
            &mut self.tls_crl,
        ];
        for file in files.into_iter().flatten().filter(|file| is_path(file)) {
            *file = within(directory, file)?;
        }
        Ok(())
    }

    /// The options of the command line that it sets, and another that it doesn't set if that one is given.
    fn options(&self) -> Vec<(&'static str, Option<OsString>, Option<&'static str>)> {
        let flag = |set: Option<bool>| set.map(|set| set.to_string().into());
        let path = |path: &Option<PathBuf>| path.clone().map(PathBuf::into_os_string);
        let text = |text: &Option<String>| text.clone().map(Into::into);
        let number = |number: Option<u32>| number.map(|number| number.to_string().into());
        let auth = self.auth.map(|auth| match auth {
            Auth::Internal => "internal".into(),
            Auth::External => "external".into(),
            Auth::Pki => "pki".into(),
        });
        let version = self.tls_min_version.map(|version| match version {
            TlsVersion::V1_2 => "1.2".into(),
            TlsVersion::V1_3 => "1.3".into(),
        });
        vec![
            ("user", text(&self.user), None),
            ("cluster_password_file", path(&self.cluster_password_file), Some("cluster_password_command")),
            ("cluster_password_command", text(&self.cluster_password_command), Some("cluster_password_file")),
            ("secret_agent", text(&self.secret_agent), None),
            ("secret_agent_ca", path(&self.secret_agent_ca), None),
            ("auth", auth, None),
            ("tls", flag(self.tls), None),
            ("tls_ca", path(&self.tls_ca), None),
            ("tls_cert", path(&self.tls_cert), None),
            ("tls_key", path(&self.tls_key), None),
            ("tls_key_passphrase_file", path(&self.tls_key_passphrase_file), Some("tls_key_passphrase_command")),
            ("tls_key_passphrase_command", text(&self.tls_key_passphrase_command), Some("tls_key_passphrase_file")),
            ("tls_name", text(&self.tls_name), None),
            ("tls_min_version", version, None),
            ("tls_ciphers", text(&self.tls_ciphers), None),
            ("tls_crl", path(&self.tls_crl), None),
            ("tls_crl_leaf_only", flag(self.tls_crl_leaf_only), None),
            ("alternate_addresses", flag(self.alternate_addresses), None),
            ("rack", text(&self.rack), None),
            ("socket_timeout", number(self.socket_timeout), None),
            ("connect_timeout", number(self.connect_timeout), None),
            ("attempts", number(self.attempts), None),
            ("retry_wait", number(self.retry_wait), None),
            ("total_timeout", number(self.total_timeout), None),
        ]
    }

    /// A command with what this says as the defaults of its options.
    fn defaults(&self, mut command: clap::Command) -> clap::Command {
        for (id, value, rival) in self.options() {
            if let Some(value) = value
                && has(&command, id)
            {
                command = command.mut_arg(id, |argument| {
                    let argument = argument.default_value(value);
                    match rival {
                        Some(rival) => argument.default_value_if(rival, ArgPredicate::IsPresent, None::<&str>),
                        None => argument,
                    }
                });
            }
        }
        command
    }
}

fn has(command: &clap::Command, id: &str) -> bool {
    command.get_arguments().any(|argument| argument.get_id() == id)
}

/// The command line with what the file says as the defaults of its options: of the repository, and of the cluster that
/// is named. `is_live`: a live cluster is read or written.
pub fn defaults(
    repository: Option<&Named>,
    cluster: Option<&NamedCluster>,
    command: clap::Command,
    is_live: bool,
) -> clap::Command {
    command.mut_subcommands(|command| {
        // A cluster with a name is reached as is said of it, the others as is said of the repository.
        let command = match (cluster, repository) {
            (Some(cluster), _) => cluster.live.defaults(command),
            (None, Some(named)) if is_live => named.aerospike.defaults(command),
            (None, _) => command,
        };
        match repository.and_then(|named| named.cluster.clone()) {
            Some(cluster) if ONE_CLUSTER.contains(&command.get_name()) && has(&command, "cluster") => {
                command.mut_arg("cluster", |argument| argument.default_value(cluster))
            }
            _ => command,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        parse(text, Some("a"), Path::new("/etc")).unwrap_err()
    }

    #[test]
    fn what_the_file_does_not_know_is_refused_by_name() {
        assert!(problem("[repositories.a]\nrepo = '/a'\npasword-file = 'x'").contains("pasword-file"));
        assert!(problem("[repositories.a]\nrepo = '/a'\naerospike.tsl = true").contains("tsl"));
        assert!(problem("defualt = 'a'").contains("defualt"));
        assert!(problem("[repositories.a]\nrepo = '/a'\naerospike.auth = 'ldap'").contains("ldap"));
        assert!(problem("[repositories.a]\npassword-file = 'x'").contains("repo"));
        assert!(problem("[repositories.a]\nrepo = 3").contains("line 2"));
        assert!(problem("[repositories.b]\nrepo = '/b'\n[repositories.c]\nrepo = '/c'").contains("it names b, c"));
        assert!(problem("").contains("it names none"));
        assert!(
            problem("[repositories.a]\nrepo='/a'\npassword-file='x'\npassword-command='y'").contains("take one away")
        );
        assert!(problem("[repositories.a]\nrepo='/a'\naerospike.tls-cert='x'").contains("tls-key"));
    }

    #[test]
    fn paths_are_taken_from_where_the_file_is() {
        let named = |repo: &str| {
            let text = format!("default = 'a'\n[repositories.a]\nrepo = '{repo}'\npassword-file = 'key'");
            parse(&text, None, Path::new("/etc/x")).unwrap().unwrap()
        };
        for (repo, expected) in [
            ("/srv/a", "/srv/a"),
            ("a", "/etc/x/a"),
            ("file:a", "/etc/x/a"),
            ("file:///a", "/a"),
            ("s3://bucket", "s3://bucket"),
        ] {
            assert_eq!(named(repo).repo, expected);
        }
        assert_eq!(named("a").password_file.unwrap(), Path::new("/etc/x/key"));
        assert!(parse("", None, Path::new("/")).unwrap().is_none());
    }

    #[test]
    fn clusters_have_names_and_hosts() {
        let cluster = |text: &str| parse_cluster(text, "shop", Path::new("/etc/x"));
        let found =
            cluster("[clusters.shop]\nhosts = 'a:3000,b'\ntls-ca = 'ca.pem'\ntls-crl = 'secrets:tls:crl'").unwrap();
        assert_eq!(found.hosts, "a:3000,b");
        assert_eq!(found.live.tls_ca.unwrap(), Path::new("/etc/x/ca.pem"));
        assert_eq!(found.live.tls_crl.unwrap(), Path::new("secrets:tls:crl"), "that is no file");
        let problem = |text: &str| cluster(text).err().unwrap();
        assert!(problem("[clusters.bar]\nhosts = 'a'").contains("there is no cluster \"shop\"; it names bar"));
        assert!(problem("[clusters.shop]\nuser = 'a'").contains("has no hosts"));
        assert!(problem("[clusters.shop]\nhosts = 'aerospike://a/test'").contains("without aerospike://"));
        assert!(problem("[clusters.shop]\nhosts = 'a'\nhots = 'b'").contains("hots"));
        let both = "[clusters.shop]\nhosts = 'a'\ncluster-password-file = 'b'\ncluster-password-command = 'c'";
        assert!(problem(both).contains("take one away"));
        assert!(self::problem("[repositories.a]\nrepo='/a'\naerospike.hosts='x'").contains("table of \"clusters\""));
    }
    #[test]
    fn each_field_of_a_cluster_is_the_default_of_its_option_and_the_option_goes_before_it() {
        let value_of = |command: clap::Command, field: &str, given: &[&str]| {
            let line = [&["aerolith", "backup", "aerospike:shop"], given].concat();
            let matches = command.try_get_matches_from(line).unwrap();
            let values = matches.subcommand_matches("backup").unwrap().get_raw(&field.replace('-', "_")).unwrap();
            values.map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join(",")
        };
        for (field, value, other) in [
            ("user", "ann", "bob"),
            ("cluster-password-file", "/a", "/b"),
            ("cluster-password-command", "a", "b"),
            ("secret-agent", "a:1", "b:1"),
            ("secret-agent-ca", "/a", "/b"),
            ("auth", "pki", "external"),
            ("tls-ca", "/a", "/b"),
            ("tls-cert", "/a", "/b"),
            ("tls-key", "/a", "/b"),
            ("tls-key-passphrase-file", "/a", "/b"),
            ("tls-key-passphrase-command", "a", "b"),
            ("tls-name", "a", "b"),
            ("tls-min-version", "1.3", "1.2"),
            ("tls-ciphers", "a,b", "c"),
            ("tls-crl", "/a", "/b"),
            ("rack", "1,2", "3"),
            ("socket-timeout", "7", "8"),
            ("connect-timeout", "7", "8"),
            ("attempts", "7", "8"),
            ("retry-wait", "7", "8"),
            ("total-timeout", "7", "8"),
        ] {
            let quote = if value.parse::<u32>().is_ok() { "" } else { "'" };
            let beside = match field {
                "tls-cert" => "tls-key = '/k'",
                "tls-key" => "tls-cert = '/c'",
                _ => "",
            };
            let text = format!("[clusters.shop]\nhosts = 'a'\n{field} = {quote}{value}{quote}\n{beside}");
            let cluster = parse_cluster(&text, "shop", Path::new("/")).unwrap();
            let command = || defaults(None, Some(&cluster), crate::cli::command(), true);
            assert_eq!(value_of(command(), field, &[]), value, "{field}");
            assert_eq!(value_of(command(), field, &[&format!("--{field}"), other]), other, "{field}");
        }
        for flag in ["tls", "tls-crl-leaf-only", "alternate-addresses"] {
            let text = format!("[clusters.shop]\nhosts = 'a'\n{flag} = true");
            let cluster = parse_cluster(&text, "shop", Path::new("/")).unwrap();
            assert_eq!(value_of(defaults(None, Some(&cluster), crate::cli::command(), true), flag, &[]), "true");
        }
        // A file that is given goes before a command, which the options alone would go by.
        for (command, file) in [
            ("cluster-password-command", "--cluster-password-file"),
            ("tls-key-passphrase-command", "--tls-key-passphrase-file"),
        ] {
            let text = format!("[clusters.shop]\nhosts = 'a'\n{command} = 'a'");
            let cluster = parse_cluster(&text, "shop", Path::new("/")).unwrap();
            let definition = defaults(None, Some(&cluster), crate::cli::command(), true);
            let line = ["aerolith", "backup", "aerospike:shop", file, "b"];
            let matches = definition.try_get_matches_from(line).unwrap();
            let given = matches.subcommand_matches("backup").unwrap().get_raw(&command.replace('-', "_"));
            assert!(given.is_none(), "{command}");
        }
    }
}
