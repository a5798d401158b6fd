//! Which snapshot a person means.

use super::catalogue::Manifests;
use super::view::Snapshot;
use crate::error::{Error, Result};
use crate::format::SnapshotId;
use crate::format::snapshot::Manifest;
use crate::objects::order::Times;
use crate::setters::setters;
use std::collections::BTreeSet;
use std::fmt;

/// Where to look for what there is.
const LISTED: &str = "`aerolith snapshots` lists what there is";
/// What to do where there is nothing.
const EMPTY: &str = "The repository has no snapshots yet: make one with `aerolith backup`";
/// Snapshots, clusters or labels that a message names.
const NAMED: usize = 5;

/// Which snapshots `latest`, `latest~N` and `@TIME` are looked for among, and which a list shows: all, if it says
/// nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotFilter {
    /// Those of this cluster.
    pub cluster: Option<String>,
    /// Those with all of these labels.
    pub tags: Vec<String>,
    /// Those that this host wrote.
    pub host: Option<String>,
}

setters!(SnapshotFilter {
} into {
    cluster: Option<String>,
    host: Option<String>,
} each {
    tags: String => Vec<String>,
});

impl SnapshotFilter {
    /// Admits all.
    pub const ALL: SnapshotFilter = SnapshotFilter { cluster: None, tags: Vec::new(), host: None };

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == SnapshotFilter::ALL
    }

    /// Whether a snapshot is one of them.
    pub fn admits(&self, snapshot: &Snapshot) -> bool {
        self.admits_manifest(snapshot.manifest())
    }

    pub(crate) fn admits_manifest(&self, manifest: &Manifest) -> bool {
        self.cluster.as_ref().is_none_or(|cluster| manifest.cluster == *cluster)
            && self.tags.iter().all(|tag| manifest.tags.contains(tag))
            && self.host.as_ref().is_none_or(|host| manifest.host == *host)
    }

    /// Makes sure that there are snapshots of its cluster.
    ///
    /// # Errors
    ///
    /// If there are none: most likely a slip of the pen.
    pub(crate) fn check_cluster<'a>(&self, snapshots: impl Iterator<Item = &'a Manifest> + Clone) -> Result<()> {
        match &self.cluster {
            Some(name) if !snapshots.clone().any(|manifest| manifest.cluster == *name) => Err(self.nothing(snapshots)),
            _ => Ok(()),
        }
    }

    /// Makes sure that it admits one of these at least, if it says anything.
    ///
    /// # Errors
    ///
    /// If it admits none.
    pub(crate) fn check_any(&self, snapshots: &[Manifest]) -> Result<()> {
        match self.is_empty() || snapshots.iter().any(|manifest| self.admits_manifest(manifest)) {
            true => Ok(()),
            false => Err(self.nothing(snapshots.iter())),
        }
    }

    /// Says that it admits none of these, and which clusters or labels there are.
    fn nothing<'a>(&self, snapshots: impl Iterator<Item = &'a Manifest> + Clone) -> Error {
        let clusters = clusters(snapshots.clone());
        let labels: BTreeSet<&str> = snapshots.flat_map(|manifest| &manifest.tags).map(String::as_str).collect();
        let has_cluster = self.cluster.as_ref().is_none_or(|cluster| clusters.contains(cluster.as_str()));
        let has_tags = self.tags.iter().all(|tag| labels.contains(tag.as_str()));
        let there = match (has_cluster, has_tags) {
            _ if clusters.is_empty() => return Error::not_found(format!("a snapshot {self}"), EMPTY),
            (true, false) if labels.is_empty() => "No snapshot has a label".to_string(),
            (true, false) => format!("There are snapshots with the labels {}", in_words(&labels)),
            _ => format!("There are snapshots of {}", in_words(&clusters)),
        };
        Error::not_found(format!("a snapshot {self}"), format!("{there}. {LISTED}"))
    }
}

impl fmt::Display for SnapshotFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cluster = self.cluster.iter().map(|cluster| format!("of cluster {cluster:?}"));
        let tags = self.tags.iter().map(|tag| format!("with the label {tag:?}"));
        let host = self.host.iter().map(|host| format!("by host {host:?}"));
        f.write_str(&cluster.chain(tags).chain(host).collect::<Vec<_>>().join(" "))
    }
}

/// The clusters of snapshots, each once.
fn clusters<'a>(snapshots: impl Iterator<Item = &'a Manifest>) -> BTreeSet<&'a str> {
    snapshots.map(|manifest| manifest.cluster.as_str()).collect()
}

/// Names of clusters or labels for people, the first few of them.
fn in_words(names: &BTreeSet<&str>) -> String {
    let mut list: Vec<String> = names.iter().take(NAMED).map(|name| format!("{name:?}")).collect();
    if names.len() > NAMED {
        list.push(format!("{} more", names.len() - NAMED));
    }
    match &list[..] {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        _ => list.concat(),
    }
}

/// Finds the snapshot that `spec` names, among those that the filter admits.
///
/// # Errors
///
/// If there is none, if it can't be read, or if several are meant: those whose ids begin in the same way, or `latest`,
/// `latest~N` and `@TIME` where that could mean snapshots of different clusters.
pub fn resolve(list: &mut Manifests, spec: &str, filter: &SnapshotFilter) -> Result<Manifest> {
    let Manifests { snapshots, damaged, times, .. } = list;
    let advice = if snapshots.is_empty() && damaged.is_empty() { EMPTY } else { LISTED };
    let time = spec.strip_prefix('@').map(parse_time).transpose()?;
    let back = match spec.strip_prefix("latest") {
        Some("") => Some(0),
        Some(rest) => Some(parse_back(rest).ok_or_else(|| bad(spec))?),
        None => None,
    };
    if time.is_none() && back.is_none() {
        return by_id(snapshots, damaged, spec, filter, advice);
    }
    let is_meant = |manifest: &&Manifest| {
        filter.admits_manifest(manifest) && time.is_none_or(|time| times.committed(manifest) <= time)
    };
    let meant: Vec<&Manifest> = snapshots.iter().rev().filter(is_meant).collect();
    let of = clusters(meant.iter().copied());
    if of.len() > 1 {
        return Err(Error::usage(format!(
            "{spec} could mean a snapshot of {}: say which with `cluster`, or give the snapshot's id",
            in_words(&of)
        )));
    }
    if let Some(&found) = meant.get(back.unwrap_or(0)) {
        return Ok(found.clone());
    }
    if !filter.is_empty() && !snapshots.iter().any(|manifest| filter.admits_manifest(manifest)) {
        return Err(filter.nothing(snapshots.iter()));
    }
    let which = if filter.is_empty() { String::new() } else { format!(" {filter}") };
    Err(match (back, meant.len()) {
        (None, _) => Error::not_found(format!("a snapshot{which} at or before {spec}"), advice),
        (Some(_), 0) => Error::not_found(format!("snapshot {spec}"), advice),
        (Some(_), n) => {
            let advice = format!("The oldest{which} that can be read is latest~{}. {LISTED}", n - 1);
            Error::not_found(format!("snapshot {spec}"), advice)
        }
    })
}

/// The number in `~N`.
fn parse_back(text: &str) -> Option<usize> {
    let digits = text.strip_prefix('~').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

/// The snapshot whose id begins like this.
fn by_id(
    snapshots: &[Manifest],
    damaged: &mut Vec<(SnapshotId, Error)>,
    spec: &str,
    filter: &SnapshotFilter,
    advice: &str,
) -> Result<Manifest> {
    let prefix = spec.to_ascii_lowercase();
    if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(bad(spec));
    }
    if let Some(at) = damaged.iter().position(|(id, _)| id.to_string().starts_with(&prefix)) {
        return Err(damaged.swap_remove(at).1);
    }
    let begins = |manifest: &&Manifest| manifest.id.to_string().starts_with(&prefix);
    let found: Vec<&Manifest> = snapshots.iter().filter(begins).collect();
    match &found[..] {
        [] => Err(Error::not_found(format!("snapshot {spec}"), advice)),
        [one] if !filter.admits_manifest(one) => Err(Error::usage(format!(
            "snapshot {} is of cluster {:?}, by host {:?}, with {}; a snapshot {filter} was asked for",
            one.id,
            one.cluster,
            one.host,
            if one.tags.is_empty() { "no labels".to_string() } else { format!("the labels {}", one.tags.join(", ")) }
        ))),
        [one] => Ok((*one).clone()),
        all => {
            let mut ids: Vec<String> = all.iter().take(NAMED).map(|manifest| manifest.id.to_string()).collect();
            if all.len() > NAMED {
                ids.push("…".into());
            }
            let n = all.len();
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

/// What is said of the times by which `spec` was resolved to `found`: of doubtful ones that decided.
pub fn doubts(spec: &str, times: &Times, found: SnapshotId) -> Vec<String> {
    let Some(time) = spec.strip_prefix('@').and_then(|time| parse_time(time).ok()) else { return Vec::new() };
    let decided = times.doubtful().iter().filter(|doubtful| {
        doubtful.snapshot == found || (doubtful.committed.0 <= time) != (doubtful.plausible.0 <= time)
    });
    decided.map(ToString::to_string).collect()
}

/// Milliseconds since the Unix epoch of a time as people write it: with a zone, or in the machine's own. A time to the
/// day, minute or second means its end, so that the times that listings print name their snapshots.
fn parse_time(text: &str) -> Result<u64> {
    end_of(text)
        .map_err(|error| Error::usage(format!("@{text} is not a time ({error}); write it as @2026-05-01T12:00Z")))
}

/// The end of what [`parse_time`] says.
fn end_of(text: &str) -> Result<u64, jiff::Error> {
    let zoned = text.parse::<jiff::Timestamp>().map(|time| time.as_millisecond());
    let local = || {
        let civil = text.parse::<jiff::civil::DateTime>()?;
        civil.to_zoned(jiff::tz::TimeZone::system()).map(|zoned| zoned.timestamp().as_millisecond())
    };
    let millis = zoned.or_else(|_| local())?;
    Ok(u64::try_from(millis).unwrap_or(0).saturating_add(precision_millis(text) - 1))
}

/// The beginning of a day, hour, minute or second as people write it, in milliseconds since the Unix epoch. `None` if
/// it is not a time.
pub fn parse_begin(text: &str) -> Option<u64> {
    let end = end_of(text).ok()?;
    Some(end.saturating_add(1).saturating_sub(precision_millis(text)))
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
