//! The keyed chunker: FastCDC with a secret gear table.
//!
//! Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage Systems", IEEE TPDS
//! 2020, as `fastcdc::v2020` implements it, normalization level 1. The table is secret because chunk sizes alone let an
//! observer recover a public one's seed (ePrint 2025/532 and 2025/558).

use crate::crypto::keys::CutKey;
use crate::format::config::ChunkSizes;
use fastcdc::v2020::{MASKS, cut_gear};

/// Finds cuts for one set of sizes.
#[derive(Clone, Copy, Debug)]
pub struct Cutter {
    sizes: ChunkSizes,
    mask_small: u64,
    mask_large: u64,
}

impl Cutter {
    /// A cutter for valid sizes (see [`ChunkSizes::is_valid`]).
    pub fn new(sizes: ChunkSizes) -> Self {
        let bits = sizes.avg.ilog2() as usize;
        let mask = |bits: usize| MASKS.get(bits).copied().unwrap_or_default();
        Cutter { sizes, mask_small: mask(bits + 1), mask_large: mask(bits - 1) }
    }

    /// The largest chunk in bytes.
    pub fn max(&self) -> usize {
        self.sizes.max as usize
    }

    /// The length of the first chunk of `bytes`. If that is all of `bytes` and they are fewer than [`Cutter::max`],
    /// more bytes could make it longer.
    pub fn cut(&self, key: &CutKey, bytes: &[u8]) -> usize {
        let (gear, shifted) = key.gear();
        let ChunkSizes { min, avg, max } = self.sizes;
        let (small, large) = (self.mask_small, self.mask_large);
        let (_, length) = cut_gear(
            bytes,
            min as usize,
            avg as usize,
            max as usize,
            small,
            large,
            small << 1,
            large << 1,
            gear,
            shifted,
        );
        length
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Keys;

    fn noise(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    fn cuts(cutter: &Cutter, keys: &Keys, mut bytes: &[u8]) -> Vec<usize> {
        let mut lengths = Vec::new();
        while !bytes.is_empty() {
            let length = cutter.cut(keys.cuts().unwrap(), bytes);
            lengths.push(length);
            bytes = &bytes[length..];
        }
        lengths
    }

    const SIZES: ChunkSizes = ChunkSizes { min: 16 << 10, avg: 64 << 10, max: 256 << 10 };

    #[test]
    fn cuts_within_its_bounds_and_near_its_aim() {
        let (cutter, bytes) = (Cutter::new(SIZES), noise(20 << 20));
        let lengths = cuts(&cutter, &Keys::derive(&[1; 32]), &bytes);
        assert!(lengths.iter().rev().skip(1).all(|&n| (16 << 10..=256 << 10).contains(&n)));
        let average = bytes.len() / lengths.len();
        assert!((40 << 10..100 << 10).contains(&average), "{average}");
    }

    #[test]
    fn cuts_elsewhere_under_another_key() {
        let (cutter, bytes) = (Cutter::new(SIZES), noise(4 << 20));
        let one = cuts(&cutter, &Keys::derive(&[1; 32]), &bytes);
        assert_ne!(one, cuts(&cutter, &Keys::derive(&[2; 32]), &bytes));
    }

    #[test]
    fn finds_its_cuts_again_after_an_insertion() {
        let (cutter, keys, bytes) = (Cutter::new(SIZES), Keys::derive(&[1; 32]), noise(4 << 20));
        let mut changed = bytes.clone();
        changed.insert(100, 7);
        let places = |bytes: &[u8]| {
            let mut end = 0;
            let ends = cuts(&cutter, &keys, bytes).into_iter().map(|n| {
                end += n;
                bytes.len() - end
            });
            ends.collect::<std::collections::HashSet<_>>()
        };
        let (before, after) = (places(&bytes), places(&changed));
        assert!(before.intersection(&after).count() * 10 > before.len() * 9);
    }
}
