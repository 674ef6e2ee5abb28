//! What must hold at the end of a run, whatever went wrong.

use std::panic::{AssertUnwindSafe, catch_unwind};

use wasm_migrate_protocol::destination::Destination;
use wasm_migrate_protocol::ownership::{DestinationStep, Holding, SourceStep};
use wasm_migrate_protocol::source::Source;

use super::guest::State;
use super::network::Fault;
use super::world::{Node, Setup, Side, World};

/// Runs a migration to its end and checks what must hold whatever went wrong.
pub(crate) fn run(setup: Setup) -> World {
    run_and(setup, check)
}

/// The same where one peer lies. Its guest may be harmed by that, but nothing panics, and the other side comes to an end, or to
/// where only the liar's word or a person's helps.
pub(crate) fn run_with_liar(setup: Setup) -> World {
    run_and(setup, |world| {
        let source = world.source.as_ref().map(Source::ownership);
        let destination = world.destination.as_ref().map(Destination::ownership);
        match world.setup.liar {
            Some(Side::Destination) => {
                assert!(matches!(source, None | Some(SourceStep::Uncertain)));
            }
            _ => assert!(matches!(destination, None | Some(DestinationStep::Running))),
        }
    })
}

fn run_and(setup: Setup, check: fn(&World)) -> World {
    let attempt = |is_logging| {
        let mut world = World::new(setup);
        world.is_logging = is_logging;
        let result = catch_unwind(AssertUnwindSafe(|| {
            world.run();
            check(&world);
        }));
        (world, result.is_ok())
    };
    let (world, is_right) = attempt(false);
    if !is_right {
        // Once more: it goes the same way.
        for line in attempt(true).0.log {
            eprintln!("{line}");
        }
        panic!("{setup:?}");
    }
    world
}

fn check_end(world: &World) {
    assert!(world.source.is_none(), "the source does not come to an end");
    assert!(
        world.destination.is_none(),
        "the destination does not come to an end"
    );
}

fn check(world: &World) {
    let is_for_good = matches!(world.setup.fault, Fault::KillForGood(_));
    // Its pages are gone with the source, and no checkpoint of them is anywhere: nothing can go on.
    let waits_for_ever = is_for_good && world.destination_waits();
    if !waits_for_ever {
        check_end(world);
    }
    let nodes = [&world.source_node, &world.destination_node];
    let executors = nodes.iter().filter(|node| node.runs()).count();
    if world.guest_ended {
        assert_eq!(executors, 0, "a guest that has ended runs");
        return;
    }
    if nodes.iter().any(|node| !node.is_up && may_own(node)) {
        // What there is of it is on the disk of a machine that does not come back, or a person has decided.
        assert!(is_for_good);
    } else {
        assert_eq!(executors, 1, "the guest is lost");
    }
    for (node, other) in [(nodes[0], nodes[1]), (nodes[1], nodes[0])] {
        if node.runs() && !waits_for_ever {
            assert!(owns(node), "it runs where the journal does not say so");
            assert!(!owns(other) || is_for_good, "both journals claim the job");
            let state = &node.guest.as_ref().expect("it runs").state;
            assert_eq!(
                *state,
                State::after(state.step),
                "memory is not what it should be"
            );
        }
    }
}

fn may_own(node: &Node) -> bool {
    let holding = node.record.as_ref().map(|record| &record.holding);
    matches!(holding, Some(Holding::Committing(_))) || owns(node)
}

fn owns(node: &Node) -> bool {
    let holding = node.record.as_ref().map(|record| &record.holding);
    matches!(holding, Some(Holding::Owned { .. }))
}
