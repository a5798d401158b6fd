//! Secrets that are in files.

use crate::error::{Error, Result};
use std::io::Read;
use std::path::Path;
use zeroize::Zeroizing;

/// A file or a command that gives more than this has no passphrase in its first line.
pub const MAX_BYTES: u64 = 64 << 10;

/// The first line of a file that holds a secret.
pub fn from_file(what: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let in_context = |error| Error::io(format!("read the {what} from {}", path.display()), error);
    let mut bytes = Zeroizing::new(Vec::new());
    let file = std::fs::File::open(path).map_err(in_context)?;
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(in_context)?;
    first_line(&bytes, &format!("the first line of {}", path.display()))
}

/// The first line of what was read.
pub fn first_line(bytes: &[u8], place: &str) -> Result<Zeroizing<Vec<u8>>> {
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    if line.len() as u64 == MAX_BYTES {
        return Err(Error::invalid(format!("{place} has {MAX_BYTES} bytes or more: that is no passphrase")));
    }
    not_empty(Zeroizing::new(line.strip_suffix(b"\r").unwrap_or(line).to_vec()), place)
}

/// An empty passphrase is always a mistake: a variable that is not set, a file that could not be filled.
pub fn not_empty(passphrase: Zeroizing<Vec<u8>>, place: &str) -> Result<Zeroizing<Vec<u8>>> {
    if passphrase.is_empty() {
        return Err(Error::usage(format!("the passphrase is empty: {place} holds none")));
    }
    Ok(passphrase)
}
