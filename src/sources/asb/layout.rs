//! Which files a path stands for.
//!
//! asbackup and absctl write the files of a backup into one directory. Aerospike Backup Service keeps the backups of a
//! routine in a tree, each namespace in a directory of its own, with a `metadata.yaml` that is written when the
//! namespace is done:
//!
//! ```text
//! ROUTINE/backup/1700000000000/data/NAMESPACE/0_NAMESPACE_1.asb       full; the time in milliseconds,
//!                                                                     perhaps followed by _TEXT
//! ROUTINE/backup/1700000000000/configuration/aerospike_0.conf
//! ROUTINE/incremental/1700003600000/data/NAMESPACE/0_NAMESPACE_1.asb  what changed since the backup before
//! ```
//!
//! A path above the files is taken if it leads to one backup alone; of several nobody can tell which is meant.

use crate::error::{Error, Result};
use crate::record::Timestamp;
use crate::rename::final_name;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How deep files are looked for below a path: more than the service's trees need, in which a routine's is five deep.
const MAX_DEPTH: usize = 10;
/// How many directories are looked at.
const MAX_DIRECTORIES: usize = 100_000;
/// How many backups are named where there are several.
const MAX_NAMED: usize = 20;

/// The files that a path stands for.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The files, sorted.
    pub(super) files: Vec<PathBuf>,
    /// What was taken and what was not, for people.
    pub(super) notes: Vec<String>,
    /// When the backup began, if the layout says so.
    pub(super) began: Option<Timestamp>,
    /// Whether the files hold only what changed since an earlier backup.
    pub(super) is_incremental: bool,
}

/// What a directory's place says of a backup of Aerospike Backup Service.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Service {
    /// The backup's directory, named after its time.
    directory: PathBuf,
    began: Timestamp,
    is_incremental: bool,
}

impl Service {
    /// Of the directory of a namespace.
    fn of(directory: &Path) -> Option<Self> {
        let data = directory.parent().filter(|data| data.file_name().is_some_and(|name| name == "data"))?;
        let backup = data.parent()?;
        let digits = backup.file_name()?.to_str()?.split('_').next()?;
        let is_time = digits.len() == 13 && digits.bytes().all(|byte| byte.is_ascii_digit());
        let is_incremental = match backup.parent()?.file_name()?.to_str()? {
            "backup" => false,
            "incremental" => true,
            _ => return None,
        };
        let began = Timestamp(digits.parse().ok().filter(|_| is_time)?);
        Some(Service { directory: backup.to_owned(), began, is_incremental })
    }

    fn kind(&self) -> &'static str {
        if self.is_incremental { "incremental" } else { "full" }
    }
}

fn problem<T>(path: &Path, problem: impl Into<String>) -> Result<T> {
    Err(Error::Source { source_name: path.display().to_string(), problem: problem.into() })
}

const XDR: &str = "it is of an XDR backup (.asbx), which can't be read; make a scan backup, which has .asb files";

fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension().is_some_and(|found| found == wanted)
}

/// What is in a directory.
#[derive(Default)]
struct Directory {
    files: Vec<PathBuf>,
    directories: Vec<PathBuf>,
    /// A file that a restore had not finished.
    unfinished: Option<PathBuf>,
    is_empty: bool,
}

impl Directory {
    fn read(path: &Path) -> Result<Self> {
        let doing = || format!("read {}", path.display());
        let mut directory = Directory { is_empty: true, ..Directory::default() };
        for entry in std::fs::read_dir(path).map_err(|e| Error::io(doing(), e))? {
            let entry = entry.map_err(|e| Error::io(doing(), e))?;
            let found = entry.path();
            directory.is_empty = false;
            if found.is_dir() {
                // A link could lead back to where it is.
                if !entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                    directory.directories.push(found);
                }
            } else if has_extension(&found, "asb") {
                directory.files.push(found);
            } else if has_extension(&found, "asbx") {
                return problem(&found, XDR);
            } else if entry.file_name().to_str().and_then(final_name).is_some_and(|name| name.ends_with(".asb")) {
                directory.unfinished = Some(found);
            }
        }
        directory.files.sort();
        directory.directories.sort();
        match &directory.unfinished {
            Some(part) if !directory.files.is_empty() => {
                let advice = "the restore that wrote these files did not finish, and some may be missing. Restore \
                              again into an empty directory; or, if they are none of that restore's, remove";
                problem(path, format!("{advice} {}", part.display()))
            }
            _ => Ok(directory),
        }
    }
}

/// The files that `path` stands for.
pub(super) fn list(path: &Path) -> Result<Listing> {
    let doing = || format!("read {}", path.display());
    if !std::fs::metadata(path).map_err(|e| Error::io(doing(), e))?.is_dir() {
        if has_extension(path, "asbx") {
            return problem(path, XDR);
        }
        return Ok(of_one_directory(vec![path.to_owned()], path.parent().unwrap_or(Path::new("."))));
    }
    let top = Directory::read(path)?;
    if !top.files.is_empty() {
        return Ok(of_one_directory(top.files, path));
    }
    let is_empty = top.is_empty;
    let found = below(path, top)?;
    let mut backups = group(found);
    match backups.len() {
        0 if is_empty => problem(path, "the directory is empty; name one with .asb files"),
        0 => problem(path, "no .asb files in it; name a directory or a file that asbackup or absctl wrote"),
        1 => backups.pop().map_or_else(|| Ok(Listing::default()), taken),
        _ => problem(path, several(path, &backups)),
    }
}

/// A listing of files that stand in one directory.
fn of_one_directory(files: Vec<PathBuf>, directory: &Path) -> Listing {
    let service = std::fs::canonicalize(directory).ok().and_then(|directory| Service::of(&directory));
    Listing {
        files,
        notes: Vec::new(),
        began: service.as_ref().map(|service| service.began),
        is_incremental: service.is_some_and(|service| service.is_incremental),
    }
}

/// All directories below `path` that hold `.asb` files, with these.
fn below(path: &Path, top: Directory) -> Result<BTreeMap<PathBuf, Vec<PathBuf>>> {
    let mut found = BTreeMap::new();
    let mut open: Vec<(usize, PathBuf)> = top.directories.into_iter().map(|directory| (1, directory)).collect();
    let mut seen = 0;
    while let Some((depth, directory)) = open.pop() {
        seen += 1;
        if seen > MAX_DIRECTORIES {
            return problem(
                path,
                format!("there are more than {MAX_DIRECTORIES} directories below it; name one with .asb files"),
            );
        }
        let Directory { files, directories, .. } = Directory::read(&directory)?;
        if depth < MAX_DEPTH {
            open.extend(directories.into_iter().map(|directory| (depth + 1, directory)));
        }
        if !files.is_empty() {
            found.insert(directory, files);
        }
    }
    Ok(found)
}

/// One backup: its directory, what the service says of it, and the directories of its files.
struct Backup {
    directory: PathBuf,
    service: Option<Service>,
    directories: Vec<(PathBuf, Vec<PathBuf>)>,
}

impl Backup {
    /// A directory of a namespace in which the service did not write that it was done.
    fn unfinished(&self) -> Option<&Path> {
        let directories = self.directories.iter().map(|(directory, _)| directory.as_path());
        directories.filter(|_| self.service.is_some()).find(|directory| !directory.join("metadata.yaml").exists())
    }
}

/// The backups that these directories hold, the oldest first where that is known.
fn group(found: BTreeMap<PathBuf, Vec<PathBuf>>) -> Vec<Backup> {
    let mut backups: BTreeMap<PathBuf, Backup> = BTreeMap::new();
    for (directory, files) in found {
        let service = std::fs::canonicalize(&directory).ok().and_then(|directory| Service::of(&directory));
        // As the user sees it: two directories up, if the path is that long.
        let shown = match &service {
            Some(service) => {
                directory.ancestors().nth(2).filter(|up| !up.as_os_str().is_empty()).unwrap_or(&service.directory)
            }
            None => &directory,
        };
        let key = service.as_ref().map_or_else(|| directory.clone(), |service| service.directory.clone());
        let directory_shown = shown.to_owned();
        let backup = backups.entry(key).or_insert_with(|| Backup {
            directory: directory_shown,
            service,
            directories: Vec::new(),
        });
        backup.directories.push((directory, files));
    }
    let mut backups: Vec<Backup> = backups.into_values().collect();
    backups.sort_by_key(|backup| backup.service.as_ref().map(|service| service.began.0));
    backups
}

/// The one backup that there is.
fn taken(backup: Backup) -> Result<Listing> {
    if let Some(directory) = backup.unfinished() {
        let advice = "there is no metadata.yaml in it, so Aerospike Backup Service did not finish this backup, or \
                      still writes it. To read what there is all the same, name this directory";
        return problem(directory, advice);
    }
    let Backup { directory, service, directories } = backup;
    let mut files: Vec<PathBuf> = directories.into_iter().flat_map(|(_, files)| files).collect();
    files.sort();
    let what = match &service {
        Some(service) => format!(", the {} backup of {}", service.kind(), service.began),
        None => String::new(),
    };
    let count = files.len();
    let plural = if count == 1 { "" } else { "s" };
    let notes = vec![format!("reading {count} file{plural} in {}{what}", directory.display())];
    Ok(Listing {
        files,
        notes,
        began: service.as_ref().map(|service| service.began),
        is_incremental: service.is_some_and(|service| service.is_incremental),
    })
}

/// That there are several backups, and which.
fn several(path: &Path, backups: &[Backup]) -> String {
    let name = |backup: &Backup| {
        let shown = backup.directory.strip_prefix(path).unwrap_or(&backup.directory).display();
        match &backup.service {
            None => shown.to_string(),
            Some(service) => {
                let state = if backup.unfinished().is_some() { ", not finished" } else { "" };
                format!("{shown} ({} of {}{state})", service.kind(), service.began)
            }
        }
    };
    let left_out = backups.len().saturating_sub(MAX_NAMED);
    let named: Vec<String> = backups.iter().skip(left_out).map(name).collect();
    let more = if left_out > 0 { format!("{left_out} older ones, ") } else { String::new() };
    let advice = match backups.iter().any(|backup| backup.service.as_ref().is_some_and(|one| one.is_incremental)) {
        true => {
            "Name one of them: a full one first, then each incremental that followed it, as incremental \
             backups with `partial`"
        }
        false => "Name one of them, or several as sources of their own",
    };
    format!("it holds {} backups: {more}{}. {advice}", backups.len(), named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_directories_of_the_service_and_no_others() {
        let of = |path: &str| Service::of(Path::new(path));
        let full = of("/b/daily/backup/1700000000000/data/test").unwrap();
        assert_eq!((full.began, full.is_incremental), (Timestamp(1_700_000_000_000), false));
        assert_eq!(full.directory, Path::new("/b/daily/backup/1700000000000"));
        let named = of("/daily/incremental/1700000000000_2023-11-14/data/test").unwrap();
        assert!(named.is_incremental && named.kind() == "incremental");
        for other in [
            "/daily/backup/170000000000/data/test",
            "/daily/backup/17000000000000/data/test",
            "/daily/backup/yesterday/data/test",
            "/daily/backup/1700000000000/test",
            "/daily/copies/1700000000000/data/test",
            "/data/test",
            "test",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
