//! The page map: what each page of each memory holds, and where.
//!
//! A page that is all zero has no contents; equal pages are stored once; in an incremental snapshot, a
//! page that has not changed is its parent's. Stored pages are numbered in the order in which they first
//! occur, and packed into chunks in that order.

use std::collections::HashMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::error::SnapshotError;
use crate::state::{BLOCK_BYTES, Block, MemoryContents, PAGE_BYTES, PAGES_PER_BLOCK};

pub(super) type Digest = [u8; 32];

/// Digests of the pages of a memory that are not all zero, by index.
pub(super) type PageDigests = HashMap<u64, Digest>;

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
    pub(super) stored: Vec<StoredPage<'m>>,
    /// By memory.
    pub(super) digests: Vec<PageDigests>,
}

#[derive(Clone, Copy)]
pub(super) struct StoredPage<'m> {
    pub(super) bytes: &'m [u8],
    pub(super) digest: Digest,
}

impl<'m> PageMap<'m> {
    /// `parent`: digests of the parent's pages, by memory.
    pub(super) fn new(memories: &'m [MemoryContents], parent: Option<&[PageDigests]>) -> Self {
        let mut map = Self {
            memories: Vec::with_capacity(memories.len()),
            stored: Vec::new(),
            digests: Vec::with_capacity(memories.len()),
        };
        let mut numbers = HashMap::new();
        for (index, memory) in memories.iter().enumerate() {
            let inherited = parent.and_then(|parent| parent.get(index));
            map.add(memory, inherited, &mut numbers);
        }
        map
    }

    fn add(
        &mut self,
        memory: &'m MemoryContents,
        parent: Option<&PageDigests>,
        numbers: &mut HashMap<Digest, u64>,
    ) {
        let count = page_count(memory.size());
        let mut digests = PageDigests::new();
        let blocks: Vec<_> = memory.blocks.par_iter().map(digest_block).collect();
        let mut runs = Vec::new();
        let mut covered = 0;
        for (block, block_digests) in memory.blocks.iter().zip(blocks) {
            let first = block.index * PAGES_PER_BLOCK as u64;
            push(&mut runs, Run::Zero(first - covered));
            covered = first;
            for (bytes, digest) in block.bytes.chunks(PAGE_BYTES).zip(block_digests) {
                let page = covered;
                covered += 1;
                let Some(digest) = digest else {
                    push(&mut runs, Run::Zero(1));
                    continue;
                };
                digests.insert(page, digest);
                if parent.is_some_and(|parent| parent.get(&page) == Some(&digest)) {
                    push(&mut runs, Run::Inherited(1));
                    continue;
                }
                let first = *numbers.entry(digest).or_insert_with(|| {
                    self.stored.push(StoredPage { bytes, digest });
                    self.stored.len() as u64 - 1
                });
                push(&mut runs, Run::Stored { first, count: 1 });
            }
        }
        push(&mut runs, Run::Zero(count - covered));
        self.memories.push(runs);
        self.digests.push(digests);
    }
}

/// Number of pages of a memory of this size.
pub(super) fn page_count(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE_BYTES as u64)
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

fn digest_block(block: &Block) -> [Option<Digest>; PAGES_PER_BLOCK] {
    let mut digests = [None; PAGES_PER_BLOCK];
    for (digest, bytes) in digests.iter_mut().zip(block.bytes.chunks(PAGE_BYTES)) {
        *digest = (bytes != &ZERO_PAGE[..bytes.len()]).then(|| digest_page(bytes));
    }
    digests
}

pub(super) const ZERO_PAGE: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

/// The digest of a page, filled up with zeros.
pub(super) fn digest_page(bytes: &[u8]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(bytes);
    hasher.update(&ZERO_PAGE[bytes.len()..]);
    *hasher.finalize().as_bytes()
}

/// Puts a memory together from its pages, which come in any order.
pub(super) struct MemoryBuilder {
    contents: MemoryContents,
}

impl MemoryBuilder {
    /// A memory of this size, with room for all pages that are not zero.
    pub(super) fn new(size: &MemoryContents, runs: &[Run]) -> Self {
        let mut blocks: Vec<Block> = Vec::new();
        let mut page = 0;
        for run in runs {
            let end = page + run.count();
            if !matches!(run, Run::Zero(_)) {
                let pages = PAGES_PER_BLOCK as u64;
                let first = blocks.last().map_or(0, |block| block.index + 1);
                for index in first.max(page / pages)..end.div_ceil(pages) {
                    let left = size.size().saturating_sub(index * BLOCK_BYTES);
                    let length = usize::try_from(left.min(BLOCK_BYTES)).expect("a block");
                    let bytes = vec![0; length];
                    blocks.push(Block { index, bytes });
                }
            }
            page = end;
        }
        let contents = MemoryContents { blocks, ..*size };
        Self { contents }
    }

    /// Puts in a page.
    pub(super) fn put(&mut self, page: u64, bytes: &[u8]) -> Result<(), SnapshotError> {
        let target = self.contents.page_mut(page).unwrap_or_default();
        let length = target.len().min(bytes.len());
        if bytes[length..].iter().any(|byte| *byte != 0) {
            return Err(SnapshotError::Malformed(format!(
                "page {page} reaches beyond its memory"
            )));
        }
        target[..length].copy_from_slice(&bytes[..length]);
        Ok(())
    }

    pub(super) fn finish(self) -> MemoryContents {
        self.contents
    }
}

/// Digests of the pages of a memory, for a snapshot that is to build on it.
pub(super) fn digests_of(memory: &MemoryContents) -> PageDigests {
    let of_block = |block: &Block| {
        let first = block.index * PAGES_PER_BLOCK as u64;
        let digests = (first..).zip(digest_block(block));
        digests
            .filter_map(|(page, digest)| Some((page, digest?)))
            .collect::<Vec<_>>()
    };
    memory.blocks.par_iter().flat_map_iter(of_block).collect()
}
