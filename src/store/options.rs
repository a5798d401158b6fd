//! How a store is reached and written.

use crate::error::{Error, Result};
use crate::setters::setters;
use std::collections::BTreeMap;

/// How a store is reached and written. Only stores in the cloud have settings.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreOptions {
    /// Settings by name: `region`, `endpoint`, `allow_http` and the like, as `docs/stores.md` lists them. They come
    /// before those of the environment.
    pub settings: BTreeMap<String, String>,
    /// The storage class of packs, as the store calls it.
    pub storage_class: Option<String>,
}

setters!(StoreOptions {
    settings: BTreeMap<String, String>,
} into {
    storage_class: Option<String>,
});

/// Some settings are secrets.
impl std::fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&String> = self.settings.keys().collect();
        f.debug_struct("StoreOptions").field("settings", &names).field("storage_class", &self.storage_class).finish()
    }
}

impl StoreOptions {
    /// Adds a setting, as people write it: `NAME=VALUE`.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if there is no name, or no sign of equality.
    pub fn add(&mut self, setting: &str) -> Result<()> {
        match setting.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                self.settings.insert(name.trim().to_string(), value.trim().to_string());
                Ok(())
            }
            // The value may be a secret.
            _ => Err(Error::usage("a setting of a store is NAME=VALUE, such as region=eu-central-1")),
        }
    }

    /// Whether anything is set.
    pub(crate) fn is_empty(&self) -> bool {
        self.settings.is_empty() && self.storage_class.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_a_name_and_a_value_and_neither_is_shown_by_chance() {
        let mut options = StoreOptions::default();
        options.add(" secret_access_key = a=b ").unwrap();
        assert_eq!(options.settings["secret_access_key"], "a=b");
        assert!(!format!("{options:?}").contains("a=b"));
        for wrong in ["", "hunter2", "=hunter2"] {
            let error = options.add(wrong).unwrap_err().to_string();
            assert!(error.contains("NAME=VALUE") && !error.contains("hunter2"), "{error}");
        }
    }
}
