//! How much of the data is read: `--read-data`.

use super::text;
use crate::job::ReadPart;

/// Reads `10`, `10%`, `2.5%` or a size such as `500MB` or `2GiB`.
pub fn parse(written: &str) -> Result<ReadPart, String> {
    let wrong =
        || "give a part in percent, from 0 to 100, such as 10 or 2.5%, or a size such as 500MB or 2GiB".to_string();
    let trimmed = written.trim();
    if let Ok(percent) = trimmed.strip_suffix('%').unwrap_or(trimmed).trim_end().parse::<f64>() {
        return (0.0..=100.0).contains(&percent).then_some(ReadPart::Percent(percent)).ok_or_else(wrong);
    }
    text::parse_bytes(trimmed).map(ReadPart::Bytes).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_a_number_a_percentage_or_a_size() {
        for (written, part) in [
            ("10", ReadPart::Percent(10.0)),
            ("10%", ReadPart::Percent(10.0)),
            ("2.5 %", ReadPart::Percent(2.5)),
            ("0", ReadPart::Percent(0.0)),
            ("100%", ReadPart::Percent(100.0)),
            ("500MB", ReadPart::Bytes(500_000_000)),
            ("2 GiB", ReadPart::Bytes(2 << 30)),
            ("1.5k", ReadPart::Bytes(1500)),
            ("7B", ReadPart::Bytes(7)),
        ] {
            assert_eq!(parse(written), Ok(part), "{written}");
        }
        for written in
            ["", "%", "x", "-1", "101", "101%", "NaN", "inf", "10%%", "1e400GB", "-2GB", "GB", "3XB", "99999999PiB"]
        {
            assert!(parse(written).is_err(), "{written}");
        }
    }
}
