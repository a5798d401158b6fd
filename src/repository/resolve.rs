//! Which snapshot a person means.

use super::SnapshotList;
use crate::error::{Error, Result};
use crate::format::snapshot::Manifest;

/// Finds the snapshot that `spec` names.
pub fn resolve(list: SnapshotList, spec: &str) -> Result<Manifest> {
    let SnapshotList { mut snapshots, mut damaged } = list;
    if let Some(time) = spec.strip_prefix('@') {
        let time = parse_time(time)?;
        let at = snapshots.partition_point(|manifest| manifest.sealed <= time);
        let found = at.checked_sub(1).map(|at| snapshots.swap_remove(at));
        return found.ok_or_else(|| {
            Error::not_found(format!("a snapshot at or before {spec}"), "`aerolith snapshots` lists what there is")
        });
    }
    if let Some(rest) = spec.strip_prefix("latest") {
        let back = match rest.strip_prefix('~') {
            None if rest.is_empty() => 0,
            Some(n) => n.parse::<usize>().map_err(|_| bad(spec))?,
            None => return Err(bad(spec)),
        };
        let count = snapshots.len();
        let found = snapshots.into_iter().rev().nth(back);
        return found.ok_or_else(|| {
            Error::not_found(format!("snapshot {spec}"), format!("There are {count} snapshots that can be read"))
        });
    }
    let prefix = spec.to_ascii_lowercase();
    if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(bad(spec));
    }
    if let Some(at) = damaged.iter().position(|(id, _)| id.to_string().starts_with(&prefix)) {
        return Err(damaged.swap_remove(at).1);
    }
    let mut found = snapshots.into_iter().filter(|manifest| manifest.id.to_string().starts_with(&prefix));
    match (found.next(), found.count()) {
        (Some(manifest), 0) => Ok(manifest),
        (Some(_), more) => {
            Err(Error::invalid(format!("{} snapshots begin with {spec}: give more of the id", more + 1)))
        }
        (None, _) => Err(Error::not_found(format!("snapshot {spec}"), "`aerolith snapshots` lists what there is")),
    }
}

fn bad(spec: &str) -> Error {
    Error::invalid(format!(
        "{spec:?} names no snapshot: give an id or its beginning, `latest`, `latest~N`, or a time such as \
         @2026-05-01T12:00Z"
    ))
}

/// Milliseconds since the Unix epoch of a time as people write it: with a zone, or in the machine's own.
fn parse_time(text: &str) -> Result<u64> {
    let zoned = text.parse::<jiff::Timestamp>().map(|time| time.as_millisecond());
    let local = || {
        let civil = text.parse::<jiff::civil::DateTime>()?;
        civil.to_zoned(jiff::tz::TimeZone::system()).map(|zoned| zoned.timestamp().as_millisecond())
    };
    let millis = zoned.or_else(|_| local()).map_err(|error: jiff::Error| {
        Error::invalid(format!("@{text} is no time ({error}); write it as @2026-05-01T12:00Z"))
    })?;
    // A time to the second or minute means all of it, and 59.999 s past a minute is within it; sealing takes the last word.
    Ok(u64::try_from(millis).unwrap_or(0))
}
