//! Connections over TLS: what servers have to prove, what is refused, and where keys, certificates and passwords are.

use super::login::{certified, encrypted, file, pem};
use super::program::Place;
use super::{NAMESPACE, connect, quick, scan};
use crate::support::cluster::TestCluster;
use aerolith::{SecretAgent, SecretSource, TlsOptions, TlsVersion};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, SupportedProtocolVersion};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// What a server needs that speaks these versions and proves to be `server.test` with the certificate of `revocation`.
fn proving(versions: &[&'static SupportedProtocolVersion]) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = CertificateDer::pem_file_iter(file("revocation/server.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            chain.map(Result::unwrap).collect(),
            PrivateKeyDer::from_pem_file(file("revocation/server-key.pem")).unwrap(),
        )
        .unwrap();
    Arc::new(config)
}

/// A cluster that speaks these versions.
fn speaking(versions: &[&'static SupportedProtocolVersion]) -> TestCluster {
    TestCluster::start_with(1, Some(proving(versions)))
}

const BOTH: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

fn trusting() -> TlsOptions {
    TlsOptions::default().authorities(pem("revocation/ca.pem")).name("server.test".to_string())
}

/// What came of connecting with these options: nothing, or the problem.
fn problem(cluster: &TestCluster, tls: TlsOptions) -> Option<String> {
    connect(&cluster.address(0), quick(b"").tls(tls)).err().map(|error| error.to_string())
}

#[track_caller]
fn refused(cluster: &TestCluster, tls: TlsOptions, parts: &[&str]) {
    let problem = problem(cluster, tls).expect("a refusal");
    parts.iter().for_each(|part| assert!(problem.contains(part), "{part:?} is missing: {problem}"));
}

#[test]
fn a_version_older_than_the_oldest_that_is_spoken_is_refused() {
    let old = speaking(&[&rustls::version::TLS12]);
    assert_eq!(problem(&old, trusting()), None);
    refused(&old, trusting().oldest(TlsVersion::V1_3), &["begin TLS with"]);
    assert_eq!(problem(&speaking(&BOTH), trusting().oldest(TlsVersion::V1_3)), None);
}

#[test]
fn a_community_edition_behind_something_that_ends_tls_is_refused_with_the_reason() {
    let cluster = speaking(&BOTH);
    cluster.shared().edition = "Aerospike Community Edition".into();
    assert_eq!(problem(&cluster, trusting()), None);
    cluster.shared().tells_no_tls = true;
    refused(&cluster, trusting(), &["Community Edition, which has no TLS", "Leave out `tls`"]);
}

#[cfg(feature = "official-client")]
#[test]
fn the_official_client_is_given_the_name_that_certificates_bear_or_that_of_the_host() {
    use super::program::Place;
    let (cluster, place) = (speaking(&BOTH), Place::new());
    let mut url = format!("aerospike://{}/{}", cluster.address(0), super::NAMESPACE);
    let ca = file("revocation/ca.pem");
    let with = |command: &[&str], url: &str| {
        place.run(&[command, &[url, "--tls-ca", ca.to_str().unwrap(), "--connect-timeout", "2"]].concat())
    };
    let named = |command: &[&str], url: &str| with(&[command, &["--tls-name", "server.test"]].concat(), url);
    assert_eq!(named(&["backup"], &url).code, 0);
    let verify = ["verify", "latest", "--independent"];
    assert_eq!(named(&verify, &url).code, 0);
    url = url.replace("127.0.0.1", "localhost");
    let other = with(&verify, &url);
    assert!(other.code == 1 && other.err.contains("not valid for name \"localhost\""), "{other:?}");
}

#[test]
fn only_the_cipher_suites_that_are_named_are_offered() {
    let old = speaking(&[&rustls::version::TLS12]);
    let with = |names: &[&str]| trusting().cipher_suites(names.iter().copied());
    assert_eq!(problem(&old, with(&["tls_ecdhe_ecdsa_with_aes_128_gcm_sha256", "TLS_AES_256_GCM_SHA384"])), None);
    refused(&old, with(&["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"]), &["begin TLS with"]);
    let known = ["\"RC4-MD5\"", "`cipher_suites`", "TLS_AES_256_GCM_SHA384, ", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"];
    refused(&old, with(&["RC4-MD5"]), &known);
}

#[test]
fn authorities_may_be_in_the_files_of_a_directory() {
    let cluster = speaking(&BOTH);
    let directory = tempfile::tempdir().unwrap();
    let tls = || trusting().authorities(SecretSource::from(directory.path()));
    refused(&cluster, tls(), &["holds no certificates in PEM form"]);
    std::fs::write(directory.path().join("notes"), "nothing").unwrap();
    std::fs::copy(file("ca.pem"), directory.path().join("a.pem")).unwrap();
    refused(&cluster, tls(), &["UnknownIssuer"]);
    std::fs::copy(file("revocation/ca.pem"), directory.path().join("b.pem")).unwrap();
    assert_eq!(problem(&cluster, tls()), None);
}

#[test]
fn a_server_whose_certificate_is_revoked_or_not_told_of_is_refused() {
    let cluster = speaking(&BOTH);
    let with = |source: &str| trusting().revocations(pem(source));
    assert_eq!(problem(&cluster, with("revocation/lists")), None);
    let whole = std::fs::read(file("revocation/lists/root.crl.pem")).unwrap();
    let revoked = [whole.clone(), std::fs::read(file("revocation/revoked.crl.pem")).unwrap()].concat();
    let outdated = [whole, std::fs::read(file("revocation/outdated.crl.pem")).unwrap()].concat();
    let text = |text: Vec<u8>| trusting().revocations(SecretSource::Text(Zeroizing::new(text)));
    refused(&cluster, text(revoked.clone()), &["Revoked"]);
    refused(&cluster, text(outdated), &["revocation list expired"]);
    // The list of the issuer says nothing of the issuer itself.
    refused(&cluster, with("revocation/lists/issuer.crl.pem"), &["UnknownRevocationStatus"]);
    let leaf = |tls: TlsOptions| tls.revocations_of_servers_alone(true);
    assert_eq!(problem(&cluster, leaf(with("revocation/lists/issuer.crl.pem"))), None);
    refused(&cluster, leaf(with("revocation/revoked.crl.pem")), &["Revoked"]);
    refused(&cluster, with("revocation/ca.pem"), &["holds no revocation lists in PEM form"]);
}

fn text(text: &[u8]) -> SecretSource {
    SecretSource::Text(Zeroizing::new(text.to_vec()))
}

#[test]
fn an_encrypted_key_is_opened_with_its_passphrase() {
    let cluster = encrypted();
    let with = || certified().key(pem("client-key-encrypted.pem"));
    assert_eq!(problem(&cluster, with().key_passphrase(text(b"open it\nsecond line"))), None);
    let name = "client-key-encrypted.pem";
    refused(&cluster, with(), &[name, "is encrypted: give its passphrase (`key_passphrase`)"]);
    refused(&cluster, with().key_passphrase(text(b"wrong")), &[name, "what was given is wrong"]);
    let old = b"-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n";
    refused(&cluster, certified().key(text(old)), &["openssl pkcs8 -topk8"]);
    // One that is not encrypted needs none.
    assert_eq!(problem(&cluster, certified().key_passphrase(text(b"unused"))), None);
}

/// A secret agent that answers requests as `answer` says.
fn agent(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> SecretAgent {
    agent_over(None, answer)
}

fn agent_over(tls: Option<Arc<ServerConfig>>, answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> SecretAgent {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            match &tls {
                None => serve(stream, &answer),
                Some(config) => {
                    let session = rustls::ServerConnection::new(config.clone()).unwrap();
                    serve(rustls::StreamOwned::new(session, stream), &answer);
                }
            }
        }
    });
    SecretAgent::default()
        .address(aerolith::Address { host: address.ip().to_string(), port: address.port() })
        .timeout(Duration::from_secs(2))
}

fn serve(mut stream: impl Read + Write, answer: &impl Fn(&str) -> Vec<u8>) {
    let mut head = [0; 8];
    // Who goes before having asked trusted us not.
    if stream.read_exact(&mut head).is_err() {
        return;
    }
    assert_eq!(head[..4], [0x51, 0xde, 0xc1, 0xcc]);
    let mut request = vec![0; u32::from_be_bytes(head[4..].try_into().unwrap()) as usize];
    stream.read_exact(&mut request).unwrap();
    stream.write_all(&answer(std::str::from_utf8(&request).unwrap())).unwrap();
}

/// An answer of a secret agent.
fn answered(json: &str) -> Vec<u8> {
    [&[0x51, 0xde, 0xc1, 0xcc][..], &(json.len() as u32).to_be_bytes(), json.as_bytes()].concat()
}

/// The answer that has what a file of the tests holds.
fn held(name: &str) -> Vec<u8> {
    let value = base64_simd::STANDARD.encode_to_string(std::fs::read(file(name)).unwrap());
    answered(&format!("{{\"SecretValue\": {value:?}}}"))
}

#[test]
fn keys_and_certificates_come_from_the_secret_agent() {
    let cluster = encrypted();
    let secret = |name: &str| SecretSource::parse(&format!("secrets:tls:{name}")).unwrap();
    let tls = || certified().certificate(secret("client.pem")).key(secret("client-key.pem"));
    let serving = agent(|request| {
        let request: serde_json::Value = serde_json::from_str(request).unwrap();
        assert_eq!(request["Resource"], "tls");
        held(request["SecretKey"].as_str().unwrap())
    });
    assert!(scan(&connect(&cluster.address(0), quick(b"").tls(tls()).agent(serving)).unwrap(), None).is_ok());
    let failing = |agent| {
        let error = connect(&cluster.address(0), quick(b"").tls(tls()).agent(agent)).err().unwrap().to_string();
        assert!(error.contains("cannot read the private key from the secret agent at 127.0.0.1:"), "{error}");
        assert!(error.contains("secret \"client-key.pem\" of resource \"tls\""), "{error}");
        error
    };
    let refusing = failing(agent(|_| answered("{\"Error\": \"no such key\"}")));
    assert!(refusing.ends_with("it says: \"no such key\""), "{refusing}");
    let other = failing(agent(|_| b"HTTP/1.1 400 Bad Request\r\n".to_vec()));
    assert!(other.ends_with("its answer is not one of a secret agent"), "{other}");
    let short = failing(agent(|_| b"HTTP\0\0\0\x02{}".to_vec()));
    assert!(short.ends_with("its answer is not one of a secret agent"), "{short}");
    // It would do, were it not so long.
    let long = failing(agent(|_| {
        let key = base64_simd::STANDARD.encode_to_string(std::fs::read(file("client-key.pem")).unwrap());
        answered(&format!("{{\"SecretValue\": \"{key}{}\"}}", " ".repeat(200_000)))
    }));
    assert!(long.ends_with("its answer is not one of a secret agent"), "{long}");
    let closing = failing(agent(|_| Vec::new()));
    assert!(closing.ends_with("it closed the connection"), "{closing}");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let silent = SecretAgent::default()
        .address(aerolith::Address { host: "127.0.0.1".into(), port })
        .timeout(Duration::from_millis(200));
    assert!(failing(silent).ends_with("it doesn't answer"));
}

/// Runs a backup of a cluster with options of the program; what it says if it fails.
fn backed_up(cluster: &TestCluster, options: &[&str]) -> Result<(), String> {
    let place = Place::new();
    place.write("passphrase", "open it\r\nsecond line\n");
    let url = format!("aerospike://{}/{NAMESPACE}", cluster.address(0));
    let done = place.run(&[&["backup", &url, "--quiet"], options].concat());
    if done.code == 0 { Ok(()) } else { Err(done.err) }
}

fn path(name: &str) -> String {
    file(name).to_str().unwrap().to_string()
}

#[test]
fn the_programs_options_say_what_is_spoken_and_whom_it_trusts() {
    let old = speaking(&[&rustls::version::TLS12]);
    let ca = path("revocation/ca.pem");
    let with = |more: &[&str]| backed_up(&old, &[&["--tls-ca", &ca, "--tls-name", "server.test"], more].concat());
    let refused = |more: &[&str], part: &str| {
        let problem = with(more).unwrap_err();
        assert!(problem.contains(part), "{more:?}: {problem}");
    };
    assert_eq!(with(&[]), Ok(()));
    assert_eq!(with(&["--tls-min-version", "1.2"]), Ok(()));
    refused(&["--tls-min-version", "1.3"], "begin TLS with");
    assert_eq!(with(&["--tls-ciphers", "TLS_AES_256_GCM_SHA384,TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]), Ok(()));
    refused(&["--tls-ciphers", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"], "begin TLS with");
    let [lists, issuer, revoked] = ["lists", "lists/issuer.crl.pem", "revoked.crl.pem"];
    let [lists, issuer, revoked] = [lists, issuer, revoked].map(|name| path(&format!("revocation/{name}")));
    assert_eq!(with(&["--tls-crl", &lists]), Ok(()));
    refused(&["--tls-crl", &issuer], "UnknownRevocationStatus");
    assert_eq!(with(&["--tls-crl", &issuer, "--tls-crl-leaf-only"]), Ok(()));
    refused(&["--tls-crl", &revoked, "--tls-crl-leaf-only"], "Revoked");
    // Without --tls-ca the system's authorities are trusted, if it has some.
    let problem = backed_up(&old, &["--tls-min-version", "1.2"]).unwrap_err();
    assert!(
        ["begin TLS with", "no trusted certificate authorities"].iter().any(|it| problem.contains(it)),
        "{problem}"
    );
}

#[test]
fn the_programs_options_say_what_opens_the_clients_key() {
    let cluster = encrypted();
    let [ca, certificate] = ["ca.pem", "client.pem"].map(path);
    let with = |key: &str, more: &[&str]| {
        let all = ["--tls-ca", &ca, "--tls-name", "server.test", "--tls-cert", &certificate, "--tls-key", key];
        backed_up(&cluster, &[&all, more].concat())
    };
    let locked = path("client-key-encrypted.pem");
    assert_eq!(with(&locked, &["--tls-key-passphrase-file", "passphrase"]), Ok(()));
    assert_eq!(with(&locked, &["--tls-key-passphrase-command", "echo open it; echo second line"]), Ok(()));
    let problem = with(&locked, &["--tls-key-passphrase-command", "echo ' open it'"]).unwrap_err();
    assert!(problem.contains("is wrong"), "{problem}");

    let serving = agent(|_| held("client-key.pem"));
    let address = serving.address.to_string();
    let secret = "secrets:tls:client-key.pem";
    assert_eq!(with(secret, &["--secret-agent", &address]), Ok(()));
    // That one speaks no TLS.
    let problem = with(secret, &["--secret-agent", &address, "--secret-agent-ca", &ca]).unwrap_err();
    assert!(problem.contains(&format!("from the secret agent at {address}")), "{problem}");
}

#[cfg(feature = "official-client")]
#[test]
fn the_official_client_connects_as_the_options_say() {
    let (cluster, place) = (encrypted(), Place::new());
    cluster.shared().users.insert("ada".into(), super::login::ada());
    let url = format!("aerospike://{}/{NAMESPACE}", cluster.address(0));
    let [ca, certificate, key] = ["ca.pem", "client.pem", "client-key.pem"].map(path);
    let tls = ["--tls-ca", &ca, "--tls-name", "server.test", "--tls-cert", &certificate, "--tls-key", &key];
    let user = ["--user", "ada", "--cluster-password-command", "echo password"];
    let run = |arguments: &[&str]| place.run(&[arguments, &tls[..], &user].concat());
    let done = run(&["backup", &url]);
    assert_eq!(done.code, 0, "{done:?}");
    let done = run(&["verify", "latest", &url, "--independent"]);
    assert_eq!(done.code, 0, "{done:?}");
}

#[test]
fn the_secret_agent_may_speak_tls() {
    let cluster = encrypted();
    let serving = agent_over(Some(proving(&BOTH)), |_| held("client-key.pem"));
    let tls = || certified().key(SecretSource::parse("secrets:tls:client-key.pem").unwrap());
    let with = |agent: SecretAgent| connect(&cluster.address(0), quick(b"").tls(tls()).agent(agent)).map(drop);
    with(serving.clone().tls(trusting())).unwrap();
    let error = with(serving.clone().tls(trusting().authorities(pem("ca.pem")))).unwrap_err().to_string();
    assert!(error.contains("UnknownIssuer"), "{error}");
    assert!(with(serving.timeout(Duration::from_millis(500))).is_err());
}
