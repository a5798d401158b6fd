//! Records one after another in one piece of memory, each with its hash.

use crate::format::leaf::RecordHash;
use crate::record::{Digest, Generation, RecordMeta, RecordView, VoidTime};

/// What a record in a [`Block`] has before its set: digest, hash, generation, void time, and the lengths of set, bin
/// order and body.
const HEAD_BYTES: usize = 20 + 16 + 4 + 4 + 1 + 4 + 4;

/// Bytes that the processor fetches at a time.
const CACHE_LINE: usize = 64;

/// How much of each record is fetched ahead; what lies after that follows by itself.
const TOUCHED_LINES: usize = 8;

/// Records one after another in one piece of memory.
#[derive(Default)]
pub(super) struct Block(pub(super) Vec<u8>);

impl Block {
    /// An empty block with room for so many bytes.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Block(Vec::with_capacity(bytes))
    }

    /// Bytes that a record takes.
    pub(super) fn record_bytes(record: &RecordView<'_>) -> usize {
        HEAD_BYTES + record.meta.set.len() + record.byte_len()
    }

    /// Adds a record. The lengths fit, as those of every batch do.
    pub(super) fn push(&mut self, record: &RecordView<'_>, hash: &RecordHash) {
        let (meta, out) = (&record.meta, &mut self.0);
        let mut head = [0; HEAD_BYTES];
        head[..20].copy_from_slice(&meta.digest.0);
        head[20..36].copy_from_slice(&hash.0);
        head[36..40].copy_from_slice(&meta.generation.0.to_le_bytes());
        head[40..44].copy_from_slice(&meta.void_time.0.to_le_bytes());
        head[44] = meta.set.len() as u8;
        head[45..49].copy_from_slice(&(record.bin_order.len() as u32).to_le_bytes());
        head[49..].copy_from_slice(&(record.body.len() as u32).to_le_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(meta.set);
        out.extend_from_slice(record.bin_order);
        out.extend_from_slice(record.body);
    }

    /// Has the record that begins at `at` fetched into the processor's cache.
    pub(super) fn touch(&self, at: usize) -> u8 {
        let lines = self.0.get(at..).unwrap_or_default().iter().step_by(CACHE_LINE);
        lines.take(TOUCHED_LINES).fold(0, |all, byte| all ^ byte)
    }

    /// The record that begins at `at`.
    pub(super) fn get(&self, at: usize) -> Option<(RecordView<'_>, RecordHash)> {
        let (head, rest) = self.0.get(at..)?.split_first_chunk::<HEAD_BYTES>()?;
        let (digest, head) = head.split_first_chunk::<20>()?;
        let (hash, head) = head.split_first_chunk::<16>()?;
        let (generation, head) = head.split_first_chunk::<4>()?;
        let (void_time, head) = head.split_first_chunk::<4>()?;
        let ([set], head) = head.split_first_chunk::<1>()?;
        let (order, head) = head.split_first_chunk::<4>()?;
        let (body, _) = head.split_first_chunk::<4>()?;
        let (set, rest) = rest.split_at_checked(usize::from(*set))?;
        let (bin_order, rest) = rest.split_at_checked(u32::from_le_bytes(*order) as usize)?;
        let body = rest.get(..u32::from_le_bytes(*body) as usize)?;
        let (generation, void_time) = (u32::from_le_bytes(*generation), u32::from_le_bytes(*void_time));
        let meta = RecordMeta {
            digest: Digest(*digest),
            set,
            generation: Generation(generation),
            void_time: VoidTime(void_time),
        };
        Some((RecordView { meta, body, bin_order }, RecordHash(*hash)))
    }

    /// Every record with the place where it begins.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, RecordView<'_>, RecordHash)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let (begin, (record, hash)) = (at, self.get(at)?);
            at += Self::record_bytes(&record);
            Some((begin, record, hash))
        })
    }
}
