//! Where everything of a frozen module stands: decided once, before anything is written.
//!
//! ```text
//! functions: imports that stay | WASI imports that are added | 8 functions of the contract | the module's own |
//!            those that are added
//! ```

use wasm_encoder::ValType;
use wasm_migrate_abi::{
    LOAD_CALLEE, LOAD_FRAME, LOAD_I32, LOAD_I64, POLL, SAVE_FRAME, SAVE_I32, SAVE_I64,
};

use super::FreezeError;
use super::files::FilePlan;
use super::survey::{Survey, WASI_MODULE};

/// Parameters and results of a function.
pub(super) type Signature = (&'static [ValType], &'static [ValType]);

/// The contract's functions, in the order in which they are defined.
pub(super) const CONTRACT: [(&str, Signature); 8] = {
    use ValType::{I32, I64};
    [
        (POLL, (&[I32], &[I32])),
        (SAVE_I32, (&[I32], &[])),
        (SAVE_I64, (&[I64], &[])),
        (SAVE_FRAME, (&[I32, I32], &[])),
        (LOAD_FRAME, (&[I32], &[I32])),
        (LOAD_I32, (&[], &[I32])),
        (LOAD_I64, (&[], &[I64])),
        (LOAD_CALLEE, (&[], &[I32])),
    ]
};

/// Indices of functions in the frozen module.
pub(super) struct Layout {
    /// By import of the migratized module.
    imported: Vec<u32>,
    /// WASI functions that are imported in addition.
    pub(super) added_imports: Vec<&'static str>,
    wasi: Vec<(&'static str, u32)>,
    /// Imports of the frozen module.
    imports: u32,
    /// Functions that the migratized module defines.
    defined: u32,
}

impl Layout {
    pub(super) fn new(survey: &Survey<'_>, files: Option<&FilePlan>) -> Result<Self, FreezeError> {
        let stays = |module: &str, name: &str| {
            survey
                .imports
                .iter()
                .filter(|import| !import.is_of_contract())
                .position(|import| import.module == module && import.name == name)
        };
        let kept = survey
            .imports
            .iter()
            .filter(|import| !import.is_of_contract())
            .count();
        let mut added_imports = Vec::new();
        let mut wasi = Vec::new();
        for name in files.map_or(&[][..], FilePlan::wasi_functions) {
            let index = stays(WASI_MODULE, name).unwrap_or_else(|| {
                added_imports.push(*name);
                kept + added_imports.len() - 1
            });
            wasi.push((*name, count32(index)));
        }
        let imports = count32(kept + added_imports.len());
        let mut next_kept = 0..;
        let mut imported = Vec::with_capacity(survey.imports.len());
        for import in &survey.imports {
            imported.push(if import.is_of_contract() {
                let place = CONTRACT.iter().position(|(name, _)| *name == import.name);
                let place = place.ok_or_else(|| {
                    FreezeError::Altered(format!("contract with a function `{}`", import.name))
                })?;
                imports + count32(place)
            } else {
                next_kept.next().expect("there is no end")
            });
        }
        let defined = count32(survey.function_types.len() - survey.imports.len());
        Ok(Self {
            imported,
            added_imports,
            wasi,
            imports,
            defined,
        })
    }

    /// New index of a function of the migratized module.
    pub(super) fn function(&self, old: u32) -> u32 {
        match self.imported.get(old as usize) {
            Some(&new) => new,
            None => old - count32(self.imported.len()) + self.imports + count32(CONTRACT.len()),
        }
    }

    /// Index of the first function that is added behind all others.
    pub(super) fn first_added(&self) -> u32 {
        self.imports + count32(CONTRACT.len()) + self.defined
    }

    /// Index of a WASI function that the plan for files asked for.
    pub(super) fn wasi(&self, name: &str) -> u32 {
        let found = self.wasi.iter().find(|(wanted, _)| *wanted == name);
        found.expect("the plan named it").1
    }
}

/// Counts of what is in a module fit in `u32`.
pub(super) fn count32(count: usize) -> u32 {
    u32::try_from(count).expect("counts of a module's parts fit in u32")
}
