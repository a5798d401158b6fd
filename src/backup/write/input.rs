//! What a source says of a partition, beside what the parent and another session have of it.

use crate::error::Result;
use crate::format::search::WalkReason;
use crate::record::{Digest, VoidTime};
use crate::run::Entry;
use crate::sources::{DigestRow, Rest};
use crate::spool::PartitionRecords;

/// The digests of a partition's records that were last updated before those that were asked for, ascending.
pub(crate) struct WalkedDigests(Vec<DigestRow>);

/// What a source says of one partition.
#[derive(Default)]
pub(crate) struct Input {
    pub records: PartitionRecords,
    /// The digests of the other records, if the source was asked for what changed only.
    pub walk: Option<WalkedDigests>,
    /// Whether the records are all that there are: what is not among them is gone.
    pub whole: bool,
    /// How many other records the source has, if it was asked for what changed and counted them.
    pub rest: Option<Rest>,
    /// All records that were known and not delivered are there, but for those that expire by then.
    pub all_there_until: Option<VoidTime>,
    /// How it is found out what is gone, if that was settled before the partition was read.
    pub searched: Option<WalkReason>,
    /// Whether nothing is searched for, since the user asked for that.
    pub unsearched: bool,
    /// Why the partition could not be read, if so.
    pub unread: Option<String>,
}

impl Input {
    /// About the bytes of memory that it takes.
    pub fn size(&self) -> usize {
        self.records.byte_len() + self.walk.as_ref().map_or(0, |walk| walk.0.len() * size_of::<DigestRow>())
    }
}

impl WalkedDigests {
    pub fn new(mut rows: Vec<DigestRow>) -> Self {
        rows.sort_unstable_by_key(|row| row.digest);
        WalkedDigests(rows)
    }

    /// Whether a digest is there; digests are asked for in ascending order, from a `position` of 0 on.
    pub fn has(&self, digest: &Digest, position: &mut usize) -> bool {
        while self.0.get(*position).is_some_and(|row| row.digest < *digest) {
            *position += 1;
        }
        self.0.get(*position).is_some_and(|row| row.digest == *digest)
    }

    /// The digests of records that the filter by last update does not deliver, and that are not as the parent has them.
    pub fn unknown(&self, records: &PartitionRecords, before: &[Entry]) -> Result<Vec<Digest>> {
        let mut before = before.iter().peekable();
        let mut as_before = |row: &DigestRow| {
            while before.next_if(|entry| entry.digest < row.digest).is_some() {}
            let live = before.peek().filter(|entry| entry.digest == row.digest).and_then(|entry| entry.live.as_ref());
            live.is_some_and(|live| live.generation == row.generation && live.void_time == row.void_time)
        };
        let mut digests = Vec::new();
        for row in &self.0 {
            if !as_before(row) && !records.contains(&row.digest)? {
                digests.push(row.digest);
            }
        }
        digests.dedup();
        Ok(digests)
    }
}

/// What a partition held when another session read it: what the parent has, and over it what that session wrote.
pub(crate) fn overlaid(before: &[Entry], taken: &[Entry]) -> Vec<Entry> {
    let mut all = Vec::with_capacity(before.len() + taken.len());
    let mut old = before.iter().peekable();
    for entry in taken {
        let key = entry.digest.sort_key();
        while let Some(kept) = old.next_if(|kept| kept.digest.sort_key() < key) {
            all.push(kept.clone());
        }
        old.next_if(|replaced| replaced.digest == entry.digest);
        if entry.live.is_some() {
            all.push(entry.clone());
        }
    }
    all.extend(old.cloned());
    all
}

/// What is left of the two older states of a partition, both in key order.
pub(super) struct Older<'a> {
    pub before: &'a [Entry],
    pub taken: &'a [Entry],
}

impl<'a> Older<'a> {
    /// The next digest in either that comes before `digest`, with what each has of it.
    pub fn below(&mut self, digest: Option<&Digest>) -> Option<(Option<&'a Entry>, Option<&'a Entry>)> {
        if self.taken.is_empty() {
            let (next, rest) = self.before.split_first()?;
            return digest.is_none_or(|digest| next.digest.sort_key() < digest.sort_key()).then(|| {
                self.before = rest;
                (Some(next), None)
            });
        }
        let first = [self.before.first(), self.taken.first()].into_iter().flatten().map(|entry| entry.digest);
        let next = first.min_by_key(Digest::sort_key)?;
        digest.is_none_or(|digest| next.sort_key() < digest.sort_key()).then(|| self.at(&next))
    }

    /// What each has of a digest, if that is the next one.
    pub fn at(&mut self, digest: &Digest) -> (Option<&'a Entry>, Option<&'a Entry>) {
        (next_if(&mut self.before, digest), next_if(&mut self.taken, digest))
    }
}

fn next_if<'a>(entries: &mut &'a [Entry], digest: &Digest) -> Option<&'a Entry> {
    let (first, rest) = entries.split_first()?;
    (first.digest == *digest).then(|| {
        *entries = rest;
        first
    })
}
