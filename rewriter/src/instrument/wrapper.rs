//! Wrappers of imported functions: all calls to imports go through them.
//!
//! A wrapper counts the calls to imports that are on the stack, so that the host knows when one of its
//! frames lies between two activations of the guest. The wrapper of an import that may block is also the
//! function that is saved when the import suspends: its frame holds the arguments, and rewinding it makes
//! the call again.

use wasm_encoder::{BlockType, Function, Instruction};
use wasm_migrate_abi::{SafePointKind, SlotOrigin, ValueType};

use super::frame::{load, save};
use crate::analysis::{Frame, SafePoint};
use crate::encode;
use crate::ir::OpId;
use crate::module::Signature;
use crate::plan::{Plan, count32};

/// Id of the safe point in the wrapper of an import that may block.
const IMPORT: u32 = 1;

/// What the wrapper of a blocking import saves; fails for a host reference among the arguments.
pub(crate) fn wrapper_frame(signature: &Signature) -> Result<Frame, ()> {
    if signature.params.contains(&ValueType::ExternRef) {
        return Err(());
    }
    let slots: Vec<_> = (0..)
        .zip(&signature.params)
        .map(|(index, &ty)| (SlotOrigin::Local(index), ty))
        .collect();
    let safe_point = |kind| SafePoint {
        kind,
        op: OpId(0),
        outer: Vec::new(),
        carried: Vec::new(),
        own: (0..count32(slots.len())).collect(),
    };
    let safe_points = vec![
        safe_point(SafePointKind::Entry),
        safe_point(SafePointKind::Import),
    ];
    Ok(Frame { slots, safe_points })
}

/// The wrapper of the import with this index.
pub(crate) fn wrapper_function(import: u32, signature: &Signature, plan: &Plan) -> Function {
    let mut function = Function::new([]);
    if plan.blocking.contains(&import) {
        blocking(&mut function, import, signature, plan);
    } else {
        call(&mut function, import, signature, plan);
    }
    function.instruction(&Instruction::End);
    function
}

fn blocking(function: &mut Function, import: u32, signature: &Signature, plan: &Plan) {
    let id = Instruction::I32Const(import.cast_signed());
    function
        .instruction(&Instruction::Block(BlockType::Empty))
        .instruction(&Instruction::GlobalGet(plan.globals.state))
        .instruction(&Instruction::If(BlockType::Empty))
        .instruction(&id)
        .instruction(&Instruction::Call(plan.helpers.open))
        .instruction(&Instruction::Drop);
    for (param, &value_type) in (0..).zip(&signature.params) {
        load(value_type, 1, plan)
            .iter()
            .for_each(|instruction| _ = function.instruction(instruction));
        function.instruction(&Instruction::LocalSet(param));
    }
    function
        .instruction(&Instruction::Call(plan.helpers.arrive))
        .instruction(&Instruction::End);
    call(function, import, signature, plan);
    function
        .instruction(&Instruction::GlobalGet(plan.globals.state))
        .instruction(&Instruction::BrIf(0))
        .instruction(&Instruction::Return)
        .instruction(&Instruction::End);
    for (param, &value_type) in (0..count32(signature.params.len()))
        .zip(&signature.params)
        .rev()
    {
        function.instruction(&Instruction::LocalGet(param));
        save(value_type, 1, plan)
            .iter()
            .for_each(|instruction| _ = function.instruction(instruction));
    }
    function
        .instruction(&Instruction::I32Const(IMPORT.cast_signed()))
        .instruction(&id)
        .instruction(&Instruction::Call(plan.helpers.close));
    for &value_type in &signature.results {
        function.instruction(&encode::zero(value_type));
    }
}

fn call(function: &mut Function, import: u32, signature: &Signature, plan: &Plan) {
    change_depth(function, &Instruction::I32Add, plan);
    for param in 0..count32(signature.params.len()) {
        function.instruction(&Instruction::LocalGet(param));
    }
    function.instruction(&Instruction::Call(import));
    change_depth(function, &Instruction::I32Sub, plan);
}

fn change_depth(function: &mut Function, operator: &Instruction<'static>, plan: &Plan) {
    function
        .instruction(&Instruction::GlobalGet(plan.globals.depth))
        .instruction(&Instruction::I32Const(1))
        .instruction(operator)
        .instruction(&Instruction::GlobalSet(plan.globals.depth));
}
