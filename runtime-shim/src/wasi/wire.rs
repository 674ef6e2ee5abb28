//! The bytes of a recorded [`WasiCtx`](super::WasiCtx): one version byte, then the fields below in
//! [postcard](https://postcard.jamesmunns.com/wire-format).
//!
//! These types say what is written, apart from the types that the implementation works with. Version 2
//! added contents of files, named pipes, removed files and directories, and the position of standard
//! input; version 1 is no longer read.

use serde::{Deserialize, Serialize};

use super::fd_table::LARGEST_FD;
use super::snapshot::RestoreError;

/// Version of the encoding.
pub(super) const VERSION: u8 = 2;

/// Everything that is recorded.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedWasi {
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) clocks: SavedClocks,
    pub(super) suspended_poll: Option<SavedPoll>,
    /// Where standard input stood, if it was a regular file.
    pub(super) stdin: Option<SavedPosition>,
    /// The guest's names of the preopened directories.
    pub(super) preopens: Vec<String>,
    /// In the order of their numbers.
    pub(super) descriptors: Vec<SavedDescriptor>,
    /// Files to be put into the mapped directories, a directory before what lies in it.
    pub(super) shipped: Vec<SavedShipped>,
    /// Contents of files, each once.
    pub(super) contents: Vec<SavedContent>,
}

/// Clock readings in nanoseconds.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedClocks {
    pub(super) realtime: u64,
    pub(super) monotonic: u64,
    pub(super) process_cpu: u64,
    pub(super) thread_cpu: u64,
}

/// A `poll_oneoff` that will be made again.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedPoll {
    /// Digest of its subscriptions.
    pub(super) digest: [u8; 32],
    /// When it began, by the guest's monotonic clock.
    pub(super) began: u64,
}

/// A position in a file of which nothing else is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedPosition {
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// An open descriptor.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedDescriptor {
    pub(super) fd: u32,
    pub(super) rights_base: u64,
    pub(super) rights_inheriting: u64,
    /// Bits of `fdflags`.
    pub(super) flags: u16,
    pub(super) node: SavedNode,
}

/// What a descriptor stands for.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum SavedNode {
    Stdin,
    Stdout,
    Stderr,
    /// A regular file.
    File {
        place: SavedPlace,
        access: SavedAccess,
        offset: u64,
        size: u64,
        /// Time of the last modification, in nanoseconds since 1970.
        modified: u64,
        /// BLAKE3 digest of its contents, if it was asked for.
        hash: Option<[u8; 32]>,
        /// Index into [`SavedWasi::contents`] if the file has no name any more.
        unnamed: Option<u32>,
    },
    /// A device; not a named pipe or a socket.
    Device {
        place: SavedPlace,
        access: SavedAccess,
        /// The `filetype`.
        file_type: u8,
    },
    /// A named pipe with nothing in it.
    Pipe {
        place: SavedPlace,
        access: SavedAccess,
    },
    Directory {
        place: SavedPlace,
        is_preopen: bool,
        /// Was it removed while open?
        is_removed: bool,
        listing: Option<Vec<SavedEntry>>,
    },
}

/// How the host opened a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedAccess {
    pub(super) read: bool,
    pub(super) write: bool,
}

/// Where a file lies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedPlace {
    /// Index into [`SavedWasi::preopens`].
    pub(super) preopen: u32,
    /// Path below it; empty for the directory itself.
    pub(super) path: String,
    pub(super) follow: bool,
}

/// An entry of a directory that is being read.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedEntry {
    pub(super) name: String,
    pub(super) inode: u64,
    /// The `filetype`.
    pub(super) file_type: u8,
}

/// A file that goes along.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedShipped {
    /// Index into [`SavedWasi::preopens`].
    pub(super) preopen: u32,
    /// Path below it: names separated by single slashes, none of them `.` or `..`.
    pub(super) path: String,
    pub(super) kind: ShippedKind,
}

/// What goes along.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum ShippedKind {
    Directory,
    Link {
        target: String,
    },
    File {
        /// Index into [`SavedWasi::contents`].
        content: u32,
        /// Permission bits.
        mode: u32,
        /// Time of the last modification, in nanoseconds since 1970.
        modified: u64,
    },
}

/// The contents of a file.
#[derive(PartialEq, Serialize, Deserialize)]
pub(super) struct SavedContent {
    /// Bytes when unpacked.
    pub(super) size: u64,
    /// BLAKE3 digest of them.
    pub(super) hash: [u8; 32],
    /// Packed with zstd.
    pub(super) packed: Vec<u8>,
}

impl std::fmt::Debug for SavedContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SavedContent")
            .field("size", &self.size)
            .field("packed_bytes", &self.packed.len())
            .finish_non_exhaustive()
    }
}

impl SavedWasi {
    pub(super) fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![VERSION]).expect("all fields can be serialised")
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, RestoreError> {
        let malformed = |what: &str| RestoreError::Malformed(what.to_owned());
        let (&found, body) = bytes
            .split_first()
            .ok_or_else(|| malformed("it is empty"))?;
        if found != VERSION {
            return Err(RestoreError::Version { found });
        }
        let (saved, rest) = postcard::take_from_bytes::<Self>(body)
            .map_err(|error| RestoreError::Malformed(error.to_string()))?;
        if !rest.is_empty() {
            return Err(malformed("bytes are left after its end"));
        }
        let descriptors = &saved.descriptors;
        if !descriptors.is_sorted_by(|a, b| a.fd < b.fd) {
            return Err(malformed("its descriptors are not in order"));
        }
        if descriptors.last().is_some_and(|last| last.fd > LARGEST_FD) {
            return Err(malformed("a descriptor has too large a number"));
        }
        Ok(saved)
    }
}
