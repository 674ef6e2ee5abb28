//! Variants on wasmi, an interpreter, with a host of its own: polls paced as by default, and of WASI what programs need that
//! compute and print.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use wasm_migrate_abi as abi;
use wasmi::{
    Caller, Config, Engine, Error, Extern, ExternType, Func, FuncType, Global, Linker, Memory,
    Module, Store, Val, ValType,
};

use super::clock::{milliseconds, process_time, thread_time};
use super::plan::{Contestant, Kind, Program};
use super::race::{Ended, Raced, Racer, Runner};

/// Recursions of the set are no deeper.
const RECURSION_MAX: usize = 100_000;
const STACK_BYTES: usize = 64 << 20;

/// As the default pace of `wasm-migrate` (runtime-shim/src/pacing.rs): a poll about every 0.125 ms.
const AIM: Duration = Duration::from_micros(125);
const FIRST_BUDGET: i32 = 64;
const BUDGET_MAX: i32 = 1 << 28;
const GROWTH_MAX: f64 = 4.0;

const WASI: &str = "wasi_snapshot_preview1";
/// Error numbers of WASI preview 1.
const SUCCESS: i32 = 0;
const EBADF: i32 = 8;
const ENOSYS: i32 = 52;
const ESPIPE: i32 = 70;

/// wasmi, set up for programs that recurse deeply.
pub struct Wasmi(Engine);

struct OnWasmi {
    program: Arc<Program>,
    module: Module,
    kind: Kind,
}

struct Host {
    program: Arc<Program>,
    output: blake3::Hasher,
    budget: i32,
    last_poll: Instant,
}

type Called<'c> = Caller<'c, Host>;

impl Wasmi {
    /// The engine.
    #[must_use]
    pub fn new() -> Self {
        let mut config = Config::default();
        config
            .set_max_recursion_depth(RECURSION_MAX)
            .set_max_stack_height(STACK_BYTES);
        Self(Engine::new(&config))
    }

    /// Translates a variant into the interpreter's code.
    ///
    /// # Errors
    /// The module cannot be read or has what wasmi lacks, or the variant needs another engine.
    pub fn compile(
        &self,
        program: &Arc<Program>,
        contestant: &Contestant,
    ) -> anyhow::Result<Racer> {
        let path = &contestant.wasm;
        let wasm =
            std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        if !matches!(contestant.kind, Kind::Plain | Kind::Migratized) {
            bail!("{} is not for wasmi", contestant.name);
        }
        let (took_ms, module) = milliseconds(process_time, || Module::new(&self.0, &wasm));
        let module = module.with_context(|| format!("cannot translate {}", contestant.name))?;
        Ok(Racer {
            raced: Raced {
                name: contestant.name.clone(),
                run_ms: Vec::new(),
                compile_ms: vec![took_ms],
                code_bytes: None,
            },
            runner: Box::new(OnWasmi {
                program: Arc::clone(program),
                module,
                kind: contestant.kind,
            }),
        })
    }
}

impl Default for Wasmi {
    fn default() -> Self {
        Self::new()
    }
}

impl Runner for OnWasmi {
    fn run(&self) -> anyhow::Result<(f64, Ended)> {
        let host = Host {
            program: Arc::clone(&self.program),
            output: blake3::Hasher::new(),
            budget: FIRST_BUDGET,
            last_poll: Instant::now(),
        };
        let mut store = Store::new(self.module.engine(), host);
        let mut linker = Linker::new(self.module.engine());
        for import in self.module.imports() {
            let (module, name) = (import.module(), import.name());
            let ExternType::Func(ty) = import.ty() else {
                bail!("the import {module}.{name} is no function");
            };
            let function = host_function(module, name, ty)?;
            linker.func_new(module, name, ty.clone(), function)?;
        }
        let instance = linker.instantiate_and_start(&mut store, &self.module)?;
        if matches!(self.kind, Kind::Migratized) {
            let budget = instance.get_global(&store, abi::BUDGET);
            let budget: Global = budget.context("it is not migratized")?;
            budget.set(&mut store, Val::I32(FIRST_BUDGET))?;
            if let Some(start) = instance.get_func(&store, abi::START) {
                start.call(&mut store, &[], &mut [])?;
            }
        }
        let start: Func = instance
            .get_func(&store, "_start")
            .context("it has no _start")?;
        let (run_ms, ended) = milliseconds(thread_time, || start.call(&mut store, &[], &mut []));
        let exit_code = match ended {
            Ok(()) => 0,
            Err(error) => error.i32_exit_status().ok_or(error)?,
        };
        let output = store.data().output.finalize();
        Ok((run_ms, Ended { exit_code, output }))
    }
}

type HostFunction = Box<
    dyn for<'a> Fn(Called<'a>, &[Val], &mut [Val]) -> Result<(), Error> + Send + Sync + 'static,
>;

/// What an import does. Those of WASI that computing programs do not need say that they are not there.
fn host_function(module: &str, name: &str, ty: &FuncType) -> anyhow::Result<HostFunction> {
    if module == abi::MODULE && name == abi::POLL {
        return Ok(Box::new(|mut caller, _, results| {
            results[0] = Val::I32(poll(caller.data_mut()));
            Ok(())
        }));
    }
    if module == abi::MODULE {
        let name = name.to_owned();
        return Ok(Box::new(move |_, _, _| {
            let what = format!("{name} was called, and no one asked to unwind");
            Err(Error::new(what))
        }));
    }
    if module != WASI || ty.results().iter().any(|ty| *ty != ValType::I32) {
        bail!("there is no import {module}.{name} here");
    }
    let call: fn(&mut Called<'_>, &[Val]) -> Result<i32, Error> = match name {
        "args_sizes_get" => |caller, words| sizes(caller, words, &arguments(caller)),
        "args_get" => |caller, words| strings(caller, words, &arguments(caller)),
        "environ_sizes_get" => |caller, words| sizes(caller, words, &environment(caller)),
        "environ_get" => |caller, words| strings(caller, words, &environment(caller)),
        "fd_write" => write,
        "fd_close" => |_, _| Ok(SUCCESS),
        "fd_seek" => |_, _| Ok(ESPIPE),
        "fd_prestat_get" | "fd_prestat_dir_name" => |_, _| Ok(EBADF),
        "fd_fdstat_get" => fdstat,
        "clock_time_get" => |caller, words| {
            let now = std::time::SystemTime::UNIX_EPOCH.elapsed();
            let nanoseconds = now.map_or(0, |now| now.as_nanos() as u64);
            store(caller, word(words, 2), &nanoseconds.to_le_bytes())?;
            Ok(SUCCESS)
        },
        "proc_exit" => |_, words| Err(Error::i32_exit(word(words, 0).cast_signed())),
        _ => |_, _| Ok(ENOSYS),
    };
    Ok(Box::new(move |mut caller, words, results| {
        let answer = call(&mut caller, words)?;
        if let [result] = results {
            *result = Val::I32(answer);
        }
        Ok(())
    }))
}

/// The next budget, by the time that the last one took.
fn poll(host: &mut Host) -> i32 {
    let now = Instant::now();
    let took = (now - host.last_poll).as_secs_f64().max(1e-9);
    let factor = (AIM.as_secs_f64() / took).min(GROWTH_MAX);
    host.last_poll = now;
    // The cast saturates.
    host.budget = ((f64::from(host.budget) * factor) as i32).clamp(1, BUDGET_MAX);
    host.budget
}

fn arguments(caller: &Called<'_>) -> Vec<String> {
    caller.data().program.args.clone()
}

fn environment(caller: &Called<'_>) -> Vec<String> {
    let env = caller.data().program.env.iter();
    env.map(|(name, value)| format!("{name}={value}")).collect()
}

/// Number of strings, and bytes of all with their ends.
fn sizes(caller: &mut Called<'_>, words: &[Val], strings: &[String]) -> Result<i32, Error> {
    let bytes: usize = strings.iter().map(|text| text.len() + 1).sum();
    store(
        caller,
        word(words, 0),
        &(strings.len() as u32).to_le_bytes(),
    )?;
    store(caller, word(words, 1), &(bytes as u32).to_le_bytes())?;
    Ok(SUCCESS)
}

/// Their addresses, and the strings.
fn strings(caller: &mut Called<'_>, words: &[Val], strings: &[String]) -> Result<i32, Error> {
    let (mut list, mut at) = (word(words, 0), word(words, 1));
    for text in strings {
        store(caller, list, &at.to_le_bytes())?;
        store(caller, at, text.as_bytes())?;
        store(caller, at + text.len() as u32, &[0])?;
        list += 4;
        at += text.len() as u32 + 1;
    }
    Ok(SUCCESS)
}

/// Standard output is kept as a digest; anything else is lost.
fn write(caller: &mut Called<'_>, words: &[Val]) -> Result<i32, Error> {
    let mut written = 0;
    for number in 0..word(words, 2) {
        let at = word(words, 1) + 8 * number;
        let start = u32::from_le_bytes(load(caller, at)?);
        let length = u32::from_le_bytes(load(caller, at + 4)?);
        if word(words, 0) == 1 {
            let (memory, host) = memory(caller)?.data_and_store_mut(&mut *caller);
            let place = start as usize..start as usize + length as usize;
            let bytes = memory.get(place).ok_or_else(out_of_bounds)?;
            host.output.update(bytes);
        }
        written += length;
    }
    store(caller, word(words, 3), &written.to_le_bytes())?;
    Ok(SUCCESS)
}

/// Standard streams are terminals, so that programs write lines.
fn fdstat(caller: &mut Called<'_>, words: &[Val]) -> Result<i32, Error> {
    const STREAMS: u32 = 3;
    const CHARACTER_DEVICE: u8 = 2;
    if word(words, 0) >= STREAMS {
        return Ok(EBADF);
    }
    let mut stat = [0; 24];
    stat[0] = CHARACTER_DEVICE;
    store(caller, word(words, 1), &stat)?;
    Ok(SUCCESS)
}

fn word(words: &[Val], index: usize) -> u32 {
    words[index].i32().unwrap_or_default().cast_unsigned()
}

fn memory(caller: &Called<'_>) -> Result<Memory, Error> {
    let memory = caller.get_export("memory").and_then(Extern::into_memory);
    memory.ok_or_else(|| Error::new("it exports no memory"))
}

fn load<const N: usize>(caller: &Called<'_>, at: u32) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    let read = memory(caller)?.read(caller, at as usize, &mut bytes);
    read.map_err(|_| out_of_bounds())?;
    Ok(bytes)
}

fn store(caller: &mut Called<'_>, at: u32, bytes: &[u8]) -> Result<(), Error> {
    let written = memory(caller)?.write(caller, at as usize, bytes);
    written.map_err(|_| out_of_bounds())
}

fn out_of_bounds() -> Error {
    Error::new("an address lies outside of memory")
}
