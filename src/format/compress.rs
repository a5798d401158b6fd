//! Compression of what is sealed, bounded both ways.

use super::FormatError;
use super::config::Compression;
use super::pack::{MAX_CHUNK_BYTES, Packing};
use std::cell::RefCell;

thread_local! {
    static ZSTD: RefCell<Option<(i32, zstd::bulk::Compressor<'static>)>> = const { RefCell::new(None) };
    // To make one takes longer than to decompress a manifest.
    static UNZSTD: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Appends `plain` to `out`, compressed if that makes it shorter, and says how.
pub fn compress(compression: Compression, plain: &[u8], out: &mut Vec<u8>) -> Packing {
    let start = out.len();
    let packing = match compression {
        Compression::None => None,
        Compression::Lz4 => {
            out.resize(start + lz4_flex::block::get_maximum_output_size(plain.len()), 0);
            let length = lz4_flex::block::compress_into(plain, out.get_mut(start..).unwrap_or_default());
            length.ok().map(|length| (Packing::Lz4, length))
        }
        Compression::Zstd(level) => {
            out.resize(start + zstd::zstd_safe::compress_bound(plain.len()), 0);
            zstd(level, plain, out.get_mut(start..).unwrap_or_default()).map(|length| (Packing::Zstd, length))
        }
    };
    match packing {
        Some((packing, length)) if length < plain.len() => {
            out.truncate(start + length);
            packing
        }
        _ => {
            out.truncate(start);
            out.extend_from_slice(plain);
            Packing::Stored
        }
    }
}

fn zstd(level: i32, plain: &[u8], out: &mut [u8]) -> Option<usize> {
    ZSTD.with_borrow_mut(|slot| {
        if slot.as_ref().is_none_or(|(of, _)| *of != level) {
            *slot = Some((level, zstd::bulk::Compressor::new(level).ok()?));
        }
        let (_, compressor) = slot.as_mut()?;
        compressor.compress_to_buffer(plain, out).ok()
    })
}

/// Gives back at most `most` bytes, and takes no more memory.
fn unzstd(packed: &[u8], most: usize) -> std::io::Result<Vec<u8>> {
    UNZSTD.with_borrow_mut(|slot| {
        let decompressor = match slot.take() {
            Some(decompressor) => decompressor,
            None => zstd::bulk::Decompressor::new()?,
        };
        slot.insert(decompressor).decompress(packed, most)
    })
}

/// Gives back exactly the `plain` bytes of a chunk; more or fewer are an error, and no more memory is taken.
pub fn decompress(packing: Packing, packed: &[u8], plain: u32) -> Result<Vec<u8>, FormatError> {
    decompress_within(packing, packed, plain, MAX_CHUNK_BYTES)
}

/// The same of bytes that may be as many as `most`.
pub(crate) fn decompress_within(
    packing: Packing,
    packed: &[u8],
    plain: u32,
    most: u32,
) -> Result<Vec<u8>, FormatError> {
    if plain > most {
        return Err(FormatError::field("a plain length", format_args!("at most {most}"), plain));
    }
    let plain = plain as usize;
    let wrong = |found: String| FormatError::field("compressed bytes", format_args!("{plain} bytes"), found);
    match packing {
        Packing::Stored if packed.len() == plain => Ok(packed.to_vec()),
        Packing::Stored => Err(wrong(format!("{} bytes", packed.len()))),
        Packing::Lz4 => match lz4_flex::block::decompress(packed, plain) {
            Ok(out) if out.len() == plain => Ok(out),
            Ok(out) => Err(wrong(format!("{} bytes", out.len()))),
            Err(error) => Err(wrong(error.to_string())),
        },
        // The decoder would also take further frames, and skip some.
        Packing::Zstd if zstd::zstd_safe::find_frame_compressed_size(packed) != Ok(packed.len()) => {
            Err(wrong("no frame, or more than one".into()))
        }
        Packing::Zstd => match unzstd(packed, plain) {
            Ok(out) if out.len() == plain => Ok(out),
            Ok(out) => Err(wrong(format!("{} bytes", out.len()))),
            Err(error) => Err(wrong(error.to_string())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_more_than_one_frame_and_a_length_that_is_not_the_stated_one() {
        let mut frame = Vec::new();
        assert_eq!(compress(Compression::Zstd(3), &[7; 100], &mut frame), Packing::Zstd);
        assert_eq!(decompress(Packing::Zstd, &frame, 100).unwrap(), [7; 100]);
        // A skippable frame after it: valid to the decoder, and of no content.
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9];
        for more in [&frame[..], &skippable] {
            assert!(decompress(Packing::Zstd, &[&frame[..], more].concat(), 100).is_err());
            assert!(decompress(Packing::Zstd, &[&frame[..], more].concat(), 200).is_err());
        }
        for length in [0, 99, 101, MAX_CHUNK_BYTES, u32::MAX] {
            assert!(decompress(Packing::Zstd, &frame, length).is_err(), "{length}");
        }
    }

    /// 16 MiB of zeros in a few hundred bytes, said to be a hundred.
    #[test]
    fn a_bomb_gives_no_more_than_the_stated_length() {
        for way in [Compression::Lz4, Compression::Zstd(3)] {
            let mut bomb = Vec::new();
            let packing = compress(way, &vec![0; MAX_CHUNK_BYTES as usize], &mut bomb);
            assert!(bomb.len() < 100_000 && decompress(packing, &bomb, 100).is_err());
        }
    }

    proptest! {
        #[test]
        fn gives_back_what_it_compressed(bytes in proptest::collection::vec(0u8..4, 0..3000), way in 0..3) {
            let way = [Compression::None, Compression::Lz4, Compression::Zstd(3)][way as usize];
            let mut out = b"before".to_vec();
            let packing = compress(way, &bytes, &mut out);
            prop_assert!(out.len() - 6 <= bytes.len());
            prop_assert_eq!(decompress(packing, &out[6..], bytes.len() as u32).unwrap(), bytes);
        }

        #[test]
        fn never_panics_on_arbitrary_bytes(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            length in 0u32..5000,
        ) {
            for packing in [Packing::Stored, Packing::Lz4, Packing::Zstd] {
                let _ = decompress(packing, &bytes, length);
            }
        }
    }
}
