//! A job's journal as bytes: every change of what a node has to do with the job, oldest first.
//!
//! ```text
//! blocks of 256 bytes
//! block 0     "WASMOWNR", major and minor version of the format, zeros
//! block 1..   8 bytes XXH3 of the checksum before and the rest of the block; then as postcard: time, cause, record; zeros
//! ```
//!
//! A change is appended and synchronised before anybody relies on it. So a last block that is incomplete or does not match its
//! checksum was never relied on: a crash has interrupted its writing, and it is cut off. Any other damage is an error,
//! since nobody knows who owns the job then. Not told apart: a last block that was whole once and was damaged later.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::Record;

/// Bytes of a block.
pub const BLOCK_BYTES: usize = 256;
const MAGIC: [u8; 8] = *b"WASMOWNR";
const MAJOR: u8 = 1;
const MINOR: u8 = 0;
const CHECKSUM_BYTES: usize = 8;

/// A journal as it was read or begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// All changes, oldest first.
    pub entries: Vec<Entry>,
    /// Checksum of the last block, which the next one continues.
    chain: u64,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, since 1970, by the node's clock: for people, nothing depends on it.
    pub time: Duration,
    /// Why.
    pub cause: Cause,
    /// What the node has to do with the job from now on.
    pub record: Record,
}

/// Why a record was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The job was submitted here.
    Submitted,
    /// A migration.
    Migration,
    /// A person decided.
    Resolved,
}

/// Why a journal was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// It does not begin like one.
    #[error("this is no journal of a job: it begins with other bytes than `WASMOWNR`")]
    NotAJournal,
    /// Another version of the format.
    #[error(
        "the journal has format version {}.{}, this wasm-migrate reads {MAJOR}.0 to {MAJOR}.{MINOR}: use the version that \
         wrote it or a newer one of the same major version",
        .0.0, .0.1
    )]
    Version((u8, u8)),
    /// A block in the middle is damaged.
    #[error(
        "block {0} of the job's journal is damaged, so nobody knows here who owns the job: ask the other nodes with `wasm-migrate \
         ps`, then decide with `wasm-migrate resolve`"
    )]
    Damaged(usize),
}

impl Journal {
    /// A new journal, and its first block.
    #[must_use]
    pub fn begin() -> (Self, [u8; BLOCK_BYTES]) {
        let mut block = [0; BLOCK_BYTES];
        block[..8].copy_from_slice(&MAGIC);
        block[8..10].copy_from_slice(&[MAJOR, MINOR]);
        let journal = Self {
            entries: Vec::new(),
            chain: xxh3_64(&block),
        };
        (journal, block)
    }

    /// Reads a journal. The file must be cut to the bytes that are returned as whole before anything is appended.
    ///
    /// # Errors
    /// It is no journal, or damaged elsewhere than at the end.
    pub fn read(bytes: &[u8]) -> Result<(Self, u64), JournalError> {
        let (mut journal, expected) = Self::begin();
        let mut blocks = bytes.chunks_exact(BLOCK_BYTES);
        // A crash while the file was made leaves less than a block: it was never relied on.
        let Some(first) = blocks.next() else {
            return if bytes.is_empty()
                || bytes.iter().all(|byte| *byte == 0)
                || expected.starts_with(bytes)
            {
                Ok((journal, 0))
            } else {
                Err(JournalError::NotAJournal)
            };
        };
        if first[..8] != MAGIC {
            return Err(JournalError::NotAJournal);
        }
        let version = (first[8], first[9]);
        if version.0 != MAJOR || version.1 > MINOR {
            return Err(JournalError::Version(version));
        }
        if first != expected {
            return Err(JournalError::Damaged(0));
        }
        let count = blocks.len();
        for (number, block) in (1..).zip(blocks) {
            match journal.read_block(block) {
                Some(entry) => journal.entries.push(entry),
                None if number == count => return Ok((journal, (number * BLOCK_BYTES) as u64)),
                None => return Err(JournalError::Damaged(number)),
            }
        }
        Ok((journal, ((count + 1) * BLOCK_BYTES) as u64))
    }

    fn read_block(&mut self, block: &[u8]) -> Option<Entry> {
        let (sum, rest) = block.split_first_chunk::<CHECKSUM_BYTES>()?;
        let sum = u64::from_le_bytes(*sum);
        if sum != checksum(self.chain, rest) {
            return None;
        }
        let (entry, padding) = postcard::take_from_bytes(rest).ok()?;
        if padding.iter().any(|byte| *byte != 0) {
            return None;
        }
        self.chain = sum;
        Some(entry)
    }

    /// What the node has to do with the job, if anything was written.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        self.entries.last().map(|entry| &entry.record)
    }

    /// The block that adds a change to the journal. It counts when it is on disk: then call [`Journal::push`] with it.
    ///
    /// # Panics
    /// Never: the longest entry fits a block.
    #[must_use]
    pub fn block(&self, entry: &Entry) -> [u8; BLOCK_BYTES] {
        let mut block = [0; BLOCK_BYTES];
        postcard::to_slice(entry, &mut block[CHECKSUM_BYTES..])
            .expect("names are short, so an entry fits a block");
        let sum = checksum(self.chain, &block[CHECKSUM_BYTES..]);
        block[..CHECKSUM_BYTES].copy_from_slice(&sum.to_le_bytes());
        block
    }

    /// Adds a change that is on disk.
    pub fn push(&mut self, entry: Entry) {
        let block = self.block(&entry);
        let sum = block.first_chunk().expect("a block is longer");
        self.chain = u64::from_le_bytes(*sum);
        self.entries.push(entry);
    }
}

fn checksum(chain: u64, rest: &[u8]) -> u64 {
    let mut bytes = [0; BLOCK_BYTES];
    bytes[..CHECKSUM_BYTES].copy_from_slice(&chain.to_le_bytes());
    bytes[CHECKSUM_BYTES..CHECKSUM_BYTES + rest.len()].copy_from_slice(rest);
    xxh3_64(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Epoch, MigrationId, NodeName};
    use crate::ownership::{Holding, Transfer};

    fn entry(epoch: u64) -> Entry {
        Entry {
            time: Duration::MAX,
            cause: Cause::Resolved,
            record: Record {
                epoch: Epoch(epoch),
                holding: Holding::Committing(Transfer {
                    migration: MigrationId([255; 16]),
                    peer: NodeName::new("x".repeat(64)).unwrap(),
                }),
            },
        }
    }

    fn journal(epochs: impl IntoIterator<Item = u64>) -> (Journal, Vec<u8>) {
        let (mut journal, block) = Journal::begin();
        let mut bytes = block.to_vec();
        for epoch in epochs {
            bytes.extend(journal.block(&entry(epoch)));
            journal.push(entry(epoch));
        }
        (journal, bytes)
    }

    #[test]
    fn the_longest_entry_fits() {
        let (written, bytes) = journal([u64::MAX]);
        assert_eq!(Journal::read(&bytes), Ok((written, 512)));
    }

    #[test]
    fn a_crash_at_any_byte_leaves_what_was_whole() {
        let (_, bytes) = journal(0..3);
        for length in 0..bytes.len() {
            let (read, whole) = Journal::read(&bytes[..length]).unwrap();
            assert_eq!(whole as usize, length / BLOCK_BYTES * BLOCK_BYTES);
            assert_eq!(read, journal(0..(length as u64 / 256).saturating_sub(1)).0);
            if length >= BLOCK_BYTES {
                // Space that was added before its contents were written. The last of an entry are zeros anyway.
                let mut zeros = bytes[..length].to_vec();
                zeros.resize(length.next_multiple_of(BLOCK_BYTES), 0);
                let (found, whole) = Journal::read(&zeros).unwrap();
                let is_last_whole = zeros == bytes[..zeros.len()];
                assert_eq!(
                    (found.entries.len(), whole as usize),
                    if is_last_whole {
                        (zeros.len() / BLOCK_BYTES - 1, zeros.len())
                    } else {
                        (read.entries.len(), length / BLOCK_BYTES * BLOCK_BYTES)
                    }
                );
            }
        }
    }

    #[test]
    fn damage_is_noticed() {
        let (_, good) = journal(0..4);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            match Journal::read(&bad) {
                Ok((journal, whole)) => {
                    assert!(at >= good.len() - BLOCK_BYTES, "byte {at} is not noticed");
                    assert_eq!((journal.entries.len(), whole), (3, 4 * 256));
                }
                Err(_) => assert!(at < good.len() - BLOCK_BYTES),
            }
        }
        let mut exchanged = good.clone();
        exchanged[256..768].rotate_left(256);
        assert_eq!(Journal::read(&exchanged), Err(JournalError::Damaged(1)));
        let mut shorter = good;
        shorter.drain(256..512);
        assert_eq!(Journal::read(&shorter), Err(JournalError::Damaged(1)));
    }

    #[test]
    fn other_versions_are_refused() {
        let (_, mut bytes) = journal([1]);
        bytes[9] = 1;
        assert_eq!(Journal::read(&bytes), Err(JournalError::Version((1, 1))));
        bytes[0] = b'X';
        assert_eq!(Journal::read(&bytes), Err(JournalError::NotAJournal));
    }
}
