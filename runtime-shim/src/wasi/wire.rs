//! The bytes of a recorded [`WasiCtx`](super::WasiCtx): one version byte, then the fields below in
//! [postcard](https://postcard.jamesmunns.com/wire-format).
//!
//! These types say what is written, apart from the types that the implementation works with. Version 1
//! is the first.

use serde::{Deserialize, Serialize};

use super::snapshot::RestoreError;

/// Version of the encoding.
pub(super) const VERSION: u8 = 1;

/// Everything that is recorded.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedWasi {
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) clocks: SavedClocks,
    pub(super) suspended_poll: Option<SavedPoll>,
    /// The guest's names of the preopened directories.
    pub(super) preopens: Vec<String>,
    /// In the order of their numbers.
    pub(super) descriptors: Vec<SavedDescriptor>,
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
    File {
        place: SavedPlace,
        /// The `filetype`.
        file_type: u8,
        read: bool,
        write: bool,
        /// Of a regular file; 0 for others.
        offset: u64,
        /// Of a regular file; 0 for others.
        size: u64,
    },
    Directory {
        place: SavedPlace,
        is_preopen: bool,
        listing: Option<Vec<SavedEntry>>,
    },
}

/// Where a file lies.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
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
        Ok(saved)
    }
}
