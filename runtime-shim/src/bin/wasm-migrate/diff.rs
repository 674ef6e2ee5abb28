//! `wasm-migrate diff`: what changed from one snapshot to another.

use std::io::{self, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use wasm_migrate::{Memory as _, MemoryContents, PAGE_BYTES, Snapshot, State};

use crate::keys::ReadKeys;
use crate::output;

/// Shows what changed from one snapshot of a program to another: frames, globals, tables, pages of memory
/// and host state. Exit status 1: something did.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The older snapshot.
    a: PathBuf,
    /// The newer snapshot.
    b: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    keys: ReadKeys,
}

#[derive(Serialize, Default, PartialEq, Eq)]
struct Difference {
    /// Outermost frames that are equal.
    equal_frames: usize,
    /// Frames of each beyond those.
    other_frames: [usize; 2],
    /// Indices, in the order of the snapshot.
    globals: Vec<usize>,
    tables: Vec<usize>,
    dropped_segments: bool,
    memories: Vec<MemoryDifference>,
    /// Names.
    sections: Vec<String>,
}

#[derive(Serialize, PartialEq, Eq)]
struct MemoryDifference {
    memory: usize,
    /// Sizes in bytes.
    bytes: [u64; 2],
    changed_pages: u64,
    /// Neighbouring changed pages, as byte ranges.
    ranges: Vec<Range<u64>>,
}

pub(crate) fn diff(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let options = arguments.keys.load()?;
    let a = Snapshot::read(&arguments.a, &options)?;
    let b = Snapshot::read(&arguments.b, &options)?;
    if a.state.original_digest != b.state.original_digest {
        anyhow::bail!(
            "`{}` and `{}` are snapshots of different programs",
            arguments.a.display(),
            arguments.b.display()
        );
    }
    let difference = compare(&a, &b);
    output::print(arguments.json, &difference, |out| difference.print(out))?;
    Ok(match difference.is_none() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn compare(a: &Snapshot, b: &Snapshot) -> Difference {
    let State {
        frames,
        globals,
        data_drops,
        element_drops,
        tables,
        memories,
        original_digest: _, // equal
        requirements: _,    // of the frames
        entry: _,           // the outermost frame
    } = &a.state;
    let pairs = frames.iter().zip(&b.state.frames);
    let equal_frames = pairs.take_while(|(a, b)| a == b).count();
    let names = a.sections.keys().chain(b.sections.keys());
    let mut sections: Vec<String> = names
        .filter(|name| a.sections.get(*name) != b.sections.get(*name))
        .cloned()
        .collect();
    sections.dedup();
    Difference {
        equal_frames,
        other_frames: [&a.state, &b.state].map(|state| state.frames.len() - equal_frames),
        globals: unequal(globals, &b.state.globals),
        tables: unequal(tables, &b.state.tables),
        dropped_segments: *data_drops != b.state.data_drops
            || *element_drops != b.state.element_drops,
        memories: memories
            .iter()
            .zip(&b.state.memories)
            .enumerate()
            .filter_map(|(index, (a, b))| compare_memories(index, a, b))
            .collect(),
        sections,
    }
}

/// Indices of items that are not equal.
fn unequal<T: PartialEq>(a: &[T], b: &[T]) -> Vec<usize> {
    let pairs = a.iter().zip(b).enumerate();
    pairs
        .filter(|(_, (a, b))| a != b)
        .map(|(index, _)| index)
        .collect()
}

fn compare_memories(
    memory: usize,
    a: &MemoryContents,
    b: &MemoryContents,
) -> Option<MemoryDifference> {
    if a == b {
        return None;
    }
    let page = PAGE_BYTES as u64;
    let mut ranges: Vec<Range<u64>> = Vec::new();
    let mut changed_pages = 0;
    for index in a.touched_pages(b) {
        if a.page(index) == b.page(index) {
            continue;
        }
        changed_pages += 1;
        let range = index * page..(index + 1) * page;
        match ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => ranges.push(range),
        }
    }
    Some(MemoryDifference {
        memory,
        bytes: [a.size.bytes(), b.size.bytes()],
        changed_pages,
        ranges,
    })
}

impl Difference {
    fn is_none(&self) -> bool {
        let nothing = Self {
            equal_frames: self.equal_frames,
            ..Self::default()
        };
        *self == nothing
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let [a, b] = self.other_frames;
        writeln!(
            out,
            "frames    {} outermost are equal, then {a} became {b}",
            self.equal_frames
        )?;
        writeln!(
            out,
            "globals   {} changed{}",
            self.globals.len(),
            List(&self.globals)
        )?;
        writeln!(
            out,
            "tables    {} changed{}",
            self.tables.len(),
            List(&self.tables)
        )?;
        if self.dropped_segments {
            writeln!(out, "segments  other ones are dropped")?;
        }
        for MemoryDifference {
            memory,
            bytes: [before, after],
            changed_pages,
            ranges,
        } in &self.memories
        {
            writeln!(out, "memory {memory}: {changed_pages} pages changed")?;
            if before != after {
                writeln!(out, "  it had {before} bytes, now {after}")?;
            }
            for Range { start, end } in ranges {
                writeln!(out, "  {start:#x}..{end:#x}")?;
            }
        }
        for name in &self.sections {
            writeln!(out, "host state `{name}` changed")?;
        }
        Ok(())
    }
}

/// Numbers after a colon, if there are any.
struct List<'a>(&'a [usize]);

impl std::fmt::Display for List<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (number, item) in self.0.iter().enumerate() {
            write!(f, "{} {item}", if number == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}
