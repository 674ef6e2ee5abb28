//! A program run in this process, and moved within it.
//!
//! At every stop the state is captured as the bytes of a snapshot. Then everything goes, store and open files, and the
//! program goes on from the bytes in a new instance with a new context. What survives are its standard streams, as
//! they would with a terminal, and its directories, unless it goes elsewhere.

use std::collections::BTreeSet;
use std::io::{self, Cursor, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use wasm_migrate::wasi::{self, Exit, FilePolicy, ShipFiles, WasiBuilder, WasiCtx};
use wasm_migrate::{
    Compression, Controller, Guest, GuestInstance, Migration, Outcome, Pacing, ReadOptions,
    Snapshot, SuspendPoint, WriteOptions, suspend_point,
};
use wasm_migratize::Migratizer;
use wasmtime::{Caller, Engine, Linker, Module, Store};

use super::interpose::{BEFORE, interpose};
use super::world::World;
use super::{Case, Ending, Mode, Run};
use crate::engine::TIME_LIMIT_TICKS;
use crate::schedule::Schedule;

const ENTRY: &str = "_start";
/// Stops at every poll before they become rarer. Most programs have fewer polls.
const DENSE_STOPS: u32 = 2_000;
/// From one stop to the next in [`Mode::AnyTime`].
const INTERVAL: Duration = Duration::from_millis(3);

/// Data of a store.
struct Host {
    wasi: WasiCtx,
    migration: Migration,
    calls: Calls,
}

/// Calls of WASI that are announced.
#[derive(Default)]
struct Calls {
    /// Imports that were called, by index.
    called: BTreeSet<u32>,
    /// The next call was announced before the stop.
    is_announced: bool,
}

/// Streams that outlive a move.
#[derive(Clone, Default)]
struct Streams {
    input: Arc<Mutex<Cursor<Vec<u8>>>>,
    output: Sink,
    error: Sink,
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Source(Arc<Mutex<Cursor<Vec<u8>>>>);

impl Read for Source {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .read(bytes)
    }
}

/// Runs a program in a mode of this process.
pub(super) fn run(engine: &Engine, case: &Case, mode: Mode) -> Result<Run> {
    let mut world = World::new(&case.settings)?;
    let streams = Streams::default();
    *streams.input.lock().unwrap_or_else(PoisonError::into_inner) =
        Cursor::new(case.settings.stdin.clone().into_bytes());
    let (ending, stops, called) = match mode.is_rewritten_here() {
        false => {
            let ending = run_original(engine, case, &world, &streams)?;
            (ending, 0, BTreeSet::new())
        }
        true => Journey::new(engine, case, mode, &streams)?.go(&mut world)?,
    };
    Ok(Run {
        ending,
        stdout: streams.output.take(),
        stderr: streams.error.take(),
        tree: world.tree()?,
        stops,
        called,
    })
}

fn builder(case: &Case, mode: Mode, world: &World, streams: &Streams) -> Result<WasiBuilder> {
    let ship = match mode {
        Mode::Elsewhere => ShipFiles::Dirs,
        _ => ShipFiles::Unnamed,
    };
    let files = FilePolicy {
        ship,
        ..FilePolicy::default()
    };
    let builder = WasiBuilder::new()
        .args(case.arguments())
        .stdin(Box::new(Source(Arc::clone(&streams.input))))
        .stdout(Box::new(streams.output.clone()))
        .stderr(Box::new(streams.error.clone()))
        .files(files);
    let variables = case.settings.env.iter();
    let builder = variables.fold(builder, |builder, [name, value]| builder.env(name, value));
    world.open(builder)
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine);
    wasi::add_to_linker(
        &mut linker,
        |host: &mut Host| &mut host.wasi,
        |host| &mut host.migration,
    )?;
    Ok(linker)
}

fn run_original(engine: &Engine, case: &Case, world: &World, streams: &Streams) -> Result<Ending> {
    let module = Module::new(engine, &case.wasm)?;
    let host = Host {
        wasi: builder(case, Mode::Original, world, streams)?.build(),
        migration: Migration::default(),
        calls: Calls::default(),
    };
    let mut store = Store::new(engine, host);
    store.set_epoch_deadline(TIME_LIMIT_TICKS);
    let instance = linker(engine)?.instantiate(&mut store, &module)?;
    let start = instance.get_typed_func::<(), ()>(&mut store, ENTRY)?;
    Ok(ending(start.call(&mut store, ())))
}

fn ending<T>(result: wasmtime::Result<T>) -> Ending {
    match result {
        Ok(_) => Ending::Status(0),
        Err(error) => match error.downcast_ref::<Exit>() {
            Some(Exit(status)) => Ending::Status(*status),
            None => Ending::Failed(format!("{error:?}")),
        },
    }
}

/// A rewritten program on its way through instances.
struct Journey<'c> {
    case: &'c Case,
    mode: Mode,
    streams: &'c Streams,
    guest: Guest,
    /// Names of the imports, if calls are announced.
    names: Vec<String>,
    schedule: Option<Schedule>,
    /// One for all instances, so that others can ask at any time.
    controller: Controller,
    called: BTreeSet<u32>,
}

type Place = (Store<Host>, GuestInstance<Host>);

impl<'c> Journey<'c> {
    fn new(engine: &Engine, case: &'c Case, mode: Mode, streams: &'c Streams) -> Result<Self> {
        let mut migratizer = Migratizer::new();
        let (mut names, mut original) = (Vec::new(), None);
        if mode.stops_at_calls() {
            let interposed = interpose(&case.wasm)?;
            names = interposed.names;
            original = Some(interposed.wasm);
            migratizer.suspending_import(BEFORE.0, BEFORE.1);
        }
        let wasm = original.as_deref().unwrap_or(&case.wasm);
        let output = migratizer
            .rewrite(wasm)
            .context("the module cannot be rewritten")?;
        Ok(Self {
            case,
            mode,
            streams,
            guest: Guest::new(engine, &output.wasm)?,
            names,
            schedule: (mode == Mode::EveryPoll).then(|| Schedule::with_dense_stops(1, DENSE_STOPS)),
            controller: Controller::new(),
            called: BTreeSet::new(),
        })
    }

    /// From the start to the end; how it ended, how often it was moved, what it called.
    fn go(mut self, world: &mut World) -> Result<(Ending, u64, BTreeSet<String>)> {
        let _requests = (self.mode == Mode::AnyTime).then(|| Requests::start(&self.controller));
        let mut stops = 0;
        let (mut store, mut instance) = self.place(world)?;
        let mut outcome = instance.call(&mut store, ENTRY, &[]);
        while let Ok(Outcome::Suspended) = outcome {
            stops += 1;
            let snapshot = instance.snapshot(&mut store, ENTRY)?;
            let options = WriteOptions {
                compression: Compression::None,
                ..WriteOptions::default()
            };
            let bytes = snapshot.encode(options)?;
            self.called.append(&mut store.data_mut().calls.called);
            drop(snapshot);
            drop(instance);
            drop(store);
            if self.mode == Mode::Elsewhere {
                *world = World::empty(&self.case.settings)?;
            }
            (store, instance) = self.place(world)?;
            store.data_mut().calls.is_announced = true;
            let snapshot = Snapshot::decode(&bytes, &ReadOptions::default())?;
            outcome = instance.resume_snapshot(&mut store, &snapshot);
        }
        self.called.append(&mut store.data_mut().calls.called);
        let names = self.called.iter();
        let names = names.filter_map(|&import| self.names.get(import as usize).cloned());
        Ok((ending(outcome), stops, names.collect()))
    }

    /// A new instance in a new store with a new context, ready to be stopped.
    fn place(&mut self, world: &World) -> Result<Place> {
        let engine = self.guest.module().engine();
        let mut migration = Migration::new(Pacing::Every(1));
        migration.set_controller(self.controller.clone());
        if let Some(schedule) = &mut self.schedule {
            migration.stop_at_poll(Some(schedule.next_gap()));
        }
        let host = Host {
            wasi: builder(self.case, self.mode, world, self.streams)?.build(),
            migration,
            calls: Calls::default(),
        };
        let mut store = Store::new(engine, host);
        store.set_epoch_deadline(TIME_LIMIT_TICKS);
        let mut linker = linker(engine)?;
        linker.func_wrap(BEFORE.0, BEFORE.1, announced)?;
        let get: fn(&mut Host) -> &mut Migration = |host| &mut host.migration;
        Guest::add_to_linker(&mut linker, get)?;
        let instance = GuestInstance::new(&mut store, &linker, &self.guest, get)
            .map_err(|error| anyhow!("the rewritten module cannot be instantiated: {error:?}"))?
            .with_host_states(|host| vec![&mut host.wasi]);
        Ok((store, instance))
    }
}

/// The guest is about to call an import: it is stopped here, unless it was just now.
fn announced(mut caller: Caller<'_, Host>, import: u32) -> wasmtime::Result<()> {
    let host = caller.data_mut();
    if std::mem::take(&mut host.calls.is_announced) {
        host.calls.called.insert(import);
        return Ok(());
    }
    host.migration.controller().request();
    match suspend_point(&mut caller, |host| &mut host.migration)? {
        SuspendPoint::Unwind => Ok(()),
        SuspendPoint::NotRequested | SuspendPoint::Deferred => Err(wasmtime::Error::msg(
            "the guest cannot be stopped at a call of WASI",
        )),
    }
}

/// Requests to stop at regular intervals, until this is dropped.
struct Requests {
    is_over: Arc<AtomicBool>,
}

impl Requests {
    fn start(controller: &Controller) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        std::thread::spawn({
            let (controller, is_over) = (controller.clone(), Arc::clone(&is_over));
            move || {
                while !is_over.load(Ordering::Relaxed) {
                    std::thread::sleep(INTERVAL);
                    controller.request();
                }
            }
        });
        Self { is_over }
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}
