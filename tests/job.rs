//! Use cases as a program starts them: by URLs and options, with an observer of its own.

use aerolith::embedded::{EmbeddedStore, sample};
use aerolith::job::{
    self, BackupOptions, BackupSource, CommandOutput, Done, HistoryOptions, PipeFormat, RestoreOptions, RunningCommand,
    SourceOptions, VerifyOptions,
};
use aerolith::record::RecordSelection;
use aerolith::store::MemoryStore;
use aerolith::{
    Control, CreateOptions, Error, Event, KdfCost, Observer, OptionsError, Question, RecordOptions, Repository, Result,
    Snapshot,
};
use std::path::Path;
use std::sync::{Arc, Mutex};

const NAMESPACE: &str = "people";

fn repository() -> Repository {
    let options = CreateOptions::default().cost(KdfCost::WEAK);
    Repository::create(Arc::new(MemoryStore::new()), b"passphrase", &options).unwrap()
}

/// An embedded store with these records, and its URL.
fn filled(directory: &Path, name: &str, records: std::ops::Range<u64>) -> String {
    let path = directory.join(name);
    sample::fill(&EmbeddedStore::create(&path).unwrap(), NAMESPACE, records).unwrap();
    format!("embedded:{}", path.display())
}

fn back_up(repository: &Repository, url: &str) -> Snapshot {
    let report = job::backup(repository, vec![BackupSource::Url(url.into())], &BackupOptions::default()).unwrap();
    assert_eq!(report.done(), Done::Whole);
    repository.snapshot(&report.snapshot.snapshot).unwrap()
}

/// Answers every question alike, and remembers what it was asked.
struct Answers {
    yes: bool,
    asked: Mutex<Vec<Question>>,
}

impl Answers {
    fn new(yes: bool) -> Arc<Self> {
        Arc::new(Answers { yes, asked: Mutex::default() })
    }

    /// The snapshot, about whose restores this is asked.
    fn asked_about(self: &Arc<Self>, snapshot: &Snapshot) -> Snapshot {
        snapshot.watched(&Control::observed_by(self.clone()))
    }
}

impl Observer for Answers {
    fn event(&self, _: &Control, _: Event<'_>) {}

    fn confirm(&self, question: &Question) -> Result<bool> {
        self.asked.lock().unwrap().push(question.clone());
        Ok(self.yes)
    }
}

#[test]
fn a_backup_by_url_is_verified_and_restored_by_url() {
    let directory = tempfile::tempdir().unwrap();
    let (repository, url) = (repository(), filled(directory.path(), "store", 0..500));
    let snapshot = back_up(&repository, &url);

    let same = job::verify(&snapshot, &url, &VerifyOptions::default()).unwrap();
    assert!(same.same && same.done() == Done::Whole && same.namespaces[0].records_in_source == 500);
    let other = filled(directory.path(), "other", 1..501);
    let differs = job::verify(&snapshot, &other, &VerifyOptions::default()).unwrap();
    let found = &differs.namespaces[0];
    assert_eq!(found.only_in_snapshot, [sample::digest_of(0).to_string()]);
    assert_eq!(found.only_in_source, [sample::digest_of(500).to_string()]);
    assert!(!differs.same && differs.done() == Done::Incomplete);

    let target = format!("embedded:{}", directory.path().join("restored").display());
    let options = RestoreOptions::default().verify(true);
    let restored = job::restore(&repository, &snapshot, &target, &options).unwrap();
    let verification = restored.namespaces[0].verification.as_ref().unwrap();
    assert_eq!((restored.namespaces[0].written, verification.records, verification.same), (500, 500, true));
    assert!(job::verify(&snapshot, &target, &VerifyOptions::default()).unwrap().same);
}

#[test]
fn a_mirror_deletes_only_after_a_yes() {
    let directory = tempfile::tempdir().unwrap();
    let repository = repository();
    let snapshot = back_up(&repository, &filled(directory.path(), "store", 0..300));
    let target = filled(directory.path(), "target", 200..400);
    let mirror = RestoreOptions::default().records(aerolith::RestoreOptions::default().mirror(true));
    let count = || {
        let path = directory.path().join("target");
        EmbeddedStore::open(path).unwrap().count(NAMESPACE, None).unwrap()
    };

    let error = job::restore(&repository, &snapshot, &target, &mirror).unwrap_err();
    assert!(error.to_string().contains("nothing was written, nothing deleted"), "{error}");
    let no = Answers::new(false);
    assert!(job::restore(&repository, &no.asked_about(&snapshot), &target, &mirror).is_err());
    let [Question::DeleteSurplus { records: 100, namespace, snapshot: id, .. }] = &no.asked.lock().unwrap()[..] else {
        panic!("{:?}", no.asked);
    };
    assert_eq!((namespace.as_str(), *id, count()), (NAMESPACE, snapshot.id(), 200));

    let yes = Answers::new(true);
    let report = job::restore(&repository, &yes.asked_about(&snapshot), &target, &mirror).unwrap();
    assert_eq!((report.namespaces[0].deleted, count(), yes.asked.lock().unwrap().len()), (100, 300, 1));
    let confirmed = Answers::new(false);
    assert!(job::restore(&repository, &confirmed.asked_about(&snapshot), &target, &mirror.confirmed(true)).is_ok());
    assert!(confirmed.asked.lock().unwrap().is_empty());
}

#[test]
fn an_observer_is_told_of_the_parts_of_a_job_and_of_warnings_and_counters_begin_at_zero_with_each_part() {
    let directory = tempfile::tempdir().unwrap();
    let (repository, url) = (repository(), filled(directory.path(), "store", 0..3000));
    back_up(&repository, &url);
    let events = Arc::new(Mutex::new(Vec::new()));
    let told = events.clone();
    let control = Control::observed(move |control: &Control, event: Event<'_>| {
        let line = match event {
            Event::Began(what) => format!("began {what}: {}", control.records()),
            Event::Phase(phase) => format!("phase {}", phase.name),
            Event::Warning(text) => format!("warning {text}"),
            Event::Ended => format!("ended: {}", control.records()),
            _ => return,
        };
        told.lock().unwrap().push(line);
    });
    let repository = repository.watched(&control);
    let snapshot = back_up(&repository, &url);
    let lines = std::mem::take(&mut *events.lock().unwrap());
    assert_eq!(lines, [&*format!("began backing up {url}: 0"), "phase backing up", "ended: 3000"]);

    // Files hold no indexes of their own; read back, they are a part of its own.
    let lines = directory.path().join("people.asb");
    let target = format!("asb:{}", lines.display());
    job::restore(&repository, &snapshot, &target, &RestoreOptions::default().verify(true)).unwrap();
    let lines = std::mem::take(&mut *events.lock().unwrap());
    let began: Vec<&String> = lines.iter().filter(|line| line.starts_with("began ")).collect();
    assert_eq!(began, [&format!("began restoring into {target}: 0"), &format!("began reading back from {target}: 0")]);
    let ended: Vec<&String> = lines.iter().filter(|line| line.starts_with("ended")).collect();
    assert_eq!(ended, ["ended: 3000", "ended: 3000"], "{lines:?}");

    // The same is told once, however often it is met.
    control.warn("something");
    control.warn("something");
    assert_eq!((events.lock().unwrap().len(), control.warnings()), (1, vec!["something".to_string()]));
}

#[test]
fn options_that_do_not_fit_are_told_as_data_and_leave_no_trace_in_the_history() {
    let directory = tempfile::tempdir().unwrap();
    let repository = repository();
    let url = filled(directory.path(), "store", 0..10);
    let lines = directory.path().join("people.jsonl");
    let snapshot = back_up(&repository, &url);
    let to_lines = format!("jsonl:{}", lines.display());
    job::restore(&repository, &snapshot, &to_lines, &RestoreOptions::default()).unwrap();

    let back_up = |sources: &[&str], options: &BackupOptions| {
        let sources = sources.iter().map(|url| BackupSource::Url((*url).into())).collect();
        match job::backup(&repository, sources, options) {
            Err(Error::Options(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    let partial = BackupOptions::default().records(RecordOptions::default().partial(true));
    assert_eq!(back_up(&[&url], &partial), OptionsError::PartialFull);
    // Lines know of no cluster, and the repository holds another's snapshots.
    let unnamed = back_up(&[&to_lines], &BackupOptions::default());
    assert!(matches!(unnamed, OptionsError::UnnamedCluster { .. }), "{unnamed:?}");
    let twice = back_up(&[&url, &to_lines], &BackupOptions::default());
    assert!(matches!(&twice, OptionsError::NamespaceTwice { namespace, .. } if namespace == NAMESPACE), "{twice:?}");
    assert_eq!(job::history(&repository, &HistoryOptions::default()).unwrap().sessions.len(), 1);

    let filter = RecordSelection::default().filter(vec![1]);
    let verified = VerifyOptions::default().source(SourceOptions::default().selection(filter));
    let error = job::verify(&snapshot, &url, &verified).unwrap_err();
    assert!(error.to_string().contains("servers alone can tell what `filter` selects"), "{error}");
}

#[test]
fn a_backup_whose_source_is_missing_is_in_the_history() {
    let repository = repository();
    let sources = vec![BackupSource::Url("jsonl:/nowhere/people.jsonl".into())];
    let error = job::backup(&repository, sources, &BackupOptions::default()).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    let history = job::history(&repository, &HistoryOptions::default()).unwrap();
    assert_eq!(history.sessions.len(), 1);
    assert_eq!(history.sessions[0].job, "full backup of jsonl:/nowhere/people.jsonl");
}

/// A command that ended.
struct Ended {
    succeeded: bool,
}

impl RunningCommand for Ended {
    fn succeeded(&self, _: &Control) -> Result<()> {
        match self.succeeded {
            true => Ok(()),
            false => Err(Error::invalid("the command failed")),
        }
    }
}

#[test]
fn what_a_command_wrote_is_committed_only_if_it_succeeded() {
    let directory = tempfile::tempdir().unwrap();
    let (repository, url) = (repository(), filled(directory.path(), "store", 0..20));
    let snapshot = back_up(&repository, &url);
    let lines = directory.path().join("people.jsonl");
    job::restore(&repository, &snapshot, &format!("jsonl:{}", lines.display()), &RestoreOptions::default()).unwrap();

    let repository = self::repository();
    let options = BackupOptions::default().cluster(Some("registry".into()));
    let back_up = |succeeded| {
        let output = CommandOutput {
            format: PipeFormat::Jsonl,
            name: "jsonl:- (output of export)".into(),
            reader: Box::new(std::fs::File::open(&lines).unwrap()),
            command: &Ended { succeeded },
        };
        job::backup(&repository, vec![BackupSource::Command(output)], &options)
    };
    let error = back_up(false).unwrap_err();
    assert!(error.to_string().contains("the command failed"), "{error}");
    assert!(repository.snapshots().unwrap().snapshots.is_empty());
    let report = back_up(true).unwrap();
    assert_eq!(
        (report.snapshot.source.as_str(), report.snapshot.namespaces[0].live_records),
        ("jsonl:- (output of export)", 20)
    );
}
