//! Small conversions from our types to the encoder's.

use wasm_encoder::{ConstExpr, Instruction, RefType, ValType};
use wasm_migrate_abi::ValueType;

/// The encoder's name for a type.
pub(crate) fn value_type(ty: ValueType) -> ValType {
    match ty {
        ValueType::I32 => ValType::I32,
        ValueType::I64 => ValType::I64,
        ValueType::F32 => ValType::F32,
        ValueType::F64 => ValType::F64,
        ValueType::V128 => ValType::V128,
        ValueType::FuncRef => ValType::Ref(RefType::FUNCREF),
        ValueType::ExternRef => ValType::Ref(RefType::EXTERNREF),
    }
}

/// Makes the zero (or null) of a type.
pub(crate) fn zero(ty: ValueType) -> Instruction<'static> {
    match ty {
        ValueType::I32 => Instruction::I32Const(0),
        ValueType::I64 => Instruction::I64Const(0),
        ValueType::F32 => Instruction::F32Const(0.0_f32.into()),
        ValueType::F64 => Instruction::F64Const(0.0_f64.into()),
        ValueType::V128 => Instruction::V128Const(0),
        ValueType::FuncRef => Instruction::RefNull(wasm_encoder::HeapType::FUNC),
        ValueType::ExternRef => Instruction::RefNull(wasm_encoder::HeapType::EXTERN),
    }
}

/// [`zero`] as the initial value of a global.
pub(crate) fn zero_expression(ty: ValueType) -> ConstExpr {
    ConstExpr::extended([zero(ty)])
}
