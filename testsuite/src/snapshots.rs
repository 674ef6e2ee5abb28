//! Hostile snapshots: whatever the bytes, reading them ends in an error or a snapshot, without a panic.

use std::io::Cursor;

use wasm_migrate::{HEADER_BYTES, ReadOptions, Snapshot, SnapshotReader};

/// More memory than any input needs.
const MEMORY_BYTES: u64 = 64 << 20;

/// Reads bytes as a snapshot, as they are and with right checksums, whole and page by page.
pub fn check(mut bytes: Vec<u8>) {
    let options = ReadOptions {
        memory_bytes: MEMORY_BYTES,
        ..ReadOptions::default()
    };
    read(&bytes, &options);
    repair(&mut bytes);
    read(&bytes, &options);
}

fn read(bytes: &[u8], options: &ReadOptions) {
    // Any answer is right that is no panic.
    drop(Snapshot::decode(bytes, options));
    if let Ok(reader) = SnapshotReader::new(Cursor::new(bytes), options) {
        for page in [0, 1, u64::MAX] {
            drop(reader.page(0, page));
        }
    }
}

/// Puts right all checksums but those of chunks.
pub fn repair(bytes: &mut [u8]) {
    let length = |bytes: &[u8], at: usize| -> Option<usize> {
        let bytes = bytes.get(at..)?.first_chunk()?;
        usize::try_from(u64::from_le_bytes(*bytes)).ok()
    };
    let put = |bytes: &mut [u8], at: usize, part: std::ops::Range<usize>| -> Option<()> {
        let digest = *blake3::hash(bytes.get(part)?).as_bytes();
        bytes.get_mut(at..at + 32)?.copy_from_slice(&digest);
        Some(())
    };
    let parts = || {
        let body = HEADER_BYTES..HEADER_BYTES.checked_add(length(bytes, 64)?)?;
        let index_at = body.end.checked_add(length(bytes, 72)?)?;
        Some((body, index_at..index_at.checked_add(length(bytes, 80)?)?))
    };
    if let Some((body, index)) = parts() {
        // What is too short for a digest stays wrong.
        put(bytes, 96, body);
        put(bytes, 128, index);
    }
    put(bytes, 160, 0..160);
}
