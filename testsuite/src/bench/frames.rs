//! How long it takes to save and rebuild a deep stack.

use std::time::{Duration, Instant};

use wasm_migrate::{Guest, GuestInstance, Migration, Outcome, Pacing};
use wasm_migratize::Migratizer;
use wasmtime::{Config, Engine, Linker, Store, Val};

use super::median;
use super::on_wasmtime::STACK_BYTES;

/// Recurses as deep as asked, tells the host, and loops until the host tells it to end.
const PROGRAM: &str = r#"
(module
  (import "host" "at_bottom" (func $at_bottom))
  (import "host" "is_over" (func $is_over (result i32)))
  (func $down (export "down") (param $depth i32) (result i32) (local $square i32)
    (local.set $square (i32.mul (local.get $depth) (local.get $depth)))
    (if (i32.eqz (local.get $depth))
      (then
        (call $at_bottom)
        (loop $wait (br_if $wait (i32.eqz (call $is_over))))
        (return (i32.const 1))))
    (i32.add
      (i32.add (local.get $square) (local.get $depth))
      (call $down (i32.sub (local.get $depth) (i32.const 1))))))
"#;

struct Host {
    migration: Migration,
    stopped_at: Option<Instant>,
    over: bool,
}

/// Milliseconds from the request to stop a stack of `frames` frames to its having returned in a fresh
/// instance: unwinding, capture, resume, rewinding. Medians; instantiation is not counted.
///
/// # Errors
/// The engine fails.
pub fn frames_round_trip(frames: u16, runs: usize) -> anyhow::Result<f64> {
    let mut config = Config::new();
    config
        .max_wasm_stack(STACK_BYTES)
        .async_stack_size(2 * STACK_BYTES);
    let engine = Engine::new(&config)?;
    let wasm = Migratizer::new().rewrite(PROGRAM.as_bytes())?.wasm;
    let guest = Guest::new(&engine, &wasm)?;
    let times: Result<Vec<f64>, _> = (0..runs.max(5)).map(|_| once(&guest, frames)).collect();
    Ok(median(times?))
}

fn once(guest: &Guest, frames: u16) -> anyhow::Result<f64> {
    let (mut source, source_instance) = instantiate(guest, false)?;
    let (mut destination, destination_instance) = instantiate(guest, true)?;
    let outcome = source_instance.call(&mut source, "down", &[Val::I32(i32::from(frames) - 1)])?;
    anyhow::ensure!(
        matches!(outcome, Outcome::Suspended),
        "the program was not stopped"
    );
    let state = source_instance.capture(&mut source, "down")?;
    anyhow::ensure!(
        state.frames.len() == usize::from(frames),
        "found {} frames",
        state.frames.len()
    );
    let outcome = destination_instance.resume(&mut destination, &state)?;
    anyhow::ensure!(
        matches!(outcome, Outcome::Finished(_)),
        "the program did not end"
    );
    let began = source.data().stopped_at.expect("the bottom was reached");
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

fn instantiate(guest: &Guest, over: bool) -> anyhow::Result<(Store<Host>, GuestInstance<Host>)> {
    let engine = guest.module().engine();
    let migration = Migration::new(Pacing::Latency(Duration::from_micros(500)));
    let mut store = Store::new(
        engine,
        Host {
            migration,
            stopped_at: None,
            over,
        },
    );
    let mut linker = Linker::new(engine);
    Guest::add_to_linker(&mut linker, |host: &mut Host| &mut host.migration)?;
    linker.func_wrap(
        "host",
        "at_bottom",
        |mut caller: wasmtime::Caller<'_, Host>| {
            let host = caller.data_mut();
            host.stopped_at = Some(Instant::now());
            host.migration.controller().request();
        },
    )?;
    linker.func_wrap("host", "is_over", |caller: wasmtime::Caller<'_, Host>| {
        i32::from(caller.data().over)
    })?;
    let instance = GuestInstance::new(&mut store, &linker, guest, |host: &mut Host| {
        &mut host.migration
    })?;
    Ok((store, instance))
}
