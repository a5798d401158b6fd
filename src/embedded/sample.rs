//! Sample data: records that are a pure function of their number and revision, and the changes that a day brings.
//!
//! The `demo` command, benchmarks and tests use it. A record has twelve or thirteen bins of mixed types, a body of
//! about 330 bytes, and is in one of three sets; every tenth lives for thirty days, the others for ever. Which records
//! a change touches is decided by a hash of record number and seed, so the same call always picks the same ones.

use super::store::{Durability, EmbeddedStore};
use super::write::{NewRecord, Transaction};
use crate::error::Result;
use crate::record::{Bin, BinRef, Digest, Key, ParticleType};
use rayon::prelude::*;
use std::ops::Range;

/// The sets of the sample data, in the order of their sizes: six, three and one of ten records.
pub const SETS: [&str; 3] = ["users", "orders", "sessions"];

/// How long every tenth record lives, in seconds: thirty days.
pub const TTL_SECONDS: u32 = 30 * 86_400;

/// Records are made and written in groups of this many.
const GROUP: usize = 25_000;

const FIRST: [&str; 20] = [
    "Ada", "Ben", "Cleo", "Dara", "Eli", "Fay", "Gus", "Hana", "Ivo", "Jun", "Kai", "Lena", "Milo", "Nora", "Otto",
    "Pia", "Quinn", "Rosa", "Sven", "Tara",
];
const LAST: [&str; 20] = [
    "Abel", "Brandt", "Castro", "Dietz", "Engel", "Fuchs", "Garcia", "Hoang", "Ito", "Jensen", "Kovac", "Lund",
    "Moreau", "Novak", "Ortiz", "Petrov", "Quist", "Rossi", "Silva", "Tanaka",
];
const CITIES: [&str; 15] = [
    "Berlin", "Lagos", "Lima", "Oslo", "Pune", "Quito", "Rome", "Seoul", "Turin", "Utrecht", "Vienna", "Warsaw",
    "Xiamen", "York", "Zagreb",
];
const WORDS: [&str; 20] = [
    "alpha", "beta", "gamma", "delta", "order", "cart", "view", "click", "page", "ship", "late", "early", "blue",
    "green", "red", "north", "south", "east", "west", "mail",
];

/// SplitMix64: small, fast, and the same everywhere.
struct Random(u64);

impl Random {
    fn new(index: u64, seed: u64) -> Self {
        let mut random = Random(index.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed.wrapping_mul(0xd1b5_4a32_d192_ed03));
        // Mixed once more: neighbouring numbers must not give streams that are each other's, shifted.
        Random(random.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `bound` - 1.
    fn below(&mut self, bound: u32) -> u32 {
        (((self.next() >> 32) * u64::from(bound)) >> 32) as u32
    }

    /// A number from 0 to 1, below 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    #[expect(clippy::indexing_slicing, reason = "a number below N")]
    fn pick<'w, const N: usize>(&mut self, words: &'w [&'static str; N]) -> &'w str {
        words[self.below(N as u32) as usize]
    }
}

/// The few forms of Aerospike's MessagePack that the sample's lists and maps need.
#[derive(Default)]
struct Pack(Vec<u8>);

impl Pack {
    fn list(length: u8) -> Self {
        Pack(vec![0x90 | length])
    }

    fn map_header(&mut self, length: u8) {
        self.0.push(0x80 | length);
    }

    /// A string, of at most 30 bytes: MessagePack's short string whose first byte is the particle type.
    fn string(&mut self, text: &str) {
        self.0.push(0xa0 | (text.len() as u8 + 1));
        self.0.push(ParticleType::STRING.0);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn integer(&mut self, value: u16) {
        match value {
            0..=0x7f => self.0.push(value as u8),
            0x80..=0xff => self.0.extend_from_slice(&[0xcc, value as u8]),
            _ => {
                self.0.push(0xcd);
                self.0.extend_from_slice(&value.to_be_bytes());
            }
        }
    }

    fn double(&mut self, value: f64) {
        self.0.push(0xcb);
        self.0.extend_from_slice(&value.to_bits().to_be_bytes());
    }
}

/// The set of the sample record with this number.
pub fn set_of(index: u64) -> &'static str {
    match index % 10 {
        0..=5 => SETS[0],
        6..=8 => SETS[1],
        _ => SETS[2],
    }
}

/// The key of the sample record with this number: a string if it is odd, the number itself if it is even.
pub fn key_of(index: u64) -> Key {
    if index % 2 == 1 { Key::from(format!("user{index:09}").as_str()) } else { Key::from(index as i64) }
}

/// The digest of the sample record with this number.
pub fn digest_of(index: u64) -> Digest {
    key_of(index).digest(set_of(index).as_bytes())
}

/// The bins of the sample record with this number, as revision `revision` has them.
pub fn bins_of(index: u64, revision: u64) -> Vec<Bin> {
    let mut random = Random::new(index, revision);
    let (first, last) = (random.pick(&FIRST), random.pick(&LAST));
    let mut blob = [0; 32];
    for part in blob.chunks_exact_mut(8) {
        part.copy_from_slice(&random.next().to_le_bytes());
    }
    let note: Vec<&str> = (0..5).map(|_| random.pick(&WORDS)).collect();
    let mut tags = Pack::list(4);
    for _ in 0..3 {
        tags.string(random.pick(&WORDS));
    }
    tags.integer(random.below(1001) as u16);
    let mut attributes = Pack::default();
    attributes.map_header(4);
    attributes.string("a");
    attributes.integer(random.below(1001) as u16);
    attributes.string("b");
    attributes.string(random.pick(&WORDS));
    attributes.string("c");
    attributes.double(random.unit());
    attributes.string("n");
    attributes.map_header(1);
    attributes.string("x");
    attributes.integer(random.below(10) as u16);
    let email = format!("{}.{}{index}@example.com", first.to_lowercase(), last.to_lowercase());
    let mut bins = vec![
        Bin::integer("id", index as i64),
        Bin::integer("age", 18 + i64::from(random.below(73))),
        Bin::string("name", &format!("{first} {last}")),
        Bin::string("email", &email),
        Bin::string("city", random.pick(&CITIES)),
        Bin::double("score", random.unit() * 1000.0),
        Bin::integer("created", 1_700_000_000 + i64::from(random.below(60_000_000))),
        Bin::string("note", &note.join(" ")),
        Bin::blob("blob", &blob),
        Bin::raw("tags", ParticleType::LIST, tags.0),
        Bin::raw("attrs", ParticleType::MAP, attributes.0),
        Bin::boolean("active", random.below(2) == 1),
    ];
    if index.is_multiple_of(4) {
        let (longitude, latitude) = (random.unit() * 360.0 - 180.0, random.unit() * 170.0 - 85.0);
        let text = format!(r#"{{"type":"Point","coordinates":[{longitude:.5},{latitude:.5}]}}"#);
        bins.push(Bin::geojson("loc", &text));
    }
    bins
}

/// The sample record with this number, as revision `revision` has it.
pub fn record(index: u64, revision: u64) -> NewRecord {
    let ttl = if index.is_multiple_of(10) { TTL_SECONDS } else { 0 };
    NewRecord { set: set_of(index).into(), key: key_of(index), bins: bins_of(index, revision), ttl }
}

/// Whether a hash of record number and seed picks this record, which it does for `fraction` (0 to 1) of all.
pub fn is_picked(index: u64, seed: u64, fraction: f64) -> bool {
    Random::new(index, seed ^ 0x7069_636b_6564).unit() < fraction
}

/// Has `each` change the records that `picks` picks, in one transaction, and counts those that it says it changed.
fn each_picked(
    store: &EmbeddedStore,
    records: Range<u64>,
    picks: impl Fn(u64) -> bool + Sync,
    mut each: impl FnMut(&mut Transaction<'_>, u64, &Digest) -> Result<bool>,
) -> Result<u64> {
    let picked = in_store_order(records, picks);
    store.write(|tables| {
        let mut changed = 0;
        for (digest, index) in &picked {
            changed += u64::from(each(tables, *index, digest)?);
        }
        Ok(changed)
    })
}

/// The records that `picks` picks, by digest and number, in the order in which the store keeps them.
fn in_store_order(records: Range<u64>, picks: impl Fn(u64) -> bool + Sync) -> Vec<(Digest, u64)> {
    let mut picked: Vec<(Digest, u64)> =
        records.into_par_iter().filter(|&index| picks(index)).map(|index| (digest_of(index), index)).collect();
    picked.par_sort_unstable_by_key(|(digest, _)| digest.sort_key());
    picked
}

/// Writes the records with these numbers, as revision 0 has them, in several transactions; all are on disk when it
/// returns.
///
/// # Errors
///
/// If the store can't be read or written.
pub fn fill(store: &EmbeddedStore, namespace: &str, records: Range<u64>) -> Result<()> {
    // In the store's order each transaction writes a range of its own, which leaves half the file's size.
    for group in in_store_order(records, |_| true).chunks(GROUP) {
        let group: Vec<NewRecord> = group.par_iter().map(|&(_, index)| record(index, 0)).collect();
        store.write_with(Durability::Deferred, |tables| tables.put_many(namespace, &group))?;
    }
    store.sync()
}

/// Rewrites a fraction (0 to 1) of those of these records that are there, with new content. Returns how many it was.
/// The seed, from 1, is the revision that they get.
///
/// # Errors
///
/// If the store can't be read or written.
pub fn change(store: &EmbeddedStore, namespace: &str, records: Range<u64>, fraction: f64, seed: u64) -> Result<u64> {
    let picks = |index| is_picked(index, seed, fraction);
    each_picked(store, records, picks, |tables, index, digest| {
        if tables.generation(namespace, digest)?.is_none() {
            return Ok(false);
        }
        let NewRecord { set, key, bins, ttl } = record(index, seed);
        let bins: Vec<BinRef<'_>> = bins.iter().map(Bin::as_ref).collect();
        tables.put(namespace, &set, key.as_ref(), &bins, ttl)?;
        Ok(true)
    })
}

/// Deletes a fraction (0 to 1) of these records. Returns how many it was.
///
/// # Errors
///
/// If the store can't be read or written.
pub fn delete(store: &EmbeddedStore, namespace: &str, records: Range<u64>, fraction: f64, seed: u64) -> Result<u64> {
    // Another salt than for changes, so that one seed serves for both without picking the same records.
    let picks = |index| is_picked(index, seed ^ (1 << 62), fraction);
    each_picked(store, records, picks, |tables, _, digest| tables.delete(namespace, digest))
}

/// Touches a fraction (0 to 1) of these records: a new void time thirty days from now, no new content. Returns how many
/// it was.
///
/// # Errors
///
/// If the store can't be read or written.
pub fn touch(store: &EmbeddedStore, namespace: &str, records: Range<u64>, fraction: f64, seed: u64) -> Result<u64> {
    let picks = |index| is_picked(index, seed ^ (1 << 63), fraction);
    each_picked(store, records, picks, |tables, _, digest| Ok(tables.touch(namespace, digest, TTL_SECONDS)?.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_same_every_time_and_differs_by_revision() {
        assert_eq!(record(7, 0), record(7, 0));
        assert_ne!(record(7, 0).bins, record(7, 1).bins);
        assert_eq!(record(7, 0).key, record(7, 1).key);
        // Held still: published figures rest on this data.
        assert_eq!(bins_of(4, 0)[3], Bin::string("email", "fay.silva4@example.com"));
    }

    #[test]
    fn picks_about_the_fraction_asked_for() {
        for (fraction, expected) in [(0.0, 0..1), (0.01, 850..1150), (0.5, 49_000..51_000), (1.0, 100_000..100_001)] {
            let count = (0..100_000).filter(|&index| is_picked(index, 3, fraction)).count();
            assert!(expected.contains(&count), "{count} of 100,000 for {fraction}");
        }
    }
}
