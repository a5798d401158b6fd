//! Checking a repository: everything that a snapshot reaches, and on request the bytes themselves.

use super::{Repository, Snapshot, host, program};
use crate::control::Control;
use crate::error::{Error, Result};
use crate::format::header::Class;
use crate::format::session::{Outcome, Session, SessionKind, Status};
use crate::format::{ChunkId, SnapshotId};
use crate::index::Location;
use crate::record::Timestamp;
use crate::snapshot as objects;
use crate::snapshot::{LEASE_MILLIS, Lease};
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};

/// A session names at most this many damaged chunks, 32 MiB; beyond that there are several.
const MAX_NOTED: usize = 1 << 20;

/// What is checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckOptions {
    /// Read and authenticate this part of the reached chunks, in percent; 0 reads branch nodes only.
    pub read_percent: f64,
}

/// What a check found.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// Snapshots that were walked.
    pub snapshots: u64,
    /// Distinct chunks that they reach.
    pub chunks: u64,
    /// Stored bytes of those chunks.
    pub stored_bytes: u64,
    /// Chunks that were read and authenticated.
    pub chunks_read: u64,
    /// Plain bytes of those.
    pub bytes_read: u64,
    /// What is wrong, object by object.
    pub problems: Vec<String>,
    /// Snapshots that can't be restored whole.
    pub hurt: Vec<SnapshotId>,
}

impl Repository {
    /// Walks all that the snapshots reach. What is damaged is noted in the repository, so that the next full backup writes it
    /// anew.
    pub fn check(&self, options: &CheckOptions, control: &Control) -> Result<CheckReport> {
        let mut report = CheckReport::default();
        let mut problems: Vec<Error> = Vec::new();
        let reader = self.chunk_reader()?;
        let index = reader.index().clone();
        problems.extend(index.check_blocks(&*self.store)?);
        report.problems.extend(index.damaged().iter().map(ToString::to_string));
        let absent = self.absent_packs(&index)?;
        for id in &absent {
            let name = crate::format::names::pack(id);
            report.problems.push(format!("{name} is missing, or has another size than the index says"));
        }
        let list = self.snapshots()?;
        for (id, error) in list.damaged {
            report.problems.push(error.to_string());
            report.hurt.push(id);
        }
        for manifest in &list.snapshots {
            if index.segments_of(&manifest.id) < manifest.index_segments as usize {
                report.problems.push(format!(
                    "{}{}: {} index segments are there, expected {}; the packs make up for it, and the next backup \
                     writes them anew",
                    crate::format::names::INDEX,
                    manifest.id,
                    index.segments_of(&manifest.id),
                    manifest.index_segments
                ));
            }
        }
        // Which chunks are bad is found once; which snapshots need them takes a walk each.
        let mut walked: HashMap<ChunkId, bool> = HashMap::new();
        let mut damaged: HashSet<ChunkId> = HashSet::new();
        for manifest in list.snapshots {
            control.check()?;
            let snapshot = self.open_snapshot(&reader, manifest);
            report.snapshots += 1;
            let mut reached = Vec::new();
            let walk = snapshot.reach(&mut HashSet::new(), &mut |id, class| reached.push((id, class)));
            let fresh: Vec<(ChunkId, Class)> =
                reached.iter().filter(|(id, _)| !walked.contains_key(id)).copied().collect();
            let found: Vec<Checked> = fresh
                .par_iter()
                .map(|(id, class)| self.check_chunk(&snapshot, id, *class, options, &absent, control))
                .collect::<Result<_>>()?;
            for ((id, _), checked) in fresh.iter().zip(found) {
                report.chunks += 1;
                report.stored_bytes += checked.stored;
                report.chunks_read += u64::from(checked.read);
                report.bytes_read += checked.plain;
                walked.insert(*id, checked.problem.is_none());
                if let Some(problem) = checked.problem {
                    damaged.insert(*id);
                    report.problems.push(problem);
                }
            }
            let whole = reached.iter().all(|(id, _)| walked.get(id).copied().unwrap_or(true));
            if let Err(error) = &walk {
                report.problems.push(format!("snapshot {}: {error}", snapshot.id()));
            }
            if walk.is_err() || !whole {
                report.hurt.push(snapshot.id());
            }
        }
        report.problems.extend(problems.iter().map(ToString::to_string));
        report.problems.dedup();
        let mut damaged: Vec<ChunkId> = damaged.into_iter().collect();
        damaged.sort_unstable();
        for part in damaged.chunks(MAX_NOTED) {
            self.note_damage(part)?;
        }
        Ok(report)
    }

    fn check_chunk(
        &self,
        snapshot: &Snapshot,
        id: &ChunkId,
        class: Class,
        options: &CheckOptions,
        absent: &HashSet<crate::format::PackId>,
        control: &Control,
    ) -> Result<Checked> {
        control.check()?;
        let reader = snapshot.chunks();
        let found = reader.locate(id)?;
        let places: Vec<&Location> = found.iter().filter(|at| !absent.contains(&at.pack)).collect();
        let mut checked = Checked::default();
        let Some(first) = places.first() else {
            checked.problem = Some(format!("chunk {id} is missing: no pack that exists holds it"));
            return Ok(checked);
        };
        checked.stored = u64::from(first.place.stored);
        // The part is chosen by the chunk's name, so that it is the same chunk by chunk, and evenly spread.
        let share = f64::from(u16::from_be_bytes([id.0[2], id.0[3]])) / 65536.0 * 100.0;
        if share >= options.read_percent {
            return Ok(checked);
        }
        checked.read = true;
        for at in places {
            match reader.read_at(id, class, at) {
                Ok(plain) => {
                    checked.plain = plain.len() as u64;
                    control.add_bytes_in(checked.plain);
                    checked.problem = None;
                    return Ok(checked);
                }
                Err(error) if error.is_damage() => checked.problem = Some(error.to_string()),
                Err(error) => return Err(error),
            }
        }
        Ok(checked)
    }

    /// Leaves a session that names damaged chunks; full backups don't build on those.
    fn note_damage(&self, damaged: &[ChunkId]) -> Result<()> {
        let now = Timestamp::now().0;
        let session = Session {
            id: objects::new_id()?,
            kind: SessionKind::Check,
            job: "check".into(),
            host: host(),
            program: program(),
            started: now,
            heartbeat: now,
            lease_millis: LEASE_MILLIS,
            adopted: Vec::new(),
            outcome: None,
        };
        let mut lease = Lease::begin(self.store.clone(), self.keys.clone(), self.parameters.suite, session)?;
        let status = Status::Incomplete(format!("{} chunks are damaged or missing", damaged.len()));
        let damaged_chunks = damaged.to_vec();
        lease.end(Outcome { ended: now, status, records: 0, stored_bytes: 0, damaged_chunks })
    }
}

#[derive(Default)]
struct Checked {
    stored: u64,
    plain: u64,
    read: bool,
    problem: Option<String>,
}
