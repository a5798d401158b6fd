//! Sets of partitions.

use super::{PARTITIONS, PartitionId};
use std::fmt;

/// Words of the bitmap: 64 partitions each.
const WORDS: usize = PARTITIONS as usize / 64;

/// Ranges that people are told by name.
const NAMED: usize = 20;

/// A set of partitions. Written as ranges: `0-1023,2000`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PartitionSet([u64; WORDS]);

impl Default for PartitionSet {
    fn default() -> Self {
        PartitionSet([0; WORDS])
    }
}

impl PartitionSet {
    /// All partitions.
    pub fn all() -> Self {
        PartitionSet([u64::MAX; WORDS])
    }

    fn place(partition: PartitionId) -> (usize, u64) {
        (usize::from(partition.number() / 64), 1 << (partition.number() % 64))
    }

    /// Adds a partition.
    pub fn insert(&mut self, partition: PartitionId) {
        let (word, bit) = Self::place(partition);
        self.0.get_mut(word).into_iter().for_each(|word| *word |= bit);
    }

    /// Whether a partition is in it.
    pub fn contains(&self, partition: PartitionId) -> bool {
        let (word, bit) = Self::place(partition);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Whether no partition is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many partitions are in it.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Its partitions, ascending.
    pub fn iter(&self) -> impl Iterator<Item = PartitionId> + '_ {
        PartitionId::all().filter(|partition| self.contains(*partition))
    }

    /// Its ranges: the first and the last partition of each, ascending, with a gap between two.
    pub fn ranges(&self) -> Vec<(PartitionId, PartitionId)> {
        let mut ranges: Vec<(PartitionId, PartitionId)> = Vec::new();
        for partition in self.iter() {
            match ranges.last_mut() {
                Some((_, last)) if last.number() + 1 == partition.number() => *last = partition,
                _ => ranges.push((partition, partition)),
            }
        }
        ranges
    }

    /// Names its partitions for people, of many ranges only the first: `3 partitions (0-1,7)`.
    pub fn named(&self) -> String {
        let ranges = self.ranges();
        let named: Self = self.iter().take_while(|it| ranges.get(NAMED).is_none_or(|end| *it < end.0)).collect();
        match (self.len(), self.len() - named.len()) {
            (1, _) => format!("partition {named}"),
            (count, 0) => format!("{count} partitions ({named})"),
            (count, more) => format!("{count} partitions ({named} and {more} more)"),
        }
    }

    /// Reads numbers and ranges with commas between them: `0-1023,2000`. `None` if it is anything else, or names no
    /// partition.
    pub fn parse(text: &str) -> Option<Self> {
        let mut set = Self::default();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.trim().parse().ok().filter(|number| *number < PARTITIONS);
            let (first, last): (u16, u16) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            (first..=last).filter_map(PartitionId::new).for_each(|partition| set.insert(partition));
        }
        Some(set)
    }
}

impl FromIterator<PartitionId> for PartitionSet {
    fn from_iter<I: IntoIterator<Item = PartitionId>>(partitions: I) -> Self {
        let mut set = Self::default();
        partitions.into_iter().for_each(|partition| set.insert(partition));
        set
    }
}

impl fmt::Display for PartitionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (first, last)) in self.ranges().into_iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            match first == last {
                true => write!(f, "{comma}{}", first.number())?,
                false => write!(f, "{comma}{}-{}", first.number(), last.number())?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for PartitionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartitionSet({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_written() {
        let shown = |text: &str| PartitionSet::parse(text).map(|set| set.to_string());
        assert_eq!(shown("7").unwrap(), "7");
        assert_eq!(shown("2000,0-1023,1024").unwrap(), "0-1024,2000");
        assert_eq!(shown("0-4095").unwrap(), "0-4095");
        assert_eq!(PartitionSet::parse("0-4095").unwrap(), PartitionSet::all());
        assert_eq!(PartitionSet::parse("63-64").unwrap().len(), 2);
        for wrong in ["", "4096", "5-4", "1,,2", "a", "-1", "1-", "0-4096", "70000"] {
            assert_eq!(shown(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn people_are_told_the_first_of_many_ranges() {
        let named = |text: &str| PartitionSet::parse(text).unwrap().named();
        assert_eq!(named("9"), "partition 9");
        assert_eq!(named("0-1,7"), "3 partitions (0-1,7)");
        let odd: PartitionSet = PartitionId::all().filter(|partition| !partition.number().is_multiple_of(2)).collect();
        assert!(odd.named().starts_with("2048 partitions (1,3,5,"), "{}", odd.named());
        assert!(odd.named().ends_with("37,39 and 2028 more)"), "{}", odd.named());
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let partition = |number| PartitionId::new(number).unwrap();
        let set: PartitionSet = [3, 64, 4095].map(partition).into_iter().collect();
        assert!(set.contains(partition(64)) && !set.contains(partition(65)) && !set.is_empty());
        assert_eq!(set.iter().map(PartitionId::number).collect::<Vec<_>>(), [3, 64, 4095]);
        assert!(PartitionSet::default().is_empty());
        assert_eq!(PartitionSet::all().ranges(), [(partition(0), partition(4095))]);
    }
}
