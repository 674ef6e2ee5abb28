//! A stopped guest as a WebAssembly core dump, which debuggers read:
//! <https://github.com/WebAssembly/tool-conventions/blob/main/Coredump.md>.
//!
//! Frames come innermost first and name functions of the original module; a frame's offset is that of its
//! safe point from the start of the function's body. Locals and operands that are not live are missing, as
//! are vectors and references, which the format cannot say. Of the globals there are the mutable ones.

use wasm_encoder::{
    ConstExpr, CoreDumpInstancesSection, CoreDumpModulesSection, CoreDumpSection,
    CoreDumpStackSection, CoreDumpValue, DataSection, GlobalSection, GlobalType, Ieee32, Ieee64,
    MemorySection, MemoryType, Module, ValType,
};
use wasm_migrate_abi::{Description, SlotOrigin};

use crate::memory::{BLOCK_BYTES, MemorySize};
use crate::state::{Frame, State, Value};

/// More locals or operands than any engine allows.
const PLACES_MAX: usize = 1 << 20;

/// Writes a guest's state as a core dump of the module called `name`.
#[must_use]
pub fn coredump(state: &State, description: &Description, name: &str) -> Vec<u8> {
    let mut memories = MemorySection::new();
    let mut data = DataSection::new();
    for (index, memory) in (0..).zip(&state.memories) {
        let ty = memory_type(memory.size);
        memories.memory(ty);
        for block in &memory.blocks {
            let address = block.index * BLOCK_BYTES;
            let offset = match ty.memory64 {
                true => ConstExpr::i64_const(address.cast_signed()),
                // No more than 4 GiB.
                false => ConstExpr::i32_const((address as u32).cast_signed()),
            };
            data.active(index, &offset, block.bytes.iter().copied());
        }
    }
    let mut globals = GlobalSection::new();
    for value in &state.globals {
        if let Some((val_type, value)) = constant(value) {
            let ty = GlobalType {
                val_type,
                mutable: true,
                shared: false,
            };
            globals.global(ty, &value);
        }
    }
    let mut modules = CoreDumpModulesSection::new();
    modules.module(name);
    let mut instances = CoreDumpInstancesSection::new();
    instances.instance(0, 0..memories.len(), 0..globals.len());
    let mut stack = CoreDumpStackSection::new("main");
    for frame in state.frames.iter().rev() {
        let (offset, locals, operands) = values(frame, description);
        stack.frame(0, frame.function, offset, locals, operands);
    }
    let mut module = Module::new();
    module
        .section(&CoreDumpSection::new(name))
        .section(&modules)
        .section(&instances)
        .section(&stack)
        .section(&memories)
        .section(&globals)
        .section(&data);
    module.finish()
}

fn memory_type(size: MemorySize) -> MemoryType {
    let is_custom = size.page_bytes != 65_536;
    MemoryType {
        minimum: size.pages,
        maximum: None,
        memory64: size.bytes() > 1 << 32,
        shared: false,
        page_size_log2: is_custom.then(|| size.page_bytes.trailing_zeros()),
    }
}

/// Offset, locals and operands of a frame.
fn values(
    frame: &Frame,
    description: &Description,
) -> (u32, Vec<CoreDumpValue>, Vec<CoreDumpValue>) {
    let (mut locals, mut operands) = (Vec::new(), Vec::new());
    let Some(function) = description.function(frame.function) else {
        return (0, locals, operands);
    };
    let point = function.safe_points.get(frame.safe_point as usize);
    let live = function.live_slots(frame.safe_point).unwrap_or_default();
    for (slot, value) in live.iter().zip(&frame.values) {
        let value = dumped(value);
        match function.slots.get(*slot as usize).map(|slot| slot.origin) {
            Some(SlotOrigin::Local(index)) => put(&mut locals, index, value),
            Some(SlotOrigin::Operand(height)) => put(&mut operands, height, value),
            None => {}
        }
    }
    (point.map_or(0, |point| point.offset), locals, operands)
}

fn put(values: &mut Vec<CoreDumpValue>, at: u32, value: CoreDumpValue) {
    let at = at as usize;
    if at > PLACES_MAX {
        return;
    }
    if values.len() <= at {
        values.resize(at + 1, CoreDumpValue::Missing);
    }
    values[at] = value;
}

fn dumped(value: &Value) -> CoreDumpValue {
    match value {
        Value::I32(value) => CoreDumpValue::I32(*value),
        Value::I64(value) => CoreDumpValue::I64(*value),
        Value::F32(bits) => CoreDumpValue::F32(Ieee32::new(*bits)),
        Value::F64(bits) => CoreDumpValue::F64(Ieee64::new(*bits)),
        Value::V128(_) | Value::FuncRef(_) | Value::ExternRef(_) => CoreDumpValue::Missing,
    }
}

fn constant(value: &Value) -> Option<(ValType, ConstExpr)> {
    match value {
        Value::I32(value) => Some((ValType::I32, ConstExpr::i32_const(*value))),
        Value::I64(value) => Some((ValType::I64, ConstExpr::i64_const(*value))),
        Value::F32(bits) => Some((ValType::F32, ConstExpr::f32_const(Ieee32::new(*bits)))),
        Value::F64(bits) => Some((ValType::F64, ConstExpr::f64_const(Ieee64::new(*bits)))),
        Value::V128(bits) => {
            let bits = bits.cast_signed();
            Some((ValType::V128, ConstExpr::v128_const(bits)))
        }
        Value::FuncRef(_) | Value::ExternRef(_) => None,
    }
}
