//! Proves on an emitted module that what is saved at each safe point is what a resume restores.
//!
//! Nothing here is shared with the rewriter but the contract: the emitted operators are executed on
//! symbols, whatever their shape. For every function that can be on a saved stack:
//!
//! * From every call after which the function unwinds, the words that it sends come one by one from
//!   the locals of the live slots (`frames`, `edges`).
//! * From its entry, while rewinding, it lands for every safe point at a call that belongs to that
//!   safe point, with every live slot back in the local that it was saved from (`landing`).
//! * From there on no local is read, on any path, that holds neither a live slot nor something
//!   written since (`stale`).
//! * Its live sets hold every local of the original that the original may still read, and its safe
//!   points stand where the original has such an operator (`original`).
//!
//! Limits: it looks at frames, not at memories, globals or tables; and it does not prove that the
//! code between safe points does what the original does. Executions are compared for that.

mod body;
mod emitted;
mod frames;
mod liveness;
mod machine;
mod original;
mod stale;

use std::collections::HashMap;
use std::fmt;

use wasm_migrate_abi::{self as abi, DecodeError, Description, Function, SafePointKind};
use wasmparser::{BinaryReaderError, Operator};

use emitted::{Decoded, Role};
use frames::{Edge, Frames, loaded_slots, saved_locals};

/// What has been proved.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Functions that can be on a saved stack.
    pub functions: usize,
    /// Safe points at which they can be stopped.
    pub safe_points: usize,
    /// Calls after which they unwind.
    pub edges: usize,
}

/// Why nothing could be proved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// One of the modules is damaged.
    #[error("cannot decode the module: {0}")]
    Decode(#[from] BinaryReaderError),
    /// The emitted module has no readable description.
    #[error("cannot read the description of the emitted module: {0}")]
    Description(#[from] DecodeError),
    /// The emitted module lacks something that the contract demands.
    #[error("the emitted module has no {0}: expected a migratized module")]
    Contract(&'static str),
    /// What is saved is not what is restored.
    #[error("{} problems, the first: {}", .0.len(), .0[0])]
    Problems(Vec<Problem>),
}

/// Something wrong with a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Function index in the original.
    pub function: u32,
    /// Safe point, if it is about one.
    pub safe_point: Option<u32>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "function {}", self.function)?;
        if let Some(safe_point) = self.safe_point {
            write!(f, ", safe point {safe_point}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Checks an emitted module against its original.
///
/// # Errors
/// The modules cannot be read, or something is wrong with the emitted one.
pub fn check(original: &[u8], emitted: &[u8]) -> Result<Summary, CheckError> {
    let original = Decoded::new(original)?;
    let emitted = Decoded::new(emitted)?;
    let data = emitted
        .description
        .ok_or(CheckError::Contract("description"))?;
    let description = Description::decode(data)?;
    let state_global = emitted
        .global(abi::STATE)
        .ok_or(CheckError::Contract("state"))?;
    let roles = emitted.roles(state_global);
    let mut checker = Checker {
        original: &original,
        emitted: &emitted,
        roles: &roles,
        state_global,
        budget_global: emitted
            .global(abi::BUDGET)
            .ok_or(CheckError::Contract("budget"))?,
        summary: Summary::default(),
        problems: Vec::new(),
    };
    checker.check(&description);
    if checker.problems.is_empty() {
        Ok(checker.summary)
    } else {
        Err(CheckError::Problems(checker.problems))
    }
}

struct Checker<'m> {
    original: &'m Decoded<'m>,
    emitted: &'m Decoded<'m>,
    roles: &'m [Role],
    state_global: u32,
    budget_global: u32,
    summary: Summary,
    problems: Vec<Problem>,
}

impl Checker<'_> {
    fn check(&mut self, description: &Description) {
        let mut emitted_index = HashMap::new();
        for (index, role) in (0_u32..).zip(self.roles) {
            if let Role::Frames(function) = role
                && emitted_index.insert(*function, index).is_some()
            {
                self.problem(*function, None, "two functions load its frames".to_owned());
            }
        }
        for described in &description.functions {
            match emitted_index.remove(&described.index) {
                Some(index) => self.check_function(description, described, index),
                None => self.problem(
                    described.index,
                    None,
                    "no function loads its frames".to_owned(),
                ),
            }
        }
        for function in emitted_index.into_keys() {
            self.problem(
                function,
                None,
                "it loads frames and is not described".to_owned(),
            );
        }
        self.check_plain_functions();
    }

    /// A function without frames must not call one that can unwind, except as its own replacement.
    fn check_plain_functions(&mut self) {
        for (index, role) in (0_u32..).zip(self.roles) {
            let Some(body) = self.emitted.body(index).filter(|_| *role == Role::Plain) else {
                continue;
            };
            for op in &body.ops {
                if let Operator::Call { function_index } = op
                    && let Role::Frames(callee) = self.roles[*function_index as usize]
                {
                    let message = format!("emitted function {index} calls it and cannot unwind");
                    self.problems.push(Problem {
                        function: callee,
                        safe_point: None,
                        message,
                    });
                }
            }
        }
    }

    fn check_function(&mut self, description: &Description, described: &Function, index: u32) {
        let Some(body) = self.emitted.body(index) else {
            return;
        };
        let frames = Frames {
            module: self.emitted,
            roles: self.roles,
            index,
            body,
            described,
            state_global: self.state_global,
            budget_global: self.budget_global,
        };
        self.summary.functions += 1;
        let (edges, others) = match frames.edges() {
            Ok(found) => found,
            Err(message) => return self.problem(described.index, None, message),
        };
        let reachable = body.reachable();
        for at in others.into_iter().filter(|at| reachable[*at]) {
            if let Operator::Call { function_index } = body.ops[at]
                && matches!(
                    self.roles[function_index as usize],
                    Role::Frames(_) | Role::Resume
                )
            {
                let message = format!("no unwinding after the call at operator {at}");
                self.problem(described.index, None, message);
            }
        }
        // A function that never unwinds at its entry need not save anything for it.
        let stops_at_entry = edges.iter().any(|edge| edge.safe_point == 0);
        for message in original::problems(self.original, description, described) {
            if message.0 == Some(0) && !stops_at_entry {
                continue;
            }
            self.problem(described.index, message.0, message.1);
        }
        for id in 0..u32::try_from(described.safe_points.len()).unwrap_or(u32::MAX) {
            let edges: Vec<&Edge> = edges.iter().filter(|edge| edge.safe_point == id).collect();
            if edges.is_empty() {
                // Not polled at its entry, or never reached in the original.
                continue;
            }
            self.summary.safe_points += 1;
            self.summary.edges += edges.len();
            if let Err(message) = self.check_safe_point(&frames, id, &edges) {
                self.problem(described.index, Some(id), message);
            }
        }
        for edge in &edges {
            if described.live_slots(edge.safe_point).is_none() {
                let message = format!(
                    "it is left at safe point {}, which is not described",
                    edge.safe_point
                );
                self.problem(described.index, None, message);
            }
        }
    }

    fn check_safe_point(
        &self,
        frames: &Frames<'_>,
        id: u32,
        edges: &[&Edge],
    ) -> Result<(), String> {
        let described = frames.described;
        let live = described.live_slots(id).ok_or("it is not described")?;
        let landing = frames.landing(id)?;
        if !edges.iter().any(|edge| edge.at == landing.at) {
            return Err(format!(
                "rewinding lands at operator {}, where the function is not left at this safe point",
                landing.at
            ));
        }
        let loaded = loaded_slots(described, live, &landing.locals);
        for edge in edges {
            for (slot, local) in saved_locals(described, live, &edge.words)? {
                if loaded.get(&local) != Some(&slot) {
                    return Err(format!(
                        "slot {slot} is saved from local {local}, which is restored from {:?}",
                        loaded.get(&local)
                    ));
                }
            }
        }
        self.check_kind(frames, id, edges, landing.is_innermost)?;
        let live_values = frames::live_values(described, live);
        let is_restored = |operand: &machine::Value| match operand {
            machine::Value::Const(_) | machine::Value::Fixed => true,
            value => live_values.contains(value),
        };
        if let Some(operand) = landing
            .operands
            .iter()
            .find(|operand| !is_restored(operand))
        {
            return Err(format!(
                "an operand under the landing is not restored: {operand:?}"
            ));
        }
        let mut stale = vec![0_u64; (frames.local_count() as usize).div_ceil(64)];
        // At its entry a function's own locals are zero, as they are after a rewind that loads none.
        let zeros = match described.safe_points[id as usize].kind {
            SafePointKind::Entry => frames.parameter_count()..frames.local_count(),
            _ => 0..0,
        };
        // The emitted function's own locals may be set on the way to the landing.
        let original_locals = self.original.local_count(described.index);
        let is_set = |local: u32| {
            local >= original_locals
                && matches!(landing.locals[local as usize], machine::Value::Const(_))
        };
        for local in (0..frames.local_count()).filter(|local| !zeros.contains(local)) {
            if !is_set(local) && !loaded.contains_key(&local) {
                stale[local as usize / 64] |= 1 << (local % 64);
            }
        }
        match stale::stale_reads(frames, landing.at, &stale).first() {
            Some(read) => Err(format!(
                "local {} is read at operator {} after the resume and is not restored",
                read.local, read.at
            )),
            None => Ok(()),
        }
    }

    /// The function must be left and entered by the kind of call that the safe point is.
    fn check_kind(
        &self,
        frames: &Frames<'_>,
        id: u32,
        edges: &[&Edge],
        is_innermost: bool,
    ) -> Result<(), String> {
        let point = frames.described.safe_points[id as usize];
        let innermost_kind = matches!(
            point.kind,
            SafePointKind::Entry | SafePointKind::Loop | SafePointKind::Import
        );
        if innermost_kind != is_innermost {
            return Err(format!(
                "a landing at {:?} runs on: {is_innermost}",
                point.kind
            ));
        }
        if point.kind != SafePointKind::Call {
            return Ok(());
        }
        let callee = original::callee(self.original, frames.described, point);
        for edge in edges {
            match edge.callee.map(|callee| frames.role(callee)) {
                // The landing's.
                Some(Role::Resume) => {}
                Some(Role::Frames(found)) if Some(found) == callee => {}
                found => {
                    return Err(format!(
                        "it is left after a call of {found:?}, expected {callee:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    fn problem(&mut self, function: u32, safe_point: Option<u32>, message: String) {
        self.problems.push(Problem {
            function,
            safe_point,
            message,
        });
    }
}
