//! Where passwords, keys and certificates come from.

use crate::error::{Error, Result};
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The most bytes of a secret, a key, or a file of certificates.
const MAX_BYTES: u64 = 1 << 20;

/// Where a password, a key or a certificate comes from. It is read when it is needed.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretSource {
    /// What a file holds.
    File(PathBuf),
    /// What a variable of the environment holds.
    Variable(String),
    /// What a variable of the environment holds in base64.
    Base64Variable(String),
    /// It itself.
    Text(Zeroizing<Vec<u8>>),
    /// What the Aerospike Secret Agent gives for a name, among those of a resource if one is named. Only clusters ask
    /// it.
    Agent {
        /// The resource, as the agent's configuration calls it.
        resource: Option<String>,
        /// The name of the secret.
        name: String,
    },
}

impl From<PathBuf> for SecretSource {
    fn from(path: PathBuf) -> Self {
        SecretSource::File(path)
    }
}

impl From<&Path> for SecretSource {
    fn from(path: &Path) -> Self {
        SecretSource::File(path.to_owned())
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretSource::File(path) => path.display().fmt(f),
            SecretSource::Variable(name) | SecretSource::Base64Variable(name) => write!(f, "the variable {name}"),
            SecretSource::Text(_) => f.write_str("what was given"),
            SecretSource::Agent { resource: Some(resource), name } => write!(f, "the secret {resource}:{name}"),
            SecretSource::Agent { resource: None, name } => write!(f, "the secret {name}"),
        }
    }
}

/// A text is a secret.
impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Asks a secret agent for a secret of a resource.
type AskAgent<'a> = &'a dyn Fn(Option<&str>, &str) -> Result<Zeroizing<Vec<u8>>>;

impl SecretSource {
    /// Reads what people write: `env:NAME`, `env-b64:NAME`, `b64:TEXT`, `secrets:RESOURCE:NAME` or `secrets:NAME`; all
    /// else is the path of a file.
    ///
    /// # Errors
    ///
    /// If what follows such a beginning is not what belongs there.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |problem: &str| {
            // Of a text, nothing may be repeated: it may be the secret itself.
            let kind = text.split(':').next().unwrap_or_default();
            Error::usage(format!("{kind}:...: {problem}"))
        };
        let named = |name: &str| match name.is_empty() || name.contains(['=', '\0']) {
            true => Err(wrong("that names no variable")),
            false => Ok(name.to_string()),
        };
        if let Some(name) = text.strip_prefix("env:") {
            return Ok(SecretSource::Variable(named(name)?));
        }
        if let Some(name) = text.strip_prefix("env-b64:") {
            return Ok(SecretSource::Base64Variable(named(name)?));
        }
        if let Some(encoded) = text.strip_prefix("b64:") {
            let decoded = decode(encoded.as_bytes()).ok_or_else(|| wrong("what follows is no base64"))?;
            return Ok(SecretSource::Text(decoded));
        }
        if let Some(secret) = text.strip_prefix("secrets:") {
            let (resource, name) = match secret.split_once(':') {
                Some((resource, name)) => (Some(resource.to_string()), name),
                None => (None, secret),
            };
            if name.is_empty() || resource.as_ref().is_some_and(String::is_empty) {
                return Err(wrong("write secrets:RESOURCE:NAME"));
            }
            return Ok(SecretSource::Agent { resource, name: name.to_string() });
        }
        Ok(SecretSource::File(text.into()))
    }

    /// Reads it where there is no agent to ask.
    #[cfg_attr(not(feature = "asb"), expect(dead_code, reason = "the key of files"))]
    pub(crate) fn read(&self, what: &str) -> Result<Zeroizing<Vec<u8>>> {
        self.read_with(what, &|_, _| {
            let problem = "cannot come from the secret agent, which is asked for what clusters need alone: give it as";
            Err(Error::usage(format!("the {what} {problem} a file, env:VARIABLE, env-b64:VARIABLE or b64:TEXT")))
        })
    }

    /// Reads it; `agent` is asked where it is the agent's.
    pub(crate) fn read_with(&self, what: &str, agent: AskAgent<'_>) -> Result<Zeroizing<Vec<u8>>> {
        let variable = |name: &str| match std::env::var_os(name).filter(|value| !value.is_empty()) {
            Some(value) => Ok(Zeroizing::new(value.into_encoded_bytes())),
            None => Err(Error::usage(format!("cannot read the {what} from the variable {name}: it is not set"))),
        };
        match self {
            SecretSource::File(path) => {
                let failed = |error| Error::io(format!("read the {what} from {}", path.display()), error);
                let mut bytes = Zeroizing::new(Vec::new());
                let file = std::fs::File::open(path).map_err(failed)?;
                let read = file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(failed)?;
                match read as u64 == MAX_BYTES {
                    true => Err(failed(std::io::Error::other(format!("it has {MAX_BYTES} bytes or more")))),
                    false => Ok(bytes),
                }
            }
            SecretSource::Variable(name) => variable(name),
            SecretSource::Base64Variable(name) => {
                let problem = || Error::invalid(format!("the {what} in the variable {name} is no base64"));
                decode(&variable(name)?).ok_or_else(problem)
            }
            SecretSource::Text(text) => Ok(text.clone()),
            SecretSource::Agent { resource, name } => agent(resource.as_deref(), name),
        }
    }
}

/// Decodes base64, with white space around it and between its lines.
pub(crate) fn decode(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let text: Zeroizing<Vec<u8>> = Zeroizing::new(text.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect());
    let decoded = base64_simd::STANDARD.decode_to_vec(&text[..]).ok()?;
    Some(Zeroizing::new(decoded)).filter(|decoded| !decoded.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_says_where_a_secret_is() {
        let file = |path: &str| SecretSource::File(path.into());
        let agent = |resource: Option<&str>, name: &str| SecretSource::Agent {
            resource: resource.map(str::to_string),
            name: name.to_string(),
        };
        for (text, source) in [
            ("key.pem", file("key.pem")),
            ("./env:x", file("./env:x")),
            ("env:KEY", SecretSource::Variable("KEY".into())),
            ("env-b64:KEY", SecretSource::Base64Variable("KEY".into())),
            ("b64:c2VjcmV0", SecretSource::Text(Zeroizing::new(b"secret".to_vec()))),
            ("secrets:tls:key", agent(Some("tls"), "key")),
            ("secrets:key", agent(None, "key")),
            ("secrets:tls:a:b", agent(Some("tls"), "a:b")),
        ] {
            assert_eq!(SecretSource::parse(text).unwrap(), source, "{text}");
        }
        for wrong in ["env:", "env:A=b", "env-b64:", "b64:", "b64:s3cr*t", "secrets:", "secrets::x", "secrets:x:"] {
            let error = SecretSource::parse(wrong).unwrap_err().to_string();
            assert!(!error.contains("s3cr"), "{error}");
        }
    }

    #[test]
    fn a_secret_given_as_text_is_not_shown() {
        let source = SecretSource::parse("b64:c2VjcmV0").unwrap();
        for shown in [format!("{source}"), format!("{source:?}")] {
            assert_eq!(shown, "what was given");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let no_agent = |_: Option<&str>, _: &str| Err(Error::invalid("nobody asks the agent"));
        let read = |text: &str| SecretSource::parse(text).unwrap().read_with("key", &no_agent);
        for (text, problem) in
            [("/nowhere/key", "read the key from /nowhere/key"), ("env:AEROLITH_NO_SUCH", "it is not set")]
        {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
        assert_eq!(&read("b64:c2Vj\ncmV0").unwrap()[..], b"secret");
        let error = SecretSource::parse("secrets:tls:key").unwrap().read("key").unwrap_err().to_string();
        assert!(error.contains("the key cannot come from the secret agent"), "{error}");
    }
}
