//! Safe points and frame layout: what a function saves, where, and in which order.
//!
//! Both depend on the original function alone, never on how the rewriting is done, so all variants of
//! one module read each other's snapshots. A frame holds the locals that are live at the safe point and
//! the operands that lie under the call (or on the stack at the loop). An operand that can be made again
//! is not saved; if it is read from a local, that local counts as live.
//!
//! What is live at a loop's header and not written in the loop is *carried* through it: it belongs to the
//! frames of all safe points inside, and comes first there. So a resume can restore it before the loop
//! begins, and it stays the loop-invariant value that it was.

use indexmap::{IndexMap, IndexSet};
use wasm_migrate_abi::{SafePointKind, SlotOrigin, ValueType};
use wasmparser::Operator;

use crate::analysis::Liveness;
use crate::ir::{Function, OpId};

/// A safe point of a function. Its id is its index in [`Frame::safe_points`].
#[derive(Debug)]
pub(crate) struct SafePoint {
    pub(crate) kind: SafePointKind,
    /// The loop or call; the first operator for the entry.
    pub(crate) op: OpId,
    /// Slots that the loops around it carry, outermost loop first, ascending within each.
    pub(crate) outer: Vec<u32>,
    /// Of a loop: further slots that it carries, ascending.
    pub(crate) carried: Vec<u32>,
    /// All other live slots, ascending.
    pub(crate) own: Vec<u32>,
}

impl SafePoint {
    /// What its frame holds, in the order in which it is saved and loaded.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u32> {
        let loops = self.outer.iter().chain(&self.carried);
        loops.chain(&self.own).copied()
    }
}

/// What a function saves.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) slots: Vec<(SlotOrigin, ValueType)>,
    /// In program order; the first is the function's entry.
    pub(crate) safe_points: Vec<SafePoint>,
}

impl Frame {
    pub(crate) fn type_of(&self, slot: u32) -> ValueType {
        self.slots[slot as usize].1
    }
}

/// A host reference that lives across a safe point, and so cannot be saved.
#[derive(Debug)]
pub(crate) struct LiveHostReference {
    pub(crate) op: OpId,
}

/// Lays out the frames of a function. Its entry is a safe point only if it stands on a cycle of the call
/// graph; otherwise nothing is live there.
pub(crate) fn frame_layout(
    function: &Function<'_>,
    liveness: &Liveness,
    recursive: bool,
) -> Result<Frame, LiveHostReference> {
    let at_entry = if recursive {
        live_locals(function, &liveness.entry)
    } else {
        Values::new()
    };
    let mut points = vec![(SafePointKind::Entry, OpId(0), at_entry)];
    for (candidate, live) in function.candidates.iter().zip(&liveness.candidates) {
        let mut values = live_locals(function, live);
        for (height, operand) in (0..).zip(&candidate.operands) {
            match function.ops[operand.origin.index()].operator {
                Operator::LocalGet { local_index } if is_remade(function, operand.origin) => {
                    values.insert((SlotOrigin::Local(local_index), operand.value_type));
                }
                _ if is_remade(function, operand.origin) => {}
                _ => {
                    values.insert((SlotOrigin::Operand(height), operand.value_type));
                }
            }
        }
        let kind = match function.ops[candidate.op.index()].operator {
            Operator::Loop { .. } => SafePointKind::Loop,
            Operator::CallIndirect { .. } => SafePointKind::CallIndirect,
            _ => SafePointKind::Call,
        };
        points.push((kind, candidate.op, values));
    }
    for (_, op, values) in &points {
        if values.iter().any(|(_, ty)| *ty == ValueType::ExternRef) {
            return Err(LiveHostReference { op: *op });
        }
    }
    let slots = order_slots(points.iter().map(|(_, _, values)| values));
    let writes = Writes::of(function);
    let mut open: Vec<OpenLoop> = Vec::new();
    let safe_points = points
        .into_iter()
        .map(|(kind, op, values)| {
            while open.last().is_some_and(|outer| outer.end < op) {
                open.pop();
            }
            let outer: Vec<u32> = open
                .iter()
                .flat_map(|outer| &outer.carried)
                .copied()
                .collect();
            let mut own: Vec<u32> = values
                .iter()
                .map(|value| {
                    slots
                        .get_index_of(value)
                        .expect("every live value has a slot")
                })
                .map(|slot| u32::try_from(slot).expect("fewer slots than bytes"))
                .filter(|slot| !outer.contains(slot))
                .collect();
            own.sort_unstable();
            let mut carried = Vec::new();
            if kind == SafePointKind::Loop {
                let block = function.ops[op.index()].block.expect("a loop is a block");
                let block = function.block(block);
                let is_carried = |slot: &u32| match slots[*slot as usize].0 {
                    SlotOrigin::Local(local) => !writes.any(local, block.open..block.end),
                    SlotOrigin::Operand(height) => height < block.height,
                };
                (carried, own) = own.into_iter().partition(is_carried);
                open.push(OpenLoop {
                    end: block.end,
                    carried: carried.clone(),
                });
            }
            SafePoint {
                kind,
                op,
                outer,
                carried,
                own,
            }
        })
        .collect();
    Ok(Frame {
        slots: slots.into_iter().collect(),
        safe_points,
    })
}

/// A loop around the safe point that is being laid out.
struct OpenLoop {
    end: OpId,
    carried: Vec<u32>,
}

/// Where each local is written, ascending.
struct Writes(Vec<Vec<OpId>>);

impl Writes {
    fn of(function: &Function<'_>) -> Self {
        let mut writes = vec![Vec::new(); function.locals.len()];
        for (index, op) in function.ops.iter().enumerate() {
            if let Operator::LocalSet { local_index } | Operator::LocalTee { local_index } =
                op.operator
            {
                writes[local_index as usize].push(OpId::new(index));
            }
        }
        Self(writes)
    }

    fn any(&self, local: u32, range: std::ops::Range<OpId>) -> bool {
        let writes = &self.0[local as usize];
        let first = writes.partition_point(|op| *op < range.start);
        writes.get(first).is_some_and(|op| *op < range.end)
    }
}

fn is_remade(function: &Function<'_>, origin: OpId) -> bool {
    function.rematerializable[origin.index()]
}

type Values = IndexSet<(SlotOrigin, ValueType)>;

fn live_locals(function: &Function<'_>, live: &fixedbitset::FixedBitSet) -> Values {
    live.ones()
        .map(|local| {
            let index = u32::try_from(local).expect("validated");
            (SlotOrigin::Local(index), function.locals[local])
        })
        .collect()
}

/// Slots of one type stand together, so that they can be saved and loaded together; floats and vectors last, since
/// no register holds them while others are loaded. Within a type, what is live at more safe points comes first, so
/// that frames begin alike and share code.
fn order_slots<'v>(live_sets: impl Iterator<Item = &'v Values>) -> Values {
    let mut uses: IndexMap<(SlotOrigin, ValueType), u32> = IndexMap::new();
    for value in live_sets.flatten() {
        *uses.entry(*value).or_default() += 1;
    }
    uses.sort_by_key(|&(origin, ty), uses| {
        let origin = match origin {
            SlotOrigin::Local(index) => (0, index),
            SlotOrigin::Operand(height) => (1, height),
        };
        (ty, std::cmp::Reverse(*uses), origin)
    });
    uses.into_keys().collect()
}
