//! Which locals are live at each candidate for a safe point: backward data flow over the control-flow
//! graph, one bit per local.

use fixedbitset::FixedBitSet;
use wasmparser::Operator;

use crate::analysis::control_flow::ControlFlow;
use crate::ir::{Function, Op};

/// Live locals where the function can stop.
pub(crate) struct Liveness {
    /// At the function's entry.
    pub(crate) entry: FixedBitSet,
    /// By candidate: at a loop's header before its first operator; at a call after the call.
    pub(crate) candidates: Vec<FixedBitSet>,
}

/// Computes the live locals at the entry and at every candidate of the function.
pub(crate) fn liveness(function: &Function<'_>) -> Liveness {
    let flow = ControlFlow::new(function);
    let live_in = solve(function, &flow);
    let mut candidates = vec![FixedBitSet::new(); function.candidates.len()];
    let mut next = function.candidates.len();
    for (index, block) in flow.blocks.iter().enumerate().rev() {
        let mut live = live_out(function, &flow, &live_in, index);
        for at in block.ops.clone().rev() {
            let is_candidate = next > 0 && function.candidates[next - 1].op.index() == at;
            let is_loop = matches!(function.ops[at].operator, Operator::Loop { .. });
            if is_candidate && !is_loop {
                next -= 1;
                candidates[next] = live.clone();
            }
            step_back(&function.ops[at], &mut live);
            if is_candidate && is_loop {
                next -= 1;
                candidates[next] = live.clone();
            }
        }
    }
    Liveness {
        entry: live_in[0].clone(),
        candidates,
    }
}

fn solve(function: &Function<'_>, flow: &ControlFlow) -> Vec<FixedBitSet> {
    let mut live_in = vec![FixedBitSet::with_capacity(function.locals.len()); flow.blocks.len()];
    let mut predecessors = vec![Vec::new(); flow.blocks.len()];
    for (from, block) in flow.blocks.iter().enumerate() {
        for &to in &block.successors {
            predecessors[to].push(from);
        }
    }
    // A stack, last block first: close to postorder, since the code is structured.
    let mut pending: Vec<usize> = (0..flow.blocks.len()).collect();
    let mut is_pending = vec![true; flow.blocks.len()];
    while let Some(index) = pending.pop() {
        is_pending[index] = false;
        let mut live = live_out(function, flow, &live_in, index);
        for op in function.ops[flow.blocks[index].ops.clone()].iter().rev() {
            step_back(op, &mut live);
        }
        if live != live_in[index] {
            live_in[index] = live;
            for &predecessor in &predecessors[index] {
                if !std::mem::replace(&mut is_pending[predecessor], true) {
                    pending.push(predecessor);
                }
            }
        }
    }
    live_in
}

fn live_out(
    function: &Function<'_>,
    flow: &ControlFlow,
    live_in: &[FixedBitSet],
    index: usize,
) -> FixedBitSet {
    let mut live = FixedBitSet::with_capacity(function.locals.len());
    for &successor in &flow.blocks[index].successors {
        live.union_with(&live_in[successor]);
    }
    live
}

fn step_back(op: &Op<'_>, live: &mut FixedBitSet) {
    match op.operator {
        Operator::LocalGet { local_index } => live.insert(local_index as usize),
        Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
            live.remove(local_index as usize);
        }
        _ => {}
    }
}
