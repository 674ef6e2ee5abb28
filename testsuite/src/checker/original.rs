//! What the original demands of the description: safe points stand where they say, and their live
//! sets hold all that the original may still read.

use wasm_migrate_abi::{Description, Function, SafePoint, SafePointKind, SlotOrigin};
use wasmparser::Operator;

use super::body::Body;
use super::emitted::Decoded;
use super::liveness::Liveness;

/// Problems of one described function, with the safe point if it is about one.
pub(super) fn problems(
    original: &Decoded<'_>,
    description: &Description,
    described: &Function,
) -> Vec<(Option<u32>, String)> {
    let Some(body) = original.body(described.index) else {
        return import_problems(described);
    };
    let params = original.function_type(described.index).params().len();
    let liveness = Liveness::new(body, params + body.locals);
    let reachable = body.reachable();
    let mut problems = Vec::new();
    for (id, point) in (0_u32..).zip(&described.safe_points) {
        let at = match operator_at(body, *point) {
            Ok(at) => at,
            Err(message) => {
                problems.push((Some(id), message));
                continue;
            }
        };
        if !reachable[at] {
            continue;
        }
        // A call's callee runs before the rest does; a loop or an entry is still to be run.
        let resumes_at = match point.kind {
            SafePointKind::Call | SafePointKind::CallIndirect => at + 1,
            SafePointKind::Entry | SafePointKind::Loop | SafePointKind::Import => at,
        };
        let saved: Vec<u32> = described
            .live_slots(id)
            .unwrap_or_default()
            .iter()
            .filter_map(|slot| match described.slots[*slot as usize].origin {
                SlotOrigin::Local(local) => Some(local),
                SlotOrigin::Operand(_) => None,
            })
            .collect();
        // At the entry the function's own locals are zero.
        let is_zero = |local: u32| point.kind == SafePointKind::Entry && local as usize >= params;
        for local in liveness
            .before(resumes_at)
            .filter(|local| !saved.contains(local) && !is_zero(*local))
        {
            problems.push((Some(id), format!("local {local} is live and not saved")));
        }
    }
    for (at, op) in body.ops.iter().enumerate() {
        if let Operator::Loop { .. } = op
            && reachable[at]
            && !described.safe_points.iter().any(|point| {
                point.kind == SafePointKind::Loop && point.offset as usize == body.offsets[at]
            })
        {
            problems.push((None, format!("the loop at operator {at} is no safe point")));
        }
        if let Operator::Call { function_index } = op
            && reachable[at]
            && description.function(*function_index).is_some()
            && !described
                .safe_points
                .iter()
                .any(|point| point.offset as usize == body.offsets[at])
        {
            problems.push((None, format!("the call at operator {at} is no safe point")));
        }
    }
    problems
}

/// Function that a call in the original calls.
pub(super) fn callee(
    original: &Decoded<'_>,
    described: &Function,
    point: SafePoint,
) -> Option<u32> {
    let body = original.body(described.index)?;
    match body.ops[operator_at(body, point).ok()?] {
        Operator::Call { function_index } => Some(function_index),
        _ => None,
    }
}

/// An import's frame holds all arguments, since the call is made again.
fn import_problems(described: &Function) -> Vec<(Option<u32>, String)> {
    let all: Vec<u32> = (0..u32::try_from(described.slots.len()).unwrap_or(u32::MAX)).collect();
    let imports = (0_u32..).zip(&described.safe_points);
    imports
        .filter(|(_, point)| point.kind == SafePointKind::Import)
        .filter(|(id, _)| described.live_slots(*id) != Some(&all[..]))
        .map(|(id, _)| {
            (
                Some(id),
                "an argument of the import is not saved".to_owned(),
            )
        })
        .collect()
}

fn operator_at(body: &Body<'_>, point: SafePoint) -> Result<usize, String> {
    if point.kind == SafePointKind::Entry {
        return Ok(0);
    }
    let at = body.offsets.binary_search(&(point.offset as usize));
    let at = at.map_err(|_| format!("there is no operator at offset {:#x}", point.offset))?;
    let fits = matches!(
        (&body.ops[at], point.kind),
        (Operator::Loop { .. }, SafePointKind::Loop)
            | (Operator::Call { .. }, SafePointKind::Call)
            | (Operator::CallIndirect { .. }, SafePointKind::CallIndirect)
    );
    if fits {
        Ok(at)
    } else {
        Err(format!("{:?} stands at a {:?}", point.kind, body.ops[at]))
    }
}
