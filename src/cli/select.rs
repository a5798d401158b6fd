//! Which records of a source are read: options of `backup` and `verify`.

use crate::error::{Error, Result};
pub(super) use crate::job::endpoint::parse_digest;
use crate::record::{PartitionSet, RecordSelection};
use std::path::PathBuf;

/// Where the help shows them.
const HEADING: &str = "What of the source is read";

/// The bins that are named by --bins.
pub fn bin_names<T: FromIterator<Vec<u8>>>(names: &[String]) -> Result<T> {
    if names.iter().any(String::is_empty) {
        return Err(Error::usage("--bins: the name of a bin is empty: separate names by single commas"));
    }
    Ok(names.iter().map(|name| name.as_bytes().to_vec()).collect())
}

/// A part of a source.
#[derive(clap::Args, Clone)]
pub struct SelectArgs {
    /// Read only this set; may be given more than once. As with all options that select, a backup builds only on
    /// earlier ones of the same selection, because what was not selected is not gone
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    set: Vec<String>,
    /// Read only these bins, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', help_heading = HEADING)]
    bins: Vec<String>,
    /// Read only these of the 4096 partitions, such as 0-1023,2000
    #[arg(long, value_name = "RANGES", alias = "partition-list", help_heading = HEADING)]
    partitions: Option<String>,
    /// Read only the record with this digest, in hexadecimal; may be given more than once
    #[arg(long, value_name = "HEX", help_heading = HEADING)]
    digest: Vec<String>,
    /// Read only the records whose digests are in this file, one per line
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    digest_file: Option<PathBuf>,
}

impl SelectArgs {
    /// The file of digests.
    pub fn digest_file(&self) -> Option<PathBuf> {
        self.digest_file.clone()
    }

    /// What is selected, without a filter expression and what is in the file of digests. `set` is one that was named in
    /// another place.
    pub fn selection(&self, set: Option<&str>) -> Result<RecordSelection> {
        if let (Some(set), Some(other)) = (set, self.set.first()) {
            return Err(Error::usage(format!(
                "the set is given twice, {set:?} after the namespace and --set {other:?}: use --set for all of them"
            )));
        }
        let names = |names: &[String]| names.iter().map(|name| name.as_bytes().to_vec()).collect();
        let partitions = self.partitions.as_ref().map(|text| {
            let wrong =
                || Error::usage(format!("--partitions {text}: give numbers and ranges up to 4095, as 0-1023,2000"));
            PartitionSet::parse(text).ok_or_else(wrong)
        });
        let digests = self.digest.iter().map(|text| parse_digest(text)).collect::<Result<Vec<_>>>()?;
        let sets = set.map(|set| vec![set.as_bytes().to_vec()]).unwrap_or_else(|| names(&self.set));
        Ok(RecordSelection {
            sets,
            bins: bin_names(&self.bins)?,
            partitions: partitions.transpose()?,
            digests,
            ..RecordSelection::default()
        })
    }
}
