use super::*;
use crate::error::StoreErrorKind;
use std::time::{Duration, SystemTime};

/// A store and the directory that goes with it.
struct Fixture {
    store: LocalStore,
    directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { store: LocalStore::create(directory.path()).unwrap(), directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Leaves what a put that crashed `age` ago would have.
    fn leave_temporary(&self, name: &str, age: Duration) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), b"half an obj").unwrap();
        File::options().write(true).open(self.path(name)).unwrap().set_modified(SystemTime::now() - age).unwrap();
    }

    /// Every file in the store's directory that isn't an object.
    fn leftovers(&self) -> Vec<PathBuf> {
        let mut directories = vec![self.directory.path().to_owned()];
        let mut found = Vec::new();
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap()) {
                if entry.file_type().unwrap().is_dir() {
                    directories.push(entry.path());
                } else if entry.file_name().to_str().unwrap().starts_with('.') {
                    found.push(entry.path());
                }
            }
        }
        found
    }
}

impl std::ops::Deref for Fixture {
    type Target = LocalStore;

    fn deref(&self) -> &LocalStore {
        &self.store
    }
}

crate::store_conformance_tests!(|test| test(&*Fixture::new()));

#[test]
fn a_process_that_stopped_with_the_lock_of_a_directory_blocks_nobody() {
    let store = Fixture::new();
    store.put("sessions/a", b"1").unwrap();
    for lock in [File::lock, File::lock_shared] {
        let stopped = File::open(store.path("sessions")).unwrap();
        lock(&stopped).unwrap();
        let (done, outcome) = std::sync::mpsc::channel();
        let other = LocalStore::open(store.directory.path()).unwrap();
        std::thread::spawn(move || {
            other.put("sessions/a", b"12").unwrap();
            done.send(other.list("sessions/").unwrap()).unwrap();
        });
        let listed = outcome.recv_timeout(Duration::from_secs(60)).expect("blocked");
        assert_eq!(listed, [Listed { key: "sessions/a".into(), size: 2 }]);
    }
}

#[test]
fn what_a_crash_left_is_no_object_and_goes_after_a_day() {
    let store = Fixture::new();
    store.put_new("packs/ab/a", b"1").unwrap();
    store.leave_temporary("packs/ab/.tmp-old", Duration::from_secs(25 * 3600));
    store.leave_temporary("packs/ab/.tmp-new", Duration::from_secs(23 * 3600));
    store.leave_temporary("index/s/.tmp-old", Duration::from_secs(25 * 3600));
    assert_eq!(store.list("").unwrap(), [Listed { key: "packs/ab/a".into(), size: 1 }]);
    assert_eq!(store.leftovers(), [store.path("packs/ab/.tmp-new")]);
}

#[test]
fn a_store_that_is_only_read_removes_nothing() {
    let store = Fixture::new();
    store.leave_temporary(".tmp-old", Duration::from_secs(25 * 3600));
    let reader = LocalStore::open(store.directory.path()).unwrap();
    assert_eq!(reader.list("").unwrap(), []);
    assert_eq!(store.leftovers(), [store.path(".tmp-old")]);
}

#[test]
fn what_is_no_object_is_not_listed() {
    let store = Fixture::new();
    store.put_new("packs/ab/a", b"1").unwrap();
    fs::create_dir(store.path("lost+found")).unwrap();
    fs::write(store.path("lost+found/a"), b"").unwrap();
    fs::create_dir(store.path("packs/empty")).unwrap();
    fs::write(store.path("packs/README.txt"), b"").unwrap();
    std::os::unix::net::UnixListener::bind(store.path("packs/socket")).unwrap();
    assert_eq!(store.list("").unwrap(), [Listed { key: "packs/ab/a".into(), size: 1 }]);
    assert_eq!(store.size("packs").unwrap(), None);
    assert_eq!(store.get("packs/ab", 100).unwrap(), None);
}

#[test]
fn a_failed_write_names_object_place_and_reason_and_leaves_nothing() {
    let store = Fixture::new();
    let location = store.location().to_owned();
    // The temporary file can be written, but not be given this name.
    let key = format!("packs/{}", "a".repeat(300));
    let errors = [store.put_new(&key, b"x").unwrap_err(), store.put(&key, b"x").unwrap_err()];
    for error in errors {
        let message = error.to_string();
        assert!(message.starts_with(&format!("cannot write {key} in {location}: File name too long")), "{message}");
    }
    assert_eq!(store.leftovers(), Vec::<PathBuf>::new());

    store.put("config", b"x").unwrap();
    let message = store.put_new("config/a", b"x").unwrap_err().to_string();
    assert!(message.starts_with(&format!("cannot write config/a in {location}: Not a directory")), "{message}");
}

#[test]
fn a_store_whose_directory_vanished_is_an_error_not_an_empty_store() {
    let store = Fixture::new();
    store.put_content("packs/ab/a", &Bytes::from_static(b"1")).unwrap();
    fs::remove_dir_all(store.directory.path()).unwrap();
    let failures = [
        ("write", store.put_new("packs/ab/b", b"x").err()),
        ("write", store.put("packs/ab/b", b"x").err()),
        ("read", store.get("packs/ab/a", 1).err()),
        ("read", store.get_range("packs/ab/a", 0, 1).err()),
        ("look at", store.size("packs/ab/a").err()),
        ("list", store.list("packs/").err()),
        ("delete", store.delete("packs/ab/a").err()),
        ("make what was written", store.sync().err()),
    ];
    for (verb, failure) in failures {
        let message = failure.unwrap_or_else(|| panic!("could {verb}")).to_string();
        assert!(message.starts_with(&format!("cannot {verb}")), "{message}");
        assert!(message.contains(store.location()) && message.contains("No such file or directory"), "{message}");
    }
    assert!(!store.directory.path().exists(), "a write must not make the root again: its disk may be unmounted");
}

#[test]
fn a_directory_becomes_a_store_and_says_what_else_is_in_it() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("lost+found")).unwrap();
    LocalStore::create(directory.path()).unwrap().put("config", b"1").unwrap();
    assert_eq!(LocalStore::create(directory.path()).unwrap().size("config").unwrap(), Some(1));

    fs::write(directory.path().join("thesis.tex"), b"").unwrap();
    assert_eq!(LocalStore::create(directory.path()).unwrap().top_names().unwrap(), ["config", "thesis.tex"]);

    let file = directory.path().join("thesis.tex");
    assert!(matches!(
        LocalStore::create(&file),
        Err(Error::Store { kind: StoreErrorKind::Missing | StoreErrorKind::Exists | StoreErrorKind::Other, .. })
    ));
    for missing in [file, directory.path().join("none")] {
        let message = LocalStore::open(&missing).err().unwrap().to_string();
        assert!(message.contains(&missing.display().to_string()) && message.contains("not found"), "{message}");
    }
}

#[test]
fn an_index_directory_goes_with_its_last_object() {
    let store = Fixture::new();
    store.put_new("index/s/1", b"").unwrap();
    store.put_new("index/s/2", b"").unwrap();
    store.delete("index/s/1").unwrap();
    assert!(store.path("index/s").exists());
    store.delete("index/s/2").unwrap();
    assert!(!store.path("index/s").exists());
    assert!(store.path("index").exists());
}

#[test]
fn an_object_behind_a_symbolic_link_is_read_and_listed() {
    let store = Fixture::new();
    let other_disk = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(other_disk.path(), store.path("packs")).unwrap();
    store.put_new("packs/ab/a", b"1").unwrap();
    store.sync().unwrap();
    assert!(other_disk.path().join("ab/a").exists());
    assert_eq!(store.list("packs/").unwrap().len(), 1);
    assert_eq!(store.get("packs/ab/a", 1).unwrap().as_deref(), Some(&b"1"[..]));
}

#[test]
fn a_directory_is_noted_for_the_next_sync_by_whatever_builds_on_its_names() {
    type Build = fn(&LocalStore) -> Result<()>;
    let builds: [(&str, Build, bool); 8] = [
        ("put_content", |store| store.put_content("packs/ab/b", &Bytes::from_static(b"")).map(drop), true),
        ("put_content, taken", |store| store.put_content("packs/ab/a", &Bytes::from_static(b"")).map(drop), true),
        ("put_new", |store| store.put_new("packs/ab/b", b"").map(drop), false),
        ("size", |store| store.size("packs/ab/a").map(drop), true),
        ("list", |store| store.list("packs/").map(drop), true),
        ("delete", |store| store.delete("packs/ab/a"), true),
        ("put", |store| store.put("packs/ab/a", b""), false),
        ("get", |store| store.get("packs/ab/a", 9).map(drop), false),
    ];
    for (name, build, notes) in builds {
        let fixture = Fixture::new();
        fixture.put_new("packs/ab/a", b"1").unwrap();
        fixture.put_new("packs/ab/z", b"1").unwrap();
        let other_process = LocalStore::open(fixture.directory.path()).unwrap();
        build(&other_process).unwrap();
        assert_eq!(other_process.names.is_noted(&fixture.path("packs/ab")), notes, "{name}");
        other_process.sync().unwrap();
        assert!(!other_process.names.is_noted(&fixture.path("packs/ab")), "{name}");
    }
}

#[test]
fn the_reserve_takes_room_is_no_object_and_is_given_up_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::create(directory.path()).unwrap();
    assert!(!store.use_reserve().unwrap());
    store.keep_reserve().unwrap();
    store.keep_reserve().unwrap();
    assert_eq!(fs::metadata(directory.path().join(".reserve")).unwrap().len(), 1 << 20);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    assert!(store.list("").unwrap().is_empty());
    drop(LocalStore::create(directory.path()).unwrap());
    assert!(store.use_reserve().unwrap() && !store.use_reserve().unwrap());
    // One that was cut short is made again.
    fs::write(directory.path().join(".reserve"), b"").unwrap();
    store.keep_reserve().unwrap();
    assert_eq!(fs::metadata(directory.path().join(".reserve")).unwrap().len(), 1 << 20);
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn all_that_a_store_makes_is_its_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("above/repo");
    let store = LocalStore::create(&root).unwrap();
    store.put("config", b"1").unwrap();
    store.put_new("packs/ab/cd", b"1").unwrap();
    store.keep_reserve().unwrap();
    for (name, expected) in [("", 0o700), ("config", 0o600), (".reserve", 0o600), ("packs", 0o700), ("packs/ab", 0o700)]
    {
        assert_eq!(mode(&root.join(name)), expected, "{name}");
    }
    assert_eq!(mode(&root.join("packs/ab/cd")), 0o600);
}

#[test]
fn a_store_that_was_given_to_a_group_stays_the_groups_and_nobody_elses() {
    use std::os::unix::fs::PermissionsExt;
    for (config, file, directories) in [(0o640, 0o640, 0o750), (0o664, 0o660, 0o770), (0o604, 0o600, 0o700)] {
        let directory = tempfile::tempdir().unwrap();
        LocalStore::create(directory.path()).unwrap().put("config", b"1").unwrap();
        fs::set_permissions(directory.path().join("config"), fs::Permissions::from_mode(config)).unwrap();
        let store = LocalStore::open(directory.path()).unwrap();
        store.put_new("packs/ab/cd", b"1").unwrap();
        assert_eq!(mode(&directory.path().join("packs/ab/cd")), file, "{config:o}");
        assert_eq!(mode(&directory.path().join("packs/ab")), directories, "{config:o}");
    }
}

#[test]
fn what_systems_leave_in_a_directory_is_no_top_name_and_all_else_is() {
    let directory = tempfile::tempdir().unwrap();
    for name in HARMLESS_NAMES.into_iter().chain(["._.DS_Store", ".Trash-1000", ".nfs0001"]) {
        assert!(!is_segment(name), "{name} could be a key");
        fs::create_dir(directory.path().join(name)).unwrap();
    }
    let store = LocalStore::create(directory.path()).unwrap();
    store.keep_reserve().unwrap();
    assert!(store.top_names().unwrap().is_empty());
    for name in ["letter", ".ssh", "Packs"] {
        fs::create_dir(directory.path().join(name)).unwrap();
        assert_eq!(store.top_names().unwrap(), [name]);
        fs::remove_dir(directory.path().join(name)).unwrap();
    }
}
