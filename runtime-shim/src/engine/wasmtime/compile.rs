//! What needs the engine's compiler: absent from builds without the feature `compile`.
#![expect(unsafe_code, reason = "settings of the compiler are set by name")]

use wasmparser::{Validator, WasmFeatures};
use wasmtime::{Config, Engine, Module};

use super::machine::Machine;
use super::precompiled::{CodeOrigin, Precompiled, digest};
use super::{Error, Guest};
use crate::error::EngineError;
use crate::names::read_description;

/// What code is compiled for.
#[derive(Debug, Clone, Copy, Default)]
pub struct CodeOptions {
    /// Any machine of this kind; `None`: this very one, with all that its processor has.
    pub machine: Option<Machine>,
    /// Make all NaNs canonical.
    pub canonical_nans: bool,
    /// Have relaxed vector operators do the same everywhere.
    pub deterministic_relaxed_simd: bool,
}

impl Guest {
    /// Compiles a module.
    ///
    /// # Errors
    /// The module is not migratized, for another version of the contract, or refused by the engine.
    pub fn new(engine: &Engine, wasm: &[u8]) -> Result<Self, Error> {
        let described = read_description(wasm)?;
        let module = Module::from_binary(engine, wasm).map_err(EngineError::from)?;
        Ok(Self::from_parts(module, wasm, described))
    }
}

impl Precompiled {
    /// Compiles a module without running it. `config` must be as where it will run.
    ///
    /// # Errors
    /// The module is not migratized, for another version of the contract, or refused by the engine; the engine was built without a
    /// compiler for this machine.
    pub fn compile(mut config: Config, options: CodeOptions, wasm: &[u8]) -> Result<Self, Error> {
        let CodeOptions {
            machine,
            canonical_nans,
            deterministic_relaxed_simd,
        } = options;
        read_description(wasm)?;
        let has_vectors = has_vectors(wasm);
        config
            .cranelift_nan_canonicalization(canonical_nans)
            .relaxed_simd_deterministic(deterministic_relaxed_simd);
        if let Some(machine) = machine {
            config.target(machine.triple()).map_err(EngineError::from)?;
            if machine == Machine::Riscv64 && has_vectors {
                // SAFETY: the code says of itself that it has vectors, and then runs only where the processor has them.
                unsafe { config.cranelift_flag_enable("has_v") };
            }
        }
        let cannot = |error: wasmtime::Error| match machine {
            Some(machine) if machine != Machine::here() => Error::NoCompiler {
                machine,
                reason: error.into(),
            },
            _ => EngineError::from(error).into(),
        };
        let engine = Engine::new(&config).map_err(cannot)?;
        let code = engine.precompile_module(wasm).map_err(EngineError::from)?;
        let origin = CodeOrigin {
            machine: machine.unwrap_or_else(Machine::here),
            is_native: machine.is_none(),
            has_vectors,
            canonical_nans,
            deterministic_relaxed_simd,
            module_digest: digest(wasm),
            code_digest: digest(&code),
        };
        Ok(Self { origin, code })
    }
}

/// Has the module vectors? It has if it is not valid without them.
fn has_vectors(wasm: &[u8]) -> bool {
    let without = WasmFeatures::all().difference(WasmFeatures::SIMD | WasmFeatures::RELAXED_SIMD);
    Validator::new_with_features(without)
        .validate_all(wasm)
        .is_err()
}

#[cfg(test)]
mod tests {
    use super::has_vectors;

    #[test]
    fn vectors_are_found() {
        for (text, expected) in [
            (
                "(module (func (param i32) (result f64) (f64.const 1)))",
                false,
            ),
            ("(module (func (param v128)))", true),
            ("(module (func (local v128)))", true),
            ("(module (func (drop (i8x16.splat (i32.const 1)))))", true),
            (
                "(module (memory i64 1) (memory 1) (func (return_call 0)))",
                false,
            ),
        ] {
            let wasm = wat::parse_str(text).expect("it is well-formed");
            assert_eq!(has_vectors(&wasm), expected, "{text}");
        }
    }
}
