//! `wasm-migrate inspect`: what a snapshot holds.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use wasm_migrate::abi::Description;
use wasm_migrate::{Names, Snapshot, read_description};

use crate::listing::{Listing, Module};

/// Shows what a snapshot holds: its call stack with function names and live values, globals, memories
/// and tables.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The snapshot.
    snapshot: PathBuf,
    /// The module, which names the functions [default: where it was].
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Show at most this many of the innermost frames.
    #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "json")]
    frames: usize,
}

pub(crate) fn inspect(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let snapshot = Snapshot::read(&arguments.snapshot)?;
    let module = find_module(arguments.module.as_deref(), &snapshot)?;
    let listing = Listing::new(&snapshot, &module);
    let mut out = io::BufWriter::new(io::stdout().lock());
    let printed = if arguments.json {
        serde_json::to_writer_pretty(&mut out, &listing)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out))
    } else {
        listing.print(&mut out, arguments.frames)
    };
    match printed.and_then(|()| out.flush()) {
        // The reader has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        printed => printed.map(|()| ExitCode::SUCCESS).context("cannot print"),
    }
}

/// The module's description. One that the user names must be right; one that is merely not found any
/// more leaves functions without names.
fn find_module(named: Option<&Path>, snapshot: &Snapshot) -> anyhow::Result<Module> {
    if let Some(path) = named {
        let (description, names) = describe(path)?;
        if description.original_digest != snapshot.state.original_digest {
            anyhow::bail!(
                "`{}` is another program than the snapshot's",
                path.display()
            );
        }
        return Ok(Module::Found {
            description: Box::new(description),
            names,
        });
    }
    Ok(match describe(Path::new(&snapshot.module.path)) {
        Ok((description, names))
            if description.original_digest == snapshot.state.original_digest =>
        {
            Module::Found {
                description: Box::new(description),
                names,
            }
        }
        Ok(_) => Module::Missing("it is another program now".to_owned()),
        Err(error) => Module::Missing(format!("{error:#}")),
    })
}

fn describe(path: &Path) -> anyhow::Result<(Description, Names)> {
    let wasm = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    read_description(&wasm).with_context(|| format!("cannot use `{}`", path.display()))
}
