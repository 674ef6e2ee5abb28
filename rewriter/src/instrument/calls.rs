//! Calls that may suspend: after each, the function unwinds if its callee did.
//!
//! Rewinding, a direct call is simply made again: the callee loads its own frame and never looks at its
//! arguments. An indirect call is not (the table may have changed since): a helper calls the function
//! that the next frame belongs to.

use wasm_encoder::{BlockType, Instruction};

use super::code::Item;
use super::function::Emitter;
use crate::ir::{Op, OpId};

impl Emitter<'_, '_> {
    pub(super) fn suspending_call(&mut self, op: &Op<'_>, id: OpId, callee: u32) {
        let safe_point = self.take_safe_point();
        self.spill();
        let landing = self.labels.next();
        self.regions
            .last_mut()
            .expect("in a region")
            .land(safe_point, landing);
        self.flush();
        self.emit(Instruction::Call(self.plan.function(callee)));
        self.operands.pop(op.popped);
        for &value_type in self.function.pushed(op) {
            self.operands.push_physical(value_type, id);
        }
        self.check_for_unwinding(safe_point);
    }

    pub(super) fn suspending_indirect_call(&mut self, op: &Op<'_>, id: OpId) {
        let safe_point = self.take_safe_point();
        let results = self.function.pushed(op);
        // Operands under the call must not lie on the stack when the two ways meet.
        self.spill();
        let arguments = self.operands.len() - op.popped as usize;
        let items = &mut self.regions.last_mut().expect("in a region").items;
        self.operands.flush_from(arguments, self.function, items);
        self.emit_operator(op);
        self.operands.pop(op.popped);
        let landing = self.labels.next();
        let joined = self.labels.next();
        self.emit_item(Item::Br(joined));
        self.regions
            .last_mut()
            .expect("in a region")
            .land(safe_point, landing);
        let resume = self.plan.resume(results);
        self.emit(Instruction::Call(resume));
        let ty: BlockType = self.plan.block_type(results);
        self.regions
            .last_mut()
            .expect("in a region")
            .close(joined, ty);
        self.push_results(results, id);
        self.check_for_unwinding(safe_point);
    }

    fn check_for_unwinding(&mut self, safe_point: u32) {
        self.note_safe_point(safe_point);
        self.emit(Instruction::GlobalGet(self.plan.globals.state));
        let exit = self.exit(safe_point);
        self.emit_item(Item::Unlikely);
        self.emit_item(Item::BrIf(exit));
    }

    /// The id of the safe point that is reached now.
    pub(super) fn take_safe_point(&mut self) -> u32 {
        let id = self.next_safe_point;
        self.next_safe_point += 1;
        id
    }
}
