//! The text of records, indexes and modules, as asbackup writes it.

use crate::asb::escape::put_escaped;
use crate::asb::number::{NAN_BITS, put_double, put_signed, put_unsigned};
use crate::asb::parse::BYTES_LETTERS;
use crate::record::batch::parse_bin_order;
use crate::record::body::Body;
use crate::record::{BinRef, KeyRef, ParticleType, RecordView, SecondaryIndex, UdfModule, geojson_text};
use base64_simd::STANDARD;

/// The widest generation that the format holds.
const MAX_GENERATION: u32 = 65_535;

/// A version of the `.asb` format that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AsbVersion {
    /// 3.1, which asrestore and absctl read. It has no indexes over expressions.
    V3_1,
    /// 3.2, which absctl reads and asrestore (up to 4.5.8 at least) refuses.
    V3_2,
}

/// Appends the head of a file.
pub(crate) fn put_head(out: &mut Vec<u8>, version: AsbVersion, namespace: &[u8], first: bool) {
    out.extend_from_slice(match version {
        AsbVersion::V3_1 => b"Version 3.1\n# namespace ",
        AsbVersion::V3_2 => b"Version 3.2\n# namespace ",
    });
    put_escaped(out, namespace);
    out.push(b'\n');
    if first {
        out.extend_from_slice(b"# first-file\n");
    }
}

/// Refuses a name that a reader written in C would cut off.
fn check_name(what: &str, name: &[u8]) -> Result<(), String> {
    if name.contains(&0) { Err(format!("{what} holds a NUL byte, which the asb format can't hold")) } else { Ok(()) }
}

/// Appends an index line, or says why the version can't hold the index; then nothing is appended.
pub(crate) fn put_index(
    out: &mut Vec<u8>,
    version: AsbVersion,
    namespace: &[u8],
    index: &SecondaryIndex,
) -> Result<(), String> {
    let is_over_expression = !index.expression.is_empty();
    if is_over_expression && version == AsbVersion::V3_1 {
        return Err("it is over an expression, which asb version 3.1 can't hold and 3.2 can".to_owned());
    }
    if is_over_expression && !(index.bin.is_empty() && index.context.is_empty()) {
        return Err("it is over an expression and over a bin too, which the asb format can't hold".to_owned());
    }
    if index.is_of_set() {
        return Err("it is over all records of a set, which the asb format can't hold".to_owned());
    }
    if !matches!(index.kind, b'N' | b'L' | b'K' | b'V') {
        return Err(format!("the asb format has no index type '{}'", index.kind.escape_ascii()));
    }
    if !matches!(index.value, b'N' | b'S' | b'G' | b'B') {
        return Err(format!("the asb format has no type '{}' of indexed values", index.value.escape_ascii()));
    }
    check_name("its set's name", &index.set)?;
    check_name("its name", &index.name)?;
    check_name("its bin's name", &index.bin)?;
    out.extend_from_slice(if is_over_expression { b"* e " } else { b"* i " });
    for name in [namespace, &index.set, &index.name] {
        put_escaped(out, name);
        out.push(b' ');
    }
    out.extend_from_slice(&[index.kind, b' ', b'1', b' ']);
    put_escaped(out, &index.bin);
    out.extend_from_slice(&[b' ', index.value]);
    let extra = if is_over_expression { &index.expression } else { &index.context };
    if !extra.is_empty() {
        out.push(b' ');
        STANDARD.encode_append(extra, out);
    }
    out.push(b'\n');
    Ok(())
}

/// Appends a module, or says why it can't be held; then nothing is appended.
pub(crate) fn put_udf(out: &mut Vec<u8>, udf: &UdfModule) -> Result<(), String> {
    if udf.kind != b'L' {
        return Err(format!("the asb format knows Lua alone, not the language '{}'", udf.kind.escape_ascii()));
    }
    check_name("its name", &udf.name)?;
    out.extend_from_slice(b"* u L ");
    put_escaped(out, &udf.name);
    out.push(b' ');
    put_counted(out, &udf.content);
    Ok(())
}

/// Appends a length, a space, bytes and a line feed.
#[inline]
fn put_counted(out: &mut Vec<u8>, bytes: &[u8]) {
    put_unsigned(out, bytes.len() as u64);
    out.push(b' ');
    out.extend_from_slice(bytes);
    out.push(b'\n');
}

/// Appends the length of the base64 form, a space, that form and a line feed.
#[inline]
fn put_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    put_unsigned(out, STANDARD.encoded_length(bytes.len()) as u64);
    out.push(b' ');
    STANDARD.encode_append(bytes, out);
    out.push(b'\n');
}

/// How the line of a bin begins: neighbouring records mostly have the same bins in the same order, so that it is made
/// once.
struct BinStart {
    name: Vec<u8>,
    particle: ParticleType,
    /// `- LETTER NAME`, and the space before the value if there is one.
    text: Vec<u8>,
}

impl BinStart {
    fn none() -> Self {
        BinStart { name: Vec::new(), particle: ParticleType::NULL, text: Vec::new() }
    }

    #[inline]
    fn is_of(&self, bin: &BinRef<'_>) -> bool {
        self.particle == bin.particle && self.name == bin.name && !self.text.is_empty()
    }

    fn new(bin: &BinRef<'_>) -> Result<Self, String> {
        check_name("a bin's name", bin.name)?;
        let letter = match bin.particle {
            ParticleType::INTEGER => b'I',
            ParticleType::STRING => b'S',
            ParticleType::DOUBLE => b'D',
            ParticleType::BOOL => b'Z',
            ParticleType::GEOJSON => b'G',
            ParticleType::NULL => b'N',
            other => match BYTES_LETTERS.iter().find(|&&(_, particle)| particle == other) {
                Some(&(letter, _)) => letter,
                None => return Err(no_letter(bin)),
            },
        };
        let mut text = vec![b'-', b' ', letter, b' '];
        put_escaped(&mut text, bin.name);
        if bin.particle != ParticleType::NULL {
            text.push(b' ');
        }
        Ok(BinStart { name: bin.name.to_vec(), particle: bin.particle, text })
    }
}

/// Formats the records of one namespace; keeps its memory from one to the next.
pub(crate) struct Formatter<'a> {
    /// The line `+ n NAMESPACE` and the beginning of the digest's.
    namespace_line: Vec<u8>,
    body: Body<'a>,
    /// The bin order of the last record that had one, and the places of the bins in the body that it means.
    order: Vec<u8>,
    places: Vec<u16>,
    /// For the bins of the last record, in the source's order.
    starts: Vec<BinStart>,
}

impl<'a> Formatter<'a> {
    pub(crate) fn new(namespace: &[u8]) -> Self {
        let mut namespace_line = b"+ n ".to_vec();
        put_escaped(&mut namespace_line, namespace);
        namespace_line.extend_from_slice(b"\n+ d ");
        let (order, places, starts) = (Vec::new(), Vec::new(), Vec::new());
        Self { namespace_line, body: Body::default(), order, places, starts }
    }

    /// Appends a record, or says why the format can't hold it; then nothing is appended.
    pub(crate) fn put_record(&mut self, out: &mut Vec<u8>, record: &RecordView<'a>) -> Result<(), String> {
        let start = out.len();
        let result = self.try_record(out, record);
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    fn try_record(&mut self, out: &mut Vec<u8>, record: &RecordView<'a>) -> Result<(), String> {
        self.body.parse_into(record.body).map_err(|error| error.to_string())?;
        let meta = record.meta;
        if meta.generation.0 > MAX_GENERATION {
            let generation = meta.generation.0;
            return Err(format!("its generation {generation} is over {MAX_GENERATION}, the most that asb holds"));
        }
        if let Some(key) = self.body.key() {
            put_key(out, key)?;
        }
        out.extend_from_slice(&self.namespace_line);
        STANDARD.encode_append(meta.digest.0, out);
        if !meta.set.is_empty() {
            check_name("its set's name", meta.set)?;
            out.extend_from_slice(b"\n+ s ");
            put_escaped(out, meta.set);
        }
        out.extend_from_slice(b"\n+ g ");
        put_unsigned(out, u64::from(meta.generation.0));
        out.extend_from_slice(b"\n+ t ");
        put_unsigned(out, u64::from(meta.void_time.0));
        out.extend_from_slice(b"\n+ b ");
        let bins = self.body.bins();
        put_unsigned(out, bins.len() as u64);
        out.push(b'\n');
        if self.order != record.bin_order || self.places.len() != bins.len() {
            self.order.clear();
            self.order.extend_from_slice(record.bin_order);
            let places = parse_bin_order(record.bin_order, bins.len());
            self.places = places.unwrap_or_else(|| (0..bins.len() as u16).collect());
        }
        if self.starts.len() < bins.len() {
            self.starts.resize_with(bins.len(), BinStart::none);
        }
        for (&place, start) in self.places.iter().zip(&mut self.starts) {
            let bin = bins.get(usize::from(place)).ok_or("internal error: the order of the bins names one too many")?;
            if !start.is_of(bin) {
                *start = BinStart::new(bin)?;
            }
            out.extend_from_slice(&start.text);
            put_value(out, bin)?;
        }
        Ok(())
    }
}

fn integer(bytes: &[u8]) -> Result<i64, String> {
    let bytes = bytes.try_into().map_err(|_| format!("an integer of {} bytes instead of 8", bytes.len()))?;
    Ok(i64::from_be_bytes(bytes))
}

fn double(bytes: &[u8]) -> Result<u64, String> {
    let bytes = bytes.try_into().map_err(|_| format!("a double of {} bytes instead of 8", bytes.len()))?;
    let bits = u64::from_be_bytes(bytes);
    if f64::from_bits(bits).is_nan() && bits & (u64::MAX >> 1) != NAN_BITS {
        return Err(format!("a NaN with a payload ({bits:016x}), which the asb format can't hold"));
    }
    Ok(bits)
}

fn put_key(out: &mut Vec<u8>, key: KeyRef<'_>) -> Result<(), String> {
    let of_key = |problem| format!("its user key is {problem}");
    match key.particle {
        ParticleType::INTEGER => {
            out.extend_from_slice(b"+ k I ");
            put_signed(out, integer(key.bytes).map_err(of_key)?);
            out.push(b'\n');
        }
        ParticleType::DOUBLE => {
            out.extend_from_slice(b"+ k D ");
            put_double(out, double(key.bytes).map_err(of_key)?);
            out.push(b'\n');
        }
        ParticleType::STRING => {
            out.extend_from_slice(b"+ k S ");
            put_counted(out, key.bytes);
        }
        ParticleType::BLOB => {
            out.extend_from_slice(b"+ k B ");
            put_base64(out, key.bytes);
        }
        other => return Err(format!("its user key is of type {other}, which the asb format can't hold")),
    }
    Ok(())
}

/// A problem of a bin, with its name.
fn of_bin(bin: &BinRef<'_>, problem: String) -> String {
    format!("bin {} is {problem}", String::from_utf8_lossy(bin.name))
}

fn no_letter(bin: &BinRef<'_>) -> String {
    of_bin(bin, format!("of type {}, which the asb format can't hold", bin.particle))
}

/// Appends the rest of a bin's line, after what [`BinStart`] has of it.
#[inline]
fn put_value(out: &mut Vec<u8>, bin: &BinRef<'_>) -> Result<(), String> {
    let of_bin = |problem: String| of_bin(bin, problem);
    match bin.particle {
        ParticleType::INTEGER => {
            put_signed(out, integer(bin.bytes).map_err(of_bin)?);
            out.push(b'\n');
        }
        ParticleType::STRING => put_counted(out, bin.bytes),
        ParticleType::DOUBLE => {
            put_double(out, double(bin.bytes).map_err(of_bin)?);
            out.push(b'\n');
        }
        ParticleType::BOOL => match bin.bytes {
            [1] => out.extend_from_slice(b"T\n"),
            [0] => out.extend_from_slice(b"F\n"),
            _ => return Err(of_bin("a boolean that is neither 0 nor 1".to_owned())),
        },
        ParticleType::GEOJSON => {
            let text = geojson_text(bin.bytes).ok_or_else(|| of_bin("GeoJSON that is cut off".to_owned()))?;
            put_counted(out, text);
        }
        ParticleType::NULL if bin.bytes.is_empty() => out.push(b'\n'),
        ParticleType::NULL => return Err(no_letter(bin)),
        _ => put_base64(out, bin.bytes),
    }
    Ok(())
}
