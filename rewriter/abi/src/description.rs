//! The description of a migratized module: which functions can be on a saved stack, where they can
//! stop, and what each saved word means.
//!
//! It depends on the original module alone, so all variants of one original share it and read each
//! other's snapshots. Encoding: [postcard](https://postcard.jamesmunns.com/wire-format) (varints,
//! fields in declaration order), compressed with [zlib](https://www.rfc-editor.org/rfc/rfc1950), after the ABI
//! version as a little-endian `u32`. Live sets say what differs from the set before them, and offsets of safe points
//! count from the one before.

mod wire;

use std::collections::HashSet;
use std::fmt;

use miniz_oxide::deflate::compress_to_vec_zlib;
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;
use serde::{Deserialize, Serialize};

use crate::ABI_VERSION;
use crate::fingerprint::{Fingerprint, Parts};

const COMPRESSION_LEVEL: u8 = 6;
/// Far more than a module that engines accept can need.
const FIELDS_MAX: usize = 1 << 28;

/// Everything a host must know about one migratized module. All indices are in the index spaces of
/// the *original* module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// BLAKE3 digest of the original module's bytes.
    pub original_digest: [u8; 32],
    /// What states rely on besides the functions on their stacks.
    pub parts: Parts,
    /// Mutable globals, imported ones too, in index order.
    pub globals: Vec<GlobalState>,
    /// Data segments that `data.drop` names, in index order.
    pub data_drops: Vec<u32>,
    /// Element segments that `elem.drop` names, in index order.
    pub element_drops: Vec<u32>,
    /// Number of memories, imported ones too.
    pub memories: u32,
    /// Tables whose contents may change, in index order.
    pub tables: Vec<TableState>,
    /// Function index of each slot of the exported `functions` table; empty if there is no such table.
    pub function_refs: Vec<u32>,
    /// Functions that can be on a saved stack, in index order. An imported function that may block is
    /// one of them (its wrapper is).
    #[serde(with = "wire")]
    pub functions: Vec<Function>,
}

/// A mutable global.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlobalState {
    /// Global index.
    pub index: u32,
    /// Type of its value.
    pub value_type: ValueType,
}

/// A table whose contents may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableState {
    /// Table index.
    pub index: u32,
    /// Type of its elements: `FuncRef` or `ExternRef`.
    pub element_type: ValueType,
}

/// A value type that can be saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ValueType {
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
    /// 32-bit float, saved as its bits.
    F32,
    /// 64-bit float, saved as its bits.
    F64,
    /// 128-bit vector.
    V128,
    /// Nullable function reference.
    FuncRef,
    /// Nullable host reference; in globals and tables only, and portable only if the embedder says how.
    ExternRef,
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::V128 => "v128",
            Self::FuncRef => "funcref",
            Self::ExternRef => "externref",
        })
    }
}

/// A function that can be on a saved stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Function index.
    pub index: u32,
    /// Its type, locals and code, and what it calls.
    pub code: Fingerprint,
    /// Byte offset of the function's body in the original module; 0 for an import.
    pub offset: u32,
    /// What `load_callee` answers when the next frame belongs to this function, if it can be reached
    /// by an indirect or a tail call.
    pub resume_slot: Option<u32>,
    /// The values that a frame may hold.
    pub slots: Vec<Slot>,
    /// Distinct sets of live slots; each lists indices into `slots`, in the order in which they are saved
    /// and loaded: first what loops around the safe point carry, outermost loop first.
    pub live_sets: Vec<Vec<u32>>,
    /// Safe points. The index in this list is the safe point's id; id 0 is the function's entry, whether
    /// or not the function is polled there.
    pub safe_points: Vec<SafePoint>,
}

/// One value of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Type of the value.
    pub value_type: ValueType,
    /// Where the original program holds it.
    pub origin: SlotOrigin,
}

/// Where the original program holds a saved value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SlotOrigin {
    /// A parameter or local, by index.
    Local(u32),
    /// An operand, by its height on the function's operand stack (0 is the bottom).
    Operand(u32),
}

/// A place where a function can be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SafePoint {
    /// What kind of place.
    pub kind: SafePointKind,
    /// Byte offset of the operator, from the start of the function's body in the original module.
    pub offset: u32,
    /// Index into [`Function::live_sets`].
    pub live_set: u32,
}

/// Kind of a safe point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SafePointKind {
    /// The function's entry (id 0).
    Entry,
    /// A loop header.
    Loop,
    /// A direct call that may suspend.
    Call,
    /// An indirect call that may suspend.
    CallIndirect,
    /// A call to an import that may block; it is made again after the resume.
    Import,
}

/// Why a description could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The section is written for another ABI.
    #[error(
        "the module speaks migration ABI version {found}, this host version {ABI_VERSION}: \
         migratize the original again with a matching wasm-migratize"
    )]
    Version {
        /// The module's version.
        found: u32,
    },
    /// The section's bytes make no description.
    #[error("the `wasm_migrate` section is damaged: {0}")]
    Malformed(String),
}

impl Description {
    /// Encodes the description as the custom section's data.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let fields = postcard::to_stdvec(self).expect("a description has only serialisable fields");
        let mut bytes = ABI_VERSION.to_le_bytes().to_vec();
        bytes.extend(compress_to_vec_zlib(&fields, COMPRESSION_LEVEL));
        bytes
    }

    /// Decodes and checks the custom section's data.
    ///
    /// # Errors
    /// Another ABI version, or bytes that are not a consistent description.
    pub fn decode(data: &[u8]) -> Result<Self, DecodeError> {
        let malformed = |what: &str| DecodeError::Malformed(what.to_owned());
        let (version, body) = data
            .split_first_chunk::<4>()
            .ok_or_else(|| malformed("it has no version"))?;
        let found = u32::from_le_bytes(*version);
        if found != ABI_VERSION {
            return Err(DecodeError::Version { found });
        }
        let fields = decompress_to_vec_zlib_with_limit(body, FIELDS_MAX)
            .map_err(|error| DecodeError::Malformed(error.to_string()))?;
        let (description, rest) = postcard::take_from_bytes::<Self>(&fields)
            .map_err(|error| DecodeError::Malformed(error.to_string()))?;
        if !rest.is_empty() {
            return Err(malformed("bytes are left after its end"));
        }
        description.check().map_err(malformed)?;
        Ok(description)
    }

    /// The function with the given original index.
    #[must_use]
    pub fn function(&self, index: u32) -> Option<&Function> {
        let found = self
            .functions
            .binary_search_by_key(&index, |function| function.index)
            .ok()?;
        Some(&self.functions[found])
    }

    fn check(&self) -> Result<(), &'static str> {
        if !self.functions.is_sorted_by_key(|function| function.index) {
            return Err("its functions are not in order");
        }
        for function in &self.functions {
            let slots = function.slots.len();
            for set in &function.live_sets {
                if set.iter().any(|&slot| slot as usize >= slots) {
                    return Err("a live set names a slot that is not there");
                }
                let distinct: HashSet<u32> = set.iter().copied().collect();
                if distinct.len() < set.len() {
                    return Err("a live set names a slot twice");
                }
            }
            let sets = function.live_sets.len();
            if function
                .safe_points
                .iter()
                .any(|point| point.live_set as usize >= sets)
            {
                return Err("a safe point names a live set that is not there");
            }
        }
        Ok(())
    }
}

impl Function {
    /// The live slots of a safe point, in the order of a frame's values; `None` if there is no such safe point.
    #[must_use]
    pub fn live_slots(&self, safe_point: u32) -> Option<&[u32]> {
        let point = self.safe_points.get(safe_point as usize)?;
        Some(&self.live_sets[point.live_set as usize])
    }
}
