//! The engine's compiler. In builds without the feature `compile`, `no_compiler.rs` is here instead.

use std::path::PathBuf;

use wasm_migrate::{CodeOptions, Guest, Machine, Precompiled};
use wasmtime::{Cache, Config, Engine, Module};

use crate::portability::Processor;

/// Sets how guests are compiled.
pub(crate) fn configure(config: &mut Config, processor: &Processor) {
    config.cranelift_nan_canonicalization(processor.canonical_nans);
    match Cache::from_file(None) {
        Ok(cache) => _ = config.cache(Some(cache)),
        Err(error) => log::warn!("compiled code is not cached: {error:#}"),
    }
}

/// Compiles a module to run it.
pub(crate) fn compile(engine: &Engine, wasm: &[u8]) -> anyhow::Result<Guest> {
    Ok(Guest::new(engine, wasm)?)
}

/// Compiles a module to run it elsewhere, or later.
pub(crate) fn precompile(
    config: Config,
    machine: Option<Machine>,
    processor: &Processor,
    wasm: &[u8],
) -> anyhow::Result<Precompiled> {
    let options = CodeOptions {
        machine,
        canonical_nans: processor.canonical_nans,
        deterministic_relaxed_simd: processor.deterministic_relaxed_simd,
    };
    Ok(Precompiled::compile(config, options, wasm)?)
}

/// Compiles a module twice: where compiled code is kept, and whether the second time it came from there.
pub(crate) fn try_cache() -> anyhow::Result<(PathBuf, bool)> {
    let cache = Cache::from_file(None)?;
    let mut config = Config::new();
    config.cache(Some(cache.clone()));
    let engine = Engine::new(&config)?;
    let wasm = wasm_encoder::Module::new().finish();
    for _ in 0..2 {
        Module::new(&engine, &wasm)?;
    }
    Ok((cache.directory().clone(), cache.cache_hits() > 0))
}
