//! Saving and loading a frame: the exits at the end of a function, and its entry.

use wasm_encoder::{BlockType, Instruction};
use wasm_migrate_abi::{OTHER_FUNCTION, SlotOrigin, ValueType};

use super::code::{Item, Label, Opening};
use super::function::Emitter;
use super::region::Region;
use crate::encode;
use crate::plan::{Plan, SAVED_TOGETHER_MAX, count32};

impl Emitter<'_, '_> {
    /// Where to branch to unwind, with the safe point's id: safe points with the same frame share it.
    pub(super) fn exit(&mut self, safe_point: u32) -> Label {
        let frame = self.frame;
        let slots: Vec<u32> = frame.safe_points[safe_point as usize].slots().collect();
        *self
            .exits
            .entry(slots)
            .or_insert_with(|| self.labels.next())
    }

    /// Loads these slots, in this order.
    pub(super) fn load_slots(&mut self, slots: &[u32]) {
        for &index in slots {
            let (origin, value_type) = self.frame.slots[index as usize];
            let local = self.slot_local(origin, value_type);
            for instruction in load(value_type, self.plan) {
                self.emit(instruction);
            }
            self.emit(Instruction::LocalSet(local));
        }
    }

    /// Ends the lives of values that must not reach from one iteration of a loop around into the next: the
    /// way to a safe point inside an inner loop leads through its header.
    pub(super) fn clear_slots(&mut self, slots: &[u32]) {
        if self.regions.len() == 1 {
            return;
        }
        for &index in slots {
            let (origin, value_type) = self.frame.slots[index as usize];
            let local = self.slot_local(origin, value_type);
            self.emit(encode::zero(value_type));
            self.emit(Instruction::LocalSet(local));
        }
    }

    /// The body inside its exits, followed by what each exit saves.
    pub(super) fn with_exits(&mut self, body: Vec<Item>) -> Vec<Item> {
        let exits = std::mem::take(&mut self.exits);
        self.regions.push(Region::default());
        let i32_result = BlockType::Result(encode::value_type(ValueType::I32));
        self.emit_item(Item::Open(self.saved, Opening::Block(i32_result)));
        for &label in exits.values().rev() {
            self.emit_item(Item::Open(label, Opening::Block(i32_result)));
        }
        self.items().extend(body);
        for slots in exits.keys() {
            self.emit_item(Item::End);
            self.save_slots(slots.iter().copied());
            self.emit_item(Item::Br(self.saved));
        }
        self.emit_item(Item::End);
        self.emit(Instruction::LocalSet(self.temporaries.safe_point));
        self.emit(Instruction::I32Const(self.function.index.cast_signed()));
        self.emit(Instruction::LocalGet(self.temporaries.safe_point));
        self.emit(Instruction::Call(self.plan.abi.save_frame));
        for &result in &self.function.results {
            self.emit(encode::zero(result));
        }
        self.regions.pop().expect("pushed above").items
    }

    /// Saves these slots, in this order. Runs of `i32` go together.
    fn save_slots(&mut self, slots: impl Iterator<Item = u32>) {
        let mut run = Vec::new();
        for index in slots {
            let (origin, value_type) = self.frame.slots[index as usize];
            let local = self.slot_local(origin, value_type);
            if value_type == ValueType::I32 && run.len() < SAVED_TOGETHER_MAX {
                run.push(local);
                continue;
            }
            self.save_run(&mut run);
            if value_type == ValueType::I32 {
                run.push(local);
            } else {
                self.emit(Instruction::LocalGet(local));
                for instruction in save(value_type, self.plan) {
                    self.emit(instruction);
                }
            }
        }
        self.save_run(&mut run);
    }

    fn save_run(&mut self, run: &mut Vec<u32>) {
        for &local in run.iter() {
            self.emit(Instruction::LocalGet(local));
        }
        if let Some(last) = run.len().checked_sub(1) {
            self.emit(Instruction::Call(self.plan.helpers.save_i32s[last]));
        }
        run.clear();
    }

    /// What comes before the function's code: the test at its entry, cold behind it the way to where the
    /// frame was left.
    pub(super) fn enter(&mut self, region: &Region) -> Vec<Item> {
        self.regions.push(Region::default());
        let last = count32(self.frame.safe_points.len());
        let targets = region.targets(1..last);
        if self.suspension.polls_at_entry(self.function.index) {
            let (left, budget) = (self.temporaries.budget, self.plan.globals.budget);
            self.emit(Instruction::GlobalGet(budget));
            self.emit(Instruction::I32Const(self.work.function));
            self.emit(Instruction::I32Sub);
            self.emit(Instruction::LocalTee(left));
            self.emit(Instruction::GlobalSet(budget));
            self.emit(Instruction::LocalGet(left));
            self.emit(Instruction::I32Const(0));
            self.emit(Instruction::I32LeS);
            self.open_unlikely_if();
            let rewinding = self.labels.next();
            self.emit(Instruction::GlobalGet(self.plan.globals.state));
            self.emit_item(Item::Open(rewinding, Opening::If(BlockType::Empty)));
            self.load_frame();
            self.dispatch(0, targets, rewinding);
            self.emit_item(Item::End);
            self.poll(0);
        } else {
            self.emit(Instruction::GlobalGet(self.plan.globals.state));
            let cold = self.open_unlikely_if();
            self.load_frame();
            if targets.is_empty() {
                self.emit(Instruction::Unreachable);
            } else {
                self.dispatch(0, targets, cold);
            }
        }
        self.emit_item(Item::End);
        self.regions.pop().expect("pushed above").items
    }

    /// Polls, and unwinds if the host asks for it.
    pub(super) fn poll(&mut self, safe_point: u32) {
        let frame = self.frame;
        let parked = self.park(safe_point);
        self.emit(Instruction::Call(self.plan.helpers.check));
        self.fetch(&parked);
        self.open_unlikely_if();
        self.save_slots(frame.safe_points[safe_point as usize].slots());
        self.emit(Instruction::I32Const(safe_point.cast_signed()));
        self.emit_item(Item::Br(self.saved));
        self.emit_item(Item::End);
    }

    /// Branches to the landing of the safe point being rebuilt, if it is one of those after `header`.
    pub(super) fn dispatch(&mut self, header: u32, targets: Box<[Label]>, otherwise: Label) {
        self.emit(Instruction::GlobalGet(self.plan.globals.safe_point));
        self.emit(Instruction::I32Const(header.cast_signed() + 1));
        self.emit(Instruction::I32Sub);
        self.emit_item(Item::BrTable(targets, otherwise));
    }

    /// Opens the next frame, and loads it if it was left at the entry.
    fn load_frame(&mut self) {
        self.emit(Instruction::I32Const(self.function.index.cast_signed()));
        self.emit(Instruction::Call(self.plan.abi.load_frame));
        let safe_point = self.temporaries.safe_point;
        self.emit(Instruction::LocalTee(safe_point));
        self.emit(Instruction::GlobalSet(self.plan.globals.safe_point));
        if self.suspension.tail_calls(self.function.index) {
            let other = self.labels.next();
            self.emit(Instruction::LocalGet(safe_point));
            self.emit(Instruction::I32Const(OTHER_FUNCTION));
            self.emit(Instruction::I32Eq);
            self.emit_item(Item::Open(other, Opening::If(BlockType::Empty)));
            let resume = self.plan.resume(&self.function.results);
            self.emit(Instruction::ReturnCall(resume));
            self.emit_item(Item::End);
        }
        if self.suspension.polls_at_entry(self.function.index) {
            let here = self.labels.next();
            self.emit(Instruction::LocalGet(safe_point));
            self.emit(Instruction::I32Eqz);
            self.emit_item(Item::Open(here, Opening::If(BlockType::Empty)));
            self.load_slots(&self.frame.safe_points[0].own);
            self.emit(Instruction::Call(self.plan.helpers.arrive));
            self.emit_item(Item::End);
        }
    }

    pub(super) fn slot_local(&mut self, origin: SlotOrigin, value_type: ValueType) -> u32 {
        match origin {
            SlotOrigin::Local(local) => local,
            SlotOrigin::Operand(height) => self.operands.slot(height, value_type),
        }
    }
}

/// Sends the value on the stack to the host.
pub(super) fn save(value_type: ValueType, plan: &Plan) -> Vec<Instruction<'static>> {
    let vector = || {
        plan.helpers
            .save_v128
            .expect("planned wherever vectors occur")
    };
    let reference = || {
        plan.helpers
            .save_reference
            .expect("planned wherever references occur")
    };
    match value_type {
        ValueType::I32 => vec![Instruction::Call(plan.helpers.save_i32s[0])],
        ValueType::I64 => vec![Instruction::Call(plan.helpers.save_i64)],
        ValueType::F32 => vec![
            Instruction::I32ReinterpretF32,
            Instruction::Call(plan.helpers.save_i32s[0]),
        ],
        ValueType::F64 => vec![
            Instruction::I64ReinterpretF64,
            Instruction::Call(plan.helpers.save_i64),
        ],
        ValueType::V128 => vec![Instruction::Call(vector())],
        ValueType::FuncRef => vec![Instruction::Call(reference())],
        ValueType::ExternRef => unreachable!("refused when frames are laid out"),
    }
}

/// Asks the host for a value.
pub(super) fn load(value_type: ValueType, plan: &Plan) -> Vec<Instruction<'static>> {
    let vector = || {
        plan.helpers
            .load_v128
            .expect("planned wherever vectors occur")
    };
    let reference = || {
        plan.helpers
            .load_reference
            .expect("planned wherever references occur")
    };
    match value_type {
        ValueType::I32 => vec![Instruction::Call(plan.helpers.load_i32)],
        ValueType::I64 => vec![Instruction::Call(plan.helpers.load_i64)],
        ValueType::F32 => vec![
            Instruction::Call(plan.helpers.load_i32),
            Instruction::F32ReinterpretI32,
        ],
        ValueType::F64 => vec![
            Instruction::Call(plan.helpers.load_i64),
            Instruction::F64ReinterpretI64,
        ],
        ValueType::V128 => vec![Instruction::Call(vector())],
        ValueType::FuncRef => vec![Instruction::Call(reference())],
        ValueType::ExternRef => unreachable!("refused when frames are laid out"),
    }
}
