//! Decoded values for people: as text, and as JSON.

use super::Value;
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::collections::BTreeSet;
use std::fmt;

impl fmt::Display for Value<'_> {
    /// One line: strings in quotes, with what is not printable escaped; bytes as 0x and hexadecimal; lists in brackets,
    /// maps in braces, their order in front.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nil => f.write_str("nil"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Integer(value) => write!(f, "{value}"),
            Value::Unsigned(value) => write!(f, "{value}"),
            Value::Double(value) => write!(f, "{value:?}"),
            Value::Float(value) => write!(f, "{value:?}"),
            Value::Text(text) => write!(f, "{text:?}"),
            Value::GeoJson(text) => write!(f, "geojson {text:?}"),
            Value::Bytes(crate::record::ParticleType::BLOB, bytes) => write!(f, "0x{}", hex::encode(bytes)),
            Value::Bytes(particle, bytes) => write!(f, "{particle} 0x{}", hex::encode(bytes)),
            Value::List(order, values) => {
                put_order(f, &order.of_list())?;
                let mut comma = "";
                f.write_str("[")?;
                for value in values {
                    write!(f, "{comma}{value}")?;
                    comma = ", ";
                }
                f.write_str("]")
            }
            Value::Map(order, pairs) => {
                put_order(f, &order.of_map())?;
                let mut comma = "";
                f.write_str("{")?;
                for (key, value) in pairs {
                    write!(f, "{comma}{key}: {value}")?;
                    comma = ", ";
                }
                f.write_str("}")
            }
            Value::Hll(hll) => {
                write!(f, "about {} elements, {} index bits", hll.estimate, hll.index_bits)?;
                if hll.minhash_bits == 0 { Ok(()) } else { write!(f, ", {} MinHash bits", hll.minhash_bits) }
            }
            Value::Wildcard => f.write_str("wildcard"),
            Value::Infinity => f.write_str("infinity"),
            Value::Extension(kind, content) => write!(f, "extension {kind} 0x{}", hex::encode(content)),
        }
    }
}

fn put_order(f: &mut fmt::Formatter<'_>, order: &str) -> fmt::Result {
    if order.is_empty() { Ok(()) } else { write!(f, "{order} ") }
}

/// A member's value that is made as it is written.
struct Pairs<'a>(&'a [(Value<'a>, Value<'a>)]);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(key, value)| (key, value)))
    }
}

/// The keys of a map as members of an object, if they are different strings, none of which looks like a member of this
/// module's.
fn members<'a>(pairs: &'a [(Value<'a>, Value<'a>)]) -> Option<Vec<(&'a str, &'a Value<'a>)>> {
    let mut seen = BTreeSet::new();
    let member = |(key, value): &'a (Value<'a>, Value<'a>)| match key {
        Value::Text(key) if !key.starts_with('$') && seen.insert(*key) => Some((*key, value)),
        _ => None,
    };
    pairs.iter().map(member).collect()
}

impl Serialize for Value<'_> {
    /// What JSON has is written as such, everything else as an object whose first member's name begins with `$`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let one = |name: &str, value: &dyn fmt::Display, serializer: S| {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry(name, &value.to_string())?;
            map.end()
        };
        match self {
            Value::Nil => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Integer(value) => serializer.serialize_i64(*value),
            Value::Unsigned(value) => serializer.serialize_u64(*value),
            Value::Double(value) if value.is_finite() => serializer.serialize_f64(*value),
            Value::Double(value) => one("$double", value, serializer),
            Value::Float(value) if value.is_finite() => serializer.serialize_f32(*value),
            Value::Float(value) => one("$double", value, serializer),
            Value::Text(text) => serializer.serialize_str(text),
            Value::GeoJson(text) => one("$geojson", text, serializer),
            Value::Bytes(particle, bytes) => one(&format!("${particle}"), &hex::encode(bytes), serializer),
            Value::List(order, values) if order.0 == 0 => serializer.collect_seq(values),
            Value::List(order, values) => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("$order", &order.of_list())?;
                map.serialize_entry("$list", values)?;
                map.end()
            }
            Value::Map(order, pairs) => {
                let mut map = serializer.serialize_map(None)?;
                if order.0 != 0 {
                    map.serialize_entry("$order", &order.of_map())?;
                }
                match members(pairs) {
                    Some(members) => {
                        members.into_iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?
                    }
                    None => map.serialize_entry("$map", &Pairs(pairs))?,
                }
                map.end()
            }
            Value::Hll(hll) => {
                let mut map = serializer.serialize_map(Some(3))?;
                map.serialize_entry("$hll", &hll.estimate)?;
                map.serialize_entry("index_bits", &hll.index_bits)?;
                map.serialize_entry("minhash_bits", &hll.minhash_bits)?;
                map.end()
            }
            Value::Wildcard => one("$compare", &"wildcard", serializer),
            Value::Infinity => one("$compare", &"infinity", serializer),
            Value::Extension(kind, content) => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("$extension", kind)?;
                map.serialize_entry("content", &hex::encode(content))?;
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MAX_DEPTH, decode};
    use crate::record::{Hll, Order, ParticleType, Value};
    use Value::{Integer, List, Map, Text};

    #[track_caller]
    fn shows(value: Value<'_>, text: &str, json: &str) {
        assert_eq!((value.to_string(), serde_json::to_string(&value).ok()), (text.into(), Some(json.into())));
    }

    #[test]
    fn what_json_has_is_written_as_such() {
        let values = vec![
            Value::Nil,
            Value::Bool(true),
            Integer(-1),
            Value::Double(1.0),
            Value::Float(0.1),
            Text("a\n\u{202e}"),
        ];
        shows(
            List(Order(0), values),
            r#"[nil, true, -1, 1.0, 0.1, "a\n\u{202e}"]"#,
            "[null,true,-1,1.0,0.1,\"a\\n\u{202e}\"]",
        );
        let pairs = vec![(Text("a"), Integer(1)), (Text("b"), List(Order(0), vec![]))];
        shows(Map(Order(0), pairs), r#"{"a": 1, "b": []}"#, r#"{"a":1,"b":[]}"#);
    }

    #[test]
    fn the_deepest_value_stays_within_what_json_parsers_take() {
        // Each level is an object, a list of pairs and a pair.
        let nested = [&[0x81, 0x01].repeat(MAX_DEPTH - 1)[..], &[0x80]].concat();
        let value = decode(ParticleType::MAP, &nested).ok();
        let line = serde_json::to_string(&[[[[value]]]]).unwrap_or_default();
        assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok(), "{line}");
    }

    #[test]
    fn orders_stand_in_front() {
        shows(List(Order(1), vec![Integer(1)]), "ordered [1]", r#"{"$order":"ordered","$list":[1]}"#);
        let map = Map(Order(1), vec![(Text("a"), Integer(1))]);
        shows(map, r#"key-ordered {"a": 1}"#, r#"{"$order":"key-ordered","a":1}"#);
    }

    #[test]
    fn maps_with_other_keys_are_lists_of_pairs() {
        let pairs = |keys: [Value<'static>; 2]| Map(Order(0), keys.into_iter().map(|key| (key, Integer(1))).collect());
        shows(pairs([Integer(1), Text("1")]), r#"{1: 1, "1": 1}"#, r#"{"$map":[[1,1],["1",1]]}"#);
        shows(pairs([Text("a"), Text("a")]), r#"{"a": 1, "a": 1}"#, r#"{"$map":[["a",1],["a",1]]}"#);
        shows(pairs([Text("a"), Text("$x")]), r#"{"a": 1, "$x": 1}"#, r#"{"$map":[["a",1],["$x",1]]}"#);
    }

    #[test]
    fn everything_else_names_what_it_is() {
        shows(Value::Bytes(ParticleType::BLOB, &[0, 255]), "0x00ff", r#"{"$blob":"00ff"}"#);
        shows(Value::Bytes(ParticleType::JAVA_BLOB, &[1]), "java 0x01", r#"{"$java":"01"}"#);
        shows(Value::Bytes(ParticleType(99), &[1]), "particle99 0x01", r#"{"$particle99":"01"}"#);
        shows(Value::GeoJson("{}"), r#"geojson "{}""#, r#"{"$geojson":"{}"}"#);
        shows(Value::Double(f64::NAN), "NaN", r#"{"$double":"NaN"}"#);
        shows(Value::Float(f32::NEG_INFINITY), "-inf", r#"{"$double":"-inf"}"#);
        shows(Value::Infinity, "infinity", r#"{"$compare":"infinity"}"#);
        shows(Value::Extension(9, &[1]), "extension 9 0x01", r#"{"$extension":9,"content":"01"}"#);
        let hll = Value::Hll(Hll { index_bits: 12, minhash_bits: 4, estimate: 5 });
        let text = "about 5 elements, 12 index bits, 4 MinHash bits";
        shows(hll, text, r#"{"$hll":5,"index_bits":12,"minhash_bits":4}"#);
    }
}
