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
use crate::plan::{Plan, SAVED_TOGETHER_MAX, count32};

/// All functions that are added, with their signatures, in index order.
pub(crate) fn added_functions(module: &Module<'_>, plan: &Plan) -> Vec<(Signature, Function)> {
    let signature = |params: &[ValueType], results: &[ValueType]| Signature {
        params: params.to_vec(),
        results: results.to_vec(),
    };
    let mut helpers = vec![
        (signature(&[], &[ValueType::I32]), check(plan)),
        (signature(&[], &[]), arrive(plan)),
        (
            signature(&[], &[ValueType::I32]),
            build(&[], [Instruction::Call(plan.abi.load_i32)]),
        ),
        (
            signature(&[], &[ValueType::I64]),
            build(&[], [Instruction::Call(plan.abi.load_i64)]),
        ),
    ];
    for count in 1..=PARKED_I32_MAX {
        helpers.push((signature(&[], &[]), load_i32s(count, plan)));
    }
    for count in 1..=count32(SAVED_TOGETHER_MAX) {
        let params = vec![ValueType::I32; count as usize];
        helpers.push((signature(&params, &[]), save_i32s(count, plan)));
    }
    let save_i64 = [
        Instruction::LocalGet(0),
        Instruction::Call(plan.abi.save_i64),
    ];
    helpers.push((signature(&[ValueType::I64], &[]), build(&[], save_i64)));
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
        let functions = &plan.resumable[results];
        helpers.push((signature(&[], results), resume(module, functions, plan)));
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

fn load_i32s(count: u32, plan: &Plan) -> Function {
    let load = |nth| {
        let place = plan.globals.parking.place(ValueType::I32, nth);
        let place = place.expect("there are so many");
        [
            Instruction::Call(plan.abi.load_i32),
            Instruction::GlobalSet(place),
        ]
    };
    build(&[], (0..count).flat_map(load))
}

fn save_i32s(count: u32, plan: &Plan) -> Function {
    let save = Instruction::Call(plan.abi.save_i32);
    build(
        &[],
        (0..count).flat_map(|param| [Instruction::LocalGet(param), save.clone()]),
    )
}

fn save_v128(plan: &Plan) -> Function {
    build(
        &[],
        [
            Instruction::LocalGet(0),
            Instruction::I64x2ExtractLane(0),
            Instruction::Call(plan.abi.save_i64),
            Instruction::LocalGet(0),
            Instruction::I64x2ExtractLane(1),
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

/// Calls the function that the next frame belongs to, whichever of these it is. It will load its frame
/// and not look at its arguments.
fn resume(module: &Module<'_>, functions: &[u32], plan: &Plan) -> Function {
    let mut function = Function::new([]);
    for _ in functions {
        function.instruction(&Instruction::Block(BlockType::Empty));
    }
    let last = count32(functions.len()) - 1;
    function
        .instruction(&Instruction::Call(plan.abi.load_callee))
        .instruction(&Instruction::BrTable((0..=last).collect(), last));
    for &callee in functions {
        function.instruction(&Instruction::End);
        for &param in &module.signature(callee).params {
            function.instruction(&encode::zero(param));
        }
        function.instruction(&Instruction::Call(plan.function(callee)));
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
    let mut body = Vec::new();
    for (index, value_type) in word_globals(module) {
        body.push(Instruction::GlobalGet(index));
        body.extend(save(value_type, plan));
    }
    let dropped = plan
        .globals
        .data_dropped
        .values()
        .chain(plan.globals.element_dropped.values());
    for &flag in dropped {
        body.extend([
            Instruction::GlobalGet(flag),
            Instruction::Call(plan.abi.save_i32),
        ]);
    }
    build(&[], body)
}

fn load_instance(module: &Module<'_>, plan: &Plan) -> Function {
    let mut body = Vec::new();
    for (index, value_type) in word_globals(module) {
        body.extend(load(value_type, plan));
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
