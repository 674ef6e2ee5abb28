//! Pages follow a guest that runs at the destination: those that it waits for at once, the others in between.
//!
//! Each channel has one batch under way: what is queued in front of a page that the guest waits for is no more than the batch in
//! bulk, which goes over a channel of its own anyway.
//!
//! The destination's kernel may have larger pages than this protocol. It can only put whole ones in place, so pages go in *groups* that
//! are one page there: sets are widened to groups, and the order is one of groups.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Phase, Source, SourceAction};
use crate::ids::{PAGE_BYTES, PageRun};
use crate::message::{BulkMessage, Channel};
use crate::push_order::PushOrder;
use crate::received::{PageBitmap, PageBitmaps, PageSet, count_pages, encode_sets};

/// Pages of one answer to demands: more would be late for the first.
const ANSWER_PAGES: u64 = 64;
/// Pages that may wait to be answered. A destination demands what its guest's one thread waits for, so this is plenty.
const WAITING_PAGES: u64 = 1 << 16;

/// What is to be pushed, and how far that is.
#[derive(Debug, Default)]
pub(super) struct Pushing {
    /// Was it decided that pages follow?
    is_begun: bool,
    /// Pages of a group; 0 before that is known.
    group: u64,
    /// Pages that follow, as they were when the guest stopped, in whole groups.
    all: PageBitmaps,
    /// Groups that have not been sent, once the state is.
    order: Option<PushOrder>,
    /// Demands that are not answered yet.
    waiting: VecDeque<PageRun>,
    /// Pages in them.
    waiting_pages: u64,
    is_bulk_busy: bool,
    is_demand_busy: bool,
    /// Was the destination told that all were sent?
    is_end_sent: bool,
    /// Has it said that none is missing?
    is_over: bool,
}

impl Pushing {
    /// Pages will follow the guest, which is about to stop.
    pub(super) fn begin(&mut self) {
        self.is_begun = true;
    }

    pub(super) fn has_begun(&self) -> bool {
        self.is_begun
    }

    /// The guest has stopped, and these pages will follow, and those beside them that are one page in the destination's kernel. All
    /// of them, as they travel.
    pub(super) fn hold(&mut self, missing: PageBitmaps, kernel_page_bytes: u32) -> Vec<PageSet> {
        let group = (u64::from(kernel_page_bytes) / PAGE_BYTES).max(1);
        *self = Self {
            is_begun: true,
            group,
            all: widen(missing, group),
            ..Self::default()
        };
        encode_sets(&self.all)
    }

    /// Pages that follow, all of them.
    pub(super) fn held(&self) -> u64 {
        count_pages(&self.all)
    }

    /// The state has been sent: pages may follow.
    pub(super) fn open(&mut self) {
        if self.is_begun && self.order.is_none() {
            self.order = Some(PushOrder::new(groups_of(&self.all, self.group)));
        }
    }

    /// The destination has said which pages it still lacks: what was under way is lost.
    pub(super) fn restart(&mut self, mut missing: PageBitmaps) {
        if !self.is_begun {
            return;
        }
        missing.retain(|memory, set| match self.all.get(memory) {
            Some(all) => {
                set.intersect_with(all);
                true
            }
            None => false,
        });
        self.order = Some(PushOrder::new(groups_of(&missing, self.group)));
        self.is_end_sent = false;
    }

    pub(super) fn link_lost(&mut self) {
        self.waiting.clear();
        self.waiting_pages = 0;
        self.is_bulk_busy = false;
        self.is_demand_busy = false;
    }

    pub(super) fn remaining(&self) -> u64 {
        let pending = self.order.as_ref().map(PushOrder::remaining);
        pending.map_or_else(|| count_pages(&self.all), |groups| groups * self.group)
    }

    /// Are there no pages that must follow, or have all arrived?
    pub(super) fn is_over(&self) -> bool {
        self.is_over || !self.is_begun
    }
}

/// The set with all pages of every group that one of them is in, as far as the memory goes.
fn widen(mut sets: PageBitmaps, group: u64) -> PageBitmaps {
    if group > 1 {
        for set in sets.values_mut() {
            let pages = set.capacity();
            let runs: Vec<_> = set.runs().collect();
            for (first, count) in runs {
                let end = (first + count).next_multiple_of(group).min(pages);
                (first / group * group..end).for_each(|page| {
                    set.insert(page);
                });
            }
        }
    }
    sets
}

/// The groups that are made of these pages.
fn groups_of(sets: &PageBitmaps, group: u64) -> PageBitmaps {
    if group <= 1 {
        return sets.clone();
    }
    let of_set = |(&memory, set): (&u32, &PageBitmap)| {
        let mut groups = PageBitmap::new(set.capacity().div_ceil(group));
        for (first, count) in set.runs() {
            (first / group..(first + count).div_ceil(group)).for_each(|one| {
                groups.insert(one);
            });
        }
        (memory, groups)
    };
    sets.iter().map(of_set).collect()
}

impl Pushing {
    /// The pages of a run of groups.
    fn pages_of(&self, groups: PageRun) -> PageRun {
        let pages = self.all.get(&groups.memory).map_or(0, PageBitmap::capacity);
        let first = groups.first * self.group;
        let end = (groups.end() * self.group).min(pages);
        PageRun {
            memory: groups.memory,
            first,
            count: u32::try_from(end - first).expect("it was limited when it was made"),
        }
    }

    /// Takes what the guest waits for out of the order, as far as it does follow: the destination has the rest. What a peer
    /// makes up ends at the memory's end.
    fn demand(&mut self, run: PageRun) {
        let Some(all) = self.all.get(&run.memory) else {
            return;
        };
        let end = run.end().min(all.capacity());
        let mut from = run.first / self.group * self.group;
        while from < end
            && self.waiting_pages < WAITING_PAGES
            && let Some(first) = all.next_from(from).filter(|first| *first < end)
        {
            let groups = PageRun::one(run.memory, first / self.group);
            let wanted = self.pages_of(groups);
            if let Some(order) = &mut self.order {
                order.demanded(groups);
            }
            self.waiting.push_back(wanted);
            self.waiting_pages += u64::from(wanted.count);
            from = wanted.end();
        }
    }

    /// What to answer next, in whole groups.
    fn next_answer(&mut self) -> Vec<PageRun> {
        let mut runs = Vec::new();
        let mut pages = 0;
        while pages < ANSWER_PAGES
            && let Some(run) = self.waiting.pop_front()
        {
            pages += u64::from(run.count);
            runs.push(run);
        }
        self.waiting_pages -= pages;
        runs.sort_unstable();
        runs.dedup();
        runs
    }

    /// What to push next: about so many pages, in whole groups.
    fn next_push(&mut self, limit: u32) -> Vec<PageRun> {
        let mut runs = Vec::new();
        let group = u32::try_from(self.group).expect("kernels have small pages");
        let mut room = (limit / group.max(1)).max(1);
        while room > 0
            && let Some(groups) = self.order.as_mut().and_then(|order| order.next_run(room))
        {
            room -= groups.count;
            runs.push(self.pages_of(groups));
        }
        // A batch lists its pages in ascending order; which came first does not matter within it.
        runs.sort_unstable();
        runs
    }
}

impl Source {
    /// The guest waits for pages at the destination.
    pub(super) fn demanded(&mut self, runs: &[PageRun]) {
        if self.pushing.order.is_some() {
            for run in runs {
                self.pushing.demand(*run);
            }
            self.answer_demands();
        }
    }

    fn answer_demands(&mut self) {
        if self.pushing.is_demand_busy || self.link.joined().is_none() {
            return;
        }
        let runs = self.pushing.next_answer();
        if !runs.is_empty() {
            self.pushing.is_demand_busy = true;
            self.actions.push_back(SourceAction::SendPages {
                channel: Channel::Demand,
                runs,
            });
        }
    }

    /// Keeps both channels busy: answers, and pages that were not asked for.
    pub(super) fn pump(&mut self) {
        self.answer_demands();
        let pushing = &mut self.pushing;
        // Until the guest runs there, what hands it over would wait behind them on the way.
        let is_time = self.phase == Phase::Handed;
        let is_idle =
            is_time && pushing.order.is_some() && !pushing.is_bulk_busy && !pushing.is_end_sent;
        if !is_idle || self.link.joined().is_none() {
            return;
        }
        let runs = pushing.next_push(self.config.push_pages.max(1));
        if runs.is_empty() {
            pushing.is_end_sent = true;
            self.send_bulk(BulkMessage::PushEnd);
        } else {
            pushing.is_bulk_busy = true;
            self.actions.push_back(SourceAction::SendPages {
                channel: Channel::Bulk,
                runs,
            });
        }
    }

    pub(super) fn pages_sent(&mut self, now: Duration, channel: Channel, pages: u64, bytes: u64) {
        match channel {
            Channel::Bulk => self.pushing.is_bulk_busy = false,
            Channel::Demand => self.pushing.is_demand_busy = false,
            Channel::Control => return,
        }
        self.pages_sent += pages;
        self.bytes_sent += bytes;
        self.heard_of_peer(now);
        self.pump();
        self.report();
    }

    pub(super) fn all_received(&mut self) {
        if self.pushing.is_begun {
            self.pushing.is_over = true;
            self.pushing.order = None;
            self.report();
        }
    }
}
