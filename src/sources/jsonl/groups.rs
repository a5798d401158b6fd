//! Cuts a stream into groups of whole lines.

use crate::jsonl::MAX_LINE_BYTES;
use std::io::{ErrorKind, Read, Result};

/// How many bytes are read at a time; a group is that long, or as long as its longest line.
const READ_BYTES: usize = 1 << 20;

/// A part of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// Whole lines with their ends; the stream's last line may lack its own.
    Lines {
        /// Byte offset of the first.
        start: u64,
        bytes: Vec<u8>,
    },
    /// A line that is longer than allowed, and was skipped.
    TooLong { start: u64, length: u64 },
}

impl Group {
    pub(super) fn byte_len(&self) -> u64 {
        match self {
            Group::Lines { bytes, .. } => bytes.len() as u64,
            Group::TooLong { length, .. } => *length,
        }
    }
}

/// Reads a stream and cuts it after line ends.
pub(super) struct Groups<R> {
    reader: R,
    /// Byte offset of what is in `rest`.
    start: u64,
    /// What was read after the last line end.
    rest: Vec<u8>,
    max_line: usize,
    read_bytes: usize,
}

impl<R: Read> Groups<R> {
    pub(super) fn new(reader: R) -> Self {
        Self::with_limits(reader, READ_BYTES, MAX_LINE_BYTES)
    }

    fn with_limits(reader: R, read_bytes: usize, max_line: usize) -> Self {
        Self { reader, start: 0, rest: Vec::new(), max_line, read_bytes }
    }

    /// Appends what one read gives to `rest`, and tells how much it was.
    fn fill(&mut self) -> Result<usize> {
        let before = self.rest.len();
        self.rest.resize(before + self.read_bytes, 0);
        let read = loop {
            match self.reader.read(self.rest.get_mut(before..).unwrap_or_default()) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.rest.truncate(before + *read.as_ref().unwrap_or(&0));
        read
    }

    fn give(&mut self, length: usize) -> Group {
        let rest = self.rest.split_off(length);
        let bytes = std::mem::replace(&mut self.rest, rest);
        let start = self.start;
        self.start += length as u64;
        Group::Lines { start, bytes }
    }

    /// The next group, or `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Group>> {
        loop {
            let before = self.rest.len();
            let read = self.fill()?;
            if read == 0 {
                return Ok((before > 0).then(|| self.give(before)));
            }
            if let Some(end) = memchr::memrchr(b'\n', self.rest.get(before..).unwrap_or_default()) {
                return Ok(Some(self.give(before + end + 1)));
            }
            if self.rest.len() > self.max_line {
                return self.skip_line().map(Some);
            }
        }
    }

    /// Drops the line in `rest`, which has no end yet, and what follows of it.
    fn skip_line(&mut self) -> Result<Group> {
        let start = self.start;
        let mut length = self.rest.len() as u64;
        loop {
            self.rest.clear();
            let read = self.fill()?;
            let end = memchr::memchr(b'\n', &self.rest).map(|end| end + 1);
            let skipped = end.unwrap_or(read);
            length += skipped as u64;
            if end.is_some() || read == 0 {
                self.rest.drain(..skipped);
                self.start += length;
                return Ok(Group::TooLong { start, length });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(bytes: &[u8], read_bytes: usize, max_line: usize) -> Vec<Group> {
        let mut groups = Groups::with_limits(bytes, read_bytes, max_line);
        let mut all = Vec::new();
        while let Some(group) = groups.next().unwrap() {
            all.push(group);
        }
        all
    }

    proptest! {
        #[test]
        fn gives_every_byte_once_and_cuts_after_line_ends(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'x')], 0..200), read in 1usize..50,
        ) {
            let groups = all(&bytes, read, 1000);
            let mut at = 0;
            for (number, group) in groups.iter().enumerate() {
                let Group::Lines { start, bytes: part } = group else { panic!("nothing is too long") };
                prop_assert_eq!(*start, at);
                prop_assert_eq!(&part[..], &bytes[at as usize..at as usize + part.len()]);
                prop_assert!(part.last() == Some(&b'\n') || number + 1 == groups.len());
                at += part.len() as u64;
            }
            prop_assert_eq!(at, bytes.len() as u64);
        }
    }

    #[test]
    fn skips_a_line_that_is_too_long_and_goes_on() {
        let text = [b"short\n".as_slice(), &[b'x'; 100], b"\nnext\n"].concat();
        let lines = |start, text: &str| Group::Lines { start, bytes: text.into() };
        let expected = [lines(0, "short\n"), Group::TooLong { start: 6, length: 101 }, lines(107, "next\n")];
        for read in [1, 7, 13, 50] {
            let groups = all(&text, read, 20);
            let after: Vec<u8> = groups
                .iter()
                .skip_while(|group| !matches!(group, Group::TooLong { .. }))
                .skip(1)
                .flat_map(|group| match group {
                    Group::Lines { bytes, .. } => bytes.clone(),
                    Group::TooLong { .. } => panic!("only one is too long"),
                })
                .collect();
            assert!(groups.contains(&expected[1]), "{groups:?}");
            assert_eq!(after, b"next\n");
        }
        assert_eq!(all(&text, 6, 20), [&expected[..2], &[lines(107, "next\n")]].concat());
    }

    #[test]
    fn a_stream_that_ends_within_a_line_that_is_too_long_is_told() {
        assert_eq!(all(&[b'x'; 100], 7, 20), [Group::TooLong { start: 0, length: 100 }]);
    }
}
