//! Backing up the records of one namespace from a source of either shape.

use super::ahead::read_ahead;
use super::inbox::Inbox;
use super::partitions::read_partitions;
use super::work::{BackedUp, NamespaceWork, Written};
use super::write::{Input, diff_and_write};
use crate::error::{Error, Result};
use crate::format::snapshot::BackupKind;
use crate::record::PARTITIONS;
use crate::sources::SourceShape;
use crate::spool::Sorter;

/// Backs up one namespace.
pub fn back_up(work: NamespaceWork<'_>) -> Result<BackedUp> {
    let source_time = work.source.clock()?;
    match work.source.shape() {
        SourceShape::Stream(stream) => {
            if work.kind != BackupKind::Full && !work.options.partial {
                return Err(Error::invalid(format!(
                    "{} can't tell what was deleted. Back it up as full, or as {} with `partial` if it holds only \
                     what changed",
                    work.source.name(),
                    work.kind
                )));
            }
            let keys = work.writer.keys().clone();
            let sorter = Sorter::new(keys, work.options.memory_bytes);
            let inbox = Inbox::new(sorter, work.options.skip_bad_records, work.control);
            stream.read(work.namespace, &inbox, work.control)?;
            warn_of_unfound(&work)?;
            work.control.begin_phase("storing", u64::from(PARTITIONS));
            // A record that could not be parsed may be any of the parent's: what is missing is not known to be deleted.
            let mut options = work.options.clone();
            options.partial |= inbox.has_bad_records();
            let work = NamespaceWork { options: &options, notes: None, ..work };
            let whole = work.kind == BackupKind::Full && !work.options.partial;
            let sorted = |partition| Ok(Input { records: inbox.sorter.take(partition)?, whole, ..Input::default() });
            let Written { manifest: mut done, tally, .. } =
                read_ahead(work.options.threads(), sorted, Input::size, |next| {
                    diff_and_write(&work, source_time, None, next, &|_, _| Ok(()), &|| Ok(Default::default()))
                })?;
            let (count, bad) = inbox.into_bad_records();
            done.counts.bad = count;
            Ok(BackedUp { manifest: done, bad, missing: None, tally, open: None })
        }
        SourceShape::Partitioned(partitioned) => {
            if work.options.partial {
                return Err(Error::invalid(format!(
                    "{} can be asked for all that was deleted: leave out `partial`",
                    work.source.name()
                )));
            }
            // What an earlier backup that failed left behind is not ours.
            partitioned.take_bad_records();
            work.control.begin_phase("backing up", u64::from(PARTITIONS));
            let done = read_partitions(&work, source_time, partitioned)?;
            warn_of_unfound(&work)?;
            Ok(done)
        }
    }
}

/// Warns of what was selected and not found once all was read. That is an error, unless an earlier backup of the same
/// selection found it: then its records were deleted since.
fn warn_of_unfound(work: &NamespaceWork<'_>) -> Result<()> {
    match work.source.unfound(work.namespace) {
        Some(problem) if work.parent.is_none() => Err(Error::invalid(format!("{}: {problem}", work.source.name()))),
        found => {
            found.iter().for_each(|problem| work.control.warn(problem));
            Ok(())
        }
    }
}
