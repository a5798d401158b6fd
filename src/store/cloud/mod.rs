//! Repositories in object stores: S3 and what speaks its protocol, Google Cloud Storage, Azure Blob.
//!
//! Requests are made by the `object_store` crate, each once: calls that fail for reasons which pass are made again by
//! the repository, with credentials that are fresh then (`store/retry.rs`). Whatever is put is durable once the store
//! has answered.
//!
//! All safety of a repository rests on creations: a key that is free is taken by one writer alone. The store decides
//! that, by a condition of the request (`If-None-Match: *`, or a generation of 0). An answer of 412 says that the key
//! is taken. One of 409 says that somebody else is at it: whether the key is taken is then asked.

mod answer;
mod http;
mod open;

pub use http::RequestCounts;
pub(super) use open::{is_cloud, open};

use super::key::{check_key, check_prefix, is_segment, too_large};
use super::{Listed, Put, RetryPolicy, Store, StoreOptions};
use crate::error::{Error, Result, StoreErrorKind};
use crate::runtime;
use answer::Answer;
use bytes::Bytes;
use futures_util::TryStreamExt;
use http::Counters;
use object_store::path::Path;
use object_store::{
    Attribute, AttributeValue, Attributes, Error as CloudError, GetOptions, GetRange, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, WriteMultipart,
};
use std::sync::Arc;
use std::time::Duration;

/// An object of more bytes is written in parts.
const LARGE: usize = 32 << 20;
/// Bytes of a part.
const PART: usize = 8 << 20;
/// No range ends after this: some stores read its numbers as signed ones.
const LAST: u64 = i64::MAX as u64;
/// Parts that are under way at once.
const PARTS_AT_ONCE: usize = 4;

/// A store in the cloud, or in a server that speaks like one.
pub struct CloudStore {
    location: String,
    store: Arc<dyn ObjectStore>,
    /// What all keys begin with: empty, or segments.
    prefix: String,
    /// The storage class of packs.
    class: Option<String>,
    counters: Arc<Counters>,
}

impl CloudStore {
    /// Opens the store at a URL: `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`. Nothing is
    /// asked of it yet.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if the URL or a setting is wrong, or a setting is missing.
    pub fn open(url: &str, options: &StoreOptions) -> Result<Self> {
        open(url, options)
    }

    /// How many requests it made so far.
    pub fn requests(&self) -> RequestCounts {
        self.counters.read()
    }

    /// Where an object is.
    fn place(&self, key: &str) -> Result<Path> {
        check_key(key)?;
        Ok(Path::from_iter(self.prefix.split('/').chain(key.split('/')).filter(|segment| !segment.is_empty())))
    }

    /// Where objects with a prefix are; `None` for everything.
    fn directory(&self, prefix: &str) -> Option<Path> {
        let segments: Vec<&str> = self.prefix.split('/').chain(prefix.split('/')).collect();
        let path = Path::from_iter(segments.into_iter().filter(|segment| !segment.is_empty()));
        (!path.as_ref().is_empty()).then_some(path)
    }

    /// Makes one call; `None` if the object is not there.
    fn call<T: Send>(
        &self,
        doing: impl FnOnce() -> String,
        call: impl Future<Output = object_store::Result<T>> + Send,
    ) -> Result<Option<T>> {
        let (done, answer) = runtime::wait(Answer::of(call))?;
        match done {
            Ok(done) => Ok(Some(done)),
            Err(error) => {
                let failed = answer.error(format!("{} in {}", doing(), self.location), &error);
                // A bucket that is missing is no missing object.
                let is_absent = matches!(error, CloudError::NotFound { .. });
                if is_absent && failed.store_kind() != Some(StoreErrorKind::Missing) { Ok(None) } else { Err(failed) }
            }
        }
    }

    /// The same for a call that an object which is not there can't explain.
    fn done<T: Send>(
        &self,
        doing: impl Fn() -> String,
        call: impl Future<Output = object_store::Result<T>> + Send,
    ) -> Result<T> {
        let gone = || {
            let found = "the store answered that it is not there";
            Error::store(StoreErrorKind::Missing, format!("{} in {}", doing(), self.location), found)
        };
        self.call(&doing, call)?.ok_or_else(gone)
    }

    fn write(&self, key: &str, bytes: Bytes, mode: PutMode, class: Option<&str>) -> Result<Put> {
        let path = self.place(key)?;
        let is_new = mode == PutMode::Create;
        let options = PutOptions { mode, attributes: of_class(class), ..PutOptions::default() };
        let mut is_conflict = false;
        let put = async {
            match self.store.put_opts(&path, PutPayload::from_bytes(bytes), options).await {
                Ok(_) => Ok(Put::Created),
                // The condition was refused: 412, or 304.
                Err(CloudError::AlreadyExists { source, .. }) if is_precondition(&*source) => Ok(Put::Exists),
                Err(CloudError::Precondition { .. }) if is_new => Ok(Put::Exists),
                Err(error) => {
                    // Of two that were at it, or with what is there.
                    is_conflict = matches!(error, CloudError::AlreadyExists { .. });
                    Err(error)
                }
            }
        };
        let put = self.done(|| format!("write {key}"), put);
        if is_new && is_conflict && self.size(key)?.is_some() { Ok(Put::Exists) } else { put }
    }

    /// Writes a large object in parts. It appears whole, once all parts are there.
    fn write_parts(&self, key: &str, bytes: &Bytes) -> Result<Put> {
        let path = self.place(key)?;
        let upload = async {
            let attributes = of_class(self.class.as_deref());
            let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
            let upload = self.store.put_multipart_opts(&path, options).await?;
            let mut parts = WriteMultipart::new_with_chunk_size(upload, PART);
            for begin in (0..bytes.len()).step_by(PART) {
                if let Err(error) = parts.wait_for_capacity(PARTS_AT_ONCE - 1).await {
                    // What was sent takes room, and is billed, until it is given up.
                    let _ = parts.abort().await;
                    return Err(error);
                }
                parts.put(bytes.slice(begin..bytes.len().min(begin + PART)));
            }
            // Gives the upload up if it fails.
            parts.finish().await.map(drop)
        };
        self.done(|| format!("write {key}"), upload)?;
        Ok(Put::Created)
    }

    /// The objects in a listing that are ours: of others it knows nothing.
    fn listed(&self, meta: &ObjectMeta) -> Option<Listed> {
        let key = meta.location.as_ref().strip_prefix(&*self.prefix)?.trim_start_matches('/');
        key.split('/').all(is_segment).then(|| Listed { key: key.to_string(), size: meta.size })
    }

    fn read(&self, key: &str, range: Option<GetRange>, limit: Option<u64>) -> Result<Option<Bytes>> {
        let path = self.place(key)?;
        let options = GetOptions { range, ..GetOptions::default() };
        let mut too_much = None;
        let get = async {
            let found = self.store.get_opts(&path, options).await?;
            if limit.is_some_and(|limit| found.meta.size > limit) {
                too_much = Some(found.meta.size);
                return Ok(Bytes::new());
            }
            found.bytes().await
        };
        let read = self.call(|| format!("read {key}"), get)?;
        if let (Some(size), Some(limit)) = (too_much, limit) {
            return Err(too_large(key, size, limit));
        }
        self.counters.received(read.as_ref().map_or(0, Bytes::len));
        Ok(read)
    }
}

/// The attributes of an object of this storage class.
fn of_class(class: Option<&str>) -> Attributes {
    let class = class.map(|class| (Attribute::StorageClass, AttributeValue::from(class.to_string())));
    class.into_iter().collect()
}

/// Whether an error of a creation says that its condition was not met.
fn is_precondition(source: &(dyn std::error::Error + 'static)) -> bool {
    let error = source.downcast_ref::<CloudError>();
    matches!(error, Some(CloudError::Precondition { .. } | CloudError::NotModified { .. }))
}

impl Store for CloudStore {
    fn location(&self) -> &str {
        &self.location
    }

    fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Put> {
        self.write(key, Bytes::copy_from_slice(bytes), PutMode::Create, None)
    }

    fn put_content(&self, key: &str, bytes: &Bytes) -> Result<Put> {
        if bytes.len() <= LARGE {
            return self.write(key, bytes.clone(), PutMode::Create, self.class.as_deref());
        }
        match self.size(key)? {
            Some(_) => Ok(Put::Exists),
            None => self.write_parts(key, bytes),
        }
    }

    fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        self.write(key, Bytes::copy_from_slice(bytes), PutMode::Overwrite, None).map(drop)
    }

    fn get(&self, key: &str, limit: u64) -> Result<Option<Bytes>> {
        self.read(key, None, Some(limit))
    }

    fn get_range(&self, key: &str, offset: u64, length: usize) -> Result<Option<Bytes>> {
        // Stores refuse a range that holds nothing; whether the object is there is a question still.
        if length == 0 || offset >= LAST {
            return Ok(self.size(key)?.map(|_| Bytes::new()));
        }
        let range = GetRange::Bounded(offset..offset.saturating_add(length as u64).min(LAST));
        match self.read(key, Some(range), None) {
            Err(error) if error.store_kind() == Some(StoreErrorKind::Other) => match self.size(key)? {
                Some(size) if size <= offset => Ok(Some(Bytes::new())),
                _ => Err(error),
            },
            read => read,
        }
    }

    fn size(&self, key: &str) -> Result<Option<u64>> {
        let path = self.place(key)?;
        Ok(self.call(|| format!("look at {key}"), self.store.head(&path))?.map(|meta| meta.size))
    }

    fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy::new(10, Duration::from_millis(200), Duration::from_secs(180))
    }

    fn is_far(&self) -> bool {
        true
    }

    fn creations_are_proven(&self) -> bool {
        false
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        check_prefix(prefix)?;
        let directory = self.directory(prefix);
        let shown = if prefix.is_empty() { "everything" } else { prefix };
        let list = self.store.list(directory.as_ref()).try_collect::<Vec<ObjectMeta>>();
        let found = self.done(|| format!("list {shown}"), list)?;
        let mut listed: Vec<Listed> = found.iter().filter_map(|meta| self.listed(meta)).collect();
        listed.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(listed)
    }

    fn top_names(&self) -> Result<Vec<String>> {
        let directory = self.directory("");
        let list = self.store.list_with_delimiter(directory.as_ref());
        let found = self.done(|| "list everything".to_string(), list)?;
        let objects = found.objects.iter().map(|meta| &meta.location);
        let names = found.common_prefixes.iter().chain(objects).filter_map(|path| path.filename().map(str::to_string));
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn delete(&self, key: &str) -> Result<()> {
        let path = self.place(key)?;
        self.call(|| format!("delete {key}"), self.store.delete(&path)).map(drop)
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }
}
