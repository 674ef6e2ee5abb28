//! Fingerprints of functions, and of what else a saved state relies on, so that a patched module can be
//! told to fit a state that was taken from its predecessor. `docs/patched-modules.md` says why these things.
//!
//! A function is known by its import, by its name if only one function has it, else by its index; types
//! count by their structure. So functions and types that are added elsewhere change no fingerprint of a
//! module with names.

use std::collections::HashMap;

use wasm_migrate_abi::{FINGERPRINT_BYTES, Fingerprint, Parts, ValueType};
use wasmparser::{
    BlockType, ConstExpr, DataKind, ElementItems, ElementKind, Operator, Parser, Payload,
    TableInit, ValType,
};

use crate::error::Error;
use crate::features;
use crate::ir;
use crate::module::{Module, Signature, position};
use crate::plan::Plan;

/// Of an ordinary memory's pages.
const PAGE_SIZE_LOG2: u32 = 16;

/// What each function of the module is known by, type included.
pub(crate) struct Identities {
    functions: Vec<Fingerprint>,
}

impl Identities {
    pub(crate) fn new(module: &Module<'_>) -> Self {
        let mut named: HashMap<&str, u32> = HashMap::new();
        for (_, name) in &module.function_names {
            *named.entry(name).or_default() += 1;
        }
        let names: HashMap<u32, &str> = module
            .function_names
            .iter()
            .copied()
            .filter(|(_, name)| named[name] == 1)
            .collect();
        let identify = |index: u32| {
            let mut text = Text::default();
            match (
                module.function_imports.get(index as usize),
                names.get(&index),
            ) {
                (Some(import), _) => {
                    text.tag(b'i');
                    text.string(import.module);
                    text.string(import.name);
                }
                (None, Some(name)) => {
                    text.tag(b'n');
                    text.string(name);
                }
                (None, None) => {
                    text.tag(b'#');
                    text.number(index);
                }
            }
            text.signature(module.signature(index));
            text.fingerprint()
        };
        let count = u32::try_from(module.function_types.len()).expect("validated counts fit");
        Self {
            functions: (0..count).map(identify).collect(),
        }
    }

    /// Of a function: an import is no more than this.
    pub(crate) fn function(&self, index: u32) -> Fingerprint {
        self.functions[index as usize]
    }

    /// Of a function with its locals and code. Dead code does not count.
    pub(crate) fn code(&self, module: &Module<'_>, function: &ir::Function<'_>) -> Fingerprint {
        let mut text = Text::default();
        text.function(self.function(function.index));
        text.types(&function.locals);
        for op in &function.ops {
            let bytes = &module.bytes[op.bytes.start as usize..op.bytes.end as usize];
            text.operator(module, self, &op.operator, bytes);
        }
        text.fingerprint()
    }

    /// Of everything else that a state relies on.
    pub(crate) fn parts(&self, module: &Module<'_>, plan: &Plan) -> Result<Parts, Error> {
        let mut memories = Text::default();
        for memory in &module.memories {
            memories.number(memory.memory64.into());
            memories.number(memory.page_size_log2.unwrap_or(PAGE_SIZE_LOG2));
        }
        let mut references = Text::default();
        for &index in &plan.function_refs {
            references.number(index);
            references.function(self.function(index));
        }
        let mut changeable = Text::default();
        changeable.list(plan.globals.data_dropped.keys().copied());
        changeable.list(plan.globals.element_dropped.keys().copied());
        changeable.list(plan.captured_tables.iter().copied());
        let initial = InitialState::read(module, self)?;
        Ok(Parts {
            memories: memories.fingerprint(),
            globals: initial.globals.fingerprint(),
            tables: initial.tables.fingerprint(),
            data_segments: initial.data_segments.fingerprint(),
            element_segments: initial.element_segments.fingerprint(),
            references: references.fingerprint(),
            changeable: changeable.fingerprint(),
        })
    }
}

/// What globals, tables and segments are and begin with.
#[derive(Default)]
struct InitialState {
    globals: Text,
    tables: Text,
    data_segments: Text,
    element_segments: Text,
}

impl InitialState {
    fn read(module: &Module<'_>, identities: &Identities) -> Result<Self, Error> {
        let mut state = Self::default();
        for table in &module.tables {
            state.tables.value_type(ValType::Ref(table.element_type));
            state.tables.number(table.table64.into());
        }
        for global in &module.globals {
            state.globals.value_type(global.content_type);
            state.globals.number(global.mutable.into());
        }
        for payload in Parser::new(0).parse_all(module.bytes) {
            state.add(module, identities, payload?)?;
        }
        Ok(state)
    }

    fn add(
        &mut self,
        module: &Module<'_>,
        identities: &Identities,
        payload: Payload<'_>,
    ) -> Result<(), Error> {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    let text = match import.ty {
                        wasmparser::TypeRef::Global(_) => &mut self.globals,
                        wasmparser::TypeRef::Table(_) => &mut self.tables,
                        _ => continue,
                    };
                    text.string(import.module);
                    text.string(import.name);
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    self.globals
                        .expression(module, identities, &global?.init_expr)?;
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    match table?.init {
                        TableInit::RefNull => self.tables.tag(b'0'),
                        TableInit::Expr(expression) => {
                            self.tables.expression(module, identities, &expression)?;
                        }
                    }
                }
            }
            Payload::ElementSection(section) => {
                for element in section {
                    self.add_elements(module, identities, element?)?;
                }
            }
            Payload::DataSection(section) => {
                for data in section {
                    let data = data?;
                    if let DataKind::Active {
                        memory_index,
                        offset_expr,
                    } = &data.kind
                    {
                        self.data_segments.number(*memory_index);
                        self.data_segments
                            .expression(module, identities, offset_expr)?;
                    }
                    self.data_segments.bytes(data.data);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn add_elements(
        &mut self,
        module: &Module<'_>,
        identities: &Identities,
        element: wasmparser::Element<'_>,
    ) -> Result<(), Error> {
        let text = &mut self.element_segments;
        match &element.kind {
            ElementKind::Active {
                table_index,
                offset_expr,
            } => {
                text.number(table_index.unwrap_or(0));
                text.expression(module, identities, offset_expr)?;
            }
            ElementKind::Passive => text.tag(b'p'),
            ElementKind::Declared => text.tag(b'd'),
        }
        match element.items {
            ElementItems::Functions(functions) => {
                text.number(functions.count());
                for function in functions {
                    text.function(identities.function(function?));
                }
            }
            ElementItems::Expressions(ty, expressions) => {
                text.value_type(ValType::Ref(ty));
                text.number(expressions.count());
                for expression in expressions {
                    text.expression(module, identities, &expression?)?;
                }
            }
        }
        Ok(())
    }
}

/// Bytes that a fingerprint is taken of.
#[derive(Default)]
struct Text(Vec<u8>);

impl Text {
    fn fingerprint(&self) -> Fingerprint {
        let digest = blake3::hash(&self.0);
        let first: &[u8; FINGERPRINT_BYTES] =
            digest.as_bytes().first_chunk().expect("it is longer");
        Fingerprint(*first)
    }

    fn tag(&mut self, tag: u8) {
        self.0.push(tag);
    }

    fn number(&mut self, number: u32) {
        self.0.extend(number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend((bytes.len() as u64).to_le_bytes());
        self.0.extend(bytes);
    }

    fn string(&mut self, string: &str) {
        self.bytes(string.as_bytes());
    }

    fn function(&mut self, identity: Fingerprint) {
        self.0.extend(identity.0);
    }

    fn list(&mut self, numbers: impl ExactSizeIterator<Item = u32>) {
        self.number(u32::try_from(numbers.len()).expect("validated counts fit"));
        numbers.for_each(|number| self.number(number));
    }

    /// A type that was not refused when the module was read, or no type.
    fn value_type(&mut self, ty: ValType) {
        self.tag(features::value_type(ty).map_or(u8::MAX, |ty| ty as u8));
    }

    fn types(&mut self, types: &[ValueType]) {
        self.list(types.iter().map(|ty| *ty as u32));
    }

    fn signature(&mut self, signature: &Signature) {
        self.types(&signature.params);
        self.types(&signature.results);
    }

    /// An operator: its bytes, but for indices of functions and types.
    fn operator(
        &mut self,
        module: &Module<'_>,
        identities: &Identities,
        operator: &Operator<'_>,
        bytes: &[u8],
    ) {
        match *operator {
            Operator::Call { function_index }
            | Operator::ReturnCall { function_index }
            | Operator::RefFunc { function_index } => {
                self.tag(bytes[0]);
                self.function(identities.function(function_index));
            }
            Operator::CallIndirect {
                type_index,
                table_index,
            }
            | Operator::ReturnCallIndirect {
                type_index,
                table_index,
            } => {
                self.tag(bytes[0]);
                self.signature(&module.types[type_index as usize]);
                self.number(table_index);
            }
            Operator::Block {
                blockty: BlockType::FuncType(type_index),
            }
            | Operator::Loop {
                blockty: BlockType::FuncType(type_index),
            }
            | Operator::If {
                blockty: BlockType::FuncType(type_index),
            } => {
                self.tag(bytes[0]);
                self.signature(&module.types[type_index as usize]);
            }
            _ => self.0.extend(bytes),
        }
    }

    fn expression(
        &mut self,
        module: &Module<'_>,
        identities: &Identities,
        expression: &ConstExpr<'_>,
    ) -> Result<(), Error> {
        let mut operators = expression.get_operators_reader();
        while !operators.eof() {
            let start = position(operators.original_position());
            let operator = operators.read()?;
            let end = position(operators.original_position());
            self.operator(module, identities, &operator, &module.bytes[start..end]);
        }
        Ok(())
    }
}
