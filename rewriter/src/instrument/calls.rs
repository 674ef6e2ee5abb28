//! Calls that may suspend: after each, the function unwinds if its callee did.
//!
//! Rewinding lands in cold code at the region's beginning, which loads the live values, goes on in the next
//! frame, and joins the normal code behind the call:
//!
//! ```wat
//! (local.set $a (call $load_i32)) ...       ;; what is live here
//! (call $resume)  br $join                  ;; the landing
//! ...
//! (call $callee ...)
//! end                                       ;; $join, with the results
//! (drop (br_if $exit (i32.const ID) (global.get $state)))
//! ```
//!
//! The call is not made again (its arguments are gone, and a table may have changed since): a helper calls the
//! function that the next frame belongs to.

use super::function::Emitter;
use crate::ir::{Op, OpId};
use wasm_encoder::Instruction;

impl Emitter<'_, '_> {
    pub(super) fn suspending_call(&mut self, op: &Op<'_>, id: OpId) {
        let safe_point = self.take_safe_point();
        let results = self.function.pushed(op);
        let arguments = self.operands.len() - op.popped as usize;
        self.spill_under(op.popped);
        self.flush_from(arguments);
        self.emit_operator(op);
        self.operands.pop(op.popped);
        let joined = self.labels.next();
        self.begin_landing();
        self.load_slots(&self.frame.safe_points[safe_point as usize].own);
        self.emit(Instruction::Call(self.plan.resume(results)));
        self.end_landing(safe_point, joined);
        let ty = self.plan.block_type(results);
        self.region().close(joined, ty);
        self.push_results(results, id);
        self.emit(Instruction::I32Const(safe_point.cast_signed()));
        self.emit(Instruction::GlobalGet(self.plan.globals.state));
        self.unwind_if(safe_point);
    }

    /// The id of the safe point that is reached now.
    pub(super) fn take_safe_point(&mut self) -> u32 {
        let id = self.next_safe_point;
        self.next_safe_point += 1;
        id
    }
}
