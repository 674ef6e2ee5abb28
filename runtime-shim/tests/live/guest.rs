//! The handle of a running guest: stops, jobs at stops, throttling, killing; and moves in one piece.

use std::time::Duration;

use wasm_migrate::live::{ArrivalError, Ending, GuestPhase, Next, StopError};
use wasm_migrate::{Interruption, Measured as _, MemorySize, ResumeError, Snapshot};

use crate::rig::{ROUNDS, Rig, WRITER, admit, spawn};

const SOON: Option<Duration> = Some(Duration::from_secs(60));

#[test]
fn a_guest_moves_in_one_piece_and_goes_on() {
    let rig = Rig::new(WRITER);
    let expected = rig.undisturbed(ROUNDS / 20);
    let mut running = rig.start(ROUNDS / 20);
    let mut moves = 0;
    loop {
        let stopped = match running.guest.stop(SOON) {
            Ok(stopped) => stopped,
            Err(StopError::Ended) => break,
            Err(error) => panic!("{error}"),
        };
        let bytes = stopped.snapshot().encode_image();
        let snapshot = Snapshot::decode_image(&bytes).expect("it is whole");
        assert_eq!(&snapshot, stopped.snapshot());
        let mut arriving = rig.arriving();
        arriving.check(&snapshot).expect("it fits");
        arriving
            .resize(&snapshot.state.memories)
            .expect("there is room");
        for (memory, view) in (0..).zip(stopped.memories()) {
            arriving
                .write(memory, 0, view.bytes)
                .expect("it has this size");
        }
        let departed = stopped.depart();
        let next = admit(arriving, snapshot);
        departed.release();
        assert!(matches!(running.ending(), Ending::Left));
        running = next;
        moves += 1;
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(running.guest.status().epoch, moves + 1);
    }
    assert!(moves > 2, "{moves} moves");
    assert_eq!(running.result(), expected);
}

#[test]
fn a_guest_that_is_not_admitted_has_done_nothing_and_its_source_goes_on() {
    let rig = Rig::new(WRITER);
    let running = rig.start(ROUNDS / 100);
    let stopped = running.guest.stop(SOON).expect("it runs");
    let mut arriving = rig.arriving();
    let snapshot = stopped.snapshot().clone();
    arriving
        .resize(&snapshot.state.memories)
        .expect("there is room");
    let (runner, begin) = arriving.run(snapshot, 2, [], || false);
    match spawn(runner, begin).ending() {
        Ending::Failed(error) => assert_eq!(
            error.downcast_ref::<Interruption>(),
            Some(&Interruption::NotAdmitted)
        ),
        other => panic!("{other:?}"),
    }
    drop(stopped);
    assert_eq!(running.result(), rig.undisturbed(ROUNDS / 100));
}

#[test]
fn a_departed_guest_can_come_back() {
    let rig = Rig::new(WRITER);
    let running = rig.start(ROUNDS / 100);
    let departed = running.guest.stop(SOON).expect("it runs").depart();
    assert_eq!(running.guest.status().phase, GuestPhase::Stopped);
    departed.come_back(7);
    assert_eq!(
        running.guest.stop(SOON).expect("it runs").snapshot().epoch,
        7
    );
    assert_eq!(running.result(), rig.undisturbed(ROUNDS / 100));
}

#[test]
fn jobs_are_done_at_stops() {
    let rig = Rig::new(WRITER);
    let running = rig.start(ROUNDS / 20);
    let (tell, told) = std::sync::mpsc::channel();
    for number in 0..10 {
        let tell = tell.clone();
        running.guest.at_stop(move |stop| {
            let sizes: Vec<MemorySize> = stop.memories().iter().map(|view| view.size()).collect();
            let snapshot = stop.snapshot().expect("its state can be taken");
            assert_eq!(snapshot.state.memories, sizes);
            tell.send(number).expect("the test listens");
            Next::GoOn
        });
    }
    drop(tell);
    assert_eq!(told.iter().collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    assert_eq!(running.result(), rig.undisturbed(ROUNDS / 20));
}

#[test]
fn a_killed_guest_ends() {
    let rig = Rig::new(WRITER);
    let running = rig.start(i64::MAX);
    running.guest.kill();
    let guest = running.guest.clone();
    match running.ending() {
        Ending::Failed(error) => assert_eq!(
            error.downcast_ref::<Interruption>(),
            Some(&Interruption::Killed)
        ),
        other => panic!("{other:?}"),
    }
    assert_eq!(guest.status().phase, GuestPhase::Ended);
    assert!(matches!(guest.stop(SOON), Err(StopError::Ended)));
}

#[test]
fn a_throttled_guest_gets_less_done() {
    let rig = Rig::new(WRITER);
    let running = rig.start(i64::MAX);
    // Budgets in the same time: polls come every so often while the guest runs.
    let polls_in_a_while = || {
        std::thread::sleep(Duration::from_millis(50));
        let before = running.guest.status().polls;
        std::thread::sleep(Duration::from_millis(300));
        running.guest.status().polls - before
    };
    let full = polls_in_a_while();
    running.guest.throttle(0.9);
    let throttled = polls_in_a_while();
    assert!(throttled > 0 && throttled * 2 < full, "{throttled}, {full}");
    running.guest.kill();
    running.ending();
}

#[test]
fn pages_that_do_not_exist_are_refused() {
    let mut arriving = Rig::new(WRITER).arriving();
    let bytes = [1; 4096];
    let no_page = |result| matches!(result, Err(ArrivalError::NoPage { .. }));
    assert!(matches!(
        arriving.write(2, 0, &bytes),
        Err(ArrivalError::NoMemory {
            memory: 2,
            count: 2
        })
    ));
    assert!(no_page(arriving.write(0, 64, &bytes)));
    assert!(no_page(arriving.write(1, u64::MAX, &bytes)));
    assert!(no_page(arriving.write_zeros(1, 1, u64::MAX)));
    assert!(arriving.write(0, 63, &bytes).is_ok());
    let mut sizes: Vec<MemorySize> = arriving.memories().iter().map(|view| view.size()).collect();
    sizes[0].pages = 65;
    assert!(matches!(
        arriving.resize(&sizes),
        Err(ResumeError::Unfit(_))
    ));
}
