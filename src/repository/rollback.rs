//! Noticing that a store shows an older state than it did: a client remembers what it has seen under `snapshots/`, in a
//! file of its own.
//!
//! A name under `snapshots/` is never free again, and a marker stays a marker. So a name that is gone, or a snapshot
//! that was forgotten and is there again, means that the store was set back, by a restore of its files or by someone
//! who controls it.

use super::Repository;
use crate::error::{Error, Result};
use crate::format::snapshot::SnapshotState;
use crate::format::{SnapshotId, names};
use crate::objects;
use crate::record::Timestamp;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What a file of this kind begins with.
const FIRST_LINE: &str = "aerolith seen 1";
/// A file is read up to this many bytes: some 450,000 names.
const MAX_BYTES: u64 = 16 << 20;

/// How a store differs from what it was when this client last looked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rollback {
    /// When the client last saw the newer state.
    pub seen: Timestamp,
    /// Snapshots, markers and fences that were there and are not.
    pub gone: Vec<SnapshotId>,
    /// Snapshots that were forgotten and are there again.
    pub revived: Vec<SnapshotId>,
    /// The file that says so.
    pub file: PathBuf,
}

/// What a client has seen of a repository.
#[derive(Default)]
struct SeenNames {
    at: u64,
    names: BTreeMap<SnapshotId, SnapshotState>,
}

fn letter(state: SnapshotState) -> char {
    match state {
        SnapshotState::Committed => 's',
        SnapshotState::Forgotten => 'm',
        SnapshotState::Fenced => 'f',
    }
}

impl SeenNames {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next() != Some(FIRST_LINE) {
            return None;
        }
        let at = lines.next()?.parse().ok()?;
        let name = |line: &str| {
            let (letter, id) = line.split_once(' ')?;
            let state = match letter {
                "s" => SnapshotState::Committed,
                "m" => SnapshotState::Forgotten,
                "f" => SnapshotState::Fenced,
                _ => return None,
            };
            Some((SnapshotId::from_hex(id)?, state))
        };
        Some(SeenNames { at, names: lines.map(name).collect::<Option<_>>()? })
    }

    fn text(&self) -> String {
        let lines = self.names.iter().map(|(id, state)| format!("{} {id}\n", letter(*state)));
        format!("{FIRST_LINE}\n{}\n{}", self.at, lines.collect::<String>())
    }

    /// Reads the file, if there is one. One that can't be parsed is an error: to pass over it would be to forget.
    fn read(file: &Path) -> Result<Option<Self>> {
        let doing = || format!("read {}, which says what this client has seen of the repository", file.display());
        let size = match std::fs::metadata(file) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(doing(), error)),
        };
        let text = match size {
            0..=MAX_BYTES => std::fs::read_to_string(file).map_err(|error| Error::io(doing(), error))?,
            _ => String::new(),
        };
        let seen = SeenNames::parse(&text).ok_or_else(|| {
            let file = file.display();
            Error::invalid(format!(
                "{file} can't be parsed: it should say what this client has seen of the repository. \
                Delete it to begin again"
            ))
        })?;
        Ok(Some(seen))
    }
}

impl Repository {
    /// The file in `directory` that says what this client has seen of this repository.
    fn seen_file(&self, directory: &Path) -> PathBuf {
        directory.join(self.id.to_string())
    }

    /// Compares the store with what this client remembers of it in `directory`.
    ///
    /// # Errors
    ///
    /// If the file or the store can't be read.
    pub fn look_back(&self, directory: &Path) -> Result<Option<Rollback>> {
        let file = self.seen_file(directory);
        let Some(seen) = SeenNames::read(&file)? else { return Ok(None) };
        let states = objects::list_states(&*self.store, &self.keys)?;
        let (mut gone, mut revived) = (Vec::new(), Vec::new());
        for (id, was) in &seen.names {
            match (was, states.get(id)) {
                (_, None) => gone.push(*id),
                (SnapshotState::Forgotten, Some(SnapshotState::Committed)) => revived.push(*id),
                // Damage, which reading it finds.
                _ => {}
            }
        }
        let older = !gone.is_empty() || !revived.is_empty();
        Ok(older.then_some(Rollback { seen: Timestamp(seen.at), gone, revived, file }))
    }

    /// Remembers in `directory` what is under `snapshots/` now, beside what was remembered before.
    ///
    /// # Errors
    ///
    /// If the store can't be read, or the file not written.
    pub fn remember(&self, directory: &Path) -> Result<()> {
        let file = self.seen_file(directory);
        let mut seen = SeenNames::read(&file)?.unwrap_or_default();
        let before = seen.names.clone();
        for (id, state) in objects::list_states(&*self.store, &self.keys)?.all() {
            // A marker stays one, whatever the store says now.
            if seen.names.get(&id) != Some(&SnapshotState::Forgotten) {
                seen.names.insert(id, state);
            }
        }
        if seen.names == before && seen.at > 0 {
            return Ok(());
        }
        seen.at = Timestamp::now().0;
        let doing = || format!("write {}, which says what this client has seen of the repository", file.display());
        std::fs::create_dir_all(directory).map_err(|error| Error::io(doing(), error))?;
        // Under its own name only once it is whole; another process may do the same at the same time.
        let mut new = tempfile::NamedTempFile::new_in(directory).map_err(|error| Error::io(doing(), error))?;
        new.write_all(seen.text().as_bytes()).map_err(|error| Error::io(doing(), error))?;
        new.persist(&file).map_err(|error| Error::io(doing(), error.error))?;
        Ok(())
    }
}

impl std::fmt::Display for Rollback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |ids: &[SnapshotId]| {
            let shown: Vec<String> = ids.iter().take(3).map(names::snapshot).collect();
            let more = ids.len() - shown.len();
            if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
        };
        write!(f, "the store shows an older state than it did on {}", self.seen)?;
        if !self.gone.is_empty() {
            write!(f, ": {} was there then and is gone", of(&self.gone))?;
        }
        if !self.revived.is_empty() {
            write!(f, ": {} was forgotten then and is there again", of(&self.revived))?;
        }
        write!(
            f,
            ". If it was set back on purpose, delete {}; otherwise someone withholds backups, or the wrong copy is \
             mounted",
            self.file.display()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_comes_back_and_nothing_else_is_understood() {
        use SnapshotState::{Committed, Fenced, Forgotten};
        let names = [(1, Committed), (2, Forgotten), (3, Fenced)].map(|(n, state)| (SnapshotId([n; 16]), state)).into();
        let seen = SeenNames { at: 1_780_000_000_000, names };
        let read = SeenNames::parse(&seen.text()).unwrap();
        assert_eq!((read.at, read.names), (seen.at, seen.names.clone()));
        let text = seen.text();
        for wrong in [
            "",
            "aerolith seen 2\n1\n",
            "aerolith seen 1\n",
            "aerolith seen 1\nx\n",
            &text.replace("m ", "x "),
            &text[..text.len() - 4],
        ] {
            assert!(SeenNames::parse(wrong).is_none(), "{wrong:?}");
        }
    }
}
