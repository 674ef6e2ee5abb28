//! A compiled module.

use wasm_migrate::Guest;
use wasm_migratize::{Error, Migratizer};
use wasmtime::{Engine, Module};

use crate::Way;
use crate::checker;

/// A module compiled for one way of execution.
pub enum Program {
    /// As it is.
    Original(Module),
    /// Rewritten.
    Rewritten(Guest),
}

/// Why a module cannot be executed.
#[derive(Debug)]
pub enum NotPrepared {
    /// The rewriter refuses this construct.
    Refused(String),
    /// The rewriter fails, or makes something that is no migratized module.
    Broken(String),
    /// The engine does not accept the original.
    Engine(wasmtime::Error),
}

impl Program {
    /// Compiles a module, rewritten and [checked](checker) if the way wants it.
    ///
    /// # Errors
    /// The module cannot be executed in this way.
    pub fn new(engine: &Engine, wasm: &[u8], way: Way) -> Result<Self, NotPrepared> {
        Self::prepare(engine, wasm, way, |rewritten| {
            match checker::check(wasm, rewritten) {
                Ok(_) => Ok(()),
                Err(error) => Err(NotPrepared::Broken(format!("the checker finds {error}"))),
            }
        })
    }

    /// The same without the check, whose time grows with the square of a function's size.
    ///
    /// # Errors
    /// The module cannot be executed in this way.
    pub fn unchecked(engine: &Engine, wasm: &[u8], way: Way) -> Result<Self, NotPrepared> {
        Self::prepare(engine, wasm, way, |_| Ok(()))
    }

    fn prepare(
        engine: &Engine,
        wasm: &[u8],
        way: Way,
        check: impl FnOnce(&[u8]) -> Result<(), NotPrepared>,
    ) -> Result<Self, NotPrepared> {
        if !way.is_rewritten() {
            return Module::new(engine, wasm)
                .map(Self::Original)
                .map_err(NotPrepared::Engine);
        }
        let rewritten = rewrite(wasm)?;
        check(&rewritten)?;
        match Guest::new(engine, &rewritten) {
            Ok(guest) => Ok(Self::Rewritten(guest)),
            Err(error) => Err(NotPrepared::Broken(format!(
                "the output does not load: {error}"
            ))),
        }
    }

    /// The engine's module.
    #[must_use]
    pub fn module(&self) -> &Module {
        match self {
            Self::Original(module) => module,
            Self::Rewritten(guest) => guest.module(),
        }
    }
}

/// Rewrites a module.
fn rewrite(wasm: &[u8]) -> Result<Vec<u8>, NotPrepared> {
    match Migratizer::new().rewrite(wasm) {
        Ok(output) => Ok(output.wasm),
        Err(Error::Unsupported { construct, .. }) => Err(NotPrepared::Refused(construct)),
        Err(error) => Err(NotPrepared::Broken(error.to_string())),
    }
}

/// Why the rewriter does not accept a module, if it does not.
#[must_use]
pub fn refusal(wasm: &[u8]) -> Option<String> {
    Migratizer::new()
        .rewrite(wasm)
        .err()
        .map(|error| error.to_string())
}
