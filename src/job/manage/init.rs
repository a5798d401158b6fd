//! Makes a repository.

use super::key::check_label;
use crate::error::{Error, Result};
use crate::format::config::Compression;
use crate::format::header::Suite;
use crate::format::keyslot::KdfCost;
use crate::format::names;
use crate::repository::{self, CreateOptions, Repository};
use crate::setters::setters;
use crate::store::Store;
use serde::Serialize;
use std::sync::Arc;

/// How [`init`] makes a repository.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct InitOptions {
    /// The cipher; the faster one on this processor if not given.
    pub cipher: Option<Suite>,
    /// How chunks are compressed; if not given as in the other repository, else with LZ4.
    pub compression: Option<Compression>,
    /// The label of the first key slot.
    pub label: String,
    /// A repository that cuts and names chunks as the new one will.
    pub shares_chunking_with: Option<Repository>,
}

setters!(InitOptions {
    cipher: Option<Suite>,
    compression: Option<Compression>,
    label: String,
    shares_chunking_with: Option<Repository>,
});

/// A repository that was made.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct InitReport {
    /// Its id.
    pub repository: String,
    /// Where it is.
    pub location: String,
    /// The id of the repository that cuts and names chunks as it does, or `null`.
    pub shared_chunking_with: Option<String>,
}

/// Makes sure that a repository can be made in a store, before anybody is asked for its passphrase.
///
/// # Errors
///
/// If there is one, or the place is none for a repository.
pub fn check_new(store: &dyn Store) -> Result<()> {
    repository::check_place(store)?;
    match store.size(names::CONFIG)? {
        None => Ok(()),
        Some(_) => {
            Err(Error::invalid(format!("there is a repository in {} already; nothing was changed", store.location())))
        }
    }
}

/// Makes a repository that opens with this passphrase.
///
/// # Errors
///
/// If the label is too long, if there is something in the store, or if it can't be written.
pub fn init(store: Arc<dyn Store>, passphrase: &[u8], options: InitOptions) -> Result<InitReport> {
    check_label(&options.label)?;
    check_new(&*store)?;
    let other = options.shares_chunking_with;
    let as_other = other.as_ref().map(|other| other.compression());
    let shared_chunking_with = other.as_ref().map(|other| other.id().to_string());
    let create = CreateOptions {
        suite: options.cipher,
        compression: options.compression.or(as_other).unwrap_or(Compression::Lz4),
        cost: KdfCost::RECOMMENDED,
        label: options.label,
        shares_chunking_with: other,
    };
    let repository = Repository::create(store.clone(), passphrase, &create)?;
    Ok(InitReport {
        repository: repository.id().to_string(),
        location: store.location().to_string(),
        shared_chunking_with,
    })
}
