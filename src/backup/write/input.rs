//! What a source says of a partition, beside what the parent and another session have of it.

use crate::error::Result;
use crate::format::search::WalkReason;
use crate::record::{Digest, VoidTime};
use crate::run::{Entries, EntryRef, Picked};
use crate::sources::{DigestRow, Rest};
use crate::spool::PartitionRecords;
use std::iter::Peekable;

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
    pub fn unknown(&self, records: &PartitionRecords, before: &Entries) -> Result<Vec<Digest>> {
        let mut before = before.iter().peekable();
        let mut as_before = |row: &DigestRow| {
            while before.next_if(|entry| *entry.digest < row.digest).is_some() {}
            let live = before.peek().filter(|entry| *entry.digest == row.digest).and_then(EntryRef::live);
            live.is_some_and(|live| live.generation() == row.generation && live.void_time() == row.void_time)
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
pub(crate) fn overlaid(before: &Entries, taken: &Entries) -> Entries {
    let mut all = Entries::default();
    let key = |picked: &Picked| picked.get().map(|entry| entry.digest.sort_key());
    let mut old = before.picked().peekable();
    for picked in taken.picked() {
        while let Some(kept) = old.next_if(|kept| key(kept) < key(&picked)) {
            all.push_one(&kept);
        }
        old.next_if(|replaced| key(replaced) == key(&picked));
        if picked.get().is_some_and(|entry| entry.live().is_some()) {
            all.push_one(&picked);
        }
    }
    old.for_each(|kept| all.push_one(&kept));
    all
}

/// What is left of the two older states of a partition, both in key order.
pub(super) struct Older<B: Iterator, T: Iterator> {
    before: Peekable<B>,
    taken: Peekable<T>,
}

impl<'a, B: Iterator<Item = EntryRef<'a>>, T: Iterator<Item = EntryRef<'a>>> Older<B, T> {
    pub fn new(before: B, taken: T) -> Self {
        Older { before: before.peekable(), taken: taken.peekable() }
    }

    /// The next digest in either that comes before `digest`, with what each has of it.
    pub fn below(&mut self, digest: Option<&Digest>) -> Option<(Option<EntryRef<'a>>, Option<EntryRef<'a>>)> {
        let is_below = |next: &Digest| digest.is_none_or(|digest| next.sort_key() < digest.sort_key());
        let before = self.before.peek().map(|entry| entry.digest);
        let Some(taken) = self.taken.peek().map(|entry| entry.digest) else {
            return before.filter(|next| is_below(next)).map(|_| (self.before.next(), None));
        };
        let next = before.map_or(taken, |before| std::cmp::min_by_key(before, taken, |digest| digest.sort_key()));
        is_below(next).then(|| self.at(next))
    }

    /// What each has of a digest, if that is the next one.
    pub fn at(&mut self, digest: &Digest) -> (Option<EntryRef<'a>>, Option<EntryRef<'a>>) {
        let is_it = |entry: &EntryRef<'a>| entry.digest == digest;
        (self.before.next_if(is_it), self.taken.next_if(is_it))
    }
}
