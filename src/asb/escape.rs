//! Escaping of names: a backslash before every space, line feed and backslash.
//!
//! It works on bytes and knows nothing of encodings. Version 3.0 doesn't escape at all.

use memchr::{memchr, memchr3};
use std::borrow::Cow;

/// Appends `name`, escaped.
#[inline]
pub(crate) fn put_escaped(out: &mut Vec<u8>, name: &[u8]) {
    // Names are short: a plain loop beats a vector search.
    if name.iter().all(|byte| !matches!(byte, b' ' | b'\n' | b'\\')) {
        out.extend_from_slice(name);
        return;
    }
    for &byte in name {
        if matches!(byte, b' ' | b'\n' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

/// A name as it is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    /// Its bytes in the file.
    pub(crate) raw: &'a [u8],
    /// Whether there are escapes in it.
    pub(crate) escaped: bool,
}

impl<'a> Token<'a> {
    /// The name itself.
    pub(crate) fn unescape(self) -> Cow<'a, [u8]> {
        if self.escaped {
            let mut name = Vec::with_capacity(self.raw.len());
            self.append_to(&mut name);
            Cow::Owned(name)
        } else {
            Cow::Borrowed(self.raw)
        }
    }

    /// Appends the name itself.
    pub(crate) fn append_to(self, out: &mut Vec<u8>) {
        if !self.escaped {
            out.extend_from_slice(self.raw);
            return;
        }
        let mut escape = false;
        for &byte in self.raw {
            if byte == b'\\' && !escape {
                escape = true;
            } else {
                out.push(byte);
                escape = false;
            }
        }
    }
}

/// In each byte of a word that equals `byte`, the top bit; in bytes after the first such one perhaps more.
#[inline(always)]
pub(crate) fn bytes_equal(word: u64, byte: u8) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    let differences = word ^ (ONES * byte as u64);
    differences.wrapping_sub(ONES) & !differences & TOPS
}

/// Finds the end of the name that begins at `start`: the first space (if `space` ends it) or line feed that no
/// backslash escapes. `None` if `text` ends before.
#[inline]
pub(crate) fn token(text: &[u8], start: usize, space: bool, escapes: bool) -> Option<(Token<'_>, usize)> {
    let rest = text.get(start..)?;
    // Names are short: sixteen bytes hold all bin names that a server takes.
    if let Some(chunk) = rest.first_chunk::<16>() {
        for (half, word) in [(0, &chunk[..8]), (8, &chunk[8..])] {
            let word = word.first_chunk::<8>().map_or(0, |word| u64::from_le_bytes(*word));
            let mut ends = bytes_equal(word, b'\n') | bytes_equal(word, b'\\');
            if space {
                ends |= bytes_equal(word, b' ');
            }
            if ends != 0 {
                let length = half + ends.trailing_zeros() as usize / 8;
                if chunk.get(length) == Some(&b'\\') {
                    break;
                }
                return Some((Token { raw: rest.get(..length)?, escaped: false }, start + length));
            }
        }
    }
    long_token(rest, space, escapes).map(|(token, length)| (token, start + length))
}

/// The index of the first line feed. Most values that a line feed ends are short.
#[inline]
pub(crate) fn line_feed(text: &[u8]) -> Option<usize> {
    if let Some(chunk) = text.first_chunk::<8>() {
        let ends = bytes_equal(u64::from_le_bytes(*chunk), b'\n');
        if ends != 0 {
            return Some(ends.trailing_zeros() as usize / 8);
        }
    }
    memchr(b'\n', text)
}

#[inline(never)]
fn long_token(rest: &[u8], space: bool, escapes: bool) -> Option<(Token<'_>, usize)> {
    let mut escaped = false;
    let mut at = 0;
    loop {
        at += memchr3(b'\n', b' ', b'\\', rest.get(at..)?)?;
        match rest.get(at)? {
            b'\\' if escapes => {
                escaped = true;
                at += 2;
            }
            b'\n' => break,
            b' ' if space => break,
            _ => at += 1,
        }
    }
    Some((Token { raw: rest.get(..at)?, escaped }, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_come_back_through_any_escaping(
            name in proptest::collection::vec(prop_oneof![Just(b' '), Just(b'\n'), Just(b'\\'), any::<u8>()], 0..80),
        ) {
            let mut text = Vec::new();
            put_escaped(&mut text, &name);
            let length = text.len();
            for end in [b' ', b'\n'] {
                text.truncate(length);
                prop_assert_eq!(token(&text, 0, true, true).map(|(_, end)| end), None);
                text.push(end);
                text.extend_from_slice(b"tail \n");
                let (found, at) = token(&text, 0, true, true).unwrap();
                prop_assert_eq!(at, length);
                prop_assert_eq!(&found.unescape()[..], &name[..]);
            }
        }
    }

    #[test]
    fn finds_the_first_line_feed() {
        for length in 0..40 {
            let mut text = vec![b'\x0b'; length];
            assert_eq!(line_feed(&text), None);
            text.extend_from_slice(b"\n\n\x0b");
            assert_eq!(line_feed(&text), Some(length));
        }
    }

    #[test]
    fn without_escapes_a_backslash_is_a_letter() {
        let (found, at) = token(b"a\\ b\n", 0, true, false).unwrap();
        assert_eq!((found.raw, found.escaped, at), (&b"a\\"[..], false, 2));
    }

    #[test]
    fn a_space_belongs_to_a_name_that_only_a_line_feed_ends() {
        let (found, at) = token(b"two words\nx", 0, false, true).unwrap();
        assert_eq!((&found.unescape()[..], at), (&b"two words"[..], 9));
    }
}
