//! Messages as bytes, for both sides.

use super::data::Bin;
use std::io::{self, Read};

pub const INFO: u8 = 1;
pub const SECURITY: u8 = 2;
pub const MESSAGE: u8 = 3;

/// A frame of a type around a body.
pub fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![2, kind];
    out.extend_from_slice(&(body.len() as u64).to_be_bytes()[2..]);
    out.extend_from_slice(body);
    out
}

/// Reads a frame: its type and its body.
pub fn read_frame(stream: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 8];
    stream.read_exact(&mut head)?;
    let length = u64::from_be_bytes([0, 0, head[2], head[3], head[4], head[5], head[6], head[7]]);
    assert_eq!(head[0], 2, "protocol version");
    assert!(length <= 128 << 20, "length {length}");
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body)?;
    Ok((head[1], body))
}

/// A message, decoded.
#[derive(Clone, Debug, Default)]
pub struct Message {
    pub info: [u8; 4],
    pub result: u8,
    pub generation: u32,
    pub ttl: u32,
    pub row: u32,
    pub fields: Vec<(u8, Vec<u8>)>,
    /// Code, then the bin.
    pub operations: Vec<(u8, Bin)>,
}

pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn bytes(&mut self, n: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(n);
        self.0 = tail;
        head
    }
    pub fn u8(&mut self) -> u8 {
        self.bytes(1)[0]
    }
    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.bytes(2).try_into().unwrap())
    }
    pub fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.bytes(4).try_into().unwrap())
    }
    pub fn fields(&mut self, n: u16) -> Vec<(u8, Vec<u8>)> {
        (0..n)
            .map(|_| {
                let size = self.u32() as usize;
                let kind = self.u8();
                (kind, self.bytes(size - 1).to_vec())
            })
            .collect()
    }
    pub fn operations(&mut self, n: u16) -> Vec<(u8, Bin)> {
        (0..n)
            .map(|_| {
                let size = self.u32() as usize;
                let (code, particle, _, name) = (self.u8(), self.u8(), self.u8(), self.u8() as usize);
                let name = self.bytes(name).to_vec();
                let value = self.bytes(size - 4 - name.len()).to_vec();
                (code, (name, particle, value))
            })
            .collect()
    }
}

impl Message {
    pub fn take(input: &mut Input<'_>) -> Self {
        assert_eq!(input.u8(), 22, "size of the head");
        let info = [input.u8(), input.u8(), input.u8(), input.u8()];
        let result = input.u8();
        let (generation, ttl, row) = (input.u32(), input.u32(), input.u32());
        let (fields, operations) = (input.u16(), input.u16());
        let (fields, operations) = (input.fields(fields), input.operations(operations));
        Self { info, result, generation, ttl, row, fields, operations }
    }

    pub fn parse(body: &[u8]) -> Self {
        let mut input = Input(body);
        let message = Self::take(&mut input);
        assert!(input.0.is_empty(), "bytes after the message");
        message
    }

    pub fn field(&self, kind: u8) -> Option<&[u8]> {
        self.fields.iter().find(|field| field.0 == kind).map(|field| &field.1[..])
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![22];
        out.extend_from_slice(&self.info);
        out.push(self.result);
        [self.generation, self.ttl, self.row].iter().for_each(|n| out.extend_from_slice(&n.to_be_bytes()));
        out.extend_from_slice(&(self.fields.len() as u16).to_be_bytes());
        out.extend_from_slice(&(self.operations.len() as u16).to_be_bytes());
        put_fields(&mut out, &self.fields);
        put_operations(&mut out, &self.operations);
        out
    }
}

pub fn put_fields(out: &mut Vec<u8>, fields: &[(u8, Vec<u8>)]) {
    for (kind, data) in fields {
        out.extend_from_slice(&(data.len() as u32 + 1).to_be_bytes());
        out.push(*kind);
        out.extend_from_slice(data);
    }
}

pub fn put_operations(out: &mut Vec<u8>, operations: &[(u8, Bin)]) {
    for (code, (name, particle, value)) in operations {
        out.extend_from_slice(&((4 + name.len() + value.len()) as u32).to_be_bytes());
        out.extend_from_slice(&[*code, *particle, 0, name.len() as u8]);
        out.extend_from_slice(name);
        out.extend_from_slice(value);
    }
}
