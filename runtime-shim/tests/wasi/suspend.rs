//! Guests stopped while they wait.

use std::io::Write;
use std::time::{Duration, Instant};

use wasm_migrate::wasi::{WasiBuilder, WasiCtx};
use wasm_migrate::{Guest, GuestInstance, Migration, Outcome, Pacing};
use wasmtime::{Store, Val};

use crate::guest::{ENGINE, Host, alone, directory, linker, request_after};

/// Sleeps for so many milliseconds, then answers the clock's reading.
const SLEEPER: &str = r#"(module
    (import "wasi_snapshot_preview1" "poll_oneoff"
        (func $poll (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get"
        (func $now (param i32 i64 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "run") (param i64) (result i64)
        (i32.store (i32.const 16) (i32.const 1))
        (i64.store (i32.const 24) (i64.mul (local.get 0) (i64.const 1000000)))
        (if (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128))
            (then unreachable))
        (if (i32.ne (i32.load (i32.const 128)) (i32.const 1)) (then unreachable))
        (drop (call $now (i32.const 1) (i64.const 0) (i32.const 136)))
        (i64.load (i32.const 136))))"#;

/// Reads four bytes from descriptor 4 and answers them.
const READER: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read"
        (func $read (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\40\00\00\00\04\00\00\00")
    (func (export "run") (param i64) (result i64)
        (if (call $read (i32.const 4) (i32.const 0) (i32.const 1) (i32.const 32))
            (then unreachable))
        (i64.load32_u (i32.const 64))))"#;

struct World {
    store: Store<Host>,
    instance: GuestInstance<Host>,
    guest: Guest,
}

impl World {
    fn new(text: &str, wasi: WasiCtx) -> Self {
        let original = wat::parse_str(text).expect("the text is valid");
        let output = wasm_migratize::Migratizer::new().rewrite(&original);
        let guest = Guest::new(&ENGINE, &output.expect("it can be rewritten").wasm);
        Self::instantiate(guest.expect("the module is migratized"), wasi)
    }

    fn instantiate(guest: Guest, wasi: WasiCtx) -> Self {
        let migration = Migration::new(Pacing::default());
        let mut store = Store::new(&ENGINE, Host { wasi, migration });
        let mut linker = linker();
        let get: fn(&mut Host) -> &mut Migration = |host| &mut host.migration;
        Guest::add_to_linker(&mut linker, get).expect("the names differ");
        let instance =
            GuestInstance::new(&mut store, &linker, &guest, get).expect("it instantiates");
        Self {
            store,
            instance,
            guest,
        }
    }

    /// Runs the guest until it is stopped `delay` from now, and moves it.
    fn stop_and_move(
        mut self,
        argument: i64,
        delay: Duration,
        builder: WasiBuilder,
    ) -> (Self, Outcome) {
        let requester = request_after(self.store.data().migration.controller(), delay);
        let outcome = self
            .instance
            .call(&mut self.store, "run", &[Val::I64(argument)]);
        assert!(matches!(
            outcome.expect("it does not trap"),
            Outcome::Suspended
        ));
        requester.join().expect("it does not panic");
        let state = self
            .instance
            .capture(&mut self.store, "run")
            .expect("it can be captured");
        let bytes = self
            .store
            .data()
            .wasi
            .snapshot()
            .expect("it can be recorded");
        let wasi = WasiCtx::restore(builder, &bytes).expect("it can be rebuilt");
        let mut moved = Self::instantiate(self.guest, wasi);
        let outcome = moved
            .instance
            .resume(&mut moved.store, &state)
            .expect("it can be resumed");
        (moved, outcome)
    }
}

fn result(outcome: &Outcome) -> i64 {
    match outcome {
        Outcome::Finished(values) => values[0].unwrap_i64(),
        Outcome::Suspended => panic!("the guest was stopped again"),
    }
}

#[test]
fn a_sleep_ends_when_it_would_have_ended() {
    let _alone = alone();
    let start = Instant::now();
    let world = World::new(SLEEPER, WasiBuilder::new().build());
    let begun = Instant::now();
    let (_, outcome) = world.stop_and_move(800, Duration::from_millis(500), WasiBuilder::new());
    let slept = begun.elapsed();
    assert!(
        slept >= Duration::from_millis(790),
        "it woke after {slept:?}"
    );
    assert!(
        slept < Duration::from_millis(1250),
        "it began anew: {slept:?}"
    );
    let clock = result(&outcome);
    assert!(clock >= 800_000_000, "{clock}");
    assert!(u128::try_from(clock).expect("it is not negative") <= start.elapsed().as_nanos() + 1);
}

#[test]
fn a_read_that_waits_is_made_again() {
    let _alone = alone();
    let directory = directory();
    let path = directory.path().join("pipe");
    let status = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(status.expect("there is a program mkfifo").success());
    let mut opener = crate::guest::Guest::new(&directory);
    assert_eq!(opener.open(3, "pipe", 0), Ok(4));
    let wasi = std::mem::replace(opener.wasi_mut(), WasiBuilder::new().build());
    let mut world = World::new(READER, wasi);

    let controller = world.store.data().migration.controller();
    let requester = request_after(controller, Duration::from_millis(50));
    let outcome = world.instance.call(&mut world.store, "run", &[Val::I64(0)]);
    assert!(matches!(
        outcome.expect("it does not trap"),
        Outcome::Suspended
    ));
    requester.join().expect("it does not panic");
    let state = world
        .instance
        .capture(&mut world.store, "run")
        .expect("it can be captured");
    let mut pipe = std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("it is there");
    pipe.write_all(b"\x01\x02\x03\x04more")
        .expect("there is room");
    let error = world
        .store
        .data()
        .wasi
        .snapshot()
        .expect_err("data in a pipe cannot be moved");
    assert!(error.to_string().contains("pipe with 8 bytes"), "{error}");
    let outcome = world
        .instance
        .resume(&mut world.store, &state)
        .expect("it goes on");
    assert_eq!(result(&outcome), 0x0403_0201);
}

/// Writes 200,000 bytes to descriptor 4 in one call and answers how many went out.
const WRITER: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write"
        (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 4)
    (data (i32.const 0) "\40\00\00\00\40\0d\03\00")
    (func (export "run") (param i64) (result i64)
        (if (call $write (i32.const 4) (i32.const 0) (i32.const 1) (i32.const 32))
            (then unreachable))
        (i64.load32_u (i32.const 32))))"#;

#[test]
fn a_write_to_a_full_pipe_notices_a_stop_and_repeats_nothing() {
    let _alone = alone();
    let directory = directory();
    let path = directory.path().join("pipe");
    let status = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(status.expect("there is a program mkfifo").success());
    let mut opener = crate::guest::Guest::new(&directory);
    assert_eq!(opener.open(3, "pipe", 0), Ok(4));
    let mut pipe = std::fs::OpenOptions::new()
        .read(true)
        .open(&path)
        .expect("it is there");
    // Fills the pipe to the brim, so that the guest can write nothing.
    let mut filled = 0;
    assert_eq!(opener.call("fd_fdstat_set_flags", &[4, 4]), 0);
    while let Ok(length) = opener.write(4, &[b'f'; 4096]) {
        filled += length as usize;
    }
    assert_eq!(opener.call("fd_fdstat_set_flags", &[4, 0]), 0);
    let wasi = std::mem::replace(opener.wasi_mut(), WasiBuilder::new().build());
    let mut world = World::new(WRITER, wasi);
    let stop = |world: &mut World| {
        let controller = world.store.data().migration.controller();
        let requester = request_after(controller, Duration::from_millis(50));
        let outcome = world.instance.call(&mut world.store, "run", &[Val::I64(0)]);
        requester.join().expect("it does not panic");
        outcome.expect("it does not trap")
    };
    assert!(matches!(stop(&mut world), Outcome::Suspended));
    let state = world
        .instance
        .capture(&mut world.store, "run")
        .expect("it can be captured");
    let reader = std::thread::spawn(move || {
        let mut bytes = vec![0; filled + 200_000];
        std::io::Read::read_exact(&mut pipe, &mut bytes).expect("they come");
        bytes
    });
    let outcome = world
        .instance
        .resume(&mut world.store, &state)
        .expect("it goes on");
    assert_eq!(result(&outcome), 200_000);
    let bytes = reader.join().expect("it does not panic");
    assert!(bytes[..filled].iter().all(|byte| *byte == b'f'));
    assert_eq!(bytes[filled..][..8], [0; 8], "the guest's own begin");
}
