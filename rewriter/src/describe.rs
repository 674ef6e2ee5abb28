//! The description section: what was decided about frames and state, for hosts to read.

use indexmap::IndexSet;
use wasm_migrate_abi::{
    Description, Fingerprint, Function, GlobalState, SafePoint, Slot, TableState,
};

use crate::analysis::Frame;
use crate::error::Error;
use crate::features;
use crate::fingerprint::Identities;
use crate::module::Module;
use crate::pipeline::Rewritten;
use crate::plan::{Plan, count32};

/// Describes the module. `wrappers` are the frames of imports that may block.
pub(crate) fn describe(
    module: &Module<'_>,
    plan: &Plan,
    identities: &Identities,
    wrappers: &[(u32, Frame)],
    functions: &[Rewritten],
) -> Result<Description, Error> {
    let globals = (0..)
        .zip(&module.globals)
        .filter(|(_, global)| global.mutable);
    let tables = plan.captured_tables.iter();
    let no_offsets = [0; 2];
    let imported = wrappers.iter().map(|(index, frame)| Function {
        code: identities.function(*index),
        ..describe_function(module, plan, *index, 0, frame, &no_offsets)
    });
    let defined = functions.iter().filter_map(|function| {
        let (frame, offsets) = function.frame.as_ref()?;
        let start = count32(function.original.start);
        Some(Function {
            code: function.code,
            ..describe_function(module, plan, function.index, start, frame, offsets)
        })
    });
    let value_type = |ty| features::value_type(ty).expect("refused when the module was read");
    Ok(Description {
        original_digest: *blake3::hash(module.bytes).as_bytes(),
        parts: identities.parts(module, plan)?,
        globals: globals
            .map(|(index, global)| GlobalState {
                index,
                value_type: value_type(global.content_type),
            })
            .collect(),
        data_drops: plan.globals.data_dropped.keys().copied().collect(),
        element_drops: plan.globals.element_dropped.keys().copied().collect(),
        memories: count32(module.memories.len()),
        tables: tables
            .map(|&index| {
                let ty = module.tables[index as usize].element_type;
                TableState {
                    index,
                    element_type: value_type(wasmparser::ValType::Ref(ty)),
                }
            })
            .collect(),
        function_refs: plan.function_refs.clone(),
        functions: imported.chain(defined).collect(),
    })
}

fn describe_function(
    module: &Module<'_>,
    plan: &Plan,
    index: u32,
    offset: u32,
    frame: &Frame,
    offsets: &[u32],
) -> Function {
    let mut live_sets = IndexSet::new();
    let safe_points = frame
        .safe_points
        .iter()
        .zip(offsets)
        .map(|(point, &offset)| SafePoint {
            kind: point.kind,
            offset,
            live_set: count32(live_sets.insert_full(point.slots().collect::<Vec<_>>()).0),
        })
        .collect();
    Function {
        index,
        code: Fingerprint::default(),
        offset,
        resume_slot: plan.resume_slot(module, index),
        slots: frame
            .slots
            .iter()
            .map(|&(origin, value_type)| Slot { value_type, origin })
            .collect(),
        live_sets: live_sets.into_iter().collect(),
        safe_points,
    }
}
