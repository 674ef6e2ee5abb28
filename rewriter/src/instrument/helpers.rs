//! Functions that are added, in the order of [`Helpers`](crate::plan::Helpers).
//!
//! Instrumented functions save and load through them rather than through the imports: a call to an import
//! reads where it goes from memory, and engines hoist those reads into hot code.

use wasm_encoder::{BlockType, Function, Instruction, ValType};
use wasm_migrate_abi::{RUNNING, UNWINDING, ValueType};

use super::frame::{load, save};
use super::wrapper::wrapper_function;
use crate::encode;
use crate::features;
use crate::module::{Module, Signature};
use crate::parking::PARKED_I32_MAX;
use crate::plan::{Plan, RESUMABLE_BITS, count32};

/// All functions that are added, with their signatures, in index order.
pub(crate) fn added_functions(module: &Module<'_>, plan: &Plan) -> Vec<(Signature, Function)> {
    let signature = |params: &[ValueType], results: &[ValueType]| Signature {
        params: params.to_vec(),
        results: results.to_vec(),
    };
    let mut helpers = vec![
        (signature(&[], &[ValueType::I32]), check(plan)),
        (signature(&[], &[]), arrive(plan)),
        (signature(&[ValueType::I32], &[ValueType::I32]), open(plan)),
        (
            signature(&[ValueType::I32, ValueType::I32], &[]),
            close(plan),
        ),
    ];
    for count in 1..=PARKED_I32_MAX {
        helpers.push((signature(&[], &[]), park_i32s(count, plan)));
    }
    for (&value_type, functions) in &plan.helpers.save {
        for count in 1..=functions.len() {
            let types = vec![value_type; count];
            helpers.push((signature(&types, &[]), save_values(&types, plan)));
        }
    }
    for (&value_type, functions) in &plan.helpers.load {
        for count in 1..=functions.len() {
            let types = vec![value_type; count];
            helpers.push((signature(&[], &types), load_values(&types, plan)));
        }
    }
    if plan.helpers.save_v128.is_some() {
        helpers.push((signature(&[ValueType::V128], &[]), save_v128(plan)));
        helpers.push((signature(&[], &[ValueType::V128]), load_v128(plan)));
    }
    if let (Some(table), Some(used)) = (plan.references_table, plan.globals.references_used) {
        helpers.push((
            signature(&[ValueType::FuncRef], &[]),
            save_reference(table, used, plan),
        ));
        helpers.push((
            signature(&[], &[ValueType::FuncRef]),
            load_reference(table, plan),
        ));
    }
    for results in plan.helpers.resume.keys() {
        helpers.push((signature(&[], results), resume(module, results, plan)));
    }
    for results in plan.helpers.resume_parts.keys() {
        let parts = plan.resumable[results].chunks(1 << RESUMABLE_BITS);
        for (part, functions) in parts.enumerate() {
            let function = resume_part(module, part, functions, plan);
            helpers.push((signature(&[ValueType::I32], results), function));
        }
    }
    helpers.push((signature(&[], &[]), save_instance(module, plan)));
    helpers.push((signature(&[], &[]), load_instance(module, plan)));
    let wrappers = plan.helpers.wrappers.keys().map(|&import| {
        let signature = module.signature(import);
        let function = wrapper_function(import, signature, plan);
        (signature.clone(), function)
    });
    helpers.extend(wrappers);
    helpers
}

fn build(
    locals: &[ValType],
    instructions: impl IntoIterator<Item = Instruction<'static>>,
) -> Function {
    let mut function = Function::new(locals.iter().map(|&ty| (1, ty)));
    for instruction in instructions {
        function.instruction(&instruction);
    }
    function.instruction(&Instruction::End);
    function
}

/// Polls; answers whether to unwind.
fn check(plan: &Plan) -> Function {
    let globals = &plan.globals;
    build(
        &[ValType::I32],
        [
            Instruction::GlobalGet(globals.depth),
            Instruction::Call(plan.abi.poll),
            Instruction::LocalTee(0),
            Instruction::GlobalSet(globals.budget),
            Instruction::LocalGet(0),
            Instruction::I32Const(0),
            Instruction::I32GtS,
            Instruction::If(BlockType::Empty),
            Instruction::I32Const(0),
            Instruction::Return,
            Instruction::End,
            Instruction::I32Const(UNWINDING),
            Instruction::GlobalSet(globals.state),
            Instruction::I32Const(1),
        ],
    )
}

/// This is where the program was stopped: it runs again. All references have been loaded, so that their table
/// can be used anew.
fn arrive(plan: &Plan) -> Function {
    let mut instructions = vec![
        Instruction::I32Const(RUNNING),
        Instruction::GlobalSet(plan.globals.state),
        Instruction::I32Const(0),
        Instruction::GlobalSet(plan.globals.safe_point),
    ];
    if let (Some(table), Some(used)) = (plan.references_table, plan.globals.references_used) {
        instructions.extend([
            Instruction::I32Const(0),
            encode::zero(ValueType::FuncRef),
            Instruction::TableSize(table),
            Instruction::TableFill(table),
            Instruction::I32Const(0),
            Instruction::GlobalSet(used),
        ]);
    }
    build(&[], instructions)
}

/// Opens the next frame; answers its safe point, which it also notes.
fn open(plan: &Plan) -> Function {
    build(
        &[],
        [
            Instruction::LocalGet(0),
            Instruction::Call(plan.abi.load_frame),
            Instruction::LocalTee(0),
            Instruction::GlobalSet(plan.globals.safe_point),
            Instruction::LocalGet(0),
        ],
    )
}

/// Closes a frame. The safe point comes first, since it lies on the stack when the function is known.
fn close(plan: &Plan) -> Function {
    build(
        &[],
        [
            Instruction::LocalGet(1),
            Instruction::LocalGet(0),
            Instruction::Call(plan.abi.save_frame),
        ],
    )
}

/// Loads so many `i32` and parks them. The functions for fewer do most of it.
fn park_i32s(count: u32, plan: &Plan) -> Function {
    let place = plan.globals.parking.place(ValueType::I32, count - 1);
    let fewer = (count > 1).then(|| Instruction::Call(plan.helpers.park_i32s[count as usize - 2]));
    let last = [
        Instruction::Call(plan.abi.load_i32),
        Instruction::GlobalSet(place.expect("there are so many")),
    ];
    build(&[], fewer.into_iter().chain(last))
}

fn save_values(types: &[ValueType], plan: &Plan) -> Function {
    let values = (0..).zip(types);
    build(
        &[],
        values.flat_map(|(param, &value_type)| {
            std::iter::once(Instruction::LocalGet(param)).chain(save_word(value_type, plan))
        }),
    )
}

fn load_values(types: &[ValueType], plan: &Plan) -> Function {
    build(
        &[],
        types
            .iter()
            .flat_map(|&value_type| load_word(value_type, plan)),
    )
}

fn save_word(value_type: ValueType, plan: &Plan) -> Vec<Instruction<'static>> {
    let (save_i32, save_i64) = (plan.abi.save_i32, plan.abi.save_i64);
    match value_type {
        ValueType::I32 => vec![Instruction::Call(save_i32)],
        ValueType::I64 => vec![Instruction::Call(save_i64)],
        ValueType::F32 => vec![Instruction::I32ReinterpretF32, Instruction::Call(save_i32)],
        ValueType::F64 => vec![Instruction::I64ReinterpretF64, Instruction::Call(save_i64)],
        _ => unreachable!("only numbers are one word"),
    }
}

fn load_word(value_type: ValueType, plan: &Plan) -> Vec<Instruction<'static>> {
    let (load_i32, load_i64) = (plan.abi.load_i32, plan.abi.load_i64);
    match value_type {
        ValueType::I32 => vec![Instruction::Call(load_i32)],
        ValueType::I64 => vec![Instruction::Call(load_i64)],
        ValueType::F32 => vec![Instruction::Call(load_i32), Instruction::F32ReinterpretI32],
        ValueType::F64 => vec![Instruction::Call(load_i64), Instruction::F64ReinterpretI64],
        _ => unreachable!("only numbers are one word"),
    }
}

fn save_v128(plan: &Plan) -> Function {
    build(
        &[],
        [
            Instruction::LocalGet(0),
            Instruction::I64x2ExtractLane(1),
            Instruction::Call(plan.abi.save_i64),
            Instruction::LocalGet(0),
            Instruction::I64x2ExtractLane(0),
            Instruction::Call(plan.abi.save_i64),
        ],
    )
}

fn load_v128(plan: &Plan) -> Function {
    build(
        &[],
        [
            Instruction::Call(plan.abi.load_i64),
            Instruction::I64x2Splat,
            Instruction::Call(plan.abi.load_i64),
            Instruction::I64x2ReplaceLane(1),
        ],
    )
}

/// Puts a reference into the scratch table's next free element and saves its index, or -1 for null. Where the
/// table has no room and cannot grow, storing traps: a null would be wrong.
fn save_reference(table: u32, used: u32, plan: &Plan) -> Function {
    build(
        &[],
        [
            Instruction::LocalGet(0),
            Instruction::RefIsNull,
            Instruction::If(BlockType::Result(ValType::I32)),
            Instruction::I32Const(-1),
            Instruction::Else,
            Instruction::GlobalGet(used),
            Instruction::TableSize(table),
            Instruction::I32GeU,
            Instruction::If(BlockType::Empty),
            encode::zero(ValueType::FuncRef),
            Instruction::I32Const(1),
            Instruction::TableGrow(table),
            Instruction::Drop,
            Instruction::End,
            Instruction::GlobalGet(used),
            Instruction::LocalGet(0),
            Instruction::TableSet(table),
            Instruction::GlobalGet(used),
            Instruction::I32Const(1),
            Instruction::I32Add,
            Instruction::GlobalSet(used),
            Instruction::GlobalGet(used),
            Instruction::I32Const(1),
            Instruction::I32Sub,
            Instruction::End,
            Instruction::Call(plan.abi.save_i32),
        ],
    )
}

fn load_reference(table: u32, plan: &Plan) -> Function {
    build(
        &[ValType::I32],
        [
            Instruction::Call(plan.abi.load_i32),
            Instruction::LocalTee(0),
            Instruction::I32Const(-1),
            Instruction::I32Eq,
            Instruction::If(BlockType::Result(ValType::Ref(
                wasm_encoder::RefType::FUNCREF,
            ))),
            encode::zero(ValueType::FuncRef),
            Instruction::Else,
            Instruction::LocalGet(0),
            Instruction::TableGet(table),
            Instruction::End,
        ],
    )
}

/// Calls the function that the next frame belongs to, whichever of these it is.
fn resume(module: &Module<'_>, results: &[ValueType], plan: &Plan) -> Function {
    let slot = [Instruction::Call(plan.abi.load_callee)];
    let Some(parts) = plan.helpers.resume_parts.get(results) else {
        return choose(
            0,
            &slot,
            &calls_for_resume(module, &plan.resumable[results], plan),
        );
    };
    let part = [
        Instruction::Call(plan.abi.load_callee),
        Instruction::LocalTee(0),
        Instruction::I32Const(RESUMABLE_BITS.cast_signed()),
        Instruction::I32ShrU,
    ];
    let calls: Vec<Vec<Instruction<'static>>> = parts
        .iter()
        .map(|&part| vec![Instruction::LocalGet(0), Instruction::Call(part)])
        .collect();
    choose(1, &part, &calls)
}

/// Does so for the functions of one part; the parameter is the resume slot.
fn resume_part(module: &Module<'_>, part: usize, functions: &[u32], plan: &Plan) -> Function {
    let first = count32(part) << RESUMABLE_BITS;
    let index = [
        Instruction::LocalGet(0),
        Instruction::I32Const(first.cast_signed()),
        Instruction::I32Sub,
    ];
    choose(0, &index, &calls_for_resume(module, functions, plan))
}

/// They load their frames and do not look at their arguments.
fn calls_for_resume(
    module: &Module<'_>,
    functions: &[u32],
    plan: &Plan,
) -> Vec<Vec<Instruction<'static>>> {
    let call = |&callee: &u32| {
        let params = &module.signature(callee).params;
        let zeros = params.iter().map(|&param| encode::zero(param));
        zeros
            .chain([Instruction::Call(plan.function(callee))])
            .collect()
    };
    functions.iter().map(call).collect()
}

/// Does one of several things and returns.
fn choose(
    locals: u32,
    index: &[Instruction<'static>],
    choices: &[Vec<Instruction<'static>>],
) -> Function {
    let mut function = Function::new((locals > 0).then_some((locals, ValType::I32)));
    for _ in choices {
        function.instruction(&Instruction::Block(BlockType::Empty));
    }
    for instruction in index {
        function.instruction(instruction);
    }
    let last = count32(choices.len()) - 1;
    function.instruction(&Instruction::BrTable((0..=last).collect(), last));
    for choice in choices {
        function.instruction(&Instruction::End);
        for instruction in choice {
            function.instruction(instruction);
        }
        function.instruction(&Instruction::Return);
    }
    function.instruction(&Instruction::End);
    function
}

/// Mutable globals that are saved as words, with their types.
fn word_globals(module: &Module<'_>) -> impl Iterator<Item = (u32, ValueType)> {
    (0..)
        .zip(&module.globals)
        .filter(|(_, global)| global.mutable)
        .filter_map(|(index, global)| {
            let value_type = features::value_type(global.content_type).ok()?;
            (!matches!(value_type, ValueType::FuncRef | ValueType::ExternRef))
                .then_some((index, value_type))
        })
}

fn save_instance(module: &Module<'_>, plan: &Plan) -> Function {
    let flags = &plan.globals;
    let dropped = flags
        .data_dropped
        .values()
        .chain(flags.element_dropped.values());
    let mut words: Vec<(u32, ValueType)> = word_globals(module).collect();
    words.extend(dropped.map(|&flag| (flag, ValueType::I32)));
    let save_global = |(index, value_type)| {
        std::iter::once(Instruction::GlobalGet(index)).chain(save(value_type, 1, plan))
    };
    build(&[], words.into_iter().rev().flat_map(save_global))
}

fn load_instance(module: &Module<'_>, plan: &Plan) -> Function {
    let mut body = Vec::new();
    for (index, value_type) in word_globals(module) {
        body.extend(load(value_type, 1, plan));
        body.push(Instruction::GlobalSet(index));
    }
    let data = plan
        .globals
        .data_dropped
        .iter()
        .map(|(&segment, &flag)| (flag, Instruction::DataDrop(segment)));
    let elements = plan
        .globals
        .element_dropped
        .iter()
        .map(|(&segment, &flag)| (flag, Instruction::ElemDrop(segment)));
    for (flag, drop) in data.chain(elements) {
        body.extend([
            Instruction::Call(plan.abi.load_i32),
            Instruction::GlobalSet(flag),
            Instruction::GlobalGet(flag),
            Instruction::If(BlockType::Empty),
            drop,
            Instruction::End,
        ]);
    }
    build(&[], body)
}
