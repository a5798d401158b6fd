//! The grammar of records and global lines, in one place.
//!
//! A [`TextWalk`] goes over text line by line and hands each part, still as it is in the file, to a [`Visitor`]. It
//! runs twice over every record with the same code: first without a visitor's work, to find where records end, then
//! with the [parser](super::parse). So the two can't disagree about a boundary. Counted values are skipped by their
//! length and never looked at: text inside them that resembles a record changes nothing.

use super::escape::{Token, line_feed, token};
use super::number::parse_unsigned;
use crate::record::MAX_BODY_BYTES;
use crate::record::body::MAX_BINS;

/// The longest text of one record or global line, in bytes: what the largest body takes in base64, and room for names.
pub(crate) const MAX_ITEM_BYTES: usize = MAX_BODY_BYTES / 3 * 4 + (32 << 20);

/// What is at a place is not what the format asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Where: an index into the text that was walked.
    pub(crate) at: usize,
    /// Where the line with the fault begins.
    pub(crate) line: usize,
    /// What the format asks for.
    pub(crate) expected: String,
    /// What is there.
    pub(crate) found: String,
    /// Whether the text ended too early, so that nothing is known of what would follow.
    pub(crate) cut: bool,
}

/// Why a walk ended before the item did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The text ends inside the item, and more may follow.
    More,
    /// The item is malformed.
    Fault(Box<Fault>),
}

/// A value that can't be taken: what was expected of it, and what it is.
#[derive(Debug)]
pub(crate) struct Problem {
    /// What a good value would be.
    pub(crate) expected: &'static str,
    /// The value, as far as it helps.
    pub(crate) found: String,
}

impl Problem {
    /// A problem with `value`, whose beginning is quoted.
    #[cold]
    pub(crate) fn new(expected: &'static str, value: &[u8]) -> Self {
        Self { expected, found: quote(value) }
    }
}

/// Takes the parts of a record. Values are as they stand in the file. What isn't overridden is passed over.
pub(crate) trait Visitor<'a> {
    /// The user key: its type letter, whether `!` follows it, and its text.
    #[inline(always)]
    fn key(&mut self, _letter: u8, _raw: bool, _value: &'a [u8]) -> Result<(), Problem> {
        Ok(())
    }
    /// The namespace.
    #[inline(always)]
    fn namespace(&mut self, _name: Token<'a>) -> Result<(), Problem> {
        Ok(())
    }
    /// The digest, in base64.
    #[inline(always)]
    fn digest(&mut self, _value: &'a [u8]) -> Result<(), Problem> {
        Ok(())
    }
    /// The set's name.
    #[inline(always)]
    fn set(&mut self, _name: Token<'a>) -> Result<(), Problem> {
        Ok(())
    }
    /// The generation.
    #[inline(always)]
    fn generation(&mut self, _value: &'a [u8]) -> Result<(), Problem> {
        Ok(())
    }
    /// The void time.
    #[inline(always)]
    fn void_time(&mut self, _value: &'a [u8]) -> Result<(), Problem> {
        Ok(())
    }
    /// A bin: its type letter, whether `!` follows it, its name and its text.
    #[inline(always)]
    fn bin(&mut self, _letter: u8, _raw: bool, _name: Token<'a>, _value: &'a [u8]) -> Result<(), Problem> {
        Ok(())
    }
}

/// Looks at nothing: finds where records end.
pub(crate) struct Skip;

impl<'a> Visitor<'a> for Skip {}

/// A line of the global section, its parts as they stand in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GlobalLine<'a> {
    /// A secondary index: `* i`, or `* e` with an expression (version 3.2).
    Index {
        namespace: Token<'a>,
        set: Token<'a>,
        name: Token<'a>,
        kind: u8,
        bin: Token<'a>,
        value: u8,
        /// The context, or for `* e` the expression, in base64; empty if there is none.
        extra: &'a [u8],
        expression: bool,
    },
    /// A UDF module: `* u`.
    Udf { kind: u8, name: Token<'a>, content: &'a [u8] },
}

/// Which dialect of the format a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// Whether names are escaped: from 3.1 on.
    pub(crate) escapes: bool,
    /// Whether `* e` lines exist: from 3.2 on.
    pub(crate) expressions: bool,
}

/// A place in text, with what is needed to go on from there.
pub(crate) struct TextWalk<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
    /// Whether nothing follows `text`.
    last: bool,
    dialect: Dialect,
    /// The line at hand is the last of a record that nothing follows: its line feed may be missing.
    may_lack_end: bool,
    /// It is missing.
    lacks_end: bool,
}

impl<'a> TextWalk<'a> {
    /// A walk over `text` from index `at`. `last` says that nothing follows the text.
    pub(crate) fn new(text: &'a [u8], at: usize, last: bool, dialect: Dialect) -> Self {
        Self { text, at, line: at, last, dialect, may_lack_end: false, lacks_end: false }
    }

    /// Where the walk has come to.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Whether the text ended with a record that is whole but for its last line feed.
    pub(crate) fn lacks_end(&self) -> bool {
        self.lacks_end
    }

    /// The next byte, if the text has one.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    #[cold]
    fn fault<T>(&self, at: usize, expected: &str) -> Result<T, Stop> {
        let found = match self.text.get(at..) {
            Some(rest) if !rest.is_empty() => quote(rest),
            _ => "the end of the file".to_owned(),
        };
        Err(Stop::Fault(Box::new(Fault { at, line: self.line, expected: expected.to_owned(), found, cut: false })))
    }

    /// The text ends although the format asks for more.
    #[cold]
    fn cut<T>(&self, expected: &str) -> Result<T, Stop> {
        if !self.last {
            return Err(Stop::More);
        }
        let found = "the end of the file".to_owned();
        let at = self.text.len();
        Err(Stop::Fault(Box::new(Fault { at, line: self.line, expected: expected.to_owned(), found, cut: true })))
    }

    #[cold]
    fn refuse<T>(&self, at: usize, problem: Problem) -> Result<T, Stop> {
        let Problem { expected, found } = problem;
        Err(Stop::Fault(Box::new(Fault { at, line: self.line, expected: expected.to_owned(), found, cut: false })))
    }

    #[inline(always)]
    fn take<T>(&self, at: usize, result: Result<T, Problem>) -> Result<T, Stop> {
        match result {
            Ok(value) => Ok(value),
            Err(problem) => self.refuse(at, problem),
        }
    }

    /// The rest of the line; the walk goes to the next one.
    #[inline(always)]
    fn rest_of_line(&mut self, expected: &str) -> Result<&'a [u8], Stop> {
        let start = self.at;
        let rest = self.text.get(start..).unwrap_or_default();
        let Some(length) = line_feed(rest) else { return self.unended_rest(expected) };
        self.at = start + length + 1;
        Ok(rest.get(..length).unwrap_or_default())
    }

    /// The rest of the text in place of the rest of the line, if it may be.
    #[cold]
    fn unended_rest(&mut self, expected: &str) -> Result<&'a [u8], Stop> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if !self.may_lack_end || rest.is_empty() {
            return self.cut(expected);
        }
        self.lacks_end = true;
        self.at = self.text.len();
        Ok(rest)
    }

    #[inline(always)]
    fn name(&mut self, space: bool, expected: &str) -> Result<Token<'a>, Stop> {
        match token(self.text, self.at, space, self.dialect.escapes) {
            Some((name, end)) => {
                self.at = end;
                Ok(name)
            }
            None if self.text.len() - self.at > MAX_ITEM_BYTES => self.fault(self.at, expected),
            None => self.cut(expected),
        }
    }

    #[inline(always)]
    fn byte(&mut self, byte: u8, expected: &str) -> Result<(), Stop> {
        match self.text.get(self.at) {
            Some(&found) if found == byte => {
                self.at += 1;
                Ok(())
            }
            Some(_) => self.fault(self.at, expected),
            None => self.cut(expected),
        }
    }

    fn letter(&mut self, expected: &str) -> Result<u8, Stop> {
        match self.text.get(self.at) {
            Some(letter) if letter.is_ascii_uppercase() => {
                self.at += 1;
                Ok(*letter)
            }
            Some(_) => self.fault(self.at, expected),
            None => self.cut(expected),
        }
    }

    /// A number that ends with a space, which is passed too.
    #[inline(always)]
    fn length(&mut self, limit: usize) -> Result<usize, Stop> {
        const EXPECTED: &str = "a length in digits and a space";
        let start = self.at;
        let rest = self.text.get(start..).unwrap_or_default();
        let mut length = 0u64;
        // More digits than any length within the limit has, leading zeros aside; they can't overflow.
        for (i, &byte) in rest.iter().enumerate().take(19) {
            let digit = byte.wrapping_sub(b'0');
            if digit < 10 {
                length = length * 10 + u64::from(digit);
            } else if byte == b' ' && i > 0 {
                if length > limit as u64 {
                    return self.fault(start, &format!("a length of at most {limit} bytes"));
                }
                self.at = start + i + 1;
                return Ok(length as usize);
            } else {
                return self.fault(start, EXPECTED);
            }
        }
        if rest.len() < 19 { self.cut(EXPECTED) } else { self.fault(start, EXPECTED) }
    }

    /// A length, that many bytes, and a line feed.
    #[inline(always)]
    fn counted(&mut self) -> Result<&'a [u8], Stop> {
        let length = self.length(MAX_ITEM_BYTES)?;
        let start = self.at;
        match self.text.get(start..start + length) {
            Some(value) => {
                self.at = start + length;
                if self.may_lack_end && self.at == self.text.len() {
                    self.lacks_end = true;
                    return Ok(value);
                }
                self.byte(b'\n', "a line feed after the value, where its stated length ends")?;
                Ok(value)
            }
            None => self.cut("a value as long as its stated length"),
        }
    }

    /// The beginning of a header line: `+`, space, one of two letters, space.
    #[inline(always)]
    fn header(&mut self, letters: [u8; 2], expected: &str) -> Result<u8, Stop> {
        self.line = self.at;
        let rest = self.text.get(self.at..).unwrap_or_default();
        match rest.first_chunk::<4>() {
            Some(&[b'+', b' ', letter, b' ']) if letters.contains(&letter) => {
                self.at += 4;
                Ok(letter)
            }
            Some(_) => self.fault(self.at, expected),
            None if b"+ ".starts_with(rest.get(..2).unwrap_or(rest)) => self.cut(expected),
            None => self.fault(self.at, expected),
        }
    }

    /// Walks over one record and, if the text goes on, makes sure that it ends there.
    #[inline]
    pub(crate) fn record<V: Visitor<'a>>(&mut self, visitor: &mut V) -> Result<(), Stop> {
        let mut letter = self.header([b'k', b'n'], "a record: a line beginning \"+ k \" or \"+ n \"")?;
        if letter == b'k' {
            self.key(visitor)?;
            letter = self.header([b'n', b'n'], "the namespace: a line beginning \"+ n \"")?;
        }
        debug_assert_eq!(letter, b'n');
        let at = self.at;
        let namespace = self.name(false, "a namespace's name and a line feed")?;
        self.byte(b'\n', "a line feed")?;
        self.take(at, visitor.namespace(namespace))?;
        self.header([b'd', b'd'], "the digest: a line beginning \"+ d \"")?;
        let at = self.at;
        let value = self.rest_of_line("a digest in base64 and a line feed")?;
        self.take(at, visitor.digest(value))?;
        if self.header([b's', b'g'], "the set or the generation: a line beginning \"+ s \" or \"+ g \"")? == b's' {
            let at = self.at;
            let set = self.name(false, "a set's name and a line feed")?;
            self.byte(b'\n', "a line feed")?;
            self.take(at, visitor.set(set))?;
            self.header([b'g', b'g'], "the generation: a line beginning \"+ g \"")?;
        }
        let at = self.at;
        let value = self.rest_of_line("a generation and a line feed")?;
        self.take(at, visitor.generation(value))?;
        self.header([b't', b't'], "the expiration time: a line beginning \"+ t \"")?;
        let at = self.at;
        let value = self.rest_of_line("an expiration time and a line feed")?;
        self.take(at, visitor.void_time(value))?;
        self.header([b'b', b'b'], "the number of bins: a line beginning \"+ b \"")?;
        let at = self.at;
        // More digits may be missing behind any other number.
        self.may_lack_end = self.last && self.text.get(at..) == Some(b"0");
        let value = self.rest_of_line("a number of bins and a line feed")?;
        let Some(count) = parse_unsigned(value, MAX_BINS as u64) else {
            return self.fault(at, "a number of bins, 0 to 65535");
        };
        for left in (0..count).rev() {
            self.may_lack_end = self.last && left == 0;
            self.bin(visitor)?;
        }
        self.may_lack_end = false;
        self.line = self.at;
        match self.text.get(self.at) {
            None if !self.last => Err(Stop::More),
            None | Some(b'+' | b'*') => Ok(()),
            Some(b'-') => self.fault(self.at, &format!("no more than the {count} stated bins")),
            Some(_) => self.fault(self.at, "a record (\"+ \") or a global line (\"* \")"),
        }
    }

    fn key<V: Visitor<'a>>(&mut self, visitor: &mut V) -> Result<(), Stop> {
        const EXPECTED: &str = "a key type: I, D, S, X, B or B!, and a space";
        let start = self.at;
        let Some(&letter) = self.text.get(start) else { return self.cut(EXPECTED) };
        if !matches!(letter, b'I' | b'D' | b'S' | b'X' | b'B') {
            return self.fault(start, EXPECTED);
        }
        self.at += 1;
        let raw = self.peek() == Some(b'!');
        self.at += usize::from(raw);
        self.byte(b' ', EXPECTED)?;
        let at = self.at;
        let value = match letter {
            b'I' | b'D' => self.rest_of_line("a number and a line feed")?,
            _ => self.counted()?,
        };
        self.take(at, visitor.key(letter, raw, value))
    }

    #[inline(always)]
    fn bin<V: Visitor<'a>>(&mut self, visitor: &mut V) -> Result<(), Stop> {
        const EXPECTED: &str = "a bin: \"- \", a type letter of NZIDSXGBJCPRHEYML, perhaps \"!\", and a space";
        self.line = self.at;
        let start = self.at;
        let (letter, raw) = match self.text.get(start..start + 5) {
            Some(&[b'-', b' ', letter, b' ', _]) => {
                self.at += 4;
                (letter, false)
            }
            Some(&[b'-', b' ', letter, b'!', b' ']) => {
                self.at += 5;
                (letter, true)
            }
            Some(_) => return self.fault(start, EXPECTED),
            // The shortest bin line, a nil bin without a name, has five bytes.
            None => {
                let rest = self.text.get(start..).unwrap_or_default();
                return if b"- ".starts_with(rest.get(..2).unwrap_or(rest)) {
                    self.cut("the next bin")
                } else {
                    self.fault(start, EXPECTED)
                };
            }
        };
        let name = self.name(true, "a bin's name")?;
        if letter == b'N' {
            let at = self.at;
            self.byte(b'\n', "a line feed after the name of a nil bin")?;
            return self.take(at, visitor.bin(letter, raw, name, &[]));
        }
        self.byte(b' ', "a space after the bin's name")?;
        let at = self.at;
        let value = match letter {
            b'I' | b'D' | b'Z' => self.rest_of_line("a value and a line feed")?,
            b'S' | b'X' | b'G' | b'B' | b'J' | b'C' | b'P' | b'R' | b'H' | b'E' | b'Y' | b'M' | b'L' => {
                self.counted()?
            }
            b'U' => return self.fault(start, "no large data type (LDT); a server and tools before 3.15 restore it"),
            _ => return self.fault(start, EXPECTED),
        };
        self.take(at, visitor.bin(letter, raw, name, value))
    }

    /// Walks over one global line.
    pub(crate) fn global(&mut self) -> Result<GlobalLine<'a>, Stop> {
        const EXPECTED: &str = "a global line: \"* i \", \"* u \" or (from version 3.2) \"* e \"";
        self.line = self.at;
        let rest = self.text.get(self.at..).unwrap_or_default();
        let letter = match rest.first_chunk::<4>() {
            Some(&[b'*', b' ', letter @ (b'i' | b'u'), b' ']) => letter,
            Some(&[b'*', b' ', b'e', b' ']) if self.dialect.expressions => b'e',
            Some(_) => return self.fault(self.at, EXPECTED),
            None => return self.cut(EXPECTED),
        };
        self.at += 4;
        if letter == b'u' { self.udf() } else { self.index(letter == b'e') }
    }

    fn index(&mut self, expression: bool) -> Result<GlobalLine<'a>, Stop> {
        let namespace = self.name(true, "a namespace's name")?;
        self.byte(b' ', "a space after the namespace")?;
        let set = self.name(true, "a set's name")?;
        self.byte(b' ', "a space after the set")?;
        let name = self.name(true, "an index name")?;
        self.byte(b' ', "a space after the index name")?;
        let kind = self.letter("an index type: N, L, K or V")?;
        self.byte(b' ', "a space after the index type")?;
        let at = self.at;
        if self.length(1 << 20)? != 1 {
            return self.fault(at, "an index over one value (\"1\")");
        }
        let bin = self.name(true, "a bin's name")?;
        self.byte(b' ', "a space after the bin's name")?;
        let value = self.letter("a value type: N, S, G or B")?;
        let extra = match self.peek() {
            None => return self.cut("a space or a line feed after the value type"),
            Some(b' ') => {
                self.at += 1;
                self.rest_of_line("a context or an expression in base64, and a line feed")?
            }
            Some(_) => {
                self.byte(b'\n', "a space or a line feed after the value type")?;
                &[]
            }
        };
        Ok(GlobalLine::Index { namespace, set, name, kind, bin, value, extra, expression })
    }

    fn udf(&mut self) -> Result<GlobalLine<'a>, Stop> {
        let kind = self.letter("a module type: L")?;
        self.byte(b' ', "a space after the module type")?;
        let name = self.name(true, "a module's name")?;
        self.byte(b' ', "a space after the module's name")?;
        let content = self.counted()?;
        Ok(GlobalLine::Udf { kind, name, content })
    }
}

/// The beginning of some text, for an error message.
pub(crate) fn quote(text: &[u8]) -> String {
    const SHOWN: usize = 40;
    let shown = text.get(..SHOWN).unwrap_or(text);
    let dots = if text.len() > SHOWN { "…" } else { "" };
    format!("\"{}\"{dots}", shown.escape_ascii())
}
