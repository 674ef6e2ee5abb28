//! How the engine is set up. Code runs only in an engine that is set up as the one that compiled it, on whatever
//! machine.

use wasmtime::Config;

use crate::portability::Processor;

/// Native stack that host functions may use beside the guest's frames.
pub(crate) const HOST_STACK_BYTES: usize = 16 << 20;

/// The engine's settings, without those of its compiler.
pub(crate) fn config(stack_bytes: usize, processor: &Processor) -> Config {
    let mut config = Config::new();
    config
        .max_wasm_stack(stack_bytes)
        // The engine demands it, although nothing here is asynchronous.
        .async_stack_size(stack_bytes.saturating_add(HOST_STACK_BYTES))
        .wasm_branch_hinting(true)
        .relaxed_simd_deterministic(processor.deterministic_relaxed_simd)
        .wasm_relaxed_simd(true)
        .wasm_multi_memory(true)
        .wasm_memory64(true)
        .wasm_tail_call(true);
    config
}
