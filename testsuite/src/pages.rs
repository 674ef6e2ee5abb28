//! Batches of pages that come from anyone, for tests and the fuzzer.

use wasm_migrate_protocol::PageRun;
use wasm_migrate_protocol::pages::{Basis, Packing, PageContents, PagePacker, unpack};

/// The pages that a checked batch is of.
#[must_use]
pub fn runs() -> [PageRun; 2] {
    [(0, 3, 4), (1, 0, 3)].map(|(memory, first, count)| PageRun {
        memory,
        first,
        count,
    })
}

/// Unpacks bytes as a batch of [`runs`]: they are refused, or are as many pages, which go through a packer and back.
///
/// # Panics
/// Something else happens.
pub fn check(bytes: &[u8]) {
    let runs = runs();
    let held = |_, page: u64, buffer: &mut [u8; 4096]| {
        buffer.fill(page as u8);
        page < 100
    };
    let Ok(batch) = unpack(&runs, bytes, held) else {
        return;
    };
    let mut contents = Vec::new();
    for (memory, page, held_now) in batch.pages() {
        let mut buffer = [0; 4096];
        match held_now {
            PageContents::Zero => {}
            PageContents::Kept => assert!(held(memory, page, &mut buffer), "it was there before"),
            PageContents::Bytes(bytes) => buffer.copy_from_slice(bytes),
        }
        contents.extend(buffer);
    }
    let packed = PagePacker::new(0).pack(&runs, &contents, Packing::Lz4, Basis::Nothing);
    let again = unpack(&runs, &packed.bytes, held).expect("it was just packed");
    assert_eq!(again.pages().count(), 7, "as many as the runs have");
}
