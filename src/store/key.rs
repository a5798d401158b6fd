//! What an object key may look like, and what follows from a key alone.

use crate::error::{Error, Result};

/// Refuses what is no object key. A key that passes can't name anything outside its store, nor a temporary file.
pub(super) fn check_key(key: &str) -> Result<()> {
    if key.split('/').all(is_segment) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{key:?} is no object key: keys are segments of a to z, 0 to 9 and '-', with single slashes between them"
    )))
}

/// Refuses what is no prefix to list by: empty for everything, or a key and a slash.
pub(super) fn check_prefix(prefix: &str) -> Result<()> {
    if prefix.is_empty() || prefix.strip_suffix('/').is_some_and(|directory| directory.split('/').all(is_segment)) {
        return Ok(());
    }
    Err(Error::invalid(format!("{prefix:?} is no directory to list: a directory's name is a key that ends in a slash")))
}

/// Whether `name` can be one segment of a key.
pub(super) fn is_segment(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// The error for an object that is larger than the caller is ready to read.
pub(super) fn too_large(key: &str, size: u64, limit: u64) -> Error {
    Error::damaged(key, format!("it is of {size} bytes, where at most {limit} are expected"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_could_leave_the_store_or_name_a_temporary_file_are_refused() {
        for bad in
            ["", "/", "/etc", "a//b", "a/", "..", "a/../b", "a/.", ".tmp-1", "A", "a b", "a\\b", "a\0", "é", "a:b"]
        {
            assert!(matches!(check_key(bad), Err(Error::Invalid(_))), "{bad:?}");
        }
        for good in ["config", "packs/ab/0123-z", "-"] {
            check_key(good).unwrap();
        }
    }

    #[test]
    fn only_directories_are_listed() {
        for bad in ["packs", "/", "packs//", "../", "a/../", " "] {
            assert!(matches!(check_prefix(bad), Err(Error::Invalid(_))), "{bad:?}");
        }
        for good in ["", "packs/", "packs/ab/"] {
            check_prefix(good).unwrap();
        }
    }
}
