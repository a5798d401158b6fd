//! Record digests and the partitions they fall into.

use ripemd::{Digest as _, Ripemd160};
use std::fmt;

use super::particle::ParticleType;

/// The number of partitions of a namespace; fixed by Aerospike.
pub const PARTITIONS: u16 = 4096;

/// A record's 20-byte digest: RIPEMD-160 of set name, key type and key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 20]);

/// One of the 4096 partitions of a namespace.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PartitionId(u16);

/// What runs are sorted by: a digest's partition, then its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SortKey {
    partition: PartitionId,
    // The digest's bytes as numbers, which a processor compares faster.
    head: u128,
    tail: u32,
}

impl PartitionId {
    /// The partition with this number, if there is one.
    pub fn new(number: u16) -> Option<Self> {
        (number < PARTITIONS).then_some(Self(number))
    }

    /// All partitions, in order.
    pub fn all() -> impl ExactSizeIterator<Item = PartitionId> + DoubleEndedIterator {
        (0..PARTITIONS).map(PartitionId)
    }

    /// Its number, 0 to 4095.
    pub fn number(self) -> u16 {
        self.0
    }
}

impl Digest {
    /// Computes the digest of a user key in a set, as every Aerospike client does: RIPEMD-160 over the set name, the
    /// key's particle type as one byte, and the key's bytes (integers as 8 bytes, big endian).
    pub fn compute(set: &[u8], key_type: ParticleType, key: &[u8]) -> Self {
        let mut hash = Ripemd160::new();
        hash.update(set);
        hash.update([key_type.0]);
        hash.update(key);
        Self(hash.finalize().into())
    }

    /// The partition this digest falls into: the low 12 bits of its first two bytes read as a little-endian number.
    pub fn partition(&self) -> PartitionId {
        PartitionId(u16::from_le_bytes([self.0[0], self.0[1]]) & (PARTITIONS - 1))
    }

    /// The key by which runs are sorted: partition first, then the digest's bytes.
    pub fn sort_key(&self) -> SortKey {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, tail @ ..] = self.0;
        SortKey {
            partition: self.partition(),
            head: u128::from_be_bytes([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]),
            tail: u32::from_be_bytes(tail),
        }
    }

    /// Parses 40 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 20];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Taken from a backup that asbackup wrote: set `users`, string key `user000023433`, and integer key 29204.
    #[test]
    fn computes_the_digests_that_the_server_computes() {
        let text = Digest::compute(b"users", ParticleType::STRING, b"user000023433");
        assert_eq!(base64_simd::STANDARD.encode_to_string(text.0), "U+E2A9gqIoFnucvWvjaCzJkB45o=");
        let integer = Digest::compute(b"users", ParticleType::INTEGER, &29204i64.to_be_bytes());
        assert_eq!(base64_simd::STANDARD.encode_to_string(integer.0), "U9FmR4GL3ZmjQqByrDK9WpVmZz0=");
    }

    #[test]
    fn takes_the_partition_from_the_low_twelve_bits() {
        let mut bytes = [0; 20];
        bytes[0] = 0x53;
        bytes[1] = 0xe1;
        assert_eq!(Digest(bytes).partition().number(), 0x153);
    }
}
