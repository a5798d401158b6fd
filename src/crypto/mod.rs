//! Keys and seals.
//!
//! One random master key makes all others by `blake3::derive_key` with a context string each. Every sealed object has a
//! subkey of its own, made from the class key, the object's header and a random salt; so a nonce, which is a place
//! within the object, never repeats under one key. The header carries a commitment to the subkey, because neither suite
//! commits to its key by itself (Albertini et al., "How to Abuse and Fix Authenticated Encryption Without Key
//! Commitment", USENIX Security 2022).

pub mod keys;
mod many;
pub mod sealed;
pub mod slot;
pub mod suite;

pub use keys::Keys;
pub use suite::Sealer;

use crate::error::{Error, Result};

/// `N` bytes from the operating system's generator.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::invalid(format!("the operating system gave no random bytes: {error}")))?;
    Ok(bytes)
}
