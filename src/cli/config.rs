//! The configuration file: repositories by name, and what else they need.

use crate::error::{Error, Result};
use crate::job::secret::MAX_BYTES;
use crate::store::local_path;
use serde::Deserialize;
use std::collections::BTreeMap;
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
    cluster: Option<String>,
    #[serde(default)]
    aerospike: Live,
}

/// How live clusters are reached.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Live {
    user: Option<String>,
    cluster_password_file: Option<PathBuf>,
    auth: Option<Auth>,
    tls: Option<bool>,
    tls_ca: Option<PathBuf>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    tls_name: Option<String>,
    alternate_addresses: Option<bool>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Auth {
    Internal,
    External,
    Pki,
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

/// The repository of this name, or the default one if there is no name; nothing if the file names no default, or isn't
/// there and wasn't asked for.
pub fn find(given: Option<&Path>, name: Option<&str>) -> Result<Option<Named>> {
    let Some((path, is_asked_for)) = place(given) else {
        return match name {
            Some(name) => Err(Error::usage(format!(
                "which configuration file names {name:?}? Give --config FILE, or set AEROLITH_CONFIG: neither \
                 XDG_CONFIG_HOME nor HOME is set"
            ))),
            None => Ok(None),
        };
    };
    let text = match read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_asked_for => {
            return match name {
                None => Ok(None),
                Some(name) => Err(Error::usage(format!(
                    "there is no {} that names the repository {name:?}: make it, or say where it is with --config",
                    path.display()
                ))),
            };
        }
        text => text.map_err(|error| Error::io(format!("read the configuration {}", path.display()), error))?,
    };
    let directory =
        std::path::absolute(&path).ok().and_then(|path| path.parent().map(Path::to_owned)).unwrap_or_default();
    parse(&text, name, &directory).map_err(|problem| Error::usage(format!("{}: {problem}", path.display())))
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(MAX_BYTES).read_to_string(&mut text)?;
    if read as u64 == MAX_BYTES {
        return Err(std::io::Error::other(format!("it has {MAX_BYTES} bytes or more")));
    }
    Ok(text)
}

/// Finds the repository in the text of a file that lies in `directory`.
fn parse(text: &str, name: Option<&str>, directory: &Path) -> Result<Option<Named>, String> {
    // Fields are quoted, since names in backquotes are taken for those of the library's options.
    let told = |error: toml::de::Error| error.to_string().trim_end().replace('`', "\"");
    let file: File = toml::from_str(text).map_err(told)?;
    let Some(name) = name.or(file.default.as_deref()) else { return Ok(None) };
    let Some(named) = file.repositories.get(name) else {
        let names: Vec<&str> = file.repositories.keys().map(String::as_str).collect();
        let there =
            if names.is_empty() { "it names none".to_string() } else { format!("it names {}", names.join(", ")) };
        return Err(format!("there is no repository {name:?}; {there}"));
    };
    let mut named = named.clone();
    if named.password_file.is_some() && named.password_command.is_some() {
        return Err(format!("repository {name:?} has both a password-file and a password-command: take one away"));
    }
    if named.aerospike.tls_cert.is_some() != named.aerospike.tls_key.is_some() {
        return Err(format!("repository {name:?} has one of tls-cert and tls-key: it needs both, or none"));
    }
    // What isn't a local path is told by whoever opens it.
    if let Ok(path) = local_path(&named.repo) {
        named.repo =
            within(directory, path)?.into_os_string().into_string().map_err(|_| "the path is no UTF-8 text")?;
    }
    let Live { cluster_password_file, tls_ca, tls_cert, tls_key, .. } = &mut named.aerospike;
    for file in [&mut named.password_file, cluster_password_file, tls_ca, tls_cert, tls_key].into_iter().flatten() {
        *file = within(directory, file)?;
    }
    Ok(Some(named))
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

impl Named {
    /// The command line with what the file says as the defaults of its options. `is_live`: a live cluster is read or
    /// written.
    pub fn defaults(&self, command: clap::Command, is_live: bool) -> clap::Command {
        let flag = |set: Option<bool>| set.map(|set| set.to_string().into());
        let path = |path: &Option<PathBuf>| path.clone().map(PathBuf::into_os_string);
        let text = |text: &Option<String>| text.clone().map(Into::into);
        let live = &self.aerospike;
        let auth = live.auth.map(|auth| match auth {
            Auth::Internal => "internal".into(),
            Auth::External => "external".into(),
            Auth::Pki => "pki".into(),
        });
        let of_cluster: [(&str, Option<std::ffi::OsString>); 9] = [
            ("user", text(&live.user)),
            ("cluster_password_file", path(&live.cluster_password_file)),
            ("auth", auth),
            ("tls", flag(live.tls)),
            ("tls_ca", path(&live.tls_ca)),
            ("tls_cert", path(&live.tls_cert)),
            ("tls_key", path(&live.tls_key)),
            ("tls_name", text(&live.tls_name)),
            ("alternate_addresses", flag(live.alternate_addresses)),
        ];
        command.mut_subcommands(|mut command| {
            let has =
                |command: &clap::Command, id: &str| command.get_arguments().any(|argument| argument.get_id() == id);
            for (id, value) in of_cluster.iter().filter(|_| is_live) {
                if let Some(value) = value.clone()
                    && has(&command, id)
                {
                    command = command.mut_arg(*id, |argument| argument.default_value(value));
                }
            }
            match self.cluster.clone() {
                Some(cluster) if ONE_CLUSTER.contains(&command.get_name()) && has(&command, "cluster") => {
                    command.mut_arg("cluster", |argument| argument.default_value(cluster))
                }
                _ => command,
            }
        })
    }
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
}
