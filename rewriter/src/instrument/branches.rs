//! Branches. Most are copied with a new depth. Two kinds need more:
//!
//! * to a loop with parameters: loops have none any more (a resume enters them with an empty stack), so
//!   the values go to the slots of the parameters first;
//! * out of a leaf loop, which counts its budget in a local: on the way out the count is written back
//!   (see [`super::loops`]).

use wasm_encoder::BlockType;
use wasmparser::Operator;

use super::code::{Item, Label, Opening};
use super::function::Emitter;
use crate::ir::{BlockId, BlockKind, Op, OpId};
use crate::plan::count32;

impl Emitter<'_, '_> {
    pub(super) fn branch(&mut self, op: &Op<'_>, id: OpId, inside: BlockId) {
        let function = self.function;
        match &op.operator {
            Operator::Br { relative_depth } => {
                let target = function.branch_target(inside, *relative_depth);
                self.flush();
                if self.is_loop_with_params(target) {
                    let heights = self.param_heights(target);
                    let (operands, items) = self.operands_and_items();
                    operands.store_top_as(heights, items);
                }
                let label = self.label(target);
                self.emit_item(Item::Br(label));
            }
            Operator::BrIf { relative_depth } => {
                let target = function.branch_target(inside, *relative_depth);
                if self.is_loop_with_params(target) {
                    self.branch_if_with_params(op, id, target);
                    return;
                }
                self.flush();
                let label = self.label(target);
                self.emit_item(Item::BrIf(label));
                self.operands.pop(op.popped);
                for &value_type in function.pushed(op) {
                    self.operands.push_physical(value_type, id);
                }
            }
            Operator::BrTable { targets } => {
                let block = |depth| function.branch_target(inside, depth);
                let default = block(targets.default());
                let targets: Vec<BlockId> = targets
                    .targets()
                    .map(|depth| block(depth.expect("validated")))
                    .collect();
                let all = targets.iter().chain([&default]);
                if all.clone().any(|&target| self.is_loop_with_params(target)) {
                    self.branch_table_with_params(&targets, default);
                } else {
                    self.flush();
                    let labels = targets.iter().map(|&target| self.label(target)).collect();
                    let default = self.label(default);
                    self.emit_item(Item::BrTable(labels, default));
                }
            }
            _ => unreachable!("called for branches only"),
        }
    }

    /// Where to branch to reach the label of an original block.
    fn label(&mut self, target: BlockId) -> Label {
        if let Some(leaf) = &mut self.leaf
            && target < leaf.block
        {
            return *leaf
                .ways_out
                .entry(target)
                .or_insert_with(|| self.labels.next());
        }
        self.blocks[target.index()]
            .label
            .expect("a branch goes to an open block")
    }

    fn is_loop_with_params(&self, target: BlockId) -> bool {
        let block = self.function.block(target);
        block.kind == BlockKind::Loop && !block.params.is_empty()
    }

    /// Operand stack heights of a loop's parameters.
    fn param_heights(&self, target: BlockId) -> std::ops::Range<u32> {
        let block = self.function.block(target);
        block.height..block.height + count32(block.params.len())
    }

    /// `br_if` to a loop with parameters: their slots may change only if the branch is taken.
    fn branch_if_with_params(&mut self, op: &Op<'_>, id: OpId, target: BlockId) {
        let count = op.popped as usize - 1;
        self.spill();
        let condition = self.operands.len() - 1;
        self.copy_operands(condition..condition + 1);
        self.operands.pop(1);
        let taken = self.labels.next();
        self.emit_item(Item::Open(taken, Opening::If(BlockType::Empty)));
        self.branch_with_copies(count, target);
        self.emit_item(Item::End);
        let function = self.function;
        let (operands, items) = self.operands_and_items();
        operands.force_slots(count, id, function, items);
    }

    /// `br_table` with a loop with parameters among its targets: a block for each target, behind it the
    /// values and the branch.
    fn branch_table_with_params(&mut self, targets: &[BlockId], default: BlockId) {
        let count = self.function.block(default).label_types().len();
        self.spill();
        let mut blocks: Vec<BlockId> = targets.iter().chain([&default]).copied().collect();
        blocks.sort_unstable();
        blocks.dedup();
        let labels: Vec<Label> = blocks.iter().map(|_| self.labels.next()).collect();
        for &label in labels.iter().rev() {
            self.emit_item(Item::Open(label, Opening::Block(BlockType::Empty)));
        }
        let index = self.operands.len() - 1;
        self.copy_operands(index..index + 1);
        self.operands.pop(1);
        let label_of = |target: &BlockId| labels[blocks.binary_search(target).expect("listed")];
        let table = Item::BrTable(targets.iter().map(label_of).collect(), label_of(&default));
        self.emit_item(table);
        for &target in &blocks {
            self.emit_item(Item::End);
            self.branch_with_copies(count, target);
        }
    }

    /// Pushes copies of the top operands and branches with them.
    fn branch_with_copies(&mut self, count: usize, target: BlockId) {
        let top = self.operands.len();
        self.copy_operands(top - count..top);
        if self.is_loop_with_params(target) {
            let heights = self.param_heights(target);
            let (operands, items) = self.operands_and_items();
            operands.store_top_as(heights, items);
        }
        let label = self.label(target);
        self.emit_item(Item::Br(label));
    }

    fn copy_operands(&mut self, range: std::ops::Range<usize>) {
        let function = self.function;
        let (operands, items) = self.operands_and_items();
        operands.push_copies(range, function, items);
    }
}
