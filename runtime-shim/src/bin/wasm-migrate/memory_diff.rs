//! Which pages of memory differ between two snapshots. Both are read side by side, some pages at a time.

use std::io::{self, Write};
use std::ops::Range;

use serde::Serialize;
use wasm_migrate::{PAGE_BYTES, SnapshotChain, SnapshotError};

/// Pages that are read at once.
const PAGES_AT_ONCE: u64 = 1024;

/// What changed in a memory.
#[derive(Serialize)]
pub(crate) struct MemoryDifference {
    memory: usize,
    /// Sizes in bytes.
    bytes: [u64; 2],
    changed_pages: u64,
    /// Neighbouring changed pages, as byte ranges.
    pub(crate) ranges: Vec<Range<u64>>,
}

/// Compares all memories.
pub(crate) fn compare(
    a: &SnapshotChain<'_>,
    b: &SnapshotChain<'_>,
) -> Result<Vec<MemoryDifference>, SnapshotError> {
    let count = |chain: &SnapshotChain<'_>| chain.newest().snapshot().state.memories.len();
    let mut differences = Vec::new();
    for memory in 0..count(a).min(count(b)) {
        let size = |chain: &SnapshotChain<'_>| chain.newest().snapshot().state.memories[memory];
        let bytes = [size(a).bytes(), size(b).bytes()];
        let mut changed = Vec::new();
        for pages in union(a.stored_pages(memory), b.stored_pages(memory)) {
            for first in pages.clone().step_by(PAGES_AT_ONCE as usize) {
                let some = first..pages.end.min(first + PAGES_AT_ONCE);
                changed_pages([a, b], memory, some, &mut changed)?;
            }
        }
        if bytes[0] != bytes[1] || !changed.is_empty() {
            let page = PAGE_BYTES as u64;
            let ranges = changed
                .iter()
                .map(|pages| pages.start * page..pages.end * page);
            differences.push(MemoryDifference {
                memory,
                bytes,
                changed_pages: changed.iter().map(|pages| pages.end - pages.start).sum(),
                ranges: ranges.collect(),
            });
        }
    }
    Ok(differences)
}

/// Adds those of some pages that are not equal.
fn changed_pages(
    chains: [&SnapshotChain<'_>; 2],
    memory: usize,
    pages: Range<u64>,
    changed: &mut Vec<Range<u64>>,
) -> Result<(), SnapshotError> {
    let length = (pages.end - pages.start) as usize * PAGE_BYTES;
    let mut contents = [vec![0; length], vec![0; length]];
    for (chain, bytes) in chains.iter().zip(&mut contents) {
        // What lies beyond a memory counts as zero.
        let end = chain.newest().snapshot().state.memories[memory].bytes();
        let left = end.saturating_sub(pages.start * PAGE_BYTES as u64);
        let there = length.min(usize::try_from(left).unwrap_or(length));
        chain.read(memory, pages.start, &mut bytes[..there])?;
    }
    let [a, b] = &contents;
    for (page, (a, b)) in pages.zip(a.chunks(PAGE_BYTES).zip(b.chunks(PAGE_BYTES))) {
        if a != b {
            match changed.last_mut() {
                Some(last) if last.end == page => last.end += 1,
                _ => changed.push(page..page + 1),
            }
        }
    }
    Ok(())
}

/// Ranges, ascending and apart, that hold what either list holds, which are so, too.
fn union(a: Vec<Range<u64>>, b: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut all = [a, b].concat();
    all.sort_unstable_by_key(|range| range.start);
    let mut union: Vec<Range<u64>> = Vec::new();
    for range in all {
        match union.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => union.push(range),
        }
    }
    union
}

impl MemoryDifference {
    /// Prints it as text, with at most so many ranges.
    pub(crate) fn print(&self, out: &mut dyn Write, ranges_max: usize) -> io::Result<()> {
        let Self {
            memory,
            bytes: [before, after],
            changed_pages,
            ranges,
        } = self;
        let plural = if *changed_pages == 1 { "" } else { "s" };
        writeln!(
            out,
            "memory {memory}: {changed_pages} page{plural} of {PAGE_BYTES} bytes changed"
        )?;
        if before != after {
            writeln!(out, "  it had {before} bytes and has {after}")?;
        }
        for Range { start, end } in ranges.iter().take(ranges_max) {
            writeln!(out, "  {start:#x}..{end:#x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::union;

    #[test]
    fn ranges_are_joined() {
        let joined = union(vec![0..2, 5..6, 9..12], vec![1..3, 6..7, 10..11, 20..21]);
        assert_eq!(joined, [0..3, 5..7, 9..12, 20..21]);
    }
}
