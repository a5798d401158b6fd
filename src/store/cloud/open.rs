//! From a URL to a store in the cloud.

use super::CloudStore;
use super::http::{Connector, Counters};
use crate::error::{Error, Result, StoreErrorKind};
use crate::store::StoreOptions;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::Path;
use object_store::{ObjectStore, RetryConfig};
use std::sync::Arc;

/// The kinds of store.
#[derive(Clone, Copy)]
enum Kind {
    S3,
    Google,
    Azure,
}

/// What begins the URL of each kind.
const SCHEMES: [(&str, Kind); 3] = [("s3://", Kind::S3), ("gs://", Kind::Google), ("az://", Kind::Azure)];

/// Whether a URL names a store in the cloud.
pub fn is_cloud(url: &str) -> bool {
    SCHEMES.iter().any(|(scheme, _)| url.starts_with(scheme))
}

/// What a URL names: the kind, the bucket, and what all keys begin with.
fn parse(url: &str) -> Result<(Kind, &str, &str)> {
    let found = SCHEMES.iter().find_map(|(scheme, kind)| Some((*kind, *scheme, url.strip_prefix(scheme)?)));
    let (kind, scheme, rest) = found.ok_or_else(|| Error::internal("the URL names no store in the cloud"))?;
    // Nothing of the URL is repeated: it may hold a password.
    let wrong = |problem: &str| Err(Error::usage(format!("{scheme}...: {problem}; write {scheme}BUCKET/PREFIX")));
    if rest.contains('@') {
        return wrong("credentials don't belong in a URL, which others may see");
    }
    if rest.contains(['?', '#', '%', '\\']) || rest.chars().any(char::is_control) {
        return wrong("settings are given with --store-option, and names are taken as they are");
    }
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.trim_end_matches('/');
    if bucket.is_empty() || bucket.contains(':') {
        return wrong("a bucket is missing, or a host is there in its place");
    }
    if !prefix.is_empty() && Path::parse(prefix).map_or(true, |path| path.as_ref() != prefix) {
        return wrong("the prefix is not of segments with single slashes between them");
    }
    Ok((kind, bucket, prefix))
}

/// Opens the store at a URL.
///
/// # Errors
///
/// [`Error::Usage`] if the URL or a setting is wrong.
pub fn open(url: &str, options: &StoreOptions) -> Result<CloudStore> {
    let (kind, bucket, prefix) = parse(url)?;
    let counters = Arc::new(Counters::default());
    let connector = Connector::new(counters.clone())?;
    let once = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    let unknown = |name: &str| Error::usage(format!("there is no setting {name:?} for stores of this kind"));
    // The builders are alike, and have no trait in common.
    macro_rules! configured {
        ($builder:ty, $key:ty) => {{
            let mut builder = <$builder>::from_env();
            for (name, value) in &options.settings {
                let key: $key = name.parse().map_err(|_| unknown(name))?;
                builder = builder.with_config(key, value);
            }
            builder.with_retry(once).with_http_connector(connector)
        }};
    }
    let store: object_store::Result<Arc<dyn ObjectStore>> = match kind {
        Kind::S3 => {
            // Objects are deleted one by one, which every server understands.
            let builder = configured!(AmazonS3Builder, AmazonS3ConfigKey).with_disable_bulk_delete(true);
            builder.with_bucket_name(bucket).build().map(|store| Arc::new(store) as _)
        }
        Kind::Google => {
            let builder = configured!(GoogleCloudStorageBuilder, GoogleConfigKey).with_bucket_name(bucket);
            builder.build().map(|store| Arc::new(store) as _)
        }
        Kind::Azure => {
            let builder = configured!(MicrosoftAzureBuilder, AzureConfigKey).with_container_name(bucket);
            builder.build().map(|store| Arc::new(store) as _)
        }
    };
    let location = url.trim_end_matches('/').to_string();
    let failed = |error| Error::store(StoreErrorKind::Other, format!("open the store {location}"), error);
    let store = store.map_err(failed)?;
    Ok(CloudStore { location, store, prefix: prefix.to_string(), class: options.storage_class.clone(), counters })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_bucket_and_what_keys_begin_with() {
        for (url, bucket, prefix) in [
            ("s3://bucket", "bucket", ""),
            ("s3://bucket/", "bucket", ""),
            ("gs://my.bucket/a", "my.bucket", "a"),
            ("az://c/backups/night/", "c", "backups/night"),
        ] {
            let (_, found, from) = parse(url).unwrap();
            assert_eq!((found, from), (bucket, prefix), "{url}");
        }
    }

    #[test]
    fn a_url_that_says_more_is_refused_and_not_repeated() {
        for url in [
            "s3://",
            "s3:///x",
            "s3://user:hunter2@bucket/x",
            "s3://bucket/x?secret=hunter2",
            "s3://host:9000/bucket",
            "s3://bucket//x",
            "s3://bucket/../x",
            "s3://bucket/a%20b",
        ] {
            let error = parse(url).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains("s3://BUCKET/PREFIX") && !error.contains("hunter2"), "{url}: {error}");
        }
    }
}
