//! Whether a store is a repository or can become one.

use crate::error::{Error, Result};
use crate::format::names;
use crate::store::Store;

/// What repositories of any version have at their top.
const TOP_NAMES: [&str; 13] = [
    names::CONFIG,
    names::KEYS,
    names::PACKS,
    "parity",
    names::INDEX,
    names::SESSIONS,
    names::SNAPSHOTS,
    names::PLANS,
    names::HOLDS,
    names::TAGS,
    names::FOLDS,
    names::HISTORY,
    names::PROBES,
];

/// Refuses a store that holds anything that no repository has at its top: it is somebody else's.
///
/// # Errors
///
/// [`Error::Invalid`] with the first such name, and those of the store.
pub(crate) fn check_place(store: &dyn Store) -> Result<()> {
    let is_known = |name: &String| TOP_NAMES.iter().any(|known| known.trim_end_matches('/') == name);
    let Some(name) = store.top_names()?.into_iter().find(|name| !is_known(name)) else { return Ok(()) };
    Err(Error::invalid(format!(
        "{} is neither empty nor a repository: it holds {name:?}. Choose a new directory",
        store.location()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{LocalStore, MemoryStore};
    use std::fs;

    #[test]
    fn only_a_directory_that_is_empty_or_a_repository_is_a_place_for_one() {
        let directory = tempfile::tempdir().unwrap();
        let store = LocalStore::create(directory.path()).unwrap();
        check_place(&store).unwrap();
        fs::create_dir(directory.path().join("lost+found")).unwrap();
        for name in TOP_NAMES {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        check_place(&store).unwrap();
        for name in ["letter", ".ssh", "Packs", "thesis.tex", "config2"] {
            fs::create_dir(directory.path().join(name)).unwrap();
            let error = check_place(&store).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("neither empty nor a repository"), "{error}");
            fs::remove_dir(directory.path().join(name)).unwrap();
        }
    }

    #[test]
    fn a_store_of_objects_that_no_repository_has_is_no_place_for_one() {
        let store = MemoryStore::new();
        store.put("snapshots/a", b"").unwrap();
        check_place(&store).unwrap();
        store.put("photos/a", b"").unwrap();
        assert!(check_place(&store).unwrap_err().to_string().contains("photos"));
    }
}
