//! The saved stack as code: a function that answers the n-th word, and the contract's functions on top of it.
//!
//! A guest that is being rebuilt asks for its words in one fixed order: first the instance words, then the
//! frames, outermost first. So they are one list, and all that is kept is how many have been handed out:
//!
//! ```text
//! instance words | function and safe point, resume slot, live values | function and safe point, ... | ...
//! ```
//!
//! The list is constants in code, not memory: a second memory shuts out some engines, and the first is the
//! guest's.

use std::collections::HashMap;

use wasm_encoder::{BlockType, Function, Instruction, ValType};
use wasm_migrate_abi::{
    Description, LOAD_CALLEE, LOAD_FRAME, LOAD_I32, LOAD_I64, OTHER_FUNCTION, POLL,
};

use super::FreezeError;
use super::layout::count32;
use crate::driver::is_reference;
use crate::stack::encode_value;
use crate::state::{Frame, State};

/// Words in a function of constants.
const WORDS_PER_CHUNK: usize = 256;
/// Engines allow no more targets than 65,520 in a branch table.
const CHUNKS_MAX: usize = 65_000;
/// Words before a frame's values.
const FRAME_HEADER_WORDS: i32 = 2;

/// All words, in the order in which they will be asked for.
pub(super) fn of_state(
    description: &Description,
    state: &State,
    frames: &[Frame],
    references: &HashMap<u32, u32>,
) -> Result<Vec<u64>, FreezeError> {
    let mut words = Vec::new();
    for (global, value) in description.globals.iter().zip(&state.globals) {
        if !is_reference(global.value_type) {
            encode_value(value, references, &mut words);
        }
    }
    let drops = state.data_drops.iter().chain(&state.element_drops);
    words.extend(drops.map(|dropped| u64::from(*dropped)));
    for frame in frames {
        let function = description.function(frame.function);
        let slot = function.and_then(|function| function.resume_slot);
        words.push(u64::from(frame.function) | u64::from(frame.safe_point) << 32);
        // Only functions that have a slot are asked for it.
        words.push(u64::from(slot.unwrap_or_default()));
        for value in &frame.values {
            encode_value(value, references, &mut words);
        }
    }
    let allowed = WORDS_PER_CHUNK * CHUNKS_MAX;
    if words.len() > allowed {
        return Err(FreezeError::TooDeep {
            found: words.len(),
            allowed,
        });
    }
    Ok(words)
}

/// The functions `(n) -> word n`: the first answers for all, calling those behind it, which stand at
/// `first + 1` and following.
pub(super) fn functions(words: &[u64], first: u32) -> Vec<Function> {
    let chunks: Vec<&[u64]> = words.chunks(WORDS_PER_CHUNK).collect();
    let chunk_bits = WORDS_PER_CHUNK.trailing_zeros().cast_signed();
    let chunk_mask = count32(WORDS_PER_CHUNK - 1).cast_signed();
    let calls = (first + 1..).take(chunks.len()).map(|chunk| {
        vec![
            Instruction::LocalGet(0),
            Instruction::I32Const(chunk_mask),
            Instruction::I32And,
            Instruction::Call(chunk),
        ]
    });
    let number = [
        Instruction::LocalGet(0),
        Instruction::I32Const(chunk_bits),
        Instruction::I32ShrU,
    ];
    let mut functions = vec![select(&number, calls.collect())];
    for chunk in chunks {
        let constants = chunk
            .iter()
            .map(|word| vec![Instruction::I64Const(word.cast_signed())]);
        functions.push(select(&[Instruction::LocalGet(0)], constants.collect()));
    }
    functions
}

/// A function that does one of several things, by number.
fn select(
    number: &[Instruction<'static>],
    alternatives: Vec<Vec<Instruction<'static>>>,
) -> Function {
    let mut function = Function::new([]);
    let count = count32(alternatives.len());
    // The outermost block is for numbers that are too large.
    for _ in 0..=count {
        function.instruction(&Instruction::Block(BlockType::Empty));
    }
    for instruction in number {
        function.instruction(instruction);
    }
    let targets: Vec<u32> = (0..count).collect();
    function.instruction(&Instruction::BrTable(targets.into(), count));
    for alternative in alternatives {
        function.instruction(&Instruction::End);
        for instruction in &alternative {
            function.instruction(instruction);
        }
        function.instruction(&Instruction::Return);
    }
    function
        .instruction(&Instruction::End)
        .instruction(&Instruction::Unreachable)
        .instruction(&Instruction::End);
    function
}

/// A function of the contract. `word` is the function that answers the n-th word, `next` the global that
/// counts those that have been handed out.
pub(super) fn contract_function(name: &str, word: u32, next: u32) -> Function {
    let next_word = [Instruction::GlobalGet(next), Instruction::Call(word)];
    let advance = |by| {
        [
            Instruction::GlobalGet(next),
            Instruction::I32Const(by),
            Instruction::I32Add,
            Instruction::GlobalSet(next),
        ]
    };
    let mut body: Vec<Instruction<'static>> = Vec::new();
    let mut locals = Vec::new();
    match name {
        // No one will ask the guest to stop.
        POLL => body.push(Instruction::I32Const(i32::MAX)),
        LOAD_I32 => {
            body.extend(next_word);
            body.push(Instruction::I32WrapI64);
            body.extend(advance(1));
        }
        LOAD_I64 => {
            body.extend(next_word);
            body.extend(advance(1));
        }
        LOAD_FRAME => {
            locals.push((1, ValType::I64));
            body.extend(next_word);
            body.extend([
                Instruction::LocalTee(1),
                Instruction::I32WrapI64,
                Instruction::LocalGet(0),
                Instruction::I32Ne,
                Instruction::If(BlockType::Empty),
                Instruction::I32Const(OTHER_FUNCTION),
                Instruction::Return,
                Instruction::End,
            ]);
            body.extend(advance(FRAME_HEADER_WORDS));
            body.extend([
                Instruction::LocalGet(1),
                Instruction::I64Const(32),
                Instruction::I64ShrU,
                Instruction::I32WrapI64,
            ]);
        }
        LOAD_CALLEE => body.extend([
            Instruction::GlobalGet(next),
            Instruction::I32Const(1),
            Instruction::I32Add,
            Instruction::Call(word),
            Instruction::I32WrapI64,
        ]),
        // Nothing is ever saved.
        _ => body.push(Instruction::Unreachable),
    }
    let mut function = Function::new(locals);
    for instruction in &body {
        function.instruction(instruction);
    }
    function.instruction(&Instruction::End);
    function
}
