//! Snapshots, namespaces, sets and keys as people name them.

use super::text;
use crate::error::{Error, Result};
use crate::record::{Digest, ParticleType};
use crate::repository::Snapshot;
use crate::sources::MetSets;

/// `SNAPSHOT[:NAMESPACE[/SET]]`: a snapshot, or a part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotPath {
    /// Which snapshot: an id or its beginning, `latest`, `latest~N`, or `@TIME`.
    pub snapshot: String,
    /// Which namespace; all if there is none.
    pub namespace: Option<String>,
    /// Which set; all if there is none.
    pub set: Option<String>,
}

impl SnapshotPath {
    /// Takes the text apart. Of a time, colons that two digits follow are a part.
    pub fn parse(text: &str) -> Self {
        let colon = if text.starts_with('@') {
            // The colon that ends a time is one that is not followed by two digits.
            text.match_indices(':').map(|(at, _)| at).find(|at| {
                let rest = text.as_bytes().get(at + 1..).unwrap_or_default();
                !matches!(rest, [a, b, ..] if a.is_ascii_digit() && b.is_ascii_digit())
            })
        } else {
            text.find(':')
        };
        let (snapshot, rest) = match colon.and_then(|at| text.split_at_checked(at)) {
            Some((snapshot, rest)) => (snapshot, rest.strip_prefix(':')),
            None => (text, None),
        };
        let rest = rest.filter(|rest| !rest.is_empty());
        let (namespace, set) = match rest.and_then(|rest| rest.split_once('/')) {
            Some((namespace, set)) => (Some(namespace), Some(set)),
            None => (rest, None),
        };
        let own = |text: &str| text.to_string();
        SnapshotPath { snapshot: own(snapshot), namespace: namespace.map(own), set: set.map(own) }
    }

    /// The names of the namespaces that are meant: the one given, else all of the snapshot.
    pub(crate) fn namespaces(&self, snapshot: &Snapshot) -> Result<Vec<String>> {
        namespaces(snapshot, self.namespace.as_deref())
    }
}

/// The names of the namespaces of a snapshot that are meant: the one given, else all.
pub(crate) fn namespaces(snapshot: &Snapshot, given: Option<&str>) -> Result<Vec<String>> {
    match given {
        Some(name) => Ok(vec![snapshot.namespace(name)?.manifest().name.clone()]),
        None => Ok(snapshot.manifest().namespaces.iter().map(|namespace| namespace.name.clone()).collect()),
    }
}

/// A set was named of which the snapshot has no record where it was looked for: most likely a slip of the pen.
pub(crate) fn no_such_set(set: &[u8], snapshot: &Snapshot, there: &MetSets) -> Error {
    let what = format!("a record of set {:?} in snapshot {}", String::from_utf8_lossy(set), snapshot.id());
    Error::not_found(what, format!("What was looked through has these sets: {}", text::safe(&there.to_string())))
}

/// Why a record that was named by its key may not have been found.
pub(crate) fn key_advice(set: Option<&str>) -> &'static str {
    match set {
        None => "No set was named, and keys count within their set: write SNAPSHOT:NAMESPACE/SET",
        Some(_) => "Keys count within their set, and 42 (a string) is another key than i:42",
    }
}

/// A user key as people write it: `i:42`, `b:00ff`, `s:text`, or just text.
pub(crate) fn key_digest(set: &str, text: &str) -> Result<Digest> {
    let set = set.as_bytes();
    match text.split_once(':') {
        Some(("i", number)) => {
            let number: i64 = number
                .parse()
                .map_err(|_| Error::usage(format!("key {text:?}: there is no 64-bit integer after i:")))?;
            Ok(Digest::compute(set, ParticleType::INTEGER, &number.to_be_bytes()))
        }
        Some(("b", digits)) => {
            let bytes = hex::decode(digits).map_err(|_| {
                Error::usage(format!("key {text:?}: there are no pairs of hexadecimal digits after b:"))
            })?;
            Ok(Digest::compute(set, ParticleType::BLOB, &bytes))
        }
        Some(("s", key)) => Ok(Digest::compute(set, ParticleType::STRING, key.as_bytes())),
        _ => Ok(Digest::compute(set, ParticleType::STRING, text.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_snapshot_namespace_and_set() {
        let parts = |text| {
            let SnapshotPath { snapshot, namespace, set } = SnapshotPath::parse(text);
            (snapshot, namespace.unwrap_or_default(), set.unwrap_or_default())
        };
        let of = |a: &str, b: &str, c: &str| (a.to_string(), b.to_string(), c.to_string());
        assert_eq!(parts("latest"), of("latest", "", ""));
        assert_eq!(parts("latest~2:bar"), of("latest~2", "bar", ""));
        assert_eq!(parts("ab12:bar/s p"), of("ab12", "bar", "s p"));
        assert_eq!(parts("@2026-05-01T12:00Z"), of("@2026-05-01T12:00Z", "", ""));
        assert_eq!(parts("@2026-05-01T12:00Z:bar/users"), of("@2026-05-01T12:00Z", "bar", "users"));
    }
}
