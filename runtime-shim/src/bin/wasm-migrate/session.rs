//! One guest from its start or resume to its end or snapshot.
//!
//! The guest runs on a thread of its own, whose native stack is as large as the user allows. A snapshot
//! that cannot be taken or written is reported, and the guest goes on where it is.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use indicatif::HumanBytes;
use wasm_migrate::wasi::{Exit, WasiCtx};
use wasm_migrate::{
    Guest, GuestInstance, MemorySize, Migration, Outcome, Pacing, Snapshot, SnapshotChain,
    WriteOptions, Written,
};
use wasmtime::{Engine, Store, Trap, Val, ValType};

use crate::checkpoint_files::CheckpointFiles;
use crate::checkpoints::Checkpoints;
use crate::compiler;
use crate::engine_config::{self, HOST_STACK_BYTES};
use crate::host::{self, Host};
use crate::keys::LoadedKeys;
use crate::launch::Launch;
use crate::options::HostOptions;
use crate::portability::Processor;
use crate::precompiled;
use crate::profiler::Profiler;
use crate::progress::Progress;
use crate::ship::Shipping;
use crate::terminal::{note, problem};
use crate::triggers::{self, Reason, Reasons};

/// Exit status after a trap, as from a process that aborts.
pub(crate) const TRAPPED: u8 = 134;
/// Exit status after a snapshot: "try again later".
pub(crate) const SNAPSHOT_WRITTEN: u8 = 75;

/// A compiled program.
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) guest: Guest,
    /// What it is compiled for.
    pub(crate) processor: Processor,
}

/// Where the guest begins.
pub(crate) enum Begin {
    Start,
    Resume(SnapshotChain<'static>),
}

/// Everything that one guest needs.
pub(crate) struct Session {
    program: Program,
    host: HostOptions,
    store: Store<Host>,
    begin: Begin,
    /// The number of this host, if it is not one more than the last one's.
    epoch: Option<u64>,
    keys: Arc<LoadedKeys>,
    reasons: Arc<Reasons>,
    checkpoints: Option<Checkpoints>,
    shipping: Option<Shipping>,
    profiler: Option<Profiler>,
}

/// How a call into the guest came to its end.
enum Settled {
    Finished(Vec<Val>),
    /// The guest has left this process, which ends with this status.
    Left(u8),
}

/// How a session came to its end, with the exit status.
enum Ending {
    /// The guest has ended.
    Ended(u8),
    /// It has not: it is in a snapshot, or elsewhere.
    Left(u8),
}

impl Program {
    /// The module that is, or was, at this path: compiled, or with its code from a file.
    pub(crate) fn load(
        path: PathBuf,
        wasm: &[u8],
        host: &HostOptions,
        mut processor: Processor,
    ) -> anyhow::Result<Self> {
        let Some(code) = &host.precompiled else {
            return Self::compile(path, wasm, host.stack_size, processor);
        };
        let guest = precompiled::load(code, wasm, host.stack_size, &mut processor)?;
        Ok(Self {
            path,
            guest,
            processor,
        })
    }

    fn compile(
        path: PathBuf,
        wasm: &[u8],
        stack_bytes: usize,
        processor: Processor,
    ) -> anyhow::Result<Self> {
        let mut config = engine_config::config(stack_bytes, &processor);
        compiler::configure(&mut config, &processor);
        let engine = Engine::new(&config).map_err(anyhow::Error::from)?;
        let guest = compiler::compile(&engine, wasm)
            .with_context(|| format!("cannot load `{}`", path.display()))?;
        Ok(Self {
            path,
            guest,
            processor,
        })
    }
}

impl Session {
    pub(crate) fn new(
        program: Program,
        launch: Launch,
        wasi: WasiCtx,
        host: HostOptions,
        begin: Begin,
    ) -> anyhow::Result<Self> {
        let keys = Arc::new(host.keys.load()?);
        let pacing = match host.snapshot_at {
            Some(_) => Pacing::Every(1),
            None => Pacing::Latency(host.latency),
        };
        let mut migration = Migration::new(pacing);
        migration.stop_at_poll(host.snapshot_at);
        let data = Host {
            migration,
            launch,
            wasi,
            processor: program.processor.clone(),
            streams: None,
        };
        let store = Store::new(program.guest.module().engine(), data);
        let profiler = host.profile.profiler();
        Ok(Self {
            program,
            host,
            store,
            begin,
            epoch: None,
            keys,
            reasons: Arc::default(),
            checkpoints: None,
            shipping: None,
            profiler,
        })
    }

    /// Leaves checkpoints behind in these files.
    pub(crate) fn with_checkpoints(
        mut self,
        files: Option<CheckpointFiles>,
    ) -> anyhow::Result<Self> {
        if let Some(files) = files {
            self.checkpoints = Some(Checkpoints::start(
                files,
                self.host.keep.into(),
                self.host.compress,
                self.host.dirty_tracking,
                Arc::clone(&self.keys),
            )?);
        }
        Ok(self)
    }

    /// Sends the guest away when it is stopped.
    pub(crate) fn with_shipping(self, shipping: Option<Shipping>) -> Self {
        Self { shipping, ..self }
    }

    /// Has `arrived` called once the guest's stack is rebuilt, before the guest does anything.
    pub(crate) fn on_arrival(mut self, arrived: impl FnOnce() + Send + 'static) -> Self {
        self.store.data_mut().migration.on_arrival(arrived);
        self
    }

    /// Numbers the host that runs the guest from now on.
    pub(crate) fn with_epoch(self, epoch: u64) -> Self {
        Self {
            epoch: Some(epoch),
            ..self
        }
    }

    /// Runs the guest; the exit status is its own.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let controller = self.store.data().migration.controller();
        let reasons = || Arc::clone(&self.reasons);
        triggers::on_signal(self.host.snapshot_on, controller.clone(), reasons())?;
        if let Some(time) = self.host.snapshot_after {
            triggers::after(time, controller.clone(), reasons())?;
        }
        if let Some(interval) = self.host.checkpoint_every {
            let ask = triggers::ask_for_checkpoint;
            triggers::every(interval, ask, controller.clone(), reasons())?;
        }
        if let Some(interval) = self.host.profile.interval() {
            triggers::every(interval, triggers::ask_for_sample, controller, reasons())?;
        }
        let stack_bytes = self.host.stack_size.saturating_add(HOST_STACK_BYTES);
        let thread = std::thread::Builder::new()
            .name("guest".to_owned())
            .stack_size(stack_bytes);
        let guest = thread.spawn(move || self.run_here()).with_context(|| {
            format!("cannot get a stack of {stack_bytes} bytes for the guest: lower --stack-size")
        })?;
        match guest.join() {
            Ok(ended) => ended,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    fn run_here(mut self) -> anyhow::Result<ExitCode> {
        let instance = host::instantiate(&mut self.store, &self.program.guest)?;
        let ended = self.run_entries(&instance);
        self.warn_if_not_reached();
        if let Some(Err(error)) = self.profiler.take().map(Profiler::write) {
            problem(format_args!("{error:#}"));
        }
        let ended = ended.or_else(exit_status);
        if let Some(checkpoints) = self.checkpoints.take() {
            checkpoints.finish(ended.is_ok());
        }
        match ended? {
            Ending::Ended(status) => {
                if let Some(shipping) = &self.shipping {
                    shipping.end(status).context(
                        "the other end of the pipe cannot be told that the guest has ended",
                    )?;
                }
                Ok(ExitCode::from(status))
            }
            Ending::Left(status) => Ok(ExitCode::from(status)),
        }
    }

    /// Calls what is left of the program's entries.
    fn run_entries(&mut self, instance: &GuestInstance<Host>) -> wasmtime::Result<Ending> {
        let mut entries = self.store.data().launch.entries.clone();
        let mut resumed = None;
        if let Begin::Resume(chain) = std::mem::replace(&mut self.begin, Begin::Start) {
            let running = &chain.newest().snapshot().state.entry;
            let Some(place) = entries.iter().position(|entry| entry == running) else {
                wasmtime::bail!(
                    "the snapshot is of a call of `{running}`, which is none of those that it says were to be made"
                )
            };
            entries.drain(..place);
            resumed = Some(chain);
        }
        let mut values = Vec::new();
        let last = entries.len().saturating_sub(1);
        for (number, entry) in entries.iter().enumerate() {
            let outcome = match resumed.take() {
                Some(chain) => {
                    let snapshot = chain.newest().snapshot();
                    let sections = &snapshot.sections;
                    let epoch = self.epoch.unwrap_or(snapshot.epoch.saturating_add(1));
                    instance.resume_hosted(&mut self.store, sections, epoch, |store| {
                        instance.resume_with(store, &snapshot.state, |memory, target| {
                            Ok(chain.fill(memory, target)?)
                        })
                    })?
                }
                None => {
                    let arguments = match number == last {
                        true => self.arguments(instance, entry)?,
                        false => Vec::new(),
                    };
                    instance.call(&mut self.store, entry, &arguments)?
                }
            };
            match self.settle(instance, entry, outcome)? {
                Settled::Finished(results) => values = results,
                Settled::Left(status) => return Ok(Ending::Left(status)),
            }
        }
        if self.store.data().launch.prints_results {
            let piped = self.shipping.as_ref().and_then(Shipping::guest_output);
            let mut out = piped.unwrap_or_else(|| Box::new(std::io::stdout()));
            values
                .iter()
                .try_for_each(|value| writeln!(out, "{}", text(value)))?;
        }
        Ok(Ending::Ended(0))
    }

    /// Sees a call to its end.
    fn settle(
        &mut self,
        instance: &GuestInstance<Host>,
        entry: &str,
        mut outcome: Outcome,
    ) -> wasmtime::Result<Settled> {
        loop {
            if let Outcome::Finished(results) = outcome {
                return Ok(Settled::Finished(results));
            }
            match self.reason() {
                Reason::Sample => self.take_sample(instance, entry)?,
                Reason::Checkpoint => {
                    if let Err(error) = self.write_checkpoint(instance, entry) {
                        problem(format_args!(
                            "a checkpoint was not written, the guest goes on: {error:#}"
                        ));
                    }
                }
                Reason::Snapshot => match self.write_snapshot(instance, entry) {
                    Ok(status) => return Ok(Settled::Left(status)),
                    Err(error) => {
                        problem(format_args!(
                            "no snapshot was written, the guest goes on: {error:#}"
                        ));
                    }
                },
            }
            outcome = instance.go_on(&mut self.store, entry)?;
        }
    }

    /// What the guest was stopped for.
    fn reason(&self) -> Reason {
        let reason = self.reasons.take();
        let is_at_poll = self.host.snapshot_at == Some(self.store.data().migration.polls());
        if is_at_poll { Reason::Snapshot } else { reason }
    }

    fn take_sample(&mut self, instance: &GuestInstance<Host>, entry: &str) -> wasmtime::Result<()> {
        let state = instance.capture_image(&mut self.store, entry)?;
        if let Some(profiler) = &mut self.profiler {
            profiler.add(state.original_digest, &state.frames);
        }
        Ok(())
    }

    fn write_checkpoint(
        &mut self,
        instance: &GuestInstance<Host>,
        entry: &str,
    ) -> anyhow::Result<()> {
        let snapshot = self.snapshot(instance, entry)?;
        let Some(checkpoints) = &mut self.checkpoints else {
            return Ok(());
        };
        let controller = self.store.data().migration.controller();
        let reasons = Arc::clone(&self.reasons);
        let memories = instance.memories(&self.store);
        checkpoints.take(snapshot, &memories, move || {
            triggers::ask_for_checkpoint(&controller, &reasons);
        })
    }

    /// Writes the guest to a file, and sends it away if that is wanted. An error leaves it to this process.
    fn write_snapshot(
        &mut self,
        instance: &GuestInstance<Host>,
        entry: &str,
    ) -> anyhow::Result<u8> {
        let snapshot = self.snapshot(instance, entry)?;
        let frames = snapshot.state.frames.len();
        let path = self.host.snapshot_path(&self.program.path);
        let views = instance.memories(&self.store);
        let total = views.iter().map(|view| view.bytes.len() as u64).sum();
        let progress = Progress::new("writing", Some(total));
        let told = |bytes| progress.add(bytes);
        let options = WriteOptions {
            compression: self.host.compress,
            progress: wasm_migrate::Progress::new(&told),
            ..self.keys.options()
        };
        let Written { bytes, .. } = snapshot.with_memories(views).write(&path, options)?;
        if let Some(shipping) = &self.shipping {
            return shipping.ship(&path, &self.program.path).inspect_err(|_| {
                // The guest goes on here: it must not be resumed elsewhere as well.
                let _ = std::fs::remove_file(&path);
            });
        }
        note(format_args!(
            "snapshot written to `{path}` ({bytes}, {frames} frames); \
             go on with: wasm-migrate resume {path}",
            path = path.display(),
            bytes = HumanBytes(bytes)
        ));
        Ok(SNAPSHOT_WRITTEN)
    }

    /// The stopped guest with everything that its host knows of it, without memory contents.
    fn snapshot(
        &mut self,
        instance: &GuestInstance<Host>,
        entry: &str,
    ) -> anyhow::Result<Snapshot<MemorySize>> {
        let mut snapshot = instance
            .snapshot_image(&mut self.store, entry)
            .map_err(anyhow::Error::from)?;
        snapshot.module.path = absolute(&self.program.path);
        Ok(snapshot)
    }

    fn warn_if_not_reached(&self) {
        let polls = self.store.data().migration.polls();
        if let Some(at) = self.host.snapshot_at.filter(|at| polls < *at) {
            log::warn!(
                "the guest passed {polls} safe points, fewer than the {at} of --snapshot-at"
            );
        }
    }

    fn arguments(
        &mut self,
        instance: &GuestInstance<Host>,
        entry: &str,
    ) -> wasmtime::Result<Vec<Val>> {
        let texts = self.store.data().launch.entry_arguments().to_vec();
        let Some(func) = instance.instance().get_func(&mut self.store, entry) else {
            wasmtime::bail!("the module exports no function `{entry}`")
        };
        let ty = func.ty(&self.store);
        if ty.params().len() != texts.len() {
            let (needed, given) = (ty.params().len(), texts.len());
            wasmtime::bail!("`{entry}` takes {needed} arguments, {given} are given after `--`");
        }
        let values = ty.params().zip(texts).map(|(ty, text)| {
            value(&ty, &text)
                .ok_or_else(|| wasmtime::format_err!("`{text}` is not a value of type {ty}"))
        });
        values.collect()
    }
}

/// The exit status that an error of the guest stands for; other errors stay errors.
fn exit_status(error: wasmtime::Error) -> anyhow::Result<Ending> {
    if let Some(Exit(status)) = error.downcast_ref::<Exit>() {
        // Only the low byte reaches the parent process, as from any process.
        return Ok(Ending::Ended((*status & 0xff) as u8));
    }
    if error.is::<Trap>() {
        problem(format_args!("the guest trapped: {error:?}"));
        return Ok(Ending::Ended(TRAPPED));
    }
    Err(error.into())
}

/// Reads an argument; integers may be given signed or unsigned.
fn value(ty: &ValType, text: &str) -> Option<Val> {
    match ty {
        ValType::I32 => {
            let unsigned = || text.parse().ok().map(u32::cast_signed);
            text.parse().ok().or_else(unsigned).map(Val::I32)
        }
        ValType::I64 => {
            let unsigned = || text.parse().ok().map(u64::cast_signed);
            text.parse().ok().or_else(unsigned).map(Val::I64)
        }
        ValType::F32 => text
            .parse()
            .ok()
            .map(|value: f32| Val::F32(value.to_bits())),
        ValType::F64 => text
            .parse()
            .ok()
            .map(|value: f64| Val::F64(value.to_bits())),
        _ => None,
    }
}

fn text(value: &Val) -> String {
    match value {
        Val::I32(value) => value.to_string(),
        Val::I64(value) => value.to_string(),
        Val::F32(bits) => f32::from_bits(*bits).to_string(),
        Val::F64(bits) => f64::from_bits(*bits).to_string(),
        Val::V128(value) => value.as_u128().to_string(),
        Val::FuncRef(None) | Val::ExternRef(None) => "null".to_owned(),
        _ => "reference".to_owned(),
    }
}

/// The path from the root, so that a resume finds the file from anywhere.
fn absolute(path: &Path) -> String {
    std::path::absolute(path)
        .unwrap_or_else(|_| path.to_owned())
        .to_string_lossy()
        .into_owned()
}
