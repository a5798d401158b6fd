//! Logging in: a 16-byte head (of which result, command and number of fields count), then fields.
//!
//! A password never travels in the clear unless an external directory has to check it: what is sent is its bcrypt hash
//! with a salt that all clients share. A login is answered by a session token, with which further connections are
//! opened.

use super::frame::{self, FrameType};
use super::{WireError, take, take_array};
use std::time::Duration;
use zeroize::Zeroizing;

/// The bytes of a head.
pub(super) const HEAD_BYTES: usize = 16;
const COMMAND_AUTHENTICATE: u8 = 0;
const COMMAND_LOGIN: u8 = 20;

const FIELD_USER: u8 = 0;
const FIELD_CREDENTIAL: u8 = 3;
const FIELD_CLEAR_PASSWORD: u8 = 4;
const FIELD_TOKEN: u8 = 5;
const FIELD_TTL: u8 = 6;

/// The salt that all clients use, in bcrypt's own base64 `7EqJtq98hPqEX7fNZaFWoO`.
const SALT: [u8; 16] = [244, 107, 11, 190, 207, 254, 141, 27, 6, 103, 216, 79, 109, 193, 216, 169];
const COST: u32 = 10;

/// Who logs in.
pub enum Login<'a> {
    /// By name and password, which the cluster knows.
    Internal {
        /// The user.
        user: &'a str,
        /// [`credential`] of the password.
        credential: &'a [u8],
    },
    /// By name and password, which a directory checks; the password travels, so only over TLS.
    External {
        /// The user.
        user: &'a str,
        /// [`credential`] of the password.
        credential: &'a [u8],
        /// The password.
        password: &'a [u8],
    },
    /// By the certificate of the connection.
    Certificate,
}

/// What a server said to a login.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionToken {
    /// Opens further connections.
    pub token: Zeroizing<Vec<u8>>,
    /// How long it does so.
    pub lifetime: Option<Duration>,
}

/// The hash of a password that is sent in its place; an error if bcrypt can't take the password.
pub fn credential(password: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
    let hash = bcrypt::hash_with_salt(password, COST, SALT).map_err(|error| error.to_string())?;
    Ok(Zeroizing::new(hash.format_for_version(bcrypt::Version::TwoA).into_bytes()))
}

/// A security message, as a whole frame.
pub(super) fn message(command: u8, fields: &[(u8, &[u8])]) -> Zeroizing<Vec<u8>> {
    let mut out = Vec::new();
    frame::begin(&mut out, FrameType::Security);
    out.extend_from_slice(&[0, 0, command, fields.len() as u8]);
    out.resize(frame::FRAME_BYTES + HEAD_BYTES, 0);
    for (kind, data) in fields {
        out.extend_from_slice(&(data.len() as u32 + 1).to_be_bytes());
        out.push(*kind);
        out.extend_from_slice(data);
    }
    frame::finish(&mut out);
    Zeroizing::new(out)
}

/// A login, as a whole frame.
pub fn login(who: &Login<'_>) -> Zeroizing<Vec<u8>> {
    match who {
        Login::Internal { user, credential } => {
            message(COMMAND_LOGIN, &[(FIELD_USER, user.as_bytes()), (FIELD_CREDENTIAL, credential)])
        }
        Login::External { user, credential, password } => message(
            COMMAND_LOGIN,
            &[(FIELD_USER, user.as_bytes()), (FIELD_CREDENTIAL, credential), (FIELD_CLEAR_PASSWORD, password)],
        ),
        Login::Certificate => message(COMMAND_LOGIN, &[]),
    }
}

/// Opens a further connection with a session's token, as a whole frame. A login by certificate names no user.
pub fn authenticate(user: Option<&str>, token: &[u8]) -> Zeroizing<Vec<u8>> {
    match user {
        Some(user) => message(COMMAND_AUTHENTICATE, &[(FIELD_USER, user.as_bytes()), (FIELD_TOKEN, token)]),
        None => message(COMMAND_AUTHENTICATE, &[(FIELD_TOKEN, token)]),
    }
}

/// Reads the body of an answer: the result code, and the session if there is one.
pub fn reply(mut body: &[u8]) -> Result<(u8, Option<SessionToken>), WireError> {
    let [_, result, _, fields, ..] = take_array::<HEAD_BYTES>(&mut body, "the head of a login's answer")?;
    let (mut token, mut lifetime) = (None, None);
    for _ in 0..fields {
        let size = u32::from_be_bytes(take_array(&mut body, "the size of a login's field")?) as usize;
        let field = take(&mut body, size, "a login's field")?;
        match field.split_first() {
            Some((&FIELD_TOKEN, data)) => token = Some(Zeroizing::new(data.to_vec())),
            Some((&FIELD_TTL, data)) => {
                let seconds = data.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
                lifetime = seconds.map(|seconds| Duration::from_secs(u64::from(seconds)));
            }
            _ => {}
        }
    }
    Ok((result, token.map(|token| SessionToken { token, lifetime })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_a_password_as_all_clients_do() {
        let hash = credential(b"password").unwrap();
        assert_eq!(&hash[..], b"$2a$10$7EqJtq98hPqEX7fNZaFWoOqUH6KN8IKy3Yk5Kz..RHGKNAUCoP/LG");
    }

    #[test]
    fn a_login_carries_user_and_credential() {
        let bytes = login(&Login::Internal { user: "ada", credential: b"hash" });
        let mut expected = vec![2, 2, 0, 0, 0, 0, 0, 16 + 8 + 9, 0, 0, 20, 2];
        expected.extend_from_slice(&[0; 12]);
        expected.extend_from_slice(b"\0\0\0\x04\0ada\0\0\0\x05\x03hash");
        assert_eq!(&bytes[..], &expected[..]);
    }

    #[test]
    fn an_answer_gives_token_and_lifetime() {
        let mut body = vec![0, 0, 0, 2];
        body.extend_from_slice(&[0; 12]);
        body.extend_from_slice(b"\0\0\0\x04\x05tok\0\0\0\x05\x06\0\0\x0e\x10");
        let (result, session) = reply(&body).unwrap();
        let session = session.unwrap();
        assert_eq!((result, &session.token[..], session.lifetime), (0, &b"tok"[..], Some(Duration::from_secs(3600))));
        body.truncate(18);
        assert!(reply(&body).is_err());
        let mut refused = [0; 16];
        refused[1] = 65;
        assert_eq!(reply(&refused).unwrap(), (65, None));
    }
}
