//! `wasm-migrate diff`: what changed from one snapshot to another.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use wasm_migrate::wasi::ListedDescriptor;
use wasm_migrate::{MemorySize, Sections, Snapshot, SnapshotChain, TableContents};

use crate::keys::ReadKeys;
use crate::launch::list_wasi;
use crate::listing::{ListedFrame, ListedValue, list_frame, list_global, pair};
use crate::listing_wasi::Shown;
use crate::memory_diff::{self, MemoryDifference};
use crate::module::Module;
use crate::output;
use crate::progress::Progress;
use crate::terminal::name;

/// So many frames, and so many ranges of a memory, are printed as text.
const SHOWN_MAX: usize = 40;

/// Shows what changed from one snapshot of a program to another: frames, globals, tables, pages of memory, descriptors
/// and other host state. Exit status 0: nothing; 1: something; 2: they cannot be compared.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The older snapshot.
    a: PathBuf,
    /// The newer snapshot.
    b: PathBuf,
    /// The module, which names functions and variables [default: where it was].
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    keys: ReadKeys,
}

#[derive(Serialize)]
struct Difference {
    /// Outermost frames that are equal.
    equal_frames: usize,
    /// Frames of each beyond those, innermost first.
    frames_before: Vec<ListedFrame>,
    frames_after: Vec<ListedFrame>,
    globals: Vec<GlobalDifference>,
    tables: Vec<TableDifference>,
    /// Were segments dropped?
    dropped_segments: bool,
    memories: Vec<MemoryDifference>,
    descriptors: Vec<DescriptorDifference>,
    /// Names.
    sections: Vec<String>,
}

#[derive(Serialize)]
struct GlobalDifference {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    before: ListedValue,
    after: ListedValue,
}

#[derive(Serialize)]
struct TableDifference {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    /// Numbers of elements.
    elements: [u64; 2],
    /// Elements that are in both and not equal.
    changed_elements: u64,
}

/// What a descriptor was and is.
#[derive(Serialize)]
struct DescriptorDifference {
    before: Option<ListedDescriptor>,
    after: Option<ListedDescriptor>,
}

pub(crate) fn diff(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let options = arguments.keys.load()?;
    let a = SnapshotChain::open(&arguments.a, &options)?;
    let b = SnapshotChain::open(&arguments.b, &options)?;
    let digest = |chain: &SnapshotChain<'_>| chain.newest().header().original_digest;
    if digest(&a) != digest(&b) {
        anyhow::bail!(
            "`{}` and `{}` are snapshots of different programs",
            arguments.a.display(),
            arguments.b.display()
        );
    }
    a.check_limit()?;
    b.check_limit()?;
    let progress = Progress::new("reading", Some(a.stored_bytes() + b.stored_bytes()));
    let [a, b] = [a, b].map(|chain| {
        let progress = progress.clone();
        chain.on_progress(move |bytes| progress.add(bytes))
    });
    let module = Module::find(arguments.module.as_deref(), a.newest().snapshot())?;
    let difference = Difference::new(&a, &b, &module)?;
    drop((progress, a, b));
    output::print(arguments.json, &difference, |out| difference.print(out))?;
    Ok(match difference.is_none() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    })
}

impl Difference {
    fn new(a: &SnapshotChain<'_>, b: &SnapshotChain<'_>, module: &Module) -> anyhow::Result<Self> {
        let memories = memory_diff::compare(a, b)?;
        let (a, b) = (a.newest().snapshot(), b.newest().snapshot());
        let pairs = a.state.frames.iter().zip(&b.state.frames);
        let equal_frames = pairs.take_while(|(a, b)| a == b).count();
        let others = |snapshot: &Snapshot<MemorySize>| {
            let frames = snapshot.state.frames[equal_frames..].iter().rev();
            frames.map(|frame| list_frame(frame, module)).collect()
        };
        Ok(Self {
            equal_frames,
            frames_before: others(a),
            frames_after: others(b),
            globals: compare_globals(a, b, module),
            tables: compare_tables(a, b, module),
            dropped_segments: a.state.data_drops != b.state.data_drops
                || a.state.element_drops != b.state.element_drops,
            memories,
            descriptors: compare_descriptors(&a.sections, &b.sections),
            sections: compare_sections(&a.sections, &b.sections),
        })
    }

    fn is_none(&self) -> bool {
        // Destructured without `..`: a new part must be looked at here.
        let Self {
            equal_frames: _,
            frames_before,
            frames_after,
            globals,
            tables,
            dropped_segments,
            memories,
            descriptors,
            sections,
        } = self;
        frames_before.is_empty()
            && frames_after.is_empty()
            && globals.is_empty()
            && tables.is_empty()
            && !dropped_segments
            && memories.is_empty()
            && descriptors.is_empty()
            && sections.is_empty()
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.is_none() {
            return writeln!(out, "nothing changed");
        }
        writeln!(
            out,
            "frames: {} outermost are equal, then {} became {}",
            self.equal_frames,
            self.frames_before.len(),
            self.frames_after.len()
        )?;
        for (sign, frames) in [('-', &self.frames_before), ('+', &self.frames_after)] {
            for (number, frame) in frames.iter().take(SHOWN_MAX).enumerate() {
                writeln!(out, "  {sign} #{number} {frame}")?;
                for value in &frame.values {
                    writeln!(out, "  {sign}      {value}")?;
                }
            }
            print_more(out, frames.len())?;
        }
        for GlobalDifference {
            index,
            before,
            after,
        } in &self.globals
        {
            let index = index.map_or_else(|| "?".to_owned(), |index| index.to_string());
            writeln!(out, "global {index}")?;
            writeln!(out, "  - {before}\n  + {after}")?;
        }
        for TableDifference {
            index,
            elements: [before, after],
            changed_elements,
        } in &self.tables
        {
            let index = index.map_or_else(|| "?".to_owned(), |index| index.to_string());
            writeln!(
                out,
                "table {index}: {changed_elements} elements changed, it had {before} and has {after}"
            )?;
        }
        if self.dropped_segments {
            writeln!(out, "segments: other ones are dropped")?;
        }
        for memory in &self.memories {
            memory.print(out, SHOWN_MAX)?;
            print_more(out, memory.ranges.len())?;
        }
        if !self.descriptors.is_empty() {
            writeln!(out, "descriptors")?;
        }
        for DescriptorDifference { before, after } in &self.descriptors {
            for (sign, descriptor) in [('-', before), ('+', after)] {
                if let Some(descriptor) = descriptor {
                    writeln!(out, "  {sign} {}", Shown(descriptor))?;
                }
            }
        }
        for section in &self.sections {
            writeln!(out, "host state `{}` changed", name(section))?;
        }
        Ok(())
    }
}

fn print_more(out: &mut dyn Write, count: usize) -> io::Result<()> {
    match count.checked_sub(SHOWN_MAX) {
        None | Some(0) => Ok(()),
        Some(more) => writeln!(out, "  and {more} more; --json lists them all"),
    }
}

fn compare_globals(
    a: &Snapshot<MemorySize>,
    b: &Snapshot<MemorySize>,
    module: &Module,
) -> Vec<GlobalDifference> {
    let indices = module.description();
    let indices = indices.map(|about| about.globals.iter().map(|global| global.index));
    let pairs = pair(indices, &a.state.globals).zip(&b.state.globals);
    pairs
        .filter(|((_, before), after)| before != after)
        .map(|((index, before), after)| GlobalDifference {
            index,
            before: list_global(index, before, module),
            after: list_global(index, after, module),
        })
        .collect()
}

fn compare_tables(
    a: &Snapshot<MemorySize>,
    b: &Snapshot<MemorySize>,
    module: &Module,
) -> Vec<TableDifference> {
    let indices = module.description();
    let indices = indices.map(|about| about.tables.iter().map(|table| table.index));
    let pairs = pair(indices, &a.state.tables).zip(&b.state.tables);
    pairs
        .filter(|((_, before), after)| before != after)
        .map(|((index, before), after)| TableDifference {
            index,
            elements: [before.len(), after.len()],
            changed_elements: changed_elements(before, after),
        })
        .collect()
}

fn changed_elements(before: &TableContents, after: &TableContents) -> u64 {
    fn count<T: PartialEq>(before: &[T], after: &[T]) -> u64 {
        let pairs = before.iter().zip(after);
        pairs.filter(|(before, after)| before != after).count() as u64
    }
    match (before, after) {
        (TableContents::Functions(before), TableContents::Functions(after)) => count(before, after),
        (TableContents::Externals(before), TableContents::Externals(after)) => count(before, after),
        _ => before.len().min(after.len()),
    }
}

/// Compares the descriptors of WASI programs by their numbers. What cannot be read is told as a changed section.
fn compare_descriptors(a: &Sections, b: &Sections) -> Vec<DescriptorDifference> {
    let list = |sections| match list_wasi(sections) {
        Some(Ok(wasi)) => wasi.descriptors,
        _ => Vec::new(),
    };
    let (before, after) = (list(a), list(b));
    let find = |list: &[ListedDescriptor], fd| list.iter().find(|held| held.fd == fd).cloned();
    let mut numbers: Vec<u32> = before.iter().chain(&after).map(|held| held.fd).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let pairs = numbers.into_iter().map(|fd| DescriptorDifference {
        before: find(&before, fd),
        after: find(&after, fd),
    });
    pairs.filter(|pair| pair.before != pair.after).collect()
}

fn compare_sections(a: &Sections, b: &Sections) -> Vec<String> {
    let mut names: Vec<&String> = a.keys().chain(b.keys()).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| a.get(*name) != b.get(*name));
    names.into_iter().cloned().collect()
}
