//! Asks the Aerospike Secret Agent for secrets.
//!
//! One connection for each: a request out, an answer in, both JSON behind eight bytes.
//!
//! ```text
//! 0  4  magic: 51 de c1 cc
//! 4  4  length of the JSON, big-endian
//! ```
//!
//! A request is `{"Resource": ..., "SecretKey": ...}`, an answer `{"SecretValue": ...}` in base64, or `{"Error": ...}`.

use super::connect;
use super::tls::Tls;
use crate::aerospike::options::SecretAgent;
use crate::error::{Error, Result};
use crate::secret::{SecretSource, decode};
use serde::Deserialize;
use std::io::{self, Read, Write};
use zeroize::Zeroizing;

/// What requests and answers begin with.
const MAGIC: [u8; 4] = 0x51de_c1cc_u32.to_be_bytes();
/// The longest answer that is accepted, in bytes.
const MAX_ANSWER: u32 = 100 << 10;

impl SecretAgent {
    /// Reads what a source names, from this agent where it is the agent's.
    pub(crate) fn read(&self, source: &SecretSource, what: &str) -> Result<Zeroizing<Vec<u8>>> {
        source.read_with(what, &|resource, name| {
            self.ask(resource, name).map_err(|problem| {
                let of = resource.map_or_else(String::new, |resource| format!(" of resource {resource:?}"));
                Error::invalid(format!(
                    "cannot read the {what} from the secret agent at {}: secret {name:?}{of}: {problem}",
                    self.address
                ))
            })
        })
    }

    fn ask(&self, resource: Option<&str>, name: &str) -> Result<Zeroizing<Vec<u8>>, String> {
        let mut request = serde_json::Map::new();
        request.extend(resource.map(|resource| ("Resource".to_string(), resource.into())));
        request.insert("SecretKey".to_string(), name.into());
        let request = serde_json::Value::from(request).to_string();
        let length = u32::try_from(request.len()).map_err(|_| "its name is too long".to_string())?;
        let told = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "it doesn't answer".to_string(),
            io::ErrorKind::UnexpectedEof => "it closed the connection".to_string(),
            _ => error.to_string(),
        };
        let mut stream = self.connect()?;
        let sent = stream.write_all(&[&MAGIC[..], &length.to_be_bytes(), request.as_bytes()].concat());
        sent.and_then(|()| stream.flush()).map_err(told)?;
        let (mut magic, mut length) = ([0; 4], [0; 4]);
        stream.read_exact(&mut magic).and_then(|()| stream.read_exact(&mut length)).map_err(told)?;
        let length = u32::from_be_bytes(length);
        if magic != MAGIC || length > MAX_ANSWER {
            return Err("its answer is not one of a secret agent".to_string());
        }
        let mut answer = Zeroizing::new(Vec::new());
        stream.take(u64::from(length)).read_to_end(&mut answer).map_err(told)?;
        secret(&answer)
    }

    fn connect(&self) -> Result<Box<dyn Stream>, String> {
        let stream = connect(&self.address, self.timeout);
        let stream = stream.map_err(|error| format!("cannot connect: {error}"))?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let own = |source: &SecretSource, what: &str| {
            source.read_with(what, &|_, _| Err(Error::usage("what opens the secret agent can't be a secret of it")))
        };
        let tls = Tls::new(tls, &own).map_err(|error| error.to_string())?;
        let session = tls.session(&self.address.host, None).map_err(|error| error.to_string())?;
        Ok(Box::new(rustls::StreamOwned::new(session, stream)))
    }
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// The agent's answer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    secret_value: Option<String>,
    error: Option<String>,
}

/// The secret in an answer.
pub(crate) fn secret(answer: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
    let answer: Answer =
        serde_json::from_slice(answer).map_err(|_| "its answer is not one of a secret agent".to_string())?;
    match answer {
        Answer { error: Some(error), .. } => Err(format!("it says: {error:?}")),
        Answer { secret_value: Some(value), error: None } => {
            decode(Zeroizing::new(value).as_bytes()).ok_or_else(|| {
                "its value is empty or no base64: have the agent encode its answers, as servers need them too"
                    .to_string()
            })
        }
        Answer { .. } => Err("its answer holds no value".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_taken_out_of_an_answer_and_a_refusal_is_repeated() {
        assert_eq!(&secret(br#"{"SecretValue": "c2VjcmV0\n"}"#).unwrap()[..], b"secret");
        for (answer, problem) in [
            (&br#"{"Error": "no such key"}"#[..], "it says: \"no such key\""),
            (br#"{"SecretValue": "c2VjcmV0", "Error": "x"}"#, "it says"),
            (br#"{"SecretValue": ""}"#, "no base64"),
            (br#"{"SecretValue": "s*"}"#, "no base64"),
            (br#"{}"#, "holds no value"),
            (br#"{"SecretValue""#, "not one of a secret agent"),
        ] {
            let error = secret(answer).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }
}
