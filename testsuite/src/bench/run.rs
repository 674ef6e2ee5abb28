//! One program, original against rewritten.

use std::io;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use wasm_migrate::wasi::{self, Exit, WasiBuilder, WasiCtx};
use wasm_migrate::{Guest, GuestInstance, Migration, Pacing};
use wasm_migratize::Migratizer;
use wasmtime::{Config, Engine, Linker, Module, Store};

use super::{Program, median};

const STACK_BYTES: usize = 64 << 20;

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Median run time of the original in milliseconds, compilation and instantiation excluded.
    pub original_ms: f64,
    /// The same for the rewritten program, polled but never stopped.
    pub rewritten_ms: f64,
    /// Size of the rewritten module over that of the original without its debug sections (which the
    /// rewriter drops).
    pub size_ratio: f64,
}

impl Measured {
    /// Run time of the rewritten program over that of the original.
    #[must_use]
    pub fn time_ratio(&self) -> f64 {
        self.rewritten_ms / self.original_ms
    }
}

struct Host {
    migration: Migration,
    wasi: WasiCtx,
}

/// Measures one program.
///
/// # Errors
/// The program cannot be rewritten or run, or the two disagree about the exit code.
pub fn measure(program: &Program, runs: usize) -> anyhow::Result<Measured> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(2 * STACK_BYTES);
        let measuring = thread.spawn_scoped(scope, || measure_here(program, runs))?;
        measuring
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
    .with_context(|| format!("while measuring {}", program.name))
}

fn measure_here(program: &Program, runs: usize) -> anyhow::Result<Measured> {
    let mut config = Config::new();
    config
        .max_wasm_stack(STACK_BYTES)
        .async_stack_size(2 * STACK_BYTES)
        .wasm_branch_hinting(true);
    let engine = Engine::new(&config)?;
    let rewritten = Migratizer::new().rewrite(&program.wasm)?.wasm;
    let original = Module::new(&engine, &program.wasm)?;
    let guest = Guest::new(&engine, &rewritten)?;
    let (mut original_ms, mut rewritten_ms) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let (time, code) = run_original(program, &original)?;
        original_ms.push(milliseconds(time));
        let (time, rewritten_code) = run_rewritten(program, &guest)?;
        rewritten_ms.push(milliseconds(time));
        if code != rewritten_code {
            bail!("the original exits with {code}, the rewritten program with {rewritten_code}");
        }
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "a module is smaller than 2^52 bytes"
    )]
    let size_ratio = rewritten.len() as f64 / size_without_debug(&program.wasm)? as f64;
    Ok(Measured {
        original_ms: median(original_ms),
        rewritten_ms: median(rewritten_ms),
        size_ratio,
    })
}

fn run_original(program: &Program, module: &Module) -> anyhow::Result<(Duration, i32)> {
    let mut store = Store::new(module.engine(), host(program)?);
    let mut linker = Linker::new(module.engine());
    wasi::add_to_linker(&mut linker, |host: &mut Host| &mut host.wasi, migration)?;
    let instance = linker.instantiate(&mut store, module)?;
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
    let began = Instant::now();
    let ended = start.call(&mut store, ());
    Ok((began.elapsed(), exit_code(ended)?))
}

fn run_rewritten(program: &Program, guest: &Guest) -> anyhow::Result<(Duration, i32)> {
    let mut store = Store::new(guest.module().engine(), host(program)?);
    let mut linker = Linker::new(guest.module().engine());
    Guest::add_to_linker(&mut linker, migration)?;
    wasi::add_to_linker(&mut linker, |host: &mut Host| &mut host.wasi, migration)?;
    let instance = GuestInstance::new(&mut store, &linker, guest, migration)?;
    instance.start(&mut store)?;
    let began = Instant::now();
    let ended = instance.call(&mut store, "_start", &[]).map(|_| ());
    Ok((began.elapsed(), exit_code(ended)?))
}

fn migration(host: &mut Host) -> &mut Migration {
    &mut host.migration
}

fn host(program: &Program) -> anyhow::Result<Host> {
    let mut builder = WasiBuilder::new()
        .args(program.args.clone())
        .stdin(Box::new(io::empty()))
        .stdout(Box::new(io::sink()))
        .stderr(Box::new(io::sink()));
    for (name, value) in &program.env {
        builder = builder.env(name, value);
    }
    for (host, guest) in &program.dirs {
        builder = builder.preopen(host, guest)?;
    }
    let migration = Migration::new(Pacing::Latency(Duration::from_micros(500)));
    Ok(Host {
        migration,
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

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn size_without_debug(wasm: &[u8]) -> anyhow::Result<usize> {
    let mut size = wasm.len();
    for payload in wasmparser::Parser::new(0).parse_all(wasm) {
        if let wasmparser::Payload::CustomSection(section) = payload?
            && section.name().starts_with(".debug_")
        {
            size -= section.data().len() + section.name().len();
        }
    }
    Ok(size)
}
