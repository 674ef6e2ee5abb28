//! Chunks: stored pages, packed and compressed, each by itself, so that any page can be read alone.
//!
//! A chunk's digest is that of its pages' digests: a tree of which the page index holds the middle level
//! and the snapshot's id is the root.

use std::io::{self, Read, Seek, SeekFrom, Write};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::error::SnapshotError;
use super::pages::{Digest, Run, StoredPage, ZERO_PAGE, digest_page, page_count};
use crate::state::PAGE_BYTES;

/// Pages in a chunk; the last may have fewer.
pub(super) const PAGES_PER_CHUNK: usize = 64;
const CHUNK_BYTES: usize = PAGES_PER_CHUNK * PAGE_BYTES;
/// Chunks that are compressed, or decompressed, together.
const CHUNKS_AT_ONCE: usize = 64;
pub(super) const PAGES_PER_BATCH: u64 = (CHUNKS_AT_ONCE * PAGES_PER_CHUNK) as u64;

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

/// Writes stored pages as chunks.
pub(super) fn write_chunks(
    pages: &[StoredPage<'_>],
    compression: Compression,
    sink: &mut impl Write,
) -> io::Result<Vec<Chunk>> {
    let mut chunks = Vec::with_capacity(pages.len().div_ceil(PAGES_PER_CHUNK));
    for batch in pages.chunks(PAGES_PER_CHUNK * CHUNKS_AT_ONCE) {
        let packed: io::Result<Vec<_>> = batch
            .par_chunks(PAGES_PER_CHUNK)
            .map(|pages| compress(pages, compression))
            .collect();
        for (pages, compressed) in batch.chunks(PAGES_PER_CHUNK).zip(packed?) {
            let (codec, bytes) = match compressed {
                Some(bytes) => {
                    sink.write_all(&bytes)?;
                    (Codec::Zstd, bytes.len())
                }
                None => {
                    for page in pages {
                        sink.write_all(page.bytes)?;
                        sink.write_all(&ZERO_PAGE[page.bytes.len()..])?;
                    }
                    (Codec::Raw, pages.len() * PAGE_BYTES)
                }
            };
            chunks.push(Chunk {
                codec,
                bytes: u32::try_from(bytes).expect("no more than a chunk"),
                digest: digest_of(pages.iter().map(|page| page.digest)),
            });
        }
    }
    Ok(chunks)
}

/// The pages together, compressed if that makes them smaller.
fn compress(pages: &[StoredPage<'_>], compression: Compression) -> io::Result<Option<Vec<u8>>> {
    let Compression::Zstd(level) = compression else {
        return Ok(None);
    };
    let mut raw = Vec::with_capacity(CHUNK_BYTES);
    for (number, page) in (1..).zip(pages) {
        raw.extend_from_slice(page.bytes);
        raw.resize(number * PAGE_BYTES, 0);
    }
    let compressed = zstd::bulk::compress(&raw, level)?;
    Ok((compressed.len() < raw.len()).then_some(compressed))
}

fn digest_of(pages: impl Iterator<Item = Digest>) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for digest in pages {
        hasher.update(&digest);
    }
    *hasher.finalize().as_bytes()
}

/// Chunks of a snapshot that is being read.
pub(super) struct ChunkSource<R> {
    source: R,
    chunks: Vec<Chunk>,
    /// By chunk: where it begins.
    offsets: Vec<u64>,
    /// Number of stored pages.
    stored: u64,
}

impl<R: Read + Seek> ChunkSource<R> {
    /// Checks what the index says: the chunks must hold the stored pages and fill exactly `bytes` from
    /// `offset` on.
    pub(super) fn new(
        source: R,
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

    fn unpacked_bytes(&self, chunk: usize) -> usize {
        let before = (chunk * PAGES_PER_CHUNK) as u64;
        let pages = (self.stored - before).min(PAGES_PER_CHUNK as u64);
        pages as usize * PAGE_BYTES
    }

    /// The contents of one chunk.
    pub(super) fn read(&mut self, number: usize) -> Result<Vec<u8>, SnapshotError> {
        self.read_range(number..number + 1)
            .map(|mut chunks| chunks.remove(0))
    }

    /// Number of batches.
    pub(super) fn batches(&self) -> usize {
        self.chunks.len().div_ceil(CHUNKS_AT_ONCE)
    }

    /// The contents of the chunks that are read together: those of [`PAGES_PER_BATCH`] pages.
    pub(super) fn read_batch(&mut self, batch: usize) -> Result<Vec<Vec<u8>>, SnapshotError> {
        let first = batch * CHUNKS_AT_ONCE;
        self.read_range(first..self.chunks.len().min(first + CHUNKS_AT_ONCE))
    }

    fn read_range(&mut self, range: std::ops::Range<usize>) -> Result<Vec<Vec<u8>>, SnapshotError> {
        self.source
            .seek(SeekFrom::Start(self.offsets[range.start]))?;
        let mut packed = Vec::with_capacity(range.len());
        for number in range {
            let mut bytes = vec![0; self.chunks[number].bytes as usize];
            self.source.read_exact(&mut bytes)?;
            packed.push((
                number,
                self.chunks[number],
                self.unpacked_bytes(number),
                bytes,
            ));
        }
        packed
            .into_par_iter()
            .map(|(number, chunk, length, bytes)| unpack(number, chunk, length, bytes))
            .collect()
    }
}

fn unpack(
    number: usize,
    chunk: Chunk,
    length: usize,
    bytes: Vec<u8>,
) -> Result<Vec<u8>, SnapshotError> {
    let damaged = || SnapshotError::DamagedChunk { chunk: number };
    let raw = match chunk.codec {
        Codec::Raw => bytes,
        // No more than a chunk's bytes are made, whatever the contents say.
        Codec::Zstd => zstd::bulk::decompress(&bytes, length).map_err(|_| damaged())?,
    };
    if raw.len() != length || digest_of(raw.chunks(PAGE_BYTES).map(digest_page)) != chunk.digest {
        return Err(damaged());
    }
    Ok(raw)
}

impl PageIndex {
    /// Checks the page map against the sizes of the memories. Returns the number of bytes in pages that
    /// are not zero.
    pub(super) fn check(
        &self,
        sizes: impl ExactSizeIterator<Item = u64>,
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
            if pages != page_count(size) {
                return malformed(format!("the page map of memory {index} has another size"));
            }
        }
        Ok(held)
    }
}
