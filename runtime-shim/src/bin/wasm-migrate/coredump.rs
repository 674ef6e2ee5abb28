//! `wasm-migrate coredump`: a snapshot for debuggers.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use wasm_migrate::Snapshot;

use crate::keys::ReadKeys;
use crate::module;

/// Writes a snapshot's stack, memories and globals as a WebAssembly core dump of the original module, which
/// debuggers read.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The snapshot.
    snapshot: PathBuf,
    /// Where the core dump goes.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The module [default: where it was].
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    #[command(flatten)]
    keys: ReadKeys,
}

pub(crate) fn coredump(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let snapshot = Snapshot::read(&arguments.snapshot, &arguments.keys.load()?)?;
    let recorded = Path::new(&snapshot.module.path);
    let path = arguments.module.as_deref().unwrap_or(recorded);
    let (description, _) = module::describe(path, &snapshot)
        .context("the snapshot's module is needed: name it with --module")?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let dump = wasm_migrate::coredump(&snapshot.state, &description, &name);
    let output = &arguments.output;
    std::fs::write(output, dump).with_context(|| format!("cannot write `{}`", output.display()))?;
    Ok(ExitCode::SUCCESS)
}
