//! Merging neighbouring runs of the parent into one, beside the run that a backup writes.

use crate::backup::merge_policy::Merge;
use crate::chunk::Cutter;
use crate::chunks::{ChunkReader, ChunkWriter};
use crate::control::Control;
use crate::error::{Error, Result};
use crate::format::leaf::LiveEntry;
use crate::format::snapshot::RunRef;
use crate::record::RecordMeta;
use crate::run::{MergedCursor, RecordToWrite, read_record_into, write_run};

/// What a merge came to.
pub struct Merged {
    /// The runs that the backup's own is put above.
    pub runs: Vec<RunRef>,
    /// Plain bytes of the value chunks that they refer to.
    pub reached_bytes: u64,
    /// Records whose values were moved.
    pub moved: u64,
}

/// Writes the runs that `merge` names as one: of their entries those that newer runs don't hide, and tombstones if
/// there are older runs in which they hide something.
pub fn merge_runs(
    reader: &ChunkReader,
    writer: &ChunkWriter,
    cutter: Cutter,
    runs: &[RunRef],
    merge: &Merge,
    control: &Control,
) -> Result<Merged> {
    let hides_nothing = merge.runs.end >= runs.len();
    let mut moved = 0;
    // Older runs neither hide these entries nor have to be read.
    let considered = runs.get(..merge.runs.end).unwrap_or(runs);
    let (run, stats, ()) = write_run(writer, cutter, |feeder| {
        let mut entries = MergedCursor::with_tombstones(reader, considered)?;
        let mut body = Vec::new();
        while let Some(entry) = entries.next()? {
            control.check()?;
            if !merge.runs.contains(&entries.origin()) {
                continue;
            }
            let Some(live) = &entry.live else {
                if !hides_nothing {
                    feeder.entry(entry)?;
                }
                continue;
            };
            body.clear();
            if merge.moves_out_of(&live.place.chunk) && can_read(reader, live, &mut body)? {
                moved += 1;
                let LiveEntry { generation, void_time, hash, .. } = *live;
                let meta = RecordMeta { digest: entry.digest, set: &live.set, generation, void_time };
                feeder.record(&RecordToWrite { meta, hash, bin_order: &live.bin_order, body: &body })?;
            } else {
                feeder.entry(entry)?;
            }
        }
        match entries.losses().named.first() {
            None => Ok(()),
            Some(loss) => Err(Error::damaged("a run of the parent", loss.to_string())),
        }
    })?;
    let newer = runs.iter().take(merge.runs.start).copied();
    let older = runs.iter().skip(merge.runs.end).copied();
    let reached_bytes = merge.kept_bytes + stats.value_bytes;
    Ok(Merged { runs: newer.chain(run).chain(older).collect(), reached_bytes, moved })
}

/// Reads a value that is to be moved. One that can't be read stays where it is: moving it is of use only where nothing
/// is lost.
pub fn can_read(reader: &ChunkReader, live: &LiveEntry, body: &mut Vec<u8>) -> Result<bool> {
    match read_record_into(reader, live, body) {
        Ok(()) => Ok(true),
        Err(error) if error.is_of_one_object() => Ok(false),
        Err(error) => Err(error),
    }
}
