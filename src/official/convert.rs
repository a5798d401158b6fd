//! Particle bytes as the client's values, and the client's values as particle bytes.

use super::client::{FloatValue, IndexMap, Value as ClientValue};
use crate::record::value::{self, MAX_DEPTH};
use crate::record::{Order, ParticleType, Value};
use std::collections::BTreeMap;

/// What the client loses of a value or name that it reads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TypedLoss {
    /// It knows one NaN.
    #[error("the sign or payload of a NaN")]
    NanPayload,
    /// Its strings are UTF-8: it refuses the record.
    #[error("a string that is not UTF-8")]
    NotUtf8,
    /// Its names are UTF-8: it refuses the record.
    #[error("a name that is not UTF-8")]
    NameNotUtf8,
    /// Its lists have no order of their own.
    #[error("the order of a list")]
    ListOrder,
    /// Its maps are sorted by their keys or not at all.
    #[error("the order or index of a map")]
    MapOrder,
    /// It refuses maps with other keys.
    #[error("a map with a key that is no integer, string or bytes")]
    MapKey,
    /// It does not write such elements back.
    #[error("a sketch or a value of another language in a list or map")]
    Element,
    /// Its integers are signed.
    #[error("an integer above the greatest signed one")]
    Unsigned,
    /// It takes them for flags or nil.
    #[error("an extension of MessagePack in a list or map")]
    Extension,
    /// The same value is encoded in another way.
    #[error("how the elements of a list or map are encoded")]
    Encoding,
    /// The bytes are not what their type promises, or nested too deeply.
    #[error("bytes that are no value of their type, or lists and maps nested too deeply")]
    Malformed,
}

/// What the client reads of a particle; an error if something of it is lost, so that the client would not write back
/// the same bytes.
pub(super) fn to_client(particle: ParticleType, bytes: &[u8]) -> Result<ClientValue, TypedLoss> {
    let value = match particle {
        ParticleType::BLOB => return Ok(ClientValue::Blob(bytes.to_vec())),
        ParticleType::HLL => return Ok(ClientValue::Hll(bytes.to_vec())),
        ParticleType::NULL
        | ParticleType::INTEGER
        | ParticleType::DOUBLE
        | ParticleType::BOOL
        | ParticleType::STRING
        | ParticleType::GEOJSON
        | ParticleType::LIST
        | ParticleType::MAP => value::decode(particle, bytes).map_err(|_| TypedLoss::Malformed)?,
        other => return Ok(ClientValue::Unknown(other.0, bytes.to_vec())),
    };
    let typed = from_decoded(&value)?;
    // Servers derive the rest of GeoJSON from its text.
    if particle == ParticleType::GEOJSON {
        return Ok(typed);
    }
    let mut again = Vec::with_capacity(bytes.len());
    match to_particle(&typed, &mut again) {
        Ok(same) if same == particle && again == bytes => Ok(typed),
        _ => Err(TypedLoss::Encoding),
    }
}

fn from_decoded(value: &Value<'_>) -> Result<ClientValue, TypedLoss> {
    Ok(match value {
        Value::Nil => ClientValue::Nil,
        Value::Bool(value) => ClientValue::Bool(*value),
        Value::Integer(value) => ClientValue::Int(*value),
        Value::Unsigned(_) => return Err(TypedLoss::Unsigned),
        Value::Double(value) if value.is_nan() && value.to_bits() != f64::NAN.to_bits() => {
            return Err(TypedLoss::NanPayload);
        }
        Value::Float(value) if value.is_nan() && value.to_bits() != f32::NAN.to_bits() => {
            return Err(TypedLoss::NanPayload);
        }
        Value::Double(value) => ClientValue::Float(FloatValue::F64(value.to_bits())),
        Value::Float(value) => ClientValue::Float(FloatValue::F32(value.to_bits())),
        Value::Text(text) => ClientValue::String((*text).to_string()),
        Value::GeoJson(text) => ClientValue::GeoJson((*text).to_string()),
        Value::Bytes(ParticleType::BLOB, bytes) => ClientValue::Blob(bytes.to_vec()),
        Value::Bytes(ParticleType::STRING | ParticleType::GEOJSON, _) => return Err(TypedLoss::NotUtf8),
        Value::Bytes(..) | Value::Hll(_) => return Err(TypedLoss::Element),
        Value::List(Order(0), values) => {
            ClientValue::List(values.iter().map(from_decoded).collect::<Result<_, TypedLoss>>()?)
        }
        Value::List(..) => return Err(TypedLoss::ListOrder),
        Value::Map(Order(0), pairs) => {
            ClientValue::OrderedMap(pairs.iter().map(pair).collect::<Result<IndexMap<_, _>, TypedLoss>>()?)
        }
        Value::Map(Order(Order::ORDERED), pairs) => {
            ClientValue::SortedMap(pairs.iter().map(pair).collect::<Result<BTreeMap<_, _>, TypedLoss>>()?)
        }
        Value::Map(..) => return Err(TypedLoss::MapOrder),
        Value::Wildcard | Value::Infinity | Value::Extension(..) => return Err(TypedLoss::Extension),
    })
}

fn pair((key, value): &(Value<'_>, Value<'_>)) -> Result<(ClientValue, ClientValue), TypedLoss> {
    let key = match from_decoded(key)? {
        key @ (ClientValue::Nil | ClientValue::Int(_) | ClientValue::String(_) | ClientValue::Blob(_)) => key,
        _ => return Err(TypedLoss::MapKey),
    };
    Ok((key, from_decoded(value)?))
}

/// Appends the bytes that the client would send for a value in a bin, and gives back their type. On error `out` is as
/// it was.
pub(super) fn to_particle(value: &ClientValue, out: &mut Vec<u8>) -> Result<ParticleType, String> {
    let decoded = match value {
        ClientValue::Unknown(code, bytes) => Value::Bytes(ParticleType(*code), bytes),
        value => decoded(value, 0)?,
    };
    decoded.encode(out).map_err(|error| error.to_string())
}

fn decoded(value: &ClientValue, depth: usize) -> Result<Value<'_>, String> {
    // The encoder says how deep it may be; this keeps the stack from running out before.
    if depth > MAX_DEPTH {
        return Err("lists and maps are nested too deeply".into());
    }
    Ok(match value {
        ClientValue::Nil => Value::Nil,
        ClientValue::Bool(value) => Value::Bool(*value),
        ClientValue::Int(value) => Value::Integer(*value),
        ClientValue::Float(FloatValue::F64(bits)) => Value::Double(f64::from_bits(*bits)),
        ClientValue::Float(FloatValue::F32(bits)) => Value::Float(f32::from_bits(*bits)),
        ClientValue::String(text) => Value::Text(text),
        ClientValue::Blob(bytes) => Value::Bytes(ParticleType::BLOB, bytes),
        ClientValue::Hll(bytes) => Value::Bytes(ParticleType::HLL, bytes),
        ClientValue::GeoJson(text) => Value::GeoJson(text),
        ClientValue::List(values) => {
            let values = values.iter().map(|value| decoded(value, depth + 1));
            Value::List(Order::default(), values.collect::<Result<_, String>>()?)
        }
        ClientValue::HashMap(map) => {
            // Whatever order they come in: the same map gives the same bytes.
            let mut pairs: Vec<_> = map.iter().collect();
            pairs.sort();
            decoded_map(Order::default(), pairs.into_iter(), depth)?
        }
        ClientValue::OrderedMap(map) => decoded_map(Order::default(), map.iter(), depth)?,
        ClientValue::SortedMap(map) => decoded_map(Order(Order::ORDERED), map.iter(), depth)?,
        // The client has read a map that keeps the order in which its keys came.
        ClientValue::KeyValueList(pairs) => {
            decoded_map(Order(Order::AS_INSERTED), pairs.iter().map(|(key, value)| (key, value)), depth)?
        }
        ClientValue::Infinity => Value::Infinity,
        ClientValue::Wildcard => Value::Wildcard,
        ClientValue::Unknown(code, _) => {
            return Err(format!("a value of particle type {code} can be in a bin only, not in a list or map"));
        }
        ClientValue::MultiResult(_) => return Err("the results of several operations are no value of a bin".into()),
        _ => return Err("the client has a kind of value that is not known here".into()),
    })
}

fn decoded_map<'v>(
    order: Order,
    pairs: impl Iterator<Item = (&'v ClientValue, &'v ClientValue)>,
    depth: usize,
) -> Result<Value<'v>, String> {
    let pairs = pairs.map(|(key, value)| Ok((decoded(key, depth + 1)?, decoded(value, depth + 1)?)));
    Ok(Value::Map(order, pairs.collect::<Result<_, String>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(particle: ParticleType, hex: &str) -> Result<ClientValue, TypedLoss> {
        to_client(particle, &hex::decode(hex.replace(' ', "")).unwrap())
    }

    #[test]
    fn each_type_becomes_the_value_that_the_client_reads() {
        assert_eq!(to_client(ParticleType::INTEGER, &7i64.to_be_bytes()), Ok(ClientValue::Int(7)));
        assert_eq!(to_client(ParticleType::DOUBLE, &1.5f64.to_be_bytes()), Ok(ClientValue::from(1.5)));
        assert_eq!(to_client(ParticleType::BOOL, &[1]), Ok(ClientValue::Bool(true)));
        assert_eq!(to_client(ParticleType::STRING, b"ada"), Ok(ClientValue::from("ada")));
        assert_eq!(to_client(ParticleType::BLOB, b"\xff"), Ok(ClientValue::Blob(vec![0xff])));
        assert_eq!(to_client(ParticleType::HLL, b"x"), Ok(ClientValue::Hll(vec![b'x'])));
        assert_eq!(to_client(ParticleType::GEOJSON, b"\0\0\x01cellcell{}"), Ok(ClientValue::GeoJson("{}".into())));
        assert_eq!(to_client(ParticleType::PYTHON_BLOB, b"p"), Ok(ClientValue::Unknown(9, b"p".to_vec())));
        let list = vec![ClientValue::Int(1), ClientValue::from("a"), ClientValue::Nil, ClientValue::from(0.5f32)];
        assert_eq!(read(ParticleType::LIST, "94 01 a20361 c0 ca3f000000"), Ok(ClientValue::List(list)));
        let Ok(ClientValue::SortedMap(map)) = read(ParticleType::MAP, "82 c70001c0 a20361 01") else { panic!() };
        assert_eq!(map.get(&ClientValue::from("a")), Some(&ClientValue::Int(1)));
        assert!(matches!(read(ParticleType::MAP, "82 02 01 01 02"), Ok(ClientValue::OrderedMap(_))));
    }

    #[test]
    fn what_the_client_loses_is_named() {
        use TypedLoss::*;
        for (particle, hex, loss) in [
            (ParticleType::DOUBLE, "7ff8000000000001", NanPayload),
            (ParticleType::DOUBLE, "fff8000000000000", NanPayload),
            (ParticleType::LIST, "91 cb7ff0000000000001", NanPayload),
            (ParticleType::LIST, "91 ca7fc00001", NanPayload),
            (ParticleType::STRING, "ff", NotUtf8),
            (ParticleType::LIST, "91 a203ff", NotUtf8),
            (ParticleType::LIST, "92 c70001 01", ListOrder),
            (ParticleType::MAP, "82 c70003c0 01 02", MapOrder),
            (ParticleType::MAP, "82 c70008c0 01 02", MapOrder),
            (ParticleType::MAP, "82 c70011c0 01 02", MapOrder),
            (ParticleType::MAP, "81 cb3ff8000000000000 01", MapKey),
            (ParticleType::MAP, "81 c3 01", MapKey),
            (ParticleType::MAP, "81 9101 01", MapKey),
            (ParticleType::LIST, "91 a20978", Element),
            (ParticleType::LIST, "91 cfffffffffffffffff", Unsigned),
            (ParticleType::LIST, "92 01 d4ff00", Extension),
            (ParticleType::LIST, "91 cd0001", Encoding),
            (ParticleType::LIST, "91 c4020461", Encoding),
            // The same key twice, and keys that are not in the order that the map claims.
            (ParticleType::MAP, "82 01 01 01 02", Encoding),
            (ParticleType::MAP, "83 c70001c0 02 02 01 01", Encoding),
            (ParticleType::LIST, "91", Malformed),
            (ParticleType::INTEGER, "01", Malformed),
            (ParticleType::BOOL, "02", Malformed),
        ] {
            assert_eq!(read(particle, hex), Err(loss), "{particle} {hex}");
        }
    }

    #[test]
    fn values_that_no_bin_holds_are_refused() {
        let nested = (0..100).fold(ClientValue::Nil, |value, _| ClientValue::List(vec![value]));
        let unknown = ClientValue::List(vec![ClientValue::Unknown(9, vec![1])]);
        for value in [nested, unknown, ClientValue::MultiResult(vec![]), ClientValue::Infinity] {
            let mut out = vec![7];
            assert!(to_particle(&value, &mut out).is_err(), "{value:?}");
            assert_eq!(out, [7]);
        }
    }

    #[test]
    fn a_map_without_order_gives_the_same_bytes_each_time() {
        let bytes = |_| {
            let map = (0..50).map(|n| (ClientValue::Int(n), ClientValue::Int(n))).collect();
            let mut out = Vec::new();
            to_particle(&ClientValue::HashMap(map), &mut out).unwrap();
            out
        };
        assert!((0..5).map(bytes).collect::<std::collections::HashSet<_>>().len() == 1);
    }

    proptest! {
        #[test]
        fn what_is_read_writes_the_same_bytes(
            bytes in proptest::collection::vec(any::<u8>(), 0..60),
            kind in 0u8..=24,
        ) {
            if kind != ParticleType::GEOJSON.0 && let Ok(value) = to_client(ParticleType(kind), &bytes) {
                let mut again = Vec::new();
                prop_assert_eq!(to_particle(&value, &mut again), Ok(ParticleType(kind)));
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
