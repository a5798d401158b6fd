//! The keys that the master key makes.

use super::many::{self, ManyHasher};
use crate::error::{AbsentSecret, Secret};
use crate::format::config::ContentKeys;
use crate::format::header::Class;
use crate::format::leaf::RecordHash;
use crate::format::{ChunkId, FORMAT_VERSION};
use crate::record::{Digest, RecordBatch};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// The key ring of a repository: its secrets, each of which may be absent. Wiped when dropped, never printed.
///
/// Whoever needs a secret asks for that one, and gets an error that names it where it is absent.
#[derive(Clone)]
pub struct Keys {
    tree_names: Option<SecretKey>,
    data_names: Option<SecretKey>,
    cuts: Option<CutKey>,
    records: Option<RecordKey>,
    states: Option<StateKey>,
    marker: Option<SecretKey>,
    /// Of the classes tree, data, index and meta.
    classes: [Option<SecretKey>; 4],
}

type SecretKey = Zeroizing<[u8; 32]>;

/// Cuts values: the chunker's secret gear table.
#[derive(Clone)]
pub struct CutKey {
    secret: SecretKey,
    gear: Box<[u64; 256]>,
    shifted: Box<[u64; 256]>,
}

impl Drop for CutKey {
    fn drop(&mut self) {
        self.gear.zeroize();
        self.shifted.zeroize();
    }
}

/// Hashes records.
#[derive(Clone)]
pub struct RecordKey(SecretKey);

/// Sums up the live records of a state.
#[derive(Clone)]
pub struct StateKey(SecretKey);

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(secret)")
    }
}

fn derive(purpose: &str, master: &[u8; 32]) -> SecretKey {
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
        let secret = |key: &[u8; 32]| Zeroizing::new(*key);
        Keys {
            tree_names: Some(secret(&content.tree_chunk_id)),
            data_names: Some(secret(&content.data_chunk_id)),
            cuts: Some(CutKey::new(secret(&content.chunker_gear))),
            records: Some(RecordKey(secret(&content.record_hash))),
            states: Some(StateKey(secret(&content.state_hash))),
            marker: Some(derive("snapshot marker", master)),
            classes: ["pack tree", "pack data", "index", "meta"].map(|purpose| Some(derive(purpose, master))),
        }
    }

    /// The ring without some of its secrets.
    #[must_use]
    pub fn without(mut self, secrets: &[Secret]) -> Self {
        let [tree, data, index, meta] = &mut self.classes;
        for secret in secrets {
            match secret {
                Secret::Trees => *tree = None,
                Secret::Values => *data = None,
                Secret::Index => *index = None,
                Secret::Metadata => *meta = None,
                Secret::TreeNames => self.tree_names = None,
                Secret::DataNames => self.data_names = None,
                Secret::Cuts => self.cuts = None,
                Secret::RecordHashes => self.records = None,
                Secret::StateHashes => self.states = None,
                Secret::Markers => self.marker = None,
                // A ring is made from it and does not hold it.
                Secret::Master => {}
            }
        }
        self
    }

    /// The keys that name, cut and hash contents, for a repository that is to share them.
    pub fn content(&self) -> Result<ContentKeys, AbsentSecret> {
        Ok(ContentKeys {
            tree_chunk_id: *self.names(Class::Tree)?,
            data_chunk_id: *self.names(Class::Data)?,
            chunker_gear: *self.cuts()?.secret,
            record_hash: *self.records()?.0,
            state_hash: *self.states()?.0,
        })
    }

    /// Whether both name and cut the same contents alike. A ring that lacks one of the keys is like no other.
    pub fn shares_contents_with(&self, other: &Keys) -> bool {
        let keys = |keys: &Keys| {
            let content = keys.content().ok()?;
            let ContentKeys { tree_chunk_id, data_chunk_id, chunker_gear, record_hash, state_hash } = &content;
            Some(Zeroizing::new([*tree_chunk_id, *data_chunk_id, *chunker_gear, *record_hash, *state_hash].concat()))
        };
        match (keys(self), keys(other)) {
            (Some(own), Some(others)) => bool::from(own.ct_eq(&others)),
            _ => false,
        }
    }

    /// The key that a class's subkeys come from.
    pub(super) fn class(&self, class: Class) -> Result<&[u8; 32], AbsentSecret> {
        let [tree, data, index, meta] = &self.classes;
        let key = match class {
            Class::Tree => tree,
            Class::Data => data,
            Class::Index => index,
            Class::Meta => meta,
        };
        key.as_deref().ok_or(AbsentSecret(match class {
            Class::Tree => Secret::Trees,
            Class::Data => Secret::Values,
            Class::Index => Secret::Index,
            Class::Meta => Secret::Metadata,
        }))
    }

    fn names(&self, class: Class) -> Result<&[u8; 32], AbsentSecret> {
        let (key, secret) = match class {
            Class::Tree => (&self.tree_names, Secret::TreeNames),
            _ => (&self.data_names, Secret::DataNames),
        };
        key.as_deref().ok_or(AbsentSecret(secret))
    }

    /// The name of a chunk. Each class has a key of its own, so that equal contents of both have two names: a chunk is
    /// looked for in packs of its class only.
    pub fn chunk_id(&self, class: Class, plain: &[u8]) -> Result<ChunkId, AbsentSecret> {
        Ok(ChunkId(*blake3::keyed_hash(self.names(class)?, plain).as_bytes()))
    }

    /// What cuts values.
    pub fn cuts(&self) -> Result<&CutKey, AbsentSecret> {
        self.cuts.as_ref().ok_or(AbsentSecret(Secret::Cuts))
    }

    /// What hashes records.
    pub fn records(&self) -> Result<&RecordKey, AbsentSecret> {
        self.records.as_ref().ok_or(AbsentSecret(Secret::RecordHashes))
    }

    /// What sums up the records of a state.
    pub fn states(&self) -> Result<&StateKey, AbsentSecret> {
        self.states.as_ref().ok_or(AbsentSecret(Secret::StateHashes))
    }

    /// The keyed hash in a forgotten snapshot's marker.
    pub fn marker(&self, bytes: &[u8]) -> Result<[u8; 32], AbsentSecret> {
        let key = self.marker.as_deref().ok_or(AbsentSecret(Secret::Markers))?;
        Ok(*blake3::keyed_hash(key, bytes).as_bytes())
    }
}

impl CutKey {
    fn new(secret: SecretKey) -> Self {
        let mut bytes = Zeroizing::new([0; 256 * 8]);
        blake3::Hasher::new_keyed(&secret).finalize_xof().fill(&mut *bytes);
        let (words, _) = bytes.as_chunks::<8>();
        let (mut gear, mut shifted) = (Box::new([0; 256]), Box::new([0; 256]));
        for ((gear, shifted), word) in gear.iter_mut().zip(shifted.iter_mut()).zip(words) {
            *gear = u64::from_le_bytes(*word);
            *shifted = *gear << 1;
        }
        CutKey { secret, gear, shifted }
    }

    /// The chunker's gear table, and the same shifted left by one.
    pub fn gear(&self) -> (&[u64; 256], &[u64; 256]) {
        (&self.gear, &self.shifted)
    }
}

impl RecordKey {
    /// The hash of a record's set and body: keyed BLAKE3 over the lengths of both (one byte, and four little endian),
    /// the set, the body, and zeros up to a multiple of 64 bytes; 16 bytes.
    pub fn hash(&self, set: &[u8], body: &[u8]) -> RecordHash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&[set.len() as u8]).update(&(body.len() as u32).to_le_bytes()).update(set).update(body);
        hasher.update(many::padding(5 + set.len() + body.len()));
        short(hasher.finalize().as_bytes())
    }

    /// The hash of each record of a batch, which takes far less time than one by one.
    pub fn hashes(&self, records: &RecordBatch) -> Vec<RecordHash> {
        let mut hashes = vec![RecordHash([0; 16]); records.len()];
        let mut found = |number: usize, hash: &[u8; 32]| {
            hashes.get_mut(number).into_iter().for_each(|slot| *slot = short(hash));
        };
        let mut hasher = ManyHasher::new(&self.0);
        for (number, record) in records.iter().enumerate() {
            let (set, body) = (record.meta.set, record.body);
            hasher.add(number, &[&[set.len() as u8], &(body.len() as u32).to_le_bytes(), set, body], &mut found);
        }
        hasher.finish(&mut found);
        hashes
    }
}

impl StateKey {
    /// What each live record adds to its partition's sum: keyed BLAKE3 over digest, record hash and 28 zeros. In no
    /// order that may be relied on.
    pub fn terms<'r>(&self, live: impl Iterator<Item = (&'r Digest, &'r RecordHash)>, mut term: impl FnMut(&[u8; 32])) {
        let mut hasher = ManyHasher::new(&self.0);
        let mut found = |_, hash: &[u8; 32]| term(hash);
        live.for_each(|(digest, hash)| hasher.add(0, &[&digest.0, &hash.0], &mut found));
        hasher.finish(&mut found);
    }

    /// What one live record adds to its partition's sum; see [`StateKey::terms`].
    pub fn term(&self, digest: &Digest, hash: &RecordHash) -> [u8; 32] {
        let mut input = [0; 64];
        input[..20].copy_from_slice(&digest.0);
        input[20..36].copy_from_slice(&hash.0);
        *blake3::keyed_hash(&self.0, &input).as_bytes()
    }

    /// The state hash of a namespace: keyed BLAKE3 over the partitions' sums in order, 32 bytes little endian each.
    pub fn hash(&self, sums: impl Iterator<Item = [u8; 32]>) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        sums.for_each(|sum| {
            hasher.update(&sum);
        });
        *hasher.finalize().as_bytes()
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
        let one_by_one: Vec<_> =
            batch.iter().map(|record| keys.records().unwrap().hash(record.meta.set, record.body)).collect();
        assert_eq!(keys.records().unwrap().hashes(&batch), one_by_one);
        // Zeros at the end of a body are not the zeros after it, and set and body are told apart.
        let all: std::collections::HashSet<_> = [(&b""[..], &b"a"[..]), (b"", b"a\0"), (b"a", b""), (b"", b"")]
            .map(|(set, body)| keys.records().unwrap().hash(set, body))
            .into();
        assert_eq!(all.len(), 4);
    }
}
