//! How much work, in operators, lies between two polls.

use wasmparser::Operator;

use super::trip_count::trip_bound;
use crate::ir::{BlockId, BlockKind, Function, Op};
use crate::options::Optimize;

/// A leaf loop that provably executes no more operators than this, a few dozen microseconds' work, is not
/// polled.
const UNPOLLED_WORK_MAX: u32 = 1 << 16;

/// More is never spent at once, so that a budget far below zero does not wrap.
const SPENT_MAX: i32 = 1 << 24;

/// What a function does between polls. Inner loops that are polled count for themselves.
#[derive(Debug)]
pub(crate) struct Work {
    /// Operators that are executed at most between two polls in this function, or from its entry to the first.
    pub(crate) unpolled: u64,
    /// From the entry to the end.
    pub(crate) function: i32,
    /// By block; only loops have one.
    loops: Vec<Option<LoopWork>>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct LoopWork {
    /// From one passage of the header to the next.
    pub(crate) iteration: i32,
    /// Contains no safe point but its own.
    pub(crate) is_leaf: bool,
    /// Is a leaf loop of so few iterations that it needs no poll.
    pub(crate) ends_soon: bool,
}

impl Work {
    pub(crate) fn of_loop(&self, id: BlockId) -> LoopWork {
        self.loops[id.index()].expect("the block is a loop")
    }
}

/// Counts the work of a function and its loops.
pub(crate) fn work(function: &Function<'_>, latency_max: u32) -> Work {
    let mut loops = vec![None; function.blocks.len()];
    // Between two polls no operator is passed twice, but in loops that are not polled.
    let mut unpolled = function.ops.len() as u64;
    let mut safe_points = function.candidates.iter().map(|c| c.op.index()).peekable();
    // Work of the function and the open loops so far, and whether each contains a safe point.
    let mut open = vec![(1, false)];
    for (index, op) in function.ops.iter().enumerate() {
        let (work, has_safe_point) = open.last_mut().expect("the function is open");
        *work = i32::saturating_add(*work, 1);
        *has_safe_point |= safe_points.next_if_eq(&index).is_some();
        let Some(id) = op.block else { continue };
        match op.operator {
            Operator::Loop { .. } => open.push((1, false)),
            Operator::End if function.block(id).kind == BlockKind::Loop => {
                // Its own `end` is no work.
                let (iteration, has_safe_point) = open.pop().expect("the loop is open");
                let iteration = iteration - 1;
                let bound =
                    (!has_safe_point).then(|| bounded_work(function, id, iteration, latency_max));
                let bound = bound.flatten();
                unpolled += u64::from(bound.unwrap_or(0).unsigned_abs());
                loops[id.index()] = Some(LoopWork {
                    iteration: iteration.min(SPENT_MAX),
                    is_leaf: !has_safe_point,
                    ends_soon: bound.is_some(),
                });
                let (outer, _) = open.last_mut().expect("the function is open");
                *outer = outer.saturating_add(bound.unwrap_or(0));
            }
            _ => {}
        }
    }
    // A whole round of an unrolled loop may follow a poll.
    unpolled += u64::from(Optimize::Speed.unrolled_work_max().unsigned_abs());
    Work {
        unpolled,
        function: open[0].0.min(SPENT_MAX),
        loops,
    }
}

/// Work that a leaf loop does at most from its beginning to its end, if that is so little that it need not be
/// polled.
fn bounded_work(
    function: &Function<'_>,
    id: BlockId,
    iteration: i32,
    latency_max: u32,
) -> Option<i32> {
    let block = function.block(id);
    let body = &function.ops[block.open.index()..block.end.index()];
    let calls = |op: &Op<'_>| {
        matches!(
            op.operator,
            Operator::Call { .. }
                | Operator::CallIndirect { .. }
                | Operator::ReturnCall { .. }
                | Operator::ReturnCallIndirect { .. }
        )
    };
    if body.iter().any(calls) {
        // What they do is not known here, and the call graph relies on the poll of loops around calls.
        return None;
    }
    let trips = i32::try_from(trip_bound(function, id)?).ok()?;
    let work = trips.checked_mul(iteration)?;
    (work.unsigned_abs() <= UNPOLLED_WORK_MAX.min(latency_max)).then_some(work)
}
