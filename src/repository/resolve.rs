//! Which snapshot a person means.

use super::SnapshotList;
use crate::error::{Error, Result};
use crate::format::SnapshotId;
use crate::format::snapshot::Manifest;
use crate::snapshot::order::Times;

/// Where to look for what there is.
const LISTED: &str = "`aerolith snapshots` lists what there is";
/// Snapshots that a message about an ambiguous beginning names.
const NAMED: usize = 5;

/// Finds the snapshot that `spec` names.
pub fn resolve(list: SnapshotList, spec: &str) -> Result<Manifest> {
    let SnapshotList { snapshots, mut damaged, times } = list;
    let nothing = snapshots.is_empty() && damaged.is_empty();
    let advice = if nothing { "The repository has no snapshots yet: make one with `aerolith backup`" } else { LISTED };
    if let Some(time) = spec.strip_prefix('@') {
        let time = parse_time(time)?;
        let found = snapshots.into_iter().rev().find(|manifest| times.sealed(manifest) <= time);
        return found.ok_or_else(|| Error::not_found(format!("a snapshot at or before {spec}"), advice));
    }
    if let Some(rest) = spec.strip_prefix("latest") {
        let back = match rest.strip_prefix('~') {
            None if rest.is_empty() => 0,
            Some(n) if n.bytes().all(|byte| byte.is_ascii_digit()) => n.parse::<usize>().map_err(|_| bad(spec))?,
            _ => return Err(bad(spec)),
        };
        let advice = match snapshots.len() {
            0 => advice.to_string(),
            n => format!("The oldest that can be read is latest~{}. {LISTED}", n - 1),
        };
        let found = snapshots.into_iter().rev().nth(back);
        return found.ok_or_else(|| Error::not_found(format!("snapshot {spec}"), advice));
    }
    let prefix = spec.to_ascii_lowercase();
    if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(bad(spec));
    }
    if let Some(at) = damaged.iter().position(|(id, _)| id.to_string().starts_with(&prefix)) {
        return Err(damaged.swap_remove(at).1);
    }
    let mut found: Vec<Manifest> =
        snapshots.into_iter().filter(|manifest| manifest.id.to_string().starts_with(&prefix)).collect();
    match found.len() {
        0 => Err(Error::not_found(format!("snapshot {spec}"), advice)),
        1 => Ok(found.swap_remove(0)),
        n => {
            let mut ids: Vec<String> = found.iter().take(NAMED).map(|manifest| manifest.id.to_string()).collect();
            if n > NAMED {
                ids.push("…".into());
            }
            Err(Error::invalid(format!("{n} snapshots begin with {spec} ({}): give more of the id", ids.join(", "))))
        }
    }
}

fn bad(spec: &str) -> Error {
    let namespace = match spec.split_once('/') {
        Some((snapshot, namespace)) => format!("; a namespace follows a colon: {snapshot}:{namespace}"),
        None => String::new(),
    };
    Error::usage(format!(
        "{spec:?} names no snapshot: give an id or its beginning, `latest`, `latest~N`, or a time such as \
         @2026-05-01T12:00Z{namespace}"
    ))
}

/// What is said of the times by which `spec` was resolved to `found`: of those that could not be believed and decided.
pub fn doubts(spec: &str, times: &Times, found: SnapshotId) -> Vec<String> {
    let Some(time) = spec.strip_prefix('@').and_then(|time| parse_time(time).ok()) else { return Vec::new() };
    let decided = times
        .doubtful()
        .iter()
        .filter(|doubtful| doubtful.snapshot == found || (doubtful.sealed <= time) != (doubtful.plausible <= time));
    decided.map(ToString::to_string).collect()
}

/// Milliseconds since the Unix epoch of a time as people write it: with a zone, or in the machine's own. A time to the day,
/// minute or second means its end, so that the times that listings print name their snapshots.
fn parse_time(text: &str) -> Result<u64> {
    let zoned = text.parse::<jiff::Timestamp>().map(|time| time.as_millisecond());
    let local = || {
        let civil = text.parse::<jiff::civil::DateTime>()?;
        civil.to_zoned(jiff::tz::TimeZone::system()).map(|zoned| zoned.timestamp().as_millisecond())
    };
    let millis = zoned.or_else(|_| local()).map_err(|error: jiff::Error| {
        Error::usage(format!("@{text} is no time ({error}); write it as @2026-05-01T12:00Z"))
    })?;
    Ok(u64::try_from(millis).unwrap_or(0).saturating_add(precision_millis(text) - 1))
}

/// How many milliseconds a time as it is written stands for.
fn precision_millis(text: &str) -> u64 {
    let Some((_, time)) = text.split_once(['T', 't', ' ']) else { return 86_400_000 };
    let zone = time.find(['Z', 'z', '+', '-', '[']).unwrap_or(time.len());
    let time = time.get(..zone).unwrap_or(time);
    match (time.contains(['.', ',']), time.matches(':').count()) {
        (true, _) => 1,
        (false, 0) => 3_600_000,
        (false, 1) => 60_000,
        (false, _) => 1000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_means_the_end_of_the_day_hour_minute_or_second_that_it_names() {
        let noon = 1_777_636_800_000;
        for (text, millis) in [
            ("2026-05-01T12:00:00.250Z", noon + 250),
            ("2026-05-01T12:00:00Z", noon + 999),
            ("2026-05-01T14:00+02:00", noon + 59_999),
            ("2026-05-01 12:00:00,5Z", noon + 500),
            ("2026-05-01T12Z", noon + 3_599_999),
        ] {
            assert_eq!(parse_time(text).unwrap(), millis, "{text}");
        }
        // A day without a zone is the machine's own day, wherever it is.
        let day = parse_time("2026-05-01").unwrap();
        assert_eq!(day - parse_time("2026-05-01T00:00:00.000").unwrap(), 86_399_999);
    }

    #[test]
    fn what_is_no_time_is_a_usage_error() {
        assert!(matches!(parse_time("noon"), Err(Error::Usage(_))));
    }
}
