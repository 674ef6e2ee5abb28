//! Sets of pages: which have arrived, which are still to come; and how a set travels.
//!
//! A set travels as the lengths of its runs, absent and present by turns, or as plain bits, whichever is shorter: a gigabyte of
//! memory takes 32 KiB at most, and a few bytes where pages lie together.

use std::collections::BTreeMap;

use fixedbitset::FixedBitSet;
use serde::{Deserialize, Serialize};

use crate::ids::PageRun;

/// A set of pages of one memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageBitmap {
    /// One bit a page.
    bits: FixedBitSet,
    /// How many bits are set.
    count: u64,
}

/// Sets of pages by index of their memory.
pub type PageBitmaps = BTreeMap<u32, PageBitmap>;

/// A set of pages of one memory as it travels. [`PageSet::decode`] checks it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PageSet {
    /// Index of the memory.
    pub memory: u32,
    /// Pages up to which the set says anything.
    pages: u64,
    /// How many are in the set.
    count: u64,
    /// The set.
    packed: Packed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Packed {
    /// Lengths of runs, as LEB128, the first of absent pages.
    Runs(Vec<u8>),
    /// Eight pages a byte, the first in the lowest bit.
    Bits(Vec<u8>),
}

/// A set that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageSetError {
    /// It is of a memory that the guest does not have.
    #[error("a set of pages is of memory {0}, which the guest does not have")]
    NoSuchMemory(u32),
    /// It goes beyond the memory's end.
    #[error(
        "a set of pages of memory {memory} reaches up to page {found}, the memory ends at {limit}"
    )]
    TooLarge {
        /// The memory.
        memory: u32,
        /// Where the set ends.
        found: u64,
        /// Where the memory ends.
        limit: u64,
    },
    /// Its bytes are not what its sizes promise.
    #[error("a set of pages of memory {0} is malformed")]
    Malformed(u32),
}

impl PageBitmap {
    /// An empty set of pages below `pages`.
    #[must_use]
    pub fn new(pages: u64) -> Self {
        let bits = usize::try_from(pages).expect("a memory's pages fit the address space");
        Self {
            bits: FixedBitSet::with_capacity(bits),
            count: 0,
        }
    }

    /// The set of all pages below `pages`.
    #[must_use]
    pub fn full(pages: u64) -> Self {
        let mut all = Self::new(pages);
        all.bits.insert_range(..);
        all.count = pages;
        all
    }

    /// Pages that could be in the set: those below this.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.bits.len() as u64
    }

    /// How many pages are in the set.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Is it empty?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Is this page in the set?
    #[must_use]
    pub fn contains(&self, page: u64) -> bool {
        usize::try_from(page).is_ok_and(|page| self.bits.contains(page))
    }

    /// Adds a page, which grows the set's capacity if need be. Was it not in the set?
    pub fn insert(&mut self, page: u64) -> bool {
        let page = usize::try_from(page).expect("a memory's pages fit the address space");
        if page >= self.bits.len() {
            self.bits.grow(page + 1);
        }
        let is_new = !self.bits.put(page);
        self.count += u64::from(is_new);
        is_new
    }

    /// Takes a page out. Was it in the set?
    pub fn remove(&mut self, page: u64) -> bool {
        let was_in = self.contains(page);
        if was_in {
            let page = usize::try_from(page).expect("it is in the set");
            self.bits.remove(page);
            self.count -= 1;
        }
        was_in
    }

    /// Adds all pages of another set.
    pub fn union_with(&mut self, other: &Self) {
        self.bits.union_with(&other.bits);
        self.count = self.bits.count_ones(..) as u64;
    }

    /// Keeps only pages that are in the other set as well.
    pub fn intersect_with(&mut self, other: &Self) {
        self.bits.intersect_with(&other.bits);
        self.count = self.bits.count_ones(..) as u64;
    }

    /// The first page of the set from `from` on.
    #[must_use]
    pub fn next_from(&self, from: u64) -> Option<u64> {
        self.next_where(from, false)
    }

    /// The first run of the set from `from` on, of at most `limit` pages.
    #[must_use]
    pub fn next_run(&self, from: u64, limit: u32) -> Option<(u64, u32)> {
        let first = self.next_from(from)?;
        let end = self.next_where(first, true).unwrap_or(self.capacity());
        let count = u32::try_from(end - first).map_or(limit, |count| count.min(limit));
        Some((first, count))
    }

    /// The first page from `from` on that is in the set, or, with `is_absent`, that is not.
    fn next_where(&self, from: u64, is_absent: bool) -> Option<u64> {
        const WORD: usize = usize::BITS as usize;
        let from = usize::try_from(from).ok()?;
        let words = self.bits.as_slice();
        let mut at = from / WORD;
        let mut mask = usize::MAX << (from % WORD);
        while let Some(&word) = words.get(at) {
            let word = if is_absent { !word } else { word } & mask;
            if word != 0 {
                let page = at * WORD + word.trailing_zeros() as usize;
                return (page < self.bits.len()).then_some(page as u64);
            }
            at += 1;
            mask = usize::MAX;
        }
        None
    }

    /// Its runs, ascending.
    pub fn runs(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut from = 0;
        std::iter::from_fn(move || {
            let first = self.next_from(from)?;
            let end = self.next_where(first, true).unwrap_or(self.capacity());
            from = end;
            Some((first, end - first))
        })
    }
}

impl PageSet {
    /// The set as it travels.
    #[must_use]
    pub fn encode(memory: u32, pages: &PageBitmap) -> Self {
        let bits_len = pages.capacity().div_ceil(8) as usize;
        let mut runs = Vec::new();
        let mut at = 0;
        for (first, count) in pages.runs() {
            put_number(&mut runs, first - at);
            put_number(&mut runs, count);
            at = first + count;
            if runs.len() > bits_len {
                break;
            }
        }
        let packed = if runs.len() <= bits_len {
            Packed::Runs(runs)
        } else {
            let words = pages.bits.as_slice().iter();
            let mut bits: Vec<u8> = words.flat_map(|word| word.to_le_bytes()).collect();
            bits.truncate(bits_len);
            Packed::Bits(bits)
        };
        Self {
            memory,
            pages: pages.capacity(),
            count: pages.count(),
            packed,
        }
    }

    /// The set, if it is one of pages below `limit`.
    ///
    /// # Errors
    /// It reaches beyond the limit, or its bytes do not fit its sizes.
    pub fn decode(&self, limit: u64) -> Result<PageBitmap, PageSetError> {
        let malformed = || PageSetError::Malformed(self.memory);
        if self.pages > limit {
            return Err(PageSetError::TooLarge {
                memory: self.memory,
                found: self.pages,
                limit,
            });
        }
        // From here on nothing is larger than the limit, which comes from what both sides agreed on.
        let mut set = PageBitmap::new(self.pages);
        match &self.packed {
            Packed::Runs(bytes) => {
                let mut rest = bytes.as_slice();
                let mut at = 0u64;
                while !rest.is_empty() {
                    let skip = take_number(&mut rest).ok_or_else(malformed)?;
                    let count = take_number(&mut rest).ok_or_else(malformed)?;
                    let first = at.checked_add(skip).ok_or_else(malformed)?;
                    let end = first.checked_add(count).ok_or_else(malformed)?;
                    if count == 0 || end > self.pages {
                        return Err(malformed());
                    }
                    set.bits.insert_range(first as usize..end as usize);
                    at = end;
                }
            }
            Packed::Bits(bytes) => {
                if bytes.len() as u64 != self.pages.div_ceil(8) {
                    return Err(malformed());
                }
                for (at, byte) in bytes.iter().enumerate() {
                    for bit in (0..8).filter(|bit| byte >> bit & 1 != 0) {
                        let page = at * 8 + bit;
                        if page as u64 >= self.pages {
                            return Err(malformed());
                        }
                        set.bits.insert(page);
                    }
                }
            }
        }
        set.count = set.bits.count_ones(..) as u64;
        if set.count != self.count {
            return Err(malformed());
        }
        Ok(set)
    }

    /// How many pages it says are in it.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// The sets as they travel; empty ones are left out.
#[must_use]
pub fn encode_sets(sets: &PageBitmaps) -> Vec<PageSet> {
    let full = sets.iter().filter(|(_, set)| !set.is_empty());
    full.map(|(&memory, set)| PageSet::encode(memory, set))
        .collect()
}

/// Sets that arrived, if they are of the guest's memories, which have at most so many pages each.
///
/// # Errors
/// There is no such memory, or it has fewer pages, or a set is malformed.
pub fn decode_sets(sets: &[PageSet], most_pages: &[u64]) -> Result<PageBitmaps, PageSetError> {
    let mut decoded = PageBitmaps::new();
    for set in sets {
        let limit = most_pages.get(set.memory as usize);
        let limit = *limit.ok_or(PageSetError::NoSuchMemory(set.memory))?;
        let bitmap = set.decode(limit)?;
        if decoded.insert(set.memory, bitmap).is_some() {
            return Err(PageSetError::Malformed(set.memory));
        }
    }
    Ok(decoded)
}

/// Pages of all sets together.
#[must_use]
pub fn count_pages(sets: &PageBitmaps) -> u64 {
    sets.values().map(PageBitmap::count).sum()
}

/// Sets made of runs.
#[must_use]
pub fn sets_of_runs(runs: &[PageRun]) -> PageBitmaps {
    let mut sets = PageBitmaps::new();
    for run in runs {
        let set = sets.entry(run.memory).or_default();
        run.pages().for_each(|page| {
            set.insert(page);
        });
    }
    sets
}

fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        number |= bits.checked_shl(shift).filter(|all| all >> shift == bits)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pages: u64, members: impl IntoIterator<Item = u64>) -> PageBitmap {
        let mut set = PageBitmap::new(pages);
        for page in members {
            assert!(set.insert(page));
        }
        set
    }

    #[test]
    fn sets_travel() {
        for pages in [0, 1, 7, 8, 64, 65, 1000] {
            for step in [1, 2, 3, 63, 900] {
                let set = set(pages, (0..pages).step_by(step));
                let packed = PageSet::encode(3, &set);
                assert_eq!(packed.decode(pages), Ok(set));
                assert_eq!(packed.count(), pages.div_ceil(step as u64));
            }
        }
    }

    #[test]
    fn a_gigabyte_is_small() {
        let pages = 262_144;
        let length =
            |set: &PageBitmap| postcard::to_stdvec(&PageSet::encode(0, set)).unwrap().len();
        assert!(length(&PageBitmap::full(pages)) < 20);
        assert!(length(&PageBitmap::new(pages)) < 20);
        assert!(length(&set(pages, (0..pages).step_by(2))) < (32 << 10) + 20);
    }

    #[test]
    fn lies_are_caught() {
        let good = PageSet::encode(0, &set(100, 10..20));
        assert!(matches!(
            good.decode(99),
            Err(PageSetError::TooLarge {
                found: 100,
                limit: 99,
                ..
            })
        ));
        let huge = PageSet {
            pages: u64::MAX,
            ..good.clone()
        };
        assert!(huge.decode(1 << 20).is_err());
        let wrong_count = PageSet {
            count: 11,
            ..good.clone()
        };
        assert!(wrong_count.decode(100).is_err());
        for packed in [
            Packed::Runs(vec![10, 91]),
            Packed::Runs(vec![10]),
            Packed::Runs(vec![0xff; 12]),
            Packed::Bits(vec![0xff; 13]),
            Packed::Bits(vec![0; 12]),
            Packed::Bits(vec![0; 14]),
        ] {
            let bad = PageSet {
                packed,
                ..good.clone()
            };
            assert_eq!(bad.decode(100), Err(PageSetError::Malformed(0)));
        }
        assert!(decode_sets(&[good.clone(), good.clone()], &[100]).is_err());
        assert!(decode_sets(&[good], &[]).is_err());
    }

    #[test]
    fn runs_are_found() {
        let set = set(200, [0, 1, 63, 64, 65, 199]);
        assert_eq!(set.runs().collect::<Vec<_>>(), [(0, 2), (63, 3), (199, 1)]);
        assert_eq!(set.next_run(1, 8), Some((1, 1)));
        assert_eq!(set.next_run(2, 2), Some((63, 2)));
        assert_eq!(set.next_run(200, 8), None);
    }
}
