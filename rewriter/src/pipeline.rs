//! The whole pipeline, from bytes to bytes:
//!
//! parse -> scan -> suspendable functions -> plan (indices) -> for each function, in parallel: lift ->
//! liveness -> frame layout -> instrument -> emit -> validate.

use std::collections::BTreeSet;

use rayon::prelude::*;
use wasm_migrate_abi::Fingerprint;

use crate::analysis::{self, Frame, Suspension};
use crate::copy::copy;
use crate::describe;
use crate::emit;
use crate::error::Error;
use crate::features;
use crate::fingerprint::Identities;
use crate::instrument::{instrument, wrapper_frame};
use crate::lift::lift;
use crate::module::{Body, Module, position, unsupported};
use crate::options::{Goals, HOT_PART, Options};
use crate::plan::{Plan, count32};
use crate::report::Report;

/// Engines refuse functions with more bytes than this (the JavaScript embedding's limit, which wasmtime
/// and others share).
const FUNCTION_SIZE_LIMIT: usize = 7_654_321;

/// A rewritten module.
#[derive(Debug)]
#[non_exhaustive]
pub struct Output {
    /// The migratized module, binary.
    pub wasm: Vec<u8>,
    /// What was done to each function.
    pub report: Report,
    /// What could not be kept, for the user to know.
    pub warnings: Vec<String>,
}

/// A rewritten function.
pub(crate) struct Rewritten {
    pub(crate) index: u32,
    /// Byte range of the original body.
    pub(crate) original: std::ops::Range<usize>,
    /// The new body, without its size.
    pub(crate) body: Vec<u8>,
    /// Offsets in `body` of conditional branches that are hardly ever taken.
    pub(crate) unlikely: Vec<u32>,
    /// How many values of one type other than `i32` it parks at most.
    pub(crate) parked: u32,
    /// Operators of its own that are executed at most between two polls.
    pub(crate) unpolled: u64,
    /// What it saves, if it can be on a saved stack, with the byte offset of each safe point in the body.
    pub(crate) frame: Option<(Frame, Vec<u32>)>,
    /// Of the original's code; 0 if it can never be on a saved stack.
    pub(crate) code: Fingerprint,
}

pub(crate) fn run(bytes: &[u8], options: &Options) -> Result<Output, Error> {
    let module = Module::parse(bytes)?;
    let code = analysis::scan(&module)?;
    let blocking = blocking_imports(&module, options);
    let mut suspension = analysis::suspension(&module, &code, &blocking);
    if let Some(max) = options.max_latency {
        suspension.poll_entries(analysis::entries_to_poll(&module, &code, &suspension, max));
    }
    let goals = goals(&module, options)?;
    let plan = Plan::new(&module, &code, &suspension, blocking, options, goals);
    let wrappers = wrapper_frames(&module, &plan)?;
    let identities = Identities::new(&module);
    let functions = rewrite(&module, &suspension, &plan, &identities)?;
    let description = describe::describe(&module, &plan, &identities, &wrappers, &functions)?;
    let own: Vec<u64> = functions.iter().map(|function| function.unpolled).collect();
    let bounds = analysis::work_bounds(&module, &code, &suspension, &own);
    let report = Report::new(&module, &suspension, &functions, &bounds, bytes.len());
    let (wasm, mut warnings) = emit::emit(&module, &plan, functions, &description)?;
    validate(&wasm)?;
    let report = report.with_output(wasm.len());
    warnings.extend(options.max_latency.and_then(|max| report.exceeds(max)));
    Ok(Output {
        wasm,
        report,
        warnings,
    })
}

fn goals(module: &Module<'_>, options: &Options) -> Result<Goals, Error> {
    let Some(profile) = &options.profile else {
        return Ok(Goals::Same(options.optimize));
    };
    let original = blake3::hash(module.bytes);
    let hot = profile.hot_functions(original.as_bytes(), HOT_PART)?;
    Ok(Goals::Hot(hot))
}

fn blocking_imports(module: &Module<'_>, options: &Options) -> BTreeSet<u32> {
    let imports = (0..).zip(&module.function_imports);
    imports
        .filter(|(_, import)| options.is_suspending(import.module, import.name))
        .map(|(index, _)| index)
        .collect()
}

fn wrapper_frames(module: &Module<'_>, plan: &Plan) -> Result<Vec<(u32, Frame)>, Error> {
    let used = plan
        .helpers
        .wrappers
        .keys()
        .filter(|import| plan.blocking.contains(import));
    used.map(|&import| match wrapper_frame(module.signature(import)) {
        Ok(frame) => Ok((import, frame)),
        Err(()) => Err(unsupported(
            "an external reference passed to an import that may block",
            Some(module.name_of(import)),
            0,
        )),
    })
    .collect()
}

/// Rewrites all functions; the first error in module order wins, so that errors are deterministic.
fn rewrite(
    module: &Module<'_>,
    suspension: &Suspension,
    plan: &Plan,
    identities: &Identities,
) -> Result<Vec<Rewritten>, Error> {
    let rewritten: Vec<Result<Rewritten, Error>> = module
        .bodies
        .par_iter()
        .map(|body| rewrite_function(module, body, suspension, plan, identities))
        .collect();
    rewritten.into_iter().collect()
}

fn rewrite_function(
    module: &Module<'_>,
    body: &Body<'_>,
    suspension: &Suspension,
    plan: &Plan,
    identities: &Identities,
) -> Result<Rewritten, Error> {
    let index = body.validate.index;
    let range = body.body.range();
    let original = position(range.start)..position(range.end);
    if !suspension.function(index) {
        let (body, operators) = copy(module, body, plan)?;
        return Ok(Rewritten {
            index,
            original,
            body,
            unlikely: Vec::new(),
            parked: 0,
            unpolled: operators,
            frame: None,
            code: Fingerprint::default(),
        });
    }
    let function = lift(module, body, suspension)?;
    let liveness = analysis::liveness(&function);
    let frame = analysis::frame_layout(&function, &liveness, suspension.recursive(index)).map_err(
        |live| {
            let offset = function.ops[live.op.index()].bytes.start as usize;
            let construct = "an external reference (externref) that is live at a safe point";
            unsupported(construct, Some(module.name_of(index)), offset)
        },
    )?;
    let new = instrument(module.bytes, &function, &frame, suspension, plan);
    if new.bytes.len() > FUNCTION_SIZE_LIMIT {
        return Err(Error::TooLarge {
            function: module.name_of(index),
            size: new.bytes.len(),
            limit: FUNCTION_SIZE_LIMIT,
        });
    }
    let start = count32(original.start);
    let offset_of = |op: crate::ir::OpId| function.ops[op.index()].bytes.start - start;
    let offsets = frame
        .safe_points
        .iter()
        .map(|point| offset_of(point.op))
        .collect();
    Ok(Rewritten {
        index,
        original,
        body: new.bytes,
        unlikely: new.unlikely,
        parked: new.parked,
        unpolled: new.unpolled,
        frame: Some((frame, offsets)),
        code: identities.code(module, &function),
    })
}

fn validate(wasm: &[u8]) -> Result<(), Error> {
    let internal = |error: wasmparser::BinaryReaderError| Error::Internal {
        message: format!("the rewritten module is not valid: {error}"),
    };
    let mut validator = wasmparser::Validator::new_with_features(features::input_features());
    let mut bodies = Vec::new();
    for payload in wasmparser::Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(internal)?;
        if let wasmparser::ValidPayload::Func(validate, body) =
            validator.payload(&payload).map_err(internal)?
        {
            bodies.push((validate, body));
        }
    }
    bodies
        .into_par_iter()
        .try_for_each(|(validate, body)| {
            validate.into_validator(Default::default()).validate(&body)
        })
        .map_err(internal)
}
