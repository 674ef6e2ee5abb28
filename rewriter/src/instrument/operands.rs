//! The operand stack while a body is emitted.
//!
//! A resume can only enter where the physical operand stack is empty, so before each landing place all
//! operands move to locals, one per (height, type): the slot of an operand is a function of where it
//! lies, and two operands that lie at the same height are never alive together. Operands that can be made
//! again are dropped instead. Afterwards operands are *pending*: they are pushed again, in order, only
//! when an operator needs the physical stack. So a call whose arguments are all locals and constants
//! moves nothing.
//!
//! Invariant: above the innermost block's height, physical operands lie under pending ones.

use indexmap::IndexMap;
use wasm_encoder::Instruction;
use wasm_migrate_abi::ValueType;

use super::code::{Item, push};
use crate::ir::{Function, OpId};
use crate::plan::count32;

/// An operand.
#[derive(Debug, Clone, Copy)]
struct Entry {
    value_type: ValueType,
    origin: OpId,
    /// It lies on the physical stack.
    physical: bool,
    /// Its slot holds its value.
    in_slot: bool,
}

/// The operand stack.
#[derive(Debug)]
pub(super) struct Operands {
    entries: Vec<Entry>,
    /// Operands below this height lie under the innermost block, and stay as they are: pending if it is
    /// hoisted, else physical.
    base: usize,
    slots: IndexMap<(u32, ValueType), u32>,
    first_slot: u32,
}

impl Operands {
    /// Slots will be locals from `first_slot` on.
    pub(super) fn new(first_slot: u32) -> Self {
        Self {
            entries: Vec::new(),
            base: 0,
            slots: IndexMap::new(),
            first_slot,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The local that holds an operand of this height and type while it is not on the stack.
    pub(super) fn slot(&mut self, height: u32, value_type: ValueType) -> u32 {
        let next = self.first_slot + count32(self.slots.len());
        *self.slots.entry((height, value_type)).or_insert(next)
    }

    /// Types of the slots, in the order of their locals.
    pub(super) fn slot_types(&self) -> impl Iterator<Item = ValueType> + '_ {
        self.slots.keys().map(|(_, value_type)| *value_type)
    }

    /// Enters or leaves a block; returns the old base.
    pub(super) fn set_base(&mut self, base: usize) -> usize {
        std::mem::replace(&mut self.base, base)
    }

    pub(super) fn truncate(&mut self, height: usize) {
        self.entries.truncate(height);
    }

    pub(super) fn pop(&mut self, count: u32) {
        self.entries.truncate(self.entries.len() - count as usize);
    }

    /// An operand that an operator has just put on the physical stack.
    pub(super) fn push_physical(&mut self, value_type: ValueType, origin: OpId) {
        self.entries.push(Entry {
            value_type,
            origin,
            physical: true,
            in_slot: false,
        });
    }

    /// An operand that will be made by its operator when it is needed.
    pub(super) fn push_pending(&mut self, value_type: ValueType, origin: OpId) {
        self.entries.push(Entry {
            value_type,
            origin,
            physical: false,
            in_slot: false,
        });
    }

    /// An operand that its slot holds already.
    pub(super) fn push_in_slot(&mut self, value_type: ValueType, origin: OpId) {
        self.entries.push(Entry {
            value_type,
            origin,
            physical: false,
            in_slot: true,
        });
    }

    /// Pushes all pending operands above the base.
    pub(super) fn flush(&mut self, function: &Function<'_>, items: &mut Vec<Item>) {
        self.flush_from(self.base, function, items);
    }

    /// Pushes the pending operands from a height on.
    pub(super) fn flush_from(
        &mut self,
        height: usize,
        function: &Function<'_>,
        items: &mut Vec<Item>,
    ) {
        for index in height..self.entries.len() {
            if !self.entries[index].physical {
                self.make(index, function, items);
                self.entries[index].physical = true;
            }
        }
    }

    /// Whether each operand between the base and the top ones can do without the physical stack: its slot
    /// holds it, or it can be made again.
    pub(super) fn are_kept_under(&self, top: u32, function: &Function<'_>) -> bool {
        let under = self.base..self.entries.len() - top as usize;
        self.entries[under].iter().all(|entry| {
            let remade = function.rematerializable[entry.origin.index()];
            !entry.physical && (entry.in_slot || remade)
        })
    }

    /// Empties the physical stack, down to the base.
    pub(super) fn spill(&mut self, function: &Function<'_>, items: &mut Vec<Item>) {
        for index in (self.base..self.entries.len()).rev() {
            let entry = self.entries[index];
            let remade = function.rematerializable[entry.origin.index()];
            match (entry.physical, remade || entry.in_slot) {
                (true, true) => items.push(Item::Instruction(Instruction::Drop)),
                (true, false) => self.store(index, items),
                (false, true) => {}
                (false, false) => {
                    // Its local is written while it lies on the stack: read it now.
                    self.make(index, function, items);
                    self.store(index, items);
                }
            }
            self.entries[index].physical = false;
        }
    }

    /// Makes sure that the slots hold the top operands, even those that could be made again; they get a
    /// new origin. The physical stack must be empty.
    pub(super) fn force_slots(
        &mut self,
        count: usize,
        origin: OpId,
        function: &Function<'_>,
        items: &mut Vec<Item>,
    ) {
        for index in self.entries.len() - count..self.entries.len() {
            if !self.entries[index].in_slot {
                self.make(index, function, items);
                self.store(index, items);
            }
            self.entries[index].origin = origin;
        }
    }

    /// Results that lie on the physical stack, above operands that may be pending.
    pub(super) fn push_results(
        &mut self,
        types: &[ValueType],
        origin: OpId,
        items: &mut Vec<Item>,
    ) {
        let under = self.entries.len();
        let over_pending = self.entries[self.base.min(under)..]
            .iter()
            .any(|entry| !entry.physical);
        for &value_type in types {
            self.push_physical(value_type, origin);
        }
        if over_pending {
            for index in (under..self.entries.len()).rev() {
                self.store(index, items);
                self.entries[index].physical = false;
            }
        }
    }

    /// Moves the top operands from the physical stack to the slots of the given heights.
    pub(super) fn store_top_as(&mut self, heights: std::ops::Range<u32>, items: &mut Vec<Item>) {
        for (index, height) in (0..self.entries.len()).rev().zip(heights.rev()) {
            let slot = self.slot(height, self.entries[index].value_type);
            items.push(Item::Instruction(Instruction::LocalSet(slot)));
        }
    }

    /// Pushes copies of pending operands without changing what the stack is known to hold.
    pub(super) fn push_copies(
        &mut self,
        range: std::ops::Range<usize>,
        function: &Function<'_>,
        items: &mut Vec<Item>,
    ) {
        for index in range {
            self.make(index, function, items);
        }
    }

    fn make(&mut self, index: usize, function: &Function<'_>, items: &mut Vec<Item>) {
        let entry = self.entries[index];
        if entry.in_slot {
            let slot = self.slot(count32(index), entry.value_type);
            items.push(Item::Instruction(Instruction::LocalGet(slot)));
        } else {
            push(
                items,
                Item::Original(function.ops[entry.origin.index()].bytes.clone()),
            );
        }
    }

    fn store(&mut self, index: usize, items: &mut Vec<Item>) {
        let slot = self.slot(count32(index), self.entries[index].value_type);
        items.push(Item::Instruction(Instruction::LocalSet(slot)));
        self.entries[index].in_slot = true;
    }
}
