//! What a function reads after a landing must have been restored.

use wasmparser::Operator;

use super::frames::Frames;

/// A read of a local that holds nothing of the original program's.
#[derive(Debug)]
pub(super) struct StaleRead {
    /// The operator.
    pub(super) at: usize,
    /// The local.
    pub(super) local: u32,
}

/// Follows all paths on which the guest runs, or unwinds anew, from after a landing's call.
pub(super) fn stale_reads(frames: &Frames<'_>, landing: usize, stale: &[u64]) -> Vec<StaleRead> {
    let body = frames.body;
    let mut before: Vec<Option<Vec<u64>>> = vec![None; body.ops.len()];
    let mut work = Vec::new();
    let mut reads = Vec::new();
    for next in body.successors(landing) {
        before[next] = Some(stale.to_vec());
        work.push(next);
    }
    while let Some(at) = work.pop() {
        let mut stale = before[at].clone().unwrap_or_default();
        match body.ops[at] {
            Operator::LocalGet { local_index } if contains(&stale, local_index) => {
                reads.push(StaleRead {
                    at,
                    local: local_index,
                });
            }
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                stale[local_index as usize / 64] &= !(1 << (local_index % 64));
            }
            _ => {}
        }
        for next in body.successors(at) {
            let joined: Vec<u64> = match &before[next] {
                Some(known) => known.iter().zip(&stale).map(|(a, b)| a | b).collect(),
                None => stale.clone(),
            };
            if before[next].as_ref() != Some(&joined) {
                before[next] = Some(joined);
                work.push(next);
            }
        }
    }
    reads
}

fn contains(set: &[u64], local: u32) -> bool {
    set[local as usize / 64] >> (local % 64) & 1 == 1
}
