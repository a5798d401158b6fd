//! A rename that never replaces: of any number of processes, one gets the name.

use std::io::{self, ErrorKind};
use std::path::Path;

/// Renames a file unless something has the new name (`AlreadyExists`). Systems and file systems that can't do so say what
/// [`is_unsupported`] recognises.
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
