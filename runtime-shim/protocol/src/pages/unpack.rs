//! The destination's side: bytes become pages again. They come from anyone: every length is checked before it is used.

use super::{
    BATCH_PAGES_MAX, BatchDigest, DELTA, HEADER_BYTES, KEPT, PAGE, PAGE_OVERHEAD, Packing, RAW,
    SAME, ZERO, delta, hash, take_number, zero_hash,
};
use crate::ids::PageRun;

/// A batch that was unpacked and checked.
#[derive(Debug)]
pub struct Unpacked<'r> {
    runs: &'r [PageRun],
    /// By page.
    contents: Vec<Content>,
    body: Vec<u8>,
    /// Pages that were made out of others.
    made: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum Content {
    Zero,
    Kept,
    /// Where it begins in the body.
    Body(usize),
    /// Where it begins among the made ones.
    Made(usize),
}

/// What a page is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageContents<'b> {
    /// Zeros.
    Zero,
    /// What it holds.
    Kept,
    /// These bytes: a page.
    Bytes(&'b [u8]),
}

/// Why bytes are no batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// It has more pages than any may have.
    #[error("a batch of {0} pages came, {BATCH_PAGES_MAX} are allowed")]
    TooManyPages(u64),
    /// It makes no sense.
    #[error("a batch of pages is malformed: {0}")]
    Malformed(&'static str),
    /// It is packed in a way that is not known here.
    #[error("a batch of pages is packed in a way that this version does not know ({0})")]
    UnknownPacking(u8),
    /// It builds on a page that is not there.
    #[error("a batch of pages builds on page {page} of memory {memory}, which is not there")]
    NoSuchPage {
        /// The memory.
        memory: u32,
        /// The page.
        page: u64,
    },
    /// What comes out is not what the source put in.
    #[error(
        "a batch of pages is not what its source read (its digest does not match): the memory of one of the hosts is \
         faulty, or the source believes that this one has pages that it has not"
    )]
    WrongDigest,
}

/// Unpacks a batch of these pages. `previous` puts what a page holds now into the buffer, and answers whether there is
/// such a page; it is asked only for pages that the batch builds on.
///
/// # Errors
/// The bytes are no batch of these pages.
pub fn unpack<'r>(
    runs: &'r [PageRun],
    bytes: &[u8],
    mut previous: impl FnMut(u32, u64, &mut [u8; PAGE]) -> bool,
) -> Result<Unpacked<'r>, UnpackError> {
    let count = runs.iter().map(|run| u64::from(run.count)).sum();
    if count > BATCH_PAGES_MAX {
        return Err(UnpackError::TooManyPages(count));
    }
    let (body, expected) = open(bytes, count as usize)?;
    let mut batch = Unpacked {
        runs,
        contents: Vec::with_capacity(count as usize),
        body,
        made: Vec::new(),
    };
    let digest = batch.read(count as usize, &mut previous)?;
    match digest == expected {
        true => Ok(batch),
        false => Err(UnpackError::WrongDigest),
    }
}

/// The body of a batch of so many pages, and its digest.
fn open(bytes: &[u8], pages: usize) -> Result<(Vec<u8>, u128), UnpackError> {
    let (header, packed) = bytes
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or(UnpackError::Malformed("it is cut"))?;
    let (code, rest) = (header[0], &header[1..]);
    let (length, digest) = rest.split_at(4);
    let length = u32::from_le_bytes(length.try_into().expect("four bytes")) as usize;
    let digest = u128::from_le_bytes(digest.try_into().expect("sixteen bytes"));
    if length > pages * (PAGE + PAGE_OVERHEAD) {
        return Err(UnpackError::Malformed("it is longer than its pages"));
    }
    let malformed = UnpackError::Malformed("it cannot be decompressed");
    let body = match Packing::compression_of(code) {
        Some(Packing::None) => packed.to_vec(),
        Some(Packing::Lz4) => {
            let mut body = vec![0; length];
            let written = lz4_flex::block::decompress_into(packed, &mut body);
            match written {
                Ok(written) if written == length => body,
                _ => return Err(malformed),
            }
        }
        // No more than `length` bytes are made.
        Some(Packing::Zstd(_)) => {
            zstd::bulk::decompress(packed, length).map_err(|_| malformed.clone())?
        }
        None => return Err(UnpackError::UnknownPacking(code)),
    };
    match body.len() == length {
        true => Ok((body, digest)),
        false => Err(malformed),
    }
}

impl Unpacked<'_> {
    /// Its pages in order.
    pub fn pages(&self) -> impl Iterator<Item = (u32, u64, PageContents<'_>)> {
        let contents = self
            .contents
            .iter()
            .map(|content| self.contents_of(*content));
        places(self.runs)
            .zip(contents)
            .map(|((memory, page), contents)| (memory, page, contents))
    }

    fn contents_of(&self, content: Content) -> PageContents<'_> {
        match content {
            Content::Zero => PageContents::Zero,
            Content::Kept => PageContents::Kept,
            Content::Body(at) => PageContents::Bytes(&self.body[at..at + PAGE]),
            Content::Made(at) => PageContents::Bytes(&self.made[at..at + PAGE]),
        }
    }

    /// Reads what the body says of so many pages; answers the digest of them.
    fn read(
        &mut self,
        count: usize,
        previous: &mut impl FnMut(u32, u64, &mut [u8; PAGE]) -> bool,
    ) -> Result<u128, UnpackError> {
        let malformed = UnpackError::Malformed;
        let body = std::mem::take(&mut self.body);
        let mut rest = body.as_slice();
        let mut digest = BatchDigest::default();
        let mut places = places(self.runs);
        while self.contents.len() < count {
            let (kind, after) = rest
                .split_first()
                .ok_or(malformed("it tells of fewer pages"))?;
            rest = after;
            let number = take_number(&mut rest).ok_or(malformed("a number is cut"))?;
            let left = count - self.contents.len();
            let many = || {
                let many = usize::try_from(number).ok();
                let many = many.filter(|many| (1..=left).contains(many));
                many.ok_or(malformed("it tells of more pages"))
            };
            match *kind {
                ZERO => {
                    for _ in 0..many()? {
                        places.next();
                        digest.add(zero_hash());
                        self.contents.push(Content::Zero);
                    }
                }
                RAW => {
                    let many = many()?;
                    let (pages, after) = rest
                        .split_at_checked(many * PAGE)
                        .ok_or(malformed("a page is cut"))?;
                    let start = body.len() - rest.len();
                    for (number, page) in pages.chunks_exact(PAGE).enumerate() {
                        places.next();
                        digest.add(hash(page));
                        self.contents.push(Content::Body(start + number * PAGE));
                    }
                    rest = after;
                }
                KEPT => {
                    for _ in 0..many()? {
                        let (memory, page) = places.next().expect("counted before");
                        let mut bytes = [0; PAGE];
                        if !previous(memory, page, &mut bytes) {
                            return Err(UnpackError::NoSuchPage { memory, page });
                        }
                        digest.add(hash(&bytes));
                        self.contents.push(Content::Kept);
                    }
                }
                SAME => {
                    let memory =
                        u32::try_from(number).map_err(|_| malformed("a memory's number"))?;
                    let page = take_number(&mut rest).ok_or(malformed("a number is cut"))?;
                    let mut bytes = [0; PAGE];
                    if !self.earlier(&body, (memory, page), &mut bytes, previous) {
                        return Err(UnpackError::NoSuchPage { memory, page });
                    }
                    places.next();
                    digest.add(hash(&bytes));
                    self.make(&bytes);
                }
                DELTA => {
                    let length = usize::try_from(number).ok();
                    let (delta, after) = length
                        .and_then(|length| rest.split_at_checked(length))
                        .ok_or(malformed("a delta is cut"))?;
                    rest = after;
                    let (memory, page) = places.next().expect("counted before");
                    let mut bytes = [0; PAGE];
                    if !previous(memory, page, &mut bytes) {
                        return Err(UnpackError::NoSuchPage { memory, page });
                    }
                    delta::apply(delta, &mut bytes).ok_or(malformed("a delta makes no sense"))?;
                    digest.add(hash(&bytes));
                    self.make(&bytes);
                }
                _ => return Err(malformed("it tells of pages of an unknown kind")),
            }
        }
        if !rest.is_empty() {
            return Err(malformed("it goes on behind its end"));
        }
        self.body = body;
        Ok(digest.finish())
    }

    fn make(&mut self, page: &[u8; PAGE]) {
        self.contents.push(Content::Made(self.made.len()));
        self.made.extend_from_slice(page);
    }

    /// What a page holds after what the batch has told so far.
    fn earlier(
        &self,
        body: &[u8],
        place: (u32, u64),
        bytes: &mut [u8; PAGE],
        previous: &mut impl FnMut(u32, u64, &mut [u8; PAGE]) -> bool,
    ) -> bool {
        let told = places(self.runs).zip(&self.contents);
        let found = told.filter(|(told, _)| *told == place).last();
        match found.map(|(_, content)| *content) {
            None | Some(Content::Kept) => return previous(place.0, place.1, bytes),
            Some(Content::Zero) => bytes.fill(0),
            Some(Content::Body(at)) => bytes.copy_from_slice(&body[at..at + PAGE]),
            Some(Content::Made(at)) => bytes.copy_from_slice(&self.made[at..at + PAGE]),
        }
        true
    }
}

fn places(runs: &[PageRun]) -> impl Iterator<Item = (u32, u64)> + '_ {
    runs.iter()
        .flat_map(|run| run.pages().map(|page| (run.memory, page)))
}
