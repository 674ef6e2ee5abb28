//! A module that announces each of its calls to WASI.
//!
//! Each imported function gets a function of the module's own, which calls `conformance.before` with the import's
//! index and then the import; everything in the module that named the import names that function instead:
//!
//! ```text
//! call $fd_close            =>            call $own_fd_close
//!                                         $own_fd_close: i32.const 7, call $before,
//!                                                        local.get 0, call $fd_close
//! ```
//!
//! `before` is declared as an import that may block, so the host can stop the guest there: with everything done that
//! earlier calls do, and nothing of what this one does.

use std::convert::Infallible;

use anyhow::{Result, anyhow};
use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{
    CodeSection, EntityType, Function, FunctionSection, ImportSection, Instruction, Module,
    TypeSection, ValType,
};
use wasmparser::{FuncType, Parser, Payload, TypeRef};

/// Module and name of the import that is called before every other.
pub(super) const BEFORE: (&str, &str) = ("conformance", "before");

/// A module with announcements.
pub(super) struct Interposed {
    pub(super) wasm: Vec<u8>,
    /// Names of the imports, by index.
    pub(super) names: Vec<String>,
}

/// Makes a module announce its calls to imports, all of which must be functions.
pub(super) fn interpose(wasm: &[u8]) -> Result<Interposed> {
    let mut survey = Survey::read(wasm)?;
    let mut module = Module::new();
    survey
        .parse_core_module(&mut module, Parser::new(0), wasm)
        .map_err(|error| anyhow!("the module cannot be encoded again: {error}"))?;
    Ok(Interposed {
        wasm: module.finish(),
        names: survey
            .imports
            .into_iter()
            .map(|import| import.name)
            .collect(),
    })
}

struct Import {
    name: String,
    type_index: u32,
    parameters: u32,
}

/// What is known of the module before it is encoded again.
struct Survey {
    imports: Vec<Import>,
    types: u32,
    /// Functions of the module's own.
    functions: u32,
}

impl Survey {
    fn read(wasm: &[u8]) -> Result<Self> {
        let mut types: Vec<FuncType> = Vec::new();
        let (mut imports, mut functions) = (Vec::new(), 0);
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::TypeSection(section) => {
                    types = section
                        .into_iter_err_on_gc_types()
                        .collect::<Result<_, _>>()?;
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        let TypeRef::Func(type_index) = import.ty else {
                            return Err(anyhow!("`{}` is not a function", import.name));
                        };
                        let ty = types.get(type_index as usize);
                        let ty = ty.ok_or_else(|| anyhow!("there is no type {type_index}"))?;
                        imports.push(Import {
                            name: import.name.to_owned(),
                            type_index,
                            parameters: u32::try_from(ty.params().len())?,
                        });
                    }
                }
                Payload::FunctionSection(section) => functions = section.count(),
                _ => {}
            }
        }
        Ok(Self {
            imports,
            types: u32::try_from(types.len())?,
            functions,
        })
    }

    fn before(&self) -> u32 {
        u32::try_from(self.imports.len()).expect("they were counted in 32 bits")
    }
}

impl Reencode for Survey {
    type Error = Infallible;

    fn function_index(&mut self, index: u32) -> Result<u32, reencode::Error> {
        // `before` comes behind the imports, the functions in their stead behind everything.
        Ok(match index < self.before() {
            true => self.before() + 1 + self.functions + index,
            false => index + 1,
        })
    }

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: wasmparser::TypeSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        reencode::utils::parse_type_section(self, types, section)?;
        types.ty().function([ValType::I32], []);
        Ok(())
    }

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: wasmparser::ImportSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        reencode::utils::parse_import_section(self, imports, section)?;
        imports.import(BEFORE.0, BEFORE.1, EntityType::Function(self.types));
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: wasmparser::FunctionSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        reencode::utils::parse_function_section(self, functions, section)?;
        for import in &self.imports {
            functions.function(import.type_index);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: wasmparser::CodeSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        reencode::utils::parse_code_section(self, code, section)?;
        for (index, import) in (0..).zip(&self.imports) {
            let mut function = Function::new([]);
            function.instruction(&Instruction::I32Const(index));
            function.instruction(&Instruction::Call(self.before()));
            for parameter in 0..import.parameters {
                function.instruction(&Instruction::LocalGet(parameter));
            }
            function.instruction(&Instruction::Call(index.cast_unsigned()));
            function.instruction(&Instruction::End);
            code.function(&function);
        }
        Ok(())
    }

    fn parse_custom_section(
        &mut self,
        _: &mut Module,
        _: wasmparser::CustomSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        // Names are not needed.
        Ok(())
    }
}
