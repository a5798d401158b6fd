//! How `.asb` files are written.

use super::applies::{GivenOption, Kind};
use super::passphrase::secret;
use crate::asb::AsbCipher;
use crate::asb::AsbVersion;
use crate::secret::SecretSource;
use crate::targets::asb::AsbTargetOptions;
use clap::ValueEnum;

#[derive(clap::Args)]
#[command(next_help_heading = "Writing .asb files")]
pub struct AsbArgs {
    /// Compress .asb files with Zstandard at this level, 1 to 22; asrestore reads them with --compress zstd
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(i32).range(1..=22))]
    zstd: Option<i32>,
    /// Encrypt .asb files with this private key (PEM, RSA); asrestore reads them with --encrypt and
    /// --encryption-key-file. env:VARIABLE, env-b64:VARIABLE and b64:TEXT stand for a key that is in no file
    #[arg(long, value_name = "FILE", value_parser = secret())]
    asb_key: Option<SecretSource>,
    /// The cipher for --asb-key [default: aes256]
    #[arg(long, value_enum, value_name = "CIPHER", requires = "asb_key")]
    asb_encrypt: Option<Cipher>,
    /// Begin a new .asb file of a namespace once the current one has this many MiB [default: 250]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    file_limit: Option<u64>,
    /// The version of the .asb format. asrestore reads 3.1, absctl both; only 3.2 holds indexes over expressions
    /// [default: 3.1, and 3.2 for a file with such an index]
    #[arg(long, value_enum, value_name = "VERSION")]
    asb_version: Option<Version>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Cipher {
    Aes128,
    Aes256,
}

#[derive(Clone, Copy, ValueEnum)]
enum Version {
    #[value(name = "3.1")]
    V3_1,
    #[value(name = "3.2")]
    V3_2,
}

impl AsbArgs {
    /// All of them, and whether they were given. No `..`: an option that is added must be told of here.
    pub fn given(&self) -> Vec<GivenOption> {
        let Self { zstd, asb_key, asb_encrypt, file_limit, asb_version } = self;
        let writes = |name, given| GivenOption {
            name,
            given,
            goes_with: &[Kind::Asb],
            all: true,
            why: "that is for .asb files",
        };
        vec![
            writes("--zstd", zstd.is_some()),
            writes("--asb-key", asb_key.is_some()),
            writes("--asb-encrypt", asb_encrypt.is_some()),
            writes("--file-limit", file_limit.is_some()),
            writes("--asb-version", asb_version.is_some()),
        ]
    }

    /// The key, which opens files that are read, too.
    pub fn key(&self) -> Option<SecretSource> {
        self.asb_key.clone()
    }

    /// The options for a target.
    pub fn options(&self) -> AsbTargetOptions {
        AsbTargetOptions {
            zstd: self.zstd,
            file_limit: self.file_limit.map(|mib| mib << 20),
            key: self.asb_key.clone(),
            cipher: match self.asb_encrypt {
                Some(Cipher::Aes128) => AsbCipher::Aes128,
                Some(Cipher::Aes256) | None => AsbCipher::Aes256,
            },
            version: self.asb_version.map(|version| match version {
                Version::V3_1 => AsbVersion::V3_1,
                Version::V3_2 => AsbVersion::V3_2,
            }),
        }
    }
}
