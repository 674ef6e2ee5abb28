//! Checks the model of the change of hands with stateright: never two executors, no lost guest, in all states within the bounds
//! that are given. `scripts/model-check` runs it.
//!
//! That there is a way to an end from everywhere is checked by the crate's own test, on smaller bounds: it needs the whole graph.

#[path = "../../tests/ownership/model.rs"]
mod model;

use std::process::ExitCode;
use std::time::Instant;

use model::{Action, Bounds, World};
use stateright::{Checker, Model, Property};

/// Bounds as a model.
struct ChangeOfHands(Bounds);

impl Model for ChangeOfHands {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.0)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        actions.extend(world.actions());
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        world.after(action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing is violated", |_, world: &World| {
                world.violation().is_none()
            }),
            // Or a model in which nothing happens would pass.
            Property::sometimes("the guest moves", |_, world: &World| world.has_moved()),
            Property::sometimes("the guest is taken back", |_, world: &World| {
                world.was_taken_back()
            }),
        ]
    }
}

fn main() -> ExitCode {
    let base = Bounds {
        post_copy: false,
        crashes: 2,
        failed_writes: 1,
        links: 2,
        deaths: false,
    };
    let post_copy = Bounds {
        post_copy: true,
        ..base
    };
    let runs = [
        ("stopped guest", base),
        ("pages follow", post_copy),
        ("three crashes", Bounds { crashes: 3, failed_writes: 0, links: 1, ..post_copy }),
        ("two failed writes", Bounds { crashes: 1, failed_writes: 2, links: 1, ..post_copy }),
        ("gone for good", Bounds { crashes: 1, deaths: true, ..post_copy }),
    ];
    let (mut passed, mut failed) = (0, 0);
    for (name, bounds) in runs {
        let start = Instant::now();
        let checker = ChangeOfHands(bounds).checker().threads(2).spawn_bfs().join();
        let states = checker.unique_state_count();
        let mut is_right = true;
        for property in checker.model().properties() {
            let found = checker.discovery(property.name);
            let is_expected = property.name != "nothing is violated";
            if found.is_some() != is_expected {
                is_right = false;
                println!("{name}: {}: {}", property.name, if is_expected { "never" } else { "no" });
                if let Some(path) = found {
                    let last = path.last_state().violation();
                    for action in path.into_actions() {
                        println!("  {action:?}");
                    }
                    println!("  {last:?}");
                }
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        println!("{name}: {states} states, {seconds:.1} s: {}", if is_right { "ok" } else { "FAILED" });
        if is_right { passed += 1 } else { failed += 1 }
    }
    println!("{passed} passed, {failed} failed, 0 skipped");
    ExitCode::from(u8::from(failed > 0))
}
