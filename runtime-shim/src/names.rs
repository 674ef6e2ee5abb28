//! What a migratized module says about itself: its description, and the names that it gives to functions, locals and
//! globals.

use std::collections::HashMap;

use wasm_migrate_abi::{DESCRIPTION_SECTION, Description, MODULE};
use wasmparser::{KnownCustom, Name, Parser, Payload, TypeRef};

use crate::engine::wasmtime::Error;

/// Names in a module's name section, by index in the original module.
#[derive(Debug, Clone, Default)]
pub struct Names {
    functions: HashMap<u32, String>,
    /// By function and local.
    locals: HashMap<u32, HashMap<u32, String>>,
    globals: HashMap<u32, String>,
}

impl Names {
    /// Name of a function, if the module's name section has one.
    #[must_use]
    pub fn function(&self, index: u32) -> Option<&str> {
        self.functions.get(&index).map(String::as_str)
    }

    /// Name of a function's parameter or local, if the name section has one.
    #[must_use]
    pub fn local(&self, function: u32, local: u32) -> Option<&str> {
        let locals = self.locals.get(&function)?;
        locals.get(&local).map(String::as_str)
    }

    /// Name of a global, if the name section has one.
    #[must_use]
    pub fn global(&self, index: u32) -> Option<&str> {
        self.globals.get(&index).map(String::as_str)
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
    let mut names = Names::default();
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
                    names = read_names(section);
                }
            }
            _ => {}
        }
    }
    let description = description.ok_or(Error::NotMigratized)?;
    added.helpers(&names.functions);
    // Locals and globals that were added stand behind the original's.
    let Names {
        functions,
        locals,
        globals,
    } = names;
    // Without names of functions it is not known which were added, and so not whose the locals are.
    let locals = match functions.is_empty() {
        true => HashMap::new(),
        false => added.by_original_index(locals),
    };
    let names = Names {
        functions: added.by_original_index(functions),
        locals,
        globals,
    };
    Ok((description, names))
}

/// Names are a help, not a contract: what cannot be read is left out.
fn read_names(section: wasmparser::NameSectionReader<'_>) -> Names {
    let mut names = Names::default();
    for subsection in section {
        match subsection {
            Ok(Name::Function(map)) => names.functions.extend(name_map(map)),
            Ok(Name::Global(map)) => names.globals.extend(name_map(map)),
            Ok(Name::Local(functions)) => {
                let functions = functions.into_iter().flatten();
                let locals = functions.map(|function| (function.index, name_map(function.names)));
                let locals = locals.map(|(function, locals)| (function, locals.collect()));
                names.locals.extend(locals);
            }
            _ => {}
        }
    }
    names
}

fn name_map(map: wasmparser::NameMap<'_>) -> impl Iterator<Item = (u32, String)> {
    let names = map.into_iter().flatten();
    names.map(|name| (name.index, name.name.to_owned()))
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

    /// The same by the original's indices, without what belongs to added functions.
    fn by_original_index<T>(&self, items: HashMap<u32, T>) -> HashMap<u32, T> {
        let items = items.into_iter();
        items
            .filter_map(|(index, item)| Some((self.original_index(index)?, item)))
            .collect()
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
