//! Both machines over a simulated link, in every mode, with a fault at every frame, with many faults, and with peers that lie:
//! never two executors, never a lost guest, every page right, and an end when the faults stop.

mod check;
mod destination_node;
mod guest;
mod lies;
mod network;
mod source_node;
mod world;

use std::ops::Range;
use std::time::Duration;

use wasm_migrate_protocol::offer::Mode;
use wasm_migrate_protocol::source::SourceOutcome;

use check::run;
use network::{Fault, Wire};
use world::{Setup, Side, World};

const MODES: [Mode; 5] = [Mode::Stop, Mode::Pre, Mode::Post, Mode::Hybrid, Mode::Auto];
const SECOND: Duration = Duration::from_secs(1);

/// Nothing goes wrong that could keep the guest from moving.
fn run_well(setup: Setup) -> World {
    let world = run(setup);
    let outcome = &world.source_outcome;
    assert_eq!(*outcome, Some(SourceOutcome::Moved), "{setup:?}");
    world
}

/// A fault at every frame of every mode, with a check of its own.
fn everywhere(faults: &[Fault], seeds: Range<u64>, wire: Wire, run: fn(Setup) -> World) {
    for mode in MODES {
        for seed in seeds.clone() {
            let setup = Setup {
                wire,
                ..Setup::new(seed, mode)
            };
            // And after the last.
            let frames = run_well(setup).frames + 2;
            for at_frame in 0..frames {
                for fault in faults {
                    run(Setup {
                        fault: *fault,
                        at_frame,
                        ..setup
                    });
                }
            }
        }
    }
}

#[test]
fn all_goes_well() {
    for mode in MODES {
        for seed in 0..40 {
            let world = run_well(Setup::new(seed, mode));
            assert!(world.downtime.is_some());
        }
    }
}

#[test]
fn without_userfaultfd_auto_moves_by_rounds() {
    for seed in 0..10 {
        let world = run_well(Setup {
            can_post_copy: false,
            ..Setup::new(seed, Mode::Auto)
        });
        assert!(!world.pages_followed);
    }
}

#[test]
fn pages_follow_where_they_should() {
    for seed in 0..10 {
        assert!(run_well(Setup::new(seed, Mode::Post)).pages_followed);
        assert!(!run_well(Setup::new(seed, Mode::Pre)).pages_followed);
        assert!(!run_well(Setup::new(seed, Mode::Stop)).pages_followed);
        // A guest that writes more than the link takes.
        let slow = Setup {
            bytes_per_second: 40_000.0,
            ..Setup::new(seed, Mode::Hybrid)
        };
        assert!(run_well(slow).pages_followed);
    }
}

#[test]
fn what_a_new_link_mends_does_not_keep_the_guest() {
    let faults = [
        Fault::Duplicate,
        Fault::Delay(Duration::from_millis(300)),
        Fault::Corrupt,
        Fault::Cut,
        Fault::CutFor(30 * SECOND),
    ];
    everywhere(&faults, 0..2, Wire::Frames, run_well);
}

#[test]
fn frames_are_lost_or_come_much_too_late() {
    let faults = [
        Fault::Drop,
        Fault::Delay(400 * SECOND),
        Fault::CutFor(3000 * SECOND),
    ];
    everywhere(&faults, 0..2, Wire::Frames, run);
}

#[test]
fn messages_without_numbers_are_lost_repeated_delayed() {
    let faults = [
        Fault::Drop,
        Fault::Duplicate,
        Fault::Delay(Duration::from_millis(300)),
    ];
    everywhere(&faults, 2..4, Wire::Bare, run);
}

#[test]
fn the_source_crashes_cancels_or_cannot_write() {
    let faults = [
        Fault::Kill(Side::Source, SECOND),
        Fault::Cancel,
        Fault::EndGuest,
        Fault::FailWrite(Side::Source, true),
        Fault::FailWrite(Side::Source, false),
    ];
    everywhere(&faults, 0..2, Wire::Frames, run);
}

#[test]
fn the_destination_crashes_or_cannot_write() {
    let faults = [
        Fault::Kill(Side::Destination, SECOND),
        Fault::Kill(Side::Destination, 2000 * SECOND),
        Fault::FailWrite(Side::Destination, true),
        Fault::FailWrite(Side::Destination, false),
    ];
    everywhere(&faults, 0..2, Wire::Frames, run);
}

#[test]
fn both_crash() {
    everywhere(&[Fault::KillBoth(2 * SECOND)], 0..3, Wire::Frames, run);
}

#[test]
fn one_is_gone_for_good_and_a_person_decides() {
    let faults = [
        Fault::KillForGood(Side::Destination),
        Fault::KillForGood(Side::Source),
    ];
    everywhere(&faults, 0..2, Wire::Frames, run);
}

#[test]
fn much_goes_wrong_at_once() {
    for mode in MODES {
        for seed in 0..120 {
            for wire in [Wire::Frames, Wire::Bare] {
                run(Setup {
                    wire,
                    chaos: 1 + (seed % 12) as u8,
                    ..Setup::new(seed, mode)
                });
            }
        }
    }
}

#[test]
fn peers_lie() {
    for mode in MODES {
        for seed in 0..150 {
            for liar in [Side::Source, Side::Destination] {
                check::run_with_liar(Setup {
                    liar: Some(liar),
                    ..Setup::new(seed, mode)
                });
            }
        }
    }
}
