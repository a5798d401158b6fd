//! How stores are reached, whichever repository is in them.

use crate::error::{Error, Result};
use crate::store::{self, StoreOptions};
use std::env::VarError;

const VARIABLE: &str = "AEROLITH_STORE_OPTIONS";

/// What the environment says of stores: of all but directories, which have no settings.
pub fn store_options_of_all(url: &str) -> Result<StoreOptions> {
    let mut options = StoreOptions::default();
    if store::local_path(url).is_ok() {
        return Ok(options);
    }
    let settings = match std::env::var(VARIABLE) {
        Ok(settings) => settings,
        Err(VarError::NotPresent) => return Ok(options),
        Err(VarError::NotUnicode(_)) => return Err(Error::usage(format!("{VARIABLE} is no UTF-8 text"))),
    };
    let mut settings = settings.split(',').map(str::trim).filter(|setting| !setting.is_empty());
    let in_variable = |error: Error| Error::usage(format!("{VARIABLE}: {error}"));
    settings.try_for_each(|setting| options.add(setting)).map_err(in_variable)?;
    Ok(options)
}
