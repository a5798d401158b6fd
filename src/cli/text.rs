//! Numbers, sizes, values and tables for people.

use crate::job::WalkedPartitions;
pub use crate::job::text::*;
use crate::record::{ParticleType, Value, value};

/// A count with thin groups: 1,234,567.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A time in UTC, to the second.
pub fn time(millis: u64) -> String {
    let time = i64::try_from(millis).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| format!("{millis} ms"), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// A number of things: `1 record`, `2 records`.
pub fn plural(n: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(n), if n == 1 { "" } else { "s" })
}

/// Partitions whose records were looked for one by one, and why.
pub fn walked(walked: &WalkedPartitions) -> String {
    format!("{} walked: {}", plural(u64::from(walked.partitions), "partition"), walked.reason.text())
}

/// Bytes that are mostly text, for a line of output.
pub fn lossy(bytes: &[u8]) -> String {
    safe(&plain(bytes))
}

/// An id's first twelve digits, which name it as long as no other begins like that.
pub fn short(id: &str) -> String {
    id.get(..12).unwrap_or(id).to_string()
}

/// A time of a report, to the second.
pub fn to_second(rfc3339: &str) -> String {
    rfc3339.split_once('.').map_or_else(|| rfc3339.to_string(), |(second, _)| format!("{second}Z"))
}

/// A size in powers of 1000.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut value, mut unit) = (n as f64, UNITS.iter());
    let mut name = unit.next().unwrap_or(&"B");
    while value >= 999.95 {
        let Some(next) = unit.next() else { break };
        value /= 1000.0;
        name = next;
    }
    if *name == "B" { format!("{n} B") } else { format!("{value:.1} {name}") }
}

/// A duration in milliseconds.
pub fn millis(n: u64) -> String {
    match n {
        0..10_000 => format!("{:.2} s", n as f64 / 1000.0),
        10_000..120_000 => format!("{:.1} s", n as f64 / 1000.0),
        _ => format!("{} min {} s", n / 60_000, n % 60_000 / 1000),
    }
}

/// A duration as people write it: a number and s, min, h, d, w or y (365 days).
pub fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let seconds = match unit {
        "s" => 1,
        "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        "y" => 365 * 86_400,
        _ => return Err("write a number and s, min, h, d, w or y, such as 90s or 30d".into()),
    };
    let number: u64 = number.parse().map_err(|_| format!("{number:?} is no number of {unit}"))?;
    let seconds = number.checked_mul(seconds).filter(|&seconds| seconds <= 1000 * 365 * 86_400);
    seconds.map(std::time::Duration::from_secs).ok_or_else(|| "no more than 1000y".into())
}

/// A text of which no more than so many characters are shown.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_string(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

/// When a record expires, by its time in a report.
pub fn expiry(expires: Option<&str>) -> String {
    expires.map_or_else(|| "never".to_string(), to_second)
}

/// Characters of a value that are shown at most.
const WIDEST_VALUE: usize = 4000;

/// A particle's value, for people, in one line: of a long one the beginning, and how long it is.
pub fn shown(kind: ParticleType, bytes: &[u8]) -> String {
    let value = particle(kind, bytes);
    match cut(&value, WIDEST_VALUE) {
        shown if shown == value => value,
        shown => format!("{shown} ({} bytes; --json shows all)", bytes.len()),
    }
}

/// The whole of it.
fn particle(particle: ParticleType, bytes: &[u8]) -> String {
    match value::decode(particle, bytes) {
        Ok(Value::Double(value)) => value.to_string(),
        Ok(Value::Text(text) | Value::GeoJson(text)) => safe(text),
        Ok(Value::Bytes(_, bytes)) => format!("0x{}", hex::encode(bytes)),
        Ok(value) => value.to_string(),
        Err(error) => format!("(not a {particle}: {error}) 0x{}", hex::encode(bytes)),
    }
}

/// The longest line of a listing, in characters. JSON has all of it.
pub const WIDEST_LINE: usize = 2000;

/// The widest cell of a table, in characters; of a longer one the beginning is shown. JSON has all of it.
const WIDEST_CELL: usize = 200;

/// Columns padded to their widest cell; those in `right` (by number) flush right. No cell ends its line.
pub fn table(header: &[&str], rows: &[Vec<String>], right: &[usize]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| cut(&safe(cell), WIDEST_CELL)).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(header.get(column).map(|cell| cell.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if right.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    let mut out = line(&mut header.iter().copied());
    for row in &rows {
        out.push('\n');
        out.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    out
}

/// What of a wide table gives way where lines are short.
pub struct Narrowing<'a> {
    /// Columns (by number) that are left out, the first one first.
    pub left_out: &'a [usize],
    /// Columns that are then cut, the first one first, and how many characters of each stay.
    pub cut: &'a [(usize, usize)],
}

/// As [`table`], in lines of at most `width` characters, if they can be made so short.
pub fn table_within(
    width: Option<usize>,
    header: &[&str],
    rows: &[Vec<String>],
    right: &[usize],
    narrowing: &Narrowing<'_>,
) -> String {
    let Some(width) = width else { return table(header, rows, right) };
    let cell_width = |cell: &String| cut(&safe(cell), WIDEST_CELL).chars().count();
    let widest = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(cell_width);
        cells.chain(header.get(column).map(|cell| cell.chars().count())).max().unwrap_or(0)
    };
    let mut widths: Vec<(usize, usize)> = (0..header.len()).map(|column| (column, widest(column))).collect();
    let shortest =
        |column| narrowing.cut.iter().filter(|(other, _)| *other == column).map(|(_, shortest)| *shortest).min();
    for &column in narrowing.left_out {
        let least = widths.iter().map(|&(column, widest)| shortest(column).map_or(widest, |least| widest.min(least)));
        if least.sum::<usize>() + 2 * widths.len().saturating_sub(1) <= width {
            break;
        }
        widths.retain(|(other, _)| *other != column);
    }
    for &(column, shortest) in narrowing.cut {
        let all = widths.iter().map(|(_, width)| width).sum::<usize>() + 2 * widths.len().saturating_sub(1);
        let Some((_, one)) = widths.iter_mut().find(|(other, _)| *other == column) else { continue };
        *one = one.saturating_sub(all.saturating_sub(width)).max(shortest.min(*one));
    }
    let pick = |row: &[String]| -> Vec<String> {
        // The sign that something was cut takes a place of its own.
        let cell = |&(column, width): &(usize, usize)| match safe(row.get(column)?) {
            cell if cell.chars().count() <= width => Some(cell),
            cell => Some(cut(&cell, width.saturating_sub(1))),
        };
        widths.iter().map(|place| cell(place).unwrap_or_default()).collect()
    };
    let header: Vec<&str> = widths.iter().filter_map(|(column, _)| header.get(*column).copied()).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| pick(row)).collect();
    let right: Vec<usize> =
        (0..).zip(&widths).filter(|(_, (column, _))| right.contains(column)).map(|(n, _)| n).collect();
    table(&header, &rows, &right)
}

/// Reads a size such as `512`, `512B`, `1.5GB` or `2GiB`.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start().to_ascii_lowercase();
    let (power, base) = match unit.strip_suffix("ib") {
        Some(power) => (power, 1024f64),
        None => (unit.strip_suffix('b').unwrap_or(&unit), 1000f64),
    };
    let power = match power {
        "" if !unit.ends_with("ib") => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * base.powi(power);
    (bytes.is_finite() && bytes < 1e18).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shows_the_beginning_of_cells_of_any_width() {
        let wide = vec!["x".repeat(70_000), "y".into()];
        let text = table(&["a", "b"], &[wide], &[0, 1]);
        assert!(text.lines().all(|line| line.chars().count() < 300) && text.contains('…'), "{text}");
    }

    #[test]
    fn a_table_leaves_columns_out_and_cuts_others_until_it_fits() {
        let rows = [vec!["abc".into(), "a long job".into(), "12".into()], vec!["d".into(), "short".into(), "3".into()]];
        let narrowing = Narrowing { left_out: &[2], cut: &[(1, 4)] };
        let within = |width| table_within(width, &["id", "job", "n"], &rows, &[2], &narrowing);
        let whole = "id   job          n\nabc  a long job  12\nd    short        3";
        assert_eq!((within(None).as_str(), within(Some(19)).as_str()), (whole, whole));
        assert_eq!(within(Some(17)), "id   job        n\nabc  a long …  12\nd    short      3");
        assert_eq!(within(Some(13)), "id   job    n\nabc  a l…  12\nd    sho…   3");
        assert_eq!(within(Some(12)), "id   job\nabc  a long…\nd    short");
        assert_eq!(within(Some(1)), "id   job\nabc  a l…\nd    sho…");
    }
}
