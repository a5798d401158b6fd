//! Names: those of files on their way to their own, and a rename that never replaces, so that of any number of
//! processes one gets the name.

use std::io::{self, ErrorKind};
use std::path::Path;

/// How the names of files on their way end.
pub(crate) const SUFFIX: &str = ".partial";
/// How many hexadecimal digits stand before that.
pub(crate) const DIGITS: usize = 16;

/// The name that a file will have, if this is the name of one on its way.
pub(crate) fn final_name(name: &str) -> Option<&str> {
    let (name, digits) = name.strip_suffix(SUFFIX)?.rsplit_once('.')?;
    let is_ours = digits.len() == DIGITS && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_ours && !name.is_empty()).then_some(name)
}

/// Renames a file unless something has the new name (`AlreadyExists`). Systems and file systems that can't do so say
/// what [`is_unsupported`] recognises.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
pub(crate) fn rename_if_free(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

/// The same where the system has no such call.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
pub(crate) fn rename_if_free(_from: &Path, _to: &Path) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// Whether the system, the file system or a sandbox doesn't know the call, rather than having a reason to refuse it.
pub(crate) fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::InvalidInput | ErrorKind::PermissionDenied)
}
