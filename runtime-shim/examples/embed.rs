//! Capture and resume in a wasmtime program of one's own.
//!
//! The program runs a guest with an import, store data and an engine configuration of its own. What capture
//! and resume add to it are the lines that end in `// +`, fewer than 30; half of them let a
//! counter of the host's go with the guest.
//!
//! ```text
//! cargo run --release --example embed
//! ```

use std::time::Duration;

use anyhow::{Result, bail};
use wasm_migrate::{Guest, GuestInstance, Migration, Outcome, ReadOptions, Snapshot}; // +
use wasm_migrate::{HostState, HostStateError, SectionVersion, WriteOptions}; // +
use wasmtime::{Caller, Config, Engine, Linker, Store};

/// Counts to a hundred million and reports every ten millions.
const PROGRAM: &str = r#"(module
    (import "app" "report" (func $report (param i32)))
    (func (export "run") (result i32) (local $i i32)
        (loop $again
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (if (i32.eqz (i32.rem_u (local.get $i) (i32.const 10000000)))
                (then (call $report (local.get $i))))
            (br_if $again (i32.lt_u (local.get $i) (i32.const 100000000))))
        (local.get $i)))"#;

/// Data of the store.
#[derive(Default)]
struct App {
    reports: Reports,
    migration: Migration, // +
}

#[derive(Default)]
struct Reports {
    count: u32,
    restored: u32, // +
}

#[rustfmt::skip]
impl HostState for Reports { // +
    fn name(&self) -> &str { "app.reports" } // +
    fn version(&self) -> SectionVersion { SectionVersion::new(1, 0) } // +
    fn snapshot(&mut self) -> Result<Vec<u8>, HostStateError> { Ok(self.count.to_le_bytes().into()) } // +
    fn restore(&mut self, _: SectionVersion, bytes: &[u8]) -> Result<(), HostStateError> { // +
        self.restored = u32::from_le_bytes(bytes.try_into()?); // +
        Ok(()) // +
    } // +
    fn activate(&mut self) { self.count = self.restored; } // +
    fn abort(&mut self) {} // +
} // +

fn make(guest: &Guest) -> Result<(Store<App>, GuestInstance<App>)> {
    let engine = guest.module().engine();
    let mut linker = Linker::new(engine);
    let report = |mut caller: Caller<'_, App>, count: i32| {
        caller.data_mut().reports.count += 1;
        println!("report {}: {count}", caller.data().reports.count);
    };
    linker.func_wrap("app", "report", report)?;
    let mut store = Store::new(engine, App::default());
    Guest::add_to_linker(&mut linker, |app: &mut App| &mut app.migration)?; // +
    let instance = GuestInstance::new(&mut store, &linker, guest, |app| &mut app.migration)? // +
        .with_host_states(|app| vec![&mut app.reports]); // +
    Ok((store, instance))
}

pub(crate) fn main() -> Result<()> {
    // Usually `wasm-migratize app.wasm -o app.mig.wasm` has done this.
    let wasm = wasm_migratize::Migratizer::new().rewrite(&wat::parse_str(PROGRAM)?)?;
    let mut config = Config::new();
    config.max_wasm_stack(4 << 20).async_stack_size(8 << 20);
    let guest = Guest::new(&Engine::new(&config)?, &wasm.wasm)?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("app.snapshot");

    let (mut store, instance) = make(&guest)?;
    let controller = store.data().migration.controller(); // +
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        controller.request(); // +
    });
    let Outcome::Suspended = instance.call(&mut store, "run", &[])? else {
        bail!("it was done before it was stopped");
    };
    let snapshot = instance.snapshot(&mut store, "run")?; // +
    snapshot.write(&file, WriteOptions::default())?; // +
    println!("stopped after {} reports", store.data().reports.count);

    // Perhaps in another process, on another machine:
    let (mut store, instance) = make(&guest)?;
    let snapshot = Snapshot::read(&file, &ReadOptions::default())?; // +
    let outcome = instance.resume_snapshot(&mut store, &snapshot)?; // +
    let Outcome::Finished(results) = outcome else {
        bail!("nobody asked for a second stop");
    };
    let reports = store.data().reports.count;
    println!("counted to {:?} with {reports} reports", results[0].i32());
    if results[0].i32() != Some(100_000_000) || reports != 10 {
        bail!("something was lost on the way");
    }
    Ok(())
}
