//! The page map: what each page of each memory holds, and where.
//!
//! A page that is all zero has no contents; equal pages are stored once; in an incremental snapshot, a
//! page that has not changed is its parent's. Stored pages are numbered in the order in which they first
//! occur, and packed into chunks in that order.

use std::collections::HashMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::memory::{Memory, PAGES_PER_BLOCK, PageRef, ZERO_PAGE};

/// Pages that are hashed together.
const PAGES_AT_ONCE: u64 = 1 << 16;

/// Neighbouring pages of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Run {
    /// All zero: this many.
    Zero(u64),
    /// The parent's: this many.
    Inherited(u64),
    /// Stored, under consecutive numbers.
    Stored { first: u64, count: u64 },
}

impl Run {
    pub(super) fn count(self) -> u64 {
        match self {
            Self::Zero(count) | Self::Inherited(count) | Self::Stored { count, .. } => count,
        }
    }

    /// One run for both, if there is one.
    fn joined(self, next: Self) -> Option<Self> {
        match (self, next) {
            (Self::Zero(a), Self::Zero(b)) => Some(Self::Zero(a + b)),
            (Self::Inherited(a), Self::Inherited(b)) => Some(Self::Inherited(a + b)),
            (
                Self::Stored { first, count },
                Self::Stored {
                    first: next,
                    count: more,
                },
            ) if first + count == next => Some(Self::Stored {
                first,
                count: count + more,
            }),
            _ => None,
        }
    }
}

/// Memories taken apart into pages.
pub(super) struct PageMap<'m> {
    pub(super) memories: Vec<Vec<Run>>,
    /// Contents of the stored pages; a memory's last may be shorter than a page.
    pub(super) stored: Vec<&'m [u8]>,
}

/// A page and the hash by which equal ones are found.
#[derive(Clone, Copy)]
struct Hashed<'m> {
    page: PageRef<'m>,
    hash: u64,
}

impl<'m> PageMap<'m> {
    pub(super) fn new<M: Memory>(memories: &'m [M]) -> Self {
        let mut map = Self {
            memories: Vec::with_capacity(memories.len()),
            stored: Vec::new(),
        };
        let mut numbers = HashMap::new();
        for memory in memories {
            let runs = map.runs(memory, &mut numbers);
            map.memories.push(runs);
        }
        map
    }

    fn runs(&mut self, memory: &'m impl Memory, numbers: &mut HashMap<u64, u64>) -> Vec<Run> {
        let count = memory.size().page_count();
        let mut runs = Vec::new();
        for first in (0..count).step_by(PAGES_AT_ONCE as usize) {
            let pages = (count - first).min(PAGES_AT_ONCE) as usize;
            let hashed: Vec<_> = (0..pages)
                .into_par_iter()
                .with_min_len(PAGES_PER_BLOCK)
                .map(|page| hash(memory.page(first + page as u64)))
                .collect();
            for Hashed { page, hash } in hashed {
                let run = match page {
                    PageRef::Zero => Run::Zero(1),
                    PageRef::Inherited => Run::Inherited(1),
                    PageRef::Bytes(bytes) => Run::Stored {
                        first: self.store(bytes, hash, numbers),
                        count: 1,
                    },
                };
                push(&mut runs, run);
            }
        }
        runs
    }

    /// The number of a stored page with these contents.
    fn store(&mut self, bytes: &'m [u8], hash: u64, numbers: &mut HashMap<u64, u64>) -> u64 {
        let next = self.stored.len() as u64;
        let number = *numbers.entry(hash).or_insert(next);
        // Different pages may have the same hash.
        if self.stored.get(number as usize) == Some(&bytes) {
            return number;
        }
        self.stored.push(bytes);
        next
    }
}

fn hash(page: PageRef<'_>) -> Hashed<'_> {
    match page {
        PageRef::Bytes(bytes) if *bytes == ZERO_PAGE[..bytes.len()] => Hashed {
            page: PageRef::Zero,
            hash: 0,
        },
        PageRef::Bytes(bytes) => Hashed {
            page,
            hash: xxh3_64(bytes),
        },
        PageRef::Zero | PageRef::Inherited => Hashed { page, hash: 0 },
    }
}

fn push(runs: &mut Vec<Run>, run: Run) {
    if run.count() == 0 {
        return;
    }
    match runs.last_mut() {
        Some(last) => match last.joined(run) {
            Some(joined) => *last = joined,
            None => runs.push(run),
        },
        None => runs.push(run),
    }
}
