//! What differs between two versions of a page: words that are equal are counted, the others sent as the exclusive or
//! of both, so that bytes that are equal become zeros for the compressor.
//!
//! Encoding: number of equal words, number of different ones, those; and so on until the last that differ.

use super::{PAGE, put_number, take_number};

const WORD: usize = 8;

/// Appends what makes `new` of `old`, if that takes no more than `limit` bytes; else appends nothing.
pub(super) fn encode(
    old: &[u8; PAGE],
    new: &[u8; PAGE],
    limit: usize,
    bytes: &mut Vec<u8>,
) -> bool {
    let before = bytes.len();
    let mut pairs = words(old).zip(words(new)).peekable();
    let mut equal = 0;
    while let Some((old, new)) = pairs.next() {
        if old == new {
            equal += 1;
            continue;
        }
        put_number(bytes, equal);
        equal = 0;
        let count_at = bytes.len();
        let mut different = vec![old ^ new];
        while let Some((old, new)) = pairs.next_if(|(old, new)| old != new) {
            different.push(old ^ new);
        }
        put_number(bytes, different.len() as u64);
        bytes.extend(different.iter().flat_map(|word| word.to_le_bytes()));
        debug_assert!(bytes.len() > count_at);
        if bytes.len() - before > limit {
            bytes.truncate(before);
            return false;
        }
    }
    true
}

/// Makes an old version the new one; `None` if the bytes are no delta.
pub(super) fn apply(mut delta: &[u8], page: &mut [u8; PAGE]) -> Option<()> {
    let mut at = 0usize;
    while !delta.is_empty() {
        let equal = usize::try_from(take_number(&mut delta)?).ok()?;
        let different = usize::try_from(take_number(&mut delta)?).ok()?;
        let start = equal.checked_mul(WORD)?.checked_add(at)?;
        let length = different.checked_mul(WORD)?;
        let end = start.checked_add(length)?;
        let target = page.get_mut(start..end)?;
        let (words, rest) = delta.split_at_checked(length)?;
        for (byte, change) in target.iter_mut().zip(words) {
            *byte ^= change;
        }
        delta = rest;
        at = end;
    }
    Some(())
}

fn words(page: &[u8; PAGE]) -> impl Iterator<Item = u64> + '_ {
    let (words, _) = page.as_chunks::<WORD>();
    words.iter().map(|word| u64::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deltas_make_the_new_page() {
        let mut rng = fastrand::Rng::with_seed(1);
        for round in 0..200 {
            let mut old = [0; PAGE];
            rng.fill(&mut old);
            let mut new = old;
            for _ in 0..rng.usize(0..=round) {
                new[rng.usize(0..PAGE)] = rng.u8(..);
            }
            let mut bytes = vec![9];
            assert!(encode(&old, &new, 2 * PAGE, &mut bytes));
            let mut made = old;
            assert_eq!(apply(&bytes[1..], &mut made), Some(()));
            assert!(made == new);
        }
    }

    #[test]
    fn a_delta_that_does_not_pay_is_not_made() {
        let mut bytes = vec![1, 2];
        assert!(!encode(&[0; PAGE], &[7; PAGE], PAGE / 2, &mut bytes));
        assert_eq!(bytes, [1, 2]);
        assert!(encode(&[3; PAGE], &[3; PAGE], 0, &mut bytes));
        assert_eq!(bytes, [1, 2]);
    }

    #[test]
    fn nonsense_is_no_delta() {
        let mut rng = fastrand::Rng::with_seed(2);
        for _ in 0..10_000 {
            let mut bytes = vec![0; rng.usize(0..40)];
            rng.fill(&mut bytes);
            let _ = apply(&bytes, &mut [0; PAGE]);
        }
        assert_eq!(apply(&[0x80], &mut [0; PAGE]), None);
        assert_eq!(apply(&[0xff; 30], &mut [0; PAGE]), None);
        let mut beyond = Vec::new();
        put_number(&mut beyond, PAGE as u64 / 8);
        put_number(&mut beyond, 1);
        beyond.extend([0; 8]);
        assert_eq!(apply(&beyond, &mut [0; PAGE]), None);
    }
}
