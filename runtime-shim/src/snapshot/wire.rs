//! Contents of a snapshot's body: everything but memory contents. Types of their own, so that the state's types can change without
//! changing the format. Encoding: [postcard](https://postcard.jamesmunns.com/wire-format), whose
//! numbers are little-endian or varints.
//!
//! No length in the bytes sizes an allocation by more than the bytes that are there.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use wasm_migrate_abi::{Fingerprint, Parts};

use super::header::Header;
use super::{ModuleReference, ParentReference, Snapshot, SnapshotError};
use crate::fit::{RequiredFunction, Requirements};
use crate::host::{Section, SectionVersion};
use crate::memory::{Measured, MemorySize};
use crate::state::{Frame, State, TableContents, Value};

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    parent: Option<(Cow<'a, str>, [u8; 32])>,
    #[serde(borrow)]
    module_path: Cow<'a, str>,
    module_digest: [u8; 32],
    parts: Parts,
    #[serde(borrow)]
    functions: Vec<WireFunction<'a>>,
    #[serde(borrow)]
    entry: Cow<'a, str>,
    #[serde(borrow)]
    frames: Vec<WireFrame<'a>>,
    #[serde(borrow)]
    globals: Vec<WireValue<'a>>,
    data_drops: Vec<bool>,
    element_drops: Vec<bool>,
    #[serde(borrow)]
    tables: Vec<WireTable<'a>>,
    memories: Vec<WireMemory>,
    #[serde(borrow)]
    sections: Vec<WireSection<'a>>,
}

#[derive(Serialize, Deserialize)]
struct WireSection<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    version: (u16, u16),
    is_required: bool,
    #[serde(borrow)]
    bytes: Bytes<'a>,
}

#[derive(Serialize, Deserialize)]
struct WireFunction<'a> {
    index: u32,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    code: Fingerprint,
    safe_points: Fingerprint,
}

#[derive(Serialize, Deserialize)]
struct WireFrame<'a> {
    function: u32,
    safe_point: u32,
    #[serde(borrow)]
    values: Vec<WireValue<'a>>,
}

#[derive(Serialize, Deserialize)]
enum WireValue<'a> {
    I32(i32),
    I64(i64),
    F32([u8; 4]),
    F64([u8; 8]),
    V128([u8; 16]),
    FuncRef(Option<u32>),
    #[serde(borrow)]
    ExternRef(Option<Bytes<'a>>),
}

#[derive(Serialize, Deserialize)]
enum WireTable<'a> {
    Functions(Vec<Option<u32>>),
    #[serde(borrow)]
    Externals(Vec<Option<Bytes<'a>>>),
}

#[derive(Serialize, Deserialize)]
struct WireMemory {
    page_bytes: u64,
    pages: u64,
}

/// Bytes that are copied in one piece.
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Bytes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(BytesVisitor)
    }
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Bytes<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_borrowed_bytes<E: serde::de::Error>(self, bytes: &'de [u8]) -> Result<Bytes<'de>, E> {
        Ok(Bytes(bytes))
    }
}

/// The body of a snapshot.
pub(super) fn encode<M: Measured>(
    snapshot: &Snapshot<M>,
    parent: Option<&ParentReference>,
) -> Vec<u8> {
    // Destructured without `..`: a new field must be written or excused.
    let Snapshot {
        state,
        module: ModuleReference { path, digest },
        sections,
        epoch: _, // in the header
    } = snapshot;
    let State {
        original_digest: _, // in the header
        requirements: Requirements { parts, functions },
        entry,
        frames,
        globals,
        data_drops,
        element_drops,
        tables,
        memories,
    } = state;
    to_bytes(&Body {
        parent: parent.map(|parent| (Cow::Borrowed(parent.name.as_str()), parent.id)),
        module_path: Cow::Borrowed(path),
        module_digest: *digest,
        parts: *parts,
        functions: functions.iter().map(wire_function).collect(),
        entry: Cow::Borrowed(entry),
        frames: frames.iter().map(wire_frame).collect(),
        globals: globals.iter().map(wire_value).collect(),
        data_drops: data_drops.clone(),
        element_drops: element_drops.clone(),
        tables: tables.iter().map(wire_table).collect(),
        memories: memories
            .iter()
            .map(|memory| WireMemory {
                page_bytes: memory.size().page_bytes,
                pages: memory.size().pages,
            })
            .collect(),
        sections: sections
            .iter()
            .map(|(name, section)| wire_section(name, section))
            .collect(),
    })
}

/// Reads a body: a snapshot without memory contents, and what it builds on.
pub(super) fn decode(
    bytes: &[u8],
    header: &Header,
) -> Result<(Snapshot<MemorySize>, Option<ParentReference>), SnapshotError> {
    let body: Body<'_> = from_bytes(bytes)?;
    let memories: Vec<MemorySize> = body
        .memories
        .iter()
        .map(|memory| MemorySize {
            page_bytes: memory.page_bytes,
            pages: memory.pages,
        })
        .collect();
    // No memory comes near it, and so much less can be counted with.
    const MEMORY_BYTES_MAX: u64 = 1 << 62;
    let is_too_large = |size: &MemorySize| {
        let bytes = size.pages.checked_mul(size.page_bytes);
        bytes.is_none_or(|bytes| bytes > MEMORY_BYTES_MAX)
    };
    if let Some(index) = memories.iter().position(is_too_large) {
        return Err(SnapshotError::Malformed(format!(
            "memory {index} is larger than any can be"
        )));
    }
    let parent = body.parent.map(|(name, id)| ParentReference {
        name: name.into_owned(),
        id,
    });
    if let Some(ParentReference { name, .. }) = &parent
        && std::path::Path::new(name).file_name() != Some(name.as_ref())
    {
        return Err(SnapshotError::Malformed(format!(
            "it builds on {name:?}, which is not the name of a file beside it"
        )));
    }
    let snapshot = Snapshot {
        state: State {
            original_digest: header.original_digest,
            requirements: Requirements {
                parts: body.parts,
                functions: body.functions.into_iter().map(function).collect(),
            },
            entry: body.entry.into_owned(),
            frames: body.frames.iter().map(frame).collect(),
            globals: body.globals.iter().map(value).collect(),
            data_drops: body.data_drops,
            element_drops: body.element_drops,
            tables: body.tables.into_iter().map(table).collect(),
            memories,
        },
        module: ModuleReference {
            path: body.module_path.into_owned(),
            digest: body.module_digest,
        },
        sections: body.sections.iter().map(section).collect(),
        epoch: header.epoch,
    };
    Ok((snapshot, parent))
}

pub(super) fn to_bytes(value: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(value, Vec::new()).expect("there are only serialisable fields")
}

/// Reads a value that takes up all bytes.
pub(super) fn from_bytes<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, SnapshotError> {
    let malformed = |error: postcard::Error| SnapshotError::Malformed(error.to_string());
    match postcard::take_from_bytes(bytes).map_err(malformed)? {
        (value, []) => Ok(value),
        (_, rest) => Err(SnapshotError::Malformed(format!(
            "{} bytes are left over",
            rest.len()
        ))),
    }
}

fn wire_section<'s>(name: &'s str, section: &'s Section) -> WireSection<'s> {
    let Section {
        version: SectionVersion { major, minor },
        is_required,
        bytes,
    } = section;
    WireSection {
        name: Cow::Borrowed(name),
        version: (*major, *minor),
        is_required: *is_required,
        bytes: Bytes(bytes),
    }
}

fn section(section: &WireSection<'_>) -> (String, Section) {
    let WireSection {
        name,
        version: (major, minor),
        is_required,
        bytes,
    } = section;
    let section = Section {
        version: SectionVersion::new(*major, *minor),
        is_required: *is_required,
        bytes: bytes.0.to_vec(),
    };
    (name.to_string(), section)
}

fn wire_function(function: &RequiredFunction) -> WireFunction<'_> {
    let RequiredFunction {
        index,
        name,
        code,
        safe_points,
    } = function;
    WireFunction {
        index: *index,
        name: name.as_deref().map(Cow::Borrowed),
        code: *code,
        safe_points: *safe_points,
    }
}

fn function(function: WireFunction<'_>) -> RequiredFunction {
    let WireFunction {
        index,
        name,
        code,
        safe_points,
    } = function;
    RequiredFunction {
        index,
        name: name.map(Cow::into_owned),
        code,
        safe_points,
    }
}

fn wire_frame(frame: &Frame) -> WireFrame<'_> {
    let Frame {
        function,
        safe_point,
        values,
    } = frame;
    WireFrame {
        function: *function,
        safe_point: *safe_point,
        values: values.iter().map(wire_value).collect(),
    }
}

fn frame(frame: &WireFrame<'_>) -> Frame {
    Frame {
        function: frame.function,
        safe_point: frame.safe_point,
        values: frame.values.iter().map(value).collect(),
    }
}

fn wire_value(value: &Value) -> WireValue<'_> {
    match value {
        Value::I32(value) => WireValue::I32(*value),
        Value::I64(value) => WireValue::I64(*value),
        Value::F32(bits) => WireValue::F32(bits.to_le_bytes()),
        Value::F64(bits) => WireValue::F64(bits.to_le_bytes()),
        Value::V128(bits) => WireValue::V128(bits.to_le_bytes()),
        Value::FuncRef(function) => WireValue::FuncRef(*function),
        Value::ExternRef(bytes) => WireValue::ExternRef(bytes.as_deref().map(Bytes)),
    }
}

fn value(value: &WireValue<'_>) -> Value {
    match value {
        WireValue::I32(value) => Value::I32(*value),
        WireValue::I64(value) => Value::I64(*value),
        WireValue::F32(bytes) => Value::F32(u32::from_le_bytes(*bytes)),
        WireValue::F64(bytes) => Value::F64(u64::from_le_bytes(*bytes)),
        WireValue::V128(bytes) => Value::V128(u128::from_le_bytes(*bytes)),
        WireValue::FuncRef(function) => Value::FuncRef(*function),
        WireValue::ExternRef(bytes) => {
            Value::ExternRef(bytes.as_ref().map(|bytes| bytes.0.to_vec()))
        }
    }
}

fn wire_table(table: &TableContents) -> WireTable<'_> {
    match table {
        TableContents::Functions(elements) => WireTable::Functions(elements.clone()),
        TableContents::Externals(elements) => WireTable::Externals(
            elements
                .iter()
                .map(|bytes| bytes.as_deref().map(Bytes))
                .collect(),
        ),
    }
}

fn table(table: WireTable<'_>) -> TableContents {
    match table {
        WireTable::Functions(elements) => TableContents::Functions(elements),
        WireTable::Externals(elements) => TableContents::Externals(
            elements
                .into_iter()
                .map(|bytes| bytes.map(|bytes| bytes.0.to_vec()))
                .collect(),
        ),
    }
}
