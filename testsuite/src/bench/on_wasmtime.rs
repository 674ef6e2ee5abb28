//! Variants on wasmtime: original, migratized, with inserted polls, and with the engine's own polls.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use anyhow::Context;
use wasm_migrate::wasi::{self, Exit, WasiBuilder, WasiCtx};
use wasm_migrate::{Guest, GuestInstance, Migration, Pacing};
use wasmtime::{Config, Engine, Linker, Module, Store};

use super::clock::{milliseconds, process_time, thread_time};
use super::plan::{Contestant, Kind, Program};
use super::race::{Ended, Raced, Racer, Runner};
use super::{POLL_IMPORT, POLL_MODULE};

/// Stack of guests: enough that no program of the set comes near its end.
pub(super) const STACK_BYTES: usize = 64 << 20;

/// The two configurations, the same but for the engine's own polls.
pub struct Engines {
    plain: Engine,
    epoch: Engine,
}

pub(super) struct Host {
    pub(super) migration: Migration,
    pub(super) wasi: WasiCtx,
}

struct OnWasmtime {
    program: Arc<Program>,
    code: Code,
}

enum Code {
    Plain(Module),
    Migratized(Guest),
}

impl Engines {
    /// Both as `wasm-migrate` configures its engine.
    ///
    /// # Errors
    /// This machine cannot run the configuration.
    pub fn new() -> anyhow::Result<Self> {
        let mut config = Config::new();
        config
            .max_wasm_stack(STACK_BYTES)
            .async_stack_size(2 * STACK_BYTES)
            .wasm_branch_hinting(true);
        let plain = Engine::new(&config)?;
        let epoch = Engine::new(config.epoch_interruption(true))?;
        Ok(Self { plain, epoch })
    }

    /// Compiles a variant, some times over if that takes a short time.
    ///
    /// # Errors
    /// The module cannot be read or compiled.
    pub fn compile(
        &self,
        program: &Arc<Program>,
        contestant: &Contestant,
        times: usize,
    ) -> anyhow::Result<Racer> {
        const LONG_MS: f64 = 1000.0;
        let path = &contestant.wasm;
        let wasm =
            std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let mut compile_ms = Vec::new();
        let code = loop {
            let (took_ms, code) =
                milliseconds(process_time, || self.compile_once(contestant.kind, &wasm));
            let code = code.with_context(|| format!("cannot compile {}", contestant.name))?;
            compile_ms.push(took_ms);
            if compile_ms.len() >= times || compile_ms.iter().sum::<f64>() >= LONG_MS {
                break code;
            }
        };
        let module = match &code {
            Code::Plain(module) => module,
            Code::Migratized(guest) => guest.module(),
        };
        Ok(Racer {
            raced: Raced {
                name: contestant.name.clone(),
                run_ms: Vec::new(),
                compile_ms,
                code_bytes: Some(module.functions().map(|function| function.len).sum()),
            },
            runner: Box::new(OnWasmtime {
                program: Arc::clone(program),
                code,
            }),
        })
    }

    /// A migratized variant, compiled.
    pub(super) fn guest(&self, contestant: &Contestant) -> anyhow::Result<Guest> {
        let wasm = std::fs::read(&contestant.wasm)
            .with_context(|| format!("cannot read `{}`", contestant.wasm.display()))?;
        Ok(Guest::new(&self.plain, &wasm)?)
    }

    fn compile_once(&self, kind: Kind, wasm: &[u8]) -> anyhow::Result<Code> {
        Ok(match kind {
            Kind::Plain | Kind::Polled => Code::Plain(Module::from_binary(&self.plain, wasm)?),
            Kind::Epoch => Code::Plain(Module::from_binary(&self.epoch, wasm)?),
            Kind::Migratized => Code::Migratized(Guest::new(&self.plain, wasm)?),
        })
    }
}

impl Runner for OnWasmtime {
    fn run(&self) -> anyhow::Result<(f64, Ended)> {
        let output = Output::default();
        let host = host(&self.program, output.clone())?;
        let (run_ms, ended) = match &self.code {
            Code::Plain(module) => run_plain(module, host)?,
            Code::Migratized(guest) => run_migratized(guest, host)?,
        };
        let exit_code = exit_code(ended)?;
        let output = output.digest();
        Ok((run_ms, Ended { exit_code, output }))
    }
}

fn run_plain(module: &Module, host: Host) -> anyhow::Result<(f64, wasmtime::Result<()>)> {
    let mut store = Store::new(module.engine(), host);
    // Only an engine that polls looks at it; no one advances the epoch.
    store.set_epoch_deadline(1);
    let mut linker = Linker::new(module.engine());
    wasi::add_to_linker(&mut linker, |host: &mut Host| &mut host.wasi, migration)?;
    linker.func_wrap(POLL_MODULE, POLL_IMPORT, || {})?;
    let instance = linker.instantiate(&mut store, module)?;
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
    Ok(milliseconds(thread_time, || start.call(&mut store, ())))
}

fn run_migratized(guest: &Guest, host: Host) -> anyhow::Result<(f64, wasmtime::Result<()>)> {
    let mut store = Store::new(guest.module().engine(), host);
    let instance = instantiate(guest, &mut store)?;
    Ok(milliseconds(thread_time, || {
        let ended = instance.call(&mut store, "_start", &[]);
        ended.map(|_| ())
    }))
}

/// A fresh instance of a migratized program, started if it has a start function.
pub(super) fn instantiate(
    guest: &Guest,
    store: &mut Store<Host>,
) -> anyhow::Result<GuestInstance<Host>> {
    let mut linker = Linker::new(guest.module().engine());
    Guest::add_to_linker(&mut linker, migration)?;
    wasi::add_to_linker(&mut linker, |host: &mut Host| &mut host.wasi, migration)?;
    let instance = GuestInstance::new(&mut *store, &linker, guest, migration)?;
    instance.start(store)?;
    Ok(instance)
}

fn migration(host: &mut Host) -> &mut Migration {
    &mut host.migration
}

/// A host with what the program needs, and the default pace of polls.
pub(super) fn host(program: &Program, output: impl Write + Send + 'static) -> anyhow::Result<Host> {
    let mut builder = WasiBuilder::new()
        .args(program.args.clone())
        .stdin(Box::new(io::empty()))
        .stdout(Box::new(output))
        .stderr(Box::new(io::sink()));
    for (name, value) in &program.env {
        builder = builder.env(name, value);
    }
    for (host, guest) in &program.dirs {
        builder = builder.preopen(host, guest)?;
    }
    Ok(Host {
        migration: Migration::new(Pacing::default()),
        wasi: builder.build(),
    })
}

fn exit_code(ended: wasmtime::Result<()>) -> anyhow::Result<i32> {
    match ended {
        Ok(()) => Ok(0),
        Err(error) => match error.downcast_ref::<Exit>() {
            Some(Exit(code)) => Ok(*code),
            None => Err(error.into()),
        },
    }
}

/// Keeps the digest of what is written to it.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<blake3::Hasher>>);

impl Output {
    fn digest(&self) -> blake3::Hash {
        self.0.lock().expect("no writer panics").finalize()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no writer panics").update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
