//! The snapshot file: a guest's [`State`] with what its host needs to go on with it.
//!
//! A fixed [header](Header), the *body* (everything but memory contents), *chunks* of memory pages, and
//! the *page index*, which says what each page is and where. `docs/snapshot-format.md` describes every
//! field. Header, body and index are small and checked before anything is taken from them; each chunk is
//! checked by itself when it is read, so no pass over all memory is needed to reach one page.

mod chain;
mod chunks;
mod error;
mod header;
#[cfg(target_os = "linux")]
mod huge_pages;
mod image;
mod keys;
mod new_file;
mod page_map;
mod pages;
mod progress;
mod reader;
mod source;
mod wire;

use std::io::{Cursor, Seek, SeekFrom, Write};
use std::path::Path;

use wasm_migrate_abi::ABI_VERSION;

pub use chain::SnapshotChain;
pub use chunks::Compression;
pub use error::SnapshotError;
pub use header::{HEADER_BYTES, Header};
pub use keys::{Identities, Recipients, Signer, TrustedKeys};
pub use page_map::{PageKind, PageRun};
pub use progress::Progress;
pub use reader::{Page, ReadOptions, SnapshotReader};

use chunks::write_chunks;
use new_file::NewFile;

use crate::host::Sections;
use crate::memory::{Memory, MemoryContents};
use crate::state::State;

/// A guest's state with what its host needs to go on with it. `M` is what there is of a memory, as in
/// [`State`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot<M = MemoryContents> {
    /// The guest's state.
    pub state: State<M>,
    /// The migratized module that was running.
    pub module: ModuleReference,
    /// State of the host by name: arguments, environment, open files. Opaque here.
    pub sections: Sections,
    /// How many hosts have run the guest, one after the other.
    pub epoch: u64,
}

/// Which migratized module was running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleReference {
    /// Where the file was.
    pub path: String,
    /// BLAKE3 digest of its bytes.
    pub digest: [u8; 32],
}

/// The snapshot that an incremental one builds on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentReference {
    /// Name of its file, which lies in the same directory.
    pub name: String,
    /// Its id.
    pub id: [u8; 32],
}

/// How a snapshot is written.
#[derive(Debug, Clone, Copy, Default)]
pub struct WriteOptions<'p> {
    /// How memory contents are compressed.
    pub compression: Compression,
    /// The snapshot that has the pages that are [`PageRef::Inherited`](crate::PageRef); its file lies in the
    /// same directory.
    pub parent: Option<&'p ParentReference>,
    /// Sign it with this key.
    pub signer: Option<&'p Signer>,
    /// Encrypt it for these.
    pub recipients: Option<&'p Recipients>,
    /// Is told how many bytes of memory are done with, of all that the memories have.
    pub progress: Progress<'p>,
}

/// What has been written.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    /// Bytes in all.
    pub bytes: u64,
    /// The snapshot's id.
    pub id: [u8; 32],
}

impl<M> Snapshot<M> {
    /// The same snapshot with other memories.
    #[must_use]
    pub fn with_memories<N>(self, memories: Vec<N>) -> Snapshot<N> {
        // Destructured without `..`: a new field must be taken along.
        let Self {
            state,
            module,
            sections,
            epoch,
        } = self;
        Snapshot {
            state: state.with_memories(memories),
            module,
            sections,
            epoch,
        }
    }
}

impl<M: Memory> Snapshot<M> {
    /// The snapshot as bytes.
    ///
    /// # Errors
    /// Compression or encryption fails.
    pub fn encode(&self, options: WriteOptions<'_>) -> Result<Vec<u8>, SnapshotError> {
        let mut sink = Cursor::new(Vec::new());
        self.write_to(&mut sink, options)?;
        Ok(sink.into_inner())
    }

    /// Writes the snapshot from the sink's beginning on.
    ///
    /// # Errors
    /// The sink cannot be written.
    pub fn write_to<W: Write + Seek>(
        &self,
        sink: &mut W,
        options: WriteOptions<'_>,
    ) -> Result<Written, SnapshotError> {
        let Some(recipients) = options.recipients else {
            return self.write_plain(sink, options);
        };
        let mut plain = Cursor::new(Vec::new());
        let written = self.write_plain(&mut plain, options)?;
        recipients.seal(sink, plain.get_ref())?;
        sink.flush()?;
        let bytes = sink.stream_position()?;
        Ok(Written { bytes, ..written })
    }

    fn write_plain<W: Write + Seek>(
        &self,
        sink: &mut W,
        options: WriteOptions<'_>,
    ) -> Result<Written, SnapshotError> {
        let body = wire::encode(self, options.parent);
        sink.write_all(&[0; HEADER_BYTES])?;
        sink.write_all(&body)?;
        let memories = &self.state.memories;
        let index = write_chunks(memories, options.compression, options.progress, sink)?;
        let chunks_end = sink.stream_position()?;
        let index = wire::to_bytes(&index);
        sink.write_all(&index)?;
        let header = Header {
            version: (header::MAJOR, header::MINOR),
            contract: ABI_VERSION,
            original_digest: self.state.original_digest,
            epoch: self.epoch,
            is_signed: options.signer.is_some(),
            body_bytes: body.len() as u64,
            chunk_bytes: chunks_end - (HEADER_BYTES + body.len()) as u64,
            index_bytes: index.len() as u64,
            body_digest: *blake3::hash(&body).as_bytes(),
            index_digest: *blake3::hash(&index).as_bytes(),
        };
        if let Some(signer) = options.signer {
            sink.write_all(&signer.sign(&header.id()))?;
        }
        sink.seek(SeekFrom::Start(0))?;
        sink.write_all(&header.encode())?;
        sink.flush()?;
        Ok(Written {
            bytes: header.total_bytes(),
            id: header.id(),
        })
    }

    /// Writes the snapshot to a file: whole, or not at all.
    ///
    /// # Errors
    /// The file cannot be written; what was at `path` before is untouched.
    pub fn write(&self, path: &Path, options: WriteOptions<'_>) -> Result<Written, SnapshotError> {
        let failed = |source| SnapshotError::File {
            action: "write",
            path: path.to_owned(),
            source,
        };
        let mut sink = NewFile::create(path).map_err(failed)?;
        let written = self.write_to(&mut sink, options);
        written
            .and_then(|written| sink.finish().map(|()| written).map_err(Into::into))
            .map_err(|error| match error {
                SnapshotError::Stream(source) => failed(source),
                error => error,
            })
    }
}

impl Snapshot {
    /// Reads a snapshot from bytes.
    ///
    /// # Errors
    /// The bytes are not a whole, undamaged snapshot of a known version, or it builds on another one.
    pub fn decode(bytes: &[u8], options: &ReadOptions) -> Result<Self, SnapshotError> {
        let reader = SnapshotReader::new(Cursor::new(bytes), options)?;
        SnapshotChain::alone(reader)?.load()
    }

    /// Reads a snapshot from a file; if it is incremental, also from those beside it that it builds on.
    ///
    /// # Errors
    /// A file cannot be read, or as for [`Snapshot::decode`].
    pub fn read(path: &Path, options: &ReadOptions) -> Result<Self, SnapshotError> {
        SnapshotChain::open(path, options)?.load()
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*bytes).to_hex().to_string()
}
