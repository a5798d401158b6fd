//! Keyed BLAKE3 of many short inputs at a time, one in each lane of the processor's vector unit.
//!
//! BLAKE3 hashes the chunks of a long input side by side, but an input of up to 1024 bytes is a single chunk, whose
//! blocks wait for one another: it runs at a fifth of the speed or less. Records are such inputs, so what is hashed of
//! them is filled up with zeros to whole blocks (`format-spec/keys.md`), and those of equally many blocks go through
//! `hash_many` together, the function with which the crate hashes the chunks of long inputs. The crate calls it
//! unstable, so it is named here alone, and a test holds it against `keyed_hash`.

use blake3::IncrementCounter;
use blake3::platform::{Platform, words_from_le_bytes_32};

/// Bytes of a block.
const BLOCK: usize = blake3::BLOCK_LEN;
/// The longest input that is one chunk, in blocks.
const MAX_BLOCKS: usize = blake3::CHUNK_LEN / BLOCK;
/// Inputs that are hashed together: as many as the widest vector unit has lanes.
const LANES: usize = 16;

// The domain flags of the BLAKE3 paper, table 3.
const CHUNK_START: u8 = 1 << 0;
const CHUNK_END: u8 = 1 << 1;
const ROOT: u8 = 1 << 3;
const KEYED_HASH: u8 = 1 << 4;

/// The zeros that fill an input of so many bytes up to whole blocks; an empty one stays empty.
pub(super) fn padding(length: usize) -> &'static [u8] {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    ZEROS.get(..length.next_multiple_of(BLOCK) - length).unwrap_or_default()
}

/// Inputs of equally many blocks that wait for company.
#[derive(Default)]
struct Waiting {
    /// Whole inputs, one after the other.
    bytes: Vec<u8>,
    /// What the caller calls each of them.
    names: Vec<usize>,
}

/// Takes inputs one after another and gives back their hashes, in whatever order.
pub(super) struct ManyHasher<'a> {
    key: &'a [u8; 32],
    platform: Platform,
    waiting: [Waiting; MAX_BLOCKS],
}

impl<'a> ManyHasher<'a> {
    pub(super) fn new(key: &'a [u8; 32]) -> Self {
        ManyHasher { key, platform: Platform::detect(), waiting: Default::default() }
    }

    /// Adds the input that `parts` make, which is not empty, and zeros up to a whole block. `found` is given the name
    /// and the hash of each that is ready.
    pub(super) fn add(&mut self, name: usize, parts: &[&[u8]], found: &mut impl FnMut(usize, &[u8; 32])) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let blocks = length.div_ceil(BLOCK).max(1);
        let Some(waiting) = self.waiting.get_mut(blocks - 1) else {
            let mut hasher = blake3::Hasher::new_keyed(self.key);
            for part in parts.iter().chain([&padding(length)]) {
                hasher.update(part);
            }
            return found(name, hasher.finalize().as_bytes());
        };
        let end = waiting.bytes.len() + blocks * BLOCK;
        parts.iter().for_each(|part| waiting.bytes.extend_from_slice(part));
        waiting.bytes.resize(end, 0);
        waiting.names.push(name);
        if waiting.names.len() == LANES {
            self.flush(blocks, found);
        }
    }

    /// Hashes what still waits.
    pub(super) fn finish(mut self, found: &mut impl FnMut(usize, &[u8; 32])) {
        (1..=MAX_BLOCKS).for_each(|blocks| self.flush(blocks, found));
    }

    fn flush(&mut self, blocks: usize, found: &mut impl FnMut(usize, &[u8; 32])) {
        match blocks {
            1 => self.hash::<{ BLOCK }>(blocks, found),
            2 => self.hash::<{ 2 * BLOCK }>(blocks, found),
            3 => self.hash::<{ 3 * BLOCK }>(blocks, found),
            4 => self.hash::<{ 4 * BLOCK }>(blocks, found),
            5 => self.hash::<{ 5 * BLOCK }>(blocks, found),
            6 => self.hash::<{ 6 * BLOCK }>(blocks, found),
            7 => self.hash::<{ 7 * BLOCK }>(blocks, found),
            8 => self.hash::<{ 8 * BLOCK }>(blocks, found),
            9 => self.hash::<{ 9 * BLOCK }>(blocks, found),
            10 => self.hash::<{ 10 * BLOCK }>(blocks, found),
            11 => self.hash::<{ 11 * BLOCK }>(blocks, found),
            12 => self.hash::<{ 12 * BLOCK }>(blocks, found),
            13 => self.hash::<{ 13 * BLOCK }>(blocks, found),
            14 => self.hash::<{ 14 * BLOCK }>(blocks, found),
            15 => self.hash::<{ 15 * BLOCK }>(blocks, found),
            _ => self.hash::<{ 16 * BLOCK }>(blocks, found),
        }
    }

    fn hash<const BYTES: usize>(&mut self, blocks: usize, found: &mut impl FnMut(usize, &[u8; 32])) {
        let Some(waiting) = self.waiting.get_mut(blocks - 1).filter(|waiting| !waiting.names.is_empty()) else {
            return;
        };
        let (inputs, _) = waiting.bytes.as_chunks::<BYTES>();
        let mut lanes = [&[0; BYTES]; LANES];
        lanes.iter_mut().zip(inputs).for_each(|(lane, input)| *lane = input);
        let mut hashes = [[0; 32]; LANES];
        self.platform.hash_many(
            lanes.get(..waiting.names.len()).unwrap_or_default(),
            &words_from_le_bytes_32(self.key),
            0,
            IncrementCounter::No,
            KEYED_HASH,
            CHUNK_START,
            CHUNK_END | ROOT,
            hashes.as_flattened_mut(),
        );
        waiting.names.iter().zip(&hashes).for_each(|(name, hash)| found(*name, hash));
        waiting.names.clear();
        waiting.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn many_hashes_are_what_one_by_one_would_give(
            lengths in prop::collection::vec(prop_oneof![1usize..200, 300..330usize, 900..1300usize], 0..90),
            key: [u8; 32],
        ) {
            let input = |(n, &length): (usize, &usize)| (0..length).map(|i| (i * 7 + n) as u8).collect();
            let inputs: Vec<Vec<u8>> = lengths.iter().enumerate().map(input).collect();
            let mut hashes = vec![None; inputs.len()];
            let mut found = |name: usize, hash: &[u8; 32]| assert!(hashes[name].replace(*hash).is_none());
            let mut hasher = ManyHasher::new(&key);
            for (name, input) in inputs.iter().enumerate() {
                let (head, tail) = input.split_at(input.len() / 3);
                hasher.add(name, &[head, tail], &mut found);
            }
            hasher.finish(&mut found);
            for (input, hash) in inputs.iter().zip(hashes) {
                let mut padded = input.clone();
                padded.extend_from_slice(padding(input.len()));
                prop_assert_eq!(hash, Some(*blake3::keyed_hash(&key, &padded).as_bytes()));
            }
        }
    }
}
