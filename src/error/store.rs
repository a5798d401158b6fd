//! Errors of object stores, by what a caller can do about them.

use super::{BoxError, Error};
use std::io::ErrorKind;
use std::time::Duration;

/// What an error of a [`Store`](crate::store::Store) comes to for its caller.
///
/// A store that an object is missing from says so with `None`, and one whose key is taken with
/// [`Put::Exists`](crate::store::Put): both are answers. As errors they say that the place itself is not as expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The place that the store is in is missing: its directory, its disk, its bucket.
    Missing,
    /// Something that is no object is in the way.
    Exists,
    /// The caller may not do this: permissions, credentials, a place that can't be written.
    Refused,
    /// The same call may succeed if it is made again: a timeout, a lost connection, a service that is busy.
    Transient,
    /// There is no room, or the caller may not take any more of it.
    Full,
    /// Anything else.
    Other,
}

/// What a store answered.
#[derive(Debug, thiserror::Error)]
#[error("{found}")]
struct Busy {
    found: String,
    wait: Option<Duration>,
}

impl From<ErrorKind> for StoreErrorKind {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::NotFound | ErrorKind::NotADirectory => StoreErrorKind::Missing,
            ErrorKind::AlreadyExists | ErrorKind::IsADirectory => StoreErrorKind::Exists,
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => StoreErrorKind::Refused,
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreErrorKind::Full,
            ErrorKind::TimedOut
            | ErrorKind::Interrupted
            | ErrorKind::WouldBlock
            | ErrorKind::ResourceBusy
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::NotConnected
            | ErrorKind::BrokenPipe
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::StaleNetworkFileHandle => StoreErrorKind::Transient,
            _ => StoreErrorKind::Other,
        }
    }
}

impl Error {
    /// An error of a store of one's own; `doing` says what was being done to which object where, as the end of
    /// "cannot …".
    pub fn store(kind: StoreErrorKind, doing: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Error::Store { kind, doing: doing.into(), source: source.into(), advice: String::new() }
    }

    /// An error that the operating system gave a store.
    pub(crate) fn store_io(doing: impl Into<String>, source: std::io::Error) -> Self {
        Error::store(source.kind().into(), doing, source)
    }

    /// Says what to do about a store that is full.
    pub(crate) fn with_advice_if_full(mut self, text: &str) -> Self {
        if let Error::Store { kind: StoreErrorKind::Full, advice, .. } = &mut self {
            *advice = text.to_string();
        }
        self
    }

    /// What the error comes to, if a store gave it.
    pub fn store_kind(&self) -> Option<StoreErrorKind> {
        match self {
            Error::Store { kind, .. } => Some(*kind),
            _ => None,
        }
    }

    /// Whether a store has no room, or its user may not take any more of it.
    pub fn is_full(&self) -> bool {
        self.store_kind() == Some(StoreErrorKind::Full)
    }

    /// Whether a call that was to change a store may have done so although it ended with this error: its reply may have
    /// been lost, or the disk full once it was done. Only a store that refused the call, or that isn't there, did
    /// nothing for certain.
    pub(crate) fn leaves_open(&self) -> bool {
        use StoreErrorKind::{Exists, Missing, Refused};
        !matches!(self.store_kind(), Some(Missing | Exists | Refused))
    }

    /// The same, with the time after which the store wants to be asked again.
    #[cfg(feature = "cloud")]
    pub(crate) fn store_busy(kind: StoreErrorKind, doing: String, found: String, wait: Option<Duration>) -> Self {
        Error::store(kind, doing, Busy { found, wait })
    }

    /// After which time a store wants to be asked again, if it said so.
    pub(crate) fn wanted_wait(&self) -> Option<Duration> {
        match self {
            Error::Store { source, .. } => source.downcast_ref::<Busy>()?.wait,
            _ => None,
        }
    }

    /// Whether the same call to a store may succeed if it is made again.
    pub fn is_transient(&self) -> bool {
        self.store_kind() == Some(StoreErrorKind::Transient)
    }
}
