//! Which snapshots stay, and why. A pure function: it knows neither the clock nor the store.
//!
//! Snapshots are gone through in their order, whatever their times say, so a wrong clock never makes an older one the
//! newest. Rules that count hours, days or years go by the times that can be trusted ([`Times`]).

use crate::error::{Error, Result};
use crate::format::SnapshotId;
use crate::format::snapshot::Manifest;
use crate::objects::order::Times;
use crate::setters::setters;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::time::Duration;

/// What is to stay. Each rule looks at the snapshots of one group (same cluster, same namespaces) from the newest on,
/// and keeps some; what no rule keeps goes. Only snapshots that miss nothing count: an incomplete one never takes a
/// whole one's place. What a repair salvaged takes the place of the snapshot that lost chunks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// The newest so many.
    pub last: Option<u64>,
    /// The newest of each of the last so many hours that have one.
    pub hourly: Option<u64>,
    /// The newest of each of the last so many days that have one.
    pub daily: Option<u64>,
    /// The newest of each of the last so many weeks (from Monday) that have one.
    pub weekly: Option<u64>,
    /// The newest of each of the last so many months that have one.
    pub monthly: Option<u64>,
    /// The newest of each of the last so many years that have one.
    pub yearly: Option<u64>,
    /// All that were committed at most so long before the newest of the group.
    pub within: Option<Duration>,
    /// The newest of each period of this length, of those that were committed at most so long before the newest of the
    /// group.
    pub within_newest: BTreeMap<Period, Duration>,
    /// All that have one of these labels.
    pub tags: Vec<String>,
    /// The time zone in which hours, days, weeks, months and years begin.
    pub zone: Zone,
}

setters!(Retention {
    within_newest: BTreeMap<Period, Duration>,
    zone: Zone,
} into {
    last: Option<u64>,
    hourly: Option<u64>,
    daily: Option<u64>,
    weekly: Option<u64>,
    monthly: Option<u64>,
    yearly: Option<u64>,
    within: Option<Duration>,
} each {
    tags: String => Vec<String>,
});

/// A time zone: UTC unless another is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(jiff::tz::TimeZone);

impl Default for Zone {
    fn default() -> Self {
        Zone(jiff::tz::TimeZone::UTC)
    }
}

impl Zone {
    /// The one that this machine is set to; UTC if it says none.
    pub fn of_this_machine() -> Self {
        Zone(jiff::tz::TimeZone::try_system().unwrap_or(jiff::tz::TimeZone::UTC))
    }

    /// The zone of this name in the IANA time zone database, such as `Europe/Berlin`.
    ///
    /// # Errors
    ///
    /// If there is none of that name.
    pub fn named(name: &str) -> Result<Self> {
        jiff::tz::TimeZone::get(name).map(Zone).map_err(|error| {
            Error::usage(format!("there is no time zone {name:?} ({error}); write it as UTC or Europe/Berlin"))
        })
    }
}

/// The length of a period of which a rule keeps one snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Period {
    /// 60 minutes.
    Hour,
    /// From midnight.
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
#[non_exhaustive]
pub enum Reason {
    /// Its place counted from the newest, which is 1.
    Last(u64),
    /// It is the newest of a period.
    Newest(Period),
    /// It is young enough.
    Within,
    /// It is the newest of a period, and young enough.
    NewestWithin(Period),
    /// It has this label.
    Tag(String),
    /// It misses something, but nothing whole is newer.
    NewerThanWhole,
    /// It is held; why.
    Held(String),
    /// Labels are a reason to stay, and its labels can't be read.
    LabelsUnread,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Last(1) => f.write_str("the newest"),
            Reason::Last(n) => write!(f, "number {n} from the newest"),
            Reason::Newest(period) => write!(f, "newest of its {period}"),
            Reason::NewestWithin(period) => write!(f, "newest of its {period} and young enough"),
            Reason::Within => f.write_str("young enough"),
            Reason::Tag(tag) => write!(f, "labelled {tag}"),
            Reason::Held(why) => f.write_str(why),
            Reason::LabelsUnread => f.write_str("its labels can't be read"),
            Reason::NewerThanWhole => f.write_str("incomplete, but no complete one is newer"),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Period::Hour => "hour",
            Period::Day => "day",
            Period::Week => "week",
            Period::Month => "month",
            Period::Year => "year",
        })
    }
}

/// What becomes of one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
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

impl Retention {
    fn counts(&self) -> [Option<u64>; 6] {
        [self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly]
    }

    /// Whether nothing was said about what stays.
    pub fn is_empty(&self) -> bool {
        self.counts().iter().all(Option::is_none)
            && self.within.is_none()
            && self.within_newest.is_empty()
            && self.tags.is_empty()
    }

    /// Whether what stays depends on when snapshots were committed.
    pub fn goes_by_time(&self) -> bool {
        let [_, periods @ ..] = self.counts();
        periods.iter().any(Option::is_some) || self.within.is_some() || !self.within_newest.is_empty()
    }

    /// Whether it was asked in so many words that nothing stays: a count of zero, and no rule that keeps anything.
    fn may_keep_nothing(&self) -> bool {
        self.last == Some(0)
            && self.counts().iter().flatten().all(|&n| n == 0)
            && self.within.is_none()
            && self.within_newest.is_empty()
    }

    /// Why each of a group's snapshots, newest first, stays.
    fn keep(&self, members: &[&Manifest], salvaged: &HashSet<SnapshotId>, times: &Times) -> Vec<Vec<Reason>> {
        let mut kept = vec![Vec::new(); members.len()];
        let periods = [
            (Period::Hour, self.hourly),
            (Period::Day, self.daily),
            (Period::Week, self.weekly),
            (Period::Month, self.monthly),
            (Period::Year, self.yearly),
        ];
        let mut taken: [HashSet<i64>; 5] = Default::default();
        let mut taken_within: HashSet<(Period, i64)> = HashSet::new();
        let newest = members.first().map_or(0, |manifest| times.committed(manifest));
        let mut whole = 0;
        for (manifest, reasons) in members.iter().zip(&mut kept) {
            // What was salvaged stands for the snapshot that lost chunks, with its labels and its time: no rule keeps
            // both.
            if salvaged.contains(&manifest.id) {
                continue;
            }
            let committed = times.committed(manifest);
            let is_within = |within: Duration| u128::from(newest.saturating_sub(committed)) <= within.as_millis();
            if self.within.is_some_and(is_within) {
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
                if room && taken.insert(period.number(committed, &self.zone)) {
                    reasons.push(Reason::Newest(*period));
                }
            }
            for (&period, &within) in &self.within_newest {
                if is_within(within) && taken_within.insert((period, period.number(committed, &self.zone))) {
                    reasons.push(Reason::NewestWithin(period));
                }
            }
        }
        kept
    }
}

/// Decides on these snapshots by the rules, in the order they are given. `times` are those of all snapshots of the
/// repository.
///
/// # Errors
///
/// If there is no rule, if a group would lose its last snapshot though `last` is not zero, or if a rule goes by
/// time and nobody can tell whose clock is wrong.
pub fn decide(rules: &Retention, snapshots: &[Manifest], times: &Times) -> Result<Vec<Verdict>> {
    if rules.is_empty() {
        return Err(Error::usage("what shall stay? Give a rule of retention, or name the snapshots to forget"));
    }
    if rules.goes_by_time() && times.reader_is_behind() {
        return Err(Error::invalid(
            "most snapshots were committed later than it is now by this machine's clock, so either that or the \
             clocks of the hosts that wrote them are wrong; nothing was forgotten. Set this machine's clock; or \
             give `last` or `tags`, which don't go by time, or name the snapshots to forget",
        ));
    }
    // What lost chunks and was salvaged, and salvages of which a later one holds more.
    let mut salvaged: HashSet<SnapshotId> = HashSet::new();
    let mut newest: BTreeMap<SnapshotId, &Manifest> = BTreeMap::new();
    for (original, manifest) in snapshots.iter().filter_map(|one| Some((one.salvage?.original, one))) {
        salvaged.insert(original);
        if let Some(other) = newest.insert(original, manifest) {
            let [older, newer] = if other.place() < manifest.place() { [other, manifest] } else { [manifest, other] };
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
        members.sort_by_key(|manifest| std::cmp::Reverse(manifest.place()));
        let kept = rules.keep(&members, &salvaged, times);
        if kept.iter().all(Vec::is_empty) && !rules.may_keep_nothing() {
            let all = match members.len() {
                1 => "the only snapshot".to_string(),
                number => format!("all {number} snapshots"),
            };
            let s = if namespaces.len() == 1 { "" } else { "s" };
            return Err(Error::invalid(format!(
                "this would forget {all} of cluster {cluster:?} with namespace{s} {}; nothing was forgotten. If \
                 that is meant, say `last` 0 and nothing else",
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

impl Period {
    /// The number of the period that a time in milliseconds since the Unix epoch is in.
    fn number(self, millis: u64, zone: &Zone) -> i64 {
        const HOUR: i64 = 3_600_000;
        let time = i64::try_from(millis).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
        let zoned = time.unwrap_or(jiff::Timestamp::MAX).to_zoned(zone.0.clone());
        let (utc, offset) = (zoned.timestamp().as_millisecond(), i64::from(zoned.offset().seconds()) * 1000);
        let days = (utc + offset).div_euclid(24 * HOUR);
        match self {
            // By its beginning: when clocks are set back, two hours of a day have the same name.
            Period::Hour => (utc + offset).div_euclid(HOUR) * HOUR - offset,
            Period::Day => days,
            // The first of January 1970 was a Thursday.
            Period::Week => (days + 3).div_euclid(7),
            Period::Month => i64::from(zoned.year()) * 12 + i64::from(zoned.month()),
            Period::Year => i64::from(zoned.year()),
        }
    }
}

#[cfg(test)]
mod tests;
