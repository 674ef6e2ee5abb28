//! Loops: every header is a safe point with a poll.
//!
//! A loop that contains other safe points tests the shared budget at its header; the cold side polls, or
//! (rewinding) enters the safe point inside.
//!
//! A *leaf* loop contains none, and is where programs spend their time. It counts the budget in a local,
//! and leaves the loop to poll, so that the register allocator sees a loop without calls; then it enters
//! at the header again. On every way out the local is written back to the shared budget:
//!
//! ```wat
//! block $exit
//!  block $way_out                          ;; one for each label outside that the loop branches to
//!   loop $again
//!    (local.set $budget (global.get $shared))
//!    block $cold
//!     loop $header
//!      (br_if $cold (i32.le_s (local.get $budget) (i32.const 0)))
//!      (local.set $budget (i32.sub (local.get $budget) (i32.const W)))
//!      ... the original body, branches out going to $way_out
//!     end
//!     (global.set $shared (local.get $budget))  br $exit
//!    end
//!    (br_if $unwind (call $header_helper (i32.const ID)))  br $again
//!   end
//!   unreachable
//!  end
//!  (global.set $shared (local.get $budget))  br $outer
//! end
//! ```

use indexmap::IndexMap;
use wasm_encoder::{BlockType, Instruction};

use super::code::{Item, Label, Opening};
use super::function::Emitter;
use super::region::Region;
use crate::ir::{BlockId, BlockKind, OpId};

/// A loop without safe points inside.
#[derive(Debug)]
pub(super) struct LeafLoop {
    pub(super) block: BlockId,
    /// By block outside that the loop branches to: the label of the way there.
    pub(super) ways_out: IndexMap<BlockId, Label>,
}

impl Emitter<'_, '_> {
    pub(super) fn open_loop(&mut self, id: BlockId, op: OpId) {
        let safe_point = self.take_safe_point();
        self.spill();
        self.force_params(id, op);
        let landing = self.labels.next();
        self.regions
            .last_mut()
            .expect("in a region")
            .land(safe_point, landing);
        let block = self.function.block(id);
        let next = self.frame.safe_points.get(self.next_safe_point as usize);
        if next.is_none_or(|next| next.op > block.end) {
            self.leaf = Some(LeafLoop {
                block: id,
                ways_out: IndexMap::new(),
            });
        }
        let state = &mut self.blocks[id.index()];
        state.label = Some(self.labels.next());
        state.safe_point = safe_point;
        state.outer_base = self.operands.set_base(block.height as usize);
        self.regions.push(Region::default());
    }

    pub(super) fn end_loop(&mut self, id: BlockId, end: OpId) {
        if self.reachable {
            self.flush();
        }
        let region = self.regions.pop().expect("the loop's region");
        match self.leaf.take() {
            Some(leaf) => self.finish_leaf_loop(id, &leaf, region),
            None => self.finish_loop(id, region),
        }
        self.leave(id);
        self.push_results(&self.function.block(id).results, end);
    }

    fn finish_loop(&mut self, id: BlockId, region: Region) {
        let safe_point = self.blocks[id.index()].safe_point;
        let targets = region.targets(safe_point + 1..self.next_safe_point);
        let cold = self.labels.next();
        let mut prologue: Vec<Item> = self.spend_budget(self.loop_weight(id)).collect();
        prologue.push(Item::Unlikely);
        prologue.push(Item::Open(cold, Opening::If(BlockType::Empty)));
        prologue.extend(self.dispatch_header(safe_point, cold, &targets));
        prologue.push(Item::End);
        self.open_header(id);
        self.items().extend(region.finish(prologue));
        self.emit_item(Item::End);
    }

    fn finish_leaf_loop(&mut self, id: BlockId, leaf: &LeafLoop, region: Region) {
        let safe_point = self.blocks[id.index()].safe_point;
        let budget = self.temporaries.budget;
        let (exit, again, cold) = (self.labels.next(), self.labels.next(), self.labels.next());
        let ty = self.plan.block_type(&self.function.block(id).results);
        self.emit_item(Item::Open(exit, Opening::Block(ty)));
        for (&target, &label) in leaf.ways_out.iter().rev() {
            // The parameters of a loop travel in their slots.
            let target = self.function.block(target);
            let ty = match target.kind {
                BlockKind::Loop => BlockType::Empty,
                _ => self.plan.block_type(&target.results),
            };
            self.emit_item(Item::Open(label, Opening::Block(ty)));
        }
        self.emit_item(Item::Open(again, Opening::Loop(BlockType::Empty)));
        self.emit(Instruction::GlobalGet(self.plan.globals.budget));
        self.emit(Instruction::LocalSet(budget));
        self.emit_item(Item::Open(cold, Opening::Block(BlockType::Empty)));
        self.open_header(id);
        // Test first: after a poll, however small the next budget, the loop makes progress.
        self.emit(Instruction::LocalGet(budget));
        self.emit(Instruction::I32Const(0));
        self.emit(Instruction::I32LeS);
        self.emit_item(Item::Unlikely);
        self.emit_item(Item::BrIf(cold));
        self.emit(Instruction::LocalGet(budget));
        self.emit(Instruction::I32Const(self.loop_weight(id)));
        self.emit(Instruction::I32Sub);
        self.emit(Instruction::LocalSet(budget));
        self.items().extend(region.finish(Vec::new()));
        self.emit_item(Item::End);
        self.write_budget_back();
        self.emit_item(Item::Br(exit));
        self.emit_item(Item::End);
        self.note_safe_point(safe_point);
        self.emit(Instruction::I32Const(safe_point.cast_signed()));
        self.emit(Instruction::Call(self.plan.helpers.header));
        let unwind = self.exit(safe_point);
        self.emit_item(Item::Unlikely);
        self.emit_item(Item::BrIf(unwind));
        self.emit_item(Item::Br(again));
        self.emit_item(Item::End);
        self.emit(Instruction::Unreachable);
        for &target in leaf.ways_out.keys() {
            self.emit_item(Item::End);
            self.write_budget_back();
            let label = self.blocks[target.index()]
                .label
                .expect("an outer block is open");
            self.emit_item(Item::Br(label));
        }
        self.emit_item(Item::End);
    }

    /// Gives the rest of a leaf loop's budget back to the shared budget.
    pub(super) fn write_budget_back(&mut self) {
        self.emit(Instruction::LocalGet(self.temporaries.budget));
        self.emit(Instruction::GlobalSet(self.plan.globals.budget));
    }

    fn open_header(&mut self, id: BlockId) {
        let ty = self.plan.block_type(&self.function.block(id).results);
        let label = self.blocks[id.index()].label.expect("open");
        self.emit_item(Item::Open(label, Opening::Loop(ty)));
    }

    fn loop_weight(&self, id: BlockId) -> i32 {
        let block = self.function.block(id);
        self.weight(block.open.index() + 1..block.end.index())
    }

    /// Work, in operators, between two passages of a header: inner loops have their own.
    pub(super) fn weight(&self, ops: std::ops::Range<usize>) -> i32 {
        let mut weight = 1;
        let mut at = ops.start;
        while at < ops.end {
            let block = self.function.ops[at]
                .block
                .map(|id| self.function.block(id));
            at = match block {
                Some(block) if block.kind == BlockKind::Loop && block.open.index() == at => {
                    block.end.index()
                }
                _ => at,
            } + 1;
            weight += 1;
        }
        weight
    }
}
