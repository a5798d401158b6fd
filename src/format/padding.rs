//! Padmé padding: hides sizes at a cost of at most 12 %, less for larger objects.
//!
//! Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", PETS 2019,
//! algorithm 1.

/// The padded length for `length` bytes: the next length whose last `e - s` bits are zero, where `e` is the exponent of
/// the length and `s` the number of bits that `e` takes.
pub fn padme(length: u64) -> u64 {
    if length < 2 {
        return length;
    }
    let e = 63 - length.leading_zeros();
    let s = 32 - e.leading_zeros();
    let last = e.saturating_sub(s);
    let mask = (1u64 << last) - 1;
    length.saturating_add(mask) & !mask
}

#[cfg(test)]
mod tests {
    use super::padme;

    #[test]
    fn rounds_as_the_paper_does() {
        for (length, padded) in [(0, 0), (1, 1), (8, 8), (9, 10), (100, 104), (1000, 1024), (65_537, 67_584)] {
            assert_eq!(padme(length), padded, "{length}");
        }
    }

    #[test]
    fn never_shrinks_and_adds_at_most_an_eighth() {
        for length in (0..1_000_000u64).step_by(37) {
            let padded = padme(length);
            assert!(padded >= length && padded <= length + length / 8 + 1, "{length} -> {padded}");
            assert_eq!(padme(padded), padded);
        }
    }
}
