//! Which snapshots stay, and why. A pure function: it knows neither the clock nor the store.

use crate::error::{Error, Result};
use crate::format::SnapshotId;
use crate::format::snapshot::Manifest;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// What is to stay. Each rule looks at the snapshots of one group (same cluster, same namespaces) from the newest on, and keeps
/// some; what no rule keeps goes. Only snapshots that miss nothing count: an incomplete one never takes a whole one's place.
/// What a repair salvaged takes the place of the snapshot that lost chunks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The newest so many.
    pub last: Option<u64>,
    /// The newest of each of the last so many hours that have one. Hours, days and so on are in UTC.
    pub hourly: Option<u64>,
    /// The newest of each of the last so many days that have one.
    pub daily: Option<u64>,
    /// The newest of each of the last so many weeks (from Monday) that have one.
    pub weekly: Option<u64>,
    /// The newest of each of the last so many months that have one.
    pub monthly: Option<u64>,
    /// The newest of each of the last so many years that have one.
    pub yearly: Option<u64>,
    /// All that were sealed at most so many milliseconds before the newest of the group.
    pub within_millis: Option<u64>,
    /// All that have one of these labels.
    pub tags: Vec<String>,
}

/// The length of a period of which a rule keeps one snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Period {
    /// 60 minutes.
    Hour,
    /// From midnight UTC.
    Day,
    /// From Monday.
    Week,
    /// As in the calendar.
    Month,
    /// As in the calendar.
    Year,
}

/// Why a snapshot stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is the so-manieth newest, counted from 1.
    Last(u64),
    /// It is the newest of a period.
    Newest(Period),
    /// It is young enough.
    Within,
    /// It has this label.
    Tag(String),
    /// It misses something, but nothing whole is newer.
    NewerThanWhole,
    /// It is held; why.
    Held(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Last(1) => f.write_str("the newest"),
            Reason::Last(n) => write!(f, "number {n} from the newest"),
            Reason::Newest(Period::Hour) => f.write_str("newest of its hour"),
            Reason::Newest(Period::Day) => f.write_str("newest of its day"),
            Reason::Newest(Period::Week) => f.write_str("newest of its week"),
            Reason::Newest(Period::Month) => f.write_str("newest of its month"),
            Reason::Newest(Period::Year) => f.write_str("newest of its year"),
            Reason::Within => f.write_str("young enough"),
            Reason::Tag(tag) => write!(f, "labelled {tag}"),
            Reason::Held(why) => f.write_str(why),
            Reason::NewerThanWhole => f.write_str("incomplete, but nothing whole is newer"),
        }
    }
}

/// What becomes of one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which.
    pub snapshot: SnapshotId,
    /// Why it stays; it goes if there is no reason.
    pub reasons: Vec<Reason>,
}

impl Verdict {
    /// Whether it stays.
    pub fn stays(&self) -> bool {
        !self.reasons.is_empty()
    }
}

/// Snapshots of one group: of one cluster, with the same namespaces and the same selection of each.
type Group<'a> = (&'a str, Vec<(&'a str, &'a str)>);

fn group(manifest: &Manifest) -> Group<'_> {
    (&manifest.cluster, manifest.namespaces.iter().map(|one| (one.name.as_str(), one.selection.as_str())).collect())
}

impl Policy {
    fn counts(&self) -> [Option<u64>; 6] {
        [self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly]
    }

    /// Whether nothing was said about what stays.
    pub fn is_empty(&self) -> bool {
        self.counts().iter().all(Option::is_none) && self.within_millis.is_none() && self.tags.is_empty()
    }

    /// Whether it was asked in so many words that nothing stays: a count of zero, and no rule that keeps anything.
    fn may_keep_nothing(&self) -> bool {
        self.last == Some(0) && self.counts().iter().flatten().all(|&n| n == 0) && self.within_millis.is_none()
    }

    /// Decides on these snapshots, in the order they are given.
    ///
    /// # Errors
    ///
    /// If there is no rule, or if a group would lose its last snapshot though `last` is not zero.
    pub fn decide(&self, snapshots: &[Manifest]) -> Result<Vec<Verdict>> {
        if self.is_empty() {
            return Err(Error::usage(
                "what shall stay? Give one of the --keep-… options, or name the snapshots to forget",
            ));
        }
        // What lost chunks and was salvaged, and salvages of which a later one holds more.
        let mut salvaged: HashSet<SnapshotId> = HashSet::new();
        let mut newest: BTreeMap<SnapshotId, &Manifest> = BTreeMap::new();
        for (original, manifest) in snapshots.iter().filter_map(|one| Some((one.salvage?.original, one))) {
            salvaged.insert(original);
            if let Some(other) = newest.insert(original, manifest) {
                let [older, newer] = if other.sealed < manifest.sealed { [other, manifest] } else { [manifest, other] };
                salvaged.insert(older.id);
                newest.insert(original, newer);
            }
        }
        let mut groups: BTreeMap<Group<'_>, Vec<&Manifest>> = BTreeMap::new();
        for manifest in snapshots {
            groups.entry(group(manifest)).or_default().push(manifest);
        }
        let mut reasons: BTreeMap<SnapshotId, Vec<Reason>> = BTreeMap::new();
        for ((cluster, namespaces), mut members) in groups {
            members.sort_by_key(|manifest| std::cmp::Reverse((manifest.sealed, manifest.id)));
            let kept = self.keep(&members, &salvaged);
            if kept.iter().all(Vec::is_empty) && !self.may_keep_nothing() {
                return Err(Error::invalid(format!(
                    "this would forget all {} snapshots of cluster {cluster:?} with namespaces {}; nothing was forgotten. \
                     If that is meant, say --keep-last 0 and nothing else",
                    members.len(),
                    namespaces.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
                )));
            }
            reasons.extend(members.iter().map(|manifest| manifest.id).zip(kept));
        }
        let verdict = |manifest: &Manifest| Verdict {
            snapshot: manifest.id,
            reasons: reasons.get(&manifest.id).cloned().unwrap_or_default(),
        };
        Ok(snapshots.iter().map(verdict).collect())
    }

    /// Why each of a group's snapshots, newest first, stays.
    fn keep(&self, members: &[&Manifest], salvaged: &HashSet<SnapshotId>) -> Vec<Vec<Reason>> {
        let mut kept = vec![Vec::new(); members.len()];
        let periods = [
            (Period::Hour, self.hourly),
            (Period::Day, self.daily),
            (Period::Week, self.weekly),
            (Period::Month, self.monthly),
            (Period::Year, self.yearly),
        ];
        let mut taken: [HashSet<i64>; 5] = Default::default();
        let newest = members.first().map_or(0, |manifest| manifest.sealed);
        let mut whole = 0;
        for (manifest, reasons) in members.iter().zip(&mut kept) {
            // What was salvaged stands for the snapshot that lost chunks, with its labels and its time: no rule keeps both.
            if salvaged.contains(&manifest.id) {
                continue;
            }
            if self.within_millis.is_some_and(|millis| newest.saturating_sub(manifest.sealed) <= millis) {
                reasons.push(Reason::Within);
            }
            let tags = self.tags.iter().filter(|tag| manifest.tags.contains(tag));
            reasons.extend(tags.map(|tag| Reason::Tag(tag.clone())));
            let counts = match manifest.salvage {
                Some(salvage) => salvage.was_whole,
                None => manifest.missing.is_empty(),
            };
            if !counts {
                if whole == 0 && !self.may_keep_nothing() {
                    reasons.push(Reason::NewerThanWhole);
                }
                continue;
            }
            whole += 1;
            if self.last.is_some_and(|last| whole <= last) {
                reasons.push(Reason::Last(whole));
            }
            for ((period, wanted), taken) in periods.iter().zip(&mut taken) {
                let room = wanted.is_some_and(|wanted| (taken.len() as u64) < wanted);
                if room && taken.insert(period.number(manifest.sealed)) {
                    reasons.push(Reason::Newest(*period));
                }
            }
        }
        kept
    }
}

impl Period {
    /// The number of the period that a time in milliseconds since the Unix epoch is in.
    fn number(self, millis: u64) -> i64 {
        const HOUR: i64 = 3_600_000;
        let millis = i64::try_from(millis).unwrap_or(i64::MAX);
        let days = millis.div_euclid(24 * HOUR);
        let time = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
        let date = time.to_zoned(jiff::tz::TimeZone::UTC).date();
        match self {
            Period::Hour => millis.div_euclid(HOUR),
            Period::Day => days,
            // The first of January 1970 was a Thursday.
            Period::Week => (days + 3).div_euclid(7),
            Period::Month => i64::from(date.year()) * 12 + i64::from(date.month()),
            Period::Year => i64::from(date.year()),
        }
    }
}

#[cfg(test)]
mod tests;
