//! A snapshot as people and programs read it.

use std::fmt;
use std::io::{self, Write};

use indicatif::HumanBytes;
use serde::Serialize;
use wasm_migrate::abi::{SafePointKind, SlotOrigin};
use wasm_migrate::wasi::ListedWasi;
use wasm_migrate::{Frame, MemorySize, Snapshot, TableContents, Value};

use crate::launch::list_wasi;
use crate::memory_map::MemoryMap;
use crate::memory_view::MemoryView;
use crate::module::Module;
use crate::terminal::name;
use crate::{listing_wasi, output};

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
    /// The part of a memory that the user asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    view: Option<MemoryView>,
}

/// A frame of the call stack.
#[derive(Serialize, PartialEq, Eq)]
pub(crate) struct ListedFrame {
    function: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    safe_point: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    /// From the start of the original function's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u32>,
    pub(crate) values: Vec<ListedValue>,
}

/// A typed value.
#[derive(Serialize, PartialEq, Eq)]
pub(crate) struct ListedValue {
    /// `local N` or `operand N`.
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    /// Of the local or global.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
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
    /// Bytes in pages that are not all zero; `None` if the snapshots that this one builds on are not there.
    used_bytes: Option<u64>,
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
    /// `used_bytes` has the bytes in use of each memory, where they are known.
    pub(crate) fn new(
        snapshot: &Snapshot<MemorySize>,
        maps: Vec<MemoryMap>,
        used_bytes: &[u64],
        view: Option<MemoryView>,
        module: &Module,
    ) -> Self {
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
                    value: list_global(index, value, module),
                })
                .collect(),
            memories: state
                .memories
                .iter()
                .zip(maps)
                .enumerate()
                .map(|(index, (size, map))| ListedMemory {
                    pages: size.pages,
                    page_bytes: size.page_bytes,
                    used_bytes: used_bytes.get(index).copied(),
                    map,
                })
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
            view,
        }
    }

    /// Prints it as text, with at most so many frames, and memories run by run if `with_runs`.
    pub(crate) fn print(
        &self,
        out: &mut dyn Write,
        frames_max: usize,
        with_runs: bool,
    ) -> io::Result<()> {
        writeln!(out, "module    {}", name(&self.module))?;
        if let Some(reason) = &self.module_missing {
            writeln!(
                out,
                "          {}; give --module to see names and origins",
                name(reason)
            )?;
        }
        writeln!(out, "original  {}", self.original_digest)?;
        writeln!(out, "epoch     {}", self.epoch)?;
        writeln!(out, "entry     {}", name(&self.entry))?;
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
            write!(
                out,
                "  {index}: {pages} pages of {page_bytes} bytes ({})",
                HumanBytes(pages.saturating_mul(*page_bytes))
            )?;
            match used_bytes {
                Some(used) => writeln!(out, ", {} in use", HumanBytes(*used))?,
                None => writeln!(out, "; what it builds on is not there")?,
            }
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
                name: section,
                version,
                required,
                bytes,
            } = section;
            let optional = if *required { "" } else { ", optional" };
            writeln!(
                out,
                "  {} {version}: {}{optional}",
                name(section),
                HumanBytes(*bytes as u64)
            )?;
        }
        if let Some(reason) = &self.wasi_unreadable {
            writeln!(out, "  wasi: {}", name(reason))?;
        }
        if let Some(wasi) = &self.wasi {
            listing_wasi::print(wasi, out)?;
        }
        match &self.view {
            Some(view) => view.print(out),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ListedFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(function) => write!(f, "{} (function {})", name(function), self.function)?,
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
        match (&self.origin, &self.name) {
            (Some(origin), Some(given)) => write!(f, "{origin} {}: ", name(given))?,
            (Some(origin), None) => write!(f, "{origin}: ")?,
            (None, Some(given)) => write!(f, "{}: ", name(given))?,
            (None, None) => {}
        }
        write!(f, "{} = {}", self.value_type, name(&self.value))
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
pub(crate) fn pair<'a, T>(
    indices: Option<impl Iterator<Item = u32> + 'a>,
    items: &'a [T],
) -> impl Iterator<Item = (Option<u32>, &'a T)> {
    let known = indices.into_iter().flatten().map(Some);
    known.chain(std::iter::repeat(None)).zip(items)
}

/// A frame as it is shown.
pub(crate) fn list_frame(frame: &Frame, module: &Module) -> ListedFrame {
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
        name: module.function_name(frame.function).map(str::to_owned),
        safe_point: frame.safe_point,
        kind: point.map(|point| kind_name(point.kind)),
        offset: point.map(|point| point.offset),
        values: frame
            .values
            .iter()
            .zip(origins)
            .map(|(value, origin)| list_live_value(frame.function, value, origin, module))
            .collect(),
    }
}

/// A live value of a function's frame.
fn list_live_value(
    function: u32,
    value: &Value,
    origin: Option<SlotOrigin>,
    module: &Module,
) -> ListedValue {
    let (origin, name) = match origin {
        None => (None, None),
        Some(SlotOrigin::Operand(height)) => (Some(format!("operand {height}")), None),
        Some(SlotOrigin::Local(index)) => (
            Some(format!("local {index}")),
            module
                .names()
                .and_then(|names| names.local(function, index)),
        ),
    };
    ListedValue {
        origin,
        name: name.map(str::to_owned),
        ..list_value(value, module)
    }
}

/// A global as it is shown; its index may not be known.
pub(crate) fn list_global(index: Option<u32>, value: &Value, module: &Module) -> ListedValue {
    let name = module.names().zip(index);
    let name = name.and_then(|(names, index)| names.global(index));
    ListedValue {
        name: name.map(str::to_owned),
        ..list_value(value, module)
    }
}

fn list_value(value: &Value, module: &Module) -> ListedValue {
    let (value_type, value) = match value {
        Value::I32(value) => ("i32", value.to_string()),
        Value::I64(value) => ("i64", value.to_string()),
        Value::F32(bits) => ("f32", f32::from_bits(*bits).to_string()),
        Value::F64(bits) => ("f64", f64::from_bits(*bits).to_string()),
        Value::V128(bits) => ("v128", format!("{bits:#034x}")),
        Value::FuncRef(None) => ("funcref", "null".to_owned()),
        Value::FuncRef(Some(function)) => match module.function_name(*function) {
            Some(name) => ("funcref", format!("{name} (function {function})")),
            None => ("funcref", format!("function {function}")),
        },
        Value::ExternRef(None) => ("externref", "null".to_owned()),
        Value::ExternRef(Some(bytes)) => ("externref", format!("{} bytes", bytes.len())),
    };
    ListedValue {
        origin: None,
        name: None,
        value_type,
        value,
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
