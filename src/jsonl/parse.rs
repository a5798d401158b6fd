//! Lines to records, indexes, UDF modules, roles and users.

use super::fields::{Name, Object, Scalar, Text, decode_base64};
use crate::record::{
    BinRef, BodyError, Digest, Generation, KeyRef, ParticleType, Privilege, RecordBatch, RecordMeta, Role,
    SecondaryIndex, UdfModule, User, VoidTime,
};
use serde::Deserialize;
use std::borrow::Cow;

/// Why a line isn't what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset} of the line: expected {expected}, found {found}")]
pub struct LineError {
    /// Where in the line, in bytes; 0 where it is the line as a whole.
    pub offset: usize,
    /// What was expected there.
    pub expected: String,
    /// What was there.
    pub found: String,
}

impl LineError {
    fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { offset: 0, expected: expected.into(), found: found.into() }
    }

    fn from_json(error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let found = text.rsplit_once(" at line ").map_or(text.as_str(), |(found, _)| found);
        let offset = error.column().saturating_sub(1);
        Self { offset, expected: "a line of Aerolith's JSON".into(), found: found.into() }
    }
}

/// What a line holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// The header, with its version.
    Header(u32),
    /// A record.
    Record(RecordLine<'a>),
    /// A namespace, which may have no records.
    Namespace(Cow<'a, str>),
    /// A secondary index of a namespace.
    Index(Cow<'a, str>, SecondaryIndex),
    /// A UDF module of a namespace.
    Udf(Cow<'a, str>, UdfModule),
    /// A role that came with a namespace.
    Role(Cow<'a, str>, Role),
    /// A user that came with a namespace.
    User(Cow<'a, str>, User),
}

/// A record, borrowed from its line as far as possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordLine<'a> {
    /// Its namespace.
    pub namespace: Cow<'a, str>,
    /// Its set; empty for the null set.
    pub set: Cow<'a, [u8]>,
    /// Its digest, as given or as computed from set and key.
    pub digest: Digest,
    /// The user key.
    pub key: Option<KeyLine<'a>>,
    /// Its generation; 1 if the line names none.
    pub generation: Generation,
    /// When it expires; never if the line doesn't say.
    pub void_time: VoidTime,
    /// Its bins, in the line's order.
    pub bins: Vec<BinLine<'a>>,
}

/// A key's particle type and bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLine<'a> {
    /// Its type.
    pub particle: ParticleType,
    /// Its bytes as on the wire.
    pub bytes: Cow<'a, [u8]>,
}

/// A bin's name, particle type and bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinLine<'a> {
    /// Its name.
    pub name: Cow<'a, [u8]>,
    /// Its type.
    pub particle: ParticleType,
    /// Its bytes as on the wire.
    pub bytes: Cow<'a, [u8]>,
}

impl RecordLine<'_> {
    /// Adds the record to a batch. On error the batch is as it was.
    pub fn push_to(&self, batch: &mut RecordBatch) -> Result<(), BodyError> {
        let meta =
            RecordMeta { digest: self.digest, set: &self.set, generation: self.generation, void_time: self.void_time };
        let key = self.key.as_ref().map(|key| KeyRef { particle: key.particle, bytes: &key.bytes });
        let bins: Vec<BinRef<'_>> =
            self.bins.iter().map(|bin| BinRef { name: &bin.name, particle: bin.particle, bytes: &bin.bytes }).collect();
        batch.push(meta, key, &bins)
    }
}

fn text_bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// A value and its type, as the line has them.
#[derive(Deserialize)]
struct RawBin<'a> {
    #[serde(borrow, default)]
    name: Option<Name<'a>>,
    #[serde(borrow, rename = "type")]
    particle: Scalar<'a>,
    #[serde(borrow, default)]
    value: Option<Scalar<'a>>,
    #[serde(borrow, default)]
    bits: Option<Text<'a>>,
    #[serde(borrow, default)]
    base64: Option<Text<'a>>,
}

/// What a role allows, as the line has it.
#[derive(Deserialize)]
struct RawPrivilege<'a> {
    code: u8,
    #[serde(borrow, default)]
    namespace: Option<Name<'a>>,
    #[serde(borrow, default)]
    set: Option<Name<'a>>,
}

/// All fields that a line of any kind can have.
#[derive(Deserialize)]
struct RawLine<'a> {
    #[serde(borrow, default)]
    aerolith: Option<Text<'a>>,
    #[serde(default)]
    version: Option<u32>,
    #[serde(borrow, default)]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    namespace: Option<Text<'a>>,
    #[serde(borrow, default)]
    set: Option<Name<'a>>,
    #[serde(borrow, default)]
    digest: Option<Text<'a>>,
    #[serde(borrow, default)]
    key: Option<Object<RawBin<'a>>>,
    #[serde(default)]
    generation: Option<u32>,
    #[serde(default)]
    void_time: Option<u32>,
    #[serde(borrow, default)]
    bins: Option<Vec<Object<RawBin<'a>>>>,
    #[serde(borrow, default)]
    name: Option<Name<'a>>,
    #[serde(borrow, default)]
    bin: Option<Name<'a>>,
    #[serde(borrow, default)]
    index_type: Option<Scalar<'a>>,
    #[serde(borrow, default)]
    value_type: Option<Scalar<'a>>,
    #[serde(borrow, default)]
    context: Option<Text<'a>>,
    #[serde(borrow, default)]
    expression: Option<Text<'a>>,
    #[serde(borrow, default)]
    other: Option<Name<'a>>,
    #[serde(borrow, default)]
    language: Option<Scalar<'a>>,
    #[serde(borrow, default)]
    content: Option<Name<'a>>,
    #[serde(borrow, default)]
    privileges: Option<Vec<Object<RawPrivilege<'a>>>>,
    #[serde(borrow, default)]
    allow_list: Option<Name<'a>>,
    #[serde(default)]
    read_quota: Option<u32>,
    #[serde(default)]
    write_quota: Option<u32>,
    #[serde(borrow, default)]
    roles: Option<Vec<Name<'a>>>,
}

/// Reads one line, without its end. It borrows from it where it can; nothing is read but the line.
pub fn parse_line(line: &[u8]) -> Result<Line<'_>, LineError> {
    let Object(raw): Object<RawLine<'_>> =
        serde_json::from_slice(line).map_err(|error| LineError::from_json(&error))?;
    if let Some(Text(format)) = &raw.aerolith {
        return header(format, raw.version);
    }
    match raw.kind.as_ref().map(|Text(kind)| &**kind) {
        None | Some("record") => record(raw).map(Line::Record),
        Some("namespace") => required(raw.namespace, "namespace").map(|Text(name)| Line::Namespace(name)),
        Some("index") => index(raw),
        Some("udf") => udf(raw),
        Some("role") => role(raw),
        Some("user") => user(raw),
        Some(other) => {
            Err(LineError::new(r#"kind "record", "namespace", "index", "udf", "role" or "user""#, format!("{other:?}")))
        }
    }
}

fn header<'a>(format: &str, version: Option<u32>) -> Result<Line<'a>, LineError> {
    match version {
        Some(version) if format == "jsonl" => Ok(Line::Header(version)),
        _ => Err(LineError::new(r#"the header {"aerolith":"jsonl","version":1}"#, format!("format {format:?}"))),
    }
}

fn required<T>(field: Option<T>, what: &str) -> Result<T, LineError> {
    field.ok_or_else(|| LineError::new(format!("a field {what:?}"), "none"))
}

fn record(raw: RawLine<'_>) -> Result<RecordLine<'_>, LineError> {
    let Text(namespace) = required(raw.namespace, "namespace")?;
    let Name(set) = raw.set.unwrap_or_default();
    let key =
        raw.key.map(|Object(key)| typed(key)).transpose()?.map(|(_, particle, bytes)| KeyLine { particle, bytes });
    let digest = match (raw.digest, &key) {
        (Some(Text(text)), _) => Digest::from_hex(&text)
            .ok_or_else(|| LineError::new("a digest of 40 hexadecimal digits", format!("{text:?}")))?,
        (None, Some(key)) => Digest::compute(&set, key.particle, &key.bytes),
        (None, None) => return Err(LineError::new("a field \"digest\" or \"key\"", "neither")),
    };
    let mut bins = Vec::new();
    for Object(raw) in required(raw.bins, "bins")? {
        let (name, particle, bytes) = typed(raw)?;
        let Name(name) = required(name, "name").map_err(|error| LineError::new("a bin's name", error.found))?;
        bins.push(BinLine { name, particle, bytes });
    }
    let generation = Generation(raw.generation.unwrap_or(1));
    let void_time = VoidTime(raw.void_time.unwrap_or(0));
    Ok(RecordLine { namespace, set, digest, key, generation, void_time, bins })
}

type Typed<'a> = (Option<Name<'a>>, ParticleType, Cow<'a, [u8]>);

/// The particle type and bytes of a key or bin.
fn typed(raw: RawBin<'_>) -> Result<Typed<'_>, LineError> {
    let RawBin { name, particle, value, bits, base64 } = raw;
    let known = match &particle {
        Scalar::Text(text) => ParticleType::from_name(text),
        Scalar::Integer(number) => u8::try_from(*number).ok().map(ParticleType),
        _ => None,
    };
    let Some(known) = known else {
        let found = match &particle {
            Scalar::Text(text) => format!("{text:?}"),
            other => other.describe(),
        };
        return Err(LineError::new("a particle type's name, or its number from 0 to 255", found));
    };
    let bytes = match (value, bits, base64) {
        (Some(value), None, None) => value_bytes(known, value)?,
        (None, Some(Text(bits)), None) => bits_bytes(known, &bits)?,
        (None, None, Some(Text(text))) => {
            let bytes = decode_base64(&text);
            Cow::Owned(bytes.ok_or_else(|| LineError::new("base64 with padding", "a string that is not"))?)
        }
        (None, None, None) => {
            return Err(LineError::new("a \"value\", \"bits\" or \"base64\" beside the type", "none"));
        }
        _ => return Err(LineError::new("one of \"value\", \"bits\" and \"base64\"", "more than one")),
    };
    Ok((name, known, bytes))
}

fn value_bytes(particle: ParticleType, value: Scalar<'_>) -> Result<Cow<'_, [u8]>, LineError> {
    let owned = |bytes: &[u8]| Ok(Cow::Owned(bytes.to_vec()));
    match (particle, value) {
        (ParticleType::INTEGER, Scalar::Integer(value)) => owned(&value.to_be_bytes()),
        (ParticleType::DOUBLE, Scalar::Integer(value)) => owned(&(value as f64).to_bits().to_be_bytes()),
        (ParticleType::DOUBLE, Scalar::Unsigned(value)) => owned(&(value as f64).to_bits().to_be_bytes()),
        (ParticleType::DOUBLE, Scalar::Double(value)) => owned(&value.to_bits().to_be_bytes()),
        (ParticleType::STRING, Scalar::Text(text)) => Ok(text_bytes(text)),
        (ParticleType::BOOL, Scalar::Bool(value)) => owned(&[u8::from(value)]),
        (ParticleType::GEOJSON, Scalar::Text(text)) => {
            let mut bytes = vec![0; 3];
            bytes.extend_from_slice(text.as_bytes());
            Ok(Cow::Owned(bytes))
        }
        (_, value) => {
            let expected = match particle {
                ParticleType::INTEGER => "a 64-bit integer as the value of an integer",
                ParticleType::DOUBLE => "a number as the value of a double",
                ParticleType::STRING => "a string as the value of a string",
                ParticleType::BOOL => "true or false as the value of a bool",
                ParticleType::GEOJSON => "a string as the value of a geojson",
                _ => {
                    return Err(LineError::new(
                        format!("base64 for type {particle}, which has no \"value\""),
                        value.describe(),
                    ));
                }
            };
            Err(LineError::new(expected, value.describe()))
        }
    }
}

fn bits_bytes(particle: ParticleType, text: &str) -> Result<Cow<'static, [u8]>, LineError> {
    let mut bytes = [0; 8];
    if particle != ParticleType::DOUBLE || hex::decode_to_slice(text, &mut bytes).is_err() {
        return Err(LineError::new(
            "16 hexadecimal digits as the bits of a double",
            format!("{text:?} of a {particle}"),
        ));
    }
    Ok(Cow::Owned(bytes.to_vec()))
}

/// A letter: a string of one ASCII character, or a number.
fn letter(field: Option<Scalar<'_>>, what: &str) -> Result<u8, LineError> {
    let field = required(field, what)?;
    let letter = match &field {
        Scalar::Text(text) => match text.as_bytes() {
            [letter] => Some(*letter),
            _ => None,
        },
        Scalar::Integer(number) => u8::try_from(*number).ok(),
        _ => None,
    };
    letter.ok_or_else(|| LineError::new(format!("one letter as {what:?}"), field.describe()))
}

fn base64_field(field: Option<Text<'_>>, what: &str) -> Result<Vec<u8>, LineError> {
    let Some(Text(text)) = field else { return Ok(Vec::new()) };
    decode_base64(&text).ok_or_else(|| LineError::new(format!("base64 as {what:?}"), "a string that is not"))
}

fn index(raw: RawLine<'_>) -> Result<Line<'_>, LineError> {
    let Text(namespace) = required(raw.namespace, "namespace")?;
    let index = SecondaryIndex {
        set: raw.set.map(owned).unwrap_or_default(),
        name: required(raw.name, "name").map(owned)?,
        kind: letter(raw.index_type, "index_type")?,
        bin: raw.bin.map(owned).unwrap_or_default(),
        value: letter(raw.value_type, "value_type")?,
        context: base64_field(raw.context, "context")?,
        expression: base64_field(raw.expression, "expression")?,
        other: raw.other.map(owned).unwrap_or_default(),
    };
    Ok(Line::Index(namespace, index))
}

fn udf(raw: RawLine<'_>) -> Result<Line<'_>, LineError> {
    let Text(namespace) = required(raw.namespace, "namespace")?;
    let udf = UdfModule {
        kind: letter(raw.language, "language")?,
        name: required(raw.name, "name").map(owned)?,
        content: required(raw.content, "content").map(owned)?,
    };
    Ok(Line::Udf(namespace, udf))
}

fn role(raw: RawLine<'_>) -> Result<Line<'_>, LineError> {
    let Text(namespace) = required(raw.namespace, "namespace")?;
    let privilege = |Object(raw): Object<RawPrivilege<'_>>| Privilege {
        code: raw.code,
        namespace: raw.namespace.map(owned).unwrap_or_default(),
        set: raw.set.map(owned).unwrap_or_default(),
    };
    let role = Role {
        name: required(raw.name, "name").map(owned)?,
        privileges: raw.privileges.unwrap_or_default().into_iter().map(privilege).collect(),
        allow_list: raw.allow_list.map(owned).unwrap_or_default(),
        read_quota: raw.read_quota.unwrap_or_default(),
        write_quota: raw.write_quota.unwrap_or_default(),
    };
    Ok(Line::Role(namespace, role))
}

fn user(raw: RawLine<'_>) -> Result<Line<'_>, LineError> {
    let Text(namespace) = required(raw.namespace, "namespace")?;
    let user = User {
        name: required(raw.name, "name").map(owned)?,
        roles: raw.roles.unwrap_or_default().into_iter().map(owned).collect(),
    };
    Ok(Line::User(namespace, user))
}

fn owned(Name(name): Name<'_>) -> Vec<u8> {
    name.into_owned()
}

/// What [`line_namespace`] tells of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineNamespace<'a> {
    /// The namespace that it names; headers name none.
    pub namespace: Option<Cow<'a, str>>,
    /// Whether it is an index, a UDF module, a role or a user.
    pub is_metadata: bool,
}

/// Reads only the namespace and kind of a line, which is several times as fast as reading all of it.
pub fn line_namespace(line: &[u8]) -> Result<LineNamespace<'_>, LineError> {
    #[derive(Deserialize)]
    struct Raw<'a> {
        #[serde(borrow, default)]
        kind: Option<Text<'a>>,
        #[serde(borrow, default)]
        namespace: Option<Text<'a>>,
    }
    let Object(raw): Object<Raw<'_>> = serde_json::from_slice(line).map_err(|error| LineError::from_json(&error))?;
    let is_metadata = raw.kind.is_some_and(|Text(kind)| matches!(&*kind, "index" | "udf" | "role" | "user"));
    Ok(LineNamespace { namespace: raw.namespace.map(|Text(namespace)| namespace), is_metadata })
}

/// Whether a line ends before its JSON does.
pub fn breaks_off(line: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(line).is_err_and(|error| error.is_eof())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn never_panics_on_arbitrary_bytes(bytes: Vec<u8>) {
            let _ = (parse_line(&bytes), line_namespace(&bytes));
        }

        #[test]
        fn never_panics_on_a_line_that_was_damaged(place in 0usize..300, byte: u8) {
            let mut line = concat!(
                r#"{"kind":"record","namespace":"n","set":{"base64":"/w=="},"#,
                r#""digest":"53e13603d82a228167b9cbd6be3682cc9901e39a","key":{"type":"string","value":"k"},"#,
                r#""generation":3,"void_time":5,"bins":[{"name":"d","type":"double","bits":"7ff8000000000001"},"#,
                r#"{"name":"l","type":20,"base64":"kgED"}]}"#,
            ).as_bytes().to_vec();
            prop_assert!(parse_line(&line).is_ok());
            let place = place % line.len();
            line[place] = byte;
            let _ = (parse_line(&line), line_namespace(&line));
        }
    }

    #[test]
    fn fills_in_what_a_person_left_out() {
        let line = br#"{"namespace":"test","set":"users","key":{"type":"string","value":"user000023433"},"bins":[]}"#;
        let Line::Record(record) = parse_line(line).unwrap() else { panic!("not a record") };
        // As the server computes it.
        assert_eq!(record.digest.to_string(), "53e13603d82a228167b9cbd6be3682cc9901e39a");
        assert_eq!((record.generation, record.void_time), (Generation(1), VoidTime::NEVER));
    }

    #[test]
    fn reads_integers_exactly_and_a_whole_number_as_a_double() {
        let value = |text: &str| {
            let line =
                format!(r#"{{"namespace":"t","key":{{"type":"integer","value":1}},"bins":[{{"name":"b",{text}}}]}}"#);
            match parse_line(line.as_bytes()) {
                Ok(Line::Record(record)) => Ok(record.bins[0].bytes.to_vec()),
                Ok(_) => panic!("not a record"),
                Err(error) => Err(error.to_string()),
            }
        };
        assert_eq!(value(r#""type":"integer","value":-9223372036854775808"#), Ok(i64::MIN.to_be_bytes().to_vec()));
        assert_eq!(value(r#""type":"integer","value":9223372036854775807"#), Ok(i64::MAX.to_be_bytes().to_vec()));
        assert!(value(r#""type":"integer","value":9223372036854775808"#).unwrap_err().contains("64-bit integer"));
        assert!(value(r#""type":"integer","value":1.5"#).unwrap_err().contains("found 1.5"));
        assert_eq!(value(r#""type":"double","value":5"#), Ok(5f64.to_be_bytes().to_vec()));
        assert_eq!(value(r#""type":"double","bits":"8000000000000000""#), Ok((-0f64).to_be_bytes().to_vec()));
    }
}
