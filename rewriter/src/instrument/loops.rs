//! Loops: every header is a safe point with a poll.
//!
//! A loop that is out of budget is left to poll, so that the register allocator sees no call on account
//! of it; then it is entered at its header again. Rewinding lands before the loop, where the values that
//! the loop carries are loaded, and what else the header needs if the program was stopped there.
//! Otherwise the way leads on from the header to the safe point inside: the budget is 0 while rewinding,
//! so this costs no further test. A loop tests what its budget was before it spent from it, so that it makes
//! progress after a poll, however small the next budget.
//!
//! ```wat
//! (if (i32.eq (global.get $safe_point) (i32.const ID))    ;; the landing, at the beginning of the region around
//!  (then (call $arrive)  ... load what is live)  (else ... load what the loop carries))  br $begin
//! ...
//! end                                        ;; $begin
//! block $done
//!  loop $again
//!   block $cold
//!    loop $header
//!     (global.set $budget (i32.sub (global.get $budget) (i32.const W)))
//!     (if (i32.le_s (global.get $budget) (i32.const -W))
//!      (then (br_table $landing... $cold (i32.sub (global.get $safe_point) (i32.const ID+1)))  ... landings))
//!     ... the body
//!    end
//!    br $done
//!   end
//!   (drop (br_if $exit (i32.const ID) (call $check)))  br $again
//!  end
//! end
//! ```
//!
//! A *leaf* loop contains no other safe point, and is where programs spend their time. It counts the
//! budget in a local, and on every way out writes it back to the shared budget. A small one is unrolled:
//! only the last copy of the body branches back to the header, the others to the next copy.
//!
//! ```wat
//! block $exit
//!  block $way_out                            ;; one for each label outside that the loop branches to
//!   loop $again
//!    (local.set $left (global.get $budget))
//!    block $cold
//!     block $done
//!      loop $header
//!       (br_if $cold (i32.le_s (local.tee $left (i32.sub (local.get $left) (i32.const W))) (i32.const -W)))
//!       block $next ... the body, branches out going to $way_out  br $done  end
//!       ... the body
//!      end
//!     end
//!     (global.set $budget (local.get $left))  br $exit
//!    end
//!    (drop (br_if $exit (i32.const ID) (call $check)))  br $again
//!   end
//!  end
//!  (global.set $budget (local.get $left))  br $outer
//! end
//! ```

use indexmap::IndexMap;
use wasm_encoder::{BlockType, Instruction};

use super::code::{self, Item, Label, Opening};
use super::function::Emitter;
use super::region::Region;
use crate::ir::{BlockId, BlockKind, OpId};
use crate::options::Optimize;

/// A leaf loop is unrolled so many times at most.
const COPIES_MAX: i32 = 4;

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
        let block = self.function.block(id);
        let work = self.work.of_loop(id);
        self.land_at_loop(safe_point, work.is_leaf);
        if work.is_leaf && !work.ends_soon && self.goal() != Optimize::Size {
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

    fn goal(&self) -> Optimize {
        self.plan.goals.of(self.function.index)
    }

    pub(super) fn end_loop(&mut self, id: BlockId, end: OpId) {
        let falls_through = self.reachable;
        if falls_through {
            self.flush();
        }
        let region = self.regions.pop().expect("the loop's region");
        match self.leaf.take() {
            Some(leaf) => self.finish_leaf_loop(id, &leaf, region, falls_through),
            None if self.work.of_loop(id).ends_soon => {
                self.open_header(id);
                self.items().extend(region.finish(Vec::new()));
                self.emit_item(Item::End);
            }
            None => self.finish_loop(id, region),
        }
        self.leave(id);
        self.push_results(&self.function.block(id).results, end);
    }

    fn land_at_loop(&mut self, safe_point: u32, is_leaf: bool) {
        let begin = self.labels.next();
        let is_nested = self.regions.len() > 1;
        let frame = self.frame;
        let point = &frame.safe_points[safe_point as usize];
        let here: Vec<u32> = point.carried.iter().chain(&point.own).copied().collect();
        self.begin_landing();
        if is_leaf {
            self.load_and_arrive(&here);
        } else {
            let stopped_here = self.labels.next();
            self.emit(Instruction::GlobalGet(self.plan.globals.safe_point));
            self.emit(Instruction::I32Const(safe_point.cast_signed()));
            self.emit(Instruction::I32Eq);
            self.emit_item(Item::Open(stopped_here, Opening::If(BlockType::Empty)));
            self.load_and_arrive(&here);
            self.emit_item(Item::Else);
            self.load_slots_apart(&point.carried);
            if is_nested {
                self.clear_slots(&point.own);
            }
            self.emit_item(Item::End);
        }
        self.end_landing(safe_point, begin);
        self.region().close(begin, BlockType::Empty);
    }

    fn finish_loop(&mut self, id: BlockId, mut region: Region) {
        let safe_point = self.blocks[id.index()].safe_point;
        let inside = safe_point + 1..self.next_safe_point;
        let (exit, again, cold) = (self.labels.next(), self.labels.next(), self.labels.next());
        let ty = self.plan.block_type(&self.function.block(id).results);
        self.emit_item(Item::Open(exit, Opening::Block(ty)));
        self.emit_item(Item::Open(again, Opening::Loop(ty)));
        self.emit_item(Item::Open(cold, Opening::Block(BlockType::Empty)));
        self.open_header(id);
        self.regions.push(Region::default());
        let work = self.work.of_loop(id).iteration;
        self.spend(work);
        self.emit(Instruction::I32Const(-work));
        self.emit(Instruction::I32LeS);
        if self.work.of_loop(id).is_leaf {
            self.emit_unlikely_br_if(cold);
        } else {
            self.open_unlikely_if();
            let safe_point = Instruction::GlobalGet(self.plan.globals.safe_point);
            let (scratch, impossible) = (self.temporaries.budget, self.labels.next());
            let index = [Item::Instruction(safe_point)];
            let landings = region.enter(inside, index, scratch, Some(cold), impossible);
            self.items().extend(landings);
            self.emit_item(Item::End);
        }
        let prologue = self.regions.pop().expect("pushed above").items;
        self.items().extend(region.finish(prologue));
        self.emit_item(Item::End);
        self.emit_item(Item::Br(exit));
        self.emit_item(Item::End);
        self.poll_again(safe_point, again);
        self.emit_item(Item::End);
    }

    /// What is done outside a loop that is out of budget, to the end of the loop around it.
    fn poll_again(&mut self, safe_point: u32, again: Label) {
        self.poll(safe_point);
        self.emit_item(Item::Br(again));
        self.emit_item(Item::End);
    }

    fn finish_leaf_loop(
        &mut self,
        id: BlockId,
        leaf: &LeafLoop,
        region: Region,
        falls_through: bool,
    ) {
        let safe_point = self.blocks[id.index()].safe_point;
        let budget = self.temporaries.budget;
        let (exit, again, cold) = (self.labels.next(), self.labels.next(), self.labels.next());
        let done = self.labels.next();
        let ty = self.plan.block_type(&self.function.block(id).results);
        self.emit_item(Item::Open(exit, Opening::Block(ty)));
        let mut following = ty;
        for (&target, &label) in leaf.ways_out.iter().rev() {
            // The parameters of a loop travel in their slots.
            let target = self.function.block(target);
            following = match target.kind {
                BlockKind::Loop => BlockType::Empty,
                _ => self.plan.block_type(&target.results),
            };
            self.emit_item(Item::Open(label, Opening::Block(following)));
        }
        // It never ends, but if it did, what comes after it would find what it expects.
        self.emit_item(Item::Open(again, Opening::Loop(following)));
        self.emit(Instruction::GlobalGet(self.plan.globals.budget));
        self.emit(Instruction::LocalSet(budget));
        self.emit_item(Item::Open(cold, Opening::Block(BlockType::Empty)));
        let weight = self.work.of_loop(id).iteration;
        let copies = (self.goal().unrolled_work_max() / weight).clamp(1, COPIES_MAX);
        let ends_often = falls_through && copies > 1;
        if ends_often {
            self.emit_item(Item::Open(done, Opening::Block(ty)));
        }
        self.open_header(id);
        self.emit(Instruction::LocalGet(budget));
        self.emit(Instruction::I32Const(copies * weight));
        self.emit(Instruction::I32Sub);
        self.emit(Instruction::LocalTee(budget));
        self.emit(Instruction::I32Const(-copies * weight));
        self.emit(Instruction::I32LeS);
        self.emit_unlikely_br_if(cold);
        let body = region.finish(Vec::new());
        let header = self.blocks[id.index()].label.expect("open");
        for _ in 1..copies {
            let next = self.labels.next();
            let copy = code::duplicate(&body, &mut self.labels, header, next);
            self.emit_item(Item::Open(next, Opening::Block(BlockType::Empty)));
            self.items().extend(copy);
            if falls_through {
                self.emit_item(Item::Br(done));
            }
            self.emit_item(Item::End);
        }
        self.items().extend(body);
        self.emit_item(Item::End);
        if ends_often {
            self.emit_item(Item::End);
        }
        if falls_through {
            self.write_budget_back();
        }
        self.emit_item(Item::Br(exit));
        self.emit_item(Item::End);
        self.poll_again(safe_point, again);
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

    /// Spends from the shared budget, and pushes what is left.
    pub(super) fn spend(&mut self, work: i32) {
        let budget = self.plan.globals.budget;
        self.emit(Instruction::GlobalGet(budget));
        self.emit(Instruction::I32Const(work));
        self.emit(Instruction::I32Sub);
        self.emit(Instruction::GlobalSet(budget));
        self.emit(Instruction::GlobalGet(budget));
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
}
