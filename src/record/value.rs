//! What the bytes of a particle mean: lists and maps in Aerospike's MessagePack, and the simple types.
//!
//! Bytes are decoded for people alone. Nothing that is backed up or restored passes through here: a bin's bytes are
//! kept as they are. Programs that make records of their own have their values encoded here.
//!
//! Aerospike's MessagePack differs from the plain one in three ways. A string, a `bin` or a `str`, begins with the
//! particle type of what it holds. A list may begin with an extension without content, whose type is the list's flags;
//! a map with one as its first key, whose value is nil. And two extensions of type 255 stand for no value: the wildcard
//! and infinity.

mod encode;
mod hll;
mod shown;

pub use encode::NotABin;
pub use hll::Hll;

use super::particle::{ParticleType, geojson_text};
use std::fmt;

/// How deep lists and maps may lie in each other. Written as JSON, this stays below the depth that JSON parsers take.
pub const MAX_DEPTH: usize = 32;

/// A value, borrowed from its bytes.
#[derive(Clone, PartialEq, Debug)]
pub enum Value<'a> {
    /// No value.
    Nil,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Integer(i64),
    /// An integer above the greatest signed one.
    Unsigned(u64),
    /// A double.
    Double(f64),
    /// A float of 32 bits.
    Float(f32),
    /// A string.
    Text(&'a str),
    /// A point, line or area: its JSON text.
    GeoJson(&'a str),
    /// Bytes of any other particle type, and strings that are not UTF-8.
    Bytes(ParticleType, &'a [u8]),
    /// A list, and how it is ordered.
    List(Order, Vec<Value<'a>>),
    /// A map, and how it is ordered.
    Map(Order, Vec<(Value<'a>, Value<'a>)>),
    /// A HyperLogLog sketch.
    Hll(Hll),
    /// What compares equal to everything.
    Wildcard,
    /// What compares greater than everything.
    Infinity,
    /// An extension of MessagePack: its type and content.
    Extension(u8, &'a [u8]),
}

/// The flags of a list or map; 0 is unordered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Order(pub u8);

impl Order {
    /// A list is sorted by its values, a map by its keys.
    pub const ORDERED: u8 = 0x01;
    /// A map's values are ranked as well.
    pub const BY_VALUE: u8 = 0x02;
    /// A map keeps the order in which its keys came.
    pub const AS_INSERTED: u8 = 0x08;
    /// Its index is stored with it.
    pub const INDEXED: u8 = 0x10;
    /// The same for the index of the values.
    pub const VALUES_INDEXED: u8 = 0x20;

    /// What the flags of a list say, in words; nothing if it is unordered.
    pub fn of_list(self) -> String {
        self.words(&[(Self::ORDERED, "ordered")], Self::INDEXED)
    }

    /// What the flags of a map say, in words; nothing if it is unordered.
    pub fn of_map(self) -> String {
        let by_value = Self::ORDERED | Self::BY_VALUE;
        let names =
            [(by_value, "key-value-ordered"), (Self::ORDERED, "key-ordered"), (Self::AS_INSERTED, "as-inserted")];
        self.words(&names, Self::INDEXED | Self::VALUES_INDEXED)
    }

    /// The first of the names whose bits are all set, whether there is an index, and the bits that have no name.
    fn words(self, names: &[(u8, &str)], index: u8) -> String {
        let (mut words, mut rest) = (Vec::new(), self.0);
        if let Some((bits, name)) = names.iter().find(|(bits, _)| rest & bits == *bits) {
            words.push(name.to_string());
            rest &= !bits;
        }
        if rest & index != 0 {
            words.push("indexed".into());
            rest &= !index;
        }
        if rest != 0 {
            words.push(format!("flags 0x{rest:02x}"));
        }
        words.join(", ")
    }
}

/// Why bytes are not the value that their type says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ValueError {
    /// Where in the bytes.
    pub at: usize,
    /// What was found there.
    pub problem: &'static str,
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.at, self.problem)
    }
}

impl std::error::Error for ValueError {}

/// The value that a particle's bytes hold. Types without a form for people are [`Value::Bytes`].
///
/// # Errors
///
/// If the bytes are not a value of that type.
pub fn decode(particle: ParticleType, bytes: &[u8]) -> Result<Value<'_>, ValueError> {
    let refuse = |problem| Err(ValueError { at: 0, problem });
    Ok(match particle {
        ParticleType::NULL if bytes.is_empty() => Value::Nil,
        ParticleType::INTEGER => match bytes.try_into() {
            Ok(bytes) => Value::Integer(i64::from_be_bytes(bytes)),
            Err(_) => return refuse("an integer that is not 8 bytes long"),
        },
        ParticleType::DOUBLE => match bytes.try_into() {
            Ok(bytes) => Value::Double(f64::from_be_bytes(bytes)),
            Err(_) => return refuse("a double that is not 8 bytes long"),
        },
        ParticleType::BOOL => match bytes {
            [0] => Value::Bool(false),
            [1] => Value::Bool(true),
            _ => return refuse("a boolean that is neither 0 nor 1"),
        },
        ParticleType::STRING => text_or_bytes(particle, bytes, Value::Text),
        ParticleType::GEOJSON => match geojson_text(bytes).map(std::str::from_utf8) {
            Some(Ok(text)) => Value::GeoJson(text),
            Some(Err(_)) => return refuse("GeoJSON whose text is not UTF-8"),
            None => return refuse("GeoJSON whose cells are cut off"),
        },
        ParticleType::HLL => match Hll::parse(bytes) {
            Some(hll) => Value::Hll(hll),
            None => return refuse("a sketch whose size is not what its header says"),
        },
        ParticleType::LIST | ParticleType::MAP => {
            let mut reader = Reader { bytes, at: 0 };
            let value = reader.value(0)?;
            match value {
                _ if reader.at < bytes.len() => return reader.fail("bytes after its end"),
                Value::List(..) if particle == ParticleType::LIST => value,
                Value::Map(..) if particle == ParticleType::MAP => value,
                _ if particle == ParticleType::LIST => return refuse("something else than a list"),
                _ => return refuse("something else than a map"),
            }
        }
        _ => Value::Bytes(particle, bytes),
    })
}

fn text_or_bytes<'a>(particle: ParticleType, bytes: &'a [u8], text: fn(&'a str) -> Value<'a>) -> Value<'a> {
    std::str::from_utf8(bytes).map_or(Value::Bytes(particle, bytes), text)
}

/// Elements for which memory is taken before they are read, at most.
const FEW: usize = 4;

/// MessagePack, from its bytes. Memory is taken for what was read, not for what a length claims.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What begins with a byte.
enum Head {
    List(usize),
    Map(usize),
    Text(usize),
    Extension(usize),
}

impl<'a> Reader<'a> {
    fn fail<T>(&self, problem: &'static str) -> Result<T, ValueError> {
        Err(ValueError { at: self.at, problem })
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], ValueError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        match rest.get(..length) {
            Some(bytes) => {
                self.at += length;
                Ok(bytes)
            }
            None => self.fail("cut off"),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ValueError> {
        match self.take(N)?.try_into() {
            Ok(array) => Ok(array),
            Err(_) => self.fail("cut off"),
        }
    }

    fn byte(&mut self) -> Result<u8, ValueError> {
        Ok(self.array::<1>()?[0])
    }

    /// A length of so many bytes.
    fn length(&mut self, bytes: usize) -> Result<usize, ValueError> {
        Ok(self.take(bytes)?.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)))
    }

    /// An integer of so many bytes.
    fn unsigned(&mut self, bytes: usize) -> Result<Value<'a>, ValueError> {
        let value = self.take(bytes)?.iter().fold(0, |value, &byte| value << 8 | u64::from(byte));
        Ok(i64::try_from(value).map_or(Value::Unsigned(value), Value::Integer))
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, ValueError> {
        let start = self.at;
        let head = match self.byte()? {
            byte @ 0x00..=0x7f => return Ok(Value::Integer(i64::from(byte))),
            byte @ 0x80..=0x8f => Head::Map(usize::from(byte & 0x0f)),
            byte @ 0x90..=0x9f => Head::List(usize::from(byte & 0x0f)),
            byte @ 0xa0..=0xbf => Head::Text(usize::from(byte & 0x1f)),
            0xc0 => return Ok(Value::Nil),
            0xc2 => return Ok(Value::Bool(false)),
            0xc3 => return Ok(Value::Bool(true)),
            0xc4 | 0xd9 => Head::Text(self.length(1)?),
            0xc5 | 0xda => Head::Text(self.length(2)?),
            0xc6 | 0xdb => Head::Text(self.length(4)?),
            0xc7 => Head::Extension(self.length(1)?),
            0xc8 => Head::Extension(self.length(2)?),
            0xc9 => Head::Extension(self.length(4)?),
            0xca => return Ok(Value::Float(f32::from_be_bytes(self.array()?))),
            0xcb => return Ok(Value::Double(f64::from_be_bytes(self.array()?))),
            0xcc => return self.unsigned(1),
            0xcd => return self.unsigned(2),
            0xce => return self.unsigned(4),
            0xcf => return self.unsigned(8),
            0xd0 => return Ok(Value::Integer(i64::from(i8::from_be_bytes(self.array()?)))),
            0xd1 => return Ok(Value::Integer(i64::from(i16::from_be_bytes(self.array()?)))),
            0xd2 => return Ok(Value::Integer(i64::from(i32::from_be_bytes(self.array()?)))),
            0xd3 => return Ok(Value::Integer(i64::from_be_bytes(self.array()?))),
            byte @ 0xd4..=0xd8 => Head::Extension(1 << (byte - 0xd4)),
            0xdc => Head::List(self.length(2)?),
            0xdd => Head::List(self.length(4)?),
            0xde => Head::Map(self.length(2)?),
            0xdf => Head::Map(self.length(4)?),
            byte @ 0xe0..=0xff => return Ok(Value::Integer(i64::from(byte as i8))),
            0xc1 => return Err(ValueError { at: start, problem: "a byte that begins no value (0xc1)" }),
        };
        if matches!(head, Head::List(_) | Head::Map(_)) && depth == MAX_DEPTH {
            return Err(ValueError { at: start, problem: "lists and maps nested too deeply to be shown" });
        }
        match head {
            Head::List(count) => self.list(count, depth),
            Head::Map(count) => self.map(count, depth),
            Head::Text(length) => Ok(particle(self.take(length)?)),
            Head::Extension(length) => {
                let kind = self.byte()?;
                Ok(match (kind, self.take(length)?) {
                    (0xff, [0]) => Value::Wildcard,
                    (0xff, [1]) => Value::Infinity,
                    (kind, content) => Value::Extension(kind, content),
                })
            }
        }
    }

    fn list(&mut self, count: usize, depth: usize) -> Result<Value<'a>, ValueError> {
        let (mut order, mut values) = (Order::default(), Vec::with_capacity(count.min(FEW)));
        for place in 0..count {
            match self.value(depth + 1)? {
                Value::Extension(flags, _) if place == 0 => order = Order(flags),
                value => values.push(value),
            }
        }
        Ok(Value::List(order, values))
    }

    fn map(&mut self, count: usize, depth: usize) -> Result<Value<'a>, ValueError> {
        let (mut order, mut pairs) = (Order::default(), Vec::with_capacity(count.min(FEW)));
        for place in 0..count {
            match (self.value(depth + 1)?, self.value(depth + 1)?) {
                (Value::Extension(flags, _), Value::Nil) if place == 0 => order = Order(flags),
                pair => pairs.push(pair),
            }
        }
        Ok(Value::Map(order, pairs))
    }
}

/// A string's content: its particle type, and what follows.
fn particle(bytes: &[u8]) -> Value<'_> {
    let Some((&first, rest)) = bytes.split_first() else { return Value::Bytes(ParticleType::NULL, bytes) };
    match ParticleType(first) {
        particle @ ParticleType::STRING => text_or_bytes(particle, rest, Value::Text),
        particle @ ParticleType::GEOJSON => text_or_bytes(particle, rest, Value::GeoJson),
        ParticleType::HLL if let Some(hll) = Hll::parse(rest) => Value::Hll(hll),
        particle => Value::Bytes(particle, rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Value::{Bool, Bytes, Double, Integer, List, Map, Text};
    use proptest::prelude::*;

    fn list(hex: &str) -> Result<String, String> {
        let bytes = hex::decode(hex.replace(' ', "")).unwrap();
        decode(ParticleType::LIST, &bytes).map(|value| format!("{value:?}")).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn holds(hex: &str, values: &[Value<'_>]) {
        assert_eq!(list(hex), Ok(format!("{:?}", List(Order(0), values.to_vec()))));
    }

    #[test]
    fn integers_of_every_width_are_read() {
        let narrow = [Integer(0), Integer(127), Integer(-32), Integer(-1), Integer(200), Integer(-128)];
        holds("96 00 7f e0 ff ccc8 d080", &narrow);
        let wide = [Integer(65_535), Integer(-32_768), Integer(1 << 31), Integer(-(1 << 31)), Integer(i64::MIN)];
        holds("95 cdffff d18000 ce80000000 d280000000 d38000000000000000", &wide);
        holds("92 cf7fffffffffffffff cfffffffffffffffff", &[Integer(i64::MAX), Value::Unsigned(u64::MAX)]);
    }

    #[test]
    fn strings_begin_with_their_particle_type() {
        holds(
            "94 a20361 a103 a1 04 a30400ff",
            &[Text("a"), Text(""), Bytes(ParticleType::BLOB, b""), Bytes(ParticleType::BLOB, b"\0\xff")],
        );
        holds("93 d9020362 da00020363 db000000020364", &[Text("b"), Text("c"), Text("d")]);
        holds(
            "93 c4020462 c500020762 c6000000020962",
            &[
                Bytes(ParticleType::BLOB, b"b"),
                Bytes(ParticleType::JAVA_BLOB, b"b"),
                Bytes(ParticleType::PYTHON_BLOB, b"b"),
            ],
        );
        holds(
            "94 a203ff a3177b7d a0 a27878",
            &[
                Bytes(ParticleType::STRING, b"\xff"),
                Value::GeoJson("{}"),
                Bytes(ParticleType::NULL, b""),
                Bytes(ParticleType(0x78), b"x"),
            ],
        );
    }

    #[test]
    fn simple_values_and_extensions_are_read() {
        holds(
            "95 c0 c2 c3 cb3ff8000000000000 ca3fc00000",
            &[Value::Nil, Bool(false), Bool(true), Double(1.5), Value::Float(1.5)],
        );
        holds(
            "95 00 d4ff00 d4ff01 d5070102 c70105aa",
            &[Integer(0), Value::Wildcard, Value::Infinity, Value::Extension(7, &[1, 2]), Value::Extension(5, &[0xaa])],
        );
        holds("92 00 c8000105aa", &[Integer(0), Value::Extension(5, &[0xaa])]);
        holds("91 d4ff00", &[Value::Wildcard]);
    }

    #[test]
    fn flags_of_lists_and_maps_are_no_elements() {
        let list = decode(ParticleType::LIST, b"\x95\xc7\0\x01\x01\x03\x05\x09");
        assert_eq!(list, Ok(List(Order(1), [1, 3, 5, 9].map(Integer).to_vec())));
        let map = decode(ParticleType::MAP, b"\x82\xc7\0\x03\xc0\xa2\x03a\x91\x01");
        assert_eq!(map, Ok(Map(Order(3), vec![(Text("a"), List(Order(0), vec![Integer(1)]))])));
        // Flags with an index after them.
        let indexed = decode(ParticleType::MAP, b"\x82\xc7\x02\x11\x00\x01\xc0\x01\x02");
        assert_eq!(indexed, Ok(Map(Order(0x11), vec![(Integer(1), Integer(2))])));
        assert_eq!(decode(ParticleType::LIST, b"\x90"), Ok(List(Order(0), vec![])));
        assert_eq!(
            decode(ParticleType::MAP, b"\xde\0\x01\xc3\xc2"),
            Ok(Map(Order(0), vec![(Bool(true), Bool(false))]))
        );
    }

    #[test]
    fn orders_have_names() {
        let names = [0, 1, 0x11, 0x41].map(|flags| Order(flags).of_list());
        assert_eq!(names, ["", "ordered", "ordered, indexed", "ordered, flags 0x40"]);
        let names = [0, 1, 3, 8, 0x33, 0x80].map(|flags| Order(flags).of_map());
        let expected =
            ["", "key-ordered", "key-value-ordered", "as-inserted", "key-value-ordered, indexed", "flags 0x80"];
        assert_eq!(names, expected);
    }

    #[test]
    fn what_is_no_list_is_refused_with_the_place() {
        for (hex, problem) in [
            ("", "at byte 0: cut off"),
            ("92 01", "at byte 2: cut off"),
            ("91 c1", "at byte 1: a byte that begins no value (0xc1)"),
            ("91 01 02", "at byte 2: bytes after its end"),
            ("81 01 02", "at byte 0: something else than a list"),
            ("07", "at byte 0: something else than a list"),
            ("ddffffffff", "at byte 5: cut off"),
            ("91 dbffffffff03", "at byte 6: cut off"),
            ("91 c9ffffffff01", "at byte 7: cut off"),
        ] {
            assert_eq!(list(hex), Err(problem.to_string()), "{hex}");
        }
        let map = decode(ParticleType::MAP, b"\x91\x01").map_err(|error| error.to_string());
        assert_eq!(map, Err("at byte 0: something else than a map".into()));
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| [vec![0x91; depth - 1], vec![0x90]].concat();
        assert!(decode(ParticleType::LIST, &nested(MAX_DEPTH)).is_ok());
        let deeper = [nested(MAX_DEPTH + 1), vec![0x91; 1 << 20]];
        for bytes in deeper {
            let error = decode(ParticleType::LIST, &bytes).err();
            assert_eq!(error.map(|error| error.at), Some(MAX_DEPTH));
        }
    }

    #[test]
    fn the_simple_types_are_read_and_checked() {
        let problem = |particle, bytes| decode(particle, bytes).err().map(|error| error.problem);
        assert_eq!(decode(ParticleType::INTEGER, &[0xff; 8]), Ok(Integer(-1)));
        assert!(problem(ParticleType::INTEGER, &[1]).is_some() && problem(ParticleType::DOUBLE, &[1]).is_some());
        assert_eq!(decode(ParticleType::BOOL, &[1]), Ok(Bool(true)));
        assert!(problem(ParticleType::BOOL, &[2]).is_some());
        let cells = b"\0\0\x01cellcell{}";
        assert_eq!(decode(ParticleType::GEOJSON, cells), Ok(Value::GeoJson("{}")));
        assert!(problem(ParticleType::GEOJSON, b"\0\0\x02{}").is_some());
        assert!(problem(ParticleType::HLL, b"\0\x04\0").is_some());
        assert_eq!(decode(ParticleType::STRING, b"\xff"), Ok(Bytes(ParticleType::STRING, b"\xff")));
        assert_eq!(decode(ParticleType::JAVA_BLOB, b"j"), Ok(Bytes(ParticleType::JAVA_BLOB, b"j")));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 19u8..=20) {
            let _ = decode(ParticleType(kind), &bytes);
        }
    }
}
