//! TLS for connections to servers: trusted authorities, our own certificate, the name that a server has to prove.

use super::error::{ClusterError, Result};
use super::options::TlsOptions;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;

/// What every TLS connection of a cluster is made with.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    name: Option<String>,
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(ClusterError::Other(format!("{} holds no certificate in PEM form", path.display()))),
        Err(error) => Err(ClusterError::Other(format!("cannot read certificates from {}: {error}", path.display()))),
    }
}

impl Tls {
    /// Reads the files that the options name.
    pub fn new(options: &TlsOptions) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        match &options.authorities {
            Some(path) => {
                for certificate in certificates(path)? {
                    let doing = || format!("{} holds a certificate that can't be trusted", path.display());
                    roots.add(certificate).map_err(|error| ClusterError::Other(format!("{}: {error}", doing())))?;
                }
            }
            None => {
                let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                if added == 0 {
                    return Err(ClusterError::Other(
                        "the system names no trusted certificate authorities: give them as `authorities`".into(),
                    ));
                }
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| ClusterError::Other(format!("cannot set up TLS: {error}")))?
            .with_root_certificates(roots);
        let config = match (&options.certificate, &options.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| {
                    ClusterError::Other(format!("cannot read a private key from {}: {error}", key.display()))
                })?;
                builder.with_client_auth_cert(certificates(certificate)?, secret).map_err(|error| {
                    ClusterError::Other(format!(
                        "{} and {} don't make a client certificate: {error}",
                        certificate.display(),
                        key.display()
                    ))
                })?
            }
            _ => {
                return Err(ClusterError::Other(
                    "a client certificate needs its key, and a key its certificate: give both or neither".into(),
                ));
            }
        };
        Ok(Self { config: Arc::new(config), name: options.name.clone() })
    }

    /// A TLS session with the server at `host`, over which nothing was sent yet. `told` is the name that a peer told us
    /// for the server; ours goes first.
    pub fn session(&self, host: &str, told: Option<&str>) -> Result<rustls::ClientConnection> {
        let name = self.name.as_deref().or(told).unwrap_or(host);
        let wrong = |error: &dyn std::fmt::Display| {
            ClusterError::Other(format!("{name:?} can't be the name of a server's certificate: {error}"))
        };
        let name = ServerName::try_from(name.to_string()).map_err(|error| wrong(&error))?;
        rustls::ClientConnection::new(self.config.clone(), name).map_err(|error| wrong(&error))
    }
}
