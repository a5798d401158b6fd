//! Escaping of names: a backslash before every space, line feed and backslash.
//!
//! It works on bytes and knows nothing of encodings. Version 3.0 doesn't escape at all.

use memchr::memchr3;
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

/// A name as it stands in a file.
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

/// Finds the end of the name that begins at `start`: the first space (if `space` ends it) or line feed that no backslash
/// escapes. `None` if `text` ends before.
#[inline]
pub(crate) fn token(text: &[u8], start: usize, space: bool, escapes: bool) -> Option<(Token<'_>, usize)> {
    let rest = text.get(start..)?;
    for (i, &byte) in rest.iter().enumerate().take(32) {
        if byte == b'\n' || (space && byte == b' ') {
            return Some((Token { raw: &rest[..i], escaped: false }, start + i));
        }
        if escapes && byte == b'\\' {
            break;
        }
    }
    long_token(rest, space, escapes).map(|(token, length)| (token, start + length))
}

#[cold]
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
