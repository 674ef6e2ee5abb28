//! What generated modules may import, and what the imports do.
//!
//! Every function's answer depends on its arguments and on the number of calls so far alone, and
//! every call is recorded, so that two executions agree exactly if they call the same functions
//! with the same arguments in the same order. `env.again` enters the guest anew, once at a time.

use wasmtime::{
    Caller, Extern, Global, GlobalType, Linker, Memory, MemoryType, Mutability, Ref, RefType,
    Result, Table, TableType, Val, ValType,
};

use crate::subject::{Host, Store};

/// Module name of the imports.
pub(super) const ENV: &str = "env";

const MODULE: &str = r#"
(module
  (import "env" "tick" (func))
  (import "env" "next" (func (result i32)))
  (import "env" "mix32" (func (param i32) (result i32)))
  (import "env" "mix64" (func (param i64 i32) (result i64)))
  (import "env" "mixf" (func (param f32 f64) (result f64)))
  (import "env" "again" (func (param i32) (result i32)))
  (import "env" "constant" (global i32))
  (import "env" "variable" (global (mut i64)))
  (import "env" "memory" (memory 1 4))
  (import "env" "table" (table 8 32 funcref)))
"#;

/// The imports as a module for wasm-smith.
#[must_use]
pub(super) fn module() -> Vec<u8> {
    wat::parse_str(MODULE).expect("the constant above is a module")
}

/// Defines the imports, with their state in `store`.
///
/// # Errors
/// The engine cannot make one of its objects.
pub(super) fn define(linker: &mut Linker<Host>, store: &mut Store) -> Result<()> {
    linker.func_wrap(ENV, "tick", |mut caller: Caller<'_, Host>| {
        caller.data_mut().calls.record(0, &[]);
    })?;
    linker.func_wrap(ENV, "next", |mut caller: Caller<'_, Host>| {
        caller.data_mut().calls.record(1, &[]) as i32
    })?;
    linker.func_wrap(ENV, "mix32", |mut caller: Caller<'_, Host>, a: i32| {
        caller.data_mut().calls.record(2, &[a as u64]) as i32
    })?;
    linker.func_wrap(
        ENV,
        "mix64",
        |mut caller: Caller<'_, Host>, a: i64, b: i32| {
            caller.data_mut().calls.record(3, &[a as u64, b as u64]) as i64
        },
    )?;
    linker.func_wrap(
        ENV,
        "mixf",
        |mut caller: Caller<'_, Host>, a: f32, b: f64| {
            let bits = caller
                .data_mut()
                .calls
                .record(4, &[u64::from(a.to_bits()), b.to_bits()]);
            // A whole number, so that no NaN payload enters the guest.
            f64::from(bits as i32)
        },
    )?;
    linker.func_wrap(ENV, "again", again)?;

    let constant = GlobalType::new(ValType::I32, Mutability::Const);
    let constant = Global::new(&mut *store, constant, Val::I32(7))?;
    linker.define(&mut *store, ENV, "constant", constant)?;
    let variable = GlobalType::new(ValType::I64, Mutability::Var);
    let variable = Global::new(&mut *store, variable, Val::I64(-3))?;
    linker.define(&mut *store, ENV, "variable", variable)?;
    let memory = Memory::new(&mut *store, MemoryType::new(1, Some(4)))?;
    linker.define(&mut *store, ENV, "memory", memory)?;
    let table = TableType::new(RefType::FUNCREF, 8, Some(32));
    let table = Table::new(&mut *store, table, Ref::Func(None))?;
    linker.define(&mut *store, ENV, "table", table)?;
    Ok(())
}

/// Guest calls host calls guest: runs one of the exports chosen by the host, and answers with a
/// digest of what happened. A trap inside ends the outer call, too.
fn again(mut caller: Caller<'_, Host>, which: i32) -> Result<i32> {
    let answer = caller.data_mut().calls.record(5, &[which as u64]) as i32;
    if caller.data().inside_again || caller.data().again.is_empty() {
        return Ok(answer);
    }
    let names = &caller.data().again;
    let name = names[which as u32 as usize % names.len()].clone();
    let Some(Extern::Func(function)) = caller.get_export(&name) else {
        return Ok(answer);
    };
    let mut results = vec![Val::I32(0); function.ty(&caller).results().len()];
    caller.data_mut().inside_again = true;
    let outcome = function.call(&mut caller, &[], &mut results);
    caller.data_mut().inside_again = false;
    outcome?;
    Ok(answer ^ results.first().and_then(Val::i32).unwrap_or(0))
}
