//! A rewritten module as the checker sees it: bodies, imports of the contract, and what they say
//! about which function is which.

use std::collections::HashMap;

use wasm_migrate_abi as abi;
use wasmparser::{BinaryReaderError, ExternalKind, FuncType, Operator, Parser, Payload, TypeRef};

use super::body::Body;

/// A decoded module, original or rewritten.
#[derive(Debug, Default)]
pub(super) struct Decoded<'a> {
    types: Vec<FuncType>,
    /// Type index of each function.
    functions: Vec<u32>,
    /// Module and name of each imported function.
    pub(super) imports: Vec<(&'a str, &'a str)>,
    /// Bodies of the functions after the imported ones.
    bodies: Vec<Body<'a>>,
    /// Exported globals.
    global_exports: HashMap<&'a str, u32>,
    /// Data of the description section.
    pub(super) description: Option<&'a [u8]>,
}

/// An import of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Abi {
    Poll,
    Save,
    SaveFrame,
    LoadFrame,
    Load,
    LoadCallee,
}

/// What a function of a rewritten module is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// An import of the contract.
    Abi(Abi),
    /// It saves and loads frames of the original function with this index.
    Frames(u32),
    /// It calls the function of the next frame.
    Resume,
    /// It opens the frame of the function that it is given.
    Open,
    /// It saves, loads or polls for others, or sets the state.
    Helper,
    /// Anything else.
    Plain,
}

impl<'a> Decoded<'a> {
    pub(super) fn new(wasm: &'a [u8]) -> Result<Self, BinaryReaderError> {
        let mut module = Self::default();
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::TypeSection(types) => {
                    for group in types {
                        for ty in group?.into_types() {
                            let composite = ty.composite_type.inner;
                            let wasmparser::CompositeInnerType::Func(ty) = composite else {
                                continue;
                            };
                            module.types.push(ty);
                        }
                    }
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        let import = import?;
                        if let TypeRef::Func(ty) = import.ty {
                            module.functions.push(ty);
                            module.imports.push((import.module, import.name));
                        }
                    }
                }
                Payload::FunctionSection(functions) => {
                    for ty in functions {
                        module.functions.push(ty?);
                    }
                }
                Payload::ExportSection(exports) => {
                    for export in exports {
                        let export = export?;
                        if export.kind == ExternalKind::Global {
                            module.global_exports.insert(export.name, export.index);
                        }
                    }
                }
                Payload::CodeSectionEntry(body) => module.bodies.push(Body::decode(&body)?),
                Payload::CustomSection(section) if section.name() == abi::DESCRIPTION_SECTION => {
                    module.description = Some(section.data());
                }
                _ => {}
            }
        }
        Ok(module)
    }

    /// Type of a function.
    pub(super) fn function_type(&self, function: u32) -> &FuncType {
        &self.types[self.functions[function as usize] as usize]
    }

    /// A type by index.
    pub(super) fn ty(&self, index: u32) -> &FuncType {
        &self.types[index as usize]
    }

    /// Body of a function that is not imported.
    pub(super) fn body(&self, function: u32) -> Option<&Body<'a>> {
        self.bodies
            .get((function as usize).checked_sub(self.imports.len())?)
    }

    /// Number of parameters and locals of a function.
    pub(super) fn local_count(&self, function: u32) -> u32 {
        let locals = self.body(function).map_or(0, |body| body.locals);
        u32::try_from(self.function_type(function).params().len() + locals).unwrap_or(u32::MAX)
    }

    /// Index of an exported global.
    pub(super) fn global(&self, export: &str) -> Option<u32> {
        self.global_exports.get(export).copied()
    }

    /// The role of every function.
    pub(super) fn roles(&self, state_global: u32) -> Vec<Role> {
        let mut roles: Vec<Role> = self
            .imports
            .iter()
            .map(|import| import_role(*import))
            .collect();
        for body in &self.bodies {
            let role = role(body, &roles, state_global);
            roles.push(role);
        }
        self.note_parts_of_resume(&mut roles);
        roles
    }
}

impl Decoded<'_> {
    /// A function that chooses among many functions to resume may leave that to others.
    fn note_parts_of_resume(&self, roles: &mut [Role]) {
        for (index, body) in (self.imports.len()..).zip(&self.bodies) {
            if roles[index] != Role::Resume {
                continue;
            }
            for op in &body.ops {
                if let Operator::Call { function_index } = op
                    && let role @ Role::Plain = &mut roles[*function_index as usize]
                    && *function_index as usize > index
                {
                    *role = Role::Resume;
                }
            }
        }
    }
}

/// `earlier` are the roles of the functions before it.
fn role(body: &Body<'_>, earlier: &[Role], state_global: u32) -> Role {
    let mut role = Role::Plain;
    for (at, op) in body.ops.iter().enumerate() {
        let function_index = match op {
            Operator::Call { function_index } => function_index,
            Operator::GlobalSet { global_index } if *global_index == state_global => {
                role = Role::Helper;
                continue;
            }
            _ => continue,
        };
        let constant = at.checked_sub(1).and_then(|before| match body.ops[before] {
            Operator::I32Const { value } => Some(value.cast_unsigned()),
            _ => None,
        });
        match (earlier.get(*function_index as usize), constant) {
            (Some(Role::Abi(Abi::LoadFrame) | Role::Open), Some(function)) => {
                return Role::Frames(function);
            }
            (Some(Role::Abi(Abi::LoadFrame)), None) => return Role::Open,
            (Some(Role::Abi(Abi::LoadCallee)), _) => return Role::Resume,
            (Some(Role::Abi(_)), _) => role = Role::Helper,
            _ => {}
        }
    }
    role
}

fn import_role((module, name): (&str, &str)) -> Role {
    if module != abi::MODULE {
        return Role::Plain;
    }
    match name {
        abi::POLL => Role::Abi(Abi::Poll),
        abi::SAVE_I32 | abi::SAVE_I64 => Role::Abi(Abi::Save),
        abi::SAVE_FRAME => Role::Abi(Abi::SaveFrame),
        abi::LOAD_FRAME => Role::Abi(Abi::LoadFrame),
        abi::LOAD_I32 | abi::LOAD_I64 => Role::Abi(Abi::Load),
        abi::LOAD_CALLEE => Role::Abi(Abi::LoadCallee),
        _ => Role::Plain,
    }
}
