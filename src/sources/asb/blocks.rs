//! Cuts the text of one file into blocks of whole records.
//!
//! A block is a buffer of about [`BLOCK_BYTES`] in which the places of whole records are known. The text after the
//! last whole record moves to the front of the next block. A record longer than a block makes its buffer grow, as far
//! as the file really goes on and up to [`MAX_ITEM_BYTES`].

use crate::asb::parse::{Global, Scope, parse_global};
use crate::asb::walk::{Dialect, Fault, GlobalLine, MAX_ITEM_BYTES, Skip, Stop, TextWalk};
use crate::error::Result;
use memchr::memchr;
use std::io::Read;
use std::ops::Range;

/// How much text a block holds, in bytes.
pub(crate) const BLOCK_BYTES: usize = 1 << 20;

/// Whole records of one file.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// The text; may hold other bytes around the records.
    pub(crate) text: Vec<u8>,
    /// Where whole records stand, one after another, ascending.
    pub(crate) records: Vec<Range<usize>>,
    /// The offset of the text's first byte in the decoded stream.
    pub(crate) offset: u64,
}

/// Takes what a [`BlockReader`] finds.
pub(crate) trait BlockSink {
    /// Takes a block.
    fn block(&mut self, block: Block) -> Result<()>;
    /// Takes an index or a module.
    fn global(&mut self, global: Global);
    /// Takes note of a fault at this offset of the decoded stream. `Ok` means: go on after it.
    fn fault(&mut self, offset: u64, fault: Fault) -> Result<()>;
    /// A system error while reading.
    fn unreadable(&mut self, error: std::io::Error) -> crate::error::Error;
    /// Memory for a block's text, of any length and content.
    fn buffer(&mut self) -> Vec<u8> {
        Vec::new()
    }
    /// Takes note of an index of another namespace, which was passed over.
    fn other_index(&mut self, _namespace: &[u8]) {}
    /// The last record is complete but for the line feed at its end.
    fn lacks_end(&mut self) {}
}

/// Reads the text of one file. Its beginning, up to `at`, is the head that was read already.
pub(crate) struct BlockReader<'a> {
    source: Box<dyn Read + Send + 'a>,
    scope: Scope<'a>,
    dialect: Dialect,
    block_bytes: usize,
    text: Vec<u8>,
    filled: usize,
    at: usize,
    offset: u64,
    ended: bool,
    /// Why the text broke off, if not because the file ends.
    broken: Option<String>,
    /// The text ends with a record that has no line feed at its end.
    lacks_end: bool,
    records: Vec<Range<usize>>,
}

impl<'a> BlockReader<'a> {
    /// A reader that goes on after `head`, the first bytes of the text, of which `at` are done with.
    pub(crate) fn new(
        source: Box<dyn Read + Send + 'a>,
        head: Vec<u8>,
        at: usize,
        scope: Scope<'a>,
        dialect: Dialect,
        block_bytes: usize,
    ) -> Self {
        let filled = head.len();
        Self {
            source,
            scope,
            dialect,
            block_bytes,
            text: head,
            filled,
            at,
            offset: 0,
            ended: false,
            broken: None,
            lacks_end: false,
            records: Vec::new(),
        }
    }

    /// Reads the whole file.
    pub(crate) fn run(mut self, sink: &mut dyn BlockSink) -> Result<()> {
        self.advance(0, sink)?;
        loop {
            let text = self.text.get(..self.filled).unwrap_or_default();
            let mut walk = TextWalk::new(text, self.at, self.ended, self.dialect);
            let start = self.at;
            let stop = match walk.peek() {
                Some(b'*') => match walk.global() {
                    Ok(line) => match parse_global(line, self.scope) {
                        Ok(global) => {
                            self.at = walk.at();
                            match (global, line) {
                                (Some(global), _) => sink.global(global),
                                (None, GlobalLine::Index { namespace, .. }) => sink.other_index(&namespace.unescape()),
                                (None, GlobalLine::Udf { .. }) => {}
                            }
                            continue;
                        }
                        Err(problem) => Stop::Fault(Box::new(Fault {
                            at: start,
                            line: start,
                            expected: problem.expected.to_owned(),
                            found: problem.found,
                            cut: false,
                        })),
                    },
                    Err(stop) => stop,
                },
                Some(_) => match self.scan_records() {
                    Ok(()) => continue,
                    Err(stop) => stop,
                },
                None if self.ended => break,
                None => Stop::More,
            };
            match stop {
                Stop::More => {
                    if let Some(fault) = self.advance(self.at, sink)? {
                        self.recover(fault, sink)?;
                    }
                }
                Stop::Fault(fault) => self.recover(*fault, sink)?,
            }
        }
        if let Some(found) = self.broken.take() {
            let fault =
                Fault { at: self.filled, line: self.filled, expected: "more of the stream".into(), found, cut: true };
            sink.fault(self.offset + self.filled as u64, fault)?;
        } else if self.lacks_end {
            sink.lacks_end();
        }
        self.emit(sink)
    }

    /// Goes over records as far as whole ones stand in the text.
    fn scan_records(&mut self) -> Result<(), Stop> {
        let text = self.text.get(..self.filled).unwrap_or_default();
        let first = self.at;
        let mut walk = TextWalk::new(text, first, self.ended, self.dialect);
        let stop = loop {
            self.at = walk.at();
            match walk.peek() {
                Some(b'*') | None => break Ok(()),
                Some(_) => {}
            }
            if let Err(stop) = walk.record(&mut Skip) {
                break Err(stop);
            }
            self.lacks_end = walk.lacks_end();
        };
        if self.at > first {
            match self.records.last_mut() {
                Some(range) if range.end == first => range.end = self.at,
                _ => self.records.push(first..self.at),
            }
        }
        stop
    }

    /// Hands over the records found so far; the text from `keep` on becomes the front of the buffer.
    fn hand_over(&mut self, keep: usize, sink: &mut dyn BlockSink) -> Result<()> {
        let tail = keep..self.filled;
        let length = tail.len();
        if self.records.is_empty() {
            self.text.copy_within(tail, 0);
        } else {
            let mut next = sink.buffer();
            if next.len() < self.block_bytes.max(length) {
                next.resize(self.block_bytes.max(length), 0);
            }
            if let (Some(front), Some(tail)) = (next.get_mut(..length), self.text.get(tail)) {
                front.copy_from_slice(tail);
            }
            let text = std::mem::replace(&mut self.text, next);
            let records = std::mem::take(&mut self.records);
            sink.block(Block { text, records, offset: self.offset })?;
        }
        self.offset += keep as u64;
        self.filled = length;
        self.at = 0;
        Ok(())
    }

    fn emit(&mut self, sink: &mut dyn BlockSink) -> Result<()> {
        if self.records.is_empty() { Ok(()) } else { self.hand_over(self.filled, sink) }
    }

    /// Makes the text from `keep` on the front of the buffer and reads more after it. A fault comes back if what must
    /// be kept is longer than any item may be.
    fn advance(&mut self, keep: usize, sink: &mut dyn BlockSink) -> Result<Option<Fault>> {
        if keep > 0 {
            self.hand_over(keep, sink)?;
        }
        if self.filled >= self.text.len() {
            if self.filled > MAX_ITEM_BYTES {
                let expected = format!("a record of at most {MAX_ITEM_BYTES} bytes of text");
                return Ok(Some(Fault { at: 0, line: 0, expected, found: "a longer one".to_owned(), cut: false }));
            }
            // Doubled, so that growing to n bytes moves no more than 2n; only once the buffer was really filled.
            let size = (self.text.len() * 2).max(self.block_bytes).min(MAX_ITEM_BYTES + 1);
            self.text.resize(size, 0);
        }
        while let Some(room) = self.text.get_mut(self.filled..)
            && !room.is_empty()
        {
            match self.source.read(room) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error().is_some() => return Err(sink.unreadable(error)),
                Err(error) => {
                    self.broken = Some(format!("a stream that is damaged or cut off ({error})"));
                    self.ended = true;
                    break;
                }
            }
        }
        Ok(None)
    }

    /// Reports a fault and, if told to go on, looks for the next place where an item begins.
    fn recover(&mut self, mut fault: Fault, sink: &mut dyn BlockSink) -> Result<()> {
        if fault.at >= self.filled
            && let Some(broken) = self.broken.take()
        {
            fault.found = broken;
        }
        let Fault { line, cut, .. } = fault;
        let start = self.at;
        let global = self.text.get(start) == Some(&b'*');
        sink.fault(self.offset + fault.at as u64, fault)?;
        if cut {
            // What is left may lie inside a value, where anything may look like a record.
            self.at = self.filled;
            return Ok(());
        }
        let mut at = line.max(start);
        let mut previous = Line::Other;
        // The place where the bad item itself begins is no place to go on.
        let mut fresh = at > start;
        loop {
            let rest = self.text.get(at..self.filled).unwrap_or_default();
            if rest.len() < Line::BYTES && !self.ended {
                self.advance(at, sink)?;
                at = 0;
                continue;
            }
            if fresh && begins_item(rest, previous, global) {
                self.at = at;
                return Ok(());
            }
            fresh = true;
            previous = Line::of(rest);
            match memchr(b'\n', rest) {
                Some(length) => at += length + 1,
                None if self.ended => {
                    self.at = self.filled;
                    return Ok(());
                }
                None => {
                    self.skip_line(sink)?;
                    at = 0;
                }
            }
            if at == self.filled && self.ended {
                self.at = at;
                return Ok(());
            }
        }
    }

    /// Throws away a line that the buffer doesn't hold whole; the next one then begins at the buffer's front.
    fn skip_line(&mut self, sink: &mut dyn BlockSink) -> Result<()> {
        loop {
            self.advance(self.filled, sink)?;
            let rest = self.text.get(..self.filled).unwrap_or_default();
            match memchr(b'\n', rest) {
                Some(length) => return self.hand_over(length + 1, sink),
                None if self.ended => return self.hand_over(self.filled, sink),
                None => {}
            }
        }
    }
}

/// What the line before a place says about the place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    /// It can end a record or a global line, so that a record may begin after it.
    End,
    /// It can't, or isn't known.
    Other,
}

impl Line {
    /// How much of a line tells what it is.
    const BYTES: usize = 6;

    fn of(text: &[u8]) -> Self {
        let ends = [&b"- "[..], b"* ", b"# ", b"+ b 0\n"];
        if ends.iter().any(|start| text.starts_with(start)) { Line::End } else { Line::Other }
    }
}

/// Whether a record (or, if `global`, a global line) plausibly begins here. `+ n` begins one only after the end of
/// another: after `+ k` it goes on with a record whose key was lost.
fn begins_item(text: &[u8], previous: Line, global: bool) -> bool {
    match text {
        [b'+', b' ', b'k', b' ', b'I' | b'D' | b'S' | b'X' | b'B', b' ' | b'!', ..] => true,
        [b'+', b' ', b'n', b' ', ..] => previous == Line::End,
        [b'*', b' ', b'i' | b'u' | b'e', b' ', ..] => global,
        _ => false,
    }
}
