//! TLS for connections to servers: trusted authorities, our own certificate, the name that a server has to prove, and
//! what is refused.

use crate::aerospike::error::{ClusterError, Result};
use crate::aerospike::options::{TlsOptions, TlsVersion};
use crate::secret::SecretSource;
use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::der::pem::PemLabel;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{CipherSuite, ClientConfig, RootCertStore, SupportedCipherSuite, SupportedProtocolVersion};
use std::path::PathBuf;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The most files of a directory that are read.
const MAX_FILES: usize = 10_000;

/// Reads what a source names; the text is what it is, for errors.
pub(crate) type Reader<'a> = dyn Fn(&SecretSource, &str) -> crate::error::Result<Zeroizing<Vec<u8>>> + 'a;

/// What every TLS connection of a cluster is made with.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    name: Option<String>,
}

fn other(problem: impl Into<String>) -> ClusterError {
    ClusterError::Other(problem.into())
}

fn read(source: &SecretSource, what: &str, reader: &Reader<'_>) -> Result<Zeroizing<Vec<u8>>> {
    reader(source, what).map_err(|error| other(error.to_string()))
}

/// All objects of one kind in a source. Of a directory all files are read, and those that hold none are left out.
fn all<T: PemObject>(source: &SecretSource, what: &str, reader: &Reader<'_>) -> Result<Vec<T>> {
    let parsed = |source: &SecretSource| {
        let text = read(source, what, reader)?;
        let all = T::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
        all.map_err(|error| other(format!("cannot read the {what} from {source}: {error}")))
    };
    let mut found = Vec::new();
    match source {
        SecretSource::File(path) if path.is_dir() => {
            for file in files(path).map_err(|error| other(format!("cannot list {source}: {error}")))? {
                found.append(&mut parsed(&SecretSource::File(file))?);
            }
        }
        source => found = parsed(source)?,
    }
    match found.is_empty() {
        true => Err(other(format!("{source} holds no {what} in PEM form"))),
        false => Ok(found),
    }
}

/// The files of a directory, by name.
fn files(directory: &std::path::Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory)?.take(MAX_FILES);
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    files.retain(|path| path.is_file());
    files.sort();
    Ok(files)
}

fn certificates(source: &SecretSource, reader: &Reader<'_>) -> Result<Vec<CertificateDer<'static>>> {
    all(source, "certificates", reader)
}

/// A private key, decrypted if need be.
fn private_key(source: &SecretSource, options: &TlsOptions, reader: &Reader<'_>) -> Result<PrivateKeyDer<'static>> {
    let text = read(source, "private key", reader)?;
    let has = |part: &str| memchr::memmem::find(&text, part.as_bytes()).is_some();
    if has("Proc-Type: 4,ENCRYPTED") {
        return Err(other(format!(
            "the private key in {source} is encrypted in an old form that is easily broken: make a new one of it with \
             openssl pkcs8 -topk8 -in KEY -out NEWKEY"
        )));
    }
    if !has(&format!("BEGIN {}", EncryptedPrivateKeyInfoRef::PEM_LABEL)) {
        return PrivateKeyDer::from_pem_slice(&text)
            .map_err(|error| other(format!("cannot read a private key from {source}: {error}")));
    }
    let Some(passphrase) = &options.key_passphrase else {
        return Err(other(format!("the private key in {source} is encrypted: give its passphrase (`key_passphrase`)")));
    };
    let given = read(passphrase, "key's passphrase", reader)?;
    let line = given.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let unusable =
        |error: &dyn std::fmt::Display| other(format!("cannot decrypt the private key in {source}: {error}"));
    let text = std::str::from_utf8(&text).map_err(|error| unusable(&error))?;
    let begin = text.find("-----BEGIN ENCRYPTED").unwrap_or_default();
    let text = text.get(begin..).unwrap_or_default();
    let (_, sealed) = pkcs8::SecretDocument::from_pem(text.trim_end()).map_err(|error| unusable(&error))?;
    let sealed = EncryptedPrivateKeyInfoRef::try_from(sealed.as_bytes()).map_err(|error| unusable(&error))?;
    let key = sealed.decrypt(line).map_err(|error| {
        unusable(&format!("the passphrase from {passphrase} is wrong, or the cipher is not supported ({error})"))
    })?;
    Ok(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec())))
}

/// The authorities that are trusted.
fn roots(options: &TlsOptions, reader: &Reader<'_>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match &options.authorities {
        Some(source) => {
            for certificate in certificates(source, reader)? {
                roots
                    .add(certificate)
                    .map_err(|error| other(format!("{source} holds a certificate that can't be trusted: {error}")))?;
            }
        }
        None => {
            let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if added == 0 {
                return Err(other("the system names no trusted certificate authorities: give them as `authorities`"));
            }
        }
    }
    Ok(roots)
}

/// What IANA calls a cipher suite, which differs from what it is called here for TLS 1.3.
fn iana_name(suite: CipherSuite) -> String {
    format!("{suite:?}").replacen("TLS13_", "TLS_", 1)
}

/// The cipher suites that may be used.
fn provider(options: &TlsOptions) -> Result<CryptoProvider> {
    let provider = ring::default_provider();
    if options.cipher_suites.is_empty() {
        return Ok(provider);
    }
    let mut cipher_suites: Vec<SupportedCipherSuite> = Vec::new();
    for name in &options.cipher_suites {
        let is_meant = |suite: &&SupportedCipherSuite| iana_name(suite.suite()).eq_ignore_ascii_case(name);
        match provider.cipher_suites.iter().find(is_meant) {
            Some(suite) => cipher_suites.push(*suite),
            None => {
                let known: Vec<String> = provider.cipher_suites.iter().map(|suite| iana_name(suite.suite())).collect();
                let known = known.join(", ");
                return Err(other(format!("there is no cipher suite {name:?} (`cipher_suites`) but {known}")));
            }
        }
    }
    Ok(CryptoProvider { cipher_suites, ..provider })
}

impl Tls {
    /// Reads what the options name.
    pub(crate) fn new(options: &TlsOptions, reader: &Reader<'_>) -> Result<Self> {
        let provider = Arc::new(provider(options)?);
        let versions: &[&SupportedProtocolVersion] = match options.oldest {
            TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::V1_3 => &[&rustls::version::TLS13],
        };
        let mut verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots(options, reader)?), provider.clone());
        if let Some(source) = &options.revocations {
            let lists: Vec<CertificateRevocationListDer<'static>> = all(source, "revocation lists", reader)?;
            verifier = verifier.with_crls(lists).enforce_revocation_expiration();
            if options.revocations_of_servers_alone {
                verifier = verifier.only_check_end_entity_revocation();
            }
        }
        let set_up = |error: &dyn std::fmt::Display| other(format!("cannot set up TLS: {error}"));
        let verifier = verifier.build().map_err(|error| set_up(&error))?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|error| set_up(&error))?
            .with_webpki_verifier(verifier);
        let config = match (&options.certificate, &options.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                let secret = private_key(key, options, reader)?;
                builder.with_client_auth_cert(certificates(certificate, reader)?, secret).map_err(|error| {
                    other(format!("{certificate} and {key} don't make a client certificate: {error}"))
                })?
            }
            _ => {
                return Err(other(
                    "a client certificate needs its key, and a key its certificate: give both or neither",
                ));
            }
        };
        Ok(Self { config: Arc::new(config), name: options.name.clone() })
    }

    /// What it is made with: authorities, our certificate, versions.
    #[cfg(feature = "official-client")]
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// A TLS session with the server at `host`, over which nothing was sent yet. `told` is the name that a peer told us
    /// for the server; ours goes first.
    pub fn session(&self, host: &str, told: Option<&str>) -> Result<rustls::ClientConnection> {
        let name = self.name.as_deref().or(told).unwrap_or(host);
        let wrong = |error: &dyn std::fmt::Display| {
            other(format!("{name:?} can't be the name of a server's certificate: {error}"))
        };
        let name = ServerName::try_from(name.to_string()).map_err(|error| wrong(&error))?;
        rustls::ClientConnection::new(self.config.clone(), name).map_err(|error| wrong(&error))
    }
}
