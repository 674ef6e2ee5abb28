//! Pages on their way: a batch of them as bytes and back.
//!
//! A batch is of known pages, its *runs*, which travel beside it. For each page it says, by turns, one of
//!
//! ```text
//!  zero    so many pages are all zero
//!  raw     so many pages, whole
//!  kept    so many pages are what the destination has already: written, but with what was there
//!  same    one page is equal to another one that the destination has
//!  delta   one page differs in these words from what the destination has (exclusive or: the idea is XBZRLE's of QEMU)
//! ```
//!
//! and all of it together is compressed, or not. The last three build on what the destination has: [`PagePacker`] keeps hashes of
//! that, and of some pages the contents, within bounds. Where the guest may have written pages at the destination (post-copy), or
//! it is unknown what has arrived, pages travel by themselves.
//!
//! A digest of the contents of all pages of the batch, not of the bytes, is checked when it is unpacked: it is made of what the source
//! read, so that a mistake in what the destination is believed to have cannot pass.
//!
//! Encoding: compression (`u8`: 0 none, 1 LZ4, 2 zstd), length of the body unpacked (`u32`), XXH3-128 of the XXH3-128 hashes of all
//! pages, then the body: a kind (`u8`), a number (LEB128) as above and what belongs to it, until all pages are told. Numbers are
//! little-endian. A memory's last page, if it is short, is filled up with zeros.

mod adapt;
mod delta;
mod pack;
mod unpack;
mod versions;

use std::sync::OnceLock;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

pub use adapt::{Adaptive, Packing, Work};
pub use pack::{Basis, Packed, PagePacker};
pub use unpack::{PageContents, UnpackError, Unpacked, unpack};

use crate::ids::PAGE_BYTES;

/// Pages of a batch, at most.
pub const BATCH_PAGES_MAX: u64 = 1024;

/// Bytes of a page, where the address space is meant.
const PAGE: usize = PAGE_BYTES as usize;
/// Bytes of a batch before its body.
const HEADER_BYTES: usize = 1 + 4 + 16;
/// Bytes that the body needs for a page beside its contents, at most: a kind, a length, or the place of another page.
const PAGE_OVERHEAD: usize = 24;

const ZERO: u8 = 0;
const RAW: u8 = 1;
const KEPT: u8 = 2;
const SAME: u8 = 3;
const DELTA: u8 = 4;

/// What stands for a page's contents.
type Hash = u128;

fn hash(page: &[u8]) -> Hash {
    xxh3_128(page)
}

/// Of a page that is all zero.
fn zero_hash() -> Hash {
    static HASH: OnceLock<Hash> = OnceLock::new();
    *HASH.get_or_init(|| hash(&[0; PAGE]))
}

fn is_zero(page: &[u8]) -> bool {
    let words = page.chunks_exact(16);
    words.remainder().iter().all(|byte| *byte == 0)
        && words.into_iter().all(|word| *word == [0; 16])
}

/// Of a whole batch.
#[derive(Default)]
struct BatchDigest(Xxh3);

impl BatchDigest {
    fn add(&mut self, hash: Hash) {
        self.0.update(&hash.to_le_bytes());
    }

    fn finish(&self) -> u128 {
        self.0.digest128()
    }
}

fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests;
