//! Stopping a guest inside a host function that blocks.
//!
//! A host function that may wait for long (a sleep, a read from a terminal) asks [`suspend_point`]
//! before it waits and whenever a request wakes it:
//!
//! ```text
//! loop {
//!     match suspend_point(&mut caller, get)? {
//!         SuspendPoint::Unwind => return Ok(0),         // called again after the resume
//!         SuspendPoint::NotRequested => wait for the event or for the controller,
//!         SuspendPoint::Deferred => wait for the event alone,
//!     }
//!     if the event is there { break }
//! }
//! ```
//!
//! The import must be one that wasm-migratize knows as suspending, since only then is it called again
//! with the same arguments.

use wasm_migrate_abi::{DEPTH, STATE, UNWINDING};
use wasmtime::{Caller, Extern, Global, Val};

use crate::migration::Migration;

/// What a blocking host function is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuspendPoint {
    /// Nobody asked for a stop: go on, and watch the controller while waiting.
    NotRequested,
    /// A stop is asked for but not possible here: go on as if there were no controller.
    Deferred,
    /// The guest is now unwinding: return zeros at once and without any effect. After the resume the
    /// function is called again with the same arguments.
    Unwind,
}

/// Stops the guest that called a blocking host function, if a stop is asked for and possible.
///
/// # Errors
/// The guest broke its contract, or is to end; the error must be returned from the host function.
pub fn suspend_point<T: 'static>(
    caller: &mut Caller<'_, T>,
    get: impl Fn(&mut T) -> &mut Migration,
) -> wasmtime::Result<SuspendPoint> {
    let controller = get(caller.data_mut()).controller();
    if !controller.is_requested() {
        return Ok(SuspendPoint::NotRequested);
    }
    controller.check()?;
    // A module that is not migratized can call the same host functions; it is never stopped.
    let Some(depth) = exported_global(caller, DEPTH) else {
        return Ok(SuspendPoint::Deferred);
    };
    let Some(state) = exported_global(caller, STATE) else {
        return Ok(SuspendPoint::Deferred);
    };
    // The import's own call counts 1.
    let below = match depth.get(&mut *caller) {
        Val::I32(depth) => depth - 1,
        _ => return Ok(SuspendPoint::Deferred),
    };
    if !get(caller.data_mut()).begin_unwind(below)? {
        return Ok(SuspendPoint::Deferred);
    }
    state.set(&mut *caller, Val::I32(UNWINDING))?;
    Ok(SuspendPoint::Unwind)
}

fn exported_global<T: 'static>(caller: &mut Caller<'_, T>, name: &str) -> Option<Global> {
    caller.get_export(name).and_then(Extern::into_global)
}
