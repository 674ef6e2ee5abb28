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
use super::progress::Progress;
use crate::memory::{Memory, PAGE_BYTES, PAGES_PER_BLOCK, PageRef, ZERO_PAGE};

/// Pages that are hashed together: few enough that they are still in a cache when they are packed.
const PAGES_AT_ONCE: u64 = 16 * PAGES_PER_CHUNK as u64;

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

/// Contents of the stored pages of one chunk, as pieces that may hold several; the last page of each may be shorter than
/// others.
pub(super) type ChunkPages<'m> = Vec<&'m [u8]>;

/// Takes memories apart into pages, some at a time, and hands out what is to be stored in chunks, as they fill.
pub(super) struct PageMapper<'m, M> {
    memories: &'m [M],
    progress: Progress<'m>,
    /// By memory: what its pages are.
    runs: Vec<Vec<Run>>,
    /// The next page is that of this memory.
    memory: usize,
    next: u64,
    stored: Stored<'m>,
    /// Stored pages whose chunks have been handed out.
    handed_out: usize,
}

/// Pages that are stored so far.
#[derive(Default)]
struct Stored<'m> {
    pages: Vec<StoredPage<'m>>,
    /// By hash: the number of the first page that has it.
    numbers: HashMap<u64, u64>,
    bytes: u64,
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

impl<'m, M: Memory> PageMapper<'m, M> {
    /// `progress` is told of the bytes of pages that need not be stored.
    pub(super) fn new(memories: &'m [M], progress: Progress<'m>) -> Self {
        Self {
            memories,
            progress,
            runs: vec![Vec::new(); memories.len()],
            memory: 0,
            next: 0,
            stored: Stored::default(),
            handed_out: 0,
        }
    }

    /// By memory: what its pages are; and the number of stored pages.
    pub(super) fn finish(self) -> (Vec<Vec<Run>>, u64) {
        (self.runs, self.stored.pages.len() as u64)
    }

    /// Takes some pages of a memory apart; `false` at the end of the last.
    fn advance(&mut self) -> bool {
        let memory = loop {
            match self.memories.get(self.memory) {
                Some(memory) if self.next < memory.size().page_count() => break memory,
                Some(_) => (self.memory, self.next) = (self.memory + 1, 0),
                None => return false,
            }
        };
        let pages = self.next..memory.size().page_count().min(self.next + PAGES_AT_ONCE);
        self.next = pages.end;
        let hashed: Vec<_> = (0..(pages.end - pages.start) as usize)
            .into_par_iter()
            .with_min_len(PAGES_PER_BLOCK)
            .map(|page| hash(memory.page(pages.start + page as u64)))
            .collect();
        let before = self.stored.bytes;
        for (page, Hashed { page: held, hash }) in pages.clone().zip(hashed) {
            let run = match held {
                PageRef::Zero => Run::Zero(1),
                PageRef::Inherited => Run::Inherited(1),
                PageRef::Bytes(bytes) => Run::Stored {
                    first: self.stored.number(
                        StoredPage {
                            bytes,
                            memory: self.memory,
                            page,
                        },
                        hash,
                    ),
                    count: 1,
                },
            };
            push(&mut self.runs[self.memory], run);
        }
        let end = memory.size().bytes().min(pages.end * PAGE_BYTES as u64);
        let all = end - pages.start * PAGE_BYTES as u64;
        self.progress
            .add(all.saturating_sub(self.stored.bytes - before));
        true
    }
}

impl<'m, M: Memory> Iterator for PageMapper<'m, M> {
    type Item = Vec<ChunkPages<'m>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let goes_on = self.advance();
            let waiting = &self.stored.pages[self.handed_out..];
            let whole = waiting.len() - waiting.len() % PAGES_PER_CHUNK;
            let count = if goes_on { whole } else { waiting.len() };
            if count > 0 {
                self.handed_out += count;
                let chunks = waiting[..count].chunks(PAGES_PER_CHUNK);
                return Some(chunks.map(|pages| pieces(self.memories, pages)).collect());
            }
            if !goes_on {
                return None;
            }
        }
    }
}

impl<'m> Stored<'m> {
    /// The number of a stored page with these contents.
    fn number(&mut self, page: StoredPage<'m>, hash: u64) -> u64 {
        let next = self.pages.len() as u64;
        let number = *self.numbers.entry(hash).or_insert(next);
        // Different pages may have the same hash.
        let first = self.pages.get(number as usize);
        if first.is_some_and(|first| first.bytes == page.bytes) {
            return number;
        }
        self.bytes += page.bytes.len() as u64;
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
