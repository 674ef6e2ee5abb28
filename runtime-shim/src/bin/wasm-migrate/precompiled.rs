//! `--precompiled`: a guest's code from a file.
#![expect(unsafe_code, reason = "the user vouches for the code")]

use std::path::Path;

use anyhow::Context as _;
use wasm_migrate::{Guest, Precompiled};
use wasmtime::Engine;

use crate::engine_config;
use crate::portability::Processor;

/// Loads the code of a module. What it was compiled for becomes the guest's.
pub(crate) fn load(
    file: &Path,
    wasm: &[u8],
    stack_bytes: usize,
    processor: &mut Processor,
) -> anyhow::Result<Guest> {
    let cannot = || format!("cannot run the code in `{}`", file.display());
    let bytes = std::fs::read(file).with_context(cannot)?;
    let code = Precompiled::from_bytes(&bytes).with_context(cannot)?;
    code.check(wasm).with_context(cannot)?;
    processor.take_over(code.origin()).with_context(cannot)?;
    let engine =
        Engine::new(&engine_config::config(stack_bytes, processor)).map_err(anyhow::Error::from)?;
    // SAFETY: `--precompiled` says that who made the file is trusted, and its digest that it is as it was made.
    unsafe { Guest::precompiled(&engine, wasm, &code) }.with_context(cannot)
}
