//! Writes backups in Aerospike's text format, byte for byte as asbackup does, for asrestore and absctl to read: version
//! 3.1, and version 3.2 where an index over an expression needs it.
//!
//! Records keep the bin order of their source. A batch is formatted (and compressed) outside of any lock and appended
//! as a whole. Files are made by
//! [`RecordTarget::begin`], and have a temporary name until [`RecordTarget::finish`] renames them.
//!
//! What the format can't hold is refused with a reason, never changed: particle types without a letter, a NaN with a
//! payload, names with NUL bytes, generations over 65,535. Cells of a GeoJSON value are left out: servers derive them
//! again from its text. Indexes that it can't hold are named ([`Remarks::omissions`]).

mod files;
#[cfg(test)]
mod tests;

use crate::asb::encrypt::Encryption;
use crate::asb::format::{self, Formatter};
use crate::asb::{AsbCipher, AsbVersion};
use crate::error::{Error, OptionsError, Result};
use crate::record::{NamespaceMetadata, RecordBatch, Timestamp};
use crate::secret::SecretSource;
use crate::setters::setters;
use crate::sources::RecordSource;
use crate::sources::asb::{AsbOptions, AsbSource};
use crate::sync::lock;
use crate::targets::{ConflictPolicy, FailedRecord, RecordTarget, Remarks, WriteOutcome, without_users};
use files::{Files, Layout};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Where asbackup begins a new file, in bytes.
const DEFAULT_FILE_LIMIT: u64 = 250 << 20;

/// How `.asb` files are written.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct AsbTargetOptions {
    /// The Zstandard level; not compressed if not given. Files consist of several frames, as asrestore reads them.
    pub zstd: Option<i32>,
    /// A new file begins once one has this many bytes; 250 MiB if not given. For a directory: a single file has no
    /// limit.
    pub file_limit: Option<u64>,
    /// The private key (PEM, RSA) with which the files are encrypted, as asbackup's `--encryption-key-file`; not
    /// encrypted if not given.
    pub key: Option<SecretSource>,
    /// How they are encrypted then.
    pub cipher: AsbCipher,
    /// The version of the format. If not given, each file has the oldest that holds all that goes into it: 3.1, or 3.2
    /// for indexes over expressions.
    pub version: Option<AsbVersion>,
}

setters!(AsbTargetOptions {
    cipher: AsbCipher,
} into {
    zstd: Option<i32>,
    file_limit: Option<u64>,
    key: Option<SecretSource>,
    version: Option<AsbVersion>,
});

/// A restore into `.asb` files.
pub struct AsbTarget {
    name: String,
    path: PathBuf,
    zstd: Option<i32>,
    key: Option<SecretSource>,
    version: Option<AsbVersion>,
    files: Files,
    /// Buffers of earlier batches, to be used again.
    buffers: Mutex<Vec<Buffers>>,
}

#[derive(Default)]
struct Buffers {
    text: Vec<u8>,
    compressor: Option<zstd::bulk::Compressor<'static>>,
    compressed: Vec<u8>,
}

impl Buffers {
    /// The bytes that go to the file for the text.
    fn packed(&mut self, level: Option<i32>) -> std::io::Result<&[u8]> {
        let Some(level) = level else { return Ok(&self.text) };
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            empty => {
                let mut compressor = zstd::bulk::Compressor::new(level)?;
                compressor.include_checksum(true)?;
                empty.insert(compressor)
            }
        };
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(self.text.len()));
        compressor.compress_to_buffer(&self.text, &mut self.compressed)?;
        Ok(&self.compressed)
    }
}

impl AsbTarget {
    /// A directory, which is made once something is restored into it and must not hold `.asb` files, or, if `path` ends
    /// in `.asb`, one file, which must not exist. `-` is standard output, for one namespace.
    ///
    /// # Errors
    ///
    /// If there are such files already, the directory that it is to be made in doesn't exist, or an option is refused.
    pub fn new(path: &Path, options: AsbTargetOptions) -> Result<Self> {
        if let Some(level) = options.zstd
            && !zstd::compression_level_range().contains(&level)
        {
            let range = zstd::compression_level_range();
            return Err(Error::invalid(format!(
                "zstd has no level {level}; choose one from {} to {}",
                range.start(),
                range.end()
            )));
        }
        if options.file_limit.is_some() && Layout::of(path) != Layout::Directory {
            return Err(OptionsError::LimitOfSingleFile { target: format!("asb:{}", path.display()) }.into());
        }
        let encryption = options.key.as_ref().map(|key| Encryption::read(key, options.cipher)).transpose()?;
        let limit = options.file_limit.unwrap_or(DEFAULT_FILE_LIMIT);
        Ok(Self {
            name: format!("asb:{}", path.display()),
            path: path.to_owned(),
            zstd: options.zstd,
            version: options.version,
            files: Files::new(path, limit, encryption)?,
            key: options.key,
            buffers: Mutex::default(),
        })
    }

    fn with_buffers<T>(&self, work: impl FnOnce(&mut Buffers) -> Result<T>) -> Result<T> {
        let pool = || lock(&self.buffers);
        let mut buffers = pool().pop().unwrap_or_default();
        buffers.text.clear();
        let result = work(&mut buffers);
        pool().push(buffers);
        result
    }

    fn compression_failed(&self, error: std::io::Error) -> Error {
        Error::Target { target_name: self.name.clone(), problem: format!("compression failed: {error}") }
    }

    /// The head of a file, packed.
    fn head(&self, version: AsbVersion, namespace: &str, first: bool, globals: &[u8]) -> Result<Vec<u8>> {
        self.with_buffers(|buffers| {
            format::put_head(&mut buffers.text, version, namespace.as_bytes(), first);
            buffers.text.extend_from_slice(globals);
            Ok(buffers.packed(self.zstd).map_err(|e| self.compression_failed(e))?.to_vec())
        })
    }

    /// The version of a namespace's first file.
    fn version_for(&self, metadata: &NamespaceMetadata) -> AsbVersion {
        let newer = metadata.indexes.iter().any(|index| !index.expression.is_empty());
        self.version.unwrap_or(if newer { AsbVersion::V3_2 } else { AsbVersion::V3_1 })
    }

    /// Appends a namespace's indexes and modules to `globals`; says what the format can't hold.
    fn put_globals(&self, globals: &mut Vec<u8>, namespace: &str, metadata: &NamespaceMetadata) -> Remarks {
        let mut remarks = Remarks::default();
        let version = self.version_for(metadata);
        for index in &metadata.indexes {
            if let Err(reason) = format::put_index(globals, version, namespace.as_bytes(), index) {
                let name = String::from_utf8_lossy(&index.name);
                remarks.omissions.push(format!("index {name} of namespace {namespace}: {reason}"));
            }
        }
        for udf in &metadata.udfs {
            if let Err(reason) = format::put_udf(globals, udf) {
                remarks.omissions.push(format!("UDF module {}: {reason}", String::from_utf8_lossy(&udf.name)));
            }
        }
        remarks.omissions.extend(without_users(metadata, "files of asbackup hold none"));
        if self.version.is_none() && version == AsbVersion::V3_2 {
            remarks.notes.push(format!(
                "namespace {namespace} has an index over an expression, so its first file is of version 3.2, which \
                 absctl reads and asrestore refuses; `version` 3.1 leaves the index out"
            ));
        }
        remarks
    }
}

/// Appends the text of a batch's records; those that the format can't hold are named with the reason.
fn format_batch(text: &mut Vec<u8>, namespace: &str, batch: &RecordBatch) -> WriteOutcome {
    let mut outcome = WriteOutcome::default();
    let mut formatter = Formatter::new(namespace.as_bytes());
    text.reserve(batch.byte_len() * 3 / 2);
    for record in batch.iter() {
        match formatter.put_record(text, &record) {
            Ok(()) => outcome.written += 1,
            Err(reason) => outcome.failed.push(FailedRecord { digest: record.meta.digest, reason }),
        }
    }
    outcome
}

impl RecordTarget for AsbTarget {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_live(&self) -> bool {
        false
    }

    fn clock(&self) -> Result<Timestamp> {
        Ok(Timestamp::now())
    }

    fn preview_begin(&self, namespace: &str, metadata: &NamespaceMetadata) -> Result<Remarks> {
        self.files.check_namespace(namespace)?;
        Ok(self.put_globals(&mut Vec::new(), namespace, metadata))
    }

    fn preview_write(&self, namespace: &str, batch: &RecordBatch, _policy: ConflictPolicy) -> Result<WriteOutcome> {
        self.with_buffers(|buffers| Ok(format_batch(&mut buffers.text, namespace, batch)))
    }

    fn begin(&self, namespace: &str, metadata: &NamespaceMetadata) -> Result<Remarks> {
        let mut globals = Vec::new();
        let mut remarks = self.put_globals(&mut globals, namespace, metadata);
        let first = self.head(self.version_for(metadata), namespace, true, &globals)?;
        let next = self.head(self.version.unwrap_or(AsbVersion::V3_1), namespace, false, &[])?;
        let mut notes = self.files.begin(namespace, &first, next)?;
        notes.append(&mut remarks.notes);
        Ok(Remarks { notes, ..remarks })
    }

    /// Takes every record that the format can hold, whatever the policy.
    fn write(&self, namespace: &str, batch: &RecordBatch, _policy: ConflictPolicy) -> Result<WriteOutcome> {
        let output = self.files.output(namespace)?;
        self.with_buffers(|buffers| {
            let outcome = format_batch(&mut buffers.text, namespace, batch);
            if outcome.written > 0 {
                let bytes = buffers.packed(self.zstd).map_err(|e| self.compression_failed(e))?;
                output.append(bytes)?;
            }
            Ok(outcome)
        })
    }

    fn read_back(&self, _set: Option<&[u8]>) -> Result<Option<Box<dyn RecordSource>>> {
        if self.files.layout() == Layout::StandardOutput {
            return Ok(None);
        }
        let options = AsbOptions { key: self.key.clone(), ..AsbOptions::default() };
        Ok(Some(Box::new(AsbSource::open(&self.path, options)?)))
    }

    fn finish(&self) -> Result<()> {
        self.files.finish()
    }
}
