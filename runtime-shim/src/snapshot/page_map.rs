//! The page map as others see it: which pages of a memory a snapshot holds, and which not.

use serde::Serialize;

use super::pages::Run;
use super::reader::SnapshotReader;

/// Neighbouring pages of a memory of which a snapshot says the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRun {
    /// What it says.
    pub kind: PageKind,
    /// Index of the first of them.
    pub first: u64,
    /// How many.
    pub count: u64,
}

/// What a snapshot says of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PageKind {
    /// It is all zero.
    Zero,
    /// It holds what it does in the snapshot that this one builds on.
    Inherited,
    /// Its contents are in the snapshot; equal pages are stored once.
    Stored,
}

impl SnapshotReader<'_> {
    /// The pages of a memory, from the first to the last; none if there is no such memory. Neighbours differ in
    /// kind.
    pub fn page_map(&self, memory: usize) -> Vec<PageRun> {
        let mut map: Vec<PageRun> = Vec::new();
        let mut first = 0;
        for run in self.runs(memory) {
            let (kind, count) = (kind(*run), run.count());
            match map.last_mut() {
                Some(last) if last.kind == kind => last.count += count,
                _ => map.push(PageRun { kind, first, count }),
            }
            first += count;
        }
        map
    }
}

fn kind(run: Run) -> PageKind {
    match run {
        Run::Zero(_) => PageKind::Zero,
        Run::Inherited(_) => PageKind::Inherited,
        Run::Stored { .. } => PageKind::Stored,
    }
}
