use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::iter;
use std::ops::Range;
use std::ptr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::MissingPages;
use crate::dirty::{LiveMemory, Tracking};
use crate::live::ArrivalError;
use crate::memory::{MemoryView, PAGE_BYTES};

/// Whole pages of any kernel.
const UNIT_PAGES: u64 = 16;
const UNIT: usize = UNIT_PAGES as usize * PAGE_BYTES;
const SOON: Duration = Duration::from_secs(20);
const A_WHILE: Duration = Duration::from_millis(50);

/// Memory as the engine maps it.
struct Mapping {
    start: *mut u8,
    length: usize,
}

// SAFETY: it is only memory, whose bytes are touched one by one.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// So many units, each full of its number and 1.
    fn new(units: usize) -> Self {
        let length = units * UNIT;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: it is new memory.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), length, access, MapFlags::PRIVATE) };
        let this = Self {
            start: start.expect("there is memory").cast(),
            length,
        };
        for unit in 0..units {
            this.bytes(unit * UNIT..(unit + 1) * UNIT)
                .fill(unit as u8 + 1);
        }
        this
    }

    #[expect(clippy::mut_from_ref, reason = "each part is borrowed once at a time")]
    fn bytes(&self, range: Range<usize>) -> &mut [u8] {
        assert!(range.start <= range.end && range.end <= self.length);
        // SAFETY: the range lies in the mapping, and no two threads of a test use the same one.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    fn unit(&self, unit: usize) -> &mut [u8] {
        self.bytes(unit * UNIT..(unit + 1) * UNIT)
    }

    /// The first byte of a unit; waits if that is missing.
    fn touch(&self, unit: usize) -> u8 {
        assert!(unit * UNIT < self.length);
        // SAFETY: the byte lies in the mapping.
        unsafe { self.start.add(unit * UNIT).read_volatile() }
    }

    fn place(&self, length: usize) -> LiveMemory {
        LiveMemory::new(&MemoryView {
            page_bytes: 1,
            bytes: self.bytes(0..length),
        })
    }

    /// Watches it with these units missing.
    fn watch(&self, missing: &[u64]) -> (MissingPages, Receiver<(u32, u64, u32)>) {
        let missing = missing
            .iter()
            .map(|unit| unit * UNIT_PAGES..(unit + 1) * UNIT_PAGES);
        let missing = missing.collect();
        let (tell, told) = channel();
        let on_fault = move |memory, first, count| {
            // Tests need not listen.
            let _ = tell.send((memory, first, count));
        };
        let places = [self.place(self.length)];
        // SAFETY: the test touches nothing meanwhile, and relies on nothing.
        let pages = unsafe { MissingPages::watch(&places, &[missing], on_fault) };
        (pages.expect("it can be watched"), told)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: nobody borrows it any more.
        unsafe { munmap(self.start.cast(), self.length).expect("it is mapped") };
    }
}

/// Shared by who installs and who reads faults.
const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<MissingPages>();
};

/// False, with a reason, where the machine cannot do it.
fn is_possible() -> bool {
    let supported = MissingPages::supported();
    if let Err(error) = &supported {
        println!("skipped: {error}");
    }
    supported.is_ok()
}

/// The next fault, which is in the first page of this unit.
fn expect_fault(faults: &Receiver<(u32, u64, u32)>, unit: u64) {
    let (memory, first, count) = faults.recv_timeout(SOON).expect("somebody waits");
    let kernel_pages = rustix::param::page_size() / PAGE_BYTES;
    let expected = (0, unit * UNIT_PAGES, kernel_pages as u32);
    assert_eq!((memory, first, count), expected);
}

/// The first pages.
fn first(count: u64) -> Vec<Range<u64>> {
    iter::once(0..count).collect()
}

fn contents(byte: u8) -> Vec<u8> {
    vec![byte; UNIT]
}

#[test]
fn who_touches_a_missing_page_waits_for_it() {
    if !is_possible() {
        return;
    }
    let mapping = Mapping::new(6);
    thread::scope(|scope| {
        let (pages, faults) = mapping.watch(&[1, 2, 4]);
        assert_eq!(pages.count(), 3 * UNIT_PAGES);
        for unit in [0, 3, 5] {
            assert_eq!(mapping.touch(unit), unit as u8 + 1);
        }
        let waiting = scope.spawn(|| mapping.touch(2));
        expect_fault(&faults, 2);
        thread::sleep(A_WHILE);
        assert!(!waiting.is_finished());
        pages
            .install(0, 2 * UNIT_PAGES, &contents(70))
            .expect("they fit");
        assert_eq!(waiting.join().expect("it holds"), 70);

        let waiting = scope.spawn(|| mapping.touch(4));
        expect_fault(&faults, 4);
        pages
            .install_zeros(0, 4 * UNIT_PAGES, UNIT_PAGES)
            .expect("they fit");
        assert_eq!(waiting.join().expect("it holds"), 0);

        assert_eq!(pages.count(), UNIT_PAGES);
        pages.finish().expect_err("a unit is missing");
        pages
            .install(0, UNIT_PAGES, &contents(71))
            .expect("they fit");
        pages.finish().expect("nothing is missing");
        assert!(
            mapping.unit(1).iter().all(|byte| *byte == 71),
            "pushed pages"
        );
        assert_eq!(
            faults.recv_timeout(SOON),
            Err(RecvTimeoutError::Disconnected)
        );
        // What comes late does no harm.
        pages
            .install(0, UNIT_PAGES, &contents(72))
            .expect("it is over");
        assert_eq!(mapping.touch(1), 71);
    });
}

#[test]
fn pages_that_are_there_keep_their_contents_and_wake() {
    if !is_possible() {
        return;
    }
    let mapping = Mapping::new(4);
    thread::scope(|scope| {
        let (pages, faults) = mapping.watch(&[1, 3]);
        let waiting = [1, 3].map(|unit| {
            let mapping = &mapping;
            let waiting = scope.spawn(move || {
                let before = mapping.touch(unit);
                mapping.unit(unit)[0] = 9;
                before
            });
            expect_fault(&faults, unit as u64);
            waiting
        });
        // Over pages that are there, are missing, are there, are missing.
        pages.install(0, 0, &[50; 4 * UNIT]).expect("they fit");
        let seen = waiting.map(|waiting| waiting.join().expect("it holds"));
        assert_eq!(seen, [50, 50]);
        pages.install(0, 0, &[51; 4 * UNIT]).expect("they fit");
        pages.install_zeros(0, 0, 4 * UNIT_PAGES).expect("they fit");
        for (unit, byte) in [1, 9, 3, 9].into_iter().enumerate() {
            assert_eq!(mapping.touch(unit), byte);
        }
        pages.finish().expect("nothing is missing");
    });
}

#[test]
fn pages_that_nobody_has_touched_are_told_as_well() {
    if !is_possible() {
        return;
    }
    let mapping = Mapping::new(2);
    // As the engine would have mapped it.
    let start = mapping.start.cast();
    // SAFETY: nobody relies on the contents.
    unsafe { rustix::mm::madvise(start, UNIT, rustix::mm::Advice::LinuxDontNeed) }
        .expect("it is a mapping");
    thread::scope(|scope| {
        let (pages, faults) = mapping.watch(&[]);
        let waiting = scope.spawn(|| mapping.touch(0));
        expect_fault(&faults, 0);
        pages.install_zeros(0, 0, UNIT_PAGES).expect("they fit");
        assert_eq!(waiting.join().expect("it holds"), 0);
        pages.finish().expect("nothing is missing");
    });
}

#[test]
fn the_kernel_waits_as_well() {
    if !is_possible() {
        return;
    }
    let mapping = Mapping::new(4);
    let mut file = tempfile::tempfile().expect("there is room");
    thread::scope(|scope| {
        let (pages, faults) = mapping.watch(&[0, 1, 2]);
        let written = scope.spawn(|| (&file).write_all(&mapping.unit(0)[..100]));
        expect_fault(&faults, 0);
        pages.install(0, 0, &contents(80)).expect("they fit");
        written.join().expect("it holds").expect("it is written");

        let read = scope.spawn(|| {
            let mut zeros = File::open("/dev/zero")?;
            zeros.read_exact(&mut mapping.unit(1)[..100])
        });
        expect_fault(&faults, 1);
        pages
            .install(0, UNIT_PAGES, &contents(81))
            .expect("they fit");
        read.join().expect("it holds").expect("it is read");
        assert_eq!(mapping.unit(1)[99..101], [0, 81]);

        // Some kernels do not wait here: then it is an error, and never anything else than the contents.
        let place = mapping.place(mapping.length);
        let copied = scope.spawn(move || place.copy());
        thread::sleep(A_WHILE);
        pages
            .install(0, 2 * UNIT_PAGES, &contents(82))
            .expect("they fit");
        match copied.join().expect("it holds") {
            Ok(copy) => {
                let bytes = [0, 2 * UNIT, 3 * UNIT].map(|at| copy.byte(at as u64));
                assert_eq!(bytes, [80, 82, 4]);
            }
            Err(error) => println!("memory is not copied while pages are missing: {error}"),
        }
    });
    file.seek(SeekFrom::Start(0)).expect("it is a file");
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).expect("it is a file");
    assert_eq!(bytes, [80; 100]);
}

#[test]
fn what_does_not_fit_is_refused() {
    if !is_possible() {
        return;
    }
    let mapping = Mapping::new(2);
    let (pages, _faults) = mapping.watch(&[0]);
    let inner = |result: io::Result<()>| {
        let error = result.expect_err("it does not fit");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let inner = error.into_inner().and_then(|error| error.downcast().ok());
        inner.map(|error: Box<ArrivalError>| *error)
    };
    let no_page = |result| matches!(inner(result), Some(ArrivalError::NoPage { .. }));
    let no_memory = Some(ArrivalError::NoMemory {
        memory: 1,
        count: 1,
    });
    assert_eq!(inner(pages.install(1, 0, &contents(1))), no_memory);
    assert_eq!(inner(pages.install_zeros(1, 0, 1)), no_memory);
    assert!(no_page(pages.install(0, 2 * UNIT_PAGES, &contents(1))));
    assert!(no_page(pages.install(0, u64::MAX, &contents(1))));
    assert!(no_page(pages.install_zeros(0, 1, u64::MAX)));
    assert_eq!(inner(pages.install(0, 0, &[1; 100])), None);
    let bad = |places: &[LiveMemory], missing: &[Vec<Range<u64>>]| {
        // SAFETY: as above.
        let result = unsafe { MissingPages::watch(places, missing, |_, _, _| {}) };
        result.expect_err("it does not fit").to_string()
    };
    // It is watched already.
    let places = [mapping.place(2 * UNIT)];
    let error = bad(&places, &[vec![]]);
    assert!(error.contains("drop the tracker"), "{error}");
    assert!(bad(&places, &[]).contains("1 memories"));
    assert!(bad(&places, &[first(3 * UNIT_PAGES)]).contains("page 32"));
    drop(pages);
    let bytes = [0_u8; PAGE_BYTES];
    let view = |bytes| MemoryView {
        page_bytes: 1,
        bytes,
    };
    let odd = LiveMemory::new(&view(&bytes[1..]));
    assert!(bad(&[odd], &[vec![]]).contains("does not begin"));
}

#[test]
fn a_memory_that_ends_within_a_page_is_filled_up_with_zeros() {
    if !is_possible() {
        return;
    }
    let mapping = Mapping::new(1);
    let places = [mapping.place(PAGE_BYTES + 5), mapping.place(0)];
    // SAFETY: nobody touches it, and nobody relies on it.
    let pages = unsafe { MissingPages::watch(&places, &[first(2), vec![]], |_, _, _| {}) };
    let pages = pages.expect("it can be watched");
    pages.install(0, 0, &[6; 2 * PAGE_BYTES]).expect("it fits");
    pages.finish().expect("nothing is missing");
    let around = &mapping.bytes(PAGE_BYTES..2 * PAGE_BYTES)[3..7];
    assert_eq!(around, [6, 6, 0, 0]);
}

#[test]
fn memory_in_parts_is_filled_at_once() {
    if !is_possible() {
        return;
    }
    let mapping = Mapping::new(4);
    let middle = mapping.unit(2).as_mut_ptr().cast();
    // SAFETY: the advice makes one mapping three, and changes no contents.
    unsafe { rustix::mm::madvise(middle, UNIT, rustix::mm::Advice::LinuxDontFork) }
        .expect("it is a mapping");
    let (pages, _faults) = mapping.watch(&[0, 1, 2, 3]);
    pages.install(0, 0, &[33; 4 * UNIT]).expect("they fit");
    pages.finish().expect("nothing is missing");
    assert!(mapping.bytes(0..4 * UNIT).iter().all(|byte| *byte == 33));
}

#[test]
fn abandoned_pages_are_zero_and_nobody_waits() {
    if !is_possible() {
        return;
    }
    let mapping = Mapping::new(3);
    thread::scope(|scope| {
        let (pages, faults) = mapping.watch(&[0, 1, 2]);
        let waiting = scope.spawn(|| mapping.touch(1));
        expect_fault(&faults, 1);
        pages.abandon();
        assert_eq!(waiting.join().expect("it holds"), 0);
        assert_eq!(mapping.touch(2), 0);
        pages.finish().expect_err("pages are missing");
    });
    thread::scope(|scope| {
        let (pages, faults) = mapping.watch(&[0, 1, 2]);
        let waiting = scope.spawn(|| mapping.touch(2));
        expect_fault(&faults, 2);
        drop(pages);
        assert_eq!(waiting.join().expect("it holds"), 0);
    });
}

#[test]
fn it_can_be_dropped_by_the_thread_that_tells_faults() {
    if !is_possible() {
        return;
    }
    let mapping = Mapping::new(1);
    let (give, given) = channel::<MissingPages>();
    let on_fault = move |_, _, _| drop(given.recv_timeout(SOON));
    let places = [mapping.place(UNIT)];
    // SAFETY: nobody touches it, and nobody relies on it.
    let pages = unsafe { MissingPages::watch(&places, &[first(UNIT_PAGES)], on_fault) };
    give.send(pages.expect("it can be watched"))
        .expect("the thread is there");
    assert_eq!(mapping.touch(0), 0);
}

#[test]
fn writes_are_tracked_before_and_after() {
    let Ok(mut tracker) = Tracking::Userfaultfd.tracker() else {
        println!("skipped: this kernel cannot track writes");
        return;
    };
    if !is_possible() {
        return;
    }
    let mapping = Mapping::new(4);
    let view = || MemoryView {
        page_bytes: 1,
        bytes: mapping.bytes(0..4 * UNIT),
    };
    tracker.take(&[view()]).expect("it is asked");
    mapping.unit(1)[0] = 100;
    assert_eq!(tracker.take(&[view()]).expect("it is asked")[0].len(), 1);
    drop(tracker);

    let (pages, _faults) = mapping.watch(&[1, 3]);
    pages
        .install_zeros(0, UNIT_PAGES, UNIT_PAGES)
        .expect("they fit");
    pages
        .install(0, 3 * UNIT_PAGES, &contents(90))
        .expect("they fit");
    mapping.unit(2)[0] = 91;
    pages.finish().expect("nothing is missing");

    let mut tracker = Tracking::Userfaultfd.tracker().expect("it could before");
    tracker.take(&[view()]).expect("it is asked");
    // This touches what the tracker watches no more.
    drop(pages);
    mapping.unit(1)[0] = 92;
    mapping.unit(3)[0] = 93;
    let dirty = tracker.take(&[view()]).expect("it is asked");
    let is_dirty = |unit: u64| {
        dirty[0]
            .iter()
            .any(|range| range.contains(&(unit * UNIT_PAGES)))
    };
    assert_eq!([0, 1, 2, 3].map(is_dirty), [false, true, false, true]);
    assert_eq!(
        [0, 1, 2, 3].map(|unit| mapping.touch(unit)),
        [1, 92, 91, 93]
    );
}
