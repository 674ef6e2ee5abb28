//! The source's side: batches of pages become bytes.

use super::delta;
use super::versions::Versions;
use super::{
    BatchDigest, DELTA, HEADER_BYTES, KEPT, PAGE, PAGE_OVERHEAD, Packing, RAW, SAME, ZERO, hash,
    is_zero, put_number, zero_hash,
};
use crate::ids::PageRun;

/// Hashes of contents whose places are remembered: some 12 MiB.
const PLACES_MAX: usize = 1 << 17;
/// A delta that is longer is not worth it.
const DELTA_MAX: usize = PAGE * 3 / 4;

/// What pages may build on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The destination has what was sent before, and its guest does not run.
    Sent,
    /// Nothing: each page is by itself, and what the destination has is not known afterwards.
    Nothing,
}

/// A batch that is ready to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// It.
    pub bytes: Vec<u8>,
    /// Bytes that were to be compressed.
    pub plain_bytes: usize,
}

/// Packs batches for one destination.
pub struct PagePacker {
    versions: Versions,
    body: Vec<u8>,
    zstd: Option<(i32, zstd::bulk::Compressor<'static>)>,
}

impl PagePacker {
    /// A packer that keeps contents of pages in at most so many bytes, for deltas.
    #[must_use]
    pub fn new(contents_bytes: usize) -> Self {
        Self {
            versions: Versions::new(PLACES_MAX, contents_bytes),
            body: Vec::new(),
            zstd: None,
        }
    }

    /// It is unknown what the destination has in these pages.
    pub fn forget(&mut self, run: PageRun) {
        for page in run.pages() {
            self.versions.forget((run.memory, page));
        }
    }

    /// Packs pages; `contents` has those of all runs, one after the other.
    ///
    /// # Panics
    /// `contents` has another length than the runs have.
    pub fn pack(
        &mut self,
        runs: &[PageRun],
        contents: &[u8],
        packing: Packing,
        basis: Basis,
    ) -> Packed {
        let (pages, rest) = contents.as_chunks::<PAGE>();
        let places = runs
            .iter()
            .flat_map(|run| run.pages().map(|page| (run.memory, page)));
        let count: usize = runs.iter().map(|run| run.count as usize).sum();
        assert!(
            pages.len() == count && rest.is_empty(),
            "the contents are those of the runs"
        );
        let mut digest = BatchDigest::default();
        let mut body = Body::new(std::mem::take(&mut self.body), pages.len());
        for (place, page) in places.zip(pages) {
            if is_zero(page) {
                digest.add(zero_hash());
                match basis {
                    Basis::Sent => self.versions.sent(place, zero_hash(), None),
                    Basis::Nothing => self.versions.forget(place),
                }
                body.counted(ZERO, &[]);
                continue;
            }
            let hash = hash(page);
            digest.add(hash);
            if basis == Basis::Nothing {
                self.versions.forget(place);
                body.counted(RAW, page);
                continue;
            }
            if self.versions.hash(place) == Some(hash) {
                body.counted(KEPT, &[]);
                continue;
            }
            if let Some(other) = self.versions.place_of(hash) {
                body.same(other);
            } else if !self
                .versions
                .contents(place)
                .is_some_and(|old| body.delta(old, page))
            {
                body.counted(RAW, page);
            }
            self.versions.sent(place, hash, Some(page));
        }
        self.body = body.finish();
        self.close(digest.finish(), packing)
    }

    fn close(&mut self, digest: u128, packing: Packing) -> Packed {
        let plain_bytes = self.body.len();
        let compressed = match packing {
            Packing::None => None,
            Packing::Lz4 => Some(lz4_flex::block::compress(&self.body)),
            // Without it, the batch goes as it is.
            Packing::Zstd(level) => self.zstd(level),
        };
        let compressed = compressed.filter(|compressed| compressed.len() < plain_bytes);
        let (code, body) = match &compressed {
            Some(compressed) => (packing.code(), compressed),
            None => (Packing::None.code(), &self.body),
        };
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        bytes.push(code);
        let length = u32::try_from(plain_bytes).expect("a batch has few pages");
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&digest.to_le_bytes());
        bytes.extend_from_slice(body);
        Packed { bytes, plain_bytes }
    }

    fn zstd(&mut self, level: i32) -> Option<Vec<u8>> {
        if self.zstd.as_ref().is_none_or(|(known, _)| *known != level) {
            self.zstd = Some((level, zstd::bulk::Compressor::new(level).ok()?));
        }
        let (_, compressor) = self.zstd.as_mut()?;
        compressor.compress(&self.body).ok()
    }
}

/// A body that is being written.
struct Body {
    bytes: Vec<u8>,
    /// Kind, number of pages, and contents of pages of one kind that are not written yet.
    kind: u8,
    count: u64,
    raw: Vec<u8>,
}

impl Body {
    fn new(mut bytes: Vec<u8>, pages: usize) -> Self {
        bytes.clear();
        bytes.reserve(pages * (PAGE + PAGE_OVERHEAD));
        Self {
            bytes,
            kind: ZERO,
            count: 0,
            raw: Vec::new(),
        }
    }

    /// One more page of a kind that is counted.
    fn counted(&mut self, kind: u8, contents: &[u8]) {
        if self.kind != kind {
            self.flush();
            self.kind = kind;
        }
        self.count += 1;
        self.raw.extend_from_slice(contents);
    }

    fn same(&mut self, (memory, page): (u32, u64)) {
        self.flush();
        self.bytes.push(SAME);
        put_number(&mut self.bytes, memory.into());
        put_number(&mut self.bytes, page);
    }

    /// Answers whether it was worth it.
    fn delta(&mut self, old: &[u8; PAGE], new: &[u8; PAGE]) -> bool {
        let mut delta = Vec::with_capacity(DELTA_MAX);
        let is_worth_it = delta::encode(old, new, DELTA_MAX, &mut delta);
        if is_worth_it {
            self.flush();
            self.bytes.push(DELTA);
            put_number(&mut self.bytes, delta.len() as u64);
            self.bytes.extend_from_slice(&delta);
        }
        is_worth_it
    }

    fn flush(&mut self) {
        if self.count > 0 {
            self.bytes.push(self.kind);
            put_number(&mut self.bytes, self.count);
            self.bytes.append(&mut self.raw);
            self.count = 0;
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.flush();
        self.bytes
    }
}
