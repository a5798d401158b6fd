//! Batches of records on their way between a source, the repository and a target.
//!
//! A batch keeps all its bytes in one arena, so that moving a million records costs a few hundred allocations.

use super::body::{self, BinRef, Body, BodyError, KeyRef, MAX_SET_BYTES};
use super::digest::Digest;
use super::time::{Generation, VoidTime};
use super::varint;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Bytes that hold bodies which a batch did not copy are kept up to so many in all.
pub const MAX_HELD: usize = 8 << 20;

/// What a record is, apart from its body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordMeta<'a> {
    /// The record's digest.
    pub digest: Digest,
    /// Its set's name; empty for the null set.
    pub set: &'a [u8],
    /// Its generation.
    pub generation: Generation,
    /// When it expires.
    pub void_time: VoidTime,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    digest: Digest,
    set: u32,
    generation: Generation,
    void_time: VoidTime,
    /// Where the body is: in the arena, or in the shared bytes with this number.
    shared: Option<u32>,
    start: usize,
    length: usize,
    /// Where the bin order is in the arena.
    order: usize,
    order_length: usize,
}

/// Records in memory, each with its canonical body and the bin order of its source.
#[derive(Default, Debug)]
pub struct RecordBatch {
    arena: Vec<u8>,
    /// Bytes that hold bodies and were not copied, and how long all of those are.
    shared: Vec<Arc<Vec<u8>>>,
    shared_bytes: usize,
    /// How long all of `shared` is: records that lie far apart keep far more alive than their bodies.
    held: usize,
    rows: Vec<Row>,
    sets: Vec<Box<[u8]>>,
    set_numbers: HashMap<Box<[u8]>, u32>,
    last_set: Option<u32>,
    scratch: Vec<u16>,
    order: body::OrderScratch,
}

impl RecordBatch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty batch with room for `bytes` bytes of bodies and `records` records.
    pub fn with_capacity(bytes: usize, records: usize) -> Self {
        Self { arena: Vec::with_capacity(bytes), rows: Vec::with_capacity(records), ..Self::default() }
    }

    /// How many records it holds.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many bytes of bodies and bin orders it holds.
    pub fn byte_len(&self) -> usize {
        self.arena.len() + self.shared_bytes
    }

    /// Forgets the records, keeps the memory.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.shared.clear();
        self.shared_bytes = 0;
        self.held = 0;
        self.rows.clear();
        self.sets.clear();
        self.set_numbers.clear();
        self.last_set = None;
    }

    fn set_number(&mut self, set: &[u8]) -> Result<u32, BodyError> {
        if let Some(number) = self.last_set
            && self.sets.get(number as usize).is_some_and(|known| **known == *set)
        {
            return Ok(number);
        }
        if set.len() > MAX_SET_BYTES {
            return Err(BodyError::Limit { what: "a set name's length", found: set.len(), limit: MAX_SET_BYTES });
        }
        let number = match self.set_numbers.get(set) {
            Some(&number) => number,
            None => {
                let number = self.sets.len() as u32;
                self.sets.push(set.into());
                self.set_numbers.insert(set.into(), number);
                number
            }
        };
        self.last_set = Some(number);
        Ok(number)
    }

    /// Adds a record from its parts, in the bin order of the source. On error the batch is as it was.
    ///
    /// # Errors
    ///
    /// If the set's name, the key or the bins are more or larger than a body can have, or a bin is there twice; the
    /// batch is as it was then.
    pub fn push(
        &mut self,
        meta: RecordMeta<'_>,
        key: Option<KeyRef<'_>>,
        bins: &[BinRef<'_>],
    ) -> Result<(), BodyError> {
        let set = self.set_number(meta.set)?;
        let start = self.arena.len();
        let mut order = std::mem::take(&mut self.scratch);
        let encoded = body::encode(&mut self.arena, &mut order, &mut self.order, key, bins);
        if let Err(error) = encoded {
            self.arena.truncate(start);
            self.scratch = order;
            return Err(error);
        }
        let length = self.arena.len() - start;
        for &place in &order {
            varint::put(&mut self.arena, u64::from(place));
        }
        let order_length = self.arena.len() - start - length;
        self.scratch = order;
        let RecordMeta { digest, generation, void_time, .. } = meta;
        let order = start + length;
        self.rows.push(Row { digest, set, generation, void_time, shared: None, start, length, order, order_length });
        Ok(())
    }

    /// Adds a record whose canonical body and bin order are at hand, as another batch or the repository gave them.
    ///
    /// # Errors
    ///
    /// If the bytes are not a canonical body, or the bin order does not fit it; the batch is as it was then.
    pub fn push_encoded(&mut self, meta: RecordMeta<'_>, body: &[u8], bin_order: &[u8]) -> Result<(), BodyError> {
        let set = self.set_number(meta.set)?;
        let start = self.arena.len();
        self.arena.extend_from_slice(body);
        self.arena.extend_from_slice(bin_order);
        let RecordMeta { digest, generation, void_time, .. } = meta;
        let (length, order, order_length) = (body.len(), start + body.len(), bin_order.len());
        self.rows.push(Row { digest, set, generation, void_time, shared: None, start, length, order, order_length });
        Ok(())
    }

    /// Adds a record whose canonical body is the part `body` of `bytes`, which are kept and not copied; past
    /// [`MAX_HELD`] the body is copied after all.
    ///
    /// # Errors
    ///
    /// [`BodyError::Layout`] if the part is not one of `bytes`; [`BodyError::Limit`] if the set's name is too long.
    pub fn push_shared(
        &mut self,
        meta: RecordMeta<'_>,
        bytes: &Arc<Vec<u8>>,
        body: Range<usize>,
        bin_order: &[u8],
    ) -> Result<(), BodyError> {
        let Some(plain) = bytes.get(body.clone()) else {
            return Err(BodyError::Layout("it ends past the bytes that hold it"));
        };
        let is_new = self.shared.last().is_none_or(|last| !Arc::ptr_eq(last, bytes));
        if is_new && self.held + bytes.len() > MAX_HELD {
            return self.push_encoded(meta, plain, bin_order);
        }
        let set = self.set_number(meta.set)?;
        if is_new {
            self.held += bytes.len();
            self.shared.push(bytes.clone());
        }
        let shared = Some(self.shared.len() as u32 - 1);
        let (order, order_length, length) = (self.arena.len(), bin_order.len(), body.len());
        self.arena.extend_from_slice(bin_order);
        self.shared_bytes += length;
        let RecordMeta { digest, generation, void_time, .. } = meta;
        let start = body.start;
        self.rows.push(Row { digest, set, generation, void_time, shared, start, length, order, order_length });
        Ok(())
    }

    /// The record at `index`, if there is one.
    pub fn get(&self, index: usize) -> Option<RecordView<'_>> {
        self.rows.get(index).map(|row| self.view(row))
    }

    /// All records, in the order they were added.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = RecordView<'_>> {
        self.rows.iter().map(|row| self.view(row))
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "rows are made by pushes alone, which put what they refer to into the batch"
    )]
    fn view<'a>(&'a self, row: &Row) -> RecordView<'a> {
        let holder = row.shared.map_or(&self.arena, |number| &self.shared[number as usize]);
        RecordView {
            meta: RecordMeta {
                digest: row.digest,
                set: &self.sets[row.set as usize],
                generation: row.generation,
                void_time: row.void_time,
            },
            body: &holder[row.start..row.start + row.length],
            bin_order: &self.arena[row.order..row.order + row.order_length],
        }
    }
}

/// One record of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordView<'a> {
    /// Digest, set, generation, void time.
    pub meta: RecordMeta<'a>,
    /// The canonical body.
    pub body: &'a [u8],
    /// For each bin in the source's order, its place in the body, as varints; empty if the source's order is the
    /// body's.
    pub bin_order: &'a [u8],
}

impl<'a> RecordView<'a> {
    /// Bytes of the body and the bin order.
    pub fn byte_len(&self) -> usize {
        self.body.len() + self.bin_order.len()
    }

    /// The body's parts, bins in canonical order.
    ///
    /// # Errors
    ///
    /// If the bytes are not a canonical body, as they are in a damaged value.
    pub fn parse(&self) -> Result<Body<'a>, BodyError> {
        Body::parse(self.body)
    }

    /// Puts `bins`, which must be those of this record's body, into the source's order. A bin order that is not a
    /// permutation of them is ignored.
    pub fn in_source_order(&self, bins: &[BinRef<'a>]) -> Vec<BinRef<'a>> {
        let places = parse_bin_order(self.bin_order, bins.len());
        match places {
            Some(places) => places.into_iter().filter_map(|place| bins.get(usize::from(place)).copied()).collect(),
            None => bins.to_vec(),
        }
    }

    /// Like [`RecordView::in_source_order`], but reuses the memory of `ordered`.
    pub fn in_source_order_into(&self, bins: &[BinRef<'a>], ordered: &mut Vec<BinRef<'a>>) {
        ordered.clear();
        // Records with few bins, which is nearly all, need no memory to tell a permutation.
        let mut seen = 0u64;
        let mut order = self.bin_order;
        while !order.is_empty() && bins.len() <= 64 {
            let place = varint::take_len(&mut order, bins.len().saturating_sub(1));
            let Some((place, &bin)) = place.and_then(|place| Some((place, bins.get(place)?))) else { break };
            if seen & (1 << place) != 0 {
                break;
            }
            seen |= 1 << place;
            ordered.push(bin);
        }
        if ordered.len() != bins.len() || !order.is_empty() {
            ordered.clear();
            ordered.extend(self.in_source_order(bins));
        }
    }
}

/// Reads a bin order for `bins` bins; `None` if it is empty or not a permutation.
pub fn parse_bin_order(mut order: &[u8], bins: usize) -> Option<Vec<u16>> {
    if order.is_empty() {
        return None;
    }
    let mut seen = vec![false; bins];
    let mut places = Vec::with_capacity(bins);
    while !order.is_empty() {
        let place = varint::take_len(&mut order, bins.checked_sub(1)?)?;
        if std::mem::replace(seen.get_mut(place)?, true) {
            return None;
        }
        places.push(u16::try_from(place).ok()?);
    }
    (places.len() == bins).then_some(places)
}

#[cfg(test)]
mod tests {
    use super::super::particle::ParticleType;
    use super::*;
    use proptest::prelude::*;

    fn meta(set: &[u8]) -> RecordMeta<'_> {
        RecordMeta { digest: Digest([7; 20]), set, generation: Generation(3), void_time: VoidTime(9) }
    }

    proptest! {
        #[test]
        fn gives_back_records_with_canonical_body_and_source_order(
            set in proptest::collection::vec(any::<u8>(), 0..64),
            key in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
            bins in proptest::collection::btree_map(proptest::collection::vec(any::<u8>(), 1..16),
                (1u8..24, proptest::collection::vec(any::<u8>(), 0..50)), 0..20),
            seed: u64,
        ) {
            let mut shuffled: Vec<_> = bins.iter().collect();
            let mut state = seed | 1;
            for i in (1..shuffled.len()).rev() {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                shuffled.swap(i, (state >> 33) as usize % (i + 1));
            }
            let refs: Vec<BinRef<'_>> = shuffled.iter()
                .map(|(name, (particle, bytes))| BinRef { name, particle: ParticleType(*particle), bytes }).collect();
            let key = key.as_ref().map(|bytes| KeyRef { particle: ParticleType::BLOB, bytes });
            let mut batch = RecordBatch::new();
            batch.push(meta(&set), key, &refs).unwrap();
            let view = batch.get(0).unwrap();
            prop_assert_eq!(view.meta, meta(&set));
            let body = view.parse().unwrap();
            prop_assert_eq!(body.key(), key);
            prop_assert!(body.bins().windows(2).all(|w| w[0].name < w[1].name));
            prop_assert_eq!(view.in_source_order(body.bins()), refs.clone());
            let mut ordered = Vec::new();
            view.in_source_order_into(body.bins(), &mut ordered);
            prop_assert_eq!(ordered, refs.clone());
            // The same bins in another order have the same body.
            let mut sorted = refs.clone();
            sorted.sort_by_key(|bin| bin.name);
            batch.push(meta(&set), key, &sorted).unwrap();
            prop_assert_eq!(batch.get(1).unwrap().body, batch.get(0).unwrap().body);
            prop_assert!(batch.get(1).unwrap().bin_order.is_empty());
        }

        #[test]
        fn never_panics_on_arbitrary_bodies(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Body::parse(&bytes);
            let _ = parse_bin_order(&bytes, 7);
        }
    }

    #[test]
    fn bodies_that_are_shared_stand_beside_those_that_were_copied() {
        let (first, second) = (Arc::new(b"0abc9".to_vec()), Arc::new(b"xyz".to_vec()));
        let mut batch = RecordBatch::new();
        batch.push_shared(meta(b"s"), &first, 1..3, &[1, 0]).unwrap();
        batch.push_encoded(meta(b"t"), b"copied", &[7]).unwrap();
        batch.push_shared(meta(b"s"), &first, 3..3, &[]).unwrap();
        batch.push_shared(meta(b"s"), &second, 0..3, &[2]).unwrap();
        for (bytes, part) in [(&first, 4..6), (&second, 4..4)] {
            assert!(matches!(batch.push_shared(meta(b"s"), bytes, part, &[]), Err(BodyError::Layout(_))));
        }
        let all: Vec<_> = batch.iter().map(|record| (record.meta.set, record.body, record.bin_order)).collect();
        let expected: [(&[u8], &[u8], &[u8]); 4] =
            [(b"s", b"ab", &[1, 0]), (b"t", b"copied", &[7]), (b"s", b"", &[]), (b"s", b"xyz", &[2])];
        assert_eq!(all, expected);
        assert_eq!(batch.byte_len(), 2 + 2 + 6 + 1 + 3 + 1);
        batch.clear();
        assert_eq!((batch.len(), batch.byte_len(), Arc::strong_count(&first)), (0, 0, 1));
    }

    #[test]
    fn records_that_lie_far_apart_keep_no_more_than_a_bound_alive() {
        let chunks: Vec<_> = (0..20u8).map(|n| Arc::new(vec![n; 1 << 20])).collect();
        let mut batch = RecordBatch::new();
        for chunk in &chunks {
            batch.push_shared(meta(b"s"), chunk, 5..8, &[]).unwrap();
        }
        let kept: usize = chunks.iter().filter(|chunk| Arc::strong_count(chunk) > 1).map(|chunk| chunk.len()).sum();
        assert_eq!(kept, MAX_HELD);
        assert!(batch.iter().zip(0..20u8).all(|(record, n)| record.body == [n; 3]));
        assert_eq!((batch.len(), batch.byte_len()), (20, 60));
    }

    #[test]
    fn refuses_a_bin_that_occurs_twice_and_keeps_the_batch() {
        let bin = BinRef { name: b"a", particle: ParticleType::BLOB, bytes: b"x" };
        let mut batch = RecordBatch::new();
        assert_eq!(batch.push(meta(b"s"), None, &[bin, bin]), Err(BodyError::DuplicateBin("a".into())));
        assert_eq!((batch.len(), batch.byte_len()), (0, 0));
    }
}
