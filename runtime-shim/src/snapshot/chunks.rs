//! Chunks: stored pages, packed and compressed, each by itself, so that any page can be read alone.
//!
//! The page index holds the digest of each, and the snapshot's id is that of the index and the rest: a tree
//! whose root stands for everything, while no pass over all memory is needed to check one page.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::mpsc::sync_channel;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::error::SnapshotError;
use super::pages::{PageMapper, Run};
use super::progress::Progress;
use super::source::Source;
use crate::memory::{Memory, MemorySize, PAGE_BYTES};

/// Pages in a chunk; the last may have fewer.
pub(super) const PAGES_PER_CHUNK: usize = 64;
const CHUNK_BYTES: usize = PAGES_PER_CHUNK * PAGE_BYTES;
/// Batches of packed chunks that may wait to be written.
const BATCHES_AHEAD: usize = 2;

/// Where a Zstandard frame describes itself (RFC 8878, section 3.1.1.1.1), and the bit there that decoders ignore: set, it
/// is damage that the digest of the contents would not show.
const ZSTD_DESCRIPTOR: usize = 4;
const ZSTD_UNUSED_BIT: u8 = 0x10;

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

/// A chunk ready to be written.
struct Packed<'m> {
    chunk: Chunk,
    bytes: Cow<'m, [u8]>,
    /// Bytes of memory in it.
    memory_bytes: u64,
}

/// Writes the chunks of memories; what they say of themselves goes into an index. Others are taken apart and packed
/// meanwhile, some batches ahead, so that neither side often waits for the other.
pub(super) fn write_chunks<M: Memory>(
    memories: &[M],
    compression: Compression,
    progress: Progress<'_>,
    sink: &mut impl Write,
) -> io::Result<PageIndex> {
    let mut chunks = Vec::new();
    let (memories, stored) = std::thread::scope(|scope| {
        let (sender, batches) = sync_channel(BATCHES_AHEAD);
        let packer = scope.spawn(move || {
            let mut mapper = PageMapper::new(memories, progress);
            for batch in mapper.by_ref() {
                let packed = batch.par_iter().map(|pages| pack(pages, compression));
                let packed: io::Result<Vec<_>> = packed.collect();
                // After an error nobody listens any more.
                if sender.send(packed).is_err() {
                    break;
                }
            }
            mapper.finish()
        });
        for batch in batches {
            for Packed {
                chunk,
                bytes,
                memory_bytes,
            } in batch?
            {
                sink.write_all(&bytes)?;
                progress.add(memory_bytes);
                chunks.push(chunk);
            }
        }
        io::Result::Ok(packer.join().expect("it does not panic"))
    })?;
    Ok(PageIndex {
        memories,
        stored,
        chunks,
    })
}

/// The pages together, compressed if that makes them smaller.
fn pack<'m>(pages: &[&'m [u8]], compression: Compression) -> io::Result<Packed<'m>> {
    let raw = match pages {
        [whole] if whole.len().is_multiple_of(PAGE_BYTES) => Cow::Borrowed(*whole),
        pieces => {
            let mut raw = Vec::with_capacity(CHUNK_BYTES);
            for piece in pieces {
                raw.extend_from_slice(piece);
                raw.resize(raw.len().next_multiple_of(PAGE_BYTES), 0);
            }
            Cow::Owned(raw)
        }
    };
    let digest = digest_of(&raw);
    let compressed = match compression {
        Compression::None => None,
        Compression::Zstd(level) => Some(zstd::bulk::compress(&raw, level)?),
    };
    let (codec, bytes) = match compressed {
        Some(compressed) if compressed.len() < raw.len() => (Codec::Zstd, compressed.into()),
        _ => (Codec::Raw, raw),
    };
    let chunk = Chunk {
        codec,
        bytes: u32::try_from(bytes.len()).expect("no more than a chunk"),
        digest,
    };
    Ok(Packed {
        chunk,
        bytes,
        memory_bytes: pages.iter().map(|piece| piece.len() as u64).sum(),
    })
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

    /// Bytes of all chunks when unpacked.
    pub(super) fn unpacked_bytes_in_all(&self) -> u64 {
        self.stored.saturating_mul(PAGE_BYTES as u64)
    }

    /// Bytes of a chunk when unpacked.
    pub(super) fn unpacked_bytes(&self, chunk: usize) -> usize {
        let before = (chunk * PAGES_PER_CHUNK) as u64;
        let pages = (self.stored - before).min(PAGES_PER_CHUNK as u64);
        pages as usize * PAGE_BYTES
    }

    /// The contents of one chunk, checked.
    pub(super) fn read(&self, number: usize) -> Result<Vec<u8>, SnapshotError> {
        let mut raw = vec![0; self.unpacked_bytes(number)];
        self.read_into(number, &mut raw)?;
        Ok(raw)
    }

    /// Makes `target`, which has its length unpacked, the contents of one chunk, checked. After an error it may hold
    /// anything.
    pub(super) fn read_into(&self, number: usize, target: &mut [u8]) -> Result<(), SnapshotError> {
        let chunk = self.chunks[number];
        let damaged = || SnapshotError::DamagedChunk { chunk: number };
        match chunk.codec {
            Codec::Raw => self.source.read_exact_at(target, self.offsets[number])?,
            Codec::Zstd => {
                let mut packed = vec![0; chunk.bytes as usize];
                self.source
                    .read_exact_at(&mut packed, self.offsets[number])?;
                let is_marked = packed
                    .get(ZSTD_DESCRIPTOR)
                    .is_some_and(|descriptor| descriptor & ZSTD_UNUSED_BIT != 0);
                // No more than the target holds is unpacked, whatever the contents say.
                let unpacked = zstd::bulk::decompress_to_buffer(&packed, target);
                if unpacked.ok() != Some(target.len()) || is_marked {
                    return Err(damaged());
                }
            }
        }
        match digest_of(target) == chunk.digest {
            true => Ok(()),
            false => Err(damaged()),
        }
    }
}

impl PageIndex {
    /// Checks the page map against the sizes of the memories.
    pub(super) fn check(
        &self,
        sizes: &[MemorySize],
        has_parent: bool,
    ) -> Result<(), SnapshotError> {
        let malformed = |what: String| Err(SnapshotError::Malformed(what));
        if self.memories.len() != sizes.len() {
            return malformed("its page map is of another number of memories".to_owned());
        }
        for ((index, runs), size) in self.memories.iter().enumerate().zip(sizes) {
            let mut pages: u64 = 0;
            for run in runs {
                pages = pages.saturating_add(run.count());
                match *run {
                    Run::Zero(_) => {}
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
            }
            if pages != size.page_count() {
                return malformed(format!("the page map of memory {index} has another size"));
            }
        }
        Ok(())
    }
}
