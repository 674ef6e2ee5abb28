//! Memories as data segments: runs of bytes that are not zero.

use wasm_encoder::{ConstExpr, DataSection};
use wasmparser::MemoryType;

use super::FreezeError;
use crate::memory::{BLOCK_BYTES, MemoryContents};

/// Far fewer than engines allow (100,000), since each costs time at every start.
const SEGMENTS_MAX: usize = 10_000;
/// Engines refuse larger modules.
const BYTES_MAX: u64 = 1 << 30;
/// Zeros that cost less as bytes than a further segment does.
const GAP_BYTES_MIN: u64 = 64;

/// A piece of a memory.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Segment {
    memory: u32,
    address: u64,
    bytes: Vec<u8>,
}

/// The contents of all memories.
///
/// # Errors
/// They are more than a module can hold.
pub(super) fn segments(memories: &[MemoryContents]) -> Result<Vec<Segment>, FreezeError> {
    let mut gap_bytes = GAP_BYTES_MIN;
    loop {
        let all = (0..)
            .zip(memories)
            .map(|(index, contents)| runs(index, contents, gap_bytes));
        let all: Vec<(u32, Vec<std::ops::Range<u64>>)> = all.collect();
        let count: usize = all.iter().map(|(_, runs)| runs.len()).sum();
        // With gaps longer than any memory there is at most one run in each.
        if count <= SEGMENTS_MAX || gap_bytes > 1 << 62 {
            let runs = all.iter().flat_map(|(_, runs)| runs);
            let found = runs.fold(0_u64, |sum, run| sum.saturating_add(run.end - run.start));
            if found > BYTES_MAX {
                return Err(FreezeError::TooLarge {
                    found,
                    allowed: BYTES_MAX,
                });
            }
            return Ok(all
                .into_iter()
                .zip(memories)
                .flat_map(|((memory, runs), contents)| {
                    runs.into_iter().map(move |run| Segment {
                        memory,
                        address: run.start,
                        bytes: bytes(contents, run),
                    })
                })
                .collect());
        }
        gap_bytes *= 4;
    }
}

/// Writes a segment that is copied to its memory at the start.
pub(super) fn write(segment: &Segment, types: &[MemoryType], section: &mut DataSection) {
    let Segment {
        memory,
        address,
        bytes,
    } = segment;
    let is_64 = types[*memory as usize].memory64;
    section.active(*memory, &offset(*address, is_64), bytes.iter().copied());
}

/// An address or element number as a constant of the type that its memory or table has.
pub(super) fn offset(at: u64, is_64: bool) -> ConstExpr {
    if is_64 {
        ConstExpr::i64_const(at.cast_signed())
    } else {
        // What has 32-bit addresses has no greater ones.
        ConstExpr::i32_const((at as u32).cast_signed())
    }
}

/// Ranges outside which there are only zeros; between two of them there are at least `gap_bytes`.
fn runs(index: u32, contents: &MemoryContents, gap_bytes: u64) -> (u32, Vec<std::ops::Range<u64>>) {
    const STEP: usize = 16;
    let mut runs: Vec<std::ops::Range<u64>> = Vec::new();
    for block in &contents.blocks {
        let start = block.index * BLOCK_BYTES;
        for (number, step) in block.bytes.chunks(STEP).enumerate() {
            if step.iter().all(|byte| *byte == 0) {
                continue;
            }
            let from = start + (number * STEP) as u64;
            let to = from + step.len() as u64;
            match runs.last_mut() {
                Some(last) if from - last.end < gap_bytes => last.end = to,
                _ => runs.push(from..to),
            }
        }
    }
    (index, runs)
}

fn bytes(contents: &MemoryContents, range: std::ops::Range<u64>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity((range.end - range.start) as usize);
    let mut at = range.start;
    while at < range.end {
        let block_end = (at / BLOCK_BYTES + 1) * BLOCK_BYTES;
        let end = block_end.min(range.end);
        let held = contents
            .blocks
            .binary_search_by_key(&(at / BLOCK_BYTES), |block| block.index);
        match held {
            Ok(place) => {
                let within = (at % BLOCK_BYTES) as usize..((at % BLOCK_BYTES) + end - at) as usize;
                bytes.extend_from_slice(&contents.blocks[place].bytes[within]);
            }
            Err(_) => bytes.resize(bytes.len() + (end - at) as usize, 0),
        }
        at = end;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::{FreezeError, SEGMENTS_MAX, segments};
    use crate::memory::{Block, MemoryContents, MemorySize, MemoryView};

    fn rebuilt(memory: &[u8]) -> (Vec<u8>, usize) {
        let contents = MemoryContents::copy(MemoryView {
            page_bytes: 1,
            bytes: memory,
        });
        let segments = segments(&[contents]).expect("it is small");
        let mut copy = vec![0; memory.len()];
        for segment in &segments {
            let at = segment.address as usize;
            copy[at..at + segment.bytes.len()].copy_from_slice(&segment.bytes);
        }
        (copy, segments.len())
    }

    #[test]
    fn runs_of_zeros_are_left_out() {
        let mut memory = vec![0; 300_005];
        memory[100] = 1;
        memory[120] = 2;
        memory[65_535] = 3;
        memory[65_536] = 4;
        memory[300_004] = 5;
        let (copy, count) = rebuilt(&memory);
        assert!(copy == memory);
        assert_eq!(count, 3);
    }

    #[test]
    fn what_no_module_can_hold_is_refused() {
        // More runs than there may be segments, far apart: they are joined all the same.
        let blocks = (0..SEGMENTS_MAX as u64 + 2).map(|number| Block {
            index: number << 20,
            bytes: vec![1; 16],
        });
        let contents = MemoryContents {
            size: MemorySize {
                page_bytes: 65_536,
                pages: 1 << 40,
            },
            blocks: blocks.collect(),
        };
        assert!(matches!(
            segments(&[contents]),
            Err(FreezeError::TooLarge { .. })
        ));
    }

    #[test]
    fn there_are_never_too_many_segments() {
        let mut memory = vec![0; 40 << 20];
        memory.iter_mut().step_by(256).for_each(|byte| *byte = 7);
        let (copy, count) = rebuilt(&memory);
        assert!(copy == memory);
        assert!(count <= SEGMENTS_MAX, "{count}");
    }
}
