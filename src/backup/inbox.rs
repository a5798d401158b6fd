//! Where a source without order puts its records: sorted, and those that it can't understand listed.

use super::work::MAX_BAD;
use crate::control::Control;
use crate::error::{Error, Result};
use crate::record::RecordBatch;
use crate::sources::{BadRecord, RecordSink};
use crate::spool::Sorter;
use crate::sync::lock;
use std::sync::{Mutex, PoisonError};

/// Sorts what a source delivers.
pub(crate) struct Inbox<'a> {
    pub sorter: Sorter,
    /// Whether records that can't be parsed are left out and listed, instead of ending the reading.
    skip: bool,
    bad: Mutex<(u64, Vec<BadRecord>)>,
    control: &'a Control,
}

impl<'a> Inbox<'a> {
    pub fn new(sorter: Sorter, skip: bool, control: &'a Control) -> Self {
        Inbox { sorter, skip, bad: Mutex::default(), control }
    }

    /// Whether a record was left out.
    pub fn has_bad_records(&self) -> bool {
        lock(&self.bad).0 > 0
    }

    /// How many records were left out, and the first of them.
    pub fn into_bad_records(self) -> (u64, Vec<BadRecord>) {
        self.bad.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RecordSink for Inbox<'_> {
    fn records(&self, batch: RecordBatch) -> Result<()> {
        self.control.check()?;
        self.control.add_records(batch.len() as u64);
        self.sorter.push(batch)
    }

    fn bad_record(&self, bad: BadRecord, error: Error) -> Result<()> {
        if !self.skip {
            return Err(error);
        }
        let mut all = lock(&self.bad);
        all.0 += 1;
        if all.1.len() < MAX_BAD {
            all.1.push(bad);
        }
        Ok(())
    }
}
