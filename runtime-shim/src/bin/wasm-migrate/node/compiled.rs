//! Modules of jobs: compiled, with what a destination must know of them.

use std::collections::BTreeSet;

use anyhow::Context as _;
use wasm_migrate::Guest;
use wasm_migrate_protocol::Digest;
use wasm_migrate_protocol::offer::Variant;
use wasmparser::{Validator, WasmFeatures};
use wasmtime::Engine;

use crate::portability::{Dependence, PortabilityOptions, Processor};
use crate::{compiler, engine_config};

/// Native stack of a job.
pub(crate) const STACK_BYTES: usize = 64 << 20;

/// A module that can run here.
pub(crate) struct Compiled {
    pub(crate) guest: Guest,
    pub(crate) processor: Processor,
    pub(crate) variant: Variant,
}

impl Compiled {
    /// Compiles a module; this can take long.
    pub(crate) fn new(wasm: &[u8], portability: PortabilityOptions) -> anyhow::Result<Self> {
        let processor = Processor::here(portability);
        let mut config = engine_config::config(STACK_BYTES, &processor);
        compiler::configure(&mut config, &processor);
        // Pages that are taken away must be gone, not be those of the module again.
        config.memory_init_cow(false);
        let engine = Engine::new(&config).map_err(anyhow::Error::from)?;
        let guest = compiler::compile(&engine, wasm)?;
        let dependence = Dependence::find(wasm)?;
        let variant = Variant {
            digest: Digest(guest.digest()),
            bytes: wasm.len() as u64,
            features: needed_features(wasm)?,
            makes_nans: dependence.makes_nans,
            is_relaxed: dependence.is_relaxed,
        };
        Ok(Self {
            guest,
            processor,
            variant,
        })
    }

    pub(crate) fn original(&self) -> Digest {
        Digest(self.guest.description().original_digest)
    }
}

/// Features that the engine has here.
pub(crate) fn engine_features() -> BTreeSet<String> {
    let features = all_features().iter_names();
    features.map(|(name, _)| name.to_lowercase()).collect()
}

fn all_features() -> WasmFeatures {
    WasmFeatures::WASM2
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::MULTI_MEMORY
        | WasmFeatures::MEMORY64
        | WasmFeatures::RELAXED_SIMD
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::FUNCTION_REFERENCES
        | WasmFeatures::GC
        | WasmFeatures::EXCEPTIONS
}

/// Features beyond WebAssembly 1.0 without which a module is not valid.
fn needed_features(wasm: &[u8]) -> anyhow::Result<Vec<String>> {
    let is_valid = |features| Validator::new_with_features(features).validate_all(wasm);
    if is_valid(WasmFeatures::WASM1).is_ok() {
        return Ok(Vec::new());
    }
    let all = all_features();
    is_valid(all).context("the module needs a feature that this engine lacks")?;
    let beyond = all - WasmFeatures::WASM1;
    let needed = beyond
        .iter_names()
        .filter(|(_, feature)| is_valid(all - *feature).is_err());
    Ok(needed.map(|(name, _)| name.to_lowercase()).collect())
}
