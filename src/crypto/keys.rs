//! The keys that the master key makes.

use super::many::{self, ManyHasher};
use crate::format::config::ContentKeys;
use crate::format::header::Class;
use crate::format::leaf::RecordHash;
use crate::format::{ChunkId, FORMAT_VERSION};
use crate::record::{Digest, RecordBatch};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// All derived keys of a repository. Wiped when dropped, never printed.
pub struct Keys {
    content: ContentKeys,
    marker: Zeroizing<[u8; 32]>,
    classes: [Zeroizing<[u8; 32]>; 4],
    gear: Box<[u64; 256]>,
    gear_shifted: Box<[u64; 256]>,
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.gear.zeroize();
        self.gear_shifted.zeroize();
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(secret)")
    }
}

fn derive(purpose: &str, master: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(blake3::derive_key(&format!("aerolith 2026 format {FORMAT_VERSION} {purpose}"), master))
}

/// The first half of a hash.
fn short(hash: &[u8; 32]) -> RecordHash {
    let [head @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *hash;
    RecordHash(head)
}

impl Keys {
    /// Derives all keys from the master key.
    pub fn derive(master: &[u8; 32]) -> Self {
        let content = ContentKeys {
            tree_chunk_id: *derive("tree chunk id", master),
            data_chunk_id: *derive("data chunk id", master),
            chunker_gear: *derive("chunker gear", master),
            record_hash: *derive("record hash", master),
            state_hash: *derive("state hash", master),
        };
        Self::with_content(master, content)
    }

    /// Derives the keys from the master key but for those of the content, which another repository has too.
    pub fn with_content(master: &[u8; 32], content: ContentKeys) -> Self {
        let mut bytes = Zeroizing::new([0; 256 * 8]);
        blake3::Hasher::new_keyed(&content.chunker_gear).finalize_xof().fill(&mut *bytes);
        let (words, _) = bytes.as_chunks::<8>();
        let mut gear = Box::new([0; 256]);
        let mut gear_shifted = Box::new([0; 256]);
        for ((gear, shifted), word) in gear.iter_mut().zip(gear_shifted.iter_mut()).zip(words) {
            *gear = u64::from_le_bytes(*word);
            *shifted = *gear << 1;
        }
        Keys {
            content,
            marker: derive("snapshot marker", master),
            classes: ["pack tree", "pack data", "index", "meta"].map(|purpose| derive(purpose, master)),
            gear,
            gear_shifted,
        }
    }

    /// The keys that name and cut contents, for a repository that is to share them.
    pub fn content(&self) -> &ContentKeys {
        &self.content
    }

    /// Whether both name and cut the same contents alike.
    pub fn shares_contents_with(&self, other: &Keys) -> bool {
        let keys = |keys: &Keys| {
            let ContentKeys { tree_chunk_id, data_chunk_id, chunker_gear, record_hash, state_hash } = &keys.content;
            Zeroizing::new([*tree_chunk_id, *data_chunk_id, *chunker_gear, *record_hash, *state_hash].concat())
        };
        bool::from(keys(self).ct_eq(&keys(other)))
    }

    /// The key that a class's subkeys come from.
    pub(super) fn class(&self, class: Class) -> &[u8; 32] {
        let [tree, data, index, meta] = &self.classes;
        match class {
            Class::Tree => tree,
            Class::Data => data,
            Class::Index => index,
            Class::Meta => meta,
        }
    }

    /// The name of a chunk. Each class has a key of its own, so that equal contents of both have two names: a chunk is
    /// looked for in packs of its class only.
    pub fn chunk_id(&self, class: Class, plain: &[u8]) -> ChunkId {
        let key = if class == Class::Tree { &self.content.tree_chunk_id } else { &self.content.data_chunk_id };
        ChunkId(*blake3::keyed_hash(key, plain).as_bytes())
    }

    /// The hash of a record's set and body: keyed BLAKE3 over the lengths of both (one byte, and four little endian),
    /// the set, the body, and zeros up to a multiple of 64 bytes; 16 bytes.
    pub fn record_hash(&self, set: &[u8], body: &[u8]) -> RecordHash {
        let mut hasher = blake3::Hasher::new_keyed(&self.content.record_hash);
        hasher.update(&[set.len() as u8]).update(&(body.len() as u32).to_le_bytes()).update(set).update(body);
        hasher.update(many::padding(5 + set.len() + body.len()));
        short(hasher.finalize().as_bytes())
    }

    /// The hash of each record of a batch, which takes far less time than one by one.
    pub fn record_hashes(&self, records: &RecordBatch) -> Vec<RecordHash> {
        let mut hashes = vec![RecordHash([0; 16]); records.len()];
        let mut found = |number: usize, hash: &[u8; 32]| {
            hashes.get_mut(number).into_iter().for_each(|slot| *slot = short(hash));
        };
        let mut hasher = ManyHasher::new(&self.content.record_hash);
        for (number, record) in records.iter().enumerate() {
            let (set, body) = (record.meta.set, record.body);
            hasher.add(number, &[&[set.len() as u8], &(body.len() as u32).to_le_bytes(), set, body], &mut found);
        }
        hasher.finish(&mut found);
        hashes
    }

    /// What each live record adds to its partition's sum: keyed BLAKE3 over digest, record hash and 28 zeros. In no
    /// order that may be relied on.
    pub fn state_terms<'r>(
        &self,
        live: impl Iterator<Item = (&'r Digest, &'r RecordHash)>,
        mut term: impl FnMut(&[u8; 32]),
    ) {
        let mut hasher = ManyHasher::new(&self.content.state_hash);
        let mut found = |_, hash: &[u8; 32]| term(hash);
        live.for_each(|(digest, hash)| hasher.add(0, &[&digest.0, &hash.0], &mut found));
        hasher.finish(&mut found);
    }

    /// What one live record adds to its partition's sum; see [`Keys::state_terms`].
    pub fn state_term(&self, digest: &Digest, hash: &RecordHash) -> [u8; 32] {
        let mut input = [0; 64];
        input[..20].copy_from_slice(&digest.0);
        input[20..36].copy_from_slice(&hash.0);
        *blake3::keyed_hash(&self.content.state_hash, &input).as_bytes()
    }

    /// The state hash of a namespace: keyed BLAKE3 over the partitions' sums in order, 32 bytes little endian each.
    pub fn state_hash(&self, sums: impl Iterator<Item = [u8; 32]>) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.content.state_hash);
        sums.for_each(|sum| {
            hasher.update(&sum);
        });
        *hasher.finalize().as_bytes()
    }

    /// The keyed hash in a forgotten snapshot's marker.
    pub fn marker(&self, bytes: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(&self.marker, bytes).as_bytes()
    }

    /// The chunker's secret gear table, and the same shifted left by one.
    pub fn gear(&self) -> (&[u64; 256], &[u64; 256]) {
        (&self.gear, &self.gear_shifted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Generation, RecordMeta, VoidTime};

    #[test]
    fn a_batch_has_the_hashes_of_its_records() {
        let keys = Keys::derive(&[7; 32]);
        let mut batch = RecordBatch::new();
        for n in 0..200usize {
            let (body, set) = (vec![n as u8; n * n % 1500], vec![b's'; n % 3]);
            let meta = RecordMeta {
                digest: Digest([n as u8; 20]),
                set: &set,
                generation: Generation(1),
                void_time: VoidTime::NEVER,
            };
            batch.push_encoded(meta, &body, &[]).unwrap();
        }
        let one_by_one: Vec<_> = batch.iter().map(|record| keys.record_hash(record.meta.set, record.body)).collect();
        assert_eq!(keys.record_hashes(&batch), one_by_one);
        // Zeros at the end of a body are not the zeros behind it, and set and body are told apart.
        let all: std::collections::HashSet<_> = [(&b""[..], &b"a"[..]), (b"", b"a\0"), (b"a", b""), (b"", b"")]
            .map(|(set, body)| keys.record_hash(set, body))
            .into();
        assert_eq!(all.len(), 4);
    }
}
