//! Regions: code in which every place can be reached by a forward branch from its beginning.

use wasm_encoder::BlockType;

use super::code::{Item, Label, Opening};

/// A region under construction.
#[derive(Debug, Default)]
pub(super) struct Region {
    /// What has been emitted so far.
    pub(super) items: Vec<Item>,
    /// Blocks that begin at the region's beginning, in the order in which they end.
    closed: Vec<(Label, BlockType)>,
    /// Where each safe point inside is entered: by range of ids, ascending.
    landings: Vec<(u32, Label)>,
}

impl Region {
    /// Ends, here, a block that begins at the region's beginning.
    pub(super) fn close(&mut self, label: Label, ty: BlockType) {
        self.closed.push((label, ty));
        self.items.push(Item::End);
    }

    /// Ends, here, the block through which safe points from `first` on are entered.
    pub(super) fn land(&mut self, first: u32, label: Label) {
        self.landings.push((first, label));
        self.close(label, BlockType::Empty);
    }

    /// The label to branch to for each safe point in `ids`.
    pub(super) fn targets(&self, ids: std::ops::Range<u32>) -> Box<[Label]> {
        ids.map(|id| {
            let after = self.landings.partition_point(|(first, _)| *first <= id);
            self.landings[after - 1].1
        })
        .collect()
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
