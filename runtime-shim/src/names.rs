//! What a migratized module says about itself: its description, and the names of its functions.

use std::collections::HashMap;

use wasm_migrate_abi::{DESCRIPTION_SECTION, Description, MODULE};
use wasmparser::{KnownCustom, Name, Parser, Payload, TypeRef};

use crate::engine::wasmtime::Error;

/// Names of a module's functions, by index in the original module.
#[derive(Debug, Clone, Default)]
pub struct Names {
    functions: HashMap<u32, String>,
}

impl Names {
    /// Name of a function, if the module's name section has one.
    #[must_use]
    pub fn function(&self, index: u32) -> Option<&str> {
        self.functions.get(&index).map(String::as_str)
    }
}

/// Reads a migratized module's description and names without compiling the module.
///
/// # Errors
/// The bytes are not a module, or the module is not migratized or for another version of the contract.
pub fn read_description(wasm: &[u8]) -> Result<(Description, Names), Error> {
    if !wasm.starts_with(b"\0asm") {
        return Err(Error::NotBinary);
    }
    let mut description = None;
    let mut added_imports = AddedImports::default();
    let mut names = HashMap::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(Error::NotWasm)? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import.map_err(Error::NotWasm)?;
                    if matches!(import.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)) {
                        added_imports.note(import.module == MODULE);
                    }
                }
            }
            Payload::CustomSection(section) if section.name() == DESCRIPTION_SECTION => {
                description =
                    Some(Description::decode(section.data()).map_err(Error::Description)?);
            }
            Payload::CustomSection(section) => {
                if let KnownCustom::Name(section) = section.as_known() {
                    names = function_names(section);
                }
            }
            _ => {}
        }
    }
    let description = description.ok_or(Error::NotMigratized)?;
    let original = |(index, name)| Some((added_imports.original_index(index)?, name));
    Ok((
        description,
        Names {
            functions: names.into_iter().filter_map(original).collect(),
        },
    ))
}

/// Names are a help, not a contract: what cannot be read is left out.
fn function_names(section: wasmparser::NameSectionReader<'_>) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for subsection in section {
        if let Ok(Name::Function(map)) = subsection {
            names.extend(
                map.into_iter()
                    .flatten()
                    .map(|name| (name.index, name.name.to_owned())),
            );
        }
    }
    names
}

/// Where the imports that migratizing added stand among the function imports.
#[derive(Default)]
struct AddedImports {
    imports: u32,
    added: Vec<u32>,
}

impl AddedImports {
    fn note(&mut self, is_added: bool) {
        if is_added {
            self.added.push(self.imports);
        }
        self.imports += 1;
    }

    /// The original's index of a function, which all added imports before it have shifted.
    fn original_index(&self, index: u32) -> Option<u32> {
        let before = self.added.partition_point(|added| *added < index);
        match self.added.get(before) {
            Some(added) if *added == index => None,
            _ => index.checked_sub(u32::try_from(before).ok()?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::AddedImports;

    #[test]
    fn added_imports_do_not_shift_original_indices() {
        let mut imports = AddedImports::default();
        for is_added in [false, false, true, true, false] {
            imports.note(is_added);
        }
        let originals: Vec<_> = (0..7).map(|index| imports.original_index(index)).collect();
        assert_eq!(
            originals,
            [Some(0), Some(1), None, None, Some(2), Some(3), Some(4)]
        );
    }
}
