//! The state hash: a hash of a namespace's content that does not depend on how the content is laid out.
//!
//! For each partition the sum, modulo 2^256, of a keyed hash of each live record; the namespace's hash is a keyed hash
//! over the sums. Sums can be added to and subtracted from (Bellare and Micciancio, "A New Paradigm for Collision-Free
//! Hashing: Incrementality at Reduced Cost", EUROCRYPT '97: AdHASH).

use crate::crypto::keys::StateKey;
use crate::record::{Digest, PARTITIONS, PartitionId};
use crate::run::RecordHash;

/// One partition's sum: four 64-bit words, lowest first.
pub type Sum = [u64; 4];

/// The sums of all partitions of a namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateSums(Vec<Sum>);

impl Default for StateSums {
    fn default() -> Self {
        StateSums(vec![[0; 4]; usize::from(PARTITIONS)])
    }
}

fn add(sum: &mut Sum, term: &[u8; 32]) {
    let (words, _) = term.as_chunks::<8>();
    let mut carry = false;
    for (word, bytes) in sum.iter_mut().zip(words) {
        let (low, first) = word.overflowing_add(u64::from_le_bytes(*bytes));
        let (low, second) = low.overflowing_add(u64::from(carry));
        *word = low;
        carry = first | second;
    }
}

impl StateSums {
    /// Adds a live record.
    pub fn add(&mut self, key: &StateKey, digest: &Digest, hash: &RecordHash) {
        if let Some(sum) = self.0.get_mut(usize::from(digest.partition().number())) {
            add(sum, &key.term(digest, hash));
        }
    }

    /// The sum of one partition's live records.
    pub fn sum(key: &StateKey, live: &[(Digest, RecordHash)]) -> Sum {
        let mut sum = Sum::default();
        key.terms(live.iter().map(|(digest, hash)| (digest, hash)), |term| add(&mut sum, term));
        sum
    }

    /// Takes a sum that was made for one partition.
    pub fn set(&mut self, partition: PartitionId, sum: Sum) {
        if let Some(slot) = self.0.get_mut(usize::from(partition.number())) {
            *slot = sum;
        }
    }

    /// The sum of a partition.
    pub fn get(&self, partition: PartitionId) -> Sum {
        self.0.get(usize::from(partition.number())).copied().unwrap_or_default()
    }

    /// The namespace's state hash.
    pub fn hash(&self, key: &StateKey) -> [u8; 32] {
        key.hash(self.0.iter().map(|sum| {
            let mut bytes = [0; 32];
            for (bytes, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(sum) {
                *bytes = word.to_le_bytes();
            }
            bytes
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Keys;

    #[test]
    fn carries_into_the_next_word_and_wraps_at_the_end() {
        let mut sum = [u64::MAX; 4];
        let mut one = [0; 32];
        one[0] = 1;
        add(&mut sum, &one);
        assert_eq!(sum, [0; 4]);
        let mut sum = [u64::MAX, 5, 0, 0];
        add(&mut sum, &one);
        assert_eq!(sum, [0, 6, 0, 0]);
    }

    #[test]
    fn does_not_depend_on_order_but_on_every_record() {
        let keys = Keys::derive(&[3; 32]);
        let key = keys.states().unwrap();
        let records: Vec<_> = (0u8..50).map(|i| (Digest([i; 20]), RecordHash([i; 16]))).collect();
        let hash = |records: &mut dyn Iterator<Item = &(Digest, RecordHash)>| {
            let mut sums = StateSums::default();
            records.for_each(|(digest, hash)| sums.add(key, digest, hash));
            sums.hash(key)
        };
        let forward = hash(&mut records.iter());
        assert_eq!(forward, hash(&mut records.iter().rev()));
        let mut by_partitions = StateSums::default();
        for partition in PartitionId::all() {
            let live: Vec<_> = records.iter().filter(|(digest, _)| digest.partition() == partition).copied().collect();
            by_partitions.set(partition, StateSums::sum(key, &live));
        }
        assert_eq!(forward, by_partitions.hash(key));
        assert_ne!(forward, hash(&mut records.iter().skip(1)));
    }
}
