//! `wasm-migrate freeze`: a snapshot as a module that any WASI runtime can start.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use indicatif::HumanBytes;
use serde::Serialize;
use wasm_migrate::FreezeOptions;

use crate::keys::ReadKeys;
use crate::launch::Launch;
use crate::progress::read_whole;
use crate::terminal::note;
use crate::{module, output};

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
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    keys: ReadKeys,
}

/// What has been made.
#[derive(Serialize)]
struct Report<'a> {
    output: &'a Path,
    bytes: usize,
    /// The export to call.
    entry: &'a str,
    /// Directories that the host must open to it, in this order.
    directories: &'a [String],
    /// Functions that its host must have and that are not WASI's.
    foreign_imports: &'a [String],
}

pub(crate) fn freeze(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments {
        snapshot,
        output,
        module: named,
        no_files,
        json,
        keys,
    } = arguments;
    let shown = snapshot.display();
    let snapshot = read_whole(snapshot, keys)?;
    let recorded = Path::new(&snapshot.module.path);
    let wasm = module::read_for_snapshot(named.as_deref(), recorded)?;
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
    let report = Report {
        output,
        bytes: frozen.wasm.len(),
        entry: &frozen.entry,
        directories: &frozen.directories,
        foreign_imports: &frozen.foreign_imports,
    };
    match json {
        true => output::print_json(&report),
        false => {
            report.tell();
            Ok(ExitCode::SUCCESS)
        }
    }
}

impl Report<'_> {
    fn tell(&self) {
        note(format_args!(
            "`{}` written ({}); it goes on when its export `{}` is called",
            self.output.display(),
            HumanBytes(self.bytes as u64),
            self.entry
        ));
        if !self.directories.is_empty() {
            note(format_args!(
                "its host must open these directories to it, in this order: {}",
                self.directories.join(", ")
            ));
        }
        if !self.foreign_imports.is_empty() {
            note(format_args!(
                "its host must have functions that are not WASI's: {}",
                self.foreign_imports.join(", ")
            ));
        }
    }
}
