//! What differs between two snapshots of a namespace.

use super::NamespaceView;
use crate::error::{Error, Result};
use crate::record::Digest;
use crate::run::{Entry, LiveEntry, Losses, MergedCursor};

/// How one record differs between two snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Which record.
    pub digest: Digest,
    /// Its entry in the first snapshot.
    pub before: Option<LiveEntry>,
    /// Its entry in the second.
    pub after: Option<LiveEntry>,
}

/// The records that differ between two snapshots of a namespace, in key order.
#[must_use = "the walk goes on as the iterator is driven"]
pub struct Diff<'a> {
    before: Side<'a>,
    after: Side<'a>,
    /// The runs that both have.
    common: MergedCursor<'a>,
    below: Option<Entry>,
    ended: bool,
}

/// The runs that one of the two has for itself.
struct Side<'a> {
    cursor: MergedCursor<'a>,
    ahead: Option<Entry>,
}

impl<'a> Side<'a> {
    fn new(mut cursor: MergedCursor<'a>) -> Result<Self> {
        let ahead = cursor.next()?;
        Ok(Side { cursor, ahead })
    }

    /// What this side holds for a digest, where `base` is what the common runs hold; `None` where that can't be told.
    fn take(&mut self, digest: Digest, base: &Option<Option<LiveEntry>>) -> Result<Option<Option<LiveEntry>>> {
        match &mut self.ahead {
            Some(entry) if entry.digest == digest => {
                let live = entry.live.take();
                self.ahead = self.cursor.next()?;
                Ok(Some(live))
            }
            _ if self.cursor.is_unknown(&digest) => Ok(None),
            _ => Ok(base.clone()),
        }
    }
}

impl<'a> Diff<'a> {
    pub(super) fn new(before: &NamespaceView<'a>, after: &NamespaceView<'a>) -> Result<Self> {
        let (old, new) = (&before.manifest.runs, &after.manifest.runs);
        let shared = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
        let more = || Error::internal("two snapshots share more runs than they have");
        let (own_before, common) = old.split_at_checked(old.len() - shared).ok_or_else(more)?;
        let own_after = new.get(..new.len() - shared).ok_or_else(more)?;
        let mut common = MergedCursor::tolerant(before.chunks()?, common)?;
        Ok(Diff {
            before: Side::new(MergedCursor::with_tombstones(before.chunks()?, own_before)?)?,
            after: Side::new(MergedCursor::with_tombstones(after.chunks()?, own_after)?)?,
            below: common.next()?,
            common,
            ended: false,
        })
    }

    /// What could not be read so far; all of it once the last change was taken. Records about which one side can't tell
    /// are not among the changes.
    pub fn losses(&self) -> Losses {
        let mut losses = self.before.cursor.losses();
        losses.add(&self.after.cursor.losses());
        losses.add(&self.common.losses());
        losses
    }

    fn next_change(&mut self) -> Result<Option<Change>> {
        loop {
            let ahead = [&self.before.ahead, &self.after.ahead].into_iter().flatten().map(|entry| entry.digest);
            let Some(digest) = ahead.min_by_key(Digest::sort_key) else { return Ok(None) };
            let key = digest.sort_key();
            while self.below.as_ref().is_some_and(|entry| entry.digest.sort_key() < key) {
                self.below = self.common.next()?;
            }
            let base = self.below.as_ref().filter(|entry| entry.digest == digest).and_then(|entry| entry.live.clone());
            let base = if base.is_none() && self.common.is_unknown(&digest) { None } else { Some(base) };
            let was = self.before.take(digest, &base)?;
            let is = self.after.take(digest, &base)?;
            let (Some(before), Some(after)) = (was, is) else { continue };
            let same = match (&before, &after) {
                (None, None) => true,
                (Some(was), Some(is)) => {
                    was.hash == is.hash && was.generation == is.generation && was.void_time == is.void_time
                }
                _ => false,
            };
            if !same {
                return Ok(Some(Change { digest, before, after }));
            }
        }
    }
}

impl Iterator for Diff<'_> {
    type Item = Result<Change>;

    fn next(&mut self) -> Option<Result<Change>> {
        if self.ended {
            return None;
        }
        let next = self.next_change().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}
