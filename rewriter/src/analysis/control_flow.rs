//! The control-flow graph of a lifted function: basic blocks over its operators.

use wasmparser::Operator;

use crate::ir::{BlockId, BlockKind, Function, OpId, for_each_branch, is_terminator};

/// A basic block: a run of operators that are executed together.
#[derive(Debug)]
pub(crate) struct BasicBlock {
    pub(crate) ops: std::ops::Range<usize>,
    pub(crate) successors: Vec<usize>,
}

/// The control-flow graph; block 0 is the entry. Leaving the function has no edge.
#[derive(Debug)]
pub(crate) struct ControlFlow {
    pub(crate) blocks: Vec<BasicBlock>,
    /// By operator: the basic block that starts there.
    starts: Vec<Option<usize>>,
}

impl ControlFlow {
    pub(crate) fn new(function: &Function<'_>) -> Self {
        let ops = &function.ops;
        let mut is_start = vec![false; ops.len() + 1];
        is_start[0] = true;
        for (index, op) in ops.iter().enumerate() {
            match op.operator {
                // Targets of branches.
                Operator::Loop { .. } | Operator::End => is_start[index] = true,
                Operator::If { .. } | Operator::Else | Operator::BrIf { .. } => {
                    is_start[index + 1] = true;
                }
                _ if is_terminator(&op.operator) => is_start[index + 1] = true,
                _ => {}
            }
        }
        is_start[ops.len()] = true;
        let mut blocks: Vec<BasicBlock> = Vec::new();
        let mut starts = vec![None; ops.len()];
        let mut begin = 0;
        for end in (1..=ops.len()).filter(|&at| is_start[at]) {
            starts[begin] = Some(blocks.len());
            blocks.push(BasicBlock {
                ops: begin..end,
                successors: Vec::new(),
            });
            begin = end;
        }
        let mut flow = Self { blocks, starts };
        flow.connect(function);
        flow
    }

    fn connect(&mut self, function: &Function<'_>) {
        let mut open = vec![BlockId::FUNCTION];
        for index in 0..self.blocks.len() {
            let ops = self.blocks[index].ops.clone();
            let mut successors = Vec::new();
            for op in &function.ops[ops.clone()] {
                match op.operator {
                    Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                        open.push(op.block.expect("structured"));
                    }
                    Operator::End => {
                        open.pop();
                    }
                    _ => {}
                }
            }
            let last = &function.ops[ops.end - 1];
            let inside = open.last().copied().unwrap_or(BlockId::FUNCTION);
            for_each_branch(&last.operator, |depth| {
                successors.extend(self.label(function, function.branch_target(inside, depth)));
            });
            match last.operator {
                Operator::If { .. } => {
                    let block = function.block(last.block.expect("structured"));
                    let otherwise = block.otherwise.map_or(block.end, |op| OpId(op.0 + 1));
                    successors.extend(self.starts[otherwise.index()]);
                    successors.extend(self.starts.get(ops.end).copied().flatten());
                }
                // Reached from the end of the `then` part only.
                Operator::Else => {
                    let block = function.block(last.block.expect("structured"));
                    successors.extend(self.starts[block.end.index()]);
                }
                _ if is_terminator(&last.operator) => {}
                _ => successors.extend(self.starts.get(ops.end).copied().flatten()),
            }
            successors.sort_unstable();
            successors.dedup();
            self.blocks[index].successors = successors;
        }
    }

    /// The basic block that a branch to this label goes to.
    fn label(&self, function: &Function<'_>, target: BlockId) -> Option<usize> {
        let block = function.block(target);
        match block.kind {
            BlockKind::Loop => self.starts[block.open.index()],
            BlockKind::Function => None,
            BlockKind::Block | BlockKind::If => self.starts[block.end.index()],
        }
    }
}
