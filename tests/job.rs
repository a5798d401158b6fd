//! Use cases as a program starts them: by URLs and options, with a caller of its own.

use aerolith::embedded::{EmbeddedStore, sample};
use aerolith::job::{
    self, BackupOptions, BackupSource, Caller, CommandOutput, Done, HistoryOptions, PipeFormat, Question,
    RestoreOptions, RunningCommand, SourceOptions, Unattended, VerifyOptions,
};
use aerolith::record::RecordSelection;
use aerolith::store::MemoryStore;
use aerolith::{Control, CreateOptions, Error, KdfCost, OptionsError, RecordOptions, Repository, Result, Snapshot};
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
    let report =
        job::backup(repository, vec![BackupSource::Url(url.into())], &BackupOptions::default(), &Unattended).unwrap();
    assert_eq!(report.done(), Done::Whole);
    repository.snapshot(&report.snapshot.snapshot).unwrap()
}

/// Answers every question alike, and remembers what it was asked.
struct Answers {
    yes: bool,
    asked: Mutex<Vec<Question>>,
}

impl Answers {
    fn new(yes: bool) -> Self {
        Answers { yes, asked: Mutex::default() }
    }
}

impl Caller for Answers {
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

    let same = job::verify(&snapshot, &url, &VerifyOptions::default(), &Unattended).unwrap();
    assert!(same.same && same.done() == Done::Whole && same.namespaces[0].records_in_source == 500);
    let other = filled(directory.path(), "other", 1..501);
    let differs = job::verify(&snapshot, &other, &VerifyOptions::default(), &Unattended).unwrap();
    let found = &differs.namespaces[0];
    assert_eq!(found.only_in_snapshot, [sample::digest_of(0).to_string()]);
    assert_eq!(found.only_in_source, [sample::digest_of(500).to_string()]);
    assert!(!differs.same && differs.done() == Done::Incomplete);

    let target = format!("embedded:{}", directory.path().join("restored").display());
    let options = RestoreOptions::default().verify(true);
    let restored = job::restore(&snapshot, &target, &options, &Unattended).unwrap();
    let verification = restored.namespaces[0].verification.as_ref().unwrap();
    assert_eq!((restored.namespaces[0].written, verification.records, verification.same), (500, 500, true));
    assert!(job::verify(&snapshot, &target, &VerifyOptions::default(), &Unattended).unwrap().same);
}

#[test]
fn a_mirror_deletes_only_after_a_yes() {
    let directory = tempfile::tempdir().unwrap();
    let repository = repository();
    let snapshot = back_up(&repository, &filled(directory.path(), "store", 0..300));
    let target = filled(directory.path(), "target", 200..400);
    let mirror = RestoreOptions::default().mirror(true);
    let count = || {
        let path = directory.path().join("target");
        EmbeddedStore::open(path).unwrap().count(NAMESPACE, None).unwrap()
    };

    let error = job::restore(&snapshot, &target, &mirror, &Unattended).unwrap_err();
    assert!(error.to_string().contains("nothing was written, nothing deleted"), "{error}");
    let no = Answers::new(false);
    assert!(job::restore(&snapshot, &target, &mirror, &no).is_err());
    let [Question::DeleteSurplus { records: 100, namespace, snapshot: id, .. }] = &no.asked.lock().unwrap()[..] else {
        panic!("{:?}", no.asked);
    };
    assert_eq!((namespace.as_str(), *id, count()), (NAMESPACE, snapshot.id(), 200));

    let yes = Answers::new(true);
    let report = job::restore(&snapshot, &target, &mirror, &yes).unwrap();
    assert_eq!((report.namespaces[0].deleted, count(), yes.asked.lock().unwrap().len()), (100, 300, 1));
    let confirmed = Answers::new(false);
    assert!(job::restore(&snapshot, &target, &mirror.confirmed(true), &confirmed).is_ok());
    assert!(confirmed.asked.lock().unwrap().is_empty());
}

#[test]
fn options_that_do_not_fit_are_told_as_data_and_leave_no_trace_in_the_history() {
    let directory = tempfile::tempdir().unwrap();
    let repository = repository();
    let url = filled(directory.path(), "store", 0..10);
    let lines = directory.path().join("people.jsonl");
    let snapshot = back_up(&repository, &url);
    let to_lines = format!("jsonl:{}", lines.display());
    job::restore(&snapshot, &to_lines, &RestoreOptions::default(), &Unattended).unwrap();

    let back_up = |sources: &[&str], options: &BackupOptions| {
        let sources = sources.iter().map(|url| BackupSource::Url((*url).into())).collect();
        match job::backup(&repository, sources, options, &Unattended) {
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
    let error = job::verify(&snapshot, &url, &verified, &Unattended).unwrap_err();
    assert!(error.to_string().contains("evaluated by servers"), "{error}");
}

#[test]
fn a_backup_whose_source_is_missing_is_in_the_history() {
    let repository = repository();
    let sources = vec![BackupSource::Url("jsonl:/nowhere/people.jsonl".into())];
    let error = job::backup(&repository, sources, &BackupOptions::default(), &Unattended).unwrap_err();
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
    let snapshot = back_up(&repository(), &filled(directory.path(), "store", 0..20));
    let lines = directory.path().join("people.jsonl");
    job::restore(&snapshot, &format!("jsonl:{}", lines.display()), &RestoreOptions::default(), &Unattended).unwrap();

    let repository = repository();
    let options = BackupOptions::default().cluster(Some("registry".into()));
    let back_up = |succeeded| {
        let output = CommandOutput {
            format: PipeFormat::Jsonl,
            name: "jsonl:- (output of export)".into(),
            reader: Box::new(std::fs::File::open(&lines).unwrap()),
            command: &Ended { succeeded },
        };
        job::backup(&repository, vec![BackupSource::Command(output)], &options, &Unattended)
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
