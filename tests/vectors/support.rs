//! What all vectors use: the inputs, the committed files, and the pages' rules without the library.

use aerolith::format::RepositoryId;
use aerolith::format::header::{Class, HEADER_BYTES, ObjectKind, Suite};
use aerolith::internals::crypto::{Keys, Sealer, sealed};
use serde_json::{Value, json};
use std::path::PathBuf;

pub const MASTER: [u8; 32] = counting(0);
pub const SALT: [u8; 32] = counting(0x80);
pub const REPOSITORY: RepositoryId = RepositoryId([0xa5; 16]);
pub const SUITES: [Suite; 2] = [Suite::Aes256Gcm, Suite::XChaCha20Poly1305];

const fn counting(first: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    let mut i = 0;
    while i < 32 {
        bytes[i] = first + i as u8;
        i += 1;
    }
    bytes
}

pub fn keys() -> Keys {
    Keys::derive(&MASTER)
}

/// What `format-spec/keys.md` calls K(purpose).
pub fn derived(purpose: &str) -> [u8; 32] {
    blake3::derive_key(&format!("aerolith 2026 format 8 {purpose}"), &MASTER)
}

pub fn hexed(value: Value) -> Value {
    match value {
        Value::Array(items) if items.len() >= 16 && items.iter().all(Value::is_number) => {
            let bytes: Vec<u8> = items.iter().map(|n| n.as_u64().unwrap() as u8).collect();
            json!(hex::encode(bytes))
        }
        Value::Array(items) => items.into_iter().map(hexed).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, hexed(value))).collect(),
        other => other,
    }
}

pub fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn difference(path: String, built: &Value, stored: &Value) -> Option<String> {
    match (built, stored) {
        (Value::Object(a), Value::Object(b)) => {
            let names = a.keys().chain(b.keys());
            names.into_iter().find_map(|name| difference(format!("{path}/{name}"), &built[name], &stored[name]))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(i, (a, b))| difference(format!("{path}/{i}"), a, b))
        }
        (a, b) if a == b => None,
        (a, b) => Some(format!("{path}\n  made again: {a}\n  committed: {b}")),
    }
}

/// Compares what was made from the inputs with the committed file, and gives back what is committed.
pub fn committed(name: &str, built: Value) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("format-spec/vectors").join(name);
    if std::env::var_os("AEROLITH_WRITE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(&built).unwrap();
        std::fs::write(&path, text + "\n").unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let stored: Value = serde_json::from_str(&text).unwrap();
    if let Some(difference) = difference(name.to_string(), &built, &stored) {
        panic!("{difference}");
    }
    stored
}

/// Encodes as `format-spec/structured.md` says, without the library.
#[derive(Default)]
pub struct Plain(pub Vec<u8>);

impl Plain {
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
    pub fn u8(self, n: u8) -> Self {
        self.raw(&[n])
    }
    pub fn u32(self, n: u32) -> Self {
        self.raw(&n.to_le_bytes())
    }
    pub fn u64(self, n: u64) -> Self {
        self.raw(&n.to_le_bytes())
    }
    pub fn text(self, text: &str) -> Self {
        self.list(text.as_bytes())
    }
    pub fn list(self, bytes: &[u8]) -> Self {
        self.u64(bytes.len() as u64).raw(bytes)
    }
}

/// Subkey and commitment as `format-spec/sealing.md` says, without the library.
pub fn subkey(purpose: &str, object: &[u8]) -> [u8; 32] {
    let mut output = [0; 64];
    blake3::Hasher::new_keyed(&derived(purpose)).update(&object[..40]).finalize_xof().fill(&mut output);
    assert_eq!(output[32..], object[40..72], "the key commitment");
    output[..32].try_into().unwrap()
}

/// Opens one sealed part as `format-spec/sealing.md` says, without the library.
pub fn opened(key: &[u8; 32], suite: u8, place: u64, associated: &[u8], part: &[u8]) -> Vec<u8> {
    use chacha20poly1305::aead::{Aead, KeyInit, Payload};
    let payload = Payload { msg: part, aad: associated };
    let mut nonce = [0; 24];
    nonce[16..].copy_from_slice(&place.to_le_bytes());
    match suite {
        1 => {
            let nonce: [u8; 12] = nonce[12..].try_into().unwrap();
            aes_gcm::Aes256Gcm::new(key.into()).decrypt(&nonce.into(), payload).unwrap()
        }
        2 => chacha20poly1305::XChaCha20Poly1305::new(key.into()).decrypt(&nonce.into(), payload).unwrap(),
        other => panic!("suite {other}"),
    }
}

/// Seals `value` under both suites, and opens what is sealed by the library and by the pages.
pub fn sealed_value(file: &str, kind: ObjectKind, name: &str, value: Value, plain: &[u8], lead: &[u8]) -> Vec<u8> {
    let objects = SUITES.map(|suite| {
        let sealer = Sealer::with_salt(&keys(), kind, Class::Meta, suite, SALT).unwrap();
        let object = sealed::seal_with(&sealer, name, plain).unwrap();
        json!({ "suite": suite.number(), "object": hex::encode([lead, &object].concat()) })
    });
    let stored = committed(
        file,
        json!({
            "master": hex::encode(MASTER), "salt": hex::encode(SALT), "name": name, "value": hexed(value),
            "encoded": hex::encode(plain), "sealed": objects,
        }),
    );
    for case in stored["sealed"].as_array().unwrap() {
        let object = bytes(&case["object"])[lead.len()..].to_vec();
        let part = opened(&subkey("meta", &object), object[5], 0, name.as_bytes(), &object[HEADER_BYTES..]);
        let number = |at: usize| u32::from_le_bytes(part[at..at + 4].try_into().unwrap());
        let (packed, padding) = part[8..].split_at(number(0) as usize);
        let value = bytes(&stored["encoded"]);
        assert_eq!(number(4) as usize & 0x3fff_ffff, value.len());
        match number(4) >> 30 {
            0 => assert_eq!(packed, value),
            2 => assert_eq!(zstd::bulk::decompress(packed, value.len()).unwrap(), value),
            other => panic!("compression {other}"),
        }
        assert!(padding.iter().all(|&byte| byte == 0));
        assert_eq!(sealed::unseal(&keys(), kind, name, object.clone()).unwrap(), bytes(&stored["encoded"]));
        assert!(sealed::unseal(&keys(), kind, "another name", object).is_err());
    }
    bytes(&stored["encoded"])
}
