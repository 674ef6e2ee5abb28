//! A snapshot without memory contents as bytes, for hosts that send memory by other ways: header and body as in a file,
//! with the digests that they have there, and an empty page index.

use wasm_migrate_abi::ABI_VERSION;

use super::error::SnapshotError;
use super::header::{HEADER_BYTES, Header, MAJOR, MINOR};
use super::{Snapshot, wire};
use crate::memory::MemorySize;

impl Snapshot<MemorySize> {
    /// Everything but memory contents, as bytes.
    #[must_use]
    pub fn encode_image(&self) -> Vec<u8> {
        let body = wire::encode(self, None);
        let header = Header {
            version: (MAJOR, MINOR),
            contract: ABI_VERSION,
            original_digest: self.state.original_digest,
            epoch: self.epoch,
            is_signed: false,
            body_bytes: body.len() as u64,
            chunk_bytes: 0,
            index_bytes: 0,
            body_digest: *blake3::hash(&body).as_bytes(),
            index_digest: *blake3::hash(&[]).as_bytes(),
        };
        [&header.encode()[..], &body].concat()
    }

    /// Reads what [`Snapshot::encode_image`] wrote.
    ///
    /// # Errors
    /// The bytes are cut, damaged, of another version, or those of a snapshot with memory contents.
    pub fn decode_image(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let header = Header::decode(bytes)?;
        let (found, expected) = (bytes.len() as u64, header.total_bytes());
        if found != expected {
            return Err(SnapshotError::WrongLength { found, expected });
        }
        if header.chunk_bytes > 0 || header.index_bytes > 0 || header.is_signed {
            return Err(SnapshotError::Malformed(
                "it holds more than a state: it is a snapshot's file".to_owned(),
            ));
        }
        let body = &bytes[HEADER_BYTES..];
        if *blake3::hash(body).as_bytes() != header.body_digest {
            return Err(SnapshotError::Damaged("body"));
        }
        let (snapshot, parent) = wire::decode(body, &header)?;
        match parent {
            None => Ok(snapshot),
            Some(_) => Err(SnapshotError::Malformed(
                "it builds on another snapshot, which a state on its way cannot".to_owned(),
            )),
        }
    }
}
