//! Calls that may suspend: after each, the function unwinds if its callee did.
//!
//! Rewinding lands behind the call, in cold code of its own that loads the live values and makes the
//! call that goes on in the next frame; then both ways join:
//!
//! ```wat
//! (call $callee ...)  br $join
//! end                                       ;; of the block through which rewinding lands
//! (local.set $a (call $load_i32)) ...       ;; what is live here
//! (call $callee (i32.const 0) ...)          ;; it loads its own frame, whatever its arguments
//! end                                       ;; $join, with the results
//! (drop (br_if $exit (i32.const ID) (global.get $state)))
//! ```
//!
//! An indirect call is not made again (the table may have changed since): a helper calls the function
//! that the next frame belongs to.

use wasm_encoder::Instruction;
use wasmparser::Operator;

use super::function::Emitter;
use crate::encode;
use crate::ir::{Op, OpId};

impl Emitter<'_, '_> {
    pub(super) fn suspending_call(&mut self, op: &Op<'_>, id: OpId) {
        let safe_point = self.take_safe_point();
        let results = self.function.pushed(op);
        let arguments = self.operands.len() - op.popped as usize;
        self.spill_under(op.popped);
        let argument_types = self.operands.types_from(arguments);
        self.flush_from(arguments);
        self.emit_operator(op);
        self.operands.pop(op.popped);
        let joined = self.land(safe_point);
        self.load_slots(&self.frame.safe_points[safe_point as usize].own);
        if let Operator::Call { function_index } = op.operator {
            for value_type in argument_types {
                self.emit(encode::zero(value_type));
            }
            self.emit(Instruction::Call(self.plan.function(function_index)));
        } else {
            self.emit(Instruction::Call(self.plan.resume(results)));
        }
        let ty = self.plan.block_type(results);
        self.region().close(joined, ty);
        self.push_results(results, id);
        self.emit(Instruction::I32Const(safe_point.cast_signed()));
        self.emit(Instruction::GlobalGet(self.plan.globals.state));
        let exit = self.exit(safe_point);
        self.emit_unlikely_br_if(exit);
        self.emit(Instruction::Drop);
    }

    /// The id of the safe point that is reached now.
    pub(super) fn take_safe_point(&mut self) -> u32 {
        let id = self.next_safe_point;
        self.next_safe_point += 1;
        id
    }
}
