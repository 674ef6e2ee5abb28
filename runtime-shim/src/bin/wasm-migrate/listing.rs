//! A snapshot as people and programs read it.

use std::fmt;
use std::io::{self, Write};

use indicatif::HumanBytes;
use serde::Serialize;
use wasm_migrate::abi::{Description, SafePointKind, SlotOrigin};
use wasm_migrate::wasi::ListedWasi;
use wasm_migrate::{Frame, MemoryContents, Names, Snapshot, TableContents, Value};

use crate::launch::list_wasi;
use crate::memory_map::MemoryMap;
use crate::{listing_wasi, output};

/// The snapshot's module, as far as it is at hand.
pub(crate) enum Module {
    Found {
        description: Box<Description>,
        names: Names,
    },
    /// With the reason.
    Missing(String),
}

/// Everything that is shown.
#[derive(Serialize)]
pub(crate) struct Listing {
    module: String,
    /// Why functions have no names and values no origin.
    #[serde(skip_serializing_if = "Option::is_none")]
    module_missing: Option<String>,
    original_digest: String,
    epoch: u64,
    entry: String,
    /// Innermost first.
    stack: Vec<ListedFrame>,
    globals: Vec<ListedGlobal>,
    memories: Vec<ListedMemory>,
    tables: Vec<ListedTable>,
    sections: Vec<ListedSection>,
    /// Arguments, clocks, directories and descriptors, if the guest is a WASI program.
    #[serde(skip_serializing_if = "Option::is_none")]
    wasi: Option<ListedWasi>,
    /// Why the guest's WASI state is not shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    wasi_unreadable: Option<String>,
}

#[derive(Serialize)]
struct ListedFrame {
    function: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    safe_point: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    /// From the start of the original function's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u32>,
    values: Vec<ListedValue>,
}

#[derive(Serialize)]
struct ListedValue {
    /// `local N` or `operand N`.
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    #[serde(rename = "type")]
    value_type: &'static str,
    value: String,
}

#[derive(Serialize)]
struct ListedGlobal {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    #[serde(flatten)]
    value: ListedValue,
}

#[derive(Serialize)]
struct ListedMemory {
    pages: u64,
    page_bytes: u64,
    /// Bytes in blocks that are not all zero.
    used_bytes: u64,
    map: MemoryMap,
}

#[derive(Serialize)]
struct ListedTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    element_type: &'static str,
    elements: u64,
    used: u64,
}

#[derive(Serialize)]
struct ListedSection {
    name: String,
    version: String,
    required: bool,
    bytes: usize,
}

impl Listing {
    pub(crate) fn new(snapshot: &Snapshot, maps: Vec<MemoryMap>, module: &Module) -> Self {
        let state = &snapshot.state;
        let (wasi, wasi_unreadable) = match list_wasi(&snapshot.sections) {
            None => (None, None),
            Some(Ok(wasi)) => (Some(wasi), None),
            Some(Err(error)) => (None, Some(error.to_string())),
        };
        let description = module.description();
        let global_indices =
            description.map(|about| about.globals.iter().map(|global| global.index));
        let table_indices = description.map(|about| about.tables.iter().map(|table| table.index));
        let globals = pair(global_indices, &state.globals);
        let tables = pair(table_indices, &state.tables);
        Self {
            module: snapshot.module.path.clone(),
            module_missing: match module {
                Module::Found { .. } => None,
                Module::Missing(reason) => Some(reason.clone()),
            },
            original_digest: output::hex(&state.original_digest),
            epoch: snapshot.epoch,
            entry: state.entry.clone(),
            stack: state
                .frames
                .iter()
                .rev()
                .map(|frame| list_frame(frame, module))
                .collect(),
            globals: globals
                .map(|(index, value)| ListedGlobal {
                    index,
                    value: list_value(value, None, module),
                })
                .collect(),
            memories: state
                .memories
                .iter()
                .zip(maps)
                .map(|(memory, map)| list_memory(memory, map))
                .collect(),
            tables: tables
                .map(|(index, table)| list_table(index, table))
                .collect(),
            sections: snapshot
                .sections
                .iter()
                .map(|(name, section)| ListedSection {
                    name: name.clone(),
                    version: section.version.to_string(),
                    required: section.is_required,
                    bytes: section.bytes.len(),
                })
                .collect(),
            wasi,
            wasi_unreadable,
        }
    }

    /// Prints it as text, with at most so many frames, and memories run by run if `with_runs`.
    pub(crate) fn print(
        &self,
        out: &mut dyn Write,
        frames_max: usize,
        with_runs: bool,
    ) -> io::Result<()> {
        writeln!(out, "module    {}", self.module)?;
        if let Some(reason) = &self.module_missing {
            writeln!(
                out,
                "          {reason}; give --module to see names and origins"
            )?;
        }
        writeln!(out, "original  {}", self.original_digest)?;
        writeln!(out, "epoch     {}", self.epoch)?;
        writeln!(out, "entry     {}", self.entry)?;
        writeln!(out, "\ncall stack, innermost of {} first", self.stack.len())?;
        for (number, frame) in self.stack.iter().take(frames_max).enumerate() {
            writeln!(out, "  #{number} {frame}")?;
            for value in &frame.values {
                writeln!(out, "       {value}")?;
            }
        }
        if self.stack.len() > frames_max {
            writeln!(
                out,
                "  and {} more; see --frames",
                self.stack.len() - frames_max
            )?;
        }
        writeln!(out, "\nglobals")?;
        for global in &self.globals {
            writeln!(out, "  {}{}", Numbered(global.index), global.value)?;
        }
        writeln!(out, "\nmemories")?;
        for (index, memory) in self.memories.iter().enumerate() {
            let ListedMemory {
                pages,
                page_bytes,
                used_bytes,
                map,
            } = memory;
            writeln!(
                out,
                "  {index}: {pages} pages of {page_bytes} bytes ({}), {} in use",
                HumanBytes(pages.saturating_mul(*page_bytes)),
                HumanBytes(*used_bytes)
            )?;
            map.print_summary(out)?;
            if with_runs {
                map.print_runs(out)?;
            }
        }
        writeln!(out, "\ntables")?;
        for ListedTable {
            index,
            element_type,
            elements,
            used,
        } in &self.tables
        {
            let index = Numbered(*index);
            writeln!(
                out,
                "  {index}{elements} elements of {element_type}, {used} not null"
            )?;
        }
        writeln!(out, "\nhost state")?;
        for section in &self.sections {
            let ListedSection {
                name,
                version,
                required,
                bytes,
            } = section;
            let optional = if *required { "" } else { ", optional" };
            writeln!(
                out,
                "  {name} {version}: {}{optional}",
                HumanBytes(*bytes as u64)
            )?;
        }
        if let Some(reason) = &self.wasi_unreadable {
            writeln!(out, "  wasi: {reason}")?;
        }
        match &self.wasi {
            Some(wasi) => listing_wasi::print(wasi, out),
            None => Ok(()),
        }
    }
}

impl Module {
    fn description(&self) -> Option<&Description> {
        match self {
            Self::Found { description, .. } => Some(description),
            Self::Missing(_) => None,
        }
    }

    fn name(&self, function: u32) -> Option<&str> {
        match self {
            Self::Found { names, .. } => names.function(function),
            Self::Missing(_) => None,
        }
    }
}

impl fmt::Display for ListedFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} (function {})", self.function)?,
            None => write!(f, "function {}", self.function)?,
        }
        match (self.kind, self.offset) {
            (Some(kind), Some(offset)) => write!(f, ", at {kind}, byte {offset} of its body"),
            _ => write!(f, ", at safe point {}", self.safe_point),
        }
    }
}

impl fmt::Display for ListedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        write!(f, "{} = {}", self.value_type, self.value)
    }
}

/// An index and a colon, or nothing.
struct Numbered(Option<u32>);

impl fmt::Display for Numbered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |index| write!(f, "{index}: "))
    }
}

/// Items with their indices, where those are known.
fn pair<'a, T>(
    indices: Option<impl Iterator<Item = u32> + 'a>,
    items: &'a [T],
) -> impl Iterator<Item = (Option<u32>, &'a T)> {
    let known = indices.into_iter().flatten().map(Some);
    known.chain(std::iter::repeat(None)).zip(items)
}

fn list_frame(frame: &Frame, module: &Module) -> ListedFrame {
    let about = module
        .description()
        .and_then(|description| description.function(frame.function));
    let point = about.and_then(|about| about.safe_points.get(frame.safe_point as usize));
    let live = about
        .and_then(|about| about.live_slots(frame.safe_point))
        .unwrap_or_default();
    let origins = live
        .iter()
        .filter_map(|slot| Some(about?.slots[*slot as usize].origin))
        .map(Some);
    let origins = origins.chain(std::iter::repeat(None));
    ListedFrame {
        function: frame.function,
        name: module.name(frame.function).map(str::to_owned),
        safe_point: frame.safe_point,
        kind: point.map(|point| kind_name(point.kind)),
        offset: point.map(|point| point.offset),
        values: frame
            .values
            .iter()
            .zip(origins)
            .map(|(value, origin)| list_value(value, origin, module))
            .collect(),
    }
}

fn list_value(value: &Value, origin: Option<SlotOrigin>, module: &Module) -> ListedValue {
    let (value_type, value) = match value {
        Value::I32(value) => ("i32", value.to_string()),
        Value::I64(value) => ("i64", value.to_string()),
        Value::F32(bits) => ("f32", f32::from_bits(*bits).to_string()),
        Value::F64(bits) => ("f64", f64::from_bits(*bits).to_string()),
        Value::V128(bits) => ("v128", format!("{bits:#034x}")),
        Value::FuncRef(None) => ("funcref", "null".to_owned()),
        Value::FuncRef(Some(function)) => match module.name(*function) {
            Some(name) => ("funcref", format!("{name} (function {function})")),
            None => ("funcref", format!("function {function}")),
        },
        Value::ExternRef(None) => ("externref", "null".to_owned()),
        Value::ExternRef(Some(bytes)) => ("externref", format!("{} bytes", bytes.len())),
    };
    let origin = origin.map(|origin| match origin {
        SlotOrigin::Local(index) => format!("local {index}"),
        SlotOrigin::Operand(height) => format!("operand {height}"),
    });
    ListedValue {
        origin,
        value_type,
        value,
    }
}

fn list_memory(memory: &MemoryContents, map: MemoryMap) -> ListedMemory {
    let used_bytes = memory
        .blocks
        .iter()
        .map(|block| block.bytes.len() as u64)
        .sum();
    ListedMemory {
        pages: memory.size.pages,
        page_bytes: memory.size.page_bytes,
        used_bytes,
        map,
    }
}

fn list_table(index: Option<u32>, table: &TableContents) -> ListedTable {
    let (element_type, used) = match table {
        TableContents::Functions(elements) => ("funcref", elements.iter().flatten().count()),
        TableContents::Externals(elements) => ("externref", elements.iter().flatten().count()),
    };
    ListedTable {
        index,
        element_type,
        elements: table.len(),
        used: used as u64,
    }
}

fn kind_name(kind: SafePointKind) -> &'static str {
    match kind {
        SafePointKind::Entry => "its entry",
        SafePointKind::Loop => "a loop",
        SafePointKind::Call => "a call",
        SafePointKind::CallIndirect => "an indirect call",
        SafePointKind::Import => "a call of the host",
    }
}
