//! Wrapping the master key with a passphrase.

use super::random;
use crate::error::{Error, Result};
use crate::format::keyslot::{KdfCost, SLOT_HEADER_BYTES, SlotHeader, SlotSecret};
use crate::format::{FormatError, RepositoryId};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use rayon::prelude::*;
use zeroize::{Zeroize, Zeroizing};

fn stretch(passphrase: &[u8], cost: KdfCost, salt: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>> {
    let failed = |error| Error::invalid(format!("cannot derive a key from the passphrase: {error}"));
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).map_err(failed)?;
    // To have so much memory for the first time takes as long as to compute with it, so all processors ask for it.
    let mut blocks = Vec::new();
    let no_memory = |_| {
        Error::invalid(format!("cannot derive a key from the passphrase: {} KiB are not to be had", cost.memory_kib))
    };
    blocks.try_reserve_exact(params.block_count()).map_err(no_memory)?;
    (0..params.block_count()).into_par_iter().map(|_| Block::new()).collect_into_vec(&mut blocks);
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(passphrase, salt, &mut *key, &mut blocks)
        .map_err(failed)?;
    blocks.par_iter_mut().for_each(Zeroize::zeroize);
    Ok(key)
}

fn associated(repository: &RepositoryId, header: &SlotHeader) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 + SLOT_HEADER_BYTES);
    bytes.extend_from_slice(&repository.0);
    bytes.extend_from_slice(&header.encode());
    bytes
}

/// Makes a slot: wraps `secret` with a passphrase.
pub fn wrap(repository: &RepositoryId, passphrase: &[u8], cost: KdfCost, secret: &SlotSecret) -> Result<Vec<u8>> {
    let header = SlotHeader { cost, salt: random()?, nonce: random()? };
    wrap_with(repository, passphrase, &header, secret)
}

/// Makes a slot with a given salt and nonce. Only for test vectors.
pub fn wrap_with(
    repository: &RepositoryId,
    passphrase: &[u8],
    header: &SlotHeader,
    secret: &SlotSecret,
) -> Result<Vec<u8>> {
    let key = stretch(passphrase, header.cost, &header.salt)?;
    let mut text = secret.encode().map_err(|error| Error::invalid(error.to_string()))?;
    let nonce = XNonce::from(header.nonce);
    let tag = XChaCha20Poly1305::new((&*key).into())
        .encrypt_inout_detached(&nonce, &associated(repository, header), (&mut text[..]).into())
        .map_err(|_| Error::invalid("cannot wrap the master key"))?;
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(&text[..]);
    bytes.extend_from_slice(&tag);
    Ok(bytes)
}

/// Opens a slot; `None` if the passphrase is not its.
pub fn unwrap(
    repository: &RepositoryId,
    passphrase: &[u8],
    name: &str,
    bytes: &[u8],
) -> Result<Option<(KdfCost, SlotSecret)>> {
    let (header, sealed) = SlotHeader::decode(bytes).map_err(|error| error.of(name))?;
    let key = stretch(passphrase, header.cost, &header.salt)?;
    let (text, tag) = sealed.split_last_chunk::<16>().ok_or_else(|| FormatError::Cut("the slot").of(name))?;
    let mut text = Zeroizing::new(text.to_vec());
    let nonce = XNonce::from(header.nonce);
    let opened = XChaCha20Poly1305::new((&*key).into()).decrypt_inout_detached(
        &nonce,
        &associated(repository, &header),
        (&mut text[..]).into(),
        &(*tag).into(),
    );
    if opened.is_err() {
        return Ok(None);
    }
    let secret = SlotSecret::decode(&text).map_err(|error| error.of(name))?;
    Ok(Some((header.cost, secret)))
}
