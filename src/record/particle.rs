//! Particle types: Aerospike's numbers for what a bin's bytes mean.

use std::fmt;

/// A particle type's number on the wire. Unknown numbers are carried through untouched.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParticleType(pub u8);

macro_rules! particles {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        impl ParticleType {
            $($(#[$doc])* pub const $name: ParticleType = ParticleType($number);)*

            /// The type's name, if it is a known one.
            pub fn name(self) -> Option<&'static str> {
                match self.0 { $($number => Some($text),)* _ => None }
            }

            /// The type with this name, as [`ParticleType::name`] gives it.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(ParticleType($number)),)* _ => None }
            }
        }
    };
}

particles! {
    /// No value.
    NULL = 0, "null";
    /// A 64-bit signed integer, 8 bytes big endian.
    INTEGER = 1, "integer";
    /// An IEEE 754 double, 8 bytes big endian.
    DOUBLE = 2, "double";
    /// A string; in practice UTF-8, but any bytes are kept.
    STRING = 3, "string";
    /// Bytes.
    BLOB = 4, "blob";
    /// A serialized Java object.
    JAVA_BLOB = 7, "java";
    /// A serialized C# object.
    CSHARP_BLOB = 8, "csharp";
    /// A pickled Python object.
    PYTHON_BLOB = 9, "python";
    /// A serialized Ruby object.
    RUBY_BLOB = 10, "ruby";
    /// A serialized PHP object.
    PHP_BLOB = 11, "php";
    /// A serialized Erlang term.
    ERLANG_BLOB = 12, "erlang";
    /// A boolean: one byte, 0 or 1.
    BOOL = 17, "bool";
    /// A HyperLogLog sketch.
    HLL = 18, "hll";
    /// A map, in Aerospike's MessagePack.
    MAP = 19, "map";
    /// A list, in Aerospike's MessagePack.
    LIST = 20, "list";
    /// GeoJSON: one byte of flags, a big-endian 16-bit count of cells, that many 8-byte cells, then the JSON text. A
    /// server derives the cells from the text, sends them, and takes no notice of those that it is sent; files have
    /// none.
    GEOJSON = 23, "geojson";
}

/// The text of a GeoJSON value, without flags and cells; `None` if it is cut off.
pub fn geojson_text(bytes: &[u8]) -> Option<&[u8]> {
    let (&[_, high, low], rest) = bytes.split_first_chunk::<3>()?;
    rest.get(usize::from(u16::from_be_bytes([high, low])) * 8..)
}

impl fmt::Display for ParticleType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "particle{}", self.0),
        }
    }
}

impl fmt::Debug for ParticleType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
