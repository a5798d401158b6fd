//! Numbers as `.asb` files spell them: decimal integers, and doubles as C's `%.17g` prints them.
//!
//! asbackup writes doubles with `printf("%.17g")` (17 significant digits bring every double back bit for bit),
//! backup-go with Go's shortest form; both are read. The only bits that the text can't hold are the payload of a NaN.

use std::io::Write as _;

/// The NaN that the text `nan` stands for; `-nan` is the same with the sign bit set.
pub(crate) const NAN_BITS: u64 = 0x7ff8_0000_0000_0000;
const SIGN_BIT: u64 = 1 << 63;

/// Reads digits alone. `None` if there are none, if another byte is among them, or if the value passes `limit`.
#[inline]
pub(crate) fn parse_unsigned(text: &[u8], limit: u64) -> Option<u64> {
    // Nineteen digits can't overflow; leading zeros beyond them are read the slow way.
    let mut value = 0u64;
    if text.is_empty() {
        return None;
    }
    if text.len() <= 19 {
        for &byte in text {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            value = value * 10 + u64::from(digit);
        }
    } else {
        for &byte in text {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
        }
    }
    (value <= limit).then_some(value)
}

/// Reads a 64-bit signed integer: digits, perhaps after a minus sign.
#[inline]
pub(crate) fn parse_signed(text: &[u8]) -> Option<i64> {
    match text.split_first() {
        Some((b'-', digits)) => parse_unsigned(digits, SIGN_BIT).map(|value| (value as i64).wrapping_neg()),
        _ => parse_unsigned(text, i64::MAX as u64).map(|value| value as i64),
    }
}

/// Reads a double in any of the forms that C's `strtod` and Go's `ParseFloat` share, as the bits of an IEEE 754 double.
pub(crate) fn parse_double(text: &[u8]) -> Option<u64> {
    // Small whole numbers are common and need no rounding.
    if text.len() <= 15
        && text.first() != Some(&b'-')
        && let Some(value) = parse_unsigned(text, 1 << 53)
    {
        return Some((value as f64).to_bits());
    }
    let (sign, magnitude) = match text.split_first() {
        Some((b'-', rest)) => (SIGN_BIT, rest),
        Some((b'+', rest)) => (0, rest),
        _ => (0, text),
    };
    if magnitude.eq_ignore_ascii_case(b"nan") {
        return Some(sign | NAN_BITS);
    }
    // The sign was taken off, so a second one must not get through.
    if !magnitude.first().is_some_and(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'i' | b'I')) {
        return None;
    }
    let value: f64 = std::str::from_utf8(magnitude).ok()?.parse().ok()?;
    Some(sign | value.to_bits())
}

const DIGIT_PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
    2021222324252627282930313233343536373839\
    4041424344454647484950515253545556575859\
    6061626364656667686970717273747576777879\
    8081828384858687888990919293949596979899";

/// Writes the decimal digits of `value` to the end of `buffer`; returns where they begin.
#[expect(clippy::indexing_slicing, reason = "20 digits hold every u64, and a pair is less than 100")]
fn digits_from_end(buffer: &mut [u8; 20], mut value: u64) -> usize {
    let mut at = buffer.len();
    while value >= 100 {
        let pair = (value % 100) as usize * 2;
        value /= 100;
        at -= 2;
        buffer[at..at + 2].copy_from_slice(&DIGIT_PAIRS[pair..pair + 2]);
    }
    if value >= 10 {
        let pair = value as usize * 2;
        at -= 2;
        buffer[at..at + 2].copy_from_slice(&DIGIT_PAIRS[pair..pair + 2]);
    } else {
        at -= 1;
        buffer[at] = b'0' + value as u8;
    }
    at
}

/// Appends an unsigned integer.
#[expect(clippy::indexing_slicing, reason = "digits begin within their buffer")]
pub(crate) fn put_unsigned(out: &mut Vec<u8>, value: u64) {
    if value < 10 {
        out.push(b'0' + value as u8);
        return;
    }
    let mut buffer = [0; 20];
    let at = digits_from_end(&mut buffer, value);
    out.extend_from_slice(&buffer[at..]);
}

/// Appends a signed integer.
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    put_unsigned(out, value.unsigned_abs());
}

/// Significant digits of `%.17g`.
const PRECISION: usize = 17;

/// Appends a double, given as its bits, as `printf("%.17g")` prints it.
pub(crate) fn put_double(out: &mut Vec<u8>, bits: u64) {
    if bits & SIGN_BIT != 0 {
        out.push(b'-');
    }
    let value = f64::from_bits(bits & !SIGN_BIT);
    if value.is_nan() {
        out.extend_from_slice(b"nan");
    } else if value.is_infinite() {
        out.extend_from_slice(b"inf");
    } else if value < 1e15 && value.trunc() == value {
        put_unsigned(out, value as u64);
    } else {
        let (digits, exponent) = significant_digits(value);
        put_general(out, &digits, exponent);
    }
}

/// The 17 significant decimal digits of a positive finite double, rounded half to even, and the exponent of the first.
#[expect(
    clippy::indexing_slicing,
    reason = "digits begin within their buffer, and what is unused of it is no longer than it"
)]
fn significant_digits(value: f64) -> ([u8; PRECISION], i32) {
    if let Some((digits, exponent)) = digits_by_integers(value) {
        let mut buffer = [0; 20];
        let at = digits_from_end(&mut buffer, digits);
        if let Some(digits) = buffer[at..].first_chunk::<PRECISION>() {
            return (*digits, exponent);
        }
    }
    let mut text = [0u8; 32];
    let mut rest = &mut text[..];
    // 17 digits, a dot, `e` and a signed exponent of up to three digits always fit.
    let _ = write!(rest, "{value:.16e}");
    let unused = rest.len();
    let text = &text[..32 - unused];
    let mark = text.iter().position(|&byte| byte == b'e').unwrap_or(text.len());
    let mut digits = [b'0'; PRECISION];
    for (digit, &byte) in digits.iter_mut().zip(text[..mark].iter().filter(|byte| byte.is_ascii_digit())) {
        *digit = byte;
    }
    let exponent = std::str::from_utf8(text.get(mark + 1..).unwrap_or_default()).ok();
    (digits, exponent.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// The digits as one integer of exactly 17 digits, in exact integer arithmetic; for values from 1e-5 to below 1e16
/// whose scaled form fits 128 bits, which is nearly every double in a real database.
fn digits_by_integers(value: f64) -> Option<(u64, i32)> {
    const LOWEST: u64 = 10u64.pow(16);
    if !(1e-5..1e16).contains(&value) {
        return None;
    }
    let bits = value.to_bits();
    let mantissa = (bits & ((1 << 52) - 1)) | (1 << 52);
    let shift = 1075 - (bits >> 52) as i32; // value = mantissa / 2^shift
    if !(1..=120).contains(&shift) {
        return None;
    }
    // A first guess at the decimal exponent from the binary one, put right below if it was one too low.
    let mut exponent = ((52 - shift) * 1233) >> 12;
    loop {
        let power = u32::try_from(16 - exponent).ok()?;
        let scaled = u128::from(mantissa).checked_mul(10u128.checked_pow(power)?)?;
        let (quotient, remainder) = (scaled >> shift, scaled & ((1 << shift) - 1));
        let half = 1u128 << (shift - 1);
        let up = remainder > half || (remainder == half && quotient & 1 == 1);
        let rounded = u64::try_from(quotient).ok()? + u64::from(up);
        if rounded >= LOWEST * 10 {
            exponent += 1;
        } else if rounded < LOWEST {
            exponent -= 1;
        } else {
            return Some((rounded, exponent));
        }
    }
}

/// Lays digits out as `%g` does: no trailing zeros, an exponent if it is below -4 or not below the precision.
#[expect(clippy::indexing_slicing, reason = "at least one digit is kept, and at most all")]
fn put_general(out: &mut Vec<u8>, digits: &[u8; PRECISION], exponent: i32) {
    let kept = digits.iter().rposition(|&digit| digit != b'0').map_or(1, |last| last + 1);
    let digits = &digits[..kept];
    if !(-4..PRECISION as i32).contains(&exponent) {
        out.push(digits[0]);
        if kept > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        let size = exponent.unsigned_abs();
        if size < 10 {
            out.push(b'0');
        }
        put_unsigned(out, u64::from(size));
    } else if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', (-exponent - 1) as usize));
        out.extend_from_slice(digits);
    } else {
        let whole = exponent as usize + 1;
        if whole >= kept {
            out.extend_from_slice(digits);
            out.extend(std::iter::repeat_n(b'0', whole - kept));
        } else {
            out.extend_from_slice(&digits[..whole]);
            out.push(b'.');
            out.extend_from_slice(&digits[whole..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn printed(bits: u64) -> String {
        let mut out = Vec::new();
        put_double(&mut out, bits);
        String::from_utf8(out).unwrap()
    }

    /// What glibc's `printf("%.17g")` prints for these bits.
    const KNOWN: &[(u64, &str)] = &include!("number_vectors.in");

    #[test]
    fn prints_doubles_as_c_does() {
        for &(bits, text) in KNOWN {
            assert_eq!(printed(bits), text, "bits {bits:016x}");
            assert_eq!(parse_double(text.as_bytes()), Some(bits), "{text}");
        }
    }

    #[test]
    fn reads_the_forms_that_go_writes() {
        for (text, value) in [
            ("NaN", f64::from_bits(NAN_BITS)),
            ("+Inf", f64::INFINITY),
            ("-Inf", f64::NEG_INFINITY),
            ("1e+21", 1e21),
            ("0.1", 0.1),
            ("1.", 1.0),
            (".5", 0.5),
            ("-0", -0.0),
        ] {
            assert_eq!(parse_double(text.as_bytes()), Some(value.to_bits()), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_number() {
        for text in ["", "-", "+", "--1", "+-1", "1x", "0x10", "1e", "e5", " 1", "1 ", "nanx", "i", "1_0"] {
            assert_eq!(parse_double(text.as_bytes()), None, "{text:?}");
        }
        for text in ["", "-", "--1", "+1", "1x", "9223372036854775808", "-9223372036854775809", "18446744073709551616"]
        {
            assert_eq!(parse_signed(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse_unsigned(b"65536", 65535), None);
        assert_eq!(parse_unsigned(b"0000000000000000000000000000000007", 9), Some(7));
        assert_eq!(parse_unsigned(b"99999999999999999999999999", u64::MAX), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn doubles_come_back_bit_for_bit(bits: u64) {
            prop_assume!(!f64::from_bits(bits).is_nan());
            prop_assert_eq!(parse_double(printed(bits).as_bytes()), Some(bits));
        }

        #[test]
        fn both_ways_to_the_digits_agree(mantissa: u64, exponent in 1000u64..1080) {
            let value = f64::from_bits((exponent << 52) | (mantissa >> 12));
            if let Some((digits, exponent)) = digits_by_integers(value) {
                let text = format!("{value:.16e}");
                let (expected, power) = text.split_once('e').unwrap();
                prop_assert_eq!(digits.to_string(), expected.replace('.', ""));
                prop_assert_eq!(exponent.to_string(), power);
            }
        }

        #[test]
        fn integers_come_back(value: i64, shift in 0u32..64) {
            let value = value >> shift;
            let mut out = Vec::new();
            put_signed(&mut out, value);
            prop_assert_eq!(std::str::from_utf8(&out).unwrap(), value.to_string());
            prop_assert_eq!(parse_signed(&out), Some(value));
        }
    }

    #[test]
    fn the_extreme_integers_come_back() {
        for value in [i64::MIN, i64::MAX, 0, -1, 9, 10, 99, 100, -100] {
            let mut out = Vec::new();
            put_signed(&mut out, value);
            assert_eq!(parse_signed(&out), Some(value));
        }
    }
}
