//! Reading: from bytes to [`Module`], the input's sections, checked, with its functions not decoded yet.

use wasm_migrate_abi as abi;
use wasm_migrate_abi::ValueType;
use wasmparser::{
    CompositeInnerType, Export, FuncToValidate, FunctionBody, GlobalType, KnownCustom, MemoryType,
    Parser, Payload, TableType, TypeRef, ValidPayload, Validator, ValidatorResources,
};

use crate::error::{Error, FunctionName, Place};
use crate::features;

/// A function type whose parameters and results can be saved.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Signature {
    pub(crate) params: Vec<ValueType>,
    pub(crate) results: Vec<ValueType>,
}

/// An imported function.
#[derive(Debug)]
pub(crate) struct FunctionImport<'a> {
    pub(crate) module: &'a str,
    pub(crate) name: &'a str,
}

/// The input. Index spaces are complete: imported entities come first.
#[derive(Default)]
pub(crate) struct Module<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) types: Vec<Signature>,
    pub(crate) function_imports: Vec<FunctionImport<'a>>,
    /// Type index of every function.
    pub(crate) function_types: Vec<u32>,
    pub(crate) tables: Vec<TableType>,
    pub(crate) imported_tables: u32,
    pub(crate) memories: Vec<MemoryType>,
    pub(crate) globals: Vec<GlobalType>,
    pub(crate) exports: Vec<Export<'a>>,
    pub(crate) start: Option<u32>,
    pub(crate) element_segments: u32,
    pub(crate) data_segments: u32,
    /// Functions named by element segments, global initialisers and table initialisers.
    pub(crate) constant_function_refs: Vec<u32>,
    /// Some segment or initialiser needs reference types (Wasm 2.0).
    pub(crate) constants_use_references: bool,
    /// Bodies of the defined functions, with what validates them.
    pub(crate) bodies: Vec<Body<'a>>,
    /// Names of functions by index, ascending, from the name section.
    pub(crate) function_names: Vec<(u32, &'a str)>,
    pub(crate) has_name_section: bool,
}

/// A function body that has not been decoded.
pub(crate) struct Body<'a> {
    pub(crate) validate: FuncToValidate<ValidatorResources>,
    pub(crate) body: FunctionBody<'a>,
}

impl<'a> Module<'a> {
    /// Reads and checks all sections but the function bodies.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut module = Module {
            bytes,
            ..Module::default()
        };
        let mut validator = Validator::new_with_features(features::input_features());
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload?;
            refuse_component(&payload)?;
            if let ValidPayload::Func(validate, body) = validator.payload(&payload)? {
                module.bodies.push(Body { validate, body });
            }
            module.read(payload)?;
        }
        Ok(module)
    }

    pub(crate) fn signature(&self, function: u32) -> &Signature {
        &self.types[self.function_types[function as usize] as usize]
    }

    pub(crate) fn imported_functions(&self) -> u32 {
        u32::try_from(self.function_imports.len()).expect("validated counts fit in u32")
    }

    pub(crate) fn name_of(&self, function: u32) -> FunctionName {
        let found = self
            .function_names
            .binary_search_by_key(&function, |(index, _)| *index);
        FunctionName {
            index: function,
            name: found.ok().map(|at| self.function_names[at].1.to_owned()),
        }
    }

    fn read(&mut self, payload: Payload<'a>) -> Result<(), Error> {
        match payload {
            Payload::TypeSection(section) => self.read_types(section),
            Payload::ImportSection(section) => {
                for import in section.into_imports_with_offsets() {
                    let (offset, import) = import?;
                    self.read_import(position(offset), &import)?;
                }
                Ok(())
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    self.function_types.push(ty?);
                }
                Ok(())
            }
            Payload::TableSection(section) => {
                for table in section.into_iter_with_offsets() {
                    let (offset, table) = table?;
                    self.add_table(position(offset), table.ty)?;
                    if let wasmparser::TableInit::Expr(expression) = &table.init {
                        self.constants_use_references = true;
                        self.note_function_refs(expression)?;
                    }
                }
                Ok(())
            }
            Payload::MemorySection(section) => {
                for memory in section.into_iter_with_offsets() {
                    let (offset, memory) = memory?;
                    self.add_memory(position(offset), memory)?;
                }
                Ok(())
            }
            Payload::GlobalSection(section) => {
                for global in section.into_iter_with_offsets() {
                    let (offset, global) = global?;
                    self.add_global(position(offset), global.ty)?;
                    self.note_function_refs(&global.init_expr)?;
                }
                Ok(())
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.name.starts_with("wasm_migrate.") {
                        return Err(Error::AlreadyMigratized(format!(
                            "an export `{}`",
                            export.name
                        )));
                    }
                    self.exports.push(export);
                }
                Ok(())
            }
            Payload::StartSection { func, .. } => {
                self.start = Some(func);
                Ok(())
            }
            Payload::ElementSection(section) => self.read_elements(section),
            Payload::DataSection(section) => {
                self.data_segments = section.count();
                Ok(())
            }
            Payload::TagSection(section) => {
                let offset = position(section.range().start);
                Err(unsupported("exceptions (tag section)", None, offset))
            }
            Payload::CustomSection(section) => self.read_custom(&section),
            _ => Ok(()),
        }
    }

    fn read_types(&mut self, section: wasmparser::TypeSectionReader<'a>) -> Result<(), Error> {
        for group in section.into_iter_with_offsets() {
            let (offset, group) = group?;
            let offset = position(offset);
            if group.is_explicit_rec_group() {
                return Err(unsupported("GC types (recursive type group)", None, offset));
            }
            for ty in group.into_types() {
                let CompositeInnerType::Func(function) = &ty.composite_type.inner else {
                    let construct = match ty.composite_type.inner {
                        CompositeInnerType::Cont(_) => "stack switching (continuation type)",
                        CompositeInnerType::Array(_) => "GC types (array type)",
                        _ => "GC types (struct type)",
                    };
                    return Err(unsupported(construct, None, offset));
                };
                if !ty.is_final || !ty.supertype_idxs.is_empty() {
                    return Err(unsupported("GC types (subtyping)", None, offset));
                }
                let convert = |types: &[wasmparser::ValType]| {
                    types
                        .iter()
                        .map(|&ty| features::value_type(ty))
                        .collect::<Result<Vec<_>, _>>()
                        .map_err(|construct| unsupported(construct, None, offset))
                };
                self.types.push(Signature {
                    params: convert(function.params())?,
                    results: convert(function.results())?,
                });
            }
        }
        Ok(())
    }

    fn read_import(&mut self, offset: usize, import: &wasmparser::Import<'a>) -> Result<(), Error> {
        if import.module == abi::MODULE {
            return Err(Error::AlreadyMigratized(format!(
                "an import `{}.{}`",
                import.module, import.name
            )));
        }
        match import.ty {
            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                self.function_imports.push(FunctionImport {
                    module: import.module,
                    name: import.name,
                });
                self.function_types.push(ty);
                Ok(())
            }
            TypeRef::Table(ty) => {
                self.imported_tables += 1;
                self.add_table(offset, ty)
            }
            TypeRef::Memory(ty) => self.add_memory(offset, ty),
            TypeRef::Global(ty) => self.add_global(offset, ty),
            TypeRef::Tag(_) => Err(unsupported("exceptions (imported tag)", None, offset)),
        }
    }

    fn add_table(&mut self, offset: usize, ty: TableType) -> Result<(), Error> {
        features::value_type(wasmparser::ValType::Ref(ty.element_type))
            .map_err(|construct| unsupported(construct, None, offset))?;
        self.tables.push(ty);
        Ok(())
    }

    fn add_memory(&mut self, offset: usize, ty: MemoryType) -> Result<(), Error> {
        if ty.shared {
            return Err(unsupported("shared memory", None, offset));
        }
        if ty.page_size_log2.is_some() {
            return Err(unsupported("custom page sizes", None, offset));
        }
        self.memories.push(ty);
        Ok(())
    }

    fn add_global(&mut self, offset: usize, ty: GlobalType) -> Result<(), Error> {
        features::value_type(ty.content_type)
            .map_err(|construct| unsupported(construct, None, offset))?;
        self.globals.push(ty);
        Ok(())
    }

    fn read_elements(
        &mut self,
        section: wasmparser::ElementSectionReader<'a>,
    ) -> Result<(), Error> {
        self.element_segments = section.count();
        for element in section {
            let element = element?;
            let only_in_reference_types = !matches!(
                element.kind,
                wasmparser::ElementKind::Active {
                    table_index: None | Some(0),
                    ..
                }
            );
            self.constants_use_references |= only_in_reference_types;
            match element.items {
                wasmparser::ElementItems::Functions(functions) => {
                    for function in functions {
                        self.constant_function_refs.push(function?);
                    }
                }
                wasmparser::ElementItems::Expressions(_, expressions) => {
                    self.constants_use_references = true;
                    for expression in expressions {
                        self.note_function_refs(&expression?)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn note_function_refs(&mut self, expression: &wasmparser::ConstExpr<'_>) -> Result<(), Error> {
        for item in expression.get_operators_reader().into_iter_with_offsets() {
            let (operator, offset) = item?;
            if let Some(construct) = features::unsupported_operator(&operator) {
                return Err(unsupported(construct, None, position(offset)));
            }
            if let wasmparser::Operator::RefFunc { function_index } = operator {
                self.constant_function_refs.push(function_index);
            }
        }
        Ok(())
    }

    fn read_custom(&mut self, section: &wasmparser::CustomSectionReader<'a>) -> Result<(), Error> {
        if section.name() == abi::DESCRIPTION_SECTION {
            return Err(Error::AlreadyMigratized(format!(
                "a custom section `{}`",
                abi::DESCRIPTION_SECTION
            )));
        }
        if section.name() == "linking" || section.name().starts_with("reloc.") {
            let offset = position(section.range().start);
            let construct = "a relocatable object file (run this tool after the linker)";
            return Err(unsupported(construct, None, offset));
        }
        if let KnownCustom::Name(names) = section.as_known() {
            self.has_name_section = true;
            // A damaged name section must not stop the rewrite: names are only for people.
            for subsection in names.into_iter().map_while(Result::ok) {
                if let wasmparser::Name::Function(map) = subsection {
                    let names = map.into_iter().map_while(Result::ok);
                    self.function_names
                        .extend(names.map(|naming| (naming.index, naming.name)));
                }
            }
            self.function_names.sort_by_key(|(index, _)| *index);
        }
        Ok(())
    }
}

/// Positions in a module that fits in memory fit in `usize`.
pub(crate) fn position(offset: u64) -> usize {
    usize::try_from(offset).expect("the module is in memory")
}

pub(crate) fn unsupported(
    construct: impl Into<String>,
    function: Option<FunctionName>,
    offset: usize,
) -> Error {
    Error::Unsupported {
        construct: construct.into(),
        place: Place { function, offset },
    }
}

fn refuse_component(payload: &Payload<'_>) -> Result<(), Error> {
    if let Payload::Version {
        encoding: wasmparser::Encoding::Component,
        range,
        ..
    } = payload
    {
        let construct = "a component (extract its core modules and migratize those)";
        return Err(unsupported(construct, None, position(range.start)));
    }
    Ok(())
}
