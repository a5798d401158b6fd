//! Records, indexes, UDF modules, roles and users to lines.

use super::VERSION;
use crate::record::{BodyError, KeyRef, ParticleType, RecordView, Role, SecondaryIndex, UdfModule, User, Value, value};
use std::io::Write as _;

/// Longer texts are written in base64: escapes could make them six times as long.
const MAX_TEXT_BYTES: usize = 16 << 20;

/// Appends the header line.
pub fn write_header(out: &mut Vec<u8>) {
    // Writing to memory can't fail, here and below.
    let _ = writeln!(out, r#"{{"aerolith":"jsonl","version":{VERSION}}}"#);
}

/// Appends a JSON string.
fn put_text(out: &mut Vec<u8>, text: &str) {
    let _ = serde_json::to_writer(out, text);
}

fn put_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    base64_simd::STANDARD.encode_append(bytes, out);
    out.push(b'"');
}

fn as_text(bytes: &[u8]) -> Option<&str> {
    if bytes.len() > MAX_TEXT_BYTES { None } else { std::str::from_utf8(bytes).ok() }
}

/// Appends a name: a string, or `{"base64":…}`.
fn put_name(out: &mut Vec<u8>, name: &[u8]) {
    match as_text(name) {
        Some(text) => put_text(out, text),
        None => {
            out.extend_from_slice(br#"{"base64":"#);
            put_base64(out, name);
            out.push(b'}');
        }
    }
}

/// Appends `"type":…` and the field that holds the value; gives back whether that is `base64`.
fn put_typed(out: &mut Vec<u8>, particle: ParticleType, bytes: &[u8]) -> bool {
    let _ = match particle.name() {
        Some(name) => write!(out, r#""type":"{name}","#),
        None => write!(out, r#""type":{},"#, particle.0),
    };
    let is_base64 = put_value(out, particle, bytes).is_none();
    if is_base64 {
        out.extend_from_slice(br#""base64":"#);
        put_base64(out, bytes);
    }
    is_base64
}

/// Appends `"value":…` or `"bits":…` if the bytes are such that reading it gives them back.
fn put_value(out: &mut Vec<u8>, particle: ParticleType, bytes: &[u8]) -> Option<()> {
    const VALUE: &[u8] = br#""value":"#;
    match particle {
        ParticleType::INTEGER => {
            let value = i64::from_be_bytes(bytes.try_into().ok()?);
            let _ = write!(out, r#""value":{value}"#);
        }
        ParticleType::DOUBLE => {
            let bits = u64::from_be_bytes(bytes.try_into().ok()?);
            let value = f64::from_bits(bits);
            // Many tools print -0.0 as 0.
            if value.is_finite() && (value != 0.0 || bits == 0) {
                out.extend_from_slice(VALUE);
                let _ = serde_json::to_writer(out, &value);
            } else {
                let _ = write!(out, r#""bits":"{bits:016x}""#);
            }
        }
        ParticleType::STRING => {
            let text = as_text(bytes)?;
            out.extend_from_slice(VALUE);
            put_text(out, text);
        }
        ParticleType::GEOJSON => {
            let text = as_text(bytes.strip_prefix(&[0; 3])?)?;
            out.extend_from_slice(VALUE);
            put_text(out, text);
        }
        ParticleType::BOOL => match bytes {
            [0] => out.extend_from_slice(br#""value":false"#),
            [1] => out.extend_from_slice(br#""value":true"#),
            _ => return None,
        },
        _ => return None,
    }
    Some(())
}

/// Appends what bytes in base64 mean, where that can be said: `,"decoded":…`, or `,"problem":…` if they are not what
/// their type says. Readers ignore both.
fn put_decoded(out: &mut Vec<u8>, particle: ParticleType, bytes: &[u8]) {
    let put = |out: &mut Vec<u8>, field: &str, json: serde_json::Result<Vec<u8>>| {
        if let Ok(json) = json {
            let _ = write!(out, r#","{field}":"#);
            out.extend_from_slice(&json);
        }
    };
    match value::decode(particle, bytes) {
        Ok(Value::Nil | Value::Text(_) | Value::Bytes(..)) => {}
        Ok(value) => put(out, "decoded", serde_json::to_vec(&value)),
        Err(error) => put(out, "problem", serde_json::to_vec(&error.to_string())),
    }
}

/// Appends a typed value, and what it means where bytes stand in base64.
fn put_shown(out: &mut Vec<u8>, particle: ParticleType, bytes: &[u8]) {
    if put_typed(out, particle, bytes) {
        put_decoded(out, particle, bytes);
    }
}

fn put_key(out: &mut Vec<u8>, key: KeyRef<'_>) {
    out.extend_from_slice(br#","key":{"#);
    put_typed(out, key.particle, key.bytes);
    out.push(b'}');
}

/// Appends how a line of this kind begins.
fn put_head(out: &mut Vec<u8>, kind: &str, namespace: &str) {
    for part in [r#"{"kind":""#, kind, r#"","namespace":"#] {
        out.extend_from_slice(part.as_bytes());
    }
    put_text(out, namespace);
}

/// Appends a field that is a name, after another.
fn put_field(out: &mut Vec<u8>, field: &str, name: &[u8]) {
    let _ = write!(out, r#","{field}":"#);
    put_name(out, name);
}

/// The same, unless the name is empty.
fn put_if_any(out: &mut Vec<u8>, field: &str, name: &[u8]) {
    if !name.is_empty() {
        put_field(out, field, name);
    }
}

/// Appends a record's line.
pub fn write_record(out: &mut Vec<u8>, namespace: &str, record: &RecordView<'_>) -> Result<(), BodyError> {
    put_record(out, namespace, record, |out, particle, bytes| {
        put_typed(out, particle, bytes);
    })
}

/// Appends a record's line that also says why a target did not take it. Readers ignore that.
pub fn write_refused_record(
    out: &mut Vec<u8>,
    namespace: &str,
    record: &RecordView<'_>,
    reason: &str,
) -> Result<(), BodyError> {
    write_record(out, namespace, record)?;
    // Before the brace and the line feed that end it.
    out.truncate(out.len().saturating_sub(2));
    out.extend_from_slice(br#","refused":"#);
    put_text(out, reason);
    out.extend_from_slice(b"}\n");
    Ok(())
}

/// Appends a record's line that also says what lists, maps and sketches hold, for people. Readers ignore that.
pub fn write_shown_record(out: &mut Vec<u8>, namespace: &str, record: &RecordView<'_>) -> Result<(), BodyError> {
    put_record(out, namespace, record, put_shown)
}

/// Appends a value as an object, as it is in the lines of [`write_shown_record`].
pub fn write_shown_value(out: &mut Vec<u8>, particle: ParticleType, bytes: &[u8]) {
    out.push(b'{');
    put_shown(out, particle, bytes);
    out.push(b'}');
}

fn put_record(
    out: &mut Vec<u8>,
    namespace: &str,
    record: &RecordView<'_>,
    put_bin: fn(&mut Vec<u8>, ParticleType, &[u8]),
) -> Result<(), BodyError> {
    let body = record.parse()?;
    put_head(out, "record", namespace);
    let meta = &record.meta;
    out.extend_from_slice(br#","set":"#);
    put_name(out, meta.set);
    let _ = write!(out, r#","digest":"{}""#, meta.digest);
    if let Some(key) = body.key() {
        put_key(out, key);
    }
    let _ = write!(out, r#","generation":{},"void_time":{}"#, meta.generation.0, meta.void_time.0);
    if let Some(time) = meta.void_time.timestamp() {
        let _ = write!(out, r#","expires":"{time}""#);
    }
    out.extend_from_slice(br#","bins":["#);
    for (place, bin) in record.in_source_order(body.bins()).into_iter().enumerate() {
        let start: &[u8] = if place == 0 { br#"{"name":"# } else { br#",{"name":"# };
        out.extend_from_slice(start);
        put_name(out, bin.name);
        out.push(b',');
        put_bin(out, bin.particle, bin.bytes);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}\n");
    Ok(())
}

/// Appends a letter such as an index's type: a string, or a number if it isn't printable ASCII.
fn put_letter(out: &mut Vec<u8>, letter: u8) {
    if letter.is_ascii_graphic() {
        put_text(out, char::from(letter).encode_utf8(&mut [0; 4]));
    } else {
        let _ = write!(out, "{letter}");
    }
}

/// Appends the line of a namespace.
pub fn write_namespace(out: &mut Vec<u8>, namespace: &str) {
    put_head(out, "namespace", namespace);
    out.extend_from_slice(b"}\n");
}

/// Appends a secondary index's line.
pub fn write_index(out: &mut Vec<u8>, namespace: &str, index: &SecondaryIndex) {
    let SecondaryIndex { set, name, kind, bin, value, context, expression, other } = index;
    put_head(out, "index", namespace);
    for (field, bytes) in [("set", set), ("name", name), ("bin", bin)] {
        put_field(out, field, bytes);
    }
    for (field, letter) in [("index_type", kind), ("value_type", value)] {
        let _ = write!(out, r#","{field}":"#);
        put_letter(out, *letter);
    }
    for (field, bytes) in [("context", context), ("expression", expression)] {
        if !bytes.is_empty() {
            let _ = write!(out, r#","{field}":"#);
            put_base64(out, bytes);
        }
    }
    put_if_any(out, "other", other);
    out.extend_from_slice(b"}\n");
}

/// Appends a role's line.
pub fn write_role(out: &mut Vec<u8>, namespace: &str, role: &Role) {
    let Role { name, privileges, allow_list, read_quota, write_quota } = role;
    put_head(out, "role", namespace);
    put_field(out, "name", name);
    out.extend_from_slice(br#","privileges":["#);
    for (place, privilege) in privileges.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        let _ = write!(out, r#"{comma}{{"code":{}"#, privilege.code);
        if let Some(name) = privilege.name() {
            let _ = write!(out, r#","privilege":"{name}""#);
        }
        put_if_any(out, "namespace", &privilege.namespace);
        put_if_any(out, "set", &privilege.set);
        out.push(b'}');
    }
    out.push(b']');
    put_if_any(out, "allow_list", allow_list);
    for (field, quota) in [("read_quota", read_quota), ("write_quota", write_quota)] {
        if *quota > 0 {
            let _ = write!(out, r#","{field}":{quota}"#);
        }
    }
    out.extend_from_slice(b"}\n");
}

/// Appends a user's line.
pub fn write_user(out: &mut Vec<u8>, namespace: &str, user: &User) {
    let User { name, roles } = user;
    put_head(out, "user", namespace);
    put_field(out, "name", name);
    out.extend_from_slice(br#","roles":["#);
    for (place, role) in roles.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        put_name(out, role);
    }
    out.extend_from_slice(b"]}\n");
}

/// Appends a UDF module's line.
pub fn write_udf(out: &mut Vec<u8>, namespace: &str, udf: &UdfModule) {
    let UdfModule { kind, name, content } = udf;
    put_head(out, "udf", namespace);
    put_field(out, "name", name);
    out.extend_from_slice(br#","language":"#);
    put_letter(out, *kind);
    put_field(out, "content", content);
    out.extend_from_slice(b"}\n");
}
