//! A snapshot together with those that it builds on, from which memories are filled.
//!
//! Each page comes from the newest snapshot of the chain that says what it holds. Chunks are read, checked
//! and copied to where they belong by several threads, each chunk once for each memory; nothing else is kept.

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;

use super::chunks::PAGES_PER_CHUNK;
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
}

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
        Self { readers, memories }
    }

    /// The snapshot itself, without those that it builds on.
    #[must_use]
    pub fn newest(&self) -> &SnapshotReader<'s> {
        &self.readers[0]
    }

    /// Checks all chunks.
    ///
    /// # Errors
    /// One is damaged or cannot be read.
    pub fn verify(&self) -> Result<(), SnapshotError> {
        self.readers.iter().try_for_each(|reader| {
            let chunks = reader.chunks();
            let count = 0..chunks.count();
            count
                .into_par_iter()
                .try_for_each(|chunk| chunks.read(chunk).map(drop))
        })
    }

    /// Makes `target`, which has the memory's size, equal to a memory.
    ///
    /// # Errors
    /// A chunk is damaged or cannot be read; the target may then hold anything.
    pub fn fill(&self, memory: usize, target: &mut [u8]) -> Result<(), SnapshotError> {
        let area = Area {
            first_page: 0,
            bytes: target,
        };
        self.fill_areas(memory, vec![area])
    }

    /// Reads everything.
    ///
    /// # Errors
    /// As for [`SnapshotChain::fill`].
    pub fn load(&self) -> Result<Snapshot, SnapshotError> {
        let snapshot = self.newest().snapshot().clone();
        let sizes = snapshot.state.memories.iter().enumerate();
        let memories = sizes.map(|(memory, size)| self.contents(memory, *size));
        let memories = memories.collect::<Result<_, _>>()?;
        Ok(snapshot.with_memories(memories))
    }

    fn contents(&self, memory: usize, size: MemorySize) -> Result<MemoryContents, SnapshotError> {
        let mut blocks = blocks(size, &self.memories[memory]);
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
                let bytes = self.readers[reader].chunks().read(chunk)?;
                pieces.into_iter().try_for_each(|piece| piece.fill(&bytes))
            })
    }
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
fn blocks(size: MemorySize, extents: &[Extent]) -> Vec<Block> {
    let pages_per_block = BLOCK_BYTES / PAGE_BYTES as u64;
    let mut blocks: Vec<Block> = Vec::new();
    let mut page = 0;
    for extent in extents {
        let end = page + extent.pages;
        if matches!(extent.origin, Origin::Stored { .. }) {
            let first = blocks.last().map_or(0, |block| block.index + 1);
            for index in first.max(page / pages_per_block)..end.div_ceil(pages_per_block) {
                let left = size.bytes().saturating_sub(index * BLOCK_BYTES);
                let length = usize::try_from(left.min(BLOCK_BYTES)).expect("a block");
                let bytes = vec![0; length];
                blocks.push(Block { index, bytes });
            }
        }
        page = end;
    }
    blocks
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
