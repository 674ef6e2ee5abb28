//! What a migratized module has, as far as freezing needs to know it. Looks only.

use std::collections::BTreeMap;

use wasm_migrate_abi::{Description, FUNCTIONS, MODULE};
use wasmparser::{
    ElementItems, ElementKind, ExternalKind, FuncType, MemoryType, Parser, Payload, TableType,
    TypeRef,
};

use super::{Entry, FreezeError, is_called_by_hosts};
use crate::error::ResumeError;
use crate::state::State;

/// Module name of the functions that every WASI host has.
pub(super) const WASI_MODULE: &str = "wasi_snapshot_preview1";

/// Counts, types and names of a module. All indices are the migratized module's.
#[derive(Default)]
pub(super) struct Survey<'a> {
    /// `None` for what is no function type.
    pub(super) types: Vec<Option<FuncType>>,
    pub(super) imports: Vec<ImportedFunction<'a>>,
    /// Type of each function, imports first.
    pub(super) function_types: Vec<u32>,
    pub(super) memories: Vec<MemoryType>,
    pub(super) tables: Vec<TableType>,
    pub(super) globals: u32,
    pub(super) data_segments: u32,
    pub(super) has_data_count: bool,
    exports: BTreeMap<&'a str, (ExternalKind, u32)>,
    /// Functions of the table that identifies references, by place.
    identified: Vec<u32>,
}

/// An imported function.
pub(super) struct ImportedFunction<'a> {
    pub(super) module: &'a str,
    pub(super) name: &'a str,
}

impl ImportedFunction<'_> {
    /// Is it one of those that migratizing added?
    pub(super) fn is_of_contract(&self) -> bool {
        self.module == MODULE
    }
}

impl<'a> Survey<'a> {
    pub(super) fn read(wasm: &'a [u8]) -> Result<Self, FreezeError> {
        let mut survey = Self::default();
        let mut elements = None;
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::TypeSection(section) => {
                    for group in section {
                        let types = group?.into_types().map(|ty| match ty.composite_type.inner {
                            wasmparser::CompositeInnerType::Func(ty) => Some(ty),
                            _ => None,
                        });
                        survey.types.extend(types);
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        survey.import(&import?)?;
                    }
                }
                Payload::FunctionSection(section) => {
                    for ty in section {
                        survey.function_types.push(ty?);
                    }
                }
                Payload::MemorySection(section) => {
                    for memory in section {
                        survey.memories.push(memory?);
                    }
                }
                Payload::TableSection(section) => {
                    for table in section {
                        survey.tables.push(table?.ty);
                    }
                }
                Payload::GlobalSection(section) => survey.globals = section.count(),
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        survey
                            .exports
                            .insert(export.name, (export.kind, export.index));
                    }
                }
                Payload::ElementSection(section) => elements = Some(section),
                Payload::DataCountSection { .. } => survey.has_data_count = true,
                Payload::DataSection(section) => survey.data_segments = section.count(),
                _ => {}
            }
        }
        if let (Some(section), Some(table)) =
            (elements, survey.export(ExternalKind::Table, FUNCTIONS))
        {
            survey.identify(section, table)?;
        }
        Ok(survey)
    }

    fn import(&mut self, import: &wasmparser::Import<'a>) -> Result<(), FreezeError> {
        let refused = |kind| {
            Err(FreezeError::Import {
                kind,
                module: import.module.to_owned(),
                name: import.name.to_owned(),
            })
        };
        match import.ty {
            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                self.function_types.push(ty);
                self.imports.push(ImportedFunction {
                    module: import.module,
                    name: import.name,
                });
                Ok(())
            }
            TypeRef::Memory(_) => refused("the memory"),
            TypeRef::Table(_) => refused("the table"),
            TypeRef::Global(_) => refused("the global"),
            TypeRef::Tag(_) => refused("the tag"),
        }
    }

    /// Reads the contents of the table that identifies references.
    fn identify(
        &mut self,
        section: wasmparser::ElementSectionReader<'a>,
        table: u32,
    ) -> Result<(), FreezeError> {
        for element in section {
            let element = element?;
            let ElementKind::Active { table_index, .. } = element.kind else {
                continue;
            };
            if let (true, ElementItems::Functions(functions)) =
                (table_index.unwrap_or(0) == table, element.items)
            {
                self.identified = functions.into_iter().collect::<Result<_, _>>()?;
            }
        }
        Ok(())
    }

    /// Index of an export of this kind.
    pub(super) fn export(&self, kind: ExternalKind, name: &str) -> Option<u32> {
        let (found, index) = self.exports.get(name)?;
        (*found == kind).then_some(*index)
    }

    /// Index of an export that the contract demands.
    pub(super) fn required(&self, kind: ExternalKind, name: &str) -> Result<u32, FreezeError> {
        self.export(kind, name)
            .ok_or_else(|| FreezeError::Altered(format!("export `{name}`")))
    }

    /// The type of a function.
    pub(super) fn function_type(&self, function: u32) -> Option<&FuncType> {
        let ty = *self.function_types.get(function as usize)?;
        self.types.get(ty as usize)?.as_ref()
    }

    /// Functions that references can name: by index in the original, the index in the module.
    pub(super) fn functions_by_original(&self, description: &Description) -> BTreeMap<u32, u32> {
        let originals = description.function_refs.iter().copied();
        originals.zip(self.identified.iter().copied()).collect()
    }

    /// What the frozen module calls, and the name under which it is called itself.
    pub(super) fn entry(&self, resumed: &str, then: &[String]) -> Result<Entry, FreezeError> {
        let name = then.last().map_or(resumed, String::as_str).to_owned();
        let function = |name: &str| {
            let found = self.export(ExternalKind::Func, name);
            found.ok_or_else(|| FreezeError::Entry {
                name: name.to_owned(),
                reason: "is not exported by the module",
            })
        };
        let resumed = function(resumed)?;
        let then_called = then.iter().map(|name| {
            let index = function(name)?;
            let ty = self.function_type(index);
            if ty.is_none_or(|ty| !ty.params().is_empty()) {
                return Err(FreezeError::Entry {
                    name: name.clone(),
                    reason: "is called after the function on the stack and takes arguments: stop the guest later",
                });
            }
            Ok(index)
        });
        let then = then_called.collect::<Result<_, _>>()?;
        Ok(Entry {
            name,
            resumed,
            then,
        })
    }

    /// Can the memories and tables have the sizes that they had?
    pub(super) fn check_sizes(
        &self,
        description: &Description,
        state: &State,
    ) -> Result<(), FreezeError> {
        let unfit = |what: String| Err(ResumeError::Unfit(what).into());
        // The state has as many as the description says, but the module may have been altered.
        let (found, expected) = (state.memories.len(), self.memories.len());
        if found != expected {
            return unfit(format!("it has {found} memories, the module {expected}"));
        }
        for (index, contents) in state.memories.iter().enumerate() {
            let ty = &self.memories[index];
            let page_bytes = 1 << ty.page_size_log2.unwrap_or(16);
            if !contents.is_consistent() || contents.size.page_bytes != page_bytes {
                return unfit(format!("memory {index} is of another kind"));
            }
            if ty
                .maximum
                .is_some_and(|maximum| contents.size.pages > maximum)
            {
                return unfit(format!("memory {index} is larger than it may be"));
            }
        }
        for (table, contents) in description.tables.iter().zip(&state.tables) {
            let Some(ty) = self.tables.get(table.index as usize) else {
                return Err(FreezeError::Altered(format!("table {}", table.index)));
            };
            if ty.maximum.is_some_and(|maximum| contents.len() > maximum) {
                return unfit(format!("table {} is larger than it may be", table.index));
            }
        }
        Ok(())
    }

    /// Is this export left out of a frozen module?
    pub(super) fn is_left_out(&self, name: &str, entry: &Entry) -> bool {
        name == entry.name || name.starts_with(&format!("{MODULE}.")) || is_called_by_hosts(name)
    }

    /// Imported functions that are not WASI's.
    pub(super) fn foreign_imports(&self) -> Vec<String> {
        let foreign = |import: &&ImportedFunction<'_>| {
            !import.is_of_contract() && import.module != WASI_MODULE
        };
        let named = |import: &ImportedFunction<'_>| format!("{}.{}", import.module, import.name);
        self.imports.iter().filter(foreign).map(named).collect()
    }
}
