//! Reading a snapshot: everything but the memories at once, pages on demand.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::path::Path;

use super::chunks::{ChunkSource, PAGES_PER_CHUNK, PageIndex};
use super::error::SnapshotError;
use super::header::{HEADER_BYTES, Header};
use super::keys::{Identities, SIGNATURE_BYTES, TrustedKeys};
use super::pages::Run;
use super::source::{SharedFile, Source, Stream};
use super::{ParentReference, Snapshot, wire};
use crate::memory::{MemorySize, PAGE_BYTES};

/// What a reader accepts.
#[derive(Debug)]
pub struct ReadOptions {
    /// At most this many bytes of memory contents, as [`Snapshot::read`] and [`SnapshotChain`](super::SnapshotChain) would
    /// hold them: in blocks of [`BLOCK_BYTES`](crate::BLOCK_BYTES) that are not all zero.
    pub memory_bytes: u64,
    /// At most this many bytes of everything else, files that go along included.
    pub other_bytes: u64,
    /// Who must have signed the snapshot.
    pub trusted: TrustedKeys,
    /// With what it is decrypted.
    pub identities: Identities,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            memory_bytes: 32 << 30,
            other_bytes: 4 << 30,
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
    snapshot: Snapshot<MemorySize>,
    parent: Option<ParentReference>,
    index: PageIndex,
    chunks: ChunkSource<'s>,
    /// From the options.
    memory_bytes_max: u64,
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
        let source = options.identities.unseal(BufReader::new(file), |file| {
            Ok(Box::new(SharedFile::new(file.into_inner())?))
        })?;
        Self::check(source, options)
    }
}

impl<'s> SnapshotReader<'s> {
    /// Reads header, body and page index.
    ///
    /// # Errors
    /// They are not those of a whole, undamaged snapshot of a known version within the limits.
    pub fn new<R: BufRead + Seek + Send + 's>(
        source: R,
        options: &ReadOptions,
    ) -> Result<Self, SnapshotError> {
        let source = options
            .identities
            .unseal(source, |source| Ok(Box::new(Stream::new(source)?)))?;
        Self::check(source, options)
    }

    fn check(source: Box<dyn Source + 's>, options: &ReadOptions) -> Result<Self, SnapshotError> {
        let found = source.bytes();
        let mut first = [0; HEADER_BYTES];
        let first = &mut first[..found.min(HEADER_BYTES as u64) as usize];
        source.read_exact_at(first, 0)?;
        let header = Header::decode(first)?;
        if found != header.total_bytes() {
            return Err(SnapshotError::WrongLength {
                found,
                expected: header.total_bytes(),
            });
        }
        let other_bytes = header.body_bytes.saturating_add(header.index_bytes);
        if other_bytes > options.other_bytes {
            return Err(SnapshotError::TooLarge {
                what: "state beside its memory",
                found: other_bytes,
                allowed: options.other_bytes,
            });
        }
        // From here on no length is greater than that of the source.
        let body_at = HEADER_BYTES as u64;
        let chunks_at = body_at + header.body_bytes;
        let index_at = chunks_at + header.chunk_bytes;
        let body = read_part(&*source, body_at, header.body_bytes)?;
        if *blake3::hash(&body).as_bytes() != header.body_digest {
            return Err(SnapshotError::Damaged("body"));
        }
        let index = read_part(&*source, index_at, header.index_bytes)?;
        if *blake3::hash(&index).as_bytes() != header.index_digest {
            return Err(SnapshotError::Damaged("page index"));
        }
        let signature_at = index_at + header.index_bytes;
        let signature = header
            .is_signed
            .then(|| read_part(&*source, signature_at, SIGNATURE_BYTES as u64))
            .transpose()?;
        let signature = signature
            .as_deref()
            .map(|bytes| bytes.try_into().expect("read above"));
        let signer = options.trusted.check(&header.id(), signature)?;
        let (snapshot, parent) = wire::decode(&body, &header)?;
        let mut index: PageIndex = wire::from_bytes(&index)?;
        index.check(&snapshot.state.memories, parent.is_some())?;
        let chunks = ChunkSource::new(source, &mut index, chunks_at, header.chunk_bytes)?;
        Ok(Self {
            header,
            signer,
            snapshot,
            parent,
            index,
            chunks,
            memory_bytes_max: options.memory_bytes,
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
        self.parent.as_ref()
    }

    /// Reads one page of a memory; `None` if it has no such page.
    ///
    /// # Errors
    /// Its chunk cannot be read.
    pub fn page(&self, memory: usize, page: u64) -> Result<Option<Page>, SnapshotError> {
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

    /// The snapshot without memory contents.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot<MemorySize> {
        &self.snapshot
    }

    /// What the pages of a memory are.
    pub(super) fn runs(&self, memory: usize) -> &[Run] {
        self.index.memories.get(memory).map_or(&[], Vec::as_slice)
    }

    pub(super) fn memory_bytes_max(&self) -> u64 {
        self.memory_bytes_max
    }

    pub(super) fn chunks(&self) -> &ChunkSource<'s> {
        &self.chunks
    }
}

fn read_part(source: &dyn Source, at: u64, bytes: u64) -> Result<Vec<u8>, SnapshotError> {
    // No longer than the source: checked before.
    let mut part = vec![0; usize::try_from(bytes).map_err(|_| too_long())?];
    source.read_exact_at(&mut part, at)?;
    Ok(part)
}

fn too_long() -> SnapshotError {
    SnapshotError::Malformed("a part of it is longer than this machine can address".to_owned())
}
