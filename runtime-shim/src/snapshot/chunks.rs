//! Chunks: stored pages, packed and compressed, each by itself, so that any page can be read alone.
//!
//! The page index holds the digest of each, and the snapshot's id is that of the index and the rest: a tree
//! whose root stands for everything, while no pass over all memory is needed to check one page.

use std::io::{self, Write};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::error::SnapshotError;
use super::pages::Run;
use super::source::Source;
use crate::memory::{MemorySize, PAGE_BYTES};

/// Pages in a chunk; the last may have fewer.
pub(super) const PAGES_PER_CHUNK: usize = 64;
const CHUNK_BYTES: usize = PAGES_PER_CHUNK * PAGE_BYTES;
/// Chunks that are packed together.
const CHUNKS_AT_ONCE: usize = 16;

type Digest = [u8; 32];

/// How memory contents are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// By zstd at this level.
    Zstd(i32),
}

impl Default for Compression {
    fn default() -> Self {
        Self::Zstd(1)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Codec {
    Raw,
    Zstd,
}

/// What the page index says of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Chunk {
    codec: Codec,
    /// Bytes as stored.
    bytes: u32,
    digest: Digest,
}

/// The page index: everything about memory contents but the contents.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct PageIndex {
    /// By memory: what its pages are.
    pub(super) memories: Vec<Vec<Run>>,
    /// Number of stored pages.
    pub(super) stored: u64,
    pub(super) chunks: Vec<Chunk>,
}

/// Writes stored pages as chunks, packing some while others are written.
pub(super) fn write_chunks(
    pages: &[&[u8]],
    compression: Compression,
    sink: &mut impl Write,
) -> io::Result<Vec<Chunk>> {
    let mut batches = pages.chunks(PAGES_PER_CHUNK * CHUNKS_AT_ONCE);
    let pack_next = |batch: Option<&[&[u8]]>| -> io::Result<Vec<_>> {
        batch
            .unwrap_or_default()
            .par_chunks(PAGES_PER_CHUNK)
            .map(|pages| pack(pages, compression))
            .collect()
    };
    let mut chunks = Vec::with_capacity(pages.len().div_ceil(PAGES_PER_CHUNK));
    let mut packed = pack_next(batches.next())?;
    while !packed.is_empty() {
        let next = batches.next();
        packed = std::thread::scope(|scope| {
            let packing = scope.spawn(|| pack_next(next));
            for (chunk, bytes) in packed {
                sink.write_all(&bytes)?;
                chunks.push(chunk);
            }
            packing
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
    }
    Ok(chunks)
}

/// The pages together, compressed if that makes them smaller.
fn pack(pages: &[&[u8]], compression: Compression) -> io::Result<(Chunk, Vec<u8>)> {
    let mut raw = Vec::with_capacity(pages.len() * PAGE_BYTES);
    for (number, page) in (1..).zip(pages) {
        raw.extend_from_slice(page);
        raw.resize(number * PAGE_BYTES, 0);
    }
    let digest = digest_of(&raw);
    let compressed = match compression {
        Compression::None => None,
        Compression::Zstd(level) => Some(zstd::bulk::compress(&raw, level)?),
    };
    let (codec, bytes) = match compressed {
        Some(compressed) if compressed.len() < raw.len() => (Codec::Zstd, compressed),
        _ => (Codec::Raw, raw),
    };
    let chunk = Chunk {
        codec,
        bytes: u32::try_from(bytes.len()).expect("no more than a chunk"),
        digest,
    };
    Ok((chunk, bytes))
}

fn digest_of(chunk: &[u8]) -> Digest {
    *blake3::hash(chunk).as_bytes()
}

/// Chunks of a snapshot that is being read.
pub(super) struct ChunkSource<'s> {
    source: Box<dyn Source + 's>,
    chunks: Vec<Chunk>,
    /// By chunk: where it begins.
    offsets: Vec<u64>,
    /// Number of stored pages.
    stored: u64,
}

impl<'s> ChunkSource<'s> {
    /// Checks what the index says: the chunks must hold the stored pages and fill exactly `bytes` from
    /// `offset` on.
    pub(super) fn new(
        source: Box<dyn Source + 's>,
        index: &mut PageIndex,
        offset: u64,
        bytes: u64,
    ) -> Result<Self, SnapshotError> {
        let chunks = std::mem::take(&mut index.chunks);
        let malformed = |what: &str| SnapshotError::Malformed(what.to_owned());
        if index.stored.div_ceil(PAGES_PER_CHUNK as u64) != chunks.len() as u64 {
            return Err(malformed("its chunks hold another number of pages"));
        }
        let mut offsets = Vec::with_capacity(chunks.len());
        let mut end = offset;
        for chunk in &chunks {
            offsets.push(end);
            end = end.saturating_add(chunk.bytes.into());
        }
        if end.saturating_sub(offset) != bytes {
            return Err(malformed("its chunks have another length"));
        }
        let stored = index.stored;
        let this = Self {
            source,
            chunks,
            offsets,
            stored,
        };
        let has_room = |(number, chunk): (usize, &Chunk)| match chunk.codec {
            Codec::Raw => chunk.bytes as usize == this.unpacked_bytes(number),
            Codec::Zstd => (chunk.bytes as usize) < CHUNK_BYTES,
        };
        if !this.chunks.iter().enumerate().all(has_room) {
            return Err(malformed("a chunk is larger than its pages"));
        }
        Ok(this)
    }

    /// Number of chunks.
    pub(super) fn count(&self) -> usize {
        self.chunks.len()
    }

    fn unpacked_bytes(&self, chunk: usize) -> usize {
        let before = (chunk * PAGES_PER_CHUNK) as u64;
        let pages = (self.stored - before).min(PAGES_PER_CHUNK as u64);
        pages as usize * PAGE_BYTES
    }

    /// The contents of one chunk, checked.
    pub(super) fn read(&self, number: usize) -> Result<Vec<u8>, SnapshotError> {
        let chunk = self.chunks[number];
        let length = self.unpacked_bytes(number);
        let mut bytes = vec![0; chunk.bytes as usize];
        self.source
            .read_exact_at(&mut bytes, self.offsets[number])?;
        let damaged = || SnapshotError::DamagedChunk { chunk: number };
        let raw = match chunk.codec {
            Codec::Raw => bytes,
            // No more than a chunk's bytes are made, whatever the contents say.
            Codec::Zstd => zstd::bulk::decompress(&bytes, length).map_err(|_| damaged())?,
        };
        match raw.len() == length && digest_of(&raw) == chunk.digest {
            true => Ok(raw),
            false => Err(damaged()),
        }
    }
}

impl PageIndex {
    /// Checks the page map against the sizes of the memories. Returns the number of bytes in pages that
    /// are not zero.
    pub(super) fn check(
        &self,
        sizes: &[MemorySize],
        has_parent: bool,
    ) -> Result<u64, SnapshotError> {
        let malformed = |what: String| Err(SnapshotError::Malformed(what));
        if self.memories.len() != sizes.len() {
            return malformed("its page map is of another number of memories".to_owned());
        }
        let mut held: u64 = 0;
        for ((index, runs), size) in self.memories.iter().enumerate().zip(sizes) {
            let mut pages: u64 = 0;
            for run in runs {
                pages = pages.saturating_add(run.count());
                match *run {
                    Run::Zero(_) => continue,
                    Run::Inherited(_) if has_parent => {}
                    Run::Inherited(_) => {
                        return malformed(format!("memory {index} has pages of no snapshot"));
                    }
                    Run::Stored { first, count } => {
                        if first.checked_add(count).is_none_or(|end| end > self.stored) {
                            return malformed(format!(
                                "memory {index} has pages that are not stored"
                            ));
                        }
                    }
                }
                held = held.saturating_add(run.count().saturating_mul(PAGE_BYTES as u64));
            }
            if pages != size.page_count() {
                return malformed(format!("the page map of memory {index} has another size"));
            }
        }
        Ok(held)
    }
}
