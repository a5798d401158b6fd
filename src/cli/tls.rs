//! The options of connections over TLS, and of what their keys, certificates and passwords come from.

use super::applies::GivenOption;
use super::passphrase::{from_command, secret};
use crate::aerospike::{Address, SecretAgent, TlsOptions, TlsVersion};
use crate::error::{Error, Result};
use crate::secret::SecretSource;
use clap::ValueEnum;

/// A secret that comes from a file or the like, or from a command.
pub fn from_either(file: Option<&SecretSource>, command: Option<&str>) -> Result<Option<SecretSource>> {
    match (command, file) {
        (Some(command), _) => Ok(Some(SecretSource::Text(from_command(command)?))),
        (None, file) => Ok(file.cloned()),
    }
}

/// The password of the user, and the secret agent.
#[derive(clap::Args, Clone)]
#[command(next_help_heading = "Live clusters (aerospike://...)")]
pub struct SecretArgs {
    /// Read the password of --user from the first line of this file. Here and for the files of --tls-ca, --tls-cert,
    /// --tls-key and --tls-key-passphrase-file, env:VARIABLE stands for what a variable holds, env-b64:VARIABLE for
    /// what it holds in base64, b64:TEXT for itself, and secrets:RESOURCE:NAME for what the Aerospike Secret Agent has
    #[arg(long, value_name = "FILE", value_parser = secret())]
    cluster_password_file: Option<SecretSource>,
    /// Read the password of --user from the first line that this command prints
    #[arg(long, value_name = "COMMAND", conflicts_with = "cluster_password_file")]
    cluster_password_command: Option<String>,
    /// Where the Aerospike Secret Agent listens [default: localhost:3005]
    #[arg(long, value_name = "HOST:PORT")]
    secret_agent: Option<String>,
    /// Connect to the secret agent over TLS, and trust these certificate authorities (PEM)
    #[arg(long, value_name = "FILE", value_parser = secret())]
    secret_agent_ca: Option<SecretSource>,
}

impl SecretArgs {
    /// All of them, and whether they were given. No `..`: an option that is added must be told of here.
    pub fn given(&self, reaches: impl Fn(&'static str, bool) -> GivenOption) -> Vec<GivenOption> {
        let Self { cluster_password_file, cluster_password_command, secret_agent, secret_agent_ca } = self;
        vec![
            reaches("--cluster-password-file", cluster_password_file.is_some()),
            reaches("--cluster-password-command", cluster_password_command.is_some()),
            reaches("--secret-agent", secret_agent.is_some()),
            reaches("--secret-agent-ca", secret_agent_ca.is_some()),
        ]
    }

    /// The option that says where the password is, if one does.
    pub fn password_option(&self) -> Option<&'static str> {
        match (&self.cluster_password_command, &self.cluster_password_file) {
            (Some(_), _) => Some("--cluster-password-command"),
            (None, file) => file.as_ref().map(|_| "--cluster-password-file"),
        }
    }

    /// Where the password is.
    pub fn password(&self) -> Result<Option<SecretSource>> {
        from_either(self.cluster_password_file.as_ref(), self.cluster_password_command.as_deref())
    }

    /// The secret agent.
    pub fn agent(&self) -> Result<SecretAgent> {
        let mut agent = SecretAgent::default();
        if let Some(text) = &self.secret_agent {
            agent.address = Address::parse(text, SecretAgent::PORT)
                .ok_or_else(|| Error::usage(format!("--secret-agent {text}: that is no HOST:PORT")))?;
        }
        agent.tls = self.secret_agent_ca.clone().map(|authorities| TlsOptions::default().authorities(authorities));
        Ok(agent)
    }
}

/// How connections are encrypted.
#[derive(clap::Args, Clone)]
#[command(next_help_heading = "Live clusters (aerospike://...)")]
pub struct TlsArgs {
    /// Encrypt connections; implied by the other --tls options
    #[arg(long)]
    tls: bool,
    /// Trusted certificate authorities (PEM): a file, or a directory of them [default: the system's]
    #[arg(long, value_name = "PATH", value_parser = secret())]
    tls_ca: Option<SecretSource>,
    /// The client's certificate (PEM)
    #[arg(long, value_name = "FILE", value_parser = secret())]
    tls_cert: Option<SecretSource>,
    /// The private key of the client's certificate (PEM)
    #[arg(long, value_name = "FILE", value_parser = secret())]
    tls_key: Option<SecretSource>,
    /// Read the passphrase of an encrypted --tls-key from the first line of this file
    #[arg(long, value_name = "FILE", value_parser = secret())]
    tls_key_passphrase_file: Option<SecretSource>,
    /// Read the passphrase of an encrypted --tls-key from the first line that this command prints
    #[arg(long, value_name = "COMMAND", conflicts_with = "tls_key_passphrase_file")]
    tls_key_passphrase_command: Option<String>,
    /// The name in the servers' certificates [default: what the cluster says, else the host]
    #[arg(long, value_name = "NAME")]
    tls_name: Option<String>,
    /// The oldest version of TLS that is spoken [default: 1.2]
    #[arg(long, value_enum, value_name = "VERSION")]
    tls_min_version: Option<Version>,
    /// The cipher suites that may be used, separated by commas and by their IANA names, such as
    /// TLS_AES_256_GCM_SHA384 [default: all that are safe]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    tls_ciphers: Vec<String>,
    /// Lists of revoked certificates (PEM): a file, or a directory of them. A server whose certificate is revoked, or
    /// that the lists don't tell of, is refused; so is one if they are out of date
    #[arg(long, value_name = "PATH", value_parser = secret())]
    tls_crl: Option<SecretSource>,
    /// Look up in --tls-crl the servers' certificates alone, not the authorities between them and the trusted ones
    #[arg(long)]
    tls_crl_leaf_only: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Version {
    #[value(name = "1.2")]
    V1_2,
    #[value(name = "1.3")]
    V1_3,
}

impl TlsArgs {
    /// All of them, and whether they were given. No `..`: an option that is added must be told of here.
    pub fn given(&self, reaches: impl Fn(&'static str, bool) -> GivenOption) -> Vec<GivenOption> {
        let Self {
            tls,
            tls_ca,
            tls_cert,
            tls_key,
            tls_key_passphrase_file,
            tls_key_passphrase_command,
            tls_name,
            tls_min_version,
            tls_ciphers,
            tls_crl,
            tls_crl_leaf_only,
        } = self;
        vec![
            reaches("--tls", *tls),
            reaches("--tls-ca", tls_ca.is_some()),
            reaches("--tls-cert", tls_cert.is_some()),
            reaches("--tls-key", tls_key.is_some()),
            reaches("--tls-key-passphrase-file", tls_key_passphrase_file.is_some()),
            reaches("--tls-key-passphrase-command", tls_key_passphrase_command.is_some()),
            reaches("--tls-name", tls_name.is_some()),
            reaches("--tls-min-version", tls_min_version.is_some()),
            reaches("--tls-ciphers", !tls_ciphers.is_empty()),
            reaches("--tls-crl", tls_crl.is_some()),
            reaches("--tls-crl-leaf-only", *tls_crl_leaf_only),
        ]
    }

    /// Refuses an option without the other that it needs. The parser can't: the other may be in the configuration file.
    fn check(&self) -> Result<()> {
        let (cert, key) = (self.tls_cert.is_some(), self.tls_key.is_some());
        for (option, given, other, is_there) in [
            ("--tls-cert", cert, "--tls-key", key),
            ("--tls-key", key, "--tls-cert", cert),
            ("--tls-key-passphrase-file", self.tls_key_passphrase_file.is_some(), "--tls-key", key),
            ("--tls-key-passphrase-command", self.tls_key_passphrase_command.is_some(), "--tls-key", key),
            ("--tls-crl-leaf-only", self.tls_crl_leaf_only, "--tls-crl", self.tls_crl.is_some()),
        ] {
            if given && !is_there {
                return Err(Error::usage(format!("{option} needs {other}, which is not given")));
            }
        }
        Ok(())
    }

    /// What the library is told; nothing if connections are not encrypted.
    pub fn options(&self) -> Result<Option<TlsOptions>> {
        self.check()?;
        let named = self.tls_ca.is_some() || self.tls_cert.is_some() || self.tls_name.is_some();
        let limited = self.tls_min_version.is_some() || !self.tls_ciphers.is_empty() || self.tls_crl.is_some();
        if !(self.tls || named || limited) {
            return Ok(None);
        }
        let command = self.tls_key_passphrase_command.as_deref();
        Ok(Some(TlsOptions {
            authorities: self.tls_ca.clone(),
            certificate: self.tls_cert.clone(),
            key: self.tls_key.clone(),
            key_passphrase: from_either(self.tls_key_passphrase_file.as_ref(), command)?,
            name: self.tls_name.clone(),
            oldest: match self.tls_min_version {
                Some(Version::V1_3) => TlsVersion::V1_3,
                Some(Version::V1_2) | None => TlsVersion::V1_2,
            },
            cipher_suites: self.tls_ciphers.clone(),
            revocations: self.tls_crl.clone(),
            revocations_of_servers_alone: self.tls_crl_leaf_only,
        }))
    }
}
