//! `poll_oneoff`.

use std::time::{Duration, Instant};

use crate::guest::{
    BADF, CREATE, FAULT, Guest, INVAL, NOTSUP, RESULT, ROOT, alone, builder, directory,
    request_after,
};

const MILLISECOND: u64 = 1_000_000;

fn clock(userdata: u64, id: u32, timeout: u64, flags: u16) -> [u8; 48] {
    let mut record = [0; 48];
    record[0..8].copy_from_slice(&userdata.to_le_bytes());
    record[16..20].copy_from_slice(&id.to_le_bytes());
    record[24..32].copy_from_slice(&timeout.to_le_bytes());
    record[40..42].copy_from_slice(&flags.to_le_bytes());
    record
}

fn fd(userdata: u64, kind: u8, fd: u32) -> [u8; 48] {
    let mut record = [0; 48];
    record[0..8].copy_from_slice(&userdata.to_le_bytes());
    record[8] = kind;
    record[16..20].copy_from_slice(&fd.to_le_bytes());
    record
}

/// Userdata, error, kind and number of bytes of an event.
type Event = (u64, u16, u8, u64);

fn poll(guest: &mut Guest, subscriptions: &[[u8; 48]]) -> Result<Vec<Event>, u32> {
    let input = guest.put(&subscriptions.concat());
    let output = guest.put(&vec![0; 32 * subscriptions.len()]);
    let arguments = [input, output, subscriptions.len() as u64, RESULT.into()];
    match guest.call("poll_oneoff", &arguments) {
        0 => Ok((0..u64::from(guest.result()))
            .map(|index| {
                let event = output + 32 * index;
                (
                    guest.u64_at(event),
                    guest.u16_at(event + 8),
                    guest.bytes(event + 10, 1)[0],
                    guest.u64_at(event + 16),
                )
            })
            .collect()),
        error => Err(error),
    }
}

fn now(guest: &mut Guest, clock: u64) -> u64 {
    assert_eq!(guest.call("clock_time_get", &[clock, 0, RESULT.into()]), 0);
    guest.u64_at(RESULT.into())
}

#[test]
fn sleeps_end_when_their_time_has_come() {
    let _alone = alone();
    let directory = directory();
    let mut guest = Guest::new(&directory);
    for (id, is_absolute) in [(0, false), (1, false), (0, true), (1, true)] {
        let (start, began) = (Instant::now(), now(&mut guest, id));
        let timeout = 30 * MILLISECOND + if is_absolute { began } else { 0 };
        let id = u32::try_from(id).expect("it fits");
        let later = clock(8, id, timeout + 60_000 * MILLISECOND, is_absolute.into());
        let events = poll(
            &mut guest,
            &[later, clock(7, id, timeout, is_absolute.into())],
        );
        assert_eq!(events, Ok(vec![(7, 0, 0, 0)]));
        assert!(
            start.elapsed() >= Duration::from_millis(29),
            "{:?}",
            start.elapsed()
        );
    }
    let past = [clock(1, 1, 0, 1), clock(2, 0, 0, 0), clock(3, 2, 5, 0)];
    let events = poll(&mut guest, &past).expect("they are over");
    let notsup = u16::try_from(NOTSUP).expect("it fits");
    assert_eq!(events, [(1, 0, 0, 0), (2, 0, 0, 0), (3, notsup, 0, 0)]);
}

#[test]
fn descriptors_are_ready_or_not() {
    let _alone = alone();
    let directory = directory();
    let mut guest = Guest::new(&directory);
    let file = guest.open(ROOT, "file", CREATE).expect("it can be created");
    guest.write(file, b"abcdef").expect("it can be written");
    guest.seek(file, 2, 0).expect("it can be moved");
    let badf = u16::try_from(BADF).expect("it fits");
    let never = clock(9, 1, u64::MAX, 0);
    let asked = [
        never,
        fd(1, 1, file),
        fd(2, 2, 1),
        fd(3, 1, 99),
        fd(4, 2, file),
    ];
    assert_eq!(
        poll(&mut guest, &asked),
        Ok(vec![
            (1, 0, 1, 4),
            (2, 0, 2, 1),
            (3, badf, 1, 0),
            (4, 0, 2, 1)
        ])
    );

    let path = directory.path().join("pipe");
    let status = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(status.expect("there is a program mkfifo").success());
    let pipe = guest.open(ROOT, "pipe", 0).expect("it can be opened");
    let soon = clock(9, 1, 20 * MILLISECOND, 0);
    assert_eq!(
        poll(&mut guest, &[fd(1, 1, pipe), soon]),
        Ok(vec![(9, 0, 0, 0)])
    );
    guest.write(pipe, b"12345").expect("it can be written");
    assert_eq!(
        poll(&mut guest, &[fd(1, 1, pipe), never]),
        Ok(vec![(1, 0, 1, 5)])
    );
}

#[test]
fn nonsense_is_refused() {
    let directory = directory();
    let mut guest = Guest::new(&directory);
    assert_eq!(poll(&mut guest, &[]), Err(INVAL));
    assert_eq!(poll(&mut guest, &[fd(0, 3, 0)]), Err(INVAL));
    assert_eq!(poll(&mut guest, &[clock(0, 9, 0, 0)]), Err(INVAL));
    assert_eq!(poll(&mut guest, &[clock(0, 1, 0, 2)]), Err(INVAL));
    let input = guest.put(&clock(0, 1, 0, 0));
    let outside = u64::from(u32::MAX);
    assert_eq!(
        guest.call("poll_oneoff", &[input, outside, 1, RESULT.into()]),
        FAULT
    );
    assert_eq!(
        guest.call("poll_oneoff", &[input, input, outside, RESULT.into()]),
        FAULT
    );
    assert_eq!(
        guest.call("poll_oneoff", &[input, input, 1, outside]),
        FAULT
    );
}

#[test]
fn a_guest_that_cannot_be_stopped_sleeps_on() {
    let _alone = alone();
    let directory = directory();
    let mut guest = Guest::with(builder(directory.path()).build());
    let requester = request_after(guest.controller(), Duration::from_millis(10));
    let start = Instant::now();
    let events = poll(&mut guest, &[clock(7, 1, 60 * MILLISECOND, 0)]);
    assert_eq!(events, Ok(vec![(7, 0, 0, 0)]));
    let slept = start.elapsed();
    assert!(
        (Duration::from_millis(59)..Duration::from_secs(20)).contains(&slept),
        "{slept:?}"
    );
    requester.join().expect("it does not panic");
    assert!(guest.controller().is_requested(), "the request stands");
}
