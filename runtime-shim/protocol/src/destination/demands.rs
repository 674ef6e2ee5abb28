//! Pages that follow the guest: which are missing, which it waits for, what to do when they come.

use std::time::Duration;

use super::{Destination, DestinationAction, Phase, Timer};
use crate::ids::PageRun;
use crate::message::{DemandMessage, DestinationMessage, Failure, Message};
use crate::ownership::DestinationStep;
use crate::received::{PageBitmap, PageBitmaps, count_pages};

/// Runs of one demand: its frame stays small.
const DEMAND_RUNS: usize = 256;
/// Pages that are demanded at once when the source says that all were sent and they were not.
const LATE_PAGES: u64 = 4096;
/// A demand is not repeated faster than this many times slower than at first.
const SLOWEST: u32 = 32;

/// Pages that follow the guest.
#[derive(Debug, Default)]
pub(super) struct Following {
    /// Has a map come?
    is_begun: bool,
    /// Pages of the map that have not arrived.
    missing: PageBitmaps,
    /// Pages among them that were demanded.
    demanded: PageBitmaps,
    /// How many times slower than at first a demand is repeated.
    patience: u32,
}

impl Following {
    pub(super) fn missing(&self) -> &PageBitmaps {
        &self.missing
    }

    /// Is no page missing?
    pub(super) fn is_complete(&self) -> bool {
        self.missing.values().all(PageBitmap::is_empty)
    }

    pub(super) fn begin(&mut self, missing: PageBitmaps) -> Result<(), String> {
        if self.is_begun {
            return Err("a second map of pages came".to_owned());
        }
        *self = Self {
            is_begun: true,
            missing,
            demanded: PageBitmaps::new(),
            patience: 1,
        };
        Ok(())
    }

    /// Those of the pages that are missing.
    fn missing_of(&self, runs: &[PageRun]) -> Vec<PageRun> {
        let mut found = Vec::new();
        for run in runs {
            let Some(missing) = self.missing.get(&run.memory) else {
                continue;
            };
            let mut from = run.first;
            while let Some((first, count)) = missing.next_run(from, run.count)
                && first < run.end()
            {
                let end = (first + u64::from(count)).min(run.end());
                found.push(PageRun {
                    memory: run.memory,
                    first,
                    count: (end - first) as u32,
                });
                from = end;
            }
        }
        found
    }

    fn arrived(&mut self, runs: &[PageRun]) {
        for run in runs {
            for set in [&mut self.missing, &mut self.demanded] {
                if let Some(set) = set.get_mut(&run.memory) {
                    run.pages().for_each(|page| {
                        set.remove(page);
                    });
                }
            }
        }
    }

    /// Notes a demand for these pages. Which of them were not demanded before?
    fn demand(&mut self, runs: &[PageRun]) -> Vec<PageRun> {
        let mut new = Vec::new();
        for run in runs {
            let demanded = self.demanded.entry(run.memory).or_default();
            let before = demanded.count();
            run.pages().for_each(|page| {
                demanded.insert(page);
            });
            if demanded.count() > before {
                new.push(*run);
            }
        }
        new
    }
}

/// Runs of sets, as many as go into one demand.
fn some_runs(sets: &PageBitmaps, mut pages: u64) -> Vec<PageRun> {
    let mut runs = Vec::new();
    for (&memory, set) in sets {
        for (first, count) in set.runs() {
            if pages == 0 || runs.len() == DEMAND_RUNS {
                return runs;
            }
            let count = count.min(pages);
            pages -= count;
            runs.push(PageRun {
                memory,
                first,
                count: count as u32,
            });
        }
    }
    runs
}

impl Destination {
    /// The guest waits for pages.
    pub(super) fn page_fault(&mut self, now: Duration, runs: &[PageRun]) {
        let missing = self.following.missing_of(runs);
        if missing.is_empty() {
            let runs = runs.to_vec();
            self.actions
                .push_back(DestinationAction::InstallZeros { runs });
            return;
        }
        let new = self.following.demand(&missing);
        for runs in new.chunks(DEMAND_RUNS) {
            self.send_demand(runs.to_vec());
        }
        self.wait_for_demands(now);
    }

    fn send_demand(&mut self, runs: Vec<PageRun>) {
        self.send_message(Message::Demand(DemandMessage::Demand(runs)));
    }

    fn wait_for_demands(&mut self, now: Duration) {
        let wait = self.config.timeouts.demand_again * self.following.patience.max(1);
        self.timers.set_if_none(Timer::DemandAgain, now + wait);
    }

    /// What was demanded has not come.
    pub(super) fn demand_again(&mut self, now: Duration) {
        let runs = some_runs(&self.following.demanded, LATE_PAGES);
        if runs.is_empty() {
            return;
        }
        self.send_demand(runs);
        self.following.patience = (2 * self.following.patience).min(SLOWEST);
        self.wait_for_demands(now);
    }

    /// All pages have been sent: what is missing now was lost, unless it is on its way over the other channel.
    pub(super) fn push_ended(&mut self, now: Duration) {
        if !self.following.is_complete() {
            let late = some_runs(&self.following.missing, LATE_PAGES);
            self.following.demand(&late);
            self.wait_for_demands(now);
        }
    }

    /// After a new link: demands may be lost.
    pub(super) fn demand_on_new_link(&mut self, now: Duration) {
        self.following.patience = 1;
        self.timers.clear(Timer::DemandAgain);
        let runs = some_runs(&self.following.demanded, LATE_PAGES);
        if !runs.is_empty() {
            self.send_demand(runs);
            self.wait_for_demands(now);
        }
    }

    /// Pages have come that were asked for, or not.
    pub(super) fn install(&mut self, now: Duration, runs: Vec<PageRun>, payload: Vec<u8>) {
        if !matches!(
            self.phase,
            Phase::Restoring | Phase::Prepared | Phase::Owned
        ) {
            return;
        }
        if let Err(reason) = self.check_runs(&runs) {
            // A guest that runs is not given up for this: what it lacks it demands.
            if !self.has_run() {
                self.give_up(now, Failure::Protocol(reason));
            }
            return;
        }
        let wanted = self.following.missing_of(&runs);
        if wanted.is_empty() {
            return;
        }
        let before = count_pages(&self.following.demanded);
        self.following.arrived(&wanted);
        let after = count_pages(&self.following.demanded);
        if after == 0 {
            self.timers.clear(Timer::DemandAgain);
        }
        if after < before {
            self.following.patience = 1;
        }
        self.pages_received += wanted.iter().map(|run| u64::from(run.count)).sum::<u64>();
        self.actions.push_back(DestinationAction::InstallPages {
            runs,
            wanted,
            payload,
        });
        self.report();
        if self.following.is_complete() && self.side.step() == DestinationStep::Running {
            self.all_received();
        }
    }

    /// The guest runs, and has all its pages.
    pub(super) fn all_received(&mut self) {
        if self.following.is_begun {
            self.send(DestinationMessage::AllReceived);
            self.actions
                .push_back(DestinationAction::StopWatchingFaults);
        }
        self.make_durable();
    }

    /// What was prepared is void, and with it the map.
    pub(super) fn forget_following(&mut self) {
        self.following = Following::default();
        self.timers.clear(Timer::DemandAgain);
    }
}
