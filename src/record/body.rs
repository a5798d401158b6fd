//! The canonical body of a record: its user key and its bins, sorted by name.
//!
//! Equal contents have equal bytes, so two clusters that hold the same data share chunks. Layout
//! (`format-spec/record-body.md`):
//!
//! ```text
//! key type   u8        0 = no user key stored
//! [key       varint length, bytes]             only if the type is not 0
//! bin count  varint
//! bins, strictly ascending by name:
//!   name     u8 length, bytes
//!   type     u8        particle type
//!   value    varint length, particle bytes as on the wire
//! ```
//!
//! The order in which the source delivered the bins is kept beside the body (see [`super::batch`]), for targets whose
//! output shows it; it is no part of the body or of its hash.

use super::particle::ParticleType;
use super::varint;

/// The longest body that is accepted, in bytes: 256 MiB, twice the largest record a server can hold.
pub const MAX_BODY_BYTES: usize = 256 << 20;
/// The longest set name, in bytes. Servers allow 63.
pub const MAX_SET_BYTES: usize = 255;
/// The longest bin name, in bytes. Servers allow 15.
pub const MAX_BIN_NAME_BYTES: usize = 255;
/// The most bins of one record. Servers allow 32,767.
pub const MAX_BINS: usize = 65_535;

/// Why a record can't be encoded, or bytes aren't a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Two bins have one name.
    #[error("bin {0:?} occurs twice")]
    DuplicateBin(String),
    /// A name or a count is out of bounds.
    #[error("{what} is {found}, the limit is {limit}")]
    Limit {
        /// What was measured.
        what: &'static str,
        /// Its size.
        found: usize,
        /// The largest size allowed.
        limit: usize,
    },
    /// The bytes don't follow the layout.
    #[error("not a record body: {0}")]
    Layout(&'static str),
}

/// A user key: its particle type and raw bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyRef<'a> {
    /// INTEGER, DOUBLE, STRING or BLOB.
    pub particle: ParticleType,
    /// The key's bytes as on the wire.
    pub bytes: &'a [u8],
}

/// One bin: name, particle type, raw bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BinRef<'a> {
    /// The bin's name.
    pub name: &'a [u8],
    /// What the bytes mean.
    pub particle: ParticleType,
    /// The particle's bytes as on the wire.
    pub bytes: &'a [u8],
}

fn limit(what: &'static str, found: usize, limit: usize) -> Result<(), BodyError> {
    if found > limit { Err(BodyError::Limit { what, found, limit }) } else { Ok(()) }
}

/// Memory for putting bins into order, kept from one record to the next.
#[derive(Default, Debug)]
pub(super) struct OrderScratch {
    names: Vec<u128>,
    /// For each number of bins, the order that the last record with so many had: the positions of the sorted bins in
    /// the source's order. Records of a set mostly have the same bins in the same order.
    known: Vec<Vec<u16>>,
}

/// Records with more bins than this share one remembered order.
const REMEMBERED_COUNTS: usize = 64;

/// The first eight bytes, with zeros after fewer, as a number that sorts as they do.
#[inline]
fn word(bytes: &[u8]) -> u64 {
    if let Some(eight) = bytes.first_chunk::<8>() {
        return u64::from_be_bytes(*eight);
    }
    // Two loads that overlap cost less than a loop.
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let high = u64::from(u32::from_be_bytes(*first)) << 32;
        return high | u64::from(u32::from_be_bytes(*last)) << (8 * (8 - bytes.len()));
    }
    match *bytes {
        [a, b, c] => u64::from_be_bytes([a, b, c, 0, 0, 0, 0, 0]),
        [a, b] => u64::from_be_bytes([a, b, 0, 0, 0, 0, 0, 0]),
        [a] => u64::from_be_bytes([a, 0, 0, 0, 0, 0, 0, 0]),
        _ => 0,
    }
}

/// The beginning of a bin name as a number that sorts as the name does.
#[inline]
fn name_prefix(name: &[u8]) -> u128 {
    u128::from(word(name)) << 64 | u128::from(word(name.get(8..).unwrap_or_default()))
}

impl OrderScratch {
    /// Finds the sorted order of `bins`; `None` if they are in order already.
    #[expect(
        clippy::indexing_slicing,
        reason = "positions are a permutation of the bins, of which there is a name each"
    )]
    fn sort(&mut self, bins: &[BinRef<'_>]) -> Result<Option<&[u16]>, BodyError> {
        let Self { names, known } = self;
        names.clear();
        names.extend(bins.iter().map(|bin| name_prefix(bin.name)));
        let names = &names[..];
        // Equal prefixes: one is the other and zero bytes, or both are long. The names decide.
        let ascending =
            |a: usize, b: usize| names[a] < names[b] || (names[a] == names[b] && bins[a].name < bins[b].name);
        if (1..bins.len()).all(|i| ascending(i - 1, i)) {
            return Ok(None);
        }
        let slot = bins.len().min(REMEMBERED_COUNTS);
        if known.len() <= slot {
            known.resize_with(slot + 1, Vec::new);
        }
        let positions = &mut known[slot];
        // Strictly ascending, so no position occurs twice: it is a permutation if the counts agree.
        let same_count = positions.len() == bins.len();
        if !same_count || !positions.windows(2).all(|w| ascending(usize::from(w[0]), usize::from(w[1]))) {
            positions.clear();
            positions.extend(0..bins.len() as u16);
            positions.sort_unstable_by_key(|&i| (names[usize::from(i)], bins[usize::from(i)].name));
            for pair in positions.windows(2) {
                let (a, b) = (&bins[usize::from(pair[0])], &bins[usize::from(pair[1])]);
                if a.name == b.name {
                    return Err(BodyError::DuplicateBin(String::from_utf8_lossy(a.name).into_owned()));
                }
            }
        }
        Ok(Some(positions))
    }
}

/// Appends the canonical body of `key` and `bins` to `out`; `order` receives, for each bin in the source's order, its
/// place in the body, or stays empty if `bins` came sorted. On error `out` is as it was.
#[expect(clippy::indexing_slicing, reason = "positions are a permutation of the bins")]
pub(super) fn encode(
    out: &mut Vec<u8>,
    order: &mut Vec<u16>,
    scratch: &mut OrderScratch,
    key: Option<KeyRef<'_>>,
    bins: &[BinRef<'_>],
) -> Result<(), BodyError> {
    order.clear();
    limit("the number of bins", bins.len(), MAX_BINS)?;
    let mut total = 32;
    for bin in bins {
        limit("a bin name's length", bin.name.len(), MAX_BIN_NAME_BYTES)?;
        total += bin.name.len() + bin.bytes.len() + 12;
    }
    total += key.map_or(0, |k| k.bytes.len());
    limit("a record's size", total, MAX_BODY_BYTES)?;
    match key {
        Some(key) if key.particle == ParticleType::NULL => return Err(BodyError::Layout("a user key of type 0")),
        _ => {}
    }
    let positions = scratch.sort(bins)?;
    out.reserve(total);
    match key {
        None => out.push(0),
        Some(key) => {
            out.push(key.particle.0);
            varint::put(out, key.bytes.len() as u64);
            out.extend_from_slice(key.bytes);
        }
    }
    varint::put(out, bins.len() as u64);
    let mut put = |bin: &BinRef<'_>| {
        out.push(bin.name.len() as u8);
        out.extend_from_slice(bin.name);
        out.push(bin.particle.0);
        varint::put(out, bin.bytes.len() as u64);
        out.extend_from_slice(bin.bytes);
    };
    match positions {
        None => bins.iter().for_each(&mut put),
        Some(positions) => {
            order.resize(bins.len(), 0);
            for (place, &i) in positions.iter().enumerate() {
                put(&bins[usize::from(i)]);
                order[usize::from(i)] = place as u16;
            }
        }
    }
    Ok(())
}

/// A body that was checked against the layout: a user key and bins, borrowed from its bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Body<'a> {
    key: Option<KeyRef<'a>>,
    bins: Vec<BinRef<'a>>,
}

impl<'a> Body<'a> {
    /// Parses and checks a body. Every byte must belong to it.
    ///
    /// # Errors
    ///
    /// If the bytes are not a canonical body; the error says what is wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BodyError> {
        let mut body = Body { key: None, bins: Vec::new() };
        body.parse_into(bytes)?;
        Ok(body)
    }

    /// Like [`Body::parse`], but reuses this value's memory.
    ///
    /// # Errors
    ///
    /// If the bytes are not a canonical body; the error says what is wrong.
    pub fn parse_into(&mut self, bytes: &'a [u8]) -> Result<(), BodyError> {
        const CUT: BodyError = BodyError::Layout("cut off");
        limit("a body's size", bytes.len(), MAX_BODY_BYTES)?;
        self.bins.clear();
        let mut rest = bytes;
        let key_type = varint::take_u8(&mut rest).ok_or(CUT)?;
        self.key = if key_type == 0 {
            None
        } else {
            let length = varint::take_len(&mut rest, MAX_BODY_BYTES).ok_or(CUT)?;
            let bytes = varint::take_bytes(&mut rest, length).ok_or(CUT)?;
            Some(KeyRef { particle: ParticleType(key_type), bytes })
        };
        let count = varint::take_len(&mut rest, MAX_BINS).ok_or(BodyError::Layout("the bin count is not one"))?;
        let mut last: Option<(u128, &[u8])> = None;
        for _ in 0..count {
            let name_length = varint::take_u8(&mut rest).ok_or(CUT)?;
            let name = varint::take_bytes(&mut rest, usize::from(name_length)).ok_or(CUT)?;
            let prefix = name_prefix(name);
            if last.is_some_and(|last| last.0 > prefix || last.0 == prefix && last.1 >= name) {
                return Err(BodyError::Layout("bin names out of order"));
            }
            last = Some((prefix, name));
            let particle = ParticleType(varint::take_u8(&mut rest).ok_or(CUT)?);
            let length = varint::take_len(&mut rest, MAX_BODY_BYTES).ok_or(CUT)?;
            let bytes = varint::take_bytes(&mut rest, length).ok_or(CUT)?;
            self.bins.push(BinRef { name, particle, bytes });
        }
        if rest.is_empty() { Ok(()) } else { Err(BodyError::Layout("bytes after the last bin")) }
    }

    /// The stored user key, if there is one.
    pub fn key(&self) -> Option<KeyRef<'a>> {
        self.key
    }

    /// The bins, ascending by name.
    pub fn bins(&self) -> &[BinRef<'a>] {
        &self.bins
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn prefixes_sort_as_names_do(a in "[a-c\0]{0,18}", b in "[a-c\0]{0,18}") {
            let (a, b) = (a.as_bytes(), b.as_bytes());
            let mut padded = [a, &[0; 16]].concat();
            padded.truncate(16);
            prop_assert_eq!(name_prefix(a).to_be_bytes(), &padded[..]);
            if name_prefix(a) != name_prefix(b) {
                prop_assert_eq!(name_prefix(a) < name_prefix(b), a < b);
            }
        }

        #[test]
        fn names_must_ascend(a in "[ab\0]{0,18}", b in "[ab\0]{0,18}") {
            let bin = |name: &str| [&[name.len() as u8], name.as_bytes(), &[4, 0]].concat();
            let body = [&[0, 2][..], &bin(&a), &bin(&b)].concat();
            prop_assert_eq!(Body::parse(&body).is_ok(), a.as_bytes() < b.as_bytes());
        }
    }
}
