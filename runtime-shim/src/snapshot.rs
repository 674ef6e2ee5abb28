//! The snapshot file: a guest's [`State`] with what its host needs to go on with it.
//!
//! ```text
//! offset  bytes  field (all numbers little-endian)
//!      0      8  magic "WASMSNAP"
//!      8      2  major version: a reader refuses any but its own
//!     10      2  minor version: a reader refuses a newer one
//!     12      4  version of the guest contract
//!     16      8  length of the body in bytes
//!     24     32  BLAKE3 digest of the body
//!     56      8  first 8 bytes of the BLAKE3 digest of bytes 0..56
//!     64      -  body (see `wire.rs`)
//! ```
//!
//! The header is checked before the body is read, the body's digest before it is decoded.
//!
//! Versions: 1.0 is the first.

mod wire;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use wasm_migrate_abi::ABI_VERSION;

use crate::state::State;

const MAGIC: [u8; 8] = *b"WASMSNAP";
const MAJOR: u16 = 1;
const MINOR: u16 = 0;
const HEADER_BYTES: usize = 64;
const CHECKED_BYTES: usize = 56;

/// A guest's state with what its host needs to go on with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The guest's state.
    pub state: State,
    /// The migratized module that was running.
    pub module: ModuleReference,
    /// State of the host by name: arguments, environment, open files. Opaque here.
    pub sections: BTreeMap<String, Vec<u8>>,
}

/// Which migratized module was running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleReference {
    /// Where the file was.
    pub path: String,
    /// BLAKE3 digest of its bytes.
    pub digest: [u8; 32],
}

/// Why there is no snapshot in the given bytes or file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The file cannot be read or written.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// It does not begin like a snapshot.
    #[error("this is not a snapshot of wasm-migrate: it begins with other bytes than `WASMSNAP`")]
    NotASnapshot,
    /// It ends early, or goes on after its end.
    #[error(
        "the snapshot has {found} bytes where its header promises {expected}: it was cut or altered, \
         copy it again"
    )]
    WrongLength {
        /// Bytes that are there.
        found: u64,
        /// Bytes that should be.
        expected: u64,
    },
    /// Header or body have changed since they were written.
    #[error("the snapshot's {0} is damaged (its checksum does not match): copy it again")]
    Damaged(&'static str),
    /// Another version of the format.
    #[error(
        "the snapshot has format version {found}, this wasm-migrate reads {MAJOR}.0 to {MAJOR}.{MINOR}: \
         resume it with the version that wrote it or a newer one of the same major version"
    )]
    Version {
        /// Its version.
        found: String,
    },
    /// Another version of the guest contract.
    #[error(
        "the snapshot is of a guest with contract version {found}, this wasm-migrate speaks {ABI_VERSION}"
    )]
    Contract {
        /// Its version.
        found: u32,
    },
    /// The body's digest is right and its contents are not.
    #[error("the snapshot's contents make no sense: {0}")]
    Malformed(String),
}

impl Snapshot {
    /// The snapshot as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = wire::encode(self, vec![0; HEADER_BYTES]);
        let (header, body) = bytes.split_at_mut(HEADER_BYTES);
        header.copy_from_slice(&encode_header(body));
        bytes
    }

    /// Reads a snapshot.
    ///
    /// # Errors
    /// The bytes are not a whole, undamaged snapshot of a known version.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let (header, body) = split_header(bytes)?;
        check_header(header, body.len() as u64)?;
        if blake3::hash(body).as_bytes()[..] != header[24..56] {
            return Err(SnapshotError::Damaged("body"));
        }
        wire::decode(body)
    }

    /// Writes the snapshot to a file: whole, or not at all.
    ///
    /// # Errors
    /// The file cannot be written; what was at `path` before is untouched.
    pub fn write(&self, path: &Path) -> Result<u64, SnapshotError> {
        let bytes = self.encode();
        let failed = |source| SnapshotError::File {
            action: "write",
            path: path.to_owned(),
            source,
        };
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(name);
        write_through(&temporary, &bytes)
            .and_then(|()| fs::rename(&temporary, path))
            .and_then(|()| sync_directory(path))
            .map_err(|source| {
                // It is the first failure that counts; a leftover file does no harm.
                let _ = fs::remove_file(&temporary);
                failed(source)
            })?;
        Ok(bytes.len() as u64)
    }

    /// Reads a snapshot from a file.
    ///
    /// # Errors
    /// The file cannot be read, or as for [`Snapshot::decode`].
    pub fn read(path: &Path) -> Result<Self, SnapshotError> {
        let failed = |source| SnapshotError::File {
            action: "read",
            path: path.to_owned(),
            source,
        };
        let mut file = File::open(path).map_err(failed)?;
        let mut bytes = Vec::new();
        (&file)
            .take(HEADER_BYTES as u64)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        // A file that is no snapshot is not read to its end.
        split_header(&bytes)?;
        file.read_to_end(&mut bytes).map_err(failed)?;
        Self::decode(&bytes)
    }
}

fn encode_header(body: &[u8]) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[0..8].copy_from_slice(&MAGIC);
    header[8..10].copy_from_slice(&MAJOR.to_le_bytes());
    header[10..12].copy_from_slice(&MINOR.to_le_bytes());
    header[12..16].copy_from_slice(&ABI_VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&(body.len() as u64).to_le_bytes());
    header[24..56].copy_from_slice(blake3::hash(body).as_bytes());
    let checksum = header_checksum(&header);
    header[CHECKED_BYTES..].copy_from_slice(&checksum);
    header
}

fn header_checksum(header: &[u8; HEADER_BYTES]) -> [u8; 8] {
    let digest = blake3::hash(&header[..CHECKED_BYTES]);
    *digest
        .as_bytes()
        .first_chunk()
        .expect("a digest has 32 bytes")
}

fn split_header(bytes: &[u8]) -> Result<(&[u8; HEADER_BYTES], &[u8]), SnapshotError> {
    let common = bytes.len().min(MAGIC.len());
    if bytes[..common] != MAGIC[..common] {
        return Err(SnapshotError::NotASnapshot);
    }
    bytes.split_first_chunk().ok_or(SnapshotError::WrongLength {
        found: bytes.len() as u64,
        expected: HEADER_BYTES as u64,
    })
}

fn check_header(header: &[u8; HEADER_BYTES], body_bytes: u64) -> Result<(), SnapshotError> {
    let [
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        major_low,
        major_high,
        minor_low,
        minor_high,
        rest @ ..,
    ] = header;
    let major = u16::from_le_bytes([*major_low, *major_high]);
    let minor = u16::from_le_bytes([*minor_low, *minor_high]);
    // Before the checksum, whose place another major version may have moved.
    if major != MAJOR {
        return Err(SnapshotError::Version {
            found: format!("{major}.{minor}"),
        });
    }
    if header_checksum(header)[..] != header[CHECKED_BYTES..] {
        return Err(SnapshotError::Damaged("header"));
    }
    if minor > MINOR {
        return Err(SnapshotError::Version {
            found: format!("{major}.{minor}"),
        });
    }
    let (contract, rest) = rest.split_first_chunk().expect("a header is longer");
    let contract = u32::from_le_bytes(*contract);
    if contract != ABI_VERSION {
        return Err(SnapshotError::Contract { found: contract });
    }
    let expected = u64::from_le_bytes(*rest.first_chunk().expect("a header is longer"));
    if expected != body_bytes {
        let header_bytes = HEADER_BYTES as u64;
        return Err(SnapshotError::WrongLength {
            found: header_bytes + body_bytes,
            expected: expected.saturating_add(header_bytes),
        });
    }
    Ok(())
}

fn write_through(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the new name durable where directories can be synchronised.
fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    if cfg!(unix) {
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}
