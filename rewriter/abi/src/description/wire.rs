//! How functions stand in the encoded description: live sets say what differs from the set before them, and offsets
//! of safe points count from the one before.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Function, SafePoint, SafePointKind, Slot};
use crate::fingerprint::Fingerprint;

/// More slots than all live sets of a module together have; a few bytes could stand for ever more.
const LIVE_SLOTS_MAX: usize = 1 << 28;

#[derive(Serialize, Deserialize)]
struct WireFunction {
    index: u32,
    code: Fingerprint,
    offset: u32,
    resume_slot: Option<u32>,
    slots: Vec<Slot>,
    /// How many slots at its beginning a set shares with the one before it, and the others.
    live_sets: Vec<(usize, Vec<u32>)>,
    /// Kind, distance from the safe point before, live set.
    safe_points: Vec<(SafePointKind, u32, u32)>,
}

pub(super) fn serialize<S: Serializer>(
    functions: &[Function],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(functions.iter().map(pack))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Function>, D::Error> {
    let mut live_slots_left = LIVE_SLOTS_MAX;
    Vec::<WireFunction>::deserialize(deserializer)?
        .into_iter()
        .map(|function| unpack(function, &mut live_slots_left).map_err(D::Error::custom))
        .collect()
}

fn pack(function: &Function) -> WireFunction {
    let mut set_before: &[u32] = &[];
    let live_sets = function.live_sets.iter().map(|set| {
        let pairs = set_before.iter().zip(set);
        let shared = pairs.take_while(|(a, b)| a == b).count();
        set_before = set;
        (shared, set[shared..].to_vec())
    });
    let live_sets = live_sets.collect();
    let mut offset_before = 0;
    let safe_points = function.safe_points.iter().map(|point| {
        let distance = point.offset.wrapping_sub(offset_before);
        offset_before = point.offset;
        (point.kind, distance, point.live_set)
    });
    WireFunction {
        index: function.index,
        code: function.code,
        offset: function.offset,
        resume_slot: function.resume_slot,
        slots: function.slots.clone(),
        live_sets,
        safe_points: safe_points.collect(),
    }
}

fn unpack(wire: WireFunction, live_slots_left: &mut usize) -> Result<Function, &'static str> {
    let mut live_sets: Vec<Vec<u32>> = Vec::with_capacity(wire.live_sets.len());
    for (shared, rest) in wire.live_sets {
        let set_before = live_sets.last().map_or(&[][..], Vec::as_slice);
        let shared = set_before.get(..shared);
        let shared = shared.ok_or("a live set shares more than there is")?;
        let left = live_slots_left.checked_sub(shared.len() + rest.len());
        *live_slots_left = left.ok_or("its live sets are too large")?;
        live_sets.push([shared, &rest].concat());
    }
    let mut offset: u32 = 0;
    let safe_points = wire
        .safe_points
        .into_iter()
        .map(|(kind, distance, live_set)| {
            offset = offset.wrapping_add(distance);
            SafePoint {
                kind,
                offset,
                live_set,
            }
        });
    Ok(Function {
        index: wire.index,
        code: wire.code,
        offset: wire.offset,
        resume_slot: wire.resume_slot,
        slots: wire.slots,
        live_sets,
        safe_points: safe_points.collect(),
    })
}
