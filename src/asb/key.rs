//! The key of an encrypted file.
//!
//! asbackup takes an RSA private key in PEM form and hashes its PKCS#1 encoding with SHA-256; the digest, or its first
//! half for AES-128, is the AES key. A key in PKCS#8 form (`BEGIN PRIVATE KEY`) holds the PKCS#1 encoding inside.

use crate::error::{Error, Result};
use crate::secret::SecretSource;
use base64_simd::STANDARD;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// The SHA-256 of a private key.
pub(crate) struct FileKey(pub(crate) Zeroizing<[u8; 32]>);

impl FileKey {
    /// Reads a key: the text of a PEM file. What is given in base64 may also be the key's own bytes, as asbackup takes
    /// them from the environment.
    pub(crate) fn read(source: &SecretSource) -> Result<Self> {
        let text = source.read("key of .asb files")?;
        let is_base64 = matches!(source, SecretSource::Base64Variable(_) | SecretSource::Text(_));
        if is_base64 && memchr::memmem::find(&text, b"-----BEGIN ").is_none() {
            return Ok(Self(Zeroizing::new(Sha256::digest(&text[..]).into())));
        }
        Self::from_pem(&text).map_err(|problem| {
            let source_name = match source {
                SecretSource::File(path) => format!("key file {}", path.display()),
                other => format!("key in {other}"),
            };
            Error::Source { source_name, problem: problem.to_owned() }
        })
    }

    /// Takes the key from the text of a PEM file.
    pub(crate) fn from_pem(pem: &[u8]) -> Result<Self, &'static str> {
        const NO_KEY: &str = "no private key in PEM form (\"-----BEGIN RSA PRIVATE KEY-----\") was found in it";
        let text = std::str::from_utf8(pem).map_err(|_| NO_KEY)?;
        let mut label = None;
        let mut body = Zeroizing::new(String::with_capacity(text.len()));
        let mut ended = false;
        for line in text.lines().map(str::trim) {
            match label {
                None => {
                    let begun = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----"));
                    label = begun.filter(|name| name.ends_with("PRIVATE KEY"));
                }
                Some(_) if line.starts_with("-----END ") => {
                    ended = true;
                    break;
                }
                Some(_) if line.contains(':') => return Err(ENCRYPTED),
                Some(_) => body.push_str(line),
            }
        }
        const ENCRYPTED: &str = "the key in it is encrypted itself; decrypt it first (openssl rsa -in KEY -out PLAIN)";
        let label = label.filter(|_| ended).ok_or(NO_KEY)?;
        let der = Zeroizing::new(STANDARD.decode_to_vec(body.as_bytes()).map_err(|_| "its base64 is damaged")?);
        let key = match label {
            "RSA PRIVATE KEY" => &der[..],
            "PRIVATE KEY" => pkcs1_within(&der).ok_or("it holds no RSA key in PKCS#8 form")?,
            "ENCRYPTED PRIVATE KEY" => return Err(ENCRYPTED),
            _ => return Err("it holds a private key of a kind other than RSA"),
        };
        // A PKCS#1 key is one sequence, all of it.
        match element(key, 0x30) {
            Some((_, [])) => Ok(Self(Zeroizing::new(Sha256::digest(key).into()))),
            _ => Err("the key in it is damaged"),
        }
    }
}

/// Takes a DER element with this tag off the front: its content, and what follows.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&length, mut rest) = rest.split_first()?;
    if found != tag {
        return None;
    }
    let mut size = usize::from(length);
    if length >= 0x80 {
        let (bytes, tail) = rest.split_at_checked(usize::from(length & 0x7f)).filter(|(bytes, _)| bytes.len() <= 4)?;
        size = bytes.iter().fold(0, |size, &byte| size << 8 | usize::from(byte));
        rest = tail;
    }
    rest.split_at_checked(size)
}

/// The PKCS#1 key within a PKCS#8 one: version, algorithm (which must be RSA), octet string.
fn pkcs1_within(der: &[u8]) -> Option<&[u8]> {
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
    let (info, _) = element(der, 0x30)?;
    let (_, rest) = element(info, 0x02)?;
    let (algorithm, rest) = element(rest, 0x30)?;
    let (oid, _) = element(algorithm, 0x06)?;
    let (key, _) = element(rest, 0x04)?;
    (oid == RSA).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PKCS1: &str = include_str!("../../tests/data/asb/key-pkcs1.pem");
    const PKCS8: &str = include_str!("../../tests/data/asb/key-pkcs8.pem");

    #[test]
    fn both_forms_of_one_key_give_the_same() {
        let one = FileKey::from_pem(PKCS1.as_bytes()).ok().unwrap();
        let other = FileKey::from_pem(PKCS8.as_bytes()).ok().unwrap();
        assert_eq!(*one.0, *other.0);
    }

    #[test]
    fn in_base64_the_bytes_of_a_key_do_as_well_as_its_file() {
        let file = FileKey::from_pem(PKCS1.as_bytes()).ok().unwrap();
        let body: String = PKCS1.lines().filter(|line| !line.starts_with('-')).collect();
        for text in [body, STANDARD.encode_to_string(PKCS1)] {
            let source = SecretSource::parse(&format!("b64:{text}")).unwrap();
            assert_eq!(*FileKey::read(&source).ok().unwrap().0, *file.0);
        }
        let error = FileKey::read(&SecretSource::parse("secrets:key").unwrap()).err().unwrap().to_string();
        assert!(error.contains("secret agent"), "{error}");
    }

    #[test]
    fn says_why_a_key_is_no_use() {
        let encrypted = PKCS1.replace("KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\n");
        for (text, word) in [
            ("", "no private key"),
            ("-----BEGIN RSA PRIVATE KEY-----\n", "no private key"),
            ("-----BEGIN EC PRIVATE KEY-----\n-----END EC PRIVATE KEY-----\n", "other than RSA"),
            ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\n", "damaged"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "PKCS#8"),
            (&encrypted, "decrypt it first"),
        ] {
            let problem = FileKey::from_pem(text.as_bytes()).err().unwrap_or("none");
            assert!(problem.contains(word), "{text}: {problem}");
        }
    }

    #[test]
    fn never_panics_on_a_damaged_key() {
        let der =
            STANDARD.decode_to_vec(PKCS8.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap();
        for cut in 0..der.len() {
            let _ = pkcs1_within(&der[..cut]);
        }
    }
}
