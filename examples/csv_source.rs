//! A source of one's own: the rows of a CSV file.
//!
//!     cargo run --example csv_source [FILE.csv [REPOSITORY]]
//!
//! The first line names the columns, and the first column is each row's key. A value that is a number is stored as one.
//! The file is backed up twice here: the second backup stores what changed, and finds the row that was deleted.

use aerolith::{
    BackupKind, BoxError, CreateOptions, RecordOptions, Repository, Result, SessionOptions, Snapshot, Source,
    SourceRecord, store,
};
use std::fs;
use std::path::{Path, PathBuf};

/// A file with a row for each record. Fields may not hold commas: a real program would use a CSV library.
struct CsvFile {
    path: PathBuf,
    name: String,
}

impl CsvFile {
    fn new(path: &Path) -> Self {
        CsvFile { path: path.to_path_buf(), name: format!("csv:{}", path.display()) }
    }
}

impl Source for CsvFile {
    // Later backups under the same name build on this one.
    fn cluster(&self) -> &str {
        "staff register"
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn namespaces(&self) -> Result<Vec<String>, BoxError> {
        Ok(vec!["staff".into()])
    }

    fn records(&self, _: &str, each: &mut dyn FnMut(SourceRecord) -> Result<()>) -> Result<(), BoxError> {
        // Errors of any type come back to the caller of the backup, with the source's name.
        let text = fs::read_to_string(&self.path)?;
        let mut lines = text.lines();
        let columns: Vec<&str> =
            lines.next().ok_or("the file has no line that names the columns")?.split(',').collect();
        for (number, line) in lines.enumerate() {
            let fields: Vec<&str> = line.split(',').collect();
            if fields.len() != columns.len() {
                return Err(format!("line {}: {} fields, expected {}", number + 2, fields.len(), columns.len()).into());
            }
            let mut record = SourceRecord::new("rows", fields[0]);
            for (column, field) in columns.iter().zip(&fields).skip(1) {
                record = match field.parse::<i64>() {
                    Ok(number) => record.bin(column, number),
                    Err(_) => record.bin(column, *field),
                };
            }
            each(record)?;
        }
        Ok(())
    }
}

fn back_up(repository: &Repository, file: &CsvFile) -> Result<Snapshot> {
    let mut session = repository.begin(SessionOptions::default())?;
    let counts = session.records("staff", file, BackupKind::Full, &RecordOptions::default())?;
    let snapshot = session.commit()?;
    println!(
        "{}: {} rows read, {} added, {} changed, {} deleted",
        snapshot.id(),
        counts.read,
        counts.added,
        counts.changed,
        counts.deleted
    );
    Ok(snapshot)
}

fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let scratch = tempfile::tempdir()?;
    let sample = scratch.path().join("staff.csv");
    fs::write(&sample, "name,age,town\nada,36,London\nemil,41,Riga\nines,29,Porto\n")?;
    let path = arguments.first().map_or(sample.clone(), PathBuf::from);
    let place = arguments.get(1).map_or(scratch.path().join("repository"), PathBuf::from);

    let repository = Repository::create(
        store::create(&place.display().to_string())?,
        b"a passphrase for this example",
        &CreateOptions::default(),
    )?;
    let file = CsvFile::new(&path);
    back_up(&repository, &file)?;
    if path == sample {
        fs::write(&sample, "name,age,town\nada,37,London\nines,29,Porto\njun,52,Kyoto\n")?;
    }
    back_up(&repository, &file)?;
    Ok(())
}
