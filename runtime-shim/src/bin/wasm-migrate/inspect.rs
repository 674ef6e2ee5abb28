//! `wasm-migrate inspect`: what a snapshot holds.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use wasm_migrate::{PAGE_BYTES, SnapshotChain, SnapshotError, SnapshotReader};

use crate::keys::ReadKeys;
use crate::listing::Listing;
use crate::memory_map::MemoryMap;
use crate::memory_view::MemoryRange;
use crate::module::Module;
use crate::output;

/// Shows what a snapshot holds: its call stack with function names and live values, globals, memories,
/// tables, and the WASI program's descriptors, clocks and arguments.
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
    /// List every run of pages of the memories: stored, inherited from the snapshot that this one builds on, zero.
    #[arg(long, conflicts_with = "json")]
    map: bool,
    /// Show these bytes of memory 0, or of another: START..END, START..+LENGTH, or either with INDEX: before it; numbers
    /// are hexadecimal with 0x.
    #[arg(long, value_name = "RANGE")]
    memory: Option<MemoryRange>,
    #[command(flatten)]
    keys: ReadKeys,
    /// Show at most this many of the innermost frames.
    #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "json")]
    frames: usize,
}

pub(crate) fn inspect(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let options = arguments.keys.load()?;
    let reader = SnapshotReader::open(&arguments.snapshot, &options)?;
    let snapshot = reader.snapshot();
    let memories = 0..snapshot.state.memories.len();
    // Without those that it builds on, only memory contents are missing.
    let (mut used_bytes, mut view) = (Vec::new(), None);
    match SnapshotChain::open(&arguments.snapshot, &options) {
        Ok(chain) => {
            used_bytes.extend(memories.clone().map(|memory| used(&chain, memory)));
            let range = arguments.memory.as_ref();
            view = range.map(|range| range.read(&chain)).transpose()?;
        }
        Err(SnapshotError::ParentMissing { .. }) if arguments.memory.is_none() => {}
        Err(error) => return Err(error.into()),
    }
    let maps = memories.map(|memory| MemoryMap::new(&reader, memory));
    let module = Module::find(arguments.module.as_deref(), snapshot)?;
    let listing = Listing::new(snapshot, maps.collect(), &used_bytes, view, &module);
    output::print(arguments.json, &listing, |out| {
        listing.print(out, arguments.frames, arguments.map)
    })
}

/// Bytes of a memory in pages that are not all zero.
fn used(chain: &SnapshotChain<'_>, memory: usize) -> u64 {
    let pages = chain.stored_pages(memory).into_iter();
    let pages: u64 = pages.map(|pages| pages.end - pages.start).sum();
    pages * PAGE_BYTES as u64
}
