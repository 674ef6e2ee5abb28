//! The whole state of a stopped guest as typed values, independent of any engine.

use std::collections::BTreeSet;

use wasm_migrate_abi::ValueType;

/// Memory contents are kept in blocks of this many bytes.
pub const BLOCK_BYTES: u64 = 64 * 1024;
/// Snapshots and migrations deal in pages of this many bytes. A memory whose size is no multiple of it ends
/// with a page filled up with zeros.
pub const PAGE_BYTES: usize = 4096;
pub(crate) const PAGES_PER_BLOCK: usize = BLOCK_BYTES as usize / PAGE_BYTES;

/// The whole state of a stopped guest. Indices are those of the original module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// BLAKE3 digest of the original module.
    pub original_digest: [u8; 32],
    /// Export that the host called and that is on the stack.
    pub entry: String,
    /// The call stack, outermost frame first.
    pub frames: Vec<Frame>,
    /// Mutable globals, in the order of [`wasm_migrate_abi::Description::globals`].
    pub globals: Vec<Value>,
    /// Which of [`wasm_migrate_abi::Description::data_drops`] are dropped.
    pub data_drops: Vec<bool>,
    /// Which of [`wasm_migrate_abi::Description::element_drops`] are dropped.
    pub element_drops: Vec<bool>,
    /// Tables, in the order of [`wasm_migrate_abi::Description::tables`].
    pub tables: Vec<TableContents>,
    /// All memories, in index order.
    pub memories: Vec<MemoryContents>,
}

/// One activation of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Function index.
    pub function: u32,
    /// Index into the function's safe points.
    pub safe_point: u32,
    /// The values live there, in the order of the safe point's live slots.
    pub values: Vec<Value>,
}

/// A typed value. Floats are held as their bits, so equality is equality of bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// 32-bit integer.
    I32(i32),
    /// 64-bit integer.
    I64(i64),
    /// Bits of a 32-bit float.
    F32(u32),
    /// Bits of a 64-bit float.
    F64(u64),
    /// 128-bit vector.
    V128(u128),
    /// Index of the referenced function, or null.
    FuncRef(Option<u32>),
    /// A host reference as its embedder encodes it, or null.
    ExternRef(Option<Vec<u8>>),
}

impl Value {
    /// The value's type.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::I32(_) => ValueType::I32,
            Self::I64(_) => ValueType::I64,
            Self::F32(_) => ValueType::F32,
            Self::F64(_) => ValueType::F64,
            Self::V128(_) => ValueType::V128,
            Self::FuncRef(_) => ValueType::FuncRef,
            Self::ExternRef(_) => ValueType::ExternRef,
        }
    }
}

/// Elements of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableContents {
    /// Function indices, or null.
    Functions(Vec<Option<u32>>),
    /// Host references as their embedder encodes them, or null.
    Externals(Vec<Option<Vec<u8>>>),
}

impl TableContents {
    /// Type of the elements.
    #[must_use]
    pub fn element_type(&self) -> ValueType {
        match self {
            Self::Functions(_) => ValueType::FuncRef,
            Self::Externals(_) => ValueType::ExternRef,
        }
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Functions(elements) => elements.len() as u64,
            Self::Externals(elements) => elements.len() as u64,
        }
    }

    /// Has the table no elements?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Contents of a memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryContents {
    /// Bytes in a page: 65,536, or 1 in memories of custom page size.
    pub page_bytes: u64,
    /// Size in pages.
    pub pages: u64,
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

impl MemoryContents {
    /// Copies a memory, leaving out blocks that are all zero.
    #[must_use]
    pub fn copy(page_bytes: u64, memory: &[u8]) -> Self {
        let blocks = (0..)
            .zip(memory.chunks(BLOCK_BYTES as usize))
            .filter(|(_, bytes)| !is_zero(bytes))
            .map(|(index, bytes)| Block {
                index,
                bytes: bytes.to_vec(),
            })
            .collect();
        Self {
            page_bytes,
            pages: memory.len() as u64 / page_bytes.max(1),
            blocks,
        }
    }

    /// Size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.pages.saturating_mul(self.page_bytes)
    }

    /// The bytes of a page, fewer at the memory's end; `None` if its whole block is zero.
    #[must_use]
    pub fn page(&self, index: u64) -> Option<&[u8]> {
        let block = index / PAGES_PER_BLOCK as u64;
        let start = (index % PAGES_PER_BLOCK as u64) as usize * PAGE_BYTES;
        let bytes = self.block(block)?.bytes.get(start..)?;
        Some(&bytes[..bytes.len().min(PAGE_BYTES)])
    }

    /// The bytes of a page, to be written.
    pub(crate) fn page_mut(&mut self, index: u64) -> Option<&mut [u8]> {
        let block = index / PAGES_PER_BLOCK as u64;
        let start = (index % PAGES_PER_BLOCK as u64) as usize * PAGE_BYTES;
        let found = self
            .blocks
            .binary_search_by_key(&block, |block| block.index);
        let bytes = self.blocks[found.ok()?].bytes.get_mut(start..)?;
        let length = bytes.len().min(PAGE_BYTES);
        Some(&mut bytes[..length])
    }

    /// Indices of the pages in blocks that are not all zero here or in another memory, ascending.
    pub fn touched_pages(&self, other: &Self) -> impl Iterator<Item = u64> {
        let blocks = self.blocks.iter().chain(&other.blocks);
        let indices: BTreeSet<u64> = blocks.map(|block| block.index).collect();
        let pages = PAGES_PER_BLOCK as u64;
        indices
            .into_iter()
            .flat_map(move |block| block * pages..(block + 1) * pages)
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
        let Some(size) = self.pages.checked_mul(self.page_bytes) else {
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
                None if is_zero(target) => {}
                None => target.fill(0),
            }
        }
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    let words = bytes.chunks_exact(16);
    words.remainder().iter().all(|byte| *byte == 0)
        && words.into_iter().all(|word| *word == [0; 16])
}

#[cfg(test)]
mod tests {
    use super::{BLOCK_BYTES, MemoryContents};

    #[test]
    fn memory_survives_and_zero_blocks_are_left_out() {
        let block = BLOCK_BYTES as usize;
        let mut memory = vec![0; block * 3 + 5];
        memory[block + 17] = 3;
        memory[block * 3 + 4] = 9;
        let contents = MemoryContents::copy(1, &memory);
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
        let good = MemoryContents::copy(1, &[1; 70_000]);
        let mut outside = good.clone();
        outside.blocks[1].index = u64::MAX / 2;
        let mut short = good.clone();
        short.blocks[0].bytes.pop();
        let mut repeated = good.clone();
        repeated.blocks[1] = repeated.blocks[0].clone();
        let huge = MemoryContents {
            pages: u64::MAX,
            page_bytes: 65_536,
            ..good.clone()
        };
        for bad in [outside, short, repeated, huge] {
            assert!(!bad.is_consistent());
        }
    }
}
