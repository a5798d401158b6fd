//! Names of sets that were met, for messages about one that isn't there.

use std::collections::BTreeSet;
use std::fmt;

/// How many names are kept and listed.
const NAMED: usize = 20;

/// Sets that were met while records went by: all of the selected ones, and the first few of the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetSets {
    selected: BTreeSet<Vec<u8>>,
    others: BTreeSet<Vec<u8>>,
}

impl MetSets {
    /// Takes note of a record's set.
    pub fn note(&mut self, set: &[u8], is_selected: bool) {
        let names = if is_selected { &mut self.selected } else { &mut self.others };
        // One more than are listed tells that there are more.
        if (is_selected || names.len() <= NAMED) && !names.contains(set) {
            names.insert(set.to_vec());
        }
    }

    /// Adds what was met elsewhere.
    pub fn add(&mut self, other: MetSets) {
        self.selected.extend(other.selected);
        let room = (NAMED + 1).saturating_sub(self.others.len());
        self.others.extend(other.others.into_iter().take(room));
    }

    /// Those of the selected sets that were not met.
    pub fn lacking<'a>(&self, selected: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<&'a [u8]> {
        selected.into_iter().map(Vec::as_slice).filter(|set| !self.selected.contains(*set)).collect()
    }
}

/// Their names for people, as far as they are listed.
impl fmt::Display for MetSets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: BTreeSet<&[u8]> = self.selected.iter().chain(&self.others).map(Vec::as_slice).collect();
        f.write_str(&listed(all.into_iter()))
    }
}

/// Names for people, with commas between them: the first twenty, and how the others are told from none.
pub fn listed<'a>(names: impl Iterator<Item = &'a [u8]>) -> String {
    let mut names: Vec<String> = names
        .take(NAMED + 1)
        .map(|name| match name {
            [] => "(no set)".to_string(),
            name => String::from_utf8_lossy(name).into_owned(),
        })
        .collect();
    let are_more = names.len() > NAMED;
    names.truncate(NAMED);
    match (names.is_empty(), are_more) {
        (true, _) => "none".into(),
        (_, true) => format!("{}, and others", names.join(", ")),
        _ => names.join(", "),
    }
}

/// That a namespace has no such sets, and which it has.
pub fn unknown(lacking: &str, is_one: bool, namespace: &str, there: &str) -> String {
    let (sets, are) = if is_one { ("set", "isn't") } else { ("sets", "aren't") };
    format!("{sets} {lacking} {are} in namespace {namespace}; its sets are: {there}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_twenty_are_listed_and_all_selected_ones_are_known() {
        let mut met = MetSets::default();
        assert_eq!(met.to_string(), "none");
        met.note(b"", false);
        (0..20).for_each(|n: u32| met.note(format!("s{n:02}").as_bytes(), false));
        assert!(met.to_string().starts_with("(no set), s00, s01") && met.to_string().ends_with("s18, and others"));
        let mut other = MetSets::default();
        (20..60).for_each(|n: u32| other.note(format!("s{n:02}").as_bytes(), n >= 40));
        met.add(other);
        let selected: Vec<Vec<u8>> = (39..61).map(|n| format!("s{n:02}").into_bytes()).collect();
        assert_eq!(met.lacking(&selected), [b"s39", b"s60"]);
        let twenty = (0..20).map(|n| [b'a' + n]).collect::<Vec<_>>();
        assert!(listed(twenty.iter().map(|name| &name[..])).ends_with("s, t"));
    }
}
