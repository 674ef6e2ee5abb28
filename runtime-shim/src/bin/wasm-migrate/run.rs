//! `wasm-migrate run`: starts a program.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use crate::checkpoint_files::Newest;
use crate::keys::ReadKeys;
use crate::launch::{Launch, Variable};
#[cfg(feature = "nodes")]
use crate::node::run_listening::{Command, ListenOptions};
use crate::options::{HostOptions, variable};
use crate::portability::Processor;
use crate::session::{Begin, Program, Session};
use crate::terminal::note;
use crate::{module, resume};

/// Runs a migratized module. The exit status is the guest's own; 134 if it traps, 75 if it was stopped
/// and its snapshot written.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The module, as `wasm-migratize` wrote it.
    module: PathBuf,
    /// Set a variable of the guest's environment; NAME alone passes on this process's.
    #[arg(long = "env", value_name = "NAME[=VALUE]", value_parser = variable)]
    env: Vec<Variable>,
    /// Call this export instead of `_start`; ARGS are its arguments, its results are printed.
    #[arg(long, value_name = "EXPORT")]
    invoke: Option<String>,
    /// Start anew even if there are checkpoints of an earlier run.
    #[arg(long, help_heading = "Checkpoints", requires = "checkpoint_every")]
    fresh: bool,
    #[command(flatten)]
    keys: ReadKeys,
    #[command(flatten)]
    host: HostOptions,
    #[cfg(feature = "nodes")]
    #[command(flatten)]
    listen: ListenOptions,
    /// The guest's arguments.
    #[arg(last = true)]
    args: Vec<String>,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments {
        module: path,
        env,
        invoke,
        fresh,
        keys,
        host,
        #[cfg(feature = "nodes")]
        listen,
        args,
    } = arguments;
    #[cfg(feature = "nodes")]
    if listen.is_wanted() {
        return listen.run(Command {
            module: path,
            args,
            env,
            dirs: host.dirs,
            portability: host.portability,
            checkpoint_every: host.checkpoint_every,
        });
    }
    let shipping = host.ship.shipping()?;
    let processor = Processor::here(host.portability);
    let wasm = module::read(&path)?;
    let program = Program::load(path, &wasm, &host, processor)?;
    drop(wasm);
    let prints_results = invoke.is_some();
    let last = invoke.unwrap_or_else(|| "_start".to_owned());
    if program.guest.module().get_export(&last).is_none() {
        anyhow::bail!(
            "`{}` exports no function `{last}`: give the export to call with --invoke",
            program.path.display()
        );
    }
    let launch = Launch {
        entries: Launch::entries_of(program.guest.module(), last),
        prints_results,
        dirs: host.dirs.clone(),
        args,
        env,
    };
    let checkpoints = host.checkpoint_files(&program.path)?;
    if let Some(files) = checkpoints.as_ref().filter(|_| !fresh)
        && let Some(newest) = files.latest(&keys.load()?)
    {
        check_same_command(&program, &launch, &newest)?;
        let Newest { path, chain } = newest;
        let shown = path.display();
        note(format_args!(
            "going on from checkpoint `{shown}` of an earlier run; --fresh starts anew"
        ));
        return resume::session(program, chain, launch, host, shipping)?
            .with_checkpoints(checkpoints)?
            .run()
            .with_context(|| format!("`{shown}` cannot be resumed: --fresh starts anew"));
    }
    let name = program
        .path
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into());
    let mut wasi = launch.wasi(host.files.policy(), shipping.as_ref())?.args(
        [name]
            .into_iter()
            .chain(launch.args.iter().cloned())
            .collect(),
    );
    for Variable { name, value } in launch.env.iter().cloned() {
        wasi = wasi.env(name, value);
    }
    Session::new(program, launch, wasi.build(), host, Begin::Start)?
        .with_shipping(shipping)
        .with_checkpoints(checkpoints)?
        .run()
        .context("the guest cannot be run")
}

/// A checkpoint of an earlier run must have been of the same command.
fn check_same_command(
    program: &Program,
    launch: &Launch,
    Newest { path, chain }: &Newest,
) -> anyhow::Result<()> {
    let snapshot = chain.newest().snapshot();
    let is_same = snapshot.state.original_digest == program.guest.description().original_digest
        && Launch::read(&snapshot.sections)? == *launch
        && Processor::read(&snapshot.sections)?.as_ref() == Some(&program.processor);
    match is_same {
        true => Ok(()),
        false => anyhow::bail!(
            "`{}` is a checkpoint of another program, or of other arguments: start anew with --fresh, or name \
             other files with --snapshot",
            path.display()
        ),
    }
}
