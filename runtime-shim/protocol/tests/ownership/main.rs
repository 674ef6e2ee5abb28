//! All states of the change of hands, one after the other: never two executors, never a lost guest, and from everywhere a way to
//! an end. Larger bounds, and a second checker: `scripts/model-check`.

mod model;

use std::collections::HashMap;

use model::{Bounds, World};

/// Everything that can be reached, with how it was first reached.
struct Explored {
    worlds: Vec<World>,
    /// Where each came from.
    origins: Vec<Option<(usize, model::Action)>>,
    /// Which can come next.
    successors: Vec<Vec<usize>>,
}

impl Explored {
    fn from(bounds: Bounds) -> Self {
        let first = World::new(bounds);
        let mut numbers = HashMap::from([(first.clone(), 0)]);
        let mut explored = Self {
            worlds: vec![first],
            origins: vec![None],
            successors: Vec::new(),
        };
        while explored.successors.len() < explored.worlds.len() {
            let at = explored.successors.len();
            let world = explored.worlds[at].clone();
            if let Some(what) = world.violation() {
                explored.fail(at, what);
            }
            let mut successors = Vec::new();
            for action in world.actions() {
                let Some(next) = world.after(action) else {
                    continue;
                };
                let new = explored.worlds.len();
                let number = *numbers.entry(next.clone()).or_insert(new);
                if number == new {
                    explored.worlds.push(next);
                    explored.origins.push(Some((at, action)));
                }
                successors.push(number);
            }
            explored.successors.push(successors);
        }
        explored
    }

    /// From everywhere there must be a way to where all is settled.
    fn check_ends(&self) {
        let mut predecessors = vec![Vec::new(); self.worlds.len()];
        for (at, successors) in self.successors.iter().enumerate() {
            for &next in successors {
                predecessors[next].push(at);
            }
        }
        let settled = (0..self.worlds.len()).filter(|&at| self.worlds[at].is_settled());
        let mut ways: Vec<usize> = settled.collect();
        let mut has_way = vec![false; self.worlds.len()];
        while let Some(at) = ways.pop() {
            if !std::mem::replace(&mut has_way[at], true) {
                ways.extend(&predecessors[at]);
            }
        }
        if let Some(at) = has_way.iter().position(|has_way| !has_way) {
            self.fail(at, "from here there is no end");
        }
    }

    fn fail(&self, mut at: usize, what: &str) -> ! {
        let end = &self.worlds[at];
        let mut actions = Vec::new();
        while let Some((before, action)) = self.origins[at] {
            actions.push(action);
            at = before;
        }
        for action in actions.iter().rev() {
            eprintln!("{action:?}");
        }
        panic!("{what}: {end:#?}");
    }
}

fn explore(bounds: Bounds, at_least: usize) {
    let explored = Explored::from(bounds);
    eprintln!("{bounds:?}: {} states", explored.worlds.len());
    assert!(
        explored.worlds.len() >= at_least,
        "the model has lost something"
    );
    assert!(explored.worlds.iter().any(World::has_moved));
    assert!(explored.worlds.iter().any(World::was_taken_back));
    explored.check_ends();
}

const SMALL: Bounds = Bounds {
    post_copy: false,
    crashes: 1,
    failed_writes: 1,
    links: 1,
    deaths: false,
};

#[test]
fn a_stopped_guest_changes_hands() {
    explore(SMALL, 1000);
}

#[test]
fn a_guest_changes_hands_before_its_pages() {
    explore(
        Bounds {
            post_copy: true,
            ..SMALL
        },
        1000,
    );
}

#[test]
fn two_crashes() {
    explore(
        Bounds {
            crashes: 2,
            failed_writes: 0,
            ..SMALL
        },
        1000,
    );
}

#[test]
fn one_side_is_gone_for_good() {
    for post_copy in [false, true] {
        explore(
            Bounds {
                post_copy,
                failed_writes: 0,
                deaths: true,
                ..SMALL
            },
            1000,
        );
    }
}
