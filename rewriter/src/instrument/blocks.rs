//! Blocks and ifs: those without safe points keep their place, the others are *hoisted* to the beginning
//! of their region.

use wasm_encoder::{BlockType, Instruction};

use super::code::{Item, Opening};
use super::function::{BlockState, Emitter};
use crate::ir::{BlockId, BlockKind, Op, OpId};

impl Emitter<'_, '_> {
    pub(super) fn open_plain(&mut self, id: BlockId, op: &Op<'_>) {
        self.flush();
        let label = self.labels.next();
        self.blocks[id.index()].label = Some(label);
        self.emit_item(Item::Open(label, Opening::Original(op.bytes.clone())));
        let height = self.function.block(id).height as usize;
        self.blocks[id.index()].outer_base = self.operands.set_base(height);
        self.enter_plain(id);
    }

    /// Enters a block whose parameters are on the physical stack, as the original has them.
    fn enter_plain(&mut self, id: BlockId) {
        let block = self.function.block(id);
        self.operands.truncate(block.height as usize);
        for &value_type in &block.params {
            self.operands.push_physical(value_type, block.open);
        }
    }

    pub(super) fn end_plain(&mut self, id: BlockId, end: OpId) {
        if self.reachable {
            self.flush();
        }
        self.emit_item(Item::End);
        self.leave(id);
        for &value_type in &self.function.block(id).results {
            self.operands.push_physical(value_type, end);
        }
    }

    pub(super) fn otherwise(&mut self, id: BlockId) {
        if self.reachable {
            self.flush();
        }
        if self.function.block(id).has_safe_point {
            self.hoisted_otherwise(id);
        } else {
            self.emit_item(Item::Else);
            self.enter_plain(id);
        }
        self.reachable = true;
    }

    pub(super) fn open_hoisted(&mut self, id: BlockId, op: OpId) {
        let block = self.function.block(id);
        let is_if = block.kind == BlockKind::If;
        if is_if {
            self.spill_under(1);
            self.flush_from(self.operands.len() - 1);
            self.operands.pop(1);
        } else {
            self.spill();
        }
        let label = self.labels.next();
        let mut otherwise = None;
        if is_if {
            let without_else = block.otherwise.is_none() && block.params.is_empty();
            let target = if without_else {
                label
            } else {
                self.labels.next()
            };
            otherwise = (!without_else).then_some(target);
            // Parameters must be in their slots on both ways.
            self.force_params(id, op);
            self.emit(Instruction::I32Eqz);
            self.emit_item(Item::BrIf(target));
        } else {
            self.force_params(id, op);
        }
        let outer_base = self.operands.set_base(block.height as usize);
        self.blocks[id.index()] = BlockState {
            label: Some(label),
            outer_base,
            otherwise,
            safe_point: 0,
        };
    }

    /// Puts a block's parameters into their slots, where the block's code finds them.
    pub(super) fn force_params(&mut self, id: BlockId, open: OpId) {
        let count = self.function.block(id).params.len();
        let function = self.function;
        let (operands, items) = self.operands_and_items();
        operands.force_slots(count, open, function, items);
    }

    /// The end of the `then` part, where the `else` part is entered.
    fn hoisted_otherwise(&mut self, id: BlockId) {
        let state = &mut self.blocks[id.index()];
        let label = state.label.expect("open");
        let otherwise = state
            .otherwise
            .take()
            .expect("an if with an else has its label");
        self.emit_item(Item::Br(label));
        self.region().close(otherwise, BlockType::Empty);
        let block = self.function.block(id);
        self.operands.truncate(block.height as usize);
        for &value_type in &block.params {
            self.operands.push_in_slot(value_type, block.open);
        }
    }

    pub(super) fn end_hoisted(&mut self, id: BlockId, end: OpId) {
        if self.reachable {
            self.flush();
        }
        if self.blocks[id.index()].otherwise.is_some() {
            // `if` without `else`, with parameters: they are the results.
            self.hoisted_otherwise(id);
            self.flush();
        }
        let label = self.blocks[id.index()].label.expect("open");
        let results = &self.function.block(id).results;
        let ty = self.plan.block_type(results);
        self.region().close(label, ty);
        self.leave(id);
        self.push_results(results, end);
    }

    /// Restores the operand stack to what lies under a block.
    pub(super) fn leave(&mut self, id: BlockId) {
        self.operands.set_base(self.blocks[id.index()].outer_base);
        self.operands
            .truncate(self.function.block(id).height as usize);
    }
}
