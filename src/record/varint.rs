//! Unsigned LEB128 integers: seven bits a byte, low bits first, the top bit set on all bytes but the last.
//!
//! Only the shortest encoding of a value is accepted, so that equal values have equal bytes.

/// Appends `value`.
#[inline]
pub fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads one value from the front of `input` and moves `input` past it. `None` if it is cut off, longer than a `u64`,
/// or not the shortest encoding.
#[inline]
pub fn take(input: &mut &[u8]) -> Option<u64> {
    match input.split_first() {
        // Most are short.
        Some((&byte, rest)) if byte < 0x80 => {
            *input = rest;
            Some(u64::from(byte))
        }
        _ => take_long(input),
    }
}

fn take_long(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (i, &byte) in input.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if i == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * i);
        if byte & 0x80 == 0 {
            if byte == 0 && i > 0 {
                return None;
            }
            *input = input.get(i + 1..)?;
            return Some(value);
        }
    }
    None
}

/// Reads a value that must fit a `usize` and be at most `limit`.
#[inline]
pub fn take_len(input: &mut &[u8], limit: usize) -> Option<usize> {
    let value = usize::try_from(take(input)?).ok()?;
    (value <= limit).then_some(value)
}

/// Splits `n` bytes off the front of `input`. `None` if there are fewer.
#[inline]
pub fn take_bytes<'a>(input: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (head, tail) = input.split_at_checked(n)?;
    *input = tail;
    Some(head)
}

/// Takes one byte off the front of `input`.
#[inline]
pub fn take_u8(input: &mut &[u8]) -> Option<u8> {
    let (&head, tail) = input.split_first()?;
    *input = tail;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_back_what_it_wrote(value: u64) {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            let mut rest = &bytes[..];
            prop_assert_eq!(take(&mut rest), Some(value));
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn refuses_long_cut_off_and_overflowing_forms() {
        for bytes in [&[0x80, 0x00][..], &[0xff], &[], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]] {
            assert_eq!(take(&mut &*bytes), None, "{bytes:?}");
        }
    }
}
