//! `wasm-migrate resume`: goes on with a program from its snapshot.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use wasm_migrate::SnapshotChain;

use crate::keys::ReadKeys;
use crate::launch::Launch;
use crate::options::HostOptions;
use crate::session::{Begin, Program, Session};

/// Goes on with a program from its snapshot. The exit status is the guest's own; 134 if it traps, 75 if
/// it was stopped and its snapshot written.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The snapshot.
    snapshot_file: PathBuf,
    /// The module, or a variant of it made from the same original [default: where it was].
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    #[command(flatten)]
    keys: ReadKeys,
    #[command(flatten)]
    host: HostOptions,
}

pub(crate) fn resume(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments {
        snapshot_file,
        module,
        keys,
        host,
    } = arguments;
    let chain = SnapshotChain::open(&snapshot_file, &keys.load()?)?;
    let recorded = &chain.newest().snapshot().module;
    let path = module.unwrap_or_else(|| PathBuf::from(&recorded.path));
    let program = Program::read(path, host.stack_size)
        .context("the snapshot's module is needed: name it with --module")?;
    if program.digest != recorded.digest {
        log::info!(
            "`{}` is not the very file that was running",
            program.path.display()
        );
    }
    session(program, chain, host)?
        .run()
        .with_context(|| format!("`{}` cannot be resumed", snapshot_file.display()))
}

/// A session that goes on from a snapshot.
pub(crate) fn session(
    program: Program,
    chain: SnapshotChain<'static>,
    mut host: HostOptions,
) -> anyhow::Result<Session> {
    let dirs = std::mem::take(&mut host.dirs);
    let (launch, wasi) = Launch::from_sections(&chain.newest().snapshot().sections, dirs)?;
    Session::new(program, launch, wasi, host, Begin::Resume(chain))
}
