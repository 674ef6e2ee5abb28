//! Which pages follow a guest next, in post-copy: those near recent faults, then all others; none twice.
//!
//! A fault leaves a *trail*: the pages behind it, and a few before it, are likely to be wanted next. A fault on a trail makes it
//! longer, as reading ahead of a file does; the most recent trail is followed first. Without trails, memory is walked from
//! its beginning. Every page is one bit, and each walk skips 64 absent pages at a time, so that a gigabyte takes as many
//! steps as it has pages.

use std::collections::VecDeque;

use crate::ids::PageRun;
use crate::received::{PageBitmaps, count_pages};

/// Trails that are followed at once: a guest that reads several arrays in turn leaves as many.
const TRAILS: usize = 8;
/// Pages that a new trail has.
const FIRST_STEPS: u64 = 16;
/// Pages that a trail has at most.
const MOST_STEPS: u64 = 512;
/// Pages before a fault that are wanted too.
const PAGES_BEFORE: u64 = 4;

/// Pages that are still to be sent, and in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushOrder {
    /// Those that have not been sent.
    pending: PageBitmaps,
    /// How many.
    count: u64,
    /// The most recent first.
    trails: VecDeque<Trail>,
    /// Everything before has been sent: memory and page.
    walked: (u32, u64),
}

/// Where a guest is likely to go next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trail {
    memory: u32,
    /// The next page of it.
    next: u64,
    /// The page behind its last.
    end: u64,
    /// How long it was made last.
    steps: u64,
}

impl PushOrder {
    /// For these pages.
    #[must_use]
    pub fn new(pending: PageBitmaps) -> Self {
        Self {
            count: count_pages(&pending),
            pending,
            trails: VecDeque::new(),
            walked: (0, 0),
        }
    }

    /// How many pages are still to be sent.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.count
    }

    /// The guest waits for these pages, which are sent at once: they are not to be pushed any more.
    pub fn demanded(&mut self, run: PageRun) {
        self.take(run);
        self.follow(run);
    }

    /// The pages to push next, at most so many, and none if all are sent or on their way.
    pub fn next_run(&mut self, limit: u32) -> Option<PageRun> {
        let run = self
            .next_on_trails(limit)
            .or_else(|| self.next_in_order(limit))?;
        self.take(run);
        Some(run)
    }

    fn take(&mut self, run: PageRun) {
        if let Some(pending) = self.pending.get_mut(&run.memory) {
            let taken = run.pages().filter(|page| pending.remove(*page)).count();
            self.count -= taken as u64;
        }
    }

    /// Makes a trail behind the fault, or a longer one if it was on one.
    fn follow(&mut self, run: PageRun) {
        let is_on = |trail: &Trail| {
            let start = trail.end.saturating_sub(2 * trail.steps);
            trail.memory == run.memory && (start..trail.end + trail.steps).contains(&run.first)
        };
        let found = self.trails.iter().position(is_on);
        let known = found.and_then(|at| self.trails.remove(at));
        let steps = known.map_or(FIRST_STEPS, |trail| (2 * trail.steps).min(MOST_STEPS));
        let before = if known.is_some() { 0 } else { PAGES_BEFORE };
        self.trails.truncate(TRAILS - 1);
        self.trails.push_front(Trail {
            memory: run.memory,
            next: run.first.saturating_sub(before),
            end: run.end().saturating_add(steps),
            steps,
        });
    }

    fn next_on_trails(&mut self, limit: u32) -> Option<PageRun> {
        for trail in &mut self.trails {
            if trail.next >= trail.end {
                continue;
            }
            let pending = self.pending.get(&trail.memory);
            let found = pending.and_then(|pending| pending.next_run(trail.next, limit));
            match found.filter(|(first, _)| *first < trail.end) {
                Some((first, count)) => {
                    let rest = u32::try_from(trail.end - first).unwrap_or(u32::MAX);
                    let count = count.min(rest);
                    trail.next = first + u64::from(count);
                    return Some(PageRun {
                        memory: trail.memory,
                        first,
                        count,
                    });
                }
                // It stays, so that a fault behind it makes it longer.
                None => trail.next = trail.end,
            }
        }
        None
    }

    fn next_in_order(&mut self, limit: u32) -> Option<PageRun> {
        let (walked_memory, walked_page) = self.walked;
        for (&memory, pending) in self.pending.range(walked_memory..) {
            let from = if memory == walked_memory {
                walked_page
            } else {
                0
            };
            if let Some((first, count)) = pending.next_run(from, limit) {
                self.walked = (memory, first + u64::from(count));
                return Some(PageRun {
                    memory,
                    first,
                    count,
                });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::received::PageBitmap;

    fn order(sizes: &[u64]) -> PushOrder {
        let full = |(memory, &pages)| (memory, PageBitmap::full(pages));
        PushOrder::new((0..).zip(sizes).map(full).collect())
    }

    #[test]
    fn every_page_goes_once() {
        let mut rng = fastrand::Rng::with_seed(7);
        for round in 0..50 {
            let sizes = [rng.u64(1..3000), rng.u64(0..10), rng.u64(1..500)];
            let mut order = order(&sizes);
            let mut sent: PageBitmaps = PageBitmaps::new();
            let mut send = |run: PageRun, is_push: bool| {
                let memory = sent.entry(run.memory).or_default();
                for page in run.pages() {
                    assert!(memory.insert(page) || !is_push, "page {page} goes twice");
                }
            };
            loop {
                if rng.u8(..) < 60 {
                    let memory = rng.u32(0..3);
                    let pages = sizes[memory as usize];
                    if pages > 0 {
                        let run = PageRun::one(memory, rng.u64(0..pages));
                        order.demanded(run);
                        send(run, false);
                    }
                }
                let Some(run) = order.next_run(rng.u32(1..40)) else {
                    break;
                };
                assert!(run.count > 0);
                send(run, true);
            }
            assert_eq!(order.remaining(), 0);
            assert_eq!(
                count_pages(&sent),
                sizes.iter().sum::<u64>(),
                "round {round}"
            );
        }
    }

    #[test]
    fn faults_lead() {
        let mut order = order(&[10_000]);
        assert_eq!(order.next_run(8).unwrap().first, 0);
        order.demanded(PageRun::one(0, 5000));
        let near = order.next_run(4).unwrap();
        assert_eq!((near.first, near.count), (4996, 4));
        assert_eq!(
            order.next_run(64).unwrap(),
            PageRun {
                memory: 0,
                first: 5001,
                count: 16
            }
        );
        // A guest that goes on there gets more and more ahead of it.
        order.demanded(PageRun::one(0, 5017));
        assert_eq!(
            order.next_run(64).unwrap(),
            PageRun {
                memory: 0,
                first: 5018,
                count: 32
            }
        );
        // Then from the beginning again.
        assert_eq!(order.next_run(8).unwrap().first, 8);
    }

    #[test]
    fn two_arrays_in_turn_have_a_trail_each() {
        let mut order = order(&[100_000]);
        for step in 0..6 {
            for array in [10_000, 50_000] {
                order.demanded(PageRun::one(0, array + 17 * step));
                let run = order.next_run(16).unwrap();
                assert!(run.first.abs_diff(array + 17 * step) <= 17, "{run:?}");
            }
        }
    }

    #[test]
    fn a_gigabyte_is_walked_quickly() {
        // Few steps, or this test takes minutes.
        let mut order = order(&[262_144]);
        let mut runs = 0;
        for fault in (0..262_144).rev().step_by(64) {
            order.demanded(PageRun::one(0, fault));
            order.next_run(16);
        }
        while order.next_run(16).is_some() {
            runs += 1;
        }
        assert!(runs >= 10_000);
        assert_eq!(order.remaining(), 0);
    }
}
