//! Filter expressions, as far as tests use them.

use super::data::{EPOCH, Record};

/// A MessagePack value.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
enum Value {
    Int(i64),
    Text(Vec<u8>),
    List(Vec<Value>),
    True,
    False,
    /// What only the bins tell, where they are not looked at.
    Unknown,
}

/// What a filter says of a record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    Passes,
    Excluded,
    /// Metadata alone doesn't tell.
    NeedsBins,
}

fn take<'a>(input: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (head, tail) = input.split_at_checked(n)?;
    *input = tail;
    Some(head)
}

fn number(bytes: &[u8]) -> i64 {
    bytes.iter().fold(0, |number, byte| number << 8 | i64::from(*byte))
}

fn parse(input: &mut &[u8]) -> Option<Value> {
    let head = take(input, 1)?[0];
    let list = |input: &mut &[u8], n| (0..n).map(|_| parse(input)).collect::<Option<Vec<_>>>().map(Value::List);
    match head {
        0..0x80 => Some(Value::Int(head.into())),
        0x90..0xa0 => list(input, head & 15),
        0xa0..0xc0 => take(input, usize::from(head & 31)).map(|text| Value::Text(text.to_vec())),
        0xe0.. => Some(Value::Int(i64::from(head as i8))),
        0xc2 => Some(Value::False),
        0xc3 => Some(Value::True),
        0xcc => take(input, 1).map(|bytes| Value::Int(number(bytes))),
        0xcd => take(input, 2).map(|bytes| Value::Int(number(bytes))),
        0xce => take(input, 4).map(|bytes| Value::Int(number(bytes))),
        0xcf => take(input, 8).map(|bytes| Value::Int(number(bytes))),
        0xd9 => {
            let length = usize::from(take(input, 1)?[0]);
            take(input, length).map(|text| Value::Text(text.to_vec()))
        }
        _ => None,
    }
}

/// A filter expression.
#[derive(Clone, Debug)]
pub struct Filter(Value);

impl Filter {
    /// Reads one; `None` if it is none that we know.
    pub fn parse(mut bytes: &[u8]) -> Option<Self> {
        let value = parse(&mut bytes)?;
        bytes.is_empty().then_some(Filter(value))
    }

    /// Whether a record passes; `None` if the expression is none that we know.
    pub fn passes(&self, record: &Record) -> Option<bool> {
        verdict(&self.0, record, true).map(|verdict| verdict == Verdict::Passes)
    }

    /// What its metadata alone says of a record; `None` if the expression is none that we know.
    pub fn by_metadata(&self, record: &Record) -> Option<Verdict> {
        verdict(&self.0, record, false)
    }
}

fn verdict(value: &Value, record: &Record, bins: bool) -> Option<Verdict> {
    let of = |holds: bool| if holds { Verdict::Passes } else { Verdict::Excluded };
    let items = match value {
        Value::True | Value::False => return Some(of(*value == Value::True)),
        Value::List(items) => items,
        _ => return None,
    };
    let (Value::Int(code), rest) = items.split_first()? else { return None };
    // The first of two verdicts decides if it is there, else whether all are the other one.
    let joined = |decisive, other| {
        let all = rest.iter().map(|one| verdict(one, record, bins)).collect::<Option<Vec<_>>>()?;
        match () {
            () if all.contains(&decisive) => Some(decisive),
            () if all.contains(&Verdict::NeedsBins) => Some(Verdict::NeedsBins),
            () => Some(other),
        }
    };
    match (code, rest) {
        (1 | 3..=6, [a, b]) => {
            let (a, b) = (evaluate(a, record, bins)?, evaluate(b, record, bins)?);
            if [&a, &b].contains(&&Value::Unknown) {
                return Some(Verdict::NeedsBins);
            }
            Some(of(match code {
                1 => a == b,
                3 => a > b,
                5 => a < b,
                6 => a <= b,
                _ => a >= b,
            }))
        }
        (16, _) => joined(Verdict::Excluded, Verdict::Passes),
        (17, _) => joined(Verdict::Passes, Verdict::Excluded),
        _ => None,
    }
}

fn evaluate(value: &Value, record: &Record, bins: bool) -> Option<Value> {
    let Value::List(items) = value else {
        return Some(match value {
            Value::Text(text) => Value::Text(text.strip_prefix(&[3])?.to_vec()),
            other => other.clone(),
        });
    };
    match &items[..] {
        [Value::Int(66)] => Some(Value::Int(record.updated as i64)),
        [Value::Int(68)] => Some(Value::Int(match record.void_time {
            0 => -1,
            void_time => (i64::from(void_time) + EPOCH as i64) * 1_000_000_000,
        })),
        [Value::Int(70)] => Some(Value::Text(record.set.clone())),
        [Value::Int(81), ..] if !bins => Some(Value::Unknown),
        // An integer bin; a record without it passes no comparison.
        [Value::Int(81), Value::Int(2), Value::Text(name)] => {
            let bin = record.bins.iter().find(|bin| bin.0 == *name && bin.1 == 1);
            Some(Value::Int(bin.map_or(i64::MIN, |bin| number(&bin.2))))
        }
        _ => None,
    }
}
