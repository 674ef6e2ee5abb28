//! Arguments into engine values, and engine values against what an assertion expects.

use wasmtime::{AnyRef, ExternRef, HeapType, Result, V128, Val};

use super::script::{Argument, Expected, FloatPattern, Hierarchy, ObjectKind};
use crate::subject::Store;

/// Makes an argument in a store.
///
/// # Errors
/// The store cannot hold another host reference.
pub(crate) fn argument(store: &mut Store, argument: Argument) -> Result<Val> {
    Ok(match argument {
        Argument::I32(value) => Val::I32(value),
        Argument::I64(value) => Val::I64(value),
        Argument::F32(bits) => Val::F32(bits),
        Argument::F64(bits) => Val::F64(bits),
        Argument::V128(bits) => Val::V128(V128::from(bits)),
        Argument::Null(hierarchy) => Val::null_ref(&match hierarchy {
            Hierarchy::Func => HeapType::Func,
            Hierarchy::Extern => HeapType::Extern,
            Hierarchy::Any => HeapType::Any,
            Hierarchy::Exn => HeapType::Exn,
        }),
        Argument::Extern(value) => Val::ExternRef(Some(ExternRef::new(&mut *store, value)?)),
        Argument::Host(value) => {
            let host = ExternRef::new(&mut *store, value)?;
            Val::AnyRef(Some(AnyRef::convert_extern(&mut *store, host)?))
        }
    })
}

/// Does a result match?
///
/// # Errors
/// A reference that the store no longer knows.
pub(crate) fn matches(store: &mut Store, actual: &Val, expected: &Expected) -> Result<bool> {
    Ok(match (actual, expected) {
        (actual, Expected::Either(cases)) => {
            for case in cases {
                if matches(store, actual, case)? {
                    return Ok(true);
                }
            }
            false
        }
        (Val::I32(actual), Expected::I32(expected)) => actual == expected,
        (Val::I64(actual), Expected::I64(expected)) => actual == expected,
        (Val::F32(actual), Expected::F32(expected)) => f32_matches(*actual, *expected),
        (Val::F64(actual), Expected::F64(expected)) => f64_matches(*actual, *expected),
        (Val::V128(actual), Expected::V128(expected)) => actual.as_u128() == *expected,
        (Val::V128(actual), Expected::F32x4(lanes)) => lanes
            .iter()
            .enumerate()
            .all(|(i, lane)| f32_matches((actual.as_u128() >> (32 * i)) as u32, *lane)),
        (Val::V128(actual), Expected::F64x2(lanes)) => lanes
            .iter()
            .enumerate()
            .all(|(i, lane)| f64_matches((actual.as_u128() >> (64 * i)) as u64, *lane)),
        (
            Val::FuncRef(None) | Val::ExternRef(None) | Val::AnyRef(None) | Val::ExnRef(None),
            Expected::Null,
        ) => true,
        (Val::FuncRef(Some(_)), Expected::Func)
        | (Val::ExternRef(Some(_)), Expected::Extern(None))
        | (Val::AnyRef(Some(_)), Expected::Object(ObjectKind::Any)) => true,
        (Val::ExternRef(Some(actual)), Expected::Extern(Some(expected))) => {
            actual
                .data(&*store)?
                .and_then(|data| data.downcast_ref::<u32>())
                == Some(expected)
        }
        (Val::AnyRef(Some(actual)), Expected::Host(expected)) => {
            let actual = ExternRef::convert_any(&mut *store, *actual)?;
            actual
                .data(&*store)?
                .and_then(|data| data.downcast_ref::<u32>())
                == Some(expected)
        }
        (Val::AnyRef(Some(actual)), Expected::Object(kind)) => match kind {
            ObjectKind::Any => true,
            ObjectKind::Eq => actual.is_eqref(&*store)?,
            ObjectKind::Array => actual.is_array(&*store)?,
            ObjectKind::Struct => actual.is_struct(&*store)?,
            ObjectKind::I31 => actual.is_i31(&*store)?,
        },
        _ => false,
    })
}

fn f32_matches(actual: u32, expected: FloatPattern<u32>) -> bool {
    match expected {
        FloatPattern::Canonical => actual & 0x7fff_ffff == 0x7fc0_0000,
        FloatPattern::Arithmetic => actual & 0x7fc0_0000 == 0x7fc0_0000,
        FloatPattern::Bits(bits) => actual == bits,
    }
}

fn f64_matches(actual: u64, expected: FloatPattern<u64>) -> bool {
    match expected {
        FloatPattern::Canonical => actual & 0x7fff_ffff_ffff_ffff == 0x7ff8_0000_0000_0000,
        FloatPattern::Arithmetic => actual & 0x7ff8_0000_0000_0000 == 0x7ff8_0000_0000_0000,
        FloatPattern::Bits(bits) => actual == bits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_patterns() {
        assert!(f32_matches(0xffc0_0000, FloatPattern::Canonical));
        assert!(!f32_matches(0x7fc0_0001, FloatPattern::Canonical));
        assert!(f32_matches(0x7fc0_0001, FloatPattern::Arithmetic));
        assert!(!f64_matches(
            0x7ff0_0000_0000_0001,
            FloatPattern::Arithmetic
        ));
        assert!(f64_matches(1, FloatPattern::Bits(1)));
    }
}
