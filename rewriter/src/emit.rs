//! Writing the new module: the original's sections, in their order, with what rewriting adds.

use wasm_encoder::reencode::{self, Reencode, utils};
use wasm_encoder::{
    BranchHint, BranchHints, CodeSection, ConstExpr, CustomSection, ElementSection, Elements,
    EntityType, ExportKind, ExportSection, Function, FunctionSection, GlobalSection, GlobalType,
    ImportSection, RawSection, RefType, SectionId, TableSection, TableType, TypeSection, ValType,
};
use wasm_migrate_abi::{self as abi, Description, ValueType};
use wasmparser::{ExternalKind, KnownCustom, Parser, Payload};

use crate::encode;
use crate::error::Error;
use crate::features;
use crate::instrument::added_functions;
use crate::module::{Module, Signature};
use crate::names;
use crate::options::Optimize;
use crate::pipeline::Rewritten;
use crate::plan::{ABI_IMPORTS, Plan, count32};

/// Custom sections whose contents are offsets into the original code, by prefix, with what they are.
const OFFSET_SECTIONS: [(&str, &str); 4] = [
    (".debug_", "DWARF debug information"),
    ("sourceMappingURL", "the reference to a source map"),
    (
        "external_debug_info",
        "the reference to external debug information",
    ),
    ("metadata.code.", "code metadata (such as branch hints)"),
];

/// Sections that every output has, in the order that the binary format asks for.
const REQUIRED: [SectionId; 8] = [
    SectionId::Type,
    SectionId::Import,
    SectionId::Function,
    SectionId::Table,
    SectionId::Global,
    SectionId::Export,
    SectionId::Element,
    SectionId::Code,
];

/// Writes the module; returns it with warnings about what could not be kept.
pub(crate) fn emit(
    module: &Module<'_>,
    plan: &Plan,
    functions: Vec<Rewritten>,
    description: &Description,
) -> Result<(Vec<u8>, Vec<String>), Error> {
    let mut emission = Emission {
        module,
        plan,
        functions,
        added: added_functions(module, plan),
        output: wasm_encoder::Module::new(),
        written: 0,
        has_producers: false,
        dropped: Default::default(),
        warnings: Vec::new(),
    };
    for payload in Parser::new(0).parse_all(module.bytes) {
        emission.section(payload?)?;
    }
    emission.write_required_before(None)?;
    if !emission.has_producers {
        emission.output.section(&names::producers(None));
    }
    let data = description.encode();
    let name = abi::DESCRIPTION_SECTION.into();
    emission.output.section(&CustomSection {
        name,
        data: data.into(),
    });
    emission.warn_of_dropped();
    Ok((emission.output.finish(), emission.warnings))
}

struct Emission<'e, 'a> {
    module: &'e Module<'a>,
    plan: &'e Plan,
    functions: Vec<Rewritten>,
    added: Vec<(Signature, Function)>,
    output: wasm_encoder::Module,
    /// How many of [`REQUIRED`] have been dealt with.
    written: usize,
    has_producers: bool,
    /// Names of the sections that were dropped, by index in [`OFFSET_SECTIONS`].
    dropped: [Vec<&'a str>; OFFSET_SECTIONS.len()],
    warnings: Vec<String>,
}

impl<'a> Emission<'_, 'a> {
    fn section(&mut self, payload: Payload<'a>) -> Result<(), Error> {
        match &payload {
            Payload::CustomSection(section) => {
                self.custom(section);
                return Ok(());
            }
            // The host runs the start function, so that it can leave it out before a resume.
            Payload::StartSection { .. } => return Ok(()),
            Payload::CodeSectionStart { .. } => {
                self.write_required_before(Some(SectionId::Code))?;
                self.code();
                return Ok(());
            }
            Payload::CodeSectionEntry(_) => return Ok(()),
            _ => {}
        }
        let Some((id, range)) = payload.as_section() else {
            return Ok(());
        };
        let Some(section) = section_id(id) else {
            return Ok(());
        };
        self.write_required_before(Some(section))?;
        match payload {
            Payload::TypeSection(section) => self.types(Some(section)),
            Payload::ImportSection(section) => self.imports(Some(section)),
            Payload::FunctionSection(section) => self.function_types(Some(section)),
            Payload::TableSection(section) => self.tables(Some(section)),
            Payload::GlobalSection(section) => self.globals(Some(section)),
            Payload::ExportSection(section) => self.exports(Some(section)),
            Payload::ElementSection(section) => self.elements(Some(section)),
            _ => {
                let range =
                    crate::module::position(range.start)..crate::module::position(range.end);
                let data = &self.module.bytes[range];
                self.output.section(&RawSection { id, data });
                Ok(())
            }
        }
    }

    /// Writes the required sections that the original does not have and that come before this one.
    fn write_required_before(&mut self, next: Option<SectionId>) -> Result<(), Error> {
        while let Some(&required) = REQUIRED.get(self.written) {
            if next.is_some_and(|next| order(required) > order(next)) {
                break;
            }
            self.written += 1;
            if next == Some(required) {
                break;
            }
            match required {
                SectionId::Type => self.types(None)?,
                SectionId::Import => self.imports(None)?,
                SectionId::Function => self.function_types(None)?,
                SectionId::Table => self.tables(None)?,
                SectionId::Global => self.globals(None)?,
                SectionId::Export => self.exports(None)?,
                SectionId::Element => self.elements(None)?,
                _ => self.code(),
            }
        }
        Ok(())
    }

    fn types(&mut self, section: Option<wasmparser::TypeSectionReader<'a>>) -> Result<(), Error> {
        let mut types = TypeSection::new();
        if let Some(section) = section {
            utils::parse_type_section(&mut Renumber(self.plan), &mut types, section)
                .map_err(|error| broken(&error))?;
        }
        for signature in &self.plan.types {
            let convert = |types: &[ValueType]| -> Vec<ValType> {
                types.iter().map(|&ty| encode::value_type(ty)).collect()
            };
            types
                .ty()
                .function(convert(&signature.params), convert(&signature.results));
        }
        self.output.section(&types);
        Ok(())
    }

    fn imports(
        &mut self,
        section: Option<wasmparser::ImportSectionReader<'a>>,
    ) -> Result<(), Error> {
        let mut imports = ImportSection::new();
        if let Some(section) = section {
            utils::parse_import_section(&mut Renumber(self.plan), &mut imports, section)
                .map_err(|error| broken(&error))?;
        }
        for (name, params, results) in ABI_IMPORTS {
            let ty = EntityType::Function(self.plan.type_index(params, results));
            imports.import(abi::MODULE, name, ty);
        }
        self.output.section(&imports);
        Ok(())
    }

    fn function_types(
        &mut self,
        section: Option<wasmparser::FunctionSectionReader<'a>>,
    ) -> Result<(), Error> {
        let mut functions = FunctionSection::new();
        for (signature, _) in &self.added {
            functions.function(self.plan.type_index(&signature.params, &signature.results));
        }
        for ty in section.into_iter().flatten() {
            functions.function(ty?);
        }
        self.output.section(&functions);
        Ok(())
    }

    fn tables(&mut self, section: Option<wasmparser::TableSectionReader<'a>>) -> Result<(), Error> {
        let mut tables = TableSection::new();
        if let Some(section) = section {
            utils::parse_table_section(&mut Renumber(self.plan), &mut tables, section)
                .map_err(|error| broken(&error))?;
        }
        let table = |minimum: usize, maximum: Option<usize>| TableType {
            element_type: RefType::FUNCREF,
            table64: false,
            minimum: minimum as u64,
            maximum: maximum.map(|maximum| maximum as u64),
            shared: false,
        };
        if self.plan.functions_table.is_some() {
            let count = self.plan.function_refs.len();
            tables.table(table(count, Some(count)));
        }
        if self.plan.references_table.is_some() {
            tables.table(table(0, None));
        }
        if !tables.is_empty() {
            self.output.section(&tables);
        }
        Ok(())
    }

    fn globals(
        &mut self,
        section: Option<wasmparser::GlobalSectionReader<'a>>,
    ) -> Result<(), Error> {
        let mut globals = GlobalSection::new();
        if let Some(section) = section {
            utils::parse_global_section(&mut Renumber(self.plan), &mut globals, section)
                .map_err(|error| broken(&error))?;
        }
        let ty = GlobalType {
            val_type: ValType::I32,
            mutable: true,
            shared: false,
        };
        for _ in 0..self.plan.globals.count() {
            globals.global(ty, &ConstExpr::i32_const(0));
        }
        let parked = self.functions.iter().map(|function| function.parked).max();
        for value_type in self.plan.globals.parking.types(parked.unwrap_or(0)) {
            let val_type = encode::value_type(value_type);
            let zero = encode::zero_expression(value_type);
            globals.global(GlobalType { val_type, ..ty }, &zero);
        }
        self.output.section(&globals);
        Ok(())
    }

    fn exports(
        &mut self,
        section: Option<wasmparser::ExportSectionReader<'a>>,
    ) -> Result<(), Error> {
        let mut exports = ExportSection::new();
        if let Some(section) = section {
            utils::parse_export_section(&mut Renumber(self.plan), &mut exports, section)
                .map_err(|error| broken(&error))?;
        }
        let (globals, helpers) = (&self.plan.globals, &self.plan.helpers);
        exports.export(abi::STATE, ExportKind::Global, globals.state);
        exports.export(abi::BUDGET, ExportKind::Global, globals.budget);
        exports.export(abi::DEPTH, ExportKind::Global, globals.depth);
        exports.export(abi::SAVE, ExportKind::Func, helpers.save_instance);
        exports.export(abi::LOAD, ExportKind::Func, helpers.load_instance);
        if let Some(start) = self.module.start {
            exports.export(abi::START, ExportKind::Func, self.plan.function(start));
        }
        for index in 0..count32(self.module.memories.len()) {
            exports.export(
                &format!("{}{index}", abi::MEMORY),
                ExportKind::Memory,
                index,
            );
        }
        for &index in &self.plan.captured_tables {
            exports.export(&format!("{}{index}", abi::TABLE), ExportKind::Table, index);
        }
        for (index, global) in (0..).zip(&self.module.globals) {
            let value_type = features::value_type(global.content_type);
            let is_reference = matches!(value_type, Ok(ValueType::FuncRef | ValueType::ExternRef));
            if global.mutable && is_reference {
                exports.export(
                    &format!("{}{index}", abi::GLOBAL),
                    ExportKind::Global,
                    index,
                );
            }
        }
        if let Some(table) = self.plan.functions_table {
            exports.export(abi::FUNCTIONS, ExportKind::Table, table);
        }
        if let Some(table) = self.plan.references_table {
            exports.export(abi::REFERENCES, ExportKind::Table, table);
        }
        self.output.section(&exports);
        Ok(())
    }

    fn elements(
        &mut self,
        section: Option<wasmparser::ElementSectionReader<'a>>,
    ) -> Result<(), Error> {
        let mut elements = ElementSection::new();
        if let Some(section) = section {
            utils::parse_element_section(&mut Renumber(self.plan), &mut elements, section)
                .map_err(|error| broken(&error))?;
        }
        if let Some(table) = self.plan.functions_table {
            let functions: Vec<u32> = self
                .plan
                .function_refs
                .iter()
                .map(|&index| self.plan.function(index))
                .collect();
            let offset = ConstExpr::i32_const(0);
            elements.active(Some(table), &offset, Elements::Functions(functions.into()));
        }
        if !elements.is_empty() {
            self.output.section(&elements);
        }
        Ok(())
    }

    fn code(&mut self) {
        let mut hints = BranchHints::new();
        for function in &self.functions {
            let is_small = self.plan.goals.of(function.index) == Optimize::Size;
            if !function.unlikely.is_empty() && !is_small {
                let index = self.plan.exported_function(function.index);
                let unlikely = function
                    .unlikely
                    .iter()
                    .map(|&branch_func_offset| BranchHint {
                        branch_func_offset,
                        branch_hint_value: 0,
                    });
                hints.function_hints(index, unlikely);
            }
        }
        if !hints.is_empty() {
            self.output.section(&hints);
        }
        let mut code = CodeSection::new();
        for (_, function) in &self.added {
            code.function(function);
        }
        for function in self.functions.drain(..) {
            code.raw(&function.body);
        }
        self.output.section(&code);
    }

    fn warn_of_dropped(&mut self) {
        for (names, (_, what)) in self.dropped.iter().zip(OFFSET_SECTIONS) {
            if !names.is_empty() {
                self.warnings.push(format!(
                    "dropped {what} ({}): it names offsets in the original code, which rewriting moves",
                    names.join(", ")
                ));
            }
        }
    }

    fn custom(&mut self, section: &wasmparser::CustomSectionReader<'a>) {
        let offsets = OFFSET_SECTIONS
            .iter()
            .position(|(prefix, _)| section.name().starts_with(prefix));
        if let Some(kind) = offsets {
            self.dropped[kind].push(section.name());
            return;
        }
        match section.as_known() {
            KnownCustom::Name(reader) => match names::names(reader, self.module, self.plan) {
                Ok(names) => _ = self.output.section(&names),
                Err(error) => {
                    self.warnings
                        .push(format!("dropped the damaged name section: {error}"));
                }
            },
            KnownCustom::Producers(reader) => {
                self.has_producers = true;
                self.output.section(&names::producers(Some(reader)));
            }
            _ => {
                let name = section.name().into();
                self.output.section(&CustomSection {
                    name,
                    data: section.data().into(),
                });
            }
        }
    }
}

/// Maps the original's function indices to the new ones.
struct Renumber<'p>(&'p Plan);

impl Reencode for Renumber<'_> {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, reencode::Error> {
        Ok(self.0.function(function))
    }

    fn external_index(&mut self, kind: ExternalKind, index: u32) -> Result<u32, reencode::Error> {
        match kind {
            ExternalKind::Func | ExternalKind::FuncExact => Ok(self.0.exported_function(index)),
            _ => Ok(index),
        }
    }
}

fn broken(error: &reencode::Error) -> Error {
    Error::Internal {
        message: format!("a checked section could not be encoded again: {error}"),
    }
}

fn section_id(id: u8) -> Option<SectionId> {
    use SectionId::{
        Code, Data, DataCount, Element, Export, Function, Global, Import, Memory, Table, Type,
    };
    [
        Type, Import, Function, Table, Memory, Global, Export, Element, Code, Data, DataCount,
    ]
    .into_iter()
    .find(|&section| section as u8 == id)
}

/// Place of a section in a module.
fn order(section: SectionId) -> u8 {
    match section {
        SectionId::DataCount => SectionId::Element as u8 * 2 + 1,
        section => section as u8 * 2,
    }
}
