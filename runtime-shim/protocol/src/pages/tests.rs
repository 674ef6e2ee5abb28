//! Source and destination together.

use std::collections::HashMap;

use super::*;
use crate::ids::PageRun;

const ALL: [Packing; 4] = [
    Packing::None,
    Packing::Lz4,
    Packing::Zstd(1),
    Packing::Zstd(9),
];

/// The destination's memory.
#[derive(Default)]
struct Memory(HashMap<(u32, u64), [u8; PAGE]>);

impl Memory {
    fn page(&self, place: (u32, u64)) -> [u8; PAGE] {
        self.0.get(&place).copied().unwrap_or([0; PAGE])
    }

    /// Unpacks a batch and puts its pages in place.
    fn apply(&mut self, runs: &[PageRun], bytes: &[u8]) -> Result<(), UnpackError> {
        let batch = unpack(runs, bytes, |memory, page, buffer| {
            *buffer = self.page((memory, page));
            page < 1000
        })?;
        let pages: Vec<_> = batch
            .pages()
            .map(|(memory, page, contents)| {
                let held = match contents {
                    PageContents::Zero => [0; PAGE],
                    PageContents::Kept => self.page((memory, page)),
                    PageContents::Bytes(bytes) => *bytes.first_chunk().expect("a page"),
                };
                ((memory, page), held)
            })
            .collect();
        self.0.extend(pages);
        Ok(())
    }
}

fn run(memory: u32, first: u64, count: u32) -> PageRun {
    PageRun {
        memory,
        first,
        count,
    }
}

fn places(runs: &[PageRun]) -> impl Iterator<Item = (u32, u64)> {
    runs.iter()
        .flat_map(|run| run.pages().map(|page| (run.memory, page)))
}

/// A guest that writes at random: rounds of its pages arrive as they were sent.
#[test]
fn rounds_arrive() {
    for seed in 0..12 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut packer = PagePacker::new(PAGE * rng.usize(0..200));
        let (mut source, mut destination) = (Memory::default(), Memory::default());
        for _ in 0..20 {
            let runs = [
                run(0, rng.u64(0..50), rng.u32(1..60)),
                run(0, rng.u64(120..150), rng.u32(1..60)),
                run(1, rng.u64(0..50), rng.u32(1..60)),
            ];
            for place in places(&runs) {
                let mut page = source.page(place);
                match rng.u8(0..6) {
                    0 => page = [0; PAGE],
                    1 => page = source.page((rng.u32(0..2), rng.u64(0..200))),
                    2 => rng.fill(&mut page),
                    3 => page.fill(rng.u8(..)),
                    4 => (0..5).for_each(|_| page[rng.usize(0..PAGE)] = rng.u8(..)),
                    _ => {}
                }
                source.0.insert(place, page);
            }
            let contents: Vec<u8> = places(&runs).flat_map(|place| source.page(place)).collect();
            let packing = ALL[rng.usize(0..ALL.len())];
            let basis = match rng.u8(0..4) {
                // Then the destination's guest may have written the pages.
                0 => Basis::Nothing,
                _ => Basis::Sent,
            };
            let packed = packer.pack(&runs, &contents, packing, basis);
            if rng.u8(0..8) == 0 {
                // Lost: it is unknown what arrived. It did not, and goes again later.
                runs.iter().for_each(|run| packer.forget(*run));
                continue;
            }
            destination
                .apply(&runs, &packed.bytes)
                .expect("it is whole");
            for place in places(&runs) {
                assert!(source.page(place) == destination.page(place), "{place:?}");
            }
        }
    }
}

/// What each kind of page takes, without compression.
#[test]
fn what_pages_take() {
    let mut rng = fastrand::Rng::with_seed(5);
    let mut packer = PagePacker::new(1 << 20);
    let mut random = vec![0; 16 * PAGE];
    rng.fill(&mut random);
    let runs = [run(0, 0, 16)];
    let mut pack = |runs: &[PageRun], contents: &[u8], basis| {
        packer
            .pack(runs, contents, Packing::None, basis)
            .plain_bytes
    };
    assert_eq!(pack(&[run(3, 7, 16)], &[0; 16 * PAGE], Basis::Sent), 2);
    assert_eq!(pack(&runs, &random, Basis::Sent), 2 + 16 * PAGE);
    assert_eq!(pack(&runs, &random, Basis::Sent), 2, "kept");
    let elsewhere = pack(&[run(1, 0, 16)], &random, Basis::Sent);
    assert!(elsewhere <= 16 * 3, "equal to others: {elsewhere}");
    for page in random.chunks_mut(PAGE) {
        page[100] ^= 1;
        page[3000] ^= 2;
    }
    let delta = pack(&runs, &random, Basis::Sent);
    assert!(delta <= 16 * 26, "two words of each page: {delta}");
    assert_eq!(pack(&runs, &random, Basis::Nothing), 2 + 16 * PAGE);
}

#[test]
fn text_is_compressed_and_noise_is_not() {
    let text: Vec<u8> = (0..8 * PAGE).map(|at| b"guest memory "[at % 13]).collect();
    let mut noise = vec![0; 8 * PAGE];
    fastrand::Rng::with_seed(1).fill(&mut noise);
    let runs = [run(0, 0, 8)];
    for packing in ALL {
        let pack = |contents| PagePacker::new(0).pack(&runs, contents, packing, Basis::Nothing);
        let packed = pack(&text);
        let is_small = packed.bytes.len() < packed.plain_bytes / 10;
        assert_eq!(is_small, packing != Packing::None);
        assert_eq!(pack(&noise).bytes.len(), noise.len() + 2 + HEADER_BYTES);
    }
}

#[test]
fn a_destination_that_lacks_what_the_source_believes_in_notices() {
    let mut packer = PagePacker::new(1 << 20);
    let runs = [run(0, 0, 1)];
    let mut page = [3; PAGE];
    let mut pack = |page: &[u8; PAGE]| packer.pack(&runs, page, Packing::None, Basis::Sent).bytes;
    pack(&page);
    page[0] = 4;
    let delta = pack(&page);
    let kept = pack(&page);
    let mut destination = Memory::default();
    for bytes in [delta, kept] {
        let error = destination
            .apply(&runs, &bytes)
            .expect_err("it is zero there");
        assert_eq!(error, UnpackError::WrongDigest);
    }
}

#[test]
fn batches_with_wrong_sizes_are_refused() {
    let mut destination = Memory::default();
    let many = [run(0, 0, 1000), run(1, 0, 25)];
    assert_eq!(
        destination.apply(&many, &[]),
        Err(UnpackError::TooManyPages(1025))
    );
    let runs = [run(0, 0, 2)];
    let bytes = |body: &[u8]| {
        let header = [0; HEADER_BYTES];
        let mut bytes = [&header[..], body].concat();
        bytes[1] = body.len() as u8;
        bytes
    };
    let mut refused = |body: &[u8]| {
        let error = destination
            .apply(&runs, &bytes(body))
            .expect_err("it is wrong");
        assert!(!matches!(error, UnpackError::WrongDigest), "{body:?}");
        error
    };
    for body in [
        &[][..],
        &[ZERO],
        &[ZERO, 1],
        &[ZERO, 3],
        &[ZERO, 0],
        &[ZERO, 2, 0],
        &[RAW, 1, 5],
        &[KEPT, 200, 200, 1],
        &[SAME, 0],
        &[DELTA, 9, 1],
        &[DELTA, 1, 0x80],
        &[5, 1],
    ] {
        refused(body);
    }
    assert_eq!(
        refused(&[SAME, 1, 0xff, 0xff, 3]),
        UnpackError::NoSuchPage {
            memory: 1,
            page: 65_535
        }
    );
    let mut long = bytes(&[ZERO, 2]);
    long[3] = 1;
    assert!(destination.apply(&runs, &long).is_err());
}
