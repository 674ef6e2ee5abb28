//! `wasm-migrate freeze`: a snapshot as a module that any WASI runtime can start.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use indicatif::HumanBytes;
use wasm_migrate::{FreezeOptions, Snapshot};

use crate::keys::ReadKeys;
use crate::launch::Launch;
use crate::notes::note;

/// Makes a standalone module out of a snapshot: started on any WASI runtime, it goes on where the guest was
/// stopped.
///
/// The module brings along the memories, globals, tables and the call stack. From its new host it gets the
/// standard streams, clocks, random numbers and, if it asks for them again, arguments and environment. A sleep
/// that it was in starts anew. It opens the guest's files again by itself, at their numbers and positions, below
/// the directories that the new host opens to it; if these, or the files, are not as they were, it says so and ends
/// with status 71.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The snapshot.
    snapshot: PathBuf,
    /// Where the module goes.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The migratized module [default: where it was].
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// Open no files and directories: the guest finds what its new host opens, by the host's numbers.
    #[arg(long)]
    no_files: bool,
    #[command(flatten)]
    keys: ReadKeys,
}

pub(crate) fn freeze(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments {
        snapshot,
        output,
        module,
        no_files,
        keys,
    } = arguments;
    let shown = snapshot.display();
    let snapshot = Snapshot::read(snapshot, &keys.load()?)?;
    let path = module
        .as_deref()
        .unwrap_or(Path::new(&snapshot.module.path));
    let wasm = std::fs::read(path)
        .with_context(|| format!("cannot read `{}`: name it with --module", path.display()))?;
    let launch = Launch::read(&snapshot.sections)?;
    let cannot = || format!("`{shown}` cannot be frozen");
    let files = match no_files {
        true => None,
        false => Some(
            Launch::standalone_files(&snapshot.sections)
                .with_context(|| format!("{}; --no-files leaves all files out", cannot()))?,
        ),
    };
    let options = FreezeOptions {
        then_call: launch.entries_after(&snapshot.state.entry),
        files: files.as_ref(),
    };
    let frozen = wasm_migrate::freeze(&wasm, &snapshot.state, &options).with_context(cannot)?;
    std::fs::write(output, &frozen.wasm)
        .with_context(|| format!("cannot write `{}`", output.display()))?;
    note(format_args!(
        "`{}` written ({}); it goes on when its export `{}` is called",
        output.display(),
        HumanBytes(frozen.wasm.len() as u64),
        frozen.entry
    ));
    if !frozen.directories.is_empty() {
        note(format_args!(
            "its host must open these directories to it, in this order: {}",
            frozen.directories.join(", ")
        ));
    }
    if !frozen.foreign_imports.is_empty() {
        note(format_args!(
            "its host must have functions that are not WASI's: {}",
            frozen.foreign_imports.join(", ")
        ));
    }
    Ok(ExitCode::SUCCESS)
}
