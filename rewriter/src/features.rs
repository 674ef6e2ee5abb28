//! Which operators and types can be migratized. Everything of Wasm 3.0 (and a few proposals beyond)
//! is *represented*; what is not yet *instrumented* is refused here, with the construct's name.

use wasm_migrate_abi::ValueType;
use wasmparser::{AbstractHeapType, HeapType, Operator, RefType, ValType, WasmFeatures};

/// What the input is validated against: enough to understand, and so to refuse by name, what we do
/// not instrument.
pub(crate) fn input_features() -> WasmFeatures {
    WasmFeatures::WASM3
        | WasmFeatures::RELAXED_SIMD
        | WasmFeatures::THREADS
        | WasmFeatures::STACK_SWITCHING
        | WasmFeatures::LEGACY_EXCEPTIONS
        | WasmFeatures::WIDE_ARITHMETIC
        | WasmFeatures::CUSTOM_PAGE_SIZES
}

/// The proposal and text name of an operator that is not instrumented; `None` for the rest.
pub(crate) fn unsupported_operator(operator: &Operator<'_>) -> Option<String> {
    let (proposal, visit) = proposal_of(operator);
    let family = match proposal {
        "mvp"
        | "sign_extension"
        | "saturating_float_to_int"
        | "bulk_memory"
        | "reference_types"
        | "tail_call"
        | "simd"
        | "relaxed_simd"
        | "wide_arithmetic" => {
            return unsupported_type_of(operator);
        }
        "exceptions" | "legacy_exceptions" => "exceptions",
        "function_references" => "typed function references",
        "gc" => "GC types",
        "threads" | "shared_everything_threads" => "atomics",
        "stack_switching" => "stack switching",
        other => other,
    };
    Some(format!("{family} ({})", visit.trim_start_matches("visit_")))
}

/// Whether the operator is one of fixed-width or relaxed SIMD.
pub(crate) fn is_vector(operator: &Operator<'_>) -> bool {
    matches!(proposal_of(operator).0, "simd" | "relaxed_simd")
}

/// Whether an engine that has the operator has functions with several results, too: it came with them or later.
pub(crate) fn implies_multi_value(operator: &Operator<'_>) -> bool {
    proposal_of(operator).0 != "mvp"
}

/// The type of values of this kind in frames and globals, or the construct that has no such type.
pub(crate) fn value_type(ty: ValType) -> Result<ValueType, String> {
    Ok(match ty {
        ValType::I32 => ValueType::I32,
        ValType::I64 => ValueType::I64,
        ValType::F32 => ValueType::F32,
        ValType::F64 => ValueType::F64,
        ValType::V128 => ValueType::V128,
        ValType::Ref(RefType::FUNCREF) => ValueType::FuncRef,
        ValType::Ref(RefType::EXTERNREF) => ValueType::ExternRef,
        ValType::Ref(other) => return Err(unsupported_reference(other)),
    })
}

/// Like [`value_type`], for an operand: `ref.func` and `ref.null` push subtypes of the declared types.
pub(crate) fn operand_type(ty: ValType) -> Result<ValueType, String> {
    let ValType::Ref(reference) = ty else {
        return value_type(ty);
    };
    if matches!(
        abstract_type(reference),
        Some(AbstractHeapType::Extern | AbstractHeapType::NoExtern)
    ) {
        Ok(ValueType::ExternRef)
    } else {
        // Only functions are left: every operator that makes another reference is refused.
        Ok(ValueType::FuncRef)
    }
}

/// The abstract heap type that the reference points to; `None` for a type of the module's own.
fn abstract_type(ty: RefType) -> Option<AbstractHeapType> {
    match ty.heap_type() {
        HeapType::Abstract { ty, .. } => Some(ty),
        HeapType::Concrete(_) | HeapType::Exact(_) => None,
    }
}

fn unsupported_reference(ty: RefType) -> String {
    use AbstractHeapType::{Cont, Exn, Extern, Func, NoCont, NoExn, NoExtern, NoFunc};
    let family = match abstract_type(ty) {
        None | Some(Func | NoFunc) => "typed function references",
        Some(Extern | NoExtern) => "non-null external references",
        Some(Exn | NoExn) => "exceptions",
        Some(Cont | NoCont) => "stack switching",
        Some(_) => "GC types",
    };
    format!("{family} ({ty})")
}

/// Types named by otherwise supported operators.
fn unsupported_type_of(operator: &Operator<'_>) -> Option<String> {
    match operator {
        Operator::RefNull { hty } => {
            let ty = RefType::new(true, *hty)?;
            value_type(ValType::Ref(ty)).err()
        }
        Operator::TypedSelect { ty } => value_type(*ty).err(),
        _ => None,
    }
}

macro_rules! define_proposal_of {
    ($(@$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
        fn proposal_of(operator: &Operator<'_>) -> (&'static str, &'static str) {
            match operator {
                $( Operator::$op { .. } => (stringify!($proposal), stringify!($visit)), )*
                _ => ("unknown operators", "unknown"),
            }
        }
    }
}
wasmparser::for_each_operator!(define_proposal_of);
