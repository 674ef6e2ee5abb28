//! Saving and loading a frame: the exits at the end of a function, and its entry.

use indexmap::IndexMap;
use wasm_encoder::{BlockType, Instruction};
use wasm_migrate_abi::{OTHER_FUNCTION, REWINDING, SlotOrigin, ValueType};

use super::code::{Item, Label, Opening};
use super::function::Emitter;
use super::region::Region;
use crate::encode;
use crate::plan::{Plan, count32};

/// Where a function that unwinds goes: by the slots that it saves there.
#[derive(Debug, Default)]
pub(super) struct Exits {
    by_live_slots: IndexMap<Vec<u32>, Label>,
}

impl Emitter<'_, '_> {
    /// Where to branch to unwind at this safe point, once its id is in its local.
    pub(super) fn exit(&mut self, safe_point: u32) -> Label {
        let live = &self.frame.safe_points[safe_point as usize].live;
        if let Some(&label) = self.exits.by_live_slots.get(live) {
            return label;
        }
        let label = self.labels.next();
        self.exits.by_live_slots.insert(live.clone(), label);
        label
    }

    /// Sets the local that tells the exits at which safe point the function is.
    pub(super) fn note_safe_point(&mut self, safe_point: u32) {
        self.emit(Instruction::I32Const(safe_point.cast_signed()));
        self.emit(Instruction::LocalSet(self.temporaries.safe_point));
    }

    /// The body inside its exits, followed by the saves: one run for each distinct set of live slots.
    pub(super) fn with_exits(&mut self, body: Vec<Item>) -> Vec<Item> {
        let exits = std::mem::take(&mut self.exits.by_live_slots);
        if exits.is_empty() {
            return body;
        }
        let saved = self.labels.next();
        let open = |label: &Label| Item::Open(*label, Opening::Block(BlockType::Empty));
        let mut items = vec![open(&saved)];
        items.extend(exits.values().rev().map(open));
        items.extend(body);
        for (number, live) in exits.keys().enumerate() {
            items.push(Item::End);
            for &index in live {
                let (origin, value_type) = self.frame.slots[index as usize];
                let local = self.slot_local(origin, value_type);
                items.push(Item::Instruction(Instruction::LocalGet(local)));
                items.extend(
                    save(value_type, self.plan)
                        .into_iter()
                        .map(Item::Instruction),
                );
            }
            if number + 1 < exits.len() {
                items.push(Item::Br(saved));
            }
        }
        items.push(Item::End);
        items.extend(
            [
                Instruction::I32Const(self.function.index.cast_signed()),
                Instruction::LocalGet(self.temporaries.safe_point),
                Instruction::Call(self.plan.abi.save_frame),
            ]
            .map(Item::Instruction),
        );
        items.extend(
            self.function
                .results
                .iter()
                .map(|&ty| Item::Instruction(encode::zero(ty))),
        );
        items
    }

    /// The test at the function's entry, cold behind it the load of the frame and the way to where it
    /// was left.
    pub(super) fn entry(&mut self, region: &Region) -> Vec<Item> {
        let polled = self.suspension.polls_at_entry(self.function.index);
        let last = count32(self.frame.safe_points.len()) - 1;
        let cold = self.labels.next();
        let mut items = Vec::new();
        if polled {
            items.extend(self.spend_budget(self.weight(0..self.function.ops.len())));
        } else {
            items.push(Item::Instruction(Instruction::GlobalGet(
                self.plan.globals.state,
            )));
        }
        items.push(Item::Unlikely);
        items.push(Item::Open(cold, Opening::If(BlockType::Empty)));
        let targets = region.targets(1..last + 1);
        if polled {
            let rewinding = self.labels.next();
            items.extend(
                [
                    Instruction::GlobalGet(self.plan.globals.state),
                    Instruction::I32Const(REWINDING),
                    Instruction::I32Eq,
                ]
                .map(Item::Instruction),
            );
            items.push(Item::Open(rewinding, Opening::If(BlockType::Empty)));
            items.extend(self.load_frame());
            items.push(Item::End);
            items.extend(self.dispatch_header(0, cold, &targets));
        } else {
            items.extend(self.load_frame());
            if let Some(&first) = targets.first() {
                // Id 0 is the entry, where this function is never stopped.
                let targets: Box<[Label]> = [first].into_iter().chain(targets).collect();
                items.push(Item::Instruction(Instruction::GlobalGet(
                    self.plan.globals.safe_point,
                )));
                items.push(Item::BrTable(targets, first));
            } else {
                items.push(Item::Instruction(Instruction::Unreachable));
            }
        }
        items.push(Item::End);
        items
    }

    /// Asks what to do at a header whose budget is used up: go on at `go_on`, unwind, or (rewinding) enter
    /// one of the safe points that follow the header.
    pub(super) fn dispatch_header(
        &mut self,
        safe_point: u32,
        go_on: Label,
        targets: &[Label],
    ) -> Vec<Item> {
        let targets = [go_on].into_iter().chain(targets.iter().copied()).collect();
        let id = Instruction::I32Const(safe_point.cast_signed());
        vec![
            Item::Instruction(id.clone()),
            Item::Instruction(Instruction::LocalSet(self.temporaries.safe_point)),
            Item::Instruction(id),
            Item::Instruction(Instruction::Call(self.plan.helpers.header)),
            Item::BrTable(targets, self.exit(safe_point)),
        ]
    }

    /// Takes work from the shared budget; leaves whether it is used up.
    pub(super) fn spend_budget(&self, work: i32) -> impl Iterator<Item = Item> + use<> {
        let budget = self.plan.globals.budget;
        [
            Instruction::GlobalGet(budget),
            Instruction::I32Const(work),
            Instruction::I32Sub,
            Instruction::LocalTee(self.temporaries.budget),
            Instruction::GlobalSet(budget),
            Instruction::LocalGet(self.temporaries.budget),
            Instruction::I32Const(0),
            Instruction::I32LeS,
        ]
        .into_iter()
        .map(Item::Instruction)
    }

    fn load_frame(&mut self) -> Vec<Item> {
        let mut items: Vec<Item> = [
            Instruction::I32Const(self.function.index.cast_signed()),
            Instruction::Call(self.plan.abi.load_frame),
        ]
        .map(Item::Instruction)
        .into();
        if self.suspension.tail_calls(self.function.index) {
            let other = self.labels.next();
            let safe_point = self.temporaries.safe_point;
            items.extend(
                [
                    Instruction::LocalTee(safe_point),
                    Instruction::I32Const(OTHER_FUNCTION),
                    Instruction::I32Eq,
                ]
                .map(Item::Instruction),
            );
            items.push(Item::Open(other, Opening::If(BlockType::Empty)));
            let resume = self.plan.resume(&self.function.results);
            items.push(Item::Instruction(Instruction::ReturnCall(resume)));
            items.push(Item::End);
            items.push(Item::Instruction(Instruction::LocalGet(safe_point)));
        }
        items.push(Item::Instruction(Instruction::GlobalSet(
            self.plan.globals.safe_point,
        )));
        for &(origin, value_type) in &self.frame.slots {
            items.extend(
                load(value_type, self.plan)
                    .into_iter()
                    .map(Item::Instruction),
            );
            let local = self.slot_local(origin, value_type);
            items.push(Item::Instruction(Instruction::LocalSet(local)));
        }
        items
    }

    fn slot_local(&mut self, origin: SlotOrigin, value_type: ValueType) -> u32 {
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
        ValueType::I32 => vec![Instruction::Call(plan.abi.save_i32)],
        ValueType::I64 => vec![Instruction::Call(plan.abi.save_i64)],
        ValueType::F32 => vec![
            Instruction::I32ReinterpretF32,
            Instruction::Call(plan.abi.save_i32),
        ],
        ValueType::F64 => vec![
            Instruction::I64ReinterpretF64,
            Instruction::Call(plan.abi.save_i64),
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
        ValueType::I32 => vec![Instruction::Call(plan.abi.load_i32)],
        ValueType::I64 => vec![Instruction::Call(plan.abi.load_i64)],
        ValueType::F32 => vec![
            Instruction::Call(plan.abi.load_i32),
            Instruction::F32ReinterpretI32,
        ],
        ValueType::F64 => vec![
            Instruction::Call(plan.abi.load_i64),
            Instruction::F64ReinterpretI64,
        ],
        ValueType::V128 => vec![Instruction::Call(vector())],
        ValueType::FuncRef => vec![Instruction::Call(reference())],
        ValueType::ExternRef => unreachable!("refused when frames are laid out"),
    }
}
