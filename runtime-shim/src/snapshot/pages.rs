//! The page map: what each page of each memory holds, and where.
//!
//! A page that is all zero has no contents; equal pages are stored once; in an incremental snapshot, a
//! page that has not changed is its parent's. Stored pages are numbered in the order in which they first
//! occur, and packed into chunks in that order. Most lie side by side in a memory, too: they are hashed, compressed
//! and written from there, without a copy.

use std::collections::HashMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::chunks::PAGES_PER_CHUNK;
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
    /// Number of stored pages.
    pub(super) stored: u64,
    pub(super) chunks: Vec<ChunkPages<'m>>,
}

/// Contents of the stored pages of one chunk, as pieces that may hold several; the last page of each may be shorter than
/// others.
pub(super) type ChunkPages<'m> = Vec<&'m [u8]>;

/// Pages taken apart so far.
#[derive(Default)]
struct Stored<'m> {
    pages: Vec<StoredPage<'m>>,
    /// By hash: the number of the first page that has it.
    numbers: HashMap<u64, u64>,
}

/// A stored page, and where it lies.
#[derive(Clone, Copy)]
struct StoredPage<'m> {
    bytes: &'m [u8],
    memory: usize,
    page: u64,
}

/// A page and the hash by which equal ones are found.
#[derive(Clone, Copy)]
struct Hashed<'m> {
    page: PageRef<'m>,
    hash: u64,
}

impl<'m> PageMap<'m> {
    pub(super) fn new<M: Memory>(memories: &'m [M]) -> Self {
        let mut stored = Stored::default();
        let runs = |(index, memory)| stored.runs(index, memory);
        Self {
            memories: memories.iter().enumerate().map(runs).collect(),
            stored: stored.pages.len() as u64,
            chunks: stored
                .pages
                .chunks(PAGES_PER_CHUNK)
                .map(|pages| pieces(memories, pages))
                .collect(),
        }
    }
}

impl PageMap<'_> {
    /// Bytes of all stored pages.
    pub(super) fn stored_bytes(&self) -> u64 {
        let pieces = self.chunks.iter().flatten();
        pieces.map(|piece| piece.len() as u64).sum()
    }
}

impl<'m> Stored<'m> {
    fn runs(&mut self, index: usize, memory: &'m impl Memory) -> Vec<Run> {
        let count = memory.size().page_count();
        let mut runs = Vec::new();
        for first in (0..count).step_by(PAGES_AT_ONCE as usize) {
            let pages = (count - first).min(PAGES_AT_ONCE) as usize;
            let hashed: Vec<_> = (0..pages)
                .into_par_iter()
                .with_min_len(PAGES_PER_BLOCK)
                .map(|page| hash(memory.page(first + page as u64)))
                .collect();
            for (page, Hashed { page: held, hash }) in (first..).zip(hashed) {
                let run = match held {
                    PageRef::Zero => Run::Zero(1),
                    PageRef::Inherited => Run::Inherited(1),
                    PageRef::Bytes(bytes) => Run::Stored {
                        first: self.number(
                            StoredPage {
                                bytes,
                                memory: index,
                                page,
                            },
                            hash,
                        ),
                        count: 1,
                    },
                };
                push(&mut runs, run);
            }
        }
        runs
    }

    /// The number of a stored page with these contents.
    fn number(&mut self, page: StoredPage<'m>, hash: u64) -> u64 {
        let next = self.pages.len() as u64;
        let number = *self.numbers.entry(hash).or_insert(next);
        // Different pages may have the same hash.
        let first = self.pages.get(number as usize);
        if first.is_some_and(|first| first.bytes == page.bytes) {
            return number;
        }
        self.pages.push(page);
        next
    }
}

/// Pages, those that lie side by side together.
fn pieces<'m, M: Memory>(memories: &'m [M], pages: &[StoredPage<'m>]) -> ChunkPages<'m> {
    let mut pieces = Vec::new();
    let are_neighbours =
        |a: &StoredPage<'_>, b: &StoredPage<'_>| a.memory == b.memory && a.page + 1 == b.page;
    for neighbours in pages.chunk_by(are_neighbours) {
        let StoredPage { memory, page, .. } = neighbours[0];
        match memories[memory].stretch(page..page + neighbours.len() as u64) {
            Some(bytes) => pieces.push(bytes),
            None => pieces.extend(neighbours.iter().map(|page| page.bytes)),
        }
    }
    pieces
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
