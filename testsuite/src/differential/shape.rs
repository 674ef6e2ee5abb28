//! What a test must know of a module before it can run it: the exports and their types.

use std::hash::{DefaultHasher, Hasher};

use wasmparser::{ExternalKind, Parser, Payload};
use wasmtime::{ExternRef, ExternType, Module, Result, V128, Val, ValType};

use crate::subject::Store;

/// Exports of a module.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// Names of all exports, in order.
    pub(super) exports: Vec<String>,
    /// Exported functions: name and function index.
    pub(super) functions: Vec<(String, u32)>,
    /// Functions to call: exported, and not imported.
    pub(super) entries: Vec<Entry>,
    /// Entries without parameters.
    pub(super) again: Vec<String>,
}

/// A function to call.
#[derive(Debug)]
pub(super) struct Entry {
    /// Export name.
    pub(super) export: String,
    /// Parameter types.
    pub(super) parameters: Vec<ValType>,
}

/// Entries called per module at most.
const ENTRIES: usize = 8;

/// Entries that the re-entering import chooses from at most.
const AGAIN: usize = 4;

impl Shape {
    /// Reads a valid module.
    #[must_use]
    pub(super) fn new(module: &Module, wasm: &[u8]) -> Self {
        let mut shape = Self::default();
        let imported = module
            .imports()
            .filter(|import| matches!(import.ty(), ExternType::Func(_)))
            .count();
        for payload in Parser::new(0).parse_all(wasm).filter_map(Result::ok) {
            let Payload::ExportSection(exports) = payload else {
                continue;
            };
            for export in exports.into_iter().filter_map(Result::ok) {
                shape.exports.push(export.name.to_owned());
                if export.kind == ExternalKind::Func {
                    shape.functions.push((export.name.to_owned(), export.index));
                }
            }
        }
        for (name, index) in &shape.functions {
            let Some(ExternType::Func(ty)) = module.get_export(name) else {
                continue;
            };
            if (*index as usize) < imported || shape.entries.len() == ENTRIES {
                continue;
            }
            if ty.params().len() == 0 && shape.again.len() < AGAIN {
                shape.again.push(name.clone());
            }
            shape.entries.push(Entry {
                export: name.clone(),
                parameters: ty.params().collect(),
            });
        }
        shape
    }
}

impl Entry {
    /// Arguments that depend on the entry's name and parameters alone.
    ///
    /// # Errors
    /// The store cannot hold another host reference.
    pub(super) fn arguments(&self, store: &mut Store) -> Result<Vec<Val>> {
        let mut hasher = DefaultHasher::new();
        hasher.write(self.export.as_bytes());
        let mut arguments = Vec::new();
        for ty in &self.parameters {
            hasher.write_u8(1);
            let bits = hasher.finish();
            // Small numbers reach more of a program than large ones.
            let bits = if bits & 3 == 0 { bits } else { bits >> 8 & 0xf };
            arguments.push(match ty {
                ValType::I32 => Val::I32(bits as i32),
                ValType::I64 => Val::I64(bits as i64),
                ValType::F32 => Val::F32((bits as i32 as f32).to_bits()),
                ValType::F64 => Val::F64((bits as i32 as f64).to_bits()),
                ValType::V128 => Val::V128(V128::from(u128::from(bits) << 32 | 0x55)),
                ValType::Ref(ty) if ty.heap_type().is_extern() && bits & 1 == 0 => {
                    Val::ExternRef(Some(ExternRef::new(&mut *store, bits as u32)?))
                }
                ValType::Ref(ty) => Val::null_ref(ty.heap_type()),
            });
        }
        Ok(arguments)
    }
}
