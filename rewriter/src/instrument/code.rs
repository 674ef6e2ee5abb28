//! A function body under construction: a list of items whose branches name labels, not depths.
//!
//! Blocks are often opened long before it is known what they will hold (see [`super::region`]), so
//! depths are computed only when the body is encoded.

use std::collections::HashMap;
use std::ops::Range;

use wasm_encoder::{BlockType, Encode, Instruction};

/// A branch target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Label(u32);

impl Label {
    /// The function's own label.
    pub(super) const FUNCTION: Self = Self(0);
}

/// How a label's block begins.
#[derive(Debug, Clone)]
pub(super) enum Opening {
    Block(BlockType),
    Loop(BlockType),
    If(BlockType),
    /// The original's bytes.
    Original(Range<u32>),
}

#[derive(Debug, Clone)]
pub(super) enum Item {
    /// Operators copied from the original, by byte range.
    Original(Range<u32>),
    Instruction(Instruction<'static>),
    Open(Label, Opening),
    /// The conditional branch that follows is hardly ever taken.
    Unlikely,
    Else,
    End,
    Br(Label),
    BrIf(Label),
    BrTable(Box<[Label]>, Label),
}

/// Hands out labels.
#[derive(Debug, Default)]
pub(super) struct Labels {
    last: u32,
}

impl Labels {
    pub(super) fn next(&mut self) -> Label {
        self.last += 1;
        Label(self.last)
    }

    fn count(&self) -> usize {
        self.last as usize + 1
    }
}

/// Appends an item, joining neighbouring pieces of the original.
pub(super) fn push(items: &mut Vec<Item>, item: Item) {
    if let (Some(Item::Original(last)), Item::Original(next)) = (items.last_mut(), &item)
        && last.end == next.start
    {
        last.end = next.end;
        return;
    }
    items.push(item);
}

/// A copy of a sequence with blocks of its own, whose branches to `from` go to `to`.
pub(super) fn duplicate(items: &[Item], labels: &mut Labels, from: Label, to: Label) -> Vec<Item> {
    let mut renamed = HashMap::from([(from, to)]);
    for item in items {
        if let Item::Open(label, _) = item {
            renamed.insert(*label, labels.next());
        }
    }
    let rename = |label: &Label| renamed.get(label).copied().unwrap_or(*label);
    let copy = |item: &Item| match item {
        Item::Open(label, opening) => Item::Open(rename(label), opening.clone()),
        Item::Br(label) => Item::Br(rename(label)),
        Item::BrIf(label) => Item::BrIf(rename(label)),
        Item::BrTable(targets, default) => {
            Item::BrTable(targets.iter().map(rename).collect(), rename(default))
        }
        other => other.clone(),
    };
    items.iter().map(copy).collect()
}

/// Encodes a body: its items and the final `end`. Returns the offsets of the unlikely branches.
pub(super) fn encode(
    original: &[u8],
    items: &[Item],
    labels: &Labels,
    sink: &mut Vec<u8>,
) -> Vec<u32> {
    let mut unlikely = Vec::new();
    // By label: how many blocks were open when its block began.
    let mut opened_at = vec![0; labels.count()];
    let mut open: u32 = 0;
    let depth = |opened_at: &[u32], label: Label, open: u32| open - opened_at[label.0 as usize];
    for item in items {
        match item {
            Item::Original(range) => copy(original, range, sink),
            Item::Instruction(instruction) => instruction.encode(sink),
            Item::Open(label, opening) => {
                open += 1;
                opened_at[label.0 as usize] = open;
                match opening {
                    Opening::Block(ty) => Instruction::Block(*ty).encode(sink),
                    Opening::Loop(ty) => Instruction::Loop(*ty).encode(sink),
                    Opening::If(ty) => Instruction::If(*ty).encode(sink),
                    Opening::Original(range) => copy(original, range, sink),
                }
            }
            Item::Unlikely => unlikely.push(crate::plan::count32(sink.len())),
            Item::Else => Instruction::Else.encode(sink),
            Item::End => {
                open -= 1;
                Instruction::End.encode(sink);
            }
            Item::Br(label) => Instruction::Br(depth(&opened_at, *label, open)).encode(sink),
            Item::BrIf(label) => Instruction::BrIf(depth(&opened_at, *label, open)).encode(sink),
            Item::BrTable(targets, default) => {
                let depths: Vec<u32> = targets
                    .iter()
                    .map(|label| depth(&opened_at, *label, open))
                    .collect();
                let default = depth(&opened_at, *default, open);
                Instruction::BrTable(depths.into(), default).encode(sink);
            }
        }
    }
    Instruction::End.encode(sink);
    unlikely
}

fn copy(original: &[u8], range: &Range<u32>, sink: &mut Vec<u8>) {
    sink.extend_from_slice(&original[range.start as usize..range.end as usize]);
}
