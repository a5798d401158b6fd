//! Numbers, sizes and tables for people.

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

/// A time in UTC, to the second.
pub fn time(millis: u64) -> String {
    let time = i64::try_from(millis).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| format!("{millis} ms"), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Bytes that are mostly text, for a line of output.
pub fn lossy(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.escape_debug().to_string(),
        Err(_) => format!("0x{}", hex::encode(bytes)),
    }
}

/// Columns padded to their widest cell; those in `right` (by number) flush right.
pub fn table(header: &[&str], rows: &[Vec<String>], right: &[usize]) -> String {
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
    for row in rows {
        out.push('\n');
        out.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    out
}
