//! A source of one's own: rows of a table, lines of a file, whatever can be told record by record.

use super::{BadRecord, RecordSink, RecordSource, SourceShape, StreamSource};
use crate::control::Control;
use crate::error::{BoxError, Error, Result};
use crate::record::{
    BinRef, BodyError, Digest, Generation, Key, NamespaceMetadata, NotABin, ParticleType, RecordBatch, RecordMeta,
    Timestamp, Value, VoidTime,
};
use std::ops::Range;

/// A batch is handed over once it has so many bytes.
const BATCH_BYTES: usize = 1 << 20;

/// A source of one's own. Whatever implements it is a [`RecordSource`] too, and can be backed up and compared with a
/// snapshot.
///
/// It delivers every record of a namespace, so backups of it are full ones: they read all, write what differs from the
/// snapshot before, and find what was deleted. `?` works on every error in it; one that is an [`Error`] stays what it
/// is.
///
/// ```
/// use aerolith::{BoxError, Result, Source, SourceRecord};
///
/// struct Ages(&'static [(&'static str, i64)]);
///
/// impl Source for Ages {
///     fn cluster(&self) -> &str {
///         "ages"
///     }
///
///     fn namespaces(&self) -> Result<Vec<String>, BoxError> {
///         Ok(vec!["people".into()])
///     }
///
///     fn records(&self, _: &str, each: &mut dyn FnMut(SourceRecord) -> Result<()>) -> Result<(), BoxError> {
///         for (name, age) in self.0 {
///             each(SourceRecord::new("users", *name).bin("age", *age))?;
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait Source: Send + Sync {
    /// What the database is called whose records these are. Later backups under the same name build on this one.
    fn cluster(&self) -> &str;

    /// The namespaces it has.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from knowing.
    fn namespaces(&self) -> Result<Vec<String>, BoxError>;

    /// Calls `each` for every record of a namespace, in any order.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from reading them all, and the errors of `each`: the backup can't go on, or was stopped.
    fn records(&self, namespace: &str, each: &mut dyn FnMut(SourceRecord) -> Result<()>) -> Result<(), BoxError>;

    /// Its name for people and for the snapshot, such as `csv:/data/users.csv`; no secrets. The cluster's name if not
    /// given.
    fn name(&self) -> &str {
        self.cluster()
    }
}

/// A record of a [`Source`]: its set, its key, from which its digest follows, and its bins.
#[derive(Clone, Debug)]
#[must_use]
pub struct SourceRecord {
    set: Vec<u8>,
    key: Key,
    generation: Generation,
    void_time: VoidTime,
    /// The names and values of all bins.
    bytes: Vec<u8>,
    bins: Vec<(Range<usize>, ParticleType, Range<usize>)>,
    /// The first bin that can't be one, and why.
    problem: Option<(String, NotABin)>,
}

impl SourceRecord {
    /// A record without bins of generation 1 that never expires. The empty name is that of the null set.
    pub fn new(set: impl AsRef<[u8]>, key: impl Into<Key>) -> Self {
        SourceRecord {
            set: set.as_ref().to_vec(),
            key: key.into(),
            generation: Generation(1),
            void_time: VoidTime::NEVER,
            bytes: Vec::new(),
            bins: Vec::new(),
            problem: None,
        }
    }

    /// Adds a bin: its name, which no other bin of the record has, and its value. A value that no bin can hold is an
    /// error once the record is handed over.
    pub fn bin<'v>(mut self, name: impl AsRef<[u8]>, value: impl Into<Value<'v>>) -> Self {
        let name = name.as_ref();
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        let middle = self.bytes.len();
        match value.into().encode(&mut self.bytes) {
            Ok(particle) => self.bins.push((start..middle, particle, middle..self.bytes.len())),
            Err(error) => {
                self.problem.get_or_insert_with(|| (String::from_utf8_lossy(name).into_owned(), error));
            }
        }
        self
    }

    /// Says how often the record was written.
    pub fn generation(mut self, generation: Generation) -> Self {
        self.generation = generation;
        self
    }

    /// Says when the record expires.
    pub fn expires(mut self, time: Timestamp) -> Self {
        self.void_time = VoidTime::from_timestamp(time);
        self
    }

    /// Its digest.
    pub fn digest(&self) -> Digest {
        self.key.digest(&self.set)
    }

    /// Adds it to a batch.
    fn push_to(&self, batch: &mut RecordBatch) -> Result<(), String> {
        if let Some((bin, problem)) = &self.problem {
            return Err(format!("bin {bin:?} can't be stored: {problem}"));
        }
        let part =
            |range: &Range<usize>| self.bytes.get(range.clone()).ok_or("internal error: a bin without its bytes");
        let bins: Vec<BinRef<'_>> = self
            .bins
            .iter()
            .map(|(name, particle, value)| Ok(BinRef { name: part(name)?, particle: *particle, bytes: part(value)? }))
            .collect::<Result<_, &str>>()?;
        let (generation, void_time) = (self.generation, self.void_time);
        let meta = RecordMeta { digest: self.digest(), set: &self.set, generation, void_time };
        batch.push(meta, Some(self.key.as_ref()), &bins).map_err(|error: BodyError| error.to_string())
    }
}

impl<S: Source> RecordSource for S {
    fn name(&self) -> &str {
        Source::name(self)
    }

    fn cluster(&self) -> Option<String> {
        Some(Source::cluster(self).to_string())
    }

    fn namespaces(&self) -> Result<Vec<String>> {
        let mut namespaces = Source::namespaces(self)
            .map_err(|error| Error::caller(format!("list the namespaces of {}", Source::name(self)), error))?;
        namespaces.sort();
        namespaces.dedup();
        Ok(namespaces)
    }

    /// This machine's clock.
    fn clock(&self) -> Result<Timestamp> {
        Ok(Timestamp::now())
    }

    fn metadata(&self, _: &str) -> Result<NamespaceMetadata> {
        Ok(NamespaceMetadata::default())
    }

    fn shape(&self) -> SourceShape<'_> {
        SourceShape::Stream(self)
    }
}

impl<S: Source> StreamSource for S {
    fn read(&self, namespace: &str, sink: &dyn RecordSink, control: &Control) -> Result<()> {
        let mut batch = RecordBatch::new();
        let mut each = |record: SourceRecord| {
            if let Err(problem) = record.push_to(&mut batch) {
                let place = format!("namespace {namespace}, record {}", record.digest());
                let source_name = Source::name(self).to_string();
                let error = Error::Source { source_name, problem: format!("{place}: {problem}") };
                return sink.bad_record(BadRecord { place, problem, breaks_off: false }, error);
            }
            if batch.byte_len() < BATCH_BYTES {
                return Ok(());
            }
            control.check()?;
            sink.records(std::mem::take(&mut batch))
        };
        self.records(namespace, &mut each)
            .map_err(|error| Error::caller(format!("read namespace {namespace} of {}", Source::name(self)), error))?;
        if batch.is_empty() { Ok(()) } else { sink.records(batch) }
    }
}
