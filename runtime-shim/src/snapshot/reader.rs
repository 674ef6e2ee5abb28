//! Reading a snapshot: everything but the memories at once, pages on demand.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use super::chunks::{ChunkSource, PAGES_PER_BATCH, PAGES_PER_CHUNK, PageIndex};
use super::error::SnapshotError;
use super::header::{HEADER_BYTES, Header};
use super::keys::{Identities, SIGNATURE_BYTES, Source, TrustedKeys};
use super::pages::{MemoryBuilder, Run};
use super::wire::{self, Contents};
use super::{ParentReference, Snapshot, hex};
use crate::state::{MemoryContents, PAGE_BYTES};

/// Snapshots that build on one another: no more than this.
const PARENTS_MAX: usize = 256;

/// What a reader accepts.
#[derive(Debug)]
pub struct ReadOptions {
    /// At most this many bytes in pages that are not zero.
    pub memory_bytes: u64,
    /// Who must have signed the snapshot.
    pub trusted: TrustedKeys,
    /// With what it is decrypted.
    pub identities: Identities,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            memory_bytes: 32 << 30,
            trusted: TrustedKeys::default(),
            identities: Identities::default(),
        }
    }
}

/// What a page holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    /// Zeros.
    Zero,
    /// What it holds in the snapshot that this one builds on.
    Inherited,
    /// These [`PAGE_BYTES`](crate::PAGE_BYTES) bytes.
    Bytes(Vec<u8>),
}

/// A snapshot whose header, body and page index have been read and checked.
pub struct SnapshotReader<'s> {
    header: Header,
    signer: Option<[u8; 32]>,
    contents: Contents,
    index: PageIndex,
    chunks: ChunkSource<Box<dyn Source + 's>>,
}

impl SnapshotReader<'static> {
    /// Opens a snapshot file.
    ///
    /// # Errors
    /// The file cannot be read, or as for [`SnapshotReader::new`].
    pub fn open(path: &Path, options: &ReadOptions) -> Result<Self, SnapshotError> {
        let file = File::open(path).map_err(|source| SnapshotError::File {
            action: "read",
            path: path.to_owned(),
            source,
        })?;
        Self::new(BufReader::new(file), options)
    }
}

impl<'s> SnapshotReader<'s> {
    /// Reads header, body and page index.
    ///
    /// # Errors
    /// They are not those of a whole, undamaged snapshot of a known version within the limits.
    pub fn new<R: BufRead + Seek + 's>(
        source: R,
        options: &ReadOptions,
    ) -> Result<Self, SnapshotError> {
        let mut source = options.identities.unseal(source)?;
        let mut first = Vec::new();
        source
            .by_ref()
            .take(HEADER_BYTES as u64)
            .read_to_end(&mut first)?;
        let header = Header::decode(&first)?;
        let found = source.seek(SeekFrom::End(0))?;
        if found != header.total_bytes() {
            return Err(SnapshotError::WrongLength {
                found,
                expected: header.total_bytes(),
            });
        }
        // From here on no length is greater than that of the source.
        let body_at = HEADER_BYTES as u64;
        let chunks_at = body_at + header.body_bytes;
        let index_at = chunks_at + header.chunk_bytes;
        let body = read_part(&mut source, body_at, header.body_bytes)?;
        if *blake3::hash(&body).as_bytes() != header.body_digest {
            return Err(SnapshotError::Damaged("body"));
        }
        let index = read_part(&mut source, index_at, header.index_bytes)?;
        if *blake3::hash(&index).as_bytes() != header.index_digest {
            return Err(SnapshotError::Damaged("page index"));
        }
        let signature = match header.is_signed {
            true => {
                let signature_at = index_at + header.index_bytes;
                Some(read_part(
                    &mut source,
                    signature_at,
                    SIGNATURE_BYTES as u64,
                )?)
            }
            false => None,
        };
        let signature = signature
            .as_deref()
            .map(|bytes| bytes.try_into().expect("read above"));
        let signer = options.trusted.check(&header.id(), signature)?;
        let contents = wire::decode(&body, &header)?;
        let mut index: PageIndex = wire::from_bytes(&index)?;
        let sizes = contents.memories.iter().map(MemoryContents::size);
        let held = index.check(sizes, contents.parent.is_some())?;
        if held > options.memory_bytes {
            return Err(SnapshotError::TooLarge {
                found: held,
                allowed: options.memory_bytes,
            });
        }
        let chunks = ChunkSource::new(source, &mut index, chunks_at, header.chunk_bytes)?;
        Ok(Self {
            header,
            signer,
            contents,
            index,
            chunks,
        })
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The Ed25519 public key that it is signed with.
    #[must_use]
    pub fn signer(&self) -> Option<[u8; 32]> {
        self.signer
    }

    /// The snapshot that this one builds on, if it is incremental.
    #[must_use]
    pub fn parent(&self) -> Option<&ParentReference> {
        self.contents.parent.as_ref()
    }

    /// Reads one page of a memory; `None` if it has no such page.
    ///
    /// # Errors
    /// Its chunk cannot be read.
    pub fn page(&mut self, memory: usize, page: u64) -> Result<Option<Page>, SnapshotError> {
        let Some(runs) = self.index.memories.get(memory) else {
            return Ok(None);
        };
        let mut first_of_run: u64 = 0;
        for run in runs {
            let within = page - first_of_run;
            if within >= run.count() {
                first_of_run += run.count();
                continue;
            }
            return Ok(Some(match *run {
                Run::Zero(_) => Page::Zero,
                Run::Inherited(_) => Page::Inherited,
                Run::Stored { first, .. } => {
                    let number =
                        usize::try_from(first + within).expect("fewer than the source's bytes");
                    let chunk = self.chunks.read(number / PAGES_PER_CHUNK)?;
                    let start = number % PAGES_PER_CHUNK * PAGE_BYTES;
                    Page::Bytes(chunk[start..start + PAGE_BYTES].to_vec())
                }
            }));
        }
        Ok(None)
    }

    /// Reads everything. `parents` are the memories of the snapshot that this one builds on.
    ///
    /// # Errors
    /// The chunks cannot be read.
    fn finish(mut self, parents: &[MemoryContents]) -> Result<Snapshot, SnapshotError> {
        let sizes = std::mem::take(&mut self.contents.memories);
        let mut memories = Vec::with_capacity(sizes.len());
        let mut batches = vec![Vec::new(); self.chunks.batches()];
        for (number, (size, runs)) in sizes.iter().zip(&self.index.memories).enumerate() {
            let mut memory = MemoryBuilder::new(size, runs);
            let mut page: u64 = 0;
            for run in runs {
                match *run {
                    Run::Zero(_) => {}
                    Run::Inherited(count) => {
                        for page in page..page + count {
                            let bytes = parents.get(number).and_then(|memory| memory.page(page));
                            memory.put(page, bytes.unwrap_or_default())?;
                        }
                    }
                    Run::Stored { first, count } => {
                        place(number, page, first..first + count, &mut batches);
                    }
                }
                page += run.count();
            }
            memories.push(memory);
        }
        for (batch, placements) in batches.into_iter().enumerate() {
            let chunks = self.chunks.read_batch(batch)?;
            for Placement {
                memory,
                page,
                stored,
            } in placements
            {
                for (page, stored) in (page..).zip(stored) {
                    let chunk = &chunks[stored / PAGES_PER_CHUNK];
                    let start = stored % PAGES_PER_CHUNK * PAGE_BYTES;
                    memories[memory].put(page, &chunk[start..start + PAGE_BYTES])?;
                }
            }
        }
        let memories = memories.into_iter().map(MemoryBuilder::finish).collect();
        Ok(self.contents.into_snapshot(memories, self.header.epoch))
    }
}

/// Where stored pages go.
#[derive(Clone)]
struct Placement {
    memory: usize,
    /// The first of them.
    page: u64,
    /// Their numbers within the batch.
    stored: Range<usize>,
}

/// Divides a run of stored pages among the batches in which they are read.
fn place(memory: usize, mut page: u64, stored: Range<u64>, batches: &mut [Vec<Placement>]) {
    let mut first = stored.start;
    while first < stored.end {
        let batch = first / PAGES_PER_BATCH;
        let count = (stored.end - first).min(PAGES_PER_BATCH - first % PAGES_PER_BATCH);
        let within = (first % PAGES_PER_BATCH) as usize;
        // All numbers are those of stored pages, so there is such a batch.
        batches[batch as usize].push(Placement {
            memory,
            page,
            stored: within..within + count as usize,
        });
        first += count;
        page += count;
    }
}

/// Reads a snapshot file, and those beside it that it builds on.
pub(super) fn read_file(
    path: &Path,
    options: &ReadOptions,
) -> Result<(Snapshot, Header), SnapshotError> {
    let mut readers = vec![SnapshotReader::open(path, options)?];
    while let Some(parent) = readers.last().expect("not empty").parent().cloned() {
        let ParentReference { name, id } = parent;
        let missing = |source| SnapshotError::ParentMissing {
            name: name.clone(),
            source,
        };
        if readers.len() > PARENTS_MAX {
            return Err(SnapshotError::Malformed(format!(
                "it builds on more than {PARENTS_MAX} others"
            )));
        }
        let beside = path.with_file_name(&name);
        let reader = SnapshotReader::open(&beside, options)
            .map_err(|error| missing(Some(Box::new(error))))?;
        let found = reader.header().id();
        if found != id {
            return Err(SnapshotError::WrongParent {
                name,
                found: hex(&found),
                expected: hex(&id),
            });
        }
        readers.push(reader);
    }
    let header = readers[0].header().clone();
    let mut snapshot: Option<Snapshot> = None;
    while let Some(reader) = readers.pop() {
        let parents = snapshot.map_or_else(Vec::new, |snapshot| snapshot.state.memories);
        snapshot = Some(reader.finish(&parents)?);
    }
    Ok((snapshot.expect("there is at least the file itself"), header))
}

/// Reads a snapshot that builds on no other.
pub(super) fn read_alone<R: BufRead + Seek>(
    source: R,
    options: &ReadOptions,
) -> Result<Snapshot, SnapshotError> {
    let reader = SnapshotReader::new(source, options)?;
    if let Some(parent) = reader.parent() {
        return Err(SnapshotError::ParentMissing {
            name: parent.name.clone(),
            source: None,
        });
    }
    reader.finish(&[])
}

fn read_part<R: Read + Seek>(
    source: &mut R,
    at: u64,
    bytes: u64,
) -> Result<Vec<u8>, SnapshotError> {
    source.seek(SeekFrom::Start(at))?;
    let mut part = Vec::new();
    source.by_ref().take(bytes).read_to_end(&mut part)?;
    if part.len() as u64 != bytes {
        return Err(SnapshotError::WrongLength {
            found: at + part.len() as u64,
            expected: at + bytes,
        });
    }
    Ok(part)
}
