//! Records in memory, with the semantics of writes that clients rely on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds between the Unix epoch and the servers' own.
pub const EPOCH: u64 = 1_262_304_000;

pub type Digest = [u8; 20];

/// A bin: name, particle type, bytes.
pub type Bin = (Vec<u8>, u8, Vec<u8>);

/// A record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    pub set: Vec<u8>,
    /// Particle type and bytes, one after the other; empty if no key is stored.
    pub key: Vec<u8>,
    pub generation: u32,
    pub void_time: u32,
    /// Nanoseconds since the Unix epoch.
    pub updated: u64,
    pub bins: Vec<Bin>,
}

/// The records of one namespace.
#[derive(Default)]
pub struct Namespace {
    /// Those that have expired stay among them until a sweep.
    pub records: BTreeMap<Digest, Record>,
    /// Records that were truncated and whose place is not freed yet: they are counted and otherwise gone.
    pub remains: BTreeSet<Digest>,
    pub default_ttl: u32,
    /// Whether it is full.
    pub stop_writes: bool,
    /// Whether nobody removes what has expired, so that nothing that expires is taken.
    pub no_nsup: bool,
}

/// A value as a server keeps it: it derives the cells of GeoJSON from the text, and takes no notice of those that came.
fn kept(particle: u8, bytes: &[u8]) -> Vec<u8> {
    if particle != 23 {
        return bytes.to_vec();
    }
    let cells = usize::from(u16::from_be_bytes([bytes[1], bytes[2]]));
    let text = &bytes[3 + 8 * cells..];
    let cell: u64 = text.iter().fold(7, |cell, &byte| cell.wrapping_mul(31).wrapping_add(u64::from(byte)));
    [&[0, 0, 1][..], &cell.to_be_bytes(), text].concat()
}

/// What a write asks for.
#[derive(Clone, Debug, Default)]
pub struct Write {
    pub set: Vec<u8>,
    pub key: Vec<u8>,
    pub ttl: u32,
    /// Only if the record's generation is this one.
    pub generation_equal: Option<u32>,
    /// Only if this one is higher than the record's.
    pub generation_greater: Option<u32>,
    pub create_only: bool,
    pub update_only: bool,
    pub replace: bool,
    pub replace_only: bool,
    pub delete: bool,
    pub touch: bool,
    pub bins: Vec<Bin>,
}

/// The partition of a digest.
pub fn partition(digest: &Digest) -> u16 {
    u16::from_le_bytes([digest[0], digest[1]]) & 4095
}

/// Nanoseconds since the Unix epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

impl Record {
    /// Whether it has expired at `now`.
    pub fn expired(&self, now: u64) -> bool {
        self.void_time != 0 && u64::from(self.void_time) + EPOCH <= now / 1_000_000_000
    }
}

impl Namespace {
    /// The record with a digest, unless it has expired.
    pub fn get(&self, digest: &Digest, now: u64) -> Option<&Record> {
        self.records.get(digest).filter(|record| !record.expired(now))
    }

    /// The records of a partition, with the greatest digest first.
    pub fn of_partition(&self, number: u16) -> impl Iterator<Item = (&Digest, &Record)> {
        let [low, high] = number.to_le_bytes();
        (0..16u8).rev().flat_map(move |more| {
            let (mut first, mut last) = ([0; 20], [0xff; 20]);
            [first[0], first[1]] = [low, high | more << 4];
            [last[0], last[1]] = [first[0], first[1]];
            self.records.range(first..=last).rev()
        })
    }

    /// How many records a server counts in each partition: also what has expired or was truncated and was not removed.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; 4096];
        for digest in self.records.keys().chain(&self.remains) {
            counts[usize::from(partition(digest))] += 1;
        }
        counts
    }

    /// Puts a record there as it is.
    pub fn put(&mut self, digest: Digest, record: Record) {
        // It takes the place of what was truncated.
        self.remains.remove(&digest);
        self.records.insert(digest, record);
    }

    /// Carries out a write; gives back the result code and the record's generation.
    pub fn write(&mut self, digest: Digest, write: &Write, now: u64) -> (u8, u32) {
        let old = self.get(&digest, now).cloned();
        let generation = old.as_ref().map_or(0, |record| record.generation);
        if write.delete {
            let code = match (&old, write.generation_equal) {
                (None, _) => 2,
                (Some(_), Some(wanted)) if wanted != generation => 3,
                _ => 0,
            };
            if code == 0 {
                self.records.remove(&digest);
            }
            return (code, generation);
        }
        let size: usize = write.bins.iter().map(|bin| bin.0.len() + bin.2.len()).sum();
        let expires = ![0, u32::MAX].contains(&write.ttl);
        let refused = match &old {
            _ if self.stop_writes => 8,
            _ if write.ttl > 315_360_000 && write.ttl < 0xffff_fffe => 4,
            _ if expires && self.no_nsup => 22,
            _ if write.bins.iter().any(|bin| bin.0.len() > 15) => 21,
            _ if size > 8 << 20 => 13,
            Some(_) if write.create_only => 5,
            None if write.update_only || write.replace_only || write.touch => 2,
            _ if write.generation_equal.is_some_and(|wanted| wanted != generation) => 3,
            _ if write.generation_greater.is_some_and(|new| new <= generation) && old.is_some() => 3,
            _ => 0,
        };
        if refused != 0 {
            return (refused, generation);
        }
        let mut record = old.unwrap_or_default();
        record.set = write.set.clone();
        if !write.key.is_empty() {
            record.key = write.key.clone();
        }
        if write.replace || write.replace_only {
            record.bins.clear();
        }
        for (name, particle, bytes) in &write.bins {
            record.bins.retain(|bin| bin.0 != *name);
            if *particle != 0 {
                record.bins.push((name.clone(), *particle, kept(*particle, bytes)));
            }
        }
        record.generation = if generation >= 0xffff { 1 } else { generation + 1 };
        record.updated = now;
        let lasting = |ttl: u32| (now / 1_000_000_000 - EPOCH) as u32 + ttl;
        record.void_time = match write.ttl {
            0 if self.default_ttl == 0 => 0,
            0 => lasting(self.default_ttl),
            u32::MAX => 0,
            0xffff_fffe => record.void_time,
            ttl => lasting(ttl),
        };
        let generation = record.generation;
        if record.bins.is_empty() {
            self.records.remove(&digest);
        } else {
            self.put(digest, record);
        }
        (0, generation)
    }
}
