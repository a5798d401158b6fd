//! `init`: makes a repository.

use super::context::{Context, Done};
use super::output::print_line;
use crate::error::{Error, Result};
use crate::format::config::Compression;
use crate::format::header::Suite;
use crate::format::keyslot::KdfCost;
use crate::repository::{CreateOptions, Repository};
use clap::ValueEnum;
use serde::Serialize;

/// Make a repository
///
/// The folder must be new or empty. The pass phrase comes from --password-file, --password-command, AEROLITH_PASSWORD or a
/// prompt that asks twice; without it nobody reads the backups.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith --repo /backups/aero init
  aerolith --repo /backups/aero init --compression zstd:9 --label ops")]
pub struct Args {
    /// The cipher; by default what this processor does well
    #[arg(long, value_enum)]
    cipher: Option<CipherName>,
    /// How chunks are compressed: lz4, zstd, zstd:LEVEL (1 to 19) or none
    #[arg(long, default_value = "lz4", value_name = "METHOD", value_parser = compression)]
    compression: Compression,
    /// What the first key slot is called
    #[arg(long, default_value = "")]
    label: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum CipherName {
    Aes256Gcm,
    Xchacha20Poly1305,
}

fn compression(text: &str) -> Result<Compression, String> {
    match text.split_once(':') {
        None if text == "lz4" => Ok(Compression::Lz4),
        None if text == "none" => Ok(Compression::None),
        None if text == "zstd" => Ok(Compression::Zstd(3)),
        Some(("zstd", level)) => match level.parse() {
            Ok(level @ 1..=19) => Ok(Compression::Zstd(level)),
            _ => Err("the level goes from 1 to 19".into()),
        },
        _ => Err("write lz4, zstd, zstd:LEVEL or none".into()),
    }
}

#[derive(Serialize)]
struct Output<'a> {
    repository: String,
    location: &'a str,
}

pub fn run(context: &Context, args: Args) -> Result<Done> {
    super::key::check_label(&args.label)?;
    let store = crate::store::create(context.url()?)?;
    if store.size(crate::format::names::CONFIG)?.is_some() {
        return Err(Error::invalid(format!(
            "there is a repository in {} already; nothing was changed",
            store.location()
        )));
    }
    let passphrase = context.passphrase(true)?;
    let suite = args.cipher.map(|cipher| match cipher {
        CipherName::Aes256Gcm => Suite::Aes256Gcm,
        CipherName::Xchacha20Poly1305 => Suite::XChaCha20Poly1305,
    });
    let options = CreateOptions { suite, compression: args.compression, cost: KdfCost::RECOMMENDED, label: args.label };
    let repository = Repository::create(store.clone(), &passphrase, &options)?;
    if context.json() {
        context.print_json(&Output { repository: repository.id().to_string(), location: store.location() })?;
    } else {
        print_line(&format!("made repository {} in {}", repository.id(), store.location()))?;
        print_line("Keep the pass phrase safe: without it nobody, not even you, reads these backups.")?;
    }
    Ok(Done::Whole)
}
