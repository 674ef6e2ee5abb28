//! The intermediate representation: one function as the list of its reachable operators.
//!
//! An operator stays what the binary says (`wasmparser::Operator`, so every operator of Wasm 3.0 is
//! representable) and where it stands, so that code which needs no change is copied byte for byte.
//! Around it stand the facts that lifting proves: what it takes from and puts on the operand stack,
//! where a block ends, and what lies on the operand stack at each candidate for a safe point.

use wasm_migrate_abi::ValueType;
use wasmparser::Operator;

/// Index of an operator in [`Function::ops`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct OpId(pub(crate) u32);

impl OpId {
    pub(crate) fn new(index: usize) -> Self {
        Self(u32::try_from(index).expect("a function body is shorter than 4 GiB"))
    }

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A lifted function.
pub(crate) struct Function<'a> {
    /// Index in the original function index space.
    pub(crate) index: u32,
    pub(crate) param_count: u32,
    pub(crate) results: Vec<ValueType>,
    /// Parameters and locals.
    pub(crate) locals: Vec<ValueType>,
    /// Reachable operators; the last is the `end` of the function.
    pub(crate) ops: Vec<Op<'a>>,
    /// Facts about `block`, `loop` and `if`, by [`Op::block`].
    pub(crate) blocks: Vec<Block>,
    /// Result types that are not implied by the operator, see [`Op::pushed`].
    pub(crate) pushed_types: Vec<ValueType>,
    /// Candidates for safe points (loops and calls that may suspend), in order.
    pub(crate) candidates: Vec<Candidate>,
    /// By operator: a `local.get` or constant whose value can be made again instead of being kept.
    pub(crate) rematerializable: Vec<bool>,
}

/// One operator.
pub(crate) struct Op<'a> {
    pub(crate) operator: Operator<'a>,
    /// Byte range in the original module.
    pub(crate) bytes: std::ops::Range<u32>,
    /// How many operands it takes. Structured operators: see [`Block`].
    pub(crate) popped: u32,
    /// Range in [`Function::pushed_types`] of the operands it leaves.
    pub(crate) pushed: std::ops::Range<u32>,
    /// The block that a structured operator (`block`, `loop`, `if`, `else`, `end`) belongs to.
    pub(crate) block: Option<BlockId>,
}

/// Index in [`Function::blocks`]. Block 0 is the function's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BlockId(pub(crate) u32);

impl BlockId {
    pub(crate) const FUNCTION: Self = Self(0);

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockKind {
    Function,
    Block,
    Loop,
    If,
}

/// A structured operator and its extent.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) kind: BlockKind,
    pub(crate) parent: BlockId,
    /// The opening operator (0 for the function).
    pub(crate) open: OpId,
    /// The `else`, if there is a reachable one.
    pub(crate) otherwise: Option<OpId>,
    /// The `end`.
    pub(crate) end: OpId,
    pub(crate) params: Vec<ValueType>,
    pub(crate) results: Vec<ValueType>,
    /// Operand stack height under its parameters.
    pub(crate) height: u32,
    /// Contains a safe point, or is a loop (and so is one).
    pub(crate) has_safe_point: bool,
}

impl Block {
    /// Types that a branch to this block's label carries.
    pub(crate) fn label_types(&self) -> &[ValueType] {
        if self.kind == BlockKind::Loop {
            &self.params
        } else {
            &self.results
        }
    }
}

/// A place that may be a safe point.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) op: OpId,
    /// The operand stack under the call's arguments, or the whole stack at a loop's opening (its
    /// parameters included), bottom first.
    pub(crate) operands: Vec<Operand>,
}

/// A value on the operand stack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operand {
    pub(crate) value_type: ValueType,
    /// The operator that pushed it.
    pub(crate) origin: OpId,
}

impl Function<'_> {
    pub(crate) fn block(&self, id: BlockId) -> &Block {
        &self.blocks[id.index()]
    }

    /// The block that a branch of this depth at an operator inside `from` goes to.
    pub(crate) fn branch_target(&self, from: BlockId, depth: u32) -> BlockId {
        (0..depth).fold(from, |block, _| self.block(block).parent)
    }

    pub(crate) fn pushed(&self, op: &Op<'_>) -> &[ValueType] {
        &self.pushed_types[op.pushed.start as usize..op.pushed.end as usize]
    }
}

/// Calls `visit` with each branch depth that the operator can go to; `return` is not a branch here.
pub(crate) fn for_each_branch(operator: &Operator<'_>, mut visit: impl FnMut(u32)) {
    match operator {
        Operator::Br { relative_depth } | Operator::BrIf { relative_depth } => {
            visit(*relative_depth);
        }
        Operator::BrTable { targets } => {
            for depth in targets.targets() {
                visit(depth.expect("validated"));
            }
            visit(targets.default());
        }
        _ => {}
    }
}

/// Whether control never goes on to the next operator.
pub(crate) fn is_terminator(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::Br { .. }
            | Operator::BrTable { .. }
            | Operator::Return
            | Operator::Unreachable
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
    )
}
