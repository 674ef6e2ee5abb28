//! Which locals of an original function are live before each operator, by the textbook equations on
//! sets of bits; nothing is shared with the rewriter's analysis.

use wasmparser::Operator;

use super::body::Body;

/// Live locals before each operator.
#[derive(Debug)]
pub(super) struct Liveness {
    before: Vec<Vec<u64>>,
}

impl Liveness {
    /// Computes liveness for a body with this many parameters and locals together.
    pub(super) fn new(body: &Body<'_>, locals: usize) -> Self {
        let words = locals.div_ceil(64);
        let mut before = vec![vec![0_u64; words]; body.ops.len() + 1];
        let successors: Vec<Vec<usize>> =
            (0..body.ops.len()).map(|at| body.successors(at)).collect();
        let mut changed = true;
        while changed {
            changed = false;
            for at in (0..body.ops.len()).rev() {
                let mut live = vec![0_u64; words];
                for &next in &successors[at] {
                    live.iter_mut()
                        .zip(&before[next])
                        .for_each(|(live, next)| *live |= next);
                }
                match body.ops[at] {
                    Operator::LocalGet { local_index } => {
                        live[local_index as usize / 64] |= 1 << (local_index % 64);
                    }
                    Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                        live[local_index as usize / 64] &= !(1 << (local_index % 64));
                    }
                    _ => {}
                }
                if live != before[at] {
                    before[at] = live;
                    changed = true;
                }
            }
        }
        Self { before }
    }

    /// Locals live before an operator (after the last one there are none).
    pub(super) fn before(&self, at: usize) -> impl Iterator<Item = u32> + '_ {
        let words = self.before.get(at).into_iter().flatten();
        (0_u32..).zip(words).flat_map(|(word, bits)| {
            (0..64)
                .filter(move |bit| bits >> bit & 1 == 1)
                .map(move |bit| word * 64 + bit)
        })
    }
}
