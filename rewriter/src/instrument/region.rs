//! Regions: code in which every place can be reached by a forward branch from its beginning.

use wasm_encoder::{BlockType, Instruction};

use super::code::{Item, Label, Opening};
use crate::plan::count32;

/// A region under construction.
#[derive(Debug, Default)]
pub(super) struct Region {
    /// What has been emitted so far.
    pub(super) items: Vec<Item>,
    /// Blocks that begin at the region's beginning, in the order in which they end.
    closed: Vec<(Label, BlockType)>,
    /// Ascending by id.
    landings: Vec<Landing>,
}

/// Cold code that enters the region at its safe points from `first` on, up to the next landing's.
#[derive(Debug)]
struct Landing {
    first: u32,
    label: Label,
    /// Ends with a branch to a block that begins at the region's beginning.
    items: Vec<Item>,
}

impl Region {
    /// Ends, here, a block that begins at the region's beginning.
    pub(super) fn close(&mut self, label: Label, ty: BlockType) {
        self.closed.push((label, ty));
        self.items.push(Item::End);
    }

    /// Adds the code that enters the region at safe points from `first` on.
    pub(super) fn land(&mut self, first: u32, label: Label, items: Vec<Item>) {
        self.landings.push(Landing {
            first,
            label,
            items,
        });
    }

    /// Adds the code that enters the region at its very beginning.
    pub(super) fn land_first(&mut self, label: Label, items: Vec<Item>) {
        let landing = Landing {
            first: 0,
            label,
            items,
        };
        self.landings.insert(0, landing);
    }

    /// Branches to the landing of the safe point in `ids` that `index` puts on the stack. If it is none, the way leads
    /// to `otherwise`; without that, there is no such case. The landings' code follows.
    ///
    /// No branch table names a landing twice: engines give each of its entries a way of its own, with moves, if the
    /// target can be reached by another. So those of loops, which enter all safe points inside, are tested first.
    pub(super) fn enter(
        &mut self,
        ids: std::ops::Range<u32>,
        index: impl IntoIterator<Item = Item>,
        scratch: u32,
        otherwise: Option<Label>,
        impossible: Label,
    ) -> Vec<Item> {
        let landings = std::mem::take(&mut self.landings);
        let mut items = Vec::new();
        if landings.is_empty() {
            // Nothing inside can be reached.
            items.extend(index);
            items.push(Item::Instruction(Instruction::Drop));
            items.push(Item::Instruction(Instruction::Unreachable));
            return items;
        }
        if let [_] = landings[..] {
            items.extend(index);
            match otherwise {
                Some(label) => {
                    // Where there are others, safe point 0 is none.
                    items.push(Item::Instruction(Instruction::I32Eqz));
                    items.push(Item::BrIf(label));
                }
                None => items.push(Item::Instruction(Instruction::Drop)),
            }
            items.extend(landings.into_iter().flat_map(|landing| landing.items));
            return items;
        }
        let ends = landings.iter().skip(1).map(|landing| landing.first);
        let ranges: Vec<(Label, std::ops::Range<u32>)> = landings
            .iter()
            .zip(ends.chain([ids.end]))
            .map(|(landing, end)| (landing.label, landing.first..end))
            .collect();
        let (default, tested) = match (otherwise, ranges.split_last()) {
            (None, Some(((last, _), rest))) => (*last, rest),
            (label, _) => (label.unwrap_or(impossible), &ranges[..]),
        };
        let (one, many): (Vec<_>, Vec<_>) = tested.iter().partition(|(_, ids)| ids.len() == 1);
        let first = one.first().map_or(0, |(_, ids)| ids.start);
        let mut targets = Vec::new();
        for (label, ids) in &one {
            targets.resize((ids.start - first) as usize, impossible);
            targets.push(*label);
        }
        let open = |label| Item::Open(label, Opening::Block(BlockType::Empty));
        let has_gaps = targets.contains(&impossible);
        if has_gaps {
            items.push(open(impossible));
        }
        items.extend(ranges.iter().rev().map(|(label, _)| open(*label)));
        items.extend(index);
        if !many.is_empty() {
            items.push(Item::Instruction(Instruction::LocalSet(scratch)));
            for (label, ids) in &many {
                items.extend([
                    Item::Instruction(Instruction::LocalGet(scratch)),
                    Item::Instruction(Instruction::I32Const(ids.start.cast_signed())),
                    Item::Instruction(Instruction::I32Sub),
                    Item::Instruction(Instruction::I32Const(count32(ids.len()).cast_signed())),
                    Item::Instruction(Instruction::I32LtU),
                    Item::BrIf(*label),
                ]);
            }
            items.push(Item::Instruction(Instruction::LocalGet(scratch)));
        }
        if targets.is_empty() {
            items.push(Item::Instruction(Instruction::Drop));
            items.push(Item::Br(default));
        } else {
            if first > 0 {
                items.push(Item::Instruction(Instruction::I32Const(
                    first.cast_signed(),
                )));
                items.push(Item::Instruction(Instruction::I32Sub));
            }
            items.push(Item::BrTable(targets.into(), default));
        }
        for landing in landings {
            items.push(Item::End);
            items.extend(landing.items);
        }
        if has_gaps {
            items.push(Item::End);
            items.push(Item::Instruction(Instruction::Unreachable));
        }
        items
    }

    /// The region's code: its blocks begin, then comes the prologue, then the rest.
    pub(super) fn finish(self, prologue: Vec<Item>) -> Vec<Item> {
        let begin = self.closed.into_iter().rev();
        let mut items: Vec<Item> = begin
            .map(|(label, ty)| Item::Open(label, Opening::Block(ty)))
            .collect();
        items.extend(prologue);
        items.extend(self.items);
        items
    }
}
