//! `wasm-migrate coredump`: a snapshot for debuggers.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use indicatif::HumanBytes;
use serde::Serialize;

use crate::keys::ReadKeys;
use crate::progress::read_whole;
use crate::terminal::note;
use crate::{module, output};

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
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    keys: ReadKeys,
}

/// What has been written.
#[derive(Serialize)]
struct Report<'a> {
    output: &'a Path,
    bytes: usize,
    frames: usize,
}

pub(crate) fn coredump(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let snapshot = read_whole(&arguments.snapshot, &arguments.keys)?;
    let recorded = Path::new(&snapshot.module.path);
    let path = arguments.module.as_deref().unwrap_or(recorded);
    let wasm = module::read_for_snapshot(arguments.module.as_deref(), recorded)?;
    let (description, _) = module::describe(&wasm, &snapshot)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let dump = wasm_migrate::coredump(&snapshot.state, &description, &name);
    let output = &arguments.output;
    let bytes = dump.len();
    std::fs::write(output, dump).with_context(|| format!("cannot write `{}`", output.display()))?;
    let frames = snapshot.state.frames.len();
    if arguments.json {
        return output::print_json(&Report {
            output,
            bytes,
            frames,
        });
    }
    note(format_args!(
        "`{}` written ({}, {frames} frames)",
        output.display(),
        HumanBytes(bytes as u64)
    ));
    Ok(ExitCode::SUCCESS)
}
