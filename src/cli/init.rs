//! `init`: makes a repository.

use super::context::Context;
use super::output::print_line;
use super::passphrase::{PassphraseWay, open_other};
use crate::error::Result;
use crate::format::config::Compression;
use crate::format::header::Suite;
use crate::job::{self, Done, InitOptions};
use crate::store;
use clap::ValueEnum;
use std::path::PathBuf;

/// Make a repository
///
/// The directory must be new or empty; only its owner can open what is stored in it. The passphrase comes from
/// --password-file, --password-command, the configuration file, AEROLITH_PASSWORD, AEROLITH_PASSWORD_FILE,
/// AEROLITH_PASSWORD_COMMAND or a prompt that asks twice. Without it nobody can read the backups.
///
/// With --shared-chunking-with, values are cut and named as in another repository, whose passphrase is asked for too:
/// `aerolith copy` between the two then takes chunks over as they are, and is quick. All other keys are the new
/// repository's own. Whoever can open one of the two still can't read the other (SECURITY.md says what it makes
/// easier).
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aerolith --repo /backups/aero init
  aerolith --repo /backups/aero init --compression zstd:9 --label ops
  aerolith --repo /mnt/offsite/aero init --shared-chunking-with /backups/aero")]
pub struct Args {
    /// The cipher [default: the faster one on this processor]
    #[arg(long, value_enum)]
    cipher: Option<CipherName>,
    /// How to compress chunks: lz4, zstd, zstd:LEVEL (1 to 19) or none [default: lz4, or as the other repository
    /// does]
    #[arg(long, value_name = "METHOD", value_parser = compression)]
    compression: Option<Compression>,
    /// The label of the first key slot
    #[arg(long, default_value = "")]
    label: String,
    /// Cut and name chunks as this repository does: a directory, or file:PATH
    #[arg(long, value_name = "URL")]
    shared_chunking_with: Option<String>,
    /// Read that repository's passphrase from the first line of this file, not from AEROLITH_SHARED_PASSWORD or a
    /// prompt
    #[arg(long, value_name = "FILE", requires = "shared_chunking_with")]
    shared_password_file: Option<PathBuf>,
    /// Read that repository's passphrase from the first line that this command prints
    #[arg(long, value_name = "COMMAND", requires = "shared_chunking_with", conflicts_with = "shared_password_file")]
    shared_password_command: Option<String>,
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

pub fn run(context: &Context, args: Args) -> Result<Done> {
    job::check_label(&args.label)?;
    let store = store::create_with(context.url()?, &context.store_options()?)?;
    let store = store::RetryStore::wrap(store, context.control());
    job::check_new(&*store)?;
    let way = PassphraseWay {
        file: args.shared_password_file.as_deref(),
        command: args.shared_password_command.as_deref(),
        prefix: "shared",
        repository: "",
    };
    let other = args.shared_chunking_with.as_deref().map(|url| open_other(url, &way, context.control())).transpose()?;
    let passphrase = context.first_passphrase()?;
    let cipher = args.cipher.map(|cipher| match cipher {
        CipherName::Aes256Gcm => Suite::Aes256Gcm,
        CipherName::Xchacha20Poly1305 => Suite::XChaCha20Poly1305,
    });
    let options = InitOptions::default()
        .cipher(cipher)
        .compression(args.compression)
        .label(args.label)
        .shares_chunking_with(other.clone());
    let report = job::init(store, &passphrase, options)?;
    if context.json() {
        context.print_json(&report)?;
    } else {
        print_line(&format!("made repository {} in {}", report.repository, report.location))?;
        if let Some(other) = &other {
            print_line(&format!("It cuts and names chunks as {} does.", other.store().location()))?;
        }
        print_line("Keep the passphrase safe: without it nobody, not even you, reads these backups.")?;
    }
    Ok(Done::Whole)
}
