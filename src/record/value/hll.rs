//! HyperLogLog sketches, as far as they can be shown: their shape, and how many elements they stand for.

/// Bytes before the registers: flags, index bits, MinHash bits, and the count that was last computed (8 bytes).
const HEADER_BYTES: usize = 11;
/// Bits of a register that hold the position of the first set bit of a hash.
const POSITION_BITS: usize = 6;
/// One more than the greatest position.
const POSITIONS: usize = 1 << POSITION_BITS;

/// What a sketch says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hll {
    /// Its registers are 2 to the power of this.
    pub index_bits: u8,
    /// Bits of a MinHash beside each register; 0 for none.
    pub minhash_bits: u8,
    /// How many different elements were added, about. Servers compute the same number.
    pub estimate: u64,
}

impl Hll {
    /// Reads a sketch; `None` if the bytes are none.
    pub fn parse(bytes: &[u8]) -> Option<Hll> {
        let (header, registers) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let &[_, index_bits, minhash_bits, ..] = header;
        let minhash_is_valid = minhash_bits == 0 || (4..=51).contains(&minhash_bits);
        if !(4..=16).contains(&index_bits) || !minhash_is_valid {
            return None;
        }
        let count = 1usize << index_bits;
        let width = POSITION_BITS + usize::from(minhash_bits);
        if registers.len() != (count * width).div_ceil(8) {
            return None;
        }
        let bit = |at: usize| registers.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1);
        let mut positions = [0u32; POSITIONS];
        for register in 0..count {
            let start = register * width;
            let position = (start..start + POSITION_BITS).fold(0, |value, at| value << 1 | usize::from(bit(at)));
            positions.get_mut(position % POSITIONS).into_iter().for_each(|count| *count += 1);
        }
        Some(Hll { index_bits, minhash_bits, estimate: estimate(index_bits, &positions) })
    }
}

/// The number of elements, from how many registers hold each position: algorithm 6 of Otmar Ertl, "New cardinality
/// estimation algorithms for HyperLogLog sketches" (arXiv 1702.01284), with the constants of Flajolet et al. that
/// servers use.
fn estimate(index_bits: u8, positions: &[u32; POSITIONS]) -> u64 {
    let registers = f64::from(1u32 << index_bits);
    // No position is as great as the paper's last one, which a larger register could hold, so the sum begins with
    // nothing.
    let mut sum = 0.0;
    for &held in positions.iter().skip(1).rev() {
        sum = 0.5 * (sum + f64::from(held));
    }
    let empty = f64::from(positions[0]) / registers;
    if empty == 1.0 {
        return 0;
    }
    sum += registers * series(empty);
    let alpha = match index_bits {
        4 => 0.673,
        5 => 0.697,
        6 => 0.709,
        _ => 0.7213 / (1.0 + 1.079 / registers),
    };
    (alpha * registers * registers / sum).round() as u64
}

/// `x + x^2 + 2 x^4 + 4 x^8 + …`, for x from 0 to less than 1.
fn series(mut x: f64) -> f64 {
    let (mut sum, mut weight) = (x, 1.0);
    loop {
        x *= x;
        let before = sum;
        sum += x * weight;
        weight += weight;
        if sum == before {
            return sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sketch whose registers all hold this.
    fn sketch(index_bits: u8, minhash_bits: u8, bytes: &[u8]) -> Vec<u8> {
        [&[0, index_bits, minhash_bits], &[0; 8][..], bytes].concat()
    }

    #[test]
    fn an_empty_sketch_counts_nothing() {
        let hll = Hll::parse(&sketch(4, 0, &[0; 12]));
        assert_eq!(hll, Some(Hll { index_bits: 4, minhash_bits: 0, estimate: 0 }));
    }

    #[test]
    fn few_elements_are_counted_closely() {
        // 2^12 registers, of which three hold position 1, 2 and 3.
        let mut registers = vec![0; 4096 * 6 / 8];
        registers[..3].copy_from_slice(&[0b0000_0100, 0b0010_0000, 0b1100_0000]);
        assert_eq!(Hll::parse(&sketch(12, 0, &registers)).map(|hll| hll.estimate), Some(3));
    }

    #[test]
    fn full_registers_and_minhashes_are_read() {
        let full = Hll::parse(&sketch(16, 51, &[0xff; 65_536 * 57 / 8]));
        assert!(full.is_some_and(|hll| hll.estimate > 1 << 60), "{full:?}");
    }

    #[test]
    fn what_is_no_sketch_is_refused() {
        for bytes in [&[][..], &[0; 11], &sketch(3, 0, &[0; 6]), &sketch(17, 0, &[0; 98_304]), &sketch(4, 0, &[0; 13])]
        {
            assert_eq!(Hll::parse(bytes), None);
        }
        assert_eq!(Hll::parse(&sketch(4, 3, &[0; 18])), None);
        assert_eq!(Hll::parse(&sketch(4, 52, &[0; 116])), None);
    }
}
