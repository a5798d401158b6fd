//! Fingerprints of states, and the table of those that were seen.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

/// Two hashes of 64 bits with different multipliers, of bytes that are taken eight at a time.
#[derive(Clone, Copy)]
struct Fingerprint {
    sums: [u64; 2],
    word: u64,
    filled: u32,
}

impl Fingerprint {
    #[inline(always)]
    fn mix(&mut self) {
        for (sum, factor) in self.sums.iter_mut().zip([0x9e37_79b9_7f4a_7c15_u64, 0xd6e8_feb8_6659_fd93]) {
            let product = u128::from(*sum ^ self.word) * u128::from(factor);
            *sum = (product as u64) ^ ((product >> 64) as u64).rotate_left(23) ^ sum.rotate_left(29);
        }
    }

    /// Takes in some bytes, at most eight, as a number.
    #[inline(always)]
    fn take(&mut self, number: u64, bytes: u32) {
        self.word |= number << (8 * self.filled);
        self.filled += bytes;
        if self.filled >= 8 {
            self.mix();
            self.filled -= 8;
            self.word = number.checked_shr(8 * (bytes - self.filled)).unwrap_or(0);
        }
    }
}

impl Hasher for Fingerprint {
    fn finish(&self) -> u64 {
        self.sums[0]
    }

    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) {
        for bytes in bytes.chunks(8) {
            let number = bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
            self.take(number, bytes.len() as u32);
        }
    }

    #[inline(always)]
    fn write_u8(&mut self, byte: u8) {
        self.take(byte.into(), 1);
    }

    /// Lengths of arrays, which never differ.
    fn write_usize(&mut self, _: usize) {}

    /// Which of the few cases an enumeration has.
    #[inline]
    fn write_isize(&mut self, number: isize) {
        self.write_u8(number as u8);
    }
}

/// A value's fingerprint, of 128 bits.
pub fn fingerprint(value: &impl Hash) -> u128 {
    let sums = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344];
    let mut hasher = Fingerprint { sums, word: 0, filled: 0 };
    value.hash(&mut hasher);
    // What is left, and twice nothing, so that each bit comes to all others.
    for _ in 0..3 {
        hasher.mix();
        hasher.word = 0;
    }
    u128::from(hasher.sums[0]) << 64 | u128::from(hasher.sums[1])
}

/// Remembers fingerprints in 8 bytes each, at the place that the other half of the fingerprint says, or the next that
/// is free.
///
/// A state is taken for another one only if 63 bits of one half are the same, and the other half leads into the same
/// run of taken places. In a table that is three quarters full, a search in vain looks at 8.5 places on average (Knuth,
/// TAOCP 6.4), so of n states any is overlooked with a chance of at most n * 8.5 * 2^-63: 2^-33 for a hundred million.
pub struct Table {
    places: Vec<AtomicU64>,
}

impl Table {
    /// A table for so many fingerprints.
    pub fn of(most: usize) -> Self {
        let places = most + most / 3 + 64;
        Table { places: std::iter::repeat_with(AtomicU64::default).take(places).collect() }
    }

    /// Where a fingerprint belongs, and what is there.
    fn place(&self, print: u128) -> (usize, u64) {
        let place = ((print >> 64) * self.places.len() as u128) >> 64;
        (place as usize, print as u64 | 1)
    }

    /// Whether the fingerprint was not there yet.
    pub fn insert(&self, print: u128) -> bool {
        let (mut place, entry) = self.place(print);
        for _ in 0..self.places.len() {
            let there = match self.places[place].load(Ordering::Relaxed) {
                0 => self.places[place].compare_exchange(0, entry, Ordering::Relaxed, Ordering::Relaxed),
                there => Err(there),
            };
            match there {
                Ok(_) => return true,
                Err(there) if there == entry => return false,
                Err(_) => place = (place + 1) % self.places.len(),
            }
        }
        panic!("more states than the table has places for");
    }

    /// Whether the fingerprint was not there, as far as can be told: of those that belong to one place the last is
    /// remembered.
    pub fn replace(&self, print: u128) -> bool {
        let (place, entry) = self.place(print);
        self.places[place].swap(entry, Ordering::Relaxed) != entry
    }
}
