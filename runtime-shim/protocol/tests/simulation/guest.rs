//! A guest whose whole state follows from how many steps it has taken, so that any page that went wrong on its way shows.

use std::collections::BTreeSet;

use wasm_migrate_protocol::PageRun;
use wasm_migrate_protocol::received::{PageBitmap, PageBitmaps};

/// Pages of each of its memories.
pub(crate) const MEMORIES: [u64; 2] = [80, 16];
/// How often a page's word is sent, to make a page of it.
const PAGE_WORDS: usize = 8;
/// Bytes of a page with its share of a frame.
pub(crate) const PACKED_BYTES: u64 = 75;
/// Steps after which it only waits.
pub(crate) const LAST_STEP: u64 = 4000;

/// What makes up a guest: one word stands for each page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) step: u64,
    pub(crate) pages: Vec<Vec<u64>>,
}

impl State {
    pub(crate) fn new() -> Self {
        // Some pages stay zero, and are never sent.
        let page = |page: u64| if page % 7 == 3 { 0 } else { page + 1 };
        let pages = MEMORIES.iter().map(|&count| (0..count).map(page).collect());
        Self {
            step: 0,
            pages: pages.collect(),
        }
    }

    /// As it must be after so many steps.
    pub(crate) fn after(steps: u64) -> Self {
        let mut state = Self::new();
        while state.step < steps {
            let (memory, page, value) = state.next_write();
            state.pages[memory][page] = value;
            state.step += 1;
        }
        state
    }

    /// Pages that the next step touches: one to read, one to write.
    fn next_pages(&self) -> [(usize, usize); 2] {
        let mut word = self.step.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word ^= word >> 31;
        let memory = usize::from(word.is_multiple_of(5));
        let count = MEMORIES[memory];
        // It mostly stays near one place, which moves slowly.
        let near = (self.step / 40 + (word >> 8) % 6) % count;
        let anywhere = (word >> 20) % count;
        [(memory, anywhere as usize), (memory, near as usize)]
    }

    fn next_write(&self) -> (usize, usize, u64) {
        let [(read_memory, read), (memory, page)] = self.next_pages();
        let value = self.pages[read_memory][read].rotate_left(7)
            ^ self.pages[memory][page].wrapping_add(self.step);
        (memory, page, value)
    }

    /// Pages that are not zero.
    pub(crate) fn touched(&self) -> PageBitmaps {
        let set = |pages: &Vec<u64>| {
            let mut set = PageBitmap::new(pages.len() as u64);
            for (page, value) in (0..).zip(pages) {
                if *value != 0 {
                    set.insert(page);
                }
            }
            set
        };
        (0..).zip(self.pages.iter().map(set)).collect()
    }
}

/// A guest on a node.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    pub(crate) state: State,
    pub(crate) is_running: bool,
    /// Pages that are still to come, in post-copy.
    pub(crate) missing: BTreeSet<(u32, u64)>,
    /// The page that it waits for.
    pub(crate) waits_for: Option<(u32, u64)>,
    /// Pages written since they were last taken.
    dirty: BTreeSet<(u32, u64)>,
}

impl Guest {
    pub(crate) fn new(state: State) -> Self {
        Self {
            state,
            is_running: false,
            missing: BTreeSet::new(),
            waits_for: None,
            dirty: BTreeSet::new(),
        }
    }

    /// Takes steps as far as it gets. The page that it must wait for, if that is new.
    pub(crate) fn run(&mut self, steps: u64) -> Option<(u32, u64)> {
        for _ in 0..steps {
            if !self.is_running || self.waits_for.is_some() || self.state.step >= LAST_STEP {
                return None;
            }
            for (memory, page) in self.state.next_pages() {
                let at = (memory as u32, page as u64);
                if self.missing.contains(&at) {
                    self.waits_for = Some(at);
                    return Some(at);
                }
            }
            let (memory, page, value) = self.state.next_write();
            self.state.pages[memory][page] = value;
            self.dirty.insert((memory as u32, page as u64));
            self.state.step += 1;
        }
        None
    }

    /// A page that was to come is there.
    pub(crate) fn install(&mut self, (memory, page): (u32, u64), value: u64) {
        assert!(
            self.missing.remove(&(memory, page)),
            "page {page} of memory {memory} is put in place twice"
        );
        self.state.pages[memory as usize][page as usize] = value;
        if self.waits_for == Some((memory, page)) {
            self.waits_for = None;
        }
    }

    pub(crate) fn dirty(&self) -> PageBitmaps {
        let mut sets = PageBitmaps::new();
        for (memory, page) in &self.dirty {
            let set = sets.entry(*memory);
            set.or_insert_with(|| PageBitmap::new(MEMORIES[*memory as usize]))
                .insert(*page);
        }
        sets
    }

    pub(crate) fn take_dirty(&mut self) -> PageBitmaps {
        let dirty = self.dirty();
        self.dirty.clear();
        dirty
    }

    /// The words of some pages.
    pub(crate) fn pack(&self, runs: &[PageRun]) -> Vec<u8> {
        let words = runs.iter().flat_map(|run| {
            let memory = &self.state.pages[run.memory as usize];
            run.pages().map(|page| memory[page as usize])
        });
        words
            .flat_map(|word| [word; PAGE_WORDS])
            .flat_map(u64::to_le_bytes)
            .collect()
    }
}

/// Pages and words of a payload.
pub(crate) fn unpack(runs: &[PageRun], payload: &[u8]) -> Option<Vec<((u32, u64), u64)>> {
    let pages: Vec<_> = runs
        .iter()
        .flat_map(|run| run.pages().map(|page| (run.memory, page)))
        .collect();
    let words = payload.chunks_exact(8 * PAGE_WORDS);
    if !words.remainder().is_empty() || words.len() != pages.len() {
        return None;
    }
    let words = words.map(|page| {
        let word = page.first_chunk().expect("it is longer");
        u64::from_le_bytes(*word)
    });
    Some(pages.into_iter().zip(words).collect())
}

/// Sets as runs of at most so many pages.
pub(crate) fn runs_of(sets: &PageBitmaps, limit: u64) -> Vec<PageRun> {
    let mut runs = Vec::new();
    for (&memory, set) in sets {
        for (mut first, mut count) in set.runs() {
            while count > 0 {
                let some = count.min(limit);
                runs.push(PageRun {
                    memory,
                    first,
                    count: some as u32,
                });
                first += some;
                count -= some;
            }
        }
    }
    runs
}

pub(crate) fn unite(into: &mut PageBitmaps, other: &PageBitmaps) {
    for (memory, set) in other {
        into.entry(*memory).or_default().union_with(set);
    }
}
