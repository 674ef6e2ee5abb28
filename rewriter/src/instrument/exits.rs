//! Exits: what a function saves when it unwinds, at its end.
//!
//! Frames are saved from their last slot to their first. So frames that begin alike end with the same code, and all
//! of them form a tree, in which each leads to the one that holds its first slots:
//!
//! ```wat
//! block $saved (result i32)                 ;; the safe point's id lies on the stack all the way
//!  block $ab (result i32)
//!   block $abc (result i32)
//!    ... the function, with branches to $abc, $ab and $saved
//!   end
//!   (call $save_1 (local.get $c))
//!  end
//!  (call $save_2 (local.get $b) (local.get $a))
//! end
//! (call $close (i32.const FUNCTION))
//! ```

use indexmap::IndexMap;
use wasm_encoder::{BlockType, Instruction};
use wasm_migrate_abi::ValueType;

use super::code::{Item, Label, Opening};
use super::function::Emitter;
use super::region::Region;
use crate::encode;

/// Where functions unwind, by what is saved there.
#[derive(Debug)]
pub(super) struct Exits {
    labels: IndexMap<Vec<u32>, Label>,
    /// Where all ways to unwind end, once the frame's words are sent.
    saved: Label,
}

/// What to save next, and where to go on.
struct Step {
    label: Label,
    /// Slots in the order in which they are saved.
    slots: Vec<u32>,
    next: Label,
}

impl Exits {
    pub(super) fn new(saved: Label) -> Self {
        Self {
            labels: IndexMap::new(),
            saved,
        }
    }

    /// The steps of all exits, each before the one to which it leads.
    fn steps(mut self, mut new_label: impl FnMut() -> Label) -> Vec<Step> {
        // Sorted, a frame that begins like others comes right before them.
        self.labels.sort_unstable_keys();
        let mut branchings: Vec<Vec<u32>> = Vec::new();
        for (one, other) in self.labels.keys().zip(self.labels.keys().skip(1)) {
            let common = one.iter().zip(other).take_while(|(a, b)| a == b).count();
            branchings.push(one[..common].to_vec());
        }
        for slots in branchings {
            self.labels.entry(slots).or_insert_with(&mut new_label);
        }
        self.labels.shift_remove::<[u32]>(&[]);
        self.labels.sort_unstable_keys();
        let mut open: Vec<(&[u32], Label)> = vec![(&[], self.saved)];
        let mut steps = Vec::new();
        for (slots, &label) in &self.labels {
            while open
                .last()
                .is_some_and(|(prefix, _)| !slots.starts_with(prefix))
            {
                open.pop();
            }
            let &(prefix, next) = open.last().expect("the empty frame begins all others");
            let slots_left = slots[prefix.len()..].iter().rev().copied().collect();
            steps.push(Step {
                label,
                slots: slots_left,
                next,
            });
            open.push((slots, label));
        }
        steps.reverse();
        steps
    }
}

impl Emitter<'_, '_> {
    /// Where to branch to unwind, with the safe point's id, when these slots are to be saved.
    pub(super) fn exit(&mut self, slots: Vec<u32>) -> Label {
        if slots.is_empty() {
            return self.exits.saved;
        }
        let labels = &mut self.labels;
        *self
            .exits
            .labels
            .entry(slots)
            .or_insert_with(|| labels.next())
    }

    /// The body inside its exits, followed by what each exit saves.
    pub(super) fn with_exits(&mut self, body: Vec<Item>) -> Vec<Item> {
        let saved = self.exits.saved;
        let exits = std::mem::replace(&mut self.exits, Exits::new(saved));
        let steps = exits.steps(|| self.labels.next());
        self.regions.push(Region::default());
        let i32_result = BlockType::Result(encode::value_type(ValueType::I32));
        self.emit_item(Item::Open(saved, Opening::Block(i32_result)));
        for step in steps.iter().rev() {
            self.emit_item(Item::Open(step.label, Opening::Block(i32_result)));
        }
        self.items().extend(body);
        for (at, step) in steps.iter().enumerate() {
            self.emit_item(Item::End);
            self.save_slots(&step.slots);
            let following = steps.get(at + 1).map_or(saved, |step| step.label);
            if step.next != following {
                self.emit_item(Item::Br(step.next));
            }
        }
        self.emit_item(Item::End);
        self.emit(Instruction::I32Const(self.function.index.cast_signed()));
        self.emit(Instruction::Call(self.plan.helpers.close));
        for &result in &self.function.results {
            self.emit(encode::zero(result));
        }
        self.regions.pop().expect("pushed above").items
    }

    /// Saves these slots, in this order. Runs of one type go together.
    pub(super) fn save_slots(&mut self, slots: &[u32]) {
        let frame = self.frame;
        for run in slots.chunk_by(|&a, &b| frame.type_of(a) == frame.type_of(b)) {
            let value_type = frame.type_of(run[0]);
            let together = self.plan.saved_together(value_type);
            for part in run.chunks(together) {
                for &slot in part {
                    let local = self.slot_local(slot);
                    self.emit(Instruction::LocalGet(local));
                }
                for instruction in super::frame::save(value_type, part.len(), self.plan) {
                    self.emit(instruction);
                }
            }
        }
    }
}
