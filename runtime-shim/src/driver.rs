//! Capture and restore of everything but the native stack, in terms of [`Instance`].
//!
//! A restore checks all it can before the first write: digest, types, counts, function indices, page
//! and element limits.

use std::collections::HashMap;
use std::error::Error as StdError;

use wasm_migrate_abi::{Description, ValueType};

use crate::engine::Instance;
use crate::error::{CaptureError, ProtocolError, ResumeError};
use crate::fit::{self, Requirements};
use crate::memory::Measured;
use crate::names::Names;
use crate::stack::{RawStack, check_frame, decode_value, encode_value};
use crate::state::{Frame, Image, State, TableContents, Value};

/// Makes the bytes of a memory, named by its index, what they are to be.
pub(crate) type FillMemory<'f> =
    dyn FnMut(usize, &mut [u8]) -> Result<(), Box<dyn StdError + Send + Sync>> + 'f;

/// Takes the state of a guest that stopped with `stack` on a call of `entry`, without memory contents.
pub(crate) fn capture(
    instance: &mut impl Instance,
    description: &Description,
    names: &Names,
    stack: &RawStack,
    entry: &str,
) -> Result<Image, CaptureError> {
    let references = instance.read_references()?;
    let frames = stack.to_frames(description, &references)?;
    let words = instance.save_words()?;
    let mut words = words.into_iter();
    let mut globals = Vec::with_capacity(description.globals.len());
    for global in &description.globals {
        globals.push(if is_reference(global.value_type) {
            instance.read_global(global.index)?
        } else {
            decode_value(global.value_type, &mut words, &[])?
        });
    }
    let data_drops = take_flags(&mut words, description.data_drops.len())?;
    let element_drops = take_flags(&mut words, description.element_drops.len())?;
    if words.len() > 0 {
        return Err(ProtocolError::new(format!("it sent {} words too many", words.len())).into());
    }
    let tables = description
        .tables
        .iter()
        .map(|table| instance.read_table(table.index));
    let tables = tables.collect::<Result<_, _>>()?;
    let memories = (0..description.memories).map(|index| Ok(instance.memory_shape(index)?.size));
    let memories = memories.collect::<Result<_, CaptureError>>()?;
    Ok(State {
        original_digest: description.original_digest,
        requirements: Requirements::new(description, names, &frames)?,
        entry: entry.to_owned(),
        frames,
        globals,
        data_drops,
        element_drops,
        tables,
        memories,
    })
}

/// Checks that a state can be put into an instance; answers its frames as the module numbers its functions.
pub(crate) fn check<M: Measured>(
    instance: &mut impl Instance,
    description: &Description,
    names: &Names,
    state: &State<M>,
) -> Result<Vec<Frame>, ResumeError> {
    let frames = fit::frames_in(description, names, state)?;
    check_counts(description, state, &frames)?;
    check_functions(instance, description, state)?;
    check_sizes(instance, description, state)?;
    Ok(frames)
}

/// Puts a checked state into an instance, its memories by `fill`; answers the stack that is to be rebuilt.
/// After an error, the instance cannot be used.
pub(crate) fn restore<M: Measured>(
    instance: &mut impl Instance,
    description: &Description,
    state: &State<M>,
    frames: &[Frame],
    fill: &mut FillMemory<'_>,
) -> Result<RawStack, ResumeError> {
    grow_memories(instance, &state.memories)?;
    for (table, contents) in description.tables.iter().zip(&state.tables) {
        let shape = instance.table_shape(table.index)?;
        if contents.len() > shape.size {
            instance.grow_table(table.index, contents.len() - shape.size)?;
        }
    }
    for index in 0..description.memories {
        fill(index as usize, instance.memory_bytes(index)?).map_err(ResumeError::Memory)?;
    }
    for (table, contents) in description.tables.iter().zip(&state.tables) {
        instance.write_table(table.index, contents)?;
    }
    let mut words = Vec::new();
    for (global, value) in description.globals.iter().zip(&state.globals) {
        if is_reference(global.value_type) {
            instance.write_global(global.index, value)?;
        } else {
            encode_value(value, &HashMap::new(), &mut words);
        }
    }
    words.extend(
        state
            .data_drops
            .iter()
            .chain(&state.element_drops)
            .map(|drop| u64::from(*drop)),
    );
    instance.load_words(words)?;

    let functions = live_functions(frames);
    if !functions.is_empty() {
        instance.write_references(&functions)?;
    }
    let references = functions.iter().copied().zip(0..).collect();
    Ok(RawStack::from_frames(frames, &references))
}

/// Grows memories to sizes that have been checked.
pub(crate) fn grow_memories<M: Measured>(
    instance: &mut impl Instance,
    memories: &[M],
) -> Result<(), ResumeError> {
    for (index, memory) in (0..).zip(memories) {
        let (shape, size) = (instance.memory_shape(index)?, memory.size());
        if size.pages > shape.size.pages {
            instance.grow_memory(index, size.pages - shape.size.pages)?;
        }
    }
    Ok(())
}

/// Functions that frames refer to, each once.
pub(crate) fn live_functions(frames: &[Frame]) -> Vec<u32> {
    let values = frames.iter().flat_map(|frame| &frame.values);
    let mut functions: Vec<u32> = values
        .filter_map(|value| match value {
            Value::FuncRef(function) => *function,
            _ => None,
        })
        .collect();
    functions.sort_unstable();
    functions.dedup();
    functions
}

pub(crate) fn check_counts<M>(
    description: &Description,
    state: &State<M>,
    frames: &[Frame],
) -> Result<(), ResumeError> {
    // Destructured without `..`: a new part of the state must be checked or excused here.
    let State {
        original_digest: _,
        requirements: _,
        entry: _,
        frames: _,
        globals,
        data_drops,
        element_drops,
        tables,
        memories,
    } = state;
    let counts = [
        ("mutable globals", globals.len(), description.globals.len()),
        (
            "droppable data segments",
            data_drops.len(),
            description.data_drops.len(),
        ),
        (
            "droppable element segments",
            element_drops.len(),
            description.element_drops.len(),
        ),
        ("tables", tables.len(), description.tables.len()),
        ("memories", memories.len(), description.memories as usize),
    ];
    for (what, found, expected) in counts {
        if found != expected {
            return mismatch(format!("it has {found} {what}, the module {expected}"));
        }
    }
    if frames.is_empty() {
        return mismatch("it has no frames".to_owned());
    }
    for frame in frames {
        check_frame(description, frame).map_err(ResumeError::Mismatch)?;
    }
    for (global, value) in description.globals.iter().zip(globals) {
        if value.value_type() != global.value_type {
            return mismatch(format!(
                "global {} is {:?}, the module's is {:?}",
                global.index,
                value.value_type(),
                global.value_type
            ));
        }
    }
    for (table, contents) in description.tables.iter().zip(tables) {
        if contents.element_type() != table.element_type {
            return mismatch(format!(
                "table {} is of {:?}, the module's of {:?}",
                table.index,
                contents.element_type(),
                table.element_type
            ));
        }
    }
    Ok(())
}

/// Every function that a reference names must be one that the module can name.
fn check_functions<M>(
    instance: &impl Instance,
    description: &Description,
    state: &State<M>,
) -> Result<(), ResumeError> {
    let values = state
        .frames
        .iter()
        .flat_map(|frame| &frame.values)
        .chain(&state.globals);
    let held_functions = values.clone().filter_map(|value| match value {
        Value::FuncRef(function) => *function,
        _ => None,
    });
    let held_externals = values
        .filter(|value| matches!(value, Value::ExternRef(Some(_))))
        .count();
    let mut externals = held_externals > 0;
    let mut table_functions: Vec<u32> = Vec::new();
    for contents in &state.tables {
        match contents {
            TableContents::Functions(elements) => table_functions.extend(elements.iter().flatten()),
            TableContents::Externals(elements) => externals |= elements.iter().any(Option::is_some),
        }
    }
    let known: std::collections::HashSet<u32> = description.function_refs.iter().copied().collect();
    for function in held_functions.chain(table_functions) {
        if !known.contains(&function) {
            return mismatch(format!(
                "it refers to function {function}, which the module cannot"
            ));
        }
    }
    if externals && !instance.has_reference_codec() {
        return Err(ResumeError::Unfit(
            "it holds host references, and this host has no way to restore them".to_owned(),
        ));
    }
    Ok(())
}

fn check_sizes<M: Measured>(
    instance: &mut impl Instance,
    description: &Description,
    state: &State<M>,
) -> Result<(), ResumeError> {
    check_memories(instance, &state.memories)?;
    for (table, contents) in description.tables.iter().zip(&state.tables) {
        let shape = instance.table_shape(table.index)?;
        if shape.element_type != Some(table.element_type) {
            return Err(ResumeError::Unfit(format!(
                "table {} does not hold {:?}",
                table.index, table.element_type
            )));
        }
        let limits = (shape.size, shape.size_max);
        check_size(
            &format!("table {}", table.index),
            "elements",
            contents.len(),
            limits,
        )?;
    }
    Ok(())
}

/// Memories of these sizes must be within what those of the instance can grow to.
pub(crate) fn check_memories<M: Measured>(
    instance: &mut impl Instance,
    memories: &[M],
) -> Result<(), ResumeError> {
    for (index, memory) in (0..).zip(memories) {
        let (shape, size) = (instance.memory_shape(index)?, memory.size());
        if size.page_bytes != shape.size.page_bytes {
            return mismatch(format!(
                "memory {index} has pages of {} bytes, the module's of {}",
                size.page_bytes, shape.size.page_bytes
            ));
        }
        let limits = (shape.size.pages, shape.pages_max);
        check_size(&format!("memory {index}"), "pages", size.pages, limits)?;
    }
    Ok(())
}

fn check_size(
    what: &str,
    unit: &str,
    saved: u64,
    (size, size_max): (u64, Option<u64>),
) -> Result<(), ResumeError> {
    if saved < size {
        return Err(ResumeError::Unfit(format!(
            "{what} has {size} {unit} already and had {saved} when it was saved; it cannot shrink"
        )));
    }
    match size_max {
        Some(size_max) if saved > size_max => Err(ResumeError::Unfit(format!(
            "{what} had {saved} {unit} when it was saved and may have at most {size_max} here"
        ))),
        _ => Ok(()),
    }
}

/// Is this a type whose values the host reads by itself instead of as words?
pub(crate) fn is_reference(value_type: ValueType) -> bool {
    matches!(value_type, ValueType::FuncRef | ValueType::ExternRef)
}

fn take_flags(
    words: &mut impl Iterator<Item = u64>,
    count: usize,
) -> Result<Vec<bool>, ProtocolError> {
    let flags: Vec<bool> = words.take(count).map(|word| word != 0).collect();
    if flags.len() < count {
        return Err(ProtocolError::new("it sent too few words"));
    }
    Ok(flags)
}

fn mismatch<T>(what: String) -> Result<T, ResumeError> {
    Err(ResumeError::Mismatch(what))
}
