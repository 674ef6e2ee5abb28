//! Contents of linear memories: copied into blocks, seen where they lie, or only what changed.

use std::ops::Range;

use rayon::prelude::*;

/// Memory contents are kept in blocks of this many bytes.
pub const BLOCK_BYTES: u64 = 64 * 1024;
/// Snapshots and migrations deal in pages of this many bytes. A memory whose size is no multiple of it ends
/// with a page filled up with zeros.
pub const PAGE_BYTES: usize = 4096;
pub(crate) const PAGES_PER_BLOCK: usize = BLOCK_BYTES as usize / PAGE_BYTES;
pub(crate) const ZERO_PAGE: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

/// Size of a memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemorySize {
    /// Bytes in a page of WebAssembly: 65,536, or 1 in memories of custom page size.
    pub page_bytes: u64,
    /// Number of them.
    pub pages: u64,
}

impl MemorySize {
    /// In bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.pages.saturating_mul(self.page_bytes)
    }

    /// In pages of [`PAGE_BYTES`].
    #[must_use]
    pub fn page_count(self) -> u64 {
        self.bytes().div_ceil(PAGE_BYTES as u64)
    }
}

/// Anything of which the size is known.
pub trait Measured {
    /// Its size.
    fn size(&self) -> MemorySize;
}

/// A memory whose pages of [`PAGE_BYTES`] can be read.
pub trait Memory: Measured + Sync {
    /// What a page holds; the last may be shorter.
    fn page(&self, index: u64) -> PageRef<'_>;

    /// The bytes of neighbouring pages that all hold some, if they lie in one piece. The memory's last page may be
    /// shorter than others.
    fn stretch(&self, pages: Range<u64>) -> Option<&[u8]>;
}

/// What a page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageRef<'m> {
    /// Zeros.
    Zero,
    /// What it held in an earlier snapshot.
    Inherited,
    /// These bytes, which may be zeros too.
    Bytes(&'m [u8]),
}

impl Measured for MemorySize {
    fn size(&self) -> MemorySize {
        *self
    }
}

/// A memory of an instance, where it lies.
#[derive(Debug, Clone, Copy)]
pub struct MemoryView<'m> {
    /// Bytes in a page of WebAssembly.
    pub page_bytes: u64,
    /// The whole memory.
    pub bytes: &'m [u8],
}

impl Measured for MemoryView<'_> {
    fn size(&self) -> MemorySize {
        MemorySize {
            page_bytes: self.page_bytes,
            pages: self.bytes.len() as u64 / self.page_bytes.max(1),
        }
    }
}

impl Memory for MemoryView<'_> {
    fn page(&self, index: u64) -> PageRef<'_> {
        match pages_of(self.bytes, index, 1) {
            Some(bytes) => PageRef::Bytes(bytes),
            None => PageRef::Zero,
        }
    }

    fn stretch(&self, pages: Range<u64>) -> Option<&[u8]> {
        pages_of(self.bytes, pages.start, pages.end - pages.start)
    }
}

/// So many pages of some bytes, the first by its index; fewer at the end of the bytes, none behind it.
fn pages_of(bytes: &[u8], first: u64, count: u64) -> Option<&[u8]> {
    let start = usize::try_from(first).ok()?.checked_mul(PAGE_BYTES)?;
    let length = usize::try_from(count).ok()?.checked_mul(PAGE_BYTES)?;
    let bytes = bytes.get(start..)?;
    Some(&bytes[..bytes.len().min(length)])
}

/// Pages of a memory that changed, copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedPages {
    size: MemorySize,
    /// Ascending.
    indices: Vec<u64>,
    /// [`PAGE_BYTES`] each; the memory's last may be shorter.
    bytes: Vec<u8>,
}

impl ChangedPages {
    /// Copies these pages, ascending, of a memory; those beyond its end are left out.
    #[must_use]
    pub fn copy(memory: MemoryView<'_>, indices: impl IntoIterator<Item = u64>) -> Self {
        let mut this = Self {
            size: memory.size(),
            indices: Vec::new(),
            bytes: Vec::new(),
        };
        for index in indices {
            if let PageRef::Bytes(bytes) = memory.page(index) {
                this.indices.push(index);
                this.bytes.extend_from_slice(bytes);
            }
        }
        this
    }

    /// Number of pages.
    #[must_use]
    pub fn count(&self) -> usize {
        self.indices.len()
    }
}

impl Measured for ChangedPages {
    fn size(&self) -> MemorySize {
        self.size
    }
}

impl Memory for ChangedPages {
    fn page(&self, index: u64) -> PageRef<'_> {
        match self.stretch(index..index + 1) {
            Some(bytes) => PageRef::Bytes(bytes),
            None => PageRef::Inherited,
        }
    }

    fn stretch(&self, pages: Range<u64>) -> Option<&[u8]> {
        let place = self.indices.binary_search(&pages.start).ok()?;
        let count = pages.end - pages.start;
        let last = place
            .checked_add(usize::try_from(count).ok()?)?
            .checked_sub(1)?;
        // They ascend, so there is none missing in between.
        (*self.indices.get(last)? == pages.end - 1)
            .then(|| pages_of(&self.bytes, place as u64, count))?
    }
}

/// Contents of a memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryContents {
    /// The memory's size.
    pub size: MemorySize,
    /// Blocks that are not all zero, by ascending index.
    pub blocks: Vec<Block>,
}

/// A piece of memory that is not all zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Where it starts, in units of [`BLOCK_BYTES`].
    pub index: u64,
    /// [`BLOCK_BYTES`] bytes; fewer only at the memory's end.
    pub bytes: Vec<u8>,
}

impl Measured for MemoryContents {
    fn size(&self) -> MemorySize {
        self.size
    }
}

impl Memory for MemoryContents {
    fn page(&self, index: u64) -> PageRef<'_> {
        match self.stretch(index..index + 1) {
            Some(bytes) => PageRef::Bytes(bytes),
            None => PageRef::Zero,
        }
    }

    fn stretch(&self, pages: Range<u64>) -> Option<&[u8]> {
        let per_block = PAGES_PER_BLOCK as u64;
        let block = pages.start / per_block;
        if pages.end.div_ceil(per_block) != block + 1 {
            return None;
        }
        let count = pages.end - pages.start;
        pages_of(&self.block(block)?.bytes, pages.start % per_block, count)
    }
}

impl MemoryContents {
    /// Copies a memory, leaving out blocks that are all zero.
    #[must_use]
    pub fn copy(memory: MemoryView<'_>) -> Self {
        let blocks = memory
            .bytes
            .par_chunks(BLOCK_BYTES as usize)
            .enumerate()
            .filter(|(_, bytes)| !is_zero(bytes))
            .map(|(index, bytes)| Block {
                index: index as u64,
                bytes: bytes.to_vec(),
            })
            .collect();
        Self {
            size: memory.size(),
            blocks,
        }
    }

    /// Makes these contents what they became when pages changed, and perhaps the size.
    pub fn apply(&mut self, changed: &ChangedPages) {
        if changed.size.bytes() > self.size.bytes() {
            self.grow(changed.size);
        }
        for (index, bytes) in changed.indices.iter().zip(changed.bytes.chunks(PAGE_BYTES)) {
            let pages = PAGES_PER_BLOCK as u64;
            let start = (index % pages) as usize * PAGE_BYTES;
            let block = self.block_mut(index / pages);
            block.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        }
    }

    fn grow(&mut self, size: MemorySize) {
        let end = self.size.bytes();
        self.size = size;
        if let Some(last) = self.blocks.last_mut()
            && last.index == end / BLOCK_BYTES
        {
            let left = size.bytes() - last.index * BLOCK_BYTES;
            last.bytes.resize(left.min(BLOCK_BYTES) as usize, 0);
        }
    }

    /// The block of this index, which lies in the memory; made if it was all zero.
    fn block_mut(&mut self, index: u64) -> &mut Block {
        let found = self
            .blocks
            .binary_search_by_key(&index, |block| block.index);
        let place = found.unwrap_or_else(|place| {
            let left = self.size.bytes() - index * BLOCK_BYTES;
            let bytes = vec![0; left.min(BLOCK_BYTES) as usize];
            self.blocks.insert(place, Block { index, bytes });
            place
        });
        &mut self.blocks[place]
    }

    /// One byte; 0 outside the memory.
    #[must_use]
    pub fn byte(&self, address: u64) -> u8 {
        let block = self.block(address / BLOCK_BYTES);
        let byte = block.and_then(|block| block.bytes.get((address % BLOCK_BYTES) as usize));
        byte.copied().unwrap_or(0)
    }

    fn block(&self, index: u64) -> Option<&Block> {
        let found = self
            .blocks
            .binary_search_by_key(&index, |block| block.index);
        found.ok().map(|place| &self.blocks[place])
    }

    /// Are the blocks in order, of the right length and inside the memory?
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        let Some(size) = self.size.pages.checked_mul(self.size.page_bytes) else {
            return false;
        };
        let in_place = |block: &Block| {
            let start = block.index.checked_mul(BLOCK_BYTES)?;
            let left = size.checked_sub(start).filter(|left| *left > 0)?;
            (block.bytes.len() as u64 == left.min(BLOCK_BYTES)).then_some(())
        };
        self.blocks.is_sorted_by(|a, b| a.index < b.index)
            && self.blocks.iter().all(|block| in_place(block).is_some())
    }

    /// Makes `memory`, which has this size, equal to the contents. Zero blocks that are already zero
    /// are not written, so that the operating system need not give them pages.
    pub fn write_to(&self, memory: &mut [u8]) {
        let mut blocks = self.blocks.iter().peekable();
        for (index, target) in (0..).zip(memory.chunks_mut(BLOCK_BYTES as usize)) {
            match blocks.next_if(|block| block.index == index) {
                Some(block) => target.copy_from_slice(&block.bytes),
                None => clear(target),
            }
        }
    }
}

/// Makes memory zero. What is zero already is not written, so that the operating system need not give it pages.
pub(crate) fn clear(memory: &mut [u8]) {
    for page in memory.chunks_mut(PAGE_BYTES) {
        if !is_zero(page) {
            page.fill(0);
        }
    }
}

pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let words = bytes.chunks_exact(16);
    words.remainder().iter().all(|byte| *byte == 0)
        && words.into_iter().all(|word| *word == [0; 16])
}

#[cfg(test)]
mod tests {
    use super::{
        BLOCK_BYTES, ChangedPages, Memory, MemoryContents, MemorySize, MemoryView, PageRef,
    };

    #[test]
    fn memory_survives_and_zero_blocks_are_left_out() {
        let block = BLOCK_BYTES as usize;
        let mut memory = vec![0; block * 3 + 5];
        memory[block + 17] = 3;
        memory[block * 3 + 4] = 9;
        let contents = copy(&memory);
        assert!(contents.is_consistent());
        assert_eq!(
            contents
                .blocks
                .iter()
                .map(|block| block.index)
                .collect::<Vec<_>>(),
            [1, 3]
        );
        let mut other = vec![7; memory.len()];
        contents.write_to(&mut other);
        assert!(memory == other);
    }

    #[test]
    fn blocks_outside_the_memory_are_noticed() {
        let good = copy(&[1; 70_000]);
        let mut outside = good.clone();
        outside.blocks[1].index = u64::MAX / 2;
        let mut short = good.clone();
        short.blocks[0].bytes.pop();
        let mut repeated = good.clone();
        repeated.blocks[1] = repeated.blocks[0].clone();
        let huge = MemoryContents {
            size: MemorySize {
                pages: u64::MAX,
                page_bytes: 65_536,
            },
            ..good.clone()
        };
        for bad in [outside, short, repeated, huge] {
            assert!(!bad.is_consistent());
        }
    }

    #[test]
    fn changed_pages_hold_what_was_named_and_inherit_the_rest() {
        let bytes = [5; 10_000];
        let memory = MemoryView {
            page_bytes: 1,
            bytes: &bytes,
        };
        let changed = ChangedPages::copy(memory, [0, 2, 3]);
        assert_eq!(changed.count(), 2, "there is no page 3");
        assert_eq!(changed.page(0), PageRef::Bytes(&[5; 4_096]));
        assert_eq!(changed.page(1), PageRef::Inherited);
        assert_eq!(changed.page(2), PageRef::Bytes(&[5; 10_000 - 8_192]));
    }

    #[test]
    fn contents_follow_a_memory_that_changes_and_grows() {
        let mut bytes = vec![0; 70_000];
        bytes[69_000] = 1;
        let mut contents = copy(&bytes);
        bytes.resize(300_000, 0);
        for at in [3, 69_999, 70_000, 140_000, 299_999] {
            bytes[at] = 2;
        }
        let view = MemoryView {
            page_bytes: 1,
            bytes: &bytes,
        };
        contents.apply(&ChangedPages::copy(view, [0, 17, 34, 73]));
        assert!(contents.is_consistent());
        assert_eq!(contents, copy(&bytes));
    }

    fn copy(bytes: &[u8]) -> MemoryContents {
        MemoryContents::copy(MemoryView {
            page_bytes: 1,
            bytes,
        })
    }
}
