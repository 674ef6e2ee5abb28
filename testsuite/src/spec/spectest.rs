//! The `spectest` module that the suite's modules may import from.

use wasmtime::{
    Global, GlobalType, Linker, Memory, MemoryType, Mutability, Ref, RefType, Result, SharedMemory,
    Table, TableType, Val,
};

use crate::subject::{Host, Store};

/// Module name of the suite's own imports.
pub(crate) const SPECTEST: &str = "spectest";

/// Imports of [`SPECTEST`] that a guest can change, and that modules therefore share.
pub(crate) const SHARED: [&str; 4] = ["table", "table64", "memory", "shared_memory"];

/// Defines `spectest`, with its state in `store`.
///
/// # Errors
/// The engine cannot make one of its objects.
pub(crate) fn define(linker: &mut Linker<Host>, store: &mut Store) -> Result<()> {
    linker.func_wrap(SPECTEST, "print", || {})?;
    linker.func_wrap(SPECTEST, "print_i32", |_: i32| {})?;
    linker.func_wrap(SPECTEST, "print_i64", |_: i64| {})?;
    linker.func_wrap(SPECTEST, "print_f32", |_: f32| {})?;
    linker.func_wrap(SPECTEST, "print_f64", |_: f64| {})?;
    linker.func_wrap(SPECTEST, "print_i32_f32", |_: i32, _: f32| {})?;
    linker.func_wrap(SPECTEST, "print_f64_f64", |_: f64, _: f64| {})?;
    for (name, value) in [
        ("global_i32", Val::I32(666)),
        ("global_i64", Val::I64(666)),
        ("global_f32", Val::F32(666.6_f32.to_bits())),
        ("global_f64", Val::F64(666.6_f64.to_bits())),
    ] {
        let ty = GlobalType::new(value.ty(&*store)?, Mutability::Const);
        let global = Global::new(&mut *store, ty, value)?;
        linker.define(&mut *store, SPECTEST, name, global)?;
    }
    let null = Ref::Func(None);
    let table = Table::new(
        &mut *store,
        TableType::new(RefType::FUNCREF, 10, Some(20)),
        null.clone(),
    )?;
    linker.define(&mut *store, SPECTEST, "table", table)?;
    let table = Table::new(
        &mut *store,
        TableType::new64(RefType::FUNCREF, 10, Some(20)),
        null,
    )?;
    linker.define(&mut *store, SPECTEST, "table64", table)?;
    let memory = Memory::new(&mut *store, MemoryType::new(1, Some(2)))?;
    linker.define(&mut *store, SPECTEST, "memory", memory)?;
    let shared = SharedMemory::new(linker.engine(), MemoryType::shared(1, 2))?;
    linker.define(&mut *store, SPECTEST, "shared_memory", shared)?;
    Ok(())
}
