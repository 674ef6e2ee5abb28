//! First look at the code: what each function calls and touches, before anything is lifted. The
//! functions are validated on the way.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use wasmparser::{BlockType, Operator};

use wasm_migrate_abi::ValueType;

use crate::error::Error;
use crate::features;
use crate::module::{Body, Module, position, unsupported};

/// What one function does, as far as the whole module must know it.
#[derive(Debug, Default)]
pub(crate) struct FunctionFacts {
    pub(crate) has_loop: bool,
    /// How many operators it has.
    pub(crate) operators: u64,
    /// Functions called directly, by a call that returns here.
    pub(crate) calls: BTreeSet<u32>,
    pub(crate) tail_calls: BTreeSet<u32>,
    /// Type indices of indirect calls that return here.
    pub(crate) indirect_calls: BTreeSet<u32>,
    pub(crate) indirect_tail_calls: BTreeSet<u32>,
    /// Calls of any kind that can be reached without passing the header of a loop around them.
    pub(crate) outside_loops: CallSites,
    /// Calls of any kind inside loops.
    pub(crate) inside_loops: CallSites,
    pub(crate) facts: SharedFacts,
}

/// Calls, with how often each stands there.
#[derive(Debug, Default)]
pub(crate) struct CallSites {
    pub(crate) calls: BTreeMap<u32, u32>,
    /// By type index.
    pub(crate) indirect_calls: BTreeMap<u32, u32>,
}

/// What the functions of a module do taken together.
#[derive(Debug, Default)]
pub(crate) struct SharedFacts {
    /// Functions named by `ref.func`.
    pub(crate) function_refs: BTreeSet<u32>,
    pub(crate) data_drops: BTreeSet<u32>,
    pub(crate) element_drops: BTreeSet<u32>,
    /// Tables that the code writes.
    pub(crate) written_tables: BTreeSet<u32>,
    /// Type indices of block types.
    pub(crate) block_types: BTreeSet<u32>,
    /// The code uses reference types beyond `call_indirect`.
    pub(crate) uses_references: bool,
    /// The code uses vector operators.
    pub(crate) uses_vectors: bool,
    /// The code uses operators that are no older than functions with several results.
    pub(crate) implies_multi_value: bool,
    /// Types of declared locals.
    pub(crate) local_types: BTreeSet<ValueType>,
}

/// What the code of the whole module does.
pub(crate) struct CodeFacts {
    /// One entry per defined function.
    pub(crate) functions: Vec<FunctionFacts>,
    pub(crate) shared: SharedFacts,
}

/// Validates and scans all function bodies, in parallel.
pub(crate) fn scan(module: &Module<'_>) -> Result<CodeFacts, Error> {
    let mut functions: Vec<FunctionFacts> = module
        .bodies
        .par_iter()
        .map(|body| scan_function(module, body))
        .collect::<Result<_, _>>()?;
    let mut shared = SharedFacts::default();
    for function in &mut functions {
        shared.merge(std::mem::take(&mut function.facts));
    }
    Ok(CodeFacts { functions, shared })
}

impl SharedFacts {
    fn merge(&mut self, other: Self) {
        self.function_refs.extend(other.function_refs);
        self.data_drops.extend(other.data_drops);
        self.element_drops.extend(other.element_drops);
        self.written_tables.extend(other.written_tables);
        self.block_types.extend(other.block_types);
        self.uses_references |= other.uses_references;
        self.uses_vectors |= other.uses_vectors;
        self.implies_multi_value |= other.implies_multi_value;
        self.local_types.extend(other.local_types);
    }

    /// Whether operators make values of this type that need no local to hold them.
    pub(crate) fn uses(&self, value_type: ValueType) -> bool {
        match value_type {
            ValueType::V128 => self.uses_vectors,
            ValueType::FuncRef => self.uses_references,
            _ => true,
        }
    }
}

fn scan_function(module: &Module<'_>, body: &Body<'_>) -> Result<FunctionFacts, Error> {
    let resources = body.validate.resources.clone();
    let validate = wasmparser::FuncToValidate {
        resources,
        ..body.validate
    };
    let mut validator = validate.into_validator(Default::default());
    let mut locals = body.body.get_binary_reader();
    validator.read_locals(&mut locals)?;
    let mut operators = body.body.get_operators_reader()?;
    let mut facts = FunctionFacts::default();
    let mut nesting = Nesting::default();
    let mut refusal = None;
    let start = body.body.range().start;
    for local in 0..validator.len_locals() {
        match validator.get_local_type(local).map(features::value_type) {
            Some(Ok(ty)) => _ = facts.facts.local_types.insert(ty),
            Some(Err(construct)) => refusal = Some((construct, start)),
            None => {}
        }
    }
    while !operators.eof() {
        let offset = operators.original_position();
        let operator = operators.read()?;
        validator.op(offset, &operator)?;
        if refusal.is_none() {
            refusal =
                features::unsupported_operator(&operator).map(|construct| (construct, offset));
        }
        nesting.pass(&operator);
        facts.operators += 1;
        facts.add(&operator, nesting.loops > 0);
        facts.facts.uses_vectors |= features::is_vector(&operator);
        facts.facts.implies_multi_value |= features::implies_multi_value(&operator);
    }
    operators.finish()?;
    // Invalid input is reported before unsupported input, so a refusal waits for the function's end.
    match refusal {
        Some((construct, offset)) => {
            let function = module.name_of(body.validate.index);
            Err(unsupported(construct, Some(function), position(offset)))
        }
        None => Ok(facts),
    }
}

/// The constructs around an operator.
#[derive(Default)]
struct Nesting {
    is_loop: Vec<bool>,
    loops: usize,
}

impl Nesting {
    fn pass(&mut self, operator: &Operator<'_>) {
        match operator {
            Operator::Loop { .. } => {
                self.is_loop.push(true);
                self.loops += 1;
            }
            Operator::Block { .. } | Operator::If { .. } | Operator::TryTable { .. } => {
                self.is_loop.push(false);
            }
            // The function's own `end` closes nothing.
            Operator::End if self.is_loop.pop() == Some(true) => self.loops -= 1,
            _ => {}
        }
    }
}

impl FunctionFacts {
    fn add(&mut self, operator: &Operator<'_>, in_loop: bool) {
        let sites = if in_loop {
            &mut self.inside_loops
        } else {
            &mut self.outside_loops
        };
        match *operator {
            Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                *sites.calls.entry(function_index).or_default() += 1;
            }
            Operator::CallIndirect { type_index, .. }
            | Operator::ReturnCallIndirect { type_index, .. } => {
                *sites.indirect_calls.entry(type_index).or_default() += 1;
            }
            _ => {}
        }
        let shared = &mut self.facts;
        match *operator {
            Operator::Loop { blockty } => {
                self.has_loop = true;
                shared.add_block_type(blockty);
            }
            Operator::Block { blockty } | Operator::If { blockty } => {
                shared.add_block_type(blockty);
            }
            Operator::Call { function_index } => {
                self.calls.insert(function_index);
            }
            Operator::ReturnCall { function_index } => {
                self.tail_calls.insert(function_index);
            }
            Operator::CallIndirect { type_index, .. } => {
                self.indirect_calls.insert(type_index);
            }
            Operator::ReturnCallIndirect { type_index, .. } => {
                self.indirect_tail_calls.insert(type_index);
            }
            Operator::RefFunc { function_index } => {
                shared.uses_references = true;
                shared.function_refs.insert(function_index);
            }
            Operator::DataDrop { data_index } => {
                shared.data_drops.insert(data_index);
            }
            Operator::ElemDrop { elem_index } => {
                shared.uses_references = true;
                shared.element_drops.insert(elem_index);
            }
            Operator::TableSet { table }
            | Operator::TableGrow { table }
            | Operator::TableFill { table }
            | Operator::TableInit { table, .. }
            | Operator::TableCopy {
                dst_table: table, ..
            } => {
                shared.uses_references = true;
                shared.written_tables.insert(table);
            }
            Operator::RefNull { .. }
            | Operator::RefIsNull
            | Operator::TableGet { .. }
            | Operator::TableSize { .. }
            | Operator::TypedSelect { .. } => shared.uses_references = true,
            _ => {}
        }
    }
}

impl SharedFacts {
    fn add_block_type(&mut self, ty: BlockType) {
        if let BlockType::FuncType(index) = ty {
            self.block_types.insert(index);
        }
    }
}
