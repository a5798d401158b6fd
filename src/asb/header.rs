//! The head of a file: the version line and the metadata lines.

use super::escape::token;
use super::walk::{Dialect, Fault, Stop, quote};
use memchr::memchr;

/// The longest head that is looked for, in bytes.
pub(crate) const MAX_HEADER_BYTES: usize = 16 << 10;

/// What the head of a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// How the rest is to be read.
    pub(crate) dialect: Dialect,
    /// The namespace, if it is named.
    pub(crate) namespace: Option<Vec<u8>>,
    /// Whether the file is marked as the first of its backup.
    pub(crate) first: bool,
}

fn fault<T>(at: usize, expected: &str, found: String) -> Result<T, Stop> {
    Err(Stop::Fault(Box::new(Fault { at, line: at, expected: expected.to_owned(), found, cut: false })))
}

/// Reads the head at the beginning of `text`; returns it and where it ends. `last` says that nothing follows the text.
pub(crate) fn parse_header(text: &[u8], last: bool) -> Result<(Header, usize), Stop> {
    const VERSION: &str = "\"Version 3.0\", \"Version 3.1\" or \"Version 3.2\" and a line feed";
    let whole = last || text.len() >= MAX_HEADER_BYTES;
    let line = |start: usize, expected: &str| match memchr(b'\n', text.get(start..).unwrap_or_default()) {
        Some(length) => Ok(start + length),
        None if whole => fault(start, expected, quote(text.get(start..).unwrap_or_default())),
        None => Err(Stop::More),
    };
    let end = line(0, VERSION)?;
    let first_line = text.get(..end).unwrap_or_default();
    let dialect = match first_line {
        b"Version 3.0" => Dialect { escapes: false, expressions: false },
        b"Version 3.1" => Dialect { escapes: true, expressions: false },
        b"Version 3.2" => Dialect { escapes: true, expressions: true },
        _ if first_line.ends_with(b"\r") => {
            let found = format!("{}: the file was copied as text and its line ends were changed", quote(first_line));
            return fault(0, VERSION, found);
        }
        _ => return fault(0, VERSION, quote(first_line)),
    };
    let mut header = Header { dialect, namespace: None, first: false };
    let mut at = end + 1;
    loop {
        match text.get(at) {
            None if !whole => return Err(Stop::More),
            Some(b'#') => {}
            _ => return Ok((header, at)),
        }
        const NAMESPACE: &[u8] = b"# namespace ";
        if text.get(at..).is_some_and(|rest| rest.starts_with(NAMESPACE)) {
            let Some((name, end)) = token(text, at + NAMESPACE.len(), false, dialect.escapes) else {
                const EXPECTED: &str = "a namespace's name and a line feed";
                return if whole {
                    fault(at, EXPECTED, quote(text.get(at..).unwrap_or_default()))
                } else {
                    Err(Stop::More)
                };
            };
            header.namespace = Some(name.unescape().into_owned());
            at = end + 1;
        } else {
            let end = line(at, "a metadata line")?;
            match text.get(at..end).unwrap_or_default() {
                b"# first-file" => header.first = true,
                other => return fault(at, "\"# namespace NAME\" or \"# first-file\"", quote(other)),
            }
            at = end + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_asbackup_and_backup_go_write() {
        let (header, end) = parse_header(b"Version 3.1\n# namespace a\\ b\n# first-file\n* i ", false).unwrap();
        assert_eq!(header.namespace.as_deref(), Some(&b"a b"[..]));
        assert!(header.first && header.dialect.escapes && !header.dialect.expressions);
        assert_eq!(end, 42);
        let (header, _) = parse_header(b"Version 3.0\n# namespace a\\b\n", true).unwrap();
        assert_eq!(header.namespace.as_deref(), Some(&b"a\\b"[..]));
    }

    #[test]
    fn asks_for_more_at_every_cut_and_never_guesses() {
        let text = b"Version 3.2\n# namespace n\n# first-file\n+";
        for cut in 0..text.len() {
            assert_eq!(parse_header(&text[..cut], false), Err(Stop::More), "cut at {cut}");
        }
        assert!(parse_header(text, false).is_ok());
    }

    #[test]
    fn refuses_other_versions_line_ends_and_metadata() {
        for (text, word) in [
            (&b"Version 4.0\n"[..], "4.0"),
            (b"Version 3.1\r\n# namespace x\r\n", "line ends"),
            (b"Version 3.1\n# name x\n+ ", "# name x"),
            (b"", "\"\""),
            (b"Version 3.1", "Version 3.1"),
        ] {
            match parse_header(text, true) {
                Err(Stop::Fault(fault)) => assert!(fault.found.contains(word), "{fault:?}"),
                other => panic!("{text:?}: {other:?}"),
            }
        }
    }
}
