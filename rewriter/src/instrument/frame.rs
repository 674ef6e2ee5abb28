//! Loading a frame: a function's entry, and the words of values.

use wasm_encoder::{BlockType, Instruction};
use wasm_migrate_abi::{OTHER_FUNCTION, SlotOrigin, ValueType};

use super::code::{Item, Label, Opening};
use super::function::Emitter;
use super::region::Region;
use crate::encode;
use crate::plan::{Plan, count32};

impl Emitter<'_, '_> {
    /// Loads these slots, in this order. Runs of one type come together.
    pub(super) fn load_slots(&mut self, slots: &[u32]) {
        let frame = self.frame;
        for run in slots.chunk_by(|&a, &b| frame.type_of(a) == frame.type_of(b)) {
            let value_type = frame.type_of(run[0]);
            let together = self.plan.loaded_together(value_type);
            // The longest part last: what comes before lives across its call.
            for part in run.rchunks(together).rev() {
                for instruction in load(value_type, part.len(), self.plan) {
                    self.emit(instruction);
                }
                for &slot in part.iter().rev() {
                    let local = self.slot_local(slot);
                    self.emit(Instruction::LocalSet(local));
                }
            }
        }
    }

    /// Loads these slots, the last ones of the innermost frame. The program runs again from then on.
    pub(super) fn load_and_arrive(&mut self, slots: &[u32]) {
        let arrive = Instruction::Call(self.plan.helpers.arrive);
        // Arriving empties the table that holds the references. Other values had better not live across its call.
        let is_reference = |slot: &u32| self.frame.type_of(*slot) == ValueType::FuncRef;
        if slots.iter().any(is_reference) {
            self.load_slots(slots);
            self.emit(arrive);
        } else {
            self.emit(arrive);
            self.load_slots_apart(slots);
        }
    }

    /// Ends the lives of values that must not reach from one iteration of a loop around into the next: the
    /// way to a safe point inside an inner loop leads through its header.
    pub(super) fn clear_slots(&mut self, slots: &[u32]) {
        for &slot in slots {
            let local = self.slot_local(slot);
            self.emit(encode::zero(self.frame.type_of(slot)));
            self.emit(Instruction::LocalSet(local));
        }
    }

    /// What comes before the function's code: the test at its entry, cold behind it the way to where the
    /// frame was left.
    pub(super) fn enter(&mut self, region: &mut Region) -> Vec<Item> {
        let last = count32(self.frame.safe_points.len());
        let (scratch, impossible) = (self.temporaries.budget, self.labels.next());
        self.regions.push(Region::default());
        if self.suspension.polls_at_entry(self.function.index) {
            self.spend(self.work.function);
            self.emit(Instruction::I32Const(0));
            self.emit(Instruction::I32LeS);
            self.open_unlikely_if();
            let rewinding = self.labels.next();
            self.emit(Instruction::GlobalGet(self.plan.globals.state));
            self.emit_item(Item::Open(rewinding, Opening::If(BlockType::Empty)));
            self.begin_landing();
            self.load_and_arrive(&self.frame.safe_points[0].own);
            self.end_landing_at_entry(region, rewinding);
            let index = self.open_frame();
            let landings = region.enter(0..last, index, scratch, None, impossible);
            self.items().extend(landings);
            self.emit_item(Item::End);
            self.poll(0);
        } else {
            self.emit(Instruction::GlobalGet(self.plan.globals.state));
            self.open_unlikely_if();
            let index = self.open_frame();
            let landings = region.enter(1..last, index, scratch, None, impossible);
            self.items().extend(landings);
        }
        self.emit_item(Item::End);
        self.regions.pop().expect("pushed above").items
    }

    fn end_landing_at_entry(&mut self, region: &mut Region, joined: Label) {
        self.emit_item(Item::Br(joined));
        let items = self.regions.pop().expect("pushed at the beginning").items;
        region.land_first(self.labels.next(), items);
    }

    /// Polls, and unwinds if the host asks for it.
    pub(super) fn poll(&mut self, safe_point: u32) {
        let parked = self.park(safe_point);
        self.emit(Instruction::I32Const(safe_point.cast_signed()));
        self.emit(Instruction::Call(self.plan.helpers.check));
        self.fetch(&parked);
        self.unwind_if(safe_point);
    }

    /// Unwinds if the value on the stack says so. The safe point's id lies under it.
    pub(super) fn unwind_if(&mut self, safe_point: u32) {
        let slots = self.frame.safe_points[safe_point as usize].slots();
        let exit = self.exit(slots.collect());
        self.emit_item(Item::Unlikely);
        self.emit_item(Item::BrIf(exit));
        self.emit(Instruction::Drop);
    }

    /// Opens the next frame: makes its safe point.
    fn open_frame(&mut self) -> Vec<Item> {
        let mut items = vec![
            Item::Instruction(Instruction::I32Const(self.function.index.cast_signed())),
            Item::Instruction(Instruction::Call(self.plan.helpers.open)),
        ];
        if self.suspension.tail_calls(self.function.index) {
            let other = self.labels.next();
            let safe_point = self.temporaries.budget;
            let resume = self.plan.resume(&self.function.results);
            items.extend([
                Item::Instruction(Instruction::LocalTee(safe_point)),
                Item::Instruction(Instruction::I32Const(OTHER_FUNCTION)),
                Item::Instruction(Instruction::I32Eq),
                Item::Open(other, Opening::If(BlockType::Empty)),
                Item::Instruction(Instruction::ReturnCall(resume)),
                Item::End,
                Item::Instruction(Instruction::LocalGet(safe_point)),
            ]);
        }
        items
    }

    pub(super) fn slot_local(&mut self, slot: u32) -> u32 {
        let (origin, value_type) = self.frame.slots[slot as usize];
        match origin {
            SlotOrigin::Local(local) => local,
            SlotOrigin::Operand(height) => self.operands.slot(height, value_type),
        }
    }
}

/// Sends values of one type on the stack to the host, the first one first.
pub(super) fn save(value_type: ValueType, count: usize, plan: &Plan) -> Vec<Instruction<'static>> {
    let helpers = &plan.helpers;
    if let Some(save) = helpers.save.get(&value_type) {
        return vec![Instruction::Call(save[count - 1])];
    }
    let planned = "planned wherever such values occur";
    match value_type {
        ValueType::F32 => vec![
            Instruction::I32ReinterpretF32,
            Instruction::Call(helpers.save[&ValueType::I32][0]),
        ],
        ValueType::F64 => vec![
            Instruction::I64ReinterpretF64,
            Instruction::Call(helpers.save[&ValueType::I64][0]),
        ],
        ValueType::V128 => vec![Instruction::Call(helpers.save_v128.expect(planned))],
        ValueType::FuncRef => vec![Instruction::Call(helpers.save_reference.expect(planned))],
        ValueType::I32 | ValueType::I64 => unreachable!("integers have helpers"),
        ValueType::ExternRef => unreachable!("refused when frames are laid out"),
    }
}

/// Asks the host for values of one type, the first one first.
pub(super) fn load(value_type: ValueType, count: usize, plan: &Plan) -> Vec<Instruction<'static>> {
    let helpers = &plan.helpers;
    if let Some(load) = helpers.load.get(&value_type) {
        return vec![Instruction::Call(load[count - 1])];
    }
    let planned = "planned wherever such values occur";
    match value_type {
        ValueType::F32 => vec![
            Instruction::Call(helpers.load[&ValueType::I32][0]),
            Instruction::F32ReinterpretI32,
        ],
        ValueType::F64 => vec![
            Instruction::Call(helpers.load[&ValueType::I64][0]),
            Instruction::F64ReinterpretI64,
        ],
        ValueType::V128 => vec![Instruction::Call(helpers.load_v128.expect(planned))],
        ValueType::FuncRef => vec![Instruction::Call(helpers.load_reference.expect(planned))],
        ValueType::I32 | ValueType::I64 => unreachable!("integers have helpers"),
        ValueType::ExternRef => unreachable!("refused when frames are laid out"),
    }
}
