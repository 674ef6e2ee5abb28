//! A snapshot together with those that it builds on, from which memories are filled.
//!
//! Each page comes from the newest snapshot of the chain that says what it holds. Chunks are read, checked
//! and copied to where they belong by several threads, each chunk once for each memory; nothing else is kept.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;

use super::chunks::{ChunkSource, PAGES_PER_CHUNK};
use super::error::SnapshotError;
use super::pages::Run;
use super::reader::{ReadOptions, SnapshotReader};
use super::{ParentReference, Snapshot, hex};
use crate::memory::{BLOCK_BYTES, Block, MemoryContents, MemorySize, PAGE_BYTES, clear};

/// Snapshots that build on one another: no more than this.
const PARENTS_MAX: usize = 256;

/// A snapshot that can be read whole: those that it builds on are there.
pub struct SnapshotChain<'s> {
    /// The snapshot itself, then what it builds on, and so on.
    readers: Vec<SnapshotReader<'s>>,
    /// By memory: where its pages come from, in order.
    memories: Vec<Vec<Extent>>,
    progress: Option<Told>,
}

/// Is told of bytes that have been read.
type Told = Box<dyn Fn(u64) + Send + Sync>;

/// Neighbouring pages from one place.
#[derive(Debug, Clone, Copy)]
struct Extent {
    pages: u64,
    origin: Origin,
}

#[derive(Debug, Clone, Copy)]
enum Origin {
    Zero,
    /// Stored under consecutive numbers.
    Stored {
        reader: usize,
        first: u64,
    },
}

/// Part of a memory that is to be filled.
struct Area<'t> {
    first_page: u64,
    bytes: &'t mut [u8],
}

/// Part of a chunk, and where it goes.
struct Piece<'t> {
    /// Within the chunk.
    start: usize,
    first_page: u64,
    target: &'t mut [u8],
}

impl SnapshotChain<'static> {
    /// Opens a snapshot file, and those beside it that it builds on.
    ///
    /// # Errors
    /// A file cannot be read, is not what it should be, or is damaged before its chunks.
    pub fn open(path: &Path, options: &ReadOptions) -> Result<Self, SnapshotError> {
        let mut readers = vec![SnapshotReader::open(path, options)?];
        while let Some(parent) = readers.last().and_then(SnapshotReader::parent).cloned() {
            if readers.len() > PARENTS_MAX {
                return Err(SnapshotError::Malformed(format!(
                    "it builds on more than {PARENTS_MAX} others"
                )));
            }
            readers.push(open_parent(path, parent, options)?);
        }
        Ok(Self::new(readers))
    }
}

fn open_parent(
    child: &Path,
    parent: ParentReference,
    options: &ReadOptions,
) -> Result<SnapshotReader<'static>, SnapshotError> {
    let ParentReference { name, id } = parent;
    let reader = match SnapshotReader::open(&child.with_file_name(&name), options) {
        Ok(reader) => reader,
        Err(error) => {
            return Err(SnapshotError::ParentMissing {
                name,
                source: Some(Box::new(error)),
            });
        }
    };
    let found = reader.header().id();
    match found == id {
        true => Ok(reader),
        false => Err(SnapshotError::WrongParent {
            name,
            found: hex(&found),
            expected: hex(&id),
        }),
    }
}

impl<'s> SnapshotChain<'s> {
    /// A snapshot that builds on no other.
    ///
    /// # Errors
    /// It does.
    pub fn alone(reader: SnapshotReader<'s>) -> Result<Self, SnapshotError> {
        match reader.parent() {
            None => Ok(Self::new(vec![reader])),
            Some(parent) => Err(SnapshotError::ParentMissing {
                name: parent.name.clone(),
                source: None,
            }),
        }
    }

    fn new(readers: Vec<SnapshotReader<'s>>) -> Self {
        let count = readers[0].snapshot().state.memories.len();
        let memories = (0..count).map(|memory| extents(&readers, memory)).collect();
        Self {
            readers,
            memories,
            progress: None,
        }
    }

    /// Calls `told` from now on with the number of bytes of memory contents that have been read and unpacked since the
    /// last time, from several threads.
    #[must_use]
    pub fn on_progress(self, told: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self {
            progress: Some(Box::new(told)),
            ..self
        }
    }

    /// The snapshot itself, without those that it builds on.
    #[must_use]
    pub fn newest(&self) -> &SnapshotReader<'s> {
        &self.readers[0]
    }

    /// Bytes of memory contents that are read when all memories are filled.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        let memories = 0..self.memories.len();
        let ranges = memories.flat_map(|memory| self.stored_pages(memory));
        ranges
            .map(|pages| pages.end - pages.start)
            .fold(0, u64::saturating_add)
            .saturating_mul(PAGE_BYTES as u64)
    }

    /// Pages of a memory that the snapshots say anything about but that they are zero; ascending, apart.
    #[must_use]
    pub fn stored_pages(&self, memory: usize) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let mut page = 0;
        for extent in self.memories.get(memory).into_iter().flatten() {
            let end = page + extent.pages;
            match (extent.origin, ranges.last_mut()) {
                (Origin::Zero, _) => {}
                (Origin::Stored { .. }, Some(last)) if last.end == page => last.end = end,
                (Origin::Stored { .. }, _) => ranges.push(page..end),
            }
            page = end;
        }
        ranges
    }

    /// Bytes that [`SnapshotChain::verify`] looks at.
    #[must_use]
    pub fn bytes_to_verify(&self) -> u64 {
        let readers = self.readers.iter();
        readers
            .map(|reader| reader.chunks().unpacked_bytes_in_all())
            .sum()
    }

    /// Checks all chunks.
    ///
    /// # Errors
    /// One is damaged or cannot be read.
    pub fn verify(&self) -> Result<(), SnapshotError> {
        for reader in &self.readers {
            let chunks = reader.chunks();
            (0..chunks.count()).into_par_iter().try_for_each(|chunk| {
                let bytes = chunks.read(chunk)?;
                self.tell(bytes.len());
                Ok::<_, SnapshotError>(())
            })?;
        }
        // What a last page holds beyond its memory is seen where it is put into one.
        let sizes = &self.newest().snapshot().state.memories;
        sizes.iter().enumerate().try_for_each(|(memory, size)| {
            let in_last = (size.bytes() % PAGE_BYTES as u64) as usize;
            let mut last = [0; PAGE_BYTES];
            self.read(
                memory,
                size.page_count().saturating_sub(1),
                &mut last[..in_last],
            )
        })
    }

    /// Makes `target`, which has the memory's size, equal to a memory.
    ///
    /// # Errors
    /// There is more than [`ReadOptions::memory_bytes`] allows; a chunk is damaged or cannot be read: the target may then
    /// hold anything.
    pub fn fill(&self, memory: usize, target: &mut [u8]) -> Result<(), SnapshotError> {
        self.check_limit()?;
        #[cfg(target_os = "linux")]
        for Range { start, end } in self.stored_pages(memory) {
            let bytes = target.len();
            let place = |page: u64| (page as usize * PAGE_BYTES).min(bytes);
            super::huge_pages::ask_for(&mut target[place(start)..place(end)]);
        }
        let area = Area {
            first_page: 0,
            bytes: target,
        };
        self.fill_areas(memory, vec![area])
    }

    /// Makes `target` equal to part of a memory, from one of its pages on. It does not reach beyond the memory.
    ///
    /// # Errors
    /// A chunk is damaged or cannot be read; the target may then hold anything.
    pub fn read(
        &self,
        memory: usize,
        first_page: u64,
        target: &mut [u8],
    ) -> Result<(), SnapshotError> {
        let size = self.newest().snapshot().state.memories[memory].bytes();
        let (pages, rest) = target.split_at_mut(target.len() / PAGE_BYTES * PAGE_BYTES);
        let last_page = first_page.saturating_add((pages.len() / PAGE_BYTES) as u64);
        // A page is read up to the memory's end: beyond that, it must be zero.
        let left = size.saturating_sub(last_page.saturating_mul(PAGE_BYTES as u64));
        let held = match rest.is_empty() {
            true => 0,
            false => left.min(PAGE_BYTES as u64) as usize,
        };
        let mut last = [0; PAGE_BYTES];
        let areas = [(first_page, pages), (last_page, &mut last[..held])];
        let areas = areas.map(|(first_page, bytes)| Area { first_page, bytes });
        self.fill_areas(memory, areas.into())?;
        rest.copy_from_slice(&last[..rest.len()]);
        Ok(())
    }

    /// Reads everything.
    ///
    /// # Errors
    /// As for [`SnapshotChain::fill`].
    pub fn load(&self) -> Result<Snapshot, SnapshotError> {
        self.check_limit()?;
        let snapshot = self.newest().snapshot().clone();
        let sizes = snapshot.state.memories.iter().enumerate();
        let memories = sizes.map(|(memory, size)| self.contents(memory, *size));
        let memories = memories.collect::<Result<_, _>>()?;
        Ok(snapshot.with_memories(memories))
    }

    /// Does it hold no more memory contents than the reader may?
    ///
    /// # Errors
    /// It holds more.
    pub fn check_limit(&self) -> Result<(), SnapshotError> {
        let allowed = self.newest().memory_bytes_max();
        let blocks = (0..self.memories.len()).map(|memory| {
            let mut counted = 0;
            let pages = self.stored_pages(memory).into_iter();
            pages.fold(0_u64, |sum, pages| {
                let blocks = blocks_of(pages, counted);
                counted = blocks.end;
                sum.saturating_add(blocks.end - blocks.start)
            })
        });
        let found = blocks
            .fold(0, u64::saturating_add)
            .saturating_mul(BLOCK_BYTES);
        match found <= allowed {
            true => Ok(()),
            false => Err(SnapshotError::TooLarge {
                what: "memory",
                found,
                allowed,
            }),
        }
    }

    fn tell(&self, bytes: usize) {
        if let Some(told) = &self.progress {
            told(bytes as u64);
        }
    }

    fn contents(&self, memory: usize, size: MemorySize) -> Result<MemoryContents, SnapshotError> {
        let mut blocks = blocks(size, &self.stored_pages(memory));
        let areas = blocks.iter_mut().map(|block| Area {
            first_page: block.index * (BLOCK_BYTES / PAGE_BYTES as u64),
            bytes: &mut block.bytes,
        });
        self.fill_areas(memory, areas.collect())?;
        Ok(MemoryContents { size, blocks })
    }

    fn fill_areas(&self, memory: usize, areas: Vec<Area<'_>>) -> Result<(), SnapshotError> {
        let (pieces, zeros) = cut(&self.memories[memory], areas);
        zeros
            .into_par_iter()
            .flat_map(|zeros| zeros.par_chunks_mut(BLOCK_BYTES as usize))
            .for_each(clear);
        pieces
            .into_par_iter()
            .try_for_each(|((reader, chunk), pieces)| {
                let bytes = pieces.iter().map(|piece| piece.target.len()).sum();
                fill_pieces(self.readers[reader].chunks(), chunk, pieces)?;
                self.tell(bytes);
                Ok(())
            })
    }
}

/// Fills pieces with parts of a chunk, without a detour if one piece is all of it.
fn fill_pieces(
    chunks: &ChunkSource<'_>,
    chunk: usize,
    mut pieces: Vec<Piece<'_>>,
) -> Result<(), SnapshotError> {
    if let [piece] = pieces.as_mut_slice()
        && piece.target.len() == chunks.unpacked_bytes(chunk)
    {
        return chunks.read_into(chunk, piece.target);
    }
    let bytes = chunks.read(chunk)?;
    pieces.into_iter().try_for_each(|piece| piece.fill(&bytes))
}

impl Piece<'_> {
    fn fill(self, chunk: &[u8]) -> Result<(), SnapshotError> {
        let length = self.target.len();
        let whole = length.next_multiple_of(PAGE_BYTES);
        let bytes = &chunk[self.start..self.start + whole];
        if bytes[length..].iter().any(|byte| *byte != 0) {
            let page = self.first_page + (length / PAGE_BYTES) as u64;
            return Err(SnapshotError::Malformed(format!(
                "page {page} reaches beyond its memory"
            )));
        }
        self.target.copy_from_slice(&bytes[..length]);
        Ok(())
    }
}

/// Where the pages of a memory come from, through all snapshots of a chain.
fn extents(readers: &[SnapshotReader<'_>], memory: usize) -> Vec<Extent> {
    let mut older: Vec<Extent> = Vec::new();
    for (reader, snapshot) in readers.iter().enumerate().rev() {
        let mut inherited = Extents::new(&older);
        let mut extents = Vec::new();
        let mut page = 0;
        for run in snapshot.runs(memory) {
            let pages = run.count();
            match *run {
                Run::Zero(_) => extents.push(Extent {
                    pages,
                    origin: Origin::Zero,
                }),
                Run::Inherited(_) => inherited.take(page, pages, &mut extents),
                Run::Stored { first, .. } => extents.push(Extent {
                    pages,
                    origin: Origin::Stored { reader, first },
                }),
            }
            page += pages;
        }
        older = extents;
    }
    older
}

/// Walks through extents from page to page.
struct Extents<'e> {
    left: &'e [Extent],
    /// The first page of what is left.
    page: u64,
}

impl<'e> Extents<'e> {
    fn new(left: &'e [Extent]) -> Self {
        Self { left, page: 0 }
    }

    /// Adds the extents of `count` pages from `page` on to `into`; beyond the last there are zeros. Each
    /// call's pages lie behind those of the one before.
    fn take(&mut self, mut page: u64, mut count: u64, into: &mut Vec<Extent>) {
        while count > 0 {
            let Some((extent, rest)) = self.left.split_first() else {
                into.push(Extent {
                    pages: count,
                    origin: Origin::Zero,
                });
                return;
            };
            let skipped = page - self.page;
            if skipped >= extent.pages {
                self.page += extent.pages;
                self.left = rest;
                continue;
            }
            let pages = count.min(extent.pages - skipped);
            let origin = extent.origin.skip(skipped);
            into.push(Extent { pages, origin });
            page += pages;
            count -= pages;
        }
    }
}

impl Origin {
    fn skip(self, pages: u64) -> Self {
        match self {
            Self::Zero => Self::Zero,
            Self::Stored { reader, first } => Self::Stored {
                reader,
                first: first + pages,
            },
        }
    }
}

/// Blocks for all pages that are not zero.
fn blocks(size: MemorySize, stored: &[Range<u64>]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for pages in stored {
        let first = blocks.last().map_or(0, |block| block.index + 1);
        for index in blocks_of(pages.clone(), first) {
            let left = size.bytes().saturating_sub(index * BLOCK_BYTES);
            let length = usize::try_from(left.min(BLOCK_BYTES)).expect("a block");
            let bytes = vec![0; length];
            blocks.push(Block { index, bytes });
        }
    }
    blocks
}

/// Blocks that hold some pages, from a first one on.
fn blocks_of(pages: Range<u64>, first: u64) -> Range<u64> {
    let per_block = BLOCK_BYTES / PAGE_BYTES as u64;
    let end = pages.end.div_ceil(per_block);
    first.max(pages.start / per_block).min(end)..end
}

type Cut<'t> = (BTreeMap<(usize, usize), Vec<Piece<'t>>>, Vec<&'t mut [u8]>);

/// Cuts areas into pieces that come from one chunk each, by reader and chunk, and into zeros.
fn cut<'t>(extents: &[Extent], areas: Vec<Area<'t>>) -> Cut<'t> {
    let mut pieces: BTreeMap<(usize, usize), Vec<Piece<'t>>> = BTreeMap::new();
    let mut zeros = Vec::new();
    let mut walk = Extents::new(extents);
    let mut within = Vec::new();
    for Area {
        mut first_page,
        mut bytes,
    } in areas
    {
        let pages = bytes.len().div_ceil(PAGE_BYTES) as u64;
        walk.take(first_page, pages, &mut within);
        for Extent {
            mut pages,
            mut origin,
        } in within.drain(..)
        {
            while pages > 0 {
                let count = match origin {
                    Origin::Zero => pages,
                    Origin::Stored { first, .. } => {
                        let per_chunk = PAGES_PER_CHUNK as u64;
                        pages.min(per_chunk - first % per_chunk)
                    }
                };
                let length = (count as usize * PAGE_BYTES).min(bytes.len());
                let (target, rest) = bytes.split_at_mut(length);
                bytes = rest;
                match origin {
                    Origin::Zero => zeros.push(target),
                    Origin::Stored { reader, first } => {
                        let number = usize::try_from(first).expect("fewer than the source's bytes");
                        let chunk = (reader, number / PAGES_PER_CHUNK);
                        pieces.entry(chunk).or_default().push(Piece {
                            start: number % PAGES_PER_CHUNK * PAGE_BYTES,
                            first_page,
                            target,
                        });
                    }
                }
                origin = origin.skip(count);
                first_page += count;
                pages -= count;
            }
        }
    }
    (pieces, zeros)
}
