//! The fixed header, and all rules about versions.
//!
//! ```text
//! offset  bytes  field (all numbers little-endian)
//!      0      8  magic "WASMSNAP"
//!      8      2  major version: a reader refuses any but its own
//!     10      2  minor version: a reader refuses a newer one
//!     12      4  version of the guest contract
//!     16     32  BLAKE3 digest of the original module
//!     48      8  epoch: how many hosts have run the guest, one after the other
//!     56      8  flags: bit 0: signed; all others must be 0
//!     64      8  length of the body in bytes
//!     72      8  length of the chunks in bytes
//!     80      8  length of the page index in bytes
//!     88      8  reserved, must be 0
//!     96     32  BLAKE3 digest of the body
//!    128     32  BLAKE3 digest of the page index
//!    160     32  BLAKE3 digest of bytes 0..160: the snapshot's id
//! ```
//!
//! Body, chunks and page index follow in this order; after them, if the snapshot is signed, 32 bytes of
//! public key and 64 of signature. The index holds the digests of the chunks, so the id
//! stands for every byte of the snapshot.

use wasm_migrate_abi::ABI_VERSION;

use super::error::SnapshotError;
use super::keys::SIGNATURE_BYTES;

const MAGIC: [u8; 8] = *b"WASMSNAP";
pub(super) const MAJOR: u16 = 1;
pub(super) const MINOR: u16 = 0;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 192;
/// Flag: a signature follows at the end.
const SIGNED: u64 = 1;
/// The part that the id is the digest of.
const IDENTIFIED_BYTES: usize = 160;

/// What a snapshot says of itself before its contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Major and minor version of the format.
    pub version: (u16, u16),
    /// Version of the guest contract.
    pub contract: u32,
    /// BLAKE3 digest of the original module.
    pub original_digest: [u8; 32],
    /// How many hosts have run the guest, one after the other.
    pub epoch: u64,
    /// Whether a signature follows at the end.
    pub is_signed: bool,
    /// Bytes of the body.
    pub body_bytes: u64,
    /// Bytes of the chunks, as stored.
    pub chunk_bytes: u64,
    /// Bytes of the page index.
    pub index_bytes: u64,
    /// BLAKE3 digest of the body.
    pub body_digest: [u8; 32],
    /// BLAKE3 digest of the page index.
    pub index_digest: [u8; 32],
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut at = 0;
        let mut put = |field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        put(&MAGIC);
        put(&self.version.0.to_le_bytes());
        put(&self.version.1.to_le_bytes());
        put(&self.contract.to_le_bytes());
        put(&self.original_digest);
        put(&self.epoch.to_le_bytes());
        put(&if self.is_signed { SIGNED } else { 0 }.to_le_bytes());
        for length in [self.body_bytes, self.chunk_bytes, self.index_bytes, 0] {
            put(&length.to_le_bytes());
        }
        put(&self.body_digest);
        put(&self.index_digest);
        let id = *blake3::hash(&bytes[..IDENTIFIED_BYTES]).as_bytes();
        bytes[IDENTIFIED_BYTES..].copy_from_slice(&id);
        bytes
    }

    /// The digest that stands for the whole snapshot.
    #[must_use]
    pub fn id(&self) -> [u8; 32] {
        let bytes = self.encode();
        *bytes.last_chunk().expect("the header ends with the id")
    }

    /// Reads a header from the first bytes of a snapshot; there may be fewer than it has.
    ///
    /// # Errors
    /// They are not of a snapshot that this version can read.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let common = bytes.len().min(MAGIC.len());
        if bytes[..common] != MAGIC[..common] {
            return Err(SnapshotError::NotASnapshot);
        }
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(SnapshotError::WrongLength {
            found: bytes.len() as u64,
            expected: HEADER_BYTES as u64,
        })?;
        let mut fields = Fields(&bytes[MAGIC.len()..]);
        let version = (
            u16::from_le_bytes(fields.take()),
            u16::from_le_bytes(fields.take()),
        );
        let other_version = || SnapshotError::Version {
            found: format!("{}.{}", version.0, version.1),
        };
        // Before the id, whose place another major version may have moved.
        if version.0 != MAJOR {
            return Err(other_version());
        }
        if blake3::hash(&bytes[..IDENTIFIED_BYTES]).as_bytes()[..] != bytes[IDENTIFIED_BYTES..] {
            return Err(SnapshotError::Damaged("header"));
        }
        if version.1 > MINOR {
            return Err(other_version());
        }
        let contract = u32::from_le_bytes(fields.take());
        if contract != ABI_VERSION {
            return Err(SnapshotError::Contract { found: contract });
        }
        let original_digest = fields.take();
        let epoch = u64::from_le_bytes(fields.take());
        let flags = u64::from_le_bytes(fields.take());
        let [body_bytes, chunk_bytes, index_bytes, reserved] =
            [(); 4].map(|()| u64::from_le_bytes(fields.take()));
        if flags & !SIGNED != 0 || reserved != 0 {
            return Err(SnapshotError::Malformed(
                "its header has flags that this version does not know".to_owned(),
            ));
        }
        Ok(Self {
            version,
            contract,
            original_digest,
            epoch,
            is_signed: flags & SIGNED != 0,
            body_bytes,
            chunk_bytes,
            index_bytes,
            body_digest: fields.take(),
            index_digest: fields.take(),
        })
    }

    /// Length of the whole snapshot.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        let signature = if self.is_signed { SIGNATURE_BYTES } else { 0 };
        [self.body_bytes, self.chunk_bytes, self.index_bytes]
            .into_iter()
            .fold((HEADER_BYTES + signature) as u64, u64::saturating_add)
    }
}

/// Takes fields of fixed size from the header, which is longer than all of them.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("the header is longer");
        self.0 = rest;
        *field
    }
}
