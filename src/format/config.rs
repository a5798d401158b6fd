//! The repository's config: a plaintext header, then sealed parameters.
//!
//! ```text
//!  0  8  magic "AEROLITH"
//!  8  4  format version, little endian
//! 12 16  repository id
//! 28 ..  sealed value (kind config): Parameters
//! ```

use super::header::Suite;
use super::ids::RepositoryId;
use super::{FORMAT_VERSION, FormatError, take_array, take_u32};
use serde::{Deserialize, Serialize};

/// The plaintext header's length in bytes.
pub const CONFIG_HEADER_BYTES: usize = 28;
const MAGIC: [u8; 8] = *b"AEROLITH";

/// How chunks are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
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

impl Parameters {
    /// Reads the parameters, which must be such that this build can work with them.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let parameters: Parameters = super::structured::decode("the parameters", bytes)?;
        for sizes in [parameters.value_chunks, parameters.stream_chunks] {
            if !sizes.is_valid() {
                return Err(FormatError::field("the chunk sizes", "within bounds", format_args!("{sizes:?}")));
            }
        }
        if parameters.chunker != 1 {
            return Err(FormatError::field("the chunker", 1, parameters.chunker));
        }
        if !(1 << 16..=128 << 20).contains(&parameters.pack_bytes) {
            return Err(FormatError::field("pack_bytes", "65536 to 134217728", parameters.pack_bytes));
        }
        Ok(parameters)
    }
}

/// Writes the plaintext header.
pub fn encode_header(id: &RepositoryId) -> [u8; CONFIG_HEADER_BYTES] {
    let mut bytes = [0; CONFIG_HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&u32::from(FORMAT_VERSION).to_le_bytes());
    bytes[12..].copy_from_slice(&id.0);
    bytes
}

/// Reads the plaintext header; what is left of `bytes` is the sealed value.
pub fn decode_header(bytes: &mut &[u8]) -> Result<RepositoryId, FormatError> {
    let magic: [u8; 8] = take_array(bytes, "the config's header")?;
    if magic != MAGIC {
        return Err(FormatError::field("magic", "AEROLITH", String::from_utf8_lossy(&magic).escape_debug()));
    }
    let version = take_u32(bytes, "the config's header")?;
    if version != u32::from(FORMAT_VERSION) {
        return Err(FormatError::Version(u8::try_from(version).unwrap_or(u8::MAX)));
    }
    Ok(RepositoryId(take_array(bytes, "the config's header")?))
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
