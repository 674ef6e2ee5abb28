//! Globals in which values wait while cold code makes calls.
//!
//! A value that lives across a call survives in memory if the registers of its kind belong to callees. Register
//! allocators then tend to have it in memory all along, also in the hot loop next to the cold code. A value that
//! waits in a global and is fetched behind the call does not live across it.

use wasm_migrate_abi::ValueType;

use crate::plan::count32;

/// How many `i32` can be parked at a time.
pub(crate) const PARKED_I32_MAX: u32 = 8;
/// How many values of each other type can be.
const PARKED_OTHERS_MAX: u32 = 16;

/// Indices of the globals: first those for `i32`, then the other types by turns.
#[derive(Debug)]
pub(crate) struct ParkingGlobals {
    first: u32,
    others: Vec<ValueType>,
}

impl ParkingGlobals {
    /// Globals from `first` on.
    pub(crate) fn new(first: u32, vectors: bool) -> Self {
        let mut others = vec![ValueType::I64, ValueType::F32, ValueType::F64];
        others.extend(vectors.then_some(ValueType::V128));
        Self { first, others }
    }

    /// The global of the `nth` value of a type.
    pub(crate) fn place(&self, value_type: ValueType, nth: u32) -> Option<u32> {
        if value_type == ValueType::I32 {
            return (nth < PARKED_I32_MAX).then_some(self.first + nth);
        }
        let at = self.others.iter().position(|ty| *ty == value_type)?;
        let others = self.first + PARKED_I32_MAX;
        let place = others + nth * count32(self.others.len()) + count32(at);
        (nth < PARKED_OTHERS_MAX).then_some(place)
    }

    /// Types of the globals, if there are up to `depth` values of one of the other types.
    pub(crate) fn types(&self, depth: u32) -> impl Iterator<Item = ValueType> {
        let others = (0..depth).flat_map(|_| self.others.iter().copied());
        (0..PARKED_I32_MAX).map(|_| ValueType::I32).chain(others)
    }
}
