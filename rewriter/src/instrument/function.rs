//! One function, operator by operator.

use wasm_encoder::{BlockType, Encode, Instruction, ValType};
use wasm_migrate_abi::ValueType;
use wasmparser::Operator;

use super::code::{self, Item, Label, Labels, Opening, push};
use super::exits::Exits;
use super::loops::LeafLoop;
use super::operands::Operands;
use super::region::Region;
use crate::analysis::{Frame, Suspension, Work, work};
use crate::encode;
use crate::ir::{BlockId, BlockKind, Function, Op, OpId, is_terminator};
use crate::plan::{Plan, count32};

/// A rewritten body.
pub(crate) struct Body {
    /// Locals and code, without the size.
    pub(crate) bytes: Vec<u8>,
    /// Offsets in `bytes` of conditional branches that are hardly ever taken.
    pub(crate) unlikely: Vec<u32>,
    /// How many values of one type other than `i32` it parks at most.
    pub(crate) parked: u32,
    /// Operators that are executed at most between two polls.
    pub(crate) unpolled: u64,
}

/// Rewrites one lifted function.
pub(crate) fn instrument(
    original: &[u8],
    function: &Function<'_>,
    frame: &Frame,
    suspension: &Suspension,
    plan: &Plan,
) -> Body {
    let locals = count32(function.locals.len());
    let mut labels = Labels::default();
    let saved = labels.next();
    let mut emitter = Emitter {
        function,
        frame,
        suspension,
        plan,
        work: work(function, plan.latency_max),
        labels,
        regions: vec![Region::default()],
        operands: Operands::new(locals + Temporaries::COUNT),
        temporaries: Temporaries { budget: locals },
        blocks: Vec::new(),
        exits: Exits::new(saved),
        next_safe_point: 1,
        leaf: None,
        parked: 0,
        reachable: true,
    };
    emitter
        .blocks
        .resize_with(function.blocks.len(), BlockState::default);
    emitter.blocks[0].label = Some(Label::FUNCTION);
    emitter.run();
    emitter.finish(original)
}

/// Locals that every instrumented function has, after the original's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Temporaries {
    /// Work left until the next poll. While rewinding, the safe point.
    pub(super) budget: u32,
}

impl Temporaries {
    const COUNT: u32 = 1;
}

/// What is known of a block of the original while its code is emitted.
#[derive(Debug, Default)]
pub(super) struct BlockState {
    /// Where branches to the block go.
    pub(super) label: Option<Label>,
    /// Base of the operand stack outside.
    pub(super) outer_base: usize,
    /// Of a hoisted `if`: the label of its `else` part, until that part begins.
    pub(super) otherwise: Option<Label>,
    /// Of a loop: its safe point.
    pub(super) safe_point: u32,
}

/// State of the emission of one function.
pub(super) struct Emitter<'e, 'a> {
    pub(super) function: &'e Function<'a>,
    pub(super) frame: &'e Frame,
    pub(super) suspension: &'e Suspension,
    pub(super) plan: &'e Plan,
    pub(super) work: Work,
    pub(super) labels: Labels,
    /// Innermost last.
    pub(super) regions: Vec<Region>,
    pub(super) operands: Operands,
    pub(super) temporaries: Temporaries,
    pub(super) blocks: Vec<BlockState>,
    pub(super) exits: Exits,
    pub(super) next_safe_point: u32,
    /// The innermost loop, if it contains no other safe point.
    pub(super) leaf: Option<LeafLoop>,
    /// See [`Body::parked`].
    pub(super) parked: u32,
    /// Whether control can reach the next operator from the one before.
    pub(super) reachable: bool,
}

impl Emitter<'_, '_> {
    fn run(&mut self) {
        let mut inside = BlockId::FUNCTION;
        for (index, op) in self.function.ops.iter().enumerate() {
            let id = OpId::new(index);
            match op.operator {
                Operator::Block { .. } | Operator::If { .. } => {
                    inside = op.block.expect("structured");
                    if self.function.block(inside).has_safe_point {
                        self.open_hoisted(inside, id);
                    } else {
                        self.open_plain(inside, op);
                    }
                }
                Operator::Loop { .. } => {
                    inside = op.block.expect("structured");
                    self.open_loop(inside, id);
                }
                Operator::Else => self.otherwise(inside),
                Operator::End => {
                    let block = self.function.block(inside);
                    let parent = block.parent;
                    match block.kind {
                        BlockKind::Function => self.end_function(),
                        BlockKind::Loop => self.end_loop(inside, id),
                        _ if block.has_safe_point => self.end_hoisted(inside, id),
                        _ => self.end_plain(inside, id),
                    }
                    inside = parent;
                    self.reachable = true;
                }
                _ => {
                    self.operator(op, id, inside);
                    if is_terminator(&op.operator) {
                        self.reachable = false;
                    }
                }
            }
        }
    }

    /// Operators that are not structured.
    fn operator(&mut self, op: &Op<'_>, id: OpId, inside: BlockId) {
        match op.operator {
            Operator::LocalGet { .. } | Operator::I32Const { .. } | Operator::I64Const { .. } => {
                let value_type = self.function.pushed(op)[0];
                self.operands.push_pending(value_type, id);
            }
            Operator::Call { .. } | Operator::CallIndirect { .. } if self.is_safe_point(id) => {
                self.suspending_call(op, id);
            }
            Operator::Br { .. } | Operator::BrIf { .. } | Operator::BrTable { .. } => {
                self.branch(op, id, inside);
            }
            _ => {
                self.flush();
                if matches!(
                    op.operator,
                    Operator::Return
                        | Operator::ReturnCall { .. }
                        | Operator::ReturnCallIndirect { .. }
                ) && self.leaf.is_some()
                {
                    self.write_budget_back();
                }
                self.emit_operator(op);
                self.operands.pop(op.popped);
                for &value_type in self.function.pushed(op) {
                    self.operands.push_physical(value_type, id);
                }
            }
        }
    }

    /// Copies an operator, with the function index that it names in the new module.
    pub(super) fn emit_operator(&mut self, op: &Op<'_>) {
        match replacement(&op.operator, self.plan) {
            Some(instruction) => self.emit(instruction),
            None => push(self.items(), Item::Original(op.bytes.clone())),
        }
        for instruction in after_drop(&op.operator, self.plan).into_iter().flatten() {
            self.emit(instruction);
        }
    }

    fn end_function(&mut self) {
        if self.reachable {
            self.flush();
            self.emit(Instruction::Return);
        }
    }

    /// Puts everything together: exits, entry, body.
    fn finish(mut self, original: &[u8]) -> Body {
        let mut region = self.regions.pop().expect("the function's region");
        let prologue = self.enter(&mut region);
        let body = region.finish(prologue);
        let items = self.with_exits(body);
        let mut bytes = Vec::new();
        self.encode_locals(&mut bytes);
        let unlikely = code::encode(original, &items, &self.labels, &mut bytes);
        Body {
            bytes,
            unlikely,
            parked: self.parked,
            unpolled: self.work.unpolled,
        }
    }

    fn encode_locals(&self, sink: &mut Vec<u8>) {
        let declared = &self.function.locals[self.function.param_count as usize..];
        let added = [ValueType::I32; Temporaries::COUNT as usize];
        let all = declared
            .iter()
            .copied()
            .chain(added)
            .chain(self.operands.slot_types());
        let mut runs: Vec<(u32, ValType)> = Vec::new();
        for value_type in all.map(encode::value_type) {
            match runs.last_mut() {
                Some((count, last)) if *last == value_type => *count += 1,
                _ => runs.push((1, value_type)),
            }
        }
        runs.len().encode(sink);
        for (count, value_type) in runs {
            count.encode(sink);
            value_type.encode(sink);
        }
    }

    fn is_safe_point(&self, op: OpId) -> bool {
        let next = self.frame.safe_points.get(self.next_safe_point as usize);
        next.is_some_and(|point| point.op == op)
    }

    pub(super) fn region(&mut self) -> &mut Region {
        self.regions.last_mut().expect("in a region")
    }

    pub(super) fn items(&mut self) -> &mut Vec<Item> {
        &mut self.region().items
    }

    /// What is emitted from now on is the code of a landing.
    pub(super) fn begin_landing(&mut self) {
        self.regions.push(Region::default());
    }

    /// Ends the code through which rewinding enters the region at safe points from `first` on. It goes on where
    /// `joined` is closed.
    pub(super) fn end_landing(&mut self, first: u32, joined: Label) {
        self.emit_item(Item::Br(joined));
        let items = self.regions.pop().expect("pushed at the beginning").items;
        let label = self.labels.next();
        self.region().land(first, label, items);
    }

    /// Opens an `if` that is hardly ever taken.
    pub(super) fn open_unlikely_if(&mut self) -> Label {
        let label = self.labels.next();
        self.emit_item(Item::Unlikely);
        self.emit_item(Item::Open(label, Opening::If(BlockType::Empty)));
        label
    }

    pub(super) fn emit_unlikely_br_if(&mut self, label: Label) {
        self.emit_item(Item::Unlikely);
        self.emit_item(Item::BrIf(label));
    }

    pub(super) fn emit(&mut self, instruction: Instruction<'static>) {
        self.items().push(Item::Instruction(instruction));
    }

    pub(super) fn emit_item(&mut self, item: Item) {
        self.items().push(item);
    }

    /// The operand stack, and the items that what happens to it adds to.
    pub(super) fn operands_and_items(&mut self) -> (&mut Operands, &mut Vec<Item>) {
        let region = self.regions.last_mut().expect("in a region");
        (&mut self.operands, &mut region.items)
    }

    pub(super) fn flush(&mut self) {
        let function = self.function;
        let (operands, items) = self.operands_and_items();
        operands.flush(function, items);
    }

    pub(super) fn flush_from(&mut self, height: usize) {
        let function = self.function;
        let (operands, items) = self.operands_and_items();
        operands.flush_from(height, function, items);
    }

    /// Makes sure that nothing under the top operands needs the physical stack.
    pub(super) fn spill_under(&mut self, top: u32) {
        if !self.operands.are_kept_under(top, self.function) {
            self.spill();
        }
    }

    pub(super) fn spill(&mut self) {
        let function = self.function;
        let (operands, items) = self.operands_and_items();
        operands.spill(function, items);
    }

    pub(super) fn push_results(&mut self, types: &[ValueType], origin: OpId) {
        let (operands, items) = self.operands_and_items();
        operands.push_results(types, origin, items);
    }
}

/// The operator in the new module, if it names a function.
pub(crate) fn replacement(operator: &Operator<'_>, plan: &Plan) -> Option<Instruction<'static>> {
    Some(match *operator {
        Operator::Call { function_index } => Instruction::Call(plan.function(function_index)),
        Operator::ReturnCall { function_index } => {
            Instruction::ReturnCall(plan.function(function_index))
        }
        Operator::RefFunc { function_index } => Instruction::RefFunc(plan.function(function_index)),
        _ => return None,
    })
}

/// What notes that a segment was dropped.
pub(crate) fn after_drop(
    operator: &Operator<'_>,
    plan: &Plan,
) -> Option<[Instruction<'static>; 2]> {
    let flag = match operator {
        Operator::DataDrop { data_index } => plan.globals.data_dropped.get(data_index)?,
        Operator::ElemDrop { elem_index } => plan.globals.element_dropped.get(elem_index)?,
        _ => return None,
    };
    Some([Instruction::I32Const(1), Instruction::GlobalSet(*flag)])
}
