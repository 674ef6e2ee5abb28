//! Random modules that end: wasm-smith's, with its fuel, over the imports of
//! [`super::imports`].

use std::convert::Infallible;

use arbitrary::Unstructured;
use wasm_encoder::reencode::{self, Error, Reencode};
use wasm_smith::{Config, Module};
use wasmparser::{AbstractHeapType, Parser};

/// Work that a module may do in one instance: function entries, loop rounds and copied elements.
const FUEL: u32 = 1_000;

/// One input in this many keeps its host references.
const KEEP_EXTERNREF: u8 = 32;

/// Makes a module from fuzzer input; `None` if the input is too short or not useful.
#[must_use]
pub fn generate(input: &[u8]) -> Option<Vec<u8>> {
    let mut data = Unstructured::new(input);
    let mut module = Module::new(config(), &mut data).ok()?;
    module.ensure_termination(FUEL).ok()?;
    let wasm = module.to_bytes();
    // Migratizing refuses a host reference that is live at a safe point, and nearly every function
    // that handles them at all has one. So they become function references: that keeps a module
    // valid, since the two types have the same operators.
    let keep = input.first()? % KEEP_EXTERNREF == 0;
    if keep {
        Some(wasm)
    } else {
        without_externref(&wasm)
    }
}

fn without_externref(wasm: &[u8]) -> Option<Vec<u8>> {
    let mut module = wasm_encoder::Module::new();
    ExternrefToFuncref
        .parse_core_module(&mut module, Parser::new(0), wasm)
        .ok()?;
    Some(module.finish())
}

struct ExternrefToFuncref;

impl Reencode for ExternrefToFuncref {
    type Error = Infallible;

    fn abstract_heap_type(
        &mut self,
        ty: AbstractHeapType,
    ) -> Result<wasm_encoder::AbstractHeapType, Error<Infallible>> {
        let ty = match ty {
            AbstractHeapType::Extern => AbstractHeapType::Func,
            other => other,
        };
        Ok(reencode::utils::abstract_heap_type(self, ty))
    }
}

/// Core 2.0 with SIMD, multiple memories, 64-bit memories and tables, tail calls and extended
/// constants. Left out: what migratizing refuses as a whole.
fn config() -> Config {
    Config {
        available_imports: Some(super::imports::module()),
        export_everything: true,
        min_funcs: 1,
        max_funcs: 12,
        min_types: 3,
        max_types: 12,
        max_globals: 12,
        max_instructions: 120,
        max_imports: 8,
        max_memories: 3,
        max_tables: 3,
        max_memory32_bytes: 4 << 16,
        max_memory64_bytes: 4 << 16,
        max_table_elements: 64,
        max_data_segments: 8,
        max_element_segments: 8,
        max_elements: 16,
        max_type_size: 64,
        memory_max_size_required: true,
        table_max_size_required: true,
        memory_offset_choices: wasm_smith::MemoryOffsetChoices(95, 4, 1),
        reference_types_enabled: true,
        simd_enabled: true,
        relaxed_simd_enabled: true,
        tail_call_enabled: true,
        memory64_enabled: true,
        bulk_memory_enabled: true,
        multi_value_enabled: true,
        saturating_float_to_int_enabled: true,
        sign_extension_ops_enabled: true,
        extended_const_enabled: true,
        exceptions_enabled: false,
        gc_enabled: false,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        compact_imports_enabled: false,
        custom_page_sizes_enabled: false,
        ..Config::default()
    }
}
