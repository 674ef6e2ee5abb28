//! Damaged batches of pages are refused, for a second; the fuzzer does the same for longer.

use std::time::{Duration, Instant};

use testsuite::pages::{check, runs};
use testsuite::random_bytes;
use wasm_migrate_protocol::pages::{Basis, Packing, PagePacker};

#[test]
fn whatever_comes_is_refused_or_is_pages() {
    let began = Instant::now();
    let packings = [Packing::None, Packing::Lz4, Packing::Zstd(1)];
    let mut packer = PagePacker::new(1 << 20);
    let mut contents = vec![0; 7 * 4096];
    for seed in 0.. {
        if began.elapsed() > Duration::from_secs(1) {
            break;
        }
        let dice: [u8; 16] = random_bytes(seed, 16).try_into().expect("so many bytes");
        // Some pages become noise, the others stay as they are: raw, deltas, kept.
        let noisy = usize::from(dice[0]) * 100;
        contents[..noisy].copy_from_slice(&random_bytes(seed, noisy));
        let packing = packings[seed as usize % packings.len()];
        let mut bytes = packer.pack(&runs(), &contents, packing, Basis::Sent).bytes;
        check(&bytes);
        let at = |dice: u8| usize::from(dice) * 256 + usize::from(dice);
        for change in dice[1..13].chunks(3).take(usize::from(dice[13] % 4)) {
            let length = bytes.len().max(1);
            match change[0] % 3 {
                0 => bytes.truncate(at(change[1]) % length),
                // Mostly where kinds and lengths are.
                1 => bytes[usize::from(change[1]) % length.min(40)] = change[2],
                _ => bytes[at(change[1]) % length] ^= 1 << (change[2] % 8),
            }
            if bytes.is_empty() {
                break;
            }
        }
        check(&bytes);
        check(&random_bytes(seed, usize::from(dice[14])));
    }
}
