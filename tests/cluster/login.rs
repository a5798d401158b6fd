//! Access control.

use super::program::Place;
use super::{NAMESPACE, connect, quick, scan};
use crate::support::cluster::TestCluster;
use crate::support::cluster::User;
use aerolith::{AuthMode, ClusterOptions, RecordSource, SecretSource, TlsOptions};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::sync::Arc;
use zeroize::Zeroizing;

/// bcrypt of `password` with the salt that all clients use.
const CREDENTIAL: &[u8] = b"$2a$10$7EqJtq98hPqEX7fNZaFWoOqUH6KN8IKy3Yk5Kz..RHGKNAUCoP/LG";

/// The user `ada`, whose password is `password`.
pub fn ada() -> User {
    User { credential: CREDENTIAL.to_vec(), ..User::default() }
}

/// A cluster with one user, `ada`.
pub fn guarded() -> TestCluster {
    let cluster = TestCluster::start(2);
    cluster.shared().users.insert("ada".into(), ada());
    cluster
}

pub fn options(user: &str, password: &str) -> ClusterOptions {
    quick(b"").user(user.to_string()).password(Zeroizing::new(password.as_bytes().to_vec()))
}

#[test]
fn a_user_logs_in_once_for_each_node_and_goes_on_with_the_session() {
    let cluster = guarded();
    let source = connect(&cluster.address(0), options("ada", "password")).unwrap();
    assert!(scan(&source, None).unwrap().is_empty());
    let log = cluster.shared().log.clone();
    assert_eq!(log.iter().filter(|line| *line == "login ada").count(), 2, "{log:?}");
    assert!(log.iter().any(|line| line == "authenticate ada"), "{log:?}");
}

#[test]
fn a_session_that_the_server_forgot_is_begun_anew() {
    let cluster = guarded();
    let source = connect(&cluster.address(0), options("ada", "password")).unwrap();
    cluster.shared().tokens.clear();
    cluster.close_connections(None);
    assert!(scan(&source, None).unwrap().is_empty());
    assert!(source.metadata(NAMESPACE).is_ok());
}

#[test]
fn a_refused_login_says_so_at_once() {
    let cluster = guarded();
    let refused = |options| connect(&cluster.address(0), options).err().unwrap().to_string();
    let error = refused(options("ada", "wrong"));
    assert!(error.contains("log in user \"ada\"") && error.contains("wrong password"), "{error}");
    assert!(refused(options("eve", "password")).contains("no such user"));
    assert!(refused(quick(b"")).contains("not authenticated"));
    let nobody = quick(b"").password(Zeroizing::new(b"x".to_vec()));
    assert!(refused(nobody).contains("`user`"));
}

#[test]
fn the_program_takes_the_first_line_of_a_password_from_where_it_is_said_to_be() {
    let (cluster, place) = (guarded(), Place::new());
    place.write("file", "password\r\nsecond line\n");
    let url = format!("aerospike://{}/{NAMESPACE}", cluster.address(0));
    let run = |option: &str, value: &str| {
        let variables = [("CLEAR", "password"), ("ENCODED", "cGFzc3dvcmQKbW9yZQ==")];
        place.run_with(&["backup", &url, "--user", "ada", option, value, "--quiet"], &variables)
    };
    for source in ["file", "env:CLEAR", "env-b64:ENCODED", "b64:cGFzc3dvcmQ="] {
        let done = run("--cluster-password-file", source);
        assert_eq!(done.code, 0, "{source}: {done:?}");
    }
    let done = run("--cluster-password-command", "printf 'password\\nsecond line'");
    assert_eq!(done.code, 0, "{done:?}");
    // Blanks are a part of it.
    for other in ["echo ' password'", "echo 'password '"] {
        let refused = run("--cluster-password-command", other);
        assert!(refused.code == 1 && refused.err.contains("wrong password"), "{other}: {refused:?}");
    }
}

#[test]
fn a_user_is_no_hindrance_where_access_control_is_off() {
    let cluster = TestCluster::start(1);
    assert!(connect(&cluster.address(0), options("ada", "password")).is_ok());
}

#[test]
fn a_password_for_a_directory_never_travels_in_the_clear() {
    let cluster = guarded();
    let options = options("ada", "password").auth(AuthMode::External);
    let error = connect(&cluster.address(0), options).err().unwrap().to_string();
    assert!(error.contains("needs TLS"), "{error}");
    assert_eq!(cluster.connections(), 0);
}

pub fn file(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)
}

/// A cluster that proves to be `server.test` and wants a certificate of its clients.
pub fn encrypted() -> TestCluster {
    let certificate = |name: &str| CertificateDer::from_pem_file(file(name)).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate("ca.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build().unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(
            vec![certificate("server.pem")],
            PrivateKeyDer::from_pem_file(file("server-key.pem")).unwrap(),
        )
        .unwrap();
    TestCluster::start_with(2, Some(Arc::new(config)))
}

pub fn pem(name: &str) -> SecretSource {
    file(name).into()
}

pub fn certified() -> TlsOptions {
    TlsOptions::default()
        .authorities(pem("ca.pem"))
        .certificate(pem("client.pem"))
        .key(pem("client-key.pem"))
        .name("server.test".to_string())
}

#[test]
fn a_cluster_is_read_over_tls_with_certificates_on_both_sides() {
    let cluster = encrypted();
    let user = User { credential: CREDENTIAL.to_vec(), clear_password: Some(b"password".to_vec()), ..User::default() };
    cluster.shared().users.insert("ada".into(), user);
    let tls = Some(certified());
    let options = options("ada", "password").auth(AuthMode::External).tls(tls);
    let source = connect(&cluster.address(0), options).unwrap();
    assert!(scan(&source, None).unwrap().is_empty());
    assert!(cluster.shared().log.iter().any(|line| line == "authenticate ada"));
}

#[test]
fn a_server_or_client_without_the_right_certificate_is_refused() {
    let cluster = encrypted();
    let refused = |tls| {
        let options = quick(b"").tls(tls);
        connect(&cluster.address(0), options).err().unwrap().to_string()
    };
    let error = refused(certified().name("other.test".to_string()));
    assert!(error.contains("certificate") && error.contains("other.test"), "{error}");
    let error = refused(certified().authorities(pem("client.pem")));
    assert!(error.contains("certificate"), "{error}");
    refused(certified().certificate(None).key(None));
    assert!(connect(&cluster.address(0), quick(b"")).is_err());
}

#[test]
fn tls_options_that_do_not_fit_are_named() {
    let cluster = TestCluster::start(1);
    let refused = |tls| {
        let options = quick(b"").tls(tls);
        connect(&cluster.address(0), options).err().unwrap().to_string()
    };
    let missing = SecretSource::from(std::path::PathBuf::from("/nowhere/ca.pem"));
    let error = refused(TlsOptions::default().authorities(missing.clone()));
    assert!(error.contains("/nowhere/ca.pem"), "{error}");
    let error = refused(TlsOptions::default().certificate(missing));
    assert!(error.contains("certificate needs its key") || error.contains("authorities"), "{error}");
}
