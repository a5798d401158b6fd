//! Records of a snapshot as the client's, and the client's as ours.

use super::client::{Bin, Key, Value as ClientValue};
use super::convert::{TypedLoss, to_client, to_particle};
use crate::error::{Error, Result};
use crate::record::{BinRef, Digest, Generation, KeyRef, ParticleType, RecordBatch, RecordMeta, RecordView, VoidTime};
use crate::repository::Record;

/// A record of a snapshot as the client's key and bins, verbatim: each bin is a `Value::Unknown` of its particle type
/// and bytes, which the client sends as they are. Nothing is lost in a `put` of them, whatever they hold; they are not
/// for reading.
///
/// The key has the stored digest, and the user key where one was stored; with `send_key` a write stores it again.
///
/// ```no_run
/// # async fn put(record: aerolith::Record, client: aerolith::official::client::Client)
/// #     -> Result<(), Box<dyn std::error::Error>> {
/// use aerolith::official::client::WritePolicy;
///
/// let (key, bins) = aerolith::official::verbatim("shop", &record)?;
/// let policy = WritePolicy { send_key: key.user_key().is_some(), ..WritePolicy::default() };
/// client.put(&policy, &key, &bins).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// If the record's body is damaged, or the name of its set or of a bin is not UTF-8 ([`Error::ClientLoses`]).
pub fn verbatim(namespace: &str, record: &Record) -> Result<(Key, Vec<Bin>)> {
    convert(namespace, record, |bin| Ok(ClientValue::Unknown(bin.particle.0, bin.bytes.to_vec())))
}

/// A record of a snapshot as the client's key and bins, each bin as the value that the client would read.
///
/// # Errors
///
/// If the record's body is damaged, or the client would lose something of it: [`Error::ClientLoses`] says of which bin
/// what. Such a record can be had [`verbatim`].
pub fn typed(namespace: &str, record: &Record) -> Result<(Key, Vec<Bin>)> {
    convert(namespace, record, |bin| to_client(bin.particle, bin.bytes))
}

fn convert(
    namespace: &str,
    record: &Record,
    value: impl Fn(&BinRef<'_>) -> Result<ClientValue, TypedLoss>,
) -> Result<(Key, Vec<Bin>)> {
    let mut batch = RecordBatch::new();
    record.push_to(&mut batch)?;
    let Some(view) = batch.get(0) else { return Err(Error::internal("a record is not in its batch")) };
    let digest = record.digest;
    view_to_client(namespace, &view, value).map_err(|problem| match problem {
        Problem::Damaged(found) => Error::damaged(format!("record {digest}"), found),
        Problem::Loses { part, loss } => {
            Error::ClientLoses { record: digest.to_string(), what: format!("{part}: {loss}") }
        }
    })
}

/// Why a record can't become the client's.
pub(super) enum Problem {
    /// Its body can't be read.
    Damaged(String),
    /// Something of a part would be lost.
    Loses { part: String, loss: TypedLoss },
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Problem::Damaged(found) => f.write_str(found),
            Problem::Loses { part, loss } => write!(f, "the client can't hold {part}: {loss}"),
        }
    }
}

/// The client's key and bins, in the source's order, with values made by `value`.
pub(super) fn view_to_client(
    namespace: &str,
    record: &RecordView<'_>,
    value: impl Fn(&BinRef<'_>) -> Result<ClientValue, TypedLoss>,
) -> Result<(Key, Vec<Bin>), Problem> {
    let body = record.parse().map_err(|error| Problem::Damaged(error.to_string()))?;
    let loses = |part: String| move |loss| Problem::Loses { part, loss };
    let name = |bytes| std::str::from_utf8(bytes).map_err(|_| TypedLoss::NameNotUtf8);
    let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let set = name(record.meta.set).map_err(loses(format!("its set {}", shown(record.meta.set))))?;
    let user_key = body.key().map(|key| value(&BinRef { name: b"", particle: key.particle, bytes: key.bytes }));
    let user_key = user_key.transpose().map_err(loses("its user key".into()))?;
    let bins = record.in_source_order(body.bins());
    let bins = bins.iter().map(|bin| {
        let part = || format!("bin {}", shown(bin.name));
        let name = name(bin.name).map_err(loses(part()))?;
        Ok(Bin::new(name, value(bin).map_err(loses(part()))?))
    });
    let bins = bins.collect::<Result<_, Problem>>()?;
    Ok((Key::with_digest(namespace, set, user_key, record.meta.digest.0), bins))
}

/// Adds a record that the client has read to a batch; an error says why it can't be.
pub(super) fn push_client_record(record: &super::client::Record, batch: &mut RecordBatch) -> Result<Digest, String> {
    let key = record.key.as_ref().ok_or("the client gave no key with it")?;
    let digest = Digest(key.digest());
    let (mut bytes, mut places) = (Vec::new(), Vec::new());
    for (name, value) in &record.bins {
        let start = bytes.len();
        let particle = to_particle(value, &mut bytes).map_err(|problem| format!("bin {name:?}: {problem}"))?;
        places.push((name, particle, start..bytes.len()));
    }
    let mut key_bytes = Vec::new();
    let particle = key.user_key().map(|key| to_particle(key, &mut key_bytes)).transpose();
    let particle: Option<ParticleType> = particle.map_err(|problem| format!("its user key: {problem}"))?;
    let bins = places.into_iter().map(|(name, particle, place)| {
        let bytes = bytes.get(place).ok_or("internal error: a bin without its bytes")?;
        Ok(BinRef { name: name.as_bytes(), particle, bytes })
    });
    let bins: Vec<BinRef<'_>> = bins.collect::<Result<_, &str>>()?;
    let meta = RecordMeta {
        digest,
        set: key.set_name().as_bytes(),
        generation: Generation(record.generation),
        void_time: VoidTime(record.expiration()),
    };
    let key = particle.map(|particle| KeyRef { particle, bytes: &key_bytes });
    batch.push(meta, key, &bins).map_err(|error| error.to_string())?;
    Ok(digest)
}
