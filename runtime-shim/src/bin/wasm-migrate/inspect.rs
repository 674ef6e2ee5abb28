//! `wasm-migrate inspect`: what a snapshot holds.

use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;
use wasm_migrate::{Snapshot, SnapshotReader};

use crate::keys::ReadKeys;
use crate::listing::{Listing, Module};
use crate::memory_map::MemoryMap;
use crate::{module, output};

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
    /// Show these bytes of memory 0, or of another: START..END or INDEX:START..END, hexadecimal with 0x.
    #[arg(long, value_name = "RANGE", conflicts_with = "json")]
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
    let snapshot = Snapshot::read(&arguments.snapshot, &options)?;
    let maps = (0..snapshot.state.memories.len()).map(|memory| MemoryMap::new(&reader, memory));
    let module = find_module(arguments.module.as_deref(), &snapshot)?;
    let listing = Listing::new(&snapshot, maps.collect(), &module);
    output::print(arguments.json, &listing, |out| {
        listing.print(out, arguments.frames, arguments.map)?;
        match &arguments.memory {
            Some(range) => range.print(&snapshot, out),
            None => Ok(()),
        }
    })
}

/// Part of a memory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MemoryRange {
    memory: usize,
    bytes: Range<u64>,
}

impl FromStr for MemoryRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (memory, range) = text.split_once(':').unwrap_or(("0", text));
        let number = |text: &str| match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        let (start, end) = range.split_once("..").ok_or("give START..END")?;
        let bytes = number(start)
            .and_then(|start| number(end).map(|end| start..end))
            .map_err(|error| error.to_string())?;
        Ok(Self {
            memory: memory.parse().map_err(|error| format!("{error}"))?,
            bytes,
        })
    }
}

impl MemoryRange {
    /// Prints it in the manner of `hexdump -C`.
    fn print(&self, snapshot: &Snapshot, out: &mut dyn Write) -> io::Result<()> {
        const LINE_BYTES: u64 = 16;
        writeln!(out, "\nmemory {}", self.memory)?;
        let Some(memory) = snapshot.state.memories.get(self.memory) else {
            return writeln!(out, "  there is no such memory");
        };
        let end = self.bytes.end.min(memory.size.bytes());
        let mut at = self.bytes.start;
        while at < end {
            let count = LINE_BYTES.min(end - at);
            let line: Vec<u8> = (at..at + count).map(|at| memory.byte(at)).collect();
            let digits: String = line.iter().map(|byte| format!("{byte:02x} ")).collect();
            let shown = |byte: &u8| match byte {
                b' '..=b'~' => char::from(*byte),
                _ => '.',
            };
            let text: String = line.iter().map(shown).collect();
            writeln!(out, "  {at:08x}  {digits:<48} |{text}|")?;
            at += count;
        }
        Ok(())
    }
}

/// The module's description. One that the user names must be right; one that is merely not found any
/// more leaves functions without names.
fn find_module(named: Option<&Path>, snapshot: &Snapshot) -> anyhow::Result<Module> {
    let path = named.unwrap_or(Path::new(&snapshot.module.path));
    match module::describe(path, snapshot) {
        Ok((description, names)) => Ok(Module::Found {
            description: Box::new(description),
            names,
        }),
        Err(error) if named.is_some() => Err(error),
        Err(error) => Ok(Module::Missing(format!("{error:#}"))),
    }
}
