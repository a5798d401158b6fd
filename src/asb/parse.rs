//! From the text of a record to its particles.
//!
//! Values get the form that the server sends: integers and doubles 8 bytes big endian, booleans one byte, GeoJSON three
//! zero bytes (no flags, no cells) before the text, all else its bytes. A nil bin (`- N name`) becomes a bin of type
//! [`ParticleType::NULL`] without bytes, so that it is written back as it was read.

use super::escape::Token;
use super::number::{parse_double, parse_signed, parse_unsigned};
use super::walk::{Dialect, GlobalLine, Problem, Stop, TextWalk, Visitor};
use crate::record::{
    BinRef, BodyError, Digest, Generation, KeyRef, ParticleType, RecordBatch, RecordMeta, SecondaryIndex, UdfModule,
    VoidTime,
};
use base64_simd::STANDARD;

/// What a GeoJSON particle has before its text.
pub(crate) const GEOJSON_PREFIX: [u8; 3] = [0; 3];

/// The particle types that are stored as bytes, each with its letter.
pub(crate) const BYTES_LETTERS: [(u8, ParticleType); 10] = [
    (b'B', ParticleType::BLOB),
    (b'J', ParticleType::JAVA_BLOB),
    (b'C', ParticleType::CSHARP_BLOB),
    (b'P', ParticleType::PYTHON_BLOB),
    (b'R', ParticleType::RUBY_BLOB),
    (b'H', ParticleType::PHP_BLOB),
    (b'E', ParticleType::ERLANG_BLOB),
    (b'Y', ParticleType::HLL),
    (b'M', ParticleType::MAP),
    (b'L', ParticleType::LIST),
];

/// Bytes that stand in the file as they are, or that were decoded into the scratch memory.
#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Text(&'a [u8]),
    Scratch { start: usize, end: usize },
}

impl<'a> Value<'a> {
    fn resolve<'s>(self, scratch: &'s [u8]) -> &'s [u8]
    where
        'a: 's,
    {
        match self {
            Value::Text(bytes) => bytes,
            Value::Scratch { start, end } => scratch.get(start..end).unwrap_or_default(),
        }
    }
}

/// Which records and indexes of a file are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'n> {
    /// Those of this namespace.
    pub(crate) namespace: &'n [u8],
    /// Whether there may be others, which are passed over: in a file whose head names no namespace.
    pub(crate) has_others: bool,
}

/// Parses records one after another; keeps its memory from one to the next.
pub(crate) struct RecordParser<'a, 'n> {
    scope: Scope<'n>,
    /// The record is of another namespace.
    is_other: bool,
    dialect: Dialect,
    scratch: Vec<u8>,
    bins: Vec<(Value<'a>, ParticleType, Value<'a>)>,
    /// Empty between records; kept for its memory.
    refs: Vec<BinRef<'static>>,
    key: Option<(ParticleType, Value<'a>)>,
    set: Value<'a>,
    digest: Digest,
    generation: Generation,
    void_time: VoidTime,
}

/// Gives the memory of an emptied vector another lifetime: collecting in place keeps the allocation.
fn recycle<'b>(mut refs: Vec<BinRef<'_>>) -> Vec<BinRef<'b>> {
    refs.clear();
    refs.into_iter().map(|_| BinRef { name: &[], particle: ParticleType::NULL, bytes: &[] }).collect()
}

impl<'a, 'n> RecordParser<'a, 'n> {
    /// A parser for the wanted records of a file.
    pub(crate) fn new(scope: Scope<'n>, dialect: Dialect) -> Self {
        Self {
            scope,
            is_other: false,
            dialect,
            scratch: Vec::with_capacity(1 << 10),
            bins: Vec::with_capacity(32),
            refs: Vec::with_capacity(32),
            key: None,
            set: Value::Text(&[]),
            digest: Digest([0; 20]),
            generation: Generation(0),
            void_time: VoidTime::NEVER,
        }
    }

    /// Parses the record at index `at` of `text`, in which whole records stand, and adds it to `batch`. Returns where
    /// it ends.
    pub(crate) fn parse(&mut self, text: &'a [u8], at: usize, batch: &mut RecordBatch) -> Result<usize, ParseError> {
        self.scratch.clear();
        self.bins.clear();
        self.key = None;
        self.set = Value::Text(&[]);
        let mut walk = TextWalk::new(text, at, true, self.dialect);
        self.is_other = false;
        walk.record(self).map_err(ParseError::Text)?;
        if self.is_other {
            return Ok(walk.at());
        }
        let scratch = &self.scratch[..];
        let mut refs = recycle(std::mem::take(&mut self.refs));
        refs.extend(self.bins.iter().map(|&(name, particle, value)| BinRef {
            name: name.resolve(scratch),
            particle,
            bytes: value.resolve(scratch),
        }));
        let key = self.key.map(|(particle, value)| KeyRef { particle, bytes: value.resolve(scratch) });
        let meta = RecordMeta {
            digest: self.digest,
            set: self.set.resolve(scratch),
            generation: self.generation,
            void_time: self.void_time,
        };
        let pushed = batch.push(meta, key, &refs);
        self.refs = recycle(refs);
        pushed.map_err(ParseError::Body)?;
        Ok(walk.at())
    }

    fn keep(&mut self, bytes: &[u8]) -> Value<'a> {
        let start = self.scratch.len();
        self.scratch.extend_from_slice(bytes);
        Value::Scratch { start, end: self.scratch.len() }
    }

    fn name(&mut self, name: Token<'a>) -> Value<'a> {
        if !name.escaped {
            return Value::Text(name.raw);
        }
        let start = self.scratch.len();
        name.append_to(&mut self.scratch);
        Value::Scratch { start, end: self.scratch.len() }
    }

    fn base64(&mut self, text: &[u8]) -> Result<Value<'a>, Problem> {
        let start = self.scratch.len();
        match STANDARD.decode_append(text, &mut self.scratch) {
            Ok(()) => Ok(Value::Scratch { start, end: self.scratch.len() }),
            Err(_) => Err(Problem::new("base64 with padding", text)),
        }
    }

    fn bytes(&mut self, raw: bool, text: &'a [u8]) -> Result<Value<'a>, Problem> {
        if raw { Ok(Value::Text(text)) } else { self.base64(text) }
    }

    fn integer(&mut self, text: &[u8]) -> Result<Value<'a>, Problem> {
        match parse_signed(text) {
            Some(value) => Ok(self.keep(&value.to_be_bytes())),
            None => Err(Problem::new("a 64-bit signed integer", text)),
        }
    }

    fn double(&mut self, text: &[u8]) -> Result<Value<'a>, Problem> {
        match parse_double(text) {
            Some(bits) => Ok(self.keep(&bits.to_be_bytes())),
            None => Err(Problem::new("a floating-point number", text)),
        }
    }
}

impl<'a> Visitor<'a> for RecordParser<'a, '_> {
    fn key(&mut self, letter: u8, raw: bool, value: &'a [u8]) -> Result<(), Problem> {
        self.key = Some(match letter {
            b'I' => (ParticleType::INTEGER, self.integer(value)?),
            b'D' => (ParticleType::DOUBLE, self.double(value)?),
            b'S' => (ParticleType::STRING, Value::Text(value)),
            b'X' => (ParticleType::STRING, self.base64(value)?),
            b'B' => (ParticleType::BLOB, self.bytes(raw, value)?),
            _ => return Err(Problem::new("a key type: I, D, S, X, B or B!", &[letter])),
        });
        Ok(())
    }

    #[inline]
    fn namespace(&mut self, name: Token<'a>) -> Result<(), Problem> {
        let wanted = self.scope.namespace;
        let same = if name.escaped { *name.unescape() == *wanted } else { name.raw == wanted };
        self.is_other = !same;
        if same || self.scope.has_others {
            Ok(())
        } else {
            Err(Problem::new("the namespace that the file's head names", name.raw))
        }
    }

    #[inline]
    fn digest(&mut self, value: &'a [u8]) -> Result<(), Problem> {
        const EXPECTED: &str = "a digest: 20 bytes, 28 letters of base64";
        if value.len() != 28 {
            return Err(Problem::new(EXPECTED, value));
        }
        let mut bytes = [0; 21];
        match STANDARD.decode(value, base64_simd::Out::from_slice(&mut bytes)) {
            Ok(decoded) => {
                let digest = decoded.first_chunk::<20>().filter(|_| decoded.len() == 20);
                self.digest = Digest(*digest.ok_or_else(|| Problem::new(EXPECTED, value))?);
                Ok(())
            }
            Err(_) => Err(Problem::new(EXPECTED, value)),
        }
    }

    #[inline]
    fn set(&mut self, name: Token<'a>) -> Result<(), Problem> {
        self.set = self.name(name);
        Ok(())
    }

    #[inline]
    fn generation(&mut self, value: &'a [u8]) -> Result<(), Problem> {
        let number = parse_unsigned(value, u64::from(u32::MAX));
        let number = number.ok_or_else(|| Problem::new("a generation: an unsigned integer", value))?;
        self.generation = Generation(number as u32);
        Ok(())
    }

    #[inline]
    fn void_time(&mut self, value: &'a [u8]) -> Result<(), Problem> {
        const EXPECTED: &str = "an expiration time: seconds since 2010 as an unsigned 32-bit integer, 0 for never";
        let number = parse_unsigned(value, u64::from(u32::MAX)).ok_or_else(|| Problem::new(EXPECTED, value))?;
        self.void_time = VoidTime(number as u32);
        Ok(())
    }

    #[inline]
    fn bin(&mut self, letter: u8, raw: bool, name: Token<'a>, value: &'a [u8]) -> Result<(), Problem> {
        let name = self.name(name);
        let (particle, value) = match letter {
            b'I' => (ParticleType::INTEGER, self.integer(value)?),
            b'S' => (ParticleType::STRING, Value::Text(value)),
            b'D' => (ParticleType::DOUBLE, self.double(value)?),
            b'Z' => match value {
                b"T" => (ParticleType::BOOL, Value::Text(&[1])),
                b"F" => (ParticleType::BOOL, Value::Text(&[0])),
                other => return Err(Problem::new("a boolean: T or F", other)),
            },
            b'G' => {
                let start = self.scratch.len();
                self.scratch.extend_from_slice(&GEOJSON_PREFIX);
                self.scratch.extend_from_slice(value);
                (ParticleType::GEOJSON, Value::Scratch { start, end: self.scratch.len() })
            }
            b'N' => (ParticleType::NULL, Value::Text(&[])),
            b'X' => (ParticleType::STRING, self.base64(value)?),
            _ => match BYTES_LETTERS.iter().find(|&&(known, _)| known == letter) {
                Some(&(_, particle)) => (particle, self.bytes(raw, value)?),
                None => return Err(Problem::new("a bin type", &[letter])),
            },
        };
        self.bins.push((name, particle, value));
        Ok(())
    }
}

/// Why a record was not taken.
#[derive(Debug)]
pub(crate) enum ParseError {
    /// Its text is malformed.
    Text(Stop),
    /// It can't be a record: two bins of one name, or a size past the limits.
    Body(BodyError),
}

/// A parsed global line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Global {
    /// A secondary index.
    Index(SecondaryIndex),
    /// A UDF module.
    Udf(UdfModule),
}

/// Servers say this of a set or a bin that an index does not have. asbackup writes it as a name (both), backup-go too
/// (the bin of an index over an expression).
const NONE: &[u8] = b"null";

/// Decodes the parts of a global line; `None` for an index of another namespace, if the file may have any.
pub(crate) fn parse_global(line: GlobalLine<'_>, scope: Scope<'_>) -> Result<Option<Global>, Problem> {
    match line {
        GlobalLine::Udf { kind, name, content } => {
            Ok(Some(Global::Udf(UdfModule { kind, name: name.unescape().into_owned(), content: content.to_vec() })))
        }
        GlobalLine::Index { namespace, set, name, kind, bin, value, extra, expression } => {
            if *namespace.unescape() != *scope.namespace {
                if scope.has_others {
                    return Ok(None);
                }
                return Err(Problem::new("an index of the namespace that the file's head names", namespace.raw));
            }
            // asbackup escapes the context, but base64 holds nothing to escape.
            let extra = STANDARD.decode_to_vec(extra);
            let extra = extra.map_err(|_| Problem::new("a context or an expression in base64", line_extra(&line)))?;
            let (context, expression) = if expression { (Vec::new(), extra) } else { (extra, Vec::new()) };
            let [set, mut bin] = [set, bin].map(|name| name.unescape().into_owned());
            let set = if set == NONE { Vec::new() } else { set };
            let mut other = Vec::new();
            if bin == NONE && !expression.is_empty() {
                bin.clear();
            } else if bin == NONE && context.is_empty() {
                other = SecondaryIndex::BIN_NULL.to_vec();
            }
            let name = name.unescape().into_owned();
            Ok(Some(Global::Index(SecondaryIndex { set, name, kind, bin, value, context, expression, other })))
        }
    }
}

fn line_extra<'a>(line: &GlobalLine<'a>) -> &'a [u8] {
    match line {
        GlobalLine::Index { extra, .. } => extra,
        GlobalLine::Udf { .. } => &[],
    }
}
