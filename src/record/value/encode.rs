//! Values of programs as bins: the particle bytes that a client would send for them.

use super::{MAX_DEPTH, Order, Value};
use crate::record::ParticleType;
use std::collections::BTreeSet;

/// Why a value can't be the content of a bin.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotABin(&'static str);

const TOO_LONG: NotABin = NotABin("it is longer than a list, map or string can be");

impl<'a> Value<'a> {
    /// An integer.
    pub fn integer(value: impl Into<i64>) -> Self {
        Value::Integer(value.into())
    }

    /// A floating point number.
    pub fn float(value: impl Into<f64>) -> Self {
        Value::Double(value.into())
    }

    /// A string.
    pub fn text<T: AsRef<str> + ?Sized>(text: &'a T) -> Self {
        Value::Text(text.as_ref())
    }

    /// Bytes.
    pub fn blob<T: AsRef<[u8]> + ?Sized>(bytes: &'a T) -> Self {
        Value::Bytes(ParticleType::BLOB, bytes.as_ref())
    }

    /// A boolean.
    pub fn boolean(value: bool) -> Self {
        Value::Bool(value)
    }

    /// A point, line or area: its GeoJSON text.
    pub fn geojson<T: AsRef<str> + ?Sized>(text: &'a T) -> Self {
        Value::GeoJson(text.as_ref())
    }

    /// A list without an order of its own.
    pub fn list<V: Into<Value<'a>>>(values: impl IntoIterator<Item = V>) -> Self {
        Value::List(Order::default(), values.into_iter().map(Into::into).collect())
    }

    /// A map without an order of its own. Its keys must differ.
    pub fn map<K: Into<Value<'a>>, V: Into<Value<'a>>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        Value::Map(Order::default(), pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }

    /// Appends the value's particle bytes to `out`, and gives back their type. On error `out` is as it was.
    ///
    /// A list or map with an [`Order`] is taken as it is: whoever says that it is ordered has put it in order.
    ///
    /// # Errors
    ///
    /// If no bin can hold it: a sketch, of which only the estimate is known; an integer above the greatest signed one,
    /// a wildcard or infinity outside a list or map; a map with two equal keys; lists and maps nested more than
    /// [`MAX_DEPTH`] deep.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<ParticleType, NotABin> {
        let start = out.len();
        self.put_particle(out).inspect_err(|_| out.truncate(start))
    }

    fn put_particle(&self, out: &mut Vec<u8>) -> Result<ParticleType, NotABin> {
        Ok(match self {
            Value::Nil => ParticleType::NULL,
            Value::Bool(value) => {
                out.push(u8::from(*value));
                ParticleType::BOOL
            }
            Value::Integer(value) => {
                out.extend_from_slice(&value.to_be_bytes());
                ParticleType::INTEGER
            }
            Value::Unsigned(value) => match i64::try_from(*value) {
                Ok(value) => return Value::Integer(value).put_particle(out),
                Err(_) => {
                    return Err(NotABin("an integer above the greatest signed one can be in lists and maps only"));
                }
            },
            Value::Double(value) => {
                out.extend_from_slice(&value.to_bits().to_be_bytes());
                ParticleType::DOUBLE
            }
            Value::Float(value) => return Value::Double(f64::from(*value)).put_particle(out),
            Value::Text(text) => {
                out.extend_from_slice(text.as_bytes());
                ParticleType::STRING
            }
            Value::GeoJson(text) => {
                // No flags and no cells: servers derive them from the text.
                out.extend_from_slice(&[0; 3]);
                out.extend_from_slice(text.as_bytes());
                ParticleType::GEOJSON
            }
            Value::Bytes(particle, bytes) => {
                out.extend_from_slice(bytes);
                *particle
            }
            Value::List(..) => {
                self.put_element(out, 0)?;
                ParticleType::LIST
            }
            Value::Map(..) => {
                self.put_element(out, 0)?;
                ParticleType::MAP
            }
            Value::Hll(_) => return Err(NotABin("a sketch can't be made from its estimate")),
            Value::Wildcard | Value::Infinity => {
                return Err(NotABin("it only stands in for a value where values are compared"));
            }
            Value::Extension(..) => return Err(NotABin("an extension of MessagePack has no form as a bin")),
        })
    }

    /// Appends the value as an element of a list or map.
    fn put_element(&self, out: &mut Vec<u8>, depth: usize) -> Result<(), NotABin> {
        if depth >= MAX_DEPTH && matches!(self, Value::List(..) | Value::Map(..)) {
            return Err(NotABin("lists and maps are nested too deeply"));
        }
        match self {
            Value::Nil => out.push(0xc0),
            Value::Bool(value) => out.push(0xc2 + u8::from(*value)),
            Value::Integer(value) => put_integer(*value, out),
            Value::Unsigned(value) => match i64::try_from(*value) {
                Ok(value) => put_integer(value, out),
                Err(_) => put_number(0xcf, &value.to_be_bytes(), out),
            },
            Value::Double(value) => put_number(0xcb, &value.to_bits().to_be_bytes(), out),
            Value::Float(value) => put_number(0xca, &value.to_bits().to_be_bytes(), out),
            Value::Text(text) => put_string(ParticleType::STRING, text.as_bytes(), out)?,
            Value::GeoJson(text) => put_string(ParticleType::GEOJSON, text.as_bytes(), out)?,
            Value::Bytes(particle, bytes) => put_string(*particle, bytes, out)?,
            Value::List(order, values) => {
                let flags = usize::from(order.0 != 0);
                put_length(values.len() + flags, [0x90, 0xdc, 0xdd], out)?;
                if order.0 != 0 {
                    out.extend_from_slice(&[0xc7, 0, order.0]);
                }
                values.iter().try_for_each(|value| value.put_element(out, depth + 1))?;
            }
            Value::Map(order, pairs) => {
                let flags = usize::from(order.0 != 0);
                put_length(pairs.len() + flags, [0x80, 0xde, 0xdf], out)?;
                if order.0 != 0 {
                    out.extend_from_slice(&[0xc7, 0, order.0, 0xc0]);
                }
                let mut keys = BTreeSet::new();
                for (key, value) in pairs {
                    let start = out.len();
                    key.put_element(out, depth + 1)?;
                    if !keys.insert(out.get(start..).unwrap_or_default().to_vec()) {
                        return Err(NotABin("a map has two equal keys"));
                    }
                    value.put_element(out, depth + 1)?;
                }
            }
            Value::Hll(_) => return Err(NotABin("a sketch can't be made from its estimate")),
            Value::Wildcard => out.extend_from_slice(&[0xd4, 0xff, 0]),
            Value::Infinity => out.extend_from_slice(&[0xd4, 0xff, 1]),
            Value::Extension(..) => return Err(NotABin("an extension of MessagePack would be read as flags")),
        }
        Ok(())
    }
}

fn put_number(head: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(head);
    out.extend_from_slice(bytes);
}

/// The shortest form of an integer.
fn put_integer(value: i64, out: &mut Vec<u8>) {
    if let Ok(value) = u64::try_from(value) {
        match value {
            0..=0x7f => out.push(value as u8),
            0x80..=0xff => out.extend_from_slice(&[0xcc, value as u8]),
            0x100..=0xffff => put_number(0xcd, &(value as u16).to_be_bytes(), out),
            0x1_0000..=0xffff_ffff => put_number(0xce, &(value as u32).to_be_bytes(), out),
            _ => put_number(0xcf, &value.to_be_bytes(), out),
        }
    } else if value >= -32 {
        out.push(value as u8);
    } else if let Ok(value) = i8::try_from(value) {
        put_number(0xd0, &value.to_be_bytes(), out);
    } else if let Ok(value) = i16::try_from(value) {
        put_number(0xd1, &value.to_be_bytes(), out);
    } else if let Ok(value) = i32::try_from(value) {
        put_number(0xd2, &value.to_be_bytes(), out);
    } else {
        put_number(0xd3, &value.to_be_bytes(), out);
    }
}

/// The head of a list or map: its number of elements in the first byte if there are at most 15, else in two or four.
fn put_length(length: usize, [few, two, four]: [u8; 3], out: &mut Vec<u8>) -> Result<(), NotABin> {
    match (u16::try_from(length), u32::try_from(length)) {
        (Ok(length), _) if length < 16 => out.push(few | length as u8),
        (Ok(length), _) => put_number(two, &length.to_be_bytes(), out),
        (_, Ok(length)) => put_number(four, &length.to_be_bytes(), out),
        _ => return Err(TOO_LONG),
    }
    Ok(())
}

/// A string of MessagePack, which begins with the particle type.
fn put_string(particle: ParticleType, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), NotABin> {
    let length = u32::try_from(bytes.len() + 1).map_err(|_| TOO_LONG)?;
    match length {
        0..=31 => out.push(0xa0 | length as u8),
        32..=0xff => out.extend_from_slice(&[0xd9, length as u8]),
        0x100..=0xffff => put_number(0xda, &(length as u16).to_be_bytes(), out),
        _ => put_number(0xdb, &length.to_be_bytes(), out),
    }
    out.push(particle.0);
    out.extend_from_slice(bytes);
    Ok(())
}

macro_rules! from_numbers {
    ($($number:ty => $make:ident;)*) => {
        $(impl From<$number> for Value<'_> {
            fn from(value: $number) -> Self {
                Value::$make(value)
            }
        })*
    };
}

from_numbers! {
    i64 => integer;
    i32 => integer;
    i16 => integer;
    i8 => integer;
    u32 => integer;
    u16 => integer;
    u8 => integer;
    f64 => float;
    f32 => float;
    bool => boolean;
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::text(text)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Value::text(text)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Value::blob(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Value<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Value::blob(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Value<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Value::blob(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;
    use proptest::prelude::*;

    /// A value that owns its strings, to make borrowed ones of.
    #[derive(Clone, Debug)]
    enum Plan {
        Nil,
        Bool(bool),
        Integer(i64),
        Unsigned(u64),
        Double(f64),
        Text(String),
        Blob(Vec<u8>),
        List(u8, Vec<Plan>),
        Map(u8, Vec<(i64, Plan)>),
    }

    impl Plan {
        fn value(&self) -> Value<'_> {
            match self {
                Plan::Nil => Value::Nil,
                Plan::Bool(value) => Value::boolean(*value),
                Plan::Integer(value) => Value::integer(*value),
                Plan::Unsigned(value) => Value::Unsigned(*value | 1 << 63),
                Plan::Double(value) => Value::float(*value),
                Plan::Text(text) => Value::text(text),
                Plan::Blob(bytes) => Value::blob(bytes),
                Plan::List(order, values) => Value::List(Order(*order), values.iter().map(Plan::value).collect()),
                Plan::Map(order, pairs) => {
                    let mut pairs: Vec<_> = pairs.iter().map(|(key, value)| (*key, value.value())).collect();
                    pairs.sort_by_key(|(key, _)| *key);
                    pairs.dedup_by_key(|(key, _)| *key);
                    Value::Map(Order(*order), pairs.into_iter().map(|(key, value)| (key.into(), value)).collect())
                }
            }
        }
    }

    fn plans() -> impl Strategy<Value = Plan> {
        let edges = [0, 127, 128, 255, 256, 65_535, 65_536, u32::MAX.into(), 1 << 32, i64::MAX];
        let integer = prop_oneof![any::<i64>(), proptest::sample::select(edges.to_vec()), -70_000i64..70_000];
        let leaf = prop_oneof![
            Just(Plan::Nil),
            any::<bool>().prop_map(Plan::Bool),
            (integer, any::<bool>()).prop_map(|(n, negative)| Plan::Integer(if negative {
                n.wrapping_neg()
            } else {
                n
            })),
            any::<u64>().prop_map(Plan::Unsigned),
            proptest::num::f64::NORMAL.prop_map(Plan::Double),
            "[a-zß]{0,40}".prop_map(Plan::Text),
            proptest::collection::vec(any::<u8>(), 0..300).prop_map(Plan::Blob),
        ];
        leaf.prop_recursive(4, 40, 20, |inner| {
            prop_oneof![
                (0..4u8, proptest::collection::vec(inner.clone(), 0..20))
                    .prop_map(|(order, all)| Plan::List(order, all)),
                (0..4u8, proptest::collection::vec((any::<i64>(), inner), 0..20))
                    .prop_map(|(order, all)| Plan::Map(order, all)),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same_value(plan in plans()) {
            let value = plan.value();
            let mut bytes = b"before".to_vec();
            match value.encode(&mut bytes) {
                Ok(particle) => prop_assert_eq!(decode(particle, &bytes[6..]), Ok(value)),
                Err(_) => {
                    prop_assert!(matches!(value, Value::Unsigned(_)), "{:?}", value);
                    prop_assert_eq!(&bytes[..], b"before");
                }
            }
        }
    }

    #[test]
    fn bytes_are_those_that_clients_send() {
        let bytes = |value: Value<'_>| {
            let mut bytes = Vec::new();
            (value.encode(&mut bytes).unwrap(), hex::encode(bytes))
        };
        assert_eq!(bytes(Value::integer(-2)), (ParticleType::INTEGER, "fffffffffffffffe".into()));
        assert_eq!(bytes(Value::geojson("{}")), (ParticleType::GEOJSON, "0000007b7d".into()));
        assert_eq!(bytes(Value::list(["a", "b"])), (ParticleType::LIST, "92a20361a20362".into()));
        let map = Value::map([("n", Value::integer(200)), ("b", Value::blob(b"\xff"))]);
        assert_eq!(bytes(map), (ParticleType::MAP, "82a2036eccc8a20362a204ff".into()));
        let ordered = Value::List(Order(Order::ORDERED), vec![1.into(), 2.into()]);
        assert_eq!(bytes(ordered), (ParticleType::LIST, "93c700010102".into()));
        assert_eq!(bytes(Value::Float(1.5)), (ParticleType::DOUBLE, "3ff8000000000000".into()));
    }

    #[test]
    fn what_no_bin_can_hold_is_refused_and_leaves_nothing() {
        let twice = Value::map([("a", 1), ("b", 2), ("a", 3)]);
        let deep = (0..MAX_DEPTH).fold(Value::integer(1), |value, _| Value::list([value]));
        let too_deep = Value::list([deep.clone()]);
        let refused =
            [twice, too_deep, Value::Unsigned(u64::MAX), Value::Wildcard, Value::list([Value::Extension(1, b"")])];
        for value in refused {
            let mut bytes = vec![7];
            assert!(value.encode(&mut bytes).is_err(), "{value:?}");
            assert_eq!(bytes, [7]);
        }
        assert_eq!(deep.encode(&mut Vec::new()), Ok(ParticleType::LIST));
    }
}
