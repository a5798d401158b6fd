//! Writes backups in Aerospike's text format, byte for byte as asbackup does, for asrestore and absctl to read: version
//! 3.1, and version 3.2 where an index over an expression needs it.
//!
//! Records keep the bin order of their source. A batch is formatted (and compressed) outside of any lock and appended
//! as a whole. Files have a temporary name until [`RecordTarget::finish`] renames them.
//!
//! What the format can't hold is refused with a reason, never changed: particle types without a letter, a NaN with a
//! payload, names with NUL bytes, generations over 65,535. Cells of a GeoJSON value are left out: servers derive them
//! again from its text. Indexes that it can't hold are named by [`RecordTarget::omissions`].

mod files;
#[cfg(test)]
mod tests;

use crate::asb::encrypt::Encryption;
use crate::asb::format::{self, Formatter};
use crate::asb::{AsbCipher, AsbVersion};
use crate::error::{Error, OptionsError, Result};
use crate::record::{NamespaceMetadata, RecordBatch, Timestamp};
use crate::setters::setters;
use crate::sources::RecordSource;
use crate::sources::asb::{AsbOptions, AsbSource};
use crate::sync::lock;
use crate::targets::{ConflictPolicy, FailedRecord, RecordTarget, WriteOutcome, leave_out, without_users};
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
    pub key_file: Option<PathBuf>,
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
    key_file: Option<PathBuf>,
    version: Option<AsbVersion>,
});

/// A restore into `.asb` files.
pub struct AsbTarget {
    name: String,
    path: PathBuf,
    zstd: Option<i32>,
    key_file: Option<PathBuf>,
    version: Option<AsbVersion>,
    /// The files; none for a dry run.
    files: Option<Files>,
    omissions: Mutex<Vec<String>>,
    notes: Mutex<Vec<String>>,
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
    /// Prepares a directory, which is made if it is missing and must not hold `.asb` files, or, if `path` ends in
    /// `.asb`, one file, which must not exist. `-` is standard output, for one namespace.
    ///
    /// # Errors
    ///
    /// If there are such files already, the directory can't be made or written, or an option is refused.
    pub fn create(path: &Path, options: AsbTargetOptions) -> Result<Self> {
        let target = Self::without_files(path, &options)?;
        let limit = options.file_limit.unwrap_or(DEFAULT_FILE_LIMIT);
        let files = Files::create(path, limit, Self::encryption(&options)?)?;
        Ok(Self { files: Some(files), ..target })
    }

    /// Says what would be written, and makes no file. What [`AsbTarget::create`] refuses is refused too.
    ///
    /// # Errors
    ///
    /// Those of [`AsbTarget::create`].
    pub fn dry_run(path: &Path, options: AsbTargetOptions) -> Result<Self> {
        Files::check(path)?;
        Self::encryption(&options)?;
        Self::without_files(path, &options)
    }

    fn encryption(options: &AsbTargetOptions) -> Result<Option<Encryption>> {
        options.key_file.as_deref().map(|file| Encryption::read(file, options.cipher)).transpose()
    }

    fn without_files(path: &Path, options: &AsbTargetOptions) -> Result<Self> {
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
        Ok(Self {
            name: format!("asb:{}", path.display()),
            path: path.to_owned(),
            zstd: options.zstd,
            key_file: options.key_file.clone(),
            version: options.version,
            files: None,
            omissions: Mutex::default(),
            notes: Mutex::default(),
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
}

impl RecordTarget for AsbTarget {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_live(&self) -> bool {
        false
    }

    fn is_dry_run(&self) -> bool {
        self.files.is_none()
    }

    fn clock(&self) -> Result<Timestamp> {
        Ok(Timestamp::now())
    }

    fn begin(&self, namespace: &str, metadata: &NamespaceMetadata) -> Result<()> {
        let mut globals = Vec::new();
        let mut omissions = Vec::new();
        let newer = metadata.indexes.iter().any(|index| !index.expression.is_empty());
        let version = self.version.unwrap_or(if newer { AsbVersion::V3_2 } else { AsbVersion::V3_1 });
        for index in &metadata.indexes {
            if let Err(reason) = format::put_index(&mut globals, version, namespace.as_bytes(), index) {
                let name = String::from_utf8_lossy(&index.name);
                omissions.push(format!("index {name} of namespace {namespace}: {reason}"));
            }
        }
        for udf in &metadata.udfs {
            if let Err(reason) = format::put_udf(&mut globals, udf) {
                omissions.push(format!("UDF module {}: {reason}", String::from_utf8_lossy(&udf.name)));
            }
        }
        omissions.extend(without_users(metadata, "files of asbackup hold none"));
        let first = self.head(version, namespace, true, &globals)?;
        let next = self.head(self.version.unwrap_or(AsbVersion::V3_1), namespace, false, &[])?;
        if self.version.is_none() && version == AsbVersion::V3_2 {
            lock(&self.notes).push(format!(
                "namespace {namespace} has an index over an expression, so its first file is of version 3.2, which \
                 absctl reads and asrestore refuses; `version` 3.1 leaves the index out"
            ));
        }
        if let Some(files) = &self.files {
            files.begin(namespace, &first, next)?;
        }
        leave_out(&self.omissions, omissions);
        Ok(())
    }

    /// Takes every record that the format can hold, whatever the policy.
    fn write(&self, namespace: &str, batch: &RecordBatch, _policy: ConflictPolicy) -> Result<WriteOutcome> {
        let output = self.files.as_ref().map(|files| files.output(namespace)).transpose()?;
        self.with_buffers(|buffers| {
            let mut outcome = WriteOutcome::default();
            let mut formatter = Formatter::new(namespace.as_bytes());
            buffers.text.reserve(batch.byte_len() * 3 / 2);
            for record in batch.iter() {
                match formatter.put_record(&mut buffers.text, &record) {
                    Ok(()) => outcome.written += 1,
                    Err(reason) => outcome.failed.push(FailedRecord { digest: record.meta.digest, reason }),
                }
            }
            if outcome.written > 0
                && let Some(output) = &output
            {
                let bytes = buffers.packed(self.zstd).map_err(|e| self.compression_failed(e))?;
                output.append(bytes)?;
            }
            Ok(outcome)
        })
    }

    fn read_back(&self, _set: Option<&[u8]>) -> Result<Option<Box<dyn RecordSource>>> {
        match &self.files {
            Some(files) if files.layout() == Layout::StandardOutput => Ok(None),
            Some(_) => {
                let options = AsbOptions { key_file: self.key_file.clone(), ..AsbOptions::default() };
                Ok(Some(Box::new(AsbSource::open(&self.path, options)?)))
            }
            None => Ok(None),
        }
    }

    fn finish(&self) -> Result<()> {
        self.files.as_ref().map_or(Ok(()), Files::finish)
    }

    fn omissions(&self) -> Vec<String> {
        lock(&self.omissions).clone()
    }

    fn notes(&self) -> Vec<String> {
        let own = lock(&self.notes).clone();
        self.files.iter().flat_map(Files::notes).chain(own).collect()
    }
}
