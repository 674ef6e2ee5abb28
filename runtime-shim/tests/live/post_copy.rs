//! A guest that runs before its pages have come.
#![expect(unsafe_code, reason = "pages are taken away from memories")]

use std::ops::Range;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use wasm_migrate::live::{DepartedGuest, Ending, LiveGuest, MissingPages, Next, StoppedGuest};
use wasm_migrate::{
    ChangedPages, Interruption, LiveMemory, Measured as _, Memory as _, MemoryContents, MemorySize,
    MemoryView, Tracking,
};

use crate::rig::{ROUNDS, Rig, Running, WRITER, admit};

const SOON: Option<Duration> = Some(Duration::from_secs(60));
const A_MOMENT: Duration = Duration::from_millis(2);
/// Pages that stay or are missing together, and are pushed together: whole pages of any kernel.
const UNIT: u64 = 16;

/// Fills 4 pages of memory, adds one every so many rounds and touches only that, and returns a checksum of all.
const GROWER: &str = r#"(module
    (memory (export "memory") 4 64)
    (func (export "run") (param $rounds i64) (result i64) (local $i i64) (local $at i32) (local $sum i64)
        (loop $fill
            (i64.store (local.get $at) (i64.mul (i64.extend_i32_u (local.get $at)) (i64.const 77)))
            (br_if $fill (i32.lt_u
                (local.tee $at (i32.add (local.get $at) (i32.const 8)))
                (i32.const 262144))))
        (loop $again
            (if (i64.eqz (i64.rem_u (local.get $i) (i64.const 8000000)))
                (then
                    (drop (memory.grow (i32.const 1)))
                    (i64.store (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 8)) (local.get $i))))
            (br_if $again (i64.lt_u (local.tee $i (i64.add (local.get $i) (i64.const 1))) (local.get $rounds))))
        (local.set $at (i32.const 0))
        (loop $add
            (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31)) (i64.load (local.get $at))))
            (br_if $add (i32.lt_u
                (local.tee $at (i32.add (local.get $at) (i32.const 8)))
                (i32.shl (memory.size) (i32.const 16)))))
        (local.get $sum)))"#;

type Fault = (u32, u64, u32);

/// False, with a reason, where the machine cannot do it.
fn is_possible() -> bool {
    let supported = MissingPages::supported();
    if let Err(error) = &supported {
        println!("skipped: {error}");
    }
    supported.is_ok()
}

/// A guest that runs with most of its pages missing, and its source.
struct Moved {
    running: Running,
    pages: MissingPages,
    faults: Receiver<Fault>,
    departed: DepartedGuest,
    missing: Vec<Vec<Range<u64>>>,
}

/// Moves a guest whose memories were `early` some time before: of every three units, one has come as it is, one is
/// missing, and one has come as it was, and is missing.
fn move_without_pages(rig: &Rig, stopped: StoppedGuest, early: &[MemoryContents]) -> Moved {
    let snapshot = stopped.snapshot().clone();
    let mut arriving = rig.arriving();
    arriving
        .resize(&snapshot.state.memories)
        .expect("there is room");
    let mut missing = Vec::new();
    for (memory, view) in (0..).zip(stopped.memories()) {
        let mut ranges = Vec::new();
        for first in (0..view.size().page_count()).step_by(UNIT as usize) {
            let range = first..first + UNIT;
            let kind = first / UNIT % 3;
            if kind == 0 {
                let bytes = view.stretch(range).expect("it is there");
                arriving.write(memory, first, bytes).expect("it fits");
                continue;
            }
            if kind == 1
                && let Some(early) = early.get(memory as usize)
                && let Some(bytes) = early.stretch(range.clone())
            {
                arriving.write(memory, first, bytes).expect("it fits");
            }
            ranges.push(range);
        }
        missing.push(ranges);
    }
    let (tell, faults) = channel();
    // SAFETY: the memories are those of a guest that does not run yet.
    let pages = unsafe {
        MissingPages::watch(&arriving.places(), &missing, move |memory, first, count| {
            // The last may come when the driver is done.
            let _ = tell.send((memory, first, count));
        })
    };
    Moved {
        running: admit(arriving, snapshot),
        pages: pages.expect("it is possible"),
        faults,
        departed: stopped.depart(),
        missing,
    }
}

impl Moved {
    fn install(&self, memory: u32, pages: Range<u64>) {
        let view = self.departed.memories()[memory as usize];
        let bytes = view.stretch(pages.clone()).expect("it is there");
        self.pages
            .install(memory, pages.start, bytes)
            .expect("it fits");
    }

    /// Answers who waits within a moment, some at most. Tells how many did.
    fn answer(&self) -> usize {
        for count in 0..8 {
            let Ok((memory, first, pages)) = self.faults.recv_timeout(A_MOMENT) else {
                return count;
            };
            self.install(memory, first..first + u64::from(pages));
        }
        8
    }

    /// Puts everything in place that is missing, in some order; meanwhile those that wait are answered. Tells how many
    /// did.
    fn push(&self) -> usize {
        let mut left: Vec<(u32, Range<u64>)> = (0..)
            .zip(&self.missing)
            .flat_map(|(memory, ranges)| ranges.iter().map(move |range| (memory, range.clone())))
            .collect();
        shuffle(&mut left);
        let mut waited = 0;
        for (memory, pages) in left {
            waited += self.answer();
            self.install(memory, pages);
        }
        assert_eq!(self.pages.count(), 0);
        waited
    }

    /// Sizes of the guest's memories when it stands still next; meanwhile those that wait are answered.
    fn sizes(&self, guest: &LiveGuest) -> Vec<MemorySize> {
        let (tell, told) = channel();
        guest.at_stop(move |stop| {
            let sizes = stop.memories().iter().map(|view| view.size()).collect();
            tell.send(sizes).expect("the test listens");
            Next::GoOn
        });
        loop {
            self.answer();
            match told.try_recv() {
                Ok(sizes) => return sizes,
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => panic!("the guest has come to its end"),
            }
        }
    }
}

fn shuffle<T>(items: &mut [T]) {
    let mut seed = 1_u64;
    for index in (1..items.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        items.swap(index, (seed >> 33) as usize % (index + 1));
    }
}

#[test]
fn a_guest_runs_before_its_pages_have_come() {
    if !is_possible() {
        return;
    }
    let rig = Rig::new(WRITER);
    let rounds = ROUNDS / 2;
    let expected = rig.undisturbed(rounds);
    let source = rig.start(rounds);
    let stop = |guest: &LiveGuest| guest.stop(SOON).expect("it runs");
    let stopped = stop(&source.guest);
    let early: Vec<MemoryContents> = stopped
        .memories()
        .into_iter()
        .map(MemoryContents::copy)
        .collect();
    stopped.go_on();
    std::thread::sleep(Duration::from_millis(10));

    let moved = move_without_pages(&rig, stop(&source.guest), &early);
    let guest = moved.running.guest.clone();
    let before: Vec<MemorySize> = moved.departed.memories().iter().map(|v| v.size()).collect();
    println!("{} faults", moved.push());
    // The guest grows while it is watched, unless it has all that it may have.
    while moved.sizes(&guest) == before && before[0].pages < 64 {}
    moved.pages.finish().expect("nothing is missing");
    moved.departed.release();
    assert!(matches!(source.ending(), Ending::Left));

    if let Ok(mut tracker) = Tracking::Userfaultfd.tracker() {
        let mut take = |memories: &[MemoryView<'_>]| tracker.take(memories).expect("it is asked");
        let stopped = stop(&guest);
        take(&stopped.memories());
        let mut copies: Vec<MemoryContents> = stopped
            .memories()
            .into_iter()
            .map(MemoryContents::copy)
            .collect();
        stopped.go_on();
        std::thread::sleep(A_MOMENT);
        let stopped = stop(&guest);
        let dirty = take(&stopped.memories());
        assert!(dirty.iter().any(|ranges| !ranges.is_empty()));
        for ((copy, view), dirty) in copies.iter_mut().zip(stopped.memories()).zip(dirty) {
            copy.apply(&ChangedPages::copy(view, dirty.into_iter().flatten()));
            assert!(*copy == MemoryContents::copy(view));
        }
        stopped.go_on();
    } else {
        println!("this kernel cannot track written pages");
    }
    assert_eq!(moved.running.result(), expected);
}

#[test]
fn a_guest_grows_before_its_pages_have_come() {
    if !is_possible() {
        return;
    }
    let rig = Rig::new(GROWER);
    let expected = rig.undisturbed(4 * ROUNDS);
    let source = rig.start(4 * ROUNDS);
    let stopped = loop {
        let stopped = source.guest.stop(SOON).expect("it runs");
        if stopped.memories()[0].size().pages > 4 {
            break stopped;
        }
        stopped.go_on();
    };
    let moved = move_without_pages(&rig, stopped, &[]);
    let guest = moved.running.guest.clone();
    let before: Vec<MemorySize> = moved.departed.memories().iter().map(|v| v.size()).collect();
    while moved.sizes(&guest) == before {}
    assert!(moved.pages.count() > 0);
    println!("{} faults", moved.push());
    moved.pages.finish().expect("nothing is missing");
    moved.departed.release();
    assert_eq!(moved.running.result(), expected);
}

#[test]
fn a_guest_that_waits_for_a_page_can_be_given_up() {
    if !is_possible() {
        return;
    }
    let rig = Rig::new(WRITER);
    let source = rig.start(ROUNDS / 100);
    let stopped = source.guest.stop(SOON).expect("it runs");
    let early: Vec<MemoryContents> = stopped
        .memories()
        .into_iter()
        .map(MemoryContents::copy)
        .collect();
    let moved = move_without_pages(&rig, stopped, &early);
    moved
        .faults
        .recv_timeout(Duration::from_secs(60))
        .expect("it waits");
    moved.running.guest.kill();
    moved.pages.abandon();
    match moved.running.ending() {
        Ending::Failed(error) => assert_eq!(
            error.downcast_ref::<Interruption>(),
            Some(&Interruption::Killed)
        ),
        other => panic!("{other:?}"),
    }
    moved.departed.come_back(3);
    assert_eq!(source.result(), rig.undisturbed(ROUNDS / 100));
}

#[test]
fn memories_that_come_from_a_file_are_refused() {
    if !is_possible() {
        return;
    }
    let mut config = wasmtime::Config::new();
    config.memory_init_cow(true);
    let text = r#"(module (memory (export "memory") 4) (data (i32.const 5) "something")
        (func (export "run") (param i64) (result i64) (i64.load (i32.const 8))))"#;
    let arriving = Rig::with_config(text, &config).arriving();
    let places: Vec<LiveMemory> = arriving.places();
    let missing = std::iter::once(0..UNIT).collect();
    // SAFETY: the guest does not run.
    let result = unsafe { MissingPages::watch(&places, &[missing], |_, _, _| {}) };
    let error = result.expect_err("it comes from a file").to_string();
    assert!(error.contains("memory_init_cow"), "{error}");
}
