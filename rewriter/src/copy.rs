//! Functions that can never be on a saved stack keep their code; only function indices change.

use wasm_encoder::{Encode, Instruction};

use crate::error::Error;
use crate::instrument::{after_drop, replacement};
use crate::module::{Body, Module, position};
use crate::plan::Plan;

/// The body with the new module's function indices, and how many operators it has.
pub(crate) fn copy(
    module: &Module<'_>,
    body: &Body<'_>,
    plan: &Plan,
) -> Result<(Vec<u8>, u64), Error> {
    let range = body.body.range();
    let end = position(range.end);
    let mut copied = position(range.start);
    let mut sink = Vec::with_capacity(end - copied);
    let mut operators = body.body.get_operators_reader()?;
    let mut count = 0;
    while !operators.eof() {
        count += 1;
        let start = position(operators.original_position());
        let operator = operators.read()?;
        let next = position(operators.original_position());
        let replaced = replacement(&operator, plan);
        let appended = after_drop(&operator, plan);
        if replaced.is_none() && appended.is_none() {
            continue;
        }
        sink.extend_from_slice(&module.bytes[copied..start]);
        match replaced {
            Some(instruction) => instruction.encode(&mut sink),
            None => sink.extend_from_slice(&module.bytes[start..next]),
        }
        appended
            .into_iter()
            .flatten()
            .for_each(|instruction: Instruction<'_>| {
                instruction.encode(&mut sink);
            });
        copied = next;
    }
    sink.extend_from_slice(&module.bytes[copied..end]);
    Ok((sink, count))
}
