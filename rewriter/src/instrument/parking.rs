//! Values that wait in globals while the host is polled, or while others are loaded: see [`crate::parking`].

use indexmap::IndexMap;
use wasm_encoder::Instruction;
use wasm_migrate_abi::ValueType;

use super::frame::load;
use super::function::Emitter;
use crate::parking::PARKED_I32_MAX;
use crate::plan::count32;

/// Where values wait.
#[derive(Debug, Default)]
pub(super) struct Parked {
    /// Locals, and the globals that hold their values.
    places: Vec<(u32, u32)>,
    counts: IndexMap<ValueType, u32>,
}

impl Emitter<'_, '_> {
    /// Parks what is live at a poll and would have to survive it in memory: floats and vectors, since no register
    /// that holds them belongs to callers.
    pub(super) fn park(&mut self, safe_point: u32) -> Parked {
        let frame = self.frame;
        let mut parked = Parked::default();
        for index in frame.safe_points[safe_point as usize].slots() {
            let value_type = frame.type_of(index);
            if matches!(value_type, ValueType::I32 | ValueType::I64) {
                continue;
            }
            if let Some(global) = self.place(&mut parked, value_type) {
                let local = self.slot_local(index);
                self.emit(Instruction::LocalGet(local));
                self.emit(Instruction::GlobalSet(global));
                parked.places.push((local, global));
            }
        }
        parked
    }

    /// Loads these slots, in this order, so that none lives across the loading of others: all but those that come
    /// together at the end are parked meanwhile.
    pub(super) fn load_slots_apart(&mut self, slots: &[u32]) {
        let frame = self.frame;
        let Some(&last) = slots.last() else { return };
        let last_type = frame.type_of(last);
        let together = slots
            .iter()
            .rev()
            .take(self.plan.loaded_together(last_type))
            .take_while(|slot| frame.type_of(**slot) == last_type);
        let (first, rest) = slots.split_at(slots.len() - together.count());
        let parked = self.load_parked(first);
        self.load_slots(rest);
        self.fetch(&parked);
    }

    /// Loads these slots, in this order, and parks them. What cannot be parked is in its local at once.
    fn load_parked(&mut self, slots: &[u32]) -> Parked {
        let frame = self.frame;
        let mut parked = Parked::default();
        let is_i32 = |slot: &u32| frame.slots[*slot as usize].1 == ValueType::I32;
        let mut rest = slots;
        while let Some(&first) = rest.first() {
            let value_type = frame.type_of(first);
            let run = rest
                .iter()
                .take(PARKED_I32_MAX as usize)
                .take_while(|slot| is_i32(slot));
            let run = run.count();
            if run > 0 && !parked.counts.contains_key(&ValueType::I32) {
                self.emit(Instruction::Call(self.plan.helpers.park_i32s[run - 1]));
                for (nth, &slot) in (0..count32(run)).zip(rest) {
                    let local = self.slot_local(slot);
                    let global = self.plan.globals.parking.place(ValueType::I32, nth);
                    parked
                        .places
                        .push((local, global.expect("there are so many")));
                }
                parked.counts.insert(ValueType::I32, count32(run));
                rest = &rest[run..];
                continue;
            }
            for instruction in load(value_type, 1, self.plan) {
                self.emit(instruction);
            }
            let local = self.slot_local(first);
            match self.place(&mut parked, value_type) {
                Some(global) => {
                    self.emit(Instruction::GlobalSet(global));
                    parked.places.push((local, global));
                }
                None => self.emit(Instruction::LocalSet(local)),
            }
            rest = &rest[1..];
        }
        parked
    }

    /// Fetches what was parked.
    pub(super) fn fetch(&mut self, parked: &Parked) {
        for &(local, global) in &parked.places {
            self.emit(Instruction::GlobalGet(global));
            self.emit(Instruction::LocalSet(local));
        }
    }

    fn place(&mut self, parked: &mut Parked, value_type: ValueType) -> Option<u32> {
        let nth = parked.counts.entry(value_type).or_default();
        let global = self.plan.globals.parking.place(value_type, *nth)?;
        *nth += 1;
        if value_type != ValueType::I32 {
            self.parked = self.parked.max(*nth);
        }
        Some(global)
    }
}
