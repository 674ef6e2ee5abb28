//! Memory of a running guest, read by way of the kernel.
//!
//! The guest writes while it is read, so a page may hold half of a write. That is of no concern to those who
//! ask a [`DirtyTracker`](super::DirtyTracker) before and after: what was written in between is read again. The
//! kernel does the copying (`/proc/self/mem`), so an address that is gone is an error, not a crash.

use std::fs::File;
use std::io;

use rayon::prelude::*;

use crate::memory::{
    BLOCK_BYTES, Block, Measured, MemoryContents, MemorySize, MemoryView, PAGE_BYTES, is_zero,
};

/// Where the memory of a running guest lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveMemory {
    size: MemorySize,
    address: u64,
}

impl LiveMemory {
    /// The memory that is seen here now. If it moves or is dropped, reading it fails or answers anything.
    #[must_use]
    pub fn new(memory: &MemoryView<'_>) -> Self {
        Self {
            size: memory.size(),
            address: memory.bytes.as_ptr().expose_provenance() as u64,
        }
    }

    /// Address of its first byte.
    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    /// Copies the memory, leaving out blocks that are all zero.
    ///
    /// # Errors
    /// The memory has gone, or this system has no `/proc/self/mem`. It may not wait for
    /// [missing pages](crate::live::MissingPages) either.
    pub fn copy(&self) -> io::Result<MemoryContents> {
        let source = File::open("/proc/self/mem")?;
        let count = self.size.bytes().div_ceil(BLOCK_BYTES) as usize;
        let blocks: io::Result<Vec<Option<Block>>> = (0..count)
            .into_par_iter()
            .map(|index| self.block(&source, index as u64))
            .collect();
        Ok(MemoryContents {
            size: self.size,
            blocks: blocks?.into_iter().flatten().collect(),
        })
    }

    /// Reads pages of [`PAGE_BYTES`] from `first` on into `buffer`, which has room for whole ones; what the last has beyond
    /// the memory's end is zero.
    ///
    /// # Errors
    /// The memory has gone or has no such pages, or this system has no `/proc/self/mem`.
    pub fn read(&self, first: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = first.saturating_mul(PAGE_BYTES as u64);
        let left = self.size.bytes().checked_sub(start);
        let left = left.filter(|left| buffer.is_empty() || *left > 0);
        let Some(left) = left else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "pages behind the end of a memory",
            ));
        };
        let here = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let (here, beyond) = buffer.split_at_mut(here);
        beyond.fill(0);
        read_at(&File::open("/proc/self/mem")?, here, self.address + start)
    }

    fn block(&self, source: &File, index: u64) -> io::Result<Option<Block>> {
        let start = index * BLOCK_BYTES;
        let length = (self.size.bytes() - start).min(BLOCK_BYTES);
        let mut bytes = vec![0; length as usize];
        read_at(source, &mut bytes, self.address + start)?;
        Ok((!is_zero(&bytes)).then_some(Block { index, bytes }))
    }
}

impl Measured for LiveMemory {
    fn size(&self) -> MemorySize {
        self.size
    }
}

#[cfg(unix)]
fn read_at(source: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(source, buffer, offset)
}

#[cfg(not(unix))]
fn read_at(_: &File, _: &mut [u8], _: u64) -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}
