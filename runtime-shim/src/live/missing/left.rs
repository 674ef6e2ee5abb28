//! Which pages are still missing, told by several threads.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Missing pages.
#[derive(Debug)]
pub(super) struct PagesLeft {
    /// By memory: a bit for each page.
    memories: Vec<Vec<AtomicU64>>,
    count: AtomicU64,
}

impl PagesLeft {
    /// Of memories of so many pages; `missing` lie in them.
    pub(super) fn new(pages: impl Iterator<Item = u64>, missing: &[Vec<Range<u64>>]) -> Self {
        let mut count = 0;
        let memories = pages.zip(missing).map(|(pages, missing)| {
            let mut words = vec![0_u64; pages.div_ceil(64) as usize];
            for (word, bits) in missing.iter().cloned().flat_map(words_of) {
                words[word] |= bits;
                count += u64::from(bits.count_ones());
            }
            words.into_iter().map(AtomicU64::new).collect()
        });
        Self {
            memories: memories.collect(),
            count: AtomicU64::new(count),
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// These pages, which lie in the memory, are there.
    pub(super) fn remove(&self, memory: u32, pages: Range<u64>) {
        let words = &self.memories[memory as usize];
        for (word, bits) in words_of(pages) {
            let before = words[word].fetch_and(!bits, Ordering::AcqRel);
            let gone = u64::from((before & bits).count_ones());
            self.count.fetch_sub(gone, Ordering::AcqRel);
        }
    }
}

/// The words that hold the bits of these pages, each with those bits.
fn words_of(pages: Range<u64>) -> impl Iterator<Item = (usize, u64)> {
    let words = pages.start / 64..pages.end.div_ceil(64);
    words.map(move |word| {
        let start = pages.start.saturating_sub(word * 64).min(64);
        let end = (pages.end - word * 64).min(64);
        let below = |bit: u64| if bit == 64 { u64::MAX } else { (1 << bit) - 1 };
        (word as usize, below(end) & !below(start))
    })
}

#[cfg(test)]
mod tests {
    use super::PagesLeft;

    #[test]
    fn pages_are_counted_once() {
        let missing = [vec![0..3, 60..200], vec![], vec![5..6, 7..8]];
        let left = PagesLeft::new([200, 0, 8].into_iter(), &missing);
        assert_eq!(left.count(), 3 + 140 + 2);
        left.remove(0, 2..61);
        assert_eq!(left.count(), 2 + 139 + 2);
        left.remove(0, 2..61);
        left.remove(2, 0..8);
        left.remove(2, 0..0);
        assert_eq!(left.count(), 2 + 139);
        left.remove(0, 64..192);
        assert_eq!(left.count(), 2 + 11);
        left.remove(0, 0..200);
        assert_eq!(left.count(), 0);
    }
}
