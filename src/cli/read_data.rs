//! How much of the data is read: `--read-data`.

use super::text;
use crate::error::Result;
use crate::format::names;
use crate::store::Store;

/// A part of the data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ReadData {
    /// In percent.
    Percent(f64),
    /// About so many stored bytes.
    Bytes(u64),
}

impl ReadData {
    /// Reads `10`, `10%`, `2.5%` or a size such as `500MB` or `2GiB`.
    pub fn parse(written: &str) -> Result<Self, String> {
        let wrong =
            || "give a part in percent, from 0 to 100, such as 10 or 2.5%, or a size such as 500MB or 2GiB".to_string();
        let trimmed = written.trim();
        if let Ok(percent) = trimmed.strip_suffix('%').unwrap_or(trimmed).trim_end().parse::<f64>() {
            return (0.0..=100.0).contains(&percent).then_some(ReadData::Percent(percent)).ok_or_else(wrong);
        }
        text::parse_bytes(trimmed).map(ReadData::Bytes).ok_or_else(wrong)
    }

    /// The part in percent, of what the store holds.
    pub fn percent(self, store: &dyn Store) -> Result<f64> {
        let bytes = match self {
            ReadData::Percent(percent) => return Ok(percent),
            ReadData::Bytes(bytes) => bytes,
        };
        let all: u64 = store.list(names::PACKS)?.iter().map(|pack| pack.size).sum();
        Ok(if bytes >= all { 100.0 } else { bytes as f64 / all as f64 * 100.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_a_number_a_percentage_or_a_size() {
        for (written, part) in [
            ("10", ReadData::Percent(10.0)),
            ("10%", ReadData::Percent(10.0)),
            ("2.5 %", ReadData::Percent(2.5)),
            ("0", ReadData::Percent(0.0)),
            ("100%", ReadData::Percent(100.0)),
            ("500MB", ReadData::Bytes(500_000_000)),
            ("2 GiB", ReadData::Bytes(2 << 30)),
            ("1.5k", ReadData::Bytes(1500)),
            ("7B", ReadData::Bytes(7)),
        ] {
            assert_eq!(ReadData::parse(written), Ok(part), "{written}");
        }
        for written in
            ["", "%", "x", "-1", "101", "101%", "NaN", "inf", "10%%", "1e400GB", "-2GB", "GB", "3XB", "99999999PiB"]
        {
            assert!(ReadData::parse(written).is_err(), "{written}");
        }
    }
}
