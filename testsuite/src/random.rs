//! Random bytes that depend on a seed alone.

/// Makes `length` bytes with SplitMix64.
#[must_use]
pub fn random_bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    });
    words.flat_map(u64::to_le_bytes).take(length).collect()
}

#[cfg(test)]
mod tests {
    use super::random_bytes;

    #[test]
    fn a_seed_fixes_the_bytes() {
        assert_eq!(random_bytes(5, 37), random_bytes(5, 37));
        assert_ne!(random_bytes(5, 37), random_bytes(6, 37));
        assert_eq!(random_bytes(5, 37).len(), 37);
    }
}
