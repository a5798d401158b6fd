//! The repository's config: a plaintext header, then sealed parameters.
//!
//! ```text
//!  0  8  magic "AEROLITH"
//!  8  4  format version, little endian
//! 12 16  repository id
//! 28 ..  sealed value (kind config): Parameters; in version 9 the content keys after them
//! ```

use super::header::Suite;
use super::ids::RepositoryId;
use super::{FORMAT_VERSION, FormatError, take_array, take_u32};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The version of a config that holds content keys of its own: a reader that derived them from the master key would
/// take every chunk for damaged.
pub const SHARED_VERSION: u8 = 9;
/// The plaintext header's length in bytes.
pub const CONFIG_HEADER_BYTES: usize = 28;
const MAGIC: [u8; 8] = *b"AEROLITH";

/// How chunks are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Compression {
    /// Stored as they are.
    None,
    /// LZ4 block format.
    Lz4,
    /// Zstandard at this level.
    Zstd(i32),
}

/// Sizes at which a chunker cuts, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChunkSizes {
    /// No cut before this many bytes.
    pub min: u32,
    /// The size that is aimed at; a power of two.
    pub avg: u32,
    /// A cut at the latest here.
    pub max: u32,
}

impl ChunkSizes {
    /// Whether the chunker can work with them.
    pub fn is_valid(&self) -> bool {
        let even = [self.min, self.avg, self.max].iter().all(|n| n % 2 == 0);
        even && self.min >= 64
            && self.min < self.avg
            && self.avg < self.max
            && self.avg.is_power_of_two()
            && self.avg >= 256
            && self.max <= super::pack::MAX_CHUNK_BYTES / 2
    }
}

/// What is fixed for the life of a repository.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Parameters {
    /// When it was made, in milliseconds since the Unix epoch.
    pub created: u64,
    /// The suite for new objects. Both can always be read.
    pub suite: Suite,
    /// The compression for new chunks. All can always be read.
    pub compression: Compression,
    /// The chunking algorithm: 1 = FastCDC 2020, normalization level 1, with the repository's secret gear table.
    pub chunker: u8,
    /// Chunk sizes for record values.
    pub value_chunks: ChunkSizes,
    /// Chunk sizes for streams.
    pub stream_chunks: ChunkSizes,
    /// A pack is closed once it has this many bytes.
    pub pack_bytes: u32,
}

/// The keys that decide how contents are named and cut. Repositories that share them have the same names for the same
/// chunks.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct ContentKeys {
    /// Names chunks of class tree.
    pub tree_chunk_id: [u8; 32],
    /// Names chunks of class data.
    pub data_chunk_id: [u8; 32],
    /// Makes the chunker's gear table.
    pub chunker_gear: [u8; 32],
    /// Makes record hashes.
    pub record_hash: [u8; 32],
    /// Makes state hashes.
    pub state_hash: [u8; 32],
}

impl std::fmt::Debug for ContentKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ContentKeys(secret)")
    }
}

impl Parameters {
    /// Reads the parameters, which must be such that this build can work with them.
    ///
    /// # Errors
    ///
    /// If the bytes are not those that the format defines; the error says what was expected and what was found.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        super::structured::decode::<Parameters>("the parameters", bytes)?.checked()
    }

    fn checked(self) -> Result<Self, FormatError> {
        for sizes in [self.value_chunks, self.stream_chunks] {
            if !sizes.is_valid() {
                return Err(FormatError::field("the chunk sizes", "within bounds", format_args!("{sizes:?}")));
            }
        }
        if self.chunker != 1 {
            return Err(FormatError::field("the chunker", 1, self.chunker));
        }
        if !(1 << 16..=128 << 20).contains(&self.pack_bytes) {
            return Err(FormatError::field("pack_bytes", "65536 to 134217728", self.pack_bytes));
        }
        Ok(self)
    }
}

/// What `config` holds under its seal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// What is fixed for the life of the repository.
    pub parameters: Parameters,
    /// The content keys, if they are another repository's too; else they come from the master key.
    pub content: Option<ContentKeys>,
}

impl Config {
    /// The version that it is written as.
    pub fn version(&self) -> u8 {
        if self.content.is_some() { SHARED_VERSION } else { FORMAT_VERSION }
    }

    /// Writes the sealed value.
    ///
    /// # Errors
    ///
    /// If a parameter is out of its bounds.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, FormatError> {
        match &self.content {
            None => super::structured::encode(&self.parameters),
            Some(content) => super::structured::encode(&(&self.parameters, content)),
        }
        .map(Zeroizing::new)
    }

    /// Reads the sealed value of a config of this version.
    ///
    /// # Errors
    ///
    /// If the bytes are not those that the format defines; the error says what was expected and what was found.
    pub fn decode(version: u8, bytes: &[u8]) -> Result<Self, FormatError> {
        if version != SHARED_VERSION {
            return Ok(Config { parameters: Parameters::decode(bytes)?, content: None });
        }
        let (parameters, content): (Parameters, ContentKeys) = super::structured::decode("the config", bytes)?;
        Ok(Config { parameters: parameters.checked()?, content: Some(content) })
    }
}

/// Writes the plaintext header.
pub fn encode_header(version: u8, id: &RepositoryId) -> [u8; CONFIG_HEADER_BYTES] {
    let mut bytes = [0; CONFIG_HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&u32::from(version).to_le_bytes());
    bytes[12..].copy_from_slice(&id.0);
    bytes
}

/// Reads the plaintext header, version and id; what is left of `bytes` is the sealed value.
///
/// # Errors
///
/// If the bytes are not those that the format defines; the error says what was expected and what was found.
pub fn decode_header(bytes: &mut &[u8]) -> Result<(u8, RepositoryId), FormatError> {
    let magic: [u8; 8] = take_array(bytes, "the config's header")?;
    if magic != MAGIC {
        return Err(FormatError::field("magic", "AEROLITH", String::from_utf8_lossy(&magic).escape_debug()));
    }
    let version = take_u32(bytes, "the config's header")?;
    let version = u8::try_from(version).unwrap_or(u8::MAX);
    if ![FORMAT_VERSION, SHARED_VERSION].contains(&version) {
        return Err(FormatError::Version(version));
    }
    Ok((version, RepositoryId(take_array(bytes, "the config's header")?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_beyond_the_limits_are_refused() {
        let sizes = ChunkSizes { min: 16 << 10, avg: 64 << 10, max: 256 << 10 };
        let good = Parameters {
            created: 1,
            suite: Suite::Aes256Gcm,
            compression: Compression::Lz4,
            chunker: 1,
            value_chunks: sizes,
            stream_chunks: ChunkSizes { max: 8 << 20, ..sizes },
            pack_bytes: 1 << 16,
        };
        let decoded =
            |parameters: &Parameters| Parameters::decode(&super::super::structured::encode(parameters).unwrap());
        assert_eq!(decoded(&good), Ok(good.clone()));
        let content = ContentKeys {
            tree_chunk_id: [1; 32],
            data_chunk_id: [2; 32],
            chunker_gear: [3; 32],
            record_hash: [4; 32],
            state_hash: [5; 32],
        };
        assert_eq!(format!("{content:?}"), "ContentKeys(secret)");
        for content in [None, Some(content)] {
            let config = Config { parameters: good.clone(), content };
            let bytes = config.encode().unwrap();
            assert_eq!(Config::decode(config.version(), &bytes).unwrap(), config);
            // The version decides what is there.
            assert!(Config::decode(FORMAT_VERSION + SHARED_VERSION - config.version(), &bytes).is_err());
            let bad = Config { parameters: Parameters { chunker: 2, ..good.clone() }, ..config };
            assert!(Config::decode(bad.version(), &bad.encode().unwrap()).is_err());
        }
        let over = ChunkSizes { max: (8 << 20) + 2, ..sizes };
        for (bad, word) in [
            (Parameters { value_chunks: over, ..good.clone() }, "chunk sizes"),
            (Parameters { stream_chunks: over, ..good.clone() }, "chunk sizes"),
            (Parameters { value_chunks: ChunkSizes { avg: 0, ..sizes }, ..good.clone() }, "chunk sizes"),
            (Parameters { chunker: 2, ..good.clone() }, "the chunker"),
            (Parameters { pack_bytes: (1 << 16) - 1, ..good.clone() }, "pack_bytes"),
            (Parameters { pack_bytes: (128 << 20) + 1, ..good.clone() }, "pack_bytes"),
        ] {
            assert!(decoded(&bad).unwrap_err().to_string().contains(word), "{bad:?}");
        }
    }
}
