//! The requests to an object store: each is counted, waited for as long as its size allows, and what was answered is
//! kept for whoever reports an error.

use super::answer::Answer;
use crate::error::{Error, Result};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A connection must be there within this time.
const CONNECT: Duration = Duration::from_secs(10);
/// An answer must begin, and go on, within this time.
const IDLE: Duration = Duration::from_secs(60);
/// A request's body is given the time that it takes at this speed, in bytes a second, beside [`IDLE`].
const SLOWEST: u64 = 64 << 10;

/// How many requests were made of an object store, and how many bytes of content went each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestCounts {
    /// Objects and parts that were written, and uploads that were begun and ended.
    pub puts: u64,
    /// Objects and ranges that were read, and objects that were looked at.
    pub gets: u64,
    /// Pages of listings.
    pub lists: u64,
    /// Deletions.
    pub deletes: u64,
    /// All other requests, such as those for credentials.
    pub others: u64,
    /// Bytes of content that were sent.
    pub sent: u64,
    /// Bytes of content that were received.
    pub received: u64,
}

/// The counters behind [`RequestCounts`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    puts: AtomicU64,
    gets: AtomicU64,
    lists: AtomicU64,
    deletes: AtomicU64,
    others: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Counters {
    fn count(&self, request: &HttpRequest) {
        let query = request.uri().query().unwrap_or_default();
        let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
        let counter = match request.method().as_str() {
            "GET" if has("list-type") || has("comp") || has("prefix") => &self.lists,
            "GET" | "HEAD" => &self.gets,
            "PUT" => &self.puts,
            "POST" if has("uploads") || has("uploadId") => &self.puts,
            "DELETE" => &self.deletes,
            "POST" if has("delete") => &self.deletes,
            _ => &self.others,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.sent.fetch_add(request.body().content_length() as u64, Ordering::Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> RequestCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RequestCounts {
            puts: read(&self.puts),
            gets: read(&self.gets),
            lists: read(&self.lists),
            deletes: read(&self.deletes),
            others: read(&self.others),
            sent: read(&self.sent),
            received: read(&self.received),
        }
    }
}

/// Makes the clients of one store.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    client: reqwest::Client,
    counters: Arc<Counters>,
}

impl Connector {
    /// A connector that trusts the machine's certificate authorities.
    pub(super) fn new(counters: Arc<Counters>) -> Result<Self> {
        let failed = |problem: String| Error::io("set up TLS for object stores", io::Error::other(problem));
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let versions = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = versions.with_safe_default_protocol_versions().map_err(|error| failed(error.to_string()))?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .connect_timeout(CONNECT)
            .read_timeout(IDLE)
            .user_agent(concat!("aerolith/", env!("CARGO_PKG_VERSION")))
            // A redirect would take the signature to another host; it is an error of the settings.
            .redirect(reqwest::redirect::Policy::none())
            .build();
        Ok(Connector { client: client.map_err(|error| failed(error.to_string()))?, counters })
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait::async_trait]
impl HttpService for Connector {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.counters.count(&request);
        let time = IDLE + Duration::from_secs(request.body().content_length() as u64 / SLOWEST);
        let answered = tokio::time::timeout(time, self.client.call(request)).await;
        let late = |_| HttpError::new(HttpErrorKind::Timeout, io::Error::other(format!("no answer came in {time:?}")));
        let response = answered.map_err(late).flatten()?;
        Answer::note(&response);
        Ok(response)
    }
}
