//! Which records of a namespace a source is asked for.

use crate::record::{Digest, PartitionSet, Timestamp};
use crate::setters::setters;

/// Which records of a namespace are read, and which of their bins. All conditions must hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct RecordSelection {
    /// Only these sets; empty for all. An empty name is the null set.
    pub sets: Vec<Vec<u8>>,
    /// Only these bins; empty for all. Records that have none of them are there without bins.
    pub bins: Vec<Vec<u8>>,
    /// Only these partitions; all if absent.
    pub partitions: Option<PartitionSet>,
    /// Only these digests; empty for all.
    pub digests: Vec<Digest>,
    /// Only records for which this filter expression is true, as the server reads it; empty for all.
    pub filter: Vec<u8>,
    /// Only records whose last update is at or after this time, by the servers' clocks.
    pub modified_after: Option<Timestamp>,
    /// Only records whose last update is before this time, by the servers' clocks.
    pub modified_before: Option<Timestamp>,
    /// Only records that never expire.
    pub never_expires: bool,
}

setters!(RecordSelection {
    filter: Vec<u8>,
    never_expires: bool,
} into {
    partitions: Option<PartitionSet>,
    modified_after: Option<Timestamp>,
    modified_before: Option<Timestamp>,
} each {
    sets: Vec<u8> => Vec<Vec<u8>>,
    digests: Digest => Vec<Digest>,
    bins: Vec<u8> => Vec<Vec<u8>>,
});

/// Filters up to this long, in base64, are named as they are.
const SHORT_FILTER: usize = 100;

/// A name among others, with commas between them.
fn listed(names: &[Vec<u8>]) -> String {
    let mut names: Vec<String> =
        names.iter().map(|name| name.escape_ascii().to_string().replace(',', "\\x2c")).collect();
    names.sort();
    names.dedup();
    names.join(",")
}

/// The beginning of a hash, for names that would be too long.
fn hashed(parts: impl Iterator<Item = impl AsRef<[u8]>>) -> String {
    let mut hash = blake3::Hasher::new();
    parts.for_each(|part| {
        hash.update(part.as_ref());
    });
    hash.finalize().to_hex().chars().take(32).collect()
}

impl RecordSelection {
    /// Its name, which two selections have in common if they are the same; empty for all records.
    pub fn name(&self) -> String {
        let mut parts = Vec::new();
        match &self.sets[..] {
            [] => {}
            [_] => parts.push(format!("set {}", listed(&self.sets))),
            _ => parts.push(format!("sets {}", listed(&self.sets))),
        }
        if !self.bins.is_empty() {
            parts.push(format!("bins {}", listed(&self.bins)));
        }
        if let Some(partitions) = &self.partitions {
            parts.push(format!("partitions {partitions}"));
        }
        let mut digests = self.digests.clone();
        digests.sort_unstable();
        digests.dedup();
        match &digests[..] {
            [] => {}
            [digest] => parts.push(format!("digest {digest}")),
            some => parts.push(format!("{} digests ({})", some.len(), hashed(some.iter().map(|digest| digest.0)))),
        }
        if !self.filter.is_empty() {
            let base64 = base64_simd::STANDARD.encode_to_string(&self.filter);
            let short = base64.len() <= SHORT_FILTER;
            parts.push(format!("filter {}", if short { base64 } else { hashed([&self.filter].into_iter()) }));
        }
        for (what, time) in [("after", self.modified_after), ("before", self.modified_before)] {
            parts.extend(time.map(|time| format!("modified {what} {time}")));
        }
        if self.never_expires {
            parts.push("never expires".into());
        }
        parts.join("; ")
    }

    /// Whether servers alone can tell which records it has: by a filter expression, or by the time of the last update.
    pub fn is_for_servers(&self) -> bool {
        !self.for_servers().is_empty()
    }

    /// What of it servers alone can tell, by the names of its fields, as messages have them.
    pub(crate) fn for_servers(&self) -> Vec<&'static str> {
        let fields = [
            (!self.filter.is_empty(), "`filter`"),
            (self.modified_after.is_some(), "`modified_after`"),
            (self.modified_before.is_some(), "`modified_before`"),
            (self.never_expires, "`never_expires`"),
        ];
        fields.into_iter().filter_map(|(given, name)| given.then_some(name)).collect()
    }

    /// The same without what servers alone can tell.
    pub(crate) fn for_anyone(&self) -> Self {
        RecordSelection {
            filter: Vec::new(),
            modified_after: None,
            modified_before: None,
            never_expires: false,
            ..self.clone()
        }
    }

    /// Whether a selection of this name that finds nothing was most likely a slip of the pen: it names bins or records.
    /// A set or some partitions may well be empty.
    pub fn must_find(name: &str) -> bool {
        let has = |is: fn(&str) -> bool| name.split("; ").any(is);
        let digests = has(|part| part.starts_with("digest ") || part.contains(" digests ("));
        (Self::names_bins(name) || digests) && !has(|part| part.starts_with("partitions "))
    }

    /// Whether a selection of this name leaves bins out.
    pub fn names_bins(name: &str) -> bool {
        name.split("; ").any(|part| part.starts_with("bins "))
    }

    /// The partitions that may have such records.
    pub fn selected_partitions(&self) -> PartitionSet {
        let all = self.partitions.unwrap_or_else(PartitionSet::all);
        match &self.digests[..] {
            [] => all,
            digests => digests.iter().map(Digest::partition).filter(|partition| all.contains(*partition)).collect(),
        }
    }

    /// Whether it has records of a set.
    pub fn has_set(&self, set: &[u8]) -> bool {
        self.sets.is_empty() || self.sets.iter().any(|wanted| wanted == set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::PartitionId;

    fn names(names: &[&str]) -> Vec<Vec<u8>> {
        names.iter().map(|name| name.as_bytes().to_vec()).collect()
    }

    #[test]
    fn the_name_tells_selections_apart_and_not_their_order() {
        let all = RecordSelection::default();
        assert_eq!(all.name(), "");
        let one = RecordSelection { sets: names(&["users"]), ..all.clone() };
        assert_eq!(one.name(), "set users");
        let two = |sets: &[&str]| RecordSelection { sets: names(sets), ..RecordSelection::default() }.name();
        assert_eq!(two(&["b", "a", "b"]), "sets a,b");
        assert_ne!(two(&["a,b", "c"]), two(&["a", "b", "c"]));
        let digest = |n| Digest([n; 20]);
        let digests = |digests| RecordSelection { digests, ..RecordSelection::default() }.name();
        assert_eq!(digests(vec![digest(2), digest(1)]), digests(vec![digest(1), digest(2)]));
        assert_ne!(digests(vec![digest(3), digest(1)]), digests(vec![digest(1), digest(2)]));
        let rest = RecordSelection {
            bins: names(&["x"]),
            partitions: PartitionSet::parse("4,0-2"),
            filter: vec![0xc3],
            ..one
        };
        assert_eq!(rest.name(), "set users; bins x; partitions 0-2,4; filter ww==");
        assert!(!RecordSelection::must_find(&rest.name()) && !RecordSelection::must_find("set bins; filter ww=="));
        assert!(["bins x", "set a; digest 00", "2 digests (00)"].into_iter().all(RecordSelection::must_find));
        assert!(RecordSelection::names_bins(&rest.name()) && !RecordSelection::names_bins("set bins x; digest 00"));
        let long = |byte| RecordSelection { filter: vec![byte; 200], ..RecordSelection::default() }.name();
        assert!(long(1).len() < 50 && long(1) != long(2));
        let times = RecordSelection::default().modified_after(Timestamp(0)).modified_before(Timestamp(1));
        let name = "modified after 1970-01-01T00:00:00.000Z; modified before 1970-01-01T00:00:00.001Z; never expires";
        assert_eq!(times.never_expires(true).name(), name);
    }

    #[test]
    fn digests_and_partitions_must_both_hold() {
        let digests = vec![Digest([1; 20]), Digest([2; 20])];
        let here = Digest([1; 20]).partition();
        let partitions = Some([here].into_iter().collect());
        let some = RecordSelection { digests, partitions, ..RecordSelection::default() };
        assert_eq!(some.selected_partitions().iter().collect::<Vec<PartitionId>>(), [here]);
        assert_eq!(RecordSelection::default().selected_partitions(), PartitionSet::all());
    }
}
