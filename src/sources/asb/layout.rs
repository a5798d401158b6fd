//! Which files a path stands for.
//!
//! asbackup and absctl write the files of a backup into one folder. Aerospike Backup Service keeps the backups of a routine in a
//! tree, each namespace in a folder of its own, with a `metadata.yaml` that is written when the namespace is done:
//!
//! ```text
//! ROUTINE/backup/1700000000000/data/NAMESPACE/0_NAMESPACE_1.asb       full; the time in milliseconds, perhaps followed by _TEXT
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
/// How many folders are looked at.
const MAX_FOLDERS: usize = 100_000;
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

/// What a folder's place says of a backup of Aerospike Backup Service.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Service {
    /// The backup's folder, named after its time.
    folder: PathBuf,
    began: Timestamp,
    is_incremental: bool,
}

impl Service {
    /// Of the folder of a namespace.
    fn of(folder: &Path) -> Option<Self> {
        let data = folder.parent().filter(|data| data.file_name().is_some_and(|name| name == "data"))?;
        let backup = data.parent()?;
        let digits = backup.file_name()?.to_str()?.split('_').next()?;
        let is_time = digits.len() == 13 && digits.bytes().all(|byte| byte.is_ascii_digit());
        let is_incremental = match backup.parent()?.file_name()?.to_str()? {
            "backup" => false,
            "incremental" => true,
            _ => return None,
        };
        let began = Timestamp(digits.parse().ok().filter(|_| is_time)?);
        Some(Service { folder: backup.to_owned(), began, is_incremental })
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

/// What stands in a folder.
#[derive(Default)]
struct Folder {
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    /// A file that a restore had not finished.
    unfinished: Option<PathBuf>,
    is_empty: bool,
}

impl Folder {
    fn read(path: &Path) -> Result<Self> {
        let doing = || format!("read {}", path.display());
        let mut folder = Folder { is_empty: true, ..Folder::default() };
        for entry in std::fs::read_dir(path).map_err(|e| Error::io(doing(), e))? {
            let entry = entry.map_err(|e| Error::io(doing(), e))?;
            let found = entry.path();
            folder.is_empty = false;
            if found.is_dir() {
                // A link could lead back to where it stands.
                if !entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                    folder.folders.push(found);
                }
            } else if has_extension(&found, "asb") {
                folder.files.push(found);
            } else if has_extension(&found, "asbx") {
                return problem(&found, XDR);
            } else if entry.file_name().to_str().and_then(final_name).is_some_and(|name| name.ends_with(".asb")) {
                folder.unfinished = Some(found);
            }
        }
        folder.files.sort();
        folder.folders.sort();
        match &folder.unfinished {
            Some(part) if !folder.files.is_empty() => {
                let advice = "the restore that wrote these files did not finish, and some may be missing. Restore again into an \
                              empty folder; or, if they are none of that restore's, remove";
                problem(path, format!("{advice} {}", part.display()))
            }
            _ => Ok(folder),
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
        return Ok(of_one_folder(vec![path.to_owned()], path.parent().unwrap_or(Path::new("."))));
    }
    let top = Folder::read(path)?;
    if !top.files.is_empty() {
        return Ok(of_one_folder(top.files, path));
    }
    let is_empty = top.is_empty;
    let found = below(path, top)?;
    let mut backups = group(found);
    match backups.len() {
        0 if is_empty => problem(path, "the folder is empty; name one with .asb files"),
        0 => problem(path, "no .asb files in it; name a folder or a file that asbackup or absctl wrote"),
        1 => backups.pop().map_or_else(|| Ok(Listing::default()), taken),
        _ => problem(path, several(path, &backups)),
    }
}

/// A listing of files that stand in one folder.
fn of_one_folder(files: Vec<PathBuf>, folder: &Path) -> Listing {
    let service = std::fs::canonicalize(folder).ok().and_then(|folder| Service::of(&folder));
    Listing {
        files,
        notes: Vec::new(),
        began: service.as_ref().map(|service| service.began),
        is_incremental: service.is_some_and(|service| service.is_incremental),
    }
}

/// All folders below `path` that hold `.asb` files, with these.
fn below(path: &Path, top: Folder) -> Result<BTreeMap<PathBuf, Vec<PathBuf>>> {
    let mut found = BTreeMap::new();
    let mut open: Vec<(usize, PathBuf)> = top.folders.into_iter().map(|folder| (1, folder)).collect();
    let mut seen = 0;
    while let Some((depth, folder)) = open.pop() {
        seen += 1;
        if seen > MAX_FOLDERS {
            return problem(
                path,
                format!("there are more than {MAX_FOLDERS} folders below it; name one with .asb files"),
            );
        }
        let Folder { files, folders, .. } = Folder::read(&folder)?;
        if depth < MAX_DEPTH {
            open.extend(folders.into_iter().map(|folder| (depth + 1, folder)));
        }
        if !files.is_empty() {
            found.insert(folder, files);
        }
    }
    Ok(found)
}

/// One backup: its folder, what the service says of it, and the folders of its files.
struct Backup {
    folder: PathBuf,
    service: Option<Service>,
    folders: Vec<(PathBuf, Vec<PathBuf>)>,
}

impl Backup {
    /// A folder of a namespace in which the service did not write that it was done.
    fn unfinished(&self) -> Option<&Path> {
        let folders = self.folders.iter().map(|(folder, _)| folder.as_path());
        folders.filter(|_| self.service.is_some()).find(|folder| !folder.join("metadata.yaml").exists())
    }
}

/// The backups that these folders hold, the oldest first where that is known.
fn group(found: BTreeMap<PathBuf, Vec<PathBuf>>) -> Vec<Backup> {
    let mut backups: BTreeMap<PathBuf, Backup> = BTreeMap::new();
    for (folder, files) in found {
        let service = std::fs::canonicalize(&folder).ok().and_then(|folder| Service::of(&folder));
        // As the user sees it: two folders up, if the path is that long.
        let shown = match &service {
            Some(service) => {
                folder.ancestors().nth(2).filter(|up| !up.as_os_str().is_empty()).unwrap_or(&service.folder)
            }
            None => &folder,
        };
        let key = service.as_ref().map_or_else(|| folder.clone(), |service| service.folder.clone());
        let folder_shown = shown.to_owned();
        let backup =
            backups.entry(key).or_insert_with(|| Backup { folder: folder_shown, service, folders: Vec::new() });
        backup.folders.push((folder, files));
    }
    let mut backups: Vec<Backup> = backups.into_values().collect();
    backups.sort_by_key(|backup| backup.service.as_ref().map(|service| service.began.0));
    backups
}

/// The one backup that there is.
fn taken(backup: Backup) -> Result<Listing> {
    if let Some(folder) = backup.unfinished() {
        let advice = "there is no metadata.yaml in it, so Aerospike Backup Service did not finish this backup, or still writes it. \
                      To read what there is all the same, name this folder";
        return problem(folder, advice);
    }
    let Backup { folder, service, folders } = backup;
    let mut files: Vec<PathBuf> = folders.into_iter().flat_map(|(_, files)| files).collect();
    files.sort();
    let what = match &service {
        Some(service) => format!(", the {} backup of {}", service.kind(), service.began),
        None => String::new(),
    };
    let count = files.len();
    let plural = if count == 1 { "" } else { "s" };
    let notes = vec![format!("reading {count} file{plural} in {}{what}", folder.display())];
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
        let shown = backup.folder.strip_prefix(path).unwrap_or(&backup.folder).display();
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
            "Name one of them: a full one first, then each incremental that followed it, with --kind incremental --partial"
        }
        false => "Name one of them, or several as sources of their own",
    };
    format!("it holds {} backups: {more}{}. {advice}", backups.len(), named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_folders_of_the_service_and_no_others() {
        let of = |path: &str| Service::of(Path::new(path));
        let full = of("/b/daily/backup/1700000000000/data/test").unwrap();
        assert_eq!((full.began, full.is_incremental), (Timestamp(1_700_000_000_000), false));
        assert_eq!(full.folder, Path::new("/b/daily/backup/1700000000000"));
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
