//! Where everything that rewriting adds will stand: indices of functions, globals, tables and types in
//! the new module. Decided once, before any function is rewritten, so that functions can be rewritten
//! in parallel.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::{IndexMap, IndexSet};
use wasm_encoder::BlockType;
use wasm_migrate_abi::ValueType;

use crate::analysis::{CodeFacts, Suspension};
use crate::encode;
use crate::module::{Module, Signature};
use crate::options::{Goals, Options};
use crate::parking::{PARKED_I32_MAX, ParkingGlobals};

/// The functions of the contract, in the order in which they are imported.
pub(crate) const ABI_IMPORTS: [(&str, &[ValueType], &[ValueType]); 8] = {
    use ValueType::{I32, I64};
    use wasm_migrate_abi as abi;
    [
        (abi::POLL, &[I32], &[I32]),
        (abi::SAVE_I32, &[I32], &[]),
        (abi::SAVE_I64, &[I64], &[]),
        (abi::SAVE_FRAME, &[I32, I32], &[]),
        (abi::LOAD_FRAME, &[I32], &[I32]),
        (abi::LOAD_I32, &[], &[I32]),
        (abi::LOAD_I64, &[], &[I64]),
        (abi::LOAD_CALLEE, &[], &[I32]),
    ]
};

/// How many values of a type one call saves or loads at most.
const TOGETHER_MAX: [(ValueType, usize); 4] = [
    (ValueType::I32, 8),
    (ValueType::I64, 4),
    (ValueType::F32, 8),
    (ValueType::F64, 8),
];

/// How many functions one function chooses among when a call is resumed: engines limit their branch tables, and some
/// the nesting of blocks.
pub(crate) const RESUMABLE_BITS: u32 = 9;

/// Indices of the contract's functions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AbiFunctions {
    pub(crate) poll: u32,
    pub(crate) save_i32: u32,
    pub(crate) save_i64: u32,
    pub(crate) save_frame: u32,
    pub(crate) load_frame: u32,
    pub(crate) load_i32: u32,
    pub(crate) load_i64: u32,
    pub(crate) load_callee: u32,
}

/// Indices of the globals that are added.
#[derive(Debug)]
pub(crate) struct Globals {
    pub(crate) state: u32,
    pub(crate) budget: u32,
    pub(crate) depth: u32,
    /// While rewinding, safe point of the frame being rebuilt; 0 otherwise.
    pub(crate) safe_point: u32,
    /// By data segment that the code drops: 1 once it is dropped.
    pub(crate) data_dropped: BTreeMap<u32, u32>,
    /// By element segment that the code drops.
    pub(crate) element_dropped: BTreeMap<u32, u32>,
    /// How many elements of the references table are taken, if there is one.
    pub(crate) references_used: Option<u32>,
    pub(crate) parking: ParkingGlobals,
}

impl Globals {
    /// How many globals are added before those for parking, all `mut i32`.
    pub(crate) fn count(&self) -> usize {
        let dropped = self.data_dropped.len() + self.element_dropped.len();
        4 + dropped + usize::from(self.references_used.is_some())
    }
}

/// Indices of the functions that are added. They stand before the original's, so that most calls to them
/// are short.
#[derive(Debug)]
pub(crate) struct Helpers {
    /// `() -> i32`: polls; the answer is whether to unwind.
    pub(crate) check: u32,
    /// `()`: the innermost frame is rebuilt, the program runs again.
    pub(crate) arrive: u32,
    /// `(function) -> safe point`: opens the next frame.
    pub(crate) open: u32,
    /// `(safe point, function)`: closes a frame.
    pub(crate) close: u32,
    /// By number of `i32`, from 1: loads them all, and parks them.
    pub(crate) park_i32s: Vec<u32>,
    /// By type and number of values, from 1: the function that takes them and saves them, the first one first.
    pub(crate) save: IndexMap<ValueType, Vec<u32>>,
    /// By type and number of values, from 1: the function that loads and returns them.
    pub(crate) load: IndexMap<ValueType, Vec<u32>>,
    pub(crate) save_v128: Option<u32>,
    pub(crate) load_v128: Option<u32>,
    pub(crate) save_reference: Option<u32>,
    pub(crate) load_reference: Option<u32>,
    /// By result types: the function that goes on in the next frame, whichever function it belongs to.
    pub(crate) resume: IndexMap<Vec<ValueType>, u32>,
    /// By result types for which there are too many: functions that choose among a part of them each.
    pub(crate) resume_parts: IndexMap<Vec<ValueType>, Vec<u32>>,
    pub(crate) save_instance: u32,
    pub(crate) load_instance: u32,
    /// By imported function that is called or referenced: its wrapper.
    pub(crate) wrappers: BTreeMap<u32, u32>,
    /// Index after the last of them.
    end: u32,
}

/// See the module's documentation.
pub(crate) struct Plan {
    pub(crate) goals: Goals,
    /// How many operators a loop without a poll may execute at most.
    pub(crate) latency_max: u32,
    pub(crate) blocking: BTreeSet<u32>,
    pub(crate) abi: AbiFunctions,
    pub(crate) globals: Globals,
    pub(crate) helpers: Helpers,
    /// Types that are added after the original's.
    pub(crate) types: IndexSet<Signature>,
    /// By result types and in the order of `load_callee`'s answers: functions that the resume function
    /// can go on in.
    pub(crate) resumable: BTreeMap<Vec<ValueType>, Vec<u32>>,
    /// Tables whose contents may change, and so are part of the state.
    pub(crate) captured_tables: BTreeSet<u32>,
    /// Index of the scratch table for live function references.
    pub(crate) references_table: Option<u32>,
    /// Index of the table that identifies function references, and its contents.
    pub(crate) functions_table: Option<u32>,
    pub(crate) function_refs: Vec<u32>,
    type_indices: IndexMap<Signature, u32>,
    imported: u32,
}

impl Plan {
    pub(crate) fn new(
        module: &Module<'_>,
        code: &CodeFacts,
        suspension: &Suspension,
        blocking: BTreeSet<u32>,
        options: &Options,
        goals: Goals,
    ) -> Self {
        let imported = module.imported_functions();
        let at = |offset: u32| imported + offset;
        let abi = AbiFunctions {
            poll: at(0),
            save_i32: at(1),
            save_i64: at(2),
            save_frame: at(3),
            load_frame: at(4),
            load_i32: at(5),
            load_i64: at(6),
            load_callee: at(7),
        };
        let references = code.shared.uses_references
            || module.constants_use_references
            || uses_type(module, code, ValueType::FuncRef);
        let vectors = code.shared.uses_vectors || uses_type(module, code, ValueType::V128);
        let resumable = resumable(module, suspension);
        let together = Together::new(module, code);
        let types = TypeTable::new(module, code, &resumable, &together);
        let first_helper = imported + count32(ABI_IMPORTS.len());
        let used = used_imports(module, code);
        let helpers = Helpers::new(
            first_helper,
            used,
            &together,
            vectors,
            references,
            &resumable,
        );
        let tables = count32(module.tables.len());
        let captured_tables = captured_tables(module, code);
        let identify = references || !captured_tables.is_empty();
        Self {
            goals,
            latency_max: options.max_latency.unwrap_or(u32::MAX),
            blocking,
            abi,
            globals: Globals::new(module, code, references, vectors),
            helpers,
            types: types.all,
            resumable,
            captured_tables,
            functions_table: identify.then_some(tables),
            references_table: references.then_some(tables + 1),
            function_refs: if identify {
                suspension.address_taken.iter().copied().collect()
            } else {
                Vec::new()
            },
            type_indices: types.indices,
            imported,
        }
    }

    /// New index of a function that code, tables or `ref.func` name: imports are reached through their
    /// wrappers.
    pub(crate) fn function(&self, original: u32) -> u32 {
        match self.helpers.wrappers.get(&original) {
            Some(&wrapper) => wrapper,
            None => self.exported_function(original),
        }
    }

    /// New index of a function that an export names: an import stays the import.
    pub(crate) fn exported_function(&self, original: u32) -> u32 {
        if original < self.imported {
            original
        } else {
            original - self.imported + self.helpers.end
        }
    }

    /// Index of a function type; it must have been planned.
    pub(crate) fn type_index(&self, params: &[ValueType], results: &[ValueType]) -> u32 {
        let signature = Signature {
            params: params.to_vec(),
            results: results.to_vec(),
        };
        self.type_indices[&signature]
    }

    /// The type of a block without parameters.
    pub(crate) fn block_type(&self, results: &[ValueType]) -> BlockType {
        match results {
            [] => BlockType::Empty,
            [one] => BlockType::Result(encode::value_type(*one)),
            _ => BlockType::FunctionType(self.type_index(&[], results)),
        }
    }

    /// How many values of a type one call saves at most.
    pub(crate) fn saved_together(&self, value_type: ValueType) -> usize {
        self.helpers.save.get(&value_type).map_or(1, Vec::len)
    }

    /// How many values of a type one call loads at most.
    pub(crate) fn loaded_together(&self, value_type: ValueType) -> usize {
        self.helpers.load.get(&value_type).map_or(1, Vec::len)
    }

    /// The function that goes on in the next frame and returns these results.
    pub(crate) fn resume(&self, results: &[ValueType]) -> u32 {
        self.helpers.resume[results]
    }

    /// What `load_callee` answers for this function.
    pub(crate) fn resume_slot(&self, module: &Module<'_>, function: u32) -> Option<u32> {
        let functions = self.resumable.get(&module.signature(function).results)?;
        functions.binary_search(&function).ok().map(count32)
    }
}

fn captured_tables(module: &Module<'_>, code: &CodeFacts) -> BTreeSet<u32> {
    let mut tables = code.shared.written_tables.clone();
    tables.extend(0..module.imported_tables);
    let exported = module
        .exports
        .iter()
        .filter(|export| export.kind == wasmparser::ExternalKind::Table);
    tables.extend(exported.map(|export| export.index));
    if !allows_second_table(
        module,
        code.shared.uses_references || module.constants_use_references,
    ) {
        tables.clear();
    }
    tables
}

/// An engine with only Wasm 1.0 has one table; a module made for it cannot write that table either.
fn allows_second_table(module: &Module<'_>, uses_references: bool) -> bool {
    uses_references || module.tables.len() != 1
}

impl Globals {
    fn new(module: &Module<'_>, code: &CodeFacts, references: bool, vectors: bool) -> Self {
        let first = count32(module.globals.len());
        let mut next = first + 4..;
        let mut flags = |segments: &BTreeSet<u32>| -> BTreeMap<u32, u32> {
            segments.iter().copied().zip(&mut next).collect()
        };
        let data_dropped = flags(&code.shared.data_drops);
        let element_dropped = flags(&code.shared.element_drops);
        let references_used = references.then(|| next.next().expect("far from the limit"));
        Self {
            state: first,
            budget: first + 1,
            depth: first + 2,
            safe_point: first + 3,
            data_dropped,
            element_dropped,
            references_used,
            parking: ParkingGlobals::new(next.start, vectors),
        }
    }
}

impl Helpers {
    fn new(
        first: u32,
        used_imports: BTreeSet<u32>,
        together: &Together,
        vectors: bool,
        references: bool,
        resumable: &BTreeMap<Vec<ValueType>, Vec<u32>>,
    ) -> Self {
        let mut indices = first..;
        let mut next = || {
            indices
                .next()
                .expect("validated counts are far from the limit")
        };
        Self {
            check: next(),
            arrive: next(),
            open: next(),
            close: next(),
            park_i32s: (0..PARKED_I32_MAX).map(|_| next()).collect(),
            save: by_count(&together.saved, &mut next),
            load: by_count(&together.loaded, &mut next),
            save_v128: vectors.then(&mut next),
            load_v128: vectors.then(&mut next),
            save_reference: references.then(&mut next),
            load_reference: references.then(&mut next),
            resume: resumable
                .keys()
                .map(|results| (results.clone(), next()))
                .collect(),
            resume_parts: resumable
                .iter()
                .filter(|(_, functions)| functions.len() > 1 << RESUMABLE_BITS)
                .map(|(results, functions)| {
                    let parts = functions.chunks(1 << RESUMABLE_BITS).map(|_| next());
                    (results.clone(), parts.collect())
                })
                .collect(),
            save_instance: next(),
            load_instance: next(),
            wrappers: used_imports
                .into_iter()
                .map(|import| (import, next()))
                .collect(),
            end: next(),
        }
    }
}

fn by_count(
    counts: &IndexMap<ValueType, usize>,
    mut next: impl FnMut() -> u32,
) -> IndexMap<ValueType, Vec<u32>> {
    counts
        .iter()
        .map(|(&value_type, &count)| (value_type, (0..count).map(|_| next()).collect()))
        .collect()
}

/// How many values of each type one call saves and loads at most. Types that are missing go as integers.
struct Together {
    saved: IndexMap<ValueType, usize>,
    loaded: IndexMap<ValueType, usize>,
}

impl Together {
    fn new(module: &Module<'_>, code: &CodeFacts) -> Self {
        let is_integer = |ty| matches!(ty, ValueType::I32 | ValueType::I64);
        let saved: IndexMap<ValueType, usize> = TOGETHER_MAX
            .into_iter()
            .filter(|&(ty, _)| is_integer(ty) || uses_type(module, code, ty))
            .map(|(ty, max)| (ty, if uses_type(module, code, ty) { max } else { 1 }))
            .collect();
        let mut loaded = saved.clone();
        let multi_value = code.shared.implies_multi_value
            || module.types.iter().any(|ty| ty.results.len() > 1)
            || !code.shared.block_types.is_empty();
        if !multi_value {
            loaded.values_mut().for_each(|count| *count = 1);
        }
        Self { saved, loaded }
    }
}

/// Functions that the resume functions can go on in, by their results.
fn resumable(module: &Module<'_>, suspension: &Suspension) -> BTreeMap<Vec<ValueType>, Vec<u32>> {
    let mut resumable: BTreeMap<Vec<ValueType>, Vec<u32>> = BTreeMap::new();
    for &function in &suspension.callees {
        if suspension.function(function) {
            let results = module.signature(function).results.clone();
            resumable.entry(results).or_default().push(function);
        }
    }
    resumable
}

struct TypeTable {
    all: IndexSet<Signature>,
    indices: IndexMap<Signature, u32>,
}

impl TypeTable {
    fn new(
        module: &Module<'_>,
        code: &CodeFacts,
        resumable: &BTreeMap<Vec<ValueType>, Vec<u32>>,
        together: &Together,
    ) -> Self {
        let mut indices = IndexMap::new();
        for (index, signature) in (0..).zip(&module.types) {
            indices.entry(signature.clone()).or_insert(index);
        }
        let mut next = count32(module.types.len());
        let mut all: IndexSet<Signature> = IndexSet::new();
        let mut add = |params: &[ValueType], results: &[ValueType]| {
            let signature = Signature {
                params: params.to_vec(),
                results: results.to_vec(),
            };
            if let indexmap::map::Entry::Vacant(entry) = indices.entry(signature.clone()) {
                entry.insert(next);
                all.insert(signature);
                next += 1;
            }
        };
        for (_, params, results) in ABI_IMPORTS {
            add(params, results);
        }
        add(&[], &[]);
        for (&value_type, &max) in &together.saved {
            (1..=max).for_each(|count| add(&vec![value_type; count], &[]));
        }
        for (&value_type, &max) in &together.loaded {
            (1..=max).for_each(|count| add(&[], &vec![value_type; count]));
        }
        for value_type in [ValueType::V128, ValueType::FuncRef] {
            if uses_type(module, code, value_type) || code.shared.uses(value_type) {
                add(&[value_type], &[]);
                add(&[], &[value_type]);
            }
        }
        if module.constants_use_references {
            add(&[ValueType::FuncRef], &[]);
            add(&[], &[ValueType::FuncRef]);
        }
        for (results, functions) in resumable {
            add(&[], results);
            if functions.len() > 1 << RESUMABLE_BITS {
                add(&[ValueType::I32], results);
            }
        }
        // Blocks that are opened earlier than in the original have no parameters any more, and where
        // rewinding lands behind a call a block with its results ends.
        let mut results: BTreeSet<&[ValueType]> = BTreeSet::new();
        let types = code.functions.iter().flat_map(|f| &f.indirect_calls);
        for &ty in types.chain(&code.shared.block_types) {
            results.insert(&module.types[ty as usize].results);
        }
        for &callee in code.functions.iter().flat_map(|f| &f.calls) {
            results.insert(&module.signature(callee).results);
        }
        for results in results.into_iter().filter(|results| results.len() > 1) {
            add(&[], results);
        }
        Self { all, indices }
    }
}

fn used_imports(module: &Module<'_>, code: &CodeFacts) -> BTreeSet<u32> {
    let mut used: BTreeSet<u32> = code.shared.function_refs.clone();
    used.extend(&module.constant_function_refs);
    for function in &code.functions {
        used.extend(function.calls.union(&function.tail_calls));
    }
    used.extend(module.start);
    used.split_off(&module.imported_functions());
    used
}

/// Whether a value of this type can occur at all, as far as types tell.
fn uses_type(module: &Module<'_>, code: &CodeFacts, value_type: ValueType) -> bool {
    let in_signature = |signature: &Signature| {
        signature.params.contains(&value_type) || signature.results.contains(&value_type)
    };
    let in_globals = module
        .globals
        .iter()
        .any(|global| crate::features::value_type(global.content_type) == Ok(value_type));
    in_globals
        || module.types.iter().any(in_signature)
        || code.shared.local_types.contains(&value_type)
}

/// Counts of validated things fit in `u32`.
pub(crate) fn count32(count: usize) -> u32 {
    u32::try_from(count).expect("validated counts fit in u32")
}
