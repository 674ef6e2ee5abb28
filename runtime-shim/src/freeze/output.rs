//! Writing the frozen module: the migratized module's sections, with what freezing replaces and adds.

use std::collections::BTreeMap;

use wasm_encoder::reencode::{self, Reencode, utils};
use wasm_encoder::{
    CodeSection, ConstExpr, DataCountSection, DataSection, ElementSection, Elements, EntityType,
    ExportKind, ExportSection, Function, FunctionSection, GlobalSection, GlobalType, HeapType,
    ImportSection, Instruction, MemorySection, Module, NameSection, RefType, TableSection,
    TypeSection, ValType,
};
use wasm_migrate_abi::{
    BUDGET, DEPTH, DESCRIPTION_SECTION, Description, LOAD, REFERENCES, REWINDING, STATE,
};
use wasmparser::{DataKind, ElementKind, ExternalKind, KnownCustom, Parser, Payload, WasmFeatures};

use super::files::{FilePlan, wasi_signature};
use super::files_code::{self, FileCode};
use super::layout::{CONTRACT, Layout, count32};
use super::survey::{Survey, WASI_MODULE};
use super::{Entry, FreezeError, memory, words};
use crate::state::{State, TableContents, Value};

/// Custom sections that make no sense in the frozen module: the description, and offsets into code.
const DROPPED_SECTIONS: [&str; 2] = [DESCRIPTION_SECTION, "metadata.code."];

/// Everything that goes into a frozen module.
pub(super) struct Output<'a> {
    pub(super) description: &'a Description,
    pub(super) state: &'a State,
    pub(super) survey: &'a Survey<'a>,
    pub(super) layout: &'a Layout,
    /// By function of the original that references can name: its index in the migratized module.
    pub(super) functions: &'a BTreeMap<u32, u32>,
    /// Functions of the original in the scratch table of frames.
    pub(super) references: &'a [u32],
    pub(super) words: &'a [u64],
    pub(super) files: Option<&'a FilePlan>,
    pub(super) entry: &'a Entry,
}

/// The sections of the new module.
#[derive(Default)]
struct Sections {
    types: TypeSection,
    imports: ImportSection,
    functions: FunctionSection,
    tables: TableSection,
    memories: MemorySection,
    globals: GlobalSection,
    exports: ExportSection,
    elements: ElementSection,
    code: CodeSection,
    data: DataSection,
    names: Option<NameSection>,
    others: Vec<(String, Vec<u8>)>,
}

/// A function that is added.
struct Added {
    params: Vec<ValType>,
    results: Vec<ValType>,
    function: Function,
}

impl Output<'_> {
    /// Writes the module.
    pub(super) fn write(&self, wasm: &[u8]) -> Result<Vec<u8>, FreezeError> {
        let next = self.survey.globals;
        let word = self.layout.first_added();
        let added = self.added(word)?;
        let mut sections = Sections::default();
        let mut renumber = Renumber(self.layout);
        // Types of what is added stand behind the module's own: imports, contract, functions.
        for payload in Parser::new(0).parse_all(wasm) {
            self.section(&mut sections, &mut renumber, payload?, (word, next))?;
        }
        let first_type = count32(self.survey.types.len());
        let mut types = first_type..;
        let mut next_type = || types.next().expect("there is no end");
        for name in &self.layout.added_imports {
            let (params, results) = wasi_signature(name);
            add_type(&mut sections.types, params, results);
            let ty = EntityType::Function(next_type());
            sections.imports.import(WASI_MODULE, name, ty);
        }
        let mut functions = FunctionSection::new();
        for (_, (params, results)) in CONTRACT {
            add_type(&mut sections.types, params, results);
            functions.function(next_type());
        }
        let own = &self.survey.function_types[self.survey.imports.len()..];
        own.iter().for_each(|ty| _ = functions.function(*ty));
        for Added {
            params,
            results,
            function,
        } in &added
        {
            add_type(&mut sections.types, params, results);
            functions.function(next_type());
            sections.code.function(function);
        }
        sections.functions = functions;
        self.add_state(&mut sections)?;
        let entry = self.layout.first_added() + count32(added.len()) - 1;
        sections
            .exports
            .export(&self.entry.name, ExportKind::Func, entry);
        let wasm = sections.finish(self.survey.has_data_count);
        wasmparser::Validator::new_with_features(WasmFeatures::all())
            .validate_all(&wasm)
            .map_err(|error| FreezeError::Section(error.to_string()))?;
        Ok(wasm)
    }

    /// Functions that are added: the words, the files, and last the entry.
    fn added(&self, word: u32) -> Result<Vec<Added>, FreezeError> {
        let mut added: Vec<Added> = words::functions(self.words, word)
            .into_iter()
            .map(|function| Added {
                params: vec![ValType::I32],
                results: vec![ValType::I64],
                function,
            })
            .collect();
        let mut open_files = None;
        if let Some(plan) = self.files {
            let first = word + count32(added.len());
            let code = FileCode {
                plan,
                layout: self.layout,
                first,
            };
            open_files = Some(first + files_code::OPEN);
            let functions = code.functions().into_iter();
            added.extend(functions.map(|((params, results), function)| Added {
                params: params.to_vec(),
                results: results.to_vec(),
                function,
            }));
        }
        added.push(self.entry(open_files)?);
        Ok(added)
    }

    /// The function that lets the guest go on.
    fn entry(&self, open_files: Option<u32>) -> Result<Added, FreezeError> {
        let global = |name| self.survey.required(ExternalKind::Global, name);
        let load = self.survey.required(ExternalKind::Func, LOAD)?;
        let mut body: Vec<Instruction<'_>> =
            open_files.map(Instruction::Call).into_iter().collect();
        body.push(Instruction::Call(self.layout.function(load)));
        for (name, value) in [(BUDGET, 0), (DEPTH, 0), (STATE, REWINDING)] {
            body.extend([
                Instruction::I32Const(value),
                Instruction::GlobalSet(global(name)?),
            ]);
        }
        let no_type = || FreezeError::Altered("function of the type of its entry".to_owned());
        let mut renumber = Renumber(self.layout);
        let ty = self.survey.function_type(self.entry.resumed);
        let ty = ty.ok_or_else(no_type)?;
        for param in ty.params() {
            let param = renumber.val_type(*param)?;
            body.push(zero(param).ok_or(FreezeError::Entry {
                name: self.state.entry.clone(),
                reason: "has a parameter that has no default value",
            })?);
        }
        body.push(Instruction::Call(self.layout.function(self.entry.resumed)));
        let mut results = ty.results();
        for &next in &self.entry.then {
            body.extend(results.iter().map(|_| Instruction::Drop));
            body.push(Instruction::Call(self.layout.function(next)));
            results = self
                .survey
                .function_type(next)
                .ok_or_else(no_type)?
                .results();
        }
        let results = results.iter().map(|ty| renumber.val_type(*ty));
        let results = results.collect::<Result<_, _>>()?;
        let mut function = Function::new([]);
        for instruction in &body {
            function.instruction(instruction);
        }
        function.instruction(&Instruction::End);
        Ok(Added {
            params: Vec::new(),
            results,
            function,
        })
    }

    fn section(
        &self,
        sections: &mut Sections,
        renumber: &mut Renumber<'_>,
        payload: Payload<'_>,
        (word, next): (u32, u32),
    ) -> Result<(), FreezeError> {
        match payload {
            Payload::TypeSection(section) => {
                utils::parse_type_section(renumber, &mut sections.types, section)?;
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    if import.module != wasm_migrate_abi::MODULE {
                        renumber.parse_import(&mut sections.imports, import)?;
                    }
                }
            }
            Payload::TableSection(section) => self.tables(sections, renumber, section)?,
            Payload::MemorySection(section) => {
                for (memory, contents) in section.into_iter().zip(&self.state.memories) {
                    let mut ty = renumber.memory_type(memory?)?;
                    ty.minimum = contents.size.pages;
                    sections.memories.memory(ty);
                }
            }
            Payload::GlobalSection(section) => self.globals(sections, renumber, section)?,
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if !self.survey.is_left_out(export.name, self.entry) {
                        renumber.parse_export(&mut sections.exports, export)?;
                    }
                }
            }
            Payload::ElementSection(section) => self.elements(sections, renumber, section)?,
            Payload::CodeSectionStart { .. } => {
                for (name, _) in CONTRACT {
                    let function = words::contract_function(name, word, next);
                    sections.code.function(&function);
                }
            }
            Payload::CodeSectionEntry(body) => {
                renumber.parse_function_body(&mut sections.code, body)?;
            }
            Payload::DataSection(section) => {
                for segment in section {
                    let segment = segment?;
                    match segment.kind {
                        // It stays as what it is after the start: used up.
                        DataKind::Active { memory_index, .. } => {
                            let is_64 = self.survey.memories[memory_index as usize].memory64;
                            let start = memory::offset(0, is_64);
                            sections.data.active(memory_index, &start, []);
                        }
                        DataKind::Passive => renumber.parse_data(&mut sections.data, segment)?,
                    }
                }
            }
            Payload::CustomSection(section) => custom(sections, renumber, &section),
            _ => {}
        }
        Ok(())
    }
}

/// The state's part: tables, memories, and what they need of other sections.
impl Output<'_> {
    fn tables(
        &self,
        sections: &mut Sections,
        renumber: &mut Renumber<'_>,
        section: wasmparser::TableSectionReader<'_>,
    ) -> Result<(), FreezeError> {
        let references = self.survey.export(ExternalKind::Table, REFERENCES);
        for (index, table) in (0..).zip(section) {
            let table = table?;
            let length = match self.captured(index) {
                Some(contents) => Some(contents.len()),
                None if references == Some(index) => Some(self.references.len() as u64),
                None => None,
            };
            match length {
                // What it holds comes from segments; what they leave out is null.
                Some(minimum) => {
                    let mut ty = renumber.table_type(table.ty)?;
                    ty.minimum = minimum;
                    sections.tables.table(ty);
                }
                None => renumber.parse_table(&mut sections.tables, table)?,
            }
        }
        Ok(())
    }

    /// Contents of a table, if they are part of the state.
    fn captured(&self, table: u32) -> Option<&TableContents> {
        let tables = &self.description.tables;
        let place = tables.iter().position(|state| state.index == table)?;
        self.state.tables.get(place)
    }

    fn globals(
        &self,
        sections: &mut Sections,
        renumber: &mut Renumber<'_>,
        section: wasmparser::GlobalSectionReader<'_>,
    ) -> Result<(), FreezeError> {
        for (index, global) in (0..).zip(section) {
            let global = global?;
            let states = self.description.globals.iter().zip(&self.state.globals);
            let value = states
                .filter(|(state, _)| state.index == index)
                .map(|(_, value)| value)
                .next();
            let init = match value {
                Some(Value::FuncRef(None)) => ConstExpr::ref_null(HeapType::FUNC),
                Some(Value::FuncRef(Some(function))) => {
                    ConstExpr::ref_func(self.new_function(*function)?)
                }
                Some(Value::ExternRef(Some(_))) => {
                    return Err(FreezeError::HostReference(format!("global {index}")));
                }
                Some(Value::ExternRef(None)) => ConstExpr::ref_null(HeapType::EXTERN),
                // Numbers come as words.
                _ => renumber.const_expr(global.init_expr)?,
            };
            sections
                .globals
                .global(renumber.global_type(global.ty)?, &init);
        }
        Ok(())
    }

    fn elements(
        &self,
        sections: &mut Sections,
        renumber: &mut Renumber<'_>,
        section: wasmparser::ElementSectionReader<'_>,
    ) -> Result<(), FreezeError> {
        for element in section {
            let element = element?;
            let table = match element.kind {
                ElementKind::Active { table_index, .. } => Some(table_index.unwrap_or(0)),
                _ => None,
            };
            match table.filter(|table| self.captured(*table).is_some()) {
                // As with data: used up.
                Some(table) => self.add_elements(sections, table, 0, &[])?,
                None => renumber.parse_element(&mut sections.elements, element)?,
            }
        }
        Ok(())
    }

    /// Adds what memories and tables hold.
    fn add_state(&self, sections: &mut Sections) -> Result<(), FreezeError> {
        let counter = GlobalType {
            val_type: ValType::I32,
            mutable: true,
            shared: false,
        };
        sections.globals.global(counter, &ConstExpr::i32_const(0));
        for (table, contents) in self.description.tables.iter().zip(&self.state.tables) {
            match contents {
                TableContents::Functions(elements) => {
                    self.add_functions(sections, table.index, elements)?;
                }
                TableContents::Externals(elements) => {
                    if let Some(element) = elements.iter().position(Option::is_some) {
                        let place = format!("element {element} of table {}", table.index);
                        return Err(FreezeError::HostReference(place));
                    }
                }
            }
        }
        if let Some(table) = self.survey.export(ExternalKind::Table, REFERENCES) {
            self.add_elements(sections, table, 0, self.references)?;
        }
        for segment in memory::segments(&self.state.memories)? {
            memory::write(&segment, &self.survey.memories, &mut sections.data);
        }
        if let Some(plan) = self.files {
            let scratch = plan.scratch.iter().copied();
            let start = ConstExpr::i32_const(0);
            sections.data.active(plan.memory, &start, scratch);
        }
        Ok(())
    }

    /// One segment for every run of elements that are not null.
    fn add_functions(
        &self,
        sections: &mut Sections,
        table: u32,
        elements: &[Option<u32>],
    ) -> Result<(), FreezeError> {
        let mut at = 0;
        for run in elements.chunk_by(|a, b| a.is_some() == b.is_some()) {
            let functions: Vec<u32> = run.iter().flatten().copied().collect();
            if !functions.is_empty() {
                self.add_elements(sections, table, at, &functions)?;
            }
            at += run.len() as u64;
        }
        Ok(())
    }

    /// Adds a segment of functions, which are named as in the original.
    fn add_elements(
        &self,
        sections: &mut Sections,
        table: u32,
        at: u64,
        functions: &[u32],
    ) -> Result<(), FreezeError> {
        let ty = self.survey.tables[table as usize];
        let functions = functions
            .iter()
            .map(|function| self.new_function(*function));
        let functions: Vec<u32> = functions.collect::<Result<_, _>>()?;
        let elements = if ty.element_type.is_extern_ref() {
            Elements::Expressions(RefType::EXTERNREF, Vec::new().into())
        } else {
            Elements::Functions(functions.into())
        };
        // Without a number if it need not have one, as engines of WebAssembly 1.0 know it.
        let table = (table != 0 || ty.element_type.is_extern_ref()).then_some(table);
        let start = memory::offset(at, ty.table64);
        sections.elements.active(table, &start, elements);
        Ok(())
    }

    /// New index of a function of the original that references can name.
    fn new_function(&self, original: u32) -> Result<u32, FreezeError> {
        let found = self.functions.get(&original);
        let found = found.ok_or_else(|| {
            crate::ResumeError::Mismatch(format!(
                "it refers to function {original}, which the module cannot"
            ))
        })?;
        Ok(self.layout.function(*found))
    }
}

impl Sections {
    fn finish(self, has_data_count: bool) -> Vec<u8> {
        let mut module = Module::new();
        module
            .section(&self.types)
            .section(&self.imports)
            .section(&self.functions);
        if !self.tables.is_empty() {
            module.section(&self.tables);
        }
        if !self.memories.is_empty() {
            module.section(&self.memories);
        }
        module.section(&self.globals).section(&self.exports);
        if !self.elements.is_empty() {
            module.section(&self.elements);
        }
        if has_data_count {
            let count = self.data.len();
            module.section(&DataCountSection { count });
        }
        module.section(&self.code);
        if !self.data.is_empty() {
            module.section(&self.data);
        }
        if let Some(names) = &self.names {
            module.section(names);
        }
        for (name, data) in &self.others {
            module.section(&wasm_encoder::CustomSection {
                name: name.into(),
                data: data.into(),
            });
        }
        module.finish()
    }
}

/// Maps the migratized module's function indices to the frozen module's.
struct Renumber<'l>(&'l Layout);

impl Reencode for Renumber<'_> {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, reencode::Error> {
        Ok(self.0.function(function))
    }
}

/// Keeps a custom section if it still tells the truth.
fn custom(
    sections: &mut Sections,
    renumber: &mut Renumber<'_>,
    section: &wasmparser::CustomSectionReader<'_>,
) {
    let name = section.name();
    if DROPPED_SECTIONS
        .iter()
        .any(|dropped| name.starts_with(dropped))
    {
        return;
    }
    match section.as_known() {
        // Names are a comfort: damaged ones are left out.
        KnownCustom::Name(reader) => sections.names = renumber.custom_name_section(reader).ok(),
        _ => {
            let data = section.data().to_vec();
            sections.others.push((name.to_owned(), data));
        }
    }
}

fn add_type(types: &mut TypeSection, params: &[ValType], results: &[ValType]) {
    let (params, results) = (params.iter().copied(), results.iter().copied());
    types.ty().function(params, results);
}

/// The default value of a type, if it has one.
fn zero(ty: ValType) -> Option<Instruction<'static>> {
    Some(match ty {
        ValType::I32 => Instruction::I32Const(0),
        ValType::I64 => Instruction::I64Const(0),
        ValType::F32 => Instruction::F32Const(0.0.into()),
        ValType::F64 => Instruction::F64Const(0.0.into()),
        ValType::V128 => Instruction::V128Const(0),
        ValType::Ref(ty) if ty.nullable => Instruction::RefNull(ty.heap_type),
        ValType::Ref(_) => return None,
    })
}
