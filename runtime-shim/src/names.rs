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
    let mut added = AddedFunctions::default();
    let mut names = HashMap::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(Error::NotWasm)? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import.map_err(Error::NotWasm)?;
                    if matches!(import.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)) {
                        added.import(import.module == MODULE);
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
    added.helpers(&names);
    let original = |(index, name)| Some((added.original_index(index)?, name));
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

/// Functions that migratizing added, among all functions.
#[derive(Default)]
struct AddedFunctions {
    imports: u32,
    /// Ascending.
    added: Vec<u32>,
}

impl AddedFunctions {
    fn import(&mut self, is_added: bool) {
        if is_added {
            self.added.push(self.imports);
        }
        self.imports += 1;
    }

    /// Where there are names at all, the helpers have theirs.
    fn helpers(&mut self, names: &HashMap<u32, String>) {
        let is_helper = |name: &str| {
            let rest = name.strip_prefix(MODULE);
            rest.is_some_and(|rest| rest.starts_with('.'))
        };
        let helpers = names.iter().filter(|(_, name)| is_helper(name));
        self.added.extend(helpers.map(|(index, _)| *index));
        self.added.sort_unstable();
    }

    /// The original's index of a function, which all added ones before it have shifted.
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
    use super::AddedFunctions;

    #[test]
    fn added_functions_do_not_shift_original_indices() {
        let mut added = AddedFunctions::default();
        for is_added in [false, false, true, true, false] {
            added.import(is_added);
        }
        let names = [(5, "wasm_migrate.poll"), (7, "wasm_migrated"), (8, "main")];
        added.helpers(&names.map(|(index, name)| (index, name.to_owned())).into());
        let originals: Vec<_> = (0..9).map(|index| added.original_index(index)).collect();
        assert_eq!(
            originals,
            [
                Some(0),
                Some(1),
                None,
                None,
                Some(2),
                None,
                Some(3),
                Some(4),
                Some(5)
            ]
        );
    }
}
