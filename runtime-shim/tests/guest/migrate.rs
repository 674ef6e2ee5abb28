//! Guests stopped and resumed through the library: in place, in fresh instances, at every poll, inside
//! host functions.

use crate::common::{Host, World};
use wasm_migrate::{
    CaptureError, Error, Pacing, ResumeError, State, SuspendPoint, TableContents, Value,
    suspend_point,
};
use wasmtime::{Caller, Func, Linker, Ref, Trap, Val};

/// Recursion and a loop that is polled: fib, then a sum of squares into memory.
const PROGRAM: &str = r#"(module
    (memory (export "memory") 1 3)
    (global $count (mut i64) (i64.const 0))
    (func $fib (param i32) (result i32)
        (global.set $count (i64.add (global.get $count) (i64.const 1)))
        (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
            (then (local.get 0))
            (else (i32.add
                (call $fib (i32.sub (local.get 0) (i32.const 1)))
                (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
    (func (export "run") (param i32) (result i32 i64) (local $sum i32) (local $i i32)
        (drop (memory.grow (i32.const 1)))
        (loop $squares
            (local.set $sum (i32.add (local.get $sum) (i32.mul (local.get $i) (local.get $i))))
            (i32.store (i32.shl (local.get $i) (i32.const 10)) (local.get $sum))
            (br_if $squares (i32.lt_s
                (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 100))))
        (i32.add (call $fib (local.get 0)) (local.get $sum))
        (global.get $count))
    (func (export "trap") (unreachable)))"#;

#[test]
fn runs_like_the_original() {
    let mut world = World::new(PROGRAM, Pacing::default());
    assert_eq!(
        crate::common::results(&world.call("run", &[Val::I32(10)])),
        [55 + 328_350, 177]
    );
}

#[test]
fn stopped_at_every_poll_it_goes_on_in_fresh_instances() {
    let mut world = World::new(PROGRAM, Pacing::Every(1));
    let stops = world.migrate_at_every(1, "run", &[Val::I32(9)]);
    assert_eq!(crate::common::results(&stops.outcome), [34 + 328_350, 109]);
    assert!(stops.count > 100, "{} stops", stops.count);
}

#[test]
fn it_goes_on_in_place_with_and_without_a_capture() {
    let mut world = World::new(PROGRAM, Pacing::Every(1));
    world.stop_in(50);
    let mut outcome = world.call("run", &[Val::I32(10)]);
    let mut stops = 0;
    while crate::common::is_suspended(&outcome) {
        stops += 1;
        world.stop_in(20);
        outcome = if stops % 2 == 0 {
            let state = world.capture("run");
            world
                .instance
                .resume(&mut world.store, &state)
                .expect("it resumes in place")
        } else {
            world
                .instance
                .go_on(&mut world.store, "run")
                .expect("it goes on")
        };
    }
    assert!(stops > 3, "{stops} stops");
    assert_eq!(crate::common::results(&outcome), [55 + 328_350, 177]);
}

#[test]
fn a_snapshot_holds_typed_values() {
    let mut world = World::new(PROGRAM, Pacing::Every(1));
    let state = world.stop_at(120, "run", &[Val::I32(9)]);
    assert_eq!(state.entry, "run");
    assert!(state.frames.len() >= 2);
    assert_eq!(state.memories[0].size.pages, 2);
    assert!(matches!(state.globals[..], [Value::I64(count)] if count > 0));
    // The outer frame has the sum on its stack or in its local.
    assert!(state.frames[0].values.contains(&Value::I32(328_350)));
}

#[test]
fn the_thread_that_asks_gets_its_stop() {
    let spin = r#"(module (func (export "spin") (param i32) (result i32)
        (loop $l (local.set 0 (i32.add (local.get 0) (i32.const 1))) (br $l))
        (local.get 0)))"#;
    let mut world = World::new(spin, Pacing::default());
    let controller = world.migration().controller();
    let asker = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        controller.request();
        std::time::Instant::now()
    });
    let outcome = world.call("spin", &[Val::I32(0)]);
    let wait = asker.join().expect("the asker does not panic").elapsed();
    assert!(crate::common::is_suspended(&outcome));
    assert!(
        wait < std::time::Duration::from_millis(100),
        "the stop took {wait:?}"
    );
    assert!(
        !world.migration().controller().is_requested(),
        "the request is served"
    );
}

#[test]
fn a_trap_leaves_the_instance_callable() {
    let mut world = World::new(PROGRAM, Pacing::Every(3));
    let error = world.try_call("trap", &[]).expect_err("it traps");
    assert_eq!(
        error.downcast_ref::<Trap>(),
        Some(&Trap::UnreachableCodeReached)
    );
    assert_eq!(
        crate::common::results(&world.call("run", &[Val::I32(3)]))[0],
        2 + 328_350
    );
}

const REENTRANT: &str = r#"(module
    (import "host" "again" (func $again (param i32) (result i32)))
    (func $loop (export "loop") (param i32) (result i32) (local i32)
        (loop $l
            (local.set 1 (i32.add (local.get 1) (i32.const 3)))
            (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (local.get 1))
    (func (export "outer") (param i32) (result i32)
        (i32.add (call $again (local.get 0)) (call $loop (local.get 0)))))"#;

#[test]
fn a_stop_below_a_host_frame_is_deferred() {
    let mut world = World::with_imports(REENTRANT, Pacing::Every(1), |linker| {
        let again = |mut caller: Caller<'_, Host>, count: i32| -> wasmtime::Result<i32> {
            let controller = caller.data_mut().migration.controller();
            controller.request();
            let results = crate::common::call_back(&mut caller, "loop", &[Val::I32(count)])?;
            assert!(controller.is_deferred(), "the stop is pending");
            assert!(controller.is_requested());
            Ok(results)
        };
        linker
            .func_wrap("host", "again", again)
            .expect("it is the only one");
    });
    let outcome = world.call("outer", &[Val::I32(5)]);
    assert!(
        crate::common::is_suspended(&outcome),
        "the stop happens once the host frame is gone"
    );
    assert!(!world.migration().controller().is_deferred());
    let state = world.capture("outer");
    let outcome = world.fresh().resume(&state);
    assert_eq!(crate::common::results(&outcome), [30]);
}

#[test]
fn a_nested_trap_leaves_the_outer_call_migratable() {
    let program = r#"(module
        (import "host" "again" (func $again (param i32) (result i32)))
        (func (export "loop") (param i32) (result i32) (call $again (i32.const -1)))
        (func (export "outer") (param i32) (result i32)
            (drop (call $again (local.get 0)))
            (loop $l (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
            (i32.const 7)))"#;
    let mut world = World::with_imports(program, Pacing::Every(1), |linker| {
        let again = |mut caller: Caller<'_, Host>, count: i32| -> wasmtime::Result<i32> {
            if count < 0 {
                wasmtime::bail!("the innermost call fails");
            }
            let failed = crate::common::call_back(&mut caller, "loop", &[Val::I32(count)]);
            assert!(failed.is_err());
            Ok(0)
        };
        linker
            .func_wrap("host", "again", again)
            .expect("it is the only one");
    });
    let stops = world.migrate_at_every(1, "outer", &[Val::I32(40)]);
    assert_eq!(crate::common::results(&stops.outcome), [7]);
    assert!(stops.count >= 3);
}

const BLOCKING: &str = r#"(module
    (import "host" "wait" (func $wait (param i32) (result i32)))
    (func $deeper (param i32) (result i32) (i32.mul (call $wait (local.get 0)) (i32.const 2)))
    (func (export "run") (param i32) (result i32)
        (i32.add (local.get 0) (call $deeper (local.get 0)))))"#;

fn blocking(linker: &mut Linker<Host>) {
    let wait = |mut caller: Caller<'_, Host>, value: i32| {
        let controller = caller.data_mut().migration.controller();
        loop {
            match suspend_point(&mut caller, |host: &mut Host| &mut host.migration)? {
                SuspendPoint::Unwind => return Ok(0),
                _ if caller.data().open => return Ok(value + 100),
                _ => assert!(controller.wait(Some(std::time::Duration::from_secs(20)))),
            }
        }
    };
    linker
        .func_wrap("host", "wait", wait)
        .expect("it is the only one");
}

#[test]
fn a_blocked_import_is_left_at_once_and_called_again() {
    let mut world = World::with_imports(BLOCKING, Pacing::default(), blocking);
    let controller = world.migration().controller();
    let asker = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        controller.request();
    });
    let outcome = world.call("run", &[Val::I32(5)]);
    asker.join().expect("the asker does not panic");
    assert!(crate::common::is_suspended(&outcome));
    let state = world.capture("run");
    assert_eq!(state.frames.len(), 3, "two functions and the import");
    world.fresh();
    world.store.data_mut().open = true;
    let outcome = world.resume(&state);
    assert_eq!(crate::common::results(&outcome), [5 + 210]);
}

const REFERENCES: &str = r#"(module
    (type $op (func (param i32) (result i32)))
    (table $ops (export "ops") 2 10 funcref)
    (table $hosts (export "hosts") 2 externref)
    (global $chosen (mut funcref) (ref.null func))
    (func $double (type $op) (i32.mul (local.get 0) (i32.const 2)))
    (func $triple (type $op) (i32.mul (local.get 0) (i32.const 3)))
    (elem $passive func $double $triple)
    (func (export "run") (param i32) (result i32) (local $held funcref)
        (table.init $ops $passive (i32.const 0) (i32.const 0) (i32.const 2))
        (elem.drop $passive)
        (drop (table.grow $ops (ref.func $triple) (i32.const 2)))
        (global.set $chosen (table.get $ops (i32.const 1)))
        (local.set $held (table.get $ops (i32.const 0)))
        (loop $l (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (table.set $ops (i32.const 2) (local.get $held))
        (table.set $ops (i32.const 3) (global.get $chosen))
        (i32.add
            (call_indirect $ops (type $op) (i32.const 10) (i32.const 2))
            (call_indirect $ops (type $op) (i32.const 10) (i32.const 3)))))"#;

#[test]
fn references_survive_by_identity() {
    let mut world = World::new(REFERENCES, Pacing::Every(1));
    let stops = world.migrate_at_every(1, "run", &[Val::I32(60)]);
    assert_eq!(crate::common::results(&stops.outcome), [20 + 30]);
    assert!(stops.count >= 5);
}

#[test]
fn a_foreign_function_is_an_error_and_the_guest_goes_on() {
    let mut world = World::new(REFERENCES, Pacing::Every(1));
    let foreign = Func::wrap(&mut world.store, |value: i32| value);
    world.migration().stop_at_poll(Some(3));
    assert!(crate::common::is_suspended(
        &world.call("run", &[Val::I32(60)])
    ));
    let ops = world
        .instance
        .instance()
        .get_table(&mut world.store, "ops")
        .expect("it is exported");
    ops.set(&mut world.store, 1, Ref::Func(Some(foreign)))
        .expect("it is in bounds");
    let error = world
        .instance
        .capture(&mut world.store, "run")
        .expect_err("it cannot be named");
    assert!(
        matches!(error.downcast_ref(), Some(CaptureError::ForeignFunction(_))),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("element 1 of table 0"),
        "{error}"
    );
    let outcome = world
        .instance
        .go_on(&mut world.store, "run")
        .expect("it goes on");
    assert_eq!(crate::common::results(&outcome), [50]);
}

#[test]
fn host_references_need_a_codec() {
    let program = r#"(module
        (table $hosts (export "hosts") 2 externref)
        (func (export "put") (param externref) (table.set $hosts (i32.const 1) (local.get 0)))
        (func (export "get") (result externref) (table.get $hosts (i32.const 1)))
        (func (export "spin") (param i32)
            (loop $l (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"#;
    let mut world = World::new(program, Pacing::Every(1));
    let reference = wasmtime::ExternRef::new(&mut world.store, 77_u32).expect("there is room");
    world.call("put", &[Val::ExternRef(Some(reference))]);
    world.stop_in(2);
    assert!(crate::common::is_suspended(
        &world.call("spin", &[Val::I32(9)])
    ));
    let error = world
        .instance
        .capture(&mut world.store, "spin")
        .expect_err("there is no codec");
    assert!(
        matches!(
            error.downcast_ref(),
            Some(CaptureError::HostReference { .. })
        ),
        "{error:?}"
    );

    world.instance = world.instance.with_externref_codec(crate::common::Numbers);
    let state = world.capture("spin");
    let bytes = 77_u32.to_le_bytes().to_vec();
    assert_eq!(
        state.tables,
        [TableContents::Externals(vec![None, Some(bytes)])]
    );
    world.fresh();
    world.instance = world.instance.with_externref_codec(crate::common::Numbers);
    world.resume(&state);
    let Val::ExternRef(Some(found)) = crate::common::values(&world.call("get", &[]))[0] else {
        panic!("the reference is there")
    };
    let data = found
        .data(&world.store)
        .expect("it is live")
        .and_then(|data| data.downcast_ref());
    assert_eq!(data, Some(&77_u32));
}

#[test]
fn a_state_that_does_not_fit_is_refused_before_anything_is_written() {
    let mut world = World::new(PROGRAM, Pacing::Every(1));
    let good = world.stop_at(120, "run", &[Val::I32(9)]);
    let forge = |change: fn(&mut State)| {
        let mut state = good.clone();
        change(&mut state);
        state
    };
    let bad = [
        forge(|state| state.requirements.parts.globals.0[0] ^= 1),
        forge(|state| state.requirements.functions[0].code.0[0] ^= 1),
        forge(|state| state.requirements.functions.clear()),
        forge(|state| state.frames.clear()),
        forge(|state| state.frames[0].function = 1_000),
        forge(|state| state.frames[0].safe_point = 1_000),
        forge(|state| state.frames[0].values.push(Value::I32(0))),
        forge(|state| state.globals[0] = Value::F64(0)),
        forge(|state| state.globals.clear()),
        forge(|state| state.data_drops.push(true)),
        forge(|state| state.tables.push(TableContents::Functions(Vec::new()))),
        forge(|state| state.memories.clear()),
        forge(|state| state.memories[0].size.pages = 4),
        forge(|state| state.memories[0].size.pages = u64::MAX),
        forge(|state| state.memories[0].size.page_bytes = 1),
        forge(|state| state.memories[0].blocks[0].index = 9),
    ];
    world.fresh();
    let memory = world
        .instance
        .instance()
        .get_memory(&mut world.store, "memory")
        .expect("exported");
    for state in &bad {
        let error = world
            .instance
            .resume(&mut world.store, state)
            .expect_err("it does not fit");
        let error = error
            .downcast_ref::<ResumeError>()
            .expect("it is refused before it runs");
        assert!(!matches!(error, ResumeError::Engine(_)), "{error}");
        assert_eq!(memory.size(&world.store), 1);
        assert!(memory.data(&world.store).iter().all(|byte| *byte == 0));
    }
    assert_eq!(
        crate::common::results(&world.resume(&good))[0],
        34 + 328_350
    );
}

#[test]
fn a_restore_that_fails_halfway_leaves_no_guest_that_runs() {
    let mut world = World::new(PROGRAM, Pacing::Every(1));
    let good = world.stop_at(120, "run", &[Val::I32(9)]);
    world.fresh();
    let error = world
        .instance
        .resume_with(&mut world.store, &good, |_, memory| {
            memory[0] = 1;
            Err("the link is dead".into())
        })
        .expect_err("the memory cannot be read");
    assert!(matches!(
        error.downcast_ref::<ResumeError>(),
        Some(ResumeError::Memory(reason)) if reason.to_string() == "the link is dead"
    ));
    let error = world.try_call("run", &[Val::I32(9)]);
    let error = error.expect_err("its memory is neither one nor the other");
    assert!(matches!(error.downcast_ref::<Error>(), Some(Error::Broken)));
    world.fresh();
    assert_eq!(
        crate::common::results(&world.resume(&good))[0],
        34 + 328_350
    );
}

const DEEP: &str = r#"(module
    (func $down (param i32) (result i32)
        (if (result i32) (local.get 0)
            (then (i32.add (i32.const 1) (call $down (i32.sub (local.get 0) (i32.const 1)))))
            (else (call $wait) (i32.const 0))))
    (global $ticks (mut i32) (i32.const 30))
    (func $wait
        (loop $l
            (global.set $ticks (i32.sub (global.get $ticks) (i32.const 1)))
            (br_if $l (global.get $ticks))))
    (func (export "run") (param i32) (result i32) (call $down (local.get 0))))"#;

#[test]
fn a_hundred_thousand_frames_are_saved_and_resumed() {
    let deep = || {
        let mut world = World::new(DEEP, Pacing::Every(1));
        world.migration().stop_at_poll(Some(100_002));
        assert!(crate::common::is_suspended(
            &world.call("run", &[Val::I32(100_000)])
        ));
        let state = world.capture("run");
        assert!(state.frames.len() > 100_000);
        assert_eq!(
            crate::common::results(&world.fresh().resume(&state)),
            [100_000]
        );
        state
    };
    let state = crate::common::on_big_stack(deep);
    let mut world = World::on_small_stack(DEEP);
    let error = world
        .instance
        .resume(&mut world.store, &state)
        .expect_err("the stack is too small");
    let frames = state.frames.len();
    assert!(
        matches!(error.downcast_ref(), Some(Error::StackTooSmall { frames: found }) if *found == frames),
        "{error:?}"
    );
    assert_eq!(
        crate::common::results(&world.call("run", &[Val::I32(5)])),
        [5],
        "the instance still works"
    );
}

#[test]
fn misuse_is_an_error() {
    let mut world = World::new(PROGRAM, Pacing::Every(1));
    let error = world
        .instance
        .capture(&mut world.store, "run")
        .expect_err("it is not stopped");
    assert!(matches!(
        error.downcast_ref(),
        Some(CaptureError::NotSuspended)
    ));
    let error = world
        .try_call("nothing", &[])
        .expect_err("there is no such export");
    assert!(matches!(error.downcast_ref(), Some(Error::NoEntry(_))));
    world.stop_in(2);
    assert!(crate::common::is_suspended(
        &world.call("run", &[Val::I32(3)])
    ));
    let error = world
        .try_call("run", &[Val::I32(3)])
        .expect_err("it is stopped");
    assert!(matches!(error.downcast_ref(), Some(Error::Stopped)));
    let plain = wat::parse_str(PROGRAM).expect("the text is valid");
    let error =
        wasm_migrate::Guest::new(world.store.engine(), &plain).expect_err("it is not rewritten");
    assert!(matches!(error, Error::NotMigratized));
}
