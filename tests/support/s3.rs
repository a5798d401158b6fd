//! An S3 server in this process: what it holds is in memory, its creations are atomic, and its listings current.

use bytes::Bytes;
use futures_util::TryStreamExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::dto::*;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3, S3Request, S3Response, S3Result, s3_error};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tokio::runtime::Runtime;

/// The key that requests are signed with.
pub const ACCESS_KEY: &str = "AKIDTEST";
pub const SECRET_KEY: &str = "very/secret+key";
/// Keys of one page of a listing.
const PAGE: usize = 100;

#[derive(Clone)]
pub struct Object {
    pub bytes: Bytes,
    pub class: Option<String>,
}

/// What an upload is to become: key, class and parts.
pub type Upload = (String, Option<String>, BTreeMap<i32, Bytes>);

#[derive(Default)]
pub struct Bucket {
    pub objects: BTreeMap<String, Object>,
    /// Uploads that were begun, by id.
    pub uploads: BTreeMap<String, Upload>,
    begun: u64,
}

/// What the server holds: buckets by name.
#[derive(Clone, Default)]
pub struct Buckets(Arc<Mutex<BTreeMap<String, Bucket>>>);

impl Buckets {
    pub fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Bucket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn within<T>(&self, bucket: &str, work: impl FnOnce(&mut Bucket) -> S3Result<T>) -> S3Result<T> {
        match self.lock().get_mut(bucket) {
            Some(bucket) => work(bucket),
            None => Err(s3_error!(NoSuchBucket)),
        }
    }
}

async fn whole(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let Some(body) = body else { return Ok(Bytes::new()) };
    let parts: Vec<Bytes> = body.try_collect().await.map_err(|_| s3_error!(IncompleteBody))?;
    Ok(Bytes::from(parts.concat()))
}

fn etag(bytes: &[u8]) -> ETag {
    ETag::Strong(blake3::hash(bytes).to_hex()[..32].to_string())
}

fn absent<T>() -> S3Result<T> {
    Err(s3_error!(NoSuchKey))
}

#[async_trait::async_trait]
impl S3 for Buckets {
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        let bytes = whole(input.body).await?;
        self.within(&input.bucket, |bucket| {
            if input.if_none_match.is_some() && bucket.objects.contains_key(&*input.key) {
                return Err(s3_error!(PreconditionFailed));
            }
            let e_tag = Some(etag(&bytes));
            let class = input.storage_class.map(|class| class.as_str().to_string());
            bucket.objects.insert(input.key, Object { bytes, class });
            Ok(S3Response::new(PutObjectOutput { e_tag, ..Default::default() }))
        })
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let found = self.within(&input.bucket, |bucket| Ok(bucket.objects.get(&*input.key).cloned()))?;
        let Some(Object { bytes, .. }) = found else { return absent() };
        let (e_tag, all) = (Some(etag(&bytes)), bytes.len());
        let (bytes, content_range) = match input.range {
            None => (bytes, None),
            Some(range) => {
                let part = range.check(all as u64).map_err(|_| s3_error!(InvalidRange))?;
                let shown = format!("bytes {}-{}/{all}", part.start, part.end - 1);
                (bytes.slice(part.start as usize..part.end as usize), Some(shown))
            }
        };
        Ok(S3Response::new(GetObjectOutput {
            content_length: Some(bytes.len() as i64),
            body: Some(StreamingBlob::from(Body::from(bytes))),
            content_range,
            e_tag,
            last_modified: Some(SystemTime::now().into()),
            ..Default::default()
        }))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        let found = self.within(&input.bucket, |bucket| Ok(bucket.objects.get(&*input.key).cloned()))?;
        let Some(Object { bytes, .. }) = found else { return absent() };
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(bytes.len() as i64),
            e_tag: Some(etag(&bytes)),
            last_modified: Some(SystemTime::now().into()),
            ..Default::default()
        }))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = request.input;
        self.within(&input.bucket, |bucket| Ok(bucket.objects.remove(&*input.key)))?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let input = request.input;
        self.within(&input.bucket, |bucket| {
            let keys = input.delete.objects.into_iter().map(|object| object.key);
            let deleted = keys.map(|key| {
                bucket.objects.remove(&*key);
                DeletedObject { key: Some(key), ..Default::default() }
            });
            let deleted = Some(deleted.collect());
            Ok(S3Response::new(DeleteObjectsOutput { deleted, ..Default::default() }))
        })
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let prefix = input.prefix.unwrap_or_default();
        let after = input.continuation_token.or(input.start_after).unwrap_or_default();
        self.within(&input.bucket, |bucket| {
            let mut output = ListObjectsV2Output { prefix: Some(prefix.clone()), ..Default::default() };
            let (mut contents, mut prefixes, mut last) = (Vec::new(), Vec::<String>::new(), String::new());
            for (key, object) in bucket.objects.iter().filter(|(key, _)| key.starts_with(&*prefix)) {
                let folder = input.delimiter.as_ref().and_then(|delimiter| {
                    let at = key[prefix.len()..].find(&**delimiter)?;
                    Some(key[..prefix.len() + at + delimiter.len()].to_string())
                });
                let name = folder.as_ref().unwrap_or(key);
                if *name <= after || prefixes.last() == Some(name) {
                    continue;
                }
                if contents.len() + prefixes.len() == PAGE {
                    output.is_truncated = Some(true);
                    output.next_continuation_token = Some(last);
                    break;
                }
                last.clone_from(name);
                match folder {
                    Some(folder) => prefixes.push(folder),
                    None => contents.push(s3s::dto::Object {
                        key: Some(key.clone()),
                        size: Some(object.bytes.len() as i64),
                        e_tag: Some(etag(&object.bytes)),
                        last_modified: Some(SystemTime::now().into()),
                        ..Default::default()
                    }),
                }
            }
            output.key_count = Some((contents.len() + prefixes.len()) as i32);
            output.contents = Some(contents);
            let folders = prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(prefix) });
            output.common_prefixes = Some(folders.collect());
            Ok(S3Response::new(output))
        })
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = request.input;
        self.within(&input.bucket, |bucket| {
            bucket.begun += 1;
            let id = format!("upload-{}", bucket.begun);
            let class = input.storage_class.map(|class| class.as_str().to_string());
            bucket.uploads.insert(id.clone(), (input.key, class, BTreeMap::new()));
            Ok(S3Response::new(CreateMultipartUploadOutput { upload_id: Some(id), ..Default::default() }))
        })
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let input = request.input;
        let bytes = whole(input.body).await?;
        self.within(&input.bucket, |bucket| {
            let Some((.., parts)) = bucket.uploads.get_mut(&input.upload_id) else {
                return Err(s3_error!(NoSuchUpload));
            };
            let e_tag = Some(etag(&bytes));
            parts.insert(input.part_number, bytes);
            Ok(S3Response::new(UploadPartOutput { e_tag, ..Default::default() }))
        })
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        self.within(&input.bucket, |bucket| {
            let Some((key, class, parts)) = bucket.uploads.remove(&input.upload_id) else {
                return Err(s3_error!(NoSuchUpload));
            };
            let bytes = Bytes::from(parts.into_values().collect::<Vec<_>>().concat());
            let e_tag = Some(etag(&bytes));
            bucket.objects.insert(key, Object { bytes, class });
            Ok(S3Response::new(CompleteMultipartUploadOutput { e_tag, ..Default::default() }))
        })
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = request.input;
        self.within(&input.bucket, |bucket| match bucket.uploads.remove(&input.upload_id) {
            Some(_) => Ok(S3Response::new(AbortMultipartUploadOutput::default())),
            None => Err(s3_error!(NoSuchUpload)),
        })
    }
}

/// The operations that the key may make; all if none are named.
#[derive(Clone, Default)]
struct Allowed(Arc<Mutex<Vec<&'static str>>>);

#[async_trait::async_trait]
impl S3Access for Allowed {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let allowed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match context.credentials() {
            Some(_) if allowed.is_empty() || allowed.contains(&context.s3_op().name()) => Ok(()),
            _ => Err(s3_error!(AccessDenied)),
        }
    }
}

/// The server; it ends when this is dropped.
pub struct S3Server {
    pub buckets: Buckets,
    pub faults: Faults,
    allowed: Allowed,
    address: SocketAddr,
    _runtime: Runtime,
}

impl S3Server {
    /// A server with these buckets.
    pub fn start(buckets: &[&str]) -> Self {
        let runtime = Runtime::new().unwrap();
        let held = Buckets::default();
        for bucket in buckets {
            held.lock().insert(bucket.to_string(), Bucket::default());
        }
        let mut builder = S3ServiceBuilder::new(held.clone());
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let allowed = Allowed::default();
        builder.set_access(allowed.clone());
        let service = builder.build();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let faults = Faults::default();
        runtime.spawn(serve(listener, service, faults.clone()));
        S3Server { buckets: held, faults, allowed, address, _runtime: runtime }
    }

    /// Lets the key make these operations alone.
    pub fn allow(&self, operations: &[&'static str]) {
        *self.allowed.0.lock().unwrap_or_else(PoisonError::into_inner) = operations.to_vec();
    }

    /// The settings with which a client reaches it.
    pub fn settings(&self) -> BTreeMap<String, String> {
        let endpoint = format!("http://{}", self.address);
        [
            ("endpoint", endpoint.as_str()),
            ("region", "us-east-1"),
            ("access_key_id", ACCESS_KEY),
            ("secret_access_key", SECRET_KEY),
            ("allow_http", "true"),
        ]
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .into()
    }
}

/// What happens to a request in place of what should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status, and perhaps told to come back after so many seconds.
    Answer(u16, Option<u64>),
    /// The connection is closed before anything is done.
    HangUp,
    /// It is done, and the connection closed.
    LoseReply,
}

/// What happens to which requests, and how many there were.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<(BTreeMap<u64, Fault>, u64)>>);

impl Faults {
    fn lock(&self) -> MutexGuard<'_, (BTreeMap<u64, Fault>, u64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many requests there were.
    pub fn requests(&self) -> u64 {
        self.lock().1
    }

    /// Lets this happen to the `n`th request after those that there were.
    pub fn inject(&self, n: u64, fault: Fault) {
        let mut state = self.lock();
        let at = state.1 + n;
        state.0.insert(at, fault);
    }

    fn next(&self) -> Option<Fault> {
        let mut state = self.lock();
        let at = state.1;
        state.1 += 1;
        state.0.remove(&at)
    }
}

async fn answer(service: S3Service, faults: Faults, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let lost = || Err(io::Error::other("the reply is lost"));
    let fault = faults.next();
    match fault {
        Some(Fault::HangUp) => return lost(),
        Some(Fault::Answer(status, wait)) => {
            let text = format!("<Error><Code>Fault{status}</Code><Message>as was asked for</Message></Error>");
            let mut response = Response::builder().status(status);
            if let Some(wait) = wait {
                response = response.header("retry-after", wait);
            }
            return response.body(Body::from(text)).map_err(io::Error::other);
        }
        Some(Fault::LoseReply) | None => {}
    }
    let response =
        service.call(request.map(Body::from)).await.map_err(|error| io::Error::other(format!("{error:?}")))?;
    if fault == Some(Fault::LoseReply) { lost() } else { Ok(response) }
}

async fn serve(listener: tokio::net::TcpListener, service: S3Service, faults: Faults) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let (service, faults) = (service.clone(), faults.clone());
        let answer = service_fn(move |request| answer(service.clone(), faults.clone(), request));
        tokio::spawn(async move {
            // Whoever hangs up early is none of its business.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}
