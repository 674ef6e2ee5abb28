//! Written pages found by comparing hashes of all pages.
//!
//! XXH3 with 128 bits: no two contents have the same hash by accident, and a guest that makes some on purpose
//! loses nothing but its own data.

use std::io;
use std::ops::Range;

use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_128;

use super::{DirtyTracker, push};
use crate::memory::{MemoryView, PAGE_BYTES, PAGES_PER_BLOCK};

/// Hashes of the pages when they were last asked for.
#[derive(Debug, Default)]
pub(super) struct PageHashes(Vec<Vec<u128>>);

impl DirtyTracker for PageHashes {
    fn take(&mut self, memories: &[MemoryView<'_>]) -> io::Result<Vec<Vec<Range<u64>>>> {
        self.0.resize(memories.len(), Vec::new());
        let dirty = self.0.iter_mut().zip(memories).map(|(before, memory)| {
            let now: Vec<u128> = memory
                .bytes
                .par_chunks(PAGE_BYTES)
                .with_min_len(PAGES_PER_BLOCK)
                .map(xxh3_128)
                .collect();
            let mut ranges = Vec::new();
            for (page, hash) in now.iter().enumerate() {
                if before.get(page) != Some(hash) {
                    push(&mut ranges, page as u64..page as u64 + 1);
                }
            }
            *before = now;
            ranges
        });
        Ok(dirty.collect())
    }

    fn is_quick(&self) -> bool {
        false
    }
}
