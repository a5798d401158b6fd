//! Waits until restored secondary indexes are built.

use super::report::UnbuiltIndex;
use crate::error::{Error, Result};
use crate::job::text;
use crate::record::SecondaryIndex;
use crate::repository::Snapshot;
use crate::restore::RestoreOptions;
use crate::targets::RecordTarget;
use std::time::{Duration, Instant};

/// Indexes that a message names; the others are counted.
const NAMED: usize = 20;

/// How often the target is asked.
const EVERY: Duration = Duration::from_millis(500);

/// Waits for the indexes of these namespaces, at most so long. Gives back what is not built then, and at once what
/// won't be.
pub(super) fn wait(
    snapshot: &Snapshot,
    names: &[String],
    target: &dyn RecordTarget,
    how: &RestoreOptions,
    longest: Duration,
) -> Result<Vec<UnbuiltIndex>> {
    let control = &snapshot.control;
    let mut wanted = Vec::new();
    for name in names {
        wanted.push((name, snapshot.namespace(name)?.metadata()?.indexes));
    }
    let all: usize = wanted.iter().map(|(_, indexes)| indexes.len()).sum();
    if all == 0 {
        return Ok(Vec::new());
    }
    let _part = control.part(format!("waiting for the indexes of {}", target.name()));
    control.begin_phase("percent of indexes", 100 * all as u64);
    let (begun, mut told) = (Instant::now(), 0);
    loop {
        let unbuilt = look(&wanted, target, how)?;
        let left: u64 = unbuilt.iter().map(|index| 100 - u64::from(index.percent)).sum();
        let done = (100 * all as u64).saturating_sub(left);
        control.add_done(done.saturating_sub(told));
        told = told.max(done);
        if unbuilt.iter().all(|index| index.failed) || begun.elapsed() >= longest {
            return Ok(unbuilt);
        }
        control.wait(EVERY).map_err(|_| stopped(&unbuilt))?;
    }
}

/// Which of the indexes are not built yet.
fn look(
    wanted: &[(&String, Vec<SecondaryIndex>)],
    target: &dyn RecordTarget,
    how: &RestoreOptions,
) -> Result<Vec<UnbuiltIndex>> {
    let mut all = Vec::new();
    for (namespace, indexes) in wanted {
        let there = how.rename.as_deref().unwrap_or(namespace);
        all.extend(target.unbuilt_indexes(there, indexes)?.into_iter().map(|index| UnbuiltIndex {
            namespace: (*namespace).clone(),
            name: text::plain(&index.name),
            percent: index.percent,
            failed: index.failed,
        }));
    }
    Ok(all)
}

fn stopped(unbuilt: &[UnbuiltIndex]) -> Error {
    let named = unbuilt.iter().map(|index| format!("{} of {} ({} %)", index.name, index.namespace, index.percent));
    let mut named: Vec<String> = named.take(NAMED).collect();
    if let more @ 1.. = unbuilt.len().saturating_sub(NAMED) {
        named.push(format!("and {more} more"));
    }
    Error::invalid(format!(
        "stopped on request: all was written, and the servers go on building {}",
        text::safe(&named.join(", "))
    ))
}
