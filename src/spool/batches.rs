//! The batches of one partition on their way from a source.

use super::block::Block;
use super::spill::{Spill, SpillPlace};
use crate::error::Result;
use crate::format::leaf::RecordHash;
use crate::record::RecordBatch;

/// Batches of records, past a bound in a temporary file: a partition of a large namespace need not fit in memory.
#[derive(Default)]
pub struct Batches {
    kept: Vec<RecordBatch>,
    spilled: Vec<SpillPlace>,
    file: Option<Spill>,
}

impl Batches {
    /// Adds a batch.
    pub fn push(&mut self, batch: RecordBatch) {
        self.kept.push(batch);
    }

    /// The batch that came last, if it is in memory.
    pub fn last_mut(&mut self) -> Option<&mut RecordBatch> {
        self.kept.last_mut()
    }

    /// About the bytes of memory that the batches take.
    pub fn byte_len(&self) -> usize {
        self.kept.iter().map(RecordBatch::byte_len).sum()
    }

    /// Writes all but the last to the temporary file if they take more than `bound` bytes of memory.
    pub fn settle(&mut self, bound: usize) -> Result<()> {
        if self.kept.len() < 2 || self.byte_len() <= bound {
            return Ok(());
        }
        let last = self.kept.pop();
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(Spill::create()?),
        };
        for batch in self.kept.drain(..) {
            let mut block = Block::with_capacity(batch.byte_len() + batch.len() * 64);
            // Nobody has hashed them yet.
            batch.iter().for_each(|record| block.push(&record, &RecordHash([0; 16])));
            self.spilled.push(file.write(block)?);
        }
        self.kept.extend(last);
        Ok(())
    }

    /// Looks at all batches, in no order that may be relied on.
    pub fn visit(&self, each: &mut dyn FnMut(&RecordBatch)) -> Result<()> {
        self.read_spilled(&mut |batch| {
            each(&batch);
            Ok(())
        })?;
        self.kept.iter().for_each(each);
        Ok(())
    }

    /// Hands all batches on, in no order that may be relied on.
    pub fn hand_on(self, each: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        self.read_spilled(each)?;
        self.kept.into_iter().try_for_each(each)
    }

    fn read_spilled(&self, each: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        for &place in &self.spilled {
            let block = file.read(place)?;
            let mut batch = RecordBatch::with_capacity(block.0.len(), 0);
            for (_, record, _) in block.iter() {
                let pushed = batch.push_encoded(record.meta, record.body, record.bin_order);
                pushed
                    .map_err(|error| crate::Error::invalid(format!("records that did not fit in memory: {error}")))?;
            }
            each(batch)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Digest, Generation, RecordMeta, VoidTime};

    fn batch(number: u8) -> RecordBatch {
        let mut batch = RecordBatch::new();
        for n in 0..10 {
            let meta = RecordMeta {
                digest: Digest([number * 10 + n; 20]),
                set: if n % 3 == 0 { b"" } else { b"set" },
                generation: Generation(u32::from(n)),
                void_time: VoidTime(7),
            };
            batch.push_encoded(meta, &[0, 0, n], &[n][..usize::from(n % 2)]).unwrap();
        }
        batch
    }

    fn text(batch: &RecordBatch) -> Vec<String> {
        batch.iter().map(|record| format!("{record:?}")).collect()
    }

    #[test]
    fn batches_past_the_bound_come_back_as_they_were() {
        let mut batches = Batches::default();
        for number in 0..9 {
            batches.push(batch(number));
            batches.settle(100).unwrap();
            assert!(batches.byte_len() <= 140);
        }
        assert!(!batches.spilled.is_empty() && batches.last_mut().is_some());
        let mut seen = Vec::new();
        batches.visit(&mut |batch| seen.extend(text(batch))).unwrap();
        let mut taken = Vec::new();
        batches
            .hand_on(&mut |batch| {
                taken.extend(text(&batch));
                Ok(())
            })
            .unwrap();
        let mut wanted: Vec<_> = (0..9).flat_map(|number| text(&batch(number))).collect();
        for all in [&mut seen, &mut taken, &mut wanted] {
            all.sort();
        }
        assert_eq!((&seen, &taken), (&wanted, &wanted));
    }
}
