//! Stands in for `compiler.rs` in builds without the feature `compile`: they run code that was compiled elsewhere.

use std::path::PathBuf;

use wasm_migrate::{Guest, Machine, Precompiled};
use wasmtime::{Config, Engine};

use crate::portability::Processor;

pub(crate) fn configure(_: &mut Config, _: &Processor) {}

pub(crate) fn compile(_: &Engine, _: &[u8]) -> anyhow::Result<Guest> {
    let here = Machine::here();
    anyhow::bail!(
        "this wasm-migrate has no compiler: have one that does make the code with `wasm-migrate compile \
         --target {here}`, and give it with --precompiled"
    )
}

pub(crate) fn precompile(
    _: Config,
    _: Option<Machine>,
    _: &Processor,
    _: &[u8],
) -> anyhow::Result<Precompiled> {
    anyhow::bail!("this wasm-migrate was built without a compiler")
}

pub(crate) fn try_cache() -> anyhow::Result<(PathBuf, bool)> {
    anyhow::bail!("this wasm-migrate has no compiler")
}
