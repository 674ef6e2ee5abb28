//! Loops that provably end soon: they need no poll.
//!
//! Looked for is what compilers make of a counted loop: one local that is only written by adding a
//! constant, once in each iteration, and a test of it against a constant that decides whether to go on:
//!
//! ```wat
//! (local.set $i (i32.const START))
//! (loop $header
//!   ...
//!   (br_if $header (i32.ne (local.tee $i (i32.add (local.get $i) (i32.const STEP))) (i32.const END))))
//! ```
//!
//! The test may stand before the increment, may leave the loop instead, and may be one for zero.

use wasmparser::Operator;

use crate::ir::{BlockId, Function, OpId, for_each_branch};

/// How often the body of a loop without inner loops runs at most; `None` if that is not known.
pub(crate) fn trip_bound(function: &Function<'_>, id: BlockId) -> Option<u32> {
    let block = function.block(id);
    let body = block.open.index() + 1..block.end.index();
    let branches = Branches::of(function, id, body.clone());
    let &first_back_edge = branches.back_edges.first()?;
    // Every way round the loop passes what stands in no inner block, up to the first branch back.
    for index in body.start + 3..=first_back_edge {
        if branches.inside[index - body.start] != id {
            continue;
        }
        let Operator::BrIf { relative_depth } = function.ops[index].operator else {
            continue;
        };
        let goes_on_if_true = function.branch_target(id, relative_depth) == id;
        if goes_on_if_true && branches.back_edges.len() > 1 {
            continue;
        }
        let Some(test) = Test::before(function, index) else {
            continue;
        };
        let goes_on_while_unequal = match (test.compare, goes_on_if_true) {
            (Compare::Unequal, true) | (Compare::Equal, false) => true,
            (Compare::Less, true) | (Compare::NotLess, false) => false,
            _ => continue,
        };
        let Some(step) = step(function, &branches, id, body.clone(), test.local) else {
            continue;
        };
        let tested_first = step.at > index;
        let trips = if goes_on_while_unequal {
            let Some(start) = start(function, block.open, test.local) else {
                continue;
            };
            trips_until_equal(start, test.end, step.size, tested_first)
        } else {
            trips_while_less(test.end, step.size)
        };
        if trips.is_some() {
            return trips;
        }
    }
    None
}

/// A comparison of a local with a constant.
struct Test {
    local: u32,
    compare: Compare,
    end: i32,
}

#[derive(Clone, Copy)]
enum Compare {
    Equal,
    Unequal,
    Less,
    NotLess,
}

impl Test {
    /// The condition of the branch at `index`, before which at least three operators stand.
    fn before(function: &Function<'_>, index: usize) -> Option<Self> {
        let at = |back: usize| &function.ops[index - back].operator;
        let local = |back: usize| match *at(back) {
            Operator::LocalGet { local_index } | Operator::LocalTee { local_index } => {
                Some(local_index)
            }
            _ => None,
        };
        let with_zero = |local: u32, compare| Self {
            local,
            compare,
            end: 0,
        };
        let compare = match *at(1) {
            Operator::I32Eqz => return Some(with_zero(local(2)?, Compare::Equal)),
            Operator::I32Eq => Compare::Equal,
            Operator::I32Ne => Compare::Unequal,
            Operator::I32LtU => Compare::Less,
            Operator::I32GeU => Compare::NotLess,
            _ => return Some(with_zero(local(1)?, Compare::Unequal)),
        };
        let Operator::I32Const { value: end } = *at(2) else {
            return None;
        };
        Some(Self {
            local: local(3)?,
            compare,
            end,
        })
    }
}

/// Where the operators of a loop stand, and which of them branch back to it.
struct Branches {
    /// By operator of the body: the innermost block around it.
    inside: Vec<BlockId>,
    back_edges: Vec<usize>,
}

impl Branches {
    fn of(function: &Function<'_>, id: BlockId, body: std::ops::Range<usize>) -> Self {
        let mut inside = Vec::with_capacity(body.len());
        let mut back_edges = Vec::new();
        let mut block = id;
        for index in body {
            let op = &function.ops[index];
            match op.operator {
                Operator::Block { .. } | Operator::If { .. } => {
                    block = op.block.expect("structured");
                }
                Operator::End => block = function.block(block).parent,
                _ => {}
            }
            inside.push(block);
            let mut goes_back = false;
            for_each_branch(&op.operator, |depth| {
                goes_back |= function.branch_target(block, depth) == id;
            });
            if goes_back {
                back_edges.push(index);
            }
        }
        Self { inside, back_edges }
    }
}

/// The only write of a local in a loop.
struct Step {
    at: usize,
    size: i32,
}

fn step(
    function: &Function<'_>,
    branches: &Branches,
    id: BlockId,
    body: std::ops::Range<usize>,
    local: u32,
) -> Option<Step> {
    let first = body.start;
    let mut writes = body.filter(|&index| {
        matches!(function.ops[index].operator,
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } if local_index == local)
    });
    let (at, None) = (writes.next()?, writes.next()) else {
        return None;
    };
    let always = branches.inside[at - first] == id && at <= branches.back_edges[0];
    if !always || at < first + 3 {
        return None;
    }
    let operators = [3, 2, 1].map(|back| &function.ops[at - back].operator);
    match operators {
        [
            Operator::LocalGet { local_index },
            Operator::I32Const { value },
            Operator::I32Add,
        ] if *local_index == local => Some(Step { at, size: *value }),
        _ => None,
    }
}

/// The constant that a local holds when a loop begins.
fn start(function: &Function<'_>, open: OpId, local: u32) -> Option<i32> {
    for index in (1..open.index()).rev() {
        match function.ops[index].operator {
            Operator::LocalSet { local_index } if local_index == local => {
                return match function.ops[index - 1].operator {
                    Operator::I32Const { value } => Some(value),
                    _ => None,
                };
            }
            Operator::LocalTee { local_index } if local_index == local => return None,
            Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::Else
            | Operator::End => return None,
            _ => {}
        }
    }
    None
}

fn trips_until_equal(start: i32, end: i32, step: i32, tested_first: bool) -> Option<u32> {
    let distance = if step > 0 {
        end.wrapping_sub(start)
    } else {
        start.wrapping_sub(end)
    }
    .cast_unsigned();
    let step = step.unsigned_abs();
    if step == 0 || !distance.is_multiple_of(step) || distance == 0 && !tested_first {
        return None;
    }
    (distance / step).checked_add(1)
}

/// The first iteration may begin anywhere; from then on the local is below the end.
fn trips_while_less(end: i32, step: i32) -> Option<u32> {
    let (end, step) = (u32::try_from(end).ok()?, u32::try_from(step).ok()?);
    end.checked_div(step)?.checked_add(2)
}
