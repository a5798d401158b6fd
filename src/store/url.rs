//! From what a user typed to a store.

use super::{LocalStore, Store, StoreOptions};
use crate::error::{Error, Result};
use std::path::Path;
use std::sync::Arc;

/// Opens the store at `url`: a plain path, or `file:PATH`; with the feature `cloud` also `s3://BUCKET/PREFIX`,
/// `gs://BUCKET/PREFIX` and `az://CONTAINER/PREFIX`. Paths are taken as they are; nothing is percent-decoded.
///
/// # Errors
///
/// [`Error::Usage`] for a scheme that this build doesn't know, and what [`LocalStore::open`] returns.
pub fn open(url: &str) -> Result<Arc<dyn Store>> {
    open_with(url, &StoreOptions::default())
}

/// The same with options.
///
/// # Errors
///
/// As [`open`]; and if the store has not such options.
pub fn open_with(url: &str, options: &StoreOptions) -> Result<Arc<dyn Store>> {
    match opened_in_the_cloud(url, options)? {
        Some(store) => Ok(store),
        None => Ok(Arc::new(LocalStore::open(local_path(url)?)?)),
    }
}

/// Makes the store at `url`, or opens the one that is there: see [`open`] for URLs, [`LocalStore::create`] for
/// directories. A bucket must be there.
///
/// # Errors
///
/// If the URL names no kind of store, or the store can't be made.
pub fn create(url: &str) -> Result<Arc<dyn Store>> {
    create_with(url, &StoreOptions::default())
}

/// The same with options.
///
/// # Errors
///
/// As [`create`]; and if the store has not such options.
pub fn create_with(url: &str, options: &StoreOptions) -> Result<Arc<dyn Store>> {
    match opened_in_the_cloud(url, options)? {
        Some(store) => Ok(store),
        None => Ok(Arc::new(LocalStore::create(local_path(url)?)?)),
    }
}

/// The store at `url`, if it is in the cloud.
fn opened_in_the_cloud(url: &str, options: &StoreOptions) -> Result<Option<Arc<dyn Store>>> {
    #[cfg(feature = "cloud")]
    if super::cloud::is_cloud(url) {
        return Ok(Some(Arc::new(super::CloudStore::open(url, options)?)));
    }
    match options.is_empty() || local_path(url).is_err() {
        true => Ok(None),
        false => Err(Error::usage("a directory has no settings of a store, and no storage class: leave them out")),
    }
}

/// The path that `url` names. Messages repeat no more of the URL than its scheme: it may hold a password.
pub(crate) fn local_path(url: &str) -> Result<&Path> {
    let path = match scheme(url) {
        None => url,
        Some("file") => file_path(&url["file:".len()..])?,
        Some(scheme) => {
            return Err(Error::usage(format!(
                "unknown kind of store `{scheme}:`; known are a plain path, file:PATH{CLOUD}. \
                 For a path that holds a colon, put ./ before it"
            )));
        }
    };
    if path.is_empty() {
        return Err(Error::usage("the store's path is empty; give a path, or file:PATH"));
    }
    Ok(Path::new(path))
}

/// What else is known.
const CLOUD: &str =
    if cfg!(feature = "cloud") { ", s3://BUCKET/PREFIX, gs://BUCKET/PREFIX and az://CONTAINER/PREFIX" } else { "" };

/// The path in what follows `file:`, which may begin with an empty host: `file:///srv/backup` is `/srv/backup`.
fn file_path(rest: &str) -> Result<&str> {
    match rest.strip_prefix("//") {
        None => Ok(rest),
        Some(path) if path.starts_with('/') => Ok(path),
        Some(_) => {
            Err(Error::usage("a file: URL names no host; write file:PATH, or file:///PATH for an absolute path"))
        }
    }
}

/// The scheme that `url` begins with: letters, digits, '+', '.' and '-' before a colon, a letter first.
fn scheme(url: &str) -> Option<&str> {
    let (scheme, _) = url.split_once(':')?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'.' | b'-'));
    is_scheme.then_some(scheme)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_file_urls_name_a_local_store() {
        for (url, path) in [
            ("/srv/backup", "/srv/backup"),
            ("backup", "backup"),
            ("./s3:odd", "./s3:odd"),
            ("file:/srv/backup", "/srv/backup"),
            ("file:backup", "backup"),
            ("file:///srv/backup", "/srv/backup"),
        ] {
            assert_eq!(local_path(url).unwrap(), Path::new(path), "{url}");
        }
    }

    #[test]
    fn an_unknown_scheme_names_the_known_ones_and_keeps_the_password_to_itself() {
        let error = local_path("ftp://user:hunter2@host/x").unwrap_err().to_string();
        assert!(error.contains("`ftp:`") && error.contains("plain path") && error.contains("file:PATH"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn an_empty_path_and_a_host_are_refused() {
        for url in ["", "file:", "file://host/srv"] {
            assert!(matches!(local_path(url), Err(Error::Usage(_))), "{url}");
        }
    }

    #[test]
    fn what_was_created_by_url_opens_by_url() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("file:{}", directory.path().join("new/store").display());
        assert!(open(&url).is_err());
        create(&url).unwrap().put("config", b"1").unwrap();
        assert_eq!(open(&url).unwrap().get("config", 1).unwrap().as_deref(), Some(&b"1"[..]));
    }
}
